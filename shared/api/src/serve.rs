//! The accept loop: warp's own server has no time-out at all, so warp's service is run here, with limits.
//!
//! HTTP/1.1 only: the attacks on HTTP/2 (rapid reset, CONTINUATION and settings floods) do not apply.

use super::{
    ServeSettings, Server, StopSignal,
    connection::{self, Shared},
};
use futures::future::BoxFuture;
use std::{io, sync::Arc, time::Duration};
use tokio::{
    net::{TcpListener, TcpSocket, lookup_host},
    sync::Semaphore,
};
use tokio_util::task::TaskTracker;

/// Connections beyond the cap that are refused with a lingering close; further ones are refused and closed at once.
const REFUSALS_MAX: usize = 256;
/// Connections that may wait for their accept; the system's own cap (`net.core.somaxconn`) applies too. Beyond it a
/// peer tries again after a second, so a burst of senders must fit.
const BACKLOG: u32 = 4096;
/// The pause after a failed accept, as when file descriptors run out.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Listens on the first address of `host` that can be bound. Port 0 becomes a real one.
///
/// # Errors
/// When the host is unknown, or its port in use or not permitted.
pub async fn listen(host: &str, port: u16) -> io::Result<TcpListener> {
    let mut refused = io::Error::new(io::ErrorKind::NotFound, "the host has no address");
    for address in lookup_host((host, port)).await? {
        let socket = if address.is_ipv4() {
            TcpSocket::new_v4()
        } else {
            TcpSocket::new_v6()
        };
        let listening = socket.and_then(|socket| {
            // A restart must not wait for the connections of the process before it.
            socket.set_reuseaddr(true)?;
            socket.bind(address)?;
            socket.listen(BACKLOG)
        });
        match listening {
            Ok(listener) => return Ok(listener),
            Err(error) => refused = error,
        }
    }
    Err(refused)
}

/// Serves until a stop, then lets the connections finish what they are answering, until a hard stop.
pub fn serve(
    listener: TcpListener,
    server: Server,
    settings: ServeSettings,
    stop: StopSignal,
) -> BoxFuture<'static, ()> {
    Box::pin(async move {
        let connections = Arc::new(Semaphore::new(settings.connections_max));
        let refusals = Arc::new(Semaphore::new(REFUSALS_MAX));
        let open = TaskTracker::new();
        let shared = Arc::new(Shared {
            server,
            settings,
            stop: stop.clone(),
        });
        // Logged once, not every time: the failure lasts until files are closed.
        let mut failing = false;
        loop {
            let accepted = tokio::select! {
                biased;
                () = stop.stopping() => break,
                accepted = listener.accept() => accepted,
            };
            let (stream, remote) = match accepted {
                Ok(accepted) => {
                    failing = false;
                    accepted
                }
                Err(error) => {
                    if !failing {
                        tracing::warn!(error = %error, "accept failed");
                    }
                    failing = true;
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                    continue;
                }
            };
            if let Ok(permit) = Arc::clone(&connections).try_acquire_owned() {
                let shared = Arc::clone(&shared);
                let counted = shared.server.traffic().accept();
                open.spawn(async move {
                    connection::run(stream, remote, shared).await;
                    drop(counted);
                    drop(permit);
                });
            } else {
                shared.server.traffic().refuse();
                if let Ok(permit) = Arc::clone(&refusals).try_acquire_owned() {
                    let stop = stop.clone();
                    open.spawn(async move {
                        connection::refuse(stream, stop).await;
                        drop(permit);
                    });
                } else {
                    connection::refuse_at_once(stream);
                }
            }
        }
        // The port is free as soon as nothing more is accepted.
        drop(listener);
        open.close();
        open.wait().await;
    })
}

#[cfg(test)]
mod tests;
