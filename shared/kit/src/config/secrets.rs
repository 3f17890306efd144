//! Secrets are read from files and variables only: every user of a machine can read the flags of a process.
//!
//! A setting is a secret by its heading, [`SECRETS`]. Inside clap it has a flag, since clap knows no other settings,
//! but the flag is refused before clap sees it, and the help shows only the variable.

use super::ConfigError;
use clap::{Arg, Command};
use db::DatabaseUrl;
use std::ffi::OsString;

/// The heading of settings that are secrets.
pub const SECRETS: &str = "Secrets, of the environment or .env alone";

pub(super) fn is_secret(arg: &Arg) -> bool {
    arg.get_help_heading() == Some(SECRETS)
}

/// Hides the flags of secrets, and lists their variables at the end of the help.
pub(super) fn list_variables(command: Command) -> Command {
    let secrets = command.get_arguments().filter(|arg| is_secret(arg));
    let lines: Vec<String> = secrets
        .map(|arg| {
            let help = arg.get_help().map(ToString::to_string).unwrap_or_default();
            let name = variable(arg);
            format!("  [env: {name}=] {help}")
        })
        .collect();
    if lines.is_empty() {
        return command;
    }
    let list = format!("{SECRETS}:\n{}", lines.join("\n"));
    command
        .mut_args(|arg| {
            let secret = is_secret(&arg);
            arg.hide(secret)
        })
        .after_help(list)
}

/// Refuses a flag that is a secret, and a database's address with a password in it; the value is not repeated.
pub(super) fn refuse_flags(command: &Command, arguments: &[OsString]) -> Result<(), ConfigError> {
    for (place, argument) in arguments.iter().enumerate() {
        let argument = argument.to_string_lossy();
        let Some(flag) = argument.strip_prefix("--") else {
            continue;
        };
        let (name, value) = flag
            .split_once('=')
            .map_or((flag, None), |(name, value)| (name, Some(value.to_owned())));
        let Some(arg) = command.get_arguments().find(|arg| arg.get_long() == Some(name)) else {
            continue;
        };
        if is_secret(arg) {
            return Err(refusal(arg, "it is a secret"));
        }
        let next = || {
            arguments
                .get(place + 1)
                .map(|next| next.to_string_lossy().into_owned())
        };
        if arg.get_id() == "database_url"
            && value.or_else(next).is_some_and(|value| may_hold_password(&value))
        {
            return Err(refusal(arg, "it holds a password"));
        }
    }
    Ok(())
}

/// Also for a text that is no valid address, but may be meant as one.
fn may_hold_password(value: &str) -> bool {
    value
        .parse::<DatabaseUrl>()
        .map_or_else(|_| value.contains('@'), |url| url.has_password())
}

fn refusal(arg: &Arg, why: &str) -> ConfigError {
    let name = variable(arg);
    let problem = format!(
        "{why}, and every user of this machine can read the flags of a process: set the variable {name}, or a line of .env"
    );
    ConfigError::new(name, problem)
}

pub(super) fn variable(arg: &Arg) -> String {
    let name = arg.get_env().map(|name| name.to_string_lossy().into_owned());
    name.unwrap_or_else(|| arg.get_id().as_str().to_uppercase())
}
