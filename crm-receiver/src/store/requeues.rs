//! The table `requeues`: runs that give dead letters back to the projector, and how far each is; `batches` carries them out.

mod batches;

pub use batches::{REQUEUE_LEASE, RequeueBatch, WAITING_MAX};

use super::{EventFilter, Store, dead_letters::requeue};
use crate::event::EventStatus;
use api::ListQuery;
use contract::{EventId, RequeueId, Scope, UnixMillis};
use db::{DbError, InList, Params, Row, Tx, params, read_id, read_ids};
use kit::{
    audit::{self, AuditEntry},
    listing::{Index, Listing, Order, Reading, Rows, Table},
};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Map, Value};
use std::borrow::Cow;
use strum::{EnumString, IntoStaticStr};

/// Runs that are not at their end at most. Two that begin at the same time may make it one more; that one then waits.
pub const RUNNING_MAX: usize = 10;
/// Those that one caller has begun, so that the others have a place.
pub const RUNNING_OF_ONE_MAX: usize = 2;
/// Dead letters that a dry run looks at, at most.
pub const COUNTED_MAX: usize = 20_000;
/// What the audit log calls a run.
pub const REQUEUE_KIND: &str = "requeue";

const SELECT: &str = "SELECT id, status, filter, scope, created_by, created_at, updated_at, ended_at, requeued, skipped, \
                      last_due_at, last_event_id, due_at_max FROM requeues";

const REQUEUES: Table = Table {
    name: "requeues",
    id: "id",
    orders: &[Order {
        field: "created_at",
        column: "created_at",
        index: "requeues_created",
    }],
};

/// How far a run is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, EnumString, IntoStaticStr)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case", const_into_str)]
pub enum RequeueStatus {
    /// There may be dead letters at which it has not looked.
    Running,
    /// It has looked at all.
    Finished,
    /// It was ended before.
    Cancelled,
}

/// A run.
#[derive(Clone, Debug)]
pub struct Requeue {
    /// Its id.
    pub id: RequeueId,
    /// How far it is.
    pub status: RequeueStatus,
    /// What an event must have, as it was asked for: names and texts.
    pub filter: Map<String, Value>,
    /// The properties whose events it requeues: what its maker saw.
    pub scope: Scope,
    /// Who began it.
    pub created_by: String,
    /// When.
    pub created_at: UnixMillis,
    /// When its last batch was committed.
    pub updated_at: UnixMillis,
    /// When it ended.
    pub ended_at: Option<UnixMillis>,
    /// How many events it has requeued.
    pub requeued: u64,
    /// How many have no body any more, and stay dead letters.
    pub skipped: u64,
    walk: Walk,
}

/// Where a run is in the order of `inbox_due`.
#[derive(Clone, Debug)]
struct Walk {
    last_due_at: i64,
    last_event_id: String,
    due_at_max: UnixMillis,
}

/// Whether a run begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RequeueCreation {
    /// It is begun.
    Begun,
    /// There are [`RUNNING_MAX`] that are not at their end.
    TooMany,
    /// Its maker has begun [`RUNNING_OF_ONE_MAX`] that are not.
    TooManyOfOne,
}

/// What became of one event that was to be requeued.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RequeueOne {
    /// It is accepted again.
    Done,
    /// There is none of that id in that scope.
    NoEvent,
    /// It is no dead letter.
    NotDead(EventStatus),
    /// Its body is gone.
    NoBody,
}

/// What a run would find, as far as was looked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct RequeueCount {
    /// Dead letters that would be requeued.
    pub matching: u64,
    /// Dead letters that fit, and have no body any more.
    pub without_body: u64,
    /// Whether these are all: at most [`COUNTED_MAX`] dead letters are looked at.
    pub complete: bool,
}

