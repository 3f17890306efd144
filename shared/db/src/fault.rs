//! What an engine's error means: for the statement, for its transaction, and for the connection under it.

use mysql_async::Error as MysqlError;
use rusqlite::{Error as SqliteError, ErrorCode, ffi};

use super::DbError;

/// What happens to the transaction in which an error came up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    /// Only the statement failed: the transaction may go on.
    GoOn,
    /// The transaction lost a race: the whole of it runs again.
    Rerun,
    /// A lock was waited for too long: the whole of it may run again, seldom.
    LockTimeout,
    /// This node takes no work now: the whole of it runs again, on another connection.
    NodeNotReady,
    /// The connection is gone or unclean: it is dropped untouched.
    ConnectionLost,
    /// It cannot succeed: rolled back and answered.
    Final,
}

/// An error and its consequence.
#[derive(Clone, Debug)]
pub(super) struct Fault {
    pub error: DbError,
    pub fate: Fate,
}

impl Fault {
    pub fn new(error: DbError, fate: Fate) -> Self {
        Self { error, fate }
    }

    /// The same of a transaction's beginning: without it every later statement would be committed by itself.
    pub fn at_begin(mut self) -> Self {
        if self.fate == Fate::GoOn {
            self.fate = Fate::Final;
        }
        self
    }

    pub fn statement(code: i64, message: impl Into<String>) -> Self {
        Self::new(
            DbError::Statement {
                code,
                message: message.into(),
            },
            Fate::GoOn,
        )
    }

    pub fn lost() -> Self {
        Self::new(DbError::Unavailable, Fate::ConnectionLost)
    }

    pub fn is_lost(&self) -> bool {
        self.fate == Fate::ConnectionLost
    }
}

impl From<DbError> for Fault {
    fn from(error: DbError) -> Self {
        Self::new(error, Fate::Final)
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
        1062 | 1586 => Fault::new(DbError::Duplicate, Fate::GoOn),
        // Deadlock and lost certification; record changed since read; a statement to be prepared again.
        1213 | 1020 | 1615 | 8002 | 9007 => Fault::new(DbError::Contended, Fate::Rerun),
        1205 => Fault::new(DbError::LockTimeout, Fate::LockTimeout),
        1047 => Fault::new(DbError::Unavailable, Fate::NodeNotReady),
        // Read-only: by option, by transaction, by super_read_only, by the group's own mode.
        1290 | 1792 | 1836 | 3100 | 3101 => Fault::new(DbError::ReadOnly, Fate::Final),
        // No space left: on the device, in the table, in the temporary folder.
        1021 | 1114 | 1041 | 1030 | 3675 => Fault::new(DbError::Full, Fate::Final),
        // The server's own limit on a statement: MySQL's and MariaDB's.
        3024 | 1969 => Fault::new(DbError::Timeout, Fate::Final),
        // Out of memory, of sort memory, of room for locks, of prepared statements: the server's limits, and no fault of
        // the statement.
        1037 | 1038 | 1206 | 1461 => Fault::new(DbError::Unavailable, Fate::Final),
        // Too many connections, killed, shutting down, network errors, idle for too long.
        1040 | 1053 | 1077..=1079 | 1129 | 1152..=1161 | 1184 | 1203 | 1226 | 1317 | 1927 | 3169 | 4031 => {
            Fault::lost()
        }
        code if VALUELESS.contains(&code) => Fault::statement(code.into(), server.message.clone()),
        // Any other message may quote a value: only its number is kept.
        code => Fault::statement(code.into(), format!("SQLSTATE {}", server.state)),
    }
}

/// As [`of_mysql`], of a statement with its values in it, which a message may quote: only its number is kept.
pub(super) fn of_mysql_text(error: &MysqlError) -> Fault {
    match (of_mysql(error), error) {
        (
            Fault {
                error: DbError::Statement { code, .. },
                ..
            },
            MysqlError::Server(server),
        ) => Fault::statement(code, format!("SQLSTATE {}", server.state)),
        (fault, _) => fault,
    }
}

pub(super) fn of_sqlite(error: &SqliteError) -> Fault {
    let (failure, message) = match error {
        SqliteError::SqliteFailure(failure, message) => (failure, message.clone()),
        SqliteError::SqlInputError { error, msg, .. } => (error, Some(msg.clone())),
        other => return Fault::statement(0, other.to_string()),
    };
    match (failure.code, failure.extended_code) {
        (
            ErrorCode::ConstraintViolation,
            ffi::SQLITE_CONSTRAINT_UNIQUE | ffi::SQLITE_CONSTRAINT_PRIMARYKEY | ffi::SQLITE_CONSTRAINT_ROWID,
        ) => Fault::new(DbError::Duplicate, Fate::GoOn),
        (ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked, _) => {
            Fault::new(DbError::Contended, Fate::Rerun)
        }
        (ErrorCode::DiskFull, _) => Fault::new(DbError::Full, Fate::Final),
        (ErrorCode::ReadOnly, _) => Fault::new(DbError::ReadOnly, Fate::Final),
        (ErrorCode::OperationInterrupted, _) => Fault::new(DbError::Timeout, Fate::Final),
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
        assert_eq!(server(1213, "").fate, Fate::Rerun);
        assert_eq!(server(1020, "").fate, Fate::Rerun);
        assert_eq!(server(1205, "").fate, Fate::LockTimeout);
        assert_eq!(server(1047, "").fate, Fate::NodeNotReady);
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
