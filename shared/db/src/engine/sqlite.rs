//! The embedded engine: one file, one writer thread, a few reader threads.
//!
//! Every commit is flushed; waiting transactions share one flush (`sqlite_writer`). Readers see the last commit without
//! waiting for the writer (WAL). One process at a time claims the file, by a lock file next to it. The file holds
//! personal data: the file, its companions and their folder must be accessible to this user alone, or they are not
//! used.

use std::ffi::OsString;
use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, ErrorKind};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use crate::closure::{Answer, Closure};
use crate::engine::job::{Job, JobQueue};
use crate::engine::sqlite_writer;
use crate::fault::Fault;
use crate::files::{self, FILE_MODE};
use crate::sqlite_connection::Opener;
use crate::url::folder_of;
use crate::{DbError, DbSettings, Tx};

/// The suffixes of the files that SQLite keeps next to the database file.
const COMPANIONS: [&str; 3] = ["-wal", "-shm", "-journal"];

pub(crate) struct Sqlite {
    writes: Arc<JobQueue>,
    reads: Arc<JobQueue>,
    readers: usize,
    threads: Mutex<Vec<JoinHandle<()>>>,
    /// Held until the engine is closed: only one process writes to the file.
    claim: Mutex<Option<File>>,
}

impl Sqlite {
    pub fn open(path: &Path, settings: &DbSettings) -> Result<Self, DbError> {
        let file_refused = |error: files::Refused| DbError::open(error.to_string());
        let folder = files::folder(folder_of(path)).map_err(file_refused)?;
        let path = path.file_name().map(|name| folder.join(name));
        let path = path.ok_or_else(|| DbError::open("its path names no file"))?;
        let lock = if settings.exclusive {
            Some(claim(&path)?)
        } else {
            None
        };
        make(&path).map_err(|error| DbError::open(format!("{}: {error}", path.display())))?;
        files::close_to_others(&path).map_err(file_refused)?;
        for companion in COMPANIONS {
            files::close_to_others(&beside(&path, companion)).map_err(file_refused)?;
        }
        let opener = Opener { path: path.clone() };
        let writer = opener
            .connect(true)
            .map_err(|_| DbError::open(format!("{} is no usable file", path.display())))?;
        let (writes, reads) = (JobQueue::new(settings.queue), JobQueue::new(settings.queue));
        let mut threads = Vec::new();
        let mut start = |name: &str, body: Box<dyn FnOnce() + Send>| {
            let thread = std::thread::Builder::new().name(name.to_owned()).spawn(body);
            threads.push(thread.map_err(|error| DbError::open(format!("no thread: {error}")))?);
            Ok::<(), DbError>(())
        };
        let (queue, files) = (writes.clone(), opener.clone());
        start(
            "sqlite-writer",
            Box::new(move || sqlite_writer::run(&queue, &files, writer)),
        )?;
        let readers = settings.readers.max(1);
        for _ in 0..readers {
            let (queue, files) = (reads.clone(), opener.clone());
            start("sqlite-reader", Box::new(move || read_jobs(&queue, &files)))?;
        }
        Ok(Self {
            writes,
            reads,
            readers,
            threads: Mutex::new(threads),
            claim: Mutex::new(lock),
        })
    }

    /// Copies what is in the file into one without free space, which takes its place, while nobody serves it.
    pub fn vacuum(path: &Path) -> Result<(), DbError> {
        let file_refused = |error: files::Refused| DbError::open(error.to_string());
        let folder = files::folder(folder_of(path)).map_err(file_refused)?;
        let path = path.file_name().map(|name| folder.join(name));
        let path = path.ok_or_else(|| DbError::open("its path names no file"))?;
        let lock = claim(&path)?;
        let writer = Opener { path }.connect(true).map_err(|fault| fault.error)?;
        writer.define("VACUUM").map_err(|fault| fault.error)?;
        writer.checkpoint();
        drop((writer, lock));
        Ok(())
    }

    /// How many operations can read at once.
    pub fn readers(&self) -> usize {
        self.readers
    }

