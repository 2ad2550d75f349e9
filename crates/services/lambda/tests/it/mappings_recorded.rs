//! Event source mappings against answers that AWS gave.

use serde_json::{Value, json};

use crate::{
    mappings::{QUEUE, Steps as _},
    recording::Recorded,
    world::World,
};

const UNKNOWN: &str = "11111111-2222-3333-4444-555555555555";

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_is_refused_in_the_words_of_aws() {
    let case = "TestLambdaEventSourceMappings::test_event_source_mapping_exceptions";
    let (world, recorded) = (World::new(), Recorded::load());
    world.queue("q", &[]).await;
    for (step, operation, input) in [
        ("get_unknown_uuid", "GetEventSourceMapping", json!({ "UUID": UNKNOWN })),
        ("delete_unknown_uuid", "DeleteEventSourceMapping", json!({ "UUID": UNKNOWN })),
        ("update_unknown_uuid", "UpdateEventSourceMapping", json!({ "UUID": UNKNOWN, "Enabled": false })),
        ("create_no_event_source_arn", "CreateEventSourceMapping", json!({ "FunctionName": "nobody" })),
        (
            "create_unknown_params",
            "CreateEventSourceMapping",
            json!({ "FunctionName": "nobody", "EventSourceArn": QUEUE }),
        ),
        (
            "destination_config_failure",
            "CreateEventSourceMapping",
            json!({
                "FunctionName": "nobody",
                "EventSourceArn": QUEUE,
                "DestinationConfig": { "OnSuccess": { "Destination": "arn:aws:sqs:us-east-1:111111111111:other" } },
            }),
        ),
    ] {
        recorded.is_failure(case, step, &world.fails(operation, input).await);
    }
    let case = "TestLambdaTag::test_tag_exceptions[event_source_mapping]";
    let arn = format!("arn:aws:lambda:us-east-1:111111111111:event-source-mapping:{UNKNOWN}");
    for (step, operation, input) in [
        ("not_found_exception_list", "ListTags", json!({ "Resource": arn })),
        ("not_found_exception_tag", "TagResource", json!({ "Resource": arn, "Tags": { "k": "v" } })),
        ("not_found_exception_untag", "UntagResource", json!({ "Resource": arn, "TagKeys": ["k"] })),
    ] {
        recorded.is_failure(case, step, &world.fails(operation, input).await);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_mapping_of_the_same_two_names_the_first() {
    let case = "TestSQSEventSourceMapping::test_duplicate_event_source_mappings";
    let (world, recorded) = (World::new(), Recorded::load());
    world.queue("q", &[]).await;
    world.function("f", "app.handler").await;
    let input = json!({ "FunctionName": "f", "EventSourceArn": QUEUE });
    let created = world.call("CreateEventSourceMapping", input.clone()).await;
    recorded.is_answer(case, "create", &created);
    let failure = world.fails("CreateEventSourceMapping", input.clone()).await;
    recorded.is_failure(case, "error", &failure);
    assert!(failure.message.ends_with(created["UUID"].as_str().unwrap()));
    // Another function may, and the same again when the first is deleted.
    world.function("g", "app.handler").await;
    world.call("CreateEventSourceMapping", json!({ "FunctionName": "g", "EventSourceArn": QUEUE })).await;
    world.reaches(created["UUID"].as_str().unwrap(), "Enabled").await;
    world.call("DeleteEventSourceMapping", json!({ "UUID": created["UUID"] })).await;
    world.call("CreateEventSourceMapping", input).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_large_batch_needs_a_window() {
    let case = "TestSQSEventSourceMapping::test_event_source_mapping_default_batch_size";
    let (world, recorded) = (World::new(), Recorded::load());
    world.queue("q", &[]).await;
    world.function("f", "app.handler").await;
    let input = json!({ "FunctionName": "f", "EventSourceArn": QUEUE });
    let created = world.call("CreateEventSourceMapping", input.clone()).await;
    recorded.is_answer(case, "create-event-source-mapping", &created);
    let update = json!({ "UUID": created["UUID"], "BatchSize": 11 });
    let failure = world.fails("UpdateEventSourceMapping", update).await;
    recorded.is_failure(case, "invalid-update-event-source-mapping", &failure);
    let large = json!({ "FunctionName": "f:$LATEST", "EventSourceArn": QUEUE, "BatchSize": 11 });
    let failure = world.fails("CreateEventSourceMapping", large).await;
    recorded.is_failure(case, "invalid-create-event-source-mapping", &failure);
}

#[tokio::test(flavor = "multi_thread")]
async fn every_form_of_a_functions_name_is_answered_as_recorded() {
    let case = "TestLambdaEventSourceMappings::test_function_name_variations";
    let (world, recorded) = (World::new(), Recorded::load());
    world.queue("q", &[]).await;
    let arn = world.function("f", "app.handler").await["FunctionArn"].as_str().unwrap().to_owned();
    world.call("PublishVersion", json!({ "FunctionName": "f" })).await;
    world.call("CreateAlias", json!({ "FunctionName": "f", "FunctionVersion": "1", "Name": "myalias" })).await;
    for (step, name) in [
        ("name_only_create_esm", "f".to_owned()),
        ("partial_arn_latest_create_esm", "111111111111:function:f:$LATEST".to_owned()),
        ("partial_arn_version_create_esm", "111111111111:function:f:1".to_owned()),
        ("partial_arn_alias_create_esm", "111111111111:function:f:myalias".to_owned()),
        ("full_arn_latest_create_esm", arn.clone()),
        ("full_arn_version_create_esm", format!("{arn}:1")),
        ("full_arn_alias_create_esm", format!("{arn}:myalias")),
    ] {
        let input = json!({ "FunctionName": name, "EventSourceArn": QUEUE });
        let created = world.call("CreateEventSourceMapping", input).await;
        recorded.is_answer(case, step, &created);
        world.reaches(created["UUID"].as_str().unwrap(), "Enabled").await;
        world.call("DeleteEventSourceMapping", json!({ "UUID": created["UUID"] })).await;
    }
    for name in ["f:2", "f:nobody", "nobody"] {
        let input = json!({ "FunctionName": name, "EventSourceArn": QUEUE });
        assert_eq!(world.fails("CreateEventSourceMapping", input).await.message, "Function does not exist");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn states_are_told_as_recorded() {
    let case = "test_fifo_message_group_parallelism";
    let (world, recorded) = (World::new(), Recorded::load());
    world.queue("q", &[]).await;
    world.function("f", "app.handler").await;
    let input = json!({ "FunctionName": "f", "EventSourceArn": QUEUE, "BatchSize": 1, "Enabled": false });
    let created = world.call("CreateEventSourceMapping", input).await;
    recorded.is_answer(case, "create_esm_disabled", &created);
    let uuid = created["UUID"].as_str().unwrap();
    let updated = world.call("UpdateEventSourceMapping", json!({ "UUID": uuid, "Enabled": true })).await;
    recorded.is_answer(case, "update_esm_enabling", &updated);
    world.reaches(uuid, "Enabled").await;
    recorded.is_answer(case, "get_esm_enabled", &world.call("GetEventSourceMapping", json!({ "UUID": uuid })).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_functions_event_is_the_recorded_one() {
    let case = "test_failing_lambda_retries_after_visibility_timeout";
    let (world, recorded) = (World::new(), Recorded::load());
    world.queue("q", &[("VisibilityTimeout", "5")]).await;
    world.function("f", "app.flaky").await;
    world.host.failures_left.store(1, std::sync::atomic::Ordering::SeqCst);
    let mapping = world.connect(json!({ "FunctionName": "f", "BatchSize": 1 })).await;
    recorded.is_answer(case, "event_source_mapping", &mapping);
    world.send_to("q", "text").await;
    world.ran(1).await;
    world.pass(std::time::Duration::from_secs(5)).await;
    world.ran(2).await;
    for (attempt, step) in world.batches().iter().zip(["first_attempt", "second_attempt"]) {
        let theirs = &recorded.step(case, step)["answer"]["Messages"][0]["Body"]["event"]["Records"][0];
        let (mut theirs, mut ours) = (theirs.clone(), attempt["Records"][0].clone());
        // AWS names it in newer recordings only.
        assert_eq!(ours.as_object_mut().unwrap().remove("md5OfMessageAttributes"), Some(Value::Null));
        for volatile in ["body", "messageId", "receiptHandle"] {
            theirs[volatile] = ours[volatile].clone();
        }
        for volatile in ["SenderId", "SentTimestamp"] {
            theirs["attributes"][volatile] = ours["attributes"][volatile].clone();
        }
        crate::recording::same(&theirs, &ours);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_streams_mapping_is_checked() {
    let world = World::new();
    world.function("f", "app.handler").await;
    let stream = "arn:aws:dynamodb:us-east-1:111111111111:table/t/stream/2026-01-01T00:00:00.000";
    let create = |more: Value| {
        let mut input = json!({ "FunctionName": "f", "EventSourceArn": stream });
        input.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        input
    };
    let failure = world.fails("CreateEventSourceMapping", create(json!({}))).await;
    assert_eq!(
        (failure.code.as_str(), failure.message.as_str()),
        (
            "ValidationException",
            "1 validation error detected: Value null at 'startingPosition' failed to satisfy constraint: Member must not \
             be null."
        )
    );
    let at_time = create(json!({ "StartingPosition": "AT_TIMESTAMP", "StartingPositionTimestamp": 1.0 }));
    let failure = world.fails("CreateEventSourceMapping", at_time).await;
    assert_eq!(failure.message, format!("Unsupported starting position for arn type: {stream}"));
    let sound = create(json!({ "StartingPosition": "LATEST", "BisectBatchOnFunctionError": true }));
    let failure = world.fails("CreateEventSourceMapping", sound).await;
    assert_eq!((failure.status, failure.code.as_str()), (400, "InvalidParameterValueException"));
    assert_eq!(failure.message, format!("Stream not found: {stream}"));
    let kinesis = json!({
        "FunctionName": "f",
        "EventSourceArn": "arn:aws:kinesis:us-east-1:111111111111:stream/s",
        "StartingPosition": "LATEST",
    });
    let failure = world.fails("CreateEventSourceMapping", kinesis).await;
    assert_eq!((failure.status, failure.code.as_str()), (501, "NotImplementedException"));
    assert_eq!(failure.message, "Pileus does not support Kinesis as event source yet.");
}
