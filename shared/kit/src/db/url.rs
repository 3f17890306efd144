//! `DATABASE_URL`: which engine, and where it is.
//!
//! The password is part of the value and of nothing that is shown: `Debug`, `Display` and the errors leave it out.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use mysql_async::{Opts, OptsBuilder};

use super::Dialect;

/// Where the database is: `sqlite://path` or `mysql://user:password@host:port/name`.
///
/// A MySQL address always names its database. A relative SQLite path is relative to the working folder.
#[derive(Clone)]
pub struct DatabaseUrl(pub(super) Target);

#[derive(Clone)]
pub(super) enum Target {
    Sqlite(PathBuf),
    Mysql(Opts),
}

/// Why a text is no `DATABASE_URL`; it never repeats the text, which may hold a password.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DatabaseUrlError {
    /// Neither `sqlite://` nor `mysql://`.
    #[error("it must begin with sqlite:// or mysql://")]
    Scheme,
    /// `sqlite://` without a file.
    #[error("sqlite:// must be followed by the path of a file")]
    NoPath,
    /// `mysql://` with something that the driver does not understand.
    #[error("it must look like mysql://user:password@host:port/name")]
    Mysql,
    /// `mysql://` without the name of a database.
    #[error("the name of the database is missing: mysql://user:password@host:port/name")]
    NoName,
}

impl DatabaseUrl {
    /// A MySQL address from its parts, as `DB_HOST`, `DB_PORT`, `DB_USER`, `DB_PASS` and `DB_NAME` give them.
    pub fn mysql(host: &str, port: u16, user: &str, password: &str, name: &str) -> Self {
        let opts = OptsBuilder::default()
            .ip_or_hostname(host)
            .tcp_port(port)
            .user(Some(user))
            .pass((!password.is_empty()).then_some(password))
            .db_name(Some(name));
        Self(Target::Mysql(opts.into()))
    }

    /// A SQLite file.
    pub fn sqlite(path: impl Into<PathBuf>) -> Self {
        Self(Target::Sqlite(path.into()))
    }

    /// Which engine it names.
    pub fn dialect(&self) -> Dialect {
        match self.0 {
            Target::Sqlite(_) => Dialect::Sqlite,
            Target::Mysql(_) => Dialect::Mysql,
        }
    }

    /// The file, for SQLite.
    pub fn sqlite_path(&self) -> Option<&Path> {
        match &self.0 {
            Target::Sqlite(path) => Some(path),
            Target::Mysql(_) => None,
        }
    }
}

impl FromStr for DatabaseUrl {
    type Err = DatabaseUrlError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if let Some(path) = text.strip_prefix("sqlite://") {
            return if path.is_empty() {
                Err(DatabaseUrlError::NoPath)
            } else {
                Ok(Self::sqlite(path))
            };
        }
        if !text.starts_with("mysql://") {
            return Err(DatabaseUrlError::Scheme);
        }
        let opts = Opts::from_url(text).map_err(|_| DatabaseUrlError::Mysql)?;
        if opts.db_name().is_none_or(str::is_empty) {
            return Err(DatabaseUrlError::NoName);
        }
        Ok(Self(Target::Mysql(opts)))
    }
}

impl fmt::Display for DatabaseUrl {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Target::Sqlite(path) => write!(out, "sqlite://{}", path.display()),
            Target::Mysql(opts) => {
                let (user, name) = (
                    opts.user().unwrap_or_default(),
                    opts.db_name().unwrap_or_default(),
                );
                let password = if opts.pass().is_some() { ":***" } else { "" };
                write!(
                    out,
                    "mysql://{user}{password}@{}:{}/{name}",
                    opts.ip_or_hostname(),
                    opts.tcp_port()
                )
            }
        }
    }
}

impl fmt::Debug for DatabaseUrl {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "DatabaseUrl({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_both_engines_and_hides_the_password() {
        let url: DatabaseUrl = "mysql://app:hunter2%40@db.example:3307/crm".parse().unwrap();
        assert_eq!(url.to_string(), "mysql://app:***@db.example:3307/crm");
        assert!(!format!("{url:?}").contains("hunter2"));
        assert_eq!(url.dialect(), Dialect::Mysql);
        let parts = DatabaseUrl::mysql("db.example", 3307, "app", "hunter2@", "crm");
        assert_eq!(parts.to_string(), url.to_string());
        let url: DatabaseUrl = "sqlite://data/crm.db".parse().unwrap();
        assert_eq!(url.sqlite_path(), Some(Path::new("data/crm.db")));
    }

    #[test]
    fn refuses_what_names_no_database() {
        let cases = [
            ("postgres://x/y", DatabaseUrlError::Scheme),
            ("sqlite://", DatabaseUrlError::NoPath),
            ("mysql://app@host:3306", DatabaseUrlError::NoName),
            ("mysql://app@host:3306/", DatabaseUrlError::NoName),
            ("mysql://app:hunter2@host:port/name", DatabaseUrlError::Mysql),
        ];
        for (text, why) in cases {
            assert_eq!(text.parse::<DatabaseUrl>().err(), Some(why), "{text}");
        }
    }
}
