//! Events and guest profiles.

use api::{ListSpec, SortField};
use contract::UnixMillis;
use crm_receiver::profile::terms::TermKind;
use crm_receiver::store::{EventFilter, EventRow, JobFilter, JobRow, ProfileFilter, Store};
use db::Row;
use db::params;
use harness::seeded::{DEFAULT_SEED, Purpose, SeededRng};

use super::{QUESTIONS, Question, ROWS, all, is, perhaps, scope, spec};
use crate::case::{Case, Ctx, cases};
use crate::ingest::{NOW, Receiver, execute};

pub fn cases() -> Vec<Case> {
    cases![
        r46_each_event_is_listed_once_however_few_rows_a_page_looks_at,
        r46_each_profile_is_listed_once_however_few_rows_a_page_looks_at,
        r46_each_job_is_listed_once_however_few_rows_a_page_looks_at,
        r46_a_filter_that_matches_nothing_ends_after_so_many_rows_and_goes_on,
    ]
}

const EVENTS: ListSpec = spec(&[SortField::int("received_at")]);
const PROFILES: ListSpec = spec(&[SortField::int("updated_at"), SortField::text("name")]);
const JOBS: ListSpec = spec(&[SortField::int("created_at"), SortField::int("updated_at")]);
const STATUSES: [&str; 3] = ["applied", "stale", "ignored"];
const ENTITIES: [&str; 3] = ["gst_a", "gst_b", "gst_c"];
const TYPES: [&str; 2] = ["guest.updated", "guest.created"];
const NAMES: [&str; 4] = ["ana silva", "ana sousa", "rui sa", "eva lopes"];

const INSERT_EVENT: &str =
    "INSERT INTO inbox (event_id, source_id, idempotency_key, status, type, schema_version, property_id, entity_id,
         correlation_id, occurred_at, received_at, attempts, due_at)
     VALUES (?, ?, ?, ?, ?, 1, ?, ?, ?, 1, ?, 0, 1)";

async fn r46_each_event_is_listed_once_however_few_rows_a_page_looks_at(ctx: Ctx) {
    // Started for its tables and its source, and stopped before anything looks at the rows.
    Receiver::start(&ctx).await.stop().await;
    let db = ctx.open().await;
    let other = "INSERT INTO sources (id, scheme, max_skew_seconds, on_invalid, enabled) VALUES ('other', '', 1, 'reject', 0)";
    execute(&db, other, Vec::new()).await;
    let mut rng = SeededRng::new(DEFAULT_SEED, Purpose::Person, 3);
    for number in 0..ROWS {
        // Some wait still: SQLite's index on entities leaves those out.
        let status = if rng.chance(20) {
            "accepted"
        } else {
            *rng.pick(&STATUSES)
        };
        let params = params![
            format!("evt_{number:03}"),
            *rng.pick(&["pms", "other"]),
            format!("key_{number}"),
            status,
            *rng.pick(&TYPES),
            *rng.pick(&["LIS01", "OPO01"]),
            *rng.pick(&ENTITIES),
            format!("req_{}", rng.below(3)),
            rng.below(9) as u64
        ];
        execute(&db, INSERT_EVENT, params).await;
    }
    let rows = all(&db, "SELECT * FROM inbox").await;
    let store = Store::new(db.clone());
    for _ in 0..QUESTIONS {
        let question = Question::draw(&mut rng, &[("received_at", "received_at")]);
        let text = |rng: &mut SeededRng, values: &[&str]| perhaps(rng, 20, values).map(str::to_owned);
        let at = |rng: &mut SeededRng| perhaps(rng, 20, &[0, 2, 5, 9]).map(UnixMillis);
        let filter = EventFilter {
            source: perhaps(&mut rng, 20, &["pms", "other"]).map(|id| id.parse().unwrap()),
            idempotency_key: perhaps(&mut rng, 10, &["key_1", "key_7"]).map(|key| key.parse().unwrap()),
            event_type: text(&mut rng, &TYPES),
            status: perhaps(&mut rng, 20, &["accepted", "applied", "stale", "suppressed"])
                .map(|status| status.parse().unwrap()),
            property_id: perhaps(&mut rng, 20, &["LIS01", "POR01"]).map(|id| id.parse().unwrap()),
            entity_id: text(&mut rng, &ENTITIES),
            correlation_id: text(&mut rng, &["req_0", "req_9"]),
            from: at(&mut rng),
            to: at(&mut rng),
            scope: scope(&mut rng, &["LIS01", "POR01"]),
        };
        let fits = |row: &Row| fits(&filter, row);
        let (store, filter) = (store.with_rows_looked_at(question.rows_looked_at), &filter);
        let seen = question.walk(
            &EVENTS,
            None,
            |event: EventRow| event.event_id,
            |query| {
                let store = store.clone();
                async move { store.events(filter, &query).await }
            },
        );
        let asked = format!("{} {filter:?} {}", question.query, question.rows_looked_at);
        assert_eq!(seen.await, question.expected(&rows, "event_id", fits), "{asked}");
    }
    store.close().await;
}

