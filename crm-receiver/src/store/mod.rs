//! The receiver's tables. A store method is one transaction; nobody outside of here sees one.
//!
//! A file holds a table, or a transaction over several, with its rows, queries and audit entries. `inbox` takes batches of
//! arrivals in; `events` is the inbox as the API shows it, `pending` what of it waits to be projected, `dead_letters` what
//! nothing is tried for any more. `projection` writes `records`, `record_refs`, `timeline`, `erasures`, `profiles` and
//! `property_days` in one transaction; `profile_rebuild` derives profiles again, `requeues` gives dead letters back to the
//! projector, `purge` deletes what is old enough. `sources` says who may send, `source_secrets` what they sign with,
//! `source_digest_keys` has the keys for bodies without an id, `source_counts` what became of deliveries; `audit_counts` adds up
//! what was not kept, of which `rejections` has a sample. `stream_batches` has what the live stream shows,
//! `jobs` what other services report of their jobs, and `reconciliations` how far what is here was compared with the sender's feed.

mod audit_counts;
mod dead_letters;
mod erasures;
mod events;
mod inbox;
mod job_registrations;
mod job_updates;
mod jobs;
mod pending;
mod profile_rebuild;
mod profiles;
mod projection;
mod property_days;
mod purge;
mod reconciliations;
mod record_refs;
mod records;
mod rejections;
mod requeues;
mod source_counts;
mod source_digest_keys;
mod source_secrets;
mod sources;
mod state_budget;
mod stream_batches;
mod timeline;

pub use self::audit_counts::{CountKind, PeriodCount};
pub use self::dead_letters::OPERATOR;
pub use self::events::{EventFilter, EventRow, ShownEntity};
pub use self::inbox::{Batch, Verdict};
pub use self::job_registrations::JobRegistered;
pub use self::job_updates::{
    INTERMEDIATE_UPDATES_MAX, JobArrival, JobHistoryEntry, JobTaken, TERMINAL_UPDATES_MAX,
};
pub use self::jobs::{Job, JobFilter, JobFound, JobRow};
pub use self::pending::{BODY_LEN_MAX, STEP_BYTES_MAX};
pub use self::profile_rebuild::PROFILES;
pub use self::profiles::{ProfileFilter, StoredProfile};
pub use self::projection::Projection;
pub use self::purge::{PURGE_BATCH, PurgeBefore, PurgePosition, PurgeTarget, Purged};
pub use self::reconciliations::{
    Begun, MISSING_NAMED_MAX, MissingEvent, MissingReason, Progress, RECONCILE_LEASE, Reconciliation,
};
pub use self::rejections::{RejectionFilter, RejectionRow};
pub use self::requeues::{
    COUNTED_MAX, REQUEUE_KIND, REQUEUE_LEASE, RUNNING_MAX, RUNNING_OF_ONE_MAX, Requeue, RequeueBatch,
    RequeueCount, RequeueCreation, RequeueOne, RequeueStatus, WAITING_MAX,
};
pub use self::source_counts::{COUNT_DAYS_KEPT, HOUR_MILLIS, HourCount, Sighting, SourceTally, hour_of};
pub use self::source_digest_keys::SealedDigestKey;
pub use self::source_secrets::{End, HasKey, Rotation, SourceSecret};
pub use self::sources::{
    Change, Creation, OnInvalid, RATE_WINDOW_SECONDS, SOURCE_WINDOWS, SOURCES_MAX, Source, SourceRows,
    SourceSettings,
};
pub use self::stream_batches::{
    Behind, STREAM_BATCHES, STREAM_ROWS, StreamBatch, StreamChange, StreamChangeKind, StreamRow,
    StreamedEvents,
};

use db::{Db, DbError, Dialect, InList, Migration, MigrationSet, Value, in_lists, params};
use kit::{listing::Lists, secrets::SealedColumn};
use std::{collections::BTreeMap, ops::Deref, sync::Arc, time::Duration};

