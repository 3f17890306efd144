//! A16: small requests that cause large writes.

use super::figures::Growth;
use super::{Attacked, Target, largest};
use crate::generator::{Load, Pace, Speaker, Speakers};
use crate::options::Options;
use crate::pool::Pool;
use crate::service::Service;
use anyhow::Result;
use contract::SecretList;
use contract::clock::Clock;
use harness::config::BASE_PATH;
use harness::engine::Engine;
use harness::signer::Delivery;
use kit::random::SystemClock;
use serde_json::json;
use std::sync::Arc;

/// Connections that send one request after the other.
const CONNECTIONS: usize = 16;
/// Events for the receiver: they are signed beforehand.
const EVENTS: usize = 20_000;

/// The room of the largest reservation is assigned again under fresh keys; then the largest guest's VIP level changes.
pub async fn on_emitter(emitter: &Service, options: &Options) -> Result<Attacked> {
    let client = emitter.client();
    let (guest, _) = largest::guest(&client).await?;
    let (reservation, _) = largest::reservation(&client, &guest).await?;
    let mut target = Target::watch(emitter)?;
    let again = Small {
        method: "POST",
        path: format!("{BASE_PATH}/reservations/{reservation}/assign-room"),
        keyed: true,
        body: |_| r#"{"room_id":"1"}"#.to_owned(),
    };
    let change = Small {
        method: "PATCH",
        path: format!("{BASE_PATH}/guests/{guest}"),
        keyed: false,
        body: |n| json!({"vip_level": n % 10}).to_string(),
    };
    for (name, requests) in [("fresh keys", again), ("one field", change)] {
        let load = target.load(CONNECTIONS, Pace::Closed, options.time() / 2);
        growing(&mut target, options.engine(), name, load, requests).await?;
    }
    target.end().await
}

/// Events about one guest that say nothing new, each under a key of its own.
pub async fn on_receiver(receiver: &Service, options: &Options, secret: &str) -> Result<Attacked> {
    let secrets: SecretList = secret.parse()?;
    let (_, first) = largest::guest_event(0, json!({}))?;
    let first = String::from_utf8(first)?;
    let now = SystemClock.now().seconds();
    let events = (0..EVENTS).map(|n| {
        let id = format!("evt_hostile_{n:06}");
        let body = first.replace("evt_hostile_000000", &id);
        Delivery::signed("pms", &id, body.as_bytes(), &secrets, now).bytes(receiver.address())
    });
    let pool = Arc::new(Pool::of_requests(events));
    let mut target = Target::watch(receiver)?;
    let load = Load {
        requests_max: Some(EVENTS as u64),
        ..target.load(CONNECTIONS, Pace::Closed, options.time())
    };
    growing(&mut target, options.engine(), "fresh keys", load, pool).await?;
    target.end().await
}

/// Sends a load, and notes by how much the database grew with it.
async fn growing<S: Speakers>(
    target: &mut Target<'_>,
    engine: Engine,
    name: &str,
    load: Load,
    speakers: S,
) -> Result<()> {
    let before = stored(target.service, engine).await?;
    let measured = target.send(name, load, speakers).await?;
    let bytes = stored(target.service, engine).await?.saturating_sub(before);
    if measured.tally.wrong() > 0 {
        target.fault(format!(
            "{name}: {} answers were neither 2xx nor 503",
            measured.tally.wrong()
        ));
    }
    if let Some(line) = target.lines.last_mut() {
        line.growth = Some(Growth {
            bytes,
            bytes_per_request: bytes / measured.tally.good().max(1),
        });
    }
    Ok(())
}

/// The bytes of the database, by whole pages; on a server, by whole extents of its files, which MySQL and MariaDB list under
/// different names.
async fn stored(service: &Service, engine: Engine) -> Result<u64> {
    const OF_MYSQL: &str = "SELECT COUNT(*) AS n FROM information_schema.TABLES
        WHERE TABLE_SCHEMA = 'information_schema' AND TABLE_NAME = 'INNODB_TABLESPACES'";
    let sql = match engine {
        Engine::Sqlite => "SELECT page_count * page_size AS n FROM pragma_page_count(), pragma_page_size()",
        Engine::Mysql if service.count(OF_MYSQL).await? > 0 => {
            "SELECT CAST(SUM(FILE_SIZE) AS SIGNED) AS n FROM information_schema.INNODB_TABLESPACES
            WHERE NAME LIKE CONCAT(DATABASE(), '/%')"
        }
        Engine::Mysql => {
            "SELECT CAST(SUM(FILE_SIZE) AS SIGNED) AS n FROM information_schema.INNODB_SYS_TABLESPACES
            WHERE NAME LIKE CONCAT(DATABASE(), '/%')"
        }
    };
    service.count(sql).await
}

/// The same small request again and again.
#[derive(Clone)]
struct Small {
    method: &'static str,
    path: String,
    keyed: bool,
    body: fn(u64) -> String,
}

/// One connection of it.
struct Sending {
    small: Small,
    request: Vec<u8>,
}

impl Speakers for Small {
    type Speaker = Sending;

    fn speaker(&self) -> Sending {
        Sending {
            small: self.clone(),
            request: Vec::new(),
        }
    }
}

impl Speaker for Sending {
    fn request(&mut self, number: u64) -> &[u8] {
        let Small {
            method,
            path,
            keyed,
            body,
        } = &self.small;
        let body = body(number);
        let key = if *keyed {
            format!("idempotency-key: hostile-{number}\r\n")
        } else {
            String::new()
        };
        self.request = format!(
            "{method} {path} HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n{key}content-length: \
             {}\r\n\r\n{body}",
            body.len()
        )
        .into_bytes();
        &self.request
    }
}
