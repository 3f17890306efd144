//! A sample of the deliveries that are refused, so that an operator sees who is refused, and why.
//!
//! Anyone can be refused, as often as they like. So no more than a few are kept for each source, cause and minute, and no more
//! than [`ROWS_A_MINUTE_MAX`] in all; they are held in memory and written every few seconds. The others are counted alone
//! ([`super::counts`]). Each process keeps its own sample. Nothing that a sender chose is kept: the source is one of ours or
//! `unknown`, the cause is a name from our lists, and of the address its network.

use crate::store::{RejectionRow, Store};
use contract::{Ids, UnixMillis};
use ipnet::IpNet;
use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

/// Rejections kept for each source, cause and minute.
pub const ROWS_EACH_MAX: u32 = 10;
/// Rejections kept for each minute in all: who knows the names of many sources writes no more than this.
pub const ROWS_A_MINUTE_MAX: usize = 500;
/// Rejections that wait to be written. So many there are only when the database is gone for minutes; later ones are lost.
const WAITING_MAX: usize = 2_000;
/// How often they are written.
const WRITE_EVERY: Duration = Duration::from_secs(5);
/// The source of a delivery whose path names none of ours.
pub const UNKNOWN: &str = "unknown";
/// How much of an address is kept, in bits.
const PREFIX_V4: u8 = 24;
const PREFIX_V6: u8 = 48;
const MINUTE_MILLIS: i64 = 60_000;
/// By how many minutes a delivery may be older than the last one that was counted: its time is that of its head, and its body
/// takes its own. What is older yet came after the clock was set back.
const MINUTES_BEHIND_MAX: i64 = 2;

/// The sample of this process that is not written yet.
pub struct Rejections {
    ids: Ids,
    sample: Mutex<Sample>,
}

#[derive(Default)]
struct Sample {
    /// The last minute of which one was counted. A delivery of one before is counted with it: else two minutes that take turns
    /// would each empty the counts.
    minute: i64,
    /// How many are kept of this minute, by cause and source.
    kept: HashMap<&'static str, HashMap<Box<str>, u32>>,
    kept_in_all: usize,
    waiting: Vec<RejectionRow>,
}

impl Rejections {
    /// An empty sample.
    pub fn new(ids: Ids) -> Self {
        Self {
            ids,
            sample: Mutex::default(),
        }
    }

    /// Keeps a rejection, if there is a place for it.
    pub fn add(
        &self,
        source: &str,
        cause: &'static str,
        skew_seconds: Option<i64>,
        at: UnixMillis,
        client: Option<IpAddr>,
    ) {
        let mut sample = self.sample.lock().unwrap_or_else(PoisonError::into_inner);
        if !sample.has_place(source, cause, at) {
            return;
        }
        sample.waiting.push(RejectionRow {
            id: self.ids.new_id("rej"),
            at,
            source: source.to_owned(),
            cause: cause.to_owned(),
            skew_seconds,
            address: client.map(network),
        });
    }

    /// Writes what is waiting every few seconds, and at the end.
    pub async fn keep(self: Arc<Self>, store: Store, drained: CancellationToken) {
        loop {
            let last = timeout(WRITE_EVERY, drained.cancelled()).await.is_ok();
            let taken: Arc<[_]> = self.take().into();
            // The outage itself is logged where requests fail.
            if !taken.is_empty() && store.add_rejections(Arc::clone(&taken)).await.is_err() {
                self.give_back(taken.to_vec());
            }
            if last {
                return;
            }
        }
    }

    fn take(&self) -> Vec<RejectionRow> {
        let mut sample = self.sample.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::take(&mut sample.waiting)
    }

    fn give_back(&self, mut rows: Vec<RejectionRow>) {
        let mut sample = self.sample.lock().unwrap_or_else(PoisonError::into_inner);
        rows.append(&mut sample.waiting);
        rows.truncate(WAITING_MAX);
        sample.waiting = rows;
    }
}

