//! What is written is what is read, and keys are compared byte by byte.

use contract::{Entropy, SeededEntropy};
use db::{Db, DbError, Dialect, Row, Statement, params, placeholders};

use super::{add, add_note, make_notes, notes};
use crate::case::{Case, Ctx, cases};

pub fn cases() -> Vec<Case> {
    cases![
        every_kind_comes_back_as_it_went,
        a_sum_is_a_number,
        texts_and_numbers_are_one_value_of_bytes,
        a_wrong_kind_is_refused_not_guessed,
        a_number_past_i64_is_refused,
        an_update_counts_the_rows_it_matched,
        an_existing_row_is_skipped_or_updated_on_request,
        keys_that_differ_in_case_or_accent_are_two,
        too_long_a_value_is_refused_where_columns_have_lengths,
    ]
}

async fn make_things(db: &Db) {
    let run = db.transaction("make_things", |tx| {
        let (blob, text) = match tx.dialect() {
            Dialect::Sqlite => ("BLOB", "TEXT"),
            Dialect::Mysql => ("MEDIUMBLOB", "LONGTEXT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin"),
        };
        let sql = format!("CREATE TABLE things (id BIGINT PRIMARY KEY, n BIGINT, t {text}, b {blob})");
        Box::pin(async move { tx.execute(&sql, vec![]).await })
    });
    run.await.expect("the table is made");
}

type Thing = (Option<i64>, Option<String>, Option<Vec<u8>>);

async fn put(db: &Db, things: Vec<Thing>) {
    let run = db.transaction("put", move |tx| {
        let things = things.clone();
        Box::pin(async move {
            let sql = format!(
                "INSERT INTO things (id, n, t, b) VALUES {}",
                placeholders(things.len(), 4)
            );
            let rows = things.into_iter().enumerate();
            let params = rows.flat_map(|(id, (n, t, b))| params![id, n, t, b]).collect();
            tx.execute(&sql, params).await
        })
    });
    run.await.expect("the things are put");
}

async fn rows(db: &Db, sql: &'static str) -> Vec<Row> {
    db.read("rows", move |tx| Box::pin(tx.query(sql, vec![])))
        .await
        .expect("the query runs")
}

async fn every_kind_comes_back_as_it_went(ctx: Ctx) {
    let db = ctx.open().await;
    make_things(&db).await;
    let mut blob = vec![0; 200_000];
    SeededEntropy::new(1).fill(&mut blob);
    let things: Vec<Thing> = vec![
        (None, None, None),
        (Some(0), Some(String::new()), Some(Vec::new())),
        (
            Some((1 << 53) + 1),
            Some("Zoë 🛎️ \u{0} 'quoted' \\ %_".to_owned()),
            Some((0..=255).collect()),
        ),
        (
            Some(i64::MIN),
            Some(" spaces at the edges ".to_owned()),
            Some(blob),
        ),
        (
            Some(i64::MAX),
            Some("ß".repeat(100_000)),
            Some(vec![0xff; 70_000]),
        ),
    ];
    put(&db, things.clone()).await;
    let found = rows(&db, "SELECT n, t, b FROM things ORDER BY id").await;
    let found: Vec<Thing> = found
        .iter()
        .map(|row| {
            (
                row.get("n").unwrap(),
                row.get("t").unwrap(),
                row.get("b").unwrap(),
            )
        })
        .collect();
    assert!(found == things, "what was read differs from what was written");
}

/// Written as a prepared statement, and in a batch, which is a text on MySQL.
async fn texts_and_numbers_are_one_value_of_bytes(ctx: Ctx) {
    const HEAD: &str = r#"{"text":"Zoë 🛎️ 'quoted' \\","version":"#;
    let db = ctx.open().await;
    make_things(&db).await;
    put(&db, vec![(Some(i64::MAX), None, None)]).await;
    let run = db.transaction("put_together", |tx| {
        let value = tx.dialect().bytes_of("?, n, ?");
        Box::pin(async move {
            let sql =
                |id: u8| format!("INSERT INTO things (id, b) SELECT {id}, {value} FROM things WHERE id = 0");
            tx.execute(&sql(1), params![HEAD, "}"]).await?;
            tx.run(&[Statement::change(sql(2), params![HEAD, "}"])])
                .await
                .all()
        })
    });
    run.await.unwrap();
    let expected = format!("{HEAD}{}}}", i64::MAX);
    for row in rows(&db, "SELECT b FROM things WHERE id > 0").await {
        assert_eq!(row.get::<Vec<u8>>("b").unwrap(), expected.as_bytes());
    }
}

