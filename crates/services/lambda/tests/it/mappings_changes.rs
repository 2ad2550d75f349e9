//! What may be changed of a mapping and when; what is refused; and a process that works on after it lost the lease.

use std::{sync::atomic::Ordering, time::Duration};

use model_sqs::{ReceiveMessageRequest, Request, Response};
use serde_json::{Value, json};

use crate::{
    mappings::{QUEUE, Steps as _},
    world::World,
};

const LEASE: &str = "lambda.mappings";

impl World {
    /// What a client receives of `q`: text, and how often it was received.
    async fn received(&self) -> Vec<(String, String)> {
        let request = ReceiveMessageRequest {
            queue_url: "http://127.0.0.1:4566/111111111111/q".to_owned(),
            max_number_of_messages: Some(10),
            message_system_attribute_names: Some(vec!["All".to_owned()]),
            ..Default::default()
        };
        let Response::ReceiveMessage(found) = self.ask(Request::ReceiveMessage(Box::new(request))).await else {
            panic!("it answers something else")
        };
        let count = |of: &model_sqs::Message| of.attributes.as_ref().unwrap()["ApproximateReceiveCount"].clone();
        found.messages.into_iter().flatten().map(|it| (it.body.clone().unwrap(), count(&it))).collect()
    }

    async fn one_runs(&self) {
        self.until("a batch runs", || async { self.host.waiting.load(Ordering::SeqCst) == 1 }).await;
    }
}

/// One thread: nothing of the server runs between two steps of the test that do not wait.
#[tokio::test]
async fn who_has_lost_the_lease_neither_takes_nor_deletes_nor_gives_back() {
    let world = World::new();
    world.queue("q", &[("VisibilityTimeout", "90")]).await;
    world.function("f", "app.waits").await;
    world.connect(json!({ "FunctionName": "f", "BatchSize": 1 })).await;
    world.send_to("q", "one").await;
    world.one_runs().await;
    // The process stood still for longer than its lease lasts, and another took over.
    world.env.advance(Duration::from_secs(31));
    let other = world.store.lease(LEASE, Duration::from_secs(600)).await.unwrap().expect("the lease has run out");
    world.host.gate.send_replace(true);
    world.send_to("q", "two").await;
    for _ in 0..5 {
        world.pass(Duration::from_secs(5)).await;
    }
    assert_eq!(world.host.seen.lock().len(), 1, "it takes nothing more");
    assert_eq!(world.left("q").await, (1, 1), "and what it had taken is neither deleted nor given back");
    assert_eq!(world.received().await, [("two".to_owned(), "1".to_owned())]);
    // What was worked off under a lost lease comes to whoever has it.
    world.pass(Duration::from_secs(35)).await;
    assert_eq!(world.received().await, [("one".to_owned(), "2".to_owned())]);
    world.store.release_lease(other).await.unwrap();
    // The lease is free again: the process asks for it and goes on.
    world.send_to("q", "three").await;
    world.until("the next one is worked off", || async { world.host.seen.lock().len() == 2 }).await;
    assert_eq!(world.texts(), [["one"], ["three"]]);
}

