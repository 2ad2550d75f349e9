//! Event invocations: accepted means that they will be run.

use std::{sync::atomic::Ordering, time::Duration};

use base64::{Engine, engine::general_purpose::STANDARD};
use serde_json::{Value, json};

use crate::world::World;

impl World {
    async fn send(&self, name: &str, payload: Value) {
        let input = json!({
            "FunctionName": name, "InvocationType": "Event", "Payload": STANDARD.encode(payload.to_string())
        });
        let answer = self.call("Invoke", input).await;
        assert_eq!((&answer["StatusCode"], &answer["Payload"]), (&json!(202), &json!("")));
    }

    async fn ran(&self, times: usize) {
        self.eventually(&format!("{times} attempts"), || async { self.host.seen.lock().len() == times }).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_is_run_and_retried_with_the_same_request_id() {
    let world = World::new();
    world.function("f", "app.fails").await;
    world.send("f", json!({ "n": 1 })).await;
    world.ran(1).await;
    for (pause, before) in [(60, 1), (120, 2)] {
        world.env.advance(Duration::from_secs(pause - 2));
        tokio::task::yield_now().await;
        assert_eq!(world.host.seen.lock().len(), before, "not before its time");
        // The end of the attempt was written a moment ago: the pause counts from there.
        world
            .eventually("the retry", || async {
                world.pass(Duration::from_millis(500)).await;
                world.host.seen.lock().len() == before + 1
            })
            .await;
    }
    for _ in 0..100 {
        world.pass(Duration::from_secs(60)).await;
    }
    let seen = world.host.seen.lock();
    assert_eq!(seen.len(), 3, "two retries and no more");
    assert!(
        seen.iter().all(|attempt| attempt.request_id == seen[0].request_id && &attempt.payload[..] == br#"{"n":1}"#)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_accepted_event_is_run_after_a_restart() {
    let world = World::new();
    // It cannot run yet: nothing is reserved for it.
    world.function("f", "app.handler").await;
    world.call("PutFunctionConcurrency", json!({ "FunctionName": "f", "ReservedConcurrentExecutions": 0 })).await;
    world.send("f", json!({ "kept": true })).await;
    let world = world.restarted();
    world.call("DeleteFunctionConcurrency", json!({ "FunctionName": "f" })).await;
    world
        .eventually("it runs", || async {
            world.pass(Duration::from_secs(1)).await;
            world.host.seen.lock().len() == 1
        })
        .await;
    assert_eq!(&world.host.seen.lock()[0].payload[..], br#"{"kept":true}"#);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_whose_attempt_was_cut_off_is_run_again() {
    let world = World::new();
    world.function("f", "app.hangs_once").await;
    world.host.failures_left.store(1, Ordering::SeqCst);
    world.send("f", json!({ "n": 1 })).await;
    world.eventually("the attempt is under way", || async { world.host.starts() == 1 }).await;
    // The process dies in the middle: its lease expires, and the next one gives back what was running.
    let world = world.restarted();
    world
        .eventually("it is run again", || async {
            world.pass(Duration::from_secs(1)).await;
            world.host.seen.lock().len() == 1
        })
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_that_fails_once_is_done_after_its_retry() {
    let world = World::new();
    world.function("f", "app.flaky").await;
    world.host.failures_left.store(1, Ordering::SeqCst);
    world.send("f", json!({})).await;
    world
        .eventually("both attempts", || async {
            world.pass(Duration::from_secs(5)).await;
            world.host.seen.lock().len() == 2
        })
        .await;
    for _ in 0..50 {
        world.pass(Duration::from_secs(60)).await;
    }
    assert_eq!(world.host.seen.lock().len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn many_events_are_all_run() {
    let world = World::new();
    world.function("f", "app.handler").await;
    for n in 0..150 {
        world.send("f", json!(n)).await;
    }
    world
        .eventually("all of them", || async {
            world.pass(Duration::from_millis(10)).await;
            world.host.seen.lock().len() == 150
        })
        .await;
    let mut payloads: Vec<u64> =
        world.host.seen.lock().iter().map(|seen| serde_json::from_slice(&seen.payload).unwrap()).collect();
    payloads.sort_unstable();
    assert_eq!(payloads, (0..150).collect::<Vec<_>>());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_for_a_deleted_function_reaches_nobody() {
    let world = World::new();
    world.function("f", "app.handler").await;
    world.call("PutFunctionConcurrency", json!({ "FunctionName": "f", "ReservedConcurrentExecutions": 0 })).await;
    world.send("f", json!({})).await;
    world.call("DeleteFunction", json!({ "FunctionName": "f" })).await;
    world.function("f", "app.later").await;
    for _ in 0..100 {
        world.pass(Duration::from_secs(30)).await;
    }
    // An attempt that was under way during the deletion may still have reached the first function.
    let handlers = world.host.handlers.lock();
    assert!(!handlers.contains(&"app.later".to_owned()), "a later function of the same name is another function");
    assert!(handlers.len() <= 1, "and nothing is left of the event: {handlers:?}");
}
