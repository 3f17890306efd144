//! Files with secrets or personal data, and their folder: ownership and access rights.
//!
//! A file of this process's user that others may open is closed to them, with a warning. A symbolic link and another
//! user's file are refused. Root is trusted. The folder itself may be a link, as volumes are: it is resolved once, and
//! the real path is used from then on.

use std::fs::{self, DirBuilder, File, Metadata, OpenOptions, Permissions};
use std::io::{self, ErrorKind, Read};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::OFlags;
use rustix::process::{getegid, geteuid, getgroups};

/// New files and folders are accessible to their owner alone.
pub const FILE_MODE: u32 = 0o600;
const FOLDER_MODE: u32 = 0o700;

/// What a mode lets the group and everyone else do.
const OF_OTHERS: u32 = 0o077;
const WRITE_OF_OTHERS: u32 = 0o022;
const OF_GROUP: u32 = 0o070;
/// In a folder with this bit users cannot move or remove files of others.
const STICKY: u32 = 0o1000;
/// Entries of a folder that are checked to see whether it contains other folders.
const ENTRIES_LOOKED_AT: usize = 1_000;

/// Why a file or folder is not used.
#[derive(Debug, thiserror::Error)]
#[error("{path}: {problem}", path = path.display())]
pub struct Refused {
    path: PathBuf,
    problem: Problem,
}

#[derive(Debug, thiserror::Error)]
enum Problem {
    #[error("it is a link, which is not followed: put the file itself there")]
    Link,
    #[error("it is no file")]
    NoFile,
    #[error("it is no folder")]
    NoFolder,
    #[error("it belongs to another user ({0})")]
    AnotherUsers(u32),
    #[error("it is open to other users (mode {0:o}) and belongs to root: only root can change that")]
    Open(u32),
    #[error("it has a second name (a hard link), and must have one alone")]
    SecondName,
    #[error("it is longer than {0} bytes")]
    TooLong(u64),
    #[error("it is open to other users (mode {mode:o}), and that cannot be changed: {error}")]
    Untightened { mode: u32, error: io::Error },
    #[error("{0}")]
    Io(#[from] io::Error),
}

impl Refused {
    fn new(path: &Path, problem: Problem) -> Self {
        let path = path.to_owned();
        Self { path, problem }
    }

    /// What is wrong, without the path.
    pub fn problem(&self) -> String {
        self.problem.to_string()
    }
}

/// Access of others was removed from a file or folder: a sentence for the log.
#[derive(Debug)]
pub struct Tightened {
    path: PathBuf,
    from: u32,
    to: u32,
}

impl Tightened {
    /// Logs it.
    pub fn warn(&self) {
        let Self { path, from, to } = self;
        tracing::warn!(
            path = %path.display(),
            mode.was = format!("{from:o}"),
            mode.now = format!("{to:o}"),
            "it was open to other users, and is no longer"
        );
    }
}

/// The user and the groups that this process acts as.
struct ProcessUser {
    user: u32,
    groups: Vec<u32>,
}

impl ProcessUser {
    fn new() -> Self {
        let mut groups = vec![getegid().as_raw()];
        groups.extend(getgroups().unwrap_or_default().iter().map(|group| group.as_raw()));
        Self {
            user: geteuid().as_raw(),
            groups,
        }
    }

    /// Refuses files of other users, and files of root that others than this process's groups may use. `of_others` are
    /// the permission bits that count.
    fn may_use(&self, found: &Metadata, of_others: u32) -> Result<(), Problem> {
        let owner = found.uid();
        if owner == self.user {
            return Ok(());
        }
        if owner != 0 {
            return Err(Problem::AnotherUsers(owner));
        }
        // Root may have given access to a group of this process, as orchestrators do.
        let shared = if self.groups.contains(&found.gid()) {
            OF_GROUP
        } else {
            0
        };
        if found.mode() & of_others & !shared == 0 {
            Ok(())
        } else {
            Err(Problem::Open(found.mode() & 0o7777))
        }
    }
}

/// Creates the folder if it does not exist, closes it to others, and returns its real path.
///
/// The working folder, or a folder that contains other folders, is not only a data folder: there others only lose the
/// right to write. A folder shared by the sticky bit, such as `/tmp`, stays unchanged.
///
/// # Errors
/// When it cannot be made, or is another user's, or is open to others and not ours.
pub fn folder(path: &Path) -> Result<PathBuf, Refused> {
    let refused = |problem| Refused::new(path, problem);
    let made = DirBuilder::new().recursive(true).mode(FOLDER_MODE).create(path);
    made.map_err(|error| refused(Problem::Io(error)))?;
    let real = path.canonicalize().map_err(|error| refused(Problem::Io(error)))?;
    tighten_folder(&real).map_err(refused)?;
    Ok(real)
}

fn tighten_folder(real: &Path) -> Result<(), Problem> {
    let flags = OFlags::DIRECTORY | OFlags::NOFOLLOW;
    let folder = OpenOptions::new()
        .read(true)
        .custom_flags(flags.bits().cast_signed())
        .open(real)?;
    let found = folder.metadata()?;
    if !found.is_dir() {
        return Err(Problem::NoFolder);
    }
    let (me, mode) = (ProcessUser::new(), found.mode() & 0o7777);
    if mode & STICKY != 0 && mode & WRITE_OF_OTHERS != 0 {
        if found.uid() != me.user && found.uid() != 0 {
            return Err(Problem::AnotherUsers(found.uid()));
        }
        tracing::warn!(path = %real.display(), "the data folder is shared with every user of this machine");
        return Ok(());
    }
    me.may_use(&found, WRITE_OF_OTHERS)?;
    // A database may be given as a bare file name: then its folder is the working folder, which contains other things
    // too.
    let is_working_folder = Path::new(".").canonicalize().is_ok_and(|working| working == real);
    let others = if is_working_folder || holds_folders(real) {
        WRITE_OF_OTHERS
    } else {
        OF_OTHERS
    };
    if found.uid() == me.user
        && let Some(tightened) = close(&folder, real, mode, others)?
    {
        tightened.warn();
    }
    Ok(())
}

fn holds_folders(path: &Path) -> bool {
    let entries = fs::read_dir(path).into_iter().flatten().flatten();
    entries
        .take(ENTRIES_LOOKED_AT)
        .any(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()))
}

