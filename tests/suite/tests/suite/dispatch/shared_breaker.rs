//! The breaker of one endpoint over two replicas: one probe among all of them, whatever ends, dies or comes late.
//!
//! The model goes through random steps of two replicas, each with its own breaker and several attempts at once, and compares each
//! with what the row says; beside it stand cases of whole emitters.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use contract::{Clock, SeededEntropy, UnixMillis};
use db::{Row, params};
use harness::engine::Engine;
use harness::receiver_double::{Answer, Gate, Received, ReceiverDouble};
use harness::seeded::{Purpose, SeededRng};
use harness::waiting::until;
use kit::breaker::{Permit, State};
use pms_emitter::config::DeliveryConfig;
use pms_emitter::dispatch::{Admission, EndpointBreaker};
use pms_emitter::store::{
    Admits, AttemptRecord, BreakerWrite, Claim, ClaimRequest, Claimed, EndpointUpdate, Settlement,
    SharedBreaker, Store, Verdict, WhatOfBreaker, env_endpoint,
};

use super::rig::{HELD_FOR, PAST_OPEN, Rig, Setup};
use crate::case::{Case, Ctx, cases};

pub fn cases() -> Vec<Case> {
    let mut all = cases![
        f36_any_steps_of_two_replicas_send_one_probe_at_a_time,
        f36_a_probe_whose_owner_dies_is_freed_when_its_claim_ends,
        what_was_claimed_before_another_replica_opened_it_is_given_back_at_the_next_look,
        a_restart_honours_the_open_period_and_another_address_ends_it,
    ];
    all.extend(cases![only Engine::Mysql; f36_two_emitters_send_one_probe]);
    all
}

/// Events of one run of the model.
const EVENTS: u32 = 100;
/// Random steps of one run.
const STEPS: usize = 1_500;
/// Runs, each with a seed of its own.
const RUNS: u32 = 4;
/// Attempts of a replica at once.
const CONCURRENCY: usize = 4;
/// Failures in a row that open it.
const FAILURES: u32 = 3;
const OPEN_FIRST_MS: i64 = 1_000;
const OPEN_MAX_MS: i64 = 60_000;
/// An attempt ends by then, however it ends.
const TIMEOUT_MS: i64 = 15_000;
/// What waits longer for its attempt is given back: two thirds of what a lease has beyond that.
const WAIT_MAX_MS: i64 = 10_000;
const LEASE: Duration = Duration::from_secs(30);

async fn f36_any_steps_of_two_replicas_send_one_probe_at_a_time(ctx: Ctx) {
    let rig = Rig::start_without_dispatcher(&ctx).await;
    let mut totals = (0, 0);
    for run in 0..RUNS {
        rig.emit(run * EVENTS..(run + 1) * EVENTS).await;
        let mut model = Model::new(&rig, run).await;
        for _ in 0..STEPS {
            model.step().await;
        }
        let (probes, closings) = (model.probes, model.closings);
        totals = (totals.0 + probes, totals.1 + closings);
        model.finish().await;
    }
    assert!(totals.0 > 40 && totals.1 > 4, "(probes, closings): {totals:?}");
    let status = rig.status().await;
    assert_eq!(status.delivered, u64::from(RUNS * EVENTS));
    rig.stop().await;
}

/// Two replicas on one database, and what was seen of the endpoint's row.
struct Model<'r> {
    rig: &'r Rig,
    run: u32,
    rng: SeededRng,
    replicas: Vec<Replica>,
    /// How many replicas there were: each has its own randomness and its own tokens.
    made: u32,
    row: SharedBreaker,
    probes: usize,
    closings: usize,
    /// Of 100 attempts so many fail, and so many say nothing of the endpoint.
    failing: (usize, usize),
}

