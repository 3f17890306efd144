//! Floods: thousands of connections that send nothing, or an incomplete request, and how a service handles them.
//!
//! The suite opens a few hundred against a lowered cap; `cargo load -- --flood idle` opens 12,000 against the product's
//! own, and reports the receiver's memory and the answers to well-behaved clients.

mod cost;

pub use cost::{FloodReport, measure};

use crate::attack::FloodKind;
use crate::elsewhere;
use anyhow::{Context, Result};
use contract::UnixSeconds;
use serde::Serialize;
use std::{io::ErrorKind, net::SocketAddr, time::Duration};
use tokio::{io::AsyncWriteExt, net::TcpStream, time::timeout};

/// A connection, or a few bytes, that the server has not accepted by then count as refused.
const TAKES_WITHIN: Duration = Duration::from_secs(5);
/// What half a body says that it will be.
const DECLARED: usize = 256 * 1024;
/// What of it is sent.
pub const HALF_BODY_LEN: usize = 100;

/// The connections, open for as long as this is kept.
#[derive(Debug)]
pub struct Flood {
    connections: Vec<TcpStream>,
    /// Those that were closed before they had said all.
    cut: usize,
}

/// What had become of the connections at some instant.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Tally {
    /// Open, and not answered.
    pub waiting: usize,
    /// Asked to come back later.
    pub refused: usize,
    /// Answered otherwise.
    pub answered: usize,
    /// Closed without an answer.
    pub closed: usize,
}

impl FloodKind {
    /// What one connection sends.
    fn words(self, number: usize, at: UnixSeconds) -> Vec<u8> {
        let head = format!(
            "POST /api/v1/webhooks/pms HTTP/1.1\r\nhost: crm\r\ncontent-type: application/json\r\n\
             webhook-id: evt_{number}\r\nwebhook-timestamp: {}\r\nwebhook-signature: v1,{}=\r\n",
            at.0,
            "A".repeat(43)
        );
        let declared = format!("{head}content-length: {DECLARED}\r\n\r\n");
        match self {
            Self::Idle => Vec::new(),
            Self::HalfHeads => head.into_bytes(),
            Self::LongHeads => format!("{head}x-long: {}", "x".repeat(7_500)).into_bytes(),
            Self::HalfBodies => (declared + &"{".repeat(HALF_BODY_LEN)).into_bytes(),
            Self::LongBodies => (declared + &"{".repeat(6_500)).into_bytes(),
            Self::Kept => format!("{head}content-length: 0\r\n\r\n").into_bytes(),
        }
    }
}

impl Flood {
    /// Opens so many connections, one after the other.
    ///
    /// # Errors
    /// When this process may not open as many.
    pub async fn open(address: SocketAddr, kind: FloodKind, count: usize, at: UnixSeconds) -> Result<Self> {
        Self::saying(address, count, |number| kind.words(number, at)).await
    }

    /// The same, each sending its bytes and no more.
    ///
    /// # Errors
    /// As `open`.
    pub async fn saying(address: SocketAddr, count: usize, words: impl Fn(usize) -> Vec<u8>) -> Result<Self> {
        let mut flood = Self {
            connections: Vec::with_capacity(count),
            cut: 0,
        };
        for number in 0..count {
            let opening = timeout(TAKES_WITHIN, elsewhere::connect(address)).await;
            let mut stream = opening.context("a connection is not taken")??;
            // It may be closed over them.
            match timeout(TAKES_WITHIN, stream.write_all(&words(number))).await {
                Ok(Ok(())) => flood.connections.push(stream),
                Ok(Err(_)) | Err(_) => flood.cut += 1,
            }
        }
        Ok(flood)
    }

    /// Waits until each is answered or closed, at most so long for all.
    pub async fn until_answered(&self, at_most: Duration) {
        let all = async {
            for stream in &self.connections {
                let _ = stream.readable().await;
            }
        };
        let _ = timeout(at_most, all).await;
    }

    /// What has become of them. What is counted as refused or answered once is read away: ask once.
    pub async fn tally(&self) -> Tally {
        let mut tally = Tally {
            closed: self.cut,
            ..Tally::default()
        };
        for stream in &self.connections {
            // A stream knows that it is readable once its turn came.
            let _ = timeout(Duration::ZERO, stream.readable()).await;
            let mut first = [0; 64];
            match stream.try_read(&mut first) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => tally.waiting += 1,
                Ok(0) | Err(_) => tally.closed += 1,
                Ok(len) if first[..len].starts_with(b"HTTP/1.1 503") => tally.refused += 1,
                Ok(_) => tally.answered += 1,
            }
        }
        tally
    }
}
