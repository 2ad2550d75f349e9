//! Forms that no client of AWS would send: every operation refuses them in its own words or does what they say, and nothing
//! of it is our fault.

use model_sqs::{Api, Error, Request};
use proptest::prelude::*;
use wire_query::Form;
use wire_schema::{Model, ServiceError, Survey, refused_member, validate};

use crate::support::World;

const NAMES: &[&str] = &[
    "QueueName",
    "QueueUrl",
    "MessageBody",
    "DelaySeconds",
    "ReceiptHandle",
    "VisibilityTimeout",
    "WaitTimeSeconds",
    "MaxNumberOfMessages",
    "MessageGroupId",
    "MessageDeduplicationId",
    "ReceiveRequestAttemptId",
    "Label",
    "TaskHandle",
    "SourceArn",
    "DestinationArn",
    "MaxNumberOfMessagesPerSecond",
    "NextToken",
    "MaxResults",
    "QueueNamePrefix",
    "AttributeName.1",
    "AttributeName.2",
    "MessageAttributeName.1",
    "MessageSystemAttributeName.1",
    "AWSAccountId.1",
    "ActionName.1",
    "TagKey.1",
    "Tag.1.Key",
    "Tag.1.Value",
    "Attribute.1.Name",
    "Attribute.1.Value",
    "Attribute.2.Name",
    "Attribute.2.Value",
    "MessageAttribute.1.Name",
    "MessageAttribute.1.Value.DataType",
    "MessageAttribute.1.Value.StringValue",
    "MessageAttribute.1.Value.BinaryValue",
    "MessageSystemAttribute.1.Name",
    "MessageSystemAttribute.1.Value.DataType",
    "MessageSystemAttribute.1.Value.StringValue",
    "SendMessageBatchRequestEntry.1.Id",
    "SendMessageBatchRequestEntry.1.MessageBody",
    "SendMessageBatchRequestEntry.1.DelaySeconds",
    "SendMessageBatchRequestEntry.2.Id",
    "SendMessageBatchRequestEntry.2.MessageBody",
    "DeleteMessageBatchRequestEntry.1.Id",
    "DeleteMessageBatchRequestEntry.1.ReceiptHandle",
    "ChangeMessageVisibilityBatchRequestEntry.1.Id",
    "ChangeMessageVisibilityBatchRequestEntry.1.ReceiptHandle",
    "ChangeMessageVisibilityBatchRequestEntry.1.VisibilityTimeout",
];

const VALUES: &[&str] = &[
    "q",
    "q.fifo",
    "http://127.0.0.1:4566/000000000000/q",
    "http://127.0.0.1:4566/000000000000/q.fifo",
    "arn:aws:sqs:us-east-1:000000000000:q",
    "All",
    "FifoQueue",
    "Policy",
    "RedrivePolicy",
    "RedriveAllowPolicy",
    "VisibilityTimeout",
    "MessageRetentionPeriod",
    "true",
    "{}",
    "{\"maxReceiveCount\":3}",
    "{\"deadLetterTargetArn\":\"arn:aws:sqs:us-east-1:000000000000:q\",\"maxReceiveCount\":\"1\"}",
    "{\"Statement\":[{\"Effect\":\"Allow\",\"Principal\":\"*\",\"Action\":\"sqs:*\",\"Resource\":\"*\"}]}",
    "String",
    "Number",
    "Binary",
    "AWSTraceHeader",
    "0",
    "1",
    "-1",
    "10",
    "43201",
    "99999999999999999999",
    "1e3",
    "%00",
    "%ff",
    "YWI=",
    "=",
];

fn parameters() -> impl Strategy<Value = Vec<(String, String)>> {
    let name = prop_oneof![
        8 => prop::sample::select(NAMES).prop_map(str::to_owned),
        1 => "[A-Za-z.0-9]{0,20}",
    ];
    let value = prop_oneof![
        8 => prop::sample::select(VALUES).prop_map(str::to_owned),
        1 => "[ -~]{0,12}",
    ];
    prop::collection::vec((name, value), 0..8)
}

/// A request as the wire reads it; none when the wire refuses it.
fn read(operation: usize, form: &[u8]) -> Option<Request> {
    let operations = Api::service().operations;
    let operation = &operations[operation % operations.len()];
    let form = Form::read([form]).ok()?;
    let (mut request, mut survey) = (Api::request(operation)?, Survey::default());
    wire_query::decode(&form, Api::input_mut(&mut request), &mut survey).ok()?;
    let sound = validate(Api::input(&request), &survey).is_empty() && refused_member(Api::input(&request)).is_none();
    // Nobody waits here.
    let waits = matches!(&request, Request::ReceiveMessage(it) if it.wait_time_seconds.is_some_and(|s| s > 0));
    (sound && !waits).then_some(request)
}

async fn play(forms: Vec<(usize, Vec<(String, String)>)>) {
    let world = World::new();
    world.create("q", &[]).await;
    world.create("q.fifo", &[("FifoQueue", "true")]).await;
    for (operation, parameters) in forms {
        let pairs: Vec<String> = parameters.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let Some(request) = read(operation, pairs.join("&").as_bytes()) else { continue };
        let shown = format!("{request:?}");
        let outcome = world.dispatcher.dispatch::<Api, _>(&world.sqs, world.cx.clone(), request).await;
        if let Err(error) = outcome {
            assert!(Error::fault(&error).is_none(), "{shown}: {error:?}");
            assert!((400..500).contains(&error.status()), "{shown}: {error:?}");
        }
        world.reconcile().await;
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn forms_that_make_no_sense_are_refused_property(
        forms in prop::collection::vec((any::<usize>(), parameters()), 1..12)
    ) {
        tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(play(forms));
    }

    #[test]
    fn bytes_from_outside_cause_no_panic_property(operation in any::<usize>(), bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        drop(read(operation, &bytes));
    }
}
