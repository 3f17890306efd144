//! Everything that the emitter stores: each method is one transaction.
//!
//! Only this folder contains SQL of the emitter's own tables. A write and its event are one commit (`outbox`); the sequencer
//! queues what is committed (`fan_out`); the dispatcher claims, and settles, with an owner, a lease and an epoch (`claims`,
//! `settlements`). Nobody outside sees a transaction.

mod backlog;
mod breaker_history;
mod cancelling;
mod changed_columns;
mod claims;
mod clock_skew;
mod deliveries;
mod delivery_hours;
mod delivery_runs;
mod due_endpoints;
mod endpoint_health;
mod endpoint_secrets;
mod endpoint_versions;
mod endpoints;
mod entity_order;
mod event_types;
mod fan_out;
mod feed;
mod guest_names;
mod guests;
mod immediate_claims;
mod night_audit;
mod notices;
pub mod outbox;
mod properties;
mod publications;
mod purge;
mod queued;
mod rate_window;
mod redelivery;
mod reservation_guests;
mod reservations;
mod retry_dead;
mod settlements;
mod shared_breaker;
mod targets;
mod webhooks;

pub use breaker_history::{BREAKER_HISTORY_MAX, BreakerChange};
pub use claims::{BATCH_MAX, Claim, ClaimRequest, Claimed, DeliveryRef, LEASE_MAX, Subject};
pub use deliveries::{DeliveredEvent, DeliveryAttempt, DeliveryFilter, DeliveryPage, DeliveryRow};
pub use delivery_hours::{AttemptCounts, DeliveryStats, HOUR_MS, hour_of};
pub use delivery_runs::{
    COUNTED_MAX, DeliveryRun, RUN_LEASE, RUNNING_MAX, RUNNING_OF_ENDPOINT_MAX, RunBatch, RunCount,
    RunCreation, WAITING_MAX,
};
pub use due_endpoints::DueEndpoints;
pub use endpoint_health::{Ailing, ToNotice};
pub use endpoint_secrets::{
    EndpointSecret, NewSecret, SecretChange, SecretsChanged, WhatOfSecrets, secret_place, secret_row,
};
pub use endpoint_versions::EndpointVersions;
pub use endpoints::{EndpointDetails, EndpointStatus, EnvEndpoint, PENDING_MAX, counted_up_to, env_endpoint};
pub use event_types::{TypeSummary, TypeWrite, TypeWritten};
pub use fan_out::{FEED, FanOut};
pub use feed::{FeedQuery, FeedRead, PLACES_LOOKED_AT_MAX};
pub use guest_names::GUEST_NAMES;
pub use guests::{GuestFilter, GuestWrite, GuestWritten};
pub use immediate_claims::{Grant, Handed, ImmediateClaims, Offer, UnknownClaim};
pub use night_audit::{Late, NightAudit, NightAuditRequest, Overdue};
pub use outbox::NewEvent;
pub use properties::{PropertyWrite, PropertyWritten};
pub use publications::{NewPublication, PublicationWrite, Published};
pub use purge::{PURGE_BATCH, PurgeBefore, PurgePosition, PurgeTarget, Purged};
pub use queued::Queued;
pub use redelivery::MadeDue;
pub use reservations::{ReservationFilter, ReservationWrite, ReservationWritten, StatusFilter};
pub use retry_dead::DeadRetried;
pub use settlements::{ANSWER_LEN_MAX, AttemptRecord, EndpointUpdate, Settled, Settlement, Verdict};
pub use shared_breaker::{Admits, BreakerWrite, SharedBreaker, SharedBreakers, WhatOfBreaker};
pub use targets::Target;
pub use webhooks::{
    ENDPOINTS_MAX, ENDPOINTS_OF_PROPERTY_MAX, Endpoint, EndpointChange, EndpointChanged, EndpointMade,
    HeaderChange, NewEndpoint, SealedHeaders, Start, WhatChanges, headers_place,
};

use db::{Db, DbError, Migration, MigrationSet, Tx};
use futures::future::BoxFuture;
use kit::listing::Lists;
use kit::secrets::SealedColumn;
use std::sync::Arc;

/// One migration, from its files for both engines: their number, in four digits, and their name.
macro_rules! migration {
    ($number:literal, $name:literal) => {
        Migration {
            number: number_of($number),
            name: $name,
            sqlite: include_str!(concat!("../../migrations/sqlite/", $number, "_", $name, ".sql")),
            mysql: include_str!(concat!("../../migrations/mysql/", $number, "_", $name, ".sql")),
        }
    };
}

