//! The suite: every case with a database runs on SQLite, and on MySQL wherever a server can be found.
//!
//! A module answers its `cases()`; each case is a function of a [`case::Ctx`] and is registered once per engine, as
//! `sqlite::module::case` and `mysql::module::case`. A case ends within its deadline or fails.
#![expect(
    clippy::unwrap_used,
    reason = "a case that cannot go on fails where it stands"
)]

mod access;
mod amounts;
mod attacks;
mod body_budget;
mod bookings;
mod case;
mod chaos;
mod clients;
mod conform;
mod contact_data;
mod countries;
mod dates;
mod db;
mod dispatch;
mod faults;
mod feed;
mod guest_lists;
mod guest_profiles;
mod guest_requests;
mod guest_search;
mod guests;
mod healthcheck;
mod hotel_days;
mod idempotency;
mod inbox;
mod ingest;
mod jobs;
mod kills;
mod lists;
mod load;
mod member_order;
mod metrics;
mod night_audit;
mod pms;
mod programs;
mod projection;
mod properties;
mod publishing;
mod real_bookings;
mod reconciliation;
mod repair;
mod reservation_bounds;
mod reservation_races;
mod reservations;
mod settings;
mod signals;
mod sources;
mod streams;
mod upgrades;
mod webhooks;

use std::process::ExitCode;
use std::sync::Arc;

use harness::engine::{Engine, Servers};
use libtest_mimic::{Arguments, Trial};

fn main() -> ExitCode {
    let arguments = Arguments::from_args();
    let servers = Arc::new(Servers::find());
    let engines: &[Engine] = if servers.has_mysql() {
        &Engine::ALL
    } else {
        &[Engine::Sqlite]
    };
    if !servers.has_mysql() {
        eprintln!("mysql half skipped: no mariadbd or mysqld on the PATH");
        if Servers::is_on_ci() {
            eprintln!("CI=true: a missing server is an error");
            return ExitCode::FAILURE;
        }
    }
    let cases = [
        access::cases(),
        attacks::cases(),
        body_budget::cases(),
        chaos::cases(),
        clients::cases(),
        conform::cases(),
        db::cases(),
        dispatch::cases(),
        faults::cases(),
        feed::cases(),
        guest_search::cases(),
        upgrades::cases(),
        webhooks::cases(),
        guests::cases(),
        amounts::cases(),
        contact_data::cases(),
        countries::cases(),
        dates::cases(),
        idempotency::cases(),
        projection::cases(),
        guest_lists::cases(),
        guest_requests::cases(),
        ingest::cases(),
        properties::cases(),
        publishing::cases(),
        night_audit::cases(),
        reservations::cases(),
        reservation_bounds::cases(),
        reservation_races::cases(),
        guest_profiles::cases(),
        healthcheck::cases(),
        hotel_days::cases(),
        jobs::cases(),
        kills::cases(),
        lists::cases(),
        load::cases(),
        member_order::cases(),
        metrics::cases(),
        settings::cases(),
        signals::cases(),
        sources::cases(),
        streams::cases(),
        real_bookings::cases(),
        reconciliation::cases(),
        repair::cases(),
    ];
    let trials: Vec<Trial> = cases
        .into_iter()
        .flatten()
        .flat_map(|case| case.trials(engines, &servers))
        .collect();
    let conclusion = libtest_mimic::run(&arguments, trials);
    // The private server ends with the last handle on it; `exit` would leave that to its shell.
    drop(servers);
    conclusion.exit_code()
}