async fn a_sum_is_a_number(ctx: Ctx) {
    let db = ctx.open().await;
    make_things(&db).await;
    put(&db, vec![(Some(1 << 53), None, None), (Some(1), None, None)]).await;
    let found = rows(
        &db,
        "SELECT SUM(n) AS total, COUNT(*) AS items, MAX(n) > 5 AS large FROM things",
    )
    .await;
    assert_eq!(found[0].get::<i64>("total"), Ok((1 << 53) + 1));
    assert_eq!(found[0].get::<u32>("items"), Ok(2));
    assert_eq!(found[0].get::<bool>("large"), Ok(true));
}

async fn a_wrong_kind_is_refused_not_guessed(ctx: Ctx) {
    let db = ctx.open().await;
    make_things(&db).await;
    put(&db, vec![(None, Some("7".to_owned()), None)]).await;
    let row = &rows(&db, "SELECT n, t FROM things").await[0];
    assert_eq!(
        row.get::<i64>("n"),
        Err(DbError::Decode {
            column: "n".to_owned(),
            expected: "i64"
        })
    );
    assert_eq!(
        row.get::<i64>("t"),
        Err(DbError::Decode {
            column: "t".to_owned(),
            expected: "i64"
        })
    );
    assert_eq!(row.get::<Option<i64>>("n"), Ok(None));
}

async fn a_number_past_i64_is_refused(ctx: Ctx) {
    let db = ctx.open().await;
    make_things(&db).await;
    let run = db.transaction("too_large", |tx| {
        Box::pin(async move {
            tx.execute("INSERT INTO things (id, n) VALUES (1, ?)", params![u64::MAX])
                .await
        })
    });
    assert!(matches!(run.await, Err(DbError::Statement { .. })));
}

async fn an_update_counts_the_rows_it_matched(ctx: Ctx) {
    let db = ctx.open().await;
    make_notes(&db).await;
    add_note(&db, "a").await.unwrap();
    let run = db.transaction("again", |tx| {
        Box::pin(async move {
            let same = tx
                .execute("UPDATE notes SET text = 'new' WHERE id = ?", params!["a"])
                .await?;
            let none = tx
                .execute("UPDATE notes SET text = 'new' WHERE id = ?", params!["b"])
                .await?;
            Ok((same, none))
        })
    });
    assert_eq!(run.await, Ok((1, 0)));
}

async fn an_existing_row_is_skipped_or_updated_on_request(ctx: Ctx) {
    let db = ctx.open().await;
    make_notes(&db).await;
    add_note(&db, "a").await.unwrap();
    let run = db.transaction("upserts", |tx| {
        Box::pin(async move {
            let insert = "INSERT INTO notes (id, text) VALUES (?, ?), (?, ?)".to_owned();
            let skip = insert.clone() + &tx.dialect().skip_existing("id");
            tx.execute(&skip, params!["a", "skipped", "b", "first"]).await?;
            let update = insert + &tx.dialect().on_conflict_update(&["id"], &["text"]);
            tx.execute(&update, params!["b", "second", "c", "third"]).await?;
            let rows = tx.query("SELECT text FROM notes ORDER BY id", vec![]).await?;
            rows.iter().map(|row| row.get::<String>("text")).collect()
        })
    });
    let texts: Vec<String> = run.await.unwrap();
    assert_eq!(texts, ["new", "second", "third"]);
}

async fn keys_that_differ_in_case_or_accent_are_two(ctx: Ctx) {
    let db = ctx.open().await;
    make_notes(&db).await;
    for id in ["a", "A", "á", "ä", "ss", "ß"] {
        add_note(&db, id).await.unwrap();
    }
    assert_eq!(notes(&db).await.len(), 6);
}

async fn too_long_a_value_is_refused_where_columns_have_lengths(ctx: Ctx) {
    let db = ctx.open().await;
    make_notes(&db).await;
    let long = "x".repeat(65);
    let run = db.transaction("too_long", move |tx| {
        let long = long.clone();
        Box::pin(async move { add(tx, &long).await })
    });
    match db.dialect() {
        Dialect::Mysql => assert!(matches!(run.await, Err(DbError::Statement { code: 1406, .. }))),
        // SQLite knows no lengths: what is stored is whole, never cut.
        Dialect::Sqlite => {
            run.await.unwrap();
            assert_eq!(notes(&db).await[0].len(), 65);
        }
    }
}
