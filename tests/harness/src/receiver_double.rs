//! A receiver that does what a case asks for: any status, any header, held at a gate, or no answer at all.
//!
//! It records every request as it arrived, headers and raw body, in the order of arrival. A test waits for requests by
//! their number, never by time.

mod answer;

pub use answer::{Answer, Gate};

use crate::signer::Delivery;
use crate::waiting::HANGS_AFTER;
use anyhow::Result;
use bytes::Bytes;
use contract::scheme::{Key, Scheme, Unauthentic, Verified};
use contract::{SecretList, UnixSeconds};
use http::{HeaderMap, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::timeout;

/// Where a real receiver takes the emitter's webhooks.
const FORWARDED_TO: &str = "/api/v1/webhooks/pms";

/// One request as it arrived.
#[derive(Clone, Debug)]
pub struct Received {
    /// The path.
    pub path: String,
    /// All headers.
    pub headers: HeaderMap,
    /// The raw bytes.
    pub body: Bytes,
}

/// A listening receiver. It ends when it is dropped.
pub struct ReceiverDouble {
    address: SocketAddr,
    state: Arc<State>,
    accepting: AbortHandle,
}

struct State {
    script: Mutex<Script>,
    received: Mutex<Vec<Received>>,
    relayed: Mutex<Vec<u16>>,
    count: watch::Sender<usize>,
    held: watch::Sender<usize>,
}

struct Script {
    next: VecDeque<Answer>,
    otherwise: Answer,
}

impl Received {
    /// A header that must stand exactly once.
    pub fn header(&self, name: &str) -> &str {
        let mut values = self.headers.get_all(name).iter();
        let only = values.next().unwrap_or_else(|| panic!("no {name}"));
        assert!(values.next().is_none(), "{name} stands twice");
        only.to_str().expect("a header of text")
    }

    /// The event's id.
    pub fn id(&self) -> &str {
        self.header("webhook-id")
    }

    /// Sends it on as it arrived, and answers the status.
    async fn forward(&self, receiver: SocketAddr) -> Result<u16> {
        let ours = |name: &str| ["host", "content-length", "connection"].contains(&name);
        let lines = self.headers.iter().filter(|(name, _)| !ours(name.as_str()));
        let sent = Delivery {
            method: "POST".to_owned(),
            path: FORWARDED_TO.to_owned(),
            headers: lines
                .map(|(name, value)| (name.as_str().to_owned(), value.as_bytes().to_vec()))
                .collect(),
            body: self.body.to_vec(),
        };
        Ok(sent.send(receiver).await?.status)
    }

    /// Checks the signature as the receiver does.
    ///
    /// # Errors
    /// Why it is not authentic.
    pub fn verify(&self, secrets: &SecretList, now: UnixSeconds) -> Result<Verified, Unauthentic> {
        let lines = self
            .headers
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_bytes()));
        let keys: Vec<_> = secrets.as_slice().iter().cloned().map(Key::Shared).collect();
        Scheme::standard()
            .read(lines)?
            .within(now, 1)?
            .verify(self.body.clone(), &keys)
    }
}