impl Sample {
    /// Whether a rejection is one of those that are kept; then it is counted as kept.
    fn has_place(&mut self, source: &str, cause: &'static str, at: UnixMillis) -> bool {
        let minute = at.0.div_euclid(MINUTE_MILLIS);
        if minute > self.minute || minute < self.minute - MINUTES_BEHIND_MAX {
            self.minute = minute;
            self.kept.clear();
            self.kept_in_all = 0;
        }
        if self.kept_in_all == ROWS_A_MINUTE_MAX || self.waiting.len() >= WAITING_MAX {
            return false;
        }
        let of_cause = self.kept.entry(cause).or_default();
        match of_cause.get_mut(source) {
            Some(kept) if *kept == ROWS_EACH_MAX => return false,
            Some(kept) => *kept += 1,
            None => drop(of_cause.insert(source.into(), 1)),
        }
        self.kept_in_all += 1;
        true
    }
}

/// The network of an address, as text.
fn network(address: IpAddr) -> String {
    let bits = match address {
        IpAddr::V4(_) => PREFIX_V4,
        IpAddr::V6(_) => PREFIX_V6,
    };
    IpNet::new_assert(address, bits).trunc().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use contract::{Clock, SeededEntropy};

    struct NoTime;

    impl Clock for NoTime {
        fn now(&self) -> UnixMillis {
            UnixMillis(0)
        }
    }

    fn sample() -> Rejections {
        Rejections::new(Ids::new(Arc::new(NoTime), Arc::new(SeededEntropy::new(1))))
    }

    #[test]
    fn ten_are_kept_for_each_source_cause_and_minute() {
        let rejections = sample();
        let add = |source: &str, cause, at| {
            for _ in 0..12 {
                rejections.add(source, cause, None, UnixMillis(at), None);
            }
            rejections.take().len()
        };
        assert_eq!(add("pms", "skew", 0), 10);
        assert_eq!(add("pms", "skew", 59_999), 0);
        assert_eq!(add("spa", "skew", 59_999), 10);
        assert_eq!(add("pms", "missing_header", 59_999), 10);
        assert_eq!(add("pms", "skew", 60_000), 10);
    }

    #[test]
    fn deliveries_of_two_minutes_that_take_turns_share_one_bound() {
        let rejections = sample();
        let add = |minute: i64| {
            rejections.add("pms", "skew", None, UnixMillis(minute * MINUTE_MILLIS), None);
            rejections.take().len()
        };
        let kept: usize = (0..100).map(|turn| add(7 + turn % 2)).sum();
        assert_eq!(kept, 11, "one of the first minute, ten of the next");
        assert_eq!(
            (add(6), add(5)),
            (0, 1),
            "a clock that was set back empties the counts"
        );
    }

    #[test]
    fn many_sources_and_a_database_that_is_gone_stay_bounded() {
        let rejections = sample();
        let add_of_many = |minute: i64| {
            for source in 0..1_000 {
                let at = UnixMillis(minute * MINUTE_MILLIS);
                rejections.add(&format!("source_{source}"), "skew", None, at, None);
            }
        };
        add_of_many(0);
        let first = rejections.take();
        assert_eq!(first.len(), ROWS_A_MINUTE_MAX);
        rejections.give_back(first.clone());
        for minute in 1..9 {
            add_of_many(minute);
        }
        let taken = rejections.take();
        assert_eq!(taken.len(), WAITING_MAX);
        assert_eq!(taken[..ROWS_A_MINUTE_MAX], first[..], "the first ones stay");
    }

    #[test]
    fn of_an_address_its_network_is_kept() {
        for (address, network_of_it) in [
            ("192.0.2.77", "192.0.2.0/24"),
            ("2001:db8:1:2:3::4", "2001:db8:1::/48"),
        ] {
            assert_eq!(network(address.parse().unwrap()), network_of_it);
        }
    }
}
