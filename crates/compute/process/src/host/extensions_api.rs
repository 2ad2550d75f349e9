//! The Extensions API and the subscriptions of the Telemetry and Logs APIs over HTTP, on the function's own loopback.
//! Source: AWS Lambda developer guide, "Using the Lambda Extensions API to create extensions", "Lambda Telemetry API
//! reference", "Lambda Logs API".

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::Full;
use hyper::body::Incoming;
use serde_json::{Value, json};

use super::{
    extensions::Refusal,
    runtime_api::{Api, accepted, collect, json_error, text},
    telemetry::{Closed, Rejected, Subscription},
};

const NAME: &str = "lambda-extension-name";
const IDENTIFIER: &str = "lambda-extension-identifier";
const FEATURES: &str = "lambda-extension-accept-feature";
const EVENT_IDENTIFIER: &str = "lambda-extension-event-identifier";
const ERROR_TYPE: &str = "lambda-extension-function-error-type";
/// What a request of an extension may hold.
const REQUEST_BYTES_MAX: usize = 64 * 1024;

type Answer = Response<Full<Bytes>>;

/// Answers a request below `/2020-01-01/extension/`.
pub(super) async fn extension(api: &Api, operation: &str, request: Request<Incoming>) -> Option<Answer> {
    let method = request.method().clone();
    let answer = match (operation, method) {
        ("register", Method::POST) => register(api, request).await,
        ("event/next", Method::GET) => next(api, request.headers()).await,
        ("init/error", Method::POST) => report(api, request, |id, cause| api.extensions.init_error(id, cause)).await,
        ("exit/error", Method::POST) => report(api, request, |id, cause| api.extensions.exit_error(id, cause)).await,
        ("register" | "event/next" | "init/error" | "exit/error", _) => {
            return Some(json_error(StatusCode::METHOD_NOT_ALLOWED, "MethodNotAllowed", "Method not allowed"));
        }
        _ => return None,
    };
    Some(answer.unwrap_or_else(|refusal| refused(&refusal)))
}

fn refused(refusal: &Refusal) -> Answer {
    json_error(StatusCode::FORBIDDEN, refusal.error_type, &refusal.message)
}

fn refusal(error_type: &'static str, message: &str) -> Refusal {
    Refusal { error_type, message: message.to_owned() }
}

/// The body of a request, if it is not beyond every reason.
async fn body_of(request: Request<Incoming>) -> Result<Bytes, Refusal> {
    let too_large = || refusal("InvalidRequestFormat", "The request is too large or incomplete");
    collect(request, REQUEST_BYTES_MAX).await.map_err(|_| too_large())?.kept().ok_or_else(too_large)
}

async fn register(api: &Api, request: Request<Incoming>) -> Result<Answer, Refusal> {
    let headers = request.headers().clone();
    let body = body_of(request).await?;
    let name = text(&headers, NAME);
    if name.is_empty() {
        return Err(refusal("Extension.InvalidExtensionName", "Empty extension name"));
    }
    let format = |message: &str| refusal("InvalidRequestFormat", message);
    let document: Value = serde_json::from_slice(&body).map_err(|error| format(&error.to_string()))?;
    if document["configurationKeys"].as_array().is_some_and(|keys| !keys.is_empty()) {
        return Err(format("configurationKeys are deprecated; use environment variables instead"));
    }
    let events: Vec<String> = match &document["events"] {
        Value::Null => Vec::new(),
        events => serde_json::from_value(events.clone()).map_err(|error| format(&error.to_string()))?,
    };
    let id = api.extensions.register(&name, &events)?;
    let spec = &api.spec;
    let mut answer = json!({
        "functionName": spec.function_name,
        "functionVersion": spec.version,
        "handler": spec.handler,
    });
    if text(&headers, FEATURES).split(',').any(|feature| feature.trim() == "accountId") {
        answer["accountId"] = json!(spec.account.to_string());
    }
    let mut response = document_of(Bytes::from(answer.to_string()));
    insert(&mut response, IDENTIFIER, &id);
    Ok(response)
}