/// Removes these permission bits, if any is set.
fn close(file: &File, path: &Path, mode: u32, others: u32) -> Result<Option<Tightened>, Problem> {
    if mode & others == 0 {
        return Ok(None);
    }
    let to = mode & !others;
    let closed = file.set_permissions(Permissions::from_mode(to));
    closed.map_err(|error| Problem::Untightened { mode, error })?;
    Ok(Some(Tightened {
        path: path.to_owned(),
        from: mode,
        to,
    }))
}

/// The contents of a file, and whether others could open it before.
#[derive(Debug)]
pub struct Contents {
    /// What it holds.
    pub bytes: Vec<u8>,
    /// It was open to others.
    pub tightened: Option<Tightened>,
}

/// Reads a private file of at most `bytes_max` bytes. None when it does not exist.
///
/// # Errors
/// When it is a link, no file, another user's, open to others and not ours, too long, or not readable.
pub fn read(path: &Path, bytes_max: u64) -> Result<Option<Contents>, Refused> {
    let refused = |problem| Refused::new(path, problem);
    let mut options = OpenOptions::new();
    let file = match open(options.read(true), path) {
        Err(Problem::Io(error)) if error.kind() == ErrorKind::NotFound => return Ok(None),
        other => other.map_err(refused)?,
    };
    let tightened = tighten_file(&file, path).map_err(refused)?;
    let mut bytes = Vec::new();
    let read = (&file).take(bytes_max + 1).read_to_end(&mut bytes);
    let len = read.map_err(|error| refused(Problem::Io(error)))?;
    if len as u64 > bytes_max {
        return Err(refused(Problem::TooLong(bytes_max)));
    }
    Ok(Some(Contents { bytes, tightened }))
}

/// Opens a private file for writing, and creates it if it does not exist.
///
/// # Errors
/// As [`read`].
pub fn open_or_make(path: &Path) -> Result<File, Refused> {
    let refused = |problem| Refused::new(path, problem);
    let mut options = OpenOptions::new();
    options.create(true).truncate(false).write(true).mode(FILE_MODE);
    let file = open(&mut options, path).map_err(refused)?;
    if let Some(tightened) = tighten_file(&file, path).map_err(refused)? {
        tightened.warn();
    }
    Ok(file)
}

/// Opens it if it is no link; does not block on a pipe without a writer.
fn open(options: &mut OpenOptions, path: &Path) -> Result<File, Problem> {
    let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK;
    let opened = options.custom_flags(flags.bits().cast_signed()).open(path);
    opened.map_err(|error| match fs::symlink_metadata(path) {
        Ok(found) if found.is_symlink() => Problem::Link,
        Ok(found) if !found.is_file() => Problem::NoFile,
        _ => error.into(),
    })
}

fn tighten_file(file: &File, path: &Path) -> Result<Option<Tightened>, Problem> {
    let (found, me) = (file.metadata()?, ProcessUser::new());
    if !found.is_file() {
        return Err(Problem::NoFile);
    }
    me.may_use(&found, OF_OTHERS)?;
    if found.uid() != me.user {
        return Ok(None);
    }
    close(file, path, found.mode() & 0o7777, OF_OTHERS)
}

/// Closes a file to others, if it exists, and checks that it has one name only. The file is not opened: closing it
/// again would release SQLite's locks on it. Its folder has passed [`folder`], so nobody else can replace the file
/// meanwhile.
///
/// # Errors
/// When it is a link, no file, another user's, has a second name, or is open to others and not ours.
pub fn close_to_others(path: &Path) -> Result<(), Refused> {
    let looked = || {
        let found = match fs::symlink_metadata(path) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
            other => other?,
        };
        let me = ProcessUser::new();
        if found.is_symlink() {
            return Err(Problem::Link);
        }
        if !found.is_file() {
            return Err(Problem::NoFile);
        }
        me.may_use(&found, OF_OTHERS)?;
        if found.nlink() > 1 {
            return Err(Problem::SecondName);
        }
        let mode = found.mode() & 0o7777;
        if found.uid() == me.user && mode & OF_OTHERS != 0 {
            let (from, to) = (mode, mode & !OF_OTHERS);
            let closed = fs::set_permissions(path, Permissions::from_mode(to));
            closed.map_err(|error| Problem::Untightened { mode, error })?;
            let path = path.to_owned();
            Tightened { path, from, to }.warn();
        }
        Ok(())
    };
    looked().map_err(|problem| Refused::new(path, problem))
}

#[cfg(test)]
mod tests;
