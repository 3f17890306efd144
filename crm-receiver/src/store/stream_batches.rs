//! What the live stream shows: one row for each transaction that took events in or decided them, written in it.
//!
//! A row holds ids alone; what is shown of an event is read from the inbox. Its place in the stream is given after the commit
//! ([`kit::sequencer`]), so that a reader of the places misses nothing. Rows that have a place may be purged by their age.

use super::{
    Store,
    events::{self, EventRow},
};
use crate::event::EventStatus;
use contract::{EventId, UnixMillis};
use db::{DbError, Row, Statement, Tx, in_lists, params};
use kit::sequencer::{PlainRows, Sequence};
use serde::{Deserialize, Serialize};
use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

/// The table. It is purged by `created_at`, of rows whose `seq` is not NULL: one without a place was shown to nobody yet.
pub const STREAM_BATCHES: &str = "stream_batches";
/// The places of its rows.
const STREAM: Sequence = Sequence { name: "event_stream" };
/// Its rows, which get their places after their commit.
pub const STREAM_ROWS: PlainRows = PlainRows {
    sequence: STREAM,
    table: STREAM_BATCHES,
};

/// What one transaction did.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct Changes {
    /// The events that it took in.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    received: Vec<EventId>,
    /// The events that it decided, also of those that it took in.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    decided: BTreeMap<EventStatus, Vec<EventId>>,
}

/// One transaction as its row has it: with ids alone.
#[derive(Debug)]
pub struct StreamRow {
    /// Its place.
    pub seq: i64,
    changes: Changes,
}

/// One transaction as the stream shows it.
#[derive(Clone, Debug)]
pub struct StreamBatch {
    /// Its place.
    pub seq: i64,
    /// What happened to events, in an order that is always the same. None: the event is not kept any more.
    pub changes: Vec<Option<StreamChange>>,
}

/// What happened to one event.
#[derive(Clone, Debug)]
pub struct StreamChange {
    /// What.
    pub kind: StreamChangeKind,
    /// Its status since.
    pub status: EventStatus,
    /// The event. The status here is that of now.
    pub event: Arc<EventRow>,
}

/// Events by their ids.
pub type StreamedEvents = HashMap<EventId, Arc<EventRow>>;

/// What happens to an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StreamChangeKind {
    /// It was taken in.
    Received,
    /// Its status is another than that it waits.
    Decided,
}

/// What is there behind a place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Behind {
    /// The last place that was given; 0 before the first.
    pub last: i64,
    /// Whether the batch that comes next is there.
    pub is_next_there: bool,
}

impl Changes {
    /// An event was taken in with a status.
    pub(super) fn receive(&mut self, event: &EventId, status: EventStatus) {
        self.received.push(event.clone());
        if status != EventStatus::Accepted {
            self.decide(event, status);
        }
    }

    /// An event was decided.
    pub(super) fn decide(&mut self, event: &EventId, status: EventStatus) {
        self.decided.entry(status).or_default().push(event.clone());
    }

    /// The row; None where nothing happened.
    pub(super) fn statement(&self, now: UnixMillis) -> Option<Statement> {
        let is_any = !self.received.is_empty() || !self.decided.is_empty();
        is_any.then(|| {
            let text = serde_json::to_string(self).expect("ids are plain data");
            let sql = format!("INSERT INTO {STREAM_BATCHES} (created_at, changes) VALUES (?, ?)");
            Statement::change(sql, params![now, text])
        })
    }

    /// Writes the row, if anything happened.
    pub(super) async fn write(&self, tx: &mut Tx, now: UnixMillis) -> Result<(), DbError> {
        match self.statement(now) {
            Some(statement) => tx.run(&[statement]).await.all().map(drop),
            None => Ok(()),
        }
    }

    fn events(&self) -> impl Iterator<Item = &EventId> {
        let decided = self.decided.values().flatten();
        self.received.iter().chain(decided)
    }

