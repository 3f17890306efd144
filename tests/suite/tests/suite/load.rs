//! A moment of every load: what the generator was answered is what the tables hold, on processes as in a measurement.

use clap::Parser;
use harness::config::fresh_secret;
use load::options::Options;
use load::service::Stage;
use load::{hostile, session, writes};

use crate::case::{Case, Ctx, cases};
use crate::programs;

pub fn cases() -> Vec<Case> {
    cases![
        every_signed_event_is_accepted_and_applied,
        every_write_is_applied_in_the_crm,
        an_attack_is_answered_and_what_it_leaves_is_counted,
    ]
}

fn stage(ctx: &Ctx) -> Stage<'_> {
    Stage {
        program: programs::FILE.into(),
        servers: &ctx.servers,
        engine: ctx.engine,
        secret: fresh_secret(),
        log_level: "error".to_owned(),
    }
}

fn options(line: &str) -> Options {
    let options = Options::try_parse_from(line.split(' ')).unwrap();
    options.check().unwrap();
    options
}

async fn every_signed_event_is_accepted_and_applied(ctx: Ctx) {
    let options = options("load --connections 8 --rate 300 --seconds 1 --baseline");
    let report = session::receiver(&options, &stage(&ctx)).await.unwrap();
    assert_eq!(report.faults, Vec::<String>::new());
    let round = &report.rounds[0];
    for load in [round.bare.as_ref().unwrap(), &round.receiver.load] {
        assert_eq!(load.answers, [(202, 300)].into());
    }
    assert_eq!(round.receiver.inbox.values().sum::<u64>(), 300);
}

async fn every_write_is_applied_in_the_crm(ctx: Ctx) {
    let options = options("load --target e2e --connections 4 --rate 60 --seconds 1");
    let report = writes::end_to_end(&options, &stage(&ctx)).await.unwrap();
    assert_eq!(report.faults, Vec::<String>::new());
    assert_eq!(report.load.answers.values().sum::<u64>(), 60);
    assert!(report.arrival_ms.max > 0.0, "{report}");
}

async fn an_attack_is_answered_and_what_it_leaves_is_counted(ctx: Ctx) {
    let command = format!("load --hostile keys --seconds 2 --engine {}", ctx.engine.name());
    let options = options(&command);
    let attack = options.hostile.unwrap();
    let report = hostile::attack(attack, &options, &stage(&ctx)).await.unwrap();
    let lines: Vec<_> = report
        .services
        .values()
        .flat_map(|service| &service.lines)
        .collect();
    assert_eq!(lines.len(), 3, "{report}");
    for line in lines {
        let load = line.load.as_ref().unwrap();
        assert!(load.is_good() && !load.answers.is_empty(), "{report}");
        assert!(line.growth.is_some(), "{report}");
    }
}
