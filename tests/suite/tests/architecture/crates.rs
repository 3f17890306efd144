//! The crates of the workspace, read from the manifests: which there are, where, and what each of them depends on.
//!
//! The manifests are read line by line: they are ours, and use one key in a line.

use std::collections::BTreeMap;

/// Manifests and Rust files: from the path, from the workspace's root and with forward slashes, to the text. A test plants
/// its own.
pub type Files = BTreeMap<String, String>;

/// A member of the workspace.
#[derive(Debug)]
pub struct Crate {
    /// As its manifest has it, such as `pms-emitter`.
    pub name: String,
    /// From the workspace's root, such as `shared/kit`.
    pub folder: String,
    pub dependencies: Vec<Dependency>,
}

/// One line of a manifest's `[dependencies]`, or of those for tests or for building.
#[derive(Debug)]
pub struct Dependency {
    /// How code spells it, such as `mysql_async`.
    pub spelled: String,
    /// The package that it is, in the same spelling: another one where the manifest renames it.
    pub package: String,
    pub line: usize,
}

impl Crate {
    /// How the code of others spells it: `pms_emitter`.
    pub fn spelled(&self) -> String {
        spelled(&self.name)
    }

    pub fn manifest(&self) -> String {
        format!("{}/Cargo.toml", self.folder)
    }

    /// What the code means by the first name of a path, when it is the name of a dependency.
    pub fn package_of(&self, name: &str) -> Option<&str> {
        let found = self
            .dependencies
            .iter()
            .find(|dependency| dependency.spelled == name);
        found.map(|dependency| dependency.package.as_str())
    }
}

/// Every member of the workspace.
pub fn crates(files: &Files) -> Vec<Crate> {
    let renamed = renamed_packages(files);
    let all = members(files).into_iter();
    all.map(|folder| {
        let manifest = manifest(files, &folder);
        let entries = entries(manifest);
        let name = entries
            .iter()
            .find(|entry| entry.section == "package" && entry.key == "name");
        let name = name.unwrap_or_else(|| panic!("{folder}/Cargo.toml has a name"));
        Crate {
            name: name.value.trim_matches('"').to_owned(),
            dependencies: dependencies(&entries, &renamed),
            folder,
        }
    })
    .collect()
}

/// The folders that the workspace's manifest lists; `tests/*` is every folder in `tests` with a manifest.
pub fn members(files: &Files) -> Vec<String> {
    let manifest = files.get("Cargo.toml").expect("the workspace has a manifest");
    let (_, list) = manifest
        .split_once("members = [")
        .expect("the workspace lists its members");
    let (list, _) = list.split_once(']').expect("the list of members ends");
    let mut folders = Vec::new();
    for member in list.split('"').skip(1).step_by(2) {
        match member.strip_suffix("/*") {
            None => folders.push(member.to_owned()),
            Some(parent) => folders.extend(folders_with_a_manifest(files, parent)),
        }
    }
    folders
}

fn folders_with_a_manifest(files: &Files, parent: &str) -> Vec<String> {
    let inside = files.keys().filter_map(|path| {
        let folder = path.strip_suffix("/Cargo.toml")?;
        let (above, _) = folder.rsplit_once('/')?;
        (above == parent).then(|| folder.to_owned())
    });
    inside.collect()
}

fn manifest<'a>(files: &'a Files, folder: &str) -> &'a str {
    let manifest = files.get(&format!("{folder}/Cargo.toml"));
    manifest.unwrap_or_else(|| panic!("{folder} is a member and has a manifest"))
}

/// A key of a manifest, with the section that it stands in.
struct Entry<'a> {
    line: usize,
    section: &'a str,
    /// Its first part: `kit` of `kit.workspace = true`.
    key: &'a str,
    value: &'a str,
}

fn entries(manifest: &str) -> Vec<Entry<'_>> {
    let mut section = "";
    let mut found = Vec::new();
    for (index, line) in manifest.lines().enumerate() {
        let text = line.trim();
        if let Some(name) = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            section = name;
            // `[dependencies.kit]` is a dependency too.
            if let Some((_, key)) = name.split_once("dependencies.") {
                let (line, value) = (index + 1, "");
                found.push(Entry {
                    line,
                    section: "dependencies",
                    key,
                    value,
                });
            }
        } else if let Some((key, value)) = text.split_once('=').filter(|_| !text.starts_with('#')) {
            let key = key.trim().trim_matches('"');
            found.push(Entry {
                line: index + 1,
                section,
                key: key.split('.').next().unwrap_or(key),
                value: value.trim(),
            });
        }
    }
    found
}

fn dependencies(entries: &[Entry<'_>], renamed: &BTreeMap<String, String>) -> Vec<Dependency> {
    let listed = entries
        .iter()
        .filter(|entry| entry.section.ends_with("dependencies"));
    listed
        .map(|entry| {
            let spelled = spelled(entry.key);
            let package = renaming(entry.value).or_else(|| renamed.get(&spelled).cloned());
            Dependency {
                package: package.unwrap_or_else(|| spelled.clone()),
                spelled,
                line: entry.line,
            }
        })
        .collect()
}

/// From the name that the workspace gives a package to the name that it has.
fn renamed_packages(files: &Files) -> BTreeMap<String, String> {
    let entries = entries(&files["Cargo.toml"]);
    let listed = entries
        .iter()
        .filter(|entry| entry.section == "workspace.dependencies");
    listed
        .filter_map(|entry| Some((spelled(entry.key), renaming(entry.value)?)))
        .collect()
}

/// The `package` of `{ package = "tikv-jemallocator", version = "0.7" }`.
fn renaming(value: &str) -> Option<String> {
    let (_, rest) = value.split_once("package = \"")?;
    rest.split('"').next().map(spelled)
}

fn spelled(name: &str) -> String {
    name.replace('-', "_")
}
