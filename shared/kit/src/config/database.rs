//! Where the database is, and how the connection to it is protected.

use super::{ConfigError, Defaults, SECRETS, host::host};
use clap::{Args, value_parser};
use db::{DatabaseUrl, MYSQL_PORT, Tls, TlsMode};
use std::{fmt, path::PathBuf};

/// Where the database is: `DATABASE_URL`, or the parts of a MySQL address.
#[derive(Args, Clone)]
#[command(next_help_heading = "Database")]
pub struct DatabaseArgs {
    /// sqlite://path or mysql://user:password@host:port/name?ssl-mode=...&ssl-ca=...; it outranks DB_HOST and its companions.
    /// With a password it is taken from the environment or .env alone
    #[arg(long, env = "DATABASE_URL", hide_env_values = true)]
    database_url: Option<DatabaseUrl>,
    /// The host of a MySQL or MariaDB server
    #[arg(long, env = "DB_HOST", value_parser = host)]
    db_host: Option<String>,
    /// Its port; 3306 when not set
    #[arg(long, env = "DB_PORT", value_parser = value_parser!(u16).range(1..))]
    db_port: Option<u16>,
    /// The user
    #[arg(long, env = "DB_USER")]
    db_user: Option<String>,
    /// The password of DB_USER
    #[arg(long, env = "DB_PASS", hide_env_values = true, help_heading = SECRETS)]
    db_pass: Option<String>,
    /// The name of the database
    #[arg(long, env = "DB_NAME")]
    db_name: Option<String>,
    /// TLS to the server: disabled, required, verify_ca or verify_identity; disabled when not set, here or in DATABASE_URL
    #[arg(long, env = "DB_SSL_MODE")]
    db_ssl_mode: Option<TlsMode>,
    /// The file of the certificate authority that verify_ca and verify_identity need
    #[arg(long, env = "DB_SSL_CA")]
    db_ssl_ca: Option<PathBuf>,
}

impl fmt::Debug for DatabaseArgs {
    /// Without the password.
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("DatabaseArgs")
            .field("database_url", &self.database_url)
            .field("db_host", &self.db_host)
            .field("db_port", &self.db_port)
            .field("db_user", &self.db_user)
            .field("db_name", &self.db_name)
            .field("db_ssl_mode", &self.db_ssl_mode)
            .field("db_ssl_ca", &self.db_ssl_ca)
            .finish_non_exhaustive()
    }
}

impl DatabaseArgs {
    /// The address of the database.
    ///
    /// # Errors
    /// When `DB_HOST` is set without a user or a name, or one of them without `DB_HOST`, or when the TLS settings
    /// contradict each other.
    pub fn url(&self, defaults: Defaults) -> Result<DatabaseUrl, ConfigError> {
        let tls = Tls {
            mode: self.db_ssl_mode,
            ca: self.db_ssl_ca.clone(),
        };
        let url = match &self.database_url {
            Some(url) => url.clone(),
            None => self.of_parts(defaults)?,
        };
        url.with_tls(tls)
            .map_err(|error| ConfigError::new("DB_SSL_MODE, DB_SSL_CA", error.to_string()))
    }

    fn of_parts(&self, defaults: Defaults) -> Result<DatabaseUrl, ConfigError> {
        let missing = |variable| {
            ConfigError::new(
                variable,
                "it is required with the other DB_ variables, and not set",
            )
        };
        let Some(host) = &self.db_host else {
            let companions = [
                self.db_port.is_some(),
                self.db_user.is_some(),
                self.db_pass.is_some(),
                self.db_name.is_some(),
                self.db_ssl_mode.is_some(),
                self.db_ssl_ca.is_some(),
            ];
            if companions.contains(&true) {
                return Err(missing("DB_HOST"));
            }
            return Ok(defaults
                .database_url
                .parse()
                .expect("the default is a database address"));
        };
        let user = self.db_user.as_ref().ok_or_else(|| missing("DB_USER"))?;
        let name = self.db_name.as_ref().ok_or_else(|| missing("DB_NAME"))?;
        let password = self.db_pass.as_deref().unwrap_or_default();
        if password.starts_with(LINE_ENDS) || password.ends_with(LINE_ENDS) {
            let problem = "it begins or ends with a line break, which would be a part of it";
            return Err(ConfigError::new("DB_PASS", problem));
        }
        let port = self.db_port.unwrap_or(MYSQL_PORT);
        Ok(DatabaseUrl::mysql(host, port, user, password, name))
    }
}

const LINE_ENDS: [char; 2] = ['\r', '\n'];
