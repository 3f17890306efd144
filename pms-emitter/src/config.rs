//! The settings, from the environment and the flags, as plain values. Nothing else of this service reads either.

pub use crate::dispatch::DeliveryConfig;
use crate::dispatch::Schedule;
use crate::dispatch::parts::{LEASE_SLACK, LOOK_EVERY, TIMEOUT_SECONDS_MAX};
use crate::domain::guest_document::DigestKey;
use crate::retention::{ByHand, EVENTS_DAYS_MIN, Retention, UNDELIVERED_DAYS_MAX};
use clap::{Args, Parser, Subcommand, ValueEnum, value_parser};
use contract::{SecretList, UnixMillis};
use db::DatabaseUrl;
use kit::access::command::KeysCommand;
use kit::breaker::FAILURES_MAX;
use kit::config::{
    AccessArgs, ConfigError, DatabaseArgs, Defaults, EgressArgs, HttpArgs, LogArgs, MasterKeyArgs, SECRETS,
    parse_or_exit,
};
use kit::egress::TargetUrl;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The defaults of those settings that both services have.
pub const DEFAULTS: Defaults = Defaults {
    port: "4001",
    database_url: "sqlite://data/pms.db",
};

/// The data folder beside a MySQL database; beside a SQLite file it is that file's own.
const DATA_FOLDER: &str = "data";

/// Every setting of a running emitter.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where and how much to serve.
    pub http: HttpArgs,
    /// Who may call.
    pub access: AccessArgs,
    /// Where the tables are.
    pub database: DatabaseUrl,
    /// The keys of the secrets in the tables.
    pub master_key: MasterKeyArgs,
    /// Where events go; none: they are kept, and no delivery is made.
    pub endpoint: Option<EndpointConfig>,
    /// How deliveries are made.
    pub delivery: DeliveryConfig,
    /// Where deliveries may go, but for those to the endpoint of `CRM_WEBHOOK_URL`.
    pub egress: EgressArgs,
    /// How long what was sent is kept.
    pub retention: Retention,
    /// Keys the digests of documents; none: a key of its own is made in `data_folder`.
    pub document_digest_key: Option<DigestKey>,
    /// Where a key that is made here is kept.
    pub data_folder: PathBuf,
}

/// The endpoint of `CRM_WEBHOOK_URL`. Its secrets are kept in memory alone.
#[derive(Clone, Debug)]
pub struct EndpointConfig {
    /// It was set by the operator, so it may be a private address.
    pub url: TargetUrl,
    /// Every request is signed with all of them.
    pub secrets: SecretList,
}

/// The command of the command line.
#[derive(Subcommand, Clone, Debug)]
pub enum Command {
    /// Serve until stopped (the default)
    Serve,
    /// Bring the tables up to date, and end
    Migrate,
    /// Ask the emitter that listens on APP_HOST and APP_PORT whether it can serve, and end with 0 if so, else 1
    Healthcheck,
    /// Make dead deliveries due again, and end
    RetryDead {
        /// Only those that died at this time or later (RFC 3339)
        #[arg(long, value_parser = instant)]
        since: Option<UnixMillis>,
    },
    /// Make the webhook of CRM_WEBHOOK_URL one that the API changes, and end
    Webhooks {
        /// What is done with it
        #[command(subcommand)]
        command: WebhooksCommand,
    },
    /// Encrypt the secrets in the tables again under the first key of MASTER_KEY, and end; an emitter may serve meanwhile
    Rewrap,
    /// Delete what is older than it is kept, and end; an emitter may serve meanwhile, and does the same every hour
    Purge(PurgeArgs),
    /// Make, list or deactivate API keys
    Keys {
        /// What is done with them
        #[command(subcommand)]
        command: KeysCommand,
    },
}

/// What is done with a webhook from the command line.
#[derive(Subcommand, Clone, Copy, Debug)]
pub enum WebhooksCommand {
    /// Keep what CRM_WEBHOOK_URL and CRM_WEBHOOK_SECRET say in the tables: from then on the API changes it, and the variables no more
    Adopt {
        /// env, the only one that there is to adopt
        #[arg(value_enum)]
        webhook: Adopted,
    },
}

