//! Event invocations: accepted means that they will be run.

use std::{sync::atomic::Ordering, time::Duration};

use base64::{Engine, engine::general_purpose::STANDARD};
use serde_json::{Value, json};
use services_ports::{Attribute, Delivery};

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
    // It cannot run yet: all that is reserved for it is in use.
    world.function("f", "app.hangs_once").await;
    world.call("PutFunctionConcurrency", json!({ "FunctionName": "f", "ReservedConcurrentExecutions": 1 })).await;
    world.host.failures_left.store(1, Ordering::SeqCst);
    let hanging = world.background("f");
    world.eventually("it is in use", || async { world.host.starts() == 1 }).await;
    world.send("f", json!({ "kept": true })).await;
    let world = world.restarted();
    drop(hanging);
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

const QUEUE: &str = "arn:aws:sqs:us-east-1:111111111111:jobs";
const LETTERS: &str = "arn:aws:sqs:us-east-1:111111111111:letters";

impl World {
    /// What the queue was given, as soon as there is as much.
    async fn told(&self, count: usize) -> Vec<(String, Delivery)> {
        self.eventually(&format!("{count} deliveries"), || async {
            self.pass(Duration::from_millis(100)).await;
            self.taken.lock().len() >= count
        })
        .await;
        let taken = self.taken.lock().clone();
        assert_eq!(taken.len(), count);
        taken
    }

    async fn event_config(&self, name: &str, config: Value) {
        let mut input = config;
        input["FunctionName"] = json!(name);
        self.call("PutFunctionEventInvokeConfig", input).await;
    }
}

