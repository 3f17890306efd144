//! The Rust files of the workspace, as texts.

use std::fs;
use std::path::Path;
use std::sync::LazyLock;

use super::crates::{Files, members};

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

/// Every Rust file of the crates that make the product: of all members that do not lie in `tests`.
pub fn sources() -> Vec<Source> {
    let all = members(files());
    let product = all.iter().filter(|folder| !folder.starts_with("tests"));
    let folders: Vec<String> = product.map(|folder| format!("{folder}/src")).collect();
    let folders: Vec<&str> = folders.iter().map(String::as_str).collect();
    let found = below(&folders);
    assert!(
        found.len() > 50,
        "only {} files found: does this test look in the right place?",
        found.len()
    );
    found
}

/// Every Rust file below these folders of the workspace.
pub fn below(folders: &[&str]) -> Vec<Source> {
    let rust = files().iter().filter(|(path, _)| path.ends_with(".rs"));
    let inside = rust.filter(|(path, _)| {
        let in_folder = |folder: &&str| {
            path.strip_prefix(*folder)
                .is_some_and(|rest| rest.starts_with('/'))
        };
        folders.iter().any(in_folder)
    });
    inside
        .map(|(path, text)| Source {
            path: path.clone(),
            text: text.clone(),
        })
        .collect()
}

/// The workspace's folder: the nearest one above this package whose manifest declares a workspace.
pub fn root() -> &'static Path {
    let mut above = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors();
    let declares = |folder: &&Path| {
        let manifest = fs::read_to_string(folder.join("Cargo.toml")).unwrap_or_default();
        manifest.lines().any(|line| line.trim() == "[workspace]")
    };
    above.find(declares).expect("the package lies in a workspace")
}

/// Every manifest and every Rust file of the workspace, read once.
pub fn files() -> &'static Files {
    static FILES: LazyLock<Files> = LazyLock::new(|| {
        let mut files = Files::new();
        collect(root(), root(), &mut files);
        files
    });
    &FILES
}

fn collect(root: &Path, folder: &Path, files: &mut Files) {
    let entries = fs::read_dir(folder).unwrap();
    for path in entries.map(|entry| entry.unwrap().path()) {
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        if path.is_dir() {
            // What the build makes, and what tools keep, is not source.
            if name != "target" && !name.starts_with('.') {
                collect(root, &path, files);
            }
        } else if name == "Cargo.toml" || name.ends_with(".rs") {
            files.insert(from_root(root, &path), fs::read_to_string(&path).unwrap());
        }
    }
}

fn from_root(root: &Path, path: &Path) -> String {
    let path = path.strip_prefix(root).unwrap();
    path.to_string_lossy().replace('\\', "/")
}
