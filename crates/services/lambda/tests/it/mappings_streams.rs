//! Event source mappings over the streams of real tables: every change comes to the function, those of an item in their
//! order, whatever fails in between.

use std::{collections::BTreeMap, sync::atomic::Ordering, time::Duration};

use model_dynamodb::{
    AttributeDefinition, AttributeValue, BillingMode, CreateTableInput, DeleteItemInput, KeySchemaElement, KeyType,
    PutItemInput, Request, Response, ScalarAttributeType, StreamSpecification, StreamViewType,
};
use serde_json::{Value, json};
use services_kernel::Dispatcher;

use crate::{mappings::Steps, world::World};

const QUEUE: &str = "arn:aws:sqs:us-east-1:111111111111:failures";

impl World {
    async fn on_tables(&self, request: Request) -> Response {
        Dispatcher::new(self.store.clone())
            .dispatch::<model_dynamodb::Api, _>(&self.tables, self.cx.clone(), request)
            .await
            .unwrap()
    }

    /// A table with a stream; the stream's ARN.
    async fn table(&self, view: StreamViewType) -> String {
        let input = CreateTableInput {
            table_name: "things".to_owned(),
            attribute_definitions: Some(vec![AttributeDefinition {
                attribute_name: "id".to_owned(),
                attribute_type: ScalarAttributeType::S,
            }]),
            key_schema: Some(vec![KeySchemaElement { attribute_name: "id".to_owned(), key_type: KeyType::Hash }]),
            billing_mode: Some(BillingMode::PayPerRequest),
            stream_specification: Some(StreamSpecification { stream_enabled: true, stream_view_type: Some(view) }),
            ..CreateTableInput::default()
        };
        match self.on_tables(Request::CreateTable(Box::new(input))).await {
            Response::CreateTable(answer) => answer.table_description.unwrap().latest_stream_arn.unwrap(),
            other => panic!("{other:?}"),
        }
    }

    async fn item(&self, id: &str, version: u64) {
        let text = |text: String| AttributeValue { s: Some(text), ..AttributeValue::default() };
        let item =
            BTreeMap::from([("id".to_owned(), text(id.to_owned())), ("v".to_owned(), text(version.to_string()))]);
        let input = PutItemInput { table_name: "things".to_owned(), item, ..PutItemInput::default() };
        self.on_tables(Request::PutItem(Box::new(input))).await;
    }

    async fn remove(&self, id: &str) {
        let key = AttributeValue { s: Some(id.to_owned()), ..AttributeValue::default() };
        let input = DeleteItemInput {
            table_name: "things".to_owned(),
            key: BTreeMap::from([("id".to_owned(), key)]),
            ..DeleteItemInput::default()
        };
        self.on_tables(Request::DeleteItem(Box::new(input))).await;
    }

    /// A mapping of the stream from its beginning, unless something else is said.
    async fn follow(&self, stream: &str, more: Value) -> Value {
        let mut input = json!({ "EventSourceArn": stream, "FunctionName": "f", "StartingPosition": "TRIM_HORIZON" });
        input.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        self.connect(input).await
    }

    /// The keys that functions got, batch by batch.
    fn keys(&self) -> Vec<Vec<String>> {
        let key = |record: &Value| record["dynamodb"]["Keys"]["id"]["S"].as_str().unwrap().to_owned();
        self.batches().iter().map(|batch| batch["Records"].as_array().unwrap().iter().map(key).collect()).collect()
    }

    /// The versions of each item, in the order in which a function got them.
    fn versions(&self) -> BTreeMap<String, Vec<u64>> {
        let mut all: BTreeMap<String, Vec<u64>> = BTreeMap::new();
        for batch in self.batches() {
            for record in batch["Records"].as_array().unwrap() {
                let id = record["dynamodb"]["Keys"]["id"]["S"].as_str().unwrap();
                let version = record["dynamodb"]["NewImage"]["v"]["S"].as_str().unwrap().parse().unwrap();
                all.entry(id.to_owned()).or_default().push(version);
            }
        }
        all
    }

    async fn letters(&self, times: usize) -> Vec<Value> {
        self.until(&format!("{times} letters"), || async { self.taken.lock().len() >= times }).await;
        let all = self.taken.lock();
        assert_eq!(all.len(), times);
        all.iter().map(|(_, delivery)| serde_json::from_slice(&delivery.body).unwrap()).collect()
    }

