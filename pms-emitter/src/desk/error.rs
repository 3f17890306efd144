//! Why the desk refused a request. Nothing was written then.

use crate::domain::refusal::Refusal;
use db::DbError;

/// A function of the desk that changed nothing.
#[derive(Debug, thiserror::Error)]
pub enum DeskError {
    /// The rules of the domain do not allow it.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// The caller does not expect the present version.
    #[error("the version is not the expected one")]
    UnexpectedVersion,
    /// Another request changed the same thing between every read and its write.
    #[error("others keep changing the same thing")]
    Overtaken,
    /// The database failed.
    #[error(transparent)]
    Db(#[from] DbError),
}
