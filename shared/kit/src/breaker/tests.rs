//! Time is tokio's, paused and moved by hand.

use super::*;
use contract::SeededEntropy;
use std::sync::atomic::{AtomicI64, Ordering};
use tokio::time::advance;

const PROBE_DEADLINE: Duration = Duration::from_secs(15);
const SETTINGS: BreakerSettings = BreakerSettings {
    failures: FAILURES,
    open_first: OPEN_FIRST,
    open_max: OPEN_MAX,
    ramp_limit: 8,
    probes: Probes::Own {
        deadline: PROBE_DEADLINE,
    },
};
/// Longer than any first open period, jitter included.
const PAST_FIRST: Duration = Duration::from_millis(1_250);

struct HandClock(AtomicI64);

impl Clock for HandClock {
    fn now(&self) -> UnixMillis {
        UnixMillis(self.0.fetch_add(1, Ordering::SeqCst))
    }
}

struct World {
    breaker: Breaker,
    history: Arc<Mutex<Vec<Change>>>,
}

fn world() -> World {
    let history = Arc::new(Mutex::new(Vec::new()));
    let written = Arc::clone(&history);
    let on_change: OnChange = Arc::new(move |change| written.lock().unwrap().push(change.clone()));
    let clock = Arc::new(HandClock(AtomicI64::new(1_000)));
    World {
        breaker: Breaker::new(SETTINGS, clock, Arc::new(SeededEntropy::new(1)), on_change),
        history,
    }
}

impl World {
    fn pass(&self) -> Permit {
        match self.breaker.admit() {
            Admit::Pass(permit) => permit,
            _ => panic!("not passed"),
        }
    }

    fn probe(&self) -> Permit {
        match self.breaker.admit() {
            Admit::Probe(permit) => permit,
            _ => panic!("no probe"),
        }
    }

    fn refused(&self) -> Duration {
        match self.breaker.admit() {
            Admit::Refused { until } => until - Instant::now(),
            _ => panic!("not refused"),
        }
    }

    fn state(&self) -> State {
        self.breaker.snapshot().state
    }

    fn open(&self) {
        (0..FAILURES).for_each(|_| self.pass().fail("http_503"));
        assert_eq!(self.state(), State::Open);
    }

    /// Closed again, at the beginning of its ramp.
    async fn reopened(&self) {
        self.open();
        advance(PAST_FIRST).await;
        self.probe().succeed();
        assert_eq!(self.state(), State::Closed);
    }

    fn moves(&self) -> Vec<(State, State)> {
        self.history
            .lock()
            .unwrap()
            .iter()
            .map(|change| (change.from, change.to))
            .collect()
    }
}

#[tokio::test(start_paused = true)]
async fn failures_in_a_row_open_it_and_a_success_between_them_does_not() {
    let world = world();
    for _ in 0..2 {
        (1..FAILURES).for_each(|_| world.pass().fail("http_503"));
        world.pass().succeed();
        assert_eq!(world.state(), State::Closed);
    }
    let world = self::world();
    (1..FAILURES).for_each(|_| world.pass().fail("http_503"));
    assert_eq!(world.state(), State::Closed);
    world.pass().fail("timeout");
    assert_eq!(world.state(), State::Open);
    let history = world.history.lock().unwrap();
    assert_eq!((history.len(), history[0].reason.as_ref()), (1, "timeout"));
}

#[tokio::test(start_paused = true)]
async fn half_of_the_last_twenty_open_it() {
    let world = world();
    for failed in 1..=9 {
        world.pass().succeed();
        world.pass().fail("http_500");
        assert_eq!(world.state(), State::Closed, "{failed} of the last 20");
    }
    world.pass().succeed();
    world.pass().fail("http_500");
    assert_eq!(world.state(), State::Open);
}

