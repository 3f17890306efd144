//! Settings: the environment and the flags, read into plain values. Nothing else of this service reads either.

use crate::ingest::{IngestLimits, seen_cache::SEEN_ENTRIES};
use crate::reconcile::{FeedConfig, FeedKey};
use crate::retention::{IDEMPOTENCY_KEYS_DAYS_MIN, Retention};
use clap::{Args, Parser, Subcommand, value_parser};
use contract::{EventId, SecretList};
use db::DatabaseUrl;
use kit::access::{KeyPrefix, command::KeysCommand};
use kit::config::{
    AccessArgs, ByteSize, ConfigError, DatabaseArgs, Defaults, HttpArgs, LogArgs, MasterKeyArgs, SECRETS,
    parse_or_exit,
};
use kit::egress::TargetUrl;
use std::ops::RangeInclusive;

/// The defaults of this service.
pub const DEFAULTS: Defaults = Defaults {
    port: "5001",
    database_url: "sqlite://data/crm.db",
};

/// The largest INGEST_BATCH_BYTES: MariaDB refuses a packet of 16 MiB.
const BATCH_BYTES_MAX: usize = 12 << 20;

/// The settings of a receiver that serves.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where and how much to serve.
    pub http: HttpArgs,
    /// Who may call.
    pub access: AccessArgs,
    /// Where the tables are.
    pub database: DatabaseUrl,
    /// Encrypts the secrets in the tables.
    pub master_key: MasterKeyArgs,
    /// The secrets of the source `pms`, any of which may have signed; without them it is a source like any other.
    pub secrets: Option<SecretList>,
    /// How far the clock of `pms` may be from ours, on both sides.
    pub max_skew_seconds: u32,
    /// The bounds of batches and queues.
    pub ingest: IngestLimits,
    /// How long what was received is kept.
    pub retention: Retention,
    /// The feed of `pms`, with which what is here is compared; none: it is not.
    pub feed: Option<FeedConfig>,
}

/// The command of this run.
#[derive(Debug)]
pub enum Command {
    /// Serve until stopped.
    Serve(Config),
    /// Bring the tables up to date.
    Migrate(DatabaseUrl),
    /// Ask the receiver that serves whether it can.
    Healthcheck(HttpArgs),
    /// Give dead letters back to the projector: one, or all.
    Requeue {
        /// Where the tables are.
        database: DatabaseUrl,
        /// Only this one, by the receiver's own id.
        event: Option<EventId>,
    },
    /// Encrypt the secrets in the tables again, under the first master key.
    Rewrap {
        /// Where the tables are.
        database: DatabaseUrl,
        /// The keys.
        master_key: MasterKeyArgs,
    },
    /// Delete what is old enough.
    Purge {
        /// Where the tables are.
        database: DatabaseUrl,
        /// How old that is.
        retention: Retention,
        /// Whether it is only counted.
        dry_run: bool,
    },
    /// Compare what is here with the feed of `pms`, and take in what is missing.
    Reconcile {
        /// Those of a receiver that serves; there is a feed.
        config: Config,
        /// The place behind which it begins.
        from: Option<i64>,
    },
    /// Make, list or deactivate API keys.
    Keys {
        /// Where the tables are.
        database: DatabaseUrl,
        /// What new keys begin with.
        prefix: KeyPrefix,
        /// What is done.
        command: KeysCommand,
    },
}

/// Takes signed webhooks in, folds them into guest profiles, and answers queries over both
#[derive(Parser, Debug)]
#[command(name = "crm-receiver", version)]
struct Cli {
    #[command(subcommand)]
    command: Option<CommandArgs>,
    #[command(flatten)]
    http: HttpArgs,
    #[command(flatten)]
    access: AccessArgs,
    #[command(flatten)]
    database: DatabaseArgs,
    #[command(flatten)]
    master_key: MasterKeyArgs,
    #[command(flatten)]
    webhooks: WebhookArgs,
    #[command(flatten)]
    retention: RetentionArgs,
    #[command(flatten)]
    feed: FeedArgs,
    #[command(flatten)]
    log: LogArgs,
}

