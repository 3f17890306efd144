//! The tables `reconciliations` and `missing_events`: how far what is here was compared with the feed of a source, and what of it is
//! not here.
//!
//! One process at a time compares, under a lease that fences each of its writes. A place is written after all up to it is committed
//! in the inbox or named as missing, so a process that dies repeats a page at most, and a restored backup has no place beyond its
//! events.

use super::Store;
use contract::{PropertyId, SourceId, UnixMillis, id::IdempotencyKey};
use db::{
    DbError, Row, Tx, in_lists,
    leases::{self, Lease},
    params, read_id, read_optional_id,
};
use std::{collections::HashSet, sync::Arc, time::Duration};
use strum::{EnumString, IntoStaticStr};

/// How long a process keeps the lease without renewing it, which each page does.
pub const RECONCILE_LEASE: Duration = Duration::from_secs(120);
/// Missing events of one source that are named; more are counted.
pub const MISSING_NAMED_MAX: usize = 10_000;
const LEASE: &str = "reconcile";

/// How far one source is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reconciliation {
    /// Every event of the feed up to this place is here, or is among the missing ones.
    pub complete_up_to: i64,
    /// The mark of that place, where it is known.
    pub mark: Option<String>,
    /// The last place of the feed when it was last read.
    pub feed_head: i64,
    /// When it was last read to its end.
    pub checked_at: Option<UnixMillis>,
    /// When the next run is due.
    pub due_at: UnixMillis,
    /// When the feed was last found to be another one.
    pub began_again_at: Option<UnixMillis>,
    /// Events that are not here and could not be taken in.
    pub missing: u64,
    /// Those of them whose body is kept no more at the sender.
    pub past_retention: u64,
    /// Events that were missing until they were older than what is remembered. They are no longer among the missing ones.
    pub given_up: u64,
    not_named: u64,
    past_retention_not_named: u64,
}

/// Why an event of the feed is not here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, EnumString, IntoStaticStr)]
#[strum(serialize_all = "snake_case", const_into_str)]
pub enum MissingReason {
    /// Its body is kept no more at the sender.
    PastRetention,
    /// It breaks a rule by which its source's deliveries are refused.
    Invalid,
    /// The database refuses it, for a reason that is in the log.
    Failed,
}

/// An event of the feed that is not here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MissingEvent {
    /// Its id at the sender.
    pub key: IdempotencyKey,
    /// Its place in the feed.
    pub feed_seq: i64,
    /// Its type.
    pub event_type: String,
    /// Its property, if it has one.
    pub property_id: Option<PropertyId>,
    /// When its change was committed.
    pub committed_at: UnixMillis,
    /// Why.
    pub reason: MissingReason,
    /// When that was found.
    pub found_at: UnixMillis,
}

/// What a page of the feed, or another try of missing ones, led to.
#[derive(Clone, Debug)]
pub struct Progress {
    /// The place up to which all is here or named now.
    pub complete_up_to: i64,
    /// Its mark.
    pub mark: Option<String>,
    /// The last place of the feed.
    pub feed_head: i64,
    /// What is not here.
    pub missing: Vec<MissingEvent>,
    /// What was missing and is not any more.
    pub found: Vec<IdempotencyKey>,
    /// What was missing until it was older than what is remembered.
    pub given_up: Vec<IdempotencyKey>,
}

/// Where a run begins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Begun {
    /// Behind this.
    At(Reconciliation),
    /// It was to begin behind a place up to which not all was compared: this is as far as it is.
    Beyond(i64),
    /// The lease is another's.
    Lost,
}