fn fits(filter: &EventFilter, row: &Row) -> bool {
    let received: i64 = row.get("received_at").unwrap();
    let (source, key) = (filter.source.as_ref(), filter.idempotency_key.as_ref());
    is(row, "source_id", source.map(ToString::to_string).as_ref())
        && is(row, "idempotency_key", key.map(ToString::to_string).as_ref())
        && is(row, "type", filter.event_type.as_ref())
        && is(
            row,
            "status",
            filter.status.map(|status| status.into_str().to_owned()).as_ref(),
        )
        && is(
            row,
            "property_id",
            filter.property_id.as_ref().map(ToString::to_string).as_ref(),
        )
        && filter.scope.has(&row.get::<String>("property_id").unwrap())
        && is(row, "entity_id", filter.entity_id.as_ref())
        && is(row, "correlation_id", filter.correlation_id.as_ref())
        && filter.from.is_none_or(|from| received >= i64::from(from))
        && filter.to.is_none_or(|to| received < i64::from(to))
}

async fn r46_each_job_is_listed_once_however_few_rows_a_page_looks_at(ctx: Ctx) {
    const INSERT: &str =
        "INSERT INTO jobs (id, source_id, job_id, property_id, user_id, status, intermediate_updates,
             terminal_updates, created_at, updated_at, guard) VALUES (?, ?, ?, ?, ?, ?, 0, 0, ?, ?, 0)";
    Receiver::start(&ctx).await.stop().await;
    let db = ctx.open().await;
    let mut rng = SeededRng::new(DEFAULT_SEED, Purpose::Person, 5);
    for number in 0..ROWS {
        let (source, job) = (*rng.pick(&["images", "videos"]), format!("job_{number:03}"));
        let params = params![
            format!("{source}.{job}"),
            source,
            job,
            perhaps(&mut rng, 70, &["LIS01", "OPO01"]),
            perhaps(&mut rng, 70, &["ana", "rui"]),
            *rng.pick(&["pending", "completed", "failed"]),
            rng.below(9) as u64,
            rng.below(9) as u64
        ];
        execute(&db, INSERT, params).await;
    }
    let rows = all(&db, "SELECT * FROM jobs").await;
    let store = Store::new(db.clone());
    for _ in 0..QUESTIONS {
        let sorts = [("created_at", "created_at"), ("updated_at", "updated_at")];
        let question = Question::draw(&mut rng, &sorts);
        let filter = JobFilter {
            source: perhaps(&mut rng, 30, &["images", "nobody"]).map(|id| id.parse().unwrap()),
            status: perhaps(&mut rng, 30, &["pending", "failed", "saving"])
                .map(|status| status.parse().unwrap()),
            user_id: perhaps(&mut rng, 30, &["ana", "eva"]).map(str::to_owned),
            property_id: perhaps(&mut rng, 20, &["LIS01", "POR01"]).map(|id| id.parse().unwrap()),
            scope: scope(&mut rng, &["LIS01", "POR01"]),
        };
        let fits = |row: &Row| {
            let property: Option<String> = row.get("property_id").unwrap();
            let status: Option<&str> = filter.status.map(|status| status.into_str());
            is(
                row,
                "source_id",
                filter.source.as_ref().map(ToString::to_string).as_ref(),
            ) && is(row, "status", status.map(str::to_owned).as_ref())
                && is(row, "user_id", filter.user_id.as_ref())
                && is(
                    row,
                    "property_id",
                    filter.property_id.as_ref().map(ToString::to_string).as_ref(),
                )
                && filter.scope.has_optional(property.as_deref())
        };
        let (store, filter) = (store.with_rows_looked_at(question.rows_looked_at), &filter);
        let seen = question.walk(
            &JOBS,
            None,
            |job: JobRow| job.id,
            |query| {
                let store = store.clone();
                async move { store.jobs(filter, &query).await }
            },
        );
        let asked = format!("{} {filter:?} {}", question.query, question.rows_looked_at);
        assert_eq!(seen.await, question.expected(&rows, "id", fits), "{asked}");
    }
    store.close().await;
}

