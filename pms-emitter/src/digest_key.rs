//! The key of document digests when none is configured: made once, kept in the data folder, readable by its owner.

use crate::domain::guest_document::DigestKey;
use contract::Entropy;
use data_encoding::HEXLOWER;
use db::files::{self, FILE_MODE};
use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

/// The file in the data folder.
pub const FILE: &str = "document-digest.key";

/// Bytes of randomness in a key that is made here.
const KEY_BYTES: usize = 32;
/// The longest file that is read for one: the longest key, and blanks around it.
const FILE_BYTES_MAX: u64 = 1024;

/// Reads the key of a folder, or makes one. Of several processes that make one at once, all get the same: a key that
/// is whole is linked into its place, and a place that is taken stays as it is.
///
/// # Errors
/// When the folder or the file cannot be used, is not ours alone, or the file holds no key.
pub fn read_or_make(folder: &Path, entropy: &dyn Entropy) -> io::Result<DigestKey> {
    let folder = files::folder(folder).map_err(io::Error::other)?;
    let path = folder.join(FILE);
    let text = match read(&path)? {
        Some(text) => text,
        None => {
            make(&folder, &path, entropy)?;
            read(&path)?.ok_or(ErrorKind::NotFound)?
        }
    };
    text.trim()
        .parse()
        .map_err(|error| io::Error::new(ErrorKind::InvalidData, error))
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

fn make(folder: &Path, path: &Path, entropy: &dyn Entropy) -> io::Result<()> {
    let (mut key, mut name) = ([0; KEY_BYTES], [0; 8]);
    entropy.fill(&mut key);
    entropy.fill(&mut name);
    let draft = folder.join(format!("{FILE}.{}", HEXLOWER.encode(&name)));
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(FILE_MODE)
        .open(&draft)?;
    let written = writeln!(file, "{}", HEXLOWER.encode(&key)).and_then(|()| file.sync_all());
    let linked = written.and_then(|()| fs::hard_link(&draft, path));
    fs::remove_file(&draft)?;
    match linked {
        Err(error) if error.kind() != ErrorKind::AlreadyExists => Err(error),
        // Its name has to outlast a power failure too: digests that were stored are of no use without it.
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
    use kit::random::SystemEntropy;
    use std::os::unix::fs::PermissionsExt;
    use std::path::PathBuf;

    fn fresh_folder(name: &str) -> PathBuf {
        let mut unique = [0; 8];
        SystemEntropy.fill(&mut unique);
        std::env::temp_dir().join(format!("pms-emitter-{name}-{}", HEXLOWER.encode(&unique)))
    }

    #[test]
    fn a_key_is_made_once_for_its_owner_alone() {
        let folder = fresh_folder("made-once");
        let digest = |_| {
            read_or_make(&folder, &SystemEntropy)
                .unwrap()
                .digest("passport", None, "AB1")
        };
        let digests: Vec<String> = (0..3).map(digest).collect();
        assert!(digests.iter().all(|digest| *digest == digests[0]));
        assert_eq!(
            fs::metadata(folder.join(FILE)).unwrap().permissions().mode() & 0o777,
            0o600
        );
        assert_eq!(fs::read_dir(&folder).unwrap().count(), 1, "no draft stays behind");
        fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn two_folders_have_two_keys_and_a_file_without_a_key_is_refused() {
        let (one, other) = (fresh_folder("one"), fresh_folder("other"));
        let digest = |folder: &Path| {
            read_or_make(folder, &SystemEntropy)
                .unwrap()
                .digest("passport", None, "AB1")
        };
        assert_ne!(digest(&one), digest(&other));
        fs::write(one.join(FILE), "short").unwrap();
        assert_eq!(
            read_or_make(&one, &SystemEntropy).unwrap_err().kind(),
            ErrorKind::InvalidData
        );
        for folder in [one, other] {
            fs::remove_dir_all(folder).unwrap();
        }
    }
}
