//! Equal keys that are on their way at the same time in this process: one flies, the others wait for it.
//!
//! The first to come leads; whoever comes with the same key before the leader's commit is known joins. The leader's
//! place is held by its [`Leading`], which travels with it through the queue: however that ends, also by being
//! dropped, those who wait are told and the key is free.

use super::IngestError;
use crate::event::{Accepted, DedupeKey};
use bytes::Bytes;
use foldhash::quality::RandomState;
use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};
use tokio::sync::oneshot;

/// What became of a leader.
pub type Outcome = Result<Accepted, IngestError>;

/// The keys that are on their way.
#[derive(Clone, Debug, Default)]
pub struct Flights(Arc<Mutex<HashMap<Arc<DedupeKey>, Airborne, RandomState>>>);

/// What those who come with the same key need to know of a leader.
#[derive(Debug)]
struct Airborne {
    body: Bytes,
    joined: Vec<oneshot::Sender<Outcome>>,
}

/// One key on its way, seen from somebody who waits for it.
#[derive(Debug)]
pub struct Flight {
    /// The leader's body.
    pub body: Bytes,
    outcome: oneshot::Receiver<Outcome>,
}

/// The leader's place.
#[derive(Debug)]
pub struct Leading {
    flights: Flights,
    key: Arc<DedupeKey>,
    told: Option<oneshot::Sender<Outcome>>,
    outcome: Outcome,
}

/// What a newcomer finds.
#[derive(Debug)]
pub enum Entered {
    /// Nobody with this key: the newcomer leads, and waits on the flight like everyone else.
    Lead(Leading, Flight),
    /// Somebody leads.
    Join(Flight),
}

impl Flights {
    /// Enters with a key.
    pub fn enter(&self, key: Arc<DedupeKey>, body: &Bytes) -> Entered {
        let (told, outcome) = oneshot::channel();
        let mut flights = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(airborne) = flights.get_mut(&key) {
            airborne.joined.push(told);
            let body = airborne.body.clone();
            return Entered::Join(Flight { body, outcome });
        }
        let airborne = Airborne {
            body: body.clone(),
            joined: Vec::new(),
        };
        flights.insert(Arc::clone(&key), airborne);
        let body = body.clone();
        let leading = Leading {
            flights: self.clone(),
            key,
            told: Some(told),
            outcome: Err(IngestError::Unavailable),
        };
        Entered::Lead(leading, Flight { body, outcome })
    }
}

impl Flight {
    /// Waits for what became of the leader.
    pub async fn landed(self) -> Outcome {
        self.outcome.await.unwrap_or(Err(IngestError::Unavailable))
    }
}

impl Leading {
    /// The key on its way.
    pub fn key(&self) -> &Arc<DedupeKey> {
        &self.key
    }

    /// Frees the key and tells everyone who waits. Whoever comes after this finds the cache or asks the database.
    pub fn land(mut self, outcome: Outcome) {
        self.outcome = outcome;
    }
}

impl Drop for Leading {
    fn drop(&mut self) {
        let landed = self
            .flights
            .0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(&self.key);
        let joined = landed.map(|airborne| airborne.joined).unwrap_or_default();
        for told in joined.into_iter().chain(self.told.take()) {
            // One who has gone needs no answer.
            drop(told.send(self.outcome.clone()));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key() -> Arc<DedupeKey> {
        Arc::new(DedupeKey {
            source: "pms".parse().unwrap(),
            id: "evt_1".parse().unwrap(),
        })
    }

    fn lead(flights: &Flights) -> (Leading, Flight) {
        match flights.enter(key(), &Bytes::from_static(b"one")) {
            Entered::Lead(leading, flight) => (leading, flight),
            Entered::Join(_) => panic!("the key is taken"),
        }
    }

    #[tokio::test]
    async fn those_who_join_hear_what_became_of_the_leader() {
        let flights = Flights::default();
        let (leading, first) = lead(&flights);
        let Entered::Join(second) = flights.enter(key(), &Bytes::from_static(b"two")) else {
            panic!("two lead");
        };
        assert_eq!(second.body, Bytes::from_static(b"one"));
        leading.land(Ok(Accepted::New("evt_ours".parse().unwrap())));
        for flight in [first, second] {
            assert_eq!(
                flight.landed().await,
                Ok(Accepted::New("evt_ours".parse().unwrap()))
            );
        }
        drop(lead(&flights));
    }

    #[tokio::test]
    async fn a_leader_that_is_dropped_frees_its_key_and_tells() {
        let flights = Flights::default();
        let (leading, flight) = lead(&flights);
        drop(leading);
        assert_eq!(flight.landed().await, Err(IngestError::Unavailable));
        assert!(flights.0.lock().unwrap().is_empty());
    }
}
