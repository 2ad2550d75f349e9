//! The path of a request, as one list. Each layer may answer; what passes all of them reaches a service.
//!
//! ```text
//!  on the connection (server.rs)   connections bounded · TCP_NODELAY · head bounded in bytes and time · unread answers
//!                                 bounded in time · draining
//!  1. request id                   made here, on every answer, in every log line
//!  2. panic guard                  a defect in a handler is this request's 500
//!  3. host                         only names that are ours; decides: function URL, own page, or service
//!  4. pages                        what a browser sends for a page is refused, but at function URLs and S3
//!  5. route                        service, protocol, operation; or AWS's error for what nobody serves
//!  6. body                         bounded by the operation, by time, and by the memory for all bodies
//!  7. identity                     signature, key, principal; open or required
//!  8. call                         the service, the function URL, the own page
//!                                 (S3 has its own 4 to 8, in objects.rs: bodies are handed on unread)
//!  9. finish                       request id header, access log
//! ```
//!
//! A future is moved when it is begun, and one that holds all layers and every service behind them measures 60 KiB: the
//! branches are boxed, so that a request moves only what it needs.

use std::{
    future::Future,
    panic::AssertUnwindSafe,
    pin::{Pin, pin},
    sync::Arc,
    task::Poll,
    time::Duration,
};

use base_types::{AccountId, Region};
use bytes::Bytes;
use http::{HeaderName, HeaderValue, Method, Request, Response, header, request::Parts};
use http_body::Body as HttpBody;
use services_kernel::{AnswerHeaders, Cx, Principal};
use tokio::sync::OwnedSemaphorePermit;
use wire_schema::Protocol;
use wire_sigv4::Claim;

use crate::{
    Body,
    authenticate::Denied,
    body::{BodyProblem, discard, read_whole},
    host::{Host, is_url_id, refuse_pages},
    objects,
    refusal::{Form, Refusal},
    route::{self, Judgement, Route},
    server::{Connection, Gateway},
    settings::Auth,
    upstream::{Call, Identity, OwnCall, Upstream, UrlCall},
};

/// Services' own answers have it already.
const REQUEST_ID: HeaderName = HeaderName::from_static("x-amzn-requestid");
const OWN_PREFIX: &str = "/_pileus/";
/// Where the certificate is that SNS's signatures are verified by, as on AWS: for everybody, functions too.
const CERTIFICATE_PREFIX: &str = "/SimpleNotificationService-";
const URL_PREFIX: &str = "/_pileus/url/";
/// A form that names its action must fit into this when nothing else tells the service; and an own page's body.
const FORM_BYTES_MAX: usize = 1024 * 1024;
/// Bodies up to this size do not count against the memory for all bodies.
const SMALL_BODY_BYTES: usize = 64 * 1024;
/// What of a body that is too large is still taken from the wire, so that the client reads the answer.
const DISCARDED_BYTES_MAX: usize = 64 * 1024 * 1024;
const DISCARD_TIMEOUT: Duration = Duration::from_secs(10);
const MEMORY_TIMEOUT: Duration = Duration::from_secs(10);

/// An answer before it is finished: a response, or a refusal in a form.
pub(crate) enum Outcome {
    Response(Response<Body>),
    Refused(Form, Refusal),
}

impl From<(Form, Refusal)> for Outcome {
    fn from((form, refusal): (Form, Refusal)) -> Self {
        Self::Refused(form, refusal)
    }
}

/// What stays the same over all layers of one request.
pub(crate) struct Scene<'a> {
    pub(crate) connection: &'a Connection,
    pub(crate) request_id: Arc<str>,
    pub(crate) host: Host,
    pub(crate) open: bool,
}

