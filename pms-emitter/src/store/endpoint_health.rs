//! How long endpoints have been failing, and what follows from it: notices at half of the time and later, and the end of sending.
//!
//! Settlements note failures and successes in the endpoint's row. What is to be said is decided here, from time to time, by a
//! compare-and-set of the level that was last said: so it is said once, whatever number of replicas look.

use super::{Store, clock_skew::set_at_most, notices, webhooks::ENDPOINTS_MAX};
use crate::domain::audit_action::AuditAction;
use crate::domain::notice::Notice;
use contract::{EventId, UnixMillis, id::EndpointId};
use db::{DbError, Params, Row, Statement, Tx, params, read_id};
use kit::audit::{self, AuditEntry};

/// An endpoint that fails for so long without one success, in as many different hours, is stopped: 5 days.
const STOPPED_AFTER_MILLIS: i64 = 5 * 24 * 3_600 * 1_000;
const HOURS_MIN: i64 = 3;
/// The shares of that time, in percent, at which it is said that it is failing.
const LEVELS: [i64; 3] = [90, 70, 50];
/// The level of one that was stopped.
const STOPPED: i64 = 100;
/// Why it is stopped.
const FAILING: &str = "failing";
const HOUR_MILLIS: i64 = 3_600 * 1_000;
const MINUTE_MILLIS: i64 = 60 * 1_000;

/// What is set of an endpoint of whose failures none is to count.
pub(super) const NOT_FAILING: &str =
    "failing_level = 0, failing_since = NULL, failing_hours = 0, failing_hour = NULL";

/// Whether a ping is due now, by two instants: now, and the latest at which its time can have been set.
const BEATS: &str = "heartbeat_at IS NOT NULL AND (heartbeat_at <= ? OR heartbeat_set_at > ?)";

/// Attempts are counted by spans of so long, and their rate is that of the present one and the two before: of the last 10 to 15
/// minutes, wherever a border lies.
const RATE_MILLIS: i64 = 5 * MINUTE_MILLIS;
/// How many there must be for their rate to mean something.
const RATE_ATTEMPTS_MIN: i64 = 20;

/// What an attempt changes of the counts. First the older spans: MySQL sets columns in this order, each by what stands there by then,
/// and so the span that counts comes last. One that another replica has begun, whose clock is ahead, counts as the present one.
const COUNT_RATE: &str = "
     rate_attempts_2 = CASE WHEN rate_window IN (?, ?) THEN rate_attempts_2 WHEN rate_window = ? THEN rate_attempts_1
         WHEN rate_window = ? THEN rate_attempts ELSE 0 END,
     rate_failed_2 = CASE WHEN rate_window IN (?, ?) THEN rate_failed_2 WHEN rate_window = ? THEN rate_failed_1
         WHEN rate_window = ? THEN rate_failed ELSE 0 END,
     rate_attempts_1 = CASE WHEN rate_window IN (?, ?) THEN rate_attempts_1 WHEN rate_window = ? THEN rate_attempts ELSE 0 END,
     rate_failed_1 = CASE WHEN rate_window IN (?, ?) THEN rate_failed_1 WHEN rate_window = ? THEN rate_failed ELSE 0 END,
     rate_attempts = CASE WHEN rate_window IN (?, ?) THEN rate_attempts ELSE 0 END + ?,
     rate_failed = CASE WHEN rate_window IN (?, ?) THEN rate_failed ELSE 0 END + ?,
     rate_window = CASE WHEN rate_window = ? THEN rate_window ELSE ? END, ";

/// The counts of those that had attempts lately, by the present span and the two before.
const RATES: &str = "SELECT id, rate_alarm,
         rate_attempts + CASE WHEN rate_window >= ? THEN rate_attempts_1 ELSE 0 END
             + CASE WHEN rate_window >= ? THEN rate_attempts_2 ELSE 0 END AS attempts,
         rate_failed + CASE WHEN rate_window >= ? THEN rate_failed_1 ELSE 0 END
             + CASE WHEN rate_window >= ? THEN rate_failed_2 ELSE 0 END AS failed
     FROM endpoints WHERE deleted_at IS NULL AND rate_window >= ?";