/// The same, when the mapping ends meanwhile: what was taken and not begun is the other's.
#[tokio::test]
async fn who_has_lost_the_lease_does_not_make_visible_what_another_counts_on() {
    let world = World::new();
    world.queue("q", &[("VisibilityTimeout", "30")]).await;
    world.function("f", "app.handler").await;
    let window = json!({ "FunctionName": "f", "BatchSize": 10, "MaximumBatchingWindowInSeconds": 200 });
    world.connect(window).await;
    world.send_to("q", "one").await;
    world.until("it is gathered", || async { world.left("q").await == (0, 1) }).await;
    world.env.advance(Duration::from_secs(31));
    let _other = world.store.lease(LEASE, Duration::from_secs(600)).await.unwrap().expect("the lease has run out");
    // Its worker gives up what it gathered when it finds out, and may not touch it.
    world.wait(20).await;
    assert_eq!((world.left("q").await, world.host.seen.lock().len()), ((0, 1), 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mapping_that_is_on_its_way_is_in_use() {
    for (queue, fifo) in [("q", ""), ("q.fifo", ".fifo")] {
        let world = World::new();
        world.queue(queue, &[]).await;
        world.function("f", "app.waits").await;
        let arn = format!("{QUEUE}{fifo}");
        let mapping = world.connect(json!({ "FunctionName": "f", "EventSourceArn": arn, "BatchSize": 1 })).await;
        let uuid = mapping["UUID"].as_str().unwrap();
        world.send_to(queue, "one").await;
        world.one_runs().await;
        // It is disabling for as long as its batch runs.
        let disabled = world.call("UpdateEventSourceMapping", json!({ "UUID": uuid, "Enabled": false })).await;
        assert_eq!(disabled["State"], "Disabling");
        for (operation, input, verb) in [
            ("UpdateEventSourceMapping", json!({ "UUID": uuid, "BatchSize": 2 }), "update"),
            ("UpdateEventSourceMapping", json!({ "UUID": uuid, "Enabled": true }), "update"),
            ("DeleteEventSourceMapping", json!({ "UUID": uuid }), "delete"),
        ] {
            let failure = world.fails(operation, input).await;
            let text = format!("Cannot {verb} the event source mapping because it is in use.");
            assert_eq!((failure.status, failure.code.as_str()), (400, "ResourceInUseException"));
            assert_eq!(failure.message, text);
        }
        world.host.gate.send_replace(true);
        world.reaches(uuid, "Disabled").await;
        world.call("UpdateEventSourceMapping", json!({ "UUID": uuid, "BatchSize": 2 })).await;
        world.reaches(uuid, "Disabled").await;
        world.call("DeleteEventSourceMapping", json!({ "UUID": uuid })).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mapping_that_is_deleted_finishes_its_batches_and_takes_nothing_more() {
    let world = World::new();
    world.queue("q", &[]).await;
    world.function("f", "app.waits").await;
    let mapping = world.connect(json!({ "FunctionName": "f", "BatchSize": 1 })).await;
    let uuid = mapping["UUID"].as_str().unwrap();
    world.send_to("q", "one").await;
    world.one_runs().await;
    assert_eq!(world.call("DeleteEventSourceMapping", json!({ "UUID": uuid })).await["State"], "Deleting");
    world.send_to("q", "two").await;
    world.wait(2).await;
    let found = world.call("GetEventSourceMapping", json!({ "UUID": uuid })).await;
    assert_eq!(found["State"], "Deleting", "it is there until its batch is done");
    for operation in ["UpdateEventSourceMapping", "DeleteEventSourceMapping"] {
        assert_eq!(world.fails(operation, json!({ "UUID": uuid })).await.code, "ResourceInUseException");
    }
    // The two may be connected anew meanwhile; the new mapping waits for nobody.
    world.host.gate.send_replace(true);
    world
        .until("it is gone", || async {
            world.try_call(&world.cx, "GetEventSourceMapping", json!({ "UUID": uuid })).await.is_err()
        })
        .await;
    assert_eq!((world.texts(), world.left("q").await), (vec![vec!["one".to_owned()]], (1, 0)));
    world.connect(json!({ "FunctionName": "f" })).await;
    world.until("the other one is worked off", || async { world.left("q").await == (0, 0) }).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn everything_that_can_be_changed_is_changed() {
    let world = World::new();
    world.queue("q", &[]).await;
    for function in ["f", "g"] {
        world.function(function, "app.handler").await;
    }
    world.call("PublishVersion", json!({ "FunctionName": "g" })).await;
    let mapping = world.connect(json!({ "FunctionName": "f" })).await;
    let uuid = mapping["UUID"].as_str().unwrap();
    let changes = json!({
        "BatchSize": 100,
        "MaximumBatchingWindowInSeconds": 1,
        "FilterCriteria": { "Filters": [{ "Pattern": "{\"body\":[\"wanted\"]}" }] },
        "FunctionResponseTypes": ["ReportBatchItemFailures"],
        "ScalingConfig": { "MaximumConcurrency": 7 },
        "KMSKeyArn": "arn:aws:kms:us-east-1:111111111111:key/k",
        "MetricsConfig": { "Metrics": ["EventCount"] },
        "LoggingConfig": { "SystemLogLevel": "DEBUG" },
    });
    let mut input = changes.clone();
    input["UUID"] = json!(uuid);
    input["FunctionName"] = json!("g:1");
    let updated = world.call("UpdateEventSourceMapping", input).await;
    for (name, value) in changes.as_object().unwrap() {
        assert_eq!(&updated[name], value, "{name}");
    }
    assert_eq!(updated["FunctionArn"], "arn:aws:lambda:us-east-1:111111111111:function:g:1");
    world.reaches(uuid, "Enabled").await;
    for body in ["wanted", "noise"] {
        world.send_to("q", body).await;
    }
    world.wait(2).await;
    world.until("both have gone", || async { world.left("q").await == (0, 0) }).await;
    assert_eq!(world.texts(), [["wanted"]]);
    assert!(world.host.seen.lock()[0].invoked_function_arn.ends_with(":function:g:1"));
    // The pair that it was is free, the one that it is is taken.
    let taken = json!({ "FunctionName": "g:1", "EventSourceArn": QUEUE });
    assert_eq!(world.fails("CreateEventSourceMapping", taken).await.code, "ResourceConflictException");
    world.connect(json!({ "FunctionName": "f" })).await;
    // What is not said stays.
    let kept = world.call("UpdateEventSourceMapping", json!({ "UUID": uuid, "BatchSize": 50 })).await;
    assert_eq!((&kept["ScalingConfig"], &kept["BatchSize"]), (&changes["ScalingConfig"], &json!(50)));
    world.reaches(uuid, "Enabled").await;
    // Empty takes away.
    let emptied = json!({ "UUID": uuid, "ScalingConfig": {}, "FunctionResponseTypes": [], "FilterCriteria": {} });
    let emptied = world.call("UpdateEventSourceMapping", emptied).await;
    assert_eq!((emptied.get("ScalingConfig"), emptied.get("FilterCriteria")), (None, None));
    assert_eq!(emptied["FunctionResponseTypes"], json!([]));
}

#[tokio::test(flavor = "multi_thread")]
async fn sources_that_nobody_serves_are_named() {
    let world = World::new();
    world.function("f", "app.handler").await;
    let kafka = "arn:aws:kafka:us-east-1:111111111111:cluster/c/11111111-2222-3333-4444-555555555555-1";
    let mq = "arn:aws:mq:us-east-1:111111111111:broker:b:b-11111111-2222-3333-4444-555555555555";
    let documents = "arn:aws:rds:us-east-1:111111111111:cluster:documents";
    let endpoints = json!({ "Endpoints": { "KAFKA_BOOTSTRAP_SERVERS": ["kafka.example.com:9092"] } });
    for (input, named) in [
        (json!({ "EventSourceArn": kafka, "Topics": ["topic"], "StartingPosition": "LATEST" }), "Topics"),
        (json!({ "EventSourceArn": kafka, "StartingPosition": "LATEST" }), "Amazon MSK as event source"),
        (json!({ "EventSourceArn": mq }), "Amazon MQ as event source"),
        (json!({ "EventSourceArn": mq, "Queues": ["q"] }), "Queues"),
        (json!({ "EventSourceArn": documents, "StartingPosition": "LATEST" }), "Amazon DocumentDB as event source"),
        (json!({ "SelfManagedEventSource": endpoints, "StartingPosition": "LATEST" }), "SelfManagedEventSource"),
        (
            json!({ "EventSourceArn": QUEUE, "DocumentDBEventSourceConfig": { "DatabaseName": "d" } }),
            "DocumentDBEventSourceConfig",
        ),
        (
            json!({ "EventSourceArn": QUEUE, "AmazonManagedKafkaEventSourceConfig": { "ConsumerGroupId": "g" } }),
            "AmazonManagedKafkaEventSourceConfig",
        ),
        (
            json!({
                "EventSourceArn": mq,
                "SourceAccessConfigurations": [{ "Type": "BASIC_AUTH", "URI": "arn:aws:secretsmanager:x:y:secret:z" }],
            }),
            "SourceAccessConfigurations",
        ),
    ] {
        let mut request = json!({ "FunctionName": "f" });
        request.as_object_mut().unwrap().extend(input.as_object().unwrap().clone());
        let failure = world.fails("CreateEventSourceMapping", request).await;
        assert_eq!((failure.status, failure.code.as_str()), (501, "NotImplementedException"), "{input}");
        assert!(failure.message.contains(named), "{}", failure.message);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_out_of_bounds_is_refused() {
    let world = World::new();
    world.queue("q", &[]).await;
    world.queue("q.fifo", &[]).await;
    world.function("f", "app.handler").await;
    let mapping = world.connect(json!({ "FunctionName": "f" })).await;
    let most = |most: i32| json!({ "ScalingConfig": { "MaximumConcurrency": most } });
    let pattern = |text: &str| json!({ "FilterCriteria": { "Filters": [{ "Pattern": text }] } });
    let invalid = "Invalid filter pattern definition.";
    let at = |member: &str, rule: &str| format!("at '{member}' failed to satisfy constraint: {rule}");
    let range = |rule: &str, n: i32| format!("Member must have value {rule} than or equal to {n}");
    let concurrency = "scalingConfig.maximumConcurrency";
    let cases: Vec<(Value, &str, String)> = vec![
        (most(1), "ValidationException", at(concurrency, &range("greater", 2))),
        (most(1001), "ValidationException", at(concurrency, &range("less", 1000))),
        (json!({ "BatchSize": 0 }), "ValidationException", at("batchSize", &range("greater", 1))),
        (json!({ "BatchSize": 10_001 }), "ValidationException", at("batchSize", &range("less", 10_000))),
        (
            json!({ "MaximumBatchingWindowInSeconds": 301 }),
            "ValidationException",
            at("maximumBatchingWindowInSeconds", &range("less", 300)),
        ),
        (
            json!({ "ProvisionedPollerConfig": { "MinimumPollers": 201 } }),
            "ValidationException",
            at("provisionedPollerConfig.minimumPollers", &range("less", 200)),
        ),
        (
            json!({ "ProvisionedPollerConfig": { "MinimumPollers": 9, "MaximumPollers": 8 } }),
            "InvalidParameterValueException",
            "Minimum pollers (9) must not exceed maximum pollers (8)".to_owned(),
        ),
        (
            json!({
                "ProvisionedPollerConfig": { "MaximumPollers": 8 }, "ScalingConfig": { "MaximumConcurrency": 8 },
            }),
            "InvalidParameterValueException",
            "cannot be used together".to_owned(),
        ),
        (pattern("{"), "InvalidParameterValueException", invalid.to_owned()),
        (pattern("[]"), "InvalidParameterValueException", invalid.to_owned()),
        (pattern("{}"), "InvalidParameterValueException", invalid.to_owned()),
        (pattern(r#"{"body":"x"}"#), "InvalidParameterValueException", invalid.to_owned()),
        (pattern(r#"{"body":[{"unknown":1}]}"#), "InvalidParameterValueException", invalid.to_owned()),
        (
            pattern(&format!("{{\"body\":[\"{}\"]}}", "x".repeat(4096))),
            "ValidationException",
            at("filterCriteria.filters.1.member.pattern", "Member must have length less than or equal to 4096"),
        ),
    ];
    for (input, code, text) in cases {
        for (operation, key, value) in [
            ("CreateEventSourceMapping", "EventSourceArn", json!(format!("{QUEUE}.fifo"))),
            ("UpdateEventSourceMapping", "UUID", mapping["UUID"].clone()),
        ] {
            let mut request = input.clone();
            request["FunctionName"] = json!("f");
            request[key] = value;
            let failure = world.fails(operation, request).await;
            assert_eq!((failure.status, failure.code.as_str()), (400, code), "{operation} {input}");
            assert!(failure.message.contains(&text), "{operation} {input}: {}", failure.message);
        }
    }
    let kept = world.call("GetEventSourceMapping", json!({ "UUID": mapping["UUID"] })).await;
    assert_eq!((&kept["State"], kept.get("ScalingConfig")), (&json!("Enabled"), None), "nothing of it was taken over");
}
