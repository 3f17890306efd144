//! The signal to stop, in two stages, as whoever has to stop sees it.

use tokio_util::sync::CancellationToken;

/// The soft stop asks to finish what is in hand, the hard one ends it. Clones are the same signal.
///
/// Invariant: after the hard stop the soft one has been given too, so whoever waits for the soft one sees both.
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
