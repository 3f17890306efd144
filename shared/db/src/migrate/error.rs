//! What stops a migration.

use crate::DbError;

/// Why the schema is not as this program needs it.
#[non_exhaustive]
#[derive(Debug, thiserror::Error)]
pub enum MigrateError {
    /// The database refused.
    #[error(transparent)]
    Db(#[from] DbError),
    /// A later version of this program was here.
    #[error("the schema of {scope} is at {found}, this program knows only {known}: use the newer program")]
    Newer {
        /// Whose migrations.
        scope: &'static str,
        /// The highest number in the database.
        found: u32,
        /// The highest number in this program.
        known: u32,
    },
    /// A number was applied under another name.
    #[error("migration {number} of {scope} is {known} here, but was applied as {found}")]
    Renamed {
        /// Whose migrations.
        scope: &'static str,
        /// Which one.
        number: u32,
        /// Its name in the database.
        found: String,
        /// Its name in this program.
        known: &'static str,
    },
    /// A statement of a migration failed.
    #[error("migration {number} of {scope}, statement {step}: {error}")]
    Step {
        /// Whose migrations.
        scope: &'static str,
        /// Which one.
        number: u32,
        /// Which of its statements, from 1.
        step: usize,
        /// What the database said.
        error: DbError,
    },
    /// Another process is migrating and did not finish in time.
    #[error("another process has been migrating this database for too long")]
    Held,
    /// Another process took the lease over.
    #[error("another process took over migrating")]
    Overtaken,
}