/// What a process has in memory.
struct Replica {
    number: u32,
    store: Store,
    breaker: EndpointBreaker,
    tokens: usize,
    /// A claim that is committed, and not looked at yet.
    claimed: Option<(Claimed, UnixMillis)>,
    ready: Vec<Ready>,
    attempts: Vec<Attempt>,
    /// The probe of this process has succeeded, so it may close the row.
    may_close: bool,
}

struct Ready {
    claim: Claim,
    since: UnixMillis,
    probe: Option<Permit>,
}

struct Attempt {
    claim: Claim,
    permit: Permit,
    is_probe: bool,
    since: UnixMillis,
    /// The row's by then.
    epoch: i64,
}

impl Replica {
    /// Attempts that began since the last change of the row.
    fn ramping(&self) -> usize {
        let epoch = self.store.breakers().of(&env_endpoint()).epoch;
        let attempts = self.attempts.iter();
        attempts.filter(|attempt| attempt.epoch == epoch).count()
    }
}

#[derive(Clone, Copy)]
enum Ended {
    Succeeded,
    Failed,
    Neutral,
}

impl<'r> Model<'r> {
    async fn new(rig: &'r Rig, run: u32) -> Self {
        let mut model = Self {
            rig,
            run,
            rng: SeededRng::new(36, Purpose::Changes, run),
            replicas: Vec::new(),
            made: 0,
            row: read_row(&rig.store).await,
            probes: 0,
            closings: 0,
            failing: (0, 0),
        };
        for _ in 0..2 {
            let replica = model.begin_replica();
            model.replicas.push(replica);
        }
        model
    }

    fn begin_replica(&mut self) -> Replica {
        self.made += 1;
        let store = Store::new(self.rig.store.db().clone());
        let url = "sqlite:model.db".parse().unwrap();
        let delivery = DeliveryConfig {
            concurrency: CONCURRENCY,
            breaker_failures: FAILURES,
            ..harness::config::emitter(url, None).delivery
        };
        let entropy = Arc::new(SeededEntropy::new(u64::from(self.run * 1_000 + self.made)));
        let (clock, endpoint) = (self.rig.clock.clone(), env_endpoint());
        Replica {
            number: self.made,
            breaker: EndpointBreaker::new(&endpoint, store.clone(), &delivery, clock, entropy),
            store,
            tokens: 0,
            claimed: None,
            ready: Vec::new(),
            attempts: Vec::new(),
            may_close: false,
        }
    }

    fn now(&self) -> UnixMillis {
        self.rig.now()
    }

    /// One thing that can happen, and what must hold after it.
    async fn step(&mut self) {
        if self.rng.chance(4) {
            self.failing = *self.rng.pick(&[(100, 0), (60, 20), (0, 50), (0, 0), (0, 0)]);
        }
        let which = self.rng.below(self.replicas.len());
        match self.rng.below(100) {
            0..25 => self.claim(which).await,
            25..45 => self.take(which).await,
            45..60 => self.begin(which).await,
            60..80 => self.end_one(which).await,
            80..90 => self.write(which).await,
            90..92 => drop(
                self.replicas[which]
                    .store
                    .endpoints_due(self.now())
                    .await
                    .unwrap(),
            ),
            92..98 => self.advance().await,
            98 => self.set_back(),
            _ => self.kill(which),
        }
        self.follow_all();
        self.check().await;
    }

