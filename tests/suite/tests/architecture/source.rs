//! The Rust files of the workspace.

use std::fs;
use std::path::{Path, PathBuf};

/// A Rust file.
pub struct Source {
    /// From the workspace's root, with forward slashes.
    pub path: String,
    pub text: String,
}

impl Source {
    pub fn is_below(&self, folders: &[&str]) -> bool {
        folders.iter().any(|folder| self.path.starts_with(folder))
    }

    /// Lines of code with their numbers: comments and documentation may name what the code must not.
    pub fn code(&self) -> impl Iterator<Item = (usize, &str)> {
        let lines = self.text.lines().enumerate();
        lines
            .map(|(index, line)| (index + 1, line))
            .filter(|(_, line)| !line.trim_start().starts_with("//"))
    }

    pub fn lines_with(&self, words: &[&str]) -> Vec<String> {
        let hits = self
            .code()
            .filter(|(_, line)| words.iter().any(|word| line.contains(word)));
        hits.map(|(number, line)| format!("{}:{number}: {}", self.path, line.trim()))
            .collect()
    }
}

/// Every Rust file of the four crates that make the product.
pub fn sources() -> Vec<Source> {
    let found = below(&[
        "shared/contract/src",
        "shared/db/src",
        "shared/api/src",
        "shared/kit/src",
        "pms-emitter/src",
        "crm-receiver/src",
    ]);
    assert!(
        found.len() > 50,
        "only {} files found: does this test look in the right place?",
        found.len()
    );
    found
}

/// Every Rust file below these folders of the workspace.
pub fn below(folders: &[&str]) -> Vec<Source> {
    let mut found = Vec::new();
    for folder in folders {
        collect(root(), &root().join(folder), &mut found);
    }
    found
}

/// The workspace's folder.
pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .ancestors()
        .nth(2)
        .expect("the package lies in the workspace")
}

fn collect(root: &Path, folder: &Path, found: &mut Vec<Source>) {
    let mut entries: Vec<PathBuf> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    entries.sort();
    for path in entries {
        if path.is_dir() {
            collect(root, &path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let name = path
                .strip_prefix(root)
                .unwrap()
                .to_string_lossy()
                .replace('\\', "/");
            found.push(Source {
                path: name,
                text: fs::read_to_string(&path).unwrap(),
            });
        }
    }
}
