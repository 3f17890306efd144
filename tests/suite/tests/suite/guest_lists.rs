//! `GET /guests`: filters, orders, and cursors over data that changes between the pages.

use std::collections::BTreeSet;
use std::time::Duration;

use serde_json::{Value, json};

use crate::case::{Case, Ctx, cases};
use crate::pms::{Pms, Reply};

pub fn cases() -> Vec<Case> {
    cases![
        pages_miss_and_repeat_nothing_while_data_changes,
        each_order_is_total_in_both_directions,
        filters_narrow_the_list,
        last_names_are_found_by_their_folded_beginning,
        updated_since_answers_what_changed,
        what_the_list_does_not_know_is_400,
    ]
}

/// Guests of a list.
const GUESTS: usize = 25;
/// Rows of a page, so that the last one is not full.
const PAGE: usize = 10;

async fn fill(pms: &Pms) -> Vec<String> {
    let mut ids = Vec::new();
    for number in 0..GUESTS {
        // Every third at the same instant: the order must be total all the same.
        if number % 3 == 0 {
            pms.clock.advance(Duration::from_secs(1));
        }
        let body = json!({"name": format!("Guest N{:02}", number % 7)});
        ids.push(pms.post("/guests", &body).await.expect(201).id().to_owned());
    }
    ids
}

fn ids(page: &Reply) -> Vec<String> {
    let rows = page.body["data"].as_array().unwrap();
    rows.iter()
        .map(|row| row["id"].as_str().unwrap().to_owned())
        .collect()
}

fn next(page: &Reply) -> Option<String> {
    let pagination = &page.body["pagination"];
    let cursor = pagination["next_cursor"].as_str().map(str::to_owned);
    assert_eq!(pagination["has_more"], json!(cursor.is_some()));
    cursor
}

async fn walk(pms: &Pms, query: &str) -> Vec<String> {
    let mut seen = Vec::new();
    let mut page = pms
        .get(&format!("/guests?limit={PAGE}&{query}"))
        .await
        .expect(200);
    loop {
        seen.extend(ids(&page));
        let Some(cursor) = next(&page) else { return seen };
        page = pms
            .get(&format!("/guests?limit={PAGE}&{query}&cursor={cursor}"))
            .await
            .expect(200);
    }
}

async fn pages_miss_and_repeat_nothing_while_data_changes(ctx: Ctx) {
    let pms = Pms::start(&ctx).await;
    let all = fill(&pms).await;
    let first = pms.get(&format!("/guests?limit={PAGE}")).await.expect(200);
    assert_eq!(ids(&first), all[..PAGE]);
    // Rows before and behind the cursor go, one changes, one comes.
    for gone in [&all[2], &all[PAGE - 1], &all[PAGE + 3]] {
        pms.delete(&format!("/guests/{gone}")).await.expect(204);
    }
    pms.put(&format!("/guests/{}", all[PAGE + 5]), &json!({"title": "Dr"}))
        .await
        .expect(200);
    pms.clock.advance(Duration::from_secs(1));
    let new = pms.post("/guests", &json!({"name": "New"})).await.expect(201);
    let mut rest = Vec::new();
    let mut cursor = next(&first);
    while let Some(at) = cursor {
        let page = pms
            .get(&format!("/guests?limit={PAGE}&cursor={at}"))
            .await
            .expect(200);
        rest.extend(ids(&page));
        cursor = next(&page);
    }
    let mut expected: Vec<String> = all[PAGE..].to_vec();
    expected.retain(|id| *id != all[PAGE + 3]);
    expected.push(new.id().to_owned());
    assert_eq!(rest, expected);
    pms.stop().await;
}

async fn each_order_is_total_in_both_directions(ctx: Ctx) {
    let pms = Pms::start(&ctx).await;
    let all: BTreeSet<String> = fill(&pms).await.into_iter().collect();
    for field in ["created_at", "updated_at", "last_name"] {
        let up = walk(&pms, &format!("sort={field}")).await;
        let mut down = walk(&pms, &format!("sort=-{field}")).await;
        down.reverse();
        assert_eq!(up, down, "{field}");
        assert_eq!(up.len(), GUESTS, "{field}");
        assert_eq!(up.into_iter().collect::<BTreeSet<_>>(), all, "{field}");
    }
    pms.stop().await;
}

