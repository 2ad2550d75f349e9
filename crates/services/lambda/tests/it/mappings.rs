//! Event source mappings over real queues: what comes to a queue comes to its function.

use std::{collections::BTreeMap, future::Future, sync::Arc, sync::atomic::Ordering, time::Duration};

use model_sqs::{
    CreateQueueRequest, GetQueueAttributesRequest, MessageSystemAttributeValue, Request, Response, SendMessageRequest,
};
use serde_json::{Value, json};
use services_kernel::{Dispatcher, Lineage, Passed};

use crate::world::World;

pub(crate) const QUEUE: &str = "arn:aws:sqs:us-east-1:111111111111:q";
const SECOND: Duration = Duration::from_secs(1);

/// Steps of a test with queues.
pub(crate) trait Steps {
    async fn ask(&self, request: Request) -> Response;
    async fn queue(&self, name: &str, attributes: &[(&str, &str)]);
    async fn send_to(&self, queue: &str, body: &str);
    async fn send_as(&self, request: SendMessageRequest);
    /// Visible and in flight.
    async fn left(&self, queue: &str) -> (u64, u64);
    /// A mapping of the queue `q` unless another is named, enabled.
    async fn connect(&self, input: Value) -> Value;
    async fn reaches(&self, uuid: &str, state: &str);
    /// Waits for what comes about in a moment; a machine that is busy may need some time for it.
    async fn until<F: Future<Output = bool>>(&self, what: &str, check: impl FnMut() -> F);
    async fn ran(&self, times: usize);
    fn batches(&self) -> Vec<Value>;
    /// The texts that functions got, batch by batch.
    fn texts(&self) -> Vec<Vec<String>>;
    /// Lets `seconds` pass in steps that leases survive.
    async fn wait(&self, seconds: u64);
}

fn url(queue: &str) -> String {
    format!("http://127.0.0.1:4566/111111111111/{queue}")
}

fn message(queue: &str, body: &str) -> SendMessageRequest {
    let group = queue.ends_with(".fifo").then(|| body.chars().next().unwrap().to_string());
    SendMessageRequest {
        queue_url: url(queue),
        message_body: body.to_owned(),
        message_deduplication_id: group.as_ref().map(|_| body.replace(|c: char| !c.is_ascii_alphanumeric(), "")),
        message_group_id: group,
        ..Default::default()
    }
}

impl Steps for World {
    async fn ask(&self, request: Request) -> Response {
        let dispatcher = Dispatcher::new(self.store.clone());
        dispatcher.dispatch::<model_sqs::Api, _>(&self.sqs, self.cx.clone(), request).await.unwrap()
    }

    async fn queue(&self, name: &str, attributes: &[(&str, &str)]) {
        let mut all: BTreeMap<String, String> =
            attributes.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        if name.ends_with(".fifo") {
            all.insert("FifoQueue".to_owned(), "true".to_owned());
        }
        let request = CreateQueueRequest { queue_name: name.to_owned(), attributes: Some(all), ..Default::default() };
        self.ask(Request::CreateQueue(Box::new(request))).await;
    }

    async fn send_to(&self, queue: &str, body: &str) {
        self.send_as(message(queue, body)).await;
    }

    async fn send_as(&self, request: SendMessageRequest) {
        self.ask(Request::SendMessage(Box::new(request))).await;
    }

    async fn left(&self, queue: &str) -> (u64, u64) {
        let request =
            GetQueueAttributesRequest { queue_url: url(queue), attribute_names: Some(vec!["All".to_owned()]) };
        let Response::GetQueueAttributes(found) = self.ask(Request::GetQueueAttributes(Box::new(request))).await else {
            panic!("it answers something else")
        };
        let of = |name: &str| found.attributes.as_ref().unwrap()[name].parse().unwrap();
        (of("ApproximateNumberOfMessages"), of("ApproximateNumberOfMessagesNotVisible"))
    }

    async fn connect(&self, input: Value) -> Value {
        let mut all = json!({ "EventSourceArn": QUEUE });
        all.as_object_mut().unwrap().extend(input.as_object().unwrap().clone());
        let created = self.call("CreateEventSourceMapping", all).await;
        let uuid = created["UUID"].as_str().unwrap();
        self.reaches(uuid, "Enabled").await;
        self.call("GetEventSourceMapping", json!({ "UUID": uuid })).await
    }

