//! One process of the emitter, in parts that are stepped one by one: its desk, its sequencer with the fan-out, its runs, its
//! dispatchers, and the claims that it holds. It dies by being dropped.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use contract::{Clock, SeededEntropy, id::EndpointId};
use db::{Db, DbError, Statement, StatementResult, Tx};
use futures::future::BoxFuture;
use harness::clock::HandClock;
use harness::fault_proxy::FaultProxy;
use kit::egress::Egress;
use kit::lifecycle::Lifecycle;
use kit::metrics::Metrics;
use kit::secrets::MasterKeys;
use kit::sequencer::{Given, Sequence, Sequenced, Sequencer, Step};
use pms_emitter::Config;
use pms_emitter::desk::{Catalogue, Desk, Vault, Wakeups};
use pms_emitter::dispatch::attempt::AGENT;
use pms_emitter::dispatch::{
    AttemptCounters, Breakers, DeliveryConfig, DispatcherParts, Dispatchers, Places, Runner,
    SettlementCounters,
};
use pms_emitter::store::{
    Claim, ClaimRequest, Claimed, FanOut, Grant, Handed, Offer, Queued, Settlement, Store,
};
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;

/// How often its dispatchers look by themselves, in real time: the case waits for them.
const LOOK_EVERY: Duration = Duration::from_millis(10);
/// Attempts at one endpoint at once.
pub const CONCURRENCY: usize = 8;

/// What replicas are made of.
pub struct Parts {
    pub config: Config,
    pub keys: MasterKeys,
    pub clock: Arc<HandClock>,
    pub seed: u64,
}

/// A process.
pub struct Replica {
    pub name: String,
    pub db: Db,
    /// The way to its database, on MySQL.
    pub proxy: Option<Arc<FaultProxy>>,
    pub store: Store,
    pub desk: Desk,
    /// None while a step of it goes on elsewhere.
    pub sequencer: Option<Sequencer>,
    pub faults: Arc<Faults>,
    pub runner: Runner,
    /// In the order in which it claimed them.
    pub held: Vec<Held>,
    parts: Arc<DispatcherParts>,
    queued: Queued,
    /// What its fan-out has handed over.
    handed: Arc<Mutex<Vec<(EndpointId, Handed)>>>,
}

/// A delivery that it has claimed.
pub struct Held {
    pub endpoint: String,
    pub claim: Claim,
    /// When it was claimed.
    pub since: i64,
    /// The endpoint's, when it was claimed.
    pub version: u64,
    /// Once the attempt has ended.
    pub ended: Option<Settlement>,
    pub is_gone: bool,
}

impl Replica {
    /// The `number`th process that there is, on this way to the database.
    pub fn begin(number: u32, parts: &Parts, db: Db, proxy: Option<Arc<FaultProxy>>) -> Self {
        let name = format!("run_{number}");
        let seed = parts.seed * 1_000 + u64::from(number);
        let entropy: Arc<SeededEntropy> = Arc::new(SeededEntropy::new(seed));
        let clock: Arc<dyn Clock> = parts.clock.clone();
        let runtime = pms_emitter::Runtime {
            clock: Arc::clone(&clock),
            entropy: entropy.clone(),
        };
        let store = Store::new(db.clone());
        let (faults, fan_out) = (Arc::new(Faults::default()), FanOut::default());
        let queued = fan_out.queued();
        let faulty = FaultyFanOut {
            fan_out,
            faults: Arc::clone(&faults),
        };
        let own: SocketAddr = ([0, 0, 0, 0], 0).into();
        let egress = Egress::new(AGENT, parts.config.egress.settings(own)).unwrap();
        let metrics = Metrics::new("model", "0");
        let wakeups = Wakeups {
            queued: queued.clone(),
            ..Wakeups::default()
        };
        let begun = Arc::clone(&wakeups.runs);
        let dispatcher_parts = DispatcherParts {
            delivery: DeliveryConfig {
                concurrency: CONCURRENCY,
                look_every: LOOK_EVERY,
                ..parts.config.delivery.clone()
            },
            store: store.clone(),
            egress: egress.clone(),
            env_secrets: Some(super::super::rig::SECRETS.parse().unwrap()),
            master_keys: parts.keys.clone(),
            ids: runtime.ids(),
            clock: Arc::clone(&clock),
            entropy: entropy.clone(),
            attempts: AttemptCounters::new(&metrics),
            settlements: SettlementCounters::new(&metrics),
            breakers: Breakers::new(&metrics),
            places: Places::default(),
        };
        Self {
            sequencer: Some(Sequencer::new(&db, Arc::clone(&clock), name.clone(), faulty)),
            runner: Runner::new(
                store.clone(),
                Arc::clone(&clock),
                name.clone(),
                queued.clone(),
                begun,
            ),
            desk: Desk {
                store: store.clone(),
                clock,
                ids: runtime.ids(),
                vault: Vault {
                    master_keys: parts.keys.clone(),
                    entropy,
                },
                digest_key: Arc::new(parts.config.document_digest_key.clone().unwrap()),
                egress,
                send_test: Arc::new(|_| Box::pin(async { Err(DbError::Unavailable) })),
                catalogue: Catalogue::default(),
                wakeups,
            },
            parts: Arc::new(dispatcher_parts),
            held: Vec::new(),
            name,
            db,
            proxy,
            store,
            faults,
            queued,
            handed: Arc::default(),
        }
    }

