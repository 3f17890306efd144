//! A subscriber that answers 202 at once, and remembers when each commit arrived.
//!
//! It lives in the generator's process, on a thread of its own, so that the instants of a write's answer and of its
//! arrival are of one clock.

use super::desk::Commit;
use anyhow::{Context, Result};
use harness::waiting::Looks;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt, Empty};
use hyper::body::{Bytes, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use serde::Deserialize;
use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// When each commit arrived: once for each endpoint that leads here, and again when it is sent again.
pub type Arrivals = HashMap<Commit, Vec<Instant>>;

/// What a sink remembers.
#[derive(Default)]
struct Heard {
    arrivals: Mutex<Arrivals>,
    requests: AtomicU64,
}

/// For the port of a sink that has just ended.
const BOUND_WITHIN: Duration = Duration::from_secs(10);

/// A listening sink. It ends when it is dropped.
pub struct Sink {
    address: SocketAddr,
    heard: Arc<Heard>,
    ending: CancellationToken,
}

#[derive(Deserialize)]
struct Named {
    entity: Entity,
}

#[derive(Deserialize)]
struct Entity {
    id: String,
    version: u64,
}

impl Sink {
    /// Listens on a free port.
    ///
    /// # Errors
    /// When no port can be had.
    pub fn start() -> Result<Self> {
        Self::on(std::net::TcpListener::bind(("127.0.0.1", 0))?)
    }

    /// Listens where another one did, which has ended.
    ///
    /// # Errors
    /// When the port stays taken.
    pub async fn again(address: SocketAddr) -> Result<Self> {
        let looks = Looks::within(BOUND_WITHIN);
        loop {
            match std::net::TcpListener::bind(address) {
                Ok(listener) => return Self::on(listener),
                Err(_) if looks.go_on().await => {}
                Err(error) => return Err(error.into()),
            }
        }
    }

    fn on(listener: std::net::TcpListener) -> Result<Self> {
        listener.set_nonblocking(true)?;
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let sink = Self {
            address: listener.local_addr()?,
            heard: Arc::default(),
            ending: CancellationToken::new(),
        };
        let (heard, ending) = (Arc::clone(&sink.heard), sink.ending.clone());
        std::thread::spawn(move || {
            runtime.block_on(async {
                let listener = TcpListener::from_std(listener).expect("it was made non-blocking");
                tokio::select! {
                    () = ending.cancelled() => {}
                    () = accept(listener, heard) => {}
                }
            });
        });
        Ok(sink)
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Where events go.
    pub fn url(&self) -> String {
        format!("http://{}/hook", self.address)
    }

    /// What arrived until now; nothing is answered twice.
    pub fn arrivals(&self) -> Arrivals {
        std::mem::take(&mut *locked(&self.heard))
    }

    /// Requests since it listens.
    pub fn requests(&self) -> u64 {
        self.heard.requests.load(Ordering::Relaxed)
    }
}

impl Drop for Sink {
    fn drop(&mut self) {
        self.ending.cancel();
    }
}

fn locked(heard: &Heard) -> MutexGuard<'_, Arrivals> {
    heard.arrivals.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn accept(listener: TcpListener, heard: Arc<Heard>) {
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            continue;
        };
        let heard = Arc::clone(&heard);
        // An emitter that hangs up is no business of the sink.
        let _ = stream.set_nodelay(true);
        tokio::spawn(async move {
            let answering = service_fn(move |request| take(request, Arc::clone(&heard)));
            let _ = http1::Builder::new()
                .serve_connection(TokioIo::new(stream), answering)
                .await;
        });
    }
}

async fn take(request: Request<Incoming>, heard: Arc<Heard>) -> Result<Response<Empty<Bytes>>> {
    let body = request.into_body().collect().await?.to_bytes();
    let now = Instant::now();
    let Named { entity } = serde_json::from_slice(&body).context("an event about an entity")?;
    locked(&heard)
        .entry((entity.id, entity.version))
        .or_default()
        .push(now);
    heard.requests.fetch_add(1, Ordering::Relaxed);
    let mut response = Response::new(Empty::new());
    *response.status_mut() = StatusCode::ACCEPTED;
    Ok(response)
}
