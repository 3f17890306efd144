//! Metrics: what a service counts as it works, in the Prometheus text format 0.0.4.
//!
//! Each running service has a [`Metrics`] of its own, handed to whatever counts: a registry of the whole process would
//! mix the services that tests run in one. A part that counts events holds its counters; values that exist elsewhere
//! are read at each scrape. [`page`] serves it on a listener of its own. Labels have fixed values, never anything that
//! a client or a guest chose.

pub mod page;
mod process;
mod reading;

pub use prometheus::{Histogram, IntCounter as Counter};

use futures::future::{BoxFuture, join_all};
use prometheus::{HistogramOpts, Opts, Registry, TextEncoder, core::Collector};
use reading::Reading;
use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

/// Names and values of the labels of one series.
pub type Labels<'l> = &'l [(&'static str, &'l str)];

/// Upper ends of the buckets for waits of a request or a transaction, in seconds.
pub const SECONDS: &[f64] = &[
    0.000_5, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0,
];

/// A value that is unknown at present: the database did not answer.
const UNKNOWN: u64 = u64::MAX;

/// The metrics of one running service.
///
/// Invariant: a name has one type and one help text; no name stands twice with the same labels.
pub struct Metrics {
    registry: Registry,
    refreshers: Vec<Refresher>,
}

type Refresher = Box<dyn Fn() -> BoxFuture<'static, ()> + Send + Sync>;

impl Metrics {
    /// The metrics of a service, whose names begin with `prefix`; build information and process metrics are included.
    pub fn new(prefix: &'static str, version: &str) -> Self {
        let registry = Registry::new_custom(Some(prefix.to_owned()), None);
        let metrics = Self {
            registry: registry.expect("a prefix is not empty"),
            refreshers: Vec::new(),
        };
        let help = "Always 1; the label says which version runs.";
        metrics.read_gauge("build_info", help, &[("version", version)], || 1.0);
        process::expose(&metrics);
        metrics
    }

    /// The registry, for crates that register their own counters.
    pub fn registry(&self) -> &Registry {
        &self.registry
    }

    /// A counter; its name ends in `_total`.
    ///
    /// # Panics
    /// As all of these: when the name stands twice with the same labels, or with another type or help text: names are
    /// code.
    pub fn counter(&self, name: &str, help: &str, labels: Labels<'_>) -> Counter {
        let counter = Counter::with_opts(Opts::new(name, help).const_labels(owned(labels)));
        let counter = counter.expect(VALID);
        self.add(counter.clone());
        counter
    }

    /// A histogram with these upper ends of its buckets, ascending; its name ends in its unit.
    ///
    /// # Panics
    /// As [`Metrics::counter`].
    pub fn histogram(&self, name: &str, help: &str, labels: Labels<'_>, bounds: &[f64]) -> Histogram {
        let opts = HistogramOpts::new(name, help).const_labels(owned(labels));
        let histogram = Histogram::with_opts(opts.buckets(bounds.to_vec())).expect(VALID);
        self.add(histogram.clone());
        histogram
    }

    /// A gauge, read at each scrape; its name ends in its unit or in what it counts.
    ///
    /// # Panics
    /// As [`Metrics::counter`].
    pub fn read_gauge(
        &self,
        name: &str,
        help: &str,
        labels: Labels<'_>,
        read: impl Fn() -> f64 + Send + Sync + 'static,
    ) {
        let opts = Opts::new(name, help).const_labels(owned(labels));
        self.add(Reading::new(&opts, Box::new(read)).expect(VALID));
    }

    /// A gauge whose value needs a query to the database: `ask` runs at the beginning of each scrape, which waits for
    /// it, so it must have a deadline. `NaN` when it answers None.
    ///
    /// # Panics
    /// As [`Metrics::counter`].
    pub fn ask_gauge<F>(&mut self, name: &str, help: &str, ask: impl Fn() -> F + Send + Sync + 'static)
    where
        F: Future<Output = Option<u64>> + Send + 'static,
    {
        let answer = Arc::new(AtomicU64::new(UNKNOWN));
        let kept = Arc::clone(&answer);
        self.refreshers.push(Box::new(move || {
            let (asking, kept) = (ask(), Arc::clone(&kept));
            Box::pin(async move {
                kept.store(asking.await.unwrap_or(UNKNOWN), Ordering::Relaxed);
            })
        }));
        self.read_gauge(name, help, &[], move || match answer.load(Ordering::Relaxed) {
            UNKNOWN => f64::NAN,
            #[expect(clippy::cast_precision_loss, reason = "a count of rows is far below 2^52")]
            known => known as f64,
        });
    }

    /// Everything as text, as of now.
    pub async fn scrape(&self) -> String {
        join_all(self.refreshers.iter().map(|refresh| refresh())).await;
        let text = TextEncoder::new().encode_to_string(&self.registry.gather());
        text.expect("every family has a sample")
    }

    fn add(&self, collector: impl Collector + 'static) {
        let added = self.registry.register(Box::new(collector));
        added.expect("a name stands once with its labels");
    }
}

const VALID: &str = "names and labels stand in the code";

fn owned(labels: Labels<'_>) -> HashMap<String, String> {
    let owned = labels
        .iter()
        .map(|&(name, value)| (name.to_owned(), value.to_owned()));
    owned.collect()
}

#[cfg(test)]
mod tests;
