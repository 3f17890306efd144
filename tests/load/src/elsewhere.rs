//! Connections of attackers, from another address than that of the well-behaved clients: what fails too often is counted by
//! address, and an attacker would else stop them too.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use tokio::net::{TcpSocket, TcpStream};

/// The loopback network has addresses enough; services and clients are at its first one.
const ELSEWHERE: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::new(127, 0, 0, 2)), 0);

/// Connects from there to a service on this machine.
///
/// # Errors
/// When nothing accepts it, or no port is free.
pub async fn connect(target: SocketAddr) -> io::Result<TcpStream> {
    let socket = TcpSocket::new_v4()?;
    // A port whose last connection has ended is free at once: thousands of them end in a second.
    socket.set_reuseaddr(true)?;
    socket.bind(ELSEWHERE)?;
    socket.connect(target).await
}
