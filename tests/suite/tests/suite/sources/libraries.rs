//! What published libraries of other senders sign is taken, and a flip of any part is not: `tests/foreign` runs them.

use super::asked;
use crate::case::{Case, Ctx, On};
use crate::ingest::Receiver;
use harness::config::BASE_PATH;
use harness::engine::Servers;
use harness::signer::Delivery;
use serde::Deserialize;
use serde_json::json;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use tokio::process::Command;

/// Where the libraries are not installed the case is left out, but on CI machines.
pub fn cases() -> Vec<Case> {
    let case = Case::new(
        module_path!(),
        "what_published_libraries_sign_is_taken_and_its_flips_are_not",
        On::Both,
        what_published_libraries_sign_is_taken_and_its_flips_are_not,
    );
    vec![case.ignored_unless(folder().join("node_modules").exists() || Servers::is_on_ci())]
}

/// A request as a library signed it.
#[derive(Deserialize)]
struct Signed {
    library: String,
    scheme: String,
    secret: String,
    headers: BTreeMap<String, String>,
    body: String,
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../foreign")
}

/// The value with another digit in its middle: still well-formed, so that it comes to be compared.
pub(super) fn flipped(value: &str) -> String {
    let mut bytes = value.as_bytes().to_vec();
    let middle = bytes.len() / 2;
    bytes[middle] = if bytes[middle] == b'1' { b'2' } else { b'1' };
    String::from_utf8(bytes).unwrap()
}

async fn requests(seconds: i64) -> Vec<Signed> {
    let run = Command::new("node")
        .arg("requests.mjs")
        .arg(seconds.to_string())
        .current_dir(folder())
        .output()
        .await
        .expect("node is installed");
    assert!(run.status.success(), "{}", String::from_utf8_lossy(&run.stderr));
    serde_json::from_slice(&run.stdout).unwrap()
}

async fn what_published_libraries_sign_is_taken_and_its_flips_are_not(ctx: Ctx) {
    let receiver = Receiver::start(&ctx).await;
    let requests = requests(receiver.seconds().0).await;
    let libraries: BTreeSet<_> = requests.iter().map(|signed| signed.library.as_str()).collect();
    assert_eq!(libraries.len(), 4, "{libraries:?}");
    for (number, signed) in requests.iter().enumerate() {
        // A source for each: no two may have one secret, and the last one is gone.
        let id = format!("s{number}");
        let body = json!({"id": id, "name": id, "property_ids": "*", "scheme": signed.scheme});
        asked(&receiver, "POST", "/sources", Some(body), 201).await;
        let secret = json!({"secret": signed.secret});
        asked(
            &receiver,
            "POST",
            &format!("/sources/{id}/rotate-secret"),
            Some(secret),
            201,
        )
        .await;
        let genuine = signed.headers.iter().fold(
            Delivery::bare("POST", format!("{BASE_PATH}/webhooks/{id}"))
                .with("content-type", "application/json")
                .with_body(signed.body.clone()),
            |delivery, (name, value)| delivery.with(name, value),
        );
        let mut changed = signed.body.clone().into_bytes();
        let middle = changed.len() / 2;
        changed[middle] ^= 1;
        let refused = receiver.send(&genuine.clone().with_body(changed)).await;
        assert_eq!(refused.status, 401, "{}", signed.library);
        for (name, value) in signed
            .headers
            .iter()
            .filter(|(name, _)| *name != "x-github-event")
        {
            let other = flipped(value);
            let answer = receiver.send(&genuine.clone().with(name, other)).await;
            assert_eq!(answer.status, 401, "{} {name}", signed.library);
        }
        let taken = receiver.send(&genuine).await;
        assert!(
            [200, 202].contains(&taken.status),
            "{} {}",
            signed.library,
            taken.json()
        );
        asked(&receiver, "DELETE", &format!("/sources/{id}"), None, 204).await;
    }
    receiver.stop().await;
}
