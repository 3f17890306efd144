//! Takes in what is not here: the bodies of missing events are fetched in runs of neighbouring places, and accepted as webhooks are.

use super::{FEED_BATCH, ReconcileError, Reconciler, ReconcilerParts, Run};
use crate::{
    event::Accepted,
    ingest::{IngestError, Sender, delivery::read_fetched},
    reconcile::client::PageQuery,
    store::{MissingEvent, MissingReason},
};
use contract::{
    UnixMillis,
    feed::{FeedEvent, FetchedBody},
    id::IdempotencyKey,
};
use futures::{StreamExt, stream};
use std::{collections::HashMap, sync::Arc, time::Duration};
use tokio::time::{Instant, sleep};

/// Events between two that are missing which are fetched with them, rather than with a request more.
const FETCHED_BESIDE: i64 = 8;
/// Events that wait for their commit at once.
const ACCEPTED_AT_ONCE: usize = 64;
/// How long an event is tried that cannot be accepted now, and the pause between.
const ACCEPTED_WITHIN: Duration = Duration::from_secs(30);
const ACCEPT_PAUSE: Duration = Duration::from_millis(200);

/// The result of one event that was not here.
pub(super) enum Outcome {
    Here { is_new: bool },
    Missing(MissingReason),
}

/// An event that is not here.
#[derive(Clone, Debug)]
pub(super) struct Wanted {
    pub(super) key: IdempotencyKey,
    feed_seq: i64,
    event_type: String,
    property_id: Option<String>,
    pub(super) committed_at: UnixMillis,
    /// When it was first found to be missing.
    found_at: UnixMillis,
}

impl Reconciler {
    /// Which of these are not here, with the result of taking each of them in.
    pub(super) async fn take_in(
        &self,
        run: &mut Run,
        wanted: Vec<Wanted>,
    ) -> Result<Vec<(Wanted, Outcome)>, ReconcileError> {
        let ReconcilerParts { store, source, .. } = &self.parts;
        let keys = wanted.iter().map(|one| one.key.clone()).collect();
        let unknown = store.not_in_inbox(source, keys).await?;
        let (mut unknown, here): (Vec<_>, Vec<_>) =
            wanted.into_iter().partition(|one| unknown.contains(&one.key));
        let mut outcomes: Vec<_> = here
            .into_iter()
            .map(|one| (one, Outcome::Here { is_new: false }))
            .collect();
        unknown.sort_unstable_by_key(|one| one.feed_seq);
        for neighbours in unknown.chunk_by(|one, next| next.feed_seq - one.feed_seq <= FETCHED_BESIDE) {
            outcomes.extend(self.fetch(run, neighbours).await?);
        }
        Ok(outcomes)
    }

    /// Fetches and accepts events whose places are near each other, in their order, page by page.
    async fn fetch(
        &self,
        run: &mut Run,
        wanted: &[Wanted],
    ) -> Result<Vec<(Wanted, Outcome)>, ReconcileError> {
        let (Some(first), Some(last)) = (wanted.first(), wanted.last()) else {
            return Ok(Vec::new());
        };
        let mut left: HashMap<&IdempotencyKey, &Wanted> = wanted.iter().map(|one| (&one.key, one)).collect();
        let mut outcomes = Vec::new();
        let mut after = first.feed_seq - 1;
        while after < last.feed_seq && !left.is_empty() {
            self.keep_lease(run).await?;
            let places = usize::try_from(last.feed_seq - after).unwrap_or(FEED_BATCH);
            let query = PageQuery {
                after,
                mark: None,
                limit: places.min(FEED_BATCH),
                bodies: true,
            };
            let page = self.parts.client.page(query).await?;
            let is_end = !page.has_more;
            after = page.next_after;
            let sender = Arc::clone(&run.sender);
            let accepting = page.data.into_iter().filter_map(|event| {
                let one = left.remove(&event.event_id)?.clone();
                Some(self.accept(&sender, one, FetchedBody::of(event)))
            });
            let accepting: Vec<_> = accepting.collect();
            let mut accepted = stream::iter(accepting).buffer_unordered(ACCEPTED_AT_ONCE);
            while let Some(result) = accepted.next().await {
                let (one, outcome) = result?;
                if let Outcome::Here { is_new: true } = outcome {
                    run.taken_in += 1;
                    if let Some(meters) = &self.parts.meters {
                        meters.taken_in.inc();
                    }
                }
                outcomes.push((one, outcome));
            }
            if is_end {
                break;
            }
        }
        // Deleted from the log between the two pages.
        let gone = left.into_values().cloned();
        outcomes.extend(gone.map(|one| (one, Outcome::Missing(MissingReason::PastRetention))));
        Ok(outcomes)
    }

    /// Accepts one event as a webhook would be, and waits for its commit.
    async fn accept(
        &self,
        sender: &Sender,
        one: Wanted,
        fetched: Option<FetchedBody>,
    ) -> Result<(Wanted, Outcome), ReconcileError> {
        let ReconcilerParts { batcher, source, .. } = &self.parts;
        let Some(fetched) = fetched else {
            return Ok((one, Outcome::Missing(MissingReason::PastRetention)));
        };
        let until = Instant::now() + ACCEPTED_WITHIN;
        loop {
            let Ok(arrival) = read_fetched(source.clone(), sender, &fetched) else {
                return Ok((one, Outcome::Missing(MissingReason::Invalid)));
            };
            let error = match batcher.accept(arrival, sender, &self.context, None).await {
                // Of whatever body: the first one under a key stands.
                Ok(accepted) => {
                    let is_new = matches!(accepted, Accepted::New(_));
                    return Ok((one, Outcome::Here { is_new }));
                }
                Err(IngestError::Failed) => return Ok((one, Outcome::Missing(MissingReason::Failed))),
                Err(error) => error,
            };
            if Instant::now() >= until {
                return Err(ReconcileError::Ingest(error));
            }
            sleep(ACCEPT_PAUSE).await;
        }
    }
}

impl Wanted {
    pub(super) fn of(event: &FeedEvent, now: UnixMillis) -> Self {
        Self {
            key: event.event_id.clone(),
            feed_seq: event.feed_seq,
            event_type: event.event_type.clone(),
            property_id: event.property_id.clone(),
            committed_at: event.committed_at,
            found_at: now,
        }
    }

    pub(super) fn missing(self, reason: MissingReason) -> MissingEvent {
        MissingEvent {
            key: self.key,
            feed_seq: self.feed_seq,
            event_type: self.event_type,
            property_id: self.property_id.and_then(|id| id.parse().ok()),
            committed_at: self.committed_at,
            reason,
            found_at: self.found_at,
        }
    }
}

impl From<MissingEvent> for Wanted {
    fn from(event: MissingEvent) -> Self {
        Self {
            key: event.key,
            feed_seq: event.feed_seq,
            event_type: event.event_type,
            property_id: event.property_id.map(Into::into),
            committed_at: event.committed_at,
            found_at: event.found_at,
        }
    }
}
