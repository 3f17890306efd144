//! Row A18: a flag is read by every user of the machine.

use crate::case::{Case, Ctx, cases};
use crate::programs;
use crate::settings::{BOTH, EMITTER, RECEIVER, Start};
use harness::program::Program;
use tokio::process::Command;

pub fn cases() -> Vec<Case> {
    cases![free; a18_no_secret_is_taken_from_a_flag]
}

async fn a18_no_secret_is_taken_from_a_flag(_: Ctx) {
    let secret = "canary-that-is-long-enough";
    let address = "mysql://app:canary@127.0.0.1:1/crm";
    for (program, flag, value) in [
        (RECEIVER, "--webhook-shared-secret", secret),
        (EMITTER, "--crm-webhook-secret", secret),
        (EMITTER, "--document-digest-key", secret),
        (EMITTER, "--egress-proxy", "http://app:canary@127.0.0.1:1"),
        (RECEIVER, "--master-key", secret),
        (RECEIVER, "--db-pass", secret),
        (EMITTER, "--db-pass", secret),
        (RECEIVER, "--database-url", address),
        (EMITTER, "--database-url", address),
        (EMITTER, "--database-url", "postgres://app:canary@127.0.0.1:1/crm"),
    ] {
        let variable = flag[2..].to_uppercase().replace('-', "_");
        let joined = format!("{flag}={value}");
        for arguments in [
            &[flag, value][..],
            &[&joined],
            &["serve", flag, value],
            &["migrate", &joined],
            &["healthcheck", &joined],
            &["--log-level", "off", flag, value],
        ] {
            let said = Start::new().arguments(arguments).refused(program).await;
            assert!(
                said.starts_with(&format!("error: {variable}: ")),
                "{arguments:?}: {said}"
            );
            assert!(said.contains(&format!("set the variable {variable}")), "{said}");
        }
    }
    // Without a password an address is no secret, and the help shows none of the flags.
    let start = Start::new().arguments(&["--database-url", "sqlite://x.db"]);
    start.served(EMITTER).await.ended().await;
    for program in BOTH {
        let help = Command::from(Program::new(programs::FILE, program).command())
            .arg("--help")
            .output()
            .await
            .unwrap();
        let help = String::from_utf8(help.stdout).unwrap();
        for flag in ["secret ", "--db-pass", "--document-digest-key"] {
            assert!(
                !help.contains(&format!("--webhook-shared-{flag}")) && !help.contains(&format!("{flag}<")),
                "{help}"
            );
        }
        assert!(!help.contains("--db-pass"), "{help}");
    }
}
