//! What pipes do with messages.

use model_pipes::*;
use serde_json::{Value, json};

use crate::support::{World, function, pipe};

fn template(text: &str) -> PipeTargetParameters {
    PipeTargetParameters { input_template: Some(text.to_owned()), ..PipeTargetParameters::default() }
}

fn filter(pattern: &str) -> PipeSourceParameters {
    PipeSourceParameters {
        filter_criteria: Some(FilterCriteria { filters: Some(vec![Filter { pattern: Some(pattern.to_owned()) }]) }),
        ..PipeSourceParameters::default()
    }
}

#[tokio::test]
async fn messages_are_filtered_shaped_and_handed_over_in_one_commit() {
    let world = World::new();
    let (source, sink) = (world.queue("source").await, world.queue("sink").await);
    let request = CreatePipeRequest {
        source_parameters: Some(filter("{\"body\":{\"kind\":[\"order\"]}}")),
        target_parameters: Some(template("<$.body.id>")),
        ..pipe("p", &source, &sink)
    };
    world.create(request).await.unwrap();
    world.settle().await;
    for index in 0..25 {
        world.send("source", &format!("{{\"kind\":\"order\",\"id\":\"o{index}\"}}")).await;
        world.send("source", &format!("{{\"kind\":\"other\",\"id\":\"x{index}\"}}")).await;
    }
    world.settle().await;
    assert_eq!(world.count("source").await, 0, "what no pattern lets through is done with, too");
    assert_eq!(world.bodies("sink").await, (0..25).map(|index| format!("o{index}")).collect::<Vec<_>>());
}

#[tokio::test]
async fn an_event_bus_gets_awss_defaults_or_what_the_pipe_says() {
    let world = World::new();
    let source = world.queue("source").await;
    let bus = "arn:aws:events:us-east-1:000000000000:event-bus/default";
    world
        .create(CreatePipeRequest { target_parameters: Some(template("<$.body>")), ..pipe("p", &source, bus) })
        .await
        .unwrap();
    world.settle().await;
    world.send("source", "{\"a\":1}").await;
    world.settle().await;
    let parameters = PipeTargetEventBridgeEventBusParameters {
        source: Some("$.body.from".to_owned()),
        detail_type: Some("Typed".to_owned()),
        ..PipeTargetEventBridgeEventBusParameters::default()
    };
    let request = UpdatePipeRequest {
        name: "p".to_owned(),
        role_arn: crate::support::ROLE.to_owned(),
        target_parameters: Some(PipeTargetParameters {
            event_bridge_event_bus_parameters: Some(parameters),
            ..template("<$.body>")
        }),
        ..UpdatePipeRequest::default()
    };
    world.update(request).await.unwrap();
    world.settle().await;
    world.send("source", "{\"from\":\"shop\"}").await;
    world.settle().await;
    let taken = world.events.taken.lock().unwrap().clone();
    let event = taken[0].event.clone().unwrap();
    assert_eq!((event.source.as_str(), event.detail_type.as_str()), ("Pipe p", "Event from aws:sqs"));
    assert_eq!(taken[0].body, "{\"a\":1}");
    let event = taken[1].event.clone().unwrap();
    assert_eq!((event.source.as_str(), event.detail_type.as_str()), ("shop", "Typed"));
}

#[tokio::test]
async fn what_a_target_refuses_stays_and_is_seen_again() {
    let world = World::new();
    let (source, sink) = (world.queue("source").await, world.queue("sink").await);
    world.create(pipe("p", &source, &sink)).await.unwrap();
    world.settle().await;
    world.drop_queue("sink").await;
    world.send("source", "x").await;
    world.settle().await;
    assert_eq!(world.count("source").await, 1);
    // A queue of this name may be made again after a minute; the message is seen again after thirty seconds.
    world.pass(70).await;
    world.queue("sink").await;
    world.pass(40).await;
    assert_eq!((world.count("source").await, world.count("sink").await), (0, 1));
}

#[tokio::test]
async fn an_enrichment_takes_the_place_of_the_batch_and_its_failure_keeps_it() {
    let world = World::new();
    let (source, sink) = (world.queue("source").await, world.queue("sink").await);
    let request = CreatePipeRequest {
        enrichment: Some(function("double")),
        enrichment_parameters: Some(PipeEnrichmentParameters {
            input_template: Some("{\"n\":<$.body>}".to_owned()),
            ..PipeEnrichmentParameters::default()
        }),
        target_parameters: Some(template("<$.m>")),
        ..pipe("p", &source, &sink)
    };
    world.create(request).await.unwrap();
    world.settle().await;
    world.others.functions.fail();
    world.others.functions.answer("[{\"m\":\"a\"},{\"m\":\"b\"}]");
    world.send("source", "one").await;
    world.settle().await;
    assert_eq!((world.count("source").await, world.count("sink").await), (1, 0));
    world.pass(35).await;
    assert_eq!(world.bodies("sink").await, ["a", "b"]);
    assert_eq!(world.count("source").await, 0);
    let asked = world.others.functions.asked.lock().unwrap().clone();
    assert_eq!(asked.len(), 2);
    assert!(asked[0].0.starts_with("arn:aws:sts::000000000000:assumed-role/plumber/p "), "{asked:?}");
    assert_eq!(serde_json::from_str::<Value>(&asked[0].1).unwrap(), json!([{"n": "one"}]));
    // Nothing said: nothing to hand over.
    world.others.functions.answer("[]");
    world.send("source", "two").await;
    world.settle().await;
    assert_eq!((world.count("source").await, world.count("sink").await), (0, 0));
}

