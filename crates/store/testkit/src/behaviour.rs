//! What a single transaction does, case by case.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use base_types::{Fault, FaultKind};
use bytes::Bytes;
use store_api::{Direction, Exceeded, Key, Position, Store, Tx};

use crate::fixture::{Failed, key, queue_key, root};

async fn put(store: &Store, name: &'static str, value: &'static str) {
    store.transact(move |tx| tx.put(&key(name), value)).await.unwrap();
}

async fn get(store: &Store, name: &'static str) -> Option<Bytes> {
    store.view(move |tx| tx.get(&key(name))).await.unwrap()
}

fn names(entries: &[(Key, Bytes)]) -> Vec<String> {
    entries.iter().map(|(key, _)| key.last_str().unwrap()).collect()
}

pub(crate) async fn reads_see_own_writes(store: Store) {
    put(&store, "b", "old").await;
    let seen: Vec<_> = store
        .transact(|tx: &Tx| {
            tx.put(&key("a"), "1")?;
            tx.put(&key("b"), "new")?;
            tx.put(&key("c"), "3")?;
            tx.delete(&key("c"))?;
            assert_eq!(tx.get(&key("a"))?.as_deref(), Some(&b"1"[..]));
            assert_eq!(tx.snapshot_get(&key("b"))?.as_deref(), Some(&b"new"[..]));
            assert_eq!(tx.get_many(&[key("a"), key("c")])?, [Some(Bytes::from("1")), None]);
            tx.scan(&root().prefix(), 9, Direction::Forward)
        })
        .await
        .unwrap();
    assert_eq!(names(&seen), ["a", "b"]);
    assert_eq!(seen[1].1, "new");
    assert_eq!(get(&store, "b").await.unwrap(), "new", "an acknowledged write is seen by the next view");
    assert_eq!(get(&store, "c").await, None);
}

pub(crate) async fn a_failed_body_leaves_nothing(store: Store) {
    put(&store, "a", "1").await;
    let failed = store
        .transact(|tx: &Tx| {
            tx.put(&key("a"), "2")?;
            tx.put(&key("b"), "2")?;
            Err::<(), _>(Failed::Refused)
        })
        .await;
    assert!(failed.unwrap_err().is_refusal());
    assert_eq!(get(&store, "a").await.unwrap(), "1");
    assert_eq!(get(&store, "b").await, None);
}

pub(crate) async fn a_panicking_body_fails_alone(store: Store) {
    put(&store, "a", "1").await;
    let failed = store
        .transact(|tx: &Tx| -> Result<(), Fault> {
            tx.put(&key("a"), "2")?;
            // Not `panic!`: this must not print a backtrace for every run of the suite.
            std::panic::resume_unwind(Box::new("on purpose"))
        })
        .await;
    let fault = failed.expect_err("the panic is reported");
    assert_eq!(fault.kind(), FaultKind::Internal);
    assert!(format!("{fault:?}").contains("on purpose"), "{fault:?}");
    let failed = store.view(|_: &Tx| -> Result<(), Fault> { std::panic::resume_unwind(Box::new("again")) }).await;
    assert!(failed.is_err());
    assert_eq!(get(&store, "a").await.unwrap(), "1");
    put(&store, "a", "3").await;
    assert_eq!(get(&store, "a").await.unwrap(), "3", "the store goes on");
}

pub(crate) async fn scans_page_in_both_directions(store: Store) {
    store
        .transact(|tx: &Tx| {
            for n in 0..200u64 {
                tx.put(&root().str("page").u64(n), n.to_string())?;
            }
            tx.put(&root().str("pagf"), "not below")
        })
        .await
        .unwrap();
    for direction in [Direction::Forward, Direction::Reverse] {
        let all = store
            .view(move |tx: &Tx| {
                let (mut all, mut range) = (Vec::new(), root().str("page").prefix());
                loop {
                    let page = tx.scan(&range, 7, direction)?;
                    let Some((last, _)) = page.last() else { return Ok::<_, Fault>(all) };
                    range = match direction {
                        Direction::Forward => range.after(last),
                        Direction::Reverse => range.before(last),
                    };
                    all.extend(page.into_iter().map(|(_, value)| value));
                }
            })
            .await
            .unwrap();
        let mut expected: Vec<_> = (0..200u64).map(|n| Bytes::from(n.to_string())).collect();
        if direction == Direction::Reverse {
            expected.reverse();
        }
        assert_eq!(all, expected);
    }
    let none = store.view(|tx: &Tx| tx.scan(&root().prefix(), 0, Direction::Forward)).await.unwrap();
    assert!(none.is_empty());
}

