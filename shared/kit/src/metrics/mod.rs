//! Metrics: what a service counts as it works, as the Prometheus text format 0.0.4.
//!
//! Each running service has a [`Metrics`] of its own, handed to whatever counts: a recorder of the whole process would mix
//! the services that tests run in one. Who counts holds its counters and adds to them without a lock or a look-up; what
//! others keep anyway is read when it is asked for. [`page`] serves it on a listener of its own. Labels have fixed values,
//! never anything that a client or a guest chose.

pub mod page;
mod process;
mod text;
mod value;

pub use value::{Counter, Histogram};

use futures::future::{BoxFuture, join_all};
use std::{
    collections::BTreeMap,
    fmt,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

/// Names and values of the labels of one series.
pub type Labels<'l> = &'l [(&'static str, &'l str)];

/// Upper ends of the buckets for waits of a request or a transaction, in seconds.
pub const SECONDS: &[f64] = &[
    0.000_5, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0,
];

/// What is not known at present: the database did not say.
const UNKNOWN: u64 = u64::MAX;

/// The metrics of one running service.
///
/// Invariant: a name has one type and one help text; no name stands twice with the same labels.
pub struct Metrics {
    prefix: &'static str,
    families: Mutex<BTreeMap<String, Family>>,
    refreshers: Vec<Refresher>,
}

type Refresher = Box<dyn Fn() -> BoxFuture<'static, ()> + Send + Sync>;

/// All series of one name.
struct Family {
    help: &'static str,
    kind: &'static str,
    /// By their labels, as they are written.
    series: BTreeMap<String, Series>,
}

/// Where the value of one series comes from.
enum Series {
    Counted(Counter),
    Observed(Histogram),
    CountRead(Box<dyn Fn() -> u64 + Send + Sync>),
    LevelRead(Box<dyn Fn() -> f64 + Send + Sync>),
}

impl Metrics {
    /// Those of a service whose names begin with `prefix`: what it is built from, and what its process takes.
    pub fn new(prefix: &'static str, version: &str) -> Self {
        let metrics = Self {
            prefix,
            families: Mutex::default(),
            refreshers: Vec::new(),
        };
        let help = "Always 1; the label says which version runs.";
        metrics.read_gauge("build_info", help, &[("version", version)], || 1.0);
        process::expose(&metrics);
        metrics
    }

    /// A counter; its name ends in `_total`.
    ///
    /// # Panics
    /// As all of these: when the name stands twice with the same labels, or with another type or help text: names are
    /// code.
    pub fn counter(&self, name: &str, help: &'static str, labels: Labels<'_>) -> Counter {
        let counter = Counter::default();
        self.add(name, help, labels, Series::Counted(counter.clone()));
        counter
    }

    /// A histogram with these upper ends of its buckets, ascending; its name ends in its unit.
    ///
    /// # Panics
    /// As [`Metrics::counter`].
    pub fn histogram(
        &self,
        name: &str,
        help: &'static str,
        labels: Labels<'_>,
        bounds: &'static [f64],
    ) -> Histogram {
        let histogram = Histogram::new(bounds);
        self.add(name, help, labels, Series::Observed(histogram.clone()));
        histogram
    }

    /// A counter that somebody else keeps, read at each scrape; its name ends in `_total`.
    ///
    /// # Panics
    /// As [`Metrics::counter`].
    pub fn read_counter(
        &self,
        name: &str,
        help: &'static str,
        labels: Labels<'_>,
        read: impl Fn() -> u64 + Send + Sync + 'static,
    ) {
        self.add(name, help, labels, Series::CountRead(Box::new(read)));
    }

    /// A gauge, read at each scrape; its name ends in its unit or in what it counts.
    ///
    /// # Panics
    /// As [`Metrics::counter`].
    pub fn read_gauge(
        &self,
        name: &str,
        help: &'static str,
        labels: Labels<'_>,
        read: impl Fn() -> f64 + Send + Sync + 'static,
    ) {
        self.add(name, help, labels, Series::LevelRead(Box::new(read)));
    }

    /// A gauge whose value takes a question to the database: asked at the beginning of each scrape, which waits for it, so
    /// `ask` has a deadline. `NaN` when it answers None.
    ///
    /// # Panics
    /// As [`Metrics::counter`].
    pub fn ask_gauge<F>(
        &mut self,
        name: &str,
        help: &'static str,
        ask: impl Fn() -> F + Send + Sync + 'static,
    ) where
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
        let mut text = String::new();
        for (name, family) in &*self.families.lock().unwrap_or_else(PoisonError::into_inner) {
            text::family(&mut text, name, family.help, family.kind);
            for (labels, series) in &family.series {
                match series {
                    Series::Counted(counter) => text::sample(&mut text, name, labels, counter.get()),
                    Series::CountRead(read) => text::sample(&mut text, name, labels, read()),
                    Series::LevelRead(read) => text::sample(&mut text, name, labels, read()),
                    Series::Observed(histogram) => {
                        text::histogram(&mut text, name, labels, &histogram.observed());
                    }
                }
            }
        }
        text
    }

    fn add(&self, name: &str, help: &'static str, labels: Labels<'_>, series: Series) {
        let kind = match series {
            Series::Counted(_) | Series::CountRead(_) => "counter",
            Series::LevelRead(_) => "gauge",
            Series::Observed(_) => "histogram",
        };
        let mut families = self.families.lock().unwrap_or_else(PoisonError::into_inner);
        let family = families
            .entry(format!("{}_{name}", self.prefix))
            .or_insert_with(|| Family {
                help,
                kind,
                series: BTreeMap::new(),
            });
        assert_eq!((family.help, family.kind), (help, kind), "{name} is one thing");
        let twice = family.series.insert(text::labels(labels), series);
        assert!(twice.is_none(), "{name} stands once with {labels:?}");
    }
}

impl fmt::Debug for Metrics {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Metrics").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
