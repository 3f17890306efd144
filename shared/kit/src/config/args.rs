//! The groups of settings that both services share.

use super::{
    ByteSize, ConfigError,
    host::{MetricsAddr, host},
};
use api::{
    HostList, Hosts, InvalidHostList, ServeSettings,
    body::{BODY_DEADLINE, BYTES_IN_ALL_MIN, BodyLimits, ByteBudget},
    listen, open_files,
};
use clap::{Args, ValueEnum, value_parser};
use futures::future::BoxFuture;
use std::{io, net::SocketAddr};
use tokio::net::TcpListener;
use tracing_subscriber::filter::LevelFilter;

/// Where and how much to serve.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "HTTP")]
pub struct HttpArgs {
    /// The address to listen on
    #[arg(long, env = "APP_HOST", default_value = "127.0.0.1", value_parser = host)]
    pub app_host: String,
    /// The port to listen on; 0 takes a free one
    #[arg(long, env = "APP_PORT")]
    pub app_port: u16,
    /// What every path of the API begins with
    #[arg(long, env = "APP_BASE_PATH", default_value = "/api/v1", value_parser = base_path)]
    pub app_base_path: String,
    /// Names and addresses, besides the loopback's own, under which the API is asked for; without it anything that is not
    /// the loopback's is refused while the service listens on the loopback, and taken otherwise
    #[arg(long, env = "ALLOWED_HOSTS", value_parser = host_list)]
    pub allowed_hosts: Option<HostList>,
    /// Connections at once; further ones are answered 503
    #[arg(long, env = "HTTP_CONNECTIONS", default_value = "10000", value_parser = value_parser!(u32).range(1..=1_000_000))]
    pub http_connections: u32,
    /// Bytes of request bodies and of what they become in memory at once, in all, at most half of them of bodies that come
    /// slowly; beyond them 503
    #[arg(long, env = "HTTP_BODY_BYTES", default_value = "64MiB", value_parser = body_bytes)]
    pub http_body_bytes: ByteSize,
    /// The host:port of GET /metrics, on a listener of its own; without it there is none
    #[arg(long, env = "METRICS_ADDR")]
    pub metrics_addr: Option<MetricsAddr>,
}

impl HttpArgs {
    /// Listens, after raising the limit of open files for the connections. Returns the real address: port 0 becomes a
    /// real one.
    ///
    /// # Errors
    /// When the address cannot be bound: unknown, in use, or not permitted.
    pub fn bind<'b>(&'b self) -> BoxFuture<'b, Result<(TcpListener, SocketAddr), ConfigError>> {
        Box::pin(async move {
            open_files::allow_connections(self.http_connections);
            let listening = listen(&self.app_host, self.app_port).await;
            with_address(listening).map_err(|error| {
                let problem = format!("cannot listen on {}:{}: {error}", self.app_host, self.app_port);
                ConfigError::new("APP_HOST, APP_PORT", problem)
            })
        })
    }

    /// Listens for requests for metrics, if that is configured.
    ///
    /// # Errors
    /// As [`HttpArgs::bind`].
    pub async fn bind_metrics(&self) -> Result<Option<(TcpListener, SocketAddr)>, ConfigError> {
        let Some(MetricsAddr(address)) = &self.metrics_addr else {
            return Ok(None);
        };
        let refused =
            |error| ConfigError::new("METRICS_ADDR", format!("cannot listen on {address}: {error}"));
        let listening = TcpListener::bind(address).await;
        with_address(listening).map(Some).map_err(refused)
    }

    /// The hosts under which a service that listens on `address` answers.
    pub fn hosts(&self, address: SocketAddr) -> Hosts {
        Hosts::of(address, self.allowed_hosts.as_ref())
    }

    /// The limits of the accept loop.
    pub fn serve_settings(&self) -> ServeSettings {
        let connections_max = usize::try_from(self.http_connections).unwrap_or(usize::MAX);
        ServeSettings {
            connections_max,
            ..ServeSettings::default()
        }
    }

    /// The limits of bodies, with a new budget.
    pub fn body_limits(&self) -> BodyLimits {
        BodyLimits {
            budget: ByteBudget::new(self.http_body_bytes.0),
            deadline: BODY_DEADLINE,
        }
    }
}

fn with_address(listening: io::Result<TcpListener>) -> io::Result<(TcpListener, SocketAddr)> {
    let listener = listening?;
    let address = listener.local_addr()?;
    Ok((listener, address))
}

fn host_list(text: &str) -> Result<HostList, InvalidHostList> {
    text.parse()
}

/// At least [`BYTES_IN_ALL_MIN`].
fn body_bytes(text: &str) -> Result<ByteSize, String> {
    let size: ByteSize = text.parse().map_err(|error| format!("{error}"))?;
    if size.0 >= BYTES_IN_ALL_MIN {
        Ok(size)
    } else {
        Err(format!("it must be at least {}", ByteSize(BYTES_IN_ALL_MIN)))
    }
}

/// `/api/v1` with or without a slash at its end; `/` is the root.
fn base_path(text: &str) -> Result<String, &'static str> {
    let path = text.trim_end_matches('/');
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b'~');
    let segments = path.split('/').skip(1);
    let valid =
        path.is_empty() || path.starts_with('/') && segments.clone().all(|segment| !segment.is_empty());
    if valid && segments.clone().all(|segment| segment.bytes().all(plain)) {
        Ok(path.to_owned())
    } else {
        Err("it must begin with / and hold letters, digits and -_.~ between slashes")
    }
}

/// What is logged, and how.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Logs")]
pub struct LogArgs {
    /// error, warn, info, debug or trace, or directives such as info,kit=debug
    #[arg(long, env = "LOG_LEVEL", default_value = "info", value_parser = directives)]
    pub log_level: String,
    /// For people or for machines
    #[arg(long, env = "LOG_FORMAT", default_value = "text", ignore_case = true)]
    pub log_format: LogFormat,
}

/// The shape of a log line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// One line of text.
    Text,
    /// One JSON object.
    Json,
}

/// A bare word that is no level would be read as a target, which silences all others.
fn directives(text: &str) -> Result<String, &'static str> {
    let is_level = |word: &str| !word.trim().is_empty() && word.trim().parse::<LevelFilter>().is_ok();
    let meant = text.split(',').all(|item| item.contains('=') || is_level(item));
    match tracing_subscriber::EnvFilter::try_new(text) {
        Ok(_) if meant => Ok(text.to_owned()),
        _ => Err("it must be a level, or a list of target=level"),
    }
}
