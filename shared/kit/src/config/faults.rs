//! Faults that tests inject into a process. Only the test programs call this.

use super::ConfigError;
use crate::planted;
use db::failpoint;

/// Arms the failpoint of `FAILPOINT` and plants the bug of `PLANTED_BUG`.
///
/// # Errors
/// When one of them is not understood.
pub fn arm() -> Result<(), ConfigError> {
    if let Some(text) = variable("FAILPOINT") {
        let armed = text.parse();
        failpoint::arm(armed.map_err(|error: failpoint::InvalidFailpoint| {
            ConfigError::new("FAILPOINT", error.to_string())
        })?);
    }
    if let Some(name) = variable("PLANTED_BUG") {
        let unknown = || ConfigError::new("PLANTED_BUG", "no such bug");
        planted::plant(planted::Bug::named(&name).ok_or_else(unknown)?);
    }
    Ok(())
}

#[expect(
    clippy::disallowed_methods,
    reason = "the config module reads the environment"
)]
fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}
