//! What is delivered is verified by others: by published libraries, as guides of other receivers say, and by the programs in
//! `docs/verify`. A changed byte is not.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use contract::Clock;
use harness::engine::Servers;
use harness::receiver_double::{Received, ReceiverDouble};
use kit::random::SystemClock;
use serde_json::json;
use tokio::io::AsyncWriteExt;
use tokio::process::Command;

use super::{guest, subscribe, until_count};
use crate::case::{Case, Ctx, On, cases};
use crate::pms::Pms;

#[path = "../../../../../docs/verify/verify.rs"]
mod documented;

/// No scheme waits longer before its first attempt.
const FIRST_WAIT_MAX: Duration = Duration::from_secs(1);

/// Where the libraries are not installed their case is left out, but on CI machines.
pub fn cases() -> Vec<Case> {
    let case = Case::new(
        module_path!(),
        "published_libraries_and_guides_take_what_is_delivered",
        On::Both,
        published_libraries_and_guides_take_what_is_delivered,
    );
    let installed = ["node_modules", "python"]
        .iter()
        .all(|name| foreign().join(name).exists());
    let mut all = vec![case.ignored_unless(installed || Servers::is_on_ci())];
    all.extend(cases![the_programs_of_the_documents_take_what_is_delivered]);
    all
}

fn foreign() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../foreign")
}

/// A delivery as it arrived, made now: the libraries ask the system's clock.
struct Delivered {
    secret: String,
    headers: BTreeMap<String, String>,
    body: Vec<u8>,
}

impl Delivered {
    async fn under(ctx: &Ctx, scheme: &str) -> Self {
        let pms = Pms::start_at(ctx, SystemClock.now()).await;
        let double = ReceiverDouble::start().await.unwrap();
        let made = subscribe(&pms, &double, json!({"scheme": scheme})).await;
        let path = format!("/webhooks/{}", made.id());
        // Both sign where the scheme has room for two.
        let rotated = pms
            .post(&format!("{path}/rotate-secret"), &json!({}))
            .await
            .expect(201);
        guest(&pms, "Ålesund – 東京").await;
        until_count(&pms, "it is queued", "SELECT COUNT(*) AS n FROM deliveries", 1).await;
        // Some schemes wait before the first attempt.
        pms.clock.advance(FIRST_WAIT_MAX);
        let received: Received = double.wait_for(1).await.remove(0);
        pms.stop().await;
        let header = |(name, value): (&http::HeaderName, &http::HeaderValue)| {
            (name.to_string(), value.to_str().unwrap().to_owned())
        };
        Self {
            secret: rotated.body["secret"].as_str().unwrap().to_owned(),
            headers: received.headers.iter().map(header).collect(),
            body: received.body.to_vec(),
        }
    }

    /// The same with another byte in its body.
    fn changed(&self) -> Vec<u8> {
        let mut changed = self.body.clone();
        let middle = changed.iter().position(|byte| *byte == b'g').unwrap();
        changed[middle] = b'h';
        changed
    }
}

/// What a program prints, and whether it ended with 0.
async fn run(program: &str, arguments: &[&str], folder: &Path, input: &[u8]) -> (String, bool) {
    let mut child = Command::new(program)
        .args(arguments)
        .current_dir(folder)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap_or_else(|error| panic!("{program}: {error}"));
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(input).await.unwrap();
    drop(stdin);
    let output = child.wait_with_output().await.unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    (said, output.status.success())
}

async fn published_libraries_and_guides_take_what_is_delivered(ctx: Ctx) {
    for (scheme, programs, expected) in [
        (
            "standard-webhooks",
            &[("node", "verify.mjs"), ("python3", "verify.py")][..],
            &[
                "standardwebhooks (Node)",
                "svix (Node)",
                "standardwebhooks (Python)",
                "svix (Python)",
            ][..],
        ),
        ("lokroom", &[("node", "verify.mjs")][..], &["LokRoom's guide"][..]),
        (
            "powalyze",
            &[("node", "verify.mjs")][..],
            &["Powalyze's guide"][..],
        ),
    ] {
        let other = ctx.servers.fresh(ctx.engine, "verifiers").await.unwrap();
        let own = Ctx {
            database: other.into(),
            ..ctx.clone()
        };
        let delivered = Delivered::under(&own, scheme).await;
        let mut took = Vec::new();
        for (body, is_genuine) in [(delivered.body.clone(), true), (delivered.changed(), false)] {
            let input = json!({
                "scheme": scheme,
                "secret": delivered.secret,
                "headers": delivered.headers,
                "body": String::from_utf8(body).unwrap(),
            });
            for (program, script) in programs {
                let (said, ended_well) =
                    run(program, &[script], &foreign(), input.to_string().as_bytes()).await;
                assert!(ended_well, "{script}");
                if is_genuine {
                    took.extend(said.lines().map(ToOwned::to_owned));
                } else {
                    assert_eq!(said, "", "{scheme}");
                }
            }
        }
        assert_eq!(took, expected, "{scheme}");
    }
}

async fn the_programs_of_the_documents_take_what_is_delivered(ctx: Ctx) {
    let delivered = Delivered::under(&ctx, "standard-webhooks").await;
    let header = |name: &str| delivered.headers[name].as_str();
    let arguments = [
        delivered.secret.as_str(),
        header("webhook-id"),
        header("webhook-timestamp"),
        header("webhook-signature"),
    ];
    let [secret, id, timestamp, signatures] = arguments;
    let now = SystemClock.now().seconds().0.unsigned_abs();
    let rust = |body: &[u8], now| documented::verify(secret, id, timestamp, signatures, body, now);
    assert!(rust(&delivered.body, now));
    assert!(!rust(&delivered.changed(), now));
    assert!(!rust(&delivered.body, now + 1_000));
    assert!(!documented::verify(
        "another-secret-of-it",
        id,
        timestamp,
        signatures,
        &delivered.body,
        now
    ));

    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/verify");
    let mut ran = 0;
    for (program, before, file) in [
        ("python3", &[][..], "verify.py"),
        ("node", &[][..], "verify.mjs"),
        ("php", &[][..], "verify.php"),
        ("go", &["run"][..], "verify.go"),
        ("java", &[][..], "Verify.java"),
    ] {
        let asked = Command::new("sh")
            .args(["-c", &format!("command -v {program}")])
            .output()
            .await;
        if !asked.unwrap().status.success() {
            continue;
        }
        ran += 1;
        let with = |signatures| {
            let own = [file, secret, id, timestamp, signatures];
            before.iter().copied().chain(own).collect::<Vec<_>>()
        };
        let (_, takes) = run(program, &with(signatures), &folder, &delivered.body).await;
        assert!(takes, "{file}");
        let (_, takes_changed) = run(program, &with(signatures), &folder, &delivered.changed()).await;
        assert!(!takes_changed, "{file}");
        let (_, takes_none) = run(program, &with("v1,AAAA"), &folder, &delivered.body).await;
        assert!(!takes_none, "{file}");
    }
    assert!(ran > 0 || !Servers::is_on_ci(), "no interpreter is there");
}
