//! The key of document digests when none is configured: made once, kept in the data folder, readable by its owner.

use crate::domain::guest_document::DigestKey;
use data_encoding::HEXLOWER;
use kit::random::Entropy;
use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

/// The file in the data folder.
pub const FILE: &str = "document-digest.key";

/// Bytes of randomness in a key that is made here.
const KEY_BYTES: usize = 32;

/// Reads the key of a folder, or makes one. Of several processes that make one at once, all get the same: a key that
/// is whole is linked into its place, and a place that is taken stays as it is.
///
/// # Errors
/// When the folder or the file cannot be used, or the file holds no key.
pub fn read_or_make(folder: &Path, entropy: &dyn Entropy) -> io::Result<DigestKey> {
    let path = folder.join(FILE);
    match fs::read_to_string(&path) {
        Err(error) if error.kind() == ErrorKind::NotFound => make(folder, &path, entropy)?,
        other => drop(other?),
    }
    let text = fs::read_to_string(&path)?;
    text.trim()
        .parse()
        .map_err(|error| io::Error::new(ErrorKind::InvalidData, error))
}

fn make(folder: &Path, path: &Path, entropy: &dyn Entropy) -> io::Result<()> {
    fs::create_dir_all(folder)?;
    let (mut key, mut name) = ([0; KEY_BYTES], [0; 8]);
    entropy.fill(&mut key);
    entropy.fill(&mut name);
    let draft = folder.join(format!("{FILE}.{}", HEXLOWER.encode(&name)));
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
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