    /// Queues the operation and waits for its result. Dropping this future does not stop the operation.
    pub async fn run(
        &self,
        name: &'static str,
        abort_after: Duration,
        f: Closure,
        writes: bool,
    ) -> Result<Answer, DbError> {
        let (job, answer) = Job::new(name, abort_after, f);
        let queue = if writes { &self.writes } else { &self.reads };
        queue.push(job)?;
        answer.await.unwrap_or(Err(DbError::Unavailable))
    }

    /// Finishes queued jobs, checkpoints the WAL into the file, and releases the file.
    pub async fn close(&self) {
        self.stop_taking();
        let threads = std::mem::take(&mut *self.threads.lock().unwrap_or_else(PoisonError::into_inner));
        let joined = tokio::task::spawn_blocking(move || {
            for thread in threads {
                if thread.join().is_err() {
                    tracing::error!("a database thread panicked");
                }
            }
        });
        if joined.await.is_err() {
            tracing::error!("the database threads were not joined");
        }
        // From here on another process may claim the file, even while a closed handle of it still exists here.
        drop(self.claim.lock().unwrap_or_else(PoisonError::into_inner).take());
    }

    fn stop_taking(&self) {
        self.writes.close();
        self.reads.close();
    }
}

impl Drop for Sqlite {
    fn drop(&mut self) {
        self.stop_taking();
    }
}

/// Creates the file before SQLite does, which then gives its companion files the same mode. An existing file is not
/// opened: closing it would release the locks that other connections of this process hold on it.
fn make(path: &Path) -> io::Result<()> {
    let made = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(FILE_MODE)
        .open(path);
    match made {
        Err(error) if error.kind() != ErrorKind::AlreadyExists => Err(error),
        _ => Ok(()),
    }
}

/// Claims the file with a lock that the system releases when the process ends, however it ends.
fn claim(path: &Path) -> Result<File, DbError> {
    let name = beside(path, ".lock");
    let lock = files::open_or_make(&name).map_err(|error| DbError::open(error.to_string()))?;
    match lock.try_lock() {
        Ok(()) => Ok(lock),
        Err(TryLockError::WouldBlock) => Err(DbError::open(format!(
            "another process serves {}",
            path.display()
        ))),
        Err(TryLockError::Error(error)) => Err(DbError::open(format!("{}: {error}", name.display()))),
    }
}

/// The path of a companion file.
fn beside(path: &Path, companion: &str) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(companion);
    name.into()
}

/// The connection is opened before the first job arrives: later the process may have run out of file descriptors.
fn read_jobs(queue: &JobQueue, opener: &Opener) {
    let mut warned = false;
    let mut tx = reader(opener, &mut warned);
    while let Some(mut job) = queue.take(1).pop_front() {
        if tx.is_none() {
            tx = reader(opener, &mut warned);
        }
        let Some(reader) = &mut tx else {
            job.answer(Err(DbError::Unavailable));
            continue;
        };
        reader.renew();
        let _verdict = sqlite_writer::drive(&mut job, reader);
        let ended_by = reader.ended_by.clone();
        if ended_by.as_ref().is_some_and(Fault::is_lost) {
            tx = None;
        }
        job.answer(ended_by.map_or(Ok(()), |ended_by| Err(ended_by.error)));
    }
}

/// A connection, or None with the reason logged. It is logged once until a connection succeeds again, so that clients
/// cannot fill the log.
fn reader(opener: &Opener, warned: &mut bool) -> Option<Tx> {
    match opener.connect(false) {
        Ok(connected) => {
            *warned = false;
            Some(Tx::of_sqlite(connected, false))
        }
        Err(fault) => {
            if !std::mem::replace(warned, true) {
                tracing::warn!(error = %fault.error, "no connection for reading can be opened");
            }
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn what_is_made_is_its_owners_alone() {
        let outer = std::env::temp_dir().join(format!("kit-sqlite-mode-{}", std::process::id()));
        let folder = outer.join("data");
        let file = folder.join("pms.db");
        let engine = Sqlite::open(&file, &DbSettings::default()).unwrap();
        let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(&outer), mode(&folder), mode(&file)), (0o700, 0o700, 0o600));
        assert_eq!(mode(&folder.join("pms.db.lock")), 0o600);
        drop(engine);
        std::fs::remove_dir_all(&outer).unwrap();
    }
}