impl Store {
    /// How far a source is; None when it was never compared.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn reconciliation(&self, source: &SourceId) -> Result<Option<Reconciliation>, DbError> {
        let source = source.clone();
        self.reads
            .read("reconciliation", move |tx| {
                let source = source.clone();
                Box::pin(async move { find(tx, &source).await })
            })
            .await
    }

    /// The missing events that are named, by their places.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn missing_events(&self, source: &SourceId, limit: u32) -> Result<Vec<MissingEvent>, DbError> {
        self.missing("feed_seq", source, limit).await
    }

    /// The missing events that were tried the longest ago.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn missing_to_try(&self, source: &SourceId, limit: u32) -> Result<Vec<MissingEvent>, DbError> {
        self.missing("tried_at", source, limit).await
    }

    async fn missing(
        &self,
        order: &'static str,
        source: &SourceId,
        limit: u32,
    ) -> Result<Vec<MissingEvent>, DbError> {
        let source = source.clone();
        self.reads
            .read("missing_events", move |tx| {
                let source = source.clone();
                Box::pin(async move {
                    let sql = format!(
                        "SELECT idempotency_key, feed_seq, type, property_id, committed_at, reason, found_at \
                         FROM missing_events WHERE source_id = ? ORDER BY {order} LIMIT ?"
                    );
                    let rows = tx.query(&sql, params![source.as_str(), limit]).await?;
                    rows.iter().map(read_missing).collect()
                })
            })
            .await
    }

    /// Those of a source's keys that the inbox does not have, tombstones included.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn not_in_inbox(
        &self,
        source: &SourceId,
        keys: Vec<IdempotencyKey>,
    ) -> Result<HashSet<IdempotencyKey>, DbError> {
        let source = source.clone();
        self.db
            .read("not_in_inbox", move |tx| {
                let (source, keys) = (source.clone(), keys.clone());
                Box::pin(async move {
                    let mut left: HashSet<IdempotencyKey> = keys.iter().cloned().collect();
                    for list in in_lists(keys.iter().map(IdempotencyKey::as_str)) {
                        let sql = format!(
                            "SELECT idempotency_key FROM inbox WHERE source_id = ? AND idempotency_key IN {list}"
                        );
                        for row in tx.query(&sql, list.after(params![source.as_str()])).await? {
                            left.remove(&read_id(&row, "idempotency_key")?);
                        }
                    }
                    Ok(left)
                })
            })
            .await
    }

    /// Claims the lease of all runs, with a commit of its own; None when another holds it.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn claim_reconciliation(&self, owner: &str, now: UnixMillis) -> Result<Option<Lease>, DbError> {
        let owner = owner.to_owned();
        self.db
            .transaction("claim_reconciliation", move |tx| {
                let owner = owner.clone();
                Box::pin(async move { leases::claim(tx, LEASE, &owner, now, RECONCILE_LEASE).await })
            })
            .await
    }

    /// Lengthens the lease; None when it is another's.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn renew_reconciliation(
        &self,
        lease: &Lease,
        now: UnixMillis,
    ) -> Result<Option<Lease>, DbError> {
        let lease = lease.clone();
        self.db
            .transaction("renew_reconciliation", move |tx| {
                let lease = lease.clone();
                Box::pin(async move { leases::renew(tx, &lease, now, RECONCILE_LEASE).await })
            })
            .await
    }

    /// Where a run begins: where the last one came to, or behind an earlier place, from which on all is compared again, but for what
    /// was committed before `remembered_from`.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn begin_reconciliation(
        &self,
        lease: &Lease,
        source: &SourceId,
        from: Option<i64>,
        remembered_from: UnixMillis,
    ) -> Result<Begun, DbError> {
        let (lease, source) = (lease.clone(), source.clone());
        self.db
            .transaction("begin_reconciliation", move |tx| {
                let (lease, source) = (lease.clone(), source.clone());
                Box::pin(async move { begin(tx, &lease, &source, from, remembered_from).await })
            })
            .await
    }

    /// Writes what a page led to; false, and nothing is written, when the lease is another's or another has gone on from `before`.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn advance_reconciliation(
        &self,
        lease: &Lease,
        source: &SourceId,
        before: i64,
        progress: Arc<Progress>,
        now: UnixMillis,
    ) -> Result<bool, DbError> {
        let (lease, source) = (lease.clone(), source.clone());
        self.db
            .transaction("advance_reconciliation", move |tx| {
                let (lease, source, progress) = (lease.clone(), source.clone(), Arc::clone(&progress));
                Box::pin(async move {
                    let advanced = advance(tx, &lease, &source, before, &progress, now).await?;
                    if !advanced {
                        tx.abandon();
                    }
                    Ok(advanced)
                })
            })
            .await
    }

    /// The feed is another one: everything is compared again. False when the lease is another's.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn begin_reconciliation_again(
        &self,
        lease: &Lease,
        source: &SourceId,
        now: UnixMillis,
    ) -> Result<bool, DbError> {
        let (lease, source) = (lease.clone(), source.clone());
        self.db
            .transaction("begin_reconciliation_again", move |tx| {
                let (lease, source) = (lease.clone(), source.clone());
                Box::pin(async move {
                    if !leases::fence(tx, &lease).await? {
                        tx.abandon();
                        return Ok(false);
                    }
                    go_back(tx, &source, 0).await?;
                    let sql =
                        "UPDATE reconciliations SET began_again_at = ?, given_up = 0 WHERE source_id = ?";
                    tx.execute(sql, params![now, source.as_str()]).await?;
                    Ok(true)
                })
            })
            .await
    }

    /// Notes when the next run is due, where it is said, and that the feed was read to its end where it was; gives the lease up. A lease that is
    /// another's is left alone.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn end_reconciliation(
        &self,
        lease: &Lease,
        source: &SourceId,
        checked_at: Option<UnixMillis>,
        due_at: Option<UnixMillis>,
    ) -> Result<(), DbError> {
        let (lease, source) = (lease.clone(), source.clone());
        self.db
            .transaction("end_reconciliation", move |tx| {
                let (lease, source) = (lease.clone(), source.clone());
                Box::pin(async move {
                    if !leases::fence(tx, &lease).await? {
                        tx.abandon();
                        return Ok(());
                    }
                    let sql = "UPDATE reconciliations SET due_at = COALESCE(?, due_at), checked_at = COALESCE(?, checked_at) \
                               WHERE source_id = ?";
                    tx.execute(sql, params![due_at, checked_at, source.as_str()]).await?;
                    leases::release(tx, &lease).await
                })
            })
            .await
    }
}