#[tokio::test(start_paused = true)]
async fn old_failures_leave_the_window() {
    let world = world();
    for _ in 0..100 {
        (0..6).for_each(|_| world.pass().succeed());
        (0..4).for_each(|_| world.pass().fail("http_500"));
        assert_eq!(world.state(), State::Closed, "8 of the last 20 are not half");
    }
}

#[tokio::test(start_paused = true)]
async fn neutral_results_count_as_nothing() {
    let world = world();
    for _ in 0..100 {
        world.pass().neutral();
    }
    (1..FAILURES).for_each(|_| world.pass().fail("http_503"));
    world.pass().neutral();
    assert_eq!(world.state(), State::Closed);
    world.pass().fail("http_503");
    assert_eq!(
        world.state(),
        State::Open,
        "a neutral result does not break the row"
    );
}

#[tokio::test(start_paused = true)]
async fn looking_and_asking_do_not_end_an_open_period() {
    let world = world();
    world.open();
    let period = world.refused();
    assert!(
        (Duration::from_millis(800)..=Duration::from_millis(1_200)).contains(&period),
        "{period:?}"
    );
    advance(period - Duration::from_millis(1)).await;
    assert_eq!(world.refused(), Duration::from_millis(1));
    advance(Duration::from_secs(3600)).await;
    assert_eq!(
        world.state(),
        State::Open,
        "only a call that would go out ends it"
    );
    assert!(world.breaker.snapshot().probe_at.is_some());
    world.probe().succeed();
}

#[tokio::test(start_paused = true)]
async fn exactly_one_probe_goes_out() {
    let world = world();
    world.open();
    advance(PAST_FIRST).await;
    let probe = world.probe();
    for _ in 0..100 {
        assert_eq!(world.refused(), PROBE_DEADLINE);
    }
    probe.succeed();
    use State::{Closed, HalfOpen, Open};
    assert_eq!(
        world.moves(),
        [(Closed, Open), (Open, HalfOpen), (HalfOpen, Closed)]
    );
}

#[test]
fn exactly_one_of_many_threads_gets_the_probe() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .unwrap();
    let world = runtime.block_on(async {
        let world = world();
        world.open();
        advance(PAST_FIRST).await;
        world
    });
    let handle = runtime.handle();
    let barrier = std::sync::Barrier::new(8);
    let ask = || {
        let _inside = handle.enter();
        barrier.wait();
        world.breaker.admit()
    };
    let admitted: Vec<Admit> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..8).map(|_| scope.spawn(ask)).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    let probes = admitted
        .iter()
        .filter(|one| matches!(one, Admit::Probe(_)))
        .count();
    let refused = admitted
        .iter()
        .filter(|one| matches!(one, Admit::Refused { .. }))
        .count();
    assert_eq!((probes, refused), (1, 7));
}

#[tokio::test(start_paused = true)]
async fn a_failed_probe_doubles_the_period_up_to_a_minute() {
    let world = world();
    world.open();
    let mut expected = OPEN_FIRST;
    for _ in 0..10 {
        let period = world.refused();
        let (low, high) = (expected.mul_f64(0.8), expected.mul_f64(1.2).min(OPEN_MAX));
        assert!((low..=high).contains(&period), "{period:?} for {expected:?}");
        advance(period).await;
        world.probe().fail("http_503");
        expected = (expected * 2).min(OPEN_MAX);
    }
    advance(OPEN_MAX).await;
    world.probe().succeed();
    (0..SETTINGS.ramp_limit * 2).for_each(|_| world.pass().succeed());
    world.open();
    assert!(world.refused() < PAST_FIRST, "a close begins the periods afresh");
}

#[tokio::test(start_paused = true)]
async fn a_neutral_probe_leaves_its_place_to_the_next() {
    let world = world();
    world.open();
    advance(PAST_FIRST).await;
    world.probe().neutral();
    assert_eq!(world.state(), State::HalfOpen);
    world.probe().neutral();
    world.probe().succeed();
    assert_eq!(world.state(), State::Closed);
}

