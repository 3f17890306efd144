//! Where an endpoint's deliveries go, how, and what signs them: what a claim read, checked and decrypted.

use super::{parts::DispatcherParts, schedule::Schedule};
use crate::domain::endpoint::EndpointSettings;
use crate::store::{EndpointSecret, Target, env_endpoint, headers_place, secret_place, secret_row};
use contract::{Secret, UnixMillis, id::EndpointId};
use http::{HeaderMap, HeaderName, HeaderValue};
use kit::egress::TargetUrl;
use kit::secrets::MasterKeys;
use std::collections::BTreeMap;
use std::time::Duration;

/// Where deliveries go.
#[derive(Clone)]
pub(super) struct Route {
    /// The version of the endpoint that this is.
    pub(super) version: u64,
    /// The checked address.
    pub(super) url: TargetUrl,
    /// The waits between attempts.
    pub(super) schedule: Schedule,
    /// Whether answers of the class 4xx that are not final may be tried again.
    pub(super) retries_4xx: bool,
    /// One attempt, from connecting to the end of the answer.
    pub(super) timeout: Duration,
    /// Attempts at once.
    pub(super) concurrency: usize,
    /// What the endpoint gets beside our own headers.
    pub(super) headers: HeaderMap,
    secrets: Vec<SigningSecret>,
}

#[derive(Clone)]
struct SigningSecret {
    secret: Secret,
    until: Option<UnixMillis>,
}

/// Why nothing can be sent to an endpoint: for the log. It quotes nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Unusable {
    #[error("its row cannot be read")]
    Row,
    #[error("it has no signing secret")]
    NoSecret,
    #[error(
        "a secret or header of it does not open: another master key encrypted it, or it was changed or moved"
    )]
    Sealed,
}

impl Route {
    /// What a claim read of an endpoint.
    pub(super) fn of(
        parts: &DispatcherParts,
        endpoint: &EndpointId,
        target: &Target,
    ) -> Result<Self, Unusable> {
        let (delivery, keys) = (&parts.delivery, &parts.master_keys);
        let settings = target.settings.as_ref();
        let waits = settings.and_then(EndpointSettings::waits);
        let schedule = waits.map_or_else(|| Ok(delivery.schedule.clone()), Schedule::new);
        let schedule = schedule.map_err(|_| Unusable::Row)?;
        let attempts = settings.and_then(|settings| settings.retry_count);
        let secrets = if *endpoint == env_endpoint() && settings.is_none() {
            let secrets = parts.env_secrets.as_ref().ok_or(Unusable::NoSecret)?;
            let unlimited = secrets.as_slice().iter().cloned();
            unlimited
                .map(|secret| SigningSecret { secret, until: None })
                .collect()
        } else {
            let opened = target.secrets.iter().map(|row| open_secret(keys, endpoint, row));
            opened.collect::<Result<Vec<_>, _>>()?
        };
        let sealed = target.headers.as_deref();
        Ok(Self {
            version: target.version,
            url: target.url.parse().map_err(|_| Unusable::Row)?,
            schedule: match attempts {
                Some(attempts) => schedule.of_attempts(attempts as usize),
                None => schedule,
            },
            retries_4xx: settings.is_none_or(|settings| settings.retry_4xx),
            timeout: settings.map_or(delivery.timeout, |settings| {
                Duration::from_secs(u64::from(settings.timeout_seconds))
            }),
            concurrency: settings.map_or(delivery.concurrency, |settings| settings.max_concurrency as usize),
            headers: sealed.map_or_else(
                || Ok(HeaderMap::new()),
                |sealed| open_headers(keys, endpoint, sealed),
            )?,
            secrets,
        })
    }

    /// The secrets that sign at an instant, the newest first.
    pub(super) fn secrets_at(&self, now: UnixMillis) -> Vec<Secret> {
        let valid = self
            .secrets
            .iter()
            .filter(|one| one.until.is_none_or(|until| now < until));
        valid.map(|one| one.secret.clone()).collect()
    }
}

fn open_secret(
    keys: &MasterKeys,
    endpoint: &EndpointId,
    row: &EndpointSecret,
) -> Result<SigningSecret, Unusable> {
    let opened = keys.open(secret_place(&secret_row(endpoint, &row.id)), &row.sealed);
    let text = opened.ok().and_then(|bytes| String::from_utf8(bytes).ok());
    let secret = text.and_then(|text| text.parse().ok()).ok_or(Unusable::Sealed)?;
    Ok(SigningSecret {
        secret,
        until: row.until,
    })
}

fn open_headers(keys: &MasterKeys, endpoint: &EndpointId, sealed: &[u8]) -> Result<HeaderMap, Unusable> {
    let opened = keys
        .open(headers_place(endpoint), sealed)
        .map_err(|_| Unusable::Sealed)?;
    let headers: BTreeMap<String, String> = serde_json::from_slice(&opened).map_err(|_| Unusable::Sealed)?;
    let read = headers.iter().map(|(name, value)| {
        let name = name.parse::<HeaderName>().map_err(|_| Unusable::Sealed)?;
        let mut value = value.parse::<HeaderValue>().map_err(|_| Unusable::Sealed)?;
        value.set_sensitive(true);
        Ok((name, value))
    });
    read.collect()
}