    /// Asks for what its breaker lets it ask for.
    async fn claim(&mut self, which: usize) {
        let now = self.now();
        let replica = &mut self.replicas[which];
        let limit = match replica.breaker.admits(now) {
            Some(Admits::All) => CONCURRENCY,
            Some(Admits::Probe) => 1,
            Some(Admits::NotBefore(_)) | None => return,
        };
        if replica.claimed.is_some() || replica.ready.len() >= CONCURRENCY {
            return;
        }
        replica.tokens += 1;
        let request = ClaimRequest {
            endpoint: env_endpoint(),
            token: format!("clm_{}_{}_{}", self.run, replica.number, replica.tokens),
            now,
            lease: LEASE,
            limit,
            turn: 0,
        };
        let claimed = replica.store.claim(request).await.unwrap();
        let row = read_row(&self.rig.store).await;
        match &claimed {
            Claimed::Deliveries { is_probe: false, .. } => {
                assert_eq!(
                    row.state,
                    State::Closed,
                    "nothing but a probe is claimed of an open one"
                );
            }
            Claimed::Deliveries {
                is_probe: true,
                breaker,
                claims,
                ..
            } => {
                assert_eq!(
                    (claims.len(), *breaker),
                    (1, row),
                    "one delivery, by a claim on the row"
                );
                assert!(row.epoch == self.row.epoch + 1 && row.openings == self.row.openings);
                assert_eq!(self.row.admits(now), Admits::Probe, "not while it waits");
                self.row = row;
                self.probes += 1;
            }
            Claimed::Refused(breaker) => assert_eq!(*breaker, row),
            Claimed::Nothing | Claimed::NotBefore(_) => {}
        }
        replica.claimed = Some((claimed, now));
    }

    /// Takes over what it has claimed, maybe long ago.
    async fn take(&mut self, which: usize) {
        let replica = &mut self.replicas[which];
        let Some((claimed, since)) = replica.claimed.take() else {
            return;
        };
        let Claimed::Deliveries {
            claims,
            breaker,
            is_probe,
            ..
        } = claimed
        else {
            return;
        };
        let mut probe = if is_probe {
            replica.breaker.claimed_probe(breaker)
        } else {
            None
        };
        if is_probe && probe.is_none() {
            return give_back(replica, claims, self.rig.now()).await;
        }
        replica.ready.extend(claims.into_iter().map(|claim| Ready {
            claim,
            since,
            probe: probe.take(),
        }));
    }

    /// Sends what it may.
    async fn begin(&mut self, which: usize) {
        self.give_back_stale(which).await;
        let since = self.now();
        while self.replicas[which].attempts.len() < CONCURRENCY && !self.replicas[which].ready.is_empty() {
            let seen = self.replicas[which].store.breakers().of(&env_endpoint());
            let replica = &mut self.replicas[which];
            let is_probe = replica.ready[0].probe.is_some();
            let permit = match replica.ready[0].probe.take() {
                Some(permit) => permit,
                None => match replica.breaker.admit() {
                    Admission::Pass(permit) => permit,
                    Admission::Later(_) => return,
                    Admission::Refused => {
                        let ready = std::mem::take(&mut replica.ready);
                        let claims = ready.into_iter().map(|ready| ready.claim).collect();
                        return give_back(replica, claims, since).await;
                    }
                },
            };
            let ready = replica.ready.remove(0);
            replica.attempts.push(Attempt {
                claim: ready.claim,
                permit,
                is_probe,
                since,
                epoch: seen.epoch,
            });
            if is_probe {
                let owner = probe_owner(&self.rig.store).await;
                let ours = self.replicas[which].attempts.last().unwrap();
                assert_eq!(owner, Some(ours.claim.delivery.owner.clone()), "the row's probe");
            } else {
                assert_eq!(
                    seen.state,
                    State::Closed,
                    "no request while it is known to be open"
                );
                let allowed = replica.breaker.ramp().unwrap_or(u32::MAX) as usize;
                assert!(
                    replica.ramping() <= allowed,
                    "no more at once than the ramp allows"
                );
            }
        }
    }

    /// What waited too long, or is not to be sent any more.
    async fn give_back_stale(&mut self, which: usize) {
        let now = self.now();
        let replica = &mut self.replicas[which];
        let is_stale = |ready: &mut Ready| now.0 - ready.since.0 > WAIT_MAX_MS;
        let stale: Vec<Ready> = replica.ready.extract_if(.., is_stale).collect();
        let mut claims = Vec::new();
        for ready in stale {
            if let Some(permit) = ready.probe {
                permit.neutral();
                replica.breaker.ended(true);
            }
            claims.push(ready.claim);
        }
        give_back(replica, claims, now).await;
    }

