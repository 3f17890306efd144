//! Equal keys that are pending at the same time in this process: only one goes to the database, the others wait for it.
//!
//! The first delivery is the leader; each one that arrives with the same key before the leader's commit is known
//! follows. The leader's place is held by its [`Leader`], which travels with the entry through the queue: however that
//! ends, also by being dropped, all who wait get an answer and the key is free.

use super::IngestError;
use crate::event::{Accepted, DedupeKey};
use bytes::Bytes;
use foldhash::quality::RandomState;
use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};
use tokio::sync::oneshot;

/// The database's decision on a key, or why it is unknown.
pub type AcceptResult = Result<Accepted, IngestError>;

/// The keys that are pending.
#[derive(Clone, Debug, Default)]
pub struct Singleflight(Arc<Mutex<HashMap<Arc<DedupeKey>, Pending, RandomState>>>);

/// One pending key: what those who come with it need to know of its leader.
#[derive(Debug)]
struct Pending {
    body: Bytes,
    followers: Vec<oneshot::Sender<AcceptResult>>,
}

/// Waits for a pending key's result.
#[derive(Debug)]
pub struct Waiter {
    /// The leader's body.
    pub body: Bytes,
    result: oneshot::Receiver<AcceptResult>,
}

/// The leader's place.
#[derive(Debug)]
pub struct Leader {
    singleflight: Singleflight,
    key: Arc<DedupeKey>,
    /// Who leads waits for the result too.
    waiter: Option<oneshot::Sender<AcceptResult>>,
    result: AcceptResult,
}

/// The role of a request that enters.
#[derive(Debug)]
pub enum Entered {
    /// The first with its key: it leads, and waits like everyone else.
    Leader(Leader, Waiter),
    /// Another request is the leader.
    Follower(Waiter),
}

impl Singleflight {
    /// Enters with a key.
    pub fn enter(&self, key: Arc<DedupeKey>, body: &Bytes) -> Entered {
        let (sender, result) = oneshot::channel();
        let mut pending = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(pending) = pending.get_mut(&key) {
            pending.followers.push(sender);
            let body = pending.body.clone();
            return Entered::Follower(Waiter { body, result });
        }
        let first = Pending {
            body: body.clone(),
            followers: Vec::new(),
        };
        pending.insert(Arc::clone(&key), first);
        let body = body.clone();
        let leader = Leader {
            singleflight: self.clone(),
            key,
            waiter: Some(sender),
            result: Err(IngestError::Unavailable),
        };
        Entered::Leader(leader, Waiter { body, result })
    }
}

impl Waiter {
    /// Waits for the leader's result.
    pub async fn completed(self) -> AcceptResult {
        self.result.await.unwrap_or(Err(IngestError::Unavailable))
    }
}

impl Leader {
    /// The pending key.
    pub fn key(&self) -> &Arc<DedupeKey> {
        &self.key
    }

    /// Releases the key and answers all who wait. Later requests find the key in the cache or ask the database.
    pub fn complete(mut self, result: AcceptResult) {
        self.result = result;
    }
}

impl Drop for Leader {
    fn drop(&mut self) {
        let completed = self
            .singleflight
            .0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(&self.key);
        let followers = completed.map(|pending| pending.followers).unwrap_or_default();
        for waiter in followers.into_iter().chain(self.waiter.take()) {
            // A waiting request that was dropped needs no answer.
            drop(waiter.send(self.result.clone()));
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

    fn lead(singleflight: &Singleflight) -> (Leader, Waiter) {
        match singleflight.enter(key(), &Bytes::from_static(b"one")) {
            Entered::Leader(leader, waiter) => (leader, waiter),
            Entered::Follower(_) => panic!("the key is taken"),
        }
    }

    #[tokio::test]
    async fn followers_get_the_result_of_the_leader() {
        let singleflight = Singleflight::default();
        let (leader, first) = lead(&singleflight);
        let Entered::Follower(second) = singleflight.enter(key(), &Bytes::from_static(b"two")) else {
            panic!("two lead");
        };
        assert_eq!(second.body, Bytes::from_static(b"one"));
        leader.complete(Ok(Accepted::New("evt_ours".parse().unwrap())));
        for waiter in [first, second] {
            assert_eq!(
                waiter.completed().await,
                Ok(Accepted::New("evt_ours".parse().unwrap()))
            );
        }
        drop(lead(&singleflight));
    }

    #[tokio::test]
    async fn a_leader_that_is_dropped_frees_its_key_and_answers() {
        let singleflight = Singleflight::default();
        let (leader, waiter) = lead(&singleflight);
        drop(leader);
        assert_eq!(waiter.completed().await, Err(IngestError::Unavailable));
        assert!(singleflight.0.lock().unwrap().is_empty());
    }
}
