//! `DATABASE_URL`: which engine, and where it is.
//!
//! The password is part of the value, but `Debug`, `Display` and the errors leave it out. Further parameters of the
//! address are understood or refused by name, never ignored.

use std::borrow::Cow;
use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use mysql_async::{Opts, OptsBuilder};
use percent_encoding::percent_decode_str;
use url::Url;

use super::Dialect;
use super::tls::{InvalidTlsMode, Tls, TlsError};

/// The longest name of a parameter that an error repeats.
const PARAMETER_SHOWN_MAX: usize = 40;

/// Where the database is: `sqlite://path` or `mysql://user:password@host:port/name`.
///
/// A MySQL address always names its database. A relative SQLite path is relative to the working folder.
#[derive(Clone)]
pub struct DatabaseUrl(pub(super) Target);

#[derive(Clone)]
pub(super) enum Target {
    Sqlite(PathBuf),
    Mysql(Box<Server>),
}

/// A MySQL server, and how the connection to it is protected.
#[derive(Clone)]
pub(super) struct Server {
    pub opts: Opts,
    pub tls: Tls,
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
    /// A database that ends with the process.
    #[error("a database in memory keeps nothing: sqlite:// must be followed by the path of a file")]
    Memory,
    /// `~`, which a shell would replace.
    #[error("~ stands for nothing here: write the whole path")]
    Home,
    /// `file:`, another notation for the same.
    #[error("sqlite:// is followed by a path, not by file:")]
    FileUri,
    /// `%` without two hexadecimal digits, `#` anywhere, or bytes that are no text.
    #[error("a % must be written as %25, and a # as %23")]
    Escape,
    /// `mysql://` with something else in the place of a part.
    #[error(
        "it must look like mysql://user:password@host:port/name; in user and password each of : / ? # @ [ ] % and space \
         is percent-encoded"
    )]
    Mysql,
    /// `mysql://` without the name of a database.
    #[error("the name of the database is missing: mysql://user:password@host:port/name")]
    NoName,
    /// A parameter that this engine does not have.
    #[error("it has an unknown parameter{0}: mysql:// takes ssl-mode and ssl-ca, sqlite:// takes none")]
    Parameter(ShownParameter),
    /// A parameter that is given twice, or without a value.
    #[error("{0} must stand once, with a value")]
    Unclear(&'static str),
    /// A wrong `ssl-mode`.
    #[error("ssl-mode: {0}")]
    Mode(#[from] InvalidTlsMode),
}

/// The name of a parameter, shown only where it cannot be part of a password.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ShownParameter(Option<String>);

impl ShownParameter {
    fn new(name: &str) -> Self {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
        let shown = (1..=PARAMETER_SHOWN_MAX).contains(&name.len()) && name.bytes().all(plain);
        Self(shown.then(|| name.to_owned()))
    }
}

impl fmt::Display for ShownParameter {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Some(name) => write!(out, " {name}"),
            None => Ok(()),
        }
    }
}

impl DatabaseUrl {
    /// A MySQL address from its parts, as `DB_HOST`, `DB_PORT`, `DB_USER`, `DB_PASS` and `DB_NAME` give them.
    pub fn mysql(host: &str, port: u16, user: &str, password: &str, name: &str) -> Self {
        Self::server(host, port, Some(user), Some(password), name, Tls::default())
    }

    fn server(
        host: &str,
        port: u16,
        user: Option<&str>,
        password: Option<&str>,
        name: &str,
        tls: Tls,
    ) -> Self {
        let opts = OptsBuilder::default()
            .ip_or_hostname(host)
            .tcp_port(port)
            .user(user)
            .pass(password.filter(|password| !password.is_empty()))
            .db_name(Some(name));
        Self(Target::Mysql(Box::new(Server {
            opts: opts.into(),
            tls,
        })))
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

    /// The folder of the file, for SQLite; of a file's bare name it is the working folder.
    pub fn sqlite_folder(&self) -> Option<&Path> {
        self.sqlite_path().map(folder_of)
    }

    /// Whether it holds a password.
    pub fn has_password(&self) -> bool {
        matches!(&self.0, Target::Mysql(server) if server.opts.pass().is_some())
    }

    /// The same with `DB_SSL_MODE` and `DB_SSL_CA`; they are ignored for a SQLite file.
    ///
    /// # Errors
    /// When they contradict the address or each other.
    pub fn with_tls(self, tls: Tls) -> Result<Self, TlsError> {
        match self.0 {
            Target::Sqlite(_) => Ok(self),
            Target::Mysql(server) => {
                let Server { opts, tls: given } = *server;
                let tls = given.and(tls)?;
                Ok(Self(Target::Mysql(Box::new(Server { opts, tls }))))
            }
        }
    }
}

/// The folder of a file: `.` for a bare name, whose parent is empty.
pub(super) fn folder_of(path: &Path) -> &Path {
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    }
}

