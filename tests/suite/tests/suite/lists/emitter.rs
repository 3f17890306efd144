//! Guests and reservations.

use api::{ListSpec, SortField};
use contract::{PropertyId, parse_date};
use db::Row;
use db::params;
use harness::seeded::{DEFAULT_SEED, Purpose, SeededRng};
use pms_emitter::domain::guest::{Guest, GuestStatus};
use pms_emitter::domain::reservation::Reservation;
use pms_emitter::domain::transition::Status;
use pms_emitter::store::{GuestFilter, ReservationFilter, StatusFilter};
use serde_json::json;

use super::{QUESTIONS, Question, ROWS, all, is, perhaps, scope, spec};
use crate::case::{Case, Ctx, cases};
use crate::ingest::execute;
use crate::pms::Pms;

pub fn cases() -> Vec<Case> {
    cases![
        r46_each_guest_is_listed_once_however_few_rows_a_page_looks_at,
        r46_each_reservation_is_listed_once_however_few_rows_a_page_looks_at,
    ]
}

const GUESTS: ListSpec = spec(&[
    SortField::int("created_at"),
    SortField::int("updated_at"),
    SortField::text("last_name"),
]);
const RESERVATIONS: ListSpec = spec(&[
    SortField::int("created_at"),
    SortField::int("updated_at"),
    SortField::text("check_in"),
]);
const NAMES: [&str; 5] = ["silva", "silveira", "santos", "sa", "lopes"];
const EMAILS: [&str; 3] = ["a@x.example", "b@x.example", "c@x.example"];
const DATES: [&str; 4] = ["2026-05-01", "2026-05-02", "2026-05-03", "2026-06-01"];
const STATUSES: [&str; 3] = ["confirmed", "cancelled", "inquiry"];

async fn r46_each_guest_is_listed_once_however_few_rows_a_page_looks_at(ctx: Ctx) {
    let pms = Pms::start(&ctx).await;
    pms.rebuilt().await;
    let made = pms
        .post("/guests", &json!({"name": "Ana Silva"}))
        .await
        .expect(201);
    let mut rng = SeededRng::new(DEFAULT_SEED, Purpose::Person, 1);
    for number in 0..ROWS {
        let status = if rng.chance(25) { "deleted" } else { "active" };
        let sql =
            "INSERT INTO guests (id, property_id, version, guard, status, last_name_folded, email, vip_level,
                       blacklisted, body, created_at, updated_at)
                   SELECT ?, property_id, 1, 0, ?, ?, ?, ?, ?, body, ?, ? FROM guests WHERE id = ?";
        let (id, name) = (format!("gst_{number:03}"), *rng.pick(&NAMES));
        let params = params![
            &id,
            status,
            name,
            perhaps(&mut rng, 70, &EMAILS),
            rng.below(3) as u64,
            rng.below(2) as u64,
            rng.below(9) as u64,
            rng.below(9) as u64,
            made.id()
        ];
        execute(&pms.db, sql, params).await;
        let word = "INSERT INTO guest_name_words (word, guest_id) VALUES (?, ?)";
        execute(&pms.db, word, params![name, id]).await;
    }
    let rows = all(&pms.db, "SELECT * FROM guests").await;
    let sorts = [
        ("created_at", "created_at"),
        ("updated_at", "updated_at"),
        ("last_name", "last_name_folded"),
    ];
    for _ in 0..QUESTIONS {
        let question = Question::draw(&mut rng, &sorts);
        let since = perhaps(&mut rng, 30, &[3, 5, 8]);
        let begins = perhaps(&mut rng, 30, &["s", "sil", "silva", "x"]);
        let filter = GuestFilter {
            status: perhaps(&mut rng, 30, &[GuestStatus::Active, GuestStatus::Deleted]),
            email: perhaps(&mut rng, 30, &EMAILS).map(str::to_owned),
            last_name: begins.map(|word| vec![word.to_owned()]).into_iter().collect(),
            vip_level: perhaps(&mut rng, 30, &[0, 1, 2, 3]),
            blacklisted: perhaps(&mut rng, 30, &[true, false]),
            property_id: perhaps(&mut rng, 20, &["MAIN", "OTHER"])
                .map(|id| id.parse::<PropertyId>().unwrap()),
            scope: scope(&mut rng, &["MAIN", "OTHER"]),
            ..GuestFilter::default()
        };
        let fits = |row: &Row| {
            let status: String = row.get("status").unwrap();
            let folded: String = row.get("last_name_folded").unwrap();
            filter
                .status
                .map_or(status != "deleted", |asked| status == asked.as_str())
                && begins.is_none_or(|begins| folded.starts_with(begins))
                && filter.scope.has(&row.get::<String>("property_id").unwrap())
                && is(row, "email", filter.email.as_ref())
                && is(row, "vip_level", filter.vip_level.map(i64::from).as_ref())
                && is(row, "blacklisted", filter.blacklisted.as_ref())
                && is(
                    row,
                    "property_id",
                    filter.property_id.as_ref().map(ToString::to_string).as_ref(),
                )
                && since.is_none_or(|since| row.get::<i64>("updated_at").unwrap() >= since)
        };
        let (store, filter) = (pms.store.with_rows_looked_at(question.rows_looked_at), &filter);
        let seen = question.walk(
            &GUESTS,
            since,
            |guest: Guest| guest.id.to_string(),
            |query| {
                let store = store.clone();
                async move { store.guests(filter, &query).await }
            },
        );
        let asked = format!(
            "{} {since:?} {filter:?} {}",
            question.query, question.rows_looked_at
        );
        assert_eq!(seen.await, question.expected(&rows, "id", fits), "{asked}");
    }
    execute(&pms.db, "DELETE FROM guest_name_words", Vec::new()).await;
    execute(&pms.db, "DELETE FROM guests WHERE id <> ?", params![made.id()]).await;
    pms.stop().await;
}

