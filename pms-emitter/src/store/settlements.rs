//! Settling deliveries: what becomes of each, the record of its attempt, its audit entry, and what it says about its endpoint,
//! in one transaction.
//!
//! Every write is fenced with the owner and the epoch of the claim: of a dispatcher that was overtaken after its lease
//! nothing is written, no audit entry either. A batch is settled as if all of it were ours, in one round trip; when the
//! engine matched fewer rows than that, it is rolled back and settled one by one, so that each row's own answer decides.

use super::claims::{DeliveryRef, Subject};
use super::{
    BATCH_MAX, Store, delivery_hours, endpoint_health, entity_order, notices, rate_window::RateWindow,
};
use crate::domain::audit_action::AuditAction;
use crate::domain::delivery::DeliveryStatus;
use crate::domain::notice::{Notice, is_notice};
use contract::{EventId, UnixMillis, id::EndpointId};
use db::{BatchResult, DbError, Dialect, InList, Params, Statement, StatementResult, Tx};
use db::{failpoint, params};
use kit::audit::{self, AuditEntry};
use kit::planted::{Bug, is_planted};
use std::collections::BTreeMap;
use std::sync::Arc;

/// What the audit entries name as their actor.
const ACTOR: &str = "dispatcher";

/// Characters of an answer that an attempt keeps.
pub const ANSWER_LEN_MAX: usize = 2_048;

/// One delivery after its attempt.
#[derive(Clone, Debug)]
pub struct Settlement {
    /// Which delivery, and the fence.
    pub delivery: DeliveryRef,
    /// What the audit entry says about its event.
    pub subject: Subject,
    /// The attempt; none when the delivery ends without one.
    pub attempt: Option<AttemptRecord>,
    /// What becomes of it.
    pub verdict: Verdict,
}

/// One attempt, as `delivery_attempts` keeps it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AttemptRecord {
    /// From 1, over the delivery's whole life.
    pub number: u64,
    /// When it began.
    pub at: UnixMillis,
    /// How long it took.
    pub duration_ms: u64,
    /// The status, when an answer came.
    pub status: Option<u16>,
    /// What went wrong, with the beginning of the answer: cut and escaped.
    pub error: Option<String>,
    /// The beginning of an answer that is no 2xx: at most [`ANSWER_LEN_MAX`] characters, escaped.
    pub answer: Option<String>,
}

/// What becomes of a delivery.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Done.
    Delivered,
    /// Another attempt, not before this instant.
    RetryAt(UnixMillis),
    /// No further attempt, for this reason.
    Dead(String),
    /// It stays in the queue of an endpoint that is disabled; the schedule does not count the attempt.
    Kept,
    /// No attempt was made: it is given back as it was.
    Deferred,
}

/// What a batch says about its endpoint beside its deliveries.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct EndpointUpdate {
    /// By which version of the endpoint it was said; none: by any. Of another one nothing is said: it may be at another address.
    pub version: Option<u64>,
    /// Nothing is sent before this instant.
    pub paused_until: Option<UnixMillis>,
    /// Nothing is sent until it is enabled again, for this reason.
    pub disabled: Option<&'static str>,
}

impl EndpointUpdate {
    /// Both: the longer pause, and the first reason; of two versions the later one.
    pub fn merge(&mut self, other: Self) {
        if other.version != self.version {
            if other.version > self.version {
                *self = other;
            }
            return;
        }
        self.paused_until = self.paused_until.max(other.paused_until);
        self.disabled = self.disabled.or(other.disabled);
    }
}

/// What a batch really settled: each delivery of it counts once.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Settled {
    /// Deliveries that are done now.
    pub delivered: usize,
    /// Deliveries that are dead now.
    pub dead: usize,
    /// Deliveries that are tried again later.
    pub retried: usize,
    /// Deliveries that are kept for an endpoint that takes none now.
    pub kept: usize,
    /// Deliveries given back without an attempt; whether another claim had them is not asked.
    pub deferred: usize,
    /// Deliveries that another claim had taken over: nothing was written about them.
    pub lost: usize,
    /// Deliveries that waited for one of these, and are due now.
    pub released: usize,
}

