//! The progress of the load: how many writes have a final answer, the longest time without one, and whether the clerks
//! must wait.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::{Notify, watch};
use tokio::time::Instant;

/// Counts writes that have a final answer, and wakes tasks that wait for a number of them.
pub struct Progress {
    count: AtomicU64,
    moved: Notify,
    paused: watch::Sender<bool>,
    gap: Mutex<Gap>,
}

struct Gap {
    /// None before the first answer: what comes before it is the start of the processes.
    last: Option<Instant>,
    longest: Duration,
}

impl Default for Progress {
    fn default() -> Self {
        Self {
            count: AtomicU64::new(0),
            moved: Notify::new(),
            paused: watch::Sender::new(false),
            gap: Mutex::new(Gap {
                last: None,
                longest: Duration::ZERO,
            }),
        }
    }
}

impl Progress {
    /// One more, confirmed or refused.
    pub fn answered(&self) {
        let now = Instant::now();
        {
            let mut gap = self.gap.lock().unwrap_or_else(PoisonError::into_inner);
            let since = gap.last.replace(now).map_or(Duration::ZERO, |last| now - last);
            gap.longest = gap.longest.max(since);
        }
        self.count.fetch_add(1, Ordering::SeqCst);
        self.moved.notify_waiters();
    }

    /// How many so far.
    pub fn count(&self) -> u64 {
        self.count.load(Ordering::SeqCst)
    }

    /// The longest time between two of them.
    pub fn longest_gap(&self) -> Duration {
        self.gap.lock().unwrap_or_else(PoisonError::into_inner).longest
    }

    /// Has every clerk wait before its next attempt, or go on.
    pub fn pause(&self, paused: bool) {
        self.paused.send_replace(paused);
    }

    /// Waits while the clerks are to wait.
    pub async fn runs(&self) {
        let mut paused = self.paused.subscribe();
        // The sender lives as long as this does.
        let _ = paused.wait_for(|paused| !paused).await;
    }

    /// Waits for so many.
    pub async fn reaches(&self, writes: u64) {
        loop {
            let mut moved = std::pin::pin!(self.moved.notified());
            moved.as_mut().enable();
            if self.count() >= writes {
                return;
            }
            moved.await;
        }
    }
}
