//! What people write into files and variables, and how both services start with it: as it was meant, or not at all.

mod database;
mod environment;
mod operators;
mod tls;

use crate::case::Case;
use crate::programs;
use harness::config::MASTER_KEY;
use harness::process::{self, READY};
use harness::program::{self, Program};
use std::fs::File;
use std::path::PathBuf;
use std::process::Stdio;
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};

pub fn cases() -> Vec<Case> {
    let modules = [
        environment::cases(),
        database::cases(),
        tls::cases(),
        operators::cases(),
    ];
    modules.into_iter().flatten().collect()
}

/// The two services, by the names that they are called by.
pub const EMITTER: &str = program::EMITTER;
pub const RECEIVER: &str = program::RECEIVER;
pub const BOTH: [&str; 2] = [EMITTER, RECEIVER];
/// A key of 32 bytes as a page shows it.
pub const KEY: &str = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oDC2FVsBQIhrs=";

/// A working folder, and what a service that is started in it is given.
pub struct Start {
    outer: TempDir,
    pub variables: Vec<(String, String)>,
    pub arguments: Vec<String>,
}

/// A service that serves, and what it says meanwhile.
pub struct Served {
    child: Child,
    log: PathBuf,
}

impl Start {
    /// In a fresh folder, with nothing but what both services need.
    pub fn new() -> Self {
        let outer = tempfile::tempdir().unwrap();
        std::fs::create_dir(outer.path().join("work")).unwrap();
        let variables = [
            ("APP_PORT", "0"),
            ("WEBHOOK_SHARED_SECRET", KEY),
            ("MASTER_KEY", MASTER_KEY),
            ("LOG_LEVEL", "warn"),
        ];
        Self {
            outer,
            variables: variables
                .map(|(name, value)| (name.to_owned(), value.to_owned()))
                .into(),
            arguments: Vec::new(),
        }
    }

    /// The same with a variable more, or another value for it.
    #[must_use]
    pub fn with(mut self, name: &str, value: impl Into<String>) -> Self {
        self = self.without(name);
        self.variables.push((name.to_owned(), value.into()));
        self
    }

    /// The same without a variable.
    #[must_use]
    pub fn without(mut self, name: &str) -> Self {
        self.variables.retain(|(known, _)| known != name);
        self
    }

    /// The same with these on the command line.
    #[must_use]
    pub fn arguments(mut self, arguments: &[&str]) -> Self {
        self.arguments = arguments.iter().map(|argument| (*argument).to_owned()).collect();
        self
    }

    /// The working folder; the one above it is fresh too.
    pub fn folder(&self) -> PathBuf {
        self.outer.path().join("work")
    }

    /// Writes a file of the working folder.
    pub fn write(&self, name: &str, contents: impl AsRef<[u8]>) -> PathBuf {
        let path = self.folder().join(name);
        std::fs::write(&path, contents).unwrap();
        path
    }

    fn command(&self, program: &'static str) -> Command {
        let variables = self.variables.iter().map(|(name, value)| (name, value));
        let program = Program::new(programs::FILE, program);
        let mut command = process::command(&program, &self.folder(), variables);
        command.args(&self.arguments);
        command
    }

    /// Starts a service that does not start: its one sentence, which quotes nothing secret.
    pub async fn refused(&self, program: &'static str) -> String {
        let mut child = self
            .command(program)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        // One that serves all the same would never end.
        let mut said = BufReader::new(child.stdout.take().unwrap());
        let mut line = String::new();
        said.read_line(&mut line).await.unwrap();
        assert_eq!(line, "", "{program}: it serves: {:?}", self.variables);
        let ended = child.wait_with_output().await.unwrap();
        let said = String::from_utf8(ended.stderr).unwrap();
        assert_eq!(ended.status.code(), Some(2), "{program}: {said}");
        let sentence = said.lines().last().unwrap_or_default();
        assert!(
            sentence.starts_with("error: ") && !said.contains("canary"),
            "{said}"
        );
        sentence.to_owned()
    }

    /// Starts a service that serves.
    pub async fn served(&self, program: &'static str) -> Served {
        let log = self.outer.path().join(format!("{program}.log"));
        let mut child = self
            .command(program)
            .stdout(Stdio::piped())
            .stderr(File::create(&log).unwrap())
            .spawn()
            .unwrap();
        let mut said = BufReader::new(child.stdout.take().unwrap());
        let mut line = String::new();
        said.read_line(&mut line).await.unwrap();
        let log_so_far = std::fs::read_to_string(&log).unwrap();
        assert!(line.starts_with(READY), "{program}: {log_so_far}");
        Served { child, log }
    }
}

impl Served {
    /// Kills it, and answers what it logged.
    pub async fn ended(mut self) -> String {
        self.child.kill().await.unwrap();
        std::fs::read_to_string(&self.log).unwrap()
    }
}
