//! Row R39: a canary secret and a canary person go through both services at their most talkative, on every way that a
//! request can take. Nothing of them may stand in a log or in an error's answer.
//!
//! Both run as processes of their own, with all that they write kept in files. A panic's message is looked for beside
//! `kit::telemetry`, since nothing that is sent makes either of them panic.

use crate::case::{Case, Ctx, cases};
use crate::ingest::{carry_out, event};
use crate::programs;
use contract::{Clock, SecretList, UnixSeconds};
use harness::{
    config::{BASE_PATH, MASTER_KEY},
    engine::Engine,
    process::{READY, command},
    program::Program,
    signer::{Answer, Delivery},
    waiting::{until, until_some},
};
use kit::random::SystemClock;
use serde_json::{Value, json};
use std::{
    fs::{File, read_to_string},
    net::SocketAddr,
    path::{Path, PathBuf},
    process::Stdio,
    sync::Arc,
};
use tokio::process::Child;

pub fn cases() -> Vec<Case> {
    cases![r39_a_canary_is_in_no_log_and_no_error]
}

/// What every service here shares, and what nobody may ever say.
const SECRET: &str = "canary-of-all-secrets";
/// In any letter case.
const CANARIES: [&str; 4] = ["canary", "912000111", "1977-07-17", "zanzibarova"];

/// A service whose every word is kept.
struct Service {
    _child: Child,
    address: SocketAddr,
    words: [PathBuf; 2],
}

impl Service {
    async fn start(program: &Program, folder: &Path, variables: &[(&str, &str)]) -> Self {
        let words = ["out", "err"].map(|stream| folder.join(format!("{}.{stream}", program.name())));
        let [out, err] = words
            .each_ref()
            .map(|path| Stdio::from(File::create(path).unwrap()));
        let child = command(program, folder, variables.iter().copied())
            .envs([("LOG_LEVEL", "trace"), ("APP_PORT", "0")])
            .stdout(out)
            .stderr(err)
            .spawn()
            .unwrap();
        let address = until_some("it listens", || async { listening(&words[0]) }).await;
        Self {
            address,
            _child: child,
            words,
        }
    }

    async fn send(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Answer {
        let request = Delivery {
            method: method.to_owned(),
            path: format!("{BASE_PATH}{path}"),
            headers: headers
                .iter()
                .map(|(name, value)| ((*name).to_owned(), value.as_bytes().to_vec()))
                .collect(),
            body: body.to_vec(),
        };
        request.send(self.address).await.unwrap()
    }

    /// A request that is refused, in words that hold no canary.
    async fn refuses(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) {
        refused(&self.send(method, path, headers, body).await);
    }

    fn assert_silent(&self) {
        for words in &self.words {
            let said = read_to_string(words).unwrap();
            for line in said.lines() {
                assert_eq!(canary_in(line), None, "{}: {line}", words.display());
            }
        }
        let said = read_to_string(&self.words[1]).unwrap();
        assert!(said.contains("status=422"), "its access log is among it");
    }
}

/// Where a program says that it listens, once it does.
fn listening(out: &Path) -> Option<SocketAddr> {
    let said = read_to_string(out).unwrap();
    let address = said.strip_prefix(READY)?.strip_suffix('\n')?;
    Some(address.parse().unwrap())
}

fn canary_in(text: &str) -> Option<&'static str> {
    let text = text.to_lowercase();
    CANARIES.into_iter().find(|canary| text.contains(canary))
}

fn refused(answer: &Answer) {
    let body = String::from_utf8_lossy(&answer.body).into_owned();
    assert!(answer.status >= 400, "{}: {body}", answer.status);
    let mut problem = answer.json();
    // The path, as the client wrote it.
    problem["instance"] = Value::Null;
    let said = format!("{problem} {:?}", answer.headers);
    assert_eq!(canary_in(&said), None, "{}: {said}", answer.status);
}

fn person() -> Value {
    json!({
        "first_name": "Canary", "last_name": "Zanzibarova", "email": "canary@zanzibarova.example",
        "phone": "+351912000111", "date_of_birth": "1977-07-17", "notes": "canary of notes",
        "preferences": ["canary of preferences"], "address": {"line1": "Canary Street 1", "country": "PT"},
        "documents": [{"type": "passport", "number": "CANARY7", "issuing_country": "PT"}],
        "external_ids": [{"system": "crm", "value": "canary-17"}],
    })
}

