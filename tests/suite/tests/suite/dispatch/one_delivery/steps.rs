//! The random steps.

use std::time::Duration;

use contract::Envelope;
use db::DbError;
use harness::engine::Engine;
use harness::fault_proxy::Mode;
use harness::receiver_double::Gate;
use harness::waiting::{in_time, until};
use kit::sequencer::{LEASE_LENGTH, Sequencer, Step};
use pms_emitter::dispatch::RunStep;
use pms_emitter::store::NewEvent;
use serde_json::json;

use super::changes::{Change, PROPERTIES};
use super::model::{Behaviour, Model, Sink};
use super::oracle::{ENV, Entity, Event};
use crate::dispatch::rig::append;

/// More than any gate is asked for.
const ALL: usize = 10_000;

/// Of each kind the newest so many entities are changed.
const ENTITIES_MAX: usize = 5;

const TYPES: [(&str, Option<&str>); 5] = [
    ("guest.created", Some("guest")),
    ("guest.updated", Some("guest")),
    ("reservation.created", Some("reservation")),
    ("reservation.updated", Some("reservation")),
    ("review.created", None),
];

pub const BEHAVIOURS: [Behaviour; 9] = [
    Behaviour::Answers(200),
    Behaviour::Answers(200),
    Behaviour::Answers(202),
    Behaviour::Answers(500),
    Behaviour::Answers(500),
    Behaviour::Answers(409),
    Behaviour::Answers(422),
    Behaviour::Answers(410),
    Behaviour::Resets,
];

/// How often something was met.
#[derive(Clone, Debug, Default)]
pub struct Seen {
    pub placed: usize,
    pub changes: usize,
    pub changes_inside: usize,
    pub fan_outs_lost: usize,
    pub fan_outs_held: usize,
    pub claims: usize,
    pub claimed: usize,
    pub claimed_at_once: usize,
    pub attempts: usize,
    pub lost: usize,
    pub deaths: usize,
    pub runs: usize,
    pub replayed: usize,
    pub deliveries_held: usize,
    pub one_at_a_time: usize,
    pub orders_changed: usize,
    pub one_after_the_other: usize,
    pub held_back: usize,
    pub dispatched: usize,
}

impl Seen {
    pub fn add(&mut self, other: &Self) {
        self.placed += other.placed;
        self.changes += other.changes;
        self.changes_inside += other.changes_inside;
        self.fan_outs_lost += other.fan_outs_lost;
        self.fan_outs_held += other.fan_outs_held;
        self.claims += other.claims;
        self.claimed += other.claimed;
        self.claimed_at_once += other.claimed_at_once;
        self.attempts += other.attempts;
        self.lost += other.lost;
        self.deaths += other.deaths;
        self.runs += other.runs;
        self.replayed += other.replayed;
        self.deliveries_held += other.deliveries_held;
        self.one_at_a_time += other.one_at_a_time;
        self.orders_changed += other.orders_changed;
        self.one_after_the_other += other.one_after_the_other;
        self.held_back += other.held_back;
        self.dispatched += other.dispatched;
    }

    /// Whether nothing is left out that the case is about.
    pub fn is_all_met(&self, engine: Engine) -> bool {
        let met = [
            self.placed,
            self.changes,
            self.fan_outs_lost,
            self.fan_outs_held,
            self.claimed_at_once,
            self.attempts,
            self.deaths,
            self.runs,
            self.replayed,
            self.deliveries_held,
            self.one_at_a_time,
            self.one_after_the_other,
        ];
        met.iter().all(|times| *times > 0) && (engine == Engine::Sqlite || self.changes_inside > 0)
    }
}

