//! The Runtime API over HTTP, on the function's own loopback. Source: AWS Lambda developer guide, "Using the Lambda
//! runtime API for custom runtimes", and the behaviour of AWS's runtime interface emulator for what goes wrong.

use std::{convert::Infallible, net::TcpListener as StdListener, sync::Arc, time::Duration};

use base_env::Env;
use base64::Engine as _;
use bytes::{Bytes, BytesMut};
use compute_api::{
    EnvironmentSpec, LogFormat, OutputKind, OutputLine, StreamError, endpoint::CONNECTIONS_MAX,
    stream::STREAMED_BYTES_MAX,
};
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Full};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use tokio::{net::TcpListener, sync::Semaphore, task::JoinSet};

use super::{
    credentials,
    direct::{self, Begun},
    exchange::{Event, Exchange, Message, Refusal},
    extensions::Extensions,
    extensions_api,
    stream::{self, RESPONSE_BYTES_MAX},
    telemetry::{Hub, What},
};

const PREFIX: &str = "/2018-06-01/runtime/";
const ERROR_TYPE: &str = "lambda-runtime-function-error-type";
const ERROR_BODY: &str = "lambda-runtime-function-error-body";
const RESPONSE_MODE: &str = "lambda-runtime-function-response-mode";
const EXTENSION_PREFIX: &str = "/2020-01-01/extension/";
/// Buffers of one connection.
const BUFFER_BYTES_MAX: usize = 64 * 1024;
/// How long accepting pauses when the server itself has no descriptors left.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// What the connections of one environment share.
pub(crate) struct Api {
    pub(crate) env: Env,
    pub(crate) spec: Arc<EnvironmentSpec>,
    /// None when the runtime has a channel of its own: then nobody else is the runtime.
    pub(crate) exchange: Option<Arc<Exchange>>,
    pub(crate) extensions: Arc<Extensions>,
    pub(crate) telemetry: Arc<Hub>,
}

impl Api {
    /// Writes something of the platform into the log: this line, or in the JSON format the event itself, which is one for
    /// information.
    pub(crate) async fn say(&self, line: String, what: &What) {
        let at = self.env.now();
        let text = match (self.spec.logging.format, self.spec.logging.system_level.as_deref()) {
            (LogFormat::Text, _) => Bytes::from(line),
            (LogFormat::Json, Some("WARN")) => return,
            (LogFormat::Json, _) => what.to_log_line(at),
        };
        self.spec.output.send(OutputLine { at, kind: OutputKind::Platform, request_id: None, text }).await;
    }
}

/// Serves until it is dropped; connections beyond [`CONNECTIONS_MAX`] wait in the listener's backlog.
pub(crate) async fn serve(listener: StdListener, api: Arc<Api>) -> std::io::Result<()> {
    listener.set_nonblocking(true)?;
    let listener = TcpListener::from_std(listener)?;
    let room = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let mut connections = JoinSet::new();
    loop {
        let Ok(permit) = Arc::clone(&room).acquire_owned().await else { return Ok(()) };
        let stream = tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => stream,
                Err(error) => {
                    // A connection that is gone already, or no descriptors left: neither is for ever.
                    tracing::debug!(%error, "a runtime's connection could not be accepted");
                    api.env.sleep(ACCEPT_PAUSE).await;
                    continue;
                }
            },
            Some(_) = connections.join_next() => continue,
        };
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%error, "a runtime's connection broke at once");
            continue;
        }
        let api = Arc::clone(&api);
        connections.spawn(async move {
            let rest = match &api.exchange {
                Some(exchange) => direct::serve(stream, exchange, &api.env).await,
                None => Some((stream, Bytes::new())),
            };
            if let Some((stream, before)) = rest {
                // Boxed: most connections never come here.
                Box::pin(serve_any(Begun::new(stream, before), &api)).await;
            }
            drop(permit);
        });
    }
}

