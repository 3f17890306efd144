//! One attempt: sign the bytes as they are, send them, judge the answer.
//!
//! No transaction is open while it runs. It takes a claimed delivery and the breaker's permit, and returns what is to be
//! settled.

use super::classify::{AttemptOutcome, Health, classify, health, unanswered};
use super::parts::DispatcherParts;
use super::route::Route;
use super::schedule::millis;
use crate::store::{ANSWER_LEN_MAX, AttemptRecord, Claim, EndpointUpdate, Settlement, Verdict};
use bytes::Bytes;
use contract::scheme::AttemptFacts;
use contract::signature::{TRACEPARENT, WEBHOOK_ATTEMPT};
use contract::{UnixMillis, id::IdempotencyKey};
use db::failpoint;
use http::header::USER_AGENT;
use http::{HeaderMap, HeaderName, HeaderValue};
use kit::breaker::Permit;
use kit::egress::{Answered, EgressError, EgressErrorKind};

/// Who sends: `pms-emitter/<version>`.
pub const AGENT: &str = concat!("pms-emitter/", env!("CARGO_PKG_VERSION"));

/// Characters of an error that are kept; the tables' columns are a little wider.
const ERROR_LEN_MAX: usize = 1_000;

/// Why an endpoint is disabled after a 410.
const GONE: &str = "gone";

/// Why a delivery ends whose event was erased before it was sent.
const ERASED: &str = "the event's content was erased";

/// Why a delivery ends whose event does not fit its endpoint's scheme.
const UNSENDABLE: &str = "the event cannot be sent under the scheme of the endpoint";

/// How one attempt ended.
#[derive(Debug)]
pub struct Attempted {
    /// For the delivery.
    pub settlement: Settlement,
    /// For its endpoint.
    pub endpoint_update: EndpointUpdate,
}

/// Sends one delivery and judges the answer. The permit learns how the endpoint did; when this future is dropped, it counts
/// as a failure.
pub(super) async fn attempt(
    parts: &DispatcherParts,
    route: &Route,
    mut claim: Claim,
    permit: Permit,
) -> Attempted {
    let unsent = |claim, permit: Permit, why: &str| {
        permit.neutral();
        Attempted {
            settlement: settlement(claim, None, Verdict::Dead(why.to_owned())),
            endpoint_update: EndpointUpdate::default(),
        }
    };
    let Some(body) = claim.body.take() else {
        return unsent(claim, permit, ERASED);
    };
    let mut record = AttemptRecord {
        number: claim.attempts + 1,
        at: parts.clock.now(),
        duration_ms: 0,
        status: None,
        error: None,
        answer: None,
    };
    let id = &claim.delivery.event_id;
    let Some((mut headers, body)) = request(route, id, record.at, record.number, &body) else {
        return unsent(claim, permit, UNSENDABLE);
    };
    if let Some(traceparent) = &claim.traceparent
        && let Ok(value) = HeaderValue::from_str(traceparent)
    {
        headers.insert(HeaderName::from_static(TRACEPARENT), value);
    }
    let answer = parts.egress.post(&route.url, headers, body, route.timeout).await;
    if answer
        .as_ref()
        .is_err_and(|error| error.kind == EgressErrorKind::Busy)
    {
        // Nothing was sent, and the endpoint is not the reason.
        permit.neutral();
        return Attempted {
            settlement: deferred(claim),
            endpoint_update: EndpointUpdate::default(),
        };
    }
    let outcome = judge(answer, permit, parts.clock.now(), &mut record);
    let outcome = without_4xx(outcome, record.status, route);
    if outcome == AttemptOutcome::Delivered {
        failpoint::reached("attempt.answered");
    }
    let (verdict, endpoint_update) = decide(parts, &outcome, route, &claim);
    log(&claim, &record, &verdict);
    Attempted {
        settlement: settlement(claim, Some(record), verdict),
        endpoint_update,
    }
}

