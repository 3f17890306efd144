//! Rows R27 to R31 of docs/security.md, where a limit can be made short.

use super::*;
use crate::body::{BODY_DEADLINE, ByteBudget};

#[tokio::test]
async fn r28_connections_that_say_nothing_or_half_of_it_are_closed() {
    let world = World::with(short_reads()).await;
    for begun in ["", "G", "GET /big HTTP/1.1\r\nhost: te"] {
        assert!(!world.exchange(begun).await.contains("200 OK"), "{begun}");
    }
    world.ends().await;
}

#[test]
fn r28_the_limits_are_those_that_are_promised() {
    let promised = ServeSettings::default();
    assert_eq!(promised.header_read_timeout, Duration::from_secs(10));
    assert_eq!(promised.write_timeout, Duration::from_secs(60));
    assert_eq!(promised.connections_max, 10_000);
    assert_eq!(BODY_DEADLINE, Duration::from_secs(30));
}

#[tokio::test]
async fn r28_a_head_that_begins_late_has_no_second_time() {
    const LIMIT: Duration = Duration::from_secs(2);
    let world = World::with(ServeSettings {
        header_read_timeout: LIMIT,
        ..ServeSettings::default()
    })
    .await;
    let mut late = world.open("").await;
    // The silence is what is under test: three quarters of the limit are gone when the head begins.
    tokio::time::sleep(LIMIT * 3 / 4).await;
    // Had the late one a second time from here, this one, which opens before it begins, would end first.
    let fresh = world.open("").await;
    late.write_all(b"GET /big HTTP/1.1\r\nhost: te").await.unwrap();
    tokio::select! {
        said = rest_of(late) => assert_eq!(said, ""),
        said = rest_of(fresh) => panic!("the head that began late has a second time: {said}"),
    }
    world.ends().await;
}

