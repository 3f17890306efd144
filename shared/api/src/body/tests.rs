use super::*;
use futures::{pin_mut, poll, stream};
use std::{future::Future, pin::Pin};

fn chunks(sizes: &[usize]) -> BodyStream {
    let chunks: Vec<_> = sizes
        .iter()
        .map(|size| Ok(Bytes::from(vec![b'x'; *size])))
        .collect();
    stream::iter(chunks).boxed()
}

/// Beside other bodies, room for slow ones that cost so many bytes in all.
fn limits(slow: usize) -> BodyLimits {
    BodyLimits {
        budget: ByteBudget::new(budget::SLOW_DIVISOR * slow),
        deadline: BODY_DEADLINE,
    }
}

/// A body that is declared longer than this beginning, which is all that comes.
fn stalled(begun: usize, limits: &BodyLimits) -> Pin<Box<impl Future<Output = Result<Body, BodyError>>>> {
    let chunks = chunks(&[begun]).chain(stream::pending());
    Box::pin(read(chunks, Some(100_000), 100_000, limits))
}

#[tokio::test]
async fn exactly_the_limit_is_read_and_one_more_is_not() {
    let limits = limits(1000);
    for sizes in [&[10][..], &[4, 6], &[1, 2, 3, 4]] {
        assert_eq!(
            read(chunks(sizes), None, 10, &limits).await.unwrap().len(),
            10,
            "{sizes:?}"
        );
    }
    for sizes in [&[11][..], &[10, 1], &[5, 5, 1]] {
        assert_eq!(
            read(chunks(sizes), None, 10, &limits).await.unwrap_err(),
            BodyError::TooLarge
        );
    }
    assert_eq!(limits.budget.left(), 2000);
}

#[tokio::test]
async fn a_declared_length_over_the_limit_is_refused_unread() {
    let unread = stream::pending::<Result<Bytes, Broken>>().boxed();
    for declared in [11, u64::MAX] {
        let unread = stream::pending::<Result<Bytes, Broken>>().boxed();
        assert_eq!(
            read(unread, Some(declared), 10, &limits(100)).await.unwrap_err(),
            BodyError::TooLarge
        );
    }
    drop(unread);
}

#[tokio::test(start_paused = true)]
async fn an_endless_trickle_ends_at_the_deadline() {
    let trickle = stream::unfold((), |()| async {
        sleep(Duration::from_secs(1)).await;
        Some((Ok(Bytes::from_static(b"x")), ()))
    });
    let limits = limits(READING_BYTES + 1000);
    let before = limits.budget.left();
    let begun = tokio::time::Instant::now();
    let error = read(trickle.boxed(), None, 1000, &limits).await.unwrap_err();
    assert_eq!((error, begun.elapsed()), (BodyError::TooSlow, BODY_DEADLINE));
    assert_eq!(
        limits.budget.left(),
        before,
        "a body that failed gives its bytes back"
    );
}

#[tokio::test]
async fn bodies_share_one_budget_and_give_it_back() {
    let limits = limits(15);
    let held = read(chunks(&[10, 10]), None, 100, &limits).await.unwrap();
    assert_eq!(
        read(chunks(&[6, 5]), None, 100, &limits).await.unwrap_err(),
        BodyError::OverBudget
    );
    assert_eq!(limits.budget.left(), 10);
    let (bytes, reservation) = held.into_parts();
    drop(bytes);
    assert_eq!(limits.budget.left(), 10, "the reservation outlives the bytes");
    drop(reservation);
    assert_eq!(read(chunks(&[30]), None, 100, &limits).await.unwrap().len(), 30);
}

#[tokio::test]
async fn a_body_is_whole_with_its_last_declared_byte() {
    let (never_ended, limits) = (chunks(&[4, 6]).chain(stream::pending()), limits(100));
    let body = read(never_ended, Some(10), 100, &limits);
    pin_mut!(body);
    let Poll::Ready(body) = poll!(body) else {
        panic!("it waits for an end")
    };
    assert_eq!(body.unwrap().len(), 10);
}

#[tokio::test]
async fn r29_a_body_on_its_way_costs_more_than_its_bytes() {
    let limits = limits(2 * READING_BYTES + 100);
    let mut slow = [stalled(40, &limits), stalled(60, &limits)];
    for one in &mut slow {
        assert!(poll!(one).is_pending());
    }
    assert_eq!(limits.budget.left(), 2 * READING_BYTES + 100);
    drop(slow);
    assert_eq!(limits.budget.left(), 4 * READING_BYTES + 200);
}

#[tokio::test]
async fn r29_slow_bodies_are_evicted_for_newer_ones_and_never_take_from_whole_ones() {
    const PLACES: usize = 4;
    let limits = limits(PLACES * (READING_BYTES + 10));
    let half = limits.budget.left() / 2;
    let mut slow: Vec<_> = (0..100).map(|_| stalled(10, &limits)).collect();
    for one in &mut slow {
        assert!(poll!(one).is_pending());
        assert!(limits.budget.left() >= half, "the other half is not theirs");
    }
    let whole = read(chunks(&[half]), u64::try_from(half).ok(), half, &limits);
    assert_eq!(whole.await.unwrap().len(), half, "one that is there finds room");
    for (place, one) in slow.iter_mut().enumerate() {
        let gave_way = matches!(poll!(one), Poll::Ready(Err(BodyError::OverBudget)));
        assert_eq!(gave_way, place < 100 - PLACES, "{place}");
    }
    let mut late = chunks(&[10]).chain(stream::iter([Ok(Bytes::from_static(b"!"))]));
    let mut paused = true;
    let in_two = stream::poll_fn(move |context| {
        // What comes after the first poll comes late.
        if std::mem::replace(&mut paused, false) {
            context.waker().wake_by_ref();
            return Poll::Pending;
        }
        late.poll_next_unpin(context)
    });
    assert_eq!(
        read(in_two, None, 100, &limits).await.unwrap().len(),
        11,
        "the newest has a place"
    );
    drop(slow);
    assert_eq!(limits.budget.left(), 2 * half);
}

#[tokio::test]
async fn r29_what_grows_past_the_slow_share_is_evicted_itself() {
    let limits = limits(READING_BYTES + 50);
    let before = limits.budget.left();
    let mut paused = true;
    let grows = stream::poll_fn(move |context| {
        if std::mem::replace(&mut paused, false) {
            context.waker().wake_by_ref();
            return Poll::Pending;
        }
        Poll::Ready(Some(Ok(Bytes::from_static(b"0123456789"))))
    });
    assert_eq!(
        read(grows, None, 1000, &limits).await.unwrap_err(),
        BodyError::OverBudget
    );
    assert_eq!(limits.budget.left(), before);
}

#[tokio::test]
async fn a_broken_body_is_an_error() {
    let broken = stream::iter([Ok(Bytes::from_static(b"x")), Err(Broken)]).boxed();
    assert_eq!(
        read(broken, Some(2), 10, &limits(100)).await.unwrap_err(),
        BodyError::Broken
    );
}