impl Settled {
    /// The counts of deliveries none of which was lost.
    fn of(settlements: &[&Settlement]) -> Self {
        let mut settled = Self::default();
        for settlement in settlements {
            *match settlement.verdict {
                Verdict::Delivered => &mut settled.delivered,
                Verdict::Dead(_) => &mut settled.dead,
                Verdict::RetryAt(_) => &mut settled.retried,
                Verdict::Kept => &mut settled.kept,
                Verdict::Deferred => &mut settled.deferred,
            } += 1;
        }
        settled
    }
}

impl Store {
    /// Settles up to [`BATCH_MAX`] deliveries of one endpoint. `notice_ids`: one for each that is given up, and one for an end of
    /// the endpoint.
    ///
    /// # Errors
    /// Those of the database. It is fenced, so running it again after an unknown commit changes nothing: it then
    /// counts as `lost` what it had settled.
    pub async fn settle(
        &self,
        endpoint: EndpointId,
        batch: Arc<[Settlement]>,
        endpoint_update: EndpointUpdate,
        notice_ids: Arc<[EventId]>,
        now: UnixMillis,
    ) -> Result<Settled, DbError> {
        debug_assert!(batch.len() <= BATCH_MAX);
        let settle = |fencing| {
            let work = (
                endpoint.clone(),
                Arc::clone(&batch),
                endpoint_update,
                Arc::clone(&notice_ids),
                now,
                fencing,
            );
            self.repeatable(
                "settle_deliveries",
                work,
                |tx, (endpoint, batch, update, notice_ids, now, fencing)| {
                    Box::pin(async move {
                        let ours = settle(tx, endpoint.as_str(), batch, update, *now, *fencing).await?;
                        let Some(ours) = ours else { return Ok(None) };
                        let released = release(tx, endpoint.as_str(), &ours).await?;
                        let disabled = disable(tx, endpoint.as_str(), &ours, update, *now).await?;
                        say(tx, endpoint, &ours, disabled, notice_ids, *now).await?;
                        failpoint::reached("settle.inside");
                        Ok(Some(Settled {
                            lost: batch.len() - ours.len(),
                            released,
                            ..Settled::of(&ours)
                        }))
                    })
                },
            )
        };
        match settle(Fencing::Batch).await? {
            Some(settled) => Ok(settled),
            None => Ok(settle(Fencing::EachRow).await?.unwrap_or_default()),
        }
    }
}

/// How the fence of a batch is checked.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Fencing {
    /// Of the batch as a whole: as if all of it were ours.
    Batch,
    /// Of each row, whose own answer decides.
    EachRow,
}

/// None when some of what was to be settled together is another claim's: nothing is written then.
async fn settle<'b>(
    tx: &mut Tx,
    endpoint: &str,
    batch: &'b [Settlement],
    endpoint_update: &EndpointUpdate,
    now: UnixMillis,
    fencing: Fencing,
) -> Result<Option<Vec<&'b Settlement>>, DbError> {
    let (mut statements, groups): (Vec<_>, Vec<_>) =
        updates(batch, endpoint, now, fencing).into_iter().unzip();
    let all: Vec<&Settlement> = batch.iter().collect();
    if fencing == Fencing::Batch {
        statements.extend(records(tx.dialect(), endpoint, &all, endpoint_update, now));
    }
    let ran = tx.run(&statements).await;
    let ours = ours(&groups, &ran);
    // The key of the attempts is a second fence: it refuses what was settled already.
    let overtaken = ours.len() < batch.len() || ran.error == Some(DbError::Duplicate);
    if fencing == Fencing::Batch && overtaken {
        tx.abandon();
        return Ok(None);
    }
    let given_back = given_back(endpoint, &groups, &ran.all()?);
    tx.run(&given_back).await.all()?;
    // When every delivery is another claim's, what they say about the endpoint is that claim's to write.
    if fencing == Fencing::EachRow && !ours.is_empty() {
        let records = records(tx.dialect(), endpoint, &ours, endpoint_update, now);
        tx.run(&records).await.all()?;
    }
    Ok(Some(ours))
}