/// The receiver's own tables, in the order in which they came to be.
pub const MIGRATIONS: MigrationSet = MigrationSet {
    scope: "crm-receiver",
    migrations: &[
        Migration {
            number: 1,
            name: "inbox",
            sqlite: include_str!("../../migrations/sqlite/0001_inbox.sql"),
            mysql: include_str!("../../migrations/mysql/0001_inbox.sql"),
        },
        Migration {
            number: 2,
            name: "records_profiles",
            sqlite: include_str!("../../migrations/sqlite/0002_records_profiles.sql"),
            mysql: include_str!("../../migrations/mysql/0002_records_profiles.sql"),
        },
        Migration {
            number: 3,
            name: "waiting_events",
            sqlite: include_str!("../../migrations/sqlite/0003_waiting_events.sql"),
            mysql: include_str!("../../migrations/mysql/0003_waiting_events.sql"),
        },
        Migration {
            number: 4,
            name: "property_days",
            sqlite: include_str!("../../migrations/sqlite/0004_property_days.sql"),
            mysql: include_str!("../../migrations/mysql/0004_property_days.sql"),
        },
        Migration {
            number: 5,
            name: "sources",
            sqlite: include_str!("../../migrations/sqlite/0005_sources.sql"),
            mysql: include_str!("../../migrations/mysql/0005_sources.sql"),
        },
        Migration {
            number: 6,
            name: "source_rates",
            sqlite: include_str!("../../migrations/sqlite/0006_source_rates.sql"),
            mysql: include_str!("../../migrations/mysql/0006_source_rates.sql"),
        },
        Migration {
            number: 7,
            name: "schemes",
            sqlite: include_str!("../../migrations/sqlite/0007_schemes.sql"),
            mysql: include_str!("../../migrations/mysql/0007_schemes.sql"),
        },
        Migration {
            number: 8,
            name: "requeues",
            sqlite: include_str!("../../migrations/sqlite/0008_requeues.sql"),
            mysql: include_str!("../../migrations/mysql/0008_requeues.sql"),
        },
        Migration {
            number: 9,
            name: "purges",
            sqlite: include_str!("../../migrations/sqlite/0009_purges.sql"),
            mysql: include_str!("../../migrations/mysql/0009_purges.sql"),
        },
        Migration {
            number: 10,
            name: "rejections",
            sqlite: include_str!("../../migrations/sqlite/0010_rejections.sql"),
            mysql: include_str!("../../migrations/mysql/0010_rejections.sql"),
        },
        Migration {
            number: 11,
            name: "stream",
            sqlite: include_str!("../../migrations/sqlite/0011_stream.sql"),
            mysql: include_str!("../../migrations/mysql/0011_stream.sql"),
        },
        Migration {
            number: 12,
            name: "source_counts",
            sqlite: include_str!("../../migrations/sqlite/0012_source_counts.sql"),
            mysql: include_str!("../../migrations/mysql/0012_source_counts.sql"),
        },
        Migration {
            number: 13,
            name: "jobs",
            sqlite: include_str!("../../migrations/sqlite/0013_jobs.sql"),
            mysql: include_str!("../../migrations/mysql/0013_jobs.sql"),
        },
        Migration {
            number: 14,
            name: "reconciliations",
            sqlite: include_str!("../../migrations/sqlite/0014_reconciliations.sql"),
            mysql: include_str!("../../migrations/mysql/0014_reconciliations.sql"),
        },
        Migration {
            number: 15,
            name: "reconciliations_given_up",
            sqlite: include_str!("../../migrations/sqlite/0015_reconciliations_given_up.sql"),
            mysql: include_str!("../../migrations/mysql/0015_reconciliations_given_up.sql"),
        },
    ],
};

/// The columns of encrypted secrets.
pub const SEALED: [SealedColumn; 2] = [
    source_secrets::SEALED_SECRETS,
    source_digest_keys::SEALED_DIGEST_KEYS,
];

/// The receiver's database. Clones share everything, and each request has one.
#[derive(Clone, Debug)]
pub struct Store(Arc<Databases>);

/// The same database for different uses.
#[derive(Clone, Debug)]
pub struct Databases {
    pub(crate) db: Db,
    /// For single reads of the API, which neither wait for lists nor hold up accepting and projecting.
    reads: Db,
    lists: Lists,
    /// For draws from rate limits, whose callers wait until it is known what was drawn.
    pub(crate) draws: Db,
    /// For the live stream, of which a client may be far back.
    stream_reads: Db,
    /// Of properties, as far as this process knows what is committed.
    days: property_days::CommittedDays,
}

impl Deref for Store {
    type Target = Databases;
    fn deref(&self) -> &Databases {
        &self.0
    }
}

impl Store {
    /// The tables in a database whose migrations are applied.
    pub fn new(db: Db) -> Self {
        Self(Arc::new(Databases {
            reads: db.for_reads(),
            draws: db.answering_after_abort(),
            lists: Lists::new(&db),
            stream_reads: db.for_lists(),
            db,
            days: property_days::CommittedDays::default(),
        }))
    }

    /// The same store, of which each page of a list looks at so many rows: for tests of where pages end.
    #[must_use]
    pub fn with_rows_looked_at(&self, rows: usize) -> Self {
        Self(Arc::new(Databases {
            lists: self.lists.with_rows_looked_at(rows),
            ..self.0.as_ref().clone()
        }))
    }

    /// Whether only one of all writers writes at a time.
    pub fn has_one_writer(&self) -> bool {
        self.db.dialect() == Dialect::Sqlite
    }

    /// Whether the database answers.
    pub async fn ping(&self) -> Result<(), DbError> {
        self.db.ping().await
    }

    /// Whether the database takes writes: commits a row of the table of bodies that is gone again before the COMMIT.
    /// `id` must be fresh each time, so that what is left of a probe that was cut off is in nobody's way.
    ///
    /// # Errors
    /// An outage, which here includes a read-only and a full database; `Timeout` after `within`.
    pub async fn probe(&self, id: &str, within: Duration) -> Result<(), DbError> {
        let id = id.to_owned();
        self.db
            .with_deadline(within)
            .transaction("probe", move |tx| {
                let id = id.clone();
                Box::pin(async move {
                    let insert = "INSERT INTO inbox_bodies (event_id, body) VALUES (?, ?)";
                    tx.execute(insert, params![&id, b"probe".as_slice()]).await?;
                    let delete = "DELETE FROM inbox_bodies WHERE event_id = ?";
                    tx.execute(delete, params![&id]).await.map(drop)
                })
            })
            .await
    }

    /// Finishes what is running and closes every connection, of all clones.
    pub async fn close(&self) {
        self.db.clone().close().await;
    }
}

/// The values under each key, as lists: an IN is of one source, or of one source and kind.
fn grouped<K: Ord + Copy, V: Into<Value>>(
    pairs: impl Iterator<Item = (K, V)>,
) -> impl Iterator<Item = (K, InList)> {
    let mut groups = BTreeMap::<K, Vec<V>>::new();
    for (key, value) in pairs {
        groups.entry(key).or_default().push(value);
    }
    let lists = |(key, values)| in_lists(values).into_iter().map(move |list| (key, list));
    groups.into_iter().flat_map(lists)
}