pub(crate) async fn counters_add_up(store: Store) {
    for _ in 0..3 {
        let within = store
            .transact(|tx: &Tx| {
                tx.add(&key("n"), 5)?;
                tx.add(&key("n"), -1)?;
                tx.counter(&key("n"))
            })
            .await
            .unwrap();
        assert_eq!(within % 4, 0);
    }
    let total = store.view(|tx: &Tx| tx.counter(&key("n"))).await.unwrap();
    assert_eq!(total, 12);
    let after_delete = store
        .transact(|tx: &Tx| {
            tx.delete(&key("n"))?;
            tx.add(&key("n"), 2)?;
            tx.counter(&key("n"))
        })
        .await
        .unwrap();
    assert_eq!(after_delete, 2);
    put(&store, "text", "no number").await;
    let fault = store.transact(|tx: &Tx| tx.add(&key("text"), 1)).await.unwrap_err();
    assert!(fault.to_string().contains("counter"), "{fault}");
}

pub(crate) async fn streams_are_ordered_and_stable(store: Store) {
    let stream = queue_key("stream");
    let mut written = Vec::new();
    for n in 0..4u8 {
        let stream = stream.clone();
        let (first, second) = store
            .transact(move |tx: &Tx| Ok::<_, Fault>((tx.append(&stream, vec![n, 0])?, tx.append(&stream, vec![n, 1])?)))
            .await
            .unwrap();
        written.extend([first, second].map(|handle| handle.position().expect("filled in by the commit")));
    }
    assert!(written.is_sorted_by(|a, b| a < b), "{written:?}");
    let (records, stable) = store
        .view({
            let stream = stream.clone();
            move |tx: &Tx| Ok::<_, Fault>((tx.read_stream(&stream, Position::START, 99)?, tx.stable_position()))
        })
        .await
        .unwrap();
    assert_eq!(records.iter().map(|(position, _)| *position).collect::<Vec<_>>(), written);
    assert_eq!(records[3].1, vec![1, 1]);
    assert!(stable >= written[7], "what is acknowledged is stable");
    let (after, stable_before) = (written[5], stable);
    let rest = store.view(move |tx: &Tx| tx.read_stream(&stream, after, 99)).await.unwrap();
    assert_eq!(rest.len(), 2);
    let later = store.transact(|tx: &Tx| tx.append(&queue_key("other"), "x")).await.unwrap();
    assert!(later.position() > Some(stable_before), "nothing appears behind a stable position");
    let rolled_back = Arc::new(slot::Slot::default());
    let slot = Arc::clone(&rolled_back);
    let failed = store
        .transact(move |tx: &Tx| {
            slot.set(tx.append(&queue_key("other"), "never")?);
            Err::<(), _>(Failed::Refused)
        })
        .await;
    assert!(failed.unwrap_err().is_refusal() && rolled_back.take().position().is_none());
}

mod slot {
    //! A place for one value that a body hands out.
    use std::sync::Mutex;

    use store_api::Appended;

    #[derive(Default)]
    pub(super) struct Slot(Mutex<Option<Appended>>);

    impl Slot {
        pub(super) fn set(&self, value: Appended) {
            *self.0.lock().unwrap() = Some(value);
        }

        pub(super) fn take(&self) -> Appended {
            self.0.lock().unwrap().take().expect("the body ran")
        }
    }
}

pub(crate) async fn claims_take_the_head(store: Store) {
    let queue = queue_key("claims");
    for n in 0..6u64 {
        let entry = queue.clone().u64(n);
        store.transact(move |tx| tx.put(&entry, "m")).await.unwrap();
    }
    for expected in [[0, 1], [2, 3], [4, 5]] {
        let range = queue.prefix();
        let taken = store
            .transact(move |tx: &Tx| {
                let taken = tx.claim(&range, 2)?;
                for (key, _) in &taken {
                    tx.delete(key)?;
                }
                assert!(tx.claim(&range, 1)?.iter().all(|again| !taken.contains(again)), "not twice");
                Ok::<_, Fault>(taken)
            })
            .await
            .unwrap();
        let expected: Vec<_> = expected.iter().map(|n| queue.clone().u64(*n)).collect();
        assert_eq!(taken.into_iter().map(|(key, _)| key).collect::<Vec<_>>(), expected);
    }
    // An entry that arrives below everything taken so far is still found.
    let (late, range) = (queue.clone().u64(0), queue.prefix());
    store.transact(move |tx| tx.put(&late, "late")).await.unwrap();
    let found = store.transact(move |tx: &Tx| tx.claim(&range, 1)).await.unwrap();
    assert_eq!(found[0].1, "late");
}

pub(crate) async fn a_view_cannot_write(store: Store) {
    for attempt in [
        store.view(|tx: &Tx| tx.put(&key("a"), "1")).await,
        store.view(|tx: &Tx| tx.delete(&key("a"))).await,
        store.view(|tx: &Tx| tx.add(&key("a"), 1)).await,
        store.view(|tx: &Tx| tx.append(&key("a"), "1").map(drop)).await,
        store.view(|tx: &Tx| tx.claim(&root().prefix(), 1).map(drop)).await,
        store.view(|tx: &Tx| tx.wake(&key("a"), 1)).await,
    ] {
        assert!(attempt.unwrap_err().to_string().contains("read-only"));
    }
    assert_eq!(get(&store, "a").await, None);
}