async fn r39_a_canary_is_in_no_log_and_no_error(ctx: Ctx) {
    let folder = tempfile::tempdir().unwrap();
    let other = Arc::new(ctx.servers.fresh(ctx.engine, "r39_receiver").await.unwrap());
    let receiver_database = Ctx {
        database: Arc::clone(&other),
        ..ctx.clone()
    };
    let variables = [
        ("DATABASE_URL", other.url()),
        ("WEBHOOK_SHARED_SECRET", SECRET),
        ("MASTER_KEY", MASTER_KEY),
    ];
    let receiver = Service::start(&programs::receiver(), folder.path(), &variables).await;
    let url = format!("http://{}{BASE_PATH}/webhooks/pms", receiver.address);
    let variables = [
        ("DATABASE_URL", ctx.database.url()),
        ("CRM_WEBHOOK_URL", &url),
        ("CRM_WEBHOOK_SECRET", SECRET),
        ("DOCUMENT_DIGEST_KEY", "canary-of-digest-keys"),
        ("MASTER_KEY", MASTER_KEY),
    ];
    let emitter = Service::start(&programs::emitter(), folder.path(), &variables).await;
    accepted(&emitter, &receiver).await;
    refused_by_the_emitter(&emitter).await;
    refused_by_the_receiver(&receiver).await;
    failing(&ctx, &emitter, &receiver_database, &receiver).await;
    emitter.assert_silent();
    receiver.assert_silent();
    drop((emitter, receiver, receiver_database));
    Arc::into_inner(other).unwrap().remove().await.unwrap();
}

const JSON: (&str, &str) = ("content-type", "application/json");

/// All goes well: from the front desk to the profile, found by all that it can be found by.
async fn accepted(emitter: &Service, receiver: &Service) {
    let body = person().to_string();
    let key = ("idempotency-key", "canary-key");
    for _ in 0..2 {
        let made = emitter
            .send("POST", "/guests", &[JSON, key], body.as_bytes())
            .await;
        assert_eq!(made.status, 201, "{}", made.json());
    }
    for filter in [
        "email=canary@zanzibarova.example",
        "phone=%2B351912000111",
        "last_name=zanzibarova",
    ] {
        let here = emitter.send("GET", &format!("/guests?{filter}"), &[], b"").await;
        assert_eq!(rows(&here), 1, "{filter}: {}", here.json());
        let there = format!("/guest-profiles?{}", filter.replace("last_name", "name"));
        until("the guest arrives", || async {
            rows(&receiver.send("GET", &there, &[], b"").await) > 0
        })
        .await;
    }
}

fn rows(list: &Answer) -> usize {
    assert_eq!(list.status, 200, "{}", list.json());
    list.json()["data"].as_array().map_or(0, Vec::len)
}

async fn refused_by_the_emitter(emitter: &Service) {
    let mut wrong = person();
    for (field, value) in [
        ("email", json!("canary at zanzibarova")),
        ("phone", json!("canary 912000111")),
        ("date_of_birth", json!("1977-07-17T00:00:00Z")),
        ("language", json!("canary-zanzibarova-language")),
        ("address", json!({"country": "Canaryland"})),
        ("vip_level", json!("canary")),
        ("unheard_of", json!("zanzibarova")),
        ("first_name", json!("Canary\u{7}")),
    ] {
        wrong[field] = value;
        emitter
            .refuses("POST", "/guests", &[JSON], wrong.to_string().as_bytes())
            .await;
    }
    let twice = person().to_string();
    emitter
        .refuses("POST", "/guests", &[JSON], twice.as_bytes())
        .await;
    let reused = ("idempotency-key", "canary-key");
    emitter
        .refuses("POST", "/guests", &[JSON, reused], b"{\"last_name\":\"Canary\"}")
        .await;
    for body in [
        "{\"canary\":",
        "{\"canary\":1,\"canary\":2}",
        "canary",
        "[\"canary\"]",
        "{\"canary\":1e400}",
    ] {
        emitter.refuses("POST", "/guests", &[JSON], body.as_bytes()).await;
    }
    emitter
        .refuses("POST", "/guests", &[("content-type", "text/canary")], b"canary")
        .await;
    emitter
        .refuses(
            "POST",
            "/guests",
            &[JSON, ("idempotency-key", "canary key \u{e9}")],
            b"{}",
        )
        .await;
    for path in [
        "/guests/canary",
        "/guests?unheard_of=canary",
        "/guests?email=canary@zanzibarova.example&limit=canary",
        "/guests?cursor=canary",
        "/guests?sort=canary",
        "/canary/zanzibarova?name=912000111",
    ] {
        emitter
            .refuses(
                "GET",
                path,
                &[("x-request-id", "canary!"), ("authorization", "canary")],
                b"",
            )
            .await;
    }
    emitter
        .refuses("CANARY", "/guests", &[("traceparent", "canary")], b"canary")
        .await;
}

