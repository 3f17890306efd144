//! `POST /webhooks/{source}`: checks the raw bytes in a fixed order, then hands the event to the batcher, or the update of a job
//! to [`JobUpdates`](crate::ingest::JobUpdates).
//!
//! An address from which too much came that was not authentic is refused before anything is looked at. Then content type and
//! declared length are checked, then the signature's headers and their time, then whether the queue has space, then the body's
//! length, then its signature; only what is authentic is counted against its source's rate, and only what is within that is
//! parsed. Every failure of authenticity gets one and the same answer.

use super::{Api, jobs::JobReceipt};
use crate::{
    event::Accepted,
    ingest::{
        FAILED_TOO_OFTEN, IngestError, OVER_RATE, OVER_SHARE, Sender,
        delivery::{Parsed, RawDelivery, Rejection, VerifiedDelivery},
        rejections::UNKNOWN,
    },
    store::{BODY_LEN_MAX, CountKind},
};
use api::{
    CONNECTIONS_MAX, Request, Response,
    body::Reservation,
    json_body::{VALUES_MAX, reserve_tree},
    media_type::require_json,
    reply,
};
use contract::{EventId, Problem, ProblemCode, UnixMillis, scheme::Answer};
use db::failpoint;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header::CONTENT_LENGTH};
use kit::access::client_address;
use serde::Serialize;
use std::{collections::BTreeMap, net::IpAddr, sync::Arc, time::Duration};
use tokio::{sync::Semaphore, time::sleep};

/// The memory budget of all bodies is large enough for a body of `api`'s limit, and so for that of every event.
const _: () = assert!(BODY_LEN_MAX <= api::body::BODY_LEN_MAX);
/// As which a known key with another body is counted.
const ID_REUSE: &str = ProblemCode::IdempotencyKeyReused.as_str();
/// How long a 429 is kept. Its request is freed before, and a connection costs no more meanwhile than a silent one.
const HELD_BACK: Duration = Duration::from_secs(1);
/// As many at a time, a tenth of the connections that there may be; further ones are sent at once, since senders that open a
/// connection for each request would else keep others from connecting.
pub const HELD_BACK_MAX: usize = CONNECTIONS_MAX / 10;
/// Marks the answer to a repeat.
const REPLAYED: HeaderName = HeaderName::from_static("idempotency-replayed");

/// What is answered with a 2xx.
enum Taken {
    Event(Accepted, Answer),
    /// An update of a job.
    Job(JobReceipt),
    /// A question whether we are there: the name and the text of the answer.
    Challenge(String, String),
}

/// `POST /webhooks/{source}`
pub async fn receive(api: Api, mut request: Request) -> Result<Response, Problem> {
    let now = api.clock.now();
    let client = client_address(&request.context, &request.headers, &api.trusted_proxies);
    let sender = api.sources.named(request.param("source"), || client);
    let taken = match api.failed.check(client) {
        Ok(()) => accept(&api, &mut request, &sender, now).await,
        Err(seconds) => Err(Refusal::limited(FAILED_TOO_OFTEN, seconds)),
    };
    match taken {
        Ok(taken) => {
            count(&api, &sender, &taken, now);
            answer(taken)
        }
        Err(refusal) => {
            let path = request.param("source");
            let problem = refused(&api, (path, &sender), refusal, client, now);
            drop(request);
            hold_back(&api.held_back, &problem).await;
            Err(problem)
        }
    }
}

/// Keeps an answer that says "too many" for a while: a connection has one request at a time, so a sender that repeats without
/// regard to `Retry-After` takes little of the machine from the others.
async fn hold_back(held: &Semaphore, problem: &Problem) {
    if problem.code == ProblemCode::TooManyRequests
        && let Ok(_held) = held.try_acquire()
    {
        sleep(HELD_BACK).await;
    }
}

/// Counts a delivery that is authentic and readable.
fn count(api: &Api, sender: &Sender, taken: &Taken, now: UnixMillis) {
    let (new, repeat) = ((CountKind::Accepted, "new"), (CountKind::Duplicate, "same_body"));
    let (kind, cause) = match taken {
        Taken::Challenge(..) => return,
        Taken::Job(receipt) => {
            api.meters.job_update(receipt.duplicate);
            if receipt.duplicate { repeat } else { new }
        }
        Taken::Event(accepted, _) => {
            api.meters.accepted(accepted);
            match accepted {
                Accepted::New(_) => new,
                Accepted::Duplicate(_) => repeat,
                Accepted::IdReuse(_) => (CountKind::Rejected, ID_REUSE),
            }
        }
    };
    sender.counts().add(kind, cause, now);
    if kind == CountKind::Duplicate {
        api.counts.add(kind, cause, now);
    }
}

