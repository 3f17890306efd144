//! Takes a setting's text from a variable of the environment, or else from a line of `.env`, and passes it to clap.
//!
//! Blanks around a value are not part of it, unless it is a secret, and an empty value counts as not set: templates,
//! compose files and shells produce such values. Quotes around a value are refused, since a program that reads a file's
//! lines literally would make them a part of the value.

use super::{ConfigError, Defaults, dotenv::Variables, secrets};
use clap::{Arg, Command, builder::Resettable};

/// Sets a service's defaults and the values of variables on the command. An empty variable of the environment still
/// takes precedence over the file.
pub(super) fn adapt(
    command: Command,
    defaults: Defaults,
    variables: &Variables,
) -> Result<Command, ConfigError> {
    let mut wrong = None;
    let adapted = command.mut_args(|arg| {
        let arg = match arg.get_id().as_str() {
            "app_port" => arg.default_value(defaults.port).required(false),
            "database_url" => {
                let help = arg.get_help().map(ToString::to_string).unwrap_or_default();
                arg.help(format!("{help} [default: {}]", defaults.database_url))
            }
            _ => arg,
        };
        match value_of(&arg, variables) {
            Ok(EnvironmentValue::AsItStands) => arg,
            Ok(EnvironmentValue::Nothing) => arg.env(Resettable::Reset),
            // Not shown in the help: it may be a secret.
            Ok(EnvironmentValue::Value(value)) => {
                let arg = arg.env(Resettable::Reset).default_value(value);
                arg.hide_default_value(true).required(false)
            }
            Err(error) => {
                wrong.get_or_insert(error);
                arg
            }
        }
    });
    match wrong {
        Some(error) => Err(error),
        None => Ok(adapted),
    }
}

enum EnvironmentValue {
    /// clap reads the environment itself, or the variable is set nowhere.
    AsItStands,
    /// The variable is set, and empty.
    Nothing,
    Value(String),
}

fn value_of(arg: &Arg, variables: &Variables) -> Result<EnvironmentValue, ConfigError> {
    let Some(name) = arg.get_env().and_then(|name| name.to_str()) else {
        return Ok(EnvironmentValue::AsItStands);
    };
    if let Some(value) = in_environment(name)? {
        return Ok(match meant(arg, name, &value)? {
            "" => EnvironmentValue::Nothing,
            meant if meant == value => EnvironmentValue::AsItStands,
            meant => EnvironmentValue::Value(meant.to_owned()),
        });
    }
    let value = variables.get(name)?.unwrap_or_default();
    Ok(match meant(arg, name, value)? {
        "" => EnvironmentValue::AsItStands,
        meant => EnvironmentValue::Value(meant.to_owned()),
    })
}

/// The value without blanks around it.
fn meant<'v>(arg: &Arg, name: &str, value: &'v str) -> Result<&'v str, ConfigError> {
    let trimmed = value.trim_matches([' ', '\t', '\r', '\n']);
    let quoted = |quote| trimmed.len() > 1 && trimmed.starts_with(quote) && trimmed.ends_with(quote);
    if quoted('"') || quoted('\'') {
        return Err(ConfigError::new(
            name,
            "it stands in quotes, which would be a part of it: leave them out",
        ));
    }
    // A blank may be meant as the end of a password.
    let keeps_blanks = secrets::is_secret(arg) && !trimmed.is_empty();
    Ok(if keeps_blanks { value } else { trimmed })
}

#[expect(
    clippy::disallowed_methods,
    reason = "the config module reads the environment"
)]
fn in_environment(name: &str) -> Result<Option<String>, ConfigError> {
    match std::env::var(name) {
        Ok(value) => Ok(Some(value)),
        Err(std::env::VarError::NotPresent) => Ok(None),
        Err(std::env::VarError::NotUnicode(_)) => Err(ConfigError::new(name, "it is not UTF-8")),
    }
}
