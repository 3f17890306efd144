//! The model's world, what is compared after its steps, and its end.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use contract::{SeededEntropy, UnixMillis};
use harness::clock::HandClock;
use harness::engine::Engine;
use harness::fault_proxy::FaultProxy;
use harness::receiver_double::{Answer, Gate, ReceiverDouble};
use harness::seeded::{Purpose, SeededRng};
use harness::waiting::until;
use kit::secrets::MasterKeys;
use kit::sequencer::Step;
use pms_emitter::app::open_store;
use pms_emitter::dispatch::{DeliveryConfig, RunStep};
use pms_emitter::store::{EnvEndpoint, Store, env_endpoint};
use pms_emitter::{Config, Runtime};

use super::oracle::{ENV, Entity, Oracle, QueuedBy, Silence};
use super::replica::{Parts, Replica};
use super::steps::Seen;
use super::tables::{Delivery, Key, Tables};
use crate::case::Ctx;
use crate::dispatch::rig::{BEGIN, PAST_OPEN};

/// Replicas at a time.
pub const REPLICAS: usize = 2;
/// More rounds than any end takes: an endpoint that is stopped by its breaker goes on in each.
const ROUNDS_MAX: usize = 40;
/// More steps than any round takes.
const STEPS_OF_ROUND_MAX: usize = 500;
/// What is shown of a run that failed: its last steps.
const STEPS_SHOWN: usize = 25;

/// What all runs share: the tables, each time emptied, and how the replicas are configured.
pub struct World {
    ctx: Ctx,
    config: Config,
    keys: MasterKeys,
    store: Store,
}

impl World {
    pub async fn open(ctx: &Ctx) -> Self {
        let mut config = harness::config::emitter(ctx.url(), None);
        config.delivery = DeliveryConfig {
            schedule: "0s,5s,10s".parse().unwrap(),
            ..config.delivery
        };
        let runtime = Runtime {
            clock: Arc::new(HandClock::at(BEGIN)),
            entropy: Arc::new(SeededEntropy::new(0)),
        };
        let store = open_store(&config, &runtime, false).await.unwrap();
        let entropy = runtime.entropy.as_ref();
        let keys = config.master_key.open(&config.database, store.db(), entropy);
        Self {
            ctx: ctx.clone(),
            keys: keys.await.unwrap(),
            config,
            store,
        }
    }

    pub async fn close(self) {
        self.store.db().clone().close().await;
    }
}

/// Faults in the tables that must be found, each of a kind of its own.
const DAMAGES: [&str; 5] = [
    "DELETE FROM deliveries WHERE endpoint_id = 'env' AND event_id = (SELECT MIN(id) FROM events)",
    "INSERT INTO deliveries (endpoint_id, event_id, due_at) VALUES ('env', 'evt_nobodys', 0)",
    "INSERT INTO audit_entries (at, action, event_id, source) SELECT 0, 'delivered', MAX(id), 'env' FROM events",
    "UPDATE deliveries SET attempts = attempts + 1 WHERE endpoint_id = 'env' AND event_id = (SELECT MAX(id) FROM events)",
    "UPDATE deliveries SET status = 'pending' WHERE endpoint_id = 'env' AND event_id <> (SELECT MAX(id) FROM events)",
];

/// Two replicas, the sinks, the tables, and what must be.
pub struct Model {
    pub ctx: Ctx,
    pub rng: SeededRng,
    pub clock: Arc<HandClock>,
    pub tables: Tables,
    pub oracle: Oracle,
    pub replicas: Vec<Replica>,
    pub sinks: BTreeMap<String, Sink>,
    /// Those that exist, each at its last version, with its property.
    pub entities: Vec<(Entity, &'static str)>,
    pub seen: Seen,
    pub history: History,
    pub parts: Parts,
    /// Replicas that there ever were.
    begun: u32,
}

/// The receiver of one endpoint.
pub struct Sink {
    pub double: ReceiverDouble,
    pub behaviour: Behaviour,
}

/// How a sink answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Behaviour {
    Answers(u16),
    /// It closes the connection without an answer.
    Resets,
}

impl Behaviour {
    pub fn answer(self) -> Answer {
        match self {
            Self::Answers(status) => Answer::status(status),
            Self::Resets => Answer::reset(),
        }
    }
}

