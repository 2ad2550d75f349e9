//! A message as a pipe presents it, and which of them a pipe lets through. Pure.

use base_types::Arn;
use lang_eventpattern::{Event, EventPattern};
use serde_json::{Map, Value, json};
use services_ports::{AttributeValue, QueueMessage};

/// The record of a message (EventBridge User Guide, "Amazon SQS as a source": the same as a function's event has).
pub(crate) fn record(message: &QueueMessage, queue: &Arn) -> Value {
    if queue.service != "sqs" {
        return crate::stream::record(message);
    }
    let mut attributes = Map::new();
    for attribute in &message.attributes {
        let (text, bytes) = match &attribute.value {
            AttributeValue::Text(text) => (Some(text.clone()), None),
            AttributeValue::Binary(bytes) => (None, Some(base64(bytes))),
        };
        let mut value = Map::new();
        if let Some(text) = text {
            value.insert("stringValue".to_owned(), text.into());
        }
        if let Some(bytes) = bytes {
            value.insert("binaryValue".to_owned(), bytes.into());
        }
        value.insert("stringListValues".to_owned(), json!([]));
        value.insert("binaryListValues".to_owned(), json!([]));
        value.insert("dataType".to_owned(), attribute.data_type.clone().into());
        attributes.insert(attribute.name.clone(), Value::Object(value));
    }
    let mut record = json!({
        "messageId": message.id,
        "receiptHandle": message.receipt,
        "body": message.body,
        "attributes": message.system,
        "messageAttributes": attributes,
        "md5OfBody": message.md5_of_body,
        "eventSource": "aws:sqs",
        "eventSourceARN": queue.to_string(),
        "awsRegion": queue.region,
    });
    if let (Some(digest), Value::Object(members)) = (&message.md5_of_attributes, &mut record) {
        members.insert("md5OfMessageAttributes".to_owned(), digest.clone().into());
    }
    record
}

/// Whether any of the patterns lets the record through; none at all let everything through. A body that is a document is
/// matched as one.
pub(crate) fn passes(patterns: &[EventPattern], record: &Value) -> bool {
    if patterns.is_empty() {
        return true;
    }
    let mut record = record.clone();
    if let Some(body) = record.get_mut("body")
        && let Some(inner) = body.as_str().and_then(|text| serde_json::from_str::<Value>(text).ok())
        && (inner.is_object() || inner.is_array())
    {
        *body = inner;
    }
    let event = Event::new(&record);
    patterns.iter().any(|pattern| pattern.matches(&event))
}

fn base64(bytes: &[u8]) -> String {
    use base64::Engine as _;
    base64::engine::general_purpose::STANDARD.encode(bytes)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use lang_eventpattern::Dialect;
    use services_ports::Attribute;

    use super::*;

    fn message(body: &str) -> QueueMessage {
        QueueMessage {
            id: "m".to_owned(),
            receipt: "r".to_owned(),
            body: body.to_owned(),
            md5_of_body: "d".to_owned(),
            system: BTreeMap::from([("SenderId".to_owned(), "s".to_owned())]),
            attributes: vec![Attribute::text("kind", "order")],
            md5_of_attributes: None,
        }
    }

    #[test]
    fn filters_see_the_message_with_its_body_parsed() {
        let queue: Arn = "arn:aws:sqs:us-east-1:000000000000:q".parse().unwrap();
        for (pattern, body, expect) in [
            (r#"{"body":{"kind":["order"]}}"#, r#"{"kind":"order"}"#, true),
            (r#"{"body":{"kind":["order"]}}"#, r#"{"kind":"other"}"#, false),
            (r#"{"body":{"kind":["order"]}}"#, "order", false),
            (r#"{"body":["order"]}"#, "order", true),
            (r#"{"body":{"n":[{"numeric":[">",3]}]}}"#, r#"{"n":4}"#, true),
            (r#"{"messageAttributes":{"kind":{"stringValue":["order"]}}}"#, "x", true),
            (r#"{"attributes":{"SenderId":["other"]}}"#, "x", false),
            (r#"{"eventSourceARN":[{"suffix":":q"}]}"#, "x", true),
        ] {
            let patterns = [EventPattern::parse(pattern, Dialect::Events).unwrap()];
            assert_eq!(passes(&patterns, &record(&message(body), &queue)), expect, "{pattern} {body}");
        }
        assert!(passes(&[], &record(&message("x"), &queue)));
    }
}