/// Counts a delivery that is refused, and what is not authentic once more for the address that it comes from; keeps a sample.
fn refused(
    api: &Api,
    (path, sender): (&str, &Sender),
    refusal: Refusal,
    client: Option<IpAddr>,
    now: UnixMillis,
) -> Problem {
    api.meters.refused(&refusal.why);
    for counts in [&api.counts, sender.counts()] {
        counts.add(CountKind::Rejected, refusal.why.cause, now);
        if let Some(skew) = refusal.why.skew_seconds {
            counts.add_skew(skew, now);
        }
    }
    let source = if api.sources.is_known(path) { path } else { UNKNOWN };
    let Rejection { cause, skew_seconds } = refusal.why;
    api.rejections.add(source, cause, skew_seconds, now, client);
    if refusal.problem.code != ProblemCode::Unauthorized {
        return refusal.problem;
    }
    // Several of one address may have been looked at while it had one failure left.
    let counted = api.failed.count(client);
    counted.map_or_else(too_many, |()| refusal.problem)
}

/// Why a delivery is refused, and how it is answered: whatever of it is not authentic, the answer is the same.
struct Refusal {
    why: Rejection,
    problem: Problem,
}

impl Refusal {
    /// Of what came too often.
    fn limited(cause: &'static str, seconds: u32) -> Self {
        Self {
            why: Rejection {
                cause,
                skew_seconds: None,
            },
            problem: too_many(seconds),
        }
    }
}

impl From<Rejection> for Refusal {
    fn from(why: Rejection) -> Self {
        Self {
            why,
            problem: Problem::new(ProblemCode::Unauthorized),
        }
    }
}

impl From<Problem> for Refusal {
    fn from(problem: Problem) -> Self {
        Self {
            why: Rejection {
                cause: problem.code.as_str(),
                skew_seconds: None,
            },
            problem,
        }
    }
}

impl From<IngestError> for Refusal {
    fn from(error: IngestError) -> Self {
        let refusal = Self::from(Problem::from(error));
        match error {
            IngestError::OverShare => Self {
                why: Rejection {
                    cause: OVER_SHARE,
                    ..refusal.why
                },
                ..refusal
            },
            _ => refusal,
        }
    }
}

fn too_many(seconds: u32) -> Problem {
    Problem::new(ProblemCode::TooManyRequests).with_retry_after(seconds)
}

async fn accept(
    api: &Api,
    request: &mut Request,
    sender: &Arc<Sender>,
    now: UnixMillis,
) -> Result<Taken, Refusal> {
    require_json(&request.context.method, &request.headers)?;
    if declared_len(&request.headers).is_some_and(|len| len > BODY_LEN_MAX) {
        return Err(Problem::new(ProblemCode::PayloadTooLarge).into());
    }
    let lines = || {
        let lines = request.headers.iter();
        lines.map(|(name, value)| (name.as_str(), value.as_bytes()))
    };
    let raw = RawDelivery::read(Arc::clone(sender), lines, now)?;
    if api.batcher.is_full() {
        return Err(IngestError::Overloaded.into());
    }
    let (body, reservation) = request.read_body(BODY_LEN_MAX).await?.into_parts();
    failpoint::reached("delivery.unverified");
    let verified = raw.verify(body)?;
    // The share first, which takes nothing from the rate. The time is that of now: the body may have taken its own.
    api.batcher.check_share(sender)?;
    let is_shut = api.batcher.is_shut();
    if let Some(seconds) = api.sources.take_rate(sender, is_shut, api.clock.now()).await? {
        return Err(Refusal::limited(OVER_RATE, seconds));
    }
    if verified.is_job_update() {
        // On the heap: a webhook's future is moved there whole, and would be a fifth larger for the few that bring updates.
        let taking = accept_job_update(api, verified, sender, reservation);
        return Box::pin(taking).await.map(Taken::Job);
    }
    let is_envelope = verified.is_envelope();
    // An event of the largest reservation, of 365 nights and 102 guests, holds some 600 values, and one of a guest 1,000.
    let tree = is_envelope
        .then(|| reserve_tree(verified.body(), &reservation, VALUES_MAX))
        .transpose()?;
    let status = verified.answer();
    let parsed = verified.parse(is_envelope).map_err(Problem::validation)?;
    drop(tree);
    let arrival = match parsed {
        Parsed::Event(arrival) => arrival,
        Parsed::Challenge(name, text) => return Ok(Taken::Challenge(name, text)),
    };
    let key = arrival.key.clone();
    let accepted = api
        .batcher
        .accept(arrival, sender, &request.context, Some(reservation))
        .await?;
    tracing::info!(
        event.id = key.as_str(),
        outcome = accepted.into_str(),
        "webhook taken in"
    );
    Ok(Taken::Event(accepted, status))
}

