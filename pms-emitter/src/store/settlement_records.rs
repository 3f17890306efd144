//! What a settlement leaves beside its deliveries: the attempts, the audit entries, the endpoint's own row.

use super::settled::Settled;
use super::settlements::{AttemptRecord, EndpointUpdate, Settlement, Verdict};
use contract::UnixMillis;
use db::params;
use db::{Dialect, Params, Statement};
use kit::audit::{self, AuditEntry};
use kit::planted::{Bug, is_planted};

/// What the audit entries name as their actor.
const ACTOR: &str = "dispatcher";

/// The statements that write all of it, about settlements that are ours.
pub(super) fn records(
    dialect: Dialect,
    endpoint: &str,
    ours: &[&Settlement],
    news: &EndpointUpdate,
    now: UnixMillis,
) -> Vec<Statement> {
    let mut entries: Vec<AuditEntry> = ours
        .iter()
        .filter_map(|settlement| entry(settlement, endpoint, now))
        .collect();
    entries.extend(news.disabled.map(|reason| disabled_entry(reason, endpoint, now)));
    let mut statements = Vec::new();
    statements.extend(attempts(dialect, endpoint, ours));
    statements.extend(audit::statement(&entries));
    statements.extend(endpoint_row(endpoint, ours, news, now));
    statements
}

/// The attempts that were made. The key of their table is a second fence: it refuses one that was settled already.
fn attempts(dialect: Dialect, endpoint: &str, settlements: &[&Settlement]) -> Option<Statement> {
    let unfenced = if is_planted(Bug::MissingFence) {
        dialect.skip_existing("event_id")
    } else {
        String::new()
    };
    let made = settlements.iter().filter_map(|settlement| {
        let attempt = settlement.attempt.as_ref()?;
        Some((settlement.delivery.event_id.as_str(), attempt))
    });
    let mut values = Params::new();
    for (event_id, attempt) in made {
        values.extend(params![endpoint, event_id, attempt.number, attempt.at]);
        values.extend(params![attempt.duration_ms, attempt.status, &attempt.error]);
    }
    let columns = [
        "endpoint_id",
        "event_id",
        "number",
        "at",
        "duration_ms",
        "status",
        "error",
    ];
    Statement::rows("delivery_attempts", &columns, &unfenced, values)
}

/// Retries are no effect: their record is the attempt.
fn entry(settlement: &Settlement, endpoint: &str, now: UnixMillis) -> Option<AuditEntry> {
    let (action, outcome) = match &settlement.verdict {
        Verdict::Delivered => ("delivered", None),
        Verdict::Dead(why) => ("dead", Some(why.clone().into())),
        Verdict::RetryAt(_) | Verdict::Kept | Verdict::Deferred => return None,
    };
    let subject = settlement.subject.clone();
    Some(AuditEntry {
        outcome,
        actor: Some(ACTOR.to_owned()),
        source: Some(endpoint.to_owned()),
        event_id: Some(settlement.delivery.event_id.to_string()),
        property_id: subject.property_id,
        entity_kind: subject.entity_kind,
        entity_id: subject.entity_id,
        entity_version: subject.entity_version,
        correlation_id: subject.correlation_id,
        ..AuditEntry::new(action, now)
    })
}

/// What the endpoint's own row says of its deliveries, and the news.
fn endpoint_row(
    endpoint: &str,
    settlements: &[&Settlement],
    news: &EndpointUpdate,
    now: UnixMillis,
) -> Vec<Statement> {
    let mut statements = Vec::new();
    let delivered = Settled::of(settlements).delivered as u64;
    if delivered > 0 {
        statements.push(Statement::change(
            "UPDATE endpoints SET delivered = delivered + ?, last_success_at = ? WHERE id = ?",
            params![delivered, now, endpoint],
        ));
    }
    if let Some(error) = last_failure(settlements) {
        statements.push(Statement::change(
            "UPDATE endpoints SET last_error = ?, last_error_at = ? WHERE id = ?",
            params![error, now, endpoint],
        ));
    }
    if news.paused_until.is_some() || news.disabled.is_some() {
        statements.push(Statement::change(
            "UPDATE endpoints SET paused_until = COALESCE(?, paused_until), paused_at = COALESCE(?, paused_at),
                 disabled_reason = COALESCE(?, disabled_reason), updated_at = ? WHERE id = ?",
            params![
                news.paused_until,
                news.paused_until.map(|_| now),
                news.disabled,
                now,
                endpoint
            ],
        ));
    }
    statements
}

/// How the last of them failed that did. Whoever asks for the status sees this: no word of an answer, which may quote what
/// it was sent.
fn last_failure(settlements: &[&Settlement]) -> Option<String> {
    settlements
        .iter()
        .rev()
        .find_map(|settlement| match (&settlement.verdict, &settlement.attempt) {
            (Verdict::Delivered, _) => None,
            (Verdict::Dead(why), _) => Some(why.clone()),
            (
                _,
                Some(AttemptRecord {
                    status: Some(status), ..
                }),
            ) => Some(format!("status {status}")),
            (_, attempt) => attempt.as_ref()?.error.clone(),
        })
}

/// The endpoint was disabled, for this reason.
fn disabled_entry(reason: &'static str, endpoint: &str, now: UnixMillis) -> AuditEntry {
    let (actor, source) = (Some(ACTOR.to_owned()), Some(endpoint.to_owned()));
    AuditEntry {
        outcome: Some(reason.into()),
        actor,
        source,
        ..AuditEntry::new("endpoint_disabled", now)
    }
}
