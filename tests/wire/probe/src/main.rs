//! The codecs on standard input and output: one JSON order per line, one JSON answer per line. `tests/wire/roundtrip.py`
//! sets botocore against it.
//!
//! - `request`: an HTTP request of a client → the operation and its input, or the response that refuses it;
//! - `response`: an operation's output → the HTTP response;
//! - service `dynamic` takes its model from `description`;
//! - `error`: an error's name and message → the HTTP response.

#![expect(clippy::print_stdout, reason = "answers go to standard output")]

mod dynamic;

use std::io::BufRead as _;

use base_stream::Body;
use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;
use http::{Response, request::Parts};
use serde::Deserialize;
use serde_json::{Value, json, value::RawValue};
use wire_http::Route;
use wire_json::Members;
use wire_schema::{Model, Seen, ServiceError as _, Survey};

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
            "lambda" => answer::<model_lambda::Api>(&order)?,
            "logs" => answer::<model_logs::Api>(&order)?,
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
            Ok(http_response(&wire_http::refuse::<M>(&route, &error, "request-1")))
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
            let response = http_response(&wire_http::refuse::<M>(route, &error, "request-1"));
            json!({ "code": error.code(), "status": error.status(), "message": error.message(), "response": response })
        }
    })
}

fn response<M: Model>(order: &Order, route: &Route) -> Result<Value, Failure> {
    let operation = M::service().operation(&order.operation).ok_or("no such operation")?;
    let mut response = M::response(operation).ok_or("no such response")?;
    if let (Some(shape), Some(output)) = (M::output_mut(&mut response), &order.output) {
        let (mut seen, mut survey) = (Seen::default(), Survey::default());
        wire_json::decode(output.get().as_bytes(), Members::All, shape, &mut seen, &mut survey)
            .map_err(|error| error.0)?;
    }
    Ok(http_response(&wire_http::respond::<M>(route, operation, &Ok(response), "request-1")))
}

fn http_response(response: &Response<Body>) -> Value {
    let headers: Vec<(&str, &str)> =
        response.headers().iter().map(|(name, value)| (name.as_str(), value.to_str().unwrap_or_default())).collect();
    json!({ "status": response.status().as_u16(), "headers": headers, "body": STANDARD.encode(response.body().whole().cloned().unwrap_or_default()) })
}