impl Requeue {
    /// A run that has not begun. `due_at_max`: no dead letter of now was due later.
    pub fn new(
        id: RequeueId,
        filter: Map<String, Value>,
        scope: Scope,
        created_by: String,
        now: UnixMillis,
        due_at_max: UnixMillis,
    ) -> Self {
        Self {
            id,
            status: RequeueStatus::Running,
            filter,
            scope,
            created_by,
            created_at: now,
            updated_at: now,
            ended_at: None,
            requeued: 0,
            skipped: 0,
            walk: Walk {
                last_due_at: 0,
                last_event_id: String::new(),
                due_at_max,
            },
        }
    }

    /// How many, for the audit log.
    fn outcome(&self) -> Option<Cow<'static, str>> {
        Some(format!("requeued {}, skipped {}", self.requeued, self.skipped).into())
    }

    fn event_filter(&self) -> Result<EventFilter, DbError> {
        let filter = EventFilter::read(|name| self.filter.get(name)?.as_str(), &self.scope);
        let filter = filter.map_err(|_| DbError::unreadable("filter"))?;
        Ok(filter.of_dead_letters())
    }
}

impl EventFilter {
    /// The same without its status, which the walk through the dead letters asks for.
    fn of_dead_letters(self) -> Self {
        Self { status: None, ..self }
    }
}

impl Store {
    /// Begins a run, if there is a place for it.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn create_requeue(&self, run: &Requeue, entry: AuditEntry) -> Result<RequeueCreation, DbError> {
        let (run, written) = (run.clone(), run.id.clone());
        self.db
            .transaction_or_find(
                "create_requeue",
                move |tx| {
                    let (run, entry) = (run.clone(), entry.clone());
                    Box::pin(async move {
                        let place = place_of(tx, &run.created_by).await?;
                        if place != RequeueCreation::Begun {
                            tx.abandon();
                            return Ok(place);
                        }
                        insert(tx, &run).await?;
                        audit::append(tx, &[entry]).await?;
                        Ok(place)
                    })
                },
                move |tx| {
                    let id = written.clone();
                    Box::pin(async move { Ok(find(tx, &id).await?.map(|_| RequeueCreation::Begun)) })
                },
            )
            .await
    }

    /// Requeues one event of a scope, as a run that has ended with it.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn requeue_event(
        &self,
        event_id: &EventId,
        run: &Requeue,
        entry: AuditEntry,
    ) -> Result<RequeueOne, DbError> {
        let (id, run, written) = (event_id.to_string(), run.clone(), run.id.clone());
        self.db
            .transaction_or_find(
                "requeue_event",
                move |tx| {
                    let (id, run, entry) = (id.clone(), run.clone(), entry.clone());
                    Box::pin(async move {
                        let done = requeue_one(tx, &id, run, entry).await?;
                        if done != RequeueOne::Done {
                            tx.abandon();
                        }
                        Ok(done)
                    })
                },
                move |tx| {
                    let id = written.clone();
                    Box::pin(async move { Ok(find(tx, &id).await?.map(|_| RequeueOne::Done)) })
                },
            )
            .await
    }

    /// The run of that id.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn requeue(&self, id: &RequeueId) -> Result<Option<Requeue>, DbError> {
        let id = id.clone();
        self.reads
            .read("requeue", move |tx| {
                let id = id.clone();
                Box::pin(async move { find(tx, &id).await })
            })
            .await
    }

    /// The runs of one page that somebody with this scope sees: those that requeue nothing beyond it.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn requeues(
        &self,
        status: Option<RequeueStatus>,
        scope: &Scope,
        query: &ListQuery,
    ) -> Result<Rows<Requeue>, DbError> {
        let mut listing = Listing::of(&REQUEUES);
        let status = status.map(|status| -> &'static str { status.into() });
        listing.equal_by("requeues_status", "status", status);
        if let Scope::Parts(parts) = scope {
            let list = InList::of(parts);
            let all = to_json(&Scope::All);
            let condition = format!(
                "scope <> ? AND NOT EXISTS (SELECT 1 FROM requeue_properties \
                 WHERE requeue_id = requeues.id AND property_id NOT IN {list})"
            );
            listing.require(condition, list.after(params![all]));
        }
        let reading = Reading {
            name: "requeues",
            select: SELECT,
            read: read_requeue,
        };
        self.lists.find(listing, query, reading).await
    }

    /// Ends a run before its end; false when it had ended. What it has requeued stays so.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn cancel_requeue(&self, id: &RequeueId, entry: AuditEntry) -> Result<bool, DbError> {
        let id = id.clone();
        self.db
            .transaction("cancel_requeue", move |tx| {
                let (id, mut entry) = (id.clone(), entry.clone());
                Box::pin(async move {
                    let sql = "UPDATE requeues SET status = 'cancelled', ended_at = ?, updated_at = ? \
                               WHERE id = ? AND status = 'running'";
                    if tx.execute(sql, params![entry.at, entry.at, id.as_str()]).await? == 0 {
                        return Ok(false);
                    }
                    if let Some(run) = find(tx, &id).await? {
                        entry.outcome = run.outcome();
                    }
                    audit::append(tx, &[entry]).await?;
                    Ok(true)
                })
            })
            .await
    }

    /// Counts what a run would requeue, without changing anything.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn count_requeueable(
        &self,
        filter: &EventFilter,
        due_at_max: UnixMillis,
    ) -> Result<RequeueCount, DbError> {
        let filter = filter.clone().of_dead_letters();
        self.lists
            .read("count_requeueable", move |tx| {
                let filter = filter.clone();
                Box::pin(async move { count(tx, &filter, due_at_max).await })
            })
            .await
    }
}