impl<U: Upstream> Gateway<U> {
    /// The whole path.
    pub(crate) async fn handle<B>(&self, request: Request<B>, connection: &Connection) -> Response<Body>
    where
        B: HttpBody<Data = Bytes> + Unpin + Send + 'static,
    {
        // 1. Request id.
        let started = self.env().monotonic();
        let request_id: Arc<str> = self.env().uuid().into();
        let (head, body) = request.into_parts();
        let logged = tracing::enabled!(target: "pileus::access", tracing::Level::INFO)
            .then(|| (head.method.clone(), head.uri.clone()));

        // 2. Panic guard.
        let outcome = guarded(self.answer(head, body, connection, Arc::clone(&request_id))).await;
        let outcome = outcome.unwrap_or_else(|| {
            tracing::error!(%request_id, "a handler panicked; the request is answered with an internal error");
            Outcome::Refused(Form::Plain, Refusal::internal())
        });

        // 9. Finish.
        let mut response = match outcome {
            Outcome::Response(response) => response,
            Outcome::Refused(form, refusal) => refusal.response(form, &request_id),
        };
        if !response.headers().contains_key(&REQUEST_ID)
            && let Ok(value) = HeaderValue::from_str(&request_id)
        {
            response.headers_mut().insert(REQUEST_ID, value);
        }
        if let Some((method, uri)) = logged {
            let elapsed_us = self.env().monotonic().since(started).as_micros();
            let (path, status, peer) = (uri.path(), response.status().as_u16(), &*connection.peer);
            tracing::info!(target: "pileus::access", %request_id, %method, path, status, elapsed_us, peer);
        }
        response
    }

    async fn answer<B>(&self, head: Parts, body: B, connection: &Connection, request_id: Arc<str>) -> Outcome
    where
        B: HttpBody<Data = Bytes> + Unpin + Send + 'static,
    {
        // 3. Host.
        let settings = self.settings();
        let host = match Host::read(&head.headers, settings, connection.loopback) {
            Ok(host) => host,
            Err(refusal) => return (Form::Plain, refusal).into(),
        };
        // Whatever the settings say: nobody is believed who does not come over this machine's own loopback.
        let open = settings.auth == Auth::Open && connection.loopback && connection.environment.is_none();
        let by_host = host.function_url().map(|(id, region)| (id.to_owned(), region));
        let scene = Scene { connection, request_id, host, open };
        if let Some((id, region)) = by_host {
            let path = head.uri.path().to_owned();
            return Box::pin(self.function_url(head, body, &scene, id, Some(region), path)).await;
        }
        if head.uri.path().starts_with(OWN_PREFIX) {
            return Box::pin(self.own(head, body, &scene)).await;
        }
        if head.uri.path().starts_with(CERTIFICATE_PREFIX) && head.method == Method::GET {
            return Box::pin(self.certificate(head, &scene)).await;
        }
        Box::pin(self.service(head, body, &scene)).await
    }

