//! Pipes from the streams of real tables: every change is handed over, those of an item in their order.

use std::collections::BTreeMap;

use model_dynamodb::{
    AttributeDefinition, AttributeValue, BillingMode, CreateTableInput, DynamoDb as _, KeySchemaElement, KeyType,
    PutItemInput, ScalarAttributeType, StreamSpecification, StreamViewType,
};
use model_pipes::*;
use serde_json::{Value, json};

use crate::support::{World, pipe};

impl World {
    /// A table with a stream; the stream's ARN.
    async fn table(&self) -> String {
        let input = CreateTableInput {
            table_name: "things".to_owned(),
            attribute_definitions: Some(vec![AttributeDefinition {
                attribute_name: "id".to_owned(),
                attribute_type: ScalarAttributeType::S,
            }]),
            key_schema: Some(vec![KeySchemaElement { attribute_name: "id".to_owned(), key_type: KeyType::Hash }]),
            billing_mode: Some(BillingMode::PayPerRequest),
            stream_specification: Some(StreamSpecification {
                stream_enabled: true,
                stream_view_type: Some(StreamViewType::NewImage),
            }),
            ..CreateTableInput::default()
        };
        let (tables, cx) = (self.tables.clone(), self.cx.clone());
        let made = self.store.transact(move |tx| tables.create_table(&cx, tx, &input)).await.unwrap();
        made.table_description.unwrap().latest_stream_arn.unwrap()
    }

    async fn item(&self, id: &str, version: u64) {
        let text = |text: String| AttributeValue { s: Some(text), ..AttributeValue::default() };
        let item =
            BTreeMap::from([("id".to_owned(), text(id.to_owned())), ("v".to_owned(), text(version.to_string()))]);
        let input = PutItemInput { table_name: "things".to_owned(), item, ..PutItemInput::default() };
        let (tables, cx) = (self.tables.clone(), self.cx.clone());
        self.store.transact(move |tx| tables.put_item(&cx, tx, &input)).await.unwrap();
    }
}

fn from(position: DynamoDBStreamStartPosition) -> PipeSourceDynamoDBStreamParameters {
    PipeSourceDynamoDBStreamParameters {
        starting_position: position,
        batch_size: None,
        dead_letter_config: None,
        on_partial_batch_item_failure: None,
        maximum_batching_window_in_seconds: None,
        maximum_record_age_in_seconds: None,
        maximum_retry_attempts: None,
        parallelization_factor: None,
    }
}

fn source(parameters: PipeSourceDynamoDBStreamParameters) -> Option<PipeSourceParameters> {
    Some(PipeSourceParameters { dynamo_db_stream_parameters: Some(parameters), ..PipeSourceParameters::default() })
}

fn template(text: &str) -> Option<PipeTargetParameters> {
    Some(PipeTargetParameters { input_template: Some(text.to_owned()), ..PipeTargetParameters::default() })
}

const ID_AND_VERSION: &str = "<$.dynamodb.Keys.id.S> <$.dynamodb.NewImage.v.S>";

#[tokio::test]
async fn changes_are_handed_over_from_where_the_pipe_begins() {
    for (position, expected) in [
        (DynamoDBStreamStartPosition::TrimHorizon, vec!["a 0", "b 0", "a 1"]),
        (DynamoDBStreamStartPosition::Latest, vec!["a 1"]),
    ] {
        let world = World::new();
        let (stream, sink) = (world.table().await, world.queue("sink").await);
        world.item("a", 0).await;
        world.item("b", 0).await;
        let request = CreatePipeRequest {
            source_parameters: source(from(position)),
            target_parameters: template(ID_AND_VERSION),
            ..pipe("p", &stream, &sink)
        };
        world.create(request).await.unwrap();
        world.settle().await;
        world.item("a", 1).await;
        world.settle().await;
        let mut bodies = world.bodies("sink").await;
        bodies.iter_mut().for_each(|body| *body = body.replace('"', ""));
        assert_eq!(bodies, expected, "{position:?}");
    }
}

#[tokio::test]
async fn a_stream_needs_its_parameters() {
    let world = World::new();
    let (stream, sink) = (world.table().await, world.queue("sink").await);
    let refused = world.create(pipe("p", &stream, &sink)).await.unwrap_err();
    assert_eq!(refused.0, "ValidationException");
    assert!(refused.1.contains("DynamoDBStreamParameters"), "{}", refused.1);
}

#[tokio::test]
async fn lanes_keep_the_order_of_each_item() {
    let world = World::new();
    let (stream, sink) = (world.table().await, world.queue("sink").await);
    let lanes = PipeSourceDynamoDBStreamParameters {
        parallelization_factor: Some(4),
        ..from(DynamoDBStreamStartPosition::TrimHorizon)
    };
    let request = CreatePipeRequest {
        source_parameters: source(lanes),
        target_parameters: template(ID_AND_VERSION),
        ..pipe("p", &stream, &sink)
    };
    world.create(request).await.unwrap();
    for version in 0..5 {
        for id in 0..6 {
            world.item(&id.to_string(), version).await;
        }
        world.settle().await;
    }
    let mut versions: BTreeMap<String, Vec<u64>> = BTreeMap::new();
    for body in world.bodies("sink").await {
        let body = body.replace('"', "");
        let (id, version) = body.split_once(' ').unwrap();
        versions.entry(id.to_owned()).or_default().push(version.parse().unwrap());
    }
    assert_eq!(versions.len(), 6);
    assert!(versions.values().all(|all| all == &[0, 1, 2, 3, 4]), "{versions:?}");
}

#[tokio::test]
async fn what_fails_is_tried_again_and_then_given_up() {
    let world = World::new();
    let (stream, sink, dead) = (world.table().await, world.queue("sink").await, world.queue("dead").await);
    let tries = PipeSourceDynamoDBStreamParameters {
        batch_size: Some(1),
        maximum_retry_attempts: Some(1),
        dead_letter_config: Some(DeadLetterConfig { arn: Some(dead) }),
        ..from(DynamoDBStreamStartPosition::TrimHorizon)
    };
    let request = CreatePipeRequest {
        source_parameters: source(tries),
        target_parameters: template(ID_AND_VERSION),
        ..pipe("p", &stream, &sink)
    };
    world.create(request).await.unwrap();
    world.settle().await;
    world.drop_queue("sink").await;
    world.item("lost", 0).await;
    world.settle().await;
    world.pass(30).await;
    let letters = world.bodies("dead").await;
    assert_eq!(letters.len(), 1);
    let letter: Value = serde_json::from_str(&letters[0]).unwrap();
    assert_eq!(letter["context"]["condition"], "RetryAttemptsExhausted");
    assert_eq!(
        (&letter["DDBStreamBatchInfo"]["batchSize"], &letter["DDBStreamBatchInfo"]["streamArn"]),
        (&json!(1), &json!(stream))
    );
    // What comes behind it is not held up.
    // A name is free again after a minute.
    world.pass(60).await;
    world.queue("sink").await;
    world.item("next", 1).await;
    world.pass(10).await;
    assert_eq!(world.bodies("sink").await.concat().replace('"', ""), "next 1");
}