impl Model {
    /// One thing that can happen, and what must hold after it.
    pub async fn step(&mut self) {
        match self.rng.below(100) {
            0..17 => {
                let count = 1 + self.rng.below(4);
                self.commit(count).await;
            }
            17..22 => {
                if let Some((change, sink)) = self.draw_making().await {
                    self.change(change, Some(sink)).await;
                }
            }
            22..27 => {
                if let Some(change) = self.draw_subscribing() {
                    self.change(change, None).await;
                }
            }
            27..31 => {
                let change = self.draw_pausing();
                self.change(change, None).await;
            }
            31 => {
                if let Some(change) = self.draw_deleting() {
                    self.change(change, None).await;
                }
            }
            32 => {
                let change = self.draw_enabling();
                self.change(change, None).await;
            }
            33 => {
                let has_url = !self.oracle.endpoints[ENV].is_subscribed;
                self.configure_env(has_url).await;
            }
            34..48 => self.fan_out().await,
            48..58 => self.claim().await,
            58..74 => self.attempt().await,
            74..81 => self.settle().await,
            81..83 => self.retry_one().await,
            83..86 => self.begin_run().await,
            86..89 => self.run_runs().await,
            89 => {
                let which = self.rng.below(self.replicas.len());
                self.history.note(format!("{} dies", self.replicas[which].name));
                self.kill(which);
            }
            90..94 => {
                let by = *self.rng.pick(&[50, 900, 4_100, 6_000, 31_000, 31_000, 61_000]);
                self.history.note(format!("{by} ms pass"));
                self.advance(Duration::from_millis(by)).await;
            }
            94..96 => {
                let behaviour = *self.rng.pick(&BEHAVIOURS);
                let ids: Vec<String> = self.sinks.keys().cloned().collect();
                let id = self.rng.pick(&ids).clone();
                self.history.note(format!("{id}: {behaviour:?}"));
                self.sinks.get_mut(&id).unwrap().set(behaviour);
            }
            96 => {
                let now = self.now();
                let which = self.rng.below(self.replicas.len());
                self.replicas[which].store.cancel_deliveries(now).await.unwrap();
            }
            97..99 => self.dispatch().await,
            _ => self.change_order().await,
        }
    }

    /// More events than a step of the fan-out, of an endpoint that is behind, or of a run takes.
    pub async fn crowd(&mut self) {
        for _ in 0..3 {
            self.commit(190).await;
        }
    }

    /// Events are committed, by the clocks of replicas that differ.
    async fn commit(&mut self, count: usize) {
        let which = self.rng.below(self.replicas.len());
        let mut events = Vec::new();
        for _ in 0..count {
            let event = self.draw_event();
            let envelope = Envelope {
                test: false,
                event_type: event.event_type.to_owned(),
                idempotency_key: event.id.parse().unwrap(),
                timestamp: contract::UnixMillis(event.committed_at),
                schema_version: 1,
                property_id: event.property.map(|property| property.parse().unwrap()),
                entity: event.entity.as_ref().map(|entity| {
                    let entity = json!({"kind": entity.kind, "id": entity.id, "version": entity.version});
                    serde_json::from_value(entity).unwrap()
                }),
                correlation_id: None,
                changed: Vec::new(),
                payload: event.payload(),
            };
            let new = NewEvent {
                id: event.id.parse().unwrap(),
                committed_at: envelope.timestamp,
                envelope,
                traceparent: None,
            };
            self.history
                .note(format!("{} {} is committed", event.id, event.event_type));
            self.oracle.committed(event);
            events.push(new);
        }
        let committed = self.replicas[which].db.transaction("commit", move |tx| {
            let events = events.clone();
            Box::pin(async move {
                for event in &events {
                    append(tx, event).await?;
                }
                Ok(())
            })
        });
        committed.await.unwrap();
    }

