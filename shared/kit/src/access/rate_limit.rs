//! Rate limits: fixed windows that all replicas together never exceed.
//!
//! A [`Limiter`] is what one replica has of the limit of one key, or of one of whatever else a service limits. A replica draws a
//! twentieth of the limit at a time from the window's row, and lets requests through on what it has drawn. What a replica has
//! drawn and not used when it ends, or when the window does, is lost: the limit is then a little lower, never higher.

use contract::UnixMillis;
use db::{Db, DbError, Tx, params};
use http::{HeaderMap, HeaderName, HeaderValue};
use std::{sync::Arc, time::Duration};
use tokio::{
    sync::{Mutex, OwnedMutexGuard},
    time::Instant,
};

/// The part of a limit that is drawn at once: one in so many.
const DRAWS_PER_WINDOW: u32 = 20;
/// For how long after a draw that failed nobody waits for another one.
const FAILS_AT_ONCE_FOR: Duration = Duration::from_secs(1);
/// Windows of one subject whose rows are kept before the present one: a replica's clock may be behind.
const WINDOWS_KEPT: i64 = 2;
/// The headers that name a limit.
const HEADERS: usize = 5;
const RATELIMIT_POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");
const RATELIMIT: HeaderName = HeaderName::from_static("ratelimit");
const X_RATELIMIT_LIMIT: HeaderName = HeaderName::from_static("x-ratelimit-limit");
const X_RATELIMIT_REMAINING: HeaderName = HeaderName::from_static("x-ratelimit-remaining");
const X_RATELIMIT_RESET: HeaderName = HeaderName::from_static("x-ratelimit-reset");
/// The name of the policy in the headers.
const POLICY: &str = "key";

/// So often in each window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limit {
    /// How often.
    pub count: u32,
    /// The window's length, at least 1.
    pub window_seconds: u32,
}

/// The table in which the windows of one kind of subject stand: `began_at`, in Unix milliseconds, and `drawn`, beside the
/// subject's id; the primary key is the id with `began_at`.
#[derive(Debug)]
pub struct WindowTable {
    /// The table.
    pub name: &'static str,
    /// The column of the subject's id.
    pub subject: &'static str,
}

/// What one replica has of one subject's limit.
#[derive(Debug)]
pub struct Limiter {
    table: &'static WindowTable,
    subject: Arc<str>,
    /// Its mutex is also the singleflight of drawing.
    drawn: Arc<Mutex<Drawn>>,
}

#[derive(Debug, Default)]
struct Drawn {
    window: Window,
    failed_at: Option<Instant>,
}

/// What one replica has of a window. The default is a window that is over.
#[derive(Clone, Copy, Debug, Default)]
struct Window {
    began_at: UnixMillis,
    /// Milliseconds.
    length: i64,
    /// What all replicas have drawn, when this one last drew.
    drawn: u64,
    /// What this one has drawn and not used.
    left: u32,
    /// The limit that it was counted against.
    limit: u32,
}

/// How a subject stands with its limit after a request was counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Standing {
    limit: u32,
    window_seconds: u32,
    remaining: u32,
    resets_at: UnixMillis,
    now: UnixMillis,
    is_within: bool,
}

impl Limiter {
    /// The limit of one subject, of which nothing is drawn here yet.
    pub fn new(table: &'static WindowTable, subject: Arc<str>) -> Self {
        Self {
            table,
            subject,
            drawn: Arc::default(),
        }
    }

    /// Counts one request, and says whether it is within the limit. It waits for a draw until that has ended or was aborted,
    /// since only then it is known what was drawn: `db` is one that answers after the abort.
    ///
    /// # Errors
    /// Those of the database, where nothing is left of what was drawn.
    pub async fn take(&self, db: &Db, limit: Limit, now: UnixMillis) -> Result<Standing, DbError> {
        let mut drawn = Arc::clone(&self.drawn).lock_owned().await;
        if drawn.window.asks_for_a_draw(limit, now) {
            drawn = self.draw(db, drawn).await?;
        }
        Ok(drawn.window.take(limit, now))
    }

    /// Counts one request if it needs no draw and nobody draws just now: without waiting for anything.
    pub fn take_drawn(&self, limit: Limit, now: UnixMillis) -> Option<Standing> {
        let mut drawn = self.drawn.try_lock().ok()?;
        let needs_a_draw = drawn.window.asks_for_a_draw(limit, now);
        (!needs_a_draw).then(|| drawn.window.take(limit, now))
    }

