//! What was asked for with each key: counted in memory, written every 5 s, kept for 30 days. What is older is deleted by the
//! purge of the service.

use crate::lifecycle::Lifecycle;
use contract::{Clock, UnixMillis};
use db::{Db, DbError, InList, Params, Row, Statement, StatementResult, Tx, params, read_ids};
use http::StatusCode;
use serde::Serialize;
use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};
use tokio::sync::Mutex as AsyncMutex;

/// How often counts are written.
const WRITE_EVERY: Duration = Duration::from_secs(5);
/// How long they are kept, which is also the longest period of a report.
pub const DAYS_KEPT: u32 = 30;
/// Keys at which a batch of what is deleted looks at most.
const KEYS_LOOKED_AT_MAX: usize = 200;
/// Rows that it deletes at most, unless one key has more: it has one for each endpoint and day.
const ROWS_DELETED_MAX: u64 = 200;
/// Endpoints that a report names.
const TOP_ENDPOINTS: usize = 10;
const DAY_MILLIS: i64 = 24 * 3600 * 1000;

/// The key, the day and the endpoint that a count belongs to.
type Place = (Arc<str>, UnixMillis, Arc<str>);

#[derive(Clone, Copy, Debug, Default)]
struct Tally {
    requests: u64,
    failed: u64,
    micros: u64,
    last_at: UnixMillis,
}

/// The counts of one process that are not written yet. There is one for each endpoint of each key, and both are few.
pub(super) struct Usage {
    db: Db,
    clock: Arc<dyn Clock>,
    tallies: Mutex<HashMap<Place, Tally>>,
    /// Held by who writes them, or reads them with what is written.
    writing: AsyncMutex<()>,
}

/// What a key was used for in the last days.
#[derive(Debug, Serialize)]
pub(super) struct UsageReport {
    pub(super) total_requests: u64,
    successful_requests: u64,
    failed_requests: u64,
    /// Per cent, to one decimal; 0 without requests.
    success_rate: f64,
    /// Milliseconds; 0 without requests.
    avg_duration_ms: f64,
    top_endpoints: Vec<EndpointUsage>,
    period_days: u32,
}

#[derive(Debug, Serialize)]
struct EndpointUsage {
    endpoint: String,
    requests: u64,
}

impl Usage {
    pub(super) fn new(db: &Db, clock: Arc<dyn Clock>) -> Self {
        Self {
            db: db.clone(),
            clock,
            tallies: Mutex::default(),
            writing: AsyncMutex::default(),
        }
    }

    /// Counts one request that was answered.
    pub(super) fn count(&self, key: &Arc<str>, endpoint: &Arc<str>, status: StatusCode, took: Duration) {
        let now = self.clock.now();
        let tally = Tally {
            requests: 1,
            failed: u64::from(status.is_client_error() || status.is_server_error()),
            micros: u64::try_from(took.as_micros()).unwrap_or(u64::MAX),
            last_at: now,
        };
        self.add([((Arc::clone(key), day_of(now), Arc::clone(endpoint)), tally)]);
    }

    fn add(&self, counted: impl IntoIterator<Item = (Place, Tally)>) {
        let mut tallies = self.tallies.lock().unwrap_or_else(PoisonError::into_inner);
        for (place, more) in counted {
            let tally = tallies.entry(place).or_default();
            tally.requests += more.requests;
            tally.failed += more.failed;
            tally.micros = tally.micros.saturating_add(more.micros);
            tally.last_at = tally.last_at.max(more.last_at);
        }
    }

    /// Writes the counts every 5 s and at the end.
    pub(super) async fn run(&self, lifecycle: Lifecycle) {
        loop {
            let stopping = tokio::select! {
                () = lifecycle.stopping() => true,
                () = tokio::time::sleep(WRITE_EVERY) => false,
            };
            self.write().await;
            if stopping {
                return;
            }
        }
    }

    /// Writes the counts. After a failure they are written with the next ones; after a commit of unknown result they may be
    /// lost, rather than counted twice.
    pub(super) async fn write(&self) {
        let _one_at_a_time = self.writing.lock().await;
        let counted = std::mem::take(&mut *self.tallies.lock().unwrap_or_else(PoisonError::into_inner));
        if counted.is_empty() {
            return;
        }
        let mut rows: Vec<(Place, Tally)> = counted.into_iter().collect();
        // In one order in every replica, or two of them could wait for each other.
        rows.sort_unstable_by(|(one, _), (other, _)| one.cmp(other));
        let rows = Arc::new(rows);
        let written = self
            .db
            .transaction("count_api_key_usage", {
                let rows = Arc::clone(&rows);
                move |tx| {
                    let rows = Arc::clone(&rows);
                    Box::pin(async move { write(tx, &rows).await })
                }
            })
            .await;
        if let Err(error) = written {
            tracing::warn!(error = %error, "the usage of API keys is not written yet");
            if !matches!(error, DbError::CommitUnknown | DbError::Timeout) {
                self.add(rows.iter().cloned());
            }
        }
    }

