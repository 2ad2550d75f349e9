//! The Runtime API over HTTP, on the function's own loopback. Source: AWS Lambda developer guide, "Using the Lambda
//! runtime API for custom runtimes", and the behaviour of AWS's runtime interface emulator for what goes wrong.

use std::{convert::Infallible, net::TcpListener as StdListener, sync::Arc};

use base64::Engine as _;
use bytes::{Bytes, BytesMut};
use compute_api::{PAYLOAD_BYTES_MAX, RESPONSE_SLACK_BYTES, endpoint::CONNECTIONS_MAX};
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Full};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use tokio::{net::TcpListener, sync::Semaphore, task::JoinSet};

use super::exchange::{Event, Exchange, Message, Refusal};

const PREFIX: &str = "/2018-06-01/runtime/";
const ERROR_TYPE: &str = "lambda-runtime-function-error-type";
const ERROR_BODY: &str = "lambda-runtime-function-error-body";
const RESPONSE_BYTES_MAX: usize = PAYLOAD_BYTES_MAX + RESPONSE_SLACK_BYTES;
/// Buffers of one connection.
const BUFFER_BYTES_MAX: usize = 64 * 1024;

/// Serves until it is dropped; connections beyond [`CONNECTIONS_MAX`] wait in the listener's backlog.
pub(crate) async fn serve(listener: StdListener, exchange: Arc<Exchange>) -> std::io::Result<()> {
    listener.set_nonblocking(true)?;
    let listener = TcpListener::from_std(listener)?;
    let room = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let mut connections = JoinSet::new();
    loop {
        let Ok(permit) = Arc::clone(&room).acquire_owned().await else { return Ok(()) };
        let stream = tokio::select! {
            accepted = listener.accept() => accepted?.0,
            Some(_) = connections.join_next() => continue,
        };
        stream.set_nodelay(true)?;
        let exchange = Arc::clone(&exchange);
        connections.spawn(async move {
            let service = service_fn(|request| {
                let exchange = Arc::clone(&exchange);
                async move { Ok::<_, Infallible>(answer(&exchange, request).await) }
            });
            let served = http1::Builder::new()
                .title_case_headers(true)
                .max_buf_size(BUFFER_BYTES_MAX)
                .serve_connection(TokioIo::new(stream), service)
                .await;
            if let Err(error) = served {
                tracing::debug!(%error, "a runtime's connection broke");
            }
            drop(permit);
        });
    }
}

async fn answer(exchange: &Exchange, request: Request<Incoming>) -> Response<Full<Bytes>> {
    let path = request.uri().path().to_owned();
    let Some(operation) = path.strip_prefix(PREFIX) else { return not_found() };
    let parts: Vec<&str> = operation.split('/').collect();
    let (get, post) = (request.method() == Method::GET, request.method() == Method::POST);
    match parts.as_slice() {
        ["invocation", "next"] if get => match exchange.next().await {
            Ok(event) => deliver(event),
            Err(refusal) => refuse(&refusal),
        },
        ["invocation", id, "response"] if post => respond(exchange, id, request).await,
        ["invocation", id, "error"] if post => fail(exchange, id, request).await,
        ["init", "error"] if post => {
            let error_type = text(request.headers(), ERROR_TYPE);
            let Ok(Some(payload)) = collect(request, RESPONSE_BYTES_MAX).await.map(Collected::kept) else {
                return too_large();
            };
            match exchange.init_error(error_type, payload).await {
                Ok(()) => accepted(),
                Err(refusal) => refuse(&refusal),
            }
        }
        ["restore", ..] => refuse(&Refusal::Transition { from: "Ready", to: "Restoring" }),
        ["invocation", "next"] | ["invocation", _, "response" | "error"] | ["init", "error"] => {
            json(StatusCode::METHOD_NOT_ALLOWED, "MethodNotAllowed", "Method not allowed")
        }
        _ => not_found(),
    }
}

fn deliver(event: Event) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(event.payload));
    let headers = response.headers_mut();
    // The official Python client takes its decoder from this header.
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    let mut set = |name: &'static str, value: &str| {
        // What cannot be a header's value (a line feed in a client context) is left out rather than the event.
        if let Ok(value) = HeaderValue::from_bytes(value.as_bytes()) {
            headers.insert(name, value);
        }
    };
    set("lambda-runtime-aws-request-id", &event.request_id);
    set("lambda-runtime-deadline-ms", &event.deadline.as_millis().to_string());
    set("lambda-runtime-invoked-function-arn", &event.invoked_function_arn);
    for (name, value) in [
        ("lambda-runtime-trace-id", &event.trace_id),
        ("lambda-runtime-client-context", &event.client_context),
        ("lambda-runtime-cognito-identity", &event.cognito_identity),
    ] {
        if let Some(value) = value {
            set(name, value);
        }
    }
    response
}