/// What its sender says of a job: no event, so it goes into tables of its own.
async fn accept_job_update(
    api: &Api,
    verified: VerifiedDelivery,
    sender: &Sender,
    reservation: Reservation,
) -> Result<JobReceipt, Refusal> {
    let tree = reserve_tree(verified.body(), &reservation, VALUES_MAX)?;
    let arrival = verified
        .job_update()
        .map_err(|errors| Problem::new(ProblemCode::InvalidJobStatus).with_errors(errors))?;
    drop(tree);
    let (job, update) = (arrival.update.job.clone(), arrival.update.standing.clone());
    let taken = api.job_updates.take(arrival, sender, reservation).await?;
    let receipt = JobReceipt::of(job, &update, taken)?;
    tracing::info!(
        job.id = receipt.job_id.as_str(),
        outcome = receipt.status,
        "update of a job taken in"
    );
    Ok(receipt)
}

/// A length that is not a number is hyper's to refuse.
fn declared_len(headers: &HeaderMap) -> Option<usize> {
    headers.get(CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

fn answer(taken: Taken) -> Result<Response, Problem> {
    let (accepted, status) = match taken {
        Taken::Event(accepted, status) => (accepted, status),
        Taken::Challenge(name, text) => return Ok(reply::ok(&BTreeMap::from([(name, text)]))),
        Taken::Job(receipt) => {
            let answer = reply::ok(&receipt);
            return Ok(if receipt.duplicate {
                replayed(answer)
            } else {
                answer
            });
        }
    };
    match accepted {
        Accepted::New(event_id) => Ok(receipt(status, &Receipt::of(event_id, false))),
        Accepted::Duplicate(event_id) => {
            let status = match status {
                Answer::Ok | Answer::Accepted => Answer::Ok,
                Answer::NoContent => Answer::NoContent,
            };
            Ok(replayed(receipt(status, &Receipt::of(event_id, true))))
        }
        Accepted::IdReuse(_) => Err(Problem::new(ProblemCode::IdempotencyKeyReused)),
    }
}

pub(super) fn replayed(mut response: Response) -> Response {
    response
        .headers_mut()
        .insert(REPLAYED, HeaderValue::from_static("true"));
    response
}

fn receipt(status: Answer, receipt: &Receipt) -> Response {
    match status {
        Answer::Ok => reply::ok(receipt),
        Answer::Accepted => reply::json(StatusCode::ACCEPTED, receipt),
        Answer::NoContent => reply::no_content(),
    }
}

/// The answer for an event that is committed.
#[derive(Serialize)]
struct Receipt {
    status: &'static str,
    event_id: EventId,
    duplicate: bool,
}

impl Receipt {
    fn of(event_id: EventId, duplicate: bool) -> Self {
        Self {
            status: "accepted",
            event_id,
            duplicate,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::time::Instant;

    #[tokio::test(start_paused = true)]
    async fn a_429_alone_is_kept_for_a_second() {
        let places = Semaphore::new(1);
        let held = async |code| {
            let begun = Instant::now();
            hold_back(&places, &Problem::new(code)).await;
            begun.elapsed()
        };
        assert_eq!(held(ProblemCode::TooManyRequests).await, HELD_BACK);
        assert_eq!(held(ProblemCode::Unauthorized).await, Duration::ZERO);
        assert_eq!(held(ProblemCode::Unavailable).await, Duration::ZERO);
        let _taken = places.try_acquire().unwrap();
        assert_eq!(
            held(ProblemCode::TooManyRequests).await,
            Duration::ZERO,
            "there is no place"
        );
    }
}