    async fn end_one(&mut self, which: usize) {
        let attempts = self.replicas[which].attempts.len();
        if attempts > 0 {
            let attempt = self.rng.below(attempts);
            let drawn = self.rng.below(100);
            let (failed, neutral) = self.failing;
            let ended = match drawn {
                _ if drawn < failed => Ended::Failed,
                _ if drawn < failed + neutral => Ended::Neutral,
                _ => Ended::Succeeded,
            };
            self.end(which, attempt, ended).await;
        }
    }

    /// An attempt ends, and its delivery is settled.
    async fn end(&mut self, which: usize, attempt: usize, ended: Ended) {
        let now = self.now();
        let replica = &mut self.replicas[which];
        let Attempt {
            claim,
            permit,
            is_probe,
            since,
            ..
        } = replica.attempts.swap_remove(attempt);
        let (status, verdict) = match ended {
            Ended::Succeeded => (200, Verdict::Delivered),
            Ended::Failed => (503, Verdict::RetryAt(now)),
            Ended::Neutral => (409, Verdict::RetryAt(now)),
        };
        match ended {
            Ended::Succeeded => permit.succeed(),
            Ended::Failed => permit.fail("status 503"),
            Ended::Neutral => permit.neutral(),
        }
        replica.may_close |= is_probe && matches!(ended, Ended::Succeeded);
        replica.breaker.ended(is_probe);
        let attempt = AttemptRecord {
            answer: None,
            number: claim.attempts + 1,
            at: since,
            duration_ms: 1,
            status: Some(status),
            error: None,
        };
        settle(replica, vec![settlement(claim, Some(attempt), verdict)], now).await;
    }

    /// Writes what its breaker has to write. Its answer may never come.
    async fn write(&mut self, which: usize) {
        let replica = &mut self.replicas[which];
        let Some(write) = replica.breaker.unwritten().cloned() else {
            return;
        };
        let (seen, what, at) = (write.seen, write.what, write.at);
        let row = replica.store.change_breaker(env_endpoint(), write).await.unwrap();
        if seen.epoch != self.row.epoch {
            assert_eq!(row, self.row, "another process was first");
            return;
        }
        assert_eq!(row.epoch, seen.epoch + 1);
        match what {
            WhatOfBreaker::Opened(until) => {
                let factor = 1_i64 << seen.openings.min(10);
                let period = (OPEN_FIRST_MS * factor).min(OPEN_MAX_MS);
                let (least, most) = (period * 4 / 5 - 1, (period * 6 / 5).min(OPEN_MAX_MS));
                assert!(
                    (least..=most).contains(&(until.0 - at.0)),
                    "{} ms",
                    until.0 - at.0
                );
                assert_eq!((row.state, row.openings), (State::Open, seen.openings + 1));
            }
            WhatOfBreaker::Closed => {
                assert!(
                    std::mem::take(&mut replica.may_close),
                    "only a 2xx of the probe closes it"
                );
                self.closings += 1;
            }
            WhatOfBreaker::ProbeFreed => assert_eq!(row.until, UnixMillis(0)),
        }
        self.row = row;
    }

    async fn advance(&mut self) {
        let span = *self.rng.pick(&[100, 900, 3_000, 20_000, 61_000]);
        self.rig.clock.advance(Duration::from_millis(span));
        self.end_overdue().await;
    }

    /// Nothing lasts longer than an attempt may.
    async fn end_overdue(&mut self) {
        let now = self.now();
        for which in 0..self.replicas.len() {
            while let Some(overdue) = self.replicas[which]
                .attempts
                .iter()
                .position(|attempt| now.0 - attempt.since.0 > TIMEOUT_MS)
            {
                self.end(which, overdue, Ended::Failed).await;
            }
        }
    }