async fn r46_each_reservation_is_listed_once_however_few_rows_a_page_looks_at(ctx: Ctx) {
    let pms = Pms::start(&ctx).await;
    let guest = pms
        .post("/guests", &json!({"name": "Ana Silva"}))
        .await
        .expect(201);
    let body = json!({"primary_guest_id": guest.id(), "check_in": "2026-05-01", "check_out": "2026-05-03"});
    let made = pms.post("/reservations", &body).await.expect(201);
    let mut rng = SeededRng::new(DEFAULT_SEED, Purpose::Person, 2);
    for number in 0..ROWS {
        let sql = "INSERT INTO reservations (id, property_id, version, status, confirmation_number, primary_guest_id,
                       check_in, check_out, channel, body, created_at, updated_at, deleted_at)
                   SELECT ?, property_id, 1, ?, ?, ?, ?, ?, ?, REPLACE(body, id, ?), ?, ?, ? FROM reservations WHERE id = ?";
        let id = format!("rsv_{number:03}");
        let params = params![
            &id,
            *rng.pick(&STATUSES),
            format!("N{number}"),
            *rng.pick(&["gst_a", "gst_b"]),
            *rng.pick(&DATES),
            *rng.pick(&DATES),
            perhaps(&mut rng, 50, &["direct", "ota"]),
            &id,
            rng.below(9) as u64,
            rng.below(9) as u64,
            perhaps(&mut rng, 20, &[7]),
            made.id()
        ];
        execute(&pms.db, sql, params).await;
    }
    let rows = all(&pms.db, "SELECT * FROM reservations").await;
    let sorts = ["created_at", "updated_at", "check_in"].map(|name| (name, name));
    for _ in 0..QUESTIONS {
        let question = Question::draw(&mut rng, &sorts);
        let since = perhaps(&mut rng, 30, &[3, 5, 8]);
        let statuses = [
            StatusFilter::Deleted,
            StatusFilter::Is(Status::Confirmed),
            StatusFilter::Is(Status::Cancelled),
        ];
        let date = |rng: &mut SeededRng| perhaps(rng, 25, &DATES).map(|date| parse_date(date).unwrap());
        let filter = ReservationFilter {
            status: perhaps(&mut rng, 30, &statuses),
            primary_guest_id: perhaps(&mut rng, 20, &["gst_a", "gst_b"]).map(|id| id.parse().unwrap()),
            confirmation_number: perhaps(&mut rng, 20, &["N1", "N30", "none"]).map(str::to_owned),
            channel: perhaps(&mut rng, 20, &["direct", "ota"]).map(str::to_owned),
            property_id: perhaps(&mut rng, 20, &["MAIN", "OTHER"]).map(|id| id.parse().unwrap()),
            check_in_from: date(&mut rng),
            check_in_to: date(&mut rng),
            check_out_from: date(&mut rng),
            check_out_to: date(&mut rng),
            scope: scope(&mut rng, &["MAIN", "OTHER"]),
            ..ReservationFilter::default()
        };
        let fits = |row: &Row| fits(&filter, since, row);
        let (store, filter) = (pms.store.with_rows_looked_at(question.rows_looked_at), &filter);
        let seen = question.walk(
            &RESERVATIONS,
            since,
            |(one, _): (Reservation, _)| one.id.to_string(),
            |query| {
                let store = store.clone();
                async move { store.reservations(filter, &query).await }
            },
        );
        let asked = format!(
            "{} {since:?} {filter:?} {}",
            question.query, question.rows_looked_at
        );
        assert_eq!(seen.await, question.expected(&rows, "id", fits), "{asked}");
    }
    execute(
        &pms.db,
        "DELETE FROM reservations WHERE id <> ?",
        params![made.id()],
    )
    .await;
    pms.stop().await;
}

fn fits(filter: &ReservationFilter, since: Option<i64>, row: &Row) -> bool {
    let date = |column| parse_date(&row.get::<String>(column).unwrap()).unwrap();
    let deleted = row.get::<Option<i64>>("deleted_at").unwrap().is_some();
    let status = match filter.status {
        None => !deleted,
        Some(StatusFilter::Deleted) => deleted,
        Some(StatusFilter::Is(asked)) => !deleted && is(row, "status", Some(&asked.as_str().to_owned())),
    };
    status
        && filter.scope.has(&row.get::<String>("property_id").unwrap())
        && is(
            row,
            "primary_guest_id",
            filter.primary_guest_id.as_ref().map(ToString::to_string).as_ref(),
        )
        && is(
            row,
            "property_id",
            filter.property_id.as_ref().map(ToString::to_string).as_ref(),
        )
        && is(row, "confirmation_number", filter.confirmation_number.as_ref())
        && is(row, "channel", filter.channel.as_ref())
        && filter.check_in_from.is_none_or(|from| date("check_in") >= from)
        && filter.check_in_to.is_none_or(|to| date("check_in") <= to)
        && filter.check_out_from.is_none_or(|from| date("check_out") >= from)
        && filter.check_out_to.is_none_or(|to| date("check_out") <= to)
        && since.is_none_or(|since| row.get::<i64>("updated_at").unwrap() >= since)
}
