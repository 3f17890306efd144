//! The `healthcheck` command: asks the service of the same configuration whether it can serve.
//!
//! A container's health check runs it, so that no image needs an HTTP client of its own. The question is
//! `GET /health/ready`, which every service answers without its base path too, at the address that the service listens on.

use crate::{
    config::{ConfigError, HttpArgs},
    egress::{Egress, EgressError, EgressSettings, TargetUrl},
};
use futures::future::BoxFuture;
use http::StatusCode;
use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    time::Duration,
};

/// The path that is requested.
const PATH: &str = "/health/ready";
/// How long the answer may take: less than the 5 s after which a request without a database answer fails, and less than
/// the time-out of the container's check.
const ANSWER_WITHIN: Duration = Duration::from_secs(4);

/// Why the service is not known to be ready.
#[derive(Debug, thiserror::Error)]
pub enum Unhealthy {
    /// The address that it listens on is unknown.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The HTTP client cannot be built.
    #[error("the HTTP client cannot be built: {0}")]
    Client(String),
    /// No answer came.
    #[error("{origin}: {error}")]
    Silent {
        /// Scheme, host and port.
        origin: String,
        /// What happened instead.
        error: EgressError,
    },
    /// It answered that it is not ready.
    #[error("{origin}: not ready, it answers {status}")]
    NotReady {
        /// Scheme, host and port.
        origin: String,
        /// Any but 200.
        status: StatusCode,
    },
}

/// Returns once the service of these settings has answered that it can serve.
///
/// # Errors
/// When it does not answer within 4 s, or answers anything but 200.
pub fn healthcheck<'h>(http: &'h HttpArgs) -> BoxFuture<'h, Result<(), Unhealthy>> {
    Box::pin(async move {
        let target = target(http)?.by_operator();
        let egress = Egress::new("healthcheck", EgressSettings::default())
            .map_err(|error| Unhealthy::Client(error.to_string()))?;
        let origin = target.origin();
        match egress.get(&target, ANSWER_WITHIN).await {
            Ok(answered) if answered.status == StatusCode::OK => Ok(()),
            Ok(answered) => Err(Unhealthy::NotReady {
                origin,
                status: answered.status,
            }),
            Err(error) => Err(Unhealthy::Silent { origin, error }),
        }
    })
}

/// A service that listens on every address is asked on the loopback address.
fn target(http: &HttpArgs) -> Result<TargetUrl, ConfigError> {
    if http.app_port == 0 {
        return Err(ConfigError::new(
            "APP_PORT",
            "with 0 nobody knows the port to ask",
        ));
    }
    let host = match http.app_host.parse() {
        Ok(IpAddr::V4(Ipv4Addr::UNSPECIFIED)) => Ok(Ipv4Addr::LOCALHOST.into()),
        Ok(IpAddr::V6(Ipv6Addr::UNSPECIFIED)) => Ok(Ipv6Addr::LOCALHOST.into()),
        other => other,
    };
    let authority = match host {
        Ok(address) => SocketAddr::new(address, http.app_port).to_string(),
        Err(_) => format!("{}:{}", http.app_host, http.app_port),
    };
    format!("http://{authority}{PATH}")
        .parse()
        .map_err(|error| ConfigError::new("APP_HOST", format!("it cannot be asked: {error}")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::ByteSize;

    fn asked(host: &str, port: u16) -> Result<String, ConfigError> {
        let http = HttpArgs {
            app_host: host.to_owned(),
            app_port: port,
            app_base_path: "/api/v1".to_owned(),
            allowed_hosts: None,
            http_connections: 1,
            http_body_bytes: ByteSize(1),
            metrics_addr: None,
        };
        target(&http).map(|target| target.as_str().to_owned())
    }

    #[test]
    fn the_question_goes_to_where_the_service_listens() {
        for (host, expected) in [
            ("127.0.0.1", "http://127.0.0.1:4001/health/ready"),
            ("0.0.0.0", "http://127.0.0.1:4001/health/ready"),
            ("10.1.2.3", "http://10.1.2.3:4001/health/ready"),
            ("::", "http://[::1]:4001/health/ready"),
            ("fd00::1", "http://[fd00::1]:4001/health/ready"),
            ("localhost", "http://localhost:4001/health/ready"),
        ] {
            assert_eq!(asked(host, 4001).unwrap(), expected);
        }
    }

    #[test]
    fn an_address_that_cannot_be_asked_is_named() {
        assert!(
            asked("127.0.0.1", 0)
                .unwrap_err()
                .to_string()
                .starts_with("APP_PORT: ")
        );
        assert!(
            asked("a b", 4001)
                .unwrap_err()
                .to_string()
                .starts_with("APP_HOST: ")
        );
    }
}
