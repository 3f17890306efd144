//! What the tables say, read beside all replicas.

use std::collections::BTreeMap;

use contract::UnixMillis;
use db::{Db, Params, Row, Tx, params};

/// Endpoint and event.
pub type Key = (String, String);

/// How a delivery stands.
#[derive(Clone, Debug, Default)]
pub struct Delivery {
    pub status: String,
    pub attempts: i64,
    /// Attempts that are kept, and the number of the last one.
    pub kept: (i64, i64),
    /// How often the audit log says that it was delivered or died.
    pub settled: i64,
    /// How often it says that it was made due once it was settled; and that a run made it due or queued it.
    pub made_due: i64,
    pub replayed: i64,
}

/// A run, and how far it is.
pub struct Run {
    pub id: String,
    pub status: String,
    pub last_place: i64,
}

/// What a run begins with.
const CLEAR: [&str; 15] = [
    "DELETE FROM audit_entries",
    "DELETE FROM breaker_history",
    "DELETE FROM deliveries",
    "DELETE FROM delivery_attempts",
    "DELETE FROM delivery_hours",
    "DELETE FROM delivery_order",
    "DELETE FROM delivery_run_waiting",
    "DELETE FROM delivery_runs",
    "DELETE FROM endpoint_headers",
    "DELETE FROM endpoint_secrets",
    "DELETE FROM endpoints",
    "DELETE FROM event_bodies",
    "DELETE FROM events",
    "DELETE FROM leases",
    "DELETE FROM sequences",
];

/// The tables.
#[derive(Clone)]
pub struct Tables(pub Db);

impl Tables {
    async fn rows(&self, sql: &'static str, values: Params) -> Vec<Row> {
        let read = self.0.read("look", move |tx: &mut Tx| {
            let values = values.clone();
            Box::pin(async move { tx.query(sql, values).await })
        });
        read.await.unwrap()
    }

    pub async fn change(&self, sql: &'static str) {
        let changed = self.0.transaction("change", move |tx: &mut Tx| {
            Box::pin(async move { tx.execute(sql, vec![]).await })
        });
        changed.await.unwrap();
    }

    /// Empties all that a run writes.
    pub async fn clear(&self) {
        for sql in CLEAR {
            self.change(sql).await;
        }
    }

    pub async fn number(&self, sql: &'static str, values: Params) -> i64 {
        self.rows(sql, values).await[0].get("n").unwrap()
    }

    /// What has a place behind this one.
    pub async fn placed_behind(&self, last: i64) -> Vec<(i64, String)> {
        let sql = "SELECT feed_seq, id FROM events WHERE feed_seq > ? ORDER BY feed_seq";
        let rows = self.rows(sql, params![last]).await;
        rows.iter()
            .map(|row| (row.get("feed_seq").unwrap(), row.get("id").unwrap()))
            .collect()
    }

    /// How far each endpoint is: None for those that are as far as the feed.
    pub async fn behind(&self) -> BTreeMap<String, Option<i64>> {
        let rows = self.rows("SELECT id, backfill_seq FROM endpoints", vec![]).await;
        rows.iter()
            .map(|row| (row.get("id").unwrap(), row.get("backfill_seq").unwrap()))
            .collect()
    }

    pub async fn runs(&self) -> Vec<Run> {
        let rows = self
            .rows("SELECT id, status, last_place FROM delivery_runs", vec![])
            .await;
        let run = |row: &Row| Run {
            id: row.get("id").unwrap(),
            status: row.get("status").unwrap(),
            last_place: row.get("last_place").unwrap(),
        };
        rows.iter().map(run).collect()
    }

    /// Deliveries that a dispatcher would claim now.
    pub async fn due(&self, now: UnixMillis) -> i64 {
        let sql = "SELECT COUNT(*) AS n FROM deliveries d JOIN endpoints p ON p.id = d.endpoint_id
             WHERE d.status = 'pending' AND d.due_at <= ? AND (d.owner IS NULL OR d.lease_until < ?)
                 AND p.url IS NOT NULL AND p.disabled_reason IS NULL AND p.paused = 0 AND p.deleted_at IS NULL
                 AND p.paused_until <= ? AND (p.breaker_state = 'closed' OR p.breaker_until <= ?)";
        self.number(sql, params![now, now, now, now]).await
    }

