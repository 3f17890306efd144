//! The breaker of an endpoint as its row has it: every claim reads it there, so what one process has found holds for all.
//!
//! Each change is a compare-and-set on the epoch, and so is the claim of the probe (`claims`), which is written in the transaction
//! that claims its delivery. An owner that dies frees the probe when its claim ends.

use super::{
    Store,
    breaker_history::{self, BreakerChange, read_state},
    clock_skew::set_at_most,
};
use contract::{UnixMillis, id::EndpointId};
use db::{DbError, Row, Statement, Tx, params};
use kit::breaker::State;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

/// The columns of [`SharedBreaker`], as queries of the endpoints name them.
pub(super) const COLUMNS: &str =
    "breaker_state, breaker_until, breaker_since, breaker_openings, breaker_epoch";

/// Why it is closed when a person has changed the address.
const MOVED: &str = "another address";

/// The breaker of an endpoint at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SharedBreaker {
    /// Its state.
    pub state: State,
    /// Open: when a probe may go out. Half-open: when the claim of the probe ends; 0 when nobody has it.
    pub until: UnixMillis,
    /// When that was set.
    pub since: UnixMillis,
    /// Open periods since it was last closed.
    pub openings: u32,
    /// Counts its changes, and the claims of its probe.
    pub epoch: i64,
}

/// What a breaker lets out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Admits {
    /// Whatever is due.
    All,
    /// One delivery, whose claim is the probe's.
    Probe,
    /// Nothing before this.
    NotBefore(UnixMillis),
}

/// A change of a breaker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BreakerWrite {
    /// The breaker that this was decided on.
    pub seen: SharedBreaker,
    /// What becomes of it.
    pub what: WhatOfBreaker,
    /// When.
    pub at: UnixMillis,
    /// Why, for people.
    pub reason: String,
}

/// What becomes of a breaker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WhatOfBreaker {
    /// It opens, and no probe goes out before this.
    Opened(UnixMillis),
    /// The probe has succeeded.
    Closed,
    /// The probe has said nothing, or was never sent: another may take its place.
    ProbeFreed,
}

impl Default for SharedBreaker {
    /// That of an endpoint of which nothing is known.
    fn default() -> Self {
        Self {
            state: State::Closed,
            until: UnixMillis(0),
            since: UnixMillis(0),
            openings: 0,
            epoch: 0,
        }
    }
}

impl SharedBreaker {
    /// What it lets out at this instant. What was set later than now can only have been set before the clock was set back: its wait
    /// is over.
    pub fn admits(&self, now: UnixMillis) -> Admits {
        match self.state {
            State::Closed => Admits::All,
            State::Open | State::HalfOpen if self.until > now && self.since <= set_at_most(now) => {
                Admits::NotBefore(self.until)
            }
            State::Open | State::HalfOpen => Admits::Probe,
        }
    }

    /// As it is with its probe claimed until then.
    pub(super) fn probed(self, until: UnixMillis, at: UnixMillis) -> Self {
        Self {
            state: State::HalfOpen,
            until,
            since: at,
            epoch: self.epoch + 1,
            ..self
        }
    }

    fn changed(self, what: WhatOfBreaker, at: UnixMillis) -> Self {
        let (state, until, openings) = match what {
            WhatOfBreaker::Opened(until) => (State::Open, until, self.openings.saturating_add(1)),
            WhatOfBreaker::Closed => (State::Closed, UnixMillis(0), 0),
            WhatOfBreaker::ProbeFreed => (State::HalfOpen, UnixMillis(0), self.openings),
        };
        Self {
            state,
            until,
            since: at,
            openings,
            epoch: self.epoch + 1,
        }
    }

    /// Writes it in place of the one that was seen, with the claim that has its probe.
    pub(super) fn write(&self, endpoint: &str, seen: &Self, owner: Option<&str>) -> Statement {
        let sql = "UPDATE endpoints SET breaker_state = ?, breaker_until = ?, breaker_since = ?, breaker_openings = ?,
                 breaker_epoch = ?, probe_owner = ?
             WHERE id = ? AND breaker_epoch = ?";
        let mut values = params![self.state.as_str(), self.until, self.since, self.openings];
        values.extend(params![self.epoch, owner, endpoint, seen.epoch]);
        Statement::change(sql, values)
    }

    /// The step from another state to this one; none where the state is the same.
    pub(super) fn change_from(&self, seen: &Self, reason: &str) -> Option<BreakerChange> {
        (seen.state != self.state).then(|| BreakerChange {
            // In the order of the changes, whichever process made them.
            id: format!("{:016}", self.epoch),
            at: self.since,
            from: seen.state,
            to: self.state,
            reason: reason.to_owned(),
        })
    }

    /// What a row has in [`COLUMNS`].
    pub(super) fn read(row: &Row) -> Result<Self, DbError> {
        Ok(Self {
            state: read_state(row, "breaker_state")?,
            until: row.get("breaker_until")?,
            since: row.get("breaker_since")?,
            openings: row.get("breaker_openings")?,
            epoch: row.get("breaker_epoch")?,
        })
    }
}

