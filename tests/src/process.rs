//! A service as a real process of its own, which can be killed the way a power cut kills.
//!
//! The programs are the thin ones of `src/bin`; each prints `ready <address>` once it listens, so nobody has to guess
//! when. A process that is dropped is killed too.

use anyhow::{Context, Result};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};
use tokio::time::timeout;

/// What a program prints before its address.
pub const READY: &str = "ready ";
/// Opening the database, migrating and listening.
const READY_WITHIN: Duration = Duration::from_secs(60);

/// A running process.
#[derive(Debug)]
pub struct Process {
    child: Child,
    address: SocketAddr,
}

impl Process {
    /// Starts `program` in `folder` with nothing but these variables, and waits until it listens.
    ///
    /// # Errors
    /// When it ends, or is silent for too long, before it listens.
    pub async fn start(program: &Path, folder: &Path, variables: &[(&str, String)]) -> Result<Self> {
        Self::begin(Command::new(program), program, folder, variables).await
    }

    /// The same for a program that is several, by the name that it is called by.
    ///
    /// # Errors
    /// When it ends, or is silent for too long, before it listens.
    pub async fn start_as(
        name: &str,
        program: &Path,
        folder: &Path,
        variables: &[(&str, String)],
    ) -> Result<Self> {
        let mut command = Command::new(program);
        command.arg0(name);
        Self::begin(command, program, folder, variables).await
    }

    /// As [`start_as`](Self::start_as), and nobody hears what it says but its address.
    ///
    /// # Errors
    /// As `start_as`.
    pub async fn start_silent(
        name: &str,
        program: &Path,
        folder: &Path,
        variables: &[(&str, String)],
    ) -> Result<Self> {
        let mut command = Command::new(program);
        command.arg0(name).stderr(Stdio::null());
        Self::begin(command, program, folder, variables).await
    }

    async fn begin(
        mut command: Command,
        program: &Path,
        folder: &Path,
        variables: &[(&str, String)],
    ) -> Result<Self> {
        let mut child = command
            .env_clear()
            .envs(variables.iter().map(|(name, value)| (name, value)))
            .current_dir(folder)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .with_context(|| format!("{}", program.display()))?;
        let stdout = child.stdout.take().context("its output is a pipe")?;
        let mut line = String::new();
        let mut reader = BufReader::new(stdout);
        timeout(READY_WITHIN, reader.read_line(&mut line))
            .await
            .with_context(|| format!("{} is not ready", program.display()))??;
        let address = line
            .strip_prefix(READY)
            .and_then(|address| address.trim().parse().ok());
        let address = address.with_context(|| format!("{} did not start", program.display()))?;
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
}
