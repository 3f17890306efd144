//! One delivery for each event and endpoint that matched, whatever is created, changed, paused, deleted or killed meanwhile.
//!
//! A model goes through random steps of two replicas on one database, with sinks that listen on sockets: what people do by the
//! API's own use cases, steps of the fan-out that die before or after their commit, claims, attempts and settlements in any order,
//! deaths of those that hold claims, runs, and whole dispatchers. After each step of the fan-out and of a run the deliveries in
//! the table are those of [`oracle`], which knows the rules and no table; at the end, when all is delivered, so is what the sinks
//! have got. Where an endpoint asks for the order of entities, that is held too.
//!
//! A seed that fails is printed; `ONE_DELIVERY_SEEDS=7`, or `7..57`, runs it, or many, instead of the usual ones.

mod attempts;
mod changes;
mod model;
mod oracle;
mod replica;
mod steps;
mod tables;

use crate::case::{Case, Ctx, cases};
use model::{Model, World};
use steps::Seen;

pub fn cases() -> Vec<Case> {
    cases![any_steps_end_in_one_delivery_for_each_event_and_endpoint_that_matched]
}

/// What runs by default, each on tables of its own.
const SEEDS: std::ops::Range<u64> = 1..6;
/// One run of so many begins with more events than one step of anything takes.
const CROWDED_EVERY: u64 = 4;
/// Random steps of one run.
const STEPS: usize = 260;

fn seeds() -> std::ops::Range<u64> {
    #[expect(clippy::disallowed_methods, reason = "a case's own configuration")]
    let Ok(text) = std::env::var("ONE_DELIVERY_SEEDS") else {
        return SEEDS;
    };
    let seed = |text: &str| text.trim().parse::<u64>().unwrap();
    match text.split_once("..") {
        Some((first, end)) => seed(first)..seed(end),
        None => seed(&text)..seed(&text) + 1,
    }
}

async fn any_steps_end_in_one_delivery_for_each_event_and_endpoint_that_matched(ctx: Ctx) {
    let world = World::open(&ctx).await;
    let mut seen = Seen::default();
    let seeds = seeds();
    for seed in seeds.clone() {
        let mut model = Model::begin(&world, seed).await;
        if seed % CROWDED_EVERY == 0 {
            model.crowd().await;
        }
        for _ in 0..STEPS {
            model.step().await;
        }
        model.finish().await;
        seen.add(&model.seen);
        if seed + 1 == seeds.end {
            model.each_fault_is_found().await;
        }
        model.stop().await;
    }
    if seeds == SEEDS {
        assert!(seen.is_all_met(ctx.engine), "{seen:?}");
    } else {
        println!("{seen:?}");
    }
    world.close().await;
}
