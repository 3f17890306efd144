//! The command line: what to drive, and how it went. Exit codes: 0 each case passed, 1 one did not, 2 it cannot be run so.

use crate::{
    case::{self, Case},
    delivery::{Key, Sender},
    run::{client, run},
};
use clap::{Parser, Subcommand};
use reqwest::Url;
use std::{env, ffi::OsString, fs, path::PathBuf, process::ExitCode};
use tokio::runtime::Runtime;

/// The exit code where a case did not pass.
const EXIT_FAILED: u8 = 1;
/// The exit code where nothing was sent: it cannot be run so.
const EXIT_USAGE: u8 = 2;
/// Where the secret stands.
const SECRET: &str = "CONFORM_SECRET";
/// How a secret begins, and how a flag for one would: arguments are seen by every user of the machine.
const SECRET_SIGNS: [&str; 3] = ["whsec_", "--secret", "--conform-secret"];
/// The body that is sent: an envelope of this project, which is a payload of Standard Webhooks too.
const BODY: &str = include_str!("../cases/body.json");
/// A body of a file, in bytes at most.
const BODY_FILE_BYTES_MAX: usize = 64 * 1024;
/// The tolerance that Standard Webhooks' libraries have.
const TOLERANCE_SECONDS: u32 = 300;
/// More than this is no tolerance.
const TOLERANCE_SECONDS_MAX: u32 = 24 * 3600;

#[derive(Parser)]
#[command(
    name = "conform",
    about = "Drives a receiver of webhooks and says whether it keeps to Standard Webhooks 1.0. The secret is read from \
             CONFORM_SECRET."
)]
struct Args {
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand)]
enum What {
    /// Sends every case to a receiver, which has to be one for tests: what it takes, it keeps.
    Receiver {
        /// Where it takes webhooks.
        url: String,
        /// Seconds that a time may be from the receiver's, on both sides.
        #[arg(long, default_value_t = TOLERANCE_SECONDS, value_parser = clap::value_parser!(u32).range(1..=i64::from(TOLERANCE_SECONDS_MAX)))]
        tolerance: u32,
        /// A file with the body to send, in which {{id}} and {{timestamp}} stand for those of the event.
        #[arg(long)]
        body: Option<PathBuf>,
        /// A file with other cases.
        #[arg(long)]
        cases: Option<PathBuf>,
    },
}

/// What is to be run.
pub struct Task {
    /// The receiver.
    pub url: Url,
    /// How requests are made.
    pub sender: Sender,
    /// The cases.
    pub cases: Vec<Case>,
}

/// Why nothing is sent.
#[derive(Debug)]
pub enum Unusable {
    /// A sentence, or several.
    Said(String),
    /// What clap says, which may be its help.
    Clap(clap::Error),
}

/// Reads the arguments, this program's name first, with the secret of the environment.
///
/// # Errors
/// Why it cannot be run so. No secret is repeated.
pub fn read(args: Vec<OsString>, secret: Option<&str>) -> Result<Task, Unusable> {
    let said = |what: String| Unusable::Said(what);
    let secret = secret.filter(|secret| !secret.is_empty());
    let is_secret = |arg: &OsString| {
        let arg = arg.to_string_lossy();
        SECRET_SIGNS.iter().any(|sign| arg.contains(sign))
            || secret.is_some_and(|secret| arg.contains(secret))
    };
    if args.iter().skip(1).any(is_secret) {
        return Err(said(format!(
            "a secret on the command line is seen by every user of the machine: it is read from {SECRET} alone"
        )));
    }
    let Args {
        what:
            What::Receiver {
                url,
                tolerance,
                body,
                cases,
            },
    } = Args::try_parse_from(args).map_err(Unusable::Clap)?;
    let secret = secret.ok_or_else(|| said(format!("{SECRET}: the receiver's secret is missing")))?;
    let key = Key::read(secret).map_err(|error| said(format!("{SECRET}: {error}")))?;
    let file = |path: PathBuf| {
        fs::read_to_string(&path).map_err(|error| said(format!("{}: {error}", path.display())))
    };
    let body = body.map_or_else(|| Ok(BODY.trim_end().to_owned()), file)?;
    if body.len() > BODY_FILE_BYTES_MAX {
        return Err(said(format!(
            "the body has more than {BODY_FILE_BYTES_MAX} bytes"
        )));
    }
    let cases = cases.map_or_else(|| Ok(case::STANDARD_WEBHOOKS.to_owned()), file)?;
    Ok(Task {
        url: read_url(&url).map_err(|why| said(format!("the URL {why}")))?,
        sender: Sender {
            key,
            body,
            tolerance_seconds: tolerance,
        },
        cases: case::read(&cases).map_err(|error| said(error.to_string()))?,
    })
}

