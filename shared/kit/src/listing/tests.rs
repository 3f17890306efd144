use super::*;
use crate::listing::begins_with_any;
use api::list::CursorKey;
use api::{AnswerBudget, ListSpec, Position, SortField};
use db::{DatabaseUrl, DbSettings, Params, Row, params};
use http_body_util::BodyExt;
use proptest::prelude::*;
use std::collections::VecDeque;

const SPEC: ListSpec = ListSpec {
    name: "things",
    filters: &["color", "size", "name", "word"],
    sorts: &[SortField::int("made_at"), SortField::text("name")],
    descending_by_default: false,
    updated_since: true,
};

const THINGS: Table = Table {
    name: "things",
    id: "id",
    orders: &[
        Order {
            field: "made_at",
            column: "made_at",
            index: "things_made",
        },
        Order {
            field: "name",
            column: "name",
            index: "things_name",
        },
    ],
};

const WORDS: Link = Link {
    table: "words",
    id: "thing_id",
    by_value: Index::Primary,
    by_row: Index::Named("words_thing"),
};

const TABLES: [&str; 6] = [
    "CREATE TABLE things (id TEXT NOT NULL PRIMARY KEY, made_at INTEGER NOT NULL, name TEXT NOT NULL,
         color TEXT NOT NULL, size INTEGER NOT NULL) WITHOUT ROWID",
    "CREATE INDEX things_made ON things (made_at, id)",
    "CREATE INDEX things_name ON things (name, id)",
    "CREATE INDEX things_size ON things (size)",
    "CREATE TABLE words (word TEXT NOT NULL, thing_id TEXT NOT NULL, PRIMARY KEY (word, thing_id)) WITHOUT ROWID",
    "CREATE INDEX words_thing ON words (thing_id)",
];

const READING: Reading<String> = Reading {
    name: "things",
    select: "SELECT id FROM things",
    read: |row| row.get("id"),
};

#[derive(Clone, Debug)]
struct Thing {
    id: String,
    made_at: i64,
    name: String,
    color: &'static str,
    size: i64,
}

#[derive(Clone, Debug, Default)]
struct Asked {
    color: Option<&'static str>,
    size: Option<i64>,
    name: Option<String>,
    words: Vec<String>,
    since: Option<i64>,
    until: Option<i64>,
}

impl Thing {
    fn fits(&self, asked: &Asked) -> bool {
        asked.color.is_none_or(|color| self.color == color)
            && asked.size.is_none_or(|size| self.size == size)
            && asked
                .name
                .as_ref()
                .is_none_or(|name| self.name.starts_with(name.as_str()))
            && asked
                .words
                .iter()
                .all(|word| self.words().any(|own| own.starts_with(word.as_str())))
            && asked.since.is_none_or(|since| self.made_at >= since)
            && asked.until.is_none_or(|until| self.made_at < until)
    }

    /// What it is found under: its name, and each end of it.
    fn words(&self) -> impl Iterator<Item = &str> {
        (0..self.name.len()).map(|from| &self.name[from..])
    }
}

impl Asked {
    fn listing(&self) -> Listing {
        let mut listing = Listing::of(&THINGS);
        listing.equal("color", self.color);
        listing.equal_by("things_size", "size", self.size);
        if let Some(name) = &self.name {
            let (begins, params) = begins_with_any("", "name", std::slice::from_ref(name));
            listing.require_by("things_name", begins, params);
        }
        for word in &self.words {
            let end = crate::fold::end_of_prefix(word);
            listing.linked(WORDS, "word >= ? AND word < ?", params![word, end]);
        }
        listing.between(Some("things_made"), "made_at", self.since, self.until);
        listing
    }
}

async fn database(folder: &std::path::Path, things: &[Thing]) -> Db {
    let url: DatabaseUrl = format!("sqlite://{}", folder.join("things.db").display())
        .parse()
        .unwrap();
    let db = Db::open(
        &url,
        &DbSettings::default(),
        Arc::new(crate::random::SystemEntropy),
    )
    .await
    .unwrap();
    let things = things.to_vec();
    let filled = db.transaction("fill", move |tx| {
        let things = things.clone();
        Box::pin(async move {
            for sql in TABLES {
                tx.execute(sql, Params::new()).await?;
            }
            for thing in &things {
                let insert = "INSERT INTO things (id, made_at, name, color, size) VALUES (?, ?, ?, ?, ?)";
                let params = params![&thing.id, thing.made_at, &thing.name, thing.color, thing.size];
                tx.execute(insert, params).await?;
                for word in thing.words() {
                    let insert = format!(
                        "INSERT INTO words (word, thing_id) VALUES (?, ?){}",
                        tx.dialect().skip_existing("word")
                    );
                    tx.execute(&insert, params![word, &thing.id]).await?;
                }
            }
            Ok(())
        })
    });
    filled.await.unwrap();
    db
}

