//! What an answer means for its delivery, its endpoint and its breaker: one pure function.
//!
//! A status or a network error comes in, an [`AttemptOutcome`] goes out, and nothing later looks at the answer again. The status
//! line decides: neither the body nor what happens to the connection after it changes the outcome.

use contract::UnixMillis;
use http::{HeaderMap, StatusCode, header::RETRY_AFTER};
use std::time::{Duration, UNIX_EPOCH};

/// The longest wait that an endpoint may ask for with `Retry-After`.
pub const RETRY_AFTER_MAX: Duration = Duration::from_secs(24 * 3600);

/// What becomes of a delivery after an attempt. An open breaker is no outcome: no attempt is made then, and the delivery is given
/// back at no cost.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AttemptOutcome {
    /// 2xx: done.
    Delivered,
    /// Again, by the schedule.
    Retry {
        /// What `Retry-After` asked for, at most [`RETRY_AFTER_MAX`].
        after: Option<Duration>,
        /// Whether it was asked for on behalf of the whole endpoint (429 and 503), to which nothing is sent for as long.
        endpoint_pauses: bool,
    },
    /// The receiver will never take this event: kept, visible, replayable.
    Dead {
        /// The reason, for people.
        why: &'static str,
    },
    /// 410: the endpoint takes no more events. It is disabled and keeps its queue, this delivery included.
    Disable,
}

/// What an answer says about the endpoint's health, for its breaker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Health {
    /// The only thing that closes a breaker.
    Success,
    /// Counts towards opening it.
    Failure,
    /// The endpoint works, and refuses this event or this pace: neither.
    Neutral,
}

/// Judges the status line of an answer.
///
/// 2xx is delivered; 400, 413, 415 and 422 are final; 410 disables; every other status, 3xx and 409 included, is
/// tried again (design: "outcome").
pub fn classify(status: StatusCode, headers: &HeaderMap, now: UnixMillis) -> AttemptOutcome {
    let dead = |why| AttemptOutcome::Dead { why };
    match status.as_u16() {
        200..=299 => AttemptOutcome::Delivered,
        400 => dead("the receiver could not read the event (400)"),
        413 => dead("the event is too large for the receiver (413)"),
        415 => dead("the receiver does not take JSON (415)"),
        422 => dead("the receiver refused the event's content (422)"),
        410 => AttemptOutcome::Disable,
        code => {
            let after = retry_after(headers, now);
            AttemptOutcome::Retry {
                after,
                endpoint_pauses: after.is_some() && matches!(code, 429 | 503),
            }
        }
    }
}

/// A network error: nothing is known but that no answer came.
pub fn unanswered() -> AttemptOutcome {
    AttemptOutcome::Retry {
        after: None,
        endpoint_pauses: false,
    }
}

/// What a status says about the endpoint (design: "breaker, per endpoint").
pub fn health(status: StatusCode) -> Health {
    match status.as_u16() {
        200..=299 => Health::Success,
        400 | 409 | 410 | 413 | 415 | 422 | 425 | 429 => Health::Neutral,
        _ => Health::Failure,
    }
}

/// `Retry-After` in either form of RFC 9110, section 10.2.3, cut to [`RETRY_AFTER_MAX`]. A date that has passed, and
/// anything that is neither form or stands twice, asks for nothing.
fn retry_after(headers: &HeaderMap, now: UnixMillis) -> Option<Duration> {
    let mut values = headers.get_all(RETRY_AFTER).iter();
    let text = values.next()?.to_str().ok()?.trim();
    if values.next().is_some() {
        return None;
    }
    let asked = if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
        // More digits than fit are a wait without end, which the bound cuts.
        Duration::from_secs(text.parse().unwrap_or(u64::MAX))
    } else {
        let at = httpdate::parse_http_date(text)
            .ok()?
            .duration_since(UNIX_EPOCH)
            .ok()?;
        at.checked_sub(Duration::from_millis(u64::try_from(now.0).ok()?))?
    };
    Some(asked.min(RETRY_AFTER_MAX)).filter(|asked| !asked.is_zero())
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: UnixMillis = UnixMillis(1_445_412_480_000); // Wed, 21 Oct 2015 07:28:00 GMT

    fn judged(status: u16, retry_after: Option<&str>) -> AttemptOutcome {
        let mut headers = HeaderMap::new();
        if let Some(value) = retry_after {
            headers.insert(RETRY_AFTER, value.parse().unwrap());
        }
        classify(StatusCode::from_u16(status).unwrap(), &headers, NOW)
    }

    fn retry(seconds: Option<u64>, endpoint_pauses: bool) -> AttemptOutcome {
        AttemptOutcome::Retry {
            after: seconds.map(Duration::from_secs),
            endpoint_pauses,
        }
    }

    #[test]
    fn every_class_of_status_has_its_outcome_and_its_health() {
        for status in 100..=999 {
            let code = StatusCode::from_u16(status).unwrap();
            let (outcome, health) = (judged(status, None), health(code));
            match status {
                200..=299 => assert_eq!(
                    (outcome, health),
                    (AttemptOutcome::Delivered, Health::Success),
                    "{status}"
                ),
                400 | 413 | 415 | 422 => {
                    assert!(matches!(outcome, AttemptOutcome::Dead { .. }), "{status}");
                    assert_eq!(health, Health::Neutral, "{status}");
                }
                410 => assert_eq!((outcome, health), (AttemptOutcome::Disable, Health::Neutral)),
                409 | 425 | 429 => assert_eq!(
                    (outcome, health),
                    (retry(None, false), Health::Neutral),
                    "{status}"
                ),
                _ => assert_eq!(
                    (outcome, health),
                    (retry(None, false), Health::Failure),
                    "{status}"
                ),
            }
        }
    }

    #[test]
    fn retry_after_is_read_in_both_forms_within_its_bound() {
        for (value, seconds) in [
            ("120", Some(120)),
            (" 7 ", Some(7)),
            ("86400", Some(86_400)),
            ("86401", Some(86_400)),
            ("99999999999999999999999", Some(86_400)),
            ("Wed, 21 Oct 2015 07:30:00 GMT", Some(120)),
            ("Wednesday, 21-Oct-15 07:30:00 GMT", Some(120)),
            ("Thu, 21 Oct 2055 07:30:00 GMT", Some(86_400)),
            ("Wed, 21 Oct 2015 07:27:00 GMT", None),
            ("Thu, 01 Jan 1970 00:00:00 GMT", None),
            ("0", None),
            ("", None),
            ("-1", None),
            ("1.5", None),
            ("soon", None),
        ] {
            assert_eq!(
                judged(429, Some(value)),
                retry(seconds, seconds.is_some()),
                "{value}"
            );
        }
    }

    #[test]
    fn only_429_and_503_speak_for_the_endpoint() {
        assert_eq!(judged(503, Some("9")), retry(Some(9), true));
        for status in [409, 500, 502, 301] {
            assert_eq!(judged(status, Some("9")), retry(Some(9), false), "{status}");
        }
        assert_eq!(judged(202, Some("9")), AttemptOutcome::Delivered);
    }

    #[test]
    fn two_retry_after_headers_are_none() {
        let mut headers = HeaderMap::new();
        headers.append(RETRY_AFTER, "1".parse().unwrap());
        headers.append(RETRY_AFTER, "2".parse().unwrap());
        assert_eq!(
            classify(StatusCode::SERVICE_UNAVAILABLE, &headers, NOW),
            retry(None, false)
        );
    }
}
