//! What the end of an event invocation is told as: the record for a destination, the message for a dead-letter queue.
//!
//! Pure. Members, attributes and values as recorded from AWS. Payloads that are JSON are put in as they are.

use base_types::Timestamp;
use bytes::Bytes;
use serde_json::{Value, json, value::RawValue};
use services_ports::{Attribute, Delivery, EventFields};

use super::{Event, Outcome};

/// Characters of the error's message that go into a dead-letter queue (Lambda developer guide, "Dead-letter queues").
const ERROR_MESSAGE_MAX: usize = 1024;

/// What the last attempt was answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Response {
    /// `200`, the function's failures included; AWS's status for what was not run.
    pub status: u16,
    /// `$LATEST` or a number.
    pub executed_version: String,
    /// `Unhandled` when it failed.
    pub function_error: Option<&'static str>,
    /// What it answered.
    pub payload: Bytes,
}

impl Response {
    /// What is told of an event that was cut out of a loop.
    #[must_use]
    pub fn recursive(version: String) -> Self {
        let payload = json!({
            "errorType": "RecursiveInvocationException",
            "errorMessage": "Lambda has detected your function being invoked in a recursive loop with other AWS resources \
                             and stopped your function's invocation.",
        });
        Self {
            status: 400,
            executed_version: version,
            function_error: Some("Unhandled"),
            payload: Bytes::from(payload.to_string()),
        }
    }
}