/// The ids of all pages, and how many pages there were.
async fn walk(lists: &Lists, asked: &Asked, query: &str) -> (Vec<String>, usize) {
    let (mut seen, mut pages) = (Vec::new(), 0);
    let mut query = SPEC.parse(query, &CursorKey::default()).unwrap();
    loop {
        let mut rows = lists.find(asked.listing(), &query, READING).await.unwrap();
        pages += 1;
        let before = seen.len();
        loop {
            let step = rows.next(3).await.unwrap();
            if step.is_empty() {
                break;
            }
            seen.extend(
                step.into_iter()
                    .map(|(_, id)| id.expect("nothing changes meanwhile")),
            );
        }
        assert!(seen.len() - before <= query.limit as usize);
        let Some(next) = rows.next_page_after() else {
            return (seen, pages);
        };
        assert_ne!(
            query.after.as_ref(),
            Some(next),
            "a page that goes on looked at something"
        );
        query.after = Some(next.clone());
    }
}

fn thing() -> impl Strategy<Value = Thing> {
    let color = prop::sample::select(vec!["red", "green"]);
    ("[a-z]{4}", 0..6i64, "[ab]{1,3}", color, 0..4i64).prop_map(|(id, made_at, name, color, size)| Thing {
        id,
        made_at,
        name,
        color,
        size,
    })
}

fn asked() -> impl Strategy<Value = Asked> {
    let color = prop::option::of(prop::sample::select(vec!["red", "green", "blue"]));
    let words = prop::collection::vec("[ab]{1,2}", 0..3);
    let (name, at) = (prop::option::of("[ab]{1,2}"), || prop::option::of(0..6i64));
    (color, prop::option::of(0..4i64), name, words, at(), at()).prop_map(
        |(color, size, name, words, since, until)| Asked {
            color,
            size,
            name,
            words,
            since,
            until,
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    /// Anyone who goes on by `has_more` comes to an end, and has each row that fits once and in order.
    #[test]
    fn r46_every_walk_ends_with_each_row_once(
        things in prop::collection::btree_map("[a-z]{4}", thing(), 0..60),
        questions in prop::collection::vec((asked(), any::<bool>(), any::<bool>(), 1..8u32, 1..20usize), 8),
    ) {
        let things: Vec<Thing> = things.into_iter().map(|(id, thing)| Thing { id, ..thing }).collect();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let folder = tempfile::tempdir().unwrap();
            let db = database(folder.path(), &things).await;
            let lists = Lists::new(&db);
            for (asked, by_name, descending, limit, bound) in &questions {
                let field = if *by_name { "name" } else { "made_at" };
                let minus = if *descending { "-" } else { "" };
                let query = format!("sort={minus}{field}&limit={limit}");
                let mut expected: Vec<_> = things.iter().filter(|thing| thing.fits(asked)).collect();
                expected.sort_by(|one, other| {
                    let order = if *by_name { one.name.cmp(&other.name) } else { one.made_at.cmp(&other.made_at) };
                    let order = order.then(one.id.cmp(&other.id));
                    if *descending { order.reverse() } else { order }
                });
                let expected: Vec<_> = expected.into_iter().map(|thing| thing.id.clone()).collect();
                let (seen, pages) = walk(&lists.with_rows_looked_at(*bound), asked, &query).await;
                assert_eq!(seen, expected, "{query} {asked:?} looking at {bound}");
                assert!(pages <= things.len() / bound.min(&(*limit as usize)) + 2, "{pages} pages: {query} {asked:?}");
            }
            db.close().await;
        });
    }
}

fn numbered(count: i64) -> Vec<Thing> {
    let thing = |number| Thing {
        id: format!("t{number:05}"),
        made_at: 7,
        name: "a".to_owned(),
        color: "red",
        size: i64::from(number % 1000 == 0),
    };
    (0..count).map(thing).collect()
}

