//! Updates of jobs, on their way into the tables: not by the lanes, since they are no events.
//!
//! As many are written at once as have a place, of which a source has its share while others wait; one that finds none is
//! refused at once, and so is each while the database counts as unavailable.

use super::{
    IngestError,
    delivery::VerifiedDelivery,
    guard::{self, StoreGuard},
    queue_share::{JOBS_LANE, LaneQueue},
    source::Sender,
};
use crate::{
    job::JobUpdate,
    store::{JobArrival, JobTaken, Store},
};
use api::body::Reservation;
use contract::{
    FieldError,
    scheme::{Choice, Preset},
};
use db::DbError;
use std::sync::Arc;

/// Updates that are written at once, or wait for their turn in the database.
const WRITES_MAX: usize = 64;

/// Keeps updates of jobs. Clones share everything.
#[derive(Clone)]
pub struct JobUpdates {
    store: Store,
    guard: StoreGuard,
    queue: Arc<LaneQueue>,
}

impl VerifiedDelivery {
    /// Whether its source reports the progress of jobs.
    pub fn is_job_update(&self) -> bool {
        *self.delivery.scheme().choice() == Choice::Preset(Preset::JobStatus)
    }

    /// Reads the body as an update of a job.
    ///
    /// # Errors
    /// The rules that are broken, without values.
    pub fn job_update(self) -> Result<JobArrival, Vec<FieldError>> {
        let body = self.delivery.body();
        let digest = self.sender.digests.of_body(body);
        Ok(JobArrival {
            update: JobUpdate::read(body, digest)?,
            source: self.source,
            property_id: self.sender.only_property.clone(),
            received_at: self.received_at,
        })
    }
}

impl JobUpdates {
    /// Into these tables.
    pub fn new(store: Store, guard: StoreGuard) -> Self {
        Self {
            store,
            guard,
            queue: Arc::new(LaneQueue::new(JOBS_LANE, WRITES_MAX)),
        }
    }

    /// Commits one update, or finds that it is there. `reservation` is the body's share in the memory budget of all bodies,
    /// kept until the commit. A caller that goes away changes nothing.
    ///
    /// # Errors
    /// As [`IngestError`] lists them; after any of them the update may still be committed, and the sender tries again.
    pub async fn take(
        &self,
        arrival: JobArrival,
        sender: &Sender,
        reservation: Reservation,
    ) -> Result<JobTaken, IngestError> {
        if self.guard.is_shut() {
            return Err(IngestError::Unavailable);
        }
        let place = sender.take_place(&self.queue)?;
        let (store, guard) = (self.store.clone(), self.guard.clone());
        let written = tokio::spawn(async move {
            let _held = (place, reservation);
            let permit = guard.admit().ok_or(IngestError::Unavailable)?;
            let taken = store.take_job_update(arrival).await;
            guard::settle(permit, taken.as_ref().err());
            taken.map_err(failed)
        });
        written.await.unwrap_or(Err(IngestError::Failed))
    }
}

fn failed(error: DbError) -> IngestError {
    match error {
        DbError::LockTimeout => IngestError::InFlight,
        error if error.is_outage() || error == DbError::Contended => {
            tracing::warn!(error = %error, "update of a job failed");
            IngestError::Unavailable
        }
        error => {
            tracing::error!(error = %error, "update of a job could not be kept");
            IngestError::Failed
        }
    }
}
