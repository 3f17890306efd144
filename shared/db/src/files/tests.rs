use super::*;
use std::os::unix::fs::symlink;
use tempfile::TempDir;

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().mode() & 0o7777
}

fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
}

fn file_in(folder: &TempDir, name: &str, mode: u32) -> PathBuf {
    let path = folder.path().join(name);
    fs::write(&path, "secret").unwrap();
    set_mode(&path, mode);
    path
}

#[test]
fn a17_a_file_of_ours_is_closed_to_others_and_a_link_is_not_followed() {
    let folder = tempfile::tempdir().unwrap();
    for (was, is) in [
        (0o600, 0o600),
        (0o400, 0o400),
        (0o644, 0o600),
        (0o666, 0o600),
        (0o640, 0o600),
    ] {
        let path = file_in(&folder, "key", was);
        let read = read(&path, 6).unwrap().unwrap();
        assert_eq!(
            (read.bytes.as_slice(), mode(&path)),
            (&b"secret"[..], is),
            "{was:o}"
        );
        assert_eq!(read.tightened.is_some(), was != is, "{was:o}");
        set_mode(&path, was);
        close_to_others(&path).unwrap();
        assert_eq!(mode(&path), is, "{was:o}");
        fs::remove_file(&path).unwrap();
    }
    let target = file_in(&folder, "target", 0o644);
    let link = folder.path().join("link");
    symlink(&target, &link).unwrap();
    let dangling = folder.path().join("dangling");
    symlink(folder.path().join("nowhere"), &dangling).unwrap();
    for link in [&link, &dangling] {
        for refused in [
            read(link, 6).unwrap_err(),
            open_or_make(link).unwrap_err(),
            close_to_others(link).unwrap_err(),
        ] {
            assert!(refused.to_string().contains("it is a link"), "{refused}");
        }
    }
    assert_eq!(mode(&target), 0o644, "what a link leads to is left alone");
    assert!(!folder.path().join("nowhere").exists());
}

#[test]
fn a17_only_a_file_with_one_name_is_used() {
    let folder = tempfile::tempdir().unwrap();
    assert!(read(&folder.path().join("none"), 6).unwrap().is_none());
    close_to_others(&folder.path().join("none")).unwrap();
    let made = folder.path().join("made");
    open_or_make(&made).unwrap();
    assert_eq!(mode(&made), 0o600);
    for refused in [
        read(folder.path(), 6).unwrap_err(),
        close_to_others(folder.path()).unwrap_err(),
    ] {
        assert!(refused.to_string().ends_with("it is no file"), "{refused}");
    }
    let file = file_in(&folder, "file", 0o600);
    assert!(
        read(&file, 5)
            .unwrap_err()
            .to_string()
            .ends_with("longer than 5 bytes")
    );
    fs::hard_link(&file, folder.path().join("second")).unwrap();
    assert!(
        close_to_others(&file)
            .unwrap_err()
            .to_string()
            .contains("second name")
    );
}

#[test]
fn a17_what_is_neither_ours_nor_roots_alone_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = file_in(&folder, "file", 0o600);
    let found = |mode: u32| {
        set_mode(&path, mode);
        fs::metadata(&path).unwrap()
    };
    let (owner, group) = (found(0o600).uid(), found(0o600).gid());
    let me = |user: u32, groups: &[u32]| ProcessUser {
        user,
        groups: groups.to_vec(),
    };
    assert!(
        me(owner, &[]).may_use(&found(0o666), OF_OTHERS).is_ok(),
        "it can be tightened"
    );
    if owner == 0 {
        let other = me(10_001, &[10_001]);
        assert!(other.may_use(&found(0o600), OF_OTHERS).is_ok(), "root's alone");
        assert!(matches!(
            other.may_use(&found(0o604), OF_OTHERS),
            Err(Problem::Open(0o604))
        ));
        assert!(matches!(
            other.may_use(&found(0o640), OF_OTHERS),
            Err(Problem::Open(0o640))
        ));
        assert!(
            other.may_use(&found(0o755), WRITE_OF_OTHERS).is_ok(),
            "a folder that root alone writes to"
        );
        let member = me(10_001, &[10_001, group]);
        assert!(
            member.may_use(&found(0o660), OF_OTHERS).is_ok(),
            "given to a group of ours"
        );
        assert!(matches!(
            member.may_use(&found(0o664), OF_OTHERS),
            Err(Problem::Open(_))
        ));
        // Somebody else's, which root is not excepted from.
        std::os::unix::fs::chown(&path, Some(10_002), None).unwrap();
        for user in [0, 10_001] {
            let refused = me(user, &[group]).may_use(&found(0o600), OF_OTHERS);
            assert!(matches!(refused, Err(Problem::AnotherUsers(10_002))));
        }
        assert!(
            read(&path, 6)
                .unwrap_err()
                .to_string()
                .contains("another user (10002)")
        );
    }
}

#[test]
fn a17_a_folder_is_closed_as_far_as_it_is_ours_alone() {
    let outer = tempfile::tempdir().unwrap();
    let data = outer.path().join("some").join("data");
    assert_eq!(folder(&data).unwrap(), data.canonicalize().unwrap());
    assert_eq!((mode(&data), mode(data.parent().unwrap())), (0o700, 0o700));
    for (was, is) in [
        (0o700, 0o700),
        (0o755, 0o700),
        (0o777, 0o700),
        (0o770, 0o700),
        (0o1777, 0o1777),
    ] {
        set_mode(&data, was);
        folder(&data).unwrap();
        assert_eq!(mode(&data), is, "{was:o}");
    }
    fs::create_dir(data.join("more")).unwrap();
    for (was, is) in [(0o755, 0o755), (0o777, 0o755)] {
        set_mode(&data, was);
        folder(&data).unwrap();
        assert_eq!(mode(&data), is, "{was:o}, with a folder in it");
    }
    // A volume is a link to a folder elsewhere.
    let link = outer.path().join("link");
    symlink(&data, &link).unwrap();
    assert_eq!(folder(&link).unwrap(), data.canonicalize().unwrap());
    let file = outer.path().join("file");
    fs::write(&file, "").unwrap();
    assert!(folder(&file).is_err());
}
