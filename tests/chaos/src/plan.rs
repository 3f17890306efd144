//! The plan of kills: which process ends when, and how; drawn from the seed before anything runs.
//!
//! A tenth of the kills are the database server's, where there is one; of fewer than twenty kills two, of fewer than four
//! half. Of the others at least half end at named steps, each step in turn, and the rest come at random. A planted bug gets
//! the kills that reveal it.

use super::steps;
use kit::planted::Bug;
use rand::seq::SliceRandom;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// Of so many kills one is the database server's.
const DATABASE_SHARE: u64 = 10;
/// In a short run more: one that heals once may not do so again.
const DATABASE_MIN: u64 = 2;
/// Of so many kills one emitter is paused past its lease.
const PAUSE_SHARE: u64 = 50;
/// The last of its deliveries at which it may be paused: few, since it may be started again near the end of the writes.
const PAUSED_BY: u64 = 8;
/// Of so many kills one database file is locked.
const LOCK_SHARE: u64 = 100;
/// Batches that a process sees before it ends at a step of a batch, at most.
const BATCHES_MAX: u64 = 6;
/// Steps that are passed once for each batch, not for each event.
const BATCH_STEPS: [&str; 10] = [
    "fanout.inside",
    "fanout.committed",
    "claim.committed",
    "settle.inside",
    "settle.committed",
    "accept.begin",
    "accept.inside",
    "accept.committed",
    "project.inside",
    "project.between",
];

/// The processes of a run, and the number of kills and writes.
#[derive(Clone, Copy, Debug)]
pub struct Scenario {
    /// Deaths in all.
    pub kills: u64,
    /// Writes in all.
    pub events: u64,
    /// Of everything that is drawn.
    pub seed: u64,
    /// Processes of each service.
    pub replicas: usize,
    /// Whether the database is a server that can be killed; otherwise it is files that can be locked.
    pub has_server: bool,
    /// A bug that is to be found.
    pub bug: Option<Bug>,
}

/// How a life ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// Killed from outside.
    Killed,
    /// Killed while answers are on their way to it (F3).
    Unanswered,
    /// By itself, at a passage of a step.
    AtStep {
        /// Which.
        step: &'static str,
        /// From 1, counted from the start of the process.
        passage: u64,
    },
}

/// One life of a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Life {
    /// The number of answered writes by which it ends.
    pub until: u64,
    /// How.
    pub end: End,
    /// It stands still first, at this many deliveries answered and not settled, for longer than its lease (F40).
    pub pause: Option<u64>,
}

/// The lives of every process but the last of each, which goes on to the end.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// Of each emitter.
    pub emitters: Vec<Vec<Life>>,
    /// Of each receiver.
    pub receivers: Vec<Vec<Life>>,
    /// When the database server is killed, in answered writes.
    pub database: Vec<u64>,
    /// When the receiver's database file is locked for a while.
    pub locks: Vec<u64>,
}

/// How an emitter ends that was paused: soon after the settlement that comes too late. Not with its first one: that may be of
/// deliveries which it had claimed and not sent yet, and gives back.
const SETTLED: End = End::AtStep {
    step: "settle.committed",
    passage: 3,
};

#[derive(Clone, Copy, PartialEq, Eq)]
enum Strike {
    Database,
    Emitter(End),
    Receiver(End),
    /// An emitter that is paused at this delivery, and ends when it has settled what it held.
    Paused(u64),
}

