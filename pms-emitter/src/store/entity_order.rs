//! The table `delivery_order`: one delivery of an entity at a time, for endpoints with `ordering: entity`.
//!
//! Of what is pending of an entity for such an endpoint exactly one delivery is the head. The others are due at no time, so that no
//! look finds them. When the head is delivered, dead or deleted, the one with the lowest place of those that wait becomes the head,
//! in the same transaction. What becomes pending later waits if there is a head, whatever its place.
//!
//! The head's row is the guard: a transaction that has another delivery wait writes to it, and one that ends the head deletes it. So
//! one of the two comes after the other, or fails and is run again; on a cluster too, where a lock without a write is no guard.

use contract::UnixMillis;
use db::{DbError, Params, Row, Statement, StatementResult, Tx, in_lists, params};
use std::collections::{BTreeMap, BTreeSet};

/// When one is due that waits for another of its entity.
pub(super) const NEVER: i64 = i64::MAX;

/// How often a transaction looks again because another one was faster, until it fails.
const LOOKS_MAX: usize = 8;

/// A delivery is pending, is not in the table yet, and has a place among those of an entity: a ping has none.
const ENTERS: &str = "AND d.status = 'pending' AND o.event_id IS NULL AND e.type <> 'ping' \
     AND e.property_id IS NOT NULL AND e.entity_kind IS NOT NULL AND e.entity_id IS NOT NULL";

/// Texts of each endpoint: the events of its deliveries, or its entities.
pub(super) type ByEndpoint<'e> = BTreeMap<&'e str, Vec<&'e str>>;

/// A delivery that has become pending.
struct Entering {
    endpoint: String,
    event: String,
    entity: String,
    seq: i64,
    due_at: i64,
    due_set_at: i64,
}

/// An entity, for an endpoint.
type Queue = (String, String);

