//! The table `delivery_order`: one delivery of an entity at a time, for endpoints with `ordering: entity`.
//!
//! Of what is pending of an entity for such an endpoint exactly one delivery is the head; the others are due at no time, so that no
//! look finds them. When the head is delivered, dead or deleted, the one with the lowest place of those that wait becomes the head,
//! in the same transaction. What becomes pending later, also by hand, waits if there is a head, whatever its place.
//!
//! All of it is done under the lock of the endpoint's row, taken after the locks of the deliveries that have become pending or have
//! ended, as settlements lock.

use crate::domain::ordering::DeliveryOrdering;
use db::{DbError, Params, Row, Statement, Tx, in_lists, params, read_id, read_ids};
use std::collections::HashSet;

/// When one is due that waits for another of its entity.
pub(super) const NEVER: i64 = i64::MAX;

/// A delivery that has become pending.
struct Entering {
    event: String,
    entity: String,
    seq: i64,
    due_at: i64,
    due_set_at: i64,
}

/// Deliveries of these events have become pending. Where their endpoint is sent the events of an entity in order, those wait of whose
/// entity another one is pending.
pub(super) async fn enter(tx: &mut Tx, endpoint: &str, events: &[String]) -> Result<(), DbError> {
    let lock = tx.dialect().for_update();
    let sql = format!("SELECT ordering FROM endpoints WHERE id = ?{lock}");
    let row = tx.query_one(&sql, params![endpoint]).await?;
    let ordering: Option<DeliveryOrdering> = row.map(|row| read_id(&row, "ordering")).transpose()?;
    if ordering != Some(DeliveryOrdering::Entity) {
        return Ok(());
    }
    let mut entering = entering(tx, endpoint, events).await?;
    entering.sort_by_key(|one| one.seq);
    let mut with_head = with_head(tx, endpoint, &entering).await?;
    let (mut rows, mut waiting) = (Params::new(), Vec::new());
    for one in &entering {
        let is_head = with_head.insert(one.entity.clone());
        if !is_head {
            waiting.push(one.event.as_str());
        }
        rows.extend(params![endpoint, &one.event, &one.entity, one.seq]);
        rows.extend(params![is_head.then_some(1), one.due_at, one.due_set_at]);
    }
    let columns = [
        "endpoint_id",
        "event_id",
        "entity_key",
        "seq",
        "head",
        "due_at",
        "due_set_at",
    ];
    let mut statements: Vec<_> = Statement::rows("delivery_order", &columns, "", rows)
        .into_iter()
        .collect();
    for list in in_lists(waiting) {
        let sql = format!(
            "UPDATE deliveries SET due_at = ?, due_set_at = 0 WHERE endpoint_id = ? AND event_id IN {list}"
        );
        statements.push(Statement::change(sql, list.after(params![NEVER, endpoint])));
    }
    tx.run(&statements).await.all().map(drop)
}