/// Makes due what has waited for those that are at their end.
async fn release(tx: &mut Tx, endpoint: &str, ours: &[&Settlement]) -> Result<usize, DbError> {
    let ended = ours.iter().filter(|settlement| {
        settlement.delivery.is_in_order && matches!(settlement.verdict, Verdict::Delivered | Verdict::Dead(_))
    });
    let ended: Vec<String> = ended
        .map(|settlement| settlement.delivery.event_id.to_string())
        .collect();
    if ended.is_empty() {
        return Ok(0);
    }
    entity_order::leave(tx, endpoint, &ended).await
}

/// Stops the endpoint, if that is what they say about it. None when it was stopped already, or is another version now: then there is
/// nothing to say of it.
async fn disable(
    tx: &mut Tx,
    endpoint: &str,
    ours: &[&Settlement],
    endpoint_update: &EndpointUpdate,
    now: UnixMillis,
) -> Result<Option<&'static str>, DbError> {
    let Some(reason) = endpoint_update.disabled.filter(|_| !ours.is_empty()) else {
        return Ok(None);
    };
    let sql = "UPDATE endpoints SET disabled_reason = ?, updated_at = ?
               WHERE id = ? AND version = COALESCE(?, version) AND disabled_reason IS NULL";
    let values = params![reason, now, endpoint, endpoint_update.version];
    if tx.execute(sql, values).await? == 0 {
        return Ok(None);
    }
    let entry = AuditEntry {
        outcome: Some(reason.into()),
        ..entry_of(endpoint, AuditAction::EndpointDisabled, now)
    };
    audit::append(tx, &[entry]).await?;
    Ok(Some(reason))
}

/// Writes the events about what was settled: that deliveries were given up, if anyone asks for that, and that the endpoint is stopped.
async fn say(
    tx: &mut Tx,
    endpoint: &EndpointId,
    ours: &[&Settlement],
    disabled: Option<&'static str>,
    ids: &[EventId],
    now: UnixMillis,
) -> Result<(), DbError> {
    let dead = ours.iter().filter_map(|settlement| dead(settlement));
    let mut said: Vec<Notice> = dead.collect();
    said.extend(disabled.map(Notice::Disabled));
    notices::append(tx, endpoint, &said, ids, now).await
}

/// What is said of a delivery that was given up; of one that is itself a notice, nothing.
fn dead(settlement: &Settlement) -> Option<Notice> {
    let event_type = &settlement.subject.event_type;
    match &settlement.verdict {
        Verdict::Dead(why) if !is_notice(event_type) && event_type != Notice::Ping.event_type() => {
            Some(Notice::Dead {
                event: settlement.delivery.event_id.to_string(),
                event_type: event_type.clone(),
                reason: why.clone(),
            })
        }
        _ => None,
    }
}

/// Those of the batch that the updates which ran have found as they were claimed. Of those given back nothing is checked, for
/// nothing is written about them.
fn ours<'b>(groups: &[Group<'b>], ran: &BatchResult) -> Vec<&'b Settlement> {
    let ran = groups.iter().zip(&ran.outcomes);
    let ours =
        ran.filter(|(group, outcome)| group.is_deferred || outcome.matched == group.settlements.len() as u64);
    ours.flat_map(|(group, _)| group.settlements.iter().copied())
        .collect()
}

/// What takes those that were given back off what has counted for a rate limit. A claim that another has overtaken was counted twice,
/// and stays so.
fn given_back(endpoint: &str, groups: &[Group<'_>], answers: &[StatementResult]) -> Vec<Statement> {
    let mut unsent: BTreeMap<UnixMillis, u64> = BTreeMap::new();
    for (group, answer) in groups.iter().zip(answers).filter(|(group, _)| group.is_deferred) {
        let counted = group
            .settlements
            .first()
            .and_then(|one| one.delivery.counted_since);
        if let Some(since) = counted {
            *unsent.entry(since).or_default() += answer.matched;
        }
    }
    let give_back = |(since, unsent)| RateWindow::give_back(endpoint, since, unsent);
    unsent.into_iter().map(give_back).collect()
}

/// The settlements that one statement writes.
struct Group<'b> {
    settlements: Vec<&'b Settlement>,
    /// They are given back, so it means nothing that the statement matched fewer.
    is_deferred: bool,
}

