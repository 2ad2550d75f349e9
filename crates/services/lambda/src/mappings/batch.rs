//! The event that a function gets for messages of a queue, and what its answer says of each of them.
//!
//! Source: Lambda developer guide, "Using Lambda with Amazon SQS" (shape of the event) and "Implementing partial batch
//! responses" (what counts as success and as failure), and what AWS recorded.

use std::{collections::HashSet, sync::Arc};

use base64::{Engine, engine::general_purpose::STANDARD};
use bytes::Bytes;
use compute_api::PAYLOAD_BYTES_MAX;
use serde_json::{Map, Value, json};
use services_ports::{AttributeValue, QueueMessage};

const HEAD: &str = r#"{"Records":["#;
const TAIL: &str = "]}";

/// Messages that a function gets together.
#[derive(Debug, Clone, Default)]
pub(crate) struct Batch {
    items: Vec<Item>,
    bytes: usize,
    /// Messages that another batch holds, of which this one is the continuation.
    before: usize,
}

/// One message of a batch, as far as it is needed to its end.
#[derive(Debug, Clone)]
pub(crate) struct Item {
    pub(crate) id: Arc<str>,
    pub(crate) receipt: String,
    group: Option<String>,
    pub(crate) trace: Option<String>,
    record: String,
}

impl Item {
    /// A message and its record.
    pub(crate) fn new(message: &QueueMessage, record: &Value) -> Self {
        Self {
            id: Arc::from(message.id.as_str()),
            receipt: message.receipt.clone(),
            // Messages of FIFO queues have numbers; those of standard queues may have a group all the same.
            group: message
                .system
                .get("MessageGroupId")
                .filter(|_| message.system.contains_key("SequenceNumber"))
                .cloned(),
            trace: message.system.get("AWSTraceHeader").cloned(),
            record: record.to_string(),
        }
    }

    /// An event of this message alone.
    pub(crate) fn event(&self) -> Bytes {
        Bytes::from(format!("{HEAD}{}{TAIL}", self.record))
    }
}

/// The batch is as large as an event may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Full;

impl Batch {
    /// Adds a message, if there is room; the first always has.
    pub(crate) fn push(&mut self, item: Item) -> Result<(), Full> {
        let bytes = self.bytes + item.record.len() + 1;
        if self.count() > 0 && HEAD.len() + bytes + TAIL.len() > PAYLOAD_BYTES_MAX {
            return Err(Full);
        }
        self.bytes = bytes;
        self.items.push(item);
        Ok(())
    }

    /// An empty batch with the room that this one has left.
    pub(crate) fn continuation(&self) -> Self {
        Self { items: Vec::new(), bytes: self.bytes, before: self.count() }
    }

    /// Adds what its continuation has taken.
    pub(crate) fn extend(&mut self, continuation: Self) {
        self.bytes = continuation.bytes;
        self.items.extend(continuation.items);
    }

    /// Its messages, and those before it.
    pub(crate) fn count(&self) -> usize {
        self.before + self.items.len()
    }

    /// Whether it has no messages of its own.
    pub(crate) fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    pub(crate) fn items(&self) -> &[Item] {
        &self.items
    }

    /// The event.
    pub(crate) fn event(&self) -> Bytes {
        let mut text = String::with_capacity(HEAD.len() + self.bytes + TAIL.len());
        text.push_str(HEAD);
        for (index, item) in self.items.iter().enumerate() {
            if index > 0 {
                text.push(',');
            }
            text.push_str(&item.record);
        }
        text.push_str(TAIL);
        Bytes::from(text)
    }

    /// The receipts of all.
    pub(crate) fn receipts(&self) -> Vec<String> {
        self.items.iter().map(|item| item.receipt.clone()).collect()
    }

