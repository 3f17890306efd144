use super::*;
use harness::books::{Effect, Kind, Received};

const PATH: &str = "/api/v1/webhooks/pms";

/// Books of three writes on one guest, as they should be.
struct Witnesses {
    history: History,
    wire: WireLog,
    books: Books,
}

fn guest() -> Entity {
    Entity {
        kind: Kind::Guest,
        id: "gst_1".to_owned(),
    }
}

impl Witnesses {
    fn sound() -> Self {
        let mut witnesses = Self {
            history: History::default(),
            wire: WireLog::default(),
            books: Books::default(),
        };
        witnesses.history.endpoints = [
            (ENV, PATH, vec![Kind::Guest]),
            ("ep_1", "/all", vec![Kind::Guest]),
            ("ep_2", "/none", vec![]),
        ]
        .map(|(id, path, kinds)| Endpoint {
            id: id.to_owned(),
            path: path.to_owned(),
            kinds,
            in_order: path == "/all",
        })
        .to_vec();
        for version in 1..=3 {
            witnesses.write(version);
        }
        witnesses.books.records.insert(guest(), 3);
        witnesses
    }

    fn write(&mut self, version: u64) {
        let (id, received) = (format!("evt_{version}"), format!("rcv_{version}"));
        self.history.confirm(&guest(), version);
        self.wire.requests += 2;
        self.wire.answers.insert(at(PATH, &id), vec![503, 202, 200]);
        self.wire.answers.insert(at("/all", &id), vec![200]);
        self.wire.arrived.extend([at("/all", &id), at(PATH, &id)]);
        let books = &mut self.books;
        let entity = guest();
        books.events.insert(id.clone(), Event { entity, version });
        books.places.insert(id.clone(), version);
        for endpoint in [ENV, "ep_1"] {
            books.deliveries.insert(to(endpoint, &id), "delivered".to_owned());
            books.delivered_entries.insert(to(endpoint, &id), 1);
        }
        let status = "applied".to_owned();
        books.inbox.insert(received.clone(), Received { key: id, status });
        books.effects.push(effect(&received, version));
    }

    fn balance(&self) -> Ledger {
        Ledger::balance(&self.history, &self.wire, &self.books, &Contents::default())
    }

    fn faults(&self) -> (u64, u64, u64, u64) {
        let [lost, doubled, stuck, out_of_order, wrong] = self.balance().faults();
        assert_eq!(wrong, 0, "these books have no contents");
        (lost, doubled, stuck, out_of_order)
    }

    fn with<T>(change: impl FnOnce(&mut Self) -> T) -> (u64, u64, u64, u64) {
        let mut witnesses = Self::sound();
        change(&mut witnesses);
        witnesses.faults()
    }
}

fn at(path: &str, id: &str) -> (String, String) {
    (path.to_owned(), id.to_owned())
}

fn to(endpoint: &str, event: &str) -> Delivery {
    Delivery {
        event: event.to_owned(),
        endpoint: endpoint.to_owned(),
    }
}

fn effect(event_id: &str, version: u64) -> Effect {
    Effect {
        event_id: event_id.to_owned(),
        action: "applied".to_owned(),
        entity: Some(guest()),
        version,
    }
}

#[test]
fn sound_books_balance() {
    let ledger = Witnesses::sound().balance();
    assert!(ledger.is_zero(), "{:?}", ledger.findings);
    assert_eq!((ledger.confirmed, ledger.events, ledger.applied), (3, 3, 3));
}

#[test]
fn what_is_missing_is_lost() {
    let no_event = Witnesses::with(|w| w.history.confirm(&guest(), 4));
    assert_eq!(no_event, (1, 0, 0, 0));
    let no_effect = Witnesses::with(|w| w.books.effects.remove(0));
    assert_eq!(no_effect, (1, 0, 0, 0));
    let never_received = Witnesses::with(|w| {
        w.books.inbox.remove("rcv_1");
        w.books.effects.remove(0);
    });
    assert_eq!(never_received, (1, 0, 0, 0));
    let never_answered = Witnesses::with(|w| w.wire.answers.insert(at("/all", "evt_1"), vec![503]));
    assert_eq!(never_answered, (1, 0, 0, 0));
    let no_entry = Witnesses::with(|w| w.books.delivered_entries.remove(&to(ENV, "evt_2")));
    assert_eq!(no_entry, (1, 0, 0, 0));
    let never_queued = Witnesses::with(|w| {
        w.books.deliveries.remove(&to("ep_1", "evt_2"));
        w.books.delivered_entries.remove(&to("ep_1", "evt_2"));
    });
    assert_eq!(never_queued, (1, 0, 0, 0));
    let gap = Witnesses::with(|w| w.books.places.insert("evt_3".to_owned(), 5));
    assert_eq!(gap, (1, 0, 0, 0));
    let no_place = Witnesses::with(|w| w.books.places.remove("evt_3"));
    assert_eq!(no_place, (1, 0, 0, 0));
}

