//! The PMS side: a REST API for guests and reservations, and the dispatcher that delivers their events.

pub mod domain;
