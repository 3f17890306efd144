//! The bare endpoint: a warp route that reads the body and answers 202, served as the services serve theirs.
//!
//! The same hyper settings, the same path, the same process of its own; no signature, no parsing, no database. What
//! it reaches is what this machine, this generator and HTTP leave to a receiver.

use anyhow::Result;
use api::ServeSettings;
use bytes::Bytes;
use harness::process::READY;
use http::StatusCode;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::TcpListener;
use warp::Filter;

/// Serves until the process ends, after a line on standard output that says where.
///
/// # Errors
/// When it cannot listen.
pub async fn serve() -> Result<()> {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
    println!("{READY}{}", listener.local_addr()?);
    // The path of `template::PATH`.
    let route = warp::path!("api" / "v1" / "webhooks" / "pms")
        .and(warp::post())
        .and(warp::body::bytes())
        .map(|_: Bytes| StatusCode::ACCEPTED);
    let limits = ServeSettings::default();
    let service = TowerToHyperService::new(warp::service(route));
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            continue;
        };
        let limits = limits.clone();
        tokio::spawn(async move {
            // As kit's accept loop does. A connection that fails is the generator's to count.
            let _ = stream.set_nodelay(true);
            let _ = http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(limits.header_read_timeout)
                .max_headers(limits.headers_max)
                .max_buf_size(limits.buffer_bytes_max)
                .serve_connection(TokioIo::new(stream), service)
                .await;
        });
    }
}
