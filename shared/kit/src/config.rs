//! Flags and environment: they are read only here and in each service's config module.
//!
//! A service derives clap's `Parser` over groups of this module ([`HttpArgs`], [`AccessArgs`], [`DatabaseArgs`],
//! [`MasterKeyArgs`], [`EgressArgs`], [`LogArgs`]) and its own, and calls [`parse_or_exit`] first in `main`. Every value has a variable, and a flag unless it is a secret
//! ([`SECRETS`]); the `.env` file of the working folder fills in what the environment lacks. Every mistake is reported
//! in one sentence that names the variable and never quotes a secret, with exit code 2.

mod access;
mod args;
mod database;
mod dotenv;
mod egress;
#[cfg(all(feature = "failpoints", feature = "planted-bugs"))]
pub mod faults;
mod host;
mod master_key;
mod secrets;
mod sources;
mod units;

pub use access::{AccessArgs, AdminKey, InvalidAdminKey};
pub use args::{HttpArgs, LogArgs, LogFormat};
pub use database::DatabaseArgs;
pub(crate) use dotenv::warn_of_env_file;
pub use egress::EgressArgs;
pub use host::{InvalidHost, MetricsAddr, host};
pub use master_key::{MasterKeyArgs, MasterKeyError};
pub use secrets::SECRETS;
pub use units::{ByteSize, DurationList, InvalidUnit};

use clap::{
    Arg, Command, Parser,
    error::{ContextKind, ContextValue, ErrorKind},
};
use dotenv::Variables;
use std::{collections::HashMap, ffi::OsString, process::exit};

/// The exit code for an invalid configuration.
pub const EXIT_CONFIG: i32 = 2;

/// Why the process cannot start: one sentence that names the variable.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{variable}: {problem}")]
pub struct ConfigError {
    variable: String,
    problem: String,
}

impl ConfigError {
    /// `problem` must not quote a secret.
    pub fn new(variable: impl Into<String>, problem: impl Into<String>) -> Self {
        Self {
            variable: variable.into(),
            problem: problem.into(),
        }
    }

    /// Prints the sentence and ends the process.
    pub fn exit(&self) -> ! {
        eprintln!("error: {self}");
        exit(EXIT_CONFIG)
    }
}

/// The defaults of the shared groups that differ between the services.
#[derive(Clone, Copy, Debug)]
pub struct Defaults {
    /// `APP_PORT`.
    pub port: &'static str,
    /// `DATABASE_URL`, unless `DB_HOST` is set.
    pub database_url: &'static str,
}

/// Reads `.env`, the environment and the command line. Help and version are printed and end the process with 0, a
/// mistake with [`EXIT_CONFIG`].
pub fn parse_or_exit<C: Parser>(defaults: Defaults) -> C {
    let variables = match dotenv::read() {
        Ok(variables) => variables,
        Err(error) => error.exit(),
    };
    match parse_from(defaults, &variables, std::env::args_os()) {
        Ok(config) => config,
        Err(Stop::Show(error)) => error.exit(),
        Err(Stop::Refuse(error)) => error.exit(),
    }
}

/// Why there is no configuration.
enum Stop {
    /// Help, version, or a wrong use of the command line: clap's own message.
    Show(clap::Error),
    /// A wrong value.
    Refuse(ConfigError),
}

/// `variables` are those of `.env`.
fn parse_from<C, I, T>(defaults: Defaults, variables: &Variables, arguments: I) -> Result<C, Stop>
where
    C: Parser,
    I: IntoIterator<Item = T>,
    T: Into<OsString> + Clone,
{
    let arguments: Vec<OsString> = arguments.into_iter().map(Into::into).collect();
    let command = C::command();
    secrets::refuse_flags(&command, &arguments).map_err(Stop::Refuse)?;
    let names = variables_of(&command);
    let command = sources::adapt(secrets::list_variables(command), defaults, variables);
    // A flag means the same before and after a subcommand. Required arguments cannot be global: clap forbids it.
    let mut command = command.map_err(Stop::Refuse)?.mut_args(|arg| {
        let global = !arg.is_required_set();
        arg.global(global)
    });
    command.build();
    let explain = |error| explain(&command, &names, error);
    let matches = command.clone().try_get_matches_from(arguments).map_err(explain)?;
    C::from_arg_matches(&matches).map_err(explain)
}

/// The variables by the ids of their arguments: an argument whose value was set as a default here has no variable any
/// more.
fn variables_of(command: &Command) -> HashMap<String, String> {
    let named = command.get_arguments().filter(|arg| arg.get_env().is_some());
    named
        .map(|arg| (arg.get_id().to_string(), secrets::variable(arg)))
        .collect()
}

/// Turns clap's complaint about a value into a sentence that names the variable.
fn explain(command: &Command, names: &HashMap<String, String>, error: clap::Error) -> Stop {
    let wrong = match error.kind() {
        ErrorKind::ValueValidation | ErrorKind::InvalidValue | ErrorKind::MissingRequiredArgument => &error,
        _ => return Stop::Show(error),
    };
    let named = match wrong.get(ContextKind::InvalidArg) {
        Some(ContextValue::String(name)) => name.clone(),
        Some(ContextValue::Strings(names)) => names.first().cloned().unwrap_or_default(),
        _ => return Stop::Show(error),
    };
    let Some(arg) = find(command, &named) else {
        return Stop::Show(error);
    };
    let variable = names.get(arg.get_id().as_str()).cloned().unwrap_or(named);
    if wrong.kind() == ErrorKind::MissingRequiredArgument {
        return Stop::Refuse(ConfigError::new(variable, "it is required and not set"));
    }
    let value = match wrong.get(ContextKind::InvalidValue) {
        Some(ContextValue::String(value)) if !arg.is_hide_env_values_set() => format!("{value:?} is refused"),
        _ => "the value is refused".to_owned(),
    };
    let reason = match (
        std::error::Error::source(wrong),
        wrong.get(ContextKind::ValidValue),
    ) {
        (Some(source), _) => format!(": {source}"),
        (None, Some(ContextValue::Strings(valid))) => format!(": it is one of {}", valid.join(", ")),
        (None, _) => String::new(),
    };
    Stop::Refuse(ConfigError::new(variable, value + &reason))
}

/// The argument that clap shows as `named`, here or in a subcommand.
fn find<'c>(command: &'c Command, named: &str) -> Option<&'c Arg> {
    let here = command.get_arguments().find(|arg| arg.to_string() == named);
    here.or_else(|| {
        command
            .get_subcommands()
            .find_map(|subcommand| find(subcommand, named))
    })
}

#[cfg(test)]
mod tests;