/// Whether one more run of a caller may begin.
async fn place_of(tx: &mut Tx, maker: &str) -> Result<RequeueCreation, DbError> {
    let sql = "SELECT created_by FROM requeues WHERE status = 'running' LIMIT ?";
    let rows = tx.query(sql, params![RUNNING_MAX]).await?;
    let makers: Vec<String> = read_ids(&rows, "created_by")?;
    let of_maker = makers.iter().filter(|other| *other == maker).count();
    Ok(if of_maker >= RUNNING_OF_ONE_MAX {
        RequeueCreation::TooManyOfOne
    } else if makers.len() >= RUNNING_MAX {
        RequeueCreation::TooMany
    } else {
        RequeueCreation::Begun
    })
}

/// The conditions of a filter.
fn fitting(tx: &Tx, filter: &EventFilter) -> (String, Params) {
    let conditions = filter.listing().conditions(tx.dialect());
    conditions.unwrap_or_else(|| ("1 = 1".to_owned(), Params::new()))
}

fn from_dead_letters(tx: &Tx) -> String {
    let index = Index::Named("inbox_due").hint(tx.dialect());
    format!("FROM inbox{index} WHERE status = 'dead_letter'")
}

async fn count(tx: &mut Tx, filter: &EventFilter, due_at_max: UnixMillis) -> Result<RequeueCount, DbError> {
    let (fits, mut params) = fitting(tx, filter);
    let from = from_dead_letters(tx);
    let sql = format!(
        "SELECT COUNT(*) AS looked_at, COALESCE(SUM(fits), 0) AS fits, COALESCE(SUM(fits * whole), 0) AS whole FROM \
             (SELECT CASE WHEN {fits} THEN 1 ELSE 0 END AS fits, CASE WHEN EXISTS \
                  (SELECT 1 FROM inbox_bodies WHERE inbox_bodies.event_id = inbox.event_id) THEN 1 ELSE 0 END AS whole \
              {from} AND due_at <= ? ORDER BY due_at, event_id LIMIT ?) AS counted"
    );
    params.extend(params![due_at_max, COUNTED_MAX + 1]);
    let row = tx.query_one(&sql, params).await?;
    let row = row.ok_or(DbError::unreadable("looked_at"))?;
    let (fits, whole): (u64, u64) = (row.get("fits")?, row.get("whole")?);
    Ok(RequeueCount {
        // One more is looked at, to know whether there is one.
        matching: whole.min(COUNTED_MAX as u64),
        without_body: fits - whole.min(fits),
        complete: row.get::<usize>("looked_at")? <= COUNTED_MAX,
    })
}

