//! What an engine's error means: for the statement, for its transaction, and for the connection under it.

use mysql_async::Error as MysqlError;
use rusqlite::{Error as SqliteError, ErrorCode, ffi};

use super::DbError;

/// What an error does to its transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ErrorEffect {
    /// Only the statement failed: the transaction may go on.
    GoOn,
    /// The transaction lost to a concurrent one: all of it runs again.
    Rerun,
    /// A lock wait timed out: all of it may run again, once.
    LockTimeout,
    /// This node accepts no work now: all of it runs again, on another connection.
    NodeNotReady,
    /// The connection is lost or in an unknown state: it is closed without another byte.
    ConnectionLost,
    /// It cannot succeed: rolled back and answered.
    Final,
}

/// An error and its consequence.
#[derive(Clone, Debug)]
pub(super) struct Fault {
    pub error: DbError,
    pub effect: ErrorEffect,
}

impl Fault {
    pub fn new(error: DbError, effect: ErrorEffect) -> Self {
        Self { error, effect }
    }

    /// The same error, raised by BEGIN: it always ends the transaction, since every later statement would be committed
    /// by itself.
    pub fn at_begin(mut self) -> Self {
        if self.effect == ErrorEffect::GoOn {
            self.effect = ErrorEffect::Final;
        }
        self
    }

    pub fn statement(code: i64, message: impl Into<String>) -> Self {
        Self::new(
            DbError::Statement {
                code,
                message: message.into(),
            },
            ErrorEffect::GoOn,
        )
    }

    pub fn lost() -> Self {
        Self::new(DbError::Unavailable, ErrorEffect::ConnectionLost)
    }

    pub fn is_lost(&self) -> bool {
        self.effect == ErrorEffect::ConnectionLost
    }
}

impl From<DbError> for Fault {
    fn from(error: DbError) -> Self {
        Self::new(error, ErrorEffect::Final)
    }
}

/// For `?` on a statement whose values are parameters. A text with values in it, which a message may quote, is never left to
/// `?`: its errors go through [`of_mysql_text`].
impl From<MysqlError> for Fault {
    fn from(error: MysqlError) -> Self {
        of_mysql(&error)
    }
}

impl From<SqliteError> for Fault {
    fn from(error: SqliteError) -> Self {
        let (failure, message) = match error {
            SqliteError::SqliteFailure(failure, message) => (failure, message),
            SqliteError::SqlInputError { error, msg, .. } => (error, Some(msg)),
            other => return Self::statement(0, other.to_string()),
        };
        of_sqlite(failure, message)
    }
}

/// MySQL messages that name tables and columns but never a value.
const VALUELESS: &[u16] = &[
    1048, 1049, 1050, 1051, 1054, 1060, 1061, 1064, 1071, 1072, 1091, 1118, 1136, 1142, 1146, 1170, 1171,
    1264, 1364, 1406,
];

pub(super) fn of_mysql(error: &MysqlError) -> Fault {
    let MysqlError::Server(server) = error else {
        return Fault::lost();
    };
    match server.code {
        1062 | 1586 => Fault::new(DbError::Duplicate, ErrorEffect::GoOn),
        // Deadlock and lost certification; record changed since read; a statement to be prepared again.
        1213 | 1020 | 1615 | 8002 | 9007 => Fault::new(DbError::Contended, ErrorEffect::Rerun),
        1205 => Fault::new(DbError::LockTimeout, ErrorEffect::LockTimeout),
        1047 => Fault::new(DbError::Unavailable, ErrorEffect::NodeNotReady),
        // Read-only: by option, by transaction, by super_read_only, by the group's own mode.
        1290 | 1792 | 1836 | 3100 | 3101 => Fault::new(DbError::ReadOnly, ErrorEffect::Final),
        // No space left: on the device, in the table, in the temporary folder.
        1021 | 1114 | 1041 | 1030 | 3675 => Fault::new(DbError::Full, ErrorEffect::Final),
        // The server's own limit on a statement: MySQL's and MariaDB's.
        3024 | 1969 => Fault::new(DbError::Timeout, ErrorEffect::Final),
        // Out of memory, of sort memory, of lock memory, of prepared statements: limits of the server, not errors of
        // the statement.
        1037 | 1038 | 1206 | 1461 => Fault::new(DbError::Unavailable, ErrorEffect::Final),
        // Too many connections, killed, shutting down, network errors, idle for too long.
        1040 | 1053 | 1077..=1079 | 1129 | 1152..=1161 | 1184 | 1203 | 1226 | 1317 | 1927 | 3169 | 4031 => {
            Fault::lost()
        }
        code if VALUELESS.contains(&code) => Fault::statement(code.into(), server.message.clone()),
        // Any other message may quote a value: only its number is kept.
        code => Fault::statement(code.into(), format!("SQLSTATE {}", server.state)),
    }
}

