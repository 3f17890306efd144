//! Endpoints that lead where nothing may be sent, that hang, or that are all gone at once.

use std::time::Duration;

use harness::waiting::until;
use kit::config::EgressArgs;
use serde_json::{Value, json};
use tokio::io::AsyncReadExt;
use tokio::net::TcpListener;

use super::{double, guest, names, subscribe, until_count};
use crate::case::{Case, Ctx, cases};
use crate::pms::Pms;

pub fn cases() -> Vec<Case> {
    cases![
        e1_e2_e17_what_is_not_public_or_not_https_is_refused_when_it_is_saved,
        e4_e8_what_may_not_be_dialled_any_more_gets_neither_deliveries_nor_tests,
        f22_f23_one_that_never_answers_costs_its_deadline_and_the_others_nothing,
        f39_while_all_are_down_the_work_stays_in_the_database,
    ]
}

async fn e1_e2_e17_what_is_not_public_or_not_https_is_refused_when_it_is_saved(ctx: Ctx) {
    let pms = Pms::start_set(&ctx, |config| config.egress = EgressArgs::default()).await;
    let with = |url: &str| json!({"name": "CRM", "url": url, "events": ["*"]});
    for (url, code) in [
        ("https://127.0.0.1/hook", "forbidden_address"),
        ("https://127.1/hook", "forbidden_address"),
        ("https://0x7f000001/hook", "forbidden_address"),
        ("https://2130706433/hook", "forbidden_address"),
        ("https://0/hook", "forbidden_address"),
        ("https://[::1]/hook", "forbidden_address"),
        ("https://[::ffff:127.0.0.1]/hook", "forbidden_address"),
        ("https://10.1.2.3/hook", "forbidden_address"),
        ("https://100.64.0.1/hook", "forbidden_address"),
        ("https://169.254.169.254/latest/meta-data", "forbidden_address"),
        ("https://[fd00:ec2::254]/hook", "forbidden_address"),
        ("https://[64:ff9b::7f00:1]/hook", "forbidden_address"),
        ("https://localhost/hook", "forbidden_address"),
        ("http://93.184.215.14/hook", "https_required"),
        ("https://user:canary@93.184.215.14/hook", "invalid"),
        ("https://93.184.215.14\\@127.0.0.1/hook", "invalid"),
    ] {
        let refused = pms.post("/webhooks", &with(url)).await.expect(422);
        assert_eq!(refused.errors(), [("/url", code)], "{url}");
        assert!(!refused.body.to_string().contains("canary"), "{url}");
    }
    let made = pms
        .post("/webhooks", &with("https://93.184.215.14/hook"))
        .await
        .expect(201);
    let path = format!("/webhooks/{}", made.id());
    pms.put(&path, &json!({"url": "https://192.168.0.1/"}))
        .await
        .expect(422);
    assert_eq!(pms.get(&path).await.body["url"], "https://93.184.215.14/hook");
    pms.delete(&path).await.expect(204);
    pms.stop().await;
}

async fn e4_e8_what_may_not_be_dialled_any_more_gets_neither_deliveries_nor_tests(ctx: Ctx) {
    let double = double().await;
    let pms = Pms::start(&ctx).await;
    let made = subscribe(&pms, &double, json!({"retry_schedule": [0, 0]})).await;
    pms.stop().await;
    let pms = Pms::start_set(&ctx, |config| {
        config.egress = EgressArgs {
            egress_allow_http: true,
            ..EgressArgs::default()
        };
    })
    .await;
    guest(&pms, "Doe").await;
    until_count(
        &pms,
        "its attempts have failed",
        "SELECT COUNT(*) AS n FROM deliveries WHERE status = 'dead' AND attempts = 2",
        1,
    )
    .await;
    let test = format!("/webhooks/{}/test", made.id());
    assert_eq!(
        pms.post(&test, &json!({})).await.expect(200).body["status_class"],
        "none"
    );
    assert_eq!(double.received().len(), 0);
    pms.stop().await;
}

async fn f22_f23_one_that_never_answers_costs_its_deadline_and_the_others_nothing(ctx: Ctx) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    // It reads what comes, one byte at a time, and says nothing.
    let hanging = tokio::spawn(async move {
        let mut connections = tokio::task::JoinSet::new();
        while let Ok((mut stream, _)) = listener.accept().await {
            connections.spawn(async move { while stream.read_u8().await.is_ok() {} });
        }
    });
    let (pms, other) = (Pms::start(&ctx).await, double().await);
    let body = json!({
        "name": "hangs", "url": format!("http://{address}/hook"), "events": ["*"], "timeout_seconds": 1,
        "retry_schedule": [0],
    });
    let made = pms.post("/webhooks", &body).await.expect(201);
    subscribe(&pms, &other, json!({})).await;
    for number in 0..3 {
        guest(&pms, &format!("Guest {number}")).await;
    }
    other.wait_for(3).await;
    until_count(
        &pms,
        "its attempts have ended",
        "SELECT COUNT(*) AS n FROM deliveries WHERE status = 'dead'",
        3,
    )
    .await;
    let one = pms
        .get(&format!("/webhooks/{}/deliveries?status=dead", made.id()))
        .await
        .expect(200);
    let rows = one.body["data"].as_array().unwrap();
    assert!(
        rows.iter().all(|row| row["last_status"] == Value::Null),
        "{rows:?}"
    );
    hanging.abort();
    pms.stop().await;
}

async fn f39_while_all_are_down_the_work_stays_in_the_database(ctx: Ctx) {
    const ENDPOINTS: i64 = 5;
    const GUESTS: i64 = 30;
    let double = double().await;
    let pms = Pms::start_set(&ctx, |config| {
        config.delivery.breaker_open = Duration::from_millis(20);
        config.delivery.look_every = Duration::from_millis(20);
    })
    .await;
    // Nothing listens there.
    let nowhere = TcpListener::bind("127.0.0.1:0")
        .await
        .unwrap()
        .local_addr()
        .unwrap();
    let schedule = vec![0; 50];
    let mut paths = Vec::new();
    for number in 0..ENDPOINTS {
        let body = json!({
            "name": format!("endpoint {number}"), "url": format!("http://{nowhere}/hook"), "events": ["*"],
            "retry_schedule": schedule,
        });
        let made = pms.post("/webhooks", &body).await.expect(201);
        paths.push(format!("/webhooks/{}", made.id()));
    }
    for number in 0..GUESTS {
        guest(&pms, &format!("Guest {number}")).await;
    }
    until("each was tried", || async {
        let tried = "SELECT COUNT(DISTINCT endpoint_id) AS n FROM delivery_attempts";
        let queued = "SELECT COUNT(*) AS n FROM deliveries WHERE status = 'pending'";
        pms.count(tried).await == ENDPOINTS && pms.count(queued).await == ENDPOINTS * GUESTS
    })
    .await;
    for path in &paths {
        pms.put(path, &json!({"url": double.url()})).await.expect(200);
    }
    until_count(
        &pms,
        "all is delivered",
        "SELECT COUNT(*) AS n FROM deliveries WHERE status = 'delivered'",
        ENDPOINTS * GUESTS,
    )
    .await;
    let received = double.received();
    assert_eq!(received.len() as i64, ENDPOINTS * GUESTS, "each once");
    let mut seen = names(&received);
    seen.sort_unstable();
    seen.dedup();
    assert_eq!(seen.len() as i64, GUESTS);
    pms.stop().await;
}
