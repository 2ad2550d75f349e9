//! API destinations as enrichment and target, log groups as targets, and what pipes log.

use model_pipes::*;
use serde_json::{Value, json};

use crate::support::{World, function, log, pipe};

const ENDPOINT: &str = "arn:aws:events:us-east-1:000000000000:api-destination/shop/1";
const GROUP: &str = "arn:aws:logs:us-east-1:000000000000:log-group:g";

fn http(path: &str, header: &str) -> PipeTargetHttpParameters {
    PipeTargetHttpParameters {
        path_parameter_values: Some(vec![path.to_owned()]),
        header_parameters: Some([("x-kind".to_owned(), header.to_owned())].into()),
        ..PipeTargetHttpParameters::default()
    }
}

#[tokio::test]
async fn an_api_destination_gets_events_one_by_one_and_its_failure_keeps_the_message() {
    let world = World::new();
    let source = world.queue("source").await;
    let request = CreatePipeRequest {
        target_parameters: Some(PipeTargetParameters {
            input_template: Some("{\"id\":<$.body.id>}".to_owned()),
            http_parameters: Some(http("$.body.id", "fixed")),
            ..PipeTargetParameters::default()
        }),
        ..pipe("p", &source, ENDPOINT)
    };
    world.create(request).await.unwrap();
    world.settle().await;
    let endpoints = &world.others.endpoints;
    endpoints.fail(503);
    world.send("source", "{\"id\":\"o-1\"}").await;
    world.settle().await;
    assert_eq!(world.count("source").await, 1, "what was not taken stays");
    endpoints.answer("");
    world.pass(40).await;
    assert_eq!(world.count("source").await, 0);
    let called = endpoints.called.lock().unwrap().clone();
    assert_eq!(called.len(), 2);
    assert_eq!(called[0], called[1], "the same again");
    let (arn, call) = &called[0];
    assert_eq!((arn.as_str(), call.body.as_str()), (ENDPOINT, "{\"id\":\"o-1\"}"));
    assert_eq!((call.path.as_slice(), call.headers[0].1.as_str()), (["o-1".to_owned()].as_slice(), "fixed"));
}

#[tokio::test]
async fn an_api_destination_enriches_each_event() {
    let world = World::new();
    let (source, sink) = (world.queue("source").await, world.queue("sink").await);
    let request = CreatePipeRequest {
        enrichment: Some(ENDPOINT.to_owned()),
        enrichment_parameters: Some(PipeEnrichmentParameters {
            http_parameters: Some(PipeEnrichmentHttpParameters {
                query_string_parameters: Some([("order".to_owned(), "$.body".to_owned())].into()),
                ..PipeEnrichmentHttpParameters::default()
            }),
            input_template: Some("<$.body>".to_owned()),
        }),
        target_parameters: Some(PipeTargetParameters {
            input_template: Some("<$.name>".to_owned()),
            ..PipeTargetParameters::default()
        }),
        ..pipe("p", &source, &sink)
    };
    world.create(request).await.unwrap();
    world.settle().await;
    let endpoints = &world.others.endpoints;
    endpoints.answer("{\"name\":\"shoe\"}");
    world.send("source", "o-1").await;
    world.settle().await;
    assert_eq!(world.bodies("sink").await, ["shoe"]);
    // No answer, an empty one: nothing to hand over.
    endpoints.answer("");
    world.send("source", "o-2").await;
    world.settle().await;
    // What is no document is a failure.
    endpoints.answer("<html>");
    world.send("source", "o-3").await;
    world.settle().await;
    assert_eq!((world.count("source").await, world.count("sink").await), (1, 0));
    let called = endpoints.called.lock().unwrap().clone();
    let asked: Vec<(&str, &str)> =
        called.iter().map(|(_, call)| (call.body.as_str(), call.query[0].1.as_str())).collect();
    assert_eq!(asked, [("o-1", "o-1"), ("o-2", "o-2"), ("o-3", "o-3")]);
}

#[tokio::test]
async fn a_log_group_gets_its_stream_and_time_from_the_event() {
    let world = World::new();
    let source = world.queue("source").await;
    let request = CreatePipeRequest {
        target_parameters: Some(PipeTargetParameters {
            cloud_watch_logs_parameters: Some(PipeTargetCloudWatchLogsParameters {
                log_stream_name: Some("orders".to_owned()),
                timestamp: Some("$.body.at".to_owned()),
            }),
            ..PipeTargetParameters::default()
        }),
        ..pipe("p", &source, GROUP)
    };
    world.create(request).await.unwrap();
    world.settle().await;
    world.send("source", "{\"at\":1700000000123}").await;
    world.send("source", "{\"at\":\"whenever\"}").await;
    world.settle().await;
    let taken = world.logs.taken.lock().unwrap().clone();
    let given: Vec<_> = taken
        .iter()
        .map(|delivery| {
            let time = delivery.event.as_ref().and_then(|event| event.time).map(|time| time.as_millis());
            (delivery.log_stream.as_deref(), time)
        })
        .collect();
    assert_eq!(given, [(Some("orders"), Some(1_700_000_000_123)), (Some("orders"), None)]);
}