#[tokio::test(start_paused = true)]
async fn a_probe_past_its_deadline_has_failed_whatever_it_says_later() {
    let world = world();
    world.open();
    advance(PAST_FIRST).await;
    let late = world.probe();
    advance(PROBE_DEADLINE).await;
    world.refused();
    assert_eq!(world.state(), State::Open);
    late.succeed();
    assert_eq!(world.state(), State::Open);
}

#[tokio::test(start_paused = true)]
async fn a_success_from_before_it_opened_does_not_close_it() {
    let world = world();
    let (before, also_before) = (world.pass(), world.pass());
    world.open();
    advance(PAST_FIRST).await;
    let probe = world.probe();
    before.succeed();
    assert_eq!(world.state(), State::HalfOpen);
    also_before.fail("http_503");
    assert_eq!(world.state(), State::HalfOpen);
    probe.succeed();
    assert_eq!(world.state(), State::Closed);
}

#[tokio::test(start_paused = true)]
async fn a_permit_that_is_dropped_has_failed() {
    let world = world();
    (0..FAILURES).for_each(|_| drop(world.pass()));
    assert_eq!(world.state(), State::Open);
    advance(PAST_FIRST).await;
    drop(world.probe());
    assert_eq!(world.state(), State::Open);
}

#[tokio::test(start_paused = true)]
async fn a_ramp_doubles_with_its_successes_and_ends_at_the_limit() {
    let world = world();
    world.reopened().await;
    for allowed in [1, 2, 4] {
        assert_eq!(world.breaker.snapshot().ramp, Some(allowed));
        let out: Vec<_> = (0..allowed).map(|_| world.pass()).collect();
        assert_eq!(world.refused(), RAMP_PAUSE, "no more than {allowed} at once");
        out.into_iter().for_each(Permit::succeed);
    }
    assert_eq!(world.breaker.snapshot().ramp, None);
    let all: Vec<_> = (0..100).map(|_| world.pass()).collect();
    all.into_iter().for_each(Permit::succeed);
}

#[tokio::test(start_paused = true)]
async fn a_ramp_does_not_climb_on_neutral_results_or_failures() {
    let world = world();
    world.reopened().await;
    world.pass().neutral();
    (1..FAILURES).for_each(|_| world.pass().fail("http_503"));
    assert_eq!(world.breaker.snapshot().ramp, Some(1));
    world.pass().fail("http_503");
    assert_eq!(
        (world.state(), world.breaker.snapshot().ramp),
        (State::Open, None)
    );
}

#[tokio::test(start_paused = true)]
async fn with_claimed_probes_nothing_but_the_claimed_one_goes_out() {
    let mut world = world();
    let settings = BreakerSettings {
        probes: Probes::Claimed,
        ..SETTINGS
    };
    let written = Arc::clone(&world.history);
    world.breaker = Breaker::new(
        settings,
        Arc::new(HandClock(AtomicI64::new(1_000))),
        Arc::new(SeededEntropy::new(1)),
        Arc::new(move |change| written.lock().unwrap().push(change.clone())),
    );
    let before = world.pass();
    world.open();
    advance(Duration::from_secs(3_600)).await;
    assert_eq!(world.refused(), RAMP_PAUSE, "it never makes one itself");
    let first = world.breaker.probe(1);
    world.refused();
    let overtaking = world.breaker.probe(3);
    first.succeed();
    before.succeed();
    assert_eq!(
        world.state(),
        State::HalfOpen,
        "of an overtaken one nothing counts"
    );
    overtaking.fail("http_503");
    let until = world.breaker.snapshot().probe_at.unwrap().0;
    assert!(
        (6_400..=9_700).contains(&(until - 1_000)),
        "the fourth period: {until}"
    );
    // What others have found is followed, and not reported.
    let reported = world.moves().len();
    world.breaker.close();
    assert_eq!(world.breaker.snapshot().ramp, Some(1));
    world.breaker.open();
    assert_eq!((world.state(), world.moves().len()), (State::Open, reported));
}
