//! One attempt: sign the bytes as they are, send them, judge the answer.
//!
//! No transaction is open while it runs. It takes a claimed delivery and the breaker's permit, and returns what is to be
//! settled.

use super::classify::{AttemptOutcome, Health, classify, health, unanswered};
use super::schedule::{Next, Schedule};
use crate::store::{AttemptRecord, Claim, EndpointUpdate, Settlement, Verdict};
use bytes::Bytes;
use contract::Entropy;
use contract::signature::{
    TRACEPARENT, WEBHOOK_ATTEMPT, WEBHOOK_ID, WEBHOOK_SIGNATURE, WEBHOOK_TIMESTAMP, sign,
};
use contract::{Clock, SecretList, UnixMillis};
use db::failpoint;
use http::header::{CONTENT_TYPE, USER_AGENT};
use http::{HeaderMap, HeaderName, HeaderValue};
use kit::breaker::Permit;
use kit::egress::{Answered, Egress, EgressError, TargetUrl};
use std::sync::Arc;
use std::time::Duration;

/// Who sends: `pms-emitter/<version>`.
pub const AGENT: &str = concat!("pms-emitter/", env!("CARGO_PKG_VERSION"));

/// Characters of an error that are kept; the tables' columns are a little wider.
const ERROR_LEN_MAX: usize = 1_000;

/// Why an endpoint is disabled after a 410.
const GONE: &str = "gone";

/// Why a delivery ends whose event was erased before it was sent.
const ERASED: &str = "the event's content was erased";

/// Where an endpoint's deliveries go, how often, and what signs them.
#[derive(Clone)]
pub struct Route {
    /// The checked address.
    pub url: TargetUrl,
    /// The endpoint's own schedule.
    pub schedule: Option<Schedule>,
    /// Signs with all of them.
    pub secrets: SecretList,
}

/// What every attempt needs, whatever its endpoint.
pub struct Sender {
    /// The HTTP client.
    pub egress: Egress,
    /// Tells the time.
    pub clock: Arc<dyn Clock>,
    /// For the jitter.
    pub entropy: Arc<dyn Entropy>,
    /// The service's schedule, for endpoints without one of their own.
    pub schedule: Schedule,
    /// From the first byte of connecting to the last of the answer.
    pub deadline: Duration,
}

/// How one attempt ended.
#[derive(Debug)]
pub struct Attempted {
    /// For the delivery.
    pub settlement: Settlement,
    /// For its endpoint.
    pub endpoint_update: EndpointUpdate,
}

/// The classification of an answer, or of the lack of one.
struct Judged {
    outcome: AttemptOutcome,
    status: Option<u16>,
    error: Option<String>,
    duration: Duration,
}

impl Sender {
    /// Sends one delivery and judges the answer. The permit learns how the endpoint did; when this future is dropped,
    /// it counts as a failure.
    pub async fn attempt(&self, route: &Route, claim: Claim, permit: Permit) -> Attempted {
        let Some(body) = claim.body.clone() else {
            permit.neutral();
            let verdict = Verdict::Dead(ERASED.to_owned());
            return Attempted {
                settlement: settlement(claim, None, verdict),
                endpoint_update: EndpointUpdate::default(),
            };
        };
        let (number, at) = (claim.attempts + 1, self.clock.now());
        let body = Bytes::from(body);
        let headers = headers(&route.secrets, &claim, number, at, &body);
        let answer = self.egress.post(&route.url, headers, body, self.deadline).await;
        let judged = self.judge(answer, permit);
        let duration_ms = u64::try_from(judged.duration.as_millis()).unwrap_or(u64::MAX);
        let record = AttemptRecord {
            number,
            at,
            duration_ms,
            status: judged.status,
            error: judged.error,
        };
        if judged.outcome == AttemptOutcome::Delivered {
            failpoint::reached("attempt.answered");
        }
        let (verdict, endpoint_update) = self.decide(&judged.outcome, route, &claim);
        log(&claim, &record, &verdict);
        Attempted {
            settlement: settlement(claim, Some(record), verdict),
            endpoint_update,
        }
    }

    /// Judges an answer, or the lack of one, and reports to the breaker.
    fn judge(&self, answer: Result<Answered, EgressError>, permit: Permit) -> Judged {
        match answer {
            Ok(Answered {
                status,
                headers,
                excerpt,
                duration,
            }) => {
                match health(status) {
                    Health::Success => permit.succeed(),
                    Health::Failure => permit.fail(format!("status {}", status.as_u16())),
                    Health::Neutral => permit.neutral(),
                }
                let outcome = classify(status, &headers, self.clock.now());
                let error =
                    (outcome != AttemptOutcome::Delivered).then(|| describe(status.as_u16(), &excerpt));
                Judged {
                    outcome,
                    status: Some(status.as_u16()),
                    error,
                    duration,
                }
            }
            Err(error) => {
                permit.fail(error.to_string());
                let (words, duration) = (error.to_string(), error.duration);
                Judged {
                    outcome: unanswered(),
                    status: None,
                    error: Some(words),
                    duration,
                }
            }
        }
    }

