//! What `cargo load` is asked for, and which questions make no sense.

use super::attack::{Attack, FloodKind};
use super::generator::Pace;
use super::lives::BodyStyle;
use super::pool::POOL_EVENTS_MAX;
use super::producer::BATCH_EVENTS;
use super::webhooks::{ENDPOINTS_MAX, MATCHING_MAX};
use anyhow::{Result, ensure};
use clap::{Parser, ValueEnum, value_parser};
use harness::engine::Engine;
use serde::Serialize;
use std::path::PathBuf;
use std::time::Duration;
use url::Url;

/// Events signed ahead for each second of a closed loop: more than a receiver takes on such a machine.
const CLOSED_EVENTS_PER_SECOND: u64 = 45_000;

/// The most that writing so many events takes.
const EVENTS_TIME: Duration = Duration::from_secs(1_800);

/// Connections of the generator, unless it is said.
const CONNECTIONS: usize = 256;
/// At most.
const CONNECTIONS_MAX: usize = 8_192;
/// Connections of a flood, unless it is said: more than the receiver's cap.
const FLOOD_CONNECTIONS: usize = 12_000;

/// What follows once the top rate is known.
const STEPS: &str = "--half, --overload, --crowd, --unsigned, --greedy, --requeue and --purge";

/// What measures the webhooks of an emitter.
const WEBHOOKS: &str = "--endpoints, --black-holes, --idle-endpoints and --outage";