pub(crate) async fn bounds_give_clear_faults(store: Store) {
    type Body = fn(&Tx) -> Result<(), Fault>;
    let cases: [(&str, Body); 5] = [
        ("reads more than 100000 entries", |tx| (0..100_001).try_for_each(|_| tx.get(&key("a")).map(drop))),
        ("a value is larger", |tx| tx.put(&key("a"), vec![0; (2 << 20) + 1])),
        ("a key is larger", |tx| tx.put(&root().bytes(&[1; 5000]), "1")),
        ("writes more than 8388608 bytes", |tx| (0..9).try_for_each(|n| tx.put(&root().u64(n), vec![0; 1 << 20]))),
        ("writes more than 20000 keys", |tx| (0..20_001).try_for_each(|n| tx.put(&root().u64(n), ""))),
    ];
    for (expected, body) in cases {
        let fault = store.transact(body).await.unwrap_err();
        assert_eq!(fault.kind(), FaultKind::Overloaded);
        assert!(format!("{fault:?}").contains(expected), "{fault:?} should say `{expected}`");
        let swallowed = store.transact(move |tx: &Tx| body(tx).or(Ok::<_, Fault>(()))).await;
        assert!(swallowed.is_err(), "a body cannot swallow `{expected}`");
    }
    let left = store.view(|tx: &Tx| tx.scan(&root().prefix(), 1, Direction::Forward)).await.unwrap();
    assert!(left.is_empty());
}

/// On simulated time only: nobody waits for five seconds here.
pub(crate) async fn a_transaction_grows_too_old(store: Store) {
    let (env, before) = (store.env().clone(), store.env().now());
    let fault = store
        .transact(move |tx: &Tx| {
            tx.put(&key("a"), "late")?;
            env.advance(Duration::from_secs(6));
            if env.now() == before {
                return Err(Fault::from(Exceeded::Age(Duration::from_secs(5))));
            }
            // The fault is swallowed; the commit must notice by itself.
            tx.get(&key("a")).map(drop).or(Ok(()))
        })
        .await
        .unwrap_err();
    assert_eq!(fault.kind(), FaultKind::Conflict);
    assert!(format!("{fault:?}").contains("older than 5s"), "{fault:?}");
    assert_eq!(get(&store, "a").await, None);
}

pub(crate) async fn hooks_run_before_the_answer(store: Store) {
    let ran = Arc::new(AtomicUsize::new(0));
    for expected in 1..=3 {
        let counter = Arc::clone(&ran);
        store
            .transact(move |tx: &Tx| {
                let counter = Arc::clone(&counter);
                tx.put(&key("a"), "1")?;
                tx.on_commit(move || {
                    counter.fetch_add(1, Ordering::SeqCst);
                })
            })
            .await
            .unwrap();
        assert_eq!(ran.load(Ordering::SeqCst), expected, "once per commit, before its answer");
    }
    let counter = Arc::clone(&ran);
    let failed = store
        .transact(move |tx: &Tx| {
            let counter = Arc::clone(&counter);
            tx.on_commit(move || {
                counter.fetch_add(1, Ordering::SeqCst);
            })?;
            Err::<(), _>(Failed::Refused)
        })
        .await;
    assert!(failed.unwrap_err().is_refusal());
    assert_eq!(ran.load(Ordering::SeqCst), 3, "not after a rollback");
}

pub(crate) async fn wake_ups_follow_the_commit(store: Store) {
    let waiter = store.waiter(&key("topic"));
    let waiting = tokio::spawn(waiter.wait());
    let failed = store
        .transact(|tx: &Tx| {
            tx.wake(&key("topic"), 1)?;
            Err::<(), _>(Failed::Refused)
        })
        .await;
    assert!(failed.unwrap_err().is_refusal());
    tokio::task::yield_now().await;
    assert!(!waiting.is_finished(), "a rollback wakes nobody");
    store.transact(|tx: &Tx| tx.wake(&key("topic"), 1)).await.unwrap();
    waiting.await.unwrap();
}

pub(crate) async fn after_shutdown_work_is_refused(store: Store) {
    put(&store, "a", "1").await;
    store.shutdown().await;
    let fault = store.transact(|tx: &Tx| tx.put(&key("a"), "2")).await.unwrap_err();
    assert_eq!(fault.kind(), FaultKind::Unavailable);
    let fault = store.view(|tx: &Tx| tx.get(&key("a"))).await.unwrap_err();
    assert_eq!(fault.kind(), FaultKind::Unavailable);
}
