use super::*;
use crate::reply;
use futures::StreamExt;
use http::StatusCode;

fn answer(bytes: usize) -> Response {
    reply::bytes_of(StatusCode::OK, "text/plain", vec![b'x'; bytes])
}

#[test]
fn r44_where_room_is_short_the_one_that_was_read_least_lately_is_evicted() {
    let budget = AnswerBudget::new(100);
    let reservations: Vec<_> = (0..4).map(|_| budget.reserve()).collect();
    for reservation in &reservations {
        reservation.grow(25).unwrap();
    }
    reservations[0].was_read();
    let connection = CancellationToken::new();
    reservations[1].ends(&connection);
    let gone = AnswerReservation::is_lost;
    let new = budget.reserve();
    new.grow(30).unwrap();
    assert_eq!(
        reservations.iter().map(gone).collect::<Vec<_>>(),
        [false, true, true, false]
    );
    assert!(!gone(&new));
    assert!(connection.is_cancelled());
    let late = CancellationToken::new();
    reservations[2].ends(&late);
    assert!(late.is_cancelled(), "it was lost before it had a connection");
    assert_eq!(budget.left(), 20, "their room is free at once");
    assert!(
        reservations[1].grow(1).is_err(),
        "a lost reservation takes nothing"
    );
    drop(reservations);
    assert_eq!(budget.left(), 70, "what was taken away is not given back twice");
    drop(new);
    assert_eq!(budget.left(), 100);
}

#[test]
fn r44_one_that_has_no_room_even_alone_is_a_503() {
    let budget = AnswerBudget::new(100);
    let (other, reservation) = (budget.reserve(), budget.reserve());
    other.grow(50).unwrap();
    reservation.grow(50).unwrap();
    let refused = reservation.grow(60).unwrap_err();
    assert_eq!(refused.code, ProblemCode::Unavailable);
    assert!(refused.retry_after_seconds.is_some());
    assert!(!other.is_lost(), "none is evicted in vain");
    drop((other, reservation));
    assert_eq!(budget.left(), 100);
}

#[test]
fn what_turns_out_not_to_be_needed_goes_back() {
    let budget = AnswerBudget::new(100);
    let reservation = budget.reserve();
    reservation.grow(60).unwrap();
    let held = reservation.with(answer(20));
    assert_eq!(budget.left(), 80);
    drop(held);
    assert_eq!(budget.left(), 100);
}

#[tokio::test]
async fn r44_an_answer_keeps_its_place_until_its_last_byte_is_written() {
    const LEN: usize = CHUNK_BYTES * 2 + 1;
    let budget = AnswerBudget::new(LEN);
    let held = budget.within_budget(answer(LEN)).await.unwrap();
    assert_eq!(held.headers()[CONTENT_LENGTH], LEN.to_string());
    assert_eq!(budget.left(), 0);
    let mut body = held.into_body().into_data_stream();
    let mut written = Vec::new();
    while let Some(chunk) = body.next().await {
        written.push(chunk.unwrap());
    }
    drop(body);
    assert_eq!(written.iter().map(Bytes::len).sum::<usize>(), LEN);
    assert_eq!(budget.left(), 0, "the socket has not taken all of it");
    drop(written);
    assert_eq!(budget.left(), LEN);
}

#[tokio::test]
async fn r44_an_answer_that_gave_way_is_never_whole() {
    let budget = AnswerBudget::new(CHUNK_BYTES * 3);
    let mut slow = budget
        .within_budget(answer(CHUNK_BYTES * 2))
        .await
        .unwrap()
        .into_body()
        .into_data_stream();
    assert!(slow.next().await.unwrap().is_ok());
    let _next = budget.within_budget(answer(CHUNK_BYTES * 2)).await.unwrap();
    assert!(slow.next().await.unwrap().is_err());
}

#[tokio::test]
async fn a_small_answer_needs_no_place() {
    let budget = AnswerBudget::new(0);
    let held = budget.within_budget(answer(ANSWER_BYTES_FREE)).await.unwrap();
    assert_eq!(
        held.into_body().collect().await.unwrap().to_bytes().len(),
        ANSWER_BYTES_FREE
    );
    assert!(budget.within_budget(answer(ANSWER_BYTES_FREE + 1)).await.is_err());
}