/// Measures the services under load, beside a bare endpoint in the same run
#[derive(Parser, Clone, Debug)]
#[command(name = "load")]
pub struct Options {
    /// What is put under load
    #[arg(long, value_enum, default_value = "receiver")]
    pub target: Target,
    /// What is written at the emitter
    #[arg(long, value_enum, default_value = "guests")]
    pub via: Via,
    /// The database of every service
    #[arg(long, value_enum, default_value = "sqlite")]
    engine: EngineName,
    /// Connections of the generator, by default 256; those of `--flood` by default 12000
    #[arg(long, value_parser = value_parser!(u16).range(1..=16384))]
    connections: Option<u16>,
    /// Threads of the generator
    #[arg(long, default_value_t = 1, value_parser = value_parser!(u16).range(1..=64))]
    threads: u16,
    /// Seconds of each load
    #[arg(long, default_value_t = 10, value_parser = value_parser!(u16).range(1..=600))]
    seconds: u16,
    /// Requests a second, sent when they are due (open loop); without it each connection sends one after the other
    #[arg(long)]
    rate: Option<f64>,
    /// So many events at the emitter, however long they take, in place of --seconds
    #[arg(long, value_parser = value_parser!(u64).range(1..=10_000_000), conflicts_with = "rate")]
    events: Option<u64>,
    /// The same load against a bare endpoint before each one against the receiver
    #[arg(long)]
    pub baseline: bool,
    /// How often all of it is done
    #[arg(long, default_value_t = 1, value_parser = value_parser!(u16).range(1..=100))]
    pub repeat: u16,
    /// Afterwards half of the rate that was reached, as an open loop
    #[arg(long)]
    pub half: bool,
    /// Afterwards so many times the rate that was reached, as an open loop
    #[arg(long, value_name = "TIMES")]
    pub overload: Option<f64>,
    /// Afterwards a closed loop of so many connections at a short queue; anyone who is refused comes back when asked to
    #[arg(long, value_name = "CONNECTIONS", value_parser = value_parser!(u16).range(1..=8192))]
    pub crowd: Option<u16>,
    /// Afterwards half of the rate, beside so many connections that send unsigned bodies of 20 kB
    #[arg(long, value_name = "CONNECTIONS", value_parser = value_parser!(u16).range(1..=8192))]
    pub unsigned: Option<u16>,
    /// Afterwards four sources, alone and beside one that sends ten times its share over so many connections
    #[arg(long, value_name = "CONNECTIONS", value_parser = value_parser!(u16).range(1..=8192))]
    pub greedy: Option<u16>,
    /// Afterwards a quarter of the rate, alone and beside a run that requeues so many dead letters
    #[arg(long, value_name = "DEAD_LETTERS", value_parser = value_parser!(u64).range(10..=1_000_000))]
    pub requeue: Option<u64>,
    /// Afterwards the top rate, alone and beside a purge of so many old bodies
    #[arg(long, value_name = "BODIES", value_parser = value_parser!(u64).range(1_000..=10_000_000))]
    pub purge: Option<u64>,
    /// Sources that the receiver has during each load, the one that sends among them; made through the API beforehand
    #[arg(long, default_value_t = 1, value_parser = value_parser!(u16).range(1..=1000))]
    sources: u16,
    /// One client reads all of GET /events/stream during each load
    #[arg(long)]
    pub stream: bool,
    /// So many webhooks of the emitter that get all that is written, beside one
    #[arg(long, value_name = "WEBHOOKS", value_parser = value_parser!(u16).range(2..=i64::from(MATCHING_MAX)))]
    pub endpoints: Option<u16>,
    /// So many webhooks of the emitter beside as many that take the connection and never answer
    #[arg(long, value_name = "WEBHOOKS", value_parser = value_parser!(u16).range(1..=i64::from(MATCHING_MAX / 2)))]
    pub black_holes: Option<u16>,
    /// So many webhooks of the emitter that never get anything, beside none
    #[arg(long, value_name = "WEBHOOKS", value_parser = value_parser!(u16).range(1..=i64::from(ENDPOINTS_MAX)))]
    pub idle_endpoints: Option<u16>,
    /// So many events wait at the emitter until its sink comes back
    #[arg(long, value_name = "EVENTS", value_parser = value_parser!(u64).range(1_000..=1_000_000))]
    pub outage: Option<u64>,
    /// Write with an API key, counted against its limit, in place of none
    #[arg(long)]
    pub api_key: bool,
    /// One attack alone on the emitter, then on the receiver; each must stay under 192 MiB resident
    #[arg(long, value_enum, conflicts_with_all = ["target", "rate", "baseline", "repeat", "limits", "prepare", "replay"])]
    pub hostile: Option<Attack>,
    /// A flood of connections on the receiver, whose cap is 10000, beside deliveries that must not suffer from it
    #[arg(long, value_enum, conflicts_with_all = ["target", "rate", "baseline", "repeat", "limits", "prepare", "replay", "hostile"])]
    pub flood: Option<FloodKind>,
    /// Events that stand in the receiver before `--hostile filters`; the emitter gets a tenth of it
    #[arg(long, default_value_t = 400_000, value_parser = value_parser!(u64).range(1_000..=10_000_000))]
    rows: u64,
    /// Events that are signed before the clock starts; by default enough for the time
    #[arg(long)]
    pool: Option<u64>,
    /// How much of a body is written
    #[arg(long, value_enum, default_value = "compact")]
    pub bodies: BodyStyle,
    /// What the services log; each line costs them time
    #[arg(long, default_value = "warn")]
    pub log_level: String,
    /// What this machine can do at most, and nothing else
    #[arg(long)]
    pub limits: bool,
    /// The secret that signs and verifies; a fresh one by default
    #[arg(long, env = "WEBHOOK_SHARED_SECRET", hide_env_values = true)]
    pub secret: Option<String>,
    /// Sign so many events, write them to --out, and measure nothing
    #[arg(long, requires = "out", requires = "secret", conflicts_with = "replay")]
    pub prepare: Option<u64>,
    /// The file to write
    #[arg(long, requires = "prepare")]
    pub out: Option<PathBuf>,
    /// Send the requests of this file to --url, and start nothing
    #[arg(long, requires = "url")]
    pub replay: Option<PathBuf>,
    /// Where they go
    #[arg(long, requires = "replay")]
    pub url: Option<Url>,
    /// The result as one line of JSON
    #[arg(long)]
    pub json: bool,
}

/// What is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Target {
    /// Signed webhooks to the receiver
    Receiver,
    /// Writes at the emitter's API, delivered to a sink
    Emitter,
    /// Writes at the emitter's API, applied in the receiver
    E2e,
}

/// What is written at the emitter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Via {
    /// Guests and their reservations
    Guests,
    /// Events that another system publishes, one in a request
    Events,
    /// The same, a hundred in a request
    Batch,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum EngineName {
    Sqlite,
    Mysql,
}