/// The webhook of the environment, by its id.
#[derive(ValueEnum, Clone, Copy, Debug)]
pub enum Adopted {
    /// That of CRM_WEBHOOK_URL.
    Env,
}

/// What is asked of a purge.
#[derive(Args, Clone, Copy, Debug)]
pub struct PurgeArgs {
    /// Only count what would be deleted
    #[arg(long)]
    pub dry_run: bool,
    /// Drop dead deliveries too, those that died before this time (RFC 3339)
    #[arg(long, value_name = "TIME", value_parser = instant)]
    pub dead_before: Option<UnixMillis>,
    /// Then make SQLite's file as small as what is in it, while no emitter serves it; on MySQL nothing is done for this
    #[arg(long, conflicts_with = "dry_run")]
    pub vacuum: bool,
}

impl From<PurgeArgs> for ByHand {
    fn from(args: PurgeArgs) -> Self {
        Self {
            dry_run: args.dry_run,
            dead_before: args.dead_before,
        }
    }
}

/// REST API of a hotel's guests and reservations; every change is delivered as one signed event
#[derive(Parser, Debug)]
#[command(name = "pms-emitter", version)]
struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    http: HttpArgs,
    #[command(flatten)]
    access: AccessArgs,
    #[command(flatten)]
    database: DatabaseArgs,
    #[command(flatten)]
    master_key: MasterKeyArgs,
    #[command(flatten)]
    delivery: DeliveryArgs,
    #[command(flatten)]
    egress: EgressArgs,
    #[command(flatten)]
    retention: RetentionArgs,
    /// Keys the digests of guests' documents, the same for emitters whose guests shall match; made in the data folder
    /// when not set
    #[arg(long, env = "DOCUMENT_DIGEST_KEY", hide_env_values = true, help_heading = SECRETS)]
    document_digest_key: Option<DigestKey>,
    #[command(flatten)]
    log: LogArgs,
}

#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Delivery")]
struct DeliveryArgs {
    /// Where events are delivered; without it they are kept, and no delivery is made
    #[arg(long, env = "CRM_WEBHOOK_URL", hide_env_values = true)]
    crm_webhook_url: Option<TargetUrl>,
    /// The secrets that sign, separated by spaces; required with CRM_WEBHOOK_URL
    #[arg(long, env = "CRM_WEBHOOK_SECRET", hide_env_values = true, help_heading = SECRETS)]
    crm_webhook_secret: Option<SecretList>,
    /// The waits before each attempt; after the last one a delivery is dead
    #[arg(long, env = "DELIVERY_RETRY_SCHEDULE", default_value_t = Schedule::default())]
    delivery_retry_schedule: Schedule,
    /// How long one attempt may take
    #[arg(long, env = "DELIVERY_TIMEOUT_SECONDS", default_value_t = 15, value_parser = value_parser!(u64).range(1..=TIMEOUT_SECONDS_MAX))]
    delivery_timeout_seconds: u64,
    /// Attempts at one endpoint at once
    #[arg(long, env = "DELIVERY_CONCURRENCY", default_value_t = 32, value_parser = value_parser!(u16).range(1..=1024))]
    delivery_concurrency: u16,
    /// Consecutive failures that open the circuit breaker; 10 of the last 20 attempts open it too
    #[arg(long, env = "BREAKER_FAILURES", default_value_t = 5, value_parser = value_parser!(u32).range(1..=i64::from(FAILURES_MAX)))]
    breaker_failures: u32,
    /// For how long it opens first
    #[arg(long, env = "BREAKER_OPEN_SECONDS", default_value_t = 1, value_parser = value_parser!(u64).range(1..=60))]
    breaker_open_seconds: u64,
}

#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Retention")]
struct RetentionArgs {
    /// Days for which deliveries, attempts and the body of an event are kept, all deliveries of which are settled
    #[arg(long, env = DELIVERIES, default_value_t = 30, value_parser = value_parser!(u32).range(UNDELIVERED_DAYS))]
    retain_deliveries_days: u32,
    /// Days for which they are kept where a delivery is pending or dead
    #[arg(long, env = "RETAIN_UNDELIVERED_DAYS", default_value_t = 365, value_parser = value_parser!(u32).range(UNDELIVERED_DAYS))]
    retain_undelivered_days: u32,
    /// Days for which events are kept without their bodies, and statistics
    #[arg(long, env = "RETAIN_EVENTS_DAYS", default_value_t = 400, value_parser = value_parser!(u32).range(EVENTS_DAYS))]
    retain_events_days: u32,
}

