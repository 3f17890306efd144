//! Failpoints: named steps at which a test makes this process abort or stop, as after a power cut or on a paused
//! machine.
//!
//! A service names a step by calling [`reached`]. That is nothing without the feature `failpoints`, which no crate
//! turns on by default; with it, a process that was started with `FAILPOINT=step:passage` aborts at that passage of
//! that step, without unwinding, flushing or answering anything, and with `FAILPOINT=step:passage:stop` it stops there
//! until it receives SIGCONT. Several are separated by commas: each counts passages from when the process was continued
//! after the previous one.

#[cfg(feature = "failpoints")]
pub use armed::{Failpoints, InvalidFailpoint, arm};

/// The process has reached this step.
#[cfg(not(feature = "failpoints"))]
pub const fn reached(_step: &str) {}

/// The process has reached this step. If the step is armed, the process aborts or stops here.
#[cfg(feature = "failpoints")]
pub fn reached(step: &str) {
    armed::reached(step);
}

#[cfg(feature = "failpoints")]
mod armed {
    use rustix::process::{Signal, getpid, kill_process};
    use std::str::FromStr;
    use std::sync::OnceLock;
    use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

    static ARMED: OnceLock<Armed> = OnceLock::new();

    struct Armed {
        failpoints: Vec<Failpoint>,
        /// The index of the next failpoint.
        next: AtomicUsize,
        /// Passages of its step so far.
        passages: AtomicU64,
    }

    /// The failpoints of this process, in their order.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub struct Failpoints(Vec<Failpoint>);

    /// What happens at which passage of which step.
    #[derive(Clone, Debug, PartialEq, Eq)]
    struct Failpoint {
        step: String,
        /// From 1.
        passage: u64,
        stops: bool,
    }

    /// One of them is not `step:passage` or `step:passage:stop`.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
    #[error("each must be step:passage or step:passage:stop")]
    pub struct InvalidFailpoint;

    impl FromStr for Failpoints {
        type Err = InvalidFailpoint;

        fn from_str(text: &str) -> Result<Self, InvalidFailpoint> {
            text.split(',')
                .map(str::parse)
                .collect::<Result<_, _>>()
                .map(Self)
        }
    }

    impl FromStr for Failpoint {
        type Err = InvalidFailpoint;

        fn from_str(text: &str) -> Result<Self, InvalidFailpoint> {
            let parts: Vec<&str> = text.split(':').collect();
            let (step, passage, stops) = match parts.as_slice() {
                [step, passage] => (*step, *passage, false),
                [step, passage, "stop"] => (*step, *passage, true),
                _ => return Err(InvalidFailpoint),
            };
            let passage = passage.parse().map_err(|_| InvalidFailpoint)?;
            if step.is_empty() || passage == 0 {
                return Err(InvalidFailpoint);
            }
            Ok(Self {
                step: step.to_owned(),
                passage,
                stops,
            })
        }
    }

    /// Arms this process. The first call counts.
    pub fn arm(failpoints: Failpoints) {
        let _ = ARMED.set(Armed {
            failpoints: failpoints.0,
            next: AtomicUsize::new(0),
            passages: AtomicU64::new(0),
        });
    }

    pub(super) fn reached(step: &str) {
        let Some(armed) = ARMED.get() else {
            return;
        };
        let Some(failpoint) = armed.failpoints.get(armed.next.load(Ordering::SeqCst)) else {
            return;
        };
        if failpoint.step != step || armed.passages.fetch_add(1, Ordering::SeqCst) + 1 != failpoint.passage {
            return;
        }
        if !failpoint.stops {
            std::process::abort();
        }
        // The variable's name in this message lets .ci/run recognise a program that has failpoints.
        kill_process(getpid(), Signal::STOP).expect("FAILPOINT: a process may stop itself");
        armed.passages.store(0, Ordering::SeqCst);
        armed.next.fetch_add(1, Ordering::SeqCst);
    }

    #[cfg(test)]
    mod tests {
        use super::*;

        #[test]
        fn reads_a_step_its_passage_and_what_happens_there() {
            let failpoint = |step: &str, passage, stops| Failpoint {
                step: step.to_owned(),
                passage,
                stops,
            };
            let armed = |text: &str| text.parse().map(|Failpoints(failpoints)| failpoints);
            let claimed = failpoint("claim.committed", 3, false);
            assert_eq!(armed("claim.committed:3"), Ok(vec![claimed.clone()]));
            let stopped = failpoint("attempt.answered", 1, true);
            assert_eq!(
                armed("attempt.answered:1:stop,claim.committed:3"),
                Ok(vec![stopped, claimed])
            );
            for wrong in [
                "",
                "claim",
                "claim:",
                "claim:0",
                ":1",
                "claim:1:wait",
                "claim:1:stop:2",
                "claim:1,",
            ] {
                assert_eq!(wrong.parse::<Failpoints>(), Err(InvalidFailpoint), "{wrong:?}");
            }
        }
    }
}
