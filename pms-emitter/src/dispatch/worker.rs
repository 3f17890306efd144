//! The dispatcher of one endpoint: a thin loop over claiming, sending and settling.
//!
//! A pipeline, not a batch: attempts run on their own, up to a bound, while the next claim and the last settlement are in the
//! database, so a slow answer holds up nobody else. Each part owns its state and begins what it can; the loop carries what one
//! part has ended to the next, and waits for the next end, the waker or the end of a pause.

use super::{
    breaker::EndpointBreaker,
    claiming::Claiming,
    outage::Outage,
    parts::DispatcherParts,
    sending::{Sending, Unsent},
    settling::Settling,
};
use crate::store::Admits;
use contract::{Clock, id::EndpointId};
use kit::lifecycle::Lifecycle;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

/// Delivers what is due to one endpoint.
pub(super) struct Dispatcher {
    claiming: Claiming,
    sending: Sending,
    settling: Settling,
    breaker: EndpointBreaker,
    /// Nothing can be claimed before this: the breaker's row says so.
    breaker_until: Option<Instant>,
    outage: Outage,
    clock: Arc<dyn Clock>,
    waker: Arc<Notify>,
    /// It is stopping: what has begun is finished and settled, and nothing else begins.
    draining: bool,
}

impl Dispatcher {
    /// The dispatcher of an endpoint, with a breaker of its own. The waker says that there may be something due.
    pub(super) fn new(endpoint: &EndpointId, parts: &Arc<DispatcherParts>, waker: Arc<Notify>) -> Self {
        let breaker = EndpointBreaker::new(
            endpoint,
            parts.store.clone(),
            &parts.delivery,
            Arc::clone(&parts.clock),
            Arc::clone(&parts.entropy),
        );
        parts.breakers.add(&breaker);
        Self {
            claiming: Claiming::new(endpoint, parts),
            sending: Sending::new(endpoint, parts),
            settling: Settling::new(endpoint, parts),
            breaker,
            breaker_until: None,
            clock: Arc::clone(&parts.clock),
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
        if self.breaker.follow() {
            self.claiming.look();
        }
        self.begin_sending(now);
        self.settling.begin(now);
        self.breaker.begin_write(now);
        if !self.draining {
            self.begin_claiming(now);
        }
    }

    fn begin_sending(&mut self, now: Instant) {
        let stale = self.sending.take_stale(now);
        self.give_back(stale);
        if self.draining || self.settling.holds_endpoint() {
            let unsent = self.sending.take_unsent();
            self.give_back(unsent);
        } else if self.settling.has_room()
            && let Some(refusal) = self.sending.begin(&self.breaker)
        {
            let unsent = self.sending.take_unsent();
            self.give_back(unsent);
            self.claiming.look();
            if let Some(until) = refusal.until {
                self.claiming.wait_until(until);
            }
        }
    }

    fn give_back(&mut self, unsent: Unsent) {
        self.settling.give_back(unsent.claims);
        if unsent.has_probe {
            self.breaker.ended(true);
        }
    }

    /// What the breaker's row says is asked by the clock each time: it may have been moved.
    fn begin_claiming(&mut self, now: Instant) {
        self.breaker_until = None;
        if self.settling.holds_endpoint() || !self.claiming.may_begin(now) {
            return;
        }
        let clock = self.clock.now();
        match self.breaker.admits(clock) {
            None => {}
            Some(Admits::All) => self.claiming.begin(now, self.sending.room(self.breaker.ramp())),
            Some(Admits::Probe) => self.claiming.begin(now, 1),
            Some(Admits::NotBefore(until)) => {
                let left = u64::try_from(until.0 - clock.0).unwrap_or(0).max(1);
                self.breaker_until = Some(now + Duration::from_millis(left));
            }
        }
    }

    fn is_busy(&self) -> bool {
        self.sending.is_sending()
            || self.claiming.operation.is_running()
            || self.settling.operation.is_running()
            || self.breaker.operation.is_running()
    }

    /// Waits until one thing has ended, and hands it on; or until there is a reason to look for what is due.
    async fn wait(&mut self) {
        let timer = self.timer();
        tokio::select! {
            ended = self.sending.ended() => {
                let is_probe = ended.as_ref().is_some_and(|(_, is_probe)| *is_probe);
                if let Some((attempted, _)) = ended {
                    self.settling.add(attempted);
                }
                // One that panicked has ended too.
                self.breaker.ended(is_probe);
            }
            ended = self.claiming.operation.ended() => {
                let (breaker, sending, settling) = (&mut self.breaker, &mut self.sending, &mut self.settling);
                self.claiming.claimed(ended, breaker, sending, settling, &mut self.outage);
            }
            ended = self.settling.operation.ended() => {
                if self.settling.settled(ended, &mut self.outage) {
                    self.claiming.look();
                }
            }
            ended = self.breaker.operation.ended() => self.breaker.written(ended, &mut self.outage),
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
            self.breaker.operation.not_before(),
            self.breaker_until,
        ]
        .into_iter()
        .flatten()
        .filter(|at| *at > now);
        ahead.min()
    }
}
