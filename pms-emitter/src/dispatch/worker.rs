//! The dispatcher of one endpoint: a thin loop over claiming, sending and settling.
//!
//! A pipeline, not a batch: attempts run on their own, up to a bound, while the next claim and the last settlement are in the
//! database, so a slow answer holds up nobody else. Each part owns its state and begins what it can; the loop carries what one
//! part has ended to the next, and waits for the next end, the waker or the end of a pause.

use super::{
    breaker::EndpointBreaker,
    claiming::Claiming,
    immediate::Immediate,
    outage::Outage,
    parts::DispatcherParts,
    sending::{Sending, Unsent},
    settling::Settling,
};
use crate::store::{Admits, ImmediateClaims};
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
    immediate: Immediate,
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
    /// The dispatcher of an endpoint, with a breaker of its own. The waker says that there may be something due; what it is offered
    /// is handed to it as it is queued.
    pub(super) fn new(
        endpoint: &EndpointId,
        parts: &Arc<DispatcherParts>,
        waker: Arc<Notify>,
        offers: &ImmediateClaims,
    ) -> Self {
        let breaker = EndpointBreaker::new(
            endpoint,
            parts.store.clone(),
            &parts.delivery,
            Arc::clone(&parts.clock),
            Arc::clone(&parts.entropy),
        );
        parts.breakers.add(&breaker);
        let claiming = Claiming::new(endpoint, parts);
        Self {
            immediate: Immediate::new(endpoint, parts, claiming.places(), offers),
            claiming,
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
        self.immediate.close();
        loop {
            self.begin();
            if !self.is_busy() && !self.settling.can_go_on() && !self.claiming.can_look_up() {
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
        self.settling.begin(now, self.draining);
        self.breaker.begin_write(now);
        if self.draining {
            self.claiming.begin_last_look_up(now);
        } else {
            self.begin_claiming(now);
            self.immediate
                .set_room(self.immediate_room(now), self.claiming.lease());
        }
    }

    /// How many deliveries may be claimed as they are queued: none while a probe or a ramp decides, or nothing may begin.
    fn immediate_room(&self, now: Instant) -> usize {
        let is_waiting = self.claiming.operation.is_waiting(now);
        if is_waiting || self.settling.holds_endpoint() || !self.settling.has_room() {
            return 0;
        }
        match (self.breaker.admits(self.clock.now()), self.breaker.ramp()) {
            (Some(Admits::All), None) => self.sending.immediate_room(),
            _ => 0,
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
            || self.immediate.is_open()
    }

    /// Waits until one thing has ended, and hands it on; or until there is a reason to look for what is due.
    async fn wait(&mut self) {
        let (timer, gathered) = (self.timer(), self.settling.begins_at());
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
            handed = self.immediate.next() => {
                if let Some(handed) = handed {
                    self.claiming.handed(handed, &mut self.breaker, &mut self.sending, &mut self.settling);
                }
            }
            ended = self.settling.operation.ended() => {
                if self.settling.settled(ended, &mut self.outage) {
                    self.claiming.look();
                }
            }
            ended = self.breaker.operation.ended() => self.breaker.written(ended, &mut self.outage),
            // Then it begins.
            () = until(gathered) => {}
            () = self.waker.notified(), if !self.draining => self.claiming.look(),
            () = until(timer), if !self.draining => self.claiming.look(),
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

/// Waits for an instant; for ever where there is none.
async fn until(at: Option<Instant>) {
    match at {
        Some(at) => sleep_until(at).await,
        None => std::future::pending().await,
    }
}
