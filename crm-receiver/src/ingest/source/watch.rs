//! What is written of the sources every few seconds: which secrets were used, what became of deliveries, who was seen; and which
//! source has fallen silent.

use super::{LOOKS_PER_WRITE, Sources};
use crate::store::{COUNT_DAYS_KEPT, HOUR_MILLIS, HourCount, SourceTally, hour_of};
use contract::{SourceId, UnixMillis};
use db::DbError;
use kit::metrics::Metrics;
use std::{
    collections::HashMap,
    sync::{Arc, atomic::Ordering},
};

/// What a look does beside hearing of changes.
#[derive(Debug, Default)]
pub(super) struct Watch {
    looks: u32,
    /// Counts of hours before this one are removed, and windows that were over by then.
    removed_before: Option<UnixMillis>,
}

impl Watch {
    /// One look, or the last one before a stop.
    pub(super) async fn look(&mut self, sources: &Sources, is_last: bool) {
        self.looks = self.looks.wrapping_add(1);
        if is_last || self.looks.is_multiple_of(LOOKS_PER_WRITE) {
            sources.write_uses().await;
            sources.write_counts().await;
        }
        if !is_last {
            sources.look_for_silence().await;
            self.remove_old(sources).await;
        }
    }

    /// Once an hour, so that each time there is little to remove: counts that are kept no longer, and windows of rates that are
    /// over. Of a source that draws they go by themselves; one that was drawn for just after it was deleted never draws again.
    async fn remove_old(&mut self, sources: &Sources) {
        let hour = hour_of(sources.0.clock.now());
        let oldest = UnixMillis(hour.0 - i64::from(COUNT_DAYS_KEPT) * 24 * HOUR_MILLIS);
        if self.removed_before == Some(oldest) {
            return;
        }
        let store = &sources.0.store;
        let counts = store.drop_source_counts(oldest).await;
        let windows = store.drop_source_windows(UnixMillis(hour.0 - HOUR_MILLIS)).await;
        // While there is more, and what the database cannot do now, is left to the next look.
        if matches!(counts, Ok(false)) && windows.is_ok() {
            self.removed_before = Some(oldest);
        }
    }
}

impl Sources {
    /// Shows how many sources are silent as `silent_sources`.
    pub fn expose(&self, metrics: &Metrics) {
        let sources = self.clone();
        let help = "Sources of which nothing authentic came for longer than their silent_after_seconds.";
        #[expect(clippy::cast_precision_loss, reason = "there are at most a thousand sources")]
        let silent = move || sources.0.silent.load(Ordering::Relaxed) as f64;
        metrics.read_gauge("silent_sources", help, &[], silent);
    }

    /// Writes what became of deliveries, and when sources were seen. What cannot be written is tried with the next counts; after
    /// a commit of unknown result the counts may be lost, rather than counted twice.
    pub async fn write_counts(&self) {
        let _one_at_a_time = self.0.writing.lock().await;
        let present = self.0.present.load_full();
        let mut tallies: Vec<_> = present
            .usages
            .iter()
            .map(|(source, usage)| SourceTally {
                source: source.clone(),
                seen_at: usage.take_seen(),
                counts: usage.counts.take(),
            })
            .filter(|tally| tally.seen_at.is_some() || !tally.counts.is_empty())
            .collect();
        if tallies.is_empty() {
            return;
        }
        // In one order in every replica, or two of them could wait for each other.
        tallies.sort_unstable_by(|one, other| one.source.cmp(&other.source));
        let tallies: Arc<[_]> = tallies.into();
        let written = self.0.store.add_source_counts(Arc::clone(&tallies)).await;
        // The outage itself is logged where requests fail.
        let Err(error) = written else { return };
        for tally in tallies.iter() {
            let usage = &present.usages[&tally.source];
            if let Some(at) = tally.seen_at {
                usage.saw(at);
            }
            if !matches!(error, DbError::CommitUnknown | DbError::Timeout) {
                usage.counts.give_back(tally.counts.clone());
            }
        }
    }

    /// When a source was last seen, and what became of its deliveries from this hour on: what the tables have, and what this
    /// process has not written yet.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn counts_of(
        &self,
        source: &SourceId,
        first: UnixMillis,
    ) -> Result<(Option<UnixMillis>, Vec<HourCount>), DbError> {
        // What is being written just now would be in both, or in neither.
        let _nobody_writes = self.0.writing.lock().await;
        let (seen_at, mut counts) = self.0.store.source_counts(source, first).await?;
        let present = self.0.present.load_full();
        let Some(usage) = present.usages.get(source) else {
            return Ok((seen_at, counts));
        };
        let unwritten = usage.counts.untaken().into_iter();
        counts.extend(
            unwritten
                .filter(|count| count.since >= first)
                .map(HourCount::from),
        );
        Ok((seen_at.max(usage.seen()), counts))
    }

    /// Says once of each source that it has fallen silent, and once that it is heard again, on whichever replica it was heard.
    async fn look_for_silence(&self) {
        let present = self.0.present.load_full();
        let sightings = if present.may_be_silent {
            // What the database cannot answer now, it is asked again.
            let Ok(sightings) = self.0.store.source_sightings().await else {
                return;
            };
            sightings
        } else {
            Vec::new()
        };
        let now = self.0.clock.now();
        let sightings: HashMap<_, _> = sightings
            .into_iter()
            .map(|sighting| (sighting.source.clone(), sighting))
            .collect();
        let mut silent = 0;
        for (id, usage) in &present.usages {
            let sighting = sightings.get(id);
            let is_silent =
                sighting.is_some_and(|sighting| sighting.is_silent(now)) && usage.seen().is_none();
            silent += usize::from(is_silent);
            let was_silent = usage.is_silent.swap(is_silent, Ordering::Relaxed);
            match (was_silent, is_silent, sighting) {
                (false, true, Some(sighting)) => {
                    let silent_after_seconds = sighting.silent_after_seconds;
                    tracing::warn!(source = id.as_str(), silent_after_seconds, "a source is silent");
                }
                (true, false, Some(_)) => {
                    tracing::info!(source = id.as_str(), "a silent source is heard again");
                }
                _ => {}
            }
        }
        self.0.silent.store(silent, Ordering::Relaxed);
    }
}
