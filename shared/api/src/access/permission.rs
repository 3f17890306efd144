//! Permissions: levels for everything or for one area.

use serde::{Deserialize, Serialize};
use std::{fmt, str::FromStr};

/// The longest name of an area, in bytes.
const AREA_LEN_MAX: usize = 32;
/// Permissions of one caller, at most.
pub const PERMISSIONS_MAX: usize = 32;

/// How much may be done. A higher level includes the lower ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Level {
    /// GET.
    Read,
    /// Also POST, PUT and PATCH.
    Write,
    /// Also DELETE, secrets and keys.
    Admin,
}

impl Level {
    /// Every level, the lowest first.
    pub const ALL: [Self; 3] = [Self::Read, Self::Write, Self::Admin];

    /// Its name in a permission.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Write => "write",
            Self::Admin => "admin",
        }
    }
}

impl fmt::Display for Level {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.as_str())
    }
}

/// One level: `read` everywhere, `events:write` in one area.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Permission {
    area: Option<String>,
    level: Level,
}

/// Why a text is no permission.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a permission is read, write or admin, or one of them in an area, as in events:write")]
pub struct InvalidPermission;

/// What a caller may do. In JSON a list of texts.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Vec<String>", into = "Vec<String>")]
pub struct Permissions(Vec<Permission>);

impl Permissions {
    /// This level everywhere.
    pub fn all(level: Level) -> Self {
        Self(vec![Permission { area: None, level }])
    }

    /// Whether they grant a level in an area.
    pub fn allow(&self, area: &str, level: Level) -> bool {
        let fits = |one: &Permission| one.area.as_deref().is_none_or(|own| own == area) && one.level >= level;
        self.0.iter().any(fits)
    }

    /// Whether they grant all that `other` grants.
    pub fn cover(&self, other: &Self) -> bool {
        other.0.iter().all(|wanted| match &wanted.area {
            Some(area) => self.allow(area, wanted.level),
            None => self
                .0
                .iter()
                .any(|own| own.area.is_none() && own.level >= wanted.level),
        })
    }

    /// The areas that they name.
    pub fn areas(&self) -> impl Iterator<Item = &str> {
        self.0.iter().filter_map(|one| one.area.as_deref())
    }
}

impl FromStr for Permission {
    type Err = InvalidPermission;
    fn from_str(text: &str) -> Result<Self, InvalidPermission> {
        let (area, level) = match text.split_once(':') {
            Some((area, level)) => (Some(area), level),
            None => (None, text),
        };
        let plain = |area: &str| {
            (1..=AREA_LEN_MAX).contains(&area.len())
                && area.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'-')
        };
        if area.is_some_and(|area| !plain(area)) {
            return Err(InvalidPermission);
        }
        let level = Level::ALL.into_iter().find(|known| known.as_str() == level);
        Ok(Self {
            area: area.map(str::to_owned),
            level: level.ok_or(InvalidPermission)?,
        })
    }
}

impl TryFrom<Vec<String>> for Permissions {
    type Error = InvalidPermission;
    fn try_from(texts: Vec<String>) -> Result<Self, InvalidPermission> {
        if !(1..=PERMISSIONS_MAX).contains(&texts.len()) {
            return Err(InvalidPermission);
        }
        texts
            .iter()
            .map(|text| text.parse())
            .collect::<Result<_, _>>()
            .map(Self)
    }
}

impl From<Permissions> for Vec<String> {
    fn from(permissions: Permissions) -> Self {
        let text = |one: Permission| match one.area {
            Some(area) => format!("{area}:{}", one.level),
            None => one.level.to_string(),
        };
        permissions.0.into_iter().map(text).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn permissions(texts: &[&str]) -> Permissions {
        let texts: Vec<String> = texts.iter().map(|text| (*text).to_owned()).collect();
        texts.try_into().unwrap()
    }

    #[test]
    fn a_level_includes_the_lower_ones_in_its_area_alone() {
        let mixed = permissions(&["read", "events:admin"]);
        assert!(mixed.allow("events", Level::Write) && mixed.allow("guests", Level::Read));
        assert!(!mixed.allow("guests", Level::Write));
        assert!(!permissions(&["events:write"]).allow("events", Level::Admin));
        assert!(!Permissions::default().allow("events", Level::Read));
    }

    #[test]
    fn who_grants_must_have_what_is_granted() {
        let mixed = permissions(&["read", "events:admin"]);
        for (wanted, covered) in [
            (&["read"][..], true),
            (&["events:write", "guests:read"], true),
            (&["write"], false),
            (&["guests:write"], false),
            (&["read", "admin"], false),
        ] {
            assert_eq!(mixed.cover(&permissions(wanted)), covered, "{wanted:?}");
        }
        assert!(!permissions(&["events:admin"]).cover(&permissions(&["read"])));
    }

    #[test]
    fn what_is_no_permission_is_refused() {
        for bad in [
            "",
            "READ",
            "root",
            "events:",
            ":read",
            "events:read:x",
            "Events:read",
            "*",
            "read ",
        ] {
            assert!(Permissions::try_from(vec![bad.to_owned()]).is_err(), "{bad}");
        }
        assert!(Permissions::try_from(Vec::new()).is_err());
    }
}
