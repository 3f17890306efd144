//! Writes events that others publish, alone or many in one transaction.
//!
//! An event's row decides by its id whether it is new: it keeps a digest of what the event says. The version of its entity is
//! counted in a row of its own, which each event of that entity writes: so versions have no gaps and no two are one. Rows
//! are locked in one order: the entities first, in the order of their names, then the events, in the order of their ids.

use super::{Store, outbox};
use crate::domain::publication::Body;
use contract::{EventId, PropertyId, UnixMillis};
use db::{DbError, Dialect, Params, Statement, Tx, failpoint, in_lists, params};
use kit::idempotency::{Answer, Slot};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

/// Events whose rows go to the database together.
const EVENTS_TOGETHER: usize = 64;
/// Bytes of bodies that go to the database together, unless one is longer.
const BODIES_TOGETHER: usize = 256 * 1024;
/// How often events are written at most, when others with the same ids are committed meanwhile.
const WRITES_MAX: usize = 5;

const EVENT_COLUMNS: [&str; 11] = [
    "id",
    "type",
    "property_id",
    "entity_kind",
    "entity_id",
    "entity_version",
    "correlation_id",
    "traceparent",
    "committed_at",
    "changed",
    "content_digest",
];

/// An event that is about to be written.
#[derive(Clone, Debug)]
pub struct NewPublication {
    /// Its id.
    pub id: EventId,
    /// Its type.
    pub event_type: String,
    /// The revision of that type's definition under which its payload was checked; none of a type that comes with the program.
    pub revision: Option<String>,
    /// Whose it is.
    pub property_id: PropertyId,
    /// Kind and id of what it is about.
    pub subject: Option<(String, String)>,
    /// The request that publishes it.
    pub correlation_id: String,
    /// The trace that it belongs to.
    pub traceparent: Option<String>,
    /// When.
    pub committed_at: UnixMillis,
    /// The salted digest of what a repeat must have in common with it.
    pub digest: Vec<u8>,
    /// What is sent.
    pub body: Body,
}

/// What became of an event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Published {
    /// It is committed.
    New,
    /// There is an event with its id, of this digest; none has one that was not published.
    There(Option<Vec<u8>>),
}

/// How writing events ended.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Ended {
    /// What became of each, in their order.
    Decided(Vec<Published>),
    /// The definition of a type is another one by now: nothing was written.
    TypeChanged,
    /// Some of them are there already: nothing was written.
    SomeAreThere,
}

/// An event with the answer to its request.
#[derive(Clone, Debug)]
pub struct PublicationWrite {
    /// The event.
    pub publication: NewPublication,
    /// Where a retry finds the answer.
    pub slot: Slot,
    /// What the client is answered.
    pub answer: Answer,
}

impl NewPublication {
    /// The name of its entity's row.
    fn entity(&self) -> Option<String> {
        let (kind, id) = self.subject.as_ref()?;
        Some(format!("{}/{kind}/{id}", self.property_id))
    }

    /// The values of [`EVENT_COLUMNS`] without the version, before it and behind it.
    fn values(&self) -> (Params, Params) {
        let (kind, id) = self.subject.clone().unzip();
        (
            params![
                self.id.as_str(),
                &self.event_type,
                self.property_id.as_str(),
                kind,
                id
            ],
            params![
                &self.correlation_id,
                &self.traceparent,
                self.committed_at,
                "",
                self.digest.clone()
            ],
        )
    }
}

impl Store {
    /// Writes an event with the answer under its request's idempotency key; `None` when the definition of its type is another one by
    /// now.
    ///
    /// # Errors
    /// The database's; `Duplicate` when the idempotency key is taken.
    pub async fn publish(&self, write: PublicationWrite) -> Result<Option<Published>, DbError> {
        failpoint::reached("write.begin");
        let written = self.transaction(
            "publish",
            write,
            |tx, write| Box::pin(write_one(tx, write)),
            |tx, write| Box::pin(find_one(tx, &write.publication)),
        );
        let written = written.await;
        failpoint::reached("write.committed");
        written
    }