    /// The clock is set back, while no probe is out: its lease would be over, as any other.
    fn set_back(&mut self) {
        let is_probing = |replica: &Replica| {
            let is_claimed = matches!(
                replica.claimed,
                Some((Claimed::Deliveries { is_probe: true, .. }, _))
            );
            is_claimed
                || replica.ready.iter().any(|ready| ready.probe.is_some())
                || replica.attempts.iter().any(|attempt| attempt.is_probe)
        };
        if !self.replicas.iter().any(is_probing) {
            let back = self.now().plus_millis(-120_000);
            self.rig.clock.set(back);
        }
    }

    /// A process dies, and another one begins.
    fn kill(&mut self, which: usize) {
        self.replicas[which] = self.begin_replica();
    }

    fn follow_all(&mut self) {
        for replica in &mut self.replicas {
            let was = replica.breaker.state();
            if replica.breaker.follow() {
                replica.may_close = false;
            }
            if replica.breaker.state() == State::Closed && was != State::Closed {
                assert_eq!(replica.breaker.ramp(), Some(1), "it begins with one at a time");
            }
        }
    }

    /// What holds at any time.
    async fn check(&mut self) {
        assert_eq!(
            read_row(&self.rig.store).await,
            self.row,
            "nothing else writes it"
        );
        let attempts = self.replicas.iter().flat_map(|replica| &replica.attempts);
        let probes = attempts.filter(|attempt| attempt.is_probe).count();
        assert!(probes <= 1, "{probes} probes at a time");
    }

    /// Once the endpoint is well, all is delivered.
    async fn finish(mut self) {
        self.failing = (0, 0);
        for _ in 0..2_000 {
            for which in 0..self.replicas.len() {
                self.claim(which).await;
                self.follow_all();
                self.take(which).await;
                self.begin(which).await;
                self.end_one(which).await;
                self.write(which).await;
                self.follow_all();
                self.check().await;
            }
            if self.rig.status().await.pending == 0 {
                return;
            }
            self.rig.clock.advance(Duration::from_secs(10));
            self.end_overdue().await;
        }
        panic!("run {}: it never ends", self.run);
    }
}

fn settlement(claim: Claim, attempt: Option<AttemptRecord>, verdict: Verdict) -> Settlement {
    Settlement {
        delivery: claim.delivery,
        subject: claim.subject,
        attempt,
        verdict,
    }
}

async fn give_back(replica: &Replica, claims: Vec<Claim>, now: UnixMillis) {
    let deferred = claims
        .into_iter()
        .map(|claim| settlement(claim, None, Verdict::Deferred));
    settle(replica, deferred.collect(), now).await;
}

/// What another claim has taken over meanwhile is lost, as it must be.
async fn settle(replica: &Replica, batch: Vec<Settlement>, now: UnixMillis) {
    if !batch.is_empty() {
        let update = EndpointUpdate::default();
        let settled = replica
            .store
            .settle(env_endpoint(), batch.into(), update, [].into(), now)
            .await;
        settled.unwrap();
    }
}

async fn read_row(store: &Store) -> SharedBreaker {
    let row = endpoint_row(store).await;
    let state: String = row.get("breaker_state").unwrap();
    let states = [State::Closed, State::Open, State::HalfOpen];
    SharedBreaker {
        state: states.into_iter().find(|one| one.as_str() == state).unwrap(),
        until: row.get("breaker_until").unwrap(),
        since: row.get("breaker_since").unwrap(),
        openings: row.get("breaker_openings").unwrap(),
        epoch: row.get("breaker_epoch").unwrap(),
    }
}

async fn probe_owner(store: &Store) -> Option<String> {
    endpoint_row(store).await.get("probe_owner").unwrap()
}