impl Options {
    /// Refuses what cannot be done.
    ///
    /// # Errors
    /// In a sentence.
    pub fn check(&self) -> Result<()> {
        if let Some(rate) = self.rate {
            ensure!(rate.is_finite() && rate >= 1.0, "--rate is at least 1 a second");
            ensure!(
                !self.goes_on(),
                "{STEPS} look for the top rate first: leave --rate out"
            );
        }
        ensure!(
            self.target != Target::Receiver || !self.api_key,
            "--api-key is for writes at the emitter: webhooks have signatures"
        );
        ensure!(
            self.via == Via::Guests || self.target == Target::Emitter,
            "--via is of a load on the emitter alone: the receiver ignores what others publish"
        );
        ensure!(
            self.target == Target::Receiver || !(self.baseline || self.goes_on() || self.repeat > 1),
            "--baseline, --repeat, {STEPS} are of the receiver alone"
        );
        ensure!(
            (self.hostile.is_none() && self.flood.is_none()) || !self.goes_on(),
            "--hostile and --flood go alone: leave {STEPS} out"
        );
        let alone = self.hostile.is_none() && self.flood.is_none() && self.target == Target::Receiver;
        ensure!(
            alone || !(self.stream || self.sources() > 1),
            "--sources and --stream are of a load on the receiver alone"
        );
        ensure!(
            self.flood.is_some() || self.connections() <= CONNECTIONS_MAX,
            "--connections is {CONNECTIONS_MAX} at most"
        );
        self.check_webhooks()?;
        if let Some(times) = self.overload {
            ensure!(
                (1.0..=20.0).contains(&times),
                "--overload is 1 to 20 times the rate"
            );
        }
        let events = self.pool_events();
        ensure!(
            (1..=POOL_EVENTS_MAX).contains(&events),
            "{events} events to sign beforehand: {POOL_EVENTS_MAX} at most"
        );
        Ok(())
    }

    /// What measures webhooks goes alone, and writes as it needs to.
    fn check_webhooks(&self) -> Result<()> {
        let asked = [
            self.endpoints.is_some(),
            self.black_holes.is_some(),
            self.idle_endpoints.is_some(),
            self.outage.is_some(),
        ];
        let asked = asked.into_iter().filter(|asked| *asked).count();
        ensure!(
            asked == 0 || (self.target == Target::Emitter && self.via == Via::Guests),
            "{WEBHOOKS} are of a load on the emitter, without --via"
        );
        ensure!(asked < 2, "{WEBHOOKS} go alone");
        ensure!(
            self.events.is_none() || (self.target != Target::Receiver && asked == 0),
            "--events are of a load of writes, without {WEBHOOKS}"
        );
        ensure!(
            self.rate.is_some()
                || (self.endpoints.is_none() && self.black_holes.is_none() && self.outage.is_none()),
            "--endpoints, --black-holes and --outage need a --rate that the deliveries can follow"
        );
        Ok(())
    }

    /// Whether there is more to do once the top rate is known.
    fn goes_on(&self) -> bool {
        let to_the_queue = self.overload.is_some() || self.crowd.is_some() || self.greedy.is_some();
        let beside = self.unsigned.is_some() || self.requeue.is_some() || self.purge.is_some();
        self.half || to_the_queue || beside
    }

    /// The engine of every service.
    pub fn engine(&self) -> Engine {
        match self.engine {
            EngineName::Sqlite => Engine::Sqlite,
            EngineName::Mysql => Engine::Mysql,
        }
    }

    /// Sources that the receiver has, the one that sends among them.
    pub fn sources(&self) -> usize {
        usize::from(self.sources)
    }

    /// Rows that stand there before filters are asked for.
    pub fn rows(&self) -> u64 {
        self.rows
    }

    /// Requests a second, if they are to be sent when they are due.
    pub fn rate(&self) -> Option<f64> {
        self.rate
    }

    /// When requests are sent.
    pub fn pace(&self) -> Pace {
        self.rate.map_or(Pace::Closed, Pace::Open)
    }

    /// The length of a load.
    pub fn time(&self) -> Duration {
        Duration::from_secs(u64::from(self.seconds))
    }

    /// The most requests of a load of writes, and how long they may take.
    pub fn writes(&self) -> (Option<u64>, Duration) {
        let per_request = match self.via {
            Via::Guests | Via::Events => 1,
            Via::Batch => BATCH_EVENTS as u64,
        };
        match self.events {
            Some(events) => (Some(events.div_ceil(per_request)), EVENTS_TIME),
            None => (None, self.time()),
        }
    }

    /// Connections of the generator.
    pub fn connections(&self) -> usize {
        let unless_said = self.flood.map_or(CONNECTIONS, |_| FLOOD_CONNECTIONS);
        self.connections.map_or(unless_said, usize::from)
    }

    /// Threads of the generator.
    pub fn threads(&self) -> usize {
        usize::from(self.threads)
    }