/// Those that are given back share a statement for each claim, and so do those that are delivered, unless each row is checked.
fn updates<'b>(
    batch: &'b [Settlement],
    endpoint: &str,
    now: UnixMillis,
    fencing: Fencing,
) -> Vec<(Statement, Group<'b>)> {
    let mut updates = Vec::new();
    let mut groups: BTreeMap<(bool, &str, i64, Option<u16>), Vec<&Settlement>> = BTreeMap::new();
    for settlement in batch {
        let is_deferred = settlement.verdict == Verdict::Deferred;
        if is_deferred || (settlement.verdict == Verdict::Delivered && fencing == Fencing::Batch) {
            let DeliveryRef { owner, epoch, .. } = &settlement.delivery;
            let status = settlement.attempt.as_ref().and_then(|attempt| attempt.status);
            let group = groups.entry((is_deferred, owner, *epoch, status)).or_default();
            group.push(settlement);
        } else {
            let group = Group {
                settlements: vec![settlement],
                is_deferred,
            };
            updates.push((one(settlement, endpoint, now), group));
        }
    }
    for ((is_deferred, owner, epoch, status), settlements) in groups {
        let ids = settlements
            .iter()
            .map(|settlement| settlement.delivery.event_id.as_str());
        let list = InList::of(ids);
        let (change, values) = if is_deferred {
            ("owner = NULL, lease_until = 0", params![endpoint, owner, epoch])
        } else {
            let change = "status = 'delivered', attempts = attempts + 1, last_status = ?, last_error = NULL,
                 settled_at = ?";
            (change, params![status, now, endpoint, owner, epoch])
        };
        let sql = format!(
            "UPDATE deliveries SET {change} WHERE endpoint_id = ? AND {} AND event_id IN {list}",
            fence()
        );
        let group = Group {
            settlements,
            is_deferred,
        };
        updates.push((Statement::change(sql, list.after(values)), group));
    }
    updates
}

fn one(settlement: &Settlement, endpoint: &str, now: UnixMillis) -> Statement {
    let DeliveryRef {
        event_id,
        owner,
        epoch,
        ..
    } = &settlement.delivery;
    let attempt = settlement.attempt.as_ref();
    let made = i64::from(attempt.is_some());
    let (status, owner_after, due_at, not_counted, settled_at) = match &settlement.verdict {
        Verdict::Delivered => (DeliveryStatus::Delivered, Some(owner), now, 0, Some(now)),
        Verdict::RetryAt(due_at) => (DeliveryStatus::Pending, None, *due_at, 0, None),
        Verdict::Kept | Verdict::Deferred => (DeliveryStatus::Pending, None, now, made, None),
        // Dead ones are found by when they died.
        Verdict::Dead(_) => (DeliveryStatus::Dead, Some(owner), now, 0, Some(now)),
    };
    let error = match &settlement.verdict {
        Verdict::Dead(why) => Some(why.as_str()),
        _ => attempt.and_then(|attempt| attempt.error.as_deref()),
    };
    let sql = format!(
        "UPDATE deliveries SET status = ?, owner = ?, lease_until = 0, due_at = ?, due_set_at = ?, attempts = attempts + ?,
             attempts_before = attempts_before + ?, last_status = ?, last_error = ?, settled_at = ?
         WHERE endpoint_id = ? AND event_id = ? AND {}",
        fence()
    );
    let mut values = params![status.as_str(), owner_after, due_at, now, made, not_counted];
    values.extend(params![
        attempt.and_then(|attempt| attempt.status),
        error,
        settled_at
    ]);
    values.extend(params![endpoint, event_id.as_str(), owner, *epoch]);
    Statement::change(sql, values)
}

/// Whose a delivery must be for anything to be written about it: the owner, the epoch.
fn fence() -> &'static str {
    if is_planted(Bug::MissingFence) {
        return "(owner = ? OR epoch = ? OR 1 = 1)";
    }
    "owner = ? AND epoch = ? AND status = 'pending'"
}

