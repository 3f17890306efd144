//! What the fan-out claims for a dispatcher as it queues it: the room that there is for that, and what is handed over.

use super::{
    parts::DispatcherParts,
    places::{EndpointPlaces, Kind, Place},
};
use crate::store::{ClaimRequest, Grant, Handed, ImmediateClaims};
use contract::id::EndpointId;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::Instant;

/// The immediate claims of one endpoint.
///
/// Invariant: what is handed over and not received is bounded by the places that it holds.
pub(super) struct Immediate {
    endpoint: EndpointId,
    offers: ImmediateClaims,
    room: Arc<Mutex<Room>>,
    /// None once it was closed, and everything that was granted before has come.
    handed: Option<mpsc::UnboundedReceiver<HandedOver>>,
}

/// What may be claimed now.
#[derive(Default)]
struct Room {
    deliveries: usize,
    lease: Duration,
}

/// What was claimed, or may have been.
pub(super) struct HandedOver {
    pub(super) handed: Handed,
    /// One for each that was asked for.
    pub(super) places: Vec<Place>,
    /// When the claim began: its lease counts from there.
    pub(super) since: Instant,
}

impl Immediate {
    /// It has no room until it is set.
    pub(super) fn new(
        endpoint: &EndpointId,
        parts: &Arc<DispatcherParts>,
        places: EndpointPlaces,
        offers: &ImmediateClaims,
    ) -> Self {
        let room = Arc::new(Mutex::new(Room::default()));
        let (sender, handed) = mpsc::unbounded_channel();
        let (of, its_room, parts) = (endpoint.clone(), Arc::clone(&room), Arc::clone(parts));
        offers.offer(
            endpoint,
            Arc::new(move |wanted| {
                let (places, lease) = take(&its_room, &places, wanted)?;
                let request = ClaimRequest {
                    endpoint: of.clone(),
                    token: parts.ids.new_id("clm"),
                    now: parts.clock.now(),
                    lease,
                    limit: places.len(),
                    turn: 0,
                };
                let (sender, since) = (sender.clone(), Instant::now());
                let hand_over = Box::new(move |handed| {
                    // Where the dispatcher is gone, it has panicked: the lease ends by itself.
                    let _ = sender.send(HandedOver {
                        handed,
                        places,
                        since,
                    });
                });
                Some(Grant { request, hand_over })
            }),
        );
        Self {
            endpoint: endpoint.clone(),
            offers: offers.clone(),
            room,
            handed: Some(handed),
        }
    }

    /// So many more may be claimed from now on, for so long.
    pub(super) fn set_room(&self, deliveries: usize, lease: Duration) {
        *locked(&self.room) = Room { deliveries, lease };
    }

    /// Nothing more is granted.
    pub(super) fn close(&self) {
        self.set_room(0, Duration::ZERO);
        self.offers.withdraw(&self.endpoint);
    }

    /// Whether something may still be handed over.
    pub(super) fn is_open(&self) -> bool {
        self.handed.is_some()
    }

    /// What is handed over next; none, once, when nothing more comes after it was closed. Cutting the wait loses nothing.
    pub(super) async fn next(&mut self) -> Option<HandedOver> {
        let Some(handed) = &mut self.handed else {
            return std::future::pending().await;
        };
        let next = handed.recv().await;
        if next.is_none() {
            self.handed = None;
        }
        next
    }
}

fn take(room: &Mutex<Room>, places: &EndpointPlaces, wanted: usize) -> Option<(Vec<Place>, Duration)> {
    let mut room = locked(room);
    let places = places.take(wanted.min(room.deliveries), Kind::Immediate);
    room.deliveries -= places.len();
    (!places.is_empty()).then_some((places, room.lease))
}

fn locked(room: &Mutex<Room>) -> MutexGuard<'_, Room> {
    room.lock().unwrap_or_else(PoisonError::into_inner)
}