impl FromStr for DatabaseUrl {
    type Err = DatabaseUrlError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (scheme, rest) = text.split_once(':').ok_or(DatabaseUrlError::Scheme)?;
        if scheme.eq_ignore_ascii_case("sqlite") {
            return sqlite(rest.strip_prefix("//").unwrap_or(rest));
        }
        if !scheme.eq_ignore_ascii_case("mysql") || !rest.starts_with("//") {
            return Err(DatabaseUrlError::Scheme);
        }
        mysql(text)
    }
}

fn sqlite(rest: &str) -> Result<DatabaseUrl, DatabaseUrlError> {
    let (path, parameters) = rest.split_once('?').unwrap_or((rest, ""));
    if rest.contains('?') {
        let name = parameters.split(['=', '&']).next().unwrap_or_default();
        return Err(DatabaseUrlError::Parameter(ShownParameter::new(name)));
    }
    if path.contains('#') || has_stray_percent(path) {
        return Err(DatabaseUrlError::Escape);
    }
    let path = decoded(path).ok_or(DatabaseUrlError::Escape)?;
    if path.eq_ignore_ascii_case(":memory:") {
        return Err(DatabaseUrlError::Memory);
    }
    if path.starts_with('~') {
        return Err(DatabaseUrlError::Home);
    }
    if path
        .get(..5)
        .is_some_and(|start| start.eq_ignore_ascii_case("file:"))
    {
        return Err(DatabaseUrlError::FileUri);
    }
    let is_file =
        !path.ends_with(['/', '\\']) && !path.ends_with("/.") && Path::new(&*path).file_name().is_some();
    if !is_file || path.contains(char::is_control) {
        return Err(DatabaseUrlError::NoPath);
    }
    Ok(DatabaseUrl::sqlite(path.into_owned()))
}

fn mysql(text: &str) -> Result<DatabaseUrl, DatabaseUrlError> {
    // The parser ignores tabs and line ends.
    if text.contains(|character: char| character.is_control() || character == ' ') {
        return Err(DatabaseUrlError::Mysql);
    }
    let url = Url::parse(text).map_err(|_| DatabaseUrlError::Mysql)?;
    let host = url.host_str().filter(|host| !host.is_empty());
    let host = host.ok_or(DatabaseUrlError::Mysql)?;
    if url.fragment().is_some() || url.port() == Some(0) {
        return Err(DatabaseUrlError::Mysql);
    }
    let name = url.path().strip_prefix('/').unwrap_or_default();
    if name.is_empty() {
        return Err(DatabaseUrlError::NoName);
    }
    let part = |part| decoded(part).ok_or(DatabaseUrlError::Mysql);
    let (host, name) = (part(host)?, part(name)?);
    let user = Some(url.username()).filter(|user| !user.is_empty());
    let (user, password) = (user.map(part).transpose()?, url.password().map(part).transpose()?);
    if name.contains('/') {
        return Err(DatabaseUrlError::Mysql);
    }
    let port = url.port().unwrap_or(super::MYSQL_PORT);
    let tls = tls(&url)?;
    Ok(DatabaseUrl::server(
        &host,
        port,
        user.as_deref(),
        password.as_deref(),
        &name,
        tls,
    ))
}

fn tls(url: &Url) -> Result<Tls, DatabaseUrlError> {
    let mut tls = Tls::default();
    // A + is literal: this is no form.
    let parameters = url.query().unwrap_or_default().split('&');
    for parameter in parameters.filter(|parameter| !parameter.is_empty()) {
        let (name, value) = parameter.split_once('=').unwrap_or((parameter, ""));
        let part = |part| decoded(part).ok_or(DatabaseUrlError::Escape);
        let (name, value) = (part(name)?, part(value)?);
        match &*name {
            "ssl-mode" if tls.mode.is_none() && !value.is_empty() => tls.mode = Some(value.parse()?),
            "ssl-mode" => return Err(DatabaseUrlError::Unclear("ssl-mode")),
            "ssl-ca" if tls.ca.is_none() && !value.is_empty() => tls.ca = Some(PathBuf::from(&*value)),
            "ssl-ca" => return Err(DatabaseUrlError::Unclear("ssl-ca")),
            _ => return Err(DatabaseUrlError::Parameter(ShownParameter::new(&name))),
        }
    }
    Ok(tls)
}

/// The percent-decoded text; None when it is not UTF-8.
fn decoded(part: &str) -> Option<Cow<'_, str>> {
    percent_decode_str(part).decode_utf8().ok()
}

fn has_stray_percent(text: &str) -> bool {
    let mut parts = text.split('%');
    parts.next();
    parts.any(|part| {
        let digits = part.bytes().take(2).filter(u8::is_ascii_hexdigit);
        digits.count() < 2
    })
}

impl fmt::Display for DatabaseUrl {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Target::Sqlite(path) => write!(out, "sqlite://{}", path.display()),
            Target::Mysql(server) => {
                let opts = &server.opts;
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
mod tests;
