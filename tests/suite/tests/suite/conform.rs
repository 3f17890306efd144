//! `conform` against our receiver, which passes, and against wrong ones, each of which it finds.

use crate::case::{Case, Ctx, cases};
use crate::ingest::{Receiver, SECRET};
use conform::case::{Expected, STANDARD_WEBHOOKS};
use conform::delivery::{Key, Sender};
use conform::run::{Outcome, client, run};
use harness::config::BASE_PATH;
use harness::receiver_double::{Answer, ReceiverDouble};

pub fn cases() -> Vec<Case> {
    let mut all = cases![our_receiver_conforms];
    all.extend(cases![free; a_receiver_that_looks_at_nothing_or_takes_nothing_is_found]);
    all
}

/// What `pms` allows.
const TOLERANCE_SECONDS: u32 = 1_800;
/// Where the receiver's clock stands.
const NOW: fn() -> i64 = || crate::ingest::NOW.0;

fn names(outcomes: &[Outcome], is: impl Fn(&Outcome) -> bool) -> Vec<&str> {
    outcomes
        .iter()
        .filter(|outcome| is(outcome))
        .map(|outcome| outcome.case.name.as_str())
        .collect()
}

fn is_good(outcome: &Outcome) -> bool {
    outcome.case.expect == [Expected::Class(2)]
}

/// The cases that did not pass.
async fn failed(url: &str, secret: &str, tolerance_seconds: u32) -> Vec<Outcome> {
    let sender = Sender {
        key: Key::read(secret).unwrap(),
        body: include_str!("../../../conform/cases/body.json").to_owned(),
        tolerance_seconds,
    };
    let (cases, mut lines) = (conform::case::read(STANDARD_WEBHOOKS).unwrap(), Vec::new());
    let all = cases.len();
    let (client, url) = (client().unwrap(), url.parse().unwrap());
    let outcomes = run(&client, &url, &sender, cases, NOW, |outcome| {
        lines.push(outcome.to_string());
    })
    .await;
    assert_eq!(lines.len(), all, "a line for each");
    for (line, outcome) in lines.iter().zip(&outcomes) {
        let begins = if outcome.passed() { "pass  " } else { "FAIL  " };
        assert!(
            line.starts_with(begins) && line.contains(&outcome.case.name),
            "{line}"
        );
    }
    outcomes.into_iter().filter(|outcome| !outcome.passed()).collect()
}

async fn our_receiver_conforms(ctx: Ctx) {
    let receiver = Receiver::start(&ctx).await;
    let url = format!("http://{}{BASE_PATH}/webhooks/pms", receiver.address);
    let nothing: [&str; 0] = [];
    let wrong = failed(&url, SECRET, TOLERANCE_SECONDS).await;
    assert_eq!(names(&wrong, |_| true), nothing, "{wrong:?}");
    // A tolerance larger than what was agreed on is found, and nothing else is.
    let wrong = failed(&url, SECRET, TOLERANCE_SECONDS / 6).await;
    assert_eq!(names(&wrong, |_| true), ["skewed-behind", "skewed-ahead"]);
    receiver.stop().await;
}

async fn a_receiver_that_looks_at_nothing_or_takes_nothing_is_found(_: Ctx) {
    let double = ReceiverDouble::start().await.unwrap();
    let cases = conform::case::read(STANDARD_WEBHOOKS).unwrap().len();
    let wrong = failed(&double.url(), SECRET, TOLERANCE_SECONDS).await;
    assert_eq!(names(&wrong, is_good).len(), 0);
    let refused = wrong.len();
    double.otherwise(Answer::status(401));
    let wrong = failed(&double.url(), SECRET, TOLERANCE_SECONDS).await;
    assert_eq!(
        (names(&wrong, is_good).len(), wrong.len()),
        (wrong.len(), cases - refused)
    );
    double.otherwise(Answer::status(500));
    assert_eq!(
        failed(&double.url(), SECRET, TOLERANCE_SECONDS).await.len(),
        cases
    );
    let url = double.url();
    drop(double);
    let wrong = failed(&url, SECRET, TOLERANCE_SECONDS).await;
    assert!(
        wrong.len() == cases && wrong[0].to_string().contains("no connection"),
        "{}",
        wrong[0]
    );
}