/// Serves whatever comes on a connection.
async fn serve_any(stream: Begun, api: &Arc<Api>) {
    let service = service_fn(|request| {
        let api = Arc::clone(api);
        async move { Ok::<_, Infallible>(route(&api, request).await) }
    });
    let served = http1::Builder::new()
        .title_case_headers(true)
        .max_buf_size(BUFFER_BYTES_MAX)
        .serve_connection(TokioIo::new(stream), service)
        .await;
    if let Err(error) = served {
        tracing::debug!(%error, "a runtime's connection broke");
    }
}

async fn route(api: &Api, request: Request<Incoming>) -> Response<Full<Bytes>> {
    let path = request.uri().path().to_owned();
    if let Some(operation) = path.strip_prefix(PREFIX) {
        return match &api.exchange {
            Some(exchange) => answer(exchange, operation, request).await,
            // The runtime is another one and at work: whoever asks here is out of turn.
            None => refuse_unread(&Refusal::Transition { from: "Running", to: "Ready" }, request).await,
        };
    }
    if let Some(operation) = path.strip_prefix(EXTENSION_PREFIX) {
        return extensions_api::extension(api, operation, request).await.unwrap_or_else(not_found);
    }
    match path.trim_end_matches('/') {
        "/2022-07-01/telemetry" => extensions_api::subscribe(api, false, request).await,
        credentials::PATH if request.method() == Method::GET => credentials::answer(&api.spec, api.env.now()),
        "/2020-08-15/logs" => extensions_api::subscribe(api, true, request).await,
        _ => not_found(),
    }
}

async fn answer(exchange: &Exchange, operation: &str, request: Request<Incoming>) -> Response<Full<Bytes>> {
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
            json_error(StatusCode::METHOD_NOT_ALLOWED, "MethodNotAllowed", "Method not allowed")
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
    match text(request.headers(), RESPONSE_MODE).as_str() {
        "" => {}
        "streaming" => return stream_response(exchange, request).await,
        _ => {
            let error_type = "Runtime.InvalidResponseModeHeader".to_owned();
            exchange.finish_answer(Message::Error { error_type, payload: Bytes::new() }).await;
            drop(collect(request, 0).await);
            let (name, message) = ("InvalidFunctionResponseMode", "Invalid function response mode");
            return json_error(StatusCode::BAD_REQUEST, name, message);
        }
    }
    // A response in chunks is gathered all the same: its trailers say whether the function failed half-way.
    match collect(request, RESPONSE_BYTES_MAX).await {
        Ok(Collected { size, body: None, .. }) => {
            exchange.finish_answer(Message::TooLarge(size)).await;
            too_large()
        }
        Ok(Collected { body: Some(body), trailers, .. }) => {
            let message = match error_of(&trailers) {
                None => Message::Response(body),
                Some(StreamError { error_type, payload }) => Message::Error { error_type, payload },
            };
            exchange.finish_answer(message).await;
            accepted()
        }
        Err(error) => {
            tracing::debug!(%error, "a runtime's response broke off");
            exchange.abandon_answer();
            incomplete()
        }
    }
}

/// Hands a response on while it comes. Waiting for its reader is what holds a function back that is faster.
async fn stream_response(exchange: &Exchange, request: Request<Incoming>) -> Response<Full<Bytes>> {
    let content_type = Some(text(request.headers(), header::CONTENT_TYPE.as_str())).filter(|name| !name.is_empty());
    // Told with the first byte: a function that fails before it has streamed nothing, and its caller can be told so.
    let mut begin = Some(Message::StreamBegin { content_type });
    let mut body = request.into_body();
    let (mut size, mut error) = (0, None);
    while let Some(frame) = body.frame().await {
        let frame = match frame {
            Ok(frame) => frame,
            Err(error) => {
                tracing::debug!(%error, "a runtime's streamed response broke off");
                exchange.finish_answer(Message::StreamEnd(Some(stream::truncated()))).await;
                return incomplete();
            }
        };
        match frame.into_data() {
            Ok(data) => {
                size += data.len() as u64;
                if size > STREAMED_BYTES_MAX {
                    exchange.finish_answer(Message::StreamEnd(Some(stream::too_large()))).await;
                    while let Some(Ok(_)) = body.frame().await {}
                    return entity_too_large(STREAMED_BYTES_MAX);
                }
                if let Some(begin) = begin.take() {
                    exchange.tell(begin).await;
                }
                exchange.tell(Message::StreamBody(data)).await;
            }
            Err(frame) => error = frame.into_trailers().ok().and_then(|trailers| error_of(&trailers)),
        }
    }
    if let (Some(begin), None) = (begin, &error) {
        exchange.tell(begin).await;
    }
    exchange.finish_answer(Message::StreamEnd(error)).await;
    accepted()
}

