//! The dispatcher of one endpoint: a thin loop over claiming, sending and settling.
//!
//! A pipeline, not a batch: attempts run on their own, up to a bound, while the next claim and the last settlement are in the
//! database, so a slow answer holds up nobody else. Each part owns its state and begins what it can; the loop carries what one
//! part has ended to the next, and waits for the next end, the waker or the end of a pause.

use super::{
    breaker::{self, BreakerHistory},
    claiming::Claiming,
    outage::Outage,
    parts::DispatcherParts,
    sending::{Room, Sending},
    settling::Settling,
};
use contract::id::EndpointId;
use kit::lifecycle::Lifecycle;
use std::sync::Arc;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

/// Delivers what is due to one endpoint.
pub(super) struct Dispatcher {
    claiming: Claiming,
    sending: Sending,
    settling: Settling,
    breaker_history: BreakerHistory,
    outage: Outage,
    waker: Arc<Notify>,
    /// It is stopping: what has begun is finished and settled, and nothing else begins.
    draining: bool,
}

impl Dispatcher {
    /// The dispatcher of an endpoint, with a breaker of its own. The waker says that there may be something due.
    pub(super) fn new(endpoint: &EndpointId, parts: &Arc<DispatcherParts>, waker: Arc<Notify>) -> Self {
        let (breaker, breaker_history) = breaker::breaker(endpoint, parts);
        parts.breakers.add(endpoint, &breaker);
        Self {
            claiming: Claiming::new(endpoint, parts),
            sending: Sending::new(endpoint, breaker, parts),
            settling: Settling::new(endpoint, parts),
            breaker_history,
            outage: Outage::default(),
            waker,
            draining: false,
        }
    }

    /// Delivers until a stop, or until its endpoint has ended; then finishes the attempts that were begun, settles them and gives the
    /// rest back.
    pub(super) async fn run(mut self, lifecycle: Lifecycle, ended: CancellationToken) {
        while !lifecycle.is_stopping() && !ended.is_cancelled() {
            self.begin();
            // Cutting the wait loses nothing.
            tokio::select! {
                biased;
                () = lifecycle.stopping() => {}
                () = ended.cancelled() => {}
                () = self.wait() => {}
            }
        }
        self.draining = true;
        loop {
            self.begin();
            if !self.is_busy() && !self.settling.can_go_on() {
                break;
            }
            self.wait().await;
        }
    }

    /// Begins whatever can begin.
    fn begin(&mut self) {
        let now = Instant::now();
        self.begin_sending(now);
        self.settling.begin(now);
        self.breaker_history.begin(now);
        if !self.draining {
            self.begin_claiming(now);
        }
    }

    fn begin_sending(&mut self, now: Instant) {
        self.settling.give_back(self.sending.take_stale(now));
        if self.draining || self.settling.holds_endpoint() {
            self.settling.give_back(self.sending.take_unsent());
        } else if self.settling.has_room()
            && let Some(until) = self.sending.begin()
        {
            self.settling.give_back(self.sending.take_unsent());
            self.claiming.wait_until(until);
        }
    }

    fn begin_claiming(&mut self, now: Instant) {
        if self.settling.holds_endpoint() || !self.claiming.may_begin(now) {
            return;
        }
        match self.sending.room(now) {
            Room::For(wanted) => self.claiming.begin(now, wanted),
            Room::NotBefore(at) => self.claiming.wait_until(at),
        }
    }

    fn is_busy(&self) -> bool {
        self.sending.is_sending()
            || self.claiming.operation.is_running()
            || self.settling.operation.is_running()
            || self.breaker_history.operation.is_running()
    }

    /// Waits until one thing has ended, and hands it on; or until there is a reason to look for what is due.
    async fn wait(&mut self) {
        let timer = self.timer();
        tokio::select! {
            ended = self.sending.ended() => if let Some(attempted) = ended {
                self.settling.add(attempted);
            },
            ended = self.claiming.operation.ended() => {
                let (sending, settling) = (&mut self.sending, &mut self.settling);
                self.claiming.claimed(ended, sending, settling, &mut self.outage);
            }
            ended = self.settling.operation.ended() => self.settling.settled(ended, &mut self.outage),
            ended = self.breaker_history.operation.ended() => self.breaker_history.written(ended, &mut self.outage),
            () = self.waker.notified(), if !self.draining => self.claiming.look(),
            () = sleep_until(timer.unwrap_or_else(Instant::now)), if !self.draining && timer.is_some() => self.claiming.look(),
        }
    }

    /// When to look next without being woken. An instant that has passed says nothing more: what it held back could begin since.
    fn timer(&self) -> Option<Instant> {
        let now = Instant::now();
        let ahead = [
            self.claiming.operation.not_before(),
            self.settling.operation.not_before(),
            self.breaker_history.operation.not_before(),
        ]
        .into_iter()
        .flatten()
        .filter(|at| *at > now);
        ahead.min()
    }
}
