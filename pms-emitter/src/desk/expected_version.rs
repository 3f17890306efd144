//! Which version of a thing a caller is willing to change.

use super::DeskError;

/// Whether the caller expects a version. It is checked for the state of each decision, so that nothing is decided on a
/// state that the caller has not seen.
pub struct ExpectedVersion(Box<dyn Fn(u64) -> bool + Send + Sync>);

impl ExpectedVersion {
    /// Those versions for which `is_expected` is true.
    pub fn when(is_expected: impl Fn(u64) -> bool + Send + Sync + 'static) -> Self {
        Self(Box::new(is_expected))
    }

    /// # Errors
    /// `UnexpectedVersion` when this one is not expected.
    pub(super) fn check(&self, version: u64) -> Result<(), DeskError> {
        if self.0(version) {
            Ok(())
        } else {
            Err(DeskError::UnexpectedVersion)
        }
    }
}