async fn filters_narrow_the_list(ctx: Ctx) {
    let pms = Pms::start(&ctx).await;
    let city = json!({"id": "CITY", "name": "City", "timezone": "UTC", "currency": "EUR"});
    pms.post("/properties", &city).await.expect(201);
    let ana = json!({"name": "Ana Silva", "email": "Ana@Example.com", "phone": "+351211234567", "vip_level": 3,
        "external_ids": [{"system": "old", "value": "A:1"}]});
    let ana = pms.post("/guests", &ana).await.expect(201);
    let rui = json!({"property_id": "CITY", "name": "Rui Costa", "blacklisted": true});
    let rui = pms.post("/guests", &rui).await.expect(201);
    for (query, found) in [
        ("email=aNA@example.COM", ana.id()),
        ("phone=%2B351211234567", ana.id()),
        ("phone=+351211234567", ana.id()),
        ("vip_level=3", ana.id()),
        ("external_id=old:A:1", ana.id()),
        ("property_id=MAIN&status=active", ana.id()),
        ("property_id=CITY", rui.id()),
        ("blacklisted=true", rui.id()),
        ("last_name=cos&blacklisted=true", rui.id()),
    ] {
        let page = pms.get(&format!("/guests?{query}")).await.expect(200);
        assert_eq!(ids(&page), [found], "{query}");
    }
    for query in [
        "vip_level=4",
        "property_id=NONE",
        "email=ana@example.org",
        "status=deleted",
        "external_id=old:a:1",
    ] {
        let page = pms.get(&format!("/guests?{query}")).await.expect(200);
        assert_eq!(page.body["data"], json!([]), "{query}");
    }
    pms.stop().await;
}

async fn last_names_are_found_by_their_folded_beginning(ctx: Ctx) {
    let pms = Pms::start(&ctx).await;
    for name in [
        "Müller",
        "MULLIGAN",
        "Mu%",
        "Mu_x",
        "Mulberry Ünal",
        "Nuñez",
        "Ｍｕｌ",
    ] {
        pms.post("/guests", &json!({"last_name": name})).await.expect(201);
    }
    for (prefix, names) in [
        ("m%C3%BCl", vec!["Ｍｕｌ", "Mulberry Ünal", "Müller", "MULLIGAN"]),
        ("MULL", vec!["Müller", "MULLIGAN"]),
        ("mu%25", vec!["Mu%"]),
        ("mu_", vec!["Mu_x"]),
        ("nunez", vec!["Nuñez"]),
        ("mulberry%20una", vec!["Mulberry Ünal"]),
        ("zz", vec![]),
    ] {
        let page = pms
            .get(&format!("/guests?sort=last_name&last_name={prefix}"))
            .await
            .expect(200);
        let rows = page.body["data"].as_array().unwrap();
        let found: Vec<_> = rows
            .iter()
            .map(|row| row["last_name"].as_str().unwrap())
            .collect();
        assert_eq!(found, names, "{prefix}");
    }
    pms.stop().await;
}

async fn updated_since_answers_what_changed(ctx: Ctx) {
    let pms = Pms::start(&ctx).await;
    let all = fill(&pms).await;
    pms.clock.advance(Duration::from_secs(60));
    let since = pms
        .put(&format!("/guests/{}", all[4]), &json!({"title": "Dr"}))
        .await
        .expect(200);
    let instant = since.body["updated_at"].as_str().unwrap();
    let found = walk(&pms, &format!("updated_since={instant}&sort=updated_at")).await;
    assert_eq!(found, [all[4].clone()]);
    pms.stop().await;
}

async fn what_the_list_does_not_know_is_400(ctx: Ctx) {
    let pms = Pms::start(&ctx).await;
    fill(&pms).await;
    let page = pms.get("/guests?limit=5").await.expect(200);
    let cursor = next(&page).unwrap();
    let forged = format!("{}A", &cursor[..cursor.len() - 1]);
    for (query, code) in [
        ("surname=x".to_owned(), "invalid_query"),
        ("limit=0".to_owned(), "invalid_query"),
        ("limit=201".to_owned(), "invalid_query"),
        ("limit=5&limit=6".to_owned(), "invalid_query"),
        ("sort=email".to_owned(), "invalid_query"),
        ("status=gone".to_owned(), "invalid_query"),
        (format!("cursor={cursor}&status=active"), "invalid_cursor"),
        (format!("cursor={cursor}&sort=-created_at"), "invalid_cursor"),
        (format!("cursor={forged}"), "invalid_cursor"),
        ("cursor=nonsense".to_owned(), "invalid_cursor"),
    ] {
        let refused = pms.get(&format!("/guests?{query}")).await.expect(400);
        assert_eq!(refused.body["code"], Value::from(code), "{query}");
    }
    pms.stop().await;
}
