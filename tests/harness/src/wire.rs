//! A raw connection, for what no client would send: half a head, a doubled one, a chunk without end, another protocol.
//!
//! It shows what the server does with the connection itself, which [`crate::signer`], made for answers, does not.

use anyhow::{Context, Result};
use std::{io::ErrorKind, net::SocketAddr, time::Duration};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

/// A connection, byte by byte.
#[derive(Debug)]
pub struct Wire {
    stream: TcpStream,
}

/// How a connection ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ending {
    /// All that came before, as text.
    pub said: String,
}

impl Wire {
    /// Connects.
    ///
    /// # Errors
    /// When nothing listens there.
    pub async fn open(address: SocketAddr) -> Result<Self> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        Ok(Self { stream })
    }

    /// Connects and sends these bytes.
    ///
    /// # Errors
    /// When nothing listens there, or it does not take them.
    pub async fn saying(address: SocketAddr, bytes: &[u8]) -> Result<Self> {
        let mut wire = Self::open(address).await?;
        wire.say(bytes).await?;
        Ok(wire)
    }

    /// Sends these bytes.
    ///
    /// # Errors
    /// When the server has closed the connection.
    pub async fn say(&mut self, bytes: &[u8]) -> Result<()> {
        Ok(self.stream.write_all(bytes).await?)
    }

    /// Reads up to and with the end of an answer's head.
    ///
    /// # Errors
    /// When the server ends the connection before, or nothing comes within `within`.
    pub async fn head(&mut self, within: Duration) -> Result<String> {
        let reading = async {
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                head.push(self.stream.read_u8().await?);
            }
            Ok::<_, std::io::Error>(head)
        };
        let head = timeout(within, reading).await.context("no answer in time")??;
        Ok(String::from_utf8_lossy(&head).into_owned())
    }

    /// Reads until the server ends the connection, by a reset as well.
    ///
    /// # Errors
    /// When it is still open after `within`.
    pub async fn ending(mut self, within: Duration) -> Result<Ending> {
        let mut said = Vec::new();
        let reading = timeout(within, self.stream.read_to_end(&mut said)).await;
        match reading.context("the connection is still open")? {
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::ConnectionReset => {}
            Err(error) => return Err(error.into()),
        }
        Ok(Ending {
            said: String::from_utf8_lossy(&said).into_owned(),
        })
    }
}