    /// Draws a portion. In a task of its own: its caller may hang up meanwhile, and what is committed would be lost to the
    /// window. After a failure those who wait fail at once for a second, not one after the other.
    async fn draw(
        &self,
        db: &Db,
        mut drawn: OwnedMutexGuard<Drawn>,
    ) -> Result<OwnedMutexGuard<Drawn>, DbError> {
        if drawn.failed_at.is_some_and(|at| at.elapsed() < FAILS_AT_ONCE_FOR) {
            return Err(DbError::Unavailable);
        }
        let (db, table, subject) = (db.clone(), self.table, Arc::clone(&self.subject));
        let drawing = tokio::spawn(async move {
            let result = drawn.window.draw(&db, table, &subject).await;
            if result.is_err() {
                drawn.failed_at = Some(Instant::now());
            }
            result.map(|()| drawn)
        });
        drawing.await.unwrap_or(Err(DbError::Panicked))
    }
}

impl Window {
    /// Moves on to the window of now and to the present limit, and says whether [`draw`](Self::draw) has to come before
    /// [`take`](Self::take).
    fn asks_for_a_draw(&mut self, limit: Limit, now: UnixMillis) -> bool {
        let length = i64::from(limit.window_seconds) * 1_000;
        let began_at = UnixMillis(now.0 - now.0.rem_euclid(length));
        // A time a little before the present window is of one who took it and came later; one far before, of a clock that was
        // set back.
        let is_late = (self.began_at.0 - length..self.began_at.0).contains(&began_at.0);
        if self.began_at != began_at && !is_late {
            *self = Self {
                began_at,
                ..Self::default()
            };
        }
        self.length = length;
        self.count_against(limit.count);
        self.left == 0 && self.drawn < u64::from(self.limit)
    }

    /// Draws a portion.
    ///
    /// # Errors
    /// The database's.
    async fn draw(&mut self, db: &Db, table: &'static WindowTable, subject: &str) -> Result<(), DbError> {
        let portion = self.limit.div_ceil(DRAWS_PER_WINDOW);
        self.drawn = draw(db, table, subject, (self.began_at, self.length), portion).await?;
        self.left = granted(self.drawn, portion, self.limit);
        Ok(())
    }

    /// Counts one request.
    fn take(&mut self, limit: Limit, now: UnixMillis) -> Standing {
        let is_within = self.left > 0;
        self.left = self.left.saturating_sub(1);
        let undrawn = u64::from(self.limit).saturating_sub(self.drawn);
        Standing {
            limit: self.limit,
            window_seconds: limit.window_seconds,
            remaining: u32::try_from(undrawn)
                .unwrap_or(u32::MAX)
                .saturating_add(self.left),
            resets_at: UnixMillis(self.began_at.0 + self.length),
            now,
            is_within,
        }
    }

    /// Takes another limit. Of what was drawn under a higher one, what lies beyond this one is given up: the holder of a key
    /// whose limit is lowered would else go on with up to a twentieth of the old one.
    fn count_against(&mut self, limit: u32) {
        if limit < self.limit {
            let used = self.drawn.min(self.limit.into()) - u64::from(self.left);
            let free = u64::from(limit).saturating_sub(used);
            self.left = self.left.min(u32::try_from(free).unwrap_or(u32::MAX));
        }
        self.limit = limit;
    }
}

/// What of the last draw lies within the limit, when `drawn` includes it.
fn granted(drawn: u64, portion: u32, limit: u32) -> u32 {
    let before = drawn.saturating_sub(u64::from(portion));
    let free = u64::from(limit).saturating_sub(before);
    portion.min(u32::try_from(free).unwrap_or(u32::MAX))
}

/// Adds a draw to the window's row, and returns what has been drawn with it. Locked by its own write, the row then reads back as
/// it was written here.
async fn draw(
    db: &Db,
    table: &'static WindowTable,
    subject: &str,
    (began_at, length): (UnixMillis, i64),
    portion: u32,
) -> Result<u64, DbError> {
    let subject = subject.to_owned();
    db.transaction("draw_rate_limit", move |tx: &mut Tx| {
        let subject = subject.clone();
        Box::pin(async move {
            let WindowTable { name, subject: id } = table;
            let outdated = UnixMillis(began_at.0 - WINDOWS_KEPT * length);
            let add = tx.dialect().on_conflict_add(&[id, "began_at"], &["drawn"]);
            let insert = format!("INSERT INTO {name} ({id}, began_at, drawn) VALUES (?, ?, ?){add}");
            tx.execute(&insert, params![&subject, began_at, portion]).await?;
            let delete = format!("DELETE FROM {name} WHERE {id} = ? AND began_at < ?");
            tx.execute(&delete, params![&subject, outdated]).await?;
            let select = format!("SELECT drawn FROM {name} WHERE {id} = ? AND began_at = ?");
            let row = tx.query_one(&select, params![&subject, began_at]).await?;
            row.ok_or_else(|| DbError::unreadable("drawn"))?.get("drawn")
        })
    })
    .await
}