#[derive(Subcommand, Clone, Debug)]
enum CommandArgs {
    /// Serve until stopped (the default)
    Serve,
    /// Bring the tables up to date, and end
    Migrate,
    /// Ask the receiver that listens on APP_HOST and APP_PORT whether it can serve, and end with 0 if so, else 1
    Healthcheck,
    /// Give a dead letter back to the projector, or begin a run over all of them, which the receiver carries out; and end
    Requeue {
        /// Only this one, by the receiver's own event id
        #[arg(long)]
        event: Option<EventId>,
    },
    /// Encrypt the secrets in the tables again under the first key of MASTER_KEY, and end; a receiver may serve meanwhile
    Rewrap,
    /// Delete what is older than it is kept, and end; a receiver may serve meanwhile, and does the same every hour
    Purge {
        /// Only count what would be deleted
        #[arg(long)]
        dry_run: bool,
    },
    /// Compare what is here with the feed at PMS_FEED_URL, take in what is missing, and end: with 0 when nothing is missing, 1 when
    /// something is that cannot be had, 3 when it was not compared to the end; a receiver may serve meanwhile, and does the same
    /// every 10 minutes
    Reconcile {
        /// Compare everything behind this place of the feed again, 0 for all of it; without it goes on where the last run ended
        #[arg(long, value_parser = value_parser!(i64).range(0..))]
        from: Option<i64>,
    },
    /// Make, list or deactivate API keys
    Keys {
        #[command(subcommand)]
        command: KeysCommand,
    },
}

#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Webhooks")]
struct WebhookArgs {
    /// The secrets of the source pms that may sign, separated by spaces; without it pms is a source like any other
    #[arg(long, env = "WEBHOOK_SHARED_SECRET", hide_env_values = true, help_heading = SECRETS)]
    webhook_shared_secret: Option<SecretList>,
    /// How far the sender's clock may be from ours, on both sides
    #[arg(long, env = "WEBHOOK_MAX_SKEW_SECONDS", default_value_t = 1800, value_parser = value_parser!(u32).range(1..=86_400))]
    webhook_max_skew_seconds: u32,
    /// Rows of one batch at most
    #[arg(long, env = "INGEST_BATCH_ROWS", default_value_t = 256, value_parser = value_parser!(u16).range(1..=1024))]
    ingest_batch_rows: u16,
    /// Bytes of bodies in one batch at most
    #[arg(long, env = "INGEST_BATCH_BYTES", default_value = "4MiB", value_parser = batch_bytes)]
    ingest_batch_bytes: ByteSize,
    /// Events that wait for a batch at most; beyond them 503
    #[arg(long, env = "INGEST_QUEUE", default_value_t = 8192, value_parser = value_parser!(u32).range(1..=1_000_000))]
    ingest_queue: u32,
}

#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Retention")]
struct RetentionArgs {
    /// Days for which the body of an event is kept that was applied, stale, ignored or suppressed
    #[arg(long, env = BODIES, default_value_t = 30, value_parser = value_parser!(u32).range(DAYS))]
    retain_bodies_days: u32,
    /// Days for which the body of a dead letter is kept
    #[arg(long, env = DEAD_LETTER_BODIES, default_value_t = 90, value_parser = value_parser!(u32).range(DAYS))]
    retain_dead_letter_bodies_days: u32,
    /// Days for which an event is kept without its body, and a repeat of it is known
    #[arg(long, env = IDEMPOTENCY_KEYS, default_value_t = 400, value_parser = value_parser!(u32).range(KEYS_DAYS))]
    retain_idempotency_keys_days: u32,
    /// Days for which a delivery that was refused stays in GET /rejections
    #[arg(long, env = "RETAIN_REJECTIONS_DAYS", default_value_t = 7, value_parser = value_parser!(u32).range(1..=90))]
    retain_rejections_days: u32,
}

#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Feed of the PMS")]
struct FeedArgs {
    /// The emitter's address with its base path, such as http://localhost:4001/api/v1; with it what is here is compared with its
    /// feed every 10 minutes, and what is missing is taken in
    #[arg(long, env = "PMS_FEED_URL", hide_env_values = true, value_parser = feed_url)]
    pms_feed_url: Option<TargetUrl>,
    /// The emitter's API key that may read events, of all properties
    #[arg(long, env = "PMS_API_KEY", hide_env_values = true, help_heading = SECRETS)]
    pms_api_key: Option<FeedKey>,
}

const BODIES: &str = "RETAIN_BODIES_DAYS";
const DEAD_LETTER_BODIES: &str = "RETAIN_DEAD_LETTER_BODIES_DAYS";
const IDEMPOTENCY_KEYS: &str = "RETAIN_IDEMPOTENCY_KEYS_DAYS";
/// Up to ten years.
const DAYS: RangeInclusive<i64> = 1..=3_650;
const KEYS_DAYS: RangeInclusive<i64> = IDEMPOTENCY_KEYS_DAYS_MIN..=3_650;