    /// The receipts of what is done, by an answer that says which items failed. In a FIFO queue a message that failed
    /// fails those behind it in its group: they must not overtake it.
    pub(crate) fn done(&self, answer: &[u8]) -> Vec<String> {
        let known: HashSet<&str> = self.items.iter().map(|item| &*item.id).collect();
        let Some(failed) = failed_items(answer, |id| known.contains(id)) else { return Vec::new() };
        let mut held: HashSet<&str> = HashSet::new();
        let mut done = Vec::with_capacity(self.items.len());
        for item in &self.items {
            let behind = item.group.as_deref().is_some_and(|group| held.contains(group));
            if behind || failed.contains(&*item.id) {
                held.extend(item.group.as_deref());
            } else {
                done.push(item.receipt.clone());
            }
        }
        done
    }
}

/// The items that an answer names as failed; none when the answer makes the whole batch a failure: no JSON, an item
/// without an identifier, with an empty one, or with one that the batch does not have.
pub(crate) fn failed_items(answer: &[u8], known: impl Fn(&str) -> bool) -> Option<HashSet<String>> {
    if answer.iter().all(u8::is_ascii_whitespace) {
        return Some(HashSet::new());
    }
    let answer: Value = serde_json::from_slice(answer).ok()?;
    let list = match answer.get("batchItemFailures") {
        // Nothing is said to have failed.
        None | Some(Value::Null) => return Some(HashSet::new()),
        Some(Value::Array(list)) => list,
        Some(_) => return None,
    };
    list.iter()
        .map(|one| {
            let id = one.get("itemIdentifier").and_then(Value::as_str)?;
            known(id).then(|| id.to_owned())
        })
        .collect()
}

/// A message as a function gets it. `source` is the queue's ARN.
pub(crate) fn record(message: &QueueMessage, source: &str, region: &str) -> Value {
    let attributes: Map<String, Value> = message
        .attributes
        .iter()
        .map(|attribute| {
            let mut value = match &attribute.value {
                AttributeValue::Text(text) => json!({ "stringValue": text }),
                AttributeValue::Binary(bytes) => json!({ "binaryValue": STANDARD.encode(bytes) }),
            };
            if let Some(members) = value.as_object_mut() {
                members.insert("stringListValues".to_owned(), json!([]));
                members.insert("binaryListValues".to_owned(), json!([]));
                members.insert("dataType".to_owned(), attribute.data_type.as_str().into());
            }
            (attribute.name.clone(), value)
        })
        .collect();
    json!({
        "messageId": message.id,
        "receiptHandle": message.receipt,
        "body": message.body,
        "attributes": message.system,
        "messageAttributes": attributes,
        "md5OfMessageAttributes": message.md5_of_attributes,
        "md5OfBody": message.md5_of_body,
        "eventSource": "aws:sqs",
        "eventSourceARN": source,
        "awsRegion": region,
    })
}

#[cfg(test)]
mod tests {
    use services_ports::Attribute;

    use super::*;

    fn message(id: &str, group: Option<&str>) -> QueueMessage {
        let mut system: std::collections::BTreeMap<_, _> =
            group.map(|group| ("MessageGroupId".to_owned(), group.to_owned())).into_iter().collect();
        if group.is_some() {
            system.insert("SequenceNumber".to_owned(), "18849496460467696128".to_owned());
        }
        QueueMessage {
            id: id.to_owned(),
            receipt: format!("r-{id}"),
            body: "b".to_owned(),
            md5_of_body: "92eb5ffee6ae2fec3ad71c777531578f".to_owned(),
            system,
            attributes: vec![
                Attribute::text("t", "x"),
                Attribute {
                    name: "raw".into(),
                    data_type: "Binary".into(),
                    value: AttributeValue::Binary(Bytes::from_static(b"ab")),
                },
            ],
            md5_of_attributes: None,
        }
    }

    fn batch(messages: &[(&str, Option<&str>)]) -> Batch {
        let mut batch = Batch::default();
        for (id, group) in messages {
            let message = message(id, *group);
            batch.push(Item::new(&message, &record(&message, "arn", "us-east-1"))).unwrap();
        }
        batch
    }

