//! Disks that a case can break: a small one that fills up, and one that fails to flush or to write what a process says.

use std::fs::File;
use std::io::{ErrorKind, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use harness::engine::Servers;
use tempfile::TempDir;

/// The rule of F17 and F18: from the end of a disk's fault, or the return of its server, to the first request that is taken
/// again. A service is back within a second, and a caller that was refused just before waits another (`Retry-After`).
pub const TAKEN_WITHIN: Duration = Duration::from_secs(2);

/// A small file system of its own, for as long as it lives.
pub struct SmallDisk(TempDir);

impl SmallDisk {
    /// One of `size`, as `mount` takes it. None where this user may not mount one.
    pub fn mounted(size: &str) -> Option<Self> {
        let folder = tempfile::tempdir().unwrap();
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", &format!("size={size}"), "none"]);
        let mounted = mount.arg(folder.path()).stderr(Stdio::null()).status();
        let disk = Self(folder);
        if mounted.is_ok_and(|status| status.success()) {
            return Some(disk);
        }
        skip("no file system can be mounted here");
        None
    }

    pub fn path(&self) -> &Path {
        self.0.path()
    }

    /// Takes all the room that is left.
    pub fn fill(&self) {
        let mut filler = File::create(self.path().join("filler")).unwrap();
        let full = loop {
            if let Err(error) = filler.write_all(&[0; 4096]) {
                break error;
            }
        };
        assert_eq!(full.kind(), ErrorKind::StorageFull);
    }

    pub fn free_space(&self) {
        std::fs::remove_file(self.path().join("filler")).unwrap();
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let mut unmount = Command::new("umount");
        let unmounted = unmount.arg("-l").arg(self.path()).stderr(Stdio::null()).status();
        if !unmounted.is_ok_and(|status| status.success()) {
            eprintln!("{} was not unmounted", self.path().display());
        }
    }
}

/// What makes the disk of a process fail.
pub struct FailingDisk {
    library: TempDir,
    faults: TempDir,
}

impl FailingDisk {
    /// None where there is no C compiler.
    pub fn new() -> Option<Self> {
        let (library, faults) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        // A database server gives up its rights, and has to find the faults all the same.
        std::fs::set_permissions(faults.path(), PermissionsExt::from_mode(0o755)).unwrap();
        let source = library.path().join("failing_disk.c");
        std::fs::write(&source, include_str!("failing_disk.c")).unwrap();
        let mut compiler = Command::new("cc");
        compiler.args(["-shared", "-fPIC", "-O1", "-o"]);
        compiler
            .arg(library.path().join("failing_disk.so"))
            .arg(source)
            .arg("-ldl");
        if compiler.status().is_ok_and(|status| status.success()) {
            return Some(Self { library, faults });
        }
        skip("no C compiler");
        None
    }

    /// With what in its environment a process is on this disk.
    pub fn variables(&self) -> Vec<(&'static str, String)> {
        let library = self.library.path().join("failing_disk.so");
        vec![
            ("LD_PRELOAD", library.display().to_string()),
            ("FAILING_DISK", self.faults.path().display().to_string()),
        ]
    }

    pub fn begin(&self, fault: &str) {
        File::create(self.faults.path().join(fault)).unwrap();
    }

    pub fn end(&self, fault: &str) {
        std::fs::remove_file(self.faults.path().join(fault)).unwrap();
    }

    pub fn is_met(&self, fault: &str) -> bool {
        !self.faults.path().join(fault).exists()
    }
}

/// A case that cannot be made here says so; where it has to be possible, as root of a CI machine, it fails.
fn skip(reason: &str) {
    let is_root = std::fs::metadata("/proc/self").is_ok_and(|own| own.uid() == 0);
    assert!(!(is_root && Servers::is_on_ci()), "{reason}");
    eprintln!("skipped: {reason}");
}