/// What a destination gets; none when nobody is told. `function` is the unqualified ARN, `request` the event's payload.
#[must_use]
pub fn delivery(
    event: &Event,
    function: &str,
    outcome: Outcome,
    request: &[u8],
    response: Option<&Response>,
    now: Timestamp,
) -> Option<Delivery> {
    let condition = outcome.condition()?;
    let arn = format!("{function}:{}", event.qualifier.as_deref().unwrap_or("$LATEST"));
    let attempts = event.failures + u32::from(outcome == Outcome::Success);
    let head = json!({
        "requestId": event.request_id,
        "functionArn": arn,
        "condition": condition,
        "approximateInvokeCount": attempts,
    });
    let timestamp = now.to_iso8601_offset().replace("+0000", "Z");
    let mut text = format!(r#"{{"version":"1.0","timestamp":"{timestamp}","requestContext":{head},"requestPayload":"#);
    text.push_str(&document(request));
    if let Some(response) = response {
        let mut context = json!({ "statusCode": response.status, "executedVersion": response.executed_version });
        if let (Some(error), Some(members)) = (response.function_error, context.as_object_mut()) {
            members.insert("functionError".to_owned(), error.into());
        }
        text.push_str(&format!(r#","responseContext":{context},"responsePayload":"#));
        text.push_str(&document(&response.payload));
    }
    text.push('}');
    Some(Delivery {
        body: Bytes::from(text),
        event: Some(fields(outcome, vec![arn])),
        trace: event.trace.clone(),
        ..Delivery::default()
    })
}

/// What a dead-letter queue gets: the event itself, and what was wrong as attributes.
#[must_use]
pub fn dead_letter(event: &Event, outcome: Outcome, request: &[u8], response: Option<&Response>) -> Delivery {
    let said = response.and_then(|response| serde_json::from_slice::<Value>(&response.payload).ok());
    let said = said.as_ref().and_then(|document| document.get("errorMessage")).and_then(Value::as_str);
    let message = said.unwrap_or(match outcome {
        Outcome::ZeroReservedConcurrency => "Rate Exceeded.",
        Outcome::AgeExceeded => "The event exceeded its maximum age.",
        Outcome::Success | Outcome::RetriesExhausted | Outcome::Recursion | Outcome::Gone => "Unhandled",
    });
    let status = response.map_or(429, |response| response.status);
    Delivery {
        body: Bytes::copy_from_slice(request),
        attributes: vec![
            Attribute::text("RequestID", event.request_id.clone()),
            Attribute::number("ErrorCode", status),
            Attribute::text("ErrorMessage", message.chars().take(ERROR_MESSAGE_MAX).collect::<String>()),
        ],
        event: Some(fields(outcome, Vec::new())),
        trace: event.trace.clone(),
        ..Delivery::default()
    }
}

/// What a bus makes of an event's end.
fn fields(outcome: Outcome, resources: Vec<String>) -> EventFields {
    let detail_type = if outcome == Outcome::Success {
        "Lambda Function Invocation Result - Success"
    } else {
        "Lambda Function Invocation Result - Failure"
    };
    EventFields {
        source: "lambda".to_owned(),
        detail_type: detail_type.to_owned(),
        resources,
        ..EventFields::default()
    }
}

/// JSON as it is; anything else as a JSON string; nothing as `null`.
fn document(payload: &[u8]) -> String {
    if payload.is_empty() {
        return "null".to_owned();
    }
    match serde_json::from_slice::<&RawValue>(payload) {
        Ok(value) => value.get().to_owned(),
        Err(_) => Value::from(String::from_utf8_lossy(payload)).to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ARN: &str = "arn:aws:lambda:us-east-1:000000000000:function:f";

    fn event() -> Event {
        Event { failures: 1, trace: Some("Root=1;Lineage=00000001:1".into()), ..super::super::tests::event() }
    }

    fn failure() -> Response {
        Response {
            status: 200,
            executed_version: "$LATEST".into(),
            function_error: Some("Unhandled"),
            payload: Bytes::from_static(br#"{"errorMessage":"intended","errorType":"Exception"}"#),
        }
    }

    #[test]
    fn records_are_those_of_aws() {
        let told = |outcome, response: Option<&Response>| {
            delivery(&event(), ARN, outcome, br#"{"a": 1}"#, response, Timestamp::from_millis(1_573_755_365_568))
        };
        let failed = told(Outcome::RetriesExhausted, Some(&failure())).unwrap();
        assert_eq!(
            serde_json::from_slice::<Value>(&failed.body).unwrap(),
            json!({
                "version": "1.0",
                "timestamp": "2019-11-14T18:16:05.568Z",
                "requestContext": {
                    "requestId": "r", "functionArn": format!("{ARN}:$LATEST"), "condition": "RetriesExhausted",
                    "approximateInvokeCount": 1,
                },
                "requestPayload": { "a": 1 },
                "responseContext": { "statusCode": 200, "executedVersion": "$LATEST", "functionError": "Unhandled" },
                "responsePayload": { "errorMessage": "intended", "errorType": "Exception" },
            })
        );
        let event = failed.event.unwrap();
        assert_eq!(event.detail_type, "Lambda Function Invocation Result - Failure");
        let never = told(Outcome::ZeroReservedConcurrency, None).unwrap();
        let never: Value = serde_json::from_slice(&never.body).unwrap();
        assert!(never.get("responseContext").is_none() && never.get("responsePayload").is_none());
        assert!(told(Outcome::Gone, None).is_none());
        let raw = Response { payload: Bytes::from_static(b"not json"), function_error: None, ..failure() };
        let told = told(Outcome::Success, Some(&raw)).unwrap();
        let record: Value = serde_json::from_slice(&told.body).unwrap();
        assert_eq!(
            (&record["responsePayload"], &record["requestContext"]["approximateInvokeCount"]),
            (&json!("not json"), &json!(2))
        );
    }

    #[test]
    fn a_dead_letter_is_the_event_and_says_what_was_wrong() {
        let letter = dead_letter(&event(), Outcome::RetriesExhausted, b"{}", Some(&failure()));
        let said = [
            Attribute::text("RequestID", "r"),
            Attribute::number("ErrorCode", 200),
            Attribute::text("ErrorMessage", "intended"),
        ];
        assert_eq!(letter.attributes, said);
        assert_eq!((&letter.body[..], letter.trace.as_deref()), (&b"{}"[..], Some("Root=1;Lineage=00000001:1")));
        let blocked = dead_letter(&event(), Outcome::ZeroReservedConcurrency, b"{}", None);
        assert_eq!(blocked.attributes[1], Attribute::number("ErrorCode", 429));
    }
}
