//! The demo is interrupted in mid-load: it stops its services, leaves nothing behind, and says which signal it was.

use std::process::Stdio;

use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::Command;

use crate::case::{Case, Ctx, cases};
use crate::programs;

pub fn cases() -> Vec<Case> {
    cases![free; a_signal_in_mid_load_stops_the_demo_and_removes_its_data]
}

async fn a_signal_in_mid_load_stops_the_demo_and_removes_its_data(_: Ctx) {
    for (signal, code) in [("INT", 130), ("TERM", 143)] {
        let folder = tempfile::tempdir().unwrap();
        let mut demo = Command::from(programs::demo().command())
            .env("TMPDIR", folder.path())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let mut said = BufReader::new(demo.stderr.take().unwrap()).lines();
        // The last that it says before its first call.
        while !said
            .next_line()
            .await
            .unwrap()
            .unwrap()
            .contains("invented people")
        {}
        assert_eq!(folder.path().read_dir().unwrap().count(), 1);
        let process = demo.id().unwrap().to_string();
        let sent = Command::new("sh")
            .args(["-c", "kill -s \"$0\" \"$1\"", signal, &process])
            .status();
        assert!(sent.await.unwrap().success());
        // Its pipe stays open until its end.
        while said.next_line().await.unwrap().is_some() {}
        assert_eq!(demo.wait().await.unwrap().code(), Some(code));
        assert_eq!(folder.path().read_dir().unwrap().count(), 0, "{signal}");
    }
}