impl ReceiverDouble {
    /// Listens on a free port and answers 202 unless a case asks for something else.
    ///
    /// # Errors
    /// When no port can be had.
    pub async fn start() -> Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let address = listener.local_addr()?;
        let script = Script {
            next: VecDeque::new(),
            otherwise: Answer::status(202),
        };
        let state = Arc::new(State {
            script: Mutex::new(script),
            received: Mutex::new(Vec::new()),
            relayed: Mutex::new(Vec::new()),
            count: watch::Sender::new(0),
            held: watch::Sender::new(0),
        });
        let accepting = tokio::spawn(accept(listener, Arc::clone(&state))).abort_handle();
        Ok(Self {
            address,
            state,
            accepting,
        })
    }

    /// Where it listens.
    pub fn url(&self) -> String {
        format!("http://{}/hook", self.address)
    }

    /// What it does with the next requests, in the order of their arrival.
    pub fn then(&self, answers: impl IntoIterator<Item = Answer>) {
        locked(&self.state.script).next.extend(answers);
    }

    /// What it does with every other request.
    pub fn otherwise(&self, answer: Answer) {
        locked(&self.state.script).otherwise = answer;
    }

    /// Everything that arrived so far.
    pub fn received(&self) -> Vec<Received> {
        locked(&self.state.received).clone()
    }

    /// The statuses that a real receiver gave to what was forwarded to it.
    pub fn relayed(&self) -> Vec<u16> {
        locked(&self.state.relayed).clone()
    }

    /// Waits until so many requests have come, and answers all of them.
    ///
    /// # Panics
    /// When they do not come.
    pub async fn wait_for(&self, requests: usize) -> Vec<Received> {
        let mut count = self.state.count.subscribe();
        let coming = count.wait_for(|count| *count >= requests);
        let arrived = timeout(HANGS_AFTER, coming).await.is_ok();
        assert!(
            arrived,
            "{} of {requests} requests arrived",
            self.received().len()
        );
        self.received()
    }
}

impl ReceiverDouble {
    /// How many requests wait at a gate now.
    pub fn held(&self) -> usize {
        *self.state.held.borrow()
    }

    /// Waits until so many requests wait at a gate.
    ///
    /// # Panics
    /// When it does not come to that.
    pub async fn wait_for_held(&self, requests: usize) {
        let mut held = self.state.held.subscribe();
        let arrived = timeout(HANGS_AFTER, held.wait_for(|held| *held == requests))
            .await
            .is_ok();
        assert!(arrived, "{} of {requests} requests are held", self.held());
    }
}

impl Drop for ReceiverDouble {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

async fn accept(listener: TcpListener, state: Arc<State>) {
    // Dropped with the double, and every connection with it.
    let mut connections = JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        connections.spawn(serve(stream, Arc::clone(&state)));
    }
}

async fn serve(stream: TcpStream, state: Arc<State>) {
    let answering = service_fn(move |request| answer(request, Arc::clone(&state)));
    // A reset ends it with an error, which is what was asked for.
    let _ = hyper::server::conn::http1::Builder::new()
        .serve_connection(TokioIo::new(stream), answering)
        .await;
}

/// The script asks for no answer.
#[derive(Debug, thiserror::Error)]
#[error("reset on purpose")]
struct Reset;

async fn answer(request: Request<Incoming>, state: Arc<State>) -> Result<Response<Full<Bytes>>, Reset> {
    let (parts, body) = request.into_parts();
    let body = body.collect().await.map_err(|_| Reset)?.to_bytes();
    let arrived = Received {
        path: parts.uri.path().to_owned(),
        headers: parts.headers,
        body,
    };
    let mut answer = {
        // Both under the script's lock, so that the order of the record is the order of the script.
        let mut script = locked(&state.script);
        locked(&state.received).push(arrived.clone());
        state.count.send_modify(|count| *count += 1);
        script
            .next
            .pop_front()
            .unwrap_or_else(|| script.otherwise.clone())
    };
    if let Some(Gate(gate)) = &answer.gate {
        state.held.send_modify(|held| *held += 1);
        gate.acquire().await.map_err(|_| Reset)?.forget();
        state.held.send_modify(|held| *held -= 1);
    }
    if let Some(receiver) = answer.forward_to {
        answer.status = arrived.forward(receiver).await.map_err(|_| Reset)?;
        locked(&state.relayed).push(answer.status);
    }
    if answer.reset {
        return Err(Reset);
    }
    let mut response = Response::new(Full::from(answer.body));
    *response.status_mut() = StatusCode::from_u16(answer.status).expect("a script names real statuses");
    for (name, value) in &answer.headers {
        response
            .headers_mut()
            .append(*name, value.parse().expect("a script names real headers"));
    }
    Ok(response)
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