async fn requeue_one(
    tx: &mut Tx,
    id: &str,
    mut run: Requeue,
    entry: AuditEntry,
) -> Result<RequeueOne, DbError> {
    let sql = "SELECT status, property_id FROM inbox WHERE event_id = ?";
    let row = tx.query_one(sql, params![id]).await?;
    let Some(row) = row else {
        return Ok(RequeueOne::NoEvent);
    };
    let property: Option<String> = row.get("property_id")?;
    if !run.scope.has_optional(property.as_deref()) {
        return Ok(RequeueOne::NoEvent);
    }
    let done = requeue(tx, &[id.to_owned()], &run.created_by, run.created_at).await?;
    if done.without_body > 0 {
        return Ok(RequeueOne::NoBody);
    }
    if done.requeued.is_empty() {
        // Read again: another request may have requeued it while this one waited for its lock.
        let row = tx.query_one(sql, params![id]).await?;
        let status = row.map(|row| read_id(&row, "status")).transpose()?;
        return Ok(status.map_or(RequeueOne::NoEvent, RequeueOne::NotDead));
    }
    run.requeued = 1;
    run.status = RequeueStatus::Finished;
    run.ended_at = Some(run.created_at);
    insert(tx, &run).await?;
    let outcome = run.outcome();
    audit::append(tx, &[AuditEntry { outcome, ..entry }]).await?;
    Ok(RequeueOne::Done)
}

async fn insert(tx: &mut Tx, run: &Requeue) -> Result<(), DbError> {
    let columns = [
        "id",
        "status",
        "filter",
        "scope",
        "created_by",
        "created_at",
        "updated_at",
        "ended_at",
        "requeued",
        "skipped",
        "last_due_at",
        "last_event_id",
        "due_at_max",
    ];
    let values = params![
        run.id.as_str(),
        run.status.into_str(),
        to_json(&run.filter),
        to_json(&run.scope),
        &run.created_by,
        run.created_at,
        run.updated_at,
        run.ended_at,
        run.requeued,
        run.skipped,
        run.walk.last_due_at,
        &run.walk.last_event_id,
        run.walk.due_at_max,
    ];
    tx.insert("requeues", &columns, "", values).await?;
    if let Scope::Parts(parts) = &run.scope {
        let values = parts
            .iter()
            .flat_map(|part| params![run.id.as_str(), part])
            .collect();
        tx.insert("requeue_properties", &["requeue_id", "property_id"], "", values)
            .await?;
    }
    Ok(())
}

async fn find(tx: &mut Tx, id: &RequeueId) -> Result<Option<Requeue>, DbError> {
    let sql = format!("{SELECT} WHERE id = ?");
    let row = tx.query_one(&sql, params![id.as_str()]).await?;
    row.as_ref().map(read_requeue).transpose()
}

fn read_requeue(row: &Row) -> Result<Requeue, DbError> {
    Ok(Requeue {
        id: read_id(row, "id")?,
        status: read_id(row, "status")?,
        filter: read_json(row, "filter")?,
        scope: read_json(row, "scope")?,
        created_by: row.get("created_by")?,
        created_at: row.get("created_at")?,
        updated_at: row.get("updated_at")?,
        ended_at: row.get("ended_at")?,
        requeued: row.get("requeued")?,
        skipped: row.get("skipped")?,
        walk: Walk {
            last_due_at: row.get("last_due_at")?,
            last_event_id: row.get("last_event_id")?,
            due_at_max: row.get("due_at_max")?,
        },
    })
}

fn to_json(value: &impl Serialize) -> String {
    serde_json::to_string(value).expect("it is plain data")
}

fn read_json<T: DeserializeOwned>(row: &Row, column: &str) -> Result<T, DbError> {
    serde_json::from_str(&row.get::<String>(column)?).map_err(|_| DbError::unreadable(column))
}