/// These deliveries have become pending, of endpoints that ask for the order: those wait whose entity has a head. Round trips do not
/// grow with the number of endpoints, for the feed is held meanwhile.
pub(super) async fn enter(tx: &mut Tx, pending: &ByEndpoint<'_>) -> Result<(), DbError> {
    let entering = entering(tx, pending).await?;
    for _ in 0..LOOKS_MAX {
        let Some(mut with_head) = guarded(tx, &entering).await? else {
            continue;
        };
        let (mut rows, mut waiting) = (Params::new(), ByEndpoint::new());
        for one in &entering {
            let is_head = with_head.insert((one.endpoint.clone(), one.entity.clone()));
            if !is_head {
                waiting.entry(&one.endpoint).or_default().push(&one.event);
            }
            rows.extend(params![&one.endpoint, &one.event, &one.entity, one.seq]);
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
        match tx.insert("delivery_order", &columns, "", rows).await {
            Err(DbError::Duplicate) => {
                // Another transaction has made a head meanwhile. Some of the rows may have been made before that was found.
                let made = "DELETE FROM delivery_order WHERE endpoint_id = ? AND event_id IN";
                tx.run(&changes(pending, made, "")).await.all()?;
                continue;
            }
            made => made?,
        }
        let waits = format!(
            "UPDATE deliveries SET due_at = {NEVER}, due_set_at = 0 WHERE endpoint_id = ? AND event_id IN"
        );
        return tx.run(&changes(&waiting, &waits, "")).await.all().map(drop);
    }
    Err(DbError::Contended)
}

/// Deliveries of these events are pending no more: of each entity whose head was among them, the next becomes the head. How many did.
pub(super) async fn leave(tx: &mut Tx, endpoint: &str, events: &[String]) -> Result<usize, DbError> {
    let lock = tx.dialect().for_update();
    let mut statements = Vec::new();
    for list in in_lists(events) {
        let which = format!("FROM delivery_order WHERE endpoint_id = ? AND event_id IN {list}");
        let values = list.after(params![endpoint]);
        let locked = format!("SELECT entity_key, head {which}{lock}");
        statements.push(Statement::query(locked, values.clone()));
        statements.push(Statement::change(format!("DELETE {which}"), values));
    }
    let mut without_head = Vec::new();
    for row in rows_of(&tx.run(&statements).await.all()?) {
        if row.get::<Option<i64>>("head")?.is_some() {
            without_head.push(row.get::<String>("entity_key")?);
        }
    }
    let mut heads = 0;
    for _ in 0..LOOKS_MAX {
        if without_head.is_empty() {
            return Ok(heads);
        }
        let found = next(tx, endpoint, &without_head).await?;
        let made = make_heads(tx, endpoint, &found).await?;
        heads += made.len();
        let is_overtaken =
            |entity: &String| found.iter().any(|one| one.entity == *entity) && !made.contains(entity);
        without_head.retain(is_overtaken);
    }
    Err(DbError::Contended)
}

/// Those of these events that wait are due at this instant once they are heads.
pub(super) async fn move_waiting(
    tx: &mut Tx,
    endpoint: &str,
    events: &[&str],
    at: UnixMillis,
) -> Result<(), DbError> {
    let of_events = ByEndpoint::from([(endpoint, events.to_vec())]);
    let due = format!(
        "UPDATE delivery_order SET due_at = {at}, due_set_at = {at} WHERE endpoint_id = ? AND event_id IN",
        at = at.0
    );
    tx.run(&changes(&of_events, &due, "AND head IS NULL"))
        .await
        .all()
        .map(drop)
}

/// Deliveries of these events are pending no more, and neither is any other of their endpoint soon: it is deleted.
pub(super) async fn forget(tx: &mut Tx, endpoint: &str, events: &[String]) -> Result<(), DbError> {
    for list in in_lists(events) {
        let sql = format!("DELETE FROM delivery_order WHERE endpoint_id = ? AND event_id IN {list}");
        tx.execute(&sql, list.after(params![endpoint])).await?;
    }
    Ok(())
}

/// Those that are pending, are about an entity, and are not in the table yet, by their places in the feed.
async fn entering(tx: &mut Tx, pending: &ByEndpoint<'_>) -> Result<Vec<Entering>, DbError> {
    let from = "SELECT d.endpoint_id, d.event_id, d.due_at, d.due_set_at, e.feed_seq, e.property_id, e.entity_kind, e.entity_id
         FROM deliveries d JOIN events e ON e.id = d.event_id
         LEFT JOIN delivery_order o ON o.endpoint_id = d.endpoint_id AND o.event_id = d.event_id
         WHERE d.endpoint_id = ? AND d.event_id IN";
    let answers = tx.run(&queries(pending, from, ENTERS)).await.all()?;
    let mut entering: Vec<Entering> = rows_of(&answers).map(read_entering).collect::<Result<_, _>>()?;
    entering.sort_by_key(|one| one.seq);
    Ok(entering)
}

/// Those of their entities that have a head, none of which ends before the commit; None when one has ended meanwhile.
async fn guarded(tx: &mut Tx, entering: &[Entering]) -> Result<Option<BTreeSet<Queue>>, DbError> {
    let mut entities = ByEndpoint::new();
    for one in entering {
        entities.entry(&one.endpoint).or_default().push(&one.entity);
    }
    let look = "SELECT endpoint_id, entity_key, event_id FROM delivery_order WHERE endpoint_id = ? AND entity_key IN";
    let answers = tx.run(&queries(&entities, look, "AND head = 1")).await.all()?;
    let (mut with_head, mut found) = (BTreeSet::new(), Vec::<(String, String)>::new());
    for row in rows_of(&answers) {
        let endpoint: String = row.get("endpoint_id")?;
        with_head.insert((endpoint.clone(), row.get("entity_key")?));
        found.push((endpoint, row.get("event_id")?));
    }
    let mut heads = ByEndpoint::new();
    for (endpoint, event) in &found {
        heads.entry(endpoint).or_default().push(event);
    }
    // By their keys, as those that end them lock them.
    let guard = "UPDATE delivery_order SET guard = guard + 1 WHERE endpoint_id = ? AND event_id IN";
    let guards = tx.run(&changes(&heads, guard, "AND head = 1")).await.all()?;
    let written: u64 = guards.iter().map(|answer| answer.matched).sum();
    Ok((written == with_head.len() as u64).then_some(with_head))
}

/// One that may become the head of its entity.
struct Next {
    entity: String,
    event: String,
    due_at: i64,
    due_set_at: i64,
}

/// The next of each entity, where one waits.
async fn next(tx: &mut Tx, endpoint: &str, entities: &[String]) -> Result<Vec<Next>, DbError> {
    let sql = "SELECT entity_key, event_id, due_at, due_set_at FROM delivery_order WHERE endpoint_id = ? AND entity_key = ?
         ORDER BY seq LIMIT 1";
    let looks: Vec<_> = entities
        .iter()
        .map(|entity| Statement::query(sql, params![endpoint, entity]))
        .collect();
    let answers = tx.run(&looks).await.all()?;
    let read = |row: &Row| {
        Ok(Next {
            entity: row.get("entity_key")?,
            event: row.get("event_id")?,
            due_at: row.get("due_at")?,
            due_set_at: row.get("due_set_at")?,
        })
    };
    rows_of(&answers).map(read).collect()
}

/// Makes them the heads and due, but for those that another transaction has deleted meanwhile. Whose heads were made.
async fn make_heads(tx: &mut Tx, endpoint: &str, next: &[Next]) -> Result<Vec<String>, DbError> {
    let due = "UPDATE deliveries SET due_at = ?, due_set_at = ? WHERE endpoint_id = ? AND event_id = ? AND status = 'pending'";
    let changes: Vec<_> = next
        .iter()
        .map(|one| Statement::change(due, params![one.due_at, one.due_set_at, endpoint, &one.event]))
        .collect();
    let answers = tx.run(&changes).await.all()?;
    let made: Vec<&Next> = next
        .iter()
        .zip(&answers)
        .filter(|(_, answer)| answer.matched > 0)
        .map(|(one, _)| one)
        .collect();
    let mut written = 0;
    for list in in_lists(made.iter().map(|one| &one.event)) {
        let sql = format!("UPDATE delivery_order SET head = 1 WHERE endpoint_id = ? AND event_id IN {list}");
        written += tx.execute(&sql, list.after(params![endpoint])).await?;
    }
    if written != made.len() as u64 {
        return Err(DbError::Contended);
    }
    Ok(made.into_iter().map(|one| one.entity.clone()).collect())
}

/// What is asked of each endpoint and its texts: SQL before the list of these, and behind it.
fn queries(texts: &ByEndpoint<'_>, before: &str, behind: &str) -> Vec<Statement> {
    let lists = lists(texts, before, behind).into_iter();
    lists.map(|(sql, values)| Statement::query(sql, values)).collect()
}

/// The same, for changes.
fn changes(texts: &ByEndpoint<'_>, before: &str, behind: &str) -> Vec<Statement> {
    let lists = lists(texts, before, behind).into_iter();
    lists
        .map(|(sql, values)| Statement::change(sql, values))
        .collect()
}

fn lists(texts: &ByEndpoint<'_>, before: &str, behind: &str) -> Vec<(String, Params)> {
    let mut statements = Vec::new();
    for (endpoint, texts) in texts {
        for list in in_lists(texts.iter().copied()) {
            let sql = format!("{before} {list} {behind}");
            statements.push((sql, list.after(params![*endpoint])));
        }
    }
    statements
}

fn rows_of(answers: &[StatementResult]) -> impl Iterator<Item = &Row> {
    answers.iter().flat_map(|answer| &answer.rows)
}

fn read_entering(row: &Row) -> Result<Entering, DbError> {
    let (property, kind): (String, String) = (row.get("property_id")?, row.get("entity_kind")?);
    let id: String = row.get("entity_id")?;
    Ok(Entering {
        endpoint: row.get("endpoint_id")?,
        event: row.get("event_id")?,
        // Neither a property nor a kind has a colon.
        entity: format!("{property}:{kind}:{id}"),
        seq: row.get("feed_seq")?,
        due_at: row.get("due_at")?,
        due_set_at: row.get("due_set_at")?,
    })
}