async fn endpoint_row(store: &Store) -> Row {
    let read = store.db().read("endpoint_row", |tx| {
        let sql =
            "SELECT breaker_state, breaker_until, breaker_since, breaker_openings, breaker_epoch, probe_owner
             FROM endpoints WHERE id = ?";
        Box::pin(async move { tx.query_one(sql, params![env_endpoint().as_str()]).await })
    });
    read.await.unwrap().unwrap()
}

fn setup() -> Setup {
    Setup {
        breaker_failures: FAILURES,
        schedule: "0s,0s,0s,0s,0s,0s,0s,0s,0s,0s",
        concurrency: 1,
        timeout: HELD_FOR,
        ..Setup::default()
    }
}

/// An emitter whose endpoint has failed until its breaker opened, with eight events waiting.
async fn open_one(ctx: &Ctx) -> Rig {
    let rig = Rig::start(ctx, setup()).await;
    rig.double.otherwise(Answer::status(503));
    rig.emit(0..8).await;
    rig.until("open", |status| status.breaker.0 == State::Open).await;
    rig.until_nothing_is_claimed().await;
    rig
}

/// Two emitters on the case's database, whose endpoint fails three times and then answers at a gate.
async fn two_emitters(ctx: &Ctx) -> (Rig, Rig, Gate) {
    let first = open_one(ctx).await;
    let gate = Gate::closed();
    first.double.otherwise(Answer::status(200).behind(&gate));
    let other = Setup { seed: 2, ..setup() };
    let second = Rig::start_with(ctx, other, first.double.clone(), first.clock.clone()).await;
    (first, second, gate)
}

async fn f36_two_emitters_send_one_probe(ctx: Ctx) {
    let (first, second, gate) = two_emitters(&ctx).await;
    let before = first.double.received().len();
    second.emit(8..16).await;
    first.clock.advance(PAST_OPEN);
    first.double.wait_for_held(1).await;
    let half_open = |status: &pms_emitter::store::EndpointStatus| status.breaker.0 == State::HalfOpen;
    second.until("half open", half_open).await;
    // The other one looks, and finds whose the probe is.
    for rig in [&first, &second] {
        assert_eq!(rig.store.endpoints_due(rig.now()).await.unwrap().due, []);
    }
    assert_eq!(first.double.held(), 1, "one probe of both");
    // Both go on once it has succeeded: one at a time each, as the ramp begins and their concurrency is.
    gate.open(1);
    first.double.wait_for_held(2).await;
    gate.open(1_000);
    let status = first.until_delivered(16).await;
    assert_eq!((status.pending, status.dead), (0, 0));
    let requests = first.double.received();
    let sent: BTreeSet<&str> = requests[before..].iter().map(Received::id).collect();
    assert_eq!((requests.len() - before, sent.len()), (16, 16), "each once");
    let changes = status.breaker_history.iter().rev();
    let states: Vec<&str> = changes.map(|change| change.to.as_str()).collect();
    assert_eq!(states, ["open", "half_open", "closed"], "each change once");
    first.stop().await;
    second.stop().await;
}

async fn what_was_claimed_before_another_replica_opened_it_is_given_back_at_the_next_look(ctx: Ctx) {
    let rig = Rig::start_without_dispatcher(&ctx).await;
    rig.emit(0..8).await;
    let (double, clock) = rig.stop().await;
    let gate = Gate::closed();
    double.otherwise(Answer::status(200).behind(&gate));
    let rig = Rig::start_with(&ctx, setup(), double, clock).await;
    rig.double.wait_for_held(1).await;
    let claimed = async || {
        let sql = "SELECT event_id FROM deliveries WHERE endpoint_id = ? AND status = 'pending' AND owner IS NOT NULL";
        rig.rows(sql, env_endpoint().to_string()).await.len()
    };
    // Behind the one that is held, since its concurrency is one.
    until("all are claimed", || async { claimed().await == 8 }).await;
    let other = Store::new(rig.store.db().clone());
    let opened = BreakerWrite {
        seen: read_row(&other).await,
        what: WhatOfBreaker::Opened(rig.now().plus_millis(60_000)),
        at: rig.now(),
        reason: "seen by another replica".to_owned(),
    };
    let row = other.change_breaker(env_endpoint(), opened).await.unwrap();
    assert_eq!(row.state, State::Open);
    until("they are given back", || async { claimed().await <= 1 }).await;
    assert_eq!(
        (claimed().await, rig.double.held()),
        (1, 1),
        "while its attempt goes on"
    );
    assert_eq!(rig.double.received().len(), 1);

    gate.open(1_000);
    rig.until_nothing_is_claimed().await;
    rig.clock.advance(PAST_OPEN);
    rig.until_delivered(8).await;
    assert_eq!(rig.double.received().len(), 8, "each once");
    rig.stop().await;
}