const DELIVERIES: &str = "RETAIN_DELIVERIES_DAYS";
const UNDELIVERED_DAYS: RangeInclusive<i64> = 1..=UNDELIVERED_DAYS_MAX;
/// Up to ten years.
const EVENTS_DAYS: RangeInclusive<i64> = EVENTS_DAYS_MIN..=3_650;

impl RetentionArgs {
    /// # Errors
    /// When what is delivered would be kept for longer than what is not.
    fn periods(&self) -> Result<Retention, ConfigError> {
        if self.retain_deliveries_days > self.retain_undelivered_days {
            let problem = "what is delivered is kept for no longer than what is not: RETAIN_UNDELIVERED_DAYS";
            return Err(ConfigError::new(DELIVERIES, problem));
        }
        Ok(Retention {
            deliveries_days: self.retain_deliveries_days,
            undelivered_days: self.retain_undelivered_days,
            events_days: self.retain_events_days,
        })
    }
}

/// Reads `.env`, the environment and the flags; a wrong setting ends the process with a sentence and exit code 2.
pub fn read_or_exit() -> (Command, Config, LogArgs) {
    let cli: Cli = parse_or_exit(DEFAULTS);
    match cli.config() {
        Ok(config) => (cli.command.unwrap_or(Command::Serve), config, cli.log),
        Err(error) => error.exit(),
    }
}

impl Cli {
    fn config(&self) -> Result<Config, ConfigError> {
        let delivery = &self.delivery;
        let endpoint = match (&delivery.crm_webhook_url, &delivery.crm_webhook_secret) {
            (None, _) => None,
            (Some(url), Some(secrets)) => Some(EndpointConfig {
                url: url.clone().by_operator(),
                secrets: secrets.clone(),
            }),
            (Some(_), None) => {
                return Err(ConfigError::new(
                    "CRM_WEBHOOK_SECRET",
                    "it is required with CRM_WEBHOOK_URL, and not set",
                ));
            }
        };
        let database = self.database.url(DEFAULTS)?;
        if matches!(
            self.command,
            None | Some(Command::Serve | Command::Rewrap | Command::Webhooks { .. })
        ) {
            self.master_key.check(&database)?;
        }
        let folder = database.sqlite_folder();
        Ok(Config {
            http: self.http.clone(),
            access: self.access.clone(),
            master_key: self.master_key.clone(),
            document_digest_key: self.document_digest_key.clone(),
            data_folder: folder.unwrap_or(Path::new(DATA_FOLDER)).to_owned(),
            database,
            endpoint,
            egress: self.egress.clone(),
            retention: self.retention.periods()?,
            delivery: DeliveryConfig {
                schedule: delivery.delivery_retry_schedule.clone(),
                timeout: Duration::from_secs(delivery.delivery_timeout_seconds),
                concurrency: usize::from(delivery.delivery_concurrency),
                breaker_failures: delivery.breaker_failures,
                breaker_open: Duration::from_secs(delivery.breaker_open_seconds),
                look_every: LOOK_EVERY,
                lease_slack: LEASE_SLACK,
            },
        })
    }
}

fn instant(text: &str) -> Result<UnixMillis, &'static str> {
    UnixMillis::parse_rfc3339(text).ok_or("it must be an RFC 3339 time, such as 2026-03-14T09:26:53Z")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_beyond_what_opens_the_breaker_anyway_are_refused() {
        let parse = |failures: u32| {
            Cli::try_parse_from([
                "pms-emitter",
                "--app-port",
                "0",
                "--breaker-failures",
                &failures.to_string(),
            ])
        };
        assert_eq!(parse(FAILURES_MAX).unwrap().delivery.breaker_failures, 10);
        assert!(parse(FAILURES_MAX + 1).is_err());
    }
}