#[test]
fn what_happened_twice_is_doubled() {
    let effects = Witnesses::with(|w| {
        let mut stale = effect("rcv_3", 3);
        stale.action = "stale".to_owned();
        w.books.effects.push(stale);
    });
    assert_eq!(effects, (0, 1, 0, 0));
    let entries = Witnesses::with(|w| w.books.delivered_entries.insert(to("ep_1", "evt_1"), 2));
    assert_eq!(entries, (0, 1, 0, 0));
    let by_hand = Witnesses::with(|w| {
        w.books.delivered_entries.insert(to("ep_1", "evt_1"), 2);
        w.books.sent_again.insert(to("ep_1", "evt_1"), 1);
    });
    assert_eq!(by_hand, (0, 0, 0, 0), "a run by hand is no double");
    let of_another = Witnesses::with(|w| {
        w.books.delivered_entries.insert(to("ep_1", "evt_1"), 2);
        w.books.sent_again.insert(to(ENV, "evt_1"), 1);
    });
    assert_eq!(of_another, (0, 1, 0, 0));
    let not_subscribed = Witnesses::with(|w| {
        w.books
            .deliveries
            .insert(to("ep_2", "evt_1"), "cancelled".to_owned());
    });
    assert_eq!(not_subscribed, (0, 1, 0, 0));
    let place = Witnesses::with(|w| w.books.places.insert("evt_9".to_owned(), 3));
    assert_eq!(place, (0, 1, 0, 0));
    let accepted = Witnesses::with(|w| w.wire.answers.insert(at(PATH, "evt_1"), vec![202, 202]));
    assert_eq!(accepted, (0, 1, 0, 0));
    let of_nobody = Witnesses::with(|w| w.books.effects.insert(0, effect("rcv_9", 0)));
    // Version 0 is no version either.
    assert_eq!(of_nobody, (0, 1, 0, 1));
}

#[test]
fn a_write_that_was_repeated_has_one_event() {
    let twice = |w: &mut Witnesses| {
        let entity = Entity {
            id: "gst_2".to_owned(),
            ..guest()
        };
        let version = 1;
        w.books.events.insert(
            "evt_4".to_owned(),
            Event {
                entity: entity.clone(),
                version,
            },
        );
        w.books.places.insert("evt_4".to_owned(), 4);
        w.books.deliveries.insert(to(ENV, "evt_4"), "dead".to_owned());
        w.books.deliveries.insert(to("ep_1", "evt_4"), "dead".to_owned());
        w.books.records.insert(entity, version);
    };
    assert_eq!(Witnesses::with(twice), (0, 1, 0, 0));
    // Unless it was the one of which nobody knows.
    let excused = Witnesses::with(|w| {
        twice(w);
        w.history.unknown = 1;
    });
    assert_eq!(excused, (0, 0, 0, 0));
}

#[test]
fn what_waits_is_stuck_and_what_is_dead_is_counted() {
    let pending = Witnesses::with(|w| {
        w.books.deliveries.insert(to(ENV, "evt_1"), "pending".to_owned());
        w.books.delivered_entries.remove(&to(ENV, "evt_1"));
    });
    assert_eq!(pending, (0, 0, 1, 0));
    let not_queued = |w: &mut Witnesses| {
        for endpoint in [ENV, "ep_1"] {
            w.books.deliveries.remove(&to(endpoint, "evt_1"));
            w.books.delivered_entries.remove(&to(endpoint, "evt_1"));
        }
        w.books.inbox.remove("rcv_1");
        w.books.effects.remove(0);
        w.books.unqueued.insert("evt_1".to_owned());
    };
    assert_eq!(Witnesses::with(not_queued), (0, 0, 1, 0));
    // It is said to be queued, and nothing waits.
    let never_queued = Witnesses::with(|w| {
        not_queued(w);
        w.books.unqueued.clear();
    });
    // To neither endpoint, and so without an effect.
    assert_eq!(never_queued, (2, 0, 0, 0));
    let accepted = Witnesses::with(|w| {
        w.books.inbox.get_mut("rcv_1").unwrap().status = "accepted".to_owned();
        w.books.effects.remove(0);
    });
    assert_eq!(accepted, (0, 0, 1, 0));
    let mut dead = Witnesses::sound();
    dead.books.inbox.get_mut("rcv_1").unwrap().status = "dead_letter".to_owned();
    dead.books.effects.remove(0);
    assert_eq!((dead.faults(), dead.balance().dead), ((0, 0, 0, 0), 1));
}

#[test]
fn what_went_back_is_out_of_order() {
    let back = Witnesses::with(|w| w.books.effects.swap(1, 2));
    assert_eq!(back, (0, 0, 0, 1));
    let behind = Witnesses::with(|w| w.books.records.insert(guest(), 2));
    assert_eq!(behind, (0, 0, 0, 1));
    let in_the_feed = Witnesses::with(|w| {
        w.books.places.insert("evt_1".to_owned(), 2);
        w.books.places.insert("evt_2".to_owned(), 1);
    });
    assert_eq!(in_the_feed, (0, 0, 0, 1));
    // At the endpoint that asks for no order nothing is said of it.
    let arrived = Witnesses::with(|w| w.wire.arrived.swap(1, 3));
    assert_eq!(arrived, (0, 0, 0, 0));
    let in_order = Witnesses::with(|w| w.wire.arrived.swap(0, 2));
    assert_eq!(in_order, (0, 0, 0, 1));
    let missing = Witnesses::with(|w| w.books.records.remove(&guest()));
    assert_eq!(missing, (0, 0, 0, 1));
}