/// As [`of_mysql`], for a text that contains its values, which a message may quote: only the error number is kept.
pub(super) fn of_mysql_text(error: &MysqlError) -> Fault {
    let fault = of_mysql(error);
    match (&fault.error, error) {
        (DbError::Statement { code, .. }, MysqlError::Server(server)) => {
            Fault::statement(*code, format!("SQLSTATE {}", server.state))
        }
        _ => fault,
    }
}

fn of_sqlite(failure: ffi::Error, message: Option<String>) -> Fault {
    match (failure.code, failure.extended_code) {
        (
            ErrorCode::ConstraintViolation,
            ffi::SQLITE_CONSTRAINT_UNIQUE | ffi::SQLITE_CONSTRAINT_PRIMARYKEY | ffi::SQLITE_CONSTRAINT_ROWID,
        ) => Fault::new(DbError::Duplicate, ErrorEffect::GoOn),
        (ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked, _) => {
            Fault::new(DbError::Contended, ErrorEffect::Rerun)
        }
        (ErrorCode::DiskFull, _) => Fault::new(DbError::Full, ErrorEffect::Final),
        (ErrorCode::ReadOnly, _) => Fault::new(DbError::ReadOnly, ErrorEffect::Final),
        (ErrorCode::OperationInterrupted, _) => Fault::new(DbError::Timeout, ErrorEffect::Final),
        (
            ErrorCode::SystemIoFailure
            | ErrorCode::CannotOpen
            | ErrorCode::DatabaseCorrupt
            | ErrorCode::NotADatabase
            | ErrorCode::OutOfMemory,
            _,
        ) => Fault::lost(),
        (_, code) => Fault::statement(code.into(), message.unwrap_or_default()),
    }
}

#[cfg(test)]
mod tests {
    use mysql_async::ServerError;

    use super::*;

    fn server(code: u16, message: &str) -> Fault {
        let state = "HY000".to_owned();
        of_mysql(&MysqlError::Server(ServerError {
            code,
            message: message.to_owned(),
            state,
        }))
    }

    #[test]
    fn each_code_has_its_consequence() {
        assert_eq!(server(1062, "").error, DbError::Duplicate);
        assert_eq!(server(1213, "").effect, ErrorEffect::Rerun);
        assert_eq!(server(1020, "").effect, ErrorEffect::Rerun);
        assert_eq!(server(1205, "").effect, ErrorEffect::LockTimeout);
        assert_eq!(server(1047, "").effect, ErrorEffect::NodeNotReady);
        assert_eq!(server(1290, "").error, DbError::ReadOnly);
        assert_eq!(server(1114, "").error, DbError::Full);
        assert!(server(1927, "").is_lost());
        assert!(server(4031, "").is_lost());
    }

    #[test]
    fn a_message_that_may_quote_a_value_is_not_kept() {
        let kept = |code, message| server(code, message).error.to_string();
        assert!(!kept(1366, "Incorrect string value: 'Maria'").contains("Maria"));
        assert!(!kept(1062, "Duplicate entry 'maria@example.com' for key 'email'").contains("maria"));
        assert!(kept(1146, "Table 'crm.guests' doesn't exist").contains("crm.guests"));
    }
}