    /// Deletes the next counts that are too old, of keys behind this one; the last key that was looked at, if there may be
    /// more.
    pub(super) async fn purge(&self, after: String) -> Result<Option<String>, DbError> {
        let oldest = oldest_day_kept(self.clock.now());
        self.db
            .transaction("purge_api_key_usage", move |tx| {
                let after = after.clone();
                Box::pin(async move {
                    let old = before(tx, oldest, &after).await?;
                    for (key, _) in &old.keys {
                        delete_before(tx, key, oldest).await?;
                    }
                    Ok(old.next)
                })
            })
            .await
    }

    /// What a key was used for today and in the days before, `period_days` in all: what the tables have, and what this process
    /// has not written yet.
    pub(super) async fn report(&self, key: &str, period_days: u32) -> Result<UsageReport, DbError> {
        let first = UnixMillis(day_of(self.clock.now()).0 - i64::from(period_days - 1) * DAY_MILLIS);
        // What is being written just now would be in both, or in neither.
        let _nobody_writes = self.writing.lock().await;
        let of = key.to_owned();
        let mut rows = self
            .db
            .read("api_key_usage", move |tx| {
                let key = of.clone();
                Box::pin(async move {
                    let sql = "SELECT endpoint, requests, failed, duration FROM api_key_usage WHERE key_id = ? AND day >= ?";
                    let rows = tx.query(sql, params![key, first]).await?;
                    let tally = |row: &Row| {
                        Ok::<_, DbError>((
                            row.get::<String>("endpoint")?,
                            Tally {
                                requests: row.get("requests")?,
                                failed: row.get("failed")?,
                                micros: row.get("duration")?,
                                last_at: UnixMillis(0),
                            },
                        ))
                    };
                    rows.iter().map(tally).collect::<Result<Vec<_>, _>>()
                })
            })
            .await?;
        let tallies = self.tallies.lock().unwrap_or_else(PoisonError::into_inner);
        let unwritten = tallies
            .iter()
            .filter(|((id, day, _), _)| &**id == key && *day >= first)
            .map(|((_, _, endpoint), tally)| (endpoint.to_string(), *tally));
        rows.extend(unwritten);
        Ok(UsageReport::of(rows, period_days))
    }
}

impl UsageReport {
    fn of(rows: Vec<(String, Tally)>, period_days: u32) -> Self {
        let sum = |count: fn(&Tally) -> u64| rows.iter().map(|(_, tally)| count(tally)).sum::<u64>();
        let (total, failed, micros) = (
            sum(|tally| tally.requests),
            sum(|tally| tally.failed),
            sum(|tally| tally.micros),
        );
        let mut by_endpoint = HashMap::<String, u64>::new();
        for (endpoint, tally) in rows {
            *by_endpoint.entry(endpoint).or_default() += tally.requests;
        }
        let mut top_endpoints: Vec<_> = by_endpoint
            .into_iter()
            .map(|(endpoint, requests)| EndpointUsage { endpoint, requests })
            .collect();
        top_endpoints
            .sort_by(|one, other| (other.requests, &one.endpoint).cmp(&(one.requests, &other.endpoint)));
        top_endpoints.truncate(TOP_ENDPOINTS);
        let successful = total - failed.min(total);
        Self {
            total_requests: total,
            successful_requests: successful,
            failed_requests: failed,
            success_rate: to_one_decimal(successful as f64 * 100.0, total),
            avg_duration_ms: to_one_decimal(micros as f64 / 1_000.0, total),
            top_endpoints,
            period_days,
        }
    }
}

/// `sum / count`, rounded to one decimal; 0 for none.
fn to_one_decimal(sum: f64, count: u64) -> f64 {
    if count == 0 {
        return 0.0;
    }
    (sum / count as f64 * 10.0).round() / 10.0
}

/// Keys of which days are old enough to be deleted.
#[derive(Debug, Default)]
pub struct OldUsage {
    /// Each with how many rows.
    pub keys: Vec<(String, u64)>,
    /// The last key that was looked at, if there may be more.
    pub next: Option<String>,
}

/// The first day whose counts are kept; those before may be deleted.
pub fn oldest_day_kept(now: UnixMillis) -> UnixMillis {
    UnixMillis(day_of(now).0 - i64::from(DAYS_KEPT) * DAY_MILLIS)
}

