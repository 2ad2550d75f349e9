//! What a target or an enrichment gets of an event. Pure.

use base_types::Timestamp;
use bytes::Bytes;
use serde_json::Value;
use services_ports::{Delivery, EndpointCall, EventFields};

use crate::{
    definition::Definition,
    template::{self, Path, TooLarge, Variables},
};

/// The event as the target gets it: what its template makes of it, or the event itself.
pub(crate) fn payload(template: Option<&str>, event: &Value, variables: &Variables) -> Result<String, TooLarge> {
    match template {
        Some(template) => template::render(template, event, variables),
        None => Ok(event.to_string()),
    }
}

/// As a member of an array: a text that is no document is a text.
pub(crate) fn as_json(payload: String) -> Value {
    serde_json::from_str(&payload).unwrap_or(Value::String(payload))
}

/// The delivery of one event.
pub(crate) fn delivery(definition: &Definition, event: &Value, body: String, trace: Option<String>) -> Delivery {
    let mut delivery = Delivery { body: Bytes::from(body), trace, ..Delivery::default() };
    let parameter = |pointer: &str| {
        let text = definition.parameters.pointer(pointer)?.as_str()?;
        Some(resolve(text, event))
    };
    match definition.target.service.as_str() {
        "sqs" => {
            delivery.group = parameter("/SqsQueueParameters/MessageGroupId");
            delivery.deduplication = parameter("/SqsQueueParameters/MessageDeduplicationId");
        }
        "events" => {
            let name = &definition.named.name;
            let resources = definition.parameters.pointer("/EventBridgeEventBusParameters/Resources");
            let resources = resources.and_then(Value::as_array).into_iter().flatten();
            let time = parameter("/EventBridgeEventBusParameters/Time");
            delivery.event = Some(EventFields {
                id: None,
                source: parameter("/EventBridgeEventBusParameters/Source").unwrap_or_else(|| format!("Pipe {name}")),
                detail_type: parameter("/EventBridgeEventBusParameters/DetailType")
                    .unwrap_or_else(|| "Event from aws:sqs".to_owned()),
                resources: resources.filter_map(Value::as_str).map(|text| resolve(text, event)).collect(),
                time: time.and_then(|time| Timestamp::parse_iso8601(&time).ok()),
            });
        }
        "logs" => {
            delivery.log_stream = parameter("/CloudWatchLogsParameters/LogStreamName");
            let time = parameter("/CloudWatchLogsParameters/Timestamp").and_then(|time| time.trim().parse().ok());
            let time = time.map(Timestamp::from_millis);
            delivery.event = time.map(|time| EventFields { time: Some(time), ..EventFields::default() });
        }
        _ => {}
    }
    delivery
}

/// The call of an API destination with one event: what `HttpParameters` say, paths in them resolved.
pub(crate) fn endpoint_call(parameters: &Value, event: &Value, body: String, answer_bytes_max: usize) -> EndpointCall {
    let given = parameters.get("HttpParameters").unwrap_or(&Value::Null);
    let pairs = |name: &str| {
        let pairs = given.get(name).and_then(Value::as_object).into_iter().flatten();
        let pair = |(name, value): (&String, &Value)| Some((resolve(name, event), resolve(value.as_str()?, event)));
        pairs.filter_map(pair).collect()
    };
    let path = given.get("PathParameterValues").and_then(Value::as_array).into_iter().flatten();
    EndpointCall {
        body,
        path: path.filter_map(Value::as_str).map(|text| resolve(text, event)).collect(),
        headers: pairs("HeaderParameters"),
        query: pairs("QueryStringParameters"),
        answer_bytes_max,
    }
}

/// A parameter that is a path as a whole names a part of the event.
fn resolve(text: &str, event: &Value) -> String {
    match text.strip_prefix("$.").and_then(|_| Path::parse(text)).and_then(|path| path.find(event)) {
        Some(Value::String(text)) => text,
        Some(other) => other.to_string(),
        None => text.to_owned(),
    }
}

/// The messages that a function said it failed with (`batchItemFailures`); all of them when what it says makes no sense.
pub(crate) fn failures(answer: &[u8]) -> Option<Failures> {
    let document: Value = serde_json::from_slice(answer).ok()?;
    let failures = document.get("batchItemFailures")?.as_array()?;
    let mut named = Vec::new();
    for failure in failures {
        match failure.get("itemIdentifier").and_then(Value::as_str).filter(|id| !id.is_empty()) {
            Some(id) => named.push(id.to_owned()),
            None => return Some(Failures::All),
        }
    }
    Some(Failures::Some(named))
}

/// What of a batch failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Failures {
    All,
    Some(Vec<String>),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_functions_answer_tells_what_failed() {
        for (answer, expect) in [
            ("null", None),
            ("{}", None),
            ("not json", None),
            (r#"{"batchItemFailures":[]}"#, Some(Failures::Some(Vec::new()))),
            (r#"{"batchItemFailures":[{"itemIdentifier":"a"}]}"#, Some(Failures::Some(vec!["a".to_owned()]))),
            (r#"{"batchItemFailures":[{"itemIdentifier":""}]}"#, Some(Failures::All)),
            (r#"{"batchItemFailures":[{}]}"#, Some(Failures::All)),
        ] {
            assert_eq!(failures(answer.as_bytes()), expect, "{answer}");
        }
    }

    #[test]
    fn a_call_has_its_parameters_resolved() {
        let parameters = serde_json::json!({ "HttpParameters": {
            "PathParameterValues": ["orders", "$.body.id"],
            "HeaderParameters": { "x-kind": "$.body.kind", "x-fixed": "f" },
            "QueryStringParameters": { "n": "$.body.n", "lost": "$.body.nothing" },
        }});
        let event = serde_json::json!({ "body": "{\"id\":\"o-1\",\"kind\":\"k\",\"n\":7}" });
        let call = endpoint_call(&parameters, &event, "b".to_owned(), 9);
        let pair = |a: &str, b: &str| (a.to_owned(), b.to_owned());
        assert_eq!(call.path, ["orders", "o-1"]);
        assert_eq!(call.headers, [pair("x-fixed", "f"), pair("x-kind", "k")]);
        assert_eq!(call.query, [pair("lost", "$.body.nothing"), pair("n", "7")]);
        let none = endpoint_call(&Value::Null, &event, "b".to_owned(), 9);
        assert_eq!(none, EndpointCall { body: "b".to_owned(), answer_bytes_max: 9, ..EndpointCall::default() });
    }

    #[test]
    fn a_payload_is_json_or_text() {
        assert_eq!(as_json("{\"a\":1}".to_owned()), serde_json::json!({"a": 1}));
        assert_eq!(as_json("hello".to_owned()), Value::String("hello".to_owned()));
    }
}
