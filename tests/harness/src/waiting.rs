//! Waiting without luck: one bound against hanging, and one poll for what gives no signal.
//!
//! No case asserts how long something took: it awaits what must come, and compares the order in which things came. The
//! bounds here are far beyond what anything takes on a busy machine; whatever is still to come then never will. How fast
//! something is, is measured by `cargo load` and `cargo chaos`.

use std::time::Duration;
use tokio::time::{Instant, sleep, timeout};

/// What has not come by then hangs.
pub const HANGS_AFTER: Duration = Duration::from_secs(60);
/// Between two looks at what gives no signal: another process, or the tables of a database.
pub const LOOK_EVERY: Duration = Duration::from_millis(10);

/// The looks of one poll.
#[derive(Clone, Copy, Debug)]
pub struct Looks {
    deadline: Instant,
}

impl Looks {
    /// A poll that ends with the first look after `bound`.
    pub fn within(bound: Duration) -> Self {
        Self {
            deadline: Instant::now() + bound,
        }
    }

    /// Whether there is to be another look; it is time for it when this answers.
    pub async fn go_on(&self) -> bool {
        if Instant::now() >= self.deadline {
            return false;
        }
        sleep(LOOK_EVERY).await;
        true
    }
}

/// Polls until it is so.
///
/// # Panics
/// When it hangs.
pub async fn until<F: Future<Output = bool>>(what: &str, mut is_so: impl FnMut() -> F) {
    let looks = Looks::within(HANGS_AFTER);
    while !in_time(what, is_so()).await {
        assert!(looks.go_on().await, "still waiting after {HANGS_AFTER:?}: {what}");
    }
}

/// Polls until there is something to answer.
///
/// # Panics
/// When it hangs.
pub async fn until_some<T, F: Future<Output = Option<T>>>(what: &str, mut look: impl FnMut() -> F) -> T {
    let looks = Looks::within(HANGS_AFTER);
    loop {
        if let Some(seen) = in_time(what, look()).await {
            return seen;
        }
        assert!(looks.go_on().await, "still waiting after {HANGS_AFTER:?}: {what}");
    }
}

/// Awaits what must come.
///
/// # Panics
/// When it hangs.
pub async fn in_time<T>(what: &str, coming: impl Future<Output = T>) -> T {
    within(HANGS_AFTER, what, coming).await
}

/// Awaits what must come within `rule`, a limit in time that is promised. What takes ten times as long hangs: a case is no
/// stop watch.
///
/// # Panics
/// When it hangs.
pub async fn ten_times<T>(rule: Duration, what: &str, coming: impl Future<Output = T>) -> T {
    within(10 * rule, what, coming).await
}

async fn within<T>(bound: Duration, what: &str, coming: impl Future<Output = T>) -> T {
    match timeout(bound, coming).await {
        Ok(came) => came,
        Err(_) => panic!("still waiting after {bound:?}: {what}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_poll_looks_once_at_least_and_once_more_after_its_bound() {
        for (bound, looks_at_most) in [(Duration::ZERO, 1), (2 * LOOK_EVERY, 3)] {
            let (poll, mut looks) = (Looks::within(bound), 1);
            while poll.go_on().await {
                looks += 1;
            }
            assert_eq!(looks, looks_at_most);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn until_answers_what_is_seen() {
        let mut looks = 0;
        let seen = until_some("the third look", || {
            looks += 1;
            std::future::ready((looks == 3).then_some(looks))
        });
        assert_eq!(seen.await, 3);
    }

    #[tokio::test(start_paused = true)]
    #[should_panic(expected = "still waiting after 60s: for nothing")]
    async fn what_never_comes_hangs() {
        until("for nothing", || async { false }).await;
    }

    #[tokio::test(start_paused = true)]
    #[should_panic(expected = "still waiting after 50s: an answer")]
    async fn a_rule_in_time_is_bound_by_ten_times_it() {
        ten_times(Duration::from_secs(5), "an answer", std::future::pending::<()>()).await;
    }
}
