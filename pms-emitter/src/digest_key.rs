//! The key of document digests when none is configured: made once, kept in the data folder, readable by its owner.

use crate::domain::guest_document::DigestKey;
use contract::Entropy;
use data_encoding::HEXLOWER;
use kit::key_file;
use std::{
    io::{self, ErrorKind},
    path::Path,
};

/// The file in the data folder.
const FILE: &str = "document-digest.key";

/// Reads the key of a folder, or makes one.
///
/// # Errors
/// When the folder or the file cannot be used, is not ours alone, or the file holds no key.
pub fn read_or_make(folder: &Path, entropy: &dyn Entropy) -> io::Result<DigestKey> {
    let text = key_file::read_or_make(folder, FILE, |bytes| HEXLOWER.encode(bytes), entropy)?;
    text.parse()
        .map_err(|error| io::Error::new(ErrorKind::InvalidData, error))
}

#[cfg(test)]
mod tests {
    use super::*;
    use kit::random::SystemEntropy;
    use std::fs;

    #[test]
    fn a_key_is_made_once_and_a_file_without_a_key_is_refused() {
        let mut unique = [0; 8];
        SystemEntropy.fill(&mut unique);
        let folder = std::env::temp_dir().join(format!("pms-emitter-{}", HEXLOWER.encode(&unique)));
        let digest = |_| {
            let key = read_or_make(&folder, &SystemEntropy).unwrap();
            key.digest("passport", None, "AB1")
        };
        let digests: Vec<String> = (0..3).map(digest).collect();
        assert!(digests.iter().all(|digest| *digest == digests[0]));
        fs::write(folder.join(FILE), "short").unwrap();
        let refused = read_or_make(&folder, &SystemEntropy).unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::InvalidData);
        fs::remove_dir_all(folder).unwrap();
    }
}
