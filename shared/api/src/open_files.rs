//! The limit of open files: each connection is one, and most systems allow a process 1,024 unless it asks for more.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Open files for everything that is no connection of a client: database, files, deliveries.
const RESERVED: u64 = 1024;

/// Raises this process's limit of open files to what so many connections need, as far as the system lets it.
///
/// Where it does not, accepting pauses once the limit is reached, so the operator is warned.
pub fn allow_connections(connections: u32) {
    let wanted = u64::from(connections) + RESERVED;
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    let Some(raised) = raised(wanted, current, maximum) else {
        return;
    };
    let refused = setrlimit(
        Resource::Nofile,
        Rlimit {
            current: Some(raised),
            maximum,
        },
    )
    .is_err();
    let limit = if refused {
        current.unwrap_or(wanted)
    } else {
        raised
    };
    if limit < wanted {
        tracing::warn!(
            limit,
            wanted,
            "too few open files are allowed for HTTP_CONNECTIONS"
        );
    }
}

/// The limit to ask for, if it is higher than the present one. `None` stands for no limit.
fn raised(wanted: u64, current: Option<u64>, maximum: Option<u64>) -> Option<u64> {
    let current = current?;
    let possible = maximum.map_or(wanted, |maximum| wanted.min(maximum));
    (current < wanted).then_some(possible.max(current))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_limit_is_raised_as_far_as_needed_and_allowed() {
        assert_eq!(raised(11_024, Some(1_024), None), Some(11_024));
        assert_eq!(raised(11_024, Some(1_024), Some(1 << 20)), Some(11_024));
        assert_eq!(raised(11_024, Some(1_024), Some(4_096)), Some(4_096));
        assert_eq!(raised(11_024, Some(20_000), Some(20_000)), None);
        assert_eq!(raised(11_024, None, None), None);
    }
}