async fn find(tx: &mut Tx, source: &SourceId) -> Result<Option<Reconciliation>, DbError> {
    let sql = "SELECT complete_up_to, mark, feed_head, checked_at, due_at, began_again_at, given_up, not_named, \
                   past_retention_not_named, \
                   (SELECT COUNT(*) FROM missing_events m WHERE m.source_id = r.source_id) AS named, \
                   (SELECT COUNT(*) FROM missing_events m WHERE m.source_id = r.source_id AND m.reason = ?) AS past \
               FROM reconciliations r WHERE source_id = ?";
    let past = MissingReason::PastRetention.into_str();
    let row = tx.query_one(sql, params![past, source.as_str()]).await?;
    row.as_ref().map(read).transpose()
}

fn read(row: &Row) -> Result<Reconciliation, DbError> {
    let (not_named, past_retention_not_named): (u64, u64) =
        (row.get("not_named")?, row.get("past_retention_not_named")?);
    Ok(Reconciliation {
        complete_up_to: row.get("complete_up_to")?,
        mark: row.get("mark")?,
        feed_head: row.get("feed_head")?,
        checked_at: row.get("checked_at")?,
        due_at: row.get("due_at")?,
        began_again_at: row.get("began_again_at")?,
        missing: row.get::<u64>("named")? + not_named,
        past_retention: row.get::<u64>("past")? + past_retention_not_named,
        given_up: row.get("given_up")?,
        not_named,
        past_retention_not_named,
    })
}

fn read_missing(row: &Row) -> Result<MissingEvent, DbError> {
    Ok(MissingEvent {
        key: read_id(row, "idempotency_key")?,
        feed_seq: row.get("feed_seq")?,
        event_type: row.get("type")?,
        property_id: read_optional_id(row, "property_id")?,
        committed_at: row.get("committed_at")?,
        reason: read_id(row, "reason")?,
        found_at: row.get("found_at")?,
    })
}

async fn begin(
    tx: &mut Tx,
    lease: &Lease,
    source: &SourceId,
    from: Option<i64>,
    remembered_from: UnixMillis,
) -> Result<Begun, DbError> {
    if !leases::fence(tx, lease).await? {
        tx.abandon();
        return Ok(Begun::Lost);
    }
    let first = "INSERT INTO reconciliations (source_id, complete_up_to, feed_head, due_at, not_named, past_retention_not_named) \
                 VALUES (?, 0, 0, 0, 0, 0)";
    let first = first.to_owned() + &tx.dialect().skip_existing("source_id");
    tx.execute(&first, params![source.as_str()]).await?;
    let state = find(tx, source).await?.ok_or(DbError::Contended)?;
    match from {
        Some(from) if from > state.complete_up_to => {
            tx.abandon();
            return Ok(Begun::Beyond(state.complete_up_to));
        }
        Some(from) => {
            // They will not be compared again: nothing would name them any more.
            let old = "DELETE FROM missing_events WHERE source_id = ? AND feed_seq > ? AND committed_at < ?";
            let given_up = tx
                .execute(old, params![source.as_str(), from, remembered_from])
                .await?;
            let sql = "UPDATE reconciliations SET given_up = given_up + ? WHERE source_id = ?";
            tx.execute(sql, params![given_up, source.as_str()]).await?;
            go_back(tx, source, from).await?;
        }
        None => return Ok(Begun::At(state)),
    }
    let state = find(tx, source).await?;
    state.map(Begun::At).ok_or(DbError::Contended)
}