    /// Writes events of different ids in one transaction, and says of each, in their order, what became of it; `None` when the
    /// definition of a type is another one by now.
    ///
    /// # Errors
    /// The database's.
    pub async fn publish_all(
        &self,
        publications: Arc<[NewPublication]>,
    ) -> Result<Option<Vec<Published>>, DbError> {
        // Mostly none of them is there, so that is found out by their rows alone. It is looked up when that failed.
        for looked_up in (0..WRITES_MAX).map(|nth| nth > 0) {
            failpoint::reached("write.begin");
            let ended = self
                .transaction(
                    "publish_all",
                    (Arc::clone(&publications), looked_up),
                    |tx, (all, looked_up)| Box::pin(write_all(tx, all, *looked_up)),
                    |tx, (all, _)| Box::pin(find_all(tx, all)),
                )
                .await?;
            failpoint::reached("write.committed");
            match ended {
                Ended::Decided(published) => return Ok(Some(published)),
                Ended::TypeChanged => return Ok(None),
                Ended::SomeAreThere => {}
            }
        }
        Err(DbError::Contended)
    }
}

async fn write_one(tx: &mut Tx, write: &PublicationWrite) -> Result<Option<Published>, DbError> {
    let one = &write.publication;
    let mut statements = Vec::with_capacity(4);
    if one.revision.is_some() {
        statements.push(revision_of(&one.event_type));
    }
    let rows = statements.len() + usize::from(one.subject.is_some());
    statements.extend(one.statements(tx.dialect()));
    let ran = write.slot.run(tx, &write.answer, statements).await?;
    if let Some(revision) = &one.revision
        && let Some(asked) = ran.outcomes.first()
        && asked
            .row()
            .map(|row| row.get::<String>("revision"))
            .transpose()?
            .as_ref()
            != Some(revision)
    {
        tx.abandon();
        return Ok(None);
    }
    if ran.outcomes.len() == rows && ran.error == Some(DbError::Duplicate) {
        tx.abandon();
        let there = digests(tx, [&one.id]).await?.remove(one.id.as_str());
        return Ok(Some(Published::There(there.ok_or(DbError::Contended)?)));
    }
    ran.all()?;
    outbox::appended(tx);
    Ok(Some(Published::New))
}

/// After an unknown commit: whether the row is ours, by the salt of its digest.
async fn find_one(tx: &mut Tx, one: &NewPublication) -> Result<Option<Option<Published>>, DbError> {
    let there = digests(tx, [&one.id]).await?.remove(one.id.as_str());
    let is_ours = there.flatten().is_some_and(|digest| digest == one.digest);
    Ok(is_ours.then_some(Some(Published::New)))
}

async fn write_all(tx: &mut Tx, all: &[NewPublication], looked_up: bool) -> Result<Ended, DbError> {
    let there = if looked_up {
        digests(tx, all.iter().map(|one| &one.id)).await?
    } else {
        HashMap::new()
    };
    let is_new = |one: &&NewPublication| !there.contains_key(one.id.as_str());
    let new: Vec<&NewPublication> = all.iter().filter(is_new).collect();
    let Some(versions) = versions(tx, &new).await? else {
        tx.abandon();
        return Ok(Ended::TypeChanged);
    };
    let mut rows: Vec<(&NewPublication, Option<i64>)> = new.into_iter().zip(versions).collect();
    rows.sort_unstable_by(|(one, _), (other, _)| one.id.as_str().cmp(other.id.as_str()));
    for together in together(&rows) {
        match insert(tx, together).await {
            Err(DbError::Duplicate) => {
                tx.abandon();
                return Ok(Ended::SomeAreThere);
            }
            other => other?,
        }
    }
    if !rows.is_empty() {
        outbox::appended(tx);
    }
    Ok(Ended::Decided(decided(all, there)))
}