/// Deliveries of these events are pending no more: of each entity whose head is among them, the next becomes the head. How many did.
pub(super) async fn leave(tx: &mut Tx, endpoint: &str, events: &[String]) -> Result<usize, DbError> {
    let lock = tx.dialect().for_update();
    let locked = format!("SELECT id FROM endpoints WHERE id = ?{lock}");
    let mut statements = vec![Statement::query(locked, params![endpoint])];
    for list in in_lists(events) {
        let which = format!("FROM delivery_order WHERE endpoint_id = ? AND event_id IN {list}");
        let values = list.after(params![endpoint]);
        let heads = format!("SELECT entity_key {which} AND head = 1");
        statements.push(Statement::query(heads, values.clone()));
        statements.push(Statement::change(format!("DELETE {which}"), values));
    }
    let answers = tx.run(&statements).await.all()?;
    let mut entities: Vec<String> = Vec::new();
    for row in answers[1..].iter().flat_map(|answer| &answer.rows) {
        entities.push(row.get("entity_key")?);
    }
    let next =
        "SELECT event_id, due_at, due_set_at FROM delivery_order WHERE endpoint_id = ? AND entity_key = ?
         ORDER BY seq LIMIT 1";
    let looks: Vec<_> = entities
        .iter()
        .map(|entity| Statement::query(next, params![endpoint, entity]))
        .collect();
    let answers = tx.run(&looks).await.all()?;
    let (mut heads, mut changes) = (Vec::new(), Vec::new());
    for row in answers.iter().filter_map(|answer| answer.row()) {
        let event: String = row.get("event_id")?;
        let (due_at, due_set_at): (i64, i64) = (row.get("due_at")?, row.get("due_set_at")?);
        changes.push(Statement::change(
            "UPDATE deliveries SET due_at = ?, due_set_at = ? WHERE endpoint_id = ? AND event_id = ?",
            params![due_at, due_set_at, endpoint, &event],
        ));
        heads.push(event);
    }
    for list in in_lists(&heads) {
        let sql = format!("UPDATE delivery_order SET head = 1 WHERE endpoint_id = ? AND event_id IN {list}");
        changes.push(Statement::change(sql, list.after(params![endpoint])));
    }
    tx.run(&changes).await.all()?;
    Ok(heads.len())
}

/// Deliveries of these events are pending no more, and neither is any other of their endpoint: it is deleted.
pub(super) async fn forget(tx: &mut Tx, endpoint: &str, events: &[String]) -> Result<(), DbError> {
    for list in in_lists(events) {
        let sql = format!("DELETE FROM delivery_order WHERE endpoint_id = ? AND event_id IN {list}");
        tx.execute(&sql, list.after(params![endpoint])).await?;
    }
    Ok(())
}

/// Those that are pending, that are about an entity, and that have no place among them yet.
async fn entering(tx: &mut Tx, endpoint: &str, events: &[String]) -> Result<Vec<Entering>, DbError> {
    let mut entering = Vec::new();
    for list in in_lists(events) {
        let sql = format!(
            "SELECT d.event_id, d.due_at, d.due_set_at, e.feed_seq, e.property_id, e.entity_kind, e.entity_id
             FROM deliveries d JOIN events e ON e.id = d.event_id
             LEFT JOIN delivery_order o ON o.endpoint_id = d.endpoint_id AND o.event_id = d.event_id
             WHERE d.endpoint_id = ? AND d.event_id IN {list} AND d.status = 'pending' AND o.event_id IS NULL
                 AND e.property_id IS NOT NULL AND e.entity_kind IS NOT NULL AND e.entity_id IS NOT NULL"
        );
        for row in &tx.query(&sql, list.after(params![endpoint])).await? {
            entering.push(read_entering(row)?);
        }
    }
    Ok(entering)
}

fn read_entering(row: &Row) -> Result<Entering, DbError> {
    let (property, kind): (String, String) = (row.get("property_id")?, row.get("entity_kind")?);
    let id: String = row.get("entity_id")?;
    Ok(Entering {
        event: row.get("event_id")?,
        // Neither a property nor a kind has a colon.
        entity: format!("{property}:{kind}:{id}"),
        seq: row.get("feed_seq")?,
        due_at: row.get("due_at")?,
        due_set_at: row.get("due_set_at")?,
    })
}

/// Those of their entities that have a head.
async fn with_head(tx: &mut Tx, endpoint: &str, of: &[Entering]) -> Result<HashSet<String>, DbError> {
    let mut with_head = HashSet::new();
    for list in in_lists(of.iter().map(|one| &one.entity)) {
        let sql = format!(
            "SELECT entity_key FROM delivery_order WHERE endpoint_id = ? AND entity_key IN {list} AND head = 1"
        );
        let rows = tx.query(&sql, list.after(params![endpoint])).await?;
        let found: HashSet<String> = read_ids(&rows, "entity_key")?;
        with_head.extend(found);
    }
    Ok(with_head)
}
