//! A key that a service makes for itself when the operator gives none: made once, kept in the data folder, readable by its
//! owner alone.

use contract::Entropy;
use data_encoding::HEXLOWER;
use db::files::{self, FILE_MODE};
use std::{
    fs::{self, File, OpenOptions},
    io::{self, ErrorKind, Write},
    os::unix::fs::OpenOptionsExt,
    path::Path,
};

/// Bytes of randomness in a key that is made here.
pub const KEY_BYTES: usize = 32;
/// The longest file that is read for one: the longest key, and blanks around it.
const FILE_BYTES_MAX: u64 = 1024;

/// Reads the key of a folder, if there is one.
///
/// # Errors
/// As [`read_or_make`].
pub fn find(folder: &Path, name: &str) -> io::Result<Option<String>> {
    let folder = files::folder(folder).map_err(io::Error::other)?;
    let text = read(&folder.join(name))?;
    Ok(text.map(|text| text.trim().to_owned()))
}

/// Reads the key of a folder, or makes one, which `spell` writes as text. Of several processes that make one at once, all get
/// the same: a key that is whole is linked into its place, and a place that is taken stays as it is.
///
/// # Errors
/// When the folder or the file cannot be used, or is not ours alone.
pub fn read_or_make(
    folder: &Path,
    name: &str,
    spell: fn(&[u8]) -> String,
    entropy: &dyn Entropy,
) -> io::Result<String> {
    let folder = files::folder(folder).map_err(io::Error::other)?;
    let path = folder.join(name);
    let text = match read(&path)? {
        Some(text) => text,
        None => {
            make(&folder, name, spell, entropy)?;
            read(&path)?.ok_or(ErrorKind::NotFound)?
        }
    };
    Ok(text.trim().to_owned())
}

fn read(path: &Path) -> io::Result<Option<String>> {
    let Some(contents) = files::read(path, FILE_BYTES_MAX).map_err(io::Error::other)? else {
        return Ok(None);
    };
    if let Some(tightened) = contents.tightened {
        tightened.warn();
    }
    let text = String::from_utf8(contents.bytes);
    text.map(Some)
        .map_err(|_| io::Error::new(ErrorKind::InvalidData, "the key is not UTF-8"))
}

fn make(folder: &Path, name: &str, spell: fn(&[u8]) -> String, entropy: &dyn Entropy) -> io::Result<()> {
    let (mut key, mut unique) = ([0; KEY_BYTES], [0; 8]);
    entropy.fill(&mut key);
    entropy.fill(&mut unique);
    let draft = folder.join(format!("{name}.{}", HEXLOWER.encode(&unique)));
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(FILE_MODE)
        .open(&draft)?;
    let written = writeln!(file, "{}", spell(&key)).and_then(|()| file.sync_all());
    let linked = written.and_then(|()| fs::hard_link(&draft, folder.join(name)));
    fs::remove_file(&draft)?;
    match linked {
        Err(error) if error.kind() != ErrorKind::AlreadyExists => Err(error),
        // Its name has to outlast a power failure too: what was made with the key is of no use without it.
        _ => sync_names(folder),
    }
}

/// Flushes the names in a folder, and the folder's own name.
fn sync_names(folder: &Path) -> io::Result<()> {
    let above = folder.canonicalize()?;
    for folder in [Some(folder), above.parent()].into_iter().flatten() {
        File::open(folder)?.sync_all()?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::SystemEntropy;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn a_key_is_made_once_for_its_owner_alone_and_two_folders_have_two() {
        let (one, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let key = |folder: &Path| {
            read_or_make(
                &folder.join("data"),
                "a.key",
                |bytes| HEXLOWER.encode(bytes),
                &SystemEntropy,
            )
            .unwrap()
        };
        let first = key(one.path());
        assert_eq!(first.len(), 2 * KEY_BYTES);
        assert_eq!(key(one.path()), first);
        assert_ne!(key(other.path()), first);
        let folder = one.path().join("data");
        let mode = fs::metadata(folder.join("a.key")).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        assert_eq!(fs::read_dir(folder).unwrap().count(), 1, "no draft stays behind");
    }
}