async fn next(api: &Api, headers: &HeaderMap) -> Result<Answer, Refusal> {
    let id = identifier(headers)?;
    let event = api.extensions.next(&id).await?;
    let mut response = document_of(event);
    insert(&mut response, EVENT_IDENTIFIER, &api.env.uuid());
    Ok(response)
}

async fn report(
    api: &Api,
    request: Request<Incoming>,
    report: impl Fn(&str, &str) -> Result<(), Refusal>,
) -> Result<Answer, Refusal> {
    let headers = request.headers().clone();
    // The document is the extension's own affair; its type is what counts.
    body_of(request).await?;
    let id = identifier(&headers)?;
    let cause = text(&headers, ERROR_TYPE);
    if cause.is_empty() {
        return Err(refusal("Extension.MissingHeader", "Lambda-Extension-Function-Error-Type not found"));
    }
    report(&id, &cause)?;
    api.telemetry.flush();
    Ok(accepted())
}

/// `PUT /2022-07-01/telemetry`, or `PUT /2020-08-15/logs`.
pub(super) async fn subscribe(api: &Api, logs: bool, request: Request<Incoming>) -> Answer {
    if request.method() != Method::PUT {
        return json_error(StatusCode::METHOD_NOT_ALLOWED, "MethodNotAllowed", "Method not allowed");
    }
    let headers = request.headers().clone();
    let (body, id) = match (body_of(request).await, identifier(&headers)) {
        (Ok(body), Ok(id)) => (body, id),
        (Err(refusal), _) | (_, Err(refusal)) => return refused(&refusal),
    };
    let Some(name) = api.extensions.name_of(&id) else {
        return refused(&refusal("Extension.UnknownExtensionIdentifier", &format!("Unknown extension {id}")));
    };
    let subscription = match Subscription::parse(&body, logs) {
        Ok(subscription) => subscription,
        Err(Rejected(message)) => {
            let error_type = if logs { "Logs.ValidationError" } else { "ValidationError" };
            return json_error(StatusCode::BAD_REQUEST, error_type, &message);
        }
    };
    let types = subscription.type_names();
    match api.telemetry.subscribe(&name, subscription) {
        Ok(what) => {
            api.say(subscribed_line(&name, logs, &types), &what).await;
            document_of(Bytes::from_static(b"\"OK\""))
        }
        Err(Closed) => {
            let (error_type, message) = if logs {
                ("Logs.SubscriptionClosed", "Logs API subscription is closed")
            } else {
                ("Telemetry.SubscriptionClosed", "Telemetry API subscription is closed")
            };
            json_error(StatusCode::FORBIDDEN, error_type, message)
        }
    }
}

/// AWS's line about a subscription.
fn subscribed_line(name: &str, logs: bool, types: &[&str]) -> String {
    let capital = |word: &&str| word[..1].to_uppercase() + &word[1..];
    let types: Vec<String> = types.iter().map(capital).collect();
    let kind = if logs { "LOGS" } else { "TELEMETRY" };
    format!("{kind}\tName: {}\tState: Subscribed\tTypes: [{}]\n", printable(name), types.join(", "))
}

/// A name that an extension gave itself, without what would forge another line.
pub(super) fn printable(name: &str) -> String {
    name.chars().map(|c| if c.is_control() { ' ' } else { c }).take(128).collect()
}

/// The extension's identifier, checked to be one.
fn identifier(headers: &HeaderMap) -> Result<String, Refusal> {
    let id = text(headers, IDENTIFIER);
    if id.is_empty() {
        return Err(refusal("Extension.MissingExtensionIdentifier", "Missing Lambda-Extension-Identifier header"));
    }
    let groups: Vec<&str> = id.split('-').collect();
    let is_hex = |group: &&str| group.bytes().all(|byte| byte.is_ascii_hexdigit());
    let is_uuid = groups.iter().map(|group| group.len()).eq([8, 4, 4, 4, 12]) && groups.iter().all(is_hex);
    if !is_uuid {
        return Err(refusal("Extension.InvalidExtensionIdentifier", "Invalid Lambda-Extension-Identifier"));
    }
    Ok(id)
}

fn document_of(body: Bytes) -> Answer {
    let mut response = Response::new(Full::new(body));
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

fn insert(response: &mut Answer, name: &'static str, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        response.headers_mut().insert(name, value);
    }
}