/// Everything that is to be said or sent now.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ToNotice {
    /// Endpoints that have failed for long, or did and have recovered.
    pub ailing: Vec<Ailing>,
    /// Endpoints more than a tenth of whose attempts fail; true for those where that is to be said, false where it is over.
    pub rates: Vec<(EndpointId, bool)>,
    /// Endpoints that are due a ping.
    pub beats: Vec<EndpointId>,
}

/// What a look has found of an endpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ailing {
    endpoint: EndpointId,
    failing_since: Option<UnixMillis>,
    level_before: i64,
    level: i64,
}

impl Store {
    /// The endpoints of which something is to be said now, and those that are due a ping.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn endpoints_to_notice(&self, now: UnixMillis) -> Result<ToNotice, DbError> {
        let read = self.db.read("endpoints_to_notice", move |tx| {
            Box::pin(async move { to_notice(tx, now).await })
        });
        read.await
    }

    /// Says what a look has found, and stops an endpoint at the end of its time; nothing where another process did, or where it is
    /// so no more.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn notice_health(&self, found: Ailing, event: EventId, now: UnixMillis) -> Result<(), DbError> {
        self.repeatable("notice_health", (found, event, now), |tx, (found, event, now)| {
            Box::pin(notice(tx, found, event, *now))
        })
        .await
    }

    /// Says that many attempts at an endpoint fail, or notes that it is over; nothing where another process did.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn notice_rate(
        &self,
        endpoint: EndpointId,
        is_alarm: bool,
        event: EventId,
        now: UnixMillis,
    ) -> Result<(), DbError> {
        let work = (endpoint, is_alarm, event, now);
        self.repeatable("notice_rate", work, |tx, (endpoint, is_alarm, event, now)| {
            Box::pin(async move {
                let sql = "UPDATE endpoints SET rate_alarm = ? WHERE id = ? AND rate_alarm = ?";
                let values = params![*is_alarm, endpoint.as_str(), !*is_alarm];
                if tx.execute(sql, values).await? == 0 {
                    tx.abandon();
                    return Ok(());
                }
                let said: &[Notice] = if *is_alarm { &[Notice::FailureRate] } else { &[] };
                notices::append(tx, endpoint, said, std::slice::from_ref(event), *now).await
            })
        })
        .await
    }

    /// Sends an endpoint the ping that is due.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn beat(&self, endpoint: EndpointId, event: EventId, now: UnixMillis) -> Result<(), DbError> {
        self.repeatable("beat", (endpoint, event, now), |tx, (endpoint, event, now)| {
            Box::pin(async move {
                let minutes = "SELECT settings FROM endpoints WHERE id = ?";
                let row = tx.query_one(minutes, params![endpoint.as_str()]).await?;
                let settings: Option<String> = row.map(|row| row.get("settings")).transpose()?.flatten();
                let settings = settings
                    .as_deref()
                    .map(super::webhooks::read_settings)
                    .transpose()?;
                let next = settings.and_then(|settings| settings.heartbeat_minutes);
                let next = next.map(|minutes| now.plus_millis(i64::from(minutes) * MINUTE_MILLIS));
                let sql = format!(
                    "UPDATE endpoints SET heartbeat_at = ?, heartbeat_set_at = ? WHERE id = ? AND {BEATS}"
                );
                let values = params![next, *now, endpoint.as_str(), *now, set_at_most(*now)];
                if tx.execute(&sql, values).await? == 0 {
                    tx.abandon();
                    return Ok(());
                }
                let ids = std::slice::from_ref(event);
                notices::append(tx, endpoint, &[Notice::Ping], ids, *now).await
            })
        })
        .await
    }
}