#[tokio::test]
async fn a_function_answers_for_each_message() {
    let world = World::new();
    let source = world.queue("source").await;
    let request =
        CreatePipeRequest { desired_state: Some(RequestedPipeState::Stopped), ..pipe("p", &source, &function("f")) };
    world.create(request).await.unwrap();
    world.send("source", "good").await;
    world.send("source", "bad").await;
    world.settle().await;
    // The function is told the batch; which message is the bad one is known once it was asked.
    world.others.functions.answer("{\"batchItemFailures\":[{\"itemIdentifier\":\"nobody\"}]}");
    world.start(StartPipeRequest { name: "p".to_owned() }).await.unwrap();
    world.settle().await;
    assert_eq!(world.count("source").await, 2, "what it says of a message that it was not given fails the batch");
    let batch: Vec<Value> = serde_json::from_str(&world.others.functions.asked.lock().unwrap()[0].1).unwrap();
    let bad = batch.iter().find(|event| event["body"] == "bad").unwrap()["messageId"].as_str().unwrap().to_owned();
    world.others.functions.answer(&format!("{{\"batchItemFailures\":[{{\"itemIdentifier\":\"{bad}\"}}]}}"));
    world.others.functions.answer("null");
    world.pass(35).await;
    assert_eq!(world.count("source").await, 1);
    world.pass(35).await;
    assert_eq!(world.count("source").await, 0);
    let asked = world.others.functions.asked.lock().unwrap().clone();
    assert_eq!(serde_json::from_str::<Vec<Value>>(&asked[2].1).unwrap().len(), 1);
}

#[tokio::test]
async fn a_function_that_nobody_waits_for_gets_an_array() {
    let world = World::new();
    let source = world.queue("source").await;
    let parameters =
        PipeTargetLambdaFunctionParameters { invocation_type: Some(PipeTargetInvocationType::FireAndForget) };
    let request = CreatePipeRequest {
        target_parameters: Some(PipeTargetParameters {
            lambda_function_parameters: Some(parameters),
            ..template("hi <$.body>")
        }),
        ..pipe("p", &source, &function("f"))
    };
    world.create(request).await.unwrap();
    world.settle().await;
    world.send("source", "you").await;
    world.settle().await;
    let taken = world.lambda.taken.lock().unwrap().clone();
    assert_eq!(serde_json::from_slice::<Value>(&taken[0].body).unwrap(), json!(["hi \"you\""]));
    assert_eq!(world.count("source").await, 0);
}

#[tokio::test]
async fn a_window_gathers_a_batch() {
    let world = World::new();
    let source = world.queue("source").await;
    let sizes = PipeSourceSqsQueueParameters { batch_size: Some(100), maximum_batching_window_in_seconds: Some(10) };
    let request = CreatePipeRequest {
        source_parameters: Some(PipeSourceParameters {
            sqs_queue_parameters: Some(sizes),
            ..PipeSourceParameters::default()
        }),
        target_parameters: Some(PipeTargetParameters {
            lambda_function_parameters: Some(PipeTargetLambdaFunctionParameters {
                invocation_type: Some(PipeTargetInvocationType::FireAndForget),
            }),
            ..PipeTargetParameters::default()
        }),
        ..pipe("p", &source, &function("f"))
    };
    world.create(request).await.unwrap();
    world.settle().await;
    for index in 0..6 {
        world.send("source", &format!("m{index}")).await;
        world.pass(1).await;
    }
    assert_eq!(world.lambda.taken.lock().unwrap().len(), 0, "the window is open");
    world.pass(20).await;
    let taken = world.lambda.taken.lock().unwrap().clone();
    let sizes: Vec<usize> =
        taken.iter().map(|batch| serde_json::from_slice::<Vec<Value>>(&batch.body).unwrap().len()).collect();
    assert_eq!(sizes.iter().sum::<usize>(), 6, "{sizes:?}");
    assert!(sizes.len() <= 5, "at most one of each worker: {sizes:?}");
}

#[tokio::test]
async fn a_pipe_into_its_own_source_is_cut() {
    let world = World::new();
    let source = world.queue("source").await;
    world
        .create(CreatePipeRequest { target_parameters: Some(template("<$.body>")), ..pipe("p", &source, &source) })
        .await
        .unwrap();
    world.settle().await;
    world.send("source", "round").await;
    world.settle().await;
    world.pass(3).await;
    assert_eq!(world.count("source").await, 1, "it stays, hidden, and goes round no more");
}
