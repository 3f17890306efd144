//! `GET /sources/{id}/stats`: what became of a source's deliveries, by hour, and whether it is silent.

use super::sources::{SourceRoutes, find};
use crate::store::{COUNT_DAYS_KEPT, CountKind, HOUR_MILLIS, HourCount, Sighting, hour_of};
use api::{Request, Response, list::parse_parameters, reply};
use contract::{Problem, ProblemCode, SourceId, UnixMillis};
use kit::database_problem;
use serde::Serialize;
use std::collections::BTreeMap;

const PERIOD_DAYS: &str = "period_days";
const PERIOD_DAYS_DEFAULT: u32 = 7;

/// `GET /sources/{id}/stats`
pub async fn stats(api: SourceRoutes, request: Request) -> Result<Response, Problem> {
    let given = parse_parameters(&[PERIOD_DAYS], request.query())?;
    let days = given
        .first()
        .map_or(Ok(PERIOD_DAYS_DEFAULT), |(_, text)| period_days(text))?;
    let source = find(&api, &request.caller, &request.id("id")?).await?;
    let now = api.clock.now();
    let hours = i64::from(days) * 24;
    let first = UnixMillis(hour_of(now).0 - (hours - 1) * HOUR_MILLIS);
    let counted = api.sources.counts_of(&source.id, first).await;
    let (last_seen_at, counts) = counted.map_err(database_problem)?;
    let silent_after_seconds = source.settings.silent_after_seconds;
    let sighting = silent_after_seconds
        .filter(|_| source.settings.enabled)
        .map(|silent_after_seconds| Sighting {
            source: source.id.clone(),
            silent_after_seconds,
            since: last_seen_at.unwrap_or(source.created_at),
        });
    let mut total = Counted::default();
    let mut by_hour = BTreeMap::<UnixMillis, Counted>::new();
    for count in counts {
        total.add(&count);
        by_hour.entry(count.hour).or_default().add(&count);
    }
    Ok(reply::ok(&Stats {
        source: source.id,
        period_days: days,
        last_seen_at,
        silent_after_seconds,
        silent: sighting.is_some_and(|sighting| sighting.is_silent(now)),
        total,
        hours: by_hour
            .into_iter()
            .map(|(hour, counted)| Hour { hour, counted })
            .collect(),
    }))
}

fn period_days(text: &str) -> Result<u32, Problem> {
    let days = text
        .parse()
        .ok()
        .filter(|days| (1..=COUNT_DAYS_KEPT).contains(days));
    days.ok_or_else(|| {
        let detail = format!("{PERIOD_DAYS} must be 1 to {COUNT_DAYS_KEPT}");
        Problem::new(ProblemCode::InvalidQuery).with_detail(detail)
    })
}

#[derive(Serialize)]
struct Stats {
    source: SourceId,
    period_days: u32,
    last_seen_at: Option<UnixMillis>,
    silent_after_seconds: Option<u32>,
    silent: bool,
    #[serde(flatten)]
    total: Counted,
    /// In which something came, the oldest first.
    hours: Vec<Hour>,
}

#[derive(Serialize)]
struct Hour {
    hour: UnixMillis,
    #[serde(flatten)]
    counted: Counted,
}

#[derive(Default, Serialize)]
struct Counted {
    accepted: u64,
    duplicate: u64,
    /// By cause.
    rejected: BTreeMap<String, u64>,
    /// Those of them that were refused for their time, by how far off it was.
    skew: BTreeMap<String, u64>,
}

impl Counted {
    fn add(&mut self, count: &HourCount) {
        let by_cause = match count.kind.parse() {
            Ok(CountKind::Accepted) => return self.accepted += count.number,
            Ok(CountKind::Duplicate) => return self.duplicate += count.number,
            Ok(CountKind::Skewed) => &mut self.skew,
            Ok(CountKind::Rejected) => &mut self.rejected,
            // Of a newer program.
            Err(_) => return,
        };
        *by_cause.entry(count.cause.clone()).or_default() += count.number;
    }
}