/// What a batch of settlements notes in the endpoint's row, of so many attempts, of which so many were delivered.
pub(super) fn attempted(endpoint: &str, attempts: u64, delivered: u64, now: UnixMillis) -> Option<Statement> {
    if attempts == 0 {
        return None;
    }
    let hour = beginning(now, HOUR_MILLIS);
    let failed = attempts.saturating_sub(delivered);
    let (mut set, mut values) = (COUNT_RATE.to_owned(), count_rate(attempts, failed, now));
    if delivered > 0 {
        set += "delivered = delivered + ?, last_success_at = ?, failing_since = NULL, failing_hours = 0, failing_hour = NULL";
        values.extend(params![delivered, now]);
    } else {
        set += "failing_since = COALESCE(failing_since, ?),
             failing_hours = failing_hours + CASE WHEN failing_hour IS NULL OR failing_hour <> ? THEN 1 ELSE 0 END,
             failing_hour = ?";
        values.extend(params![now, hour, hour]);
    }
    values.extend(params![endpoint]);
    Some(Statement::change(
        format!("UPDATE endpoints SET {set} WHERE id = ?"),
        values,
    ))
}

/// The values of [`COUNT_RATE`].
fn count_rate(attempts: u64, failed: u64, now: UnixMillis) -> Params {
    let present = beginning(now, RATE_MILLIS);
    let (ahead, one, two) = (
        present + RATE_MILLIS,
        present - RATE_MILLIS,
        present - 2 * RATE_MILLIS,
    );
    let mut values = params![present, ahead, one, two, present, ahead, one, two];
    values.extend(params![present, ahead, one, present, ahead, one]);
    values.extend(params![present, ahead, attempts, present, ahead, failed]);
    values.extend(params![ahead, present]);
    values
}

/// Forgets the failures of an endpoint whose address has changed: they were another one's.
pub(super) async fn forget_for_new_address(tx: &mut Tx, endpoint: &str) -> Result<(), DbError> {
    let sql = format!(
        "UPDATE endpoints SET {NOT_FAILING}, rate_window = 0, rate_attempts = 0, rate_failed = 0, rate_alarm = 0 WHERE id = ?"
    );
    tx.execute(&sql, params![endpoint]).await.map(drop)
}

/// When the span of so many milliseconds began that an instant is in.
fn beginning(now: UnixMillis, millis: i64) -> i64 {
    now.0 - now.0.rem_euclid(millis)
}

async fn to_notice(tx: &mut Tx, now: UnixMillis) -> Result<ToNotice, DbError> {
    let half = now.0 - STOPPED_AFTER_MILLIS * LEVELS[LEVELS.len() - 1] / 100;
    let span = beginning(now, RATE_MILLIS);
    let (one, two) = (span - RATE_MILLIS, span - 2 * RATE_MILLIS);
    let looks = [
        Statement::query(
            "SELECT id, failing_since, failing_hours, failing_level, last_error_at FROM endpoints
             WHERE deleted_at IS NULL AND disabled_reason IS NULL AND (failing_since <= ? OR failing_level > 0) LIMIT ?",
            params![half, ENDPOINTS_MAX],
        ),
        Statement::query(
            format!(
                "SELECT id FROM endpoints WHERE deleted_at IS NULL AND disabled_reason IS NULL AND paused = 0 AND {BEATS} LIMIT ?"
            ),
            params![now, set_at_most(now), ENDPOINTS_MAX],
        ),
        // It is said above a tenth, and again only once it was below a twentieth.
        Statement::query(
            format!(
                "SELECT id, rate_alarm FROM ({RATES}) AS lately WHERE attempts >= ?
                     AND ((rate_alarm = 0 AND failed * 10 > attempts) OR (rate_alarm = 1 AND failed * 20 < attempts)) LIMIT ?"
            ),
            params![one, span, one, span, two, RATE_ATTEMPTS_MIN, ENDPOINTS_MAX],
        ),
    ];
    let answers = tx.run(&looks).await.all()?;
    let mut ailing = Vec::new();
    for row in &answers[0].rows {
        let found = read(row)?;
        if found.level != found.level_before {
            ailing.push(found);
        }
    }
    let beats = answers[1].rows.iter().map(|row| read_id(row, "id"));
    let rates = answers[2]
        .rows
        .iter()
        .map(|row| Ok((read_id(row, "id")?, !row.get::<bool>("rate_alarm")?)));
    Ok(ToNotice {
        ailing,
        rates: rates.collect::<Result<_, DbError>>()?,
        beats: beats.collect::<Result<_, _>>()?,
    })
}