    fn draw_event(&mut self) -> Event {
        let at = self.now().0 + *self.rng.pick(&[-300, 0, 0, 300]);
        let (event_type, kind) = *self.rng.pick(&TYPES);
        let known: Vec<usize> = (0..self.entities.len())
            .filter(|index| kind == Some(self.entities[*index].0.kind))
            .rev()
            .take(ENTITIES_MAX)
            .collect();
        let (entity, property) = match kind {
            Some(_) if !known.is_empty() && self.rng.chance(75) => {
                let (entity, property) = &mut self.entities[*self.rng.pick(&known)];
                entity.version += 1;
                (Some(entity.clone()), Some(*property))
            }
            Some(kind) => {
                let property = *self.rng.pick(&PROPERTIES);
                let id = format!("{kind}_{}", self.entities.len());
                let entity = Entity { kind, id, version: 1 };
                self.entities.push((entity.clone(), property));
                (Some(entity), Some(property))
            }
            None => (None, self.rng.chance(50).then(|| *self.rng.pick(&PROPERTIES))),
        };
        let (salt, number) = (self.rng.below(1_000), self.oracle.events.len());
        Event {
            // As ids are: the time of their clock, and then chance.
            id: format!("evt_{at:013}_{salt:03}_{number}"),
            event_type,
            property,
            entity,
            committed_at: at,
            amount: u32::try_from(self.rng.below(100)).unwrap(),
            is_noted: self.rng.chance(50),
        }
    }

    /// One step of the fan-out by one of the replicas, whether it has the lease or not.
    async fn fan_out(&mut self) {
        let which = self.rng.below(self.replicas.len());
        let name = self.replicas[which].name.clone();
        let offered = self.offer(which);
        match self.rng.below(12) {
            0 => {
                // There is something to lose, and nobody else has the lease.
                self.commit(2).await;
                self.advance(LEASE_LENGTH + Duration::from_millis(1)).await;
                self.replicas[which].faults.die_inside();
                let stepped = self.replicas[which].fan_out().await;
                self.history
                    .note(format!("{name} dies in its fan-out: {stepped:?}"));
                self.seen.fan_outs_lost += usize::from(stepped.is_err());
                let last = self.oracle.last();
                assert_eq!(self.tables.placed_behind(last).await, [], "it was not committed");
                self.kill(which);
            }
            1 => {
                self.replicas[which].faults.die_after();
                let stepped = self.replicas[which].fan_out().await.unwrap();
                self.history
                    .note(format!("{name} dies after its fan-out: {stepped:?}"));
                self.kill(which);
            }
            2 if self.replicas[which].proxy.is_some() => {
                let mode = *self.rng.pick(&[Mode::CutBeforeCommit, Mode::CutAfterCommit]);
                let proxy = self.replicas[which].proxy.clone().unwrap();
                proxy.set(mode);
                let stepped = self.replicas[which].fan_out().await;
                proxy.set(Mode::Forward);
                self.history
                    .note(format!("{name} fans out, {mode:?}: {stepped:?}"));
                self.seen.fan_outs_lost += usize::from(stepped.is_err());
            }
            2..5 if self.ctx.engine == Engine::Mysql => {
                self.fan_out_beside_a_change(which).await;
                return self.take_over(which, offered).await;
            }
            _ => {
                let stepped = self.replicas[which].fan_out().await.unwrap();
                self.history.note(format!("{name} fans out: {stepped:?}"));
                self.seen.fan_outs_held += usize::from(stepped == Step::Held);
            }
        }
        self.follow_fan_out().await;
        self.take_over(which, offered).await;
    }

