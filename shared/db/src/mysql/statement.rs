//! Statements on a MySQL connection: parameters in, rows out, errors with their consequence.
//!
//! Everything with parameters is a prepared statement, kept by its connection, unless it is of a batch or the server
//! has reached its limit of prepared statements; BEGIN, COMMIT and definitions are text.

use std::sync::Arc;

use mysql_async::consts::ColumnType;
use mysql_async::prelude::Queryable;
use mysql_async::{Conn, Value as MysqlValue};

use crate::batch::{Statement, StatementKind, StatementResult};
use crate::fault::{self, ErrorEffect, Fault};
use crate::mysql::lease::Lease;
use crate::mysql::text;
use crate::value::{Params, Value};
use crate::{DbError, Row};

/// A statement without parameters and rows.
pub(crate) async fn text(conn: &mut Conn, sql: &str) -> Result<(), Fault> {
    Ok(conn.query_drop(sql).await?)
}

pub(crate) async fn execute(conn: &mut Conn, sql: &str, params: Params) -> Result<u64, Fault> {
    let Some(prepared) = prepare(conn, sql).await? else {
        let statement = Statement::change(sql.to_owned(), params);
        return unprepared(conn, statement).await.map(|outcome| outcome.matched);
    };
    conn.exec_drop(prepared, bind(params)?).await?;
    Ok(conn.affected_rows())
}

pub(crate) async fn query(conn: &mut Conn, sql: &str, params: Params) -> Result<Vec<Row>, Fault> {
    let Some(prepared) = prepare(conn, sql).await? else {
        let statement = Statement::query(sql.to_owned(), params);
        return unprepared(conn, statement).await.map(|outcome| outcome.rows);
    };
    read_all(conn.exec(prepared, bind(params)?).await?)
}

/// The server's error at its limit of prepared statements (`max_prepared_stmt_count`).
const TOO_MANY_PREPARED: u16 = 1461;