impl Standing {
    /// Whether the request is within the limit.
    pub fn is_within(&self) -> bool {
        self.is_within
    }

    /// Seconds until the window ends, at least one.
    pub fn seconds_left(&self) -> u32 {
        let seconds = (self.resets_at.0 - self.now.0 + 999) / 1_000;
        u32::try_from(seconds).unwrap_or(1).max(1)
    }

    /// The headers that name the limit: those of draft-ietf-httpapi-ratelimit-headers-10, and the older ones, whose `Reset` is
    /// in Unix seconds.
    pub(super) fn headers(&self) -> HeaderMap {
        let Self {
            limit,
            window_seconds,
            remaining,
            ..
        } = *self;
        let left = self.seconds_left();
        let text = |text: String| HeaderValue::try_from(text).expect("numbers are header values");
        let mut headers = HeaderMap::with_capacity(HEADERS);
        headers.insert(
            RATELIMIT_POLICY,
            text(format!("\"{POLICY}\";q={limit};w={window_seconds}")),
        );
        headers.insert(RATELIMIT, text(format!("\"{POLICY}\";r={remaining};t={left}")));
        headers.insert(X_RATELIMIT_LIMIT, limit.into());
        headers.insert(X_RATELIMIT_REMAINING, remaining.into());
        headers.insert(X_RATELIMIT_RESET, (self.resets_at.0 / 1_000).into());
        headers
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_drawn_past_the_limit_is_not_granted() {
        for (drawn, portion, limit, meant) in [
            (50, 50, 1_000, 50),
            (1_000, 50, 1_000, 50),
            (1_020, 50, 1_000, 30),
            (1_050, 50, 1_000, 0),
            (9_000, 50, 1_000, 0),
            (1, 1, 1, 1),
            (2, 1, 1, 0),
        ] {
            assert_eq!(granted(drawn, portion, limit), meant, "{drawn} {portion} {limit}");
        }
    }

    #[test]
    fn a_time_that_is_a_little_late_throws_nothing_away_that_was_drawn() {
        let limit = Limit {
            count: 1_000,
            window_seconds: 60,
        };
        let mut window = Window::default();
        assert!(window.asks_for_a_draw(limit, UnixMillis(600_000)));
        (window.drawn, window.left) = (50, 50);
        for (now, asks) in [
            (599_999, false),
            (600_001, false),
            (540_000, false),
            (539_999, true),
        ] {
            assert_eq!(window.asks_for_a_draw(limit, UnixMillis(now)), asks, "{now}");
        }
    }

    #[test]
    fn a_limit_that_is_lowered_holds_for_what_was_drawn_before() {
        for (drawn, left, limit, lowered, meant) in [
            (50, 50, 1_000, 10, 10),
            (50, 30, 1_000, 60, 30),
            (50, 30, 1_000, 20, 0),
            (1_020, 30, 1_000, 980, 10),
            (1_020, 30, 1_000, 100, 0),
            (50, 30, 1_000, 2_000, 30),
            (0, 0, 0, 7, 0),
        ] {
            let mut window = Window {
                began_at: UnixMillis(0),
                length: 1_000,
                drawn,
                left,
                limit,
            };
            window.count_against(lowered);
            assert_eq!(
                (window.left, window.limit),
                (meant, lowered),
                "{drawn} {left} {limit} {lowered}"
            );
        }
    }

    #[test]
    fn the_headers_say_limit_rest_and_end() {
        let standing = Standing {
            limit: 1_000,
            window_seconds: 3_600,
            remaining: 7,
            resets_at: UnixMillis(7_200_000),
            now: UnixMillis(7_198_001),
            is_within: true,
        };
        let headers = standing.headers();
        for (name, value) in [
            ("ratelimit-policy", "\"key\";q=1000;w=3600"),
            ("ratelimit", "\"key\";r=7;t=2"),
            ("x-ratelimit-limit", "1000"),
            ("x-ratelimit-remaining", "7"),
            ("x-ratelimit-reset", "7200"),
        ] {
            assert_eq!(headers[name], value, "{name}");
        }
    }
}