    async fn service<B>(&self, head: Parts, body: B, scene: &Scene<'_>) -> Outcome
    where
        B: HttpBody<Data = Bytes> + Unpin + Send + 'static,
    {
        let glimpse = Claim::glimpse(&wire_sigv4::Request::from(&head));
        let services = self.upstream().services();
        if let Some(found) = objects::addressed(services, &head, &scene.host, glimpse.as_ref()) {
            return Box::pin(self.objects(head, body, scene, glimpse, found)).await;
        }
        let judgement = route::by_head(services, &head, &scene.host, glimpse.as_ref());
        if let (Judgement::Nobody, Some(found)) = (&judgement, objects::by_exclusion(services, &head)) {
            return Box::pin(self.objects(head, body, scene, glimpse, found)).await;
        }
        // 4. Pages.
        if let Err(refusal) = refuse_pages(&head.headers, self.settings()) {
            return (Form::Plain, refusal).into();
        }
        // 5. Route, with 6. body between its two halves when only a form can tell.
        let (route, read) = match judgement {
            Judgement::Nobody => {
                self.read_away(body).await;
                return (Form::Plain, route::nobody()).into();
            }
            Judgement::Refused(form, refusal) => {
                self.read_away(body).await;
                return (form, refusal).into();
            }
            Judgement::Route(route) => {
                let limit = route.operation.map_or(route.service.body_bytes_max, |operation| operation.body_bytes_max);
                match self.read(&head, body, limit).await {
                    Ok(read) => (route, read),
                    Err(problem) => return (form_of(&route), refuse_body(problem, &route, limit)).into(),
                }
            }
            Judgement::ByForm => {
                let read = match self.read(&head, body, FORM_BYTES_MAX).await {
                    Ok(read) => read,
                    Err(problem) => return (Form::Plain, plain_body_refusal(problem, FORM_BYTES_MAX)).into(),
                };
                match route::by_form(self.upstream().services(), &read.bytes) {
                    Judgement::Route(route) => (route, read),
                    Judgement::Refused(form, refusal) => return (form, refusal).into(),
                    Judgement::ByForm | Judgement::Nobody => return (Form::Plain, Refusal::internal()).into(),
                }
            }
        };
        // 7. Identity.
        let (_, region) = scene.host.service();
        let signing = Some(route.service.signing_name);
        let identity = if glimpse.is_none() && takes_unsigned(&route, scene.open) {
            anonymous(region)
        } else {
            match self.authenticate(&head, &read.bytes, signing, scene.open, region).await {
                Ok(identity) => identity,
                Err(denied) => return (form_of(&route), self.denied(&denied, form_of(&route), scene)).into(),
            }
        };
        // 8. Call.
        let cx = cx_of(identity, &head, scene);
        let Read { bytes, permit } = read;
        let Route { service, protocol, operation, rest } = route;
        let environment = scene.connection.environment.clone();
        let (stream, website, open) = (None, false, scene.open);
        let call = Call {
            service,
            protocol,
            operation,
            route: rest,
            cx,
            head,
            body: bytes,
            stream,
            website,
            open,
            environment,
        };
        let response = Box::pin(self.upstream().call(call)).await;
        drop(permit);
        Outcome::Response(response)
    }

    async fn function_url<B>(
        &self,
        head: Parts,
        body: B,
        scene: &Scene<'_>,
        url_id: String,
        region: Option<Region>,
        path: String,
    ) -> Outcome
    where
        B: HttpBody<Data = Bytes> + Unpin + Send,
    {
        let limit = self.settings().limits.url_body_bytes;
        let Read { bytes, permit } = match self.read(&head, body, limit).await {
            Ok(read) => read,
            Err(problem) => return (Form::Plain, plain_body_refusal(problem, limit)).into(),
        };
        // The URL decides whether it asks for a signature; a header of another scheme is the function's own affair.
        let identity = match self.authenticate(&head, &bytes, Some("lambda"), scene.open, region.clone()).await {
            Ok(identity) => Ok(identity),
            Err(Denied::Signature(error)) => Err(error),
            Err(denied) => return (Form::Plain, self.denied(&denied, Form::Plain, scene)).into(),
        };
        let source_ip = Arc::clone(&scene.connection.peer);
        let request_id = Arc::clone(&scene.request_id);
        let call = UrlCall { url_id, region, path, head, body: bytes, identity, request_id, source_ip };
        let response = Box::pin(self.upstream().function_url(call)).await;
        drop(permit);
        Outcome::Response(response)
    }

    async fn certificate(&self, head: Parts, scene: &Scene<'_>) -> Outcome {
        let path = format!("certificates{}", head.uri.path());
        let (body, identity) = (Bytes::new(), Ok(anonymous(None)));
        let call = OwnCall { path, head, body, identity, request_id: Arc::clone(&scene.request_id) };
        match Box::pin(self.upstream().own(call)).await {
            Some(response) => Outcome::Response(response),
            None => (Form::Plain, Refusal::new(404, "NotFound", "There is no such certificate.")).into(),
        }
    }

    async fn own<B>(&self, head: Parts, body: B, scene: &Scene<'_>) -> Outcome
    where
        B: HttpBody<Data = Bytes> + Unpin + Send,
    {
        let unknown = || Refusal::new(404, "NotFound", "There is no such page.");
        if scene.connection.environment.is_some() {
            return (Form::Plain, unknown()).into();
        }
        if let Some(rest) = head.uri.path().strip_prefix(URL_PREFIX) {
            let (id, path) = rest.find('/').map_or((rest, "/"), |slash| rest.split_at(slash));
            let (id, path) = (id.to_owned(), path.to_owned());
            if !is_url_id(&id) {
                return (Form::Plain, unknown()).into();
            }
            return Box::pin(self.function_url(head, body, scene, id, None, path)).await;
        }
        if let Err(refusal) = refuse_pages(&head.headers, self.settings()) {
            return (Form::Plain, refusal).into();
        }
        let path = head.uri.path().strip_prefix(OWN_PREFIX).unwrap_or_default().to_owned();
        if path == "health" {
            return Outcome::Response(self.health());
        }
        let read = match self.read(&head, body, FORM_BYTES_MAX).await {
            Ok(read) => read,
            Err(problem) => return (Form::Plain, plain_body_refusal(problem, FORM_BYTES_MAX)).into(),
        };
        let identity = match self.authenticate(&head, &read.bytes, None, scene.open, None).await {
            Ok(identity) => Ok(identity),
            Err(Denied::Signature(error)) => Err(error),
            Err(denied) => return (Form::Plain, self.denied(&denied, Form::Plain, scene)).into(),
        };
        let call = OwnCall { path, head, body: read.bytes, identity, request_id: Arc::clone(&scene.request_id) };
        match Box::pin(self.upstream().own(call)).await {
            Some(response) => Outcome::Response(response),
            None => (Form::Plain, unknown()).into(),
        }
    }

    fn health(&self) -> Response<Body> {
        let status = if self.is_draining() { "draining" } else { "ok" };
        let uptime_ms = u64::try_from(self.uptime().as_millis()).unwrap_or(u64::MAX);
        let document =
            serde_json::json!({ "version": self.settings().version, "status": status, "uptime_ms": uptime_ms });
        let mut response = Response::new(Body::from(Bytes::from(document.to_string())));
        response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        response
    }

    pub(crate) fn denied(&self, denied: &Denied, form: Form, scene: &Scene<'_>) -> Refusal {
        match denied {
            Denied::Signature(error) => Refusal::of_signature(error, form),
            Denied::Fault(fault) => {
                tracing::error!(request_id = %scene.request_id, ?fault, "looking up an access key failed");
                Refusal::internal()
            }
        }
    }

    /// 6. Body: the head's promise first, then memory, then the bytes within their time.
    async fn read<B>(&self, head: &Parts, mut body: B, limit: usize) -> Result<Read, BodyRefusal>
    where
        B: HttpBody<Data = Bytes> + Unpin + Send,
    {
        if body.is_end_stream() {
            return Ok(Read { bytes: Bytes::new(), permit: None });
        }
        let promised = body.size_hint().exact().and_then(|bytes| usize::try_from(bytes).ok());
        if promised.is_some_and(|bytes| bytes > limit) {
            // Who waits for "100 Continue" has not sent anything yet, and need not.
            if !head.headers.contains_key(header::EXPECT) {
                self.read_away(body).await;
            }
            return Err(BodyRefusal::TooLarge);
        }
        let expected = promised.unwrap_or(limit);
        let permit = if expected > SMALL_BODY_BYTES { Some(self.reserve(expected).await?) } else { None };
        let limits = &self.settings().limits;
        let rate = limits.body_bytes_per_second.max(1);
        let allowed = limits.body_timeout + Duration::from_secs((expected / rate) as u64);
        let read = {
            let mut reading = pin!(read_whole(&mut body, limit));
            // What came together with the head is there, and needs no timer.
            match looked(reading.as_mut()).await {
                Some(read) => Ok(read),
                None => self.env().timeout(allowed, reading).await,
            }
        };
        match read {
            Ok(Ok(bytes)) => Ok(Read { bytes, permit }),
            Ok(Err(BodyProblem::TooLarge)) => {
                self.read_away(body).await;
                Err(BodyRefusal::TooLarge)
            }
            Ok(Err(BodyProblem::Broken)) => Err(BodyRefusal::Broken),
            Err(_) => {
                tracing::debug!(path = head.uri.path(), "a body did not arrive in its time");
                Err(BodyRefusal::Late)
            }
        }
    }

    pub(crate) async fn reserve(&self, bytes: usize) -> Result<OwnedSemaphorePermit, BodyRefusal> {
        let reserved = self.env().timeout(MEMORY_TIMEOUT, self.reserve_memory(bytes)).await;
        reserved.ok().flatten().ok_or(BodyRefusal::Overloaded)
    }

    pub(crate) async fn read_away<B>(&self, body: B)
    where
        B: HttpBody<Data = Bytes> + Unpin + Send,
    {
        if self.env().timeout(DISCARD_TIMEOUT, discard(body, DISCARDED_BYTES_MAX)).await.is_err() {
            tracing::debug!("a refused body was not sent in time; the client may miss the answer");
        }
    }
}

struct Read {
    bytes: Bytes,
    /// The memory it takes; given back when the request is over.
    permit: Option<OwnedSemaphorePermit>,
}

#[derive(Debug, Clone, Copy)]
pub(crate) enum BodyRefusal {
    TooLarge,
    Broken,
    Late,
    Overloaded,
}

fn form_of(route: &Route) -> Form {
    Form::Service(route.service, route.protocol)
}

fn refuse_body(problem: BodyRefusal, route: &Route, limit: usize) -> Refusal {
    match problem {
        BodyRefusal::TooLarge => {
            // AWS's texts name the operation as its IAM action does: `InvokeFunction`, not `Invoke`.
            let action = route.operation.map_or("this", |operation| {
                operation.action.rsplit_once(':').map_or(operation.name, |(_, action)| action)
            });
            let code = match route.protocol {
                Protocol::Query => "RequestEntityTooLarge",
                Protocol::RestXml => "EntityTooLarge",
                Protocol::Json10 | Protocol::Json11 | Protocol::RestJson => "RequestEntityTooLargeException",
            };
            Refusal::new(413, code, format!("Request must be smaller than {limit} bytes for the {action} operation"))
        }
        other => plain_body_refusal(other, limit),
    }
}

fn plain_body_refusal(problem: BodyRefusal, limit: usize) -> Refusal {
    match problem {
        BodyRefusal::TooLarge => {
            Refusal::new(413, "RequestEntityTooLargeException", format!("Request must be smaller than {limit} bytes"))
        }
        BodyRefusal::Broken => Refusal::new(400, "IncompleteBody", "The request's body ended before it was complete."),
        BodyRefusal::Late => {
            Refusal::new(408, "RequestTimeout", "The request's body was not received within the time limit.")
        }
        BodyRefusal::Overloaded => {
            Refusal::new(503, "ServiceUnavailable", "Too many large requests at a time. Please try again shortly.")
        }
    }
}

/// The context of a request by `identity`.
pub(crate) fn cx_of(identity: Identity, head: &Parts, scene: &Scene<'_>) -> Cx {
    Cx {
        account: identity.account,
        region: identity.region,
        principal: identity.principal,
        source: None,
        request_id: Arc::clone(&scene.request_id),
        trace: header_text(head, "x-amzn-trace-id"),
        hops: 0,
        deadline: None,
        endpoint: endpoint_of(head),
        source_ip: Arc::clone(&scene.connection.peer),
        user_agent: header_text(head, header::USER_AGENT.as_str()).unwrap_or_else(|| Arc::from("")),
        headers: AnswerHeaders::default(),
    }
}

pub(crate) fn header_text(head: &Parts, name: &str) -> Option<Arc<str>> {
    head.headers.get(name).and_then(|value| value.to_str().ok()).map(Arc::from)
}

fn endpoint_of(head: &Parts) -> Arc<str> {
    let host = head.headers.get(header::HOST).and_then(|value| value.to_str().ok()).unwrap_or_default();
    Arc::from(format!("http://{host}"))
}

/// What a future comes to at once; `None` when it has to wait.
async fn looked<F: Future + Unpin>(mut future: F) -> Option<F::Output> {
    std::future::poll_fn(|cx| match Pin::new(&mut future).poll(cx) {
        Poll::Ready(output) => Poll::Ready(Some(output)),
        Poll::Pending => Poll::Ready(None),
    })
    .await
}

/// Runs a future; `None` when it panicked.
async fn guarded<F: Future>(future: F) -> Option<F::Output> {
    let mut future = pin!(future);
    std::future::poll_fn(|cx| {
        // The future is never polled again after it panicked, and what it shares is behind locks that do not poison.
        match std::panic::catch_unwind(AssertUnwindSafe(|| future.as_mut().poll(cx))) {
            Ok(poll) => poll.map(Some),
            Err(_) => Poll::Ready(None),
        }
    })
    .await
}

/// Whether a request without a signature is one of those that a topic's subscriber makes by the address it was sent. In the
/// open mode whoever leaves without a signature is the account's root, as for everything else.
fn takes_unsigned(route: &Route, open: bool) -> bool {
    let operation = route.operation.map(|operation| operation.name);
    route.service.name == "sns"
        && (operation == Some("ConfirmSubscription") || (operation == Some("Unsubscribe") && !open))
}

/// Nobody in particular.
pub(crate) fn anonymous(region: Option<Region>) -> Identity {
    Identity {
        account: AccountId::DEFAULT,
        region: region.unwrap_or_default(),
        principal: Arc::new(Principal::Anonymous),
        key_id: None,
    }
}