fn record(delivery: &Delivery) -> Value {
    serde_json::from_slice(&delivery.body).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn destinations_learn_what_became_of_an_event() {
    let world = World::new();
    let config = json!({
        "MaximumRetryAttempts": 0,
        "DestinationConfig": { "OnSuccess": { "Destination": QUEUE }, "OnFailure": { "Destination": LETTERS } },
    });
    for (name, handler, target, condition, error) in [
        ("good", "app.handler", QUEUE, "Success", Value::Null),
        ("bad", "app.fails", LETTERS, "RetriesExhausted", json!("Unhandled")),
    ] {
        let before = world.taken.lock().len();
        world.function(name, handler).await;
        world.event_config(name, config.clone()).await;
        world.send(name, json!({ "n": name })).await;
        let (told, delivery) = world.told(before + 1).await.pop().unwrap();
        let record = record(&delivery);
        assert_eq!((told.as_str(), &record["requestContext"]["condition"]), (target, &json!(condition)));
        assert_eq!(record["requestContext"]["approximateInvokeCount"], 1);
        assert_eq!(
            record["requestContext"]["functionArn"],
            format!("arn:aws:lambda:us-east-1:111111111111:function:{name}:$LATEST")
        );
        assert_eq!((&record["version"], &record["requestPayload"]), (&json!("1.0"), &json!({ "n": name })));
        assert_eq!(
            (&record["responseContext"]["executedVersion"], &record["responseContext"]["functionError"]),
            (&json!("$LATEST"), &error)
        );
        assert_eq!(record["responseContext"]["statusCode"], 200);
    }
    for _ in 0..20 {
        world.pass(Duration::from_secs(60)).await;
    }
    assert_eq!((world.taken.lock().len(), world.host.seen.lock().len()), (2, 2), "told once, and not retried");
    let asynchronous = world.meter.records.lock().iter().filter(|record| record.asynchronous).count();
    assert_eq!(asynchronous, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dead_letter_queue_gets_the_event_itself() {
    let world = World::new();
    let mut input = crate::world::function("f", "app.fails");
    input["DeadLetterConfig"] = json!({ "TargetArn": LETTERS });
    world.call("CreateFunction", input).await;
    world.settled("f").await;
    world.event_config("f", json!({ "MaximumRetryAttempts": 0 })).await;
    world.send("f", json!({ "a": 1 })).await;
    let (target, letter) = world.told(1).await.pop().unwrap();
    assert_eq!((target.as_str(), &letter.body[..]), (LETTERS, &br#"{"a":1}"#[..]));
    let id = world.host.seen.lock()[0].request_id.clone();
    let expected = [
        Attribute::text("RequestID", id),
        Attribute::number("ErrorCode", 200),
        Attribute::text("ErrorMessage", "bad thing"),
    ];
    assert_eq!(letter.attributes, expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_that_may_not_run_or_grew_too_old_is_told_of() {
    let world = World::new();
    world.function("f", "app.fails").await;
    world
        .event_config(
            "f",
            json!({ "MaximumEventAgeInSeconds": 60, "DestinationConfig": { "OnFailure": { "Destination": QUEUE } } }),
        )
        .await;
    world.send("f", json!({})).await;
    let (_, delivery) = world.told(1).await.pop().unwrap();
    assert_eq!(record(&delivery)["requestContext"]["condition"], "EventAgeExceeded");
    assert_eq!(record(&delivery)["responsePayload"]["errorType"], "ValueError");
    world.call("PutFunctionConcurrency", json!({ "FunctionName": "f", "ReservedConcurrentExecutions": 0 })).await;
    world.send("f", json!({})).await;
    let (_, delivery) = world.told(2).await.pop().unwrap();
    let record = record(&delivery);
    assert_eq!(record["requestContext"]["condition"], "ZeroReservedConcurrency");
    assert_eq!((&record["requestContext"]["approximateInvokeCount"], record.get("responseContext")), (&json!(0), None));
    assert_eq!(*world.meter.throttles.lock(), ["ReservedFunctionConcurrentInvocationLimitExceeded"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_function_is_a_destination_and_what_nobody_serves_is_refused() {
    let world = World::new();
    world.function("f", "app.handler").await;
    world.function("g", "app.handler").await;
    let arn = "arn:aws:lambda:us-east-1:111111111111:function:g";
    let to =
        |target: &str| json!({ "FunctionName": "f", "DestinationConfig": { "OnSuccess": { "Destination": target } } });
    for (target, said) in [
        ("arn:aws:s3:::results", "no service `s3` that takes deliveries"),
        (
            "arn:aws:sqs:us-east-1:111111111111:absent",
            "The destination ARN arn:aws:sqs:us-east-1:111111111111:absent is invalid.",
        ),
        ("arn:aws:lambda:us-east-1:111111111111:function:g:7", "is invalid."),
    ] {
        let failure = world.fails("PutFunctionEventInvokeConfig", to(target)).await;
        assert_eq!(failure.code, "InvalidParameterValueException");
        assert!(failure.message.contains(said), "{failure:?}");
    }
    world.call("PutFunctionEventInvokeConfig", to(arn)).await;
    world.send("f", json!({ "n": 1 })).await;
    world.ran(2).await;
    let seen = world.host.seen.lock();
    let record: Value = serde_json::from_slice(&seen[1].payload).unwrap();
    assert_eq!(
        (&record["responsePayload"], &record["requestContext"]["condition"]),
        (&json!({ "n": 1 }), &json!("Success"))
    );
    assert_eq!(seen[1].invoked_function_arn, arn);
    assert_ne!(seen[0].request_id, seen[1].request_id);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_loop_is_cut_after_sixteen_rounds_unless_it_is_meant() {
    let world = World::new();
    // Not the one that answers what it was given: a record holds both, and would double with every round.
    for name in ["f", "g"] {
        world.function(name, "app.page").await;
    }
    for (name, next) in [("f", "g"), ("g", "f")] {
        let next = format!("arn:aws:lambda:us-east-1:111111111111:function:{next}");
        let config = json!({ "OnSuccess": { "Destination": next }, "OnFailure": { "Destination": QUEUE } });
        world.event_config(name, json!({ "DestinationConfig": config })).await;
    }
    world.send("f", json!({})).await;
    let (_, delivery) = world.told(1).await.pop().unwrap();
    assert_eq!(record(&delivery)["responsePayload"]["errorType"], "RecursiveInvocationException");
    assert_eq!(world.host.seen.lock().len(), 32, "sixteen of each");
    for name in ["f", "g"] {
        world.call("PutFunctionRecursionConfig", json!({ "FunctionName": name, "RecursiveLoop": "Allow" })).await;
    }
    world.send("f", json!({})).await;
    world
        .eventually("it goes on", || async {
            world.pass(Duration::from_millis(10)).await;
            world.host.seen.lock().len() > 32 + 64
        })
        .await;
    world.call("DeleteFunction", json!({ "FunctionName": "g" })).await;
}
