//! Rows R7 to R9: a timestamp has one spelling, lies near our clock on both sides, and shows when our clock is wrong.

use super::{all_refused_alike, because, genuine};
use crate::case::{Case, Ctx, cases};
use crate::ingest::{NOW, Receiver, guest_event, number};
use contract::{UnixMillis, UnixSeconds};
use db::params;
use harness::signer::Delivery;

pub fn cases() -> Vec<Case> {
    cases![
        r07_a_timestamp_has_one_spelling,
        r08_the_skew_is_as_strict_ahead_as_behind_and_its_limit_is_inside,
        r09_a_wrong_clock_of_ours_is_seen_by_its_rejects,
    ]
}

async fn r07_a_timestamp_has_one_spelling(ctx: Ctx) {
    let spelled = [
        "+1763769600",
        "+763769600",
        "01763769600",
        "0763769600",
        "1763769600.0",
        "1763769600,0",
        "1_763_769_600",
        "1e9",
        "1.7637696e9",
        "0x691fb380",
        "9223372036854775807",
        "-9223372036854775808",
        "17637696001763769600",
        "1763769600000",
        "-1763769600",
        "176376960",
        "1763769600s",
        "2025-11-22T00:00:00Z",
        "\u{661}763769600",
        "",
    ];
    let mut forged = because(
        "malformed_timestamp",
        spelled.map(|at| genuine().with("webhook-timestamp", at)),
    );
    // Blanks inside; those around a value are no part of it (RFC 9110, 5.5), and what is signed has none.
    forged.push((
        "malformed_timestamp",
        genuine().with("webhook-timestamp", "17637 69600"),
    ));
    all_refused_alike(&ctx, forged).await;
}

async fn r08_the_skew_is_as_strict_ahead_as_behind_and_its_limit_is_inside(ctx: Ctx) {
    let receiver = Receiver::start(&ctx).await;
    for (key, off, status) in [
        ("evt_1", -1_800, 202),
        ("evt_2", 1_800, 202),
        ("evt_3", -1_801, 401),
        ("evt_4", 1_801, 401),
        ("evt_5", i64::from(u32::MAX), 401),
    ] {
        let at = UnixSeconds(receiver.seconds().0 + off);
        let delivery = Delivery::signed("pms", key, &guest_event(key), &receiver.secrets, at);
        assert_eq!(receiver.send(&delivery).await.status, status, "{off}");
    }
    receiver.stop().await;
    let sql = "SELECT SUM(n) AS n FROM audit_counts WHERE kind = 'rejected' AND cause = 'skew'";
    assert_eq!(number(&ctx.open().await, sql, params![]).await, 3);
}

async fn r09_a_wrong_clock_of_ours_is_seen_by_its_rejects(ctx: Ctx) {
    let receiver = Receiver::start(&ctx).await;
    let delivery = genuine();
    let hour = 3_600_000;
    for (our_clock, sender_is) in [
        (NOW.0 - hour, "ahead_under_2_hours"),
        (NOW.0 - 24 * hour, "ahead_under_2_days"),
        (NOW.0 - 1_000 * hour, "ahead_2_days_or_more"),
        (NOW.0 + hour, "behind_under_2_hours"),
        (NOW.0 + 24 * hour, "behind_under_2_days"),
        (NOW.0 + 1_000 * hour, "behind_2_days_or_more"),
    ] {
        receiver.clock.set(UnixMillis(our_clock));
        assert_eq!(receiver.send(&delivery).await.status, 401, "{sender_is}");
    }
    // Put right, everything is taken in again.
    receiver.clock.set(NOW);
    assert_eq!(receiver.send(&delivery).await.status, 202);
    receiver.stop().await;
    let db = ctx.open().await;
    let all = "SELECT COUNT(*) AS n FROM audit_counts WHERE kind = 'skewed'";
    assert_eq!(
        number(&db, all, params![]).await,
        6,
        "each in a minute of its own"
    );
    for (minute, cause) in [
        (NOW.0 - hour, "ahead_under_2_hours"),
        (NOW.0 + 1_000 * hour, "behind_2_days_or_more"),
    ] {
        let sql = "SELECT SUM(n) AS n FROM audit_counts WHERE kind = 'skewed' AND cause = ? AND minute = ?";
        assert_eq!(number(&db, sql, params![cause, minute]).await, 1, "{cause}");
    }
}