    async fn result(&self, mapping: &Value) -> String {
        let found = self.call("GetEventSourceMapping", json!({ "UUID": mapping["UUID"] })).await;
        found["LastProcessingResult"].as_str().unwrap().to_owned()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_starts_the_function_with_what_aws_gives_it() {
    let world = World::new();
    let stream = world.table(StreamViewType::NewAndOldImages).await;
    world.function("f", "app.handler").await;
    let mapping = world.follow(&stream, json!({ "StartingPosition": "LATEST" })).await;
    let expected = json!({
        "BatchSize": 100,
        "BisectBatchOnFunctionError": false,
        "DestinationConfig": { "OnFailure": {} },
        "EventSourceArn": stream,
        "FunctionResponseTypes": [],
        "LastProcessingResult": "No records processed",
        "MaximumBatchingWindowInSeconds": 0,
        "MaximumRecordAgeInSeconds": -1,
        "MaximumRetryAttempts": -1,
        "ParallelizationFactor": 1,
        "StartingPosition": "LATEST",
        "StateTransitionReason": "User action",
        "TumblingWindowInSeconds": 0,
    });
    for (name, value) in expected.as_object().unwrap() {
        assert_eq!(&mapping[name], value, "{name}");
    }
    world.item("a", 1).await;
    world.ran(1).await;
    let event = world.batches().remove(0);
    assert_eq!(event.as_object().unwrap().len(), 1);
    let record = &event["Records"][0];
    assert_eq!(
        (&record["eventName"], &record["eventSource"], &record["eventSourceARN"], &record["eventVersion"]),
        (&json!("INSERT"), &json!("aws:dynamodb"), &json!(stream), &json!("1.1"))
    );
    assert_eq!(record["dynamodb"]["NewImage"], json!({ "id": { "S": "a" }, "v": { "S": "1" } }));
    assert_eq!(record["dynamodb"]["ApproximateCreationDateTime"], json!(world.env.now().as_seconds()));
    world.remove("a").await;
    world.ran(2).await;
    assert_eq!(world.batches()[1]["Records"][0]["eventName"], "REMOVE");
    world.until("the result is told", || async { world.result(&mapping).await == "OK" }).await;
    let twice = json!({ "EventSourceArn": stream, "FunctionName": "f", "StartingPosition": "LATEST" });
    let failure = world.fails("CreateEventSourceMapping", twice).await;
    assert_eq!(
        failure.message,
        format!(
            "The event source arn (\" {stream} \") and function (\" f \") provided mapping already exists. Please update or \
             delete the existing mapping with UUID {}",
            mapping["UUID"].as_str().unwrap()
        )
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn it_begins_where_it_was_told_to() {
    for (position, expected) in [("TRIM_HORIZON", vec!["a", "b", "c"]), ("LATEST", vec!["c"])] {
        let world = World::new();
        let stream = world.table(StreamViewType::KeysOnly).await;
        world.function("f", "app.handler").await;
        world.item("a", 1).await;
        world.item("b", 1).await;
        world.follow(&stream, json!({ "StartingPosition": position })).await;
        world.item("c", 1).await;
        world.until("the last one came", || async { world.keys().concat().last().is_some_and(|key| key == "c") }).await;
        assert_eq!(world.keys().concat(), expected, "{position}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn batches_have_a_size_a_window_and_a_filter() {
    let world = World::new();
    let stream = world.table(StreamViewType::NewImage).await;
    world.function("f", "app.handler").await;
    for n in 0..25 {
        world.item(&n.to_string(), 1).await;
    }
    let pattern = json!({ "dynamodb": { "NewImage": { "v": { "S": ["1"] } } } }).to_string();
    let filters = json!({ "Filters": [{ "Pattern": pattern }] });
    let more = json!({ "BatchSize": 10, "MaximumBatchingWindowInSeconds": 5, "FilterCriteria": filters });
    world.follow(&stream, more).await;
    world.ran(2).await;
    // The rest waits for more, or for its time.
    world.item("unwanted", 2).await;
    world.wait(3).await;
    world.ran(2).await;
    world.item("25", 1).await;
    world.wait(4).await;
    world.ran(3).await;
    assert_eq!(world.keys().iter().map(Vec::len).collect::<Vec<_>>(), [10, 10, 6]);
    let expected: Vec<String> = (0..26).map(|n| n.to_string()).collect();
    assert_eq!(world.keys().concat(), expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_fails_holds_up_its_shard_until_its_tries_are_over_and_is_told() {
    let world = World::new();
    let stream = world.table(StreamViewType::KeysOnly).await;
    world.function("f", "app.fails_bad").await;
    world.item("bad", 1).await;
    world.item("good", 1).await;
    let destination = json!({ "OnFailure": { "Destination": QUEUE } });
    let more = json!({ "BatchSize": 1, "MaximumRetryAttempts": 2, "DestinationConfig": destination });
    let mapping = world.follow(&stream, more).await;
    assert_eq!(mapping["DestinationConfig"]["OnFailure"]["Destination"], QUEUE);
    world.until("the other one came", || async { world.keys().contains(&vec!["good".to_owned()]) }).await;
    assert_eq!(world.keys(), [["bad"], ["bad"], ["bad"], ["good"]]);
    let told = world.letters(1).await.remove(0);
    let first = world.batches()[0]["Records"][0]["dynamodb"]["SequenceNumber"].clone();
    let info = &told["DDBStreamBatchInfo"];
    assert_eq!(
        (&info["batchSize"], &info["startSequenceNumber"], &info["endSequenceNumber"], &info["streamArn"]),
        (&json!(1), &first, &first, &json!(stream))
    );
    assert_eq!(told["requestContext"]["condition"], "RetryAttemptsExhausted");
    assert_eq!(told["requestContext"]["approximateInvokeCount"], 3);
    assert_eq!(told["responseContext"]["functionError"], "Unhandled");
    let last = world.host.seen.lock()[2].request_id.clone();
    assert_eq!(told["requestContext"]["requestId"], last);
}

#[tokio::test(flavor = "multi_thread")]
async fn halving_finds_the_one_that_fails() {
    let world = World::new();
    let stream = world.table(StreamViewType::KeysOnly).await;
    world.function("f", "app.fails_bad").await;
    for id in ["1", "2", "bad", "4", "5", "6", "7", "8"] {
        world.item(id, 1).await;
    }
    let destination = json!({ "OnFailure": { "Destination": QUEUE } });
    let more =
        json!({ "MaximumRetryAttempts": 1, "BisectBatchOnFunctionError": true, "DestinationConfig": destination });
    world.follow(&stream, more).await;
    let told = world.letters(1).await.remove(0);
    assert_eq!(
        (&told["DDBStreamBatchInfo"]["batchSize"], &told["requestContext"]["approximateInvokeCount"]),
        (&json!(1), &json!(2))
    );
    world
        .until("the last one came", || async {
            world.keys().last().is_some_and(|keys| keys.contains(&"8".to_owned()) && !keys.contains(&"bad".to_owned()))
        })
        .await;
    let done: Vec<String> =
        world.keys().into_iter().filter(|keys| !keys.contains(&"bad".to_owned())).flatten().collect();
    assert_eq!(done, ["1", "2", "4", "5", "6", "7", "8"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_partial_answer_moves_the_checkpoint_to_the_first_failure() {
    let world = World::new();
    let stream = world.table(StreamViewType::KeysOnly).await;
    world.function("f", "app.items").await;
    for id in ["1", "2", "bad"] {
        world.item(id, 1).await;
    }
    let destination = json!({ "OnFailure": { "Destination": QUEUE } });
    let more = json!({
        "BatchSize": 3,
        "MaximumRetryAttempts": 3,
        "FunctionResponseTypes": ["ReportBatchItemFailures"],
        "DestinationConfig": destination,
    });
    world.follow(&stream, more).await;
    let told = world.letters(1).await.remove(0);
    assert_eq!(world.keys(), [vec!["1", "2", "bad"], vec!["bad"], vec!["bad"], vec!["bad"]]);
    // As recorded.
    assert_eq!(
        (&told["DDBStreamBatchInfo"]["batchSize"], &told["requestContext"]["approximateInvokeCount"]),
        (&json!(1), &json!(4))
    );
    assert_eq!(
        told["responseContext"],
        json!({ "executedVersion": "$LATEST", "functionError": null, "statusCode": 200 })
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_too_old_is_given_up() {
    let world = World::new();
    let stream = world.table(StreamViewType::KeysOnly).await;
    world.function("f", "app.handler").await;
    world.item("old", 1).await;
    world.wait(61).await;
    world.item("young", 1).await;
    let destination = json!({ "OnFailure": { "Destination": QUEUE } });
    world.follow(&stream, json!({ "MaximumRecordAgeInSeconds": 60, "DestinationConfig": destination })).await;
    world.ran(1).await;
    assert_eq!(world.keys(), [["young"]]);
    let told = world.letters(1).await.remove(0);
    assert_eq!(told["requestContext"]["condition"], "RecordAgeExceeded");
    assert_eq!((&told["DDBStreamBatchInfo"]["batchSize"], told.get("responseContext")), (&json!(1), None));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_window_has_a_state_and_an_end() {
    let world = World::new();
    let stream = world.table(StreamViewType::KeysOnly).await;
    world.function("f", "app.counts").await;
    world.follow(&stream, json!({ "TumblingWindowInSeconds": 30, "BatchSize": 2 })).await;
    for id in ["a", "b", "c"] {
        world.item(id, 1).await;
    }
    world.until("three came", || async { world.keys().concat().len() == 3 }).await;
    world.wait(31).await;
    world
        .until("the window ends", || async {
            world.batches().iter().any(|batch| batch["isFinalInvokeForWindow"] == true)
        })
        .await;
    let batches = world.batches();
    let last = batches.last().unwrap();
    assert_eq!((&last["Records"], &last["state"]), (&json!([]), &json!({ "count": 3 })));
    assert_eq!((&last["isWindowTerminatedEarly"], &last["eventSourceARN"]), (&json!(false), &json!(stream)));
    assert!(last["window"]["start"].as_str().unwrap() < last["window"]["end"].as_str().unwrap());
    assert_eq!(batches[0]["state"], json!({}));
    // The next one begins with nothing.
    let before = batches.len();
    world.item("d", 1).await;
    world.ran(before + 1).await;
    assert_eq!(world.batches()[before]["state"], json!({}));
}

#[tokio::test(flavor = "multi_thread")]
async fn lanes_run_at_once_and_each_item_keeps_its_order() {
    let world = World::new();
    let stream = world.table(StreamViewType::NewImage).await;
    world.function("f", "app.chain").await;
    world.host.failures_left.store(7, Ordering::SeqCst);
    world.host.gate.send_replace(true);
    for version in 0..5 {
        for id in 0..12 {
            world.item(&id.to_string(), version).await;
        }
    }
    world.follow(&stream, json!({ "BatchSize": 3, "ParallelizationFactor": 4 })).await;
    let done = |world: &World| {
        let all = world.versions();
        all.len() == 12 && all.values().all(|versions| versions.last() == Some(&4))
    };
    world.until("everything came", || async { done(&world) }).await;
    for (id, versions) in world.versions() {
        in_order(&id, &versions);
    }
}

/// Each version comes, and none before an older one came: what failed comes again from where it failed.
fn in_order(id: &str, versions: &[u64]) {
    let mut next = 0;
    for version in versions {
        assert!(*version <= next, "{id}: {versions:?}");
        next = next.max(version + 1);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn shards_follow_each_other_and_a_restart_goes_on_behind_what_was_done() {
    let world = World::new();
    let stream = world.table(StreamViewType::NewImage).await;
    world.function("f", "app.handler").await;
    let mapping = world.follow(&stream, json!({ "ParallelizationFactor": 2 })).await;
    let mut seen = BTreeMap::<String, Vec<u64>>::new();
    let mut world = world;
    for version in 0..6 {
        for id in 0..4 {
            world.item(&id.to_string(), version).await;
        }
        // Shards are closed after a minute.
        world.wait(61).await;
        world
            .until("they came", || async {
                let all = world.versions();
                all.len() == 4 && all.values().all(|versions| versions.last() == Some(&version))
            })
            .await;
        if version % 2 == 1 {
            for (id, versions) in world.versions() {
                seen.entry(id).or_default().extend(versions);
            }
            world = world.ended_and_restarted().await;
        }
        if version == 3 {
            // Another division of the shards loses nothing either.
            world.reaches(mapping["UUID"].as_str().unwrap(), "Enabled").await;
            world
                .call("UpdateEventSourceMapping", json!({ "UUID": mapping["UUID"], "ParallelizationFactor": 5 }))
                .await;
        }
    }
    for (id, versions) in seen {
        assert_eq!(versions, [0, 1, 2, 3, 4, 5], "{id}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_takes_over_loses_nothing() {
    let world = World::new();
    let stream = world.table(StreamViewType::NewImage).await;
    world.function("f", "app.hangs_once").await;
    world.host.failures_left.store(1, Ordering::SeqCst);
    world.follow(&stream, json!({})).await;
    world.item("a", 0).await;
    world.item("a", 1).await;
    // The function hangs; the process is gone.
    for _ in 0..50 {
        world.pass(Duration::from_millis(10)).await;
    }
    let world = world.crashed();
    world.wait(45).await;
    world.until("they came", || async { world.versions().get("a").is_some_and(|all| all.contains(&1)) }).await;
    in_order("a", &world.versions()["a"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mapping_that_is_disabled_rests_and_goes_on_where_it_was() {
    let world = World::new();
    let stream = world.table(StreamViewType::NewImage).await;
    world.function("f", "app.handler").await;
    let mapping = world.follow(&stream, json!({})).await;
    let uuid = mapping["UUID"].as_str().unwrap();
    world.item("a", 0).await;
    world.ran(1).await;
    world.call("UpdateEventSourceMapping", json!({ "UUID": uuid, "Enabled": false })).await;
    world.reaches(uuid, "Disabled").await;
    world.item("a", 1).await;
    world.wait(2).await;
    world.ran(1).await;
    world.call("UpdateEventSourceMapping", json!({ "UUID": uuid, "Enabled": true })).await;
    world.reaches(uuid, "Enabled").await;
    world.ran(2).await;
    assert_eq!(world.versions()["a"], [0, 1]);
    world.call("DeleteEventSourceMapping", json!({ "UUID": uuid })).await;
    world
        .until("it is gone", || async {
            world.try_call(&world.cx, "GetEventSourceMapping", json!({ "UUID": uuid })).await.is_err()
        })
        .await;
}
