//! Reading metrics as a scraper does: over a socket of its own, and strictly. And the document that lists them all.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::path::Path;

use harness::signer::{Answer, Delivery};
use harness::waiting::until_some;

use crate::case::{Case, Ctx, cases};
use crate::dispatch::Rig;
use crate::ingest::{Receiver, config};

pub fn cases() -> Vec<Case> {
    cases![the_document_names_exactly_what_is_shown]
}

/// Where tests show metrics.
pub const ANY_PORT: &str = "127.0.0.1:0";

/// One scrape.
#[derive(Debug)]
pub struct Page {
    /// As it came.
    pub text: String,
    /// Type of each family.
    families: BTreeMap<String, String>,
    /// Name with labels, as written, and value.
    samples: BTreeMap<String, f64>,
}

impl Page {
    pub async fn of(address: SocketAddr) -> Self {
        let answer = ask(address, "GET", "/metrics").await;
        assert_eq!(answer.status, 200);
        let media_type = answer.header("content-type").unwrap();
        assert!(
            media_type.starts_with("text/plain; version=0.0.4"),
            "{media_type}"
        );
        Self::read(String::from_utf8(answer.body).unwrap())
    }

    /// Reads the text format 0.0.4: a family's HELP, its TYPE, its samples, and no other line.
    fn read(text: String) -> Self {
        let (mut families, mut samples) = (BTreeMap::new(), BTreeMap::new());
        let mut lines = text.lines().peekable();
        while let Some(help) = lines.next() {
            let (name, words) = help.strip_prefix("# HELP ").unwrap().split_once(' ').unwrap();
            assert!(words.ends_with(['.', '0']) && words.len() > 5, "{help}");
            let declared = lines.next().unwrap().strip_prefix(&format!("# TYPE {name} "));
            let kind = declared.expect("a type follows the help").to_owned();
            let suffixes: &[&str] = match kind.as_str() {
                "counter" | "gauge" => &[""],
                "histogram" => &["_bucket", "_sum", "_count"],
                _ => panic!("{name} is a {kind}"),
            };
            assert_eq!(name.ends_with("_total"), kind == "counter", "{name}");
            let before = samples.len();
            while let Some(line) = lines.next_if(|line| !line.starts_with('#')) {
                let (sample, value) = line.rsplit_once(' ').unwrap();
                let bare = sample.split('{').next().unwrap();
                let suffix = bare.strip_prefix(name);
                assert!(
                    suffix.is_some_and(|suffix| suffixes.contains(&suffix)),
                    "{line} below {name}"
                );
                let twice = samples.insert(sample.to_owned(), value.parse::<f64>().unwrap());
                assert!(twice.is_none(), "{sample} stands twice");
            }
            assert!(samples.len() > before, "{name} has no sample");
            assert!(
                families.insert(name.to_owned(), kind).is_none(),
                "{name} stands twice"
            );
        }
        Self {
            text,
            families,
            samples,
        }
    }

    /// Method and pattern of every route that is counted.
    pub fn routes(&self) -> BTreeSet<(String, String)> {
        let counted = self
            .samples
            .keys()
            .filter(|name| name.contains("_http_requests_total{"));
        let label = |sample: &str, name: &str| {
            let after = sample.split_once(&format!("{name}=\""));
            after
                .and_then(|(_, rest)| rest.split('"').next().map(str::to_owned))
                .unwrap()
        };
        let routes = counted.map(|sample| (label(sample, "method"), label(sample, "route")));
        routes.filter(|(_, route)| !route.is_empty()).collect()
    }

    /// The value of a sample, which must be there.
    pub fn value(&self, sample: &str) -> f64 {
        *self
            .samples
            .get(sample)
            .unwrap_or_else(|| panic!("no {sample} in\n{}", self.text))
    }

    /// The sum over all labels of a name.
    pub fn sum(&self, name: &str) -> f64 {
        let labelled = format!("{name}{{");
        self.samples
            .iter()
            .filter(|(sample, _)| *sample == name || sample.starts_with(&labelled))
            .map(|(_, value)| value)
            .sum()
    }
}

/// Scrapes until it is as expected.
pub async fn until(address: SocketAddr, what: &str, expected: impl Fn(&Page) -> bool) -> Page {
    until_some(what, || async { Some(Page::of(address).await).filter(&expected) }).await
}

/// A request without a body.
pub async fn ask(address: SocketAddr, method: &str, path: &str) -> Answer {
    let request = Delivery::bare(method, path);
    request.send(address).await.unwrap()
}

async fn the_document_names_exactly_what_is_shown(ctx: Ctx) {
    let rig = Rig::start(&ctx, Default::default()).await;
    let emitter = rig.metrics().await;
    rig.stop().await;
    let other = ctx.servers.fresh(ctx.engine, "receiver").await.unwrap();
    let receiver = Receiver::start_with(config(other.parsed())).await;
    let shown = receiver.metrics().await;
    receiver.stop().await;
    other.remove().await.unwrap();

    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/metrics.md");
    let document = std::fs::read_to_string(path).unwrap();
    let shown: BTreeSet<_> = [emitter, shown]
        .into_iter()
        .flat_map(|page| page.families)
        .collect();
    let listed: BTreeSet<_> = document.lines().filter_map(row).flatten().collect();
    assert_eq!(listed, shown);
}

/// The families of a table's row ``| `name` | type | ...``, where `*` stands for both services.
fn row(line: &str) -> Option<Vec<(String, String)>> {
    let mut cells = line.strip_prefix("| `")?.split(" | ");
    let name = cells.next()?.trim_end_matches('`');
    let kind = cells.next()?.to_owned();
    let names = match name.strip_prefix('*') {
        Some(rest) => vec![format!("crm_receiver{rest}"), format!("pms_emitter{rest}")],
        None => vec![name.to_owned()],
    };
    Some(names.into_iter().map(|name| (name, kind.clone())).collect())
}
