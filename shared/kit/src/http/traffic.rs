//! What a listener went through: connections, and answers by route and class of status.
//!
//! The table of routes is fixed when serving begins, so each has counters of its own, and an answer costs one addition.
//! A route is named by its pattern: no path, and with it no id, is ever a label.

use super::route::Pattern;
use crate::metrics::Metrics;
use http::{Method, StatusCode};
use std::sync::{
    Arc,
    atomic::{AtomicU64, AtomicUsize, Ordering},
};

/// Classes of status that an answer has.
const CLASSES: [&str; 4] = ["2xx", "3xx", "4xx", "5xx"];

/// Answers by class of status.
#[derive(Debug, Default)]
pub(super) struct Answers([AtomicU64; CLASSES.len()]);

/// The counters of one listener.
#[derive(Debug, Default)]
pub struct Traffic {
    routes: Vec<(Method, Arc<Pattern>)>,
    /// Answers to what no route matched.
    elsewhere: Answers,
    /// Requests whose client went away before the answer.
    pub(super) gone: AtomicU64,
    open: AtomicUsize,
    accepted: AtomicU64,
    refused: AtomicU64,
}

/// A connection that is open; dropped, it is not.
pub(super) struct Open(Arc<Traffic>);

impl Answers {
    pub(super) fn count(&self, status: StatusCode) {
        let class = usize::from(status.as_u16() / 100).clamp(2, 5) - 2;
        self.0[class].fetch_add(1, Ordering::Relaxed);
    }
}

impl Traffic {
    pub(super) fn of(routes: Vec<(Method, Arc<Pattern>)>) -> Arc<Self> {
        Arc::new(Self {
            routes,
            ..Self::default()
        })
    }

    pub(super) fn answered(&self, route: Option<&Pattern>, status: StatusCode) {
        route
            .map_or(&self.elsewhere, |pattern| &pattern.answers)
            .count(status);
    }

    pub(super) fn accept(self: &Arc<Self>) -> Open {
        self.accepted.fetch_add(1, Ordering::Relaxed);
        self.open.fetch_add(1, Ordering::Relaxed);
        Open(Arc::clone(self))
    }

    pub(super) fn refuse(&self) {
        self.refused.fetch_add(1, Ordering::Relaxed);
    }

    /// Shows all of it.
    pub fn expose(self: &Arc<Self>, metrics: &Metrics) {
        let gauge = |name, help, read: fn(&Self) -> usize| {
            let traffic = Arc::clone(self);
            #[expect(clippy::cast_precision_loss, reason = "connections are far fewer than 2^52")]
            metrics.read_gauge(name, help, &[], move || read(&traffic) as f64);
        };
        gauge("http_connections", "Connections that are open.", |traffic| {
            traffic.open.load(Ordering::Relaxed)
        });
        let counter = |name, help, labels: &[(&'static str, &str)], pick: fn(&Self) -> &AtomicU64| {
            let traffic = Arc::clone(self);
            metrics.read_counter(name, help, labels, move || pick(&traffic).load(Ordering::Relaxed));
        };
        let (name, help) = ("http_connections_total", "Connections, by what became of them.");
        counter(name, help, &[("outcome", "accepted")], |traffic| {
            &traffic.accepted
        });
        counter(name, help, &[("outcome", "refused")], |traffic| &traffic.refused);
        let help = "Requests whose client went away before the answer.";
        counter("http_clients_gone_total", help, &[], |traffic| &traffic.gone);
        for place in (0..self.routes.len()).map(Some).chain([None]) {
            self.expose_route(metrics, place);
        }
    }

    /// The answers of one route, or, without one, of what no route matched.
    fn expose_route(self: &Arc<Self>, metrics: &Metrics, place: Option<usize>) {
        let (method, route) = place.map_or(("", ""), |at| {
            let (method, pattern) = &self.routes[at];
            (method.as_str(), pattern.text.as_str())
        });
        for (class, status) in CLASSES.iter().enumerate() {
            let traffic = Arc::clone(self);
            let labels = [("method", method), ("route", route), ("status", status)];
            let help = "Requests answered, by route and class of status; no route: nothing is there.";
            metrics.read_counter("http_requests_total", help, &labels, move || {
                let answers = place.map_or(&traffic.elsewhere, |at| &traffic.routes[at].1.answers);
                answers.0[class].load(Ordering::Relaxed)
            });
        }
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Ordering::Relaxed);
    }
}