#[tokio::test]
async fn r46_a_filter_that_matches_nothing_looks_at_so_many_rows_and_hands_on_a_cursor() {
    let folder = tempfile::tempdir().unwrap();
    let db = database(folder.path(), &numbered(12_000)).await;
    let asked = Asked {
        color: Some("blue"),
        ..Asked::default()
    };
    let query = SPEC.parse("sort=-made_at", &CursorKey::default()).unwrap();
    let rows = Lists::new(&db)
        .find(asked.listing(), &query, READING)
        .await
        .unwrap();
    // All rows have the same key: only the id determines the position.
    let last = 12_000 - ROWS_LOOKED_AT_MAX;
    assert_eq!(
        rows.next_page_after(),
        Some(&Position::int(7, format!("t{last:05}")))
    );
    let (seen, pages) = walk(&Lists::new(&db), &asked, "sort=-made_at").await;
    assert_eq!((seen.len(), pages), (0, 3));
    db.close().await;
}

#[tokio::test]
async fn r46_a_filter_with_an_index_that_finds_few_is_answered_from_it() {
    let folder = tempfile::tempdir().unwrap();
    let db = database(folder.path(), &numbered(12_000)).await;
    let asked = Asked {
        size: Some(1),
        color: Some("red"),
        ..Asked::default()
    };
    let (seen, pages) = walk(&Lists::new(&db), &asked, "limit=5").await;
    assert_eq!(
        (seen.len(), pages),
        (12, 3),
        "spread over all rows, and no page is short"
    );
    let none = Asked {
        size: Some(3),
        ..Asked::default()
    };
    assert_eq!(walk(&Lists::new(&db), &none, "").await, (Vec::new(), 1));
    db.close().await;
}

#[tokio::test]
async fn a_row_that_changed_after_it_was_found_is_left_out() {
    let folder = tempfile::tempdir().unwrap();
    let db = database(folder.path(), &numbered(3)).await;
    let asked = Asked {
        color: Some("red"),
        ..Asked::default()
    };
    let query = SPEC.parse("", &CursorKey::default()).unwrap();
    let mut rows = Lists::new(&db)
        .find(asked.listing(), &query, READING)
        .await
        .unwrap();
    let changed = db.transaction("change", |tx| {
        Box::pin(async move {
            tx.execute(
                "UPDATE things SET color = 'blue' WHERE id = 't00001'",
                Params::new(),
            )
            .await?;
            tx.execute("DELETE FROM things WHERE id = 't00002'", Params::new())
                .await
        })
    });
    changed.await.unwrap();
    let read: VecDeque<_> = rows
        .next(16)
        .await
        .unwrap()
        .into_iter()
        .map(|(_, id)| id)
        .collect();
    assert_eq!(read, [Some("t00000".to_owned()), None, None]);
    assert!(rows.next(16).await.unwrap().is_empty());
    db.close().await;
}

/// A page ends before it has more than its bytes, but has one row at least, and the next one goes on behind it.
#[tokio::test]
async fn r44_a_page_ends_earlier_where_its_bytes_are_used_up() {
    let folder = tempfile::tempdir().unwrap();
    let db = database(folder.path(), &numbered(5)).await;
    let reading: Reading<(String, String)> = Reading {
        name: "things",
        select: "SELECT id FROM things",
        read: |row: &Row| Ok((row.get::<String>("id")?, "x".repeat(3 * 1024 * 1024))),
    };
    let mut seen = Vec::new();
    let mut query = SPEC.parse("", &CursorKey::default()).unwrap();
    loop {
        let rows = Lists::new(&db)
            .find(Asked::default().listing(), &query, reading)
            .await
            .unwrap();
        let answer = answer(&AnswerBudget::default(), &query, rows, |row| row)
            .await
            .unwrap();
        let answer = answer.into_body().collect().await.unwrap().to_bytes();
        assert!(answer.len() <= PAGE_BYTES_MAX, "{}", answer.len());
        let page: serde_json::Value = serde_json::from_slice(&answer).unwrap();
        let rows = page["data"].as_array().unwrap();
        assert_eq!(rows.len(), 1, "two have no room");
        seen.push(rows[0][0].as_str().unwrap().to_owned());
        assert_eq!(
            page["pagination"]["has_more"],
            page["pagination"]["next_cursor"].is_string()
        );
        let Some(cursor) = page["pagination"]["next_cursor"].as_str() else {
            break;
        };
        query = SPEC
            .parse(&format!("cursor={cursor}"), &CursorKey::default())
            .unwrap();
    }
    assert_eq!(seen, ["t00000", "t00001", "t00002", "t00003", "t00004"]);
    db.close().await;
}
