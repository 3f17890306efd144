//! Claims, attempts and settlements of single replicas, each a step of its own: so anything may come between them.

use std::sync::Arc;
use std::time::Duration;

use contract::{UnixMillis, id::EndpointId};
use harness::signer::Delivery;
use pms_emitter::store::{AttemptRecord, Claim, ClaimRequest, Claimed, EndpointUpdate, Settlement, Verdict};

use super::model::{Behaviour, Model};
use super::replica::Held;

/// What waits longer for its attempt is given back: half of what a lease has beyond the attempt.
const WAIT_MAX_MS: i64 = 7_500;
/// How long a claim holds: an attempt's time-out and the slack.
pub const LEASE: Duration = Duration::from_secs(30);
/// Attempts before a delivery is dead, each with its wait.
const ATTEMPTS_MAX: u64 = 3;
const WAIT_MS: i64 = 5_000;

impl Model {
    /// A replica claims something of an endpoint, also of one that is sent nothing.
    pub async fn claim(&mut self) {
        let which = self.rng.below(self.replicas.len());
        let any = self.rng.chance(20);
        let endpoints = self.oracle.endpoints.iter();
        let asked = endpoints.filter(|(_, endpoint)| any || endpoint.is_sent_to());
        let ids: Vec<String> = asked.map(|(id, _)| id.clone()).collect();
        if ids.is_empty() {
            return;
        }
        let id = self.rng.pick(&ids).clone();
        self.claim_of(which, id).await;
    }

    async fn claim_of(&mut self, which: usize, id: String) {
        self.seen.claims += 1;
        let now = self.now();
        let request = ClaimRequest {
            endpoint: id.parse().unwrap(),
            token: format!("clm_model_{}", self.seen.claims),
            now,
            lease: LEASE,
            limit: 1 + self.rng.below(6),
            turn: self.rng.below(4),
        };
        let claimed = self.replicas[which].store.claim(request).await.unwrap();
        if let Claimed::Deliveries { .. } = claimed {
            let endpoint = &self.oracle.endpoints[&id];
            assert!(endpoint.is_sent_to(), "{id} is sent nothing, and claimed from");
        }
        self.hold(which, &id, claimed);
    }

    /// A replica asks that what is queued is claimed for it at once.
    pub fn offer(&mut self, which: usize) -> Vec<EndpointId> {
        let now = self.now();
        let mut offered = Vec::new();
        for id in self.oracle.endpoints.keys() {
            if !self.rng.chance(50) {
                continue;
            }
            self.seen.claims += 1;
            let request = ClaimRequest {
                endpoint: id.parse().unwrap(),
                token: format!("clm_model_{}", self.seen.claims),
                now,
                lease: LEASE,
                limit: 1 + self.rng.below(6),
                turn: self.rng.below(4),
            };
            offered.push(request.endpoint.clone());
            self.replicas[which].offer(request);
        }
        offered
    }

    /// It holds what its fan-out has claimed.
    pub async fn take_over(&mut self, which: usize, offered: Vec<EndpointId>) {
        for (endpoint, claimed) in self.replicas[which].handed_over(&offered).await {
            if let Claimed::Deliveries { claims, .. } = &claimed {
                self.seen.claimed_at_once += claims.len();
            }
            self.hold(which, endpoint.as_str(), claimed);
        }
    }

    fn hold(&mut self, which: usize, id: &str, claimed: Claimed) {
        let Claimed::Deliveries { target, claims, .. } = claimed else {
            return;
        };
        let (now, replica) = (self.now(), &mut self.replicas[which]);
        let events: Vec<&str> = claims
            .iter()
            .map(|claim| claim.delivery.event_id.as_str())
            .collect();
        self.history
            .note(format!("{} claims of {id}: {events:?}", replica.name));
        // As its dispatcher does: also what another replica has changed is known from then on.
        let endpoint = id.parse().unwrap();
        replica.store.versions().note(&endpoint, target.version);
        self.seen.claimed += claims.len();
        replica.held.extend(claims.into_iter().map(|claim| Held {
            endpoint: id.to_owned(),
            claim,
            since: now.0,
            version: target.version,
            ended: None,
            is_gone: false,
        }));
    }