    /// Events to be signed beforehand.
    pub fn pool_events(&self) -> u64 {
        let needed = match self.rate {
            Some(rate) => (rate * f64::from(self.seconds)).ceil() as u64,
            None => (CLOSED_EVENTS_PER_SECOND * u64::from(self.seconds)).min(POOL_EVENTS_MAX),
        };
        self.pool.unwrap_or(needed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(line: &str) -> Result<Options> {
        let options = Options::try_parse_from(line.split(' '))?;
        options.check()?;
        Ok(options)
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        for line in [
            "load --rate 0.5",
            "load --rate NaN",
            "load --rate 100 --half",
            "load --rate 100 --overload 2",
            "load --overload 0.5",
            "load --overload NaN",
            "load --rate 100 --crowd 8",
            "load --unsigned 0",
            "load --greedy 0",
            "load --rate 100 --greedy 8",
            "load --requeue 9",
            "load --rate 100 --requeue 100",
            "load --purge 999",
            "load --hostile keys --purge 1000",
            "load --sources 0",
            "load --sources 1001",
            "load --target emitter --sources 2",
            "load --flood idle --stream",
            "load --target emitter --overload 2",
            "load --connections 0",
            "load --seconds 0",
            "load --seconds 601",
            "load --pool 0",
            "load --pool 1000001",
            "load --rate 100000 --seconds 60",
            "load --engine oracle",
            "load --hostile nicely",
            "load --hostile keys --rate 10",
            "load --connections 8193",
            "load --flood idle --hostile keys",
            "load --flood kept --half",
            "load --hostile lists --half",
            "load --hostile bodies --target emitter",
            "load --hostile filters --rows 10",
            "load --target emitter --baseline",
            "load --target e2e --half",
            "load --target e2e --via events",
            "load --via batch",
            "load --target emitter --via crows",
            "load --target emitter --endpoints 1 --rate 10",
            "load --target emitter --endpoints 201 --rate 10",
            "load --target emitter --endpoints 200",
            "load --target e2e --endpoints 200 --rate 10",
            "load --endpoints 200 --rate 10",
            "load --target emitter --via events --endpoints 200 --rate 10",
            "load --target emitter --black-holes 101 --rate 10",
            "load --target emitter --black-holes 100",
            "load --target emitter --black-holes 100 --endpoints 200 --rate 10",
            "load --target emitter --idle-endpoints 0",
            "load --target emitter --idle-endpoints 1001",
            "load --idle-endpoints 1000",
            "load --target emitter --events 0",
            "load --target emitter --events 1000 --rate 10",
            "load --target emitter --events 1000 --idle-endpoints 10",
            "load --events 1000",
            "load --target emitter --outage 999 --rate 10",
            "load --target emitter --outage 100000",
            "load --prepare 10 --secret sixteen-bytes-is",
            "load --prepare 10 --out requests.tsv",
            "load --replay requests.tsv",
            "load --url http://127.0.0.1:1/",
        ] {
            assert!(options(line).is_err(), "{line}");
        }
    }

    #[test]
    fn webhooks_are_measured_one_question_at_a_time() {
        for line in [
            "load --target emitter --endpoints 200 --rate 10",
            "load --target emitter --black-holes 100 --rate 10",
            "load --target emitter --idle-endpoints 1000",
            "load --target emitter --outage 100000 --rate 50",
        ] {
            assert!(options(line).is_ok(), "{line}");
        }
    }

    #[test]
    fn a_number_of_events_goes_out_in_as_many_requests_as_it_takes() {
        let writes = |line| options(line).unwrap().writes();
        let batches = writes("load --target emitter --via batch --events 50001");
        assert_eq!(batches, (Some(501), EVENTS_TIME));
        let guests = writes("load --target e2e --events 7");
        assert_eq!(guests, (Some(7), EVENTS_TIME));
        let timed = writes("load --target emitter --via batch --seconds 6");
        assert_eq!(timed, (None, Duration::from_secs(6)));
    }

    #[test]
    fn a_flood_has_more_connections_than_a_load() {
        let connections = |line| options(line).unwrap().connections();
        assert_eq!(connections("load"), CONNECTIONS);
        assert_eq!(connections("load --flood half-bodies"), FLOOD_CONNECTIONS);
        assert_eq!(connections("load --flood idle --connections 9000"), 9_000);
    }

    #[test]
    fn a_rate_makes_an_open_loop_with_a_pool_for_its_time() {
        let open = options("load --rate 1000 --seconds 7").unwrap();
        assert_eq!((open.pace(), open.pool_events()), (Pace::Open(1000.0), 7_000));
        let closed = options("load --engine mysql --seconds 600").unwrap();
        assert_eq!(
            (closed.pace(), closed.pool_events()),
            (Pace::Closed, POOL_EVENTS_MAX)
        );
        assert_eq!(closed.engine(), Engine::Mysql);
    }
}