fn read(row: &Row) -> Result<Ailing, DbError> {
    let failing_since: Option<UnixMillis> = row.get("failing_since")?;
    let last: Option<UnixMillis> = row.get("last_error_at")?;
    let hours: i64 = row.get("failing_hours")?;
    let lasted = failing_since
        .zip(last)
        .map_or(0, |(since, last)| last.0 - since.0);
    Ok(Ailing {
        endpoint: read_id(row, "id")?,
        failing_since,
        level_before: row.get("failing_level")?,
        level: level(lasted, hours),
    })
}

/// How far it is on its way to being stopped, in the steps in which that is said.
fn level(lasted_millis: i64, hours: i64) -> i64 {
    if hours < HOURS_MIN {
        return 0;
    }
    let percent = lasted_millis * 100 / STOPPED_AFTER_MILLIS;
    let reached = std::iter::once(STOPPED)
        .chain(LEVELS)
        .find(|level| percent >= *level);
    reached.unwrap_or(0)
}

async fn notice(tx: &mut Tx, found: &Ailing, event: &EventId, now: UnixMillis) -> Result<(), DbError> {
    let stops = found.level == STOPPED;
    // One that began to fail again after a success has recovered in between.
    let recovered = found.level < found.level_before;
    let sql = "UPDATE endpoints SET failing_level = ?, disabled_reason = CASE WHEN ? = 1 THEN ? ELSE disabled_reason END
               WHERE id = ? AND failing_level = ? AND disabled_reason IS NULL AND deleted_at IS NULL
                   AND (failing_since = ? OR (failing_since IS NULL AND ? = 1))";
    let values = params![
        if recovered { 0 } else { found.level },
        stops,
        FAILING,
        found.endpoint.as_str(),
        found.level_before,
        found.failing_since,
        found.failing_since.is_none()
    ];
    if tx.execute(sql, values).await? == 0 {
        tx.abandon();
        return Ok(());
    }
    let what = match found.level {
        _ if recovered => Notice::Recovered,
        STOPPED => Notice::Disabled(FAILING),
        level => Notice::Failing(u32::try_from(level).unwrap_or_default()),
    };
    if stops {
        let entry = AuditEntry {
            actor: Some("dispatcher".to_owned()),
            source: Some(found.endpoint.to_string()),
            outcome: Some(FAILING.into()),
            ..AuditEntry::new(AuditAction::EndpointDisabled, now)
        };
        audit::append(tx, &[entry]).await?;
    }
    let ids = std::slice::from_ref(event);
    notices::append(tx, &found.endpoint, &[what], ids, now).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_said_at_half_of_the_time_and_later_and_not_of_a_single_bad_hour() {
        let day = 24 * HOUR_MILLIS;
        for (lasted, hours, expected) in [
            (day * 5 / 2 - 1, 50, 0),
            (day * 5 / 2, 3, 50),
            (day * 5 / 2, 2, 0),
            (day * 7 / 2, 3, 70),
            (day * 9 / 2, 9, 90),
            (day * 5, 2, 0),
            (day * 5, 3, 100),
            (day * 50, 99, 100),
        ] {
            assert_eq!(level(lasted, hours), expected, "{lasted} {hours}");
        }
    }
}