impl Sink {
    pub async fn start() -> Self {
        Self {
            double: ReceiverDouble::start().await.unwrap(),
            behaviour: Behaviour::Answers(200),
        }
    }

    pub fn set(&mut self, behaviour: Behaviour) {
        self.behaviour = behaviour;
        self.double.otherwise(behaviour.answer());
    }

    pub fn hold(&self, gate: &Gate) {
        self.double.otherwise(self.behaviour.answer().behind(gate));
    }
}

/// What was done: printed when the case fails.
pub struct History {
    seed: u64,
    engine: Engine,
    steps: Vec<String>,
}

impl History {
    pub fn note(&mut self, step: String) {
        self.steps.push(step);
    }
}

impl Drop for History {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let shown = self.steps.len().saturating_sub(STEPS_SHOWN);
            eprintln!(
                "{}: ONE_DELIVERY_SEEDS={} fails after {} steps; the last of them:\n  {}",
                self.engine.name(),
                self.seed,
                self.steps.len(),
                self.steps[shown..].join("\n  ")
            );
        }
    }
}

impl Model {
    /// Tables with nothing but the environment's endpoint, and two replicas.
    pub async fn begin(world: &World, seed: u64) -> Self {
        let World { ctx, store, .. } = world;
        let clock = Arc::new(HandClock::at(BEGIN));
        Tables(store.db().clone()).clear().await;
        let sink = Sink::start().await;
        let env = EnvEndpoint {
            url: Some(sink.double.url()),
            first_wait: Duration::ZERO,
        };
        let configured = store.configure_endpoint(env_endpoint(), env, BEGIN).await;
        assert!(configured.unwrap());
        let mut model = Self {
            rng: SeededRng::new(seed, Purpose::Changes, 11),
            tables: Tables(store.db().clone()),
            oracle: Oracle::new(),
            replicas: Vec::new(),
            sinks: BTreeMap::from([(ENV.to_owned(), sink)]),
            entities: Vec::new(),
            seen: Seen::default(),
            history: History {
                seed,
                engine: ctx.engine,
                steps: Vec::new(),
            },
            parts: Parts {
                config: world.config.clone(),
                keys: world.keys.clone(),
                clock: clock.clone(),
                seed,
            },
            clock,
            ctx: ctx.clone(),
            begun: 0,
        };
        for which in 0..REPLICAS {
            let replica = model.first_replica(which).await;
            model.replicas.push(replica);
        }
        model
    }

    /// The last one goes through a proxy, where there is a server to go to.
    async fn first_replica(&mut self, which: usize) -> Replica {
        self.begun += 1;
        if self.ctx.engine == Engine::Sqlite || which + 1 < REPLICAS {
            let db = self.ctx.open().await;
            return Replica::begin(self.begun, &self.parts, db, None);
        }
        let (proxy, url) = FaultProxy::before(self.ctx.database.url()).await.unwrap();
        let settings = db::DbSettings {
            exclusive: false,
            ..db::DbSettings::default()
        };
        let entropy = Arc::new(SeededEntropy::new(self.parts.seed));
        let db = db::Db::open(&url, &settings, entropy).await.unwrap();
        Replica::begin(self.begun, &self.parts, db, Some(Arc::new(proxy)))
    }

    /// A process dies with all that it holds, and another one begins.
    pub fn kill(&mut self, which: usize) {
        self.begun += 1;
        let dead = &self.replicas[which];
        let next = Replica::begin(self.begun, &self.parts, dead.db.clone(), dead.proxy.clone());
        self.replicas[which] = next;
        self.seen.deaths += 1;
    }

    pub fn now(&self) -> UnixMillis {
        contract::Clock::now(self.clock.as_ref())
    }

    /// The present second, as a request has it.
    pub fn second(&self) -> i64 {
        self.now().0.div_euclid(1_000)
    }

    /// Time passes, and each replica looks at what has changed, as it does every half second.
    pub async fn advance(&mut self, by: Duration) {
        self.clock.advance(by);
        self.look().await;
    }

    async fn look(&self) {
        for replica in &self.replicas {
            replica.store.endpoints_due(self.now()).await.unwrap();
        }
    }

    /// To the beginning of the next second: what begins from then on says so.
    pub async fn next_second(&mut self) {
        let left = 1_000 - self.now().0.rem_euclid(1_000);
        self.advance(Duration::from_millis(left.unsigned_abs())).await;
    }