/// The number that a file's name begins with.
const fn number_of(digits: &str) -> u32 {
    match u32::from_str_radix(digits, 10) {
        Ok(number) => number,
        Err(_) => panic!("a migration's files begin with its number"),
    }
}

/// The emitter's tables, in the order in which they are made.
pub const MIGRATIONS: MigrationSet = MigrationSet {
    scope: "pms-emitter",
    migrations: &[
        migration!("0001", "properties_guests"),
        migration!("0002", "outbox"),
        migration!("0003", "reservations"),
        migration!("0004", "backfill_again"),
        migration!("0005", "guest_name_words"),
        migration!("0006", "lists"),
        migration!("0007", "fan_out"),
        migration!("0008", "webhooks"),
        migration!("0009", "event_types"),
        migration!("0010", "endpoint_health"),
        migration!("0011", "deliveries"),
        migration!("0012", "delivery_hours"),
        migration!("0013", "delivery_runs"),
        migration!("0014", "shared_breaker"),
        migration!("0015", "rate_limit"),
        migration!("0016", "retention"),
        migration!("0017", "ordering"),
        migration!("0018", "failure_rate"),
        migration!("0019", "heartbeat"),
        migration!("0020", "first_wait"),
    ],
};

/// The columns of secrets.
pub const SEALED: [SealedColumn; 2] = [endpoint_secrets::SEALED_SECRETS, webhooks::SEALED_HEADERS];

/// A step of a transaction: what it does with its work, each time it is run.
type Step<W, T> = for<'t> fn(&'t mut Tx, &'t W) -> BoxFuture<'t, Result<T, DbError>>;

/// The emitter's tables. Clones share the database.
#[derive(Clone, Debug)]
pub struct Store {
    pub(crate) db: Db,
    /// For single reads, which neither wait for lists nor hold up writing and delivering.
    reads: Db,
    lists: Lists,
    versions: EndpointVersions,
    breakers: SharedBreakers,
}

impl Store {
    /// A store on an open database that has the tables of [`MIGRATIONS`].
    pub fn new(db: Db) -> Self {
        Self {
            reads: db.for_reads(),
            lists: Lists::new(&db),
            versions: EndpointVersions::default(),
            breakers: SharedBreakers::default(),
            db,
        }
    }

    /// The same store for a single read of the API, on the connections that these share.
    #[must_use]
    pub fn for_reads(&self) -> Self {
        Self {
            db: self.reads.clone(),
            ..self.clone()
        }
    }

    /// The same store, of which each page of a list looks at so many rows: for tests of where pages end.
    #[must_use]
    pub fn with_rows_looked_at(&self, rows: usize) -> Self {
        Self {
            lists: self.lists.with_rows_looked_at(rows),
            ..self.clone()
        }
    }

    /// Which versions of endpoints are known.
    pub fn versions(&self) -> &EndpointVersions {
        &self.versions
    }

    /// How the breakers of endpoints are.
    pub fn breakers(&self) -> &SharedBreakers {
        &self.breakers
    }

    /// The database itself, to see whether it answers and to close it.
    pub fn db(&self) -> &Db {
        &self.db
    }

    /// One transaction, whose work is the same on each run; after a commit of unknown result `find` looks for what it would
    /// have written.
    async fn transaction<W, T>(
        &self,
        name: &'static str,
        work: W,
        run: Step<W, T>,
        find: Step<W, Option<T>>,
    ) -> Result<T, DbError>
    where
        W: Send + Sync + 'static,
        T: Send + 'static,
    {
        let work = Arc::new(work);
        let looked_up = Arc::clone(&work);
        self.db
            .transaction_or_find(
                name,
                move |tx| {
                    let work = Arc::clone(&work);
                    Box::pin(async move { run(tx, &work).await })
                },
                move |tx| {
                    let work = Arc::clone(&looked_up);
                    Box::pin(async move { find(tx, &work).await })
                },
            )
            .await
    }

    /// One transaction whose repetition does no harm: after a commit of unknown result it is run again.
    async fn repeatable<W, T>(&self, name: &'static str, work: W, run: Step<W, T>) -> Result<T, DbError>
    where
        W: Send + Sync + 'static,
        T: Send + 'static,
    {
        self.transaction(name, work, run, |_, _| Box::pin(async { Ok(None) }))
            .await
    }
}
