//! A subscriber that answers 202 at once, and remembers when each commit arrived first.
//!
//! It lives in the generator's process, on a thread of its own, so that the instants of a write's answer and of its
//! arrival are of one clock.

use super::desk::Commit;
use anyhow::{Context, Result};
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt, Empty};
use hyper::body::{Bytes, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use serde::Deserialize;
use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::net::TcpListener;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

type Arrivals = Mutex<HashMap<Commit, Instant>>;

/// A listening sink. It ends when it is dropped.
pub struct Sink {
    address: SocketAddr,
    arrivals: Arc<Arrivals>,
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
        let listener = std::net::TcpListener::bind(("127.0.0.1", 0))?;
        listener.set_nonblocking(true)?;
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let sink = Self {
            address: listener.local_addr()?,
            arrivals: Arc::default(),
            ending: CancellationToken::new(),
        };
        let (arrivals, ending) = (Arc::clone(&sink.arrivals), sink.ending.clone());
        std::thread::spawn(move || {
            runtime.block_on(async {
                let listener = TcpListener::from_std(listener).expect("it was made non-blocking");
                tokio::select! {
                    () = ending.cancelled() => {}
                    () = accept(listener, arrivals) => {}
                }
            });
        });
        Ok(sink)
    }

    /// Where events go.
    pub fn url(&self) -> String {
        format!("http://{}/hook", self.address)
    }

    /// What arrived, and when it did first.
    pub fn arrivals(&self) -> HashMap<Commit, Instant> {
        self.arrivals
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}

impl Drop for Sink {
    fn drop(&mut self) {
        self.ending.cancel();
    }
}

async fn accept(listener: TcpListener, arrivals: Arc<Arrivals>) {
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            continue;
        };
        let arrivals = Arc::clone(&arrivals);
        // An emitter that hangs up is no business of the sink.
        let _ = stream.set_nodelay(true);
        tokio::spawn(async move {
            let answering = service_fn(move |request| take(request, Arc::clone(&arrivals)));
            let _ = http1::Builder::new()
                .serve_connection(TokioIo::new(stream), answering)
                .await;
        });
    }
}

async fn take(request: Request<Incoming>, arrivals: Arc<Arrivals>) -> Result<Response<Empty<Bytes>>> {
    let body = request.into_body().collect().await?.to_bytes();
    let now = Instant::now();
    let Named { entity } = serde_json::from_slice(&body).context("an event about an entity")?;
    arrivals
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .entry((entity.id, entity.version))
        .or_insert(now);
    let mut response = Response::new(Empty::new());
    *response.status_mut() = StatusCode::ACCEPTED;
    Ok(response)
}