    /// From the next second on no attempt at this endpoint may begin.
    pub async fn silence(&mut self, endpoint: &str) {
        // Every replica knows of it before that second begins: dispatchers may be running.
        self.look().await;
        self.next_second().await;
        let from = self.second();
        let silence = Silence { from, until: None };
        self.oracle.endpoint(endpoint).silences.push(silence);
    }

    /// What a step of the fan-out has come to.
    pub async fn follow_fan_out(&mut self) {
        let last = self.oracle.last();
        let placed = self.tables.placed_behind(last).await;
        self.seen.placed += placed.len();
        self.oracle.placed(placed);
        self.oracle.queued(&self.tables.behind().await, last);
        self.compare().await;
    }

    /// What steps of runs have come to.
    pub async fn follow_runs(&mut self) {
        let before = self.oracle.deliveries().len();
        for run in self.tables.runs().await {
            match run.status.as_str() {
                "running" => self.oracle.replay_went_on(&run.id, Some(run.last_place)),
                "finished" => self.oracle.replay_went_on(&run.id, None),
                _ => self.oracle.replay_ended(&run.id),
            }
        }
        self.seen.replayed += self.oracle.deliveries().len() - before;
        self.compare().await;
    }

    /// Of each entity one delivery at most may go, by whichever replica, where an endpoint asks for their order.
    pub async fn one_at_a_time(&mut self) {
        let mut entities = BTreeSet::new();
        for (id, event) in self.tables.released().await {
            if let Some(entity) = &self.oracle.events[&event].entity
                && self.oracle.endpoints[&id].is_ordered()
            {
                let is_only_one = entities.insert((id.clone(), entity.kind, &entity.id));
                assert!(is_only_one, "{id} is sent two of {entity:?} at a time: {event}");
            }
        }
        self.seen.one_at_a_time += entities.len();
    }

    /// The deliveries in the table are those that must be.
    async fn compare(&mut self) {
        let there: BTreeSet<Key> = self.tables.keys().await.into_iter().collect();
        let expected = self.oracle.deliveries();
        let missing: Vec<_> = expected.difference(&there).collect();
        let unwanted: Vec<_> = there.difference(&expected).collect();
        assert!(
            missing.is_empty() && unwanted.is_empty(),
            "missing: {missing:?}, not to be there: {unwanted:?}, of {}",
            expected.len()
        );
        self.one_at_a_time().await;
    }

    /// Whole dispatchers of a replica deliver all that is due, and stop.
    pub async fn deliver(&mut self, which: usize) {
        let (lifecycle, task) = self.replicas[which].dispatch();
        until("all that is due is sent", || async {
            self.tables.due(self.now()).await == 0
        })
        .await;
        lifecycle.stop();
        task.await.unwrap();
    }

    /// Everybody is well again: all is queued, delivered and settled.
    pub async fn finish(&mut self) {
        self.history.note("the end".to_owned());
        for sink in self.sinks.values_mut() {
            sink.set(Behaviour::Answers(200));
        }
        self.let_all_go_on().await;
        for replica in &mut self.replicas {
            replica.held.clear();
        }
        let mut rounds = 0;
        while self.tables.unfinished().await > 0 {
            rounds += 1;
            assert!(rounds < ROUNDS_MAX, "it never ends");
            self.advance(PAST_OPEN).await;
            for which in 0..REPLICAS {
                self.bring_up(which).await;
                self.deliver(which).await;
            }
        }
        let mut ids = self.oracle.endpoints.keys();
        assert!(self.oracle.has_all_placed() && !ids.any(|id| self.oracle.is_behind(id)));
        self.compare().await;
        let (findings, one_after_the_other) = self.findings().await;
        assert!(findings.is_empty(), "{findings:#?}");
        self.seen.one_after_the_other += one_after_the_other;
    }

    /// One replica does all that there is to do but deliver.
    async fn bring_up(&mut self, which: usize) {
        for _ in 0..STEPS_OF_ROUND_MAX {
            let mut is_idle = true;
            if let Step::Worked(_) = self.replicas[which].fan_out().await.unwrap() {
                self.follow_fan_out().await;
                is_idle = false;
            }
            if self.replicas[which].runner.step().await.unwrap() == RunStep::Worked {
                self.follow_runs().await;
                is_idle = false;
            }
            let cancelling = self.replicas[which].store.cancel_deliveries(self.now());
            if !cancelling.await.unwrap() && is_idle {
                return;
            }
        }
        panic!("it goes on for ever");
    }

