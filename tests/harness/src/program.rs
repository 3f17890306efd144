//! The programs that the tests start as processes. One file is several programs: which one it is, it reads off the name
//! that it was called by, as `busybox` does. So a run starts its services from its own file, and never measures what
//! another build left behind; and nothing else has to be linked.

use anyhow::Result;
use std::ffi::OsStr;
use std::fmt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

/// The name of the program that is the emitter.
pub const EMITTER: &str = "emitter";
/// The name of the program that is the receiver.
pub const RECEIVER: &str = "receiver";

/// A file that can be run, and the name that it is called by.
#[derive(Clone, Debug)]
pub struct Program {
    file: PathBuf,
    name: &'static str,
}

impl Program {
    /// The program of this name in `file`.
    pub fn new(file: impl Into<PathBuf>, name: &'static str) -> Self {
        Self {
            file: file.into(),
            name,
        }
    }

    /// What it is called by.
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// A command that runs it, without arguments yet.
    pub fn command(&self) -> Command {
        let mut command = Command::new(&self.file);
        command.arg0(self.name);
        command
    }
}

impl fmt::Display for Program {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{} ({})", self.name, self.file.display())
    }
}

/// The name that this process was called by, without folders.
pub fn called_by() -> Option<String> {
    let first = std::env::args_os().next()?;
    let name = Path::new(&first).file_name().and_then(OsStr::to_str)?;
    Some(name.to_owned())
}

/// The exit code of a `main`, which says on standard error why it failed.
pub fn exit_code(ended: Result<ExitCode>) -> ExitCode {
    ended.unwrap_or_else(|error| {
        eprintln!("Error: {error:?}");
        ExitCode::FAILURE
    })
}
