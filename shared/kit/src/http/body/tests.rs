use super::*;
use futures::stream;

fn chunks(sizes: &[usize]) -> BodyStream {
    let chunks: Vec<_> = sizes
        .iter()
        .map(|size| Ok(Bytes::from(vec![b'x'; *size])))
        .collect();
    stream::iter(chunks).boxed()
}

/// Room for so many bytes of one body at a time.
fn limits(bytes: usize) -> BodyLimits {
    BodyLimits {
        budget: ByteBudget::new(READING_BYTES + bytes),
        deadline: BODY_DEADLINE,
    }
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
    assert_eq!(limits.budget.left(), READING_BYTES + 1000);
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
        tokio::time::sleep(Duration::from_secs(1)).await;
        Some((Ok(Bytes::from_static(b"x")), ()))
    });
    let limits = limits(1000);
    let begun = tokio::time::Instant::now();
    let error = read(trickle.boxed(), None, 1000, &limits).await.unwrap_err();
    assert_eq!((error, begun.elapsed()), (BodyError::TooSlow, BODY_DEADLINE));
    assert_eq!(
        limits.budget.left(),
        READING_BYTES + 1000,
        "a body that failed gives its bytes back"
    );
}

#[tokio::test]
async fn bodies_share_one_budget_and_give_it_back() {
    let limits = limits(15);
    let held = read(chunks(&[10]), None, 100, &limits).await.unwrap();
    assert_eq!(
        read(chunks(&[3, 3]), None, 100, &limits).await.unwrap_err(),
        BodyError::NoRoom
    );
    assert_eq!(limits.budget.left(), READING_BYTES + 5);
    let (bytes, reservation) = held.into_parts();
    drop(bytes);
    assert_eq!(
        limits.budget.left(),
        READING_BYTES + 5,
        "the reservation outlives the bytes"
    );
    drop(reservation);
    assert_eq!(read(chunks(&[15]), None, 100, &limits).await.unwrap().len(), 15);
}

#[tokio::test]
async fn r29_a_body_on_its_way_costs_more_than_its_bytes() {
    let limits = limits(READING_BYTES);
    let waiting = || read(stream::pending().boxed(), None, 100, &limits);
    let (first, second) = (waiting(), waiting());
    futures::pin_mut!(first, second);
    assert!(futures::poll!(&mut first).is_pending());
    assert!(futures::poll!(&mut second).is_pending());
    assert_eq!(limits.budget.left(), 0);
    assert_eq!(waiting().await.unwrap_err(), BodyError::NoRoom);
}

#[tokio::test]
async fn a_broken_body_is_an_error() {
    let broken = stream::iter([Ok(Bytes::from_static(b"x")), Err(Broken)]).boxed();
    assert_eq!(
        read(broken, Some(2), 10, &limits(100)).await.unwrap_err(),
        BodyError::Broken
    );
}
