//! Statements that go together: in their order, up to the first that fails, and every value as it was.

use db::{BatchResult, Db, DbError, Dialect, Statement, params};

use super::{add_note, make_notes, notes};
use crate::case::{Case, Ctx, cases};

pub fn cases() -> Vec<Case> {
    cases![
        a_batch_runs_in_its_order_and_answers_each,
        a_batch_ends_at_its_first_failure_and_the_transaction_goes_on,
        no_value_of_a_batch_is_taken_for_sql,
        a_batch_longer_than_one_text_runs_all_the_same,
        a_batch_of_a_read_may_only_ask,
    ]
}

fn put(id: &str, text: &str) -> Statement {
    Statement::change("INSERT INTO notes (id, text) VALUES (?, ?)", params![id, text])
}

fn all() -> Statement {
    Statement::query("SELECT id, text FROM notes ORDER BY id", params![])
}

async fn run(db: &Db, statements: Vec<Statement>) -> BatchResult {
    let ran = db.transaction("run", move |tx| {
        let statements = statements.clone();
        Box::pin(async move { Ok(tx.run(&statements).await) })
    });
    ran.await.expect("the transaction commits")
}

async fn a_batch_runs_in_its_order_and_answers_each(ctx: Ctx) {
    let db = ctx.open().await;
    make_notes(&db).await;
    let rows = params!["b", "two", "c", "three"];
    let two = Statement::rows("notes", &["id", "text"], "", rows).unwrap();
    let change = Statement::change("UPDATE notes SET text = 'new' WHERE id > ?", params!["a"]);
    let ran = run(&db, vec![put("a", "one"), two, all(), change, all()]).await;
    assert_eq!(ran.error, None);
    let matched: Vec<u64> = [0, 1, 3].map(|place| ran.outcomes[place].matched).into();
    assert_eq!(matched, [1, 2, 2]);
    let texts = |place: usize| -> Vec<String> {
        let rows = ran.outcomes[place].rows.iter();
        rows.map(|row| row.get("text").unwrap()).collect()
    };
    assert_eq!(texts(2), ["one", "two", "three"]);
    assert_eq!(texts(4), ["one", "new", "new"]);
}

async fn a_batch_ends_at_its_first_failure_and_the_transaction_goes_on(ctx: Ctx) {
    let db = ctx.open().await;
    make_notes(&db).await;
    add_note(&db, "taken").await.unwrap();
    let ran = run(&db, vec![put("a", ""), all(), put("taken", ""), put("z", "")]).await;
    assert_eq!((ran.outcomes.len(), ran.error), (2, Some(DbError::Duplicate)));
    assert_eq!(notes(&db).await, ["a", "taken"]);
    let ran = run(&db, vec![put("taken", "")]).await;
    assert_eq!((ran.outcomes.len(), ran.error), (0, Some(DbError::Duplicate)));
    let wrong = Statement::query("SELECT nothing FROM notes", params![]);
    let ran = run(&db, vec![put("b", ""), wrong]).await;
    assert_eq!(ran.outcomes.len(), 1);
    assert!(
        matches!(ran.error, Some(DbError::Statement { .. })),
        "{:?}",
        ran.error
    );
    assert_eq!(notes(&db).await, ["a", "b", "taken"], "what ran before is kept");
}

async fn no_value_of_a_batch_is_taken_for_sql(ctx: Ctx) {
    let db = ctx.open().await;
    make_notes(&db).await;
    let make = db.transaction("make_values", |tx| {
        let (blob, text) = match tx.dialect() {
            Dialect::Sqlite => ("BLOB", "TEXT"),
            Dialect::Mysql => ("MEDIUMBLOB", "LONGTEXT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin"),
        };
        let sql = format!("CREATE TABLE written (id BIGINT PRIMARY KEY, t {text}, b {blob})");
        Box::pin(async move { tx.execute(&sql, vec![]).await })
    });
    make.await.unwrap();
    let texts = [
        "",
        "?",
        "'); DELETE FROM notes; --",
        "\\'); DELETE FROM notes; --",
        "\\",
        "''",
        "\"`%_$1{}",
        "line\nbreak\r\ttab\u{0}nul\u{1a}",
        "João Müller 北京 🏨 \u{bf}\u{27}",
    ];
    let every_byte: Vec<u8> = (0..=255).collect();
    let mut statements: Vec<Statement> = (0_i64..)
        .zip(texts)
        .map(|(id, text)| {
            let values = params![id, text, text.as_bytes()];
            Statement::change("INSERT INTO written (id, t, b) VALUES (?, ?, ?)", values)
        })
        .collect();
    let last = params![i64::MIN, None::<String>, every_byte.clone()];
    statements.extend(Statement::rows("written", &["id", "t", "b"], "", last));
    for (id, text) in (0_i64..).zip(texts) {
        let values = params![text, id];
        let sql = "SELECT id, t, b FROM written WHERE t = ? AND id = ?";
        statements.push(Statement::query(sql, values));
    }
    let ran = run(&db, statements).await;
    assert_eq!(ran.error, None);
    for (id, text) in (0_i64..).zip(texts) {
        let answer = &ran.outcomes[texts.len() + 1 + usize::try_from(id).unwrap()];
        let row = answer.row().expect("it is found by its text");
        assert_eq!(row.get::<i64>("id"), Ok(id));
        assert_eq!(row.get::<String>("t").as_deref(), Ok(text));
        assert_eq!(row.get::<Vec<u8>>("b").as_deref(), Ok(text.as_bytes()));
    }
    let question = Statement::query("SELECT t, b FROM written WHERE id = ?", params![i64::MIN]);
    let row = run(&db, vec![question]).await.outcomes[0].rows[0].clone();
    assert_eq!(row.get::<Option<String>>("t"), Ok(None));
    assert_eq!(row.get::<Vec<u8>>("b"), Ok(every_byte));
}

async fn a_batch_longer_than_one_text_runs_all_the_same(ctx: Ctx) {
    let db = ctx.open().await;
    make_notes(&db).await;
    let long = "é".repeat(1024 * 1024);
    let length = Statement::query("SELECT LENGTH(?) AS n", params![&long]);
    let rows = params!["a", "", "b", ""];
    let two = Statement::rows("notes", &["id", "text"], "", rows).unwrap();
    let ran = run(&db, vec![two, length, put("a", ""), put("c", "")]).await;
    assert_eq!((ran.outcomes.len(), ran.error), (2, Some(DbError::Duplicate)));
    assert_eq!(ran.outcomes[0].matched, 2);
    assert!(ran.outcomes[1].rows[0].get::<i64>("n").unwrap() > 0);
    assert_eq!(notes(&db).await, ["a", "b"]);
}

async fn a_batch_of_a_read_may_only_ask(ctx: Ctx) {
    let db = ctx.open().await;
    make_notes(&db).await;
    let read = |statements: Vec<Statement>| {
        let db = db.clone();
        async move {
            let read = db.read("read", move |tx| {
                let statements = statements.clone();
                Box::pin(async move { Ok(tx.run(&statements).await) })
            });
            read.await.expect("the read ends")
        }
    };
    assert_eq!(read(vec![all(), all()]).await.all().unwrap().len(), 2);
    let refused = read(vec![all(), put("a", "")]).await;
    assert!(refused.error.is_some() && refused.outcomes.is_empty());
    assert!(notes(&db).await.is_empty());
}
