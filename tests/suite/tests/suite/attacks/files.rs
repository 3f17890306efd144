//! Row A17: what stands where a service's files stand, but is not its own alone.

use crate::case::{Case, Ctx, cases};
use crate::settings::{BOTH, EMITTER, KEY, RECEIVER, Start};
use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt, chown, symlink};
use std::path::Path;

pub fn cases() -> Vec<Case> {
    cases![free;
        a17_what_is_open_to_others_is_closed_and_said,
        a17_a_link_in_the_place_of_a_file_is_not_followed,
        a17_another_users_files_are_refused,
        a17_the_data_folder_may_be_a_link,
    ]
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o7777
}

fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
}

/// The emitter's files below `data/`, all but those that last only while it runs.
const FILES: [&str; 3] = ["pms.db", "pms.db.lock", "document-digest.key"];

async fn a17_what_is_open_to_others_is_closed_and_said(_: Ctx) {
    let start = Start::new();
    start.served(EMITTER).await.ended().await;
    let data = start.folder().join("data");
    assert_eq!(mode(&data), 0o700);
    let env = start.write(".env", "APP_HOST=127.0.0.1\n");
    let open: Vec<_> = FILES
        .iter()
        .map(|file| data.join(file))
        .chain([env, data.clone()])
        .collect();
    for path in &open {
        set_mode(path, if path.is_dir() { 0o777 } else { 0o666 });
    }
    let log = start.served(EMITTER).await.ended().await;
    for path in &open {
        assert_eq!(mode(path) & 0o077, 0, "{}", path.display());
        let name = path.file_name().unwrap().to_str().unwrap();
        let said =
            |line: &str| line.contains("WARN") && line.contains(&format!("{name} ")) && line.contains("66");
        let folder = |line: &str| line.contains("WARN") && line.contains("/data ") && line.contains("777");
        assert!(
            log.lines().any(|line| said(line) || folder(line)),
            "{name}: {log}"
        );
    }
    let quiet = start.served(EMITTER).await.ended().await;
    assert!(!quiet.contains("open to other users"), "{quiet}");
}

async fn a17_a_link_in_the_place_of_a_file_is_not_followed(_: Ctx) {
    for file in [
        "pms.db",
        "pms.db-wal",
        "pms.db-shm",
        "pms.db.lock",
        "document-digest.key",
    ] {
        for target in ["there", "nowhere"] {
            let start = Start::new();
            let data = start.folder().join("data");
            fs::create_dir(&data).unwrap();
            let there = start.write("there", "canary-canary-canary");
            symlink(start.folder().join(target), data.join(file)).unwrap();
            let said = start.refused(EMITTER).await;
            assert!(said.contains(&format!("{file}: it is a link")), "{said}");
            assert_eq!(fs::read(&there).unwrap(), b"canary-canary-canary");
            assert!(!start.folder().join("nowhere").exists(), "{file}");
        }
    }
    let start = Start::new().without("MASTER_KEY");
    let data = start.folder().join("data");
    fs::create_dir(&data).unwrap();
    symlink(start.folder().join("nowhere"), data.join("master.key")).unwrap();
    let said = start.refused(RECEIVER).await;
    assert!(
        said.starts_with("error: MASTER_KEY: ") && said.contains("it is a link"),
        "{said}"
    );
    let start = Start::new().without("WEBHOOK_SHARED_SECRET");
    let elsewhere = start.folder().join("../elsewhere");
    fs::write(&elsewhere, format!("WEBHOOK_SHARED_SECRET={KEY}\n")).unwrap();
    symlink(&elsewhere, start.folder().join(".env")).unwrap();
    let said = start.refused(RECEIVER).await;
    assert!(said.contains("/.env: it is a link"), "{said}");
    // A folder or a pipe is no file either.
    let start = Start::new();
    fs::create_dir_all(start.folder().join("data/crm.db")).unwrap();
    let said = start.refused(RECEIVER).await;
    assert!(said.contains("crm.db: it is no file"), "{said}");
}

/// Only root can give a file to another user, as the suite mostly is.
async fn a17_another_users_files_are_refused(_: Ctx) {
    const ANOTHER: u32 = 54_321;
    let probe = tempfile::NamedTempFile::new().unwrap();
    if chown(probe.path(), Some(ANOTHER), None).is_err() {
        return;
    }
    for file in FILES.iter().copied().chain([""]) {
        let start = Start::new();
        start.served(EMITTER).await.ended().await;
        let path = start.folder().join("data").join(file);
        chown(&path, Some(ANOTHER), None).unwrap();
        let said = start.refused(EMITTER).await;
        let name = path
            .components()
            .next_back()
            .unwrap()
            .as_os_str()
            .to_str()
            .unwrap();
        assert!(
            said.contains(&format!("{name}: it belongs to another user ({ANOTHER})")),
            "{said}"
        );
    }
    for program in BOTH {
        let start = Start::new();
        let env = start.write(".env", "A=1\n");
        chown(&env, Some(ANOTHER), None).unwrap();
        let said = start.refused(program).await;
        assert!(said.contains("/.env: it belongs to another user"), "{said}");
    }
}

async fn a17_the_data_folder_may_be_a_link(_: Ctx) {
    for program in BOTH {
        let start = Start::new();
        let volume = start.folder().join("../volume");
        fs::create_dir(&volume).unwrap();
        set_mode(&volume, 0o755);
        symlink(&volume, start.folder().join("data")).unwrap();
        let log = start.served(program).await.ended().await;
        assert_eq!(mode(&volume), 0o700, "{log}");
        assert!(volume.read_dir().unwrap().count() > 0);
    }
}