/// The next keys after one with counts of days before this one. It looks at 200 keys, and takes as many of them as have 200 rows
/// together, but one at least.
///
/// # Errors
/// Those of the database.
pub async fn before(tx: &mut Tx, day: UnixMillis, after: &str) -> Result<OldUsage, DbError> {
    let sql = "SELECT id FROM api_keys WHERE id > ? ORDER BY id LIMIT ?";
    let rows = tx.query(sql, params![after, KEYS_LOOKED_AT_MAX]).await?;
    let keys: Vec<String> = read_ids(&rows, "id")?;
    let list = InList::of(&keys);
    let sql = format!(
        "SELECT key_id, COUNT(*) AS n FROM api_key_usage WHERE key_id IN {list} AND day < ? \
         GROUP BY key_id ORDER BY key_id"
    );
    let mut params = list.into_params();
    params.push(day.into());
    let rows = tx.query(&sql, params).await?;
    let last = keys.last().filter(|_| keys.len() == KEYS_LOOKED_AT_MAX);
    let mut old = OldUsage {
        keys: Vec::new(),
        next: last.cloned(),
    };
    let mut room = ROWS_DELETED_MAX;
    for row in &rows {
        let (key, count) = (row.get::<String>("key_id")?, row.get::<u64>("n")?);
        if count > room && !old.keys.is_empty() {
            old.next = old.keys.last().map(|(key, _)| key.clone());
            break;
        }
        room = room.saturating_sub(count);
        old.keys.push((key, count));
    }
    Ok(old)
}

/// Deletes what a key was used for in the days before this one; answers how many rows.
///
/// # Errors
/// Those of the database.
pub async fn delete_before(tx: &mut Tx, key: &str, day: UnixMillis) -> Result<u64, DbError> {
    let sql = "DELETE FROM api_key_usage WHERE key_id = ? AND day < ?";
    tx.execute(sql, params![key, day]).await
}

/// Midnight in UTC.
fn day_of(now: UnixMillis) -> UnixMillis {
    UnixMillis(now.0 - now.0.rem_euclid(DAY_MILLIS))
}

/// `rows` are in order, and so are the keys that they raise. A key is raised before its rows are written: one that another replica
/// has deleted meanwhile is found so, and one that is deleted now waits, and takes the rows with it. What this replica counted or drew
/// for a deleted key before it heard of that is of nobody.
async fn write(tx: &mut Tx, rows: &[(Place, Tally)]) -> Result<(), DbError> {
    let mut by_key = BTreeMap::<&Arc<str>, Tally>::new();
    for ((key, _, _), tally) in rows {
        let sum = by_key.entry(key).or_default();
        sum.requests += tally.requests;
        sum.last_at = sum.last_at.max(tally.last_at);
    }
    let raise = |(key, sum): (&&Arc<str>, &Tally)| {
        let sql = "UPDATE api_keys SET usage_count = usage_count + ?, \
                   last_used_at = CASE WHEN last_used_at > ? THEN last_used_at ELSE ? END \
                   WHERE id = ? AND deleted_at IS NULL";
        Statement::change(sql, params![sum.requests, sum.last_at, sum.last_at, &***key])
    };
    let raises: Vec<_> = by_key.iter().map(raise).collect();
    let raised = tx.run(&raises).await.all()?;
    let is_gone =
        |(key, raised): (&&Arc<str>, &StatementResult)| (raised.matched == 0).then(|| Arc::clone(*key));
    let gone: BTreeSet<_> = by_key.keys().zip(&raised).filter_map(is_gone).collect();
    let columns = ["key_id", "day", "endpoint", "requests", "failed", "duration"];
    let mut values = Params::new();
    for ((key, day, endpoint), tally) in rows.iter().filter(|((key, _, _), _)| !gone.contains(key)) {
        values.extend(params![
            &**key,
            *day,
            &**endpoint,
            tally.requests,
            tally.failed,
            tally.micros
        ]);
    }
    let add = tx.dialect().on_conflict_add(&columns[..3], &columns[3..]);
    let insert = Statement::rows("api_key_usage", &columns, &add, values);
    let undraw =
        |key: &Arc<str>| Statement::change("DELETE FROM api_key_windows WHERE key_id = ?", params![&**key]);
    let statements: Vec<_> = insert.into_iter().chain(gone.iter().map(undraw)).collect();
    tx.run(&statements).await.all().map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_sums_rounds_and_names_the_busiest_endpoints() {
        let tally = |requests, failed, micros| Tally {
            requests,
            failed,
            micros,
            last_at: UnixMillis(0),
        };
        let rows = vec![
            ("GET /a".to_owned(), tally(2, 1, 3_000)),
            ("GET /b".to_owned(), tally(4, 0, 0)),
            ("GET /a".to_owned(), tally(1, 0, 450)),
        ];
        let report = serde_json::to_value(UsageReport::of(rows, 7)).unwrap();
        let meant = serde_json::json!({
            "total_requests": 7, "successful_requests": 6, "failed_requests": 1, "success_rate": 85.7,
            "avg_duration_ms": 0.5, "period_days": 7,
            "top_endpoints": [{"endpoint": "GET /b", "requests": 4}, {"endpoint": "GET /a", "requests": 3}],
        });
        assert_eq!(report, meant);
        let none = serde_json::to_value(UsageReport::of(Vec::new(), 1)).unwrap();
        assert_eq!(
            (&none["success_rate"], &none["avg_duration_ms"]),
            (&0.0.into(), &0.0.into())
        );
    }
}
