//! Sends the requests of each case, one after the other, and compares the answers with those that are right.

use crate::{
    case::{Case, Expected},
    delivery::{Delivery, Sender},
};
use reqwest::{Client, Url, header::HeaderMap, redirect::Policy};
use std::{fmt, time::Duration};

/// How long a receiver may take for an answer; senders commonly wait as long.
const ANSWER_WITHIN: Duration = Duration::from_secs(15);

/// The present time in milliseconds.
pub type Now = fn() -> i64;

/// What came back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Seen {
    /// An answer of this status.
    Status(u16),
    /// The connection was made, and closed without an answer.
    Closed,
    /// No connection could be made.
    Unreachable,
    /// There was none in time.
    NoAnswer,
}

/// How a case ended.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// The case.
    pub case: Case,
    /// What came back, of each request.
    pub seen: Vec<Seen>,
}

/// The client of a run.
///
/// # Errors
/// When the system has no TLS.
pub fn client() -> Result<Client, reqwest::Error> {
    // Another may have been first, which is as good.
    let _ = rustls::crypto::ring::default_provider().install_default();
    // A receiver's own answer is what counts, and each request has a connection of its own.
    Client::builder()
        .redirect(Policy::none())
        .no_proxy()
        .timeout(ANSWER_WITHIN)
        .pool_max_idle_per_host(0)
        .build()
}

/// Runs the cases against a receiver, calling `report` after each. Event ids begin with `conform-` and the time.
pub async fn run(
    client: &Client,
    url: &Url,
    sender: &Sender,
    cases: Vec<Case>,
    now: Now,
    mut report: impl FnMut(&Outcome),
) -> Vec<Outcome> {
    let begun = now();
    let mut outcomes = Vec::with_capacity(cases.len());
    for (number, case) in cases.into_iter().enumerate() {
        let id = format!("conform-{begun}-{number}");
        let mut seen = Vec::new();
        for delivery in sender.deliveries(&case, &id, now()) {
            seen.push(send(client, url, delivery).await);
        }
        let outcome = Outcome { case, seen };
        report(&outcome);
        outcomes.push(outcome);
    }
    outcomes
}

async fn send(client: &Client, url: &Url, delivery: Delivery) -> Seen {
    let mut headers = HeaderMap::new();
    for (name, value) in delivery.headers {
        match (name.parse::<reqwest::header::HeaderName>(), value.parse()) {
            (Ok(name), Ok(value)) => drop(headers.append(name, value)),
            // A case of a file asks for what HTTP cannot say.
            _ => return Seen::NoAnswer,
        }
    }
    let request = client.post(url.clone()).headers(headers).body(delivery.body);
    match request.send().await {
        Ok(answer) => Seen::Status(answer.status().as_u16()),
        Err(error) if error.is_timeout() => Seen::NoAnswer,
        Err(error) if error.is_connect() => Seen::Unreachable,
        Err(_) => Seen::Closed,
    }
}

impl Seen {
    fn is(self, expected: Expected) -> bool {
        match (self, expected) {
            (Self::Status(status), Expected::Class(class)) => status / 100 == class,
            (Self::Status(status), Expected::Status(wanted)) => status == wanted,
            (Self::Closed, Expected::Closed) => true,
            _ => false,
        }
    }
}

impl Outcome {
    /// Whether every answer is right.
    pub fn passed(&self) -> bool {
        let expect = &self.case.expect;
        self.seen
            .iter()
            .all(|seen| expect.iter().any(|expected| seen.is(*expected)))
    }
}

impl fmt::Display for Seen {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Status(status) => write!(out, "{status}"),
            Self::Closed => out.write_str("closed without an answer"),
            Self::Unreachable => out.write_str("no connection"),
            Self::NoAnswer => write!(out, "no answer within {} s", ANSWER_WITHIN.as_secs()),
        }
    }
}

/// One line: how it ended, the case, and what was seen; of one that failed also what was expected, and why.
impl fmt::Display for Outcome {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let list = |items: Vec<String>, between: &str| items.join(between);
        let seen = list(self.seen.iter().map(ToString::to_string).collect(), ", ");
        let Case {
            name, rule, expect, ..
        } = &self.case;
        if self.passed() {
            return write!(out, "pass  {name:<30} {seen}");
        }
        let expected = list(expect.iter().map(ToString::to_string).collect(), " or ");
        write!(out, "FAIL  {name:<30} {seen}; expected {expected}: {rule}")
    }
}