async fn respond(exchange: &Exchange, id: &str, request: Request<Incoming>) -> Response<Full<Bytes>> {
    if let Err(refusal) = exchange.begin_answer(id, "InvocationResponse") {
        return refuse_unread(&refusal, request).await;
    }
    // A streamed response is gathered: its trailers say whether the function failed half-way.
    match collect(request, RESPONSE_BYTES_MAX).await {
        Ok(Collected { size, body: None, .. }) => {
            exchange.finish_answer(Message::TooLarge(size)).await;
            too_large()
        }
        Ok(Collected { body: Some(body), trailers, .. }) => {
            let error_type = text(&trailers, ERROR_TYPE);
            let message = if error_type.is_empty() {
                Message::Response(body)
            } else {
                let encoded = text(&trailers, ERROR_BODY);
                let document = base64::engine::general_purpose::STANDARD.decode(&encoded);
                Message::Error { error_type, payload: document.map_or_else(|_| Bytes::from(encoded), Bytes::from) }
            };
            exchange.finish_answer(message).await;
            accepted()
        }
        Err(error) => {
            tracing::debug!(%error, "a runtime's response broke off");
            exchange.abandon_answer();
            json(StatusCode::BAD_REQUEST, "TruncatedResponse", "The response body is incomplete")
        }
    }
}

async fn fail(exchange: &Exchange, id: &str, request: Request<Incoming>) -> Response<Full<Bytes>> {
    if let Err(refusal) = exchange.begin_answer(id, "InvocationErrorResponse") {
        return refuse_unread(&refusal, request).await;
    }
    let error_type = text(request.headers(), ERROR_TYPE);
    match collect(request, RESPONSE_BYTES_MAX).await {
        Ok(Collected { size, body: None, .. }) => {
            exchange.finish_answer(Message::TooLarge(size)).await;
            too_large()
        }
        Ok(Collected { body: Some(payload), .. }) => {
            exchange.finish_answer(Message::Error { error_type, payload }).await;
            accepted()
        }
        Err(error) => {
            tracing::debug!(%error, "a runtime's error document broke off");
            exchange.abandon_answer();
            json(StatusCode::BAD_REQUEST, "TruncatedResponse", "The error body is incomplete")
        }
    }
}

struct Collected {
    size: u64,
    /// None when it was too large to keep.
    body: Option<Bytes>,
    trailers: HeaderMap,
}

impl Collected {
    fn kept(self) -> Option<Bytes> {
        self.body
    }
}

/// Reads a body, keeping at most `limit` bytes of it.
async fn collect(request: Request<Incoming>, limit: usize) -> Result<Collected, hyper::Error> {
    let mut body = request.into_body();
    let mut collected = Collected { size: 0, body: None, trailers: HeaderMap::new() };
    let mut kept = BytesMut::new();
    while let Some(frame) = body.frame().await {
        match frame?.into_data() {
            Ok(data) => {
                collected.size += data.len() as u64;
                if collected.size <= limit as u64 {
                    kept.extend_from_slice(&data);
                } else {
                    kept = BytesMut::new();
                }
            }
            Err(frame) => {
                if let Ok(trailers) = frame.into_trailers() {
                    collected.trailers = trailers;
                }
            }
        }
    }
    if collected.size <= limit as u64 {
        collected.body = Some(kept.freeze());
    }
    Ok(collected)
}

fn text(headers: &HeaderMap, name: &str) -> String {
    headers.get(name).map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned()).unwrap_or_default()
}

fn accepted() -> Response<Full<Bytes>> {
    body(StatusCode::ACCEPTED, serde_json::json!({ "status": "OK" }))
}

fn refuse(refusal: &Refusal) -> Response<Full<Bytes>> {
    match refusal {
        Refusal::RequestId => json(StatusCode::BAD_REQUEST, "InvalidRequestID", "Invalid request ID"),
        Refusal::Transition { from, to } => json(
            StatusCode::FORBIDDEN,
            "InvalidStateTransition",
            &format!("State transition from {from} to {to} failed for runtime. Error: State transition is not allowed"),
        ),
    }
}

/// Refuses a request after its body: a connection with unread bytes could not be used again.
async fn refuse_unread(refusal: &Refusal, request: Request<Incoming>) -> Response<Full<Bytes>> {
    // A body that breaks off takes its connection with it.
    drop(collect(request, 0).await);
    refuse(refusal)
}

fn too_large() -> Response<Full<Bytes>> {
    let message = format!("Exceeded maximum allowed payload size ({RESPONSE_BYTES_MAX} bytes).");
    json(StatusCode::PAYLOAD_TOO_LARGE, "RequestEntityTooLarge", &message)
}

fn not_found() -> Response<Full<Bytes>> {
    json(StatusCode::NOT_FOUND, "NotFound", "The Runtime API has no such path")
}

fn json(status: StatusCode, error_type: &str, message: &str) -> Response<Full<Bytes>> {
    body(status, serde_json::json!({ "errorMessage": message, "errorType": error_type }))
}

fn body(status: StatusCode, document: serde_json::Value) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(document.to_string())));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}