    /// Deliveries that wait for an endpoint.
    pub async fn waiting(&self, endpoint: &str) -> i64 {
        let sql = "SELECT COUNT(*) AS n FROM deliveries WHERE endpoint_id = ? AND status = 'pending'";
        self.number(sql, params![endpoint]).await
    }

    /// What is pending and due at some time, so that nothing holds it back.
    pub async fn released(&self) -> Vec<Key> {
        let sql = "SELECT endpoint_id, event_id FROM deliveries WHERE status = 'pending' AND due_at < ?";
        let rows = self.rows(sql, params![i64::MAX]).await;
        rows.iter().map(key).collect()
    }

    /// What was delivered, or is dead.
    pub async fn settled(&self) -> Vec<Key> {
        let sql = "SELECT endpoint_id, event_id FROM deliveries WHERE status IN ('delivered', 'dead')
             ORDER BY endpoint_id, event_id";
        let rows = self.rows(sql, vec![]).await;
        rows.iter().map(key).collect()
    }

    /// Whatever has not come to its end.
    pub async fn unfinished(&self) -> i64 {
        let sql = "SELECT (SELECT COUNT(*) FROM events WHERE feed_seq IS NULL)
                 + (SELECT COUNT(*) FROM deliveries WHERE status = 'pending')
                 + (SELECT COUNT(*) FROM delivery_order)
                 + (SELECT COUNT(*) FROM delivery_runs WHERE status = 'running')
                 + (SELECT COUNT(*) FROM endpoints WHERE subscribed = 1 AND backfill_seq IS NOT NULL) AS n";
        self.number(sql, vec![]).await
    }

    /// Whether a transaction waits for the places of the feed, which another one holds. MySQL alone.
    pub async fn is_any_waiting_for_places(&self) -> bool {
        let sql = "SELECT COUNT(*) AS n FROM information_schema.PROCESSLIST
             WHERE DB = DATABASE() AND ID <> CONNECTION_ID() AND INFO LIKE '%UPDATE sequences SET holds%'";
        self.number(sql, vec![]).await > 0
    }

    /// The deliveries that there are.
    pub async fn keys(&self) -> Vec<Key> {
        let rows = self
            .rows("SELECT endpoint_id, event_id FROM deliveries", vec![])
            .await;
        rows.iter().map(key).collect()
    }

    /// All that is said of each delivery.
    pub async fn deliveries(&self) -> BTreeMap<Key, Delivery> {
        let sql = "SELECT endpoint_id, event_id, status, attempts FROM deliveries";
        let mut all = BTreeMap::new();
        for row in self.rows(sql, vec![]).await {
            let delivery = Delivery {
                status: row.get("status").unwrap(),
                attempts: row.get("attempts").unwrap(),
                ..Delivery::default()
            };
            all.insert(key(&row), delivery);
        }
        let sql = "SELECT endpoint_id, event_id, COUNT(*) AS kept, MAX(number) AS last FROM delivery_attempts
             GROUP BY endpoint_id, event_id";
        for row in self.rows(sql, vec![]).await {
            let one: &mut Delivery = all.entry(key(&row)).or_default();
            one.kept = (row.get("kept").unwrap(), row.get("last").unwrap());
        }
        let sql = "SELECT source AS endpoint_id, event_id, action, COUNT(*) AS n FROM audit_entries
             WHERE action IN ('delivered', 'dead', 'dead_retried', 'delivery_replayed', 'delivery_retried')
                 AND COALESCE(outcome, '') <> 'was pending'
             GROUP BY source, event_id, action";
        for row in self.rows(sql, vec![]).await {
            let (action, n): (String, i64) = (row.get("action").unwrap(), row.get("n").unwrap());
            let one: &mut Delivery = all.entry(key(&row)).or_default();
            match action.as_str() {
                "delivered" | "dead" => one.settled += n,
                "delivery_replayed" => one.replayed += n,
                _ => one.made_due += n,
            }
        }
        all
    }
}

fn key(row: &Row) -> Key {
    (row.get("endpoint_id").unwrap(), row.get("event_id").unwrap())
}
