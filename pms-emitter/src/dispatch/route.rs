//! Where an endpoint's deliveries go, how, and what signs them: what a claim read, checked and decrypted.

use super::{parts::DispatcherParts, schedule::Schedule};
use crate::domain::{endpoint::EndpointSettings, payload_shape::PayloadShape};
use crate::store::{EndpointSecret, Target, env_endpoint, headers_place, secret_place, secret_row};
use contract::{
    UnixMillis,
    id::EndpointId,
    scheme::{Key, Outgoing, Preset, SigningKey},
};
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
    /// Whether attempts are counted by the minute, from their claims on.
    pub(super) is_limited: bool,
    /// How much of a payload is sent.
    pub(super) payload: PayloadShape,
    /// How it is signed, and what shape it has.
    pub(super) scheme: Outgoing,
    /// What the endpoint gets beside our own headers.
    pub(super) headers: HeaderMap,
    keys: Vec<ValidKey>,
}

#[derive(Clone)]
struct ValidKey {
    key: SigningKey,
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
        let (delivery, master_keys) = (&parts.delivery, &parts.master_keys);
        let settings = target.settings.as_ref();
        let waits = settings.and_then(EndpointSettings::waits);
        let schedule = waits.map_or_else(|| Ok(delivery.schedule.clone()), Schedule::new);
        let schedule = schedule.map_err(|_| Unusable::Row)?;
        let attempts = settings.and_then(|settings| settings.retry_count);
        let scheme = settings.map_or_else(standard, EndpointSettings::outgoing);
        let keys = if *endpoint == env_endpoint() && settings.is_none() {
            let secrets = parts.env_secrets.as_ref().ok_or(Unusable::NoSecret)?;
            let shared = secrets.as_slice().iter().cloned().map(Key::Shared);
            let key = |key| ValidKey {
                key: SigningKey::Shared(key),
                until: None,
            };
            shared.map(key).collect()
        } else {
            let opened = target
                .secrets
                .iter()
                .map(|row| open_key(master_keys, endpoint, row, &scheme));
            opened.collect::<Result<Vec<_>, _>>()?
        };
        let url: TargetUrl = target.url.parse().map_err(|_| Unusable::Row)?;
        let sealed = target.headers.as_deref();
        Ok(Self {
            version: target.version,
            // The environment's was set by the operator, so its address may be private.
            url: if settings.is_none() {
                url.by_operator()
            } else {
                url
            },
            schedule: match attempts {
                Some(attempts) => schedule.of_attempts(attempts as usize),
                None => schedule,
            },
            retries_4xx: settings.is_none_or(|settings| settings.retry_4xx),
            timeout: settings.map_or(delivery.timeout, |settings| {
                Duration::from_secs(u64::from(settings.timeout_seconds))
            }),
            concurrency: settings.map_or(delivery.concurrency, |settings| settings.max_concurrency as usize),
            is_limited: settings.is_some_and(|settings| settings.rate_limit.is_some()),
            headers: sealed.map_or_else(
                || Ok(HeaderMap::new()),
                |sealed| open_headers(master_keys, endpoint, sealed),
            )?,
            payload: settings.map_or_else(PayloadShape::default, |settings| settings.payload.clone()),
            scheme,
            keys,
        })
    }

    /// The keys that sign at an instant, the newest first.
    pub(super) fn keys_at(&self, now: UnixMillis) -> Vec<SigningKey> {
        let valid = self
            .keys
            .iter()
            .filter(|one| one.until.is_none_or(|until| now < until));
        valid.map(|one| one.key.clone()).collect()
    }
}

fn standard() -> Outgoing {
    Outgoing::of(Preset::StandardWebhooks).expect("the standard scheme is sent")
}

fn open_key(
    master_keys: &MasterKeys,
    endpoint: &EndpointId,
    row: &EndpointSecret,
    scheme: &Outgoing,
) -> Result<ValidKey, Unusable> {
    let opened = master_keys.open(secret_place(&secret_row(endpoint, &row.id)), &row.sealed);
    let text = opened.ok().and_then(|bytes| String::from_utf8(bytes).ok());
    let key = text.and_then(|text| scheme.secret(&text).ok());
    Ok(ValidKey {
        key: key.ok_or(Unusable::Sealed)?,
        until: row.until,
    })
}

fn open_headers(
    master_keys: &MasterKeys,
    endpoint: &EndpointId,
    sealed: &[u8],
) -> Result<HeaderMap, Unusable> {
    let opened = master_keys
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