    /// Its fan-out may claim up to `request.limit` deliveries, once, for the endpoint that is named.
    pub fn offer(&self, request: ClaimRequest) {
        let (endpoint, handed) = (request.endpoint.clone(), Arc::clone(&self.handed));
        let offer: Offer = Arc::new(move |_| {
            let (of, handed) = (request.endpoint.clone(), Arc::clone(&handed));
            Some(Grant {
                request: request.clone(),
                hand_over: Box::new(move |over| handed.lock().unwrap().push((of, over))),
            })
        });
        self.queued.immediate().offer(&endpoint, offer);
    }

    /// What was claimed of these, which it offers no more. Where that is not known, it looks.
    pub async fn handed_over(&self, offered: &[EndpointId]) -> Vec<(EndpointId, Claimed)> {
        for endpoint in offered {
            self.queued.immediate().withdraw(endpoint);
        }
        let mut claimed = Vec::new();
        let handed = std::mem::take(&mut *self.handed.lock().unwrap());
        for (endpoint, over) in handed {
            let of_it = match over {
                Handed::Claimed(claimed) => claimed,
                Handed::Unknown(claim) => self.store.look_up_claim(claim).await.unwrap(),
            };
            claimed.push((endpoint, of_it));
        }
        claimed
    }

    /// One step of the fan-out.
    pub async fn fan_out(&mut self) -> Result<Step, DbError> {
        self.sequencer.as_mut().unwrap().step().await
    }

    /// Begins its dispatchers. They end at a stop, after what they have begun; or at once, when their task is aborted.
    pub fn dispatch(&self) -> (Lifecycle, JoinHandle<()>) {
        let lifecycle = Lifecycle::new();
        let dispatchers = Dispatchers::new(Arc::clone(&self.parts), self.queued.clone());
        let task = tokio::spawn(dispatchers.run(lifecycle.clone()));
        (lifecycle, task)
    }
}

/// What goes wrong in the next step of a process's fan-out.
#[derive(Default)]
pub struct Faults {
    dies_inside: AtomicBool,
    dies_after: AtomicBool,
    gate: Mutex<Option<Arc<FanOutGate>>>,
}

/// Holds a transaction of the fan-out once it has read who is subscribed, and before it gives a place.
pub struct FanOutGate {
    pub inside: Semaphore,
    pub opened: Semaphore,
}

impl Faults {
    /// It dies in the transaction, which is lost.
    pub fn die_inside(&self) {
        self.dies_inside.store(true, Ordering::SeqCst);
    }

    /// It dies when the transaction is committed, before it wakes anybody.
    pub fn die_after(&self) {
        self.dies_after.store(true, Ordering::SeqCst);
    }

    /// It is held inside.
    pub fn hold(&self) -> Arc<FanOutGate> {
        let gate = Arc::new(FanOutGate {
            inside: Semaphore::new(0),
            opened: Semaphore::new(0),
        });
        *self.gate.lock().unwrap() = Some(Arc::clone(&gate));
        gate
    }

    /// It is not held after all.
    pub fn let_go(&self) {
        *self.gate.lock().unwrap() = None;
    }
}

/// The fan-out of a process that may die.
struct FaultyFanOut {
    fan_out: FanOut,
    faults: Arc<Faults>,
}

impl Sequenced for FaultyFanOut {
    fn sequence(&self) -> Sequence {
        self.fan_out.sequence()
    }

    fn is_any_waiting(&self) -> String {
        self.fan_out.is_any_waiting()
    }

    fn questions(&self) -> Vec<Statement> {
        self.fan_out.questions()
    }

    fn is_nothing(&self, answers: &[StatementResult]) -> bool {
        self.fan_out.is_nothing(answers)
    }

    fn give_places<'t>(
        &'t self,
        tx: &'t mut Tx,
        last: i64,
        answers: &'t [StatementResult],
    ) -> BoxFuture<'t, Result<Given, DbError>> {
        Box::pin(async move {
            let gate = self.faults.gate.lock().unwrap().take();
            if let Some(gate) = gate {
                gate.inside.add_permits(1);
                gate.opened.acquire().await.unwrap().forget();
            }
            let given = self.fan_out.give_places(tx, last, answers).await?;
            if self.faults.dies_inside.load(Ordering::SeqCst) {
                return Err(DbError::Panicked);
            }
            Ok(given)
        })
    }

    fn committed(&self) {
        if !self.faults.dies_after.load(Ordering::SeqCst) {
            self.fan_out.committed();
        }
    }

    fn failed(&self) {
        self.fan_out.failed();
    }
}