impl RetentionArgs {
    /// # Errors
    /// When a body would be kept for longer than its event.
    fn periods(&self) -> Result<Retention, ConfigError> {
        for (variable, days) in [
            (BODIES, self.retain_bodies_days),
            (DEAD_LETTER_BODIES, self.retain_dead_letter_bodies_days),
        ] {
            if days > self.retain_idempotency_keys_days {
                let problem = format!("no body is kept for longer than its event: {IDEMPOTENCY_KEYS}");
                return Err(ConfigError::new(variable, problem));
            }
        }
        Ok(Retention {
            bodies_days: self.retain_bodies_days,
            dead_letter_bodies_days: self.retain_dead_letter_bodies_days,
            idempotency_keys_days: self.retain_idempotency_keys_days,
            rejections_days: self.retain_rejections_days,
        })
    }
}

/// Reads `.env`, the environment and the flags; whatever is wrong ends the process with a sentence and exit code 2.
pub fn read_or_exit() -> (Command, LogArgs) {
    let cli: Cli = parse_or_exit(DEFAULTS);
    match cli.command() {
        Ok(command) => (command, cli.log),
        Err(error) => error.exit(),
    }
}

impl Cli {
    fn command(&self) -> Result<Command, ConfigError> {
        let database = self.database.url(DEFAULTS)?;
        Ok(match &self.command {
            None | Some(CommandArgs::Serve) => Command::Serve(self.serving(database)?),
            Some(CommandArgs::Migrate) => Command::Migrate(database),
            Some(CommandArgs::Healthcheck) => Command::Healthcheck(self.http.clone()),
            Some(CommandArgs::Requeue { event }) => Command::Requeue {
                database,
                event: event.clone(),
            },
            Some(CommandArgs::Rewrap) => {
                self.master_key.check(&database)?;
                Command::Rewrap {
                    database,
                    master_key: self.master_key.clone(),
                }
            }
            Some(CommandArgs::Purge { dry_run }) => Command::Purge {
                database,
                retention: self.retention.periods()?,
                dry_run: *dry_run,
            },
            Some(CommandArgs::Reconcile { from }) => {
                let config = self.serving(database)?;
                if config.feed.is_none() {
                    return Err(ConfigError::new(
                        "PMS_FEED_URL",
                        "it is required to reconcile, and not set",
                    ));
                }
                Command::Reconcile { config, from: *from }
            }
            Some(CommandArgs::Keys { command }) => Command::Keys {
                database,
                prefix: self.access.api_key_prefix.clone(),
                command: command.clone(),
            },
        })
    }

    fn serving(&self, database: DatabaseUrl) -> Result<Config, ConfigError> {
        let webhooks = &self.webhooks;
        self.master_key.check(&database)?;
        let queue = usize::try_from(webhooks.ingest_queue).expect("a million fits");
        Ok(Config {
            http: self.http.clone(),
            access: self.access.clone(),
            database,
            master_key: self.master_key.clone(),
            secrets: webhooks.webhook_shared_secret.clone(),
            max_skew_seconds: webhooks.webhook_max_skew_seconds,
            ingest: IngestLimits {
                batch_rows: usize::from(webhooks.ingest_batch_rows),
                batch_bytes: webhooks.ingest_batch_bytes.0,
                queue,
                seen_entries: SEEN_ENTRIES,
            },
            retention: self.retention.periods()?,
            feed: self.feed.pms_feed_url.clone().map(|url| FeedConfig {
                url,
                key: self.feed.pms_api_key.clone(),
            }),
        })
    }
}

/// A query would be left out.
fn feed_url(text: &str) -> Result<TargetUrl, String> {
    if text.contains('?') {
        return Err("it must have no query".to_owned());
    }
    text.parse::<TargetUrl>().map_err(|error| error.to_string())
}

fn batch_bytes(text: &str) -> Result<ByteSize, String> {
    let size: ByteSize = text.parse().map_err(|error| format!("{error}"))?;
    if (1..=BATCH_BYTES_MAX).contains(&size.0) {
        Ok(size)
    } else {
        Err(format!(
            "it must be between 1 B and {}",
            ByteSize(BATCH_BYTES_MAX)
        ))
    }
}
