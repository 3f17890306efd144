//! `GET /metrics`, on a listener of its own, never on the API's port.

use super::Metrics;
use crate::{
    config::{ConfigError, HttpArgs},
    lifecycle::Lifecycle,
};
use api::{Access, Request, Response, Router, ServeSettings, Server, body::BodyLimits, get, reply, serve};
use contract::Ids;
use contract::Problem;
use futures::future::BoxFuture;
use http::StatusCode;
use std::{net::SocketAddr, sync::Arc};
use tokio::net::TcpListener;

/// Connections at once: a few scrapers and a person.
const CONNECTIONS_MAX: usize = 16;
/// The text format's media type.
const MEDIA_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// A page that is bound to its port.
pub struct MetricsPage {
    listener: TcpListener,
    address: SocketAddr,
    server: Server,
}

impl MetricsPage {
    /// Listens on METRICS_ADDR; None without it.
    ///
    /// # Errors
    /// When the address cannot be bound, as a sentence for the operator.
    pub fn open<'a>(
        args: &'a HttpArgs,
        metrics: Metrics,
        ids: Ids,
    ) -> BoxFuture<'a, Result<Option<Self>, ConfigError>> {
        Box::pin(async move {
            let Some((listener, address)) = args.bind_metrics().await? else {
                return Ok(None);
            };
            let router = Router::new().mount(
                "",
                vec![get("/metrics", Access::Public, &Arc::new(metrics), show)],
            );
            Ok(Some(Self {
                listener,
                address,
                server: Server::new(router, ids, BodyLimits::default()),
            }))
        })
    }

    /// Where it listens; the real port when it was asked for port 0.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Serves until a stop.
    pub fn serve(self, lifecycle: Lifecycle) -> BoxFuture<'static, ()> {
        Box::pin(async move {
            let settings = ServeSettings {
                connections_max: CONNECTIONS_MAX,
                ..ServeSettings::default()
            };
            serve(self.listener, self.server, settings, lifecycle.signal()).await;
        })
    }
}

/// `GET /metrics`
async fn show(metrics: Arc<Metrics>, _: Request) -> Result<Response, Problem> {
    let text = metrics.scrape().await;
    Ok(reply::bytes_of(StatusCode::OK, MEDIA_TYPE, text.into_bytes()))
}