fn decided(all: &[NewPublication], mut there: HashMap<String, Option<Vec<u8>>>) -> Vec<Published> {
    let of_one = |one: &NewPublication| match there.remove(one.id.as_str()) {
        Some(digest) if digest.as_ref() != Some(&one.digest) => Published::There(digest),
        _ => Published::New,
    };
    all.iter().map(of_one).collect()
}

/// After an unknown commit: it took effect if any row of ours is there. Events that were all there wrote nothing.
async fn find_all(tx: &mut Tx, all: &[NewPublication]) -> Result<Option<Ended>, DbError> {
    let there = digests(tx, all.iter().map(|one| &one.id)).await?;
    let is_ours = |one: &NewPublication| there.get(one.id.as_str()) == Some(&Some(one.digest.clone()));
    Ok(all
        .iter()
        .any(is_ours)
        .then(|| Ended::Decided(decided(all, there))))
}

/// The digests of the events that are there, by their ids.
async fn digests(
    tx: &mut Tx,
    ids: impl IntoIterator<Item = &EventId>,
) -> Result<HashMap<String, Option<Vec<u8>>>, DbError> {
    let lists = in_lists(ids.into_iter().map(EventId::as_str));
    let questions: Vec<Statement> = lists
        .into_iter()
        .map(|list| {
            let sql = format!("SELECT id, content_digest FROM events WHERE id IN {list}");
            Statement::query(sql, list.into_params())
        })
        .collect();
    let answers = tx.run(&questions).await.all()?;
    let rows = answers.iter().flat_map(|answer| &answer.rows);
    rows.map(|row| Ok((row.get("id")?, row.get("content_digest")?)))
        .collect()
}

fn revision_of(event_type: &str) -> Statement {
    let sql = "SELECT type, revision FROM event_types WHERE type = ?";
    Statement::query(sql, params![event_type])
}

/// Counts the versions of the events' entities up; which version each event has, in their order, or none. `None` when the
/// definition of a type is another one by now.
async fn versions(tx: &mut Tx, new: &[&NewPublication]) -> Result<Option<Vec<Option<i64>>>, DbError> {
    let revisions: BTreeSet<(&str, &str)> = new
        .iter()
        .filter_map(|one| Some((one.event_type.as_str(), one.revision.as_deref()?)))
        .collect();
    let mut counts: BTreeMap<String, i64> = BTreeMap::new();
    for entity in new.iter().filter_map(|one| one.entity()) {
        *counts.entry(entity).or_default() += 1;
    }
    let mut statements = Vec::new();
    for list in in_lists(revisions.iter().map(|(name, _)| *name)) {
        let sql = format!("SELECT type, revision FROM event_types WHERE type IN {list}");
        statements.push(Statement::query(sql, list.into_params()));
    }
    let of_types = statements.len();
    let count_up = tx.dialect().on_conflict_add(&["entity"], &["version"]);
    let rows = counts
        .iter()
        .flat_map(|(entity, count)| params![entity, *count])
        .collect();
    statements.extend(Statement::rows(
        "entity_versions",
        &["entity", "version"],
        &count_up,
        rows,
    ));
    let of_versions = statements.len();
    for list in in_lists(counts.keys()) {
        let sql = format!("SELECT entity, version FROM entity_versions WHERE entity IN {list}");
        statements.push(Statement::query(sql, list.into_params()));
    }
    let answers = tx.run(&statements).await.all()?;
    let mut found = BTreeSet::new();
    for row in answers[..of_types].iter().flat_map(|answer| &answer.rows) {
        found.insert((row.get::<String>("type")?, row.get::<String>("revision")?));
    }
    let is_current =
        |(name, revision): &(&str, &str)| found.contains(&((*name).to_owned(), (*revision).to_owned()));
    if !revisions.iter().all(is_current) {
        return Ok(None);
    }
    let mut next: HashMap<String, i64> = HashMap::new();
    for row in answers[of_versions..].iter().flat_map(|answer| &answer.rows) {
        let (entity, last): (String, i64) = (row.get("entity")?, row.get("version")?);
        let first = last - counts.get(&entity).copied().unwrap_or_default() + 1;
        next.insert(entity, first);
    }
    let mut take = |one: &&NewPublication| {
        let Some(entity) = one.entity() else {
            return Ok(None);
        };
        let version = next.get_mut(&entity).ok_or(DbError::Contended)?;
        *version += 1;
        Ok(Some(*version - 1))
    };
    new.iter().map(&mut take).collect::<Result<Vec<_>, _>>().map(Some)
}

