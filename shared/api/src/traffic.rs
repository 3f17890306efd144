//! Counters of one listener: connections, and answers by route and class of status.
//!
//! The table of routes is fixed when serving begins, so each has counters of its own, and an answer costs one addition.
//! A route is named by its pattern: no path, and with it no id, is ever a label.

use http::{Method, StatusCode};
use prometheus::{IntCounter, IntGauge, Opts, Registry, core::Collector};
use std::sync::Arc;

/// Classes of status that an answer has.
const CLASSES: [&str; 4] = ["2xx", "3xx", "4xx", "5xx"];

/// Answers of one route by class of status. Clones count together.
#[derive(Clone, Debug)]
pub(super) struct Answers([IntCounter; CLASSES.len()]);

/// The counters of one listener.
#[derive(Debug)]
pub struct Traffic {
    routes: Vec<Answers>,
    /// Answers to what no route matched.
    unmatched: Answers,
    /// Requests whose client went away before the answer.
    pub(super) gone: IntCounter,
    open: IntGauge,
    accepted: IntCounter,
    refused: IntCounter,
}

/// A connection that is open; dropped, it is not.
pub(super) struct Open(Arc<Traffic>);

impl Answers {
    pub(super) fn of_route(method: &Method, route: &str) -> Self {
        Self::labelled(method.as_str(), route)
    }

    fn labelled(method: &str, route: &str) -> Self {
        let help = "Requests answered, by route and class of status; no route: nothing is there.";
        Self(CLASSES.map(|status| {
            let opts = Opts::new("http_requests_total", help)
                .const_label("method", method)
                .const_label("route", route)
                .const_label("status", status);
            counter(opts)
        }))
    }

    fn count(&self, status: StatusCode) {
        let class = usize::from(status.as_u16() / 100).clamp(2, 5) - 2;
        self.0[class].inc();
    }
}

impl Traffic {
    pub(super) fn of(routes: Vec<Answers>) -> Arc<Self> {
        let connections = |outcome| {
            let opts = Opts::new("http_connections_total", "Connections, by what became of them.");
            counter(opts.const_label("outcome", outcome))
        };
        let open = IntGauge::new("http_connections", "Connections that are open.");
        Arc::new(Self {
            routes,
            unmatched: Answers::labelled("", ""),
            gone: counter(Opts::new(
                "http_clients_gone_total",
                "Requests whose client went away before the answer.",
            )),
            open: open.expect("the name stands in the code"),
            accepted: connections("accepted"),
            refused: connections("refused"),
        })
    }

    pub(super) fn answered(&self, route: Option<&Answers>, status: StatusCode) {
        route.unwrap_or(&self.unmatched).count(status);
    }

    pub(super) fn accept(self: &Arc<Self>) -> Open {
        self.accepted.inc();
        self.open.inc();
        Open(Arc::clone(self))
    }

    pub(super) fn refuse(&self) {
        self.refused.inc();
    }

    /// Registers the counters as `http_*`.
    ///
    /// # Panics
    /// When the registry has such names already: one registry shows one listener.
    pub fn register(&self, registry: &Registry) {
        let add = |collector: Box<dyn Collector>| {
            let registered = registry.register(collector);
            registered.expect("a registry shows one listener");
        };
        add(Box::new(self.open.clone()));
        for counter in [&self.gone, &self.accepted, &self.refused] {
            add(Box::new(counter.clone()));
        }
        for Answers(classes) in self.routes.iter().chain([&self.unmatched]) {
            classes.iter().for_each(|counter| add(Box::new(counter.clone())));
        }
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.open.dec();
    }
}

fn counter(opts: Opts) -> IntCounter {
    IntCounter::with_opts(opts).expect("names and labels stand in the code")
}