impl Plan {
    /// Draws it.
    pub fn draw(scenario: Scenario) -> Self {
        let mut rng = ChaCha8Rng::seed_from_u64(scenario.seed);
        let strikes = match scenario.bug {
            Some(bug) => decisive(bug, scenario, &mut rng),
            None => strikes(scenario, &mut rng),
        };
        let mut plan = Self {
            emitters: vec![Vec::new(); scenario.replicas],
            receivers: vec![Vec::new(); scenario.replicas],
            ..Self::default()
        };
        let gap = scenario.gap();
        for (number, strike) in (1..).zip(strikes) {
            let until = number * gap + rng.random_range(0..=gap / 2);
            let life = |end| Life {
                until,
                end,
                pause: None,
            };
            let replica = rng.random_range(0..scenario.replicas);
            match strike {
                Strike::Database => plan.database.push(until),
                Strike::Emitter(end) => plan.emitters[replica].push(life(end)),
                Strike::Receiver(end) => plan.receivers[replica].push(life(end)),
                Strike::Paused(passage) => plan.emitters[replica].push(Life {
                    pause: Some(passage),
                    ..life(SETTLED)
                }),
            }
        }
        if !scenario.has_server {
            let locks = scenario.kills.div_ceil(LOCK_SHARE);
            let wanted = matches!(scenario.bug, None | Some(Bug::CacheAsTruth));
            let every = scenario.events / (locks + 1);
            plan.locks
                .extend((1..=locks).filter(|_| wanted).map(|number| number * every));
        }
        plan
    }
}

impl Scenario {
    /// Writes between two kills.
    fn gap(self) -> u64 {
        self.events / (self.kills + 1)
    }

    fn passage(self, step: &str, rng: &mut ChaCha8Rng) -> u64 {
        let most = if BATCH_STEPS.contains(&step) {
            BATCHES_MAX
        } else {
            self.gap().max(1)
        };
        rng.random_range(1..=most)
    }

    fn at(self, step: &'static str, rng: &mut ChaCha8Rng) -> End {
        let passage = self.passage(step, rng);
        End::AtStep { step, passage }
    }
}

fn strikes(scenario: Scenario, rng: &mut ChaCha8Rng) -> Vec<Strike> {
    let database = if scenario.has_server {
        (scenario.kills / DATABASE_SHARE).max(DATABASE_MIN.min(scenario.kills / 2))
    } else {
        0
    };
    let services = scenario.kills - database;
    let pauses = if scenario.replicas > 1 {
        services.div_ceil(PAUSE_SHARE)
    } else {
        0
    };
    let every_step = (steps::EMITTER.len() + steps::RECEIVER.len() + 1) as u64;
    let at_steps = (services / 2).max(every_step).min(services - pauses);
    let mut strikes =
        vec![Strike::Database; usize::try_from(database).expect("kills are counted in thousands")];
    while (strikes.len() as u64) < database + at_steps {
        let emitter = steps::EMITTER
            .iter()
            .map(|(step, _)| Strike::Emitter(scenario.at(step, rng)));
        let mut round: Vec<Strike> = emitter.collect();
        let receiver = steps::RECEIVER
            .iter()
            .map(|(step, _)| Strike::Receiver(scenario.at(step, rng)));
        round.extend(receiver);
        round.push(Strike::Emitter(End::Unanswered));
        round.shuffle(rng);
        let room = usize::try_from(database + at_steps).unwrap_or(usize::MAX) - strikes.len();
        strikes.extend(round.into_iter().take(room));
    }
    for number in 0..services - at_steps {
        strikes.push(match rng.random_bool(0.5) {
            _ if number < pauses => Strike::Paused(rng.random_range(1..=PAUSED_BY)),
            true => Strike::Emitter(End::Killed),
            false => Strike::Receiver(End::Killed),
        });
    }
    strikes.shuffle(rng);
    // A pause comes first: later ones may find the writes over, since each life begins when the one before it has ended.
    if let Some(pause) = strikes
        .iter()
        .position(|strike| matches!(strike, Strike::Paused(_)))
    {
        strikes.swap(0, pause);
    }
    // After the last kill few writes are left, which could be over before the database is back: then nobody would see whether
    // they go on.
    if strikes.last() == Some(&Strike::Database)
        && let Some(other) = strikes.iter().rposition(|strike| *strike != Strike::Database)
    {
        let last = strikes.len() - 1;
        strikes.swap(other, last);
    }
    strikes
}

