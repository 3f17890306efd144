//! Deliveries that are made due again by hand: one of them here, many by runs (`delivery_runs`). Each gets the whole schedule again;
//! its attempts go on being counted.

use super::{
    Store,
    entity_order::{self, ByEndpoint, NEVER},
};
use crate::domain::{delivery::DeliveryStatus, ordering::DeliveryOrdering};
use contract::{
    UnixMillis,
    id::{EndpointId, IdempotencyKey},
};
use db::{DbError, Statement, Tx, params, read_id};
use kit::audit::{self, AuditEntry};

/// Makes deliveries due now. A claim on one that is pending stays: its attempt is going on; and so does one that waits for another of
/// its entity. Columns are set before those that they depend on: MySQL sets them in this order.
pub(super) fn make_due_now() -> String {
    let waits = format!("status = 'pending' AND due_at = {NEVER}");
    format!(
        "UPDATE deliveries SET
         owner = CASE WHEN status = 'pending' THEN owner END,
         lease_until = CASE WHEN status = 'pending' THEN lease_until ELSE 0 END,
         due_set_at = CASE WHEN {waits} THEN due_set_at ELSE ? END, due_at = CASE WHEN {waits} THEN due_at ELSE ? END,
         attempts_before = attempts, settled_at = NULL, status = 'pending'"
    )
}

/// What became of a delivery that was to be made due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MadeDue {
    /// It is due now.
    Done,
    /// There is none of this event to this endpoint.
    NoDelivery,
    /// The endpoint was deleted, which has cancelled what waited for it.
    EndpointDeleted,
    /// What is to be sent is kept no more.
    NoBody,
}

impl Store {
    /// Makes one delivery due now, whether it waits, is dead or was delivered. The entry gets what it was before as its outcome.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn make_due(
        &self,
        endpoint: &EndpointId,
        event: &IdempotencyKey,
        entry: AuditEntry,
    ) -> Result<MadeDue, DbError> {
        let work = (endpoint.clone(), event.clone(), entry);
        self.transaction(
            "make_delivery_due",
            work,
            |tx, (endpoint, event, entry)| {
                Box::pin(async move {
                    let made = make_due(tx, endpoint.as_str(), event.as_str(), entry.clone()).await?;
                    if made != MadeDue::Done {
                        tx.abandon();
                    }
                    Ok(made)
                })
            },
            |tx, (endpoint, event, entry)| {
                Box::pin(async move {
                    let sql = "SELECT d.status FROM deliveries d
                         LEFT JOIN delivery_order o ON o.endpoint_id = d.endpoint_id AND o.event_id = d.event_id
                         WHERE d.endpoint_id = ? AND d.event_id = ? AND (d.due_set_at = ? OR o.due_set_at = ?)
                             AND d.attempts_before = d.attempts AND d.status = 'pending'";
                    let values = params![endpoint.as_str(), event.as_str(), entry.at, entry.at];
                    Ok(tx.query_one(sql, values).await?.map(|_| MadeDue::Done))
                })
            },
        )
        .await
    }
}

/// Deliveries of these events were made due by hand at this instant. Where their endpoint was deleted meanwhile they are cancelled with the
/// others; where it asks for the order, those wait of whose entity another one is pending, and are due at once when their turn comes.
///
/// The endpoint's row is written in any case: so a change of it and this are not both committed without seeing each other, on a
/// cluster either. Deliveries are locked before it, as by settlements.
pub(super) async fn became_due(
    tx: &mut Tx,
    endpoint: &str,
    events: &[&str],
    at: UnixMillis,
) -> Result<(), DbError> {
    if events.is_empty() {
        return Ok(());
    }
    let statements = [
        Statement::change(
            "UPDATE endpoints SET redeliveries = redeliveries + 1,
                 cancelling = CASE WHEN deleted_at IS NULL THEN cancelling ELSE 1 END WHERE id = ?",
            params![endpoint],
        ),
        Statement::query("SELECT ordering FROM endpoints WHERE id = ?", params![endpoint]),
    ];
    let answers = tx.run(&statements).await.all()?;
    let Some(row) = answers[1].row() else {
        return Ok(());
    };
    if read_id::<DeliveryOrdering>(row, "ordering")? != DeliveryOrdering::Entity {
        return Ok(());
    }
    entity_order::move_waiting(tx, endpoint, events, at).await?;
    entity_order::enter(tx, &ByEndpoint::from([(endpoint, events.to_vec())])).await
}

async fn make_due(tx: &mut Tx, endpoint: &str, event: &str, entry: AuditEntry) -> Result<MadeDue, DbError> {
    let sql = "SELECT d.status, p.deleted_at, e.property_id, LENGTH(b.body) AS bytes
         FROM deliveries d JOIN endpoints p ON p.id = d.endpoint_id JOIN events e ON e.id = d.event_id
         LEFT JOIN event_bodies b ON b.event_id = d.event_id WHERE d.endpoint_id = ? AND d.event_id = ?";
    let Some(row) = tx.query_one(sql, params![endpoint, event]).await? else {
        return Ok(MadeDue::NoDelivery);
    };
    let before: DeliveryStatus = read_id(&row, "status")?;
    if row.get::<Option<UnixMillis>>("deleted_at")?.is_some() || before == DeliveryStatus::Cancelled {
        return Ok(MadeDue::EndpointDeleted);
    }
    if row.get::<Option<i64>>("bytes")?.is_none() {
        return Ok(MadeDue::NoBody);
    }
    let sql = format!(
        "{} WHERE endpoint_id = ? AND event_id = ? AND status <> 'cancelled'",
        make_due_now()
    );
    let matched = tx
        .execute(&sql, params![entry.at, entry.at, endpoint, event])
        .await?;
    if matched == 0 {
        // It was cancelled since it was read, or purged.
        let sql = "SELECT 1 AS one FROM deliveries WHERE endpoint_id = ? AND event_id = ?";
        let left = tx.query_one(sql, params![endpoint, event]).await?;
        return Ok(left.map_or(MadeDue::NoDelivery, |_| MadeDue::EndpointDeleted));
    }
    became_due(tx, endpoint, &[event], entry.at).await?;
    let entry = AuditEntry {
        outcome: Some(format!("was {}", before.as_str()).into()),
        event_id: Some(event.to_owned()),
        property_id: row.get("property_id")?,
        ..entry
    };
    audit::append(tx, &[entry]).await?;
    Ok(MadeDue::Done)
}
