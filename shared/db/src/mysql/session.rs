//! The settings of a session on a MySQL server, and checks of server settings that a session cannot change.
//!
//! The server's operator chooses its limits and modes. Where a session can set its own value, every session does, so
//! that a statement means the same on every server. Where it cannot, a service works within the limit, or refuses to
//! start and names the variable.

use std::collections::HashMap;

use mysql_async::prelude::Queryable;
use mysql_async::{Conn, DriverError, Error as MysqlError, IoError, Opts};

use crate::fault::{self, Fault};
use crate::mysql::lease::Session;
use crate::{DbError, DbSettings};

/// The least `max_allowed_packet`: four of the largest bodies, in one row with everything about them.
const PACKET_BYTES_MIN: usize = 1024 * 1024;
/// The server's own default times for one packet to come or go, in seconds.
const READ_SECONDS: u32 = 30;
const WRITE_SECONDS: u32 = 60;

/// The statements that set a session up, each independent of the others.
pub(crate) fn setup(settings: &DbSettings) -> Vec<String> {
    // Milliseconds for MySQL and seconds for MariaDB: each reads only its own of the two marked comments. A process
    // that stops in the middle of a transaction loses it, so that its locks block no other: by the session's idle
    // limit, or on MariaDB by an earlier one. A running process has dropped the connection before that.
    let limit = settings.abort_after;
    let times = format!(
        "SET SESSION innodb_lock_wait_timeout = 1, wait_timeout = {}, \
         net_read_timeout = {READ_SECONDS}, net_write_timeout = {WRITE_SECONDS} \
         /*!80000 , max_execution_time = {} */ \
         /*M!100300 , max_statement_time = {}, idle_transaction_timeout = {} */",
        settings.silence_max.as_secs().max(1),
        limit.as_millis(),
        limit.as_secs_f64(),
        limit.as_secs() + 1
    );
    vec![
        // A server may ignore the character set of the handshake.
        "SET NAMES utf8mb4 COLLATE utf8mb4_bin".to_owned(),
        "SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED, READ WRITE".to_owned(),
        // The whole mode: in others a quoted text is a name, a backslash means itself, or || concatenates.
        "SET SESSION sql_mode = 'STRICT_TRANS_TABLES,NO_ENGINE_SUBSTITUTION'".to_owned(),
        "SET SESSION autocommit = 1, completion_type = 0, unique_checks = 1, foreign_key_checks = 1, \
         sql_safe_updates = 0, sql_auto_is_null = 0, sql_big_selects = 1, sql_select_limit = 18446744073709551615"
            .to_owned(),
        times,
    ]
}

/// Why no session could be opened.
pub(crate) enum ConnectFailure {
    /// The server's connection limit is reached, in all or for this user.
    TooMany,
    Fault(Fault),
}

impl From<Fault> for ConnectFailure {
    fn from(fault: Fault) -> Self {
        Self::Fault(fault)
    }
}

/// Connects, and refuses a server on which a session cannot have the required settings.
pub(crate) async fn connect(opts: Opts) -> Result<(Conn, Session), ConnectFailure> {
    let mut conn = Conn::new(opts).await.map_err(|error| refusal(&error))?;
    let found: Option<(String, String, u64, usize)> = conn
        .query_first("SELECT @@SESSION.sql_mode, @@hostname, @@port, @@max_allowed_packet")
        .await
        .map_err(|error| refusal(&error))?;
    let (mode, name, port, packet_bytes) = found.unwrap_or_default();
    if !mode.split(',').any(|mode| mode.starts_with("STRICT_")) {
        return Err(refused("the server takes no strict sql_mode"));
    }
    if packet_bytes < PACKET_BYTES_MIN {
        return Err(refused(format!(
            "max_allowed_packet of the server is {packet_bytes}: it must be at least {PACKET_BYTES_MIN}"
        )));
    }
    let session = Session {
        server: (name, port),
        number: conn.id(),
        packet_bytes,
    };
    Ok((conn, session))
}

fn refused(reason: impl Into<String>) -> ConnectFailure {
    ConnectFailure::Fault(DbError::open(reason).into())
}

/// What a failed connection means, with a message for the operator.
fn refusal(error: &MysqlError) -> ConnectFailure {
    match error {
        MysqlError::Server(server) => match server.code {
            1040 | 1203 | 1226 => ConnectFailure::TooMany,
            1044 => refused("the server denies this user access to the database"),
            1045 | 1698 => refused(
                "the server denies access: user or password is wrong, or the account asks for TLS (DB_SSL_MODE)",
            ),
            1049 => refused("the server has no database of that name"),
            1820 | 1862 => refused("the password of the user has expired"),
            3118 | 4151 => refused("the account of the user is locked"),
            1130 => refused("the server takes no connections from this host"),
            3159 => refused(
                "the server takes encrypted connections alone (require_secure_transport): set DB_SSL_MODE",
            ),
            _ => fault_of(error),
        },
        MysqlError::Driver(DriverError::NoClientSslFlagFromServer) => {
            refused("the server offers no TLS, and ssl-mode asks for it")
        }
        MysqlError::Io(IoError::Tls(error)) => refused(format!("no TLS with the server: {error}")),
        MysqlError::Io(IoError::Io(io)) => {
            let inner = io
                .get_ref()
                .and_then(|inner| inner.downcast_ref::<rustls::Error>());
            match inner {
                Some(error) => refused(format!(
                    "no TLS with the server, as ssl-mode and ssl-ca ask for it: {error}"
                )),
                None => fault_of(error),
            }
        }
        _ => fault_of(error),
    }
}

fn fault_of(error: &MysqlError) -> ConnectFailure {
    match fault::of_mysql(error) {
        fault if fault.is_lost() => fault.into(),
        fault => refused(fault.error.to_string()),
    }
}

/// Checks the server's settings at startup: warns the operator, or refuses to start.
///
/// # Errors
/// When that server would refuse writes of the required size.
pub(crate) async fn check_server(conn: &mut Conn, connections: usize) -> Result<(), Fault> {
    // Some servers lack some of these.
    let asked = "SHOW SESSION VARIABLES WHERE Variable_name IN ('innodb_flush_log_at_trx_commit', 'log_bin', \
                 'binlog_format', 'max_connections', 'max_user_connections')";
    let found: Vec<(String, String)> = conn.query(asked).await?;
    let found: HashMap<String, String> = found
        .into_iter()
        .map(|(name, value)| (name.to_lowercase(), value))
        .collect();
    let of = |name: &str| found.get(name).map(String::as_str);
    if of("innodb_flush_log_at_trx_commit").is_some_and(|flushing| flushing != "1") {
        tracing::warn!(
            "innodb_flush_log_at_trx_commit is not 1: THE SERVER LOSES CONFIRMED COMMITS WHEN ITS MACHINE FAILS"
        );
    }
    if of("log_bin") == Some("ON") && of("binlog_format") == Some("STATEMENT") {
        let reason = "binlog_format of the server is STATEMENT: it must be ROW or MIXED, for READ COMMITTED";
        return Err(DbError::open(reason).into());
    }
    for name in ["max_connections", "max_user_connections"] {
        // 0 is no limit.
        let limit = of(name).and_then(|limit| limit.parse::<usize>().ok());
        if let Some(limit) = limit.filter(|limit| (1..connections).contains(limit)) {
            tracing::warn!(
                limit,
                wanted = connections,
                "{name} of the server is small: fewer operations run at once"
            );
        }
    }
    Ok(())
}