/// The error that the trailers of a response tell.
fn error_of(trailers: &HeaderMap) -> Option<StreamError> {
    let error_type = Some(text(trailers, ERROR_TYPE)).filter(|error_type| !error_type.is_empty())?;
    let encoded = text(trailers, ERROR_BODY);
    let document = base64::engine::general_purpose::STANDARD.decode(&encoded);
    Some(StreamError { error_type, payload: document.map_or_else(|_| Bytes::from(encoded), Bytes::from) })
}

/// AWS's words for a request that broke off.
fn incomplete() -> Response<Full<Bytes>> {
    json_error(StatusCode::BAD_REQUEST, "TruncatedHTTPRequest", "HTTP request detected as truncated")
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
            incomplete()
        }
    }
}

pub(super) struct Collected {
    size: u64,
    /// None when it was too large to keep.
    body: Option<Bytes>,
    trailers: HeaderMap,
}

impl Collected {
    pub(super) fn kept(self) -> Option<Bytes> {
        self.body
    }
}

/// Reads a body, keeping at most `limit` bytes of it.
pub(super) async fn collect(request: Request<Incoming>, limit: usize) -> Result<Collected, hyper::Error> {
    let mut body = request.into_body();
    let mut collected = Collected { size: 0, body: None, trailers: HeaderMap::new() };
    let mut first = Bytes::new();
    let mut kept = BytesMut::new();
    while let Some(frame) = body.frame().await {
        match frame?.into_data() {
            Ok(data) => {
                collected.size += data.len() as u64;
                if collected.size > limit as u64 {
                    (first, kept) = (Bytes::new(), BytesMut::new());
                } else if collected.size == data.len() as u64 {
                    // Most bodies come in one piece, which need not be copied.
                    first = data;
                } else {
                    kept.extend_from_slice(&std::mem::take(&mut first));
                    kept.extend_from_slice(&data);
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
        collected.body = Some(if kept.is_empty() { first } else { kept.freeze() });
    }
    Ok(collected)
}

pub(super) fn text(headers: &HeaderMap, name: &str) -> String {
    headers.get(name).map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned()).unwrap_or_default()
}

pub(super) fn accepted() -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from_static(br#"{"status":"OK"}"#)));
    *response.status_mut() = StatusCode::ACCEPTED;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

fn refuse(refusal: &Refusal) -> Response<Full<Bytes>> {
    match refusal {
        Refusal::RequestId => json_error(StatusCode::BAD_REQUEST, "InvalidRequestID", "Invalid request ID"),
        Refusal::Transition { from, to } => json_error(
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
    entity_too_large(RESPONSE_BYTES_MAX as u64)
}

fn entity_too_large(limit: u64) -> Response<Full<Bytes>> {
    let message = format!("Exceeded maximum allowed payload size ({limit} bytes).");
    json_error(StatusCode::PAYLOAD_TOO_LARGE, "RequestEntityTooLarge", &message)
}

fn not_found() -> Response<Full<Bytes>> {
    json_error(StatusCode::NOT_FOUND, "NotFound", "The Runtime API has no such path")
}

pub(super) fn json_error(status: StatusCode, error_type: &str, message: &str) -> Response<Full<Bytes>> {
    let document = serde_json::json!({ "errorMessage": message, "errorType": error_type });
    let mut response = Response::new(Full::new(Bytes::from(document.to_string())));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}