    async fn reaches(&self, uuid: &str, state: &str) {
        let what = format!("the mapping is {state}");
        self.until(&what, || async {
            self.call("GetEventSourceMapping", json!({ "UUID": uuid })).await["State"] == state
        })
        .await;
    }

    async fn ran(&self, times: usize) {
        self.until(&format!("{times} batches"), || async { self.host.seen.lock().len() >= times }).await;
        assert_eq!(self.host.seen.lock().len(), times);
    }

    async fn until<F: Future<Output = bool>>(&self, what: &str, mut check: impl FnMut() -> F) {
        for _ in 0..400 {
            for _ in 0..50 {
                if check().await {
                    return;
                }
                tokio::task::yield_now().await;
            }
            self.pass(Duration::from_millis(50)).await;
        }
        panic!("never: {what}");
    }

    fn batches(&self) -> Vec<Value> {
        self.host.seen.lock().iter().map(|seen| serde_json::from_slice(&seen.payload).unwrap()).collect()
    }

    fn texts(&self) -> Vec<Vec<String>> {
        let text = |record: &Value| record["body"].as_str().unwrap().to_owned();
        self.batches().iter().map(|batch| batch["Records"].as_array().unwrap().iter().map(text).collect()).collect()
    }

    async fn wait(&self, seconds: u64) {
        for _ in 0..seconds {
            self.pass(SECOND).await;
        }
    }
}

impl World {
    async fn says(&self, mapping: &Value, reason: &str) {
        self.until(reason, || async {
            let told = self.call("GetEventSourceMapping", json!({ "UUID": mapping["UUID"] })).await;
            told["StateTransitionReason"] == reason
        })
        .await;
    }

    async fn empties(&self, queue: &str) {
        self.until("the queue is empty", || async { self.left(queue).await == (0, 0) }).await;
    }

    /// At least so many batches run at once: time passes on a busy machine, and more may be begun.
    async fn at_least(&self, n: u64) {
        let what = format!("{n} batches run at once");
        self.until(&what, || async { self.host.waiting.load(Ordering::SeqCst) >= n }).await;
    }

