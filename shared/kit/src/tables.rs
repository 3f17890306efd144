//! Kit's own tables: audit rows, idempotency slots with their shared answers, how far a rebuild has come, API keys, and the last
//! places of sequences.

use db::{Migration, MigrationSet};

/// They are applied before a service's own.
pub const MIGRATIONS: MigrationSet = MigrationSet {
    scope: "kit",
    migrations: &[
        Migration {
            number: 1,
            name: "audit_and_idempotency",
            sqlite: include_str!("../migrations/sqlite/0001_audit_and_idempotency.sql"),
            mysql: include_str!("../migrations/mysql/0001_audit_and_idempotency.sql"),
        },
        Migration {
            number: 2,
            name: "shared_answers",
            sqlite: include_str!("../migrations/sqlite/0002_shared_answers.sql"),
            mysql: include_str!("../migrations/mysql/0002_shared_answers.sql"),
        },
        Migration {
            number: 3,
            name: "rebuilds",
            sqlite: include_str!("../migrations/sqlite/0003_rebuilds.sql"),
            mysql: include_str!("../migrations/mysql/0003_rebuilds.sql"),
        },
        Migration {
            number: 4,
            name: "api_keys",
            sqlite: include_str!("../migrations/sqlite/0004_api_keys.sql"),
            mysql: include_str!("../migrations/mysql/0004_api_keys.sql"),
        },
        Migration {
            number: 5,
            name: "master_key_check",
            sqlite: include_str!("../migrations/sqlite/0005_master_key_check.sql"),
            mysql: include_str!("../migrations/mysql/0005_master_key_check.sql"),
        },
        Migration {
            number: 6,
            name: "cursor_key",
            sqlite: include_str!("../migrations/sqlite/0006_cursor_key.sql"),
            mysql: include_str!("../migrations/mysql/0006_cursor_key.sql"),
        },
        Migration {
            number: 7,
            name: "sequences",
            sqlite: include_str!("../migrations/sqlite/0007_sequences.sql"),
            mysql: include_str!("../migrations/mysql/0007_sequences.sql"),
        },
        Migration {
            number: 8,
            name: "answers_of_parts",
            sqlite: include_str!("../migrations/sqlite/0008_answers_of_parts.sql"),
            mysql: include_str!("../migrations/mysql/0008_answers_of_parts.sql"),
        },
        Migration {
            number: 9,
            name: "sequence_holds",
            sqlite: include_str!("../migrations/sqlite/0009_sequence_holds.sql"),
            mysql: include_str!("../migrations/mysql/0009_sequence_holds.sql"),
        },
    ],
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_engines_get_every_migration_of_kit() {
        for (place, migration) in MIGRATIONS.migrations.iter().enumerate() {
            assert_eq!(migration.number as usize, place + 1);
            assert!(migration.sqlite.contains(';') && migration.mysql.contains(';'));
        }
    }
}