/// Behind this place nothing counts as compared.
async fn go_back(tx: &mut Tx, source: &SourceId, place: i64) -> Result<(), DbError> {
    let sql = "DELETE FROM missing_events WHERE source_id = ? AND feed_seq > ?";
    tx.execute(sql, params![source.as_str(), place]).await?;
    // The mark of a place is known only where it was the end of a page.
    let sql = "UPDATE reconciliations SET mark = NULL, complete_up_to = ? WHERE source_id = ? AND complete_up_to <> ?";
    tx.execute(sql, params![place, source.as_str(), place]).await?;
    if place == 0 {
        let sql =
            "UPDATE reconciliations SET not_named = 0, past_retention_not_named = 0 WHERE source_id = ?";
        tx.execute(sql, params![source.as_str()]).await?;
    }
    Ok(())
}

async fn advance(
    tx: &mut Tx,
    lease: &Lease,
    source: &SourceId,
    before: i64,
    progress: &Progress,
    now: UnixMillis,
) -> Result<bool, DbError> {
    if leases::renew(tx, lease, now, RECONCILE_LEASE).await?.is_none() {
        return Ok(false);
    }
    let Some(state) = find(tx, source)
        .await?
        .filter(|state| state.complete_up_to == before)
    else {
        return Ok(false);
    };
    for list in in_lists(progress.found.iter().map(IdempotencyKey::as_str)) {
        let sql = format!("DELETE FROM missing_events WHERE source_id = ? AND idempotency_key IN {list}");
        tx.execute(&sql, list.after(params![source.as_str()])).await?;
    }
    let mut given_up = state.given_up;
    for list in in_lists(progress.given_up.iter().map(IdempotencyKey::as_str)) {
        let sql = format!("DELETE FROM missing_events WHERE source_id = ? AND idempotency_key IN {list}");
        given_up += tx.execute(&sql, list.after(params![source.as_str()])).await?;
    }
    // One that is named already is tried again, and takes no further room.
    let mut room =
        MISSING_NAMED_MAX.saturating_sub(usize::try_from(state.missing - state.not_named).unwrap_or(0));
    let (mut not_named, mut past_not_named) = (state.not_named, state.past_retention_not_named);
    for event in &progress.missing {
        let again =
            "UPDATE missing_events SET reason = ?, tried_at = ? WHERE source_id = ? AND idempotency_key = ?";
        let values = params![event.reason.into_str(), now, source.as_str(), event.key.as_str()];
        if tx.execute(again, values).await? == 1 {
            continue;
        }
        if room == 0 {
            not_named += 1;
            past_not_named += u64::from(event.reason == MissingReason::PastRetention);
            continue;
        }
        room -= 1;
        let insert = "INSERT INTO missing_events (source_id, idempotency_key, feed_seq, type, property_id, committed_at, reason, \
                          found_at, tried_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)";
        let values = params![
            source.as_str(),
            event.key.as_str(),
            event.feed_seq,
            &event.event_type,
            event.property_id.as_ref().map(PropertyId::as_str),
            event.committed_at,
            event.reason.into_str(),
            event.found_at,
            now,
        ];
        tx.execute(insert, values).await?;
    }
    let sql = "UPDATE reconciliations SET complete_up_to = ?, mark = ?, feed_head = ?, given_up = ?, not_named = ?, \
                   past_retention_not_named = ? WHERE source_id = ?";
    let values = params![
        progress.complete_up_to,
        &progress.mark,
        progress.feed_head,
        given_up,
        not_named,
        past_not_named,
        source.as_str(),
    ];
    Ok(tx.execute(sql, values).await? == 1)
}