    fn decide(&self, outcome: &AttemptOutcome, route: &Route, claim: &Claim) -> (Verdict, EndpointUpdate) {
        let now = self.clock.now();
        let mut endpoint_update = EndpointUpdate::default();
        let verdict = match outcome {
            AttemptOutcome::Delivered => Verdict::Delivered,
            AttemptOutcome::Dead { why } => Verdict::Dead((*why).to_owned()),
            AttemptOutcome::Disable => {
                endpoint_update.disabled = Some(GONE);
                Verdict::Kept
            }
            AttemptOutcome::Retry {
                after,
                endpoint_pauses,
            } => {
                if let Some(after) = after.filter(|_| *endpoint_pauses) {
                    endpoint_update.paused_until = Some(now.plus_millis(super::schedule::millis(after)));
                }
                let schedule = route.schedule.as_ref().unwrap_or(&self.schedule);
                let made = claim.attempts.saturating_sub(claim.attempts_before) + 1;
                match schedule.after(made, *after, now, self.entropy.as_ref()) {
                    Next::At(at) => Verdict::RetryAt(at),
                    Next::Dead => Verdict::Dead(format!("no attempt is left after {made}")),
                }
            }
        };
        (verdict, endpoint_update)
    }
}

/// The headers of the contract. The timestamp is this attempt's: the receiver allows little skew.
fn headers(secrets: &SecretList, claim: &Claim, number: u64, at: UnixMillis, body: &[u8]) -> HeaderMap {
    let id = &claim.delivery.event_id;
    let signature = sign(secrets.as_slice(), id, at.seconds(), body);
    let mut headers = HeaderMap::new();
    let ours = "ids, numbers and base64 are header values";
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(USER_AGENT, HeaderValue::from_static(AGENT));
    let mut insert = |name: &'static str, value: &str| {
        headers.insert(
            HeaderName::from_static(name),
            HeaderValue::from_str(value).expect(ours),
        );
    };
    insert(WEBHOOK_ID, id.as_str());
    insert(WEBHOOK_TIMESTAMP, &at.seconds().0.to_string());
    insert(WEBHOOK_SIGNATURE, signature.as_str());
    insert(WEBHOOK_ATTEMPT, &number.to_string());
    if let Some(traceparent) = &claim.traceparent
        && let Ok(value) = HeaderValue::from_str(traceparent)
    {
        headers.insert(HeaderName::from_static(TRACEPARENT), value);
    }
    headers
}

/// A delivery that is given back without an attempt.
pub fn deferred(claim: Claim) -> Settlement {
    settlement(claim, None, Verdict::Deferred)
}

fn settlement(claim: Claim, attempt: Option<AttemptRecord>, verdict: Verdict) -> Settlement {
    Settlement {
        delivery: claim.delivery,
        subject: claim.subject,
        attempt,
        verdict,
    }
}

/// The status and the beginning of the body, which egress has cut and escaped.
fn describe(status: u16, excerpt: &str) -> String {
    let whole = if excerpt.is_empty() {
        format!("status {status}")
    } else {
        format!("status {status}: {excerpt}")
    };
    whole.chars().take(ERROR_LEN_MAX).collect()
}

/// One line for each attempt. What the receiver answered stays in the tables: it may quote what it was sent.
fn log(claim: &Claim, record: &AttemptRecord, verdict: &Verdict) {
    let (event, correlation) = (
        claim.delivery.event_id.as_str(),
        claim.subject.correlation_id.as_deref(),
    );
    let (status, attempt, duration_ms) = (record.status, record.number, record.duration_ms);
    let no_answer = record.error.as_deref().filter(|_| status.is_none());
    macro_rules! line {
        ($level:ident, $message:literal) => {
            tracing::$level!(
                event.id = event,
                correlation.id = correlation,
                status,
                error = no_answer,
                attempt,
                duration_ms,
                $message
            )
        };
    }
    match verdict {
        Verdict::Delivered => line!(info, "delivered"),
        Verdict::Dead(_) => line!(warn, "delivery dead"),
        Verdict::RetryAt(_) | Verdict::Kept | Verdict::Deferred => line!(warn, "delivery failed"),
    }
}