#[tokio::test]
async fn r28_a_kept_connection_answers_again_and_is_closed_when_it_falls_silent() {
    let world = World::with(short_reads()).await;
    let mut stream = world
        .open("POST /read HTTP/1.1\r\nhost: test\r\ncontent-length: 2\r\n\r\nab")
        .await;
    assert!(
        answer_of(&mut stream)
            .await
            .contains(r#"{"len":2,"remote":"127.0.0.1"}"#)
    );
    stream
        .write_all(b"POST /read HTTP/1.1\r\nhost: test\r\ncontent-length: 3\r\n\r\nabc")
        .await
        .unwrap();
    assert!(rest_of(stream).await.contains(r#""len":3"#));
    world.ends().await;
}

#[tokio::test]
async fn r27_too_many_headers_and_too_long_ones_are_431_and_closed() {
    let world = World::with(ServeSettings::default()).await;
    let mut full = world.open(&head("/read", HEADERS_MAX)).await;
    assert!(answer_of(&mut full).await.starts_with("HTTP/1.1 200"));
    drop(full);
    assert!(
        world
            .exchange(&head("/read", HEADERS_MAX + 1))
            .await
            .starts_with("HTTP/1.1 431")
    );
    let long = format!(
        "GET / HTTP/1.1\r\nhost: test\r\nx-long: {}\r\n\r\n",
        "x".repeat(500_000)
    );
    assert!(world.exchange(&long).await.starts_with("HTTP/1.1 431"));
    world.ends().await;
}

#[tokio::test]
async fn r30_a_body_over_the_limit_is_413_as_soon_as_that_is_known() {
    let world = World::with(ServeSettings {
        header_read_timeout: LONG,
        ..ServeSettings::default()
    })
    .await;
    let declared = format!(
        "POST /read HTTP/1.1\r\nhost: test\r\ncontent-length: {}\r\n\r\n",
        BODY_LIMIT + 1
    );
    assert!(world.exchange(&declared).await.starts_with("HTTP/1.1 413"));
    let chunks = "1000\r\n".to_owned() + &"x".repeat(0x1000) + "\r\n";
    let endless = "POST /read HTTP/1.1\r\nhost: test\r\ntransfer-encoding: chunked\r\n\r\n".to_owned()
        + &chunks.repeat(17);
    assert!(world.exchange(&endless).await.starts_with("HTTP/1.1 413"));
    world.ends().await;
}

#[tokio::test]
async fn r28_a_body_that_stalls_is_408_at_its_deadline() {
    let limits = BodyLimits {
        deadline: SHORT,
        ..BodyLimits::default()
    };
    let world = World::start(ServeSettings::default(), limits).await;
    for stalled in [
        "POST /read HTTP/1.1\r\nhost: test\r\ncontent-length: 9\r\n\r\nhalf",
        "POST /read HTTP/1.1\r\nhost: test\r\ntransfer-encoding: chunked\r\n\r\n4\r\nhalf\r\n",
    ] {
        assert!(world.exchange(stalled).await.starts_with("HTTP/1.1 408"));
    }
    world.ends().await;
}

#[tokio::test]
async fn r29_bodies_beyond_the_budget_are_503() {
    let limits = BodyLimits {
        budget: ByteBudget::new(10),
        ..BodyLimits::default()
    };
    let world = World::start(ServeSettings::default(), limits).await;
    let answer = world
        .exchange(
            "POST /read HTTP/1.1\r\nhost: test\r\nconnection: close\r\ncontent-length: 11\r\n\r\n01234567890",
        )
        .await;
    assert!(
        answer.starts_with("HTTP/1.1 503") && answer.contains("retry-after: 1"),
        "{answer}"
    );
    let answer = world
        .exchange(
            "POST /read HTTP/1.1\r\nhost: test\r\nconnection: close\r\ncontent-length: 10\r\n\r\n0123456789",
        )
        .await;
    assert!(
        answer.starts_with("HTTP/1.1 200"),
        "what was refused took nothing: {answer}"
    );
    world.ends().await;
}

#[tokio::test]
async fn r28_a_client_that_does_not_read_its_answer_is_cut() {
    let world = World::with(ServeSettings {
        write_timeout: SHORT,
        ..ServeSettings::default()
    })
    .await;
    let unread = world.open("GET /big HTTP/1.1\r\nhost: test\r\n\r\n").await;
    // Draining waits for every answer, so it ends only because this connection was cut.
    unread.readable().await.unwrap();
    world.ends().await;
    drop(unread);
}

/// Each new answer finds room, since the one that nobody reads is evicted with its connection. Who reads gets all of
/// it.
#[tokio::test]
async fn r44_answers_that_nobody_reads_are_evicted_and_who_reads_gets_all() {
    let world = World::with(ServeSettings::default()).await;
    let request = "GET /big HTTP/1.1\r\nhost: test\r\n\r\n";
    let mut unread = Vec::new();
    for _ in 0..4 {
        let stream = world.open(request).await;
        // Its answer has begun, so its place is taken.
        stream.readable().await.unwrap();
        assert!(world.answers.left() < ANSWERS);
        unread.push(stream);
    }
    let read = world
        .exchange(&request.replace("\r\n\r\n", "\r\nconnection: close\r\n\r\n"))
        .await;
    assert!(read.starts_with("HTTP/1.1 200"), "{}", &read[..12]);
    let (head, body) = read.split_once("\r\n\r\n").unwrap();
    assert!(head.contains(&format!("content-length: {BIG_ANSWER}")), "{head}");
    assert_eq!(body.len(), BIG_ANSWER);
    for mut stream in unread {
        let mut taken = Vec::new();
        // Its connection has ended, in the middle of the answer.
        let _ = timeout(ENDS_WITHIN, stream.read_to_end(&mut taken))
            .await
            .expect("the server has closed it");
        assert!(taken.len() < BIG_ANSWER);
    }
    assert_eq!(world.answers.left(), ANSWERS, "every place is free again");
    world.ends().await;
}

#[tokio::test]
async fn r29_half_a_head_and_no_more_is_closed_at_once() {
    let world = World::with(ServeSettings {
        header_read_timeout: LONG,
        ..ServeSettings::default()
    })
    .await;
    for begun in ["", "GET /big HT"] {
        let mut stream = world.open(begun).await;
        stream.shutdown().await.unwrap();
        assert_eq!(rest_of(stream).await, "", "{begun}");
    }
    world.ends().await;
}

#[tokio::test]
async fn r29_connections_beyond_the_cap_are_asked_to_come_back() {
    let world = World::with(ServeSettings {
        connections_max: 1,
        ..ServeSettings::default()
    })
    .await;
    let first = world.open("GET /held HTTP/1.1\r\nhost: test\r\n\r\n").await;
    world.hold.entered.notified().await;
    let refused = world.exchange("").await;
    assert!(
        refused.starts_with("HTTP/1.1 503") && refused.contains("retry-after: 1"),
        "{refused}"
    );
    world.hold.release.notify_one();
    first.readable().await.unwrap();
    drop(first);
    // The place is free again as soon as the server has seen the close.
    while !world
        .exchange("POST /read HTTP/1.1\r\nhost: test\r\nconnection: close\r\n\r\n")
        .await
        .starts_with("HTTP/1.1 200")
    {}
    world.ends().await;
}

#[tokio::test]
async fn r29_connections_beyond_those_are_answered_as_well() {
    let world = World::with(ServeSettings {
        connections_max: 1,
        ..ServeSettings::default()
    })
    .await;
    let first = world.open("GET /held HTTP/1.1\r\nhost: test\r\n\r\n").await;
    world.hold.entered.notified().await;
    // They hold their own end open, so that each refusal lingers.
    let mut beyond = Vec::new();
    for _ in 0..REFUSALS_MAX + 50 {
        let mut stream = TcpStream::connect(world.address).await.unwrap();
        let answer = answer_of(&mut stream).await;
        assert!(answer.starts_with("HTTP/1.1 503"), "{}: {answer}", beyond.len());
        beyond.push(stream);
    }
    world.hold.release.notify_one();
    drop((first, beyond));
    world.ends().await;
}

#[tokio::test]
async fn r31_http_2_is_not_spoken() {
    let world = World::with(short_reads()).await;
    let answer = world.exchange("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await;
    assert!(
        !answer.contains("HTTP/2") && !answer.contains(" 200 "),
        "{answer}"
    );
    world.ends().await;
}