    /// What is said of tables that are damaged, one damage after the other.
    pub async fn each_fault_is_found(&self) {
        let mut before = 0;
        for damage in DAMAGES {
            self.tables.change(damage).await;
            let found = self.findings().await.0.len();
            assert!(found > before, "{damage}");
            before = found;
        }
    }

    /// What is wrong once all is at its end; and how many events came after an earlier one of their entity, as they had to.
    async fn findings(&self) -> (Vec<String>, usize) {
        let deliveries = self.tables.deliveries().await;
        let (mut findings, mut one_after_the_other) = (Vec::new(), 0);
        let mut find = |what: &str, about: &dyn std::fmt::Debug| findings.push(format!("{what}: {about:?}"));
        let (there, expected): (BTreeSet<Key>, _) =
            (deliveries.keys().cloned().collect(), self.oracle.deliveries());
        for key in expected.symmetric_difference(&there) {
            find("there and not wanted, or wanted and not there", key);
        }
        for (id, endpoint) in &self.oracle.endpoints {
            let received = self.sinks[id].double.received();
            let mut times = BTreeMap::<&str, i64>::new();
            for request in &received {
                *times.entry(request.id()).or_default() += 1;
                let at: i64 = request.header("webhook-timestamp").parse().unwrap();
                let is_in =
                    |silence: &&Silence| silence.from <= at && silence.until.is_none_or(|until| at < until);
                if let Some(silence) = endpoint.silences.iter().find(is_in) {
                    find("sent in a silence", &(id, request.id(), at, silence));
                }
                if !endpoint.deliveries.contains_key(request.id()) {
                    find("sent and not wanted", &(id, request.id()));
                }
            }
            let by_hand = |event: &str| {
                let one = deliveries.get(&(id.clone(), event.to_owned()));
                one.is_some_and(|one| one.made_due + one.replayed > 0)
            };
            for events in self.oracle.in_order(endpoint, by_hand) {
                let first = |event: &str| received.iter().position(|request| request.id() == event);
                let last = |event: &str| received.iter().rposition(|request| request.id() == event);
                let sent: Vec<&str> = events
                    .into_iter()
                    .filter(|event| times.contains_key(event))
                    .collect();
                for pair in sent.windows(2) {
                    one_after_the_other += 1;
                    if last(pair[0]) > first(pair[1]) {
                        find("not one after the other", &(id, pair));
                    }
                }
            }
            for (event, queued_by) in &endpoint.deliveries {
                let Some(delivery) = deliveries.get(&(id.clone(), event.clone())) else {
                    continue;
                };
                let times = times.get(event.as_str()).copied().unwrap_or_default();
                for why in wrong(delivery, *queued_by, endpoint.is_deleted, times) {
                    find(why, &(id, event, delivery, queued_by, times));
                }
            }
        }
        (findings, one_after_the_other)
    }

    /// Its replicas end.
    pub async fn stop(self) {
        for replica in self.replicas {
            replica.db.clone().close().await;
        }
    }
}

/// What is wrong about one delivery, which must be at its end.
fn wrong(delivery: &Delivery, queued_by: QueuedBy, is_deleted: bool, times: i64) -> Vec<&'static str> {
    let is_settled = match delivery.status.as_str() {
        "delivered" | "dead" => true,
        "cancelled" if is_deleted => false,
        _ => return vec!["not at its end"],
    };
    let mut wrong = Vec::new();
    // Made due by a run that queued it, it was not settled before.
    let replayed = delivery.replayed - i64::from(queued_by == QueuedBy::Replay);
    if delivery.settled != delivery.made_due + replayed + i64::from(is_settled) {
        wrong.push("not settled once each time it was queued");
    }
    let (kept, last) = delivery.kept;
    if (kept, last) != (delivery.attempts, delivery.attempts) {
        wrong.push("attempts without a record, or records without an attempt");
    }
    if times < delivery.attempts || (is_settled && times == 0) {
        wrong.push("attempts that the sink has not seen");
    }
    wrong
}
