//! The stop signal, in two stages, as the parts that must stop see it.

use tokio_util::sync::CancellationToken;

/// The soft stop asks to finish the current work, the hard stop ends it. Clones are the same signal.
///
/// Invariant: the hard stop also sets the soft one, so a task that waits for the soft stop sees both.
#[derive(Clone, Debug)]
pub struct StopSignal {
    hard: CancellationToken,
    soft: CancellationToken,
}

impl Default for StopSignal {
    fn default() -> Self {
        let hard = CancellationToken::new();
        let soft = hard.child_token();
        Self { hard, soft }
    }
}

impl StopSignal {
    /// Gives the soft stop. A second call changes nothing.
    pub fn stop(&self) {
        self.soft.cancel();
    }

    /// Gives the hard stop.
    pub fn abort(&self) {
        self.hard.cancel();
    }

    /// Whether a stop was given.
    pub fn is_stopping(&self) -> bool {
        self.soft.is_cancelled()
    }

    /// Waits for the soft stop.
    pub async fn stopping(&self) {
        self.soft.cancelled().await;
    }

    /// Waits for the hard stop.
    pub async fn aborting(&self) {
        self.hard.cancelled().await;
    }
}