/// The rows in parts that go to the database together.
fn together<'r, 'p>(
    rows: &'r [(&'p NewPublication, Option<i64>)],
) -> Vec<&'r [(&'p NewPublication, Option<i64>)]> {
    let (mut parts, mut begin, mut bytes) = (Vec::new(), 0, 0);
    for (place, (one, _)) in rows.iter().enumerate() {
        let len = one.body.bytes();
        if place > begin && (place - begin == EVENTS_TOGETHER || bytes + len > BODIES_TOGETHER) {
            parts.push(&rows[begin..place]);
            (begin, bytes) = (place, 0);
        }
        bytes += len;
    }
    if begin < rows.len() {
        parts.push(&rows[begin..]);
    }
    parts
}

async fn insert(tx: &mut Tx, rows: &[(&NewPublication, Option<i64>)]) -> Result<(), DbError> {
    let (mut events, mut bodies) = (Params::new(), Params::new());
    for (one, version) in rows {
        let (before, behind) = one.values();
        events.extend(before);
        events.extend(params![*version]);
        events.extend(behind);
        bodies.extend(params![
            one.id.as_str(),
            one.body.with_version(version.unwrap_or_default())
        ]);
    }
    let statements: Vec<Statement> = [
        Statement::rows("events", &EVENT_COLUMNS, "", events),
        Statement::rows("event_bodies", &["event_id", "body"], "", bodies),
    ]
    .into_iter()
    .flatten()
    .collect();
    tx.run(&statements).await.all().map(drop)
}

impl NewPublication {
    /// What writes it alone. The version is counted and read in the statements themselves, so that they go to the database together.
    fn statements(&self, dialect: Dialect) -> Vec<Statement> {
        let (mut values, behind) = self.values();
        let (Some(entity), Some(tail)) = (self.entity(), &self.body.tail) else {
            values.extend(params![None::<i64>]);
            values.extend(behind);
            let body = params![self.id.as_str(), self.body.with_version(0)];
            return vec![
                Statement::change(
                    "INSERT INTO events (id, type, property_id, entity_kind, entity_id, entity_version, correlation_id,
                         traceparent, committed_at, changed, content_digest)
                     VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                    values,
                ),
                Statement::change("INSERT INTO event_bodies (event_id, body) VALUES (?, ?)", body),
            ];
        };
        let count_up = dialect.on_conflict_add(&["entity"], &["version"]);
        values.extend(behind);
        values.extend(params![&entity]);
        let body = dialect.bytes_of("?, version, ?");
        vec![
            Statement::change(
                format!("INSERT INTO entity_versions (entity, version) VALUES (?, 1){count_up}"),
                params![&entity],
            ),
            Statement::change(
                "INSERT INTO events (id, type, property_id, entity_kind, entity_id, entity_version, correlation_id,
                     traceparent, committed_at, changed, content_digest)
                 SELECT ?, ?, ?, ?, ?, version, ?, ?, ?, ?, ? FROM entity_versions WHERE entity = ?",
                values,
            ),
            Statement::change(
                format!("INSERT INTO event_bodies (event_id, body) SELECT ?, {body} FROM entity_versions WHERE entity = ?"),
                params![self.id.as_str(), &self.body.head, tail, &entity],
            ),
        ]
    }
}
