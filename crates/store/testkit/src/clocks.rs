//! What depends on time: leases and timers. What needs time to pass is tried on simulated time only, so that no test
//! waits.

use std::time::Duration;

use base_types::{Fault, FaultKind};
use store_api::{Store, Tx};

use crate::fixture::{key, queue_key};

const TTL: Duration = Duration::from_secs(10);

pub(crate) async fn leases_are_exclusive_and_fence(store: Store) {
    let first = store.lease("sweeper", TTL).await.unwrap().expect("nobody holds it");
    assert_eq!(store.lease("sweeper", TTL).await.unwrap(), None);
    let other = store.lease("other", TTL).await.unwrap();
    assert!(other.is_some(), "another name is another lease");
    let held = first.clone();
    store
        .transact(move |tx: &Tx| {
            tx.require(&held)?;
            tx.put(&key("a"), "1")
        })
        .await
        .unwrap();
    assert!(store.renew_lease(&first).await.unwrap());
    store.end_all_leases().await.unwrap();
    let second = store.lease("sweeper", TTL).await.unwrap().expect("all were ended");
    assert!(second.fence() > first.fence());
    assert!(!store.renew_lease(&first).await.unwrap());
    let late = store
        .transact(move |tx: &Tx| {
            tx.put(&key("a"), "late")?;
            tx.require(&first)
        })
        .await;
    assert_eq!(late.unwrap_err().kind(), FaultKind::Conflict);
    let value = store.view(|tx: &Tx| tx.get(&key("a"))).await.unwrap();
    assert_eq!(value.unwrap(), "1", "work under a lost lease did not commit");
    store.release_lease(second.clone()).await.unwrap();
    let third = store.lease("sweeper", TTL).await.unwrap().expect("it was released");
    let before = store.env().now();
    store.env().advance(TTL);
    if store.env().now().since(before) >= TTL {
        assert!(!store.renew_lease(&third).await.unwrap(), "it has expired");
        assert!(store.lease("sweeper", TTL).await.unwrap().is_some());
    }
}

pub(crate) async fn timers_are_due_in_order(store: Store) {
    let now = store.env().now();
    let (a, b) = (queue_key("a"), queue_key("b"));
    store
        .transact({
            let (a, b) = (a.clone(), b.clone());
            move |tx: &Tx| {
                tx.set_timer("sqs", &a, tx.now() + Duration::from_secs(3600))?;
                tx.set_timer("sqs", &b, tx.now() + Duration::from_secs(7200))?;
                tx.set_timer("other", &b, tx.now())
            }
        })
        .await
        .unwrap();
    let due = store.transact(|tx: &Tx| tx.due_timers("sqs", 9)).await.unwrap();
    assert!(due.is_empty(), "groups are apart and nothing is due yet");
    let waiting = tokio::spawn({
        let store = store.clone();
        async move { store.timer_due("sqs").await }
    });
    tokio::task::yield_now().await;
    assert!(!waiting.is_finished());
    // `b` moves to the front: the sleeper must notice.
    store
        .transact({
            let b = b.clone();
            move |tx: &Tx| tx.set_timer("sqs", &b, now)
        })
        .await
        .unwrap();
    waiting.await.unwrap().unwrap();
    let due = store.view(|tx: &Tx| tx.due_timers("sqs", 9)).await.unwrap();
    assert_eq!(due, [(b.clone(), now)]);
    let left = store
        .transact(move |tx: &Tx| {
            tx.cancel_timer("sqs", &b)?;
            tx.cancel_timer("sqs", &b)?;
            Ok::<_, Fault>((tx.timer("sqs", &a)?, tx.timer("sqs", &b)?, tx.due_timers("sqs", 9)?))
        })
        .await
        .unwrap();
    assert!(left.0.is_some() && left.1.is_none() && left.2.is_empty());
}
