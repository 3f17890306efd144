//! A load alone and the same load beside something else, in one run: what is left of its rate, and how much longer its
//! answers take.

use super::figures::{LoadFigures, line, thousandths};
use super::generator::{Load, Measured, Speakers};
use super::pool::Pool;
use super::receiver::Receiver;
use super::watch::cpu_seconds;
use anyhow::Result;
use serde::Serialize;
use std::fmt;
use std::sync::Arc;

/// The least latency that is divided by, in milliseconds: a histogram's unit.
const LATENCY_MS_MIN: f64 = 0.001;

/// A load that was sent, and its figures.
#[derive(Clone, Debug)]
pub struct Sent {
    /// The answers.
    pub measured: Measured,
    /// The same as figures.
    pub figures: LoadFigures,
}

/// The same load twice.
#[derive(Clone, Debug, Serialize)]
pub struct Compared {
    /// Alone.
    pub alone: LoadFigures,
    /// Beside something else.
    pub beside: LoadFigures,
    /// The rate of 2xx beside it, by the rate alone.
    pub rate_ratio: f64,
    /// The 99th percentile of 2xx beside it, by that alone.
    pub p99_ratio: f64,
}

impl Sent {
    /// Sends each request of a pool once.
    ///
    /// # Errors
    /// As `to`.
    pub async fn pool(receiver: &Receiver, load: &Load, pool: Arc<Pool>) -> Result<Self> {
        Self::to(receiver, load, pool.len(), &Arc::new(pool)).await
    }

    /// Sends a load to a receiver, whose backlog is left as it is.
    ///
    /// # Errors
    /// When the generator fails.
    pub async fn to<S: Speakers>(
        receiver: &Receiver,
        load: &Load,
        requests: u64,
        speakers: &Arc<S>,
    ) -> Result<Self> {
        let used = cpu_seconds(std::process::id())?;
        let measured = receiver.generate(load, requests, speakers).await?;
        let used = cpu_seconds(std::process::id())? - used;
        Ok(Self {
            figures: LoadFigures::new(&measured, load.pace.rate(), load.connections, used),
            measured,
        })
    }
}

impl Compared {
    /// Of the same load, sent twice.
    pub fn new(alone: &Sent, beside: &Sent) -> Self {
        let p99 = |sent: &Sent| sent.measured.tally.good_percentiles().p99;
        Self {
            rate_ratio: thousandths(beside.measured.rate() / alone.measured.rate().max(f64::EPSILON)),
            p99_ratio: thousandths(p99(beside) / p99(alone).max(LATENCY_MS_MIN)),
            alone: alone.figures.clone(),
            beside: beside.figures.clone(),
        }
    }
}

impl fmt::Display for Compared {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        line(out, "  alone", &self.alone)?;
        line(out, "  beside it", &self.beside)?;
        writeln!(
            out,
            "    {:.3} of the rate alone; p99 of 2xx {:.3} times that alone",
            self.rate_ratio, self.p99_ratio
        )
    }
}
