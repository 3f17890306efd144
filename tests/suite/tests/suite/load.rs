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
        every_event_that_is_published_arrives,
        an_attack_is_answered_and_what_it_leaves_is_counted,
        a_stream_has_both_messages_of_every_event_of_a_load,
        sources_are_answered_beside_one_that_sends_more_than_its_share,
        dead_letters_are_all_applied_beside_live_events,
        events_are_accepted_beside_a_purge,
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

async fn every_event_that_is_published_arrives(ctx: Ctx) {
    for (via, answers) in [("events", 60), ("batch", 6)] {
        let command =
            format!("load --target emitter --via {via} --connections 4 --rate {answers} --seconds 1");
        let report = writes::emitter(&options(&command), &stage(&ctx)).await.unwrap();
        assert_eq!(report.faults, Vec::<String>::new());
        assert_eq!(report.load.answers, [(202, answers)].into());
    }
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

async fn a_stream_has_both_messages_of_every_event_of_a_load(ctx: Ctx) {
    let options = options("load --connections 8 --rate 300 --seconds 1 --sources 3 --stream");
    let report = session::receiver(&options, &stage(&ctx)).await.unwrap();
    assert_eq!(report.faults, Vec::<String>::new());
    let receiver = &report.rounds[0].receiver;
    let stream = receiver.stream.as_ref().unwrap();
    assert_eq!(
        (stream.messages, stream.cuts),
        (2 * receiver.load.answers[&202], 0)
    );
}

async fn sources_are_answered_beside_one_that_sends_more_than_its_share(ctx: Ctx) {
    let options = options("load --connections 4 --seconds 1 --pool 100 --greedy 8");
    let report = session::receiver(&options, &stage(&ctx)).await.unwrap();
    assert_eq!(report.faults, Vec::<String>::new());
    let greedy = report.greedy.unwrap();
    // How many it is in so short a time is up to the machine. Of so few connections a source may have more than its share of the
    // queue at a time.
    for load in [&greedy.others.alone, &greedy.others.beside, &greedy.greedy] {
        assert!(
            load.answers.keys().all(|status| [202, 429].contains(status)),
            "{greedy}"
        );
        assert!(load.answers[&202] > 0, "{greedy}");
    }
}

async fn dead_letters_are_all_applied_beside_live_events(ctx: Ctx) {
    let options = options("load --connections 4 --seconds 1 --pool 100 --requeue 150");
    let report = session::receiver(&options, &stage(&ctx)).await.unwrap();
    assert_eq!(report.faults, Vec::<String>::new());
    let requeue = report.requeue.unwrap();
    assert_eq!(requeue.dead_letters, 150);
    for load in [&requeue.compared.alone, &requeue.compared.beside] {
        assert_eq!(load.answers.keys().collect::<Vec<_>>(), [&202]);
    }
    assert!(requeue.whole_seconds > 0.0, "{requeue}");
}

async fn events_are_accepted_beside_a_purge(ctx: Ctx) {
    let options = options("load --connections 4 --seconds 1 --pool 100 --purge 1000");
    let mut report = session::receiver(&options, &stage(&ctx)).await.unwrap();
    // How much is purged during so short a load is up to the machine.
    report
        .faults
        .retain(|fault| !fault.starts_with("nothing was purged"));
    assert_eq!(report.faults, Vec::<String>::new());
    let purge = report.purge.unwrap();
    for load in [&purge.compared.alone, &purge.compared.beside] {
        assert_eq!(load.answers.keys().collect::<Vec<_>>(), [&202]);
    }
}
