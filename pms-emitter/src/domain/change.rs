//! The result of a command: nothing to commit, or a new state and its one event.

use contract::EventType;

/// One commit to be made: the whole state after it, the event's type, and the names of the fields that differ.
///
/// `state` carries the version of this commit already, one above the state that it was made from (1 when it is new).
#[derive(Clone, Debug, PartialEq)]
pub struct Change<T> {
    /// The whole state after the change.
    pub state: T,
    /// The most specific type that fits.
    pub event_type: EventType,
    /// Names of the API's fields, never their values.
    pub changed: Vec<&'static str>,
}

/// The result of applying a command. A command that changes nothing commits nothing.
#[derive(Clone, Debug, PartialEq)]
pub enum ChangeOutcome<T> {
    /// The state is what was asked for already.
    Unchanged,
    /// To be committed, guarded by the version that the command was applied to.
    Changed(Change<T>),
}

/// The names of those of the listed fields in which two states differ.
macro_rules! changed_fields {
    ($before:expr, $after:expr, [$($field:ident),* $(,)?]) => {{
        let (before, after) = (&$before, &$after);
        let mut names: Vec<&'static str> = Vec::new();
        $(if before.$field != after.$field {
            names.push(stringify!($field));
        })*
        names
    }};
}
pub(crate) use changed_fields;