    /// Somebody changes an endpoint while a transaction of the fan-out goes on, which has read who is subscribed. The change must
    /// wait for its end: what is answered before counts for all that gets its place later.
    async fn fan_out_beside_a_change(&mut self, which: usize) {
        let (change, sink) = match self.rng.below(3) {
            0 => (self.draw_subscribing(), None),
            1 => (self.draw_deleting(), None),
            _ => match self.draw_making().await {
                Some((change, sink)) => (Some(change), Some(sink)),
                None => (None, None::<Sink>),
            },
        };
        let Some(change) = change else { return };
        if let Change::Delete(id) = &change
            && self.oracle.is_behind(id)
        {
            // Once it is deleted nobody can see how far it had come.
            return;
        }
        let desk = self.replicas[1 - which].desk.clone();
        let gate = self.replicas[which].faults.hold();
        let mut sequencer = self.replicas[which].sequencer.take().unwrap();
        let mut stepping = tokio::spawn(async move {
            let stepped = sequencer.step().await;
            (sequencer, stepped)
        });
        let ended = tokio::select! {
            biased;
            ended = &mut stepping => Some(ended.unwrap()),
            inside = gate.inside.acquire() => {
                inside.unwrap().forget();
                None
            }
        };
        if let Some(ended) = ended {
            // Nothing waits, or another has the lease.
            self.replicas[which].faults.let_go();
            self.fanned_out(which, ended);
            return self.follow_fan_out().await;
        }
        let changing = tokio::spawn(change.clone().carry_out(desk));
        let tables = self.tables.clone();
        until("the change is done, or waits", || async {
            changing.is_finished() || tables.is_any_waiting_for_places().await
        })
        .await;
        self.seen.changes_inside += 1;
        self.history.note(format!(
            "{} is in its fan-out, beside {change:?}",
            self.replicas[which].name
        ));
        if changing.is_finished() {
            let made = changing.await.unwrap().unwrap();
            self.changed(change, made, sink).await;
            gate.opened.add_permits(1);
            self.fanned_out(which, stepping.await.unwrap());
            return self.follow_fan_out().await;
        }
        gate.opened.add_permits(1);
        self.fanned_out(which, stepping.await.unwrap());
        let made = in_time("the change is done", changing).await.unwrap().unwrap();
        self.follow_fan_out().await;
        self.changed(change, made, sink).await;
    }

    fn fanned_out(&mut self, which: usize, (sequencer, stepped): (Sequencer, Result<Step, DbError>)) {
        let stepped = stepped.unwrap();
        let replica = &mut self.replicas[which];
        replica.sequencer = Some(sequencer);
        self.history
            .note(format!("{} fans out: {stepped:?}", replica.name));
        self.seen.fan_outs_held += usize::from(stepped == Step::Held);
    }

    /// Runs go on.
    async fn run_runs(&mut self) {
        let which = self.rng.below(self.replicas.len());
        let stepped = self.replicas[which].runner.step().await.unwrap();
        self.history.note(format!(
            "{} carries on runs: {stepped:?}",
            self.replicas[which].name
        ));
        if stepped == RunStep::Worked {
            self.follow_runs().await;
        }
    }

    /// Whole dispatchers of a replica. All sinks hold what they get until something more was done; then the replica dies with its
    /// attempts, or ends them.
    async fn dispatch(&mut self) {
        let which = self.rng.below(self.replicas.len());
        let name = self.replicas[which].name.clone();
        self.seen.dispatched += 1;
        let due = self.tables.due(self.now()).await;
        if due == 0 || self.rng.chance(30) {
            self.history.note(format!("{name} delivers {due}"));
            return self.deliver(which).await;
        }
        let gate = Gate::closed();
        for sink in self.sinks.values() {
            sink.hold(&gate);
        }
        let (lifecycle, task) = self.replicas[which].dispatch();
        until("a sink holds something", || async {
            self.sinks.values().any(|sink| sink.double.held() > 0)
        })
        .await;
        self.seen.deliveries_held += 1;
        self.history
            .note(format!("{name} delivers {due}, which are held"));
        match self.rng.below(4) {
            0 => self.fan_out().await,
            1 => {
                let change = self.draw_pausing();
                self.change(change, None).await;
            }
            2 => {
                if let Some(change) = self.draw_deleting() {
                    self.change(change, None).await;
                }
            }
            _ => self.commit(3).await,
        }
        for sink in self.sinks.values_mut() {
            sink.set(sink.behaviour);
        }
        if self.rng.chance(30) {
            self.history.note(format!("{name} dies with them"));
            task.abort();
            drop(task.await);
            gate.open(ALL);
            return self.kill(which);
        }
        gate.open(ALL);
        until("all that is due is sent", || async {
            self.tables.due(self.now()).await == 0
        })
        .await;
        lifecycle.stop();
        task.await.unwrap();
    }
}