async fn r46_each_profile_is_listed_once_however_few_rows_a_page_looks_at(ctx: Ctx) {
    Receiver::start(&ctx).await.stop().await;
    let db = ctx.open().await;
    let mut rng = SeededRng::new(DEFAULT_SEED, Purpose::Person, 4);
    for number in 0..ROWS {
        let (id, name) = (format!("prf_{number:03}"), *rng.pick(&NAMES));
        let status = perhaps(&mut rng, 80, &["active", "stub", "deleted"]);
        let insert = "INSERT INTO profiles (id, revision, status, updated_at, sort_name, summary) VALUES (?, 1, ?, ?, ?, ?)";
        let summary = format!("\"{id}\"");
        let params = params![&id, status, rng.below(9) as u64, name, summary];
        execute(&db, insert, params).await;
        let terms = name.split(' ').map(|word| ("name", word));
        let country = ("country", *rng.pick(&["PT", "ES"]));
        for (kind, term) in terms.chain([country]) {
            let insert = "INSERT INTO profile_terms (kind, term, profile_id) VALUES (?, ?, ?)";
            execute(&db, insert, params![kind, term, &id]).await;
        }
        if rng.chance(50) {
            let insert =
                "INSERT INTO profile_terms (kind, term, profile_id) VALUES ('record_property', 'LIS01', ?)";
            execute(&db, insert, params![&id]).await;
        }
        if rng.chance(50) {
            let insert = "INSERT INTO profile_properties (profile_id, property_id) VALUES (?, 'LIS01')";
            execute(&db, insert, params![&id]).await;
        }
    }
    let rows = all(
        &db,
        "SELECT profiles.*, (SELECT COUNT(*) FROM profile_properties WHERE profile_id = id) AS at_lis01,
             (SELECT term FROM profile_terms WHERE profile_id = id AND kind = 'record_property') AS record_property,
             (SELECT term FROM profile_terms WHERE profile_id = id AND kind = 'country') AS country FROM profiles",
    )
    .await;
    let store = Store::new(db.clone());
    for _ in 0..QUESTIONS {
        let sorts = [("updated_at", "updated_at"), ("name", "sort_name")];
        let question = Question::draw(&mut rng, &sorts);
        let since = perhaps(&mut rng, 30, &[3, 5, 8]);
        let names = perhaps(&mut rng, 40, &["s", "ana", "sil", "x"]);
        let country = perhaps(&mut rng, 30, &["PT", "ES", "FR"]);
        let filter = ProfileFilter {
            name: names.map(|word| vec![word.to_owned()]).into_iter().collect(),
            terms: country
                .map(|country| (TermKind::Country, country.to_owned()))
                .into_iter()
                .collect(),
            property_id: perhaps(&mut rng, 30, &["LIS01", "OPO01"]).map(|id| id.parse().unwrap()),
            status: perhaps(&mut rng, 30, &["active", "stub"]).map(|status| status.parse().unwrap()),
            scope: scope(&mut rng, &["LIS01", "POR01"]),
        };
        let fits = |row: &Row| {
            let status: Option<String> = row.get("status").unwrap();
            let name: String = row.get("sort_name").unwrap();
            let property = filter.property_id.as_ref().map(ToString::to_string);
            filter
                .status
                .map_or(matches!(status.as_deref(), Some("active" | "stub")), |asked| {
                    status.as_deref() == Some(asked.into_str())
                })
                && names.is_none_or(|term| name.split(' ').any(|word| word.starts_with(term)))
                && is(row, "country", country.map(str::to_owned).as_ref())
                && filter
                    .scope
                    .has_optional(row.get::<Option<String>>("record_property").unwrap().as_deref())
                && property.is_none_or(|id| id == "LIS01" && row.get::<i64>("at_lis01").unwrap() > 0)
                && since.is_none_or(|since| row.get::<i64>("updated_at").unwrap() >= since)
        };
        let (store, filter) = (store.with_rows_looked_at(question.rows_looked_at), &filter);
        let id = |summary: serde_json::Value| summary.as_str().unwrap().to_owned();
        let seen = question.walk(&PROFILES, since, id, |query| {
            let store = store.clone();
            async move { store.profiles(filter, &query).await }
        });
        let asked = format!(
            "{} {since:?} {filter:?} {}",
            question.query, question.rows_looked_at
        );
        assert_eq!(seen.await, question.expected(&rows, "id", fits), "{asked}");
    }
    store.close().await;
}