/// The prepared statement, mostly one that the connection has kept. None when the server's limit is reached.
async fn prepare(conn: &mut Conn, sql: &str) -> Result<Option<mysql_async::Statement>, Fault> {
    match conn.prep(sql).await {
        Ok(prepared) => Ok(Some(prepared)),
        Err(mysql_async::Error::Server(error)) if error.code == TOO_MANY_PREPARED => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// The same, sent as text.
async fn unprepared(conn: &mut Conn, statement: Statement) -> Result<StatementResult, Fault> {
    let text = text::text_of_batch(None, &[statement], usize::MAX)?.unwrap_or_default();
    let mut outcomes = Vec::with_capacity(1);
    run_text(conn, &text, 0, 1, &mut outcomes).await?;
    Ok(outcomes.pop().unwrap_or_default())
}

/// Runs a batch in one round trip, after `first`, which has no result of its own; returns the results of the statements
/// that ran.
pub(crate) async fn run(
    conn: &mut Conn,
    packet_bytes: usize,
    first: Option<&str>,
    statements: &[Statement],
) -> (Vec<StatementResult>, Result<(), Fault>) {
    let mut outcomes = Vec::with_capacity(statements.len());
    let bytes_max = text::bytes_max(packet_bytes);
    let ended = match text::text_of_batch(first, statements, bytes_max) {
        Ok(Some(text)) => {
            let skipped = usize::from(first.is_some());
            run_text(conn, &text, skipped, statements.len(), &mut outcomes).await
        }
        Ok(None) => run_each(conn, first, statements, &mut outcomes).await,
        Err(fault) => Err(fault),
    };
    (outcomes, ended)
}

/// Keeps the results of `asked` statements, after `skipped` others. The driver reports a statement's failure in place
/// of its result.
async fn run_text(
    conn: &mut Conn,
    text: &str,
    skipped: usize,
    asked: usize,
    outcomes: &mut Vec<StatementResult>,
) -> Result<(), Fault> {
    let mut answers = Vec::with_capacity(asked);
    let ended = answers_to(conn, text, skipped + asked, &mut answers).await;
    let begun = answers.len() >= skipped;
    // Decoded only once everything is read off the connection.
    for (matched, rows) in answers.into_iter().skip(skipped) {
        let rows = read_all(rows)?;
        outcomes.push(StatementResult { matched, rows });
    }
    ended.map_err(|error| match fault::of_mysql_text(&error) {
        fault if begun => fault,
        fault => fault.at_begin(),
    })
}

async fn answers_to(
    conn: &mut Conn,
    text: &str,
    expected: usize,
    answers: &mut Vec<(u64, Vec<mysql_async::Row>)>,
) -> mysql_async::Result<()> {
    let mut results = conn.query_iter(text).await?;
    for _ in 0..expected {
        let matched = results.affected_rows();
        answers.push((matched, results.collect().await?));
    }
    Ok(())
}

/// Runs a batch that is too long for one text, statement by statement.
async fn run_each(
    conn: &mut Conn,
    first: Option<&str>,
    statements: &[Statement],
    outcomes: &mut Vec<StatementResult>,
) -> Result<(), Fault> {
    if let Some(first) = first {
        text(conn, first).await.map_err(Fault::at_begin)?;
    }
    for statement in statements {
        let mut outcome = StatementResult::default();
        for params in statement.runs() {
            let (sql, params) = (&statement.sql, params.to_vec());
            if statement.kind == StatementKind::Query {
                outcome.rows = query(conn, sql, params).await?;
            } else {
                outcome.matched += execute(conn, sql, params).await?;
            }
        }
        outcomes.push(outcome);
    }
    Ok(())
}

fn read_all(rows: Vec<mysql_async::Row>) -> Result<Vec<Row>, Fault> {
    let Some(first) = rows.first() else {
        return Ok(Vec::new());
    };
    let columns: Arc<[String]> = first
        .columns_ref()
        .iter()
        .map(|column| column.name_str().into_owned())
        .collect();
    rows.into_iter().map(|row| read(row, columns.clone())).collect()
}

/// Defines a table or an index: without the limit on a statement's time, and on a session that is not used again.
pub(crate) async fn define(lease: &mut Lease, sql: &str) -> Result<(), Fault> {
    lease.mark_changed();
    text(
        lease.conn(),
        "SET SESSION innodb_lock_wait_timeout = 1 /*M!100100 , max_statement_time = 0 */",
    )
    .await?;
    text(lease.conn(), sql).await
}

fn bind(params: Params) -> Result<mysql_async::Params, Fault> {
    if params.is_empty() {
        return Ok(mysql_async::Params::Empty);
    }
    let bound = params.into_iter().map(|value| match value {
        Value::Null => Ok(MysqlValue::NULL),
        Value::Int(number) => Ok(MysqlValue::Int(number)),
        Value::Text(text) => Ok(MysqlValue::Bytes(text.into_bytes())),
        Value::Bytes(bytes) => Ok(MysqlValue::Bytes(bytes)),
        Value::TooLarge => Err(Fault::statement(0, "a number over i64::MAX")),
    });
    Ok(mysql_async::Params::Positional(bound.collect::<Result<_, _>>()?))
}

/// Whether the values of a column are whole numbers.
fn is_number(kind: ColumnType) -> bool {
    matches!(
        kind,
        ColumnType::MYSQL_TYPE_TINY
            | ColumnType::MYSQL_TYPE_SHORT
            | ColumnType::MYSQL_TYPE_INT24
            | ColumnType::MYSQL_TYPE_LONG
            | ColumnType::MYSQL_TYPE_LONGLONG
            | ColumnType::MYSQL_TYPE_NEWDECIMAL
    )
}

fn read(row: mysql_async::Row, columns: Arc<[String]>) -> Result<Row, Fault> {
    let kinds: Vec<_> = row
        .columns_ref()
        .iter()
        .map(mysql_async::Column::column_type)
        .collect();
    let values = row
        .unwrap_raw()
        .into_iter()
        .zip(kinds)
        .enumerate()
        .map(|(place, (value, kind))| {
            let unreadable = || {
                let column = columns[place].clone();
                Fault::new(
                    DbError::Decode {
                        column,
                        expected: "integer, text or blob",
                    },
                    ErrorEffect::GoOn,
                )
            };
            match value.unwrap_or(MysqlValue::NULL) {
                MysqlValue::NULL => Ok(Value::Null),
                MysqlValue::Int(number) => Ok(Value::Int(number)),
                MysqlValue::UInt(number) => i64::try_from(number).map(Value::Int).map_err(|_| unreadable()),
                // A sum of BIGINTs is a DECIMAL; in the answer to a text every number is in digits.
                MysqlValue::Bytes(digits) if is_number(kind) => {
                    let number = std::str::from_utf8(&digits)
                        .ok()
                        .and_then(|digits| digits.parse().ok());
                    number.map(Value::Int).ok_or_else(unreadable)
                }
                MysqlValue::Bytes(bytes) => Ok(Value::Bytes(bytes)),
                MysqlValue::Float(_)
                | MysqlValue::Double(_)
                | MysqlValue::Date(..)
                | MysqlValue::Time(..) => Err(unreadable()),
            }
        });
    let values = values.collect::<Result<_, _>>()?;
    Ok(Row { columns, values })
}
