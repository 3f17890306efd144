//! The pages under docs/sources: what each of them says to type is typed, and is taken.

use crate::case::{Case, Ctx, cases};
use crate::programs;
use harness::config::MASTER_KEY;
use harness::process::Process;
use harness::signer::Delivery;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use tokio::process::Command;

pub fn cases() -> Vec<Case> {
    cases![each_page_of_a_preset_does_what_it_says]
}

const KEY: &str = "an-admin-key-of-at-least-32-bytes";
/// One for each preset, and one for a definition of one's own.
const PAGES: usize = 10;

async fn each_page_of_a_preset_does_what_it_says(ctx: Ctx) {
    let folder = tempfile::tempdir().unwrap();
    let variables = [
        ("DATABASE_URL", ctx.database.url().to_owned()),
        ("APP_PORT", "0".to_owned()),
        ("ADMIN_API_KEY", KEY.to_owned()),
        ("MASTER_KEY", MASTER_KEY.to_owned()),
    ];
    let process = Process::start_logging_to(Stdio::null(), &programs::receiver(), folder.path(), &variables)
        .await
        .unwrap();
    let pages = pages();
    assert_eq!(pages.len(), PAGES);
    for page in pages {
        let text = std::fs::read_to_string(&page).unwrap();
        let script = script(&text);
        let run = Command::new("bash")
            .args(["-euo", "pipefail", "-c", &script])
            .env("API", format!("http://{}/api/v1", process.address()))
            .env("KEY", KEY)
            .output()
            .await
            .unwrap();
        let (said, errors) = (
            String::from_utf8_lossy(&run.stdout),
            String::from_utf8_lossy(&run.stderr),
        );
        assert!(run.status.success(), "{}: {said} {errors}", page.display());
        let source = source_of(&text);
        // What this one sends are no events.
        let kind = if source == "job-status" { "jobs" } else { "events" };
        let list = Delivery::bare("GET", format!("/api/v1/{kind}?source={source}")).and("x-api-key", KEY);
        let kept = list.send(process.address()).await.unwrap().json();
        assert_eq!(kept["data"].as_array().unwrap().len(), 1, "{}", page.display());
    }
    assert!(process.stop().await.unwrap().success());
}

fn pages() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/sources");
    let files = std::fs::read_dir(folder).unwrap();
    files.map(|file| file.unwrap().path()).collect()
}

/// The commands of a page, in their order.
fn script(page: &str) -> String {
    let blocks = page.split("```sh\n").skip(1);
    blocks.map(|block| block.split("```").next().unwrap()).collect()
}

/// The source that a page sends as.
fn source_of(page: &str) -> &str {
    let (_, rest) = page.split_once("$API/webhooks/").expect("a page sends something");
    rest.split_once(' ').unwrap().0
}