    /// A replica makes an attempt with something that it holds, unless the endpoint was changed since, or its
    /// claim may soon be over.
    pub async fn attempt(&mut self) {
        let now = self.now();
        let replicas = self.replicas.iter().enumerate();
        let waiting: Vec<(usize, usize)> = replicas
            .flat_map(|(which, replica)| {
                let held = replica.held.iter().enumerate();
                held.filter(|(_, one)| one.ended.is_none())
                    .map(move |(index, _)| (which, index))
            })
            .collect();
        if waiting.is_empty() {
            return;
        }
        let (which, index) = *self.rng.pick(&waiting);
        let times_out = self.rng.chance(10);
        let replica = &mut self.replicas[which];
        let held = &mut replica.held[index];
        let endpoint = held.endpoint.parse().unwrap();
        let is_current = replica.store.versions().is_current(&endpoint, held.version);
        if !is_current || now.0 - held.since > WAIT_MAX_MS {
            let given_back = settlement(&held.claim, None, Verdict::Deferred);
            held.ended = Some(given_back);
            return;
        }
        let sink = &self.sinks[&held.endpoint];
        let answered = post(sink.double.url(), &held.claim, now).await;
        let status = match sink.behaviour {
            Behaviour::Answers(_) if !times_out => answered,
            _ => None,
        };
        let number = held.claim.attempts + 1;
        let is_last = number - held.claim.attempts_before >= ATTEMPTS_MAX;
        let verdict = match status {
            Some(200..=299) => Verdict::Delivered,
            Some(422) => Verdict::Dead("refused (422)".to_owned()),
            Some(410) => Verdict::Kept,
            _ if is_last => Verdict::Dead("the last attempt failed".to_owned()),
            _ => Verdict::RetryAt(now.plus_millis(WAIT_MS)),
        };
        self.history.note(format!(
            "{} sends {} to {}: {status:?}",
            replica.name, held.claim.delivery.event_id, held.endpoint
        ));
        held.is_gone = status == Some(410);
        let attempt = AttemptRecord {
            number,
            at: now,
            duration_ms: 1,
            status,
            error: status.is_none().then(|| "timed out".to_owned()),
            answer: None,
        };
        held.ended = Some(settlement(&held.claim, Some(attempt), verdict));
        self.seen.attempts += 1;
    }

    /// A replica settles what has ended of one endpoint, maybe long after, when others have claimed it.
    pub async fn settle(&mut self) {
        let replicas = self.replicas.iter().enumerate();
        let ended: Vec<(usize, String)> = replicas
            .flat_map(|(which, replica)| {
                let ended = replica.held.iter().filter(|one| one.ended.is_some());
                ended.map(move |one| (which, one.endpoint.clone()))
            })
            .collect();
        if ended.is_empty() {
            return;
        }
        let (which, id) = self.rng.pick(&ended).clone();
        if self.rng.chance(25) {
            // It comes too late: another has claimed them, and makes its own attempts.
            self.history.note("leases end".to_owned());
            self.advance(LEASE + Duration::from_millis(1)).await;
            self.claim_of(1 - which, id.clone()).await;
        }
        let now = self.now();
        let replica = &mut self.replicas[which];
        let is_of_it = |one: &mut Held| one.endpoint == id && one.ended.is_some();
        let ended: Vec<Held> = replica.held.extract_if(.., is_of_it).collect();
        let gone = ended.iter().find(|one| one.is_gone);
        let update = EndpointUpdate {
            version: gone.map(|one| one.version),
            disabled: gone.map(|_| "gone"),
            paused_until: None,
        };
        let batch: Vec<Settlement> = ended.into_iter().filter_map(|one| one.ended).collect();
        let settled = replica
            .store
            .settle(id.parse().unwrap(), batch.into(), update, Arc::new([]), now)
            .await
            .unwrap();
        self.history
            .note(format!("{} settles of {id}: {settled:?}", replica.name));
        self.seen.lost += settled.lost;
        self.one_at_a_time().await;
    }
}

fn settlement(claim: &Claim, attempt: Option<AttemptRecord>, verdict: Verdict) -> Settlement {
    Settlement {
        delivery: claim.delivery.clone(),
        subject: claim.subject.clone(),
        attempt,
        verdict,
    }
}

/// Posts it as an attempt does, and answers the status.
async fn post(url: String, claim: &Claim, at: UnixMillis) -> Option<u16> {
    let (_, rest) = url.split_once("//").unwrap();
    let (address, path) = rest.split_once('/').unwrap();
    let second = at.0.div_euclid(1_000).to_string();
    let lines = [
        ("content-type", "application/json"),
        ("webhook-id", claim.delivery.event_id.as_str()),
        ("webhook-timestamp", second.as_str()),
    ];
    let post = Delivery {
        method: "POST".to_owned(),
        path: format!("/{path}"),
        headers: lines
            .map(|(name, value)| (name.to_owned(), value.as_bytes().to_vec()))
            .to_vec(),
        body: claim.body.clone().unwrap().to_vec(),
    };
    let answer = post.send(address.parse().unwrap()).await;
    answer.ok().map(|answer| answer.status)
}