/// Over HTTP, with the bound as it is: twelve thousand events, none of them of the type that is asked for.
async fn r46_a_filter_that_matches_nothing_ends_after_so_many_rows_and_goes_on(ctx: Ctx) {
    const DOUBLINGS: u32 = 13;
    let receiver = Receiver::start(&ctx).await;
    let db = ctx.open().await;
    let params = params![
        "evt_1",
        "pms",
        "k",
        "applied",
        "guest.updated",
        "LIS01",
        "gst_1",
        "req_1",
        // Not older than events are kept: the receiver purges.
        NOW
    ];
    execute(&db, INSERT_EVENT, params).await;
    for round in 0..DOUBLINGS {
        let double = match ctx.engine {
            harness::engine::Engine::Sqlite => "event_id || ?, source_id, idempotency_key || ?",
            harness::engine::Engine::Mysql => "CONCAT(event_id, ?), source_id, CONCAT(idempotency_key, ?)",
        };
        let sql = format!(
            "INSERT INTO inbox (event_id, source_id, idempotency_key, status, type, schema_version, property_id, entity_id,
                 correlation_id, occurred_at, received_at, attempts, due_at)
             SELECT {double}, status, type, schema_version, property_id, entity_id, correlation_id, occurred_at,
                 received_at, attempts, due_at FROM inbox"
        );
        let mark = char::from(b'a' + u8::try_from(round).unwrap()).to_string();
        let run = db.transaction("double", move |tx| {
            let (sql, params) = (sql.clone(), params![&mark, &mark]);
            Box::pin(async move { tx.execute(&sql, params).await })
        });
        run.await.unwrap();
    }
    let (mut pages, mut cursor) = (0, String::new());
    loop {
        let page = receiver.get(&format!("/events?type=none{cursor}")).await.json();
        assert_eq!(page["data"], serde_json::json!([]));
        pages += 1;
        let Some(next) = page["pagination"]["next_cursor"].as_str() else {
            assert_eq!(page["pagination"]["has_more"], false);
            break;
        };
        assert_eq!(page["pagination"]["has_more"], true);
        cursor = format!("&cursor={next}");
    }
    assert_eq!(pages, 2, "8,192 rows, 5,000 of them looked at by the first page");
    // An index that finds few is asked instead, and one page has the answer.
    for query in [
        "status=dead_letter",
        "entity_id=gst_9",
        "correlation_id=x",
        "idempotency_key=other",
        "to=2020-01-01T00:00:00Z&from=2019-01-01T00:00:00Z",
    ] {
        let page = receiver.get(&format!("/events?{query}")).await.json();
        assert_eq!(page["pagination"]["has_more"], false, "{query}");
    }
    let found = receiver.get("/events?idempotency_key=k").await.json();
    assert_eq!(found["data"][0]["event_id"], "evt_1");
    db.close().await;
    receiver.stop().await;
}