fn read_url(text: &str) -> Result<Url, &'static str> {
    let url: Url = text.parse().map_err(|_| "is none")?;
    if !matches!(url.scheme(), "http" | "https") {
        return Err("must begin with http:// or https://");
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err("must have no name and password in it");
    }
    Ok(url)
}

/// `conform receiver URL`.
pub fn main_of_conform() -> ExitCode {
    #[expect(clippy::disallowed_methods, reason = "the program's own configuration")]
    let secret = env::var(SECRET).ok();
    match read(env::args_os().collect(), secret.as_deref()) {
        Ok(task) => drive(task),
        Err(Unusable::Said(why)) => {
            eprintln!("error: {why}");
            ExitCode::from(EXIT_USAGE)
        }
        Err(Unusable::Clap(error)) => error.exit(),
    }
}

fn drive(task: Task) -> ExitCode {
    let (runtime, client) = match (Runtime::new(), client()) {
        (Ok(runtime), Ok(client)) => (runtime, client),
        (Err(error), _) => return unusable(&error),
        (_, Err(error)) => return unusable(&error),
    };
    let Task { url, sender, cases } = task;
    let report = |outcome: &_| println!("{outcome}");
    let outcomes = runtime.block_on(run(&client, &url, &sender, cases, now, report));
    let passed = outcomes.iter().filter(|outcome| outcome.passed()).count();
    println!("{passed} of {} cases passed", outcomes.len());
    if passed == outcomes.len() {
        ExitCode::SUCCESS
    } else {
        ExitCode::from(EXIT_FAILED)
    }
}

fn unusable(error: &dyn std::error::Error) -> ExitCode {
    eprintln!("error: {error}");
    ExitCode::from(EXIT_USAGE)
}

#[expect(clippy::disallowed_methods, reason = "a receiver compares with its own clock")]
fn now() -> i64 {
    jiff::Timestamp::now().as_millisecond()
}

#[cfg(test)]
mod tests {
    use super::*;

    const URL: &str = "http://localhost:5001/api/v1/webhooks/pms";
    const GOOD: &str = "the-secret-of-these-tests";

    fn try_read(args: &[&str], secret: Option<&str>) -> Result<Task, String> {
        let args = ["conform"].iter().chain(args).map(OsString::from).collect();
        read(args, secret).map_err(|error| match error {
            Unusable::Said(why) => why,
            Unusable::Clap(error) => error.to_string(),
        })
    }

    #[test]
    fn a_task_is_a_receiver_and_a_secret() {
        let task = try_read(&["receiver", URL], Some(GOOD)).unwrap();
        assert_eq!((task.url.as_str(), task.sender.tolerance_seconds), (URL, 300));
        let task = try_read(&["receiver", URL, "--tolerance", "1800"], Some(GOOD)).unwrap();
        assert_eq!(task.sender.tolerance_seconds, 1800);
    }

    #[test]
    fn a18_a_secret_on_the_command_line_is_refused_and_not_repeated() {
        let leaked = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
        for args in [
            vec!["receiver", URL, leaked],
            vec!["receiver", leaked],
            vec!["receiver", URL, "--secret", GOOD],
            vec!["receiver", URL, "--secret=another-secret-of-these"],
            vec!["receiver", URL, GOOD],
        ] {
            let why = try_read(&args, Some(GOOD)).err().unwrap();
            assert!(why.contains(SECRET), "{why}");
            for secret in [leaked, GOOD, "another-secret"] {
                assert!(!why.contains(secret), "{why}");
            }
        }
    }

    #[test]
    fn what_cannot_be_run_is_said() {
        for (args, secret, why) in [
            (vec!["receiver", URL], None, "is missing"),
            (vec!["receiver", URL], Some(""), "is missing"),
            (vec!["receiver", URL], Some("short"), "16 bytes"),
            (vec!["receiver", "localhost"], Some(GOOD), "the URL is none"),
            (vec!["receiver", "ftp://a/"], Some(GOOD), "http://"),
            (vec!["receiver", "http://a:b@c/"], Some(GOOD), "name and password"),
            (vec!["receiver"], Some(GOOD), "required"),
            (vec!["sender", URL], Some(GOOD), "unrecognized"),
            (
                vec!["receiver", URL, "--tolerance", "0"],
                Some(GOOD),
                "0 is not in",
            ),
            (
                vec!["receiver", URL, "--cases", "/nowhere"],
                Some(GOOD),
                "/nowhere: ",
            ),
        ] {
            let said = try_read(&args, secret).err().unwrap();
            assert!(said.contains(why), "{said}");
        }
    }
}