#[tokio::test]
async fn executions_are_logged_at_the_pipes_level() {
    let world = World::new();
    let (source, sink) = (world.queue("source").await, world.queue("sink").await);
    let request = CreatePipeRequest {
        enrichment: Some(function("double")),
        target_parameters: Some(PipeTargetParameters {
            input_template: Some("<$.m>".to_owned()),
            ..PipeTargetParameters::default()
        }),
        log_configuration: Some(log("us-east-1", LogLevel::Trace, true)),
        ..pipe("p", &source, &sink)
    };
    world.create(request).await.unwrap();
    world.settle().await;
    let (functions, diary) = (&world.others.functions, &world.others.diary);
    functions.answer("[{\"m\":\"a\"}]");
    world.send("source", "one").await;
    world.settle().await;
    assert_eq!(
        diary.steps(),
        [
            "ExecutionStarted",
            "EnrichmentStageEntered",
            "EnrichmentInvocationStarted",
            "EnrichmentInvocationSucceeded",
            "EnrichmentStageSucceeded",
            "TargetStageEntered",
            "TargetTransformationStarted",
            "TargetTransformationSucceeded",
            "TargetInvocationStarted",
            "TargetInvocationSucceeded",
            "TargetStageSucceeded",
            "ExecutionSucceeded",
        ]
    );
    let lines = diary.lines.lock().unwrap().clone();
    assert!(lines.iter().all(|(stream, _)| stream == "pipes/log p"));
    let records: Vec<Value> = lines.iter().map(|(_, line)| serde_json::from_str(line).unwrap()).collect();
    let payload: Value = serde_json::from_str(records[0]["payload"].as_str().unwrap()).unwrap();
    assert_eq!(payload[0]["body"], "one");
    assert_eq!(records[3]["awsResponse"], "[{\"m\":\"a\"}]");
    assert_eq!(records[8]["awsRequest"], "[\"a\"]");
    // Who deletes the stream gets another one; a failure is told with its reason.
    diary.burn();
    functions.fail();
    world.send("source", "two").await;
    world.settle().await;
    assert_eq!(
        diary.steps()[..5],
        [
            "ExecutionStarted",
            "EnrichmentStageEntered",
            "EnrichmentInvocationStarted",
            "EnrichmentInvocationFailed",
            "EnrichmentStageFailed"
        ]
    );
    let lines = diary.lines.lock().unwrap().clone();
    let failed: Value = serde_json::from_str(&lines[3].1).unwrap();
    assert_eq!(failed["logLevel"], "ERROR");
    assert_eq!(failed["error"]["awsService"], "lambda");
    assert!(failed["error"]["message"].as_str().unwrap().contains("function:double"), "{failed}");
}

#[tokio::test]
async fn a_pipe_that_logs_errors_logs_nothing_else_and_off_is_off() {
    let world = World::new();
    let (source, sink) = (world.queue("source").await, world.queue("sink").await);
    let request = CreatePipeRequest {
        log_configuration: Some(log("us-east-1", LogLevel::Error, false)),
        ..pipe("p", &source, &sink)
    };
    world.create(request).await.unwrap();
    world.settle().await;
    let diary = &world.others.diary;
    world.send("source", "good").await;
    world.settle().await;
    assert!(diary.steps().is_empty());
    world.drop_queue("sink").await;
    world.send("source", "lost").await;
    world.settle().await;
    assert_eq!(diary.steps(), ["TargetInvocationFailed", "TargetStageFailed", "ExecutionFailed"]);
    let record: Value = serde_json::from_str(&diary.lines.lock().unwrap()[0].1).unwrap();
    assert_eq!(record["error"]["awsService"], "sqs");
    assert!(record.get("payload").is_none());
    let request = UpdatePipeRequest {
        name: "p".to_owned(),
        role_arn: crate::support::ROLE.to_owned(),
        log_configuration: Some(log("us-east-1", LogLevel::Off, false)),
        ..UpdatePipeRequest::default()
    };
    world.update(request).await.unwrap();
    world.settle().await;
    diary.burn();
    world.pass(100).await;
    assert!(diary.steps().is_empty(), "{:?}", diary.steps());
    let shown = world.describe(DescribePipeRequest { name: "p".to_owned() }).await.unwrap();
    let shown = shown.log_configuration.unwrap();
    assert_eq!(shown.level, Some(LogLevel::Off));
    assert_eq!(
        json!(shown.cloudwatch_logs_log_destination.unwrap().log_group_arn),
        json!("arn:aws:logs:us-east-1:000000000000:log-group:pipes/log")
    );
}