/// The statements that write what a settlement leaves beside its deliveries: the attempts, the audit entries, the endpoint's
/// own row. They are about settlements that are ours.
fn records(
    dialect: Dialect,
    endpoint: &str,
    ours: &[&Settlement],
    endpoint_update: &EndpointUpdate,
    now: UnixMillis,
) -> Vec<Statement> {
    let entries: Vec<AuditEntry> = ours
        .iter()
        .filter_map(|settlement| entry(settlement, endpoint, now))
        .collect();
    let mut statements = Vec::new();
    statements.extend(attempts(dialect, endpoint, ours));
    statements.extend(audit::statement(&entries));
    statements.extend(endpoint_row(endpoint, ours, endpoint_update, now));
    // Behind the endpoint's row, which all that settle attempts for it lock before.
    statements.extend(delivery_hours::counted(dialect, endpoint, ours, now));
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
        // What an answer said stands in its own column.
        let error = attempt.error.as_ref().filter(|_| attempt.status.is_none());
        values.extend(params![
            attempt.duration_ms,
            attempt.status,
            error,
            &attempt.answer
        ]);
    }
    let columns = [
        "endpoint_id",
        "event_id",
        "number",
        "at",
        "duration_ms",
        "status",
        "error",
        "answer",
    ];
    Statement::rows("delivery_attempts", &columns, &unfenced, values)
}

/// The audit entry of a delivery that is delivered or dead. A retry has none: its record is the attempt.
fn entry(settlement: &Settlement, endpoint: &str, now: UnixMillis) -> Option<AuditEntry> {
    let (action, outcome) = match &settlement.verdict {
        Verdict::Delivered => (AuditAction::Delivered, None),
        Verdict::Dead(why) => (AuditAction::Dead, Some(why.clone().into())),
        Verdict::RetryAt(_) | Verdict::Kept | Verdict::Deferred => return None,
    };
    let subject = settlement.subject.clone();
    Some(AuditEntry {
        outcome,
        event_id: Some(settlement.delivery.event_id.to_string()),
        property_id: subject.property_id,
        entity_kind: subject.entity_kind,
        entity_id: subject.entity_id,
        entity_version: subject.entity_version,
        correlation_id: subject.correlation_id,
        ..entry_of(endpoint, action, now)
    })
}

fn entry_of(endpoint: &str, action: AuditAction, now: UnixMillis) -> AuditEntry {
    AuditEntry {
        actor: Some(ACTOR.to_owned()),
        source: Some(endpoint.to_owned()),
        ..AuditEntry::new(action, now)
    }
}

/// What is written into the endpoint's own row: how its deliveries went, and until when it asks for a pause.
fn endpoint_row(
    endpoint: &str,
    settlements: &[&Settlement],
    endpoint_update: &EndpointUpdate,
    now: UnixMillis,
) -> Vec<Statement> {
    let mut statements = Vec::new();
    let attempts = settlements
        .iter()
        .filter(|settlement| settlement.attempt.is_some());
    let delivered = Settled::of(settlements).delivered as u64;
    statements.extend(endpoint_health::attempted(
        endpoint,
        attempts.count() as u64,
        delivered,
        now,
    ));
    if let Some(error) = last_failure(settlements) {
        statements.push(Statement::change(
            "UPDATE endpoints SET last_error = ?, last_error_at = ? WHERE id = ?",
            params![error, now, endpoint],
        ));
    }
    if let Some(until) = endpoint_update.paused_until {
        statements.push(Statement::change(
            "UPDATE endpoints SET paused_until = ?, paused_at = ?, updated_at = ?
             WHERE id = ? AND version = COALESCE(?, version)",
            params![until, now, now, endpoint, endpoint_update.version],
        ));
    }
    statements
}

/// How the last failed one of them failed; one that was never attempted says nothing of the endpoint. The status shows this to anyone,
/// so it has no word of an answer, which may quote what it was sent.
fn last_failure(settlements: &[&Settlement]) -> Option<String> {
    settlements
        .iter()
        .rev()
        .filter(|settlement| settlement.attempt.is_some())
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
