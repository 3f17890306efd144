//! One source that sends ten times its share beside others that send little: whether those keep their rate.
//!
//! The others send at a rate that the receiver can take, alone and then beside the greedy one. The receiver's queue is so short
//! that the greedy source is refused, or its connections would wait for their answers and hold it down themselves; and so long
//! that the others' connections alone do not fill what it may not have.

use super::compared::{Compared, Sent};
use super::events::Events;
use super::figures::{LoadFigures, line};
use super::generator::{Load, Pace, Speaker, Speakers};
use super::options::Options;
use super::pool::Pool;
use super::receiver::{Receiver, misplaced};
use super::service::Stage;
use super::sources::make;
use super::watch::{Memory, too_large};
use anyhow::Result;
use harness::config::fresh_secret;
use harness::database::EVENTS_ACCEPTED;
use serde::Serialize;
use std::fmt;
use std::sync::Arc;

/// Sources that send little.
const OTHERS: u32 = 4;
/// What each of them sends, of the top rate.
const OTHER_SHARE: f64 = 0.1;
/// How many times its share the greedy one sends: its share is that of one of all sources in the top rate.
const TIMES: f64 = 10.0;
/// Places of the receiver's queue for each connection of the others: one source has an equal part of half of them beside others.
const PLACES: usize = 4;
/// Answers that ask the greedy source to come back later: the queue is full, or its share of it.
const REFUSALS: [u16; 2] = [503, 429];

/// The others beside a greedy source.
#[derive(Clone, Debug, Serialize)]
pub struct Greedy {
    /// The others, without it and beside it.
    pub others: Compared,
    /// What the greedy one was answered.
    pub greedy: LoadFigures,
    /// MiB resident.
    pub memory_mib: Memory,
}

/// Sends ten times the share of one source over so many connections, beside four others.
///
/// # Errors
/// When the receiver does not start, or the generator fails.
pub async fn greedy(
    stage: &Stage<'_>,
    (load, options): (&Load, &Options),
    (connections, top_rate): (usize, f64),
    faults: &mut Vec<String>,
) -> Result<Greedy> {
    let rate = (top_rate * OTHER_SHARE).max(1.0);
    let greedy_load = Load {
        connections,
        pace: Pace::Open(TIMES * top_rate / f64::from(OTHERS + 1)),
        ..load.clone()
    };
    let load = Load {
        pace: Pace::Open(rate * f64::from(OTHERS)),
        ..load.clone()
    };
    let queue = [("INGEST_QUEUE", (PLACES * load.connections).to_string())];
    let receiver = Receiver::start_with(stage, &queue).await?;
    let events_of = |load: &Load| {
        let rate = load.pace.rate().unwrap_or_default();
        (rate * load.time.as_secs_f64()).ceil() as u64
    };
    let client = receiver.service().client();
    let mut others = Vec::new();
    for number in 1..=OTHERS {
        let (id, secret) = (format!("other-{number}"), fresh_secret());
        make(&client, &id, &secret).await?;
        others.push(Events::new(&id, &secret, options.bodies)?);
    }
    let (id, secret) = ("greedy", fresh_secret());
    make(&client, id, &secret).await?;
    let many = Events::new(id, &secret, options.bodies)?.sign(events_of(&greedy_load))?;
    let each = events_of(&load).div_ceil(u64::from(OTHERS));
    let mut in_turn = || -> Result<_> {
        let pools = others.iter_mut().map(|events| events.sign(each));
        Ok(Arc::new(InTurn(pools.collect::<Result<_>>()?)))
    };
    let (first, second) = (in_turn()?, in_turn()?);
    let requests = each * u64::from(OTHERS);

    let watching = receiver.watch()?;
    let mut alone = Sent::to(&receiver, &load, requests, &first).await?;
    receiver.service().drain(EVENTS_ACCEPTED).await?;
    let (beside, greedy) = tokio::try_join!(
        Sent::to(&receiver, &load, requests, &second),
        Sent::pool(&receiver, &greedy_load, many)
    )?;
    receiver.service().drain(EVENTS_ACCEPTED).await?;
    let (memory_mib, _) = watching.end().await?;
    let inbox = receiver.inbox().await?;
    receiver.end().await?;

    let compared = Compared::new(&alone, &beside);
    let wrong = [&alone, &beside, &greedy].map(|sent| {
        let tally = &sent.measured.tally;
        tally.answers() - tally.good() - REFUSALS.map(|status| tally.of(status)).iter().sum::<u64>()
    });
    let wrong: u64 = wrong.iter().sum();
    if wrong > 0 {
        faults.push(format!("{wrong} answers were neither 2xx nor 429 nor 503"));
    }
    let all = &mut alone.measured.tally;
    for other in [&beside, &greedy] {
        all.add(&other.measured.tally);
    }
    faults.extend(misplaced(all, &inbox));
    faults.extend(too_large("a receiver with a greedy source", memory_mib.peak));
    Ok(Greedy {
        others: compared,
        greedy: greedy.figures,
        memory_mib,
    })
}

/// Requests of several sources, one of each in turn.
struct InTurn(Vec<Arc<Pool>>);

impl Speakers for InTurn {
    type Speaker = Self;

    fn speaker(&self) -> Self {
        Self(self.0.clone())
    }
}

impl Speaker for InTurn {
    fn request(&mut self, number: u64) -> &[u8] {
        let sources = self.0.len() as u64;
        let source = usize::try_from(number % sources).expect("smaller than a length");
        self.0[source].request(number / sources)
    }
}

impl fmt::Display for Greedy {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            out,
            "{OTHERS} sources, and one more with {TIMES} times its share beside them:"
        )?;
        write!(out, "{}", self.others)?;
        line(out, "  the greedy", &self.greedy)?;
        writeln!(out, "    {}", self.memory_mib)
    }
}