async fn refused_by_the_receiver(receiver: &Service) {
    let secrets: SecretList = SECRET.parse().unwrap();
    let at: UnixSeconds = SystemClock.now().seconds();
    let body = event("evt_41", "guest.created", &person());
    let genuine = Delivery::signed("pms", "evt_41", &body, &secrets, at);
    let others = "canary-of-other-secrets".parse().unwrap();
    let stale = UnixSeconds(at.0 - 90_000);
    for forged in [
        Delivery::signed("pms", "evt_41", &body, &others, at),
        Delivery::signed("canary", "evt_41", &body, &secrets, at),
        Delivery::signed("pms", "evt_41", &body, &secrets, stale),
        genuine.clone().with("webhook-signature", format!("v1,{SECRET}")),
        genuine.clone().with("webhook-id", "canary."),
        genuine.clone().with("content-type", "canary/json"),
        genuine.clone().and("content-encoding", "canary"),
        genuine.clone().with_method("CANARY"),
    ] {
        refused(&forged.send(receiver.address).await.unwrap());
    }
    let invalid = json!({"id": "canary", "last_name": 912_000_111, "email": "canary@zanzibarova.example"});
    for body in [
        event("evt_41", "guest.created", &invalid),
        event(
            "evt_41",
            "reservation.created",
            &json!({"status": "canary", "check_in": "1977-07-17x"}),
        ),
        event("evt_2", "guest.created", &person()),
        b"{\"canary\":\"zanzibarova\"".to_vec(),
        b"{\"canary\":1,\"canary\":2}".to_vec(),
    ] {
        let delivery = Delivery::signed("pms", "evt_41", &body, &secrets, at);
        refused(&delivery.send(receiver.address).await.unwrap());
    }
    // Taken in, repeated, and then reused for another person.
    for status in [202, 200] {
        assert_eq!(genuine.send(receiver.address).await.unwrap().status, status);
    }
    let reused = event(
        "evt_41",
        "guest.created",
        &json!({"last_name": "Canary the Second"}),
    );
    let reused = Delivery::signed("pms", "evt_41", &reused, &secrets, at);
    refused(&reused.send(receiver.address).await.unwrap());
    for path in [
        "/guest-profiles?unheard_of=canary",
        "/guest-profiles/canary",
        "/events?cursor=canary",
        "/events/canary.",
    ] {
        receiver.refuses("GET", path, &[], b"").await;
    }
}

/// The databases refuse what they are asked for, and say so in words of their own.
async fn failing(emitters: &Ctx, emitter: &Service, receivers: &Ctx, receiver: &Service) {
    let refusal = |table: &str, value: &str| match emitters.engine {
        Engine::Sqlite => format!(
            "CREATE TRIGGER canary BEFORE INSERT ON {table} BEGIN SELECT RAISE(ABORT, 'it refuses'); END"
        ),
        Engine::Mysql => format!(
            "CREATE TRIGGER canary BEFORE INSERT ON {table} FOR EACH ROW \
             BEGIN DECLARE words TEXT; SET words = CONCAT('refused: ', LEFT({value}, 60)); \
             SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = words; END"
        ),
    };
    carry_out(emitters, &refusal("guests", "NEW.last_name_folded")).await;
    let mut another = person();
    another["external_ids"] = json!([]);
    emitter
        .refuses("POST", "/guests", &[JSON], another.to_string().as_bytes())
        .await;
    let last_name = "SUBSTRING_INDEX(NEW.body, 'last_name', -1)";
    carry_out(receivers, &refusal("inbox_bodies", last_name)).await;
    let secrets: SecretList = SECRET.parse().unwrap();
    let body = event("evt_3", "guest.created", &person());
    let delivery = Delivery::signed("pms", "evt_3", &body, &secrets, SystemClock.now().seconds());
    refused(&delivery.send(receiver.address).await.unwrap());
    // A table that is gone is named, and no more of it.
    carry_out(receivers, "DROP TABLE profile_terms").await;
    receiver
        .refuses("GET", "/guest-profiles?name=zanzibarova", &[], b"")
        .await;
}