    /// Each change in its order: what was received, and then what was decided, by its status.
    fn in_order(&self, events: &StreamedEvents) -> Vec<Option<StreamChange>> {
        let of_received: HashMap<&EventId, EventStatus> = self
            .decided
            .iter()
            .flat_map(|(status, ids)| ids.iter().map(move |id| (id, *status)))
            .collect();
        let change = |kind, id: &EventId, status| {
            events.get(id).map(|event| StreamChange {
                kind,
                status,
                event: Arc::clone(event),
            })
        };
        let received = self.received.iter().map(|id| {
            let status = of_received.get(id).copied().unwrap_or(EventStatus::Accepted);
            change(StreamChangeKind::Received, id, status)
        });
        let decided = self.decided.iter().flat_map(|(status, ids)| {
            ids.iter()
                .map(|id| change(StreamChangeKind::Decided, id, *status))
        });
        received.chain(decided).collect()
    }
}

impl StreamRow {
    /// The events that it is about; one may stand there twice.
    pub fn events(&self) -> impl Iterator<Item = &EventId> {
        self.changes.events()
    }

    /// Those of them that it decided.
    pub fn decided(&self) -> impl Iterator<Item = &EventId> {
        self.changes.decided.values().flatten()
    }

    /// What is shown of it, with what is known of its events.
    pub fn shown(&self, events: &StreamedEvents) -> StreamBatch {
        StreamBatch {
            seq: self.seq,
            changes: self.changes.in_order(events),
        }
    }
}

impl Store {
    /// The last place of the stream; 0 before the first.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn stream_end(&self) -> Result<i64, DbError> {
        self.stream_reads
            .read("stream_end", |tx| {
                Box::pin(async move { STREAM.last_place(tx).await })
            })
            .await
    }

    /// What is there behind a place.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn stream_behind(&self, place: i64) -> Result<Behind, DbError> {
        self.stream_reads
            .read("stream_behind", move |tx| {
                Box::pin(async move {
                    let last = STREAM.last_place(tx).await?;
                    // The very next: rows are purged by their time, and clocks of replicas differ, so the first that is kept does
                    // not say that all behind it are.
                    let sql = format!("SELECT seq FROM {STREAM_BATCHES} WHERE seq = ?");
                    let next = tx.query_one(&sql, params![place.saturating_add(1)]).await?;
                    Ok(Behind {
                        last,
                        is_next_there: next.is_some(),
                    })
                })
            })
            .await
    }

    /// The rows after a place, in their order, at most so many.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn stream_after(&self, place: i64, rows: u32) -> Result<Vec<StreamRow>, DbError> {
        self.stream_reads
            .read("stream_after", move |tx| {
                Box::pin(async move {
                    let sql = format!(
                        "SELECT seq, changes FROM {STREAM_BATCHES} WHERE seq > ? ORDER BY seq LIMIT ?"
                    );
                    let rows = tx.query(&sql, params![place, rows]).await?;
                    rows.iter().map(read_row).collect()
                })
            })
            .await
    }

    /// Those of the events that are kept.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn streamed_events(&self, ids: Vec<EventId>) -> Result<StreamedEvents, DbError> {
        if ids.is_empty() {
            return Ok(StreamedEvents::new());
        }
        self.stream_reads
            .read("streamed_events", move |tx| {
                let ids = ids.clone();
                Box::pin(async move {
                    let mut found = StreamedEvents::with_capacity(ids.len());
                    for list in in_lists(ids.iter().map(EventId::as_str)) {
                        for event in events::with_ids(tx, list).await? {
                            let id = event.event_id.parse();
                            found.insert(id.map_err(|_| DbError::unreadable("event_id"))?, Arc::new(event));
                        }
                    }
                    Ok(found)
                })
            })
            .await
    }
}

fn read_row(row: &Row) -> Result<StreamRow, DbError> {
    Ok(StreamRow {
        seq: row.get("seq")?,
        changes: read_changes(row)?,
    })
}

fn read_changes(row: &Row) -> Result<Changes, DbError> {
    serde_json::from_str(&row.get::<String>("changes")?).map_err(|_| DbError::unreadable("changes"))
}
