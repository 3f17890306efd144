//! Settling deliveries: what came of each attempt, its record and its audit entry, in one transaction.
//!
//! Every write is fenced with the owner and the epoch of the claim: of a dispatcher that was overtaken after its lease
//! nothing is written, no audit entry either. Those that are done are settled together; when the engine matched fewer
//! rows than that, the batch is rolled back and settled one by one, so that each row's own answer decides.

use super::claims::{DeliveryRef, Subject, listed};
use super::settled::Settled;
use super::settlement_records::{disabled_entry, entry, keep_attempts, keep_news};
use super::{BATCH_MAX, Store};
use contract::UnixMillis;
use kit::audit::{self, AuditEntry};
use kit::db::{DbError, Tx};
use kit::planted::{Bug, is_planted};
use kit::{failpoint, params};
use std::collections::BTreeMap;
use std::sync::Arc;

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
    /// What went wrong, cut and escaped.
    pub error: Option<String>,
}

/// What becomes of a delivery.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Done.
    Delivered,
    /// Another attempt, not before this instant.
    Again(UnixMillis),
    /// No further attempt, for this reason.
    Dead(String),
    /// It stays in the queue of an endpoint that is disabled; the schedule does not count the attempt.
    Kept,
    /// No attempt was made: it is given back as it was.
    Deferred,
}

/// What a batch says about its endpoint beside its deliveries.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct EndpointNews {
    /// Nothing is sent before this instant.
    pub paused_until: Option<UnixMillis>,
    /// Nothing is sent until it is enabled again, for this reason.
    pub disabled: Option<&'static str>,
}

impl EndpointNews {
    /// Both: the longer pause, and the first reason.
    pub fn merge(&mut self, other: Self) {
        self.paused_until = self.paused_until.max(other.paused_until);
        self.disabled = self.disabled.or(other.disabled);
    }
}

impl Store {
    /// Settles up to [`BATCH_MAX`] deliveries of one endpoint.
    ///
    /// # Errors
    /// Those of the database. It is fenced, so running it again after an unknown commit changes nothing: it then
    /// counts as `lost` what it had settled.
    pub async fn settle(
        &self,
        endpoint: &'static str,
        batch: Arc<[Settlement]>,
        news: EndpointNews,
        now: UnixMillis,
    ) -> Result<Settled, DbError> {
        debug_assert!(batch.len() <= BATCH_MAX);
        let together = self
            .settle_in(endpoint, Arc::clone(&batch), news, now, How::Together)
            .await?;
        match together {
            Some(settled) => Ok(settled),
            None => Ok(self
                .settle_in(endpoint, batch, news, now, How::OneByOne)
                .await?
                .unwrap_or_default()),
        }
    }

    async fn settle_in(
        &self,
        endpoint: &'static str,
        batch: Arc<[Settlement]>,
        news: EndpointNews,
        now: UnixMillis,
        how: How,
    ) -> Result<Option<Settled>, DbError> {
        self.db
            .transaction_or_find(
                "settle_deliveries",
                move |tx| {
                    let batch = Arc::clone(&batch);
                    Box::pin(async move { settle(tx, endpoint, &batch, &news, now, how).await })
                },
                |_| Box::pin(async { Ok(None) }),
            )
            .await
    }
}

/// Whether those that are done share a statement.
#[derive(Clone, Copy, PartialEq, Eq)]
enum How {
    Together,
    OneByOne,
}

/// None when some of what was to be settled together is another claim's: nothing was written then.
async fn settle(
    tx: &mut Tx,
    endpoint: &str,
    batch: &[Settlement],
    news: &EndpointNews,
    now: UnixMillis,
    how: How,
) -> Result<Option<Settled>, DbError> {
    let together = |settlement: &&Settlement| match settlement.verdict {
        Verdict::Deferred => true,
        Verdict::Delivered => how == How::Together,
        _ => false,
    };
    if !settle_together(tx, endpoint, batch.iter().filter(together), now).await? {
        tx.abandon();
        return Ok(None);
    }
    let mut ours: Vec<&Settlement> = batch.iter().filter(together).collect();
    for settlement in batch.iter().filter(|settlement| !together(settlement)) {
        if settle_one(tx, endpoint, settlement, now).await? {
            ours.push(settlement);
        }
    }
    keep_attempts(tx, endpoint, &ours).await?;
    failpoint::reached("settle.inside");
    let mut entries: Vec<AuditEntry> = ours
        .iter()
        .filter_map(|settlement| entry(settlement, endpoint, now))
        .collect();
    entries.extend(news.disabled.map(|reason| disabled_entry(reason, endpoint, now)));
    audit::append(tx, &entries).await?;
    let settled = Settled {
        lost: batch.len() - ours.len(),
        ..Settled::of(&ours)
    };
    keep_news(tx, endpoint, &ours, settled, news, now).await?;
    Ok(Some(settled))
}