async fn f36_a_probe_whose_owner_dies_is_freed_when_its_claim_ends(ctx: Ctx) {
    let (double, clock) = open_one(&ctx).await.stop().await;
    clock.advance(PAST_OPEN);
    let store = Store::new(ctx.open().await);
    let request = ClaimRequest {
        endpoint: env_endpoint(),
        token: "dead".to_owned(),
        now: clock.now(),
        lease: LEASE,
        limit: 100,
        turn: 0,
    };
    let claimed = store.claim(request).await.unwrap();
    assert!(matches!(claimed, Claimed::Deliveries { is_probe: true, claims, .. } if claims.len() == 1));

    let before = double.received().len();
    let gate = Gate::closed();
    double.otherwise(Answer::status(200).behind(&gate));
    let rig = Rig::start_with(&ctx, setup(), double, clock).await;
    rig.emit(8..9).await;
    rig.clock.advance(LEASE - Duration::from_millis(1));
    // It looks, and finds whose the probe is.
    assert_eq!(rig.store.endpoints_due(rig.now()).await.unwrap().due, []);
    rig.clock.advance(Duration::from_millis(1));
    rig.double.wait_for_held(1).await;
    assert_ne!(probe_owner(&rig.store).await.as_deref(), Some("dead"));
    assert_eq!(
        rig.double.received().len(),
        before + 1,
        "one probe, and none before it"
    );
    gate.open(1_000);
    rig.clock.advance(Duration::from_millis(1));
    rig.until_delivered(9).await;
    rig.stop().await;
}

async fn a_restart_honours_the_open_period_and_another_address_ends_it(ctx: Ctx) {
    let (double, clock) = open_one(&ctx).await.stop().await;
    let before = double.received().len();
    double.otherwise(Answer::status(200));
    let rig = Rig::start_with(&ctx, setup(), double, clock).await;
    assert_eq!(rig.status().await.breaker.0, State::Open, "as it was");
    assert_eq!(rig.store.endpoints_due(rig.now()).await.unwrap().due, []);
    rig.clock.advance(PAST_OPEN);
    let status = rig.until_delivered(8).await;
    assert_eq!(rig.double.received().len(), before + 8);
    assert_eq!(status.breaker.0, State::Closed);

    rig.double.otherwise(Answer::status(503));
    rig.emit(8..16).await;
    rig.until("open again", |status| status.breaker.0 == State::Open)
        .await;
    let (_, clock) = rig.stop().await;
    let elsewhere = Rig::start_with(
        &ctx,
        setup(),
        Arc::new(ReceiverDouble::start().await.unwrap()),
        clock,
    )
    .await;
    let status = elsewhere.until_delivered(16).await;
    assert_eq!(status.breaker_history[0].reason, "another address");
    let failed = "SELECT id FROM endpoints WHERE id = ? AND rate_failed > 0";
    let failed = elsewhere.rows(failed, env_endpoint().to_string()).await;
    assert!(failed.is_empty(), "nor do failures at the old one count");
    elsewhere.stop().await;
}