/// Judges an answer, or the lack of one, reports to the breaker, and completes the record.
fn judge(
    answer: Result<Answered, EgressError>,
    permit: Permit,
    now: UnixMillis,
    record: &mut AttemptRecord,
) -> AttemptOutcome {
    let (outcome, duration) = match answer {
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
            let outcome = classify(status, &headers, now);
            record.status = Some(status.as_u16());
            if outcome != AttemptOutcome::Delivered {
                record.error = Some(describe(status.as_u16(), &excerpt));
                let answer = excerpt.chars().take(ANSWER_LEN_MAX).collect::<String>();
                record.answer = Some(answer).filter(|answer| !answer.is_empty());
            }
            (outcome, duration)
        }
        Err(error) => {
            permit.fail(error.to_string());
            record.error = Some(error.to_string());
            (unanswered(), error.duration)
        }
    };
    record.duration_ms = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    outcome
}

/// An endpoint may have chosen that no answer of the class 4xx is tried again, but for those that ask for it: 408, 425 and 429.
fn without_4xx(outcome: AttemptOutcome, status: Option<u16>, route: &Route) -> AttemptOutcome {
    let asks_again = matches!(status, Some(408 | 425 | 429));
    let is_4xx = status.is_some_and(|status| (400..500).contains(&status));
    match outcome {
        AttemptOutcome::Retry { .. } if is_4xx && !asks_again && !route.retries_4xx => AttemptOutcome::Dead {
            why: "the endpoint's answers of the class 4xx are not tried again",
        },
        outcome => outcome,
    }
}

/// What becomes of the delivery, and of its endpoint.
fn decide(
    parts: &DispatcherParts,
    outcome: &AttemptOutcome,
    route: &Route,
    claim: &Claim,
) -> (Verdict, EndpointUpdate) {
    let now = parts.clock.now();
    let mut endpoint_update = EndpointUpdate::default();
    let verdict = match outcome {
        AttemptOutcome::Delivered => Verdict::Delivered,
        AttemptOutcome::Dead { why } => Verdict::Dead((*why).to_owned()),
        AttemptOutcome::Disable => {
            (endpoint_update.disabled, endpoint_update.version) = (Some(GONE), Some(route.version));
            Verdict::Kept
        }
        AttemptOutcome::Retry {
            after,
            endpoint_pauses,
        } => {
            if let Some(after) = after.filter(|_| *endpoint_pauses) {
                endpoint_update.paused_until = Some(now.plus_millis(millis(after)));
                endpoint_update.version = Some(route.version);
            }
            let counted = claim.attempts.saturating_sub(claim.attempts_before) + 1;
            match route.schedule.after(counted, *after, now, parts.entropy.as_ref()) {
                Some(at) => Verdict::RetryAt(at),
                None => Verdict::Dead(format!("no attempt is left after {counted}")),
            }
        }
    };
    (verdict, endpoint_update)
}

/// What is sent, by the endpoint's scheme. The timestamp is this attempt's: receivers allow little skew. None for an event that the
/// scheme cannot carry.
pub(super) fn request(
    route: &Route,
    id: &IdempotencyKey,
    at: UnixMillis,
    number: u64,
    stored: &Bytes,
) -> Option<(HeaderMap, Bytes)> {
    let attempt = AttemptFacts {
        id,
        at: at.seconds(),
        number: u32::try_from(number).unwrap_or(u32::MAX),
    };
    let reduced = route.payload.body(stored).ok()?;
    let signed = route.scheme.request(&route.keys_at(at), attempt, &reduced).ok()?;
    let mut headers = route.headers.clone();
    headers.insert(USER_AGENT, HeaderValue::from_static(AGENT));
    headers.insert(HeaderName::from_static(WEBHOOK_ATTEMPT), number.into());
    for (name, value) in signed.headers {
        headers.insert(name.parse::<HeaderName>().ok()?, value.parse().ok()?);
    }
    Some((headers, signed.body))
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