/// The breakers of endpoints as this process has seen them last. Clones share them.
///
/// Invariant: there are as many as there were ever endpoints that something was due for.
#[derive(Clone, Debug, Default)]
pub struct SharedBreakers(Arc<Mutex<HashMap<EndpointId, SharedBreaker>>>);

impl SharedBreakers {
    /// A breaker as it is committed; one that is older than what is known says nothing.
    pub(super) fn note(&self, endpoint: &EndpointId, breaker: SharedBreaker) {
        let mut breakers = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let known = breakers.entry(endpoint.clone()).or_default();
        if breaker.epoch >= known.epoch {
            *known = breaker;
        }
    }

    /// The newest that is known of one.
    pub fn of(&self, endpoint: &EndpointId) -> SharedBreaker {
        let breakers = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        breakers.get(endpoint).copied().unwrap_or_default()
    }
}

impl Store {
    /// Changes a breaker that is still as it was seen, and keeps its history; answers how it is then, by whose change it may be.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn change_breaker(
        &self,
        endpoint: EndpointId,
        write: BreakerWrite,
    ) -> Result<SharedBreaker, DbError> {
        let id = endpoint.clone();
        // Run again after an unknown commit it changes nothing, and finds what it wrote.
        let changed = self
            .repeatable("change_breaker", (endpoint, write), |tx, (endpoint, write)| {
                Box::pin(change(tx, endpoint.as_str(), write))
            })
            .await?;
        self.breakers.note(&id, changed);
        Ok(changed)
    }
}

async fn change(tx: &mut Tx, endpoint: &str, write: &BreakerWrite) -> Result<SharedBreaker, DbError> {
    let changed = write.seen.changed(write.what, write.at);
    let sql = format!("SELECT {COLUMNS} FROM endpoints WHERE id = ?");
    let statements = [
        changed.write(endpoint, &write.seen, None),
        Statement::query(sql, params![endpoint]),
    ];
    let answers = tx.run(&statements).await.all()?;
    if answers[0].matched > 0 {
        let change = changed.change_from(&write.seen, &write.reason);
        breaker_history::append(tx, endpoint, change).await?;
    }
    answers[1].row().map_or(Ok(write.seen), SharedBreaker::read)
}

/// Closes the breaker of an endpoint whose address has changed: what was found is about another one.
pub(super) async fn close_for_new_address(
    tx: &mut Tx,
    endpoint: &str,
    at: UnixMillis,
) -> Result<(), DbError> {
    let sql = format!("SELECT {COLUMNS} FROM endpoints WHERE id = ?");
    let row = tx.query_one(&sql, params![endpoint]).await?;
    let Some(seen) = row.as_ref().map(SharedBreaker::read).transpose()? else {
        return Ok(());
    };
    if seen.state == State::Closed {
        return Ok(());
    }
    let closed = seen.changed(WhatOfBreaker::Closed, at);
    let answers = tx.run(&[closed.write(endpoint, &seen, None)]).await.all()?;
    if answers[0].matched > 0 {
        breaker_history::append(tx, endpoint, closed.change_from(&seen, MOVED)).await?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: UnixMillis = UnixMillis(1_763_769_600_000);

    #[test]
    fn a_wait_is_over_at_its_end_and_when_the_clock_was_set_back() {
        for state in [State::Open, State::HalfOpen] {
            let breaker = SharedBreaker {
                state,
                until: NOW.plus_millis(60_000),
                since: NOW,
                openings: 7,
                epoch: 12,
            };
            for (now, admits) in [
                (NOW, Admits::NotBefore(breaker.until)),
                (NOW.plus_millis(59_999), Admits::NotBefore(breaker.until)),
                (NOW.plus_millis(60_000), Admits::Probe),
                (NOW.plus_millis(-60_000), Admits::NotBefore(breaker.until)),
                (NOW.plus_millis(-60_001), Admits::Probe),
            ] {
                assert_eq!(breaker.admits(now), admits, "{state:?} {now:?}");
            }
        }
        assert_eq!(SharedBreaker::default().admits(NOW), Admits::All);
    }

    #[test]
    fn each_change_counts_and_openings_count_until_it_closes() {
        let opened = |breaker: SharedBreaker| breaker.changed(WhatOfBreaker::Opened(NOW), NOW);
        let mut breaker = SharedBreaker::default();
        for openings in 1..5 {
            breaker = opened(breaker).probed(NOW, NOW);
            assert_eq!(
                (breaker.openings, breaker.epoch),
                (openings, 2 * i64::from(openings))
            );
        }
        assert_eq!(breaker.changed(WhatOfBreaker::ProbeFreed, NOW).openings, 4);
        let closed = breaker.changed(WhatOfBreaker::Closed, NOW);
        assert_eq!((closed.openings, closed.state), (0, State::Closed));
    }
}