    async fn waiting(&self, n: u64) {
        let what = format!("{n} batches run at once");
        self.until(&what, || async { self.host.waiting.load(Ordering::SeqCst) == n }).await;
        for _ in 0..200 {
            tokio::task::yield_now().await;
        }
        assert_eq!(self.host.waiting.load(Ordering::SeqCst), n, "and no more");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_starts_the_function_and_leaves_the_queue() {
    let world = World::new();
    world.queue("q", &[]).await;
    world.function("f", "app.handler").await;
    world.connect(json!({ "FunctionName": "f" })).await;
    world.send_to("q", "one").await;
    world.ran(1).await;
    world.empties("q").await;
    let record = &world.batches()[0]["Records"][0];
    assert_eq!(
        (&record["body"], &record["eventSource"], &record["eventSourceARN"], &record["awsRegion"]),
        (&json!("one"), &json!("aws:sqs"), &json!(QUEUE), &json!("us-east-1"))
    );
    assert_eq!(record["attributes"]["ApproximateReceiveCount"], "1");
    let seen = world.host.seen.lock()[0].clone();
    assert_eq!(seen.invoked_function_arn, "arn:aws:lambda:us-east-1:111111111111:function:f");
    let passed = Passed::by(&seen.invoked_function_arn);
    assert_eq!(Lineage::of(&seen.trace_id.unwrap()).count(passed), 1);
    assert!(!world.meter.records.lock()[0].asynchronous);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_waits_comes_in_batches_and_by_the_alias_that_was_named() {
    let world = World::new();
    world.queue("q", &[]).await;
    world.function("f", "app.handler").await;
    world.call("PublishVersion", json!({ "FunctionName": "f" })).await;
    world.call("CreateAlias", json!({ "FunctionName": "f", "FunctionVersion": "1", "Name": "live" })).await;
    for n in 0..25 {
        world.send_to("q", &n.to_string()).await;
    }
    world.connect(json!({ "FunctionName": "f:live" })).await;
    world.empties("q").await;
    let mut sizes: Vec<usize> = world.texts().iter().map(Vec::len).collect();
    sizes.sort_unstable();
    assert_eq!(sizes, [5, 10, 10]);
    assert!(world.host.seen.lock().iter().all(|seen| seen.invoked_function_arn.ends_with(":function:f:live")));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_fails_comes_back_and_goes_to_the_dead_letters_of_its_queue() {
    let world = World::new();
    world.queue("dead", &[]).await;
    let redrive = json!({ "deadLetterTargetArn": QUEUE.replace(":q", ":dead"), "maxReceiveCount": 2 }).to_string();
    world.queue("q", &[("VisibilityTimeout", "10"), ("RedrivePolicy", &redrive)]).await;
    world.function("f", "app.fails").await;
    world.connect(json!({ "FunctionName": "f" })).await;
    world.send_to("q", "one").await;
    world.ran(1).await;
    world.wait(9).await;
    world.ran(1).await;
    world.wait(2).await;
    world.ran(2).await;
    world.wait(12).await;
    world.until("it is a dead letter", || async { world.left("dead").await == (1, 0) }).await;
    world.ran(2).await;
    assert_eq!(world.left("q").await, (0, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn only_what_is_reported_comes_back() {
    let world = World::new();
    world.queue("q", &[("VisibilityTimeout", "10")]).await;
    world.function("f", "app.items").await;
    for body in ["good-1", "bad", "good-2"] {
        world.send_to("q", body).await;
    }
    let types = json!(["ReportBatchItemFailures"]);
    let mapping = world.connect(json!({ "FunctionName": "f", "FunctionResponseTypes": types })).await;
    assert_eq!(mapping["FunctionResponseTypes"], types);
    world.ran(1).await;
    world.until("the good ones are gone", || async { world.left("q").await == (0, 1) }).await;
    world.wait(9).await;
    world.ran(1).await;
    world.wait(2).await;
    world.ran(2).await;
    assert_eq!(world.texts(), [vec!["good-1", "bad", "good-2"], vec!["bad"]]);
    assert_eq!(world.batches()[1]["Records"][0]["attributes"]["ApproximateReceiveCount"], "2");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fifo_queue_is_worked_off_in_the_order_of_its_groups() {
    let world = World::new();
    world.queue("q.fifo", &[("VisibilityTimeout", "10")]).await;
    world.function("f", "app.items").await;
    let arn = format!("{QUEUE}.fifo");
    for body in ["a1", "b1", "a2"] {
        world.send_to("q.fifo", body).await;
    }
    let types = json!(["ReportBatchItemFailures"]);
    let input = json!({ "FunctionName": "f", "EventSourceArn": arn, "FunctionResponseTypes": types, "BatchSize": 2 });
    world.connect(input).await;
    world.empties("q.fifo").await;
    let flat: Vec<String> = world.texts().concat();
    let of = |group: char| flat.iter().filter(|text| text.starts_with(group)).cloned().collect::<Vec<_>>();
    assert_eq!((of('a'), of('b')), (vec!["a1".into(), "a2".into()], vec!["b1".into()]));
    // What fails holds what is behind it in its group, in the batch and in the queue.
    let before = world.host.seen.lock().len();
    for body in ["bad", "b2", "b3", "c1"] {
        world.send_to("q.fifo", body).await;
    }
    world.until("the other group is done", || async { world.texts().concat().contains(&"c1".to_owned()) }).await;
    let later = || world.texts()[before..].concat();
    let tries = || later().iter().filter(|text| *text == "bad").count();
    world.until("what failed is tried again", || async { tries() >= 2 }).await;
    let later = later();
    assert!(!later.contains(&"b3".to_owned()), "{later:?}: it would overtake");
    assert!(world.left("q.fifo").await.0 + world.left("q.fifo").await.1 == 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn groups_run_beside_each_other_and_a_group_one_batch_at_a_time() {
    let world = World::new();
    world.queue("q.fifo", &[]).await;
    world.function("f", "app.waits").await;
    for body in ["a1", "a2", "b1", "b2", "c1"] {
        world.send_to("q.fifo", body).await;
    }
    world.connect(json!({ "FunctionName": "f", "EventSourceArn": format!("{QUEUE}.fifo"), "BatchSize": 1 })).await;
    world.waiting(3).await;
    world.host.gate.send_replace(true);
    world.empties("q.fifo").await;
    let flat: Vec<String> = world.texts().concat();
    let at = |text: &str| flat.iter().position(|other| other == text).unwrap();
    assert!(at("a1") < at("a2") && at("b1") < at("b2") && flat.len() == 5);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_filter_keeps_out_is_deleted_unseen() {
    let world = World::new();
    world.queue("q", &[]).await;
    world.function("f", "app.handler").await;
    let criteria = json!({ "Filters": [{ "Pattern": r#"{"body":{"kind":["order"]}}"# }] });
    let mapping = world.connect(json!({ "FunctionName": "f", "FilterCriteria": criteria })).await;
    assert_eq!(mapping["FilterCriteria"], criteria);
    for body in [r#"{"kind":"noise"}"#, "plain", r#"{"kind":"order","n":1}"#, r#"{"kind":"noise"}"#] {
        world.send_to("q", body).await;
    }
    world.empties("q").await;
    assert_eq!(world.texts().concat(), [r#"{"kind":"order","n":1}"#]);
    let uuid = mapping["UUID"].as_str().unwrap();
    let updated = world.call("UpdateEventSourceMapping", json!({ "UUID": uuid, "FilterCriteria": {} })).await;
    assert_eq!((&updated["State"], updated.get("FilterCriteria")), (&json!("Updating"), None));
    world.reaches(uuid, "Enabled").await;
    world.send_to("q", "plain").await;
    world.ran(2).await;
    let wrong = json!({ "UUID": uuid, "FilterCriteria": { "Filters": [{ "Pattern": r#"{"body":"x"}"# }] } });
    assert_eq!(world.fails("UpdateEventSourceMapping", wrong).await.message, "Invalid filter pattern definition.");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_window_gathers_until_it_ends_or_the_batch_is_full() {
    let world = World::new();
    world.queue("q", &[("VisibilityTimeout", "6")]).await;
    world.function("f", "app.fails").await;
    let window = json!({ "FunctionName": "f", "BatchSize": 20, "MaximumBatchingWindowInSeconds": 10 });
    world.connect(window).await;
    world.send_to("q", "1").await;
    world.wait(5).await;
    world.send_to("q", "2").await;
    world.wait(4).await;
    world.ran(0).await;
    world.wait(2).await;
    world.ran(1).await;
    assert_eq!(world.texts(), [["1", "2"]]);
    // The visibility counts from the batch's begin, not from when its messages were gathered.
    world.wait(3).await;
    assert_eq!(world.left("q").await, (0, 2));
    for n in 3..23 {
        world.send_to("q", &n.to_string()).await;
    }
    world.ran(2).await;
    assert_eq!(world.texts()[1].len(), 20);
}

#[tokio::test(flavor = "multi_thread")]
async fn batches_at_once_grow_from_five_and_never_beyond_the_mappings_own_bound() {
    let world = World::new();
    world.queue("q", &[("VisibilityTimeout", "900")]).await;
    world.function("f", "app.waits").await;
    let mapping = world.connect(json!({ "FunctionName": "f", "BatchSize": 1 })).await;
    for n in 0..40 {
        world.send_to("q", &n.to_string()).await;
    }
    world.at_least(5).await;
    world.pass(SECOND).await;
    world.at_least(10).await;
    let uuid = &mapping["UUID"];
    let bound = json!({ "UUID": uuid, "ScalingConfig": { "MaximumConcurrency": 2 } });
    let updated = world.call("UpdateEventSourceMapping", bound).await;
    assert_eq!(updated["ScalingConfig"], json!({ "MaximumConcurrency": 2 }));
    world.reaches(uuid.as_str().unwrap(), "Enabled").await;
    world.wait(2).await;
    world.host.gate.send_replace(true);
    world.empties("q").await;
    world.host.gate.send_replace(false);
    for n in 0..10 {
        world.send_to("q", &n.to_string()).await;
    }
    world.waiting(2).await;
    world.wait(3).await;
    world.waiting(2).await;
    world.host.gate.send_replace(true);
    world.empties("q").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_throttled_batch_waits_and_its_messages_are_counted_once() {
    let world = World::new();
    world.queue("q", &[("VisibilityTimeout", "60")]).await;
    world.function("f", "app.waits").await;
    world.call("PutFunctionConcurrency", json!({ "FunctionName": "f", "ReservedConcurrentExecutions": 1 })).await;
    world.connect(json!({ "FunctionName": "f", "BatchSize": 1 })).await;
    for n in 0..3 {
        world.send_to("q", &n.to_string()).await;
    }
    world.waiting(1).await;
    world.eventually("others are throttled", || async { !world.meter.throttles.lock().is_empty() }).await;
    world.host.gate.send_replace(true);
    world.wait(15).await;
    world.ran(3).await;
    world.empties("q").await;
    for batch in world.batches() {
        assert_eq!(batch["Records"][0]["attributes"]["ApproximateReceiveCount"], "1");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_function_that_may_not_run_leaves_its_messages_uncounted() {
    let world = World::new();
    world.queue("q", &[]).await;
    world.function("f", "app.handler").await;
    world.call("PutFunctionConcurrency", json!({ "FunctionName": "f", "ReservedConcurrentExecutions": 0 })).await;
    let mapping = world.connect(json!({ "FunctionName": "f" })).await;
    world.send_to("q", "one").await;
    world.wait(40).await;
    assert_eq!(world.left("q").await, (1, 0));
    world.says(&mapping, "The function's reserved concurrency is zero.").await;
    world.call("DeleteFunctionConcurrency", json!({ "FunctionName": "f" })).await;
    world.wait(1).await;
    world.ran(1).await;
    assert_eq!(world.batches()[0]["Records"][0]["attributes"]["ApproximateReceiveCount"], "1");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_crash_interrupts_comes_back_and_is_done_once_more() {
    let world = World::new();
    world.queue("q", &[("VisibilityTimeout", "40")]).await;
    world.function("f", "app.waits").await;
    world.connect(json!({ "FunctionName": "f" })).await;
    world.send_to("q", "one").await;
    world.waiting(1).await;
    // The process is gone; another takes over when its lease has run out.
    let gate = Arc::clone(&world.host.gate);
    let world = world.crashed();
    world.host.gate.send_replace(true);
    world.wait(35).await;
    assert_eq!(world.left("q").await, (0, 1), "it is hidden still");
    world.ran(0).await;
    world.wait(10).await;
    world.ran(1).await;
    world.empties("q").await;
    // What the dead one would still write, it cannot.
    gate.send_replace(true);
    world.send_to("q", "two").await;
    world.ran(2).await;
    world.empties("q").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_disabled_mapping_takes_nothing_more_and_finishes_what_it_began() {
    let world = World::new();
    world.queue("q", &[]).await;
    world.function("f", "app.waits").await;
    let mapping = world.connect(json!({ "FunctionName": "f", "BatchSize": 1 })).await;
    let uuid = mapping["UUID"].as_str().unwrap();
    world.send_to("q", "one").await;
    world.waiting(1).await;
    let disabled = world.call("UpdateEventSourceMapping", json!({ "UUID": uuid, "Enabled": false })).await;
    assert_eq!(disabled["State"], "Disabling");
    world.send_to("q", "two").await;
    world.wait(2).await;
    assert_eq!(world.call("GetEventSourceMapping", json!({ "UUID": uuid })).await["State"], "Disabling");
    world.host.gate.send_replace(true);
    world.reaches(uuid, "Disabled").await;
    world.wait(2).await;
    assert_eq!((world.texts(), world.left("q").await), (vec![vec!["one".to_owned()]], (1, 0)));
    let enabled = world.call("UpdateEventSourceMapping", json!({ "UUID": uuid, "Enabled": true })).await;
    assert_eq!(enabled["State"], "Enabling");
    world.ran(2).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deleted_mapping_is_gone_when_it_has_finished() {
    let world = World::new();
    world.queue("q", &[]).await;
    world.function("f", "app.handler").await;
    let mapping = world.connect(json!({ "FunctionName": "f", "Tags": { "team": "a" } })).await;
    let (uuid, arn) = (&mapping["UUID"], &mapping["EventSourceMappingArn"]);
    assert_eq!(world.call("ListTags", json!({ "Resource": arn })).await["Tags"], json!({ "team": "a" }));
    world.call("TagResource", json!({ "Resource": arn, "Tags": { "b": "c" } })).await;
    world.call("UntagResource", json!({ "Resource": arn, "TagKeys": ["team"] })).await;
    assert_eq!(world.call("ListTags", json!({ "Resource": arn })).await["Tags"], json!({ "b": "c" }));
    assert_eq!(world.call("DeleteEventSourceMapping", json!({ "UUID": uuid })).await["State"], "Deleting");
    world
        .until("it is gone", || async {
            world.try_call(&world.cx, "GetEventSourceMapping", json!({ "UUID": uuid })).await.is_err()
        })
        .await;
    world.send_to("q", "one").await;
    world.wait(2).await;
    world.ran(0).await;
    assert!(world.fails("ListTags", json!({ "Resource": arn })).await.message.starts_with("Event source mapping not"));
}

#[tokio::test(flavor = "multi_thread")]
async fn mappings_are_listed_by_queue_and_function_in_pages() {
    let world = World::new();
    for queue in ["q", "r"] {
        world.queue(queue, &[]).await;
    }
    for function in ["f", "g"] {
        world.function(function, "app.handler").await;
        for queue in ["q", "r"] {
            let arn = QUEUE.replace(":q", &format!(":{queue}"));
            world.connect(json!({ "FunctionName": function, "EventSourceArn": arn })).await;
        }
    }
    let listed = |answer: &Value| answer["EventSourceMappings"].as_array().unwrap().len();
    for (input, expected) in [
        (json!({}), 4),
        (json!({ "FunctionName": "f" }), 2),
        (json!({ "EventSourceArn": QUEUE }), 2),
        (json!({ "EventSourceArn": QUEUE, "FunctionName": "g" }), 1),
        (json!({ "FunctionName": "f:1" }), 0),
        (json!({ "FunctionName": "nobody" }), 0),
    ] {
        assert_eq!(listed(&world.call("ListEventSourceMappings", input.clone()).await), expected, "{input}");
    }
    let first = world.call("ListEventSourceMappings", json!({ "MaxItems": 3 })).await;
    let second = world.call("ListEventSourceMappings", json!({ "MaxItems": 3, "Marker": first["NextMarker"] })).await;
    assert_eq!((listed(&first), listed(&second), second.get("NextMarker")), (3, 1, None));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mapping_needs_a_queue_that_is_there_and_hides_long_enough() {
    let world = World::new();
    world.queue("q", &[("VisibilityTimeout", "2")]).await;
    world.function("f", "app.handler").await;
    let create = |arn: &str| json!({ "FunctionName": "f", "EventSourceArn": arn });
    let failure = world.fails("CreateEventSourceMapping", create(QUEUE)).await;
    assert_eq!(failure.message, "Queue visibility timeout: 2 seconds is less than Function timeout: 3 seconds");
    let failure = world.fails("CreateEventSourceMapping", create(&QUEUE.replace(":q", ":none"))).await;
    assert_eq!(
        failure.message,
        "Error occurred while ReceiveMessage. SQS Error Code: AWS.SimpleQueueService.NonExistentQueue. SQS Error Message: \
         The specified queue does not exist."
    );
    let foreign = create(&QUEUE.replace("111111111111", "222222222222"));
    assert_eq!(world.fails("CreateEventSourceMapping", foreign).await.code, "InvalidParameterValueException");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mapping_says_that_its_function_is_gone_and_goes_on_when_it_is_back() {
    let world = World::new();
    world.queue("q", &[]).await;
    world.function("f", "app.handler").await;
    let mapping = world.connect(json!({ "FunctionName": "f" })).await;
    world.deletion("f").await;
    world.send_to("q", "one").await;
    world.wait(2).await;
    world.says(&mapping, "Function not found: f").await;
    assert_eq!(world.left("q").await, (1, 0), "{} batches ran", world.host.seen.lock().len());
    world.function("f", "app.handler").await;
    world.wait(2).await;
    world.ran(1).await;
    world.says(&mapping, "USER_INITIATED").await;
    // It ends also while its function is gone.
    world.deletion("f").await;
    world.says(&mapping, "Function not found: f").await;
    let uuid = mapping["UUID"].as_str().unwrap();
    world.call("UpdateEventSourceMapping", json!({ "UUID": uuid, "Enabled": false })).await;
    world.reaches(uuid, "Disabled").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_is_never_larger_than_a_function_takes_and_nothing_is_counted_twice() {
    let world = World::new();
    world.queue("q", &[]).await;
    world.function("f", "app.handler").await;
    // Each is two bytes in JSON.
    let large = "\"".repeat((1 << 20) - 8);
    for n in 0..4 {
        world.send_to("q", &format!("{n}{large}")).await;
    }
    world.connect(json!({ "FunctionName": "f" })).await;
    world.empties("q").await;
    let mut all = Vec::new();
    assert!(world.host.seen.lock().iter().all(|seen| seen.payload.len() <= 6 << 20));
    for batch in world.batches() {
        for record in batch["Records"].as_array().unwrap() {
            assert_eq!(record["attributes"]["ApproximateReceiveCount"], "1");
            all.push(record["body"].as_str().unwrap()[..1].to_owned());
        }
    }
    all.sort();
    assert_eq!(all, ["0", "1", "2", "3"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_that_goes_round_in_circles_is_told_to_the_functions_dead_letters() {
    let world = World::new();
    world.queue("q", &[]).await;
    let created = world.function("f", "app.handler").await;
    let dead = "arn:aws:sns:us-east-1:111111111111:dead";
    let input = json!({ "FunctionName": "f", "DeadLetterConfig": { "TargetArn": dead } });
    world.call("UpdateFunctionConfiguration", input).await;
    world.settled("f").await;
    world.connect(json!({ "FunctionName": "f" })).await;
    let passed = Passed::by(created["FunctionArn"].as_str().unwrap());
    for (times, body) in [(15, "last"), (16, "too often")] {
        let mut lineage = Lineage::default();
        (0..times).for_each(|_| lineage.pass(passed));
        let value = MessageSystemAttributeValue {
            data_type: "String".to_owned(),
            string_value: Some(lineage.apply("Root=1-5759e988-bd862e3fe1be46a994272793;Sampled=1")),
            ..Default::default()
        };
        let system = Some([("AWSTraceHeader".to_owned(), value)].into());
        world.send_as(SendMessageRequest { message_system_attributes: system, ..message("q", body) }).await;
    }
    world.ran(1).await;
    world.empties("q").await;
    assert_eq!(world.texts(), [["last"]]);
    let trace = world.host.seen.lock()[0].trace_id.clone().unwrap();
    assert_eq!(Lineage::of(&trace).count(passed), 16);
    assert!(trace.starts_with("Root=1-5759e988-bd862e3fe1be46a994272793"));
    let taken = world.taken.lock();
    let (target, letter) = &taken[0];
    let event: Value = serde_json::from_slice(&letter.body).unwrap();
    assert_eq!((target.as_str(), &event["Records"][0]["body"]), (dead, &json!("too often")));
}

#[tokio::test(flavor = "multi_thread")]
async fn settings_are_answered_as_they_were_given() {
    let world = World::new();
    world.queue("q", &[]).await;
    world.function("f", "app.handler").await;
    let given = json!({
        "FunctionName": "f",
        "Enabled": false,
        "BatchSize": 200,
        "MaximumBatchingWindowInSeconds": 7,
        "KMSKeyArn": "arn:aws:kms:us-east-1:111111111111:key/k",
        "MetricsConfig": { "Metrics": ["EventCount"] },
        "ProvisionedPollerConfig": { "MinimumPollers": 3, "MaximumPollers": 9 },
        "LoggingConfig": { "SystemLogLevel": "INFO" },
    });
    let mut input = given.clone();
    input["EventSourceArn"] = json!(QUEUE);
    let created = world.call("CreateEventSourceMapping", input).await;
    assert_eq!(created["State"], "Disabled");
    for name in ["BatchSize", "MaximumBatchingWindowInSeconds", "KMSKeyArn", "MetricsConfig", "ProvisionedPollerConfig"]
    {
        assert_eq!(created[name], given[name], "{name}");
    }
    let taken_away =
        json!({ "UUID": created["UUID"], "KMSKeyArn": "", "ProvisionedPollerConfig": {}, "MetricsConfig": {} });
    let updated = world.call("UpdateEventSourceMapping", taken_away).await;
    for name in ["KMSKeyArn", "MetricsConfig", "ProvisionedPollerConfig"] {
        assert_eq!(updated.get(name), None, "{name}");
    }
    assert_eq!((&updated["State"], &updated["LoggingConfig"]), (&json!("Updating"), &given["LoggingConfig"]));
    world.reaches(created["UUID"].as_str().unwrap(), "Disabled").await;
    let other = json!({ "UUID": created["UUID"], "FunctionName": "nobody" });
    assert_eq!(world.fails("UpdateEventSourceMapping", other).await.message, "Function does not exist");
}
