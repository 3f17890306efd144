//! How both services are configured when they run in a process of the tests: with their own defaults, which are written
//! down here because no environment is read. A test that needs something else changes that field.

use contract::Entropy;
use contract::{Secret, SecretList};
use crm_receiver::ingest::{IngestLimits, seen_cache::SEEN_ENTRIES};
use db::DatabaseUrl;
use kit::config::{AccessArgs, ByteSize, EgressArgs, HttpArgs, MasterKeyArgs};
use kit::random::SystemEntropy;
use pms_emitter::config::{DeliveryConfig, EndpointConfig};
use std::path::PathBuf;
use std::time::Duration;

/// What every path begins with.
pub const BASE_PATH: &str = "/api/v1";
const HTTP_CONNECTIONS: u32 = 10_000;
const HTTP_BODY_BYTES: ByteSize = ByteSize(64 << 20);
/// Of an attempt at a delivery.
pub const DELIVERY_TIMEOUT: Duration = Duration::from_secs(15);
const DELIVERY_CONCURRENCY: usize = 32;
const DELIVERIES_TO_THIS_MACHINE: u16 = 4_096;
const BREAKER_FAILURES: u32 = 5;
const BREAKER_OPEN: Duration = Duration::from_secs(1);
const SKEW_SECONDS_MAX: u32 = 1_800;
/// How much a receiver holds before it is committed.
pub const INGEST_LIMITS: IngestLimits = IngestLimits {
    batch_rows: 256,
    batch_bytes: 4 << 20,
    queue: 8_192,
    seen_entries: SEEN_ENTRIES,
};

/// The master key of every receiver here, since a database is opened several times.
pub const MASTER_KEY: &str = "BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwc=";
/// How long an emitter of tests keeps everything: a hundred years.
const KEPT_DAYS: u32 = 36_500;

/// A random secret, in the form that the environment takes.
pub fn fresh_secret() -> String {
    let mut bytes = [0; 32];
    SystemEntropy.fill(&mut bytes);
    Secret::encode(&bytes)
}

/// A listener on a free port of this machine.
fn http() -> HttpArgs {
    HttpArgs {
        app_host: "127.0.0.1".to_owned(),
        app_port: 0,
        app_base_path: BASE_PATH.to_owned(),
        allowed_hosts: None,
        http_connections: HTTP_CONNECTIONS,
        http_body_bytes: HTTP_BODY_BYTES,
        metrics_addr: None,
    }
}

/// Given, so that also one on MySQL has it.
fn master_key() -> MasterKeyArgs {
    MasterKeyArgs {
        master_key: Some(MASTER_KEY.parse().expect("it is the base64 of 32 bytes")),
    }
}

/// Deliveries may go to this machine, where the receivers of tests listen, all on one address.
fn egress() -> EgressArgs {
    EgressArgs {
        egress_allow: "127.0.0.0/8".parse().expect("it is a network"),
        egress_allow_http: true,
        egress_per_address: DELIVERIES_TO_THIS_MACHINE,
        ..EgressArgs::default()
    }
}

/// An emitter that delivers to `endpoint`, if there is one.
pub fn emitter(database: DatabaseUrl, endpoint: Option<EndpointConfig>) -> pms_emitter::Config {
    let digest_key = fresh_secret().parse().expect("a secret is long enough for a key");
    pms_emitter::Config {
        http: http(),
        access: AccessArgs::default(),
        database,
        master_key: master_key(),
        endpoint,
        delivery: DeliveryConfig {
            schedule: pms_emitter::dispatch::Schedule::default(),
            timeout: DELIVERY_TIMEOUT,
            concurrency: DELIVERY_CONCURRENCY,
            breaker_failures: BREAKER_FAILURES,
            breaker_open: BREAKER_OPEN,
            look_every: pms_emitter::dispatch::parts::LOOK_EVERY,
            lease_slack: pms_emitter::dispatch::parts::LEASE_SLACK,
        },
        egress: egress(),
        // Events of tests are of any time; what is deleted is asked of a purge of the case's own.
        retention: pms_emitter::retention::Retention {
            deliveries_days: KEPT_DAYS,
            undelivered_days: KEPT_DAYS,
            events_days: KEPT_DAYS,
        },
        document_digest_key: Some(digest_key),
        // Nothing is kept in it, since the key is given.
        data_folder: PathBuf::new(),
    }
}

/// A receiver that knows these secrets of `pms`.
pub fn receiver(database: DatabaseUrl, secrets: SecretList) -> crm_receiver::config::Config {
    crm_receiver::config::Config {
        http: http(),
        access: AccessArgs::default(),
        database,
        master_key: master_key(),
        secrets: Some(secrets),
        max_skew_seconds: SKEW_SECONDS_MAX,
        ingest: INGEST_LIMITS,
        retention: crm_receiver::retention::Retention::default(),
        feed: None,
    }
}