/// Those that are done, and those that are given back, in one statement for each claim. Returns whether every one that
/// is done was ours; of those given back nothing is asked, for nothing is written about them.
async fn settle_together<'b>(
    tx: &mut Tx,
    endpoint: &str,
    settlements: impl Iterator<Item = &'b Settlement>,
    now: UnixMillis,
) -> Result<bool, DbError> {
    let mut claims: BTreeMap<(bool, &str, i64, Option<u16>), Vec<&'b str>> = BTreeMap::new();
    for settlement in settlements {
        let DeliveryRef {
            event_id,
            owner,
            epoch,
        } = &settlement.delivery;
        let status = settlement.attempt.as_ref().and_then(|attempt| attempt.status);
        let done = settlement.verdict == Verdict::Delivered;
        claims
            .entry((done, owner, *epoch, status))
            .or_default()
            .push(event_id.as_str());
    }
    for ((done, owner, epoch, status), ids) in claims {
        let (places, ids_listed) = listed(&ids);
        let fence = format!("WHERE endpoint_id = ? AND {} AND event_id IN {places}", fence());
        let (change, mut values) = if done {
            let change = "status = 'delivered', attempts = attempts + 1, last_status = ?, last_error = NULL,
                 settled_at = ?";
            (change, params![status, now, endpoint, owner, epoch])
        } else {
            ("owner = NULL, lease_until = 0", params![endpoint, owner, epoch])
        };
        values.extend(ids_listed);
        let matched = tx
            .execute(&format!("UPDATE deliveries SET {change} {fence}"), values)
            .await?;
        if done && matched != ids.len() as u64 {
            return Ok(false);
        }
    }
    Ok(true)
}

/// One that is not done. Returns whether it was really ours.
async fn settle_one(
    tx: &mut Tx,
    endpoint: &str,
    settlement: &Settlement,
    now: UnixMillis,
) -> Result<bool, DbError> {
    let DeliveryRef {
        event_id,
        owner,
        epoch,
    } = &settlement.delivery;
    let attempt = settlement.attempt.as_ref();
    let made = i64::from(attempt.is_some());
    let (status, owner_after, due_at, not_counted, settled_at) = match &settlement.verdict {
        Verdict::Delivered => ("delivered", Some(owner.clone()), now, 0, Some(now)),
        Verdict::Again(due_at) => ("pending", None, *due_at, 0, None),
        Verdict::Kept | Verdict::Deferred => ("pending", None, now, made, None),
        // Dead ones are found by when they died.
        Verdict::Dead(_) => ("dead", Some(owner.clone()), now, 0, Some(now)),
    };
    let error = match &settlement.verdict {
        Verdict::Dead(why) => Some(why.clone()),
        _ => attempt.and_then(|attempt| attempt.error.clone()),
    };
    let sql = format!(
        "UPDATE deliveries SET status = ?, owner = ?, lease_until = 0, due_at = ?, due_set_at = ?, attempts = attempts + ?,
             attempts_before = attempts_before + ?, last_status = ?, last_error = ?, settled_at = ?
         WHERE endpoint_id = ? AND event_id = ? AND {}",
        fence()
    );
    let matched = tx
        .execute(
            &sql,
            params![
                status,
                owner_after,
                due_at,
                now,
                made,
                not_counted,
                attempt.and_then(|attempt| attempt.status),
                error,
                settled_at,
                endpoint,
                event_id.as_str(),
                owner,
                *epoch,
            ],
        )
        .await?;
    Ok(matched == 1)
}

/// Whose a delivery must be for anything to be written about it: the owner, the epoch.
fn fence() -> &'static str {
    if is_planted(Bug::MissingFence) {
        return "(owner = ? OR epoch = ? OR 1 = 1)";
    }
    "owner = ? AND epoch = ? AND status = 'pending'"
}
