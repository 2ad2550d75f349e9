//! Many clients at one place: a hot key, a queue's head.

use std::{collections::BTreeSet, time::Duration};

use base_types::Fault;
use store_api::{Direction, Store, Tx};

use crate::fixture::{key, queue_key};

/// `clients` read, change and write one key, `each` times: none is lost, and nobody waits for ever.
pub async fn a_hot_key_serves_everyone(store: Store, clients: u64, each: u64) {
    let tasks: Vec<_> = (0..clients)
        .map(|_| {
            let store = store.clone();
            tokio::spawn(async move {
                for _ in 0..each {
                    let body = |tx: &Tx| {
                        let n =
                            tx.get(&key("hot"))?.map_or(0, |value| u64::from_be_bytes(value[..].try_into().unwrap()));
                        tx.put(&key("hot"), (n + 1).to_be_bytes().to_vec())
                    };
                    store.transact(body).await.unwrap();
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
    let total = store.view(|tx: &Tx| tx.get(&key("hot"))).await.unwrap().unwrap();
    assert_eq!(u64::from_be_bytes(total[..].try_into().unwrap()), clients * each);
}

/// `takers` empty one queue, sleeping when it is empty, while messages arrive: each message is taken exactly once.
pub async fn takers_share_a_queue_head(store: Store, takers: usize, messages: u64) {
    let queue = queue_key("shared");
    let taking: Vec<_> = (0..takers).map(|_| tokio::spawn(take_until_the_end(store.clone()))).collect();
    for n in 0..messages {
        let entry = queue.clone().u64(n);
        let send = move |tx: &Tx| {
            tx.put(&entry, n.to_be_bytes().to_vec())?;
            tx.wake(&queue_key("shared"), 1)
        };
        store.transact(send).await.unwrap();
    }
    store.transact(|tx: &Tx| tx.put(&key("end"), "")).await.unwrap();
    store.transact(|tx: &Tx| tx.wake(&queue_key("shared"), usize::MAX)).await.unwrap();
    let mut taken = Vec::new();
    for taker in taking {
        taken.extend(taker.await.unwrap());
    }
    assert_eq!(taken.len() as u64, messages, "none twice, none lost");
    let distinct: BTreeSet<_> = taken.into_iter().collect();
    assert_eq!(distinct.len() as u64, messages);
}

async fn take_until_the_end(store: Store) -> Vec<Vec<u8>> {
    let mut taken = Vec::new();
    loop {
        let waiter = store.waiter(&queue_key("shared"));
        let take = |tx: &Tx| {
            let found = tx.claim(&queue_key("shared").prefix(), 1)?;
            for (key, _) in &found {
                tx.delete(key)?;
            }
            Ok::<_, Fault>((found, tx.get(&key("end"))?.is_some()))
        };
        match store.transact(take).await.unwrap() {
            (found, _) if !found.is_empty() => taken.extend(found.into_iter().map(|(_, value)| value.to_vec())),
            (_, true) => return taken,
            // A lost wake-up would show as a hang: no timeout here.
            (_, false) => waiter.wait().await,
        }
    }
}

/// Reading a queue's head costs the same after `deletes` entries were put and deleted before it. On a real clock.
pub async fn a_queue_head_stays_flat(store: Store, deletes: u64) {
    let queue = queue_key("head");
    let last = queue.clone().u64(u64::MAX);
    store.transact(move |tx: &Tx| tx.put(&last, "last")).await.unwrap();
    let before = head_time(&store).await;
    for first in (0..deletes).step_by(5000) {
        for put in [true, false] {
            let queue = queue.clone();
            let page = move |tx: &Tx| {
                (first..first + 5000).try_for_each(|n| {
                    let entry = queue.clone().u64(n);
                    if put { tx.put(&entry, "m") } else { tx.delete(&entry) }
                })
            };
            store.transact(page).await.unwrap();
        }
        // The consumers look on as they do in life.
        head_time(&store).await;
    }
    let after = head_time(&store).await;
    // Generous, for noise; walking over even a hundredth of the dead entries would exceed it.
    assert!(after < before * 20 + Duration::from_millis(2), "before {before:?}, after {deletes} deletes {after:?}");
}

/// The best of some reads of the head.
async fn head_time(store: &Store) -> Duration {
    let mut best = Duration::MAX;
    for _ in 0..10 {
        let env = store.env().clone();
        let look = move |tx: &Tx| {
            let begin = env.monotonic();
            let head = tx.claim(&queue_key("head").prefix(), 1)?;
            let elapsed = env.monotonic().since(begin);
            let scanned = tx.scan(&queue_key("head").prefix(), 1, Direction::Forward)?;
            assert_eq!(head, scanned);
            assert_eq!(head.len(), 1);
            Ok::<_, Fault>(elapsed)
        };
        best = best.min(store.transact(look).await.unwrap());
    }
    best
}
