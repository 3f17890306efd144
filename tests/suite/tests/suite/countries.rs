//! Countries as other systems, passports and people write them.

use serde_json::{Value, json};

use crate::case::{Case, Ctx, cases};
use crate::pms::Pms;

pub fn cases() -> Vec<Case> {
    cases![
        case07_codes_of_other_systems_are_read,
        case08_codes_of_passports_are_read,
        case09_each_country_is_read_under_each_of_its_names,
    ]
}

async fn case07_codes_of_other_systems_are_read(ctx: Ctx) {
    let pms = Pms::start(&ctx).await;
    for (text, code) in [
        ("UK", "GB"),
        ("EL", "GR"),
        ("U.K.", "GB"),
        ("U.S.A.", "US"),
        ("UAE", "AE"),
        ("uk", "GB"),
        ("TP", "TL"),
        ("ZAR", "CD"),
        ("276", "DE"),
    ] {
        let body = json!({"last_name": "T", "nationality": text, "country": text,
            "documents": [{"type": "passport", "number": "A1", "issuing_country": text}]});
        let made = pms.post("/guests", &body).await.expect(201).body;
        for pointer in ["/nationality", "/address/country", "/documents/0/issuing_country"] {
            assert_eq!(made.pointer(pointer), Some(&json!(code)), "{text}");
        }
        assert_eq!(made["warnings"], json!([]));
    }
    pms.stop().await;
}

async fn case08_codes_of_passports_are_read(ctx: Ctx) {
    let pms = Pms::start(&ctx).await;
    let body = |code: &str| {
        json!({"last_name": "T", "nationality": code,
            "documents": [{"type": "passport", "number": "A1", "issuing_country": code}]})
    };
    for (text, code) in [
        ("D", "DE"),
        ("GBD", "GB"),
        ("GBN", "GB"),
        ("GBO", "GB"),
        ("GBP", "GB"),
        ("GBS", "GB"),
        ("RKS", "XK"),
    ] {
        let made = pms.post("/guests", &body(text)).await.expect(201).body;
        let found = (&made["nationality"], &made["documents"][0]["issuing_country"]);
        assert_eq!(found, (&json!(code), &json!(code)), "{text}");
    }
    for code in [
        "XXA", "XXB", "XXC", "XXX", "UNO", "UNA", "EUE", "XOM", "XPO", "SU",
    ] {
        let made = pms.post("/guests", &body(code)).await.expect(201).body;
        assert_eq!(made["nationality"], Value::Null, "{code}");
        assert_eq!(made["documents"][0]["issuing_country"], Value::Null, "{code}");
        let warnings = made["warnings"].as_array().unwrap();
        let pointers: Vec<_> = warnings.iter().map(|warning| &warning["pointer"]).collect();
        assert_eq!(
            pointers,
            [&json!("/nationality"), &json!("/documents/0/issuing_country")]
        );
        for warning in warnings {
            assert_eq!(warning["code"], "no_country");
            assert!(warning["message"].as_str().unwrap().contains(code), "{warning}");
        }
    }
    let refused = pms.post("/guests", &body("Atlantis")).await.expect(422);
    let errors = refused.errors();
    assert_eq!(
        errors,
        [
            ("/nationality", "not_a_country"),
            ("/documents/0/issuing_country", "not_a_country")
        ]
    );
    pms.stop().await;
}

/// The codes and names that the contract lists, and in which column the name stands.
const LISTED: [(&str, usize); 2] = [
    (
        include_str!("../../../../shared/contract/data/countries/iso_3166_1.tsv"),
        3,
    ),
    (
        include_str!("../../../../shared/contract/data/countries/names.tsv"),
        1,
    ),
];

/// Each name with its country's alpha-2 code.
fn listed_names() -> impl Iterator<Item = (&'static str, &'static str)> {
    LISTED.into_iter().flat_map(|(file, column)| {
        let lines = file.lines().filter(|line| !line.starts_with('#'));
        lines.map(move |line| {
            let columns: Vec<_> = line.split('\t').collect();
            (columns[0], columns[column])
        })
    })
}

async fn case09_each_country_is_read_under_each_of_its_names(ctx: Ctx) {
    let pms = Pms::start(&ctx).await;
    let guest = pms.post("/guests", &json!({"last_name": "T"})).await.expect(201);
    let path = format!("/guests/{}", guest.id());
    for (code, name) in listed_names() {
        let changed = pms
            .put(&path, &json!({"nationality": name}))
            .await
            .expect(200)
            .body;
        assert_eq!(changed["nationality"], code, "{name}");
    }
    pms.stop().await;
}