    #[test]
    fn an_event_has_the_shape_of_aws() {
        let event: Value = serde_json::from_slice(&batch(&[("1", None), ("2", None)]).event()).unwrap();
        assert_eq!(event["Records"].as_array().unwrap().len(), 2);
        let expected = json!({
            "messageId": "1",
            "receiptHandle": "r-1",
            "body": "b",
            "attributes": {},
            "messageAttributes": {
                "t": { "stringValue": "x", "stringListValues": [], "binaryListValues": [], "dataType": "String" },
                "raw": { "binaryValue": "YWI=", "stringListValues": [], "binaryListValues": [], "dataType": "Binary" },
            },
            "md5OfMessageAttributes": null,
            "md5OfBody": "92eb5ffee6ae2fec3ad71c777531578f",
            "eventSource": "aws:sqs",
            "eventSourceARN": "arn",
            "awsRegion": "us-east-1",
        });
        assert_eq!(event["Records"][0], expected);
    }

    #[test]
    fn a_batch_never_exceeds_the_payload_of_a_function() {
        let mut batch = Batch::default();
        let large = QueueMessage { body: "\"".repeat(1 << 20), ..message("l", None) };
        let record = record(&large, "arn", "us-east-1");
        let mut pushed = 0;
        while batch.push(Item::new(&large, &record)).is_ok() {
            pushed += 1;
        }
        // Each quotation mark is two bytes in JSON.
        assert_eq!((pushed, batch.count()), (2, 2));
        assert!(batch.event().len() <= PAYLOAD_BYTES_MAX);
    }

    #[test]
    fn answers_mean_what_they_mean_to_aws() {
        let batch = batch(&[("1", None), ("2", None)]);
        for (answer, done) in [
            // Complete successes.
            ("", &["r-1", "r-2"][..]),
            ("null", &["r-1", "r-2"]),
            ("{}", &["r-1", "r-2"]),
            ("[]", &["r-1", "r-2"]),
            (r#""""#, &["r-1", "r-2"]),
            (r#"{"batchItemFailures":null}"#, &["r-1", "r-2"]),
            (r#"{"batchItemFailures":[]}"#, &["r-1", "r-2"]),
            // Partial ones.
            (r#"{"batchItemFailures":[{"itemIdentifier":"1"}]}"#, &["r-2"]),
            (r#"{"batchItemFailures":[{"itemIdentifier":"2"},{"itemIdentifier":"2"}]}"#, &["r-1"]),
            // Complete failures.
            ("no json", &[]),
            (r#"{"batchItemFailures":"1"}"#, &[]),
            (r#"{"batchItemFailures":[{"itemIdentifier":""}]}"#, &[]),
            (r#"{"batchItemFailures":[{"itemIdentifier":null}]}"#, &[]),
            (r#"{"batchItemFailures":[{"itemIdentifier":1}]}"#, &[]),
            (r#"{"batchItemFailures":[{"foo":"1"}]}"#, &[]),
            (r#"{"batchItemFailures":[{"foo":null}]}"#, &[]),
            (r#"{"batchItemFailures":["1"]}"#, &[]),
            (r#"{"batchItemFailures":[{"itemIdentifier":"1"},{"itemIdentifier":"elsewhere"}]}"#, &[]),
        ] {
            assert_eq!(batch.done(answer.as_bytes()), done, "{answer}");
        }
    }

    #[test]
    fn in_a_group_what_is_behind_a_failure_fails_too() {
        let all = [("1", Some("a")), ("2", Some("b")), ("3", Some("a")), ("4", Some("a")), ("5", Some("b"))];
        let failed = br#"{"batchItemFailures":[{"itemIdentifier":"3"}]}"#;
        assert_eq!(batch(&all).done(failed), ["r-1", "r-2", "r-5"]);
        // A standard queue's groups have no order.
        let fair =
            QueueMessage { system: [("MessageGroupId".to_owned(), "a".to_owned())].into(), ..message("1", None) };
        let mut standard = Batch::default();
        for id in ["1", "2"] {
            let message = QueueMessage { id: id.to_owned(), receipt: format!("r-{id}"), ..fair.clone() };
            standard.push(Item::new(&message, &record(&message, "arn", "r"))).unwrap();
        }
        assert_eq!(standard.done(br#"{"batchItemFailures":[{"itemIdentifier":"1"}]}"#), ["r-2"]);
    }
}
