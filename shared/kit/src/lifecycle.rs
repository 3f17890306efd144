//! Starting and stopping a process in two stages.
//!
//! At the soft stop listeners close and workers finish their current work. The hard stop ends what is left, at the
//! deadline or on a second signal. The soft token is a child of the hard one, so a task that waits for the soft stop
//! also sees the hard one. Stopping before starting and stopping twice both work, and a task that panics stops the
//! process.

use api::StopSignal;
use futures::future::BoxFuture;
use std::{
    future::Future,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};
use tokio_util::task::TaskTracker;

/// How long a soft stop may take by default before the hard one.
pub const STOP_GRACE: Duration = Duration::from_secs(20);

/// How a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// Every task finished by itself.
    Finished,
    /// The deadline passed, or a second stop came: what was left was dropped.
    Aborted,
    /// A task panicked, which stopped the others.
    Failed,
}

/// The signal to stop and the tasks that watch it. Clones share everything.
#[derive(Clone, Debug, Default)]
pub struct Lifecycle {
    signal: StopSignal,
    tasks: TaskTracker,
    failed: Arc<AtomicBool>,
}

impl Lifecycle {
    /// Neither stopping nor aborting, without tasks.
    pub fn new() -> Self {
        Self::default()
    }

    /// The stop signal alone, for crates that do not spawn tasks here.
    pub fn signal(&self) -> StopSignal {
        self.signal.clone()
    }

    /// Asks every task to finish. A second call changes nothing.
    pub fn stop(&self) {
        self.signal.stop();
    }

    /// Ends every task now.
    pub fn abort(&self) {
        self.signal.abort();
    }

    /// Whether a stop was asked for.
    pub fn is_stopping(&self) -> bool {
        self.signal.is_stopping()
    }

    /// Waits until a stop is asked for.
    pub async fn stopping(&self) {
        self.signal.stopping().await;
    }

    /// Waits for the hard stop.
    pub async fn aborting(&self) {
        self.signal.aborting().await;
    }

    /// Runs a task that the end of the process waits for. It is dropped at its next await on a hard stop; its panic
    /// is logged and stops the process.
    pub fn spawn<F>(&self, name: &'static str, task: F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let lifecycle = self.clone();
        let watched = self.clone();
        self.tasks.spawn(async move {
            // A task of its own, so that its panic is seen as a value.
            let run = tokio::spawn(async move {
                tokio::select! {
                    biased;
                    () = watched.aborting() => {}
                    () = task => {}
                }
            });
            if run.await.is_err_and(|error| error.is_panic()) {
                tracing::error!(task.name = name, "task panicked");
                lifecycle.failed.store(true, Ordering::Release);
                lifecycle.stop();
            }
        });
    }

    /// Waits for the stop, then up to `grace` for the tasks, then ends them. Returns when no task is left.
    pub fn run_until_stopped<'l>(&'l self, grace: Duration) -> BoxFuture<'l, Ended> {
        Box::pin(async move {
            self.stopping().await;
            self.tasks.close();
            let ended = tokio::select! {
                // A hard stop first: it may have ended every task by the time that this is looked at.
                biased;
                () = self.aborting() => Ended::Aborted,
                () = self.tasks.wait() => Ended::Finished,
                () = tokio::time::sleep(grace) => Ended::Aborted,
            };
            self.abort();
            self.tasks.wait().await;
            if self.failed.load(Ordering::Acquire) {
                Ended::Failed
            } else {
                ended
            }
        })
    }

    /// Turns SIGTERM and SIGINT into the two stages: the first stops, the second aborts.
    ///
    /// # Errors
    /// When the system refuses a signal handler.
    pub fn stop_on_signals(&self) -> std::io::Result<()> {
        use tokio::signal::unix::{SignalKind, signal};
        let mut terminate = signal(SignalKind::terminate())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        let lifecycle = self.clone();
        // Not tracked: it lives as long as the process, and nothing waits for it.
        tokio::spawn(async move {
            loop {
                let received =
                    tokio::select! { some = terminate.recv() => some, some = interrupt.recv() => some };
                match (received, lifecycle.is_stopping()) {
                    (None, _) => return,
                    (Some(()), false) => {
                        tracing::info!("stopping");
                        lifecycle.stop();
                    }
                    (Some(()), true) => {
                        tracing::warn!("stopping at once");
                        lifecycle.abort();
                    }
                }
            }
        });
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::sync::oneshot;

    #[tokio::test(start_paused = true)]
    async fn a_soft_stop_waits_for_the_current_work() {
        let lifecycle = Lifecycle::new();
        let (finish, held) = oneshot::channel::<()>();
        let worker = lifecycle.clone();
        lifecycle.spawn("worker", async move {
            worker.stopping().await;
            held.await.expect("the test finishes it");
        });
        let run = tokio::spawn({
            let lifecycle = lifecycle.clone();
            async move { lifecycle.run_until_stopped(STOP_GRACE).await }
        });
        lifecycle.stop();
        lifecycle.stop();
        finish.send(()).unwrap();
        assert_eq!(run.await.unwrap(), Ended::Finished);
    }

    #[tokio::test(start_paused = true)]
    async fn the_deadline_drops_what_is_left() {
        let lifecycle = Lifecycle::new();
        lifecycle.spawn("stuck", std::future::pending());
        lifecycle.stop();
        assert_eq!(lifecycle.run_until_stopped(STOP_GRACE).await, Ended::Aborted);
    }

    #[tokio::test(start_paused = true)]
    async fn a_second_stop_ends_at_once() {
        let lifecycle = Lifecycle::new();
        lifecycle.spawn("stuck", std::future::pending());
        let before = tokio::time::Instant::now();
        lifecycle.abort();
        assert_eq!(lifecycle.run_until_stopped(STOP_GRACE).await, Ended::Aborted);
        assert!(lifecycle.is_stopping());
        assert_eq!(before.elapsed(), Duration::ZERO);
    }

    #[tokio::test]
    async fn stopping_before_anything_started_ends_at_once() {
        let lifecycle = Lifecycle::new();
        lifecycle.stop();
        assert_eq!(lifecycle.run_until_stopped(STOP_GRACE).await, Ended::Finished);
    }

    #[tokio::test]
    async fn a_panic_stops_the_process() {
        let lifecycle = Lifecycle::new();
        lifecycle.spawn("broken", async { panic!("on purpose") });
        assert_eq!(lifecycle.run_until_stopped(STOP_GRACE).await, Ended::Failed);
    }
}
