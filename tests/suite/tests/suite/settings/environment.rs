//! Secrets and `.env`: what a file or a variable says is what the service has.

use super::{BOTH, EMITTER, KEY, RECEIVER, Start};
use crate::case::{Case, Ctx, cases};
use std::fs;

pub fn cases() -> Vec<Case> {
    cases![free;
        case22_a_damaged_standard_secret_keeps_both_services_from_starting,
        case23_a_value_of_a_file_is_its_text,
        case24_only_the_working_folders_file_is_read,
        case24_a_file_that_cannot_be_read_is_named,
    ]
}

const URL: &str = "http://127.0.0.1:1/api/v1/webhooks/pms";

async fn case22_a_damaged_standard_secret_keeps_both_services_from_starting(_: Ctx) {
    let canary = "whsec_Y2FuYXJ5LWNhbmFyeS1jYW5hcnktY2FuYXJ5LWNhbmFyeSE=";
    let key = &canary[6..];
    for (damaged, named) in [
        (format!("v1,{canary}"), "v1,"),
        (format!("WHSEC_{key}"), "whsec_"),
        (format!("whsec-{key}"), "whsec_"),
        (format!("'{canary}'"), "quotes"),
        (format!("Bearer {canary}"), "beside"),
        (format!("whsk_{key}"), "asymmetric"),
        (format!("{canary}\u{200b}"), "invisible"),
        (canary.trim_end_matches('=').to_owned(), "base64"),
        (format!("SECRET={canary}"), "whsec_"),
    ] {
        let receiver = Start::new().with("WEBHOOK_SHARED_SECRET", &damaged);
        let emitter = Start::new()
            .with("CRM_WEBHOOK_URL", URL)
            .with("CRM_WEBHOOK_SECRET", &damaged);
        for (start, program, variable) in [
            (receiver, RECEIVER, "WEBHOOK_SHARED_SECRET"),
            (emitter, EMITTER, "CRM_WEBHOOK_SECRET"),
        ] {
            let said = start.refused(program).await;
            assert!(said.starts_with(&format!("error: {variable}: ")), "{said}");
            assert!(
                said.contains(named) && !said.contains(&key[..8]),
                "{damaged}: {said}"
            );
        }
    }
    for whole in [format!(" {canary}\n"), format!("{KEY} a-plain-secret-beside-it")] {
        let start = Start::new().with("WEBHOOK_SHARED_SECRET", whole);
        start.served(RECEIVER).await.ended().await;
    }
}

/// The part before the dollar is too short to be a secret, so a service that expands it does not start.
async fn case23_a_value_of_a_file_is_its_text(_: Ctx) {
    for line in [
        "WEBHOOK_SHARED_SECRET=abcdef$uvwxyz-0123456789",
        "WEBHOOK_SHARED_SECRET=\"${abcdef}$(uvwxyz)0\"",
        "export WEBHOOK_SHARED_SECRET='ab#$c def-0123456789'",
        "WEBHOOK_SHARED_SECRET = abcdef$uvwxyz-0123456789 # a comment\r",
    ] {
        let start = Start::new().without("WEBHOOK_SHARED_SECRET");
        start.write(".env", format!("# secrets\n\n{line}\n"));
        let said = if line.contains("c def") {
            // Two words are two secrets, and each is whole.
            start.refused(RECEIVER).await
        } else {
            start.served(RECEIVER).await.ended().await
        };
        assert_eq!(
            said.contains("a plain secret must have"),
            line.contains("c def"),
            "{said}"
        );
    }
}

async fn case24_only_the_working_folders_file_is_read(_: Ctx) {
    let start = Start::new().with("CRM_WEBHOOK_URL", URL);
    let above = start.folder().join("../.env");
    fs::write(&above, format!("CRM_WEBHOOK_SECRET={KEY}\nAPP_PORT=canary\n")).unwrap();
    let said = start.refused(EMITTER).await;
    assert_eq!(
        said,
        "error: CRM_WEBHOOK_SECRET: it is required with CRM_WEBHOOK_URL, and not set"
    );
    start.write(
        ".env",
        format!("\u{feff}CRM_WEBHOOK_SECRET={KEY}\r\nAPP_HOST=\"127.0.0.1\"\r\n"),
    );
    start.served(EMITTER).await.ended().await;
}

async fn case24_a_file_that_cannot_be_read_is_named(_: Ctx) {
    for (contents, problem) in [
        (&b"A=1\nB\nSECRET=canary\n"[..], "line 2 cannot be read"),
        (b"A=1\n\nSECRET='canary\n", "line 3 cannot be read"),
        (b"SECRET=\"canary\" canary\n", "line 1 cannot be read"),
        (b"SECRET=canary\xff\n", "line 1 cannot be read"),
        (b"\xff\xfeS\0E\0C\0", "it is UTF-16"),
    ] {
        let start = Start::new();
        let path = start.write(".env", contents).canonicalize().unwrap();
        for program in BOTH {
            let said = start.refused(program).await;
            assert!(
                said.starts_with(&format!("error: {}: {problem}", path.display())),
                "{said}"
            );
        }
    }
    let start = Start::new();
    fs::create_dir(start.folder().join(".env")).unwrap();
    let said = start.refused(EMITTER).await;
    assert!(said.contains("/.env: it is no file"), "{said}");
}
