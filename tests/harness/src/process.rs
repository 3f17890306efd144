//! A service as a real process of its own, which can be killed the way a power cut kills.
//!
//! Each [`Program`] prints `ready <address>` once it listens, so nobody has to guess when. A process that is dropped is
//! killed too.

use crate::program::Program;
use crate::waiting::HANGS_AFTER;
use anyhow::{Context, Result};
use futures::future::BoxFuture;
use rustix::process::{Pid, Signal, kill_process};
use std::ffi::OsStr;
use std::net::SocketAddr;
use std::path::Path;
use std::process::{ExitStatus, Stdio};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};
use tokio::time::timeout;

/// What a program prints before its address.
pub const READY: &str = "ready ";

/// A command that runs `program` in `folder` with nothing but these variables. Its process is killed when it is dropped.
pub fn command<N: AsRef<OsStr>, V: AsRef<OsStr>>(
    program: &Program,
    folder: &Path,
    variables: impl IntoIterator<Item = (N, V)>,
) -> Command {
    let mut command = Command::from(program.command());
    command
        .env_clear()
        .envs(variables)
        .current_dir(folder)
        .stdin(Stdio::null())
        .kill_on_drop(true);
    command
}

/// A running process.
#[derive(Debug)]
pub struct Process {
    child: Child,
    address: SocketAddr,
}

impl Process {
    /// Starts `program` in `folder` with nothing but these variables, and waits until it listens. What it logs goes to the
    /// standard error of this process.
    ///
    /// # Errors
    /// When it ends, or is silent for too long, before it listens.
    pub fn start<'a>(
        program: &'a Program,
        folder: &'a Path,
        variables: &'a [(&str, String)],
    ) -> BoxFuture<'a, Result<Self>> {
        Self::start_logging_to(Stdio::inherit(), program, folder, variables)
    }

    /// As [`start`](Self::start), with another place for what it logs.
    ///
    /// # Errors
    /// As `start`.
    pub fn start_logging_to<'a>(
        log: Stdio,
        program: &'a Program,
        folder: &'a Path,
        variables: &'a [(&str, String)],
    ) -> BoxFuture<'a, Result<Self>> {
        Box::pin(Self::run(log, program, folder, variables))
    }

    async fn run(log: Stdio, program: &Program, folder: &Path, variables: &[(&str, String)]) -> Result<Self> {
        let variables = variables.iter().map(|(name, value)| (name, value));
        let mut child = command(program, folder, variables)
            .stdout(Stdio::piped())
            .stderr(log)
            .spawn()
            .with_context(|| format!("{program} cannot be run"))?;
        let stdout = child.stdout.take().context("its output is a pipe")?;
        let mut line = String::new();
        let mut reader = BufReader::new(stdout);
        timeout(HANGS_AFTER, reader.read_line(&mut line))
            .await
            .with_context(|| format!("{program} is not ready"))??;
        let address = line
            .strip_prefix(READY)
            .and_then(|address| address.trim().parse().ok());
        let address = address.with_context(|| format!("{program} did not start"))?;
        Ok(Self { child, address })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Its process id.
    ///
    /// # Errors
    /// When it has ended.
    pub fn id(&self) -> Result<u32> {
        self.child.id().context("the process has ended")
    }

    /// Waits until it ends by itself.
    ///
    /// # Errors
    /// When the system refuses.
    pub async fn ended(&mut self) -> Result<ExitStatus> {
        self.child.wait().await.context("wait")
    }

    /// Kills it with SIGKILL and waits for its end.
    ///
    /// # Errors
    /// When the system refuses.
    pub async fn kill(mut self) -> Result<()> {
        self.child.kill().await.context("kill")
    }

    /// Asks it to stop with SIGTERM and waits for its end.
    ///
    /// # Errors
    /// When the system refuses.
    pub async fn stop(mut self) -> Result<ExitStatus> {
        let process = i32::try_from(self.id()?).ok().and_then(Pid::from_raw);
        kill_process(process.context("a process id")?, Signal::TERM)?;
        self.ended().await
    }
}