/// The kills that reveal a bug.
fn decisive(bug: Bug, scenario: Scenario, rng: &mut ChaCha8Rng) -> Vec<Strike> {
    let strike = |_| match bug {
        Bug::AckBeforeCommit => Strike::Receiver(scenario.at("accept.begin", rng)),
        Bug::MarkBeforeProcessing => Strike::Receiver(scenario.at("project.inside", rng)),
        Bug::PlaceBeforeQueue => Strike::Emitter(scenario.at("fanout.committed", rng)),
        Bug::CacheAsTruth => Strike::Database,
        // Its first delivery: it has settled nothing before.
        Bug::MissingFence => Strike::Paused(1),
    };
    let strikes = (0..scenario.kills).map(strike);
    // Without a server its files are locked instead, and without a second emitter there is nobody to take over.
    let possible = |strike: &Strike| match strike {
        Strike::Database => scenario.has_server,
        Strike::Paused(_) => scenario.replicas > 1,
        Strike::Emitter(_) | Strike::Receiver(_) => true,
    };
    strikes.filter(possible).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scenario(kills: u64, replicas: usize, has_server: bool) -> Scenario {
        Scenario {
            kills,
            events: kills * 500,
            seed: 7,
            replicas,
            has_server,
            bug: None,
        }
    }

    fn ends(lives: &[Vec<Life>]) -> Vec<End> {
        lives.iter().flatten().map(|life| life.end).collect()
    }

    #[test]
    fn every_step_is_struck_and_every_kill_is_made() {
        for (kills, replicas, has_server) in [(20, 1, false), (20, 2, true), (1_000, 2, true)] {
            let scenario = scenario(kills, replicas, has_server);
            let plan = Plan::draw(scenario);
            let (emitter, receiver) = (ends(&plan.emitters), ends(&plan.receivers));
            let made = emitter.len() + receiver.len() + plan.database.len();
            assert_eq!(made as u64, kills);
            for (steps, ends) in [(&steps::EMITTER[..], &emitter), (&steps::RECEIVER[..], &receiver)] {
                for (step, _) in steps {
                    let struck = |end: &End| matches!(end, End::AtStep { step: at, .. } if at == step);
                    assert!(ends.iter().any(struck), "{step}, {kills} kills");
                }
            }
            assert!(emitter.contains(&End::Unanswered));
            let paused = plan.emitters.iter().flatten().any(|life| life.pause.is_some());
            assert_eq!((paused, plan.locks.is_empty()), (replicas > 1, has_server));
            let lives = plan.emitters.iter().chain(&plan.receivers);
            for lives in lives {
                assert!(lives.is_sorted_by_key(|life| life.until));
                assert!(lives.iter().all(|life| life.until < scenario.events));
            }
        }
    }

    #[test]
    fn a_short_run_kills_the_database_more_than_once() {
        for (kills, of_database) in [(0, 0), (1, 0), (2, 1), (4, 2), (10, 2), (1_000, 100)] {
            assert_eq!(
                Plan::draw(scenario(kills, 2, true)).database.len(),
                of_database,
                "{kills} kills"
            );
            assert!(Plan::draw(scenario(kills, 2, false)).database.is_empty());
        }
    }

    #[test]
    fn the_last_kill_is_never_the_databases() {
        for seed in 0..50 {
            let plan = Plan::draw(Scenario {
                seed,
                ..scenario(10, 2, true)
            });
            let lives = plan.emitters.iter().chain(&plan.receivers).flatten();
            let last = lives.map(|life| life.until).max();
            assert!(plan.database.last() < last.as_ref(), "seed {seed}: {plan:?}");
        }
    }

    #[test]
    fn the_same_seed_draws_the_same_plan() {
        let drawn = Plan::draw(scenario(100, 2, true));
        assert_eq!(drawn, Plan::draw(scenario(100, 2, true)));
        let other = Scenario {
            seed: 8,
            ..scenario(100, 2, true)
        };
        assert_ne!(drawn, Plan::draw(other));
    }
}
