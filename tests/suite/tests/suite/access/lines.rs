//! Each line of the route tables asks for its level, in its area.

use super::{ADMIN, guarded, key};
use crate::case::{Case, Ctx, cases};
use crate::ingest::{Receiver, config};
use api::{Access, Level, Line};
use harness::client::Client;
use harness::config::BASE_PATH;
use http::Method;
use serde_json::{Value, json};

pub fn cases() -> Vec<Case> {
    cases![
        a4_each_line_of_the_emitter_asks_for_its_level_in_its_area,
        a4_each_line_of_the_receiver_asks_for_its_level_in_its_area,
    ]
}

/// The lines that ask for nothing, of each service.
const PUBLIC_OF_EMITTER: [&str; 4] = [
    "GET /api/v1/health",
    "GET /api/v1/health/ready",
    "GET /health",
    "GET /health/ready",
];
const PUBLIC_OF_RECEIVER: [&str; 5] = [
    "GET /api/v1/health",
    "GET /api/v1/health/ready",
    "GET /health",
    "GET /health/ready",
    "POST /api/v1/webhooks/{source}",
];

/// The rule that no line may miss, whatever its table says: what is public, and the level of each method.
fn is_strict_enough(table: &[Line], public: &[&str]) {
    let mut open: Vec<String> = Vec::new();
    for line in table {
        let name = format!("{} {}", line.method, line.pattern);
        let of_keys = line.pattern.starts_with("/api/v1/api-keys");
        match line.access {
            Access::Public => open.push(name),
            Access::AnyKey => assert_eq!(name, "GET /api/v1/api-keys/self"),
            Access::Asks { level, .. } => {
                let at_least = match line.method {
                    _ if of_keys => Level::Admin,
                    Method::GET => Level::Read,
                    Method::DELETE => Level::Admin,
                    _ => Level::Write,
                };
                assert!(level >= at_least, "{name} asks for {level}");
            }
        }
    }
    open.sort_unstable();
    assert_eq!(open, public);
}

/// A kind of key, and its text.
struct Kind {
    permissions: Vec<String>,
    text: String,
}

impl Kind {
    /// Whether a line lets it in, as its permissions say.
    fn may(&self, line: &Line) -> bool {
        let Access::Asks { area, level } = line.access else {
            return true;
        };
        self.permissions.iter().any(|permission| {
            let (own, granted) = permission.split_once(':').unwrap_or((area.as_str(), permission));
            let granted = Level::ALL
                .into_iter()
                .find(|level| level.as_str() == granted)
                .unwrap();
            own == area.as_str() && granted >= level
        })
    }
}

/// The areas of a table.
fn areas(table: &[Line]) -> Vec<&'static str> {
    let areas = table.iter().filter_map(|line| match line.access {
        Access::Asks { area, .. } => Some(area.as_str()),
        _ => None,
    });
    let mut areas: Vec<_> = areas.collect();
    areas.sort_unstable();
    areas.dedup();
    areas
}

/// Every level, everywhere and in each area alone.
fn kinds(table: &[Line]) -> Vec<Vec<String>> {
    let everywhere = Level::ALL.map(|level| vec![level.to_string()]);
    let in_areas = areas(table)
        .into_iter()
        .flat_map(|area| Level::ALL.map(|level| vec![format!("{area}:{level}")]));
    everywhere.into_iter().chain(in_areas).collect()
}

/// Asks each line without a key, with a wrong one, and with every kind.
async fn ask(origin: &str, table: &[Line], kinds: &[Kind]) {
    let client = Client::new(origin);
    let ask = async |line: &Line, key: Option<&str>| {
        let path: Vec<_> = line
            .pattern
            .split('/')
            .map(|part| if part.starts_with('{') { "x-1" } else { part })
            .collect();
        let url = format!("{origin}{}", path.join("/"));
        let key = key.map(|key| ("x-api-key", key));
        let headers: Vec<_> = key
            .into_iter()
            .chain([("content-type", "application/json")])
            .collect();
        let body = if line.method == Method::GET { "" } else { "{}" };
        let answer = client
            .send(&line.method, &url, &headers, body.into())
            .await
            .unwrap();
        let code: Value = serde_json::from_slice(answer.body()).unwrap_or_default();
        (
            answer.status().as_u16(),
            code["code"].as_str().unwrap_or_default().to_owned(),
        )
    };
    let key_required = (401, "key_required".to_owned());
    for line in table {
        let is_public = line.access == Access::Public;
        for key in [None, Some("gw_nobody")] {
            assert_eq!(
                ask(line, key).await == key_required,
                !is_public,
                "{line:?} {key:?}"
            );
        }
        for kind in kinds {
            let (status, code) = ask(line, Some(&kind.text)).await;
            assert_ne!(code, "key_required", "{line:?} {:?}", kind.permissions);
            assert_eq!(
                (status, code.as_str()) == (403, "forbidden"),
                !kind.may(line),
                "{line:?} {:?}",
                kind.permissions
            );
        }
    }
}

async fn a4_each_line_of_the_emitter_asks_for_its_level_in_its_area(ctx: Ctx) {
    let pms = guarded(&ctx).await;
    is_strict_enough(&pms.table, &PUBLIC_OF_EMITTER);
    let mut made = Vec::new();
    for permissions in kinds(&pms.table) {
        let names: Vec<&str> = permissions.iter().map(String::as_str).collect();
        let text = key(&pms, &names, json!("*")).await;
        made.push(Kind { permissions, text });
    }
    assert!(pms.table.len() > 20 && made.len() > 9, "a table and its kinds");
    ask(&format!("http://{}", pms.address()), &pms.table, &made).await;
    pms.stop().await;
}

async fn a4_each_line_of_the_receiver_asks_for_its_level_in_its_area(ctx: Ctx) {
    let mut config = config(ctx.url());
    config.access.admin_api_key = Some(ADMIN.parse().unwrap());
    let receiver = Receiver::start_with(config).await;
    is_strict_enough(&receiver.table, &PUBLIC_OF_RECEIVER);
    let origin = format!("http://{}", receiver.address);
    let client = Client::new(origin.as_str());
    let mut made = Vec::new();
    for permissions in kinds(&receiver.table) {
        let body =
            json!({"name": "k", "permissions": permissions, "property_ids": "*", "rate_limit": 1_000_000});
        let headers = [("x-api-key", ADMIN), ("content-type", "application/json")];
        let url = format!("{origin}{BASE_PATH}/api-keys");
        let answer = client
            .send(&Method::POST, &url, &headers, body.to_string().into())
            .await
            .unwrap();
        let answer: Value = serde_json::from_slice(answer.body()).unwrap();
        let text = answer["key"].as_str().unwrap().to_owned();
        made.push(Kind { permissions, text });
    }
    ask(&origin, &receiver.table, &made).await;
    receiver.stop().await;
}
