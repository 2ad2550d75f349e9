//! The codecs on standard input and output: one JSON order per line, one JSON answer per line. `tests/wire/roundtrip.py`
//! sets botocore against it.
//!
//! - `request`: an HTTP request of a client → the operation and its input, or the response that refuses it;
//! - `response`: an operation's output → the HTTP response;
//! - service `dynamic` takes its model from `description`;
//! - `error`: an error's name and message → the HTTP response.

#![expect(clippy::print_stdout, reason = "answers go to standard output")]

mod dynamic;

use std::{
    future::Future as _,
    io::BufRead as _,
    pin::pin,
    task::{Context, Poll, Waker},
};

use base_stream::Body;
use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;
use http::{Response, request::Parts};
use serde::Deserialize;
use serde_json::{Value, json, value::RawValue};
use wire_http::Route;
use wire_json::Members;
use wire_schema::{Kind, Model, Operation, Place, Seen, ServiceError as _, Shape, Survey};

#[derive(Deserialize)]
struct Order {
    r#do: String,
    service: String,
    /// The head of a request; of the other orders, one that makes the answer take the wanted protocol.
    method: String,
    uri: String,
    headers: Vec<(String, String)>,
    /// In base64.
    #[serde(default)]
    body: String,
    #[serde(default)]
    operation: String,
    output: Option<Box<RawValue>>,
    /// The model of the service `dynamic`.
    #[serde(default)]
    description: Value,
    #[serde(default)]
    code: String,
    #[serde(default)]
    message: String,
}

type Failure = Box<dyn std::error::Error>;

fn main() -> Result<(), Failure> {
    for line in std::io::stdin().lock().lines() {
        let order: Order = serde_json::from_str(&line?)?;
        let answer = match order.service.as_str() {
            "events" => answer::<model_events::Api>(&order)?,
            "dynamodb" => answer::<model_dynamodb::Api>(&order)?,
            "dynamodbstreams" => answer::<model_dynamodbstreams::Api>(&order)?,
            "lambda" => answer::<model_lambda::Api>(&order)?,
            "logs" => answer::<model_logs::Api>(&order)?,
            "pipes" => answer::<model_pipes::Api>(&order)?,
            "scheduler" => answer::<model_scheduler::Api>(&order)?,
            "sns" => answer::<model_sns::Api>(&order)?,
            "sqs" => answer::<model_sqs::Api>(&order)?,
            "sts" => answer::<model_sts::Api>(&order)?,
            "dynamic" => match dynamic::install(&order.description) {
                Ok(()) => answer::<dynamic::Api>(&order).unwrap_or_else(|error| json!({ "failed": error.to_string() })),
                Err(reason) => json!({ "skipped": reason }),
            },
            other => return Err(format!("no service `{other}`").into()),
        };
        println!("{answer}");
    }
    Ok(())
}

fn answer<M: Model>(order: &Order) -> Result<Value, Failure> {
    let mut builder = http::Request::builder().method(order.method.as_str()).uri(order.uri.as_str());
    for (name, value) in &order.headers {
        builder = builder.header(name, value);
    }
    let (parts, ()) = builder.body(())?.into_parts();
    let route = wire_http::route(M::service(), &parts);
    match order.r#do.as_str() {
        "request" => request::<M>(order, &route, &parts),
        "response" => response::<M>(order, &route),
        "error" => {
            let error = M::Error::by_name(&order.code, order.message.clone()).ok_or("no such error")?;
            Ok(http_response(wire_http::refuse::<M>(&route, &error, "request-1")))
        }
        other => Err(format!("no order `{other}`").into()),
    }
}

fn request<M: Model>(order: &Order, route: &Route, parts: &Parts) -> Result<Value, Failure> {
    let body = Bytes::from(STANDARD.decode(&order.body)?);
    Ok(match wire_http::read::<M>(route, parts, body) {
        Ok(call) => {
            let document = wire_json::encode(M::input(&call.request), Members::All);
            let input: Value = serde_json::from_slice(&document)?;
            json!({ "operation": call.operation.name, "input": input })
        }
        Err(error) => {
            let response = http_response(wire_http::refuse::<M>(route, &error, "request-1"));
            json!({ "code": error.code(), "status": error.status(), "message": error.message(), "response": response })
        }
    })
}

fn response<M: Model>(order: &Order, route: &Route) -> Result<Value, Failure> {
    let operation = M::service().operation(&order.operation).ok_or("no such operation")?;
    let mut response = M::response(operation).ok_or("no such response")?;
    let stream = stream_member::<M>(operation);
    if let (Some(shape), Some(output)) = (M::output_mut(&mut response), &order.output) {
        let mut document = output.get().to_owned();
        if let Some((index, name)) = stream {
            let mut members: serde_json::Map<String, Value> = serde_json::from_str(&document)?;
            if let Some(Value::Array(events)) = members.remove(name) {
                fill_events(shape, index, &events)?;
            }
            document = Value::Object(members).to_string();
        }
        decode(shape, document.as_bytes())?;
    }
    Ok(http_response(wire_http::respond::<M>(route, operation, &Ok(response), "request-1")))
}

/// Position and name of the member that is an event stream, if there is one.
fn stream_member<M: Model>(operation: &'static Operation) -> Option<(usize, &'static str)> {
    let mut empty = M::response(operation)?;
    let shape = M::output_mut(&mut empty)?;
    let Kind::Structure { members, payload } = shape.schema().kind else { return None };
    let index = payload?;
    matches!(shape.place(index), Some(Place::Events(_))).then(|| (index, members[index].wire_name))
}

fn fill_events(shape: &mut dyn Shape, index: usize, events: &[Value]) -> Result<(), Failure> {
    let mut outcome = Ok(());
    if let Some(Place::Events(stream)) = shape.place(index) {
        stream.preset(events.len(), &mut |index, event| {
            let filled = decode(event, events[index].to_string().as_bytes());
            outcome = std::mem::replace(&mut outcome, Ok(())).and(filled);
        });
    }
    outcome
}

fn decode(shape: &mut dyn Shape, document: &[u8]) -> Result<(), Failure> {
    let (mut seen, mut survey) = (Seen::default(), Survey::default());
    Ok(wire_json::decode(document, Members::All, shape, &mut seen, &mut survey).map_err(|error| error.0)?)
}

/// A body's bytes. What streams here is there already, so it never has to be waited for.
fn whole(body: Body) -> Vec<u8> {
    match body {
        Body::Whole(bytes) => bytes.into(),
        Body::Stream(mut stream) => {
            let (mut bytes, mut cx) = (Vec::new(), Context::from_waker(Waker::noop()));
            while let Poll::Ready(Some(Ok(piece))) = pin!(stream.next()).poll(&mut cx) {
                bytes.extend_from_slice(&piece);
            }
            bytes
        }
    }
}

fn http_response(response: Response<Body>) -> Value {
    let (head, body) = response.into_parts();
    let headers: Vec<(&str, &str)> =
        head.headers.iter().map(|(name, value)| (name.as_str(), value.to_str().unwrap_or_default())).collect();
    json!({ "status": head.status.as_u16(), "headers": headers, "body": STANDARD.encode(whole(body)) })
}
