//! Calling out by HTTP/1.1: [`HttpOutbound`], the one dialler of the whole server.
//!
//! | file | what |
//! |---|---|
//! | `judge` | which addresses may be dialled; pure |
//! | `dial` | from a name to a connection, by way of the judgement |
//!
//! Guarantees: what is dialled was judged, on every redirect again; a request ends within its time; of an answer no more is
//! read than was asked for; at most [`CALLS_MAX`] calls are under way at once, and few idle connections are kept, for a
//! short time. A redirect to another origin does not carry credentials. Never inside a transaction: see
//! [`services_ports::Outbound`].

mod dial;
mod judge;

use std::{
    error::Error as StdError,
    sync::{Arc, OnceLock},
    time::Duration,
};

use base_env::Env;
use bytes::{Bytes, BytesMut};
use dial::{DialError, Dialler};
use http::{HeaderMap, HeaderValue, Method, Request, StatusCode, Uri, header, uri};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper_rustls::HttpsConnector;
use hyper_util::{
    client::legacy::Client,
    rt::{TokioExecutor, TokioTimer},
};
pub use judge::{InvalidNetwork, Network, Rules};
use rustls::{ClientConfig, RootCertStore};
use services_ports::{Outbound, OutboundError, OutboundRequest, OutboundResponse};
use tokio::sync::Semaphore;

/// Calls under way at once; further ones wait, within their own time.
pub const CALLS_MAX: usize = 512;
const IDLE_PER_HOST_MAX: usize = 4;
const IDLE_LIMIT: Duration = Duration::from_secs(15);
const URI_BYTES_MAX: usize = 8192;
const AGENT: &str = concat!("Pileus/", env!("CARGO_PKG_VERSION"));

type HttpClient = Client<HttpsConnector<Dialler>, Full<Bytes>>;

/// Calls out. Cheap to clone; clones share everything.
#[derive(Clone)]
pub struct HttpOutbound(Arc<Inner>);

struct Inner {
    /// Made when it is needed first: reading the host's certificate authorities would be felt in every start.
    client: OnceLock<Result<HttpClient, rustls::Error>>,
    roots: Option<RootCertStore>,
    rules: Arc<Rules>,
    calls: Semaphore,
    env: Env,
}

impl HttpOutbound {
    /// With the host's certificate authorities; with Mozilla's when the host has none.
    #[must_use]
    pub fn new(rules: Rules, env: Env) -> Self {
        Self::build(rules, env, None)
    }

    /// With these certificate authorities.
    #[must_use]
    pub fn with_roots(rules: Rules, env: Env, roots: RootCertStore) -> Self {
        Self::build(rules, env, Some(roots))
    }

    fn build(rules: Rules, env: Env, roots: Option<RootCertStore>) -> Self {
        let (client, calls) = (OnceLock::new(), Semaphore::new(CALLS_MAX));
        Self(Arc::new(Inner { client, roots, rules: Arc::new(rules), calls, env }))
    }

    fn client(&self) -> Result<&HttpClient, OutboundError> {
        self.0.client.get_or_init(|| self.0.make_client()).as_ref().map_err(|error| OutboundError::Unreachable {
            uri: "https".to_owned(),
            reason: format!("TLS cannot be set up: {error}"),
        })
    }

    async fn follow(&self, mut call: OutboundRequest) -> Result<OutboundResponse, OutboundError> {
        let mut left = call.redirects_max;
        loop {
            self.check(&call.uri)?;
            let response = self.once(&call).await?;
            let target = (left > 0).then(|| redirected(&call.uri, response.status(), response.headers())).flatten();
            let Some(target) = target else {
                let (head, body) = response.into_parts();
                let body =
                    beginning(body, call.response_bytes_max).await.map_err(|error| unreachable(&call, &error))?;
                return Ok(OutboundResponse { status: head.status, headers: head.headers, body });
            };
            left -= 1;
            turn(&mut call, response.status(), target);
        }
    }

    async fn once(&self, call: &OutboundRequest) -> Result<http::Response<Incoming>, OutboundError> {
        let mut request = Request::new(Full::new(call.body.clone()));
        *request.method_mut() = call.method.clone();
        *request.uri_mut() = call.uri.clone();
        *request.headers_mut() = call.headers.clone();
        request.headers_mut().entry(header::USER_AGENT).or_insert(HeaderValue::from_static(AGENT));
        self.client()?.request(request).await.map_err(|error| match dialled(&error) {
            Some(DialError::Forbidden { host, address, reason }) => {
                OutboundError::Forbidden { host: host.clone(), address: address.to_string(), reason: reason.clone() }
            }
            Some(DialError::Unreachable(reason)) => {
                OutboundError::Unreachable { uri: call.uri.to_string(), reason: reason.clone() }
            }
            None => unreachable(call, &error),
        })
    }
}

impl Inner {
    fn make_client(&self) -> Result<HttpClient, rustls::Error> {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let tls = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_root_certificates(self.roots.clone().unwrap_or_else(roots_of_host))
            .with_no_client_auth();
        let dialler = Dialler { rules: Arc::clone(&self.rules), env: self.env.clone() };
        Ok(Client::builder(TokioExecutor::new())
            .pool_max_idle_per_host(IDLE_PER_HOST_MAX)
            .pool_idle_timeout(IDLE_LIMIT)
            .pool_timer(TokioTimer::new())
            .build(HttpsConnector::from((dialler, tls))))
    }
}

fn roots_of_host() -> RootCertStore {
    let mut roots = RootCertStore::empty();
    let found = rustls_native_certs::load_native_certs();
    for error in &found.errors {
        tracing::warn!(%error, "some of the host's certificate authorities cannot be read");
    }
    roots.add_parsable_certificates(found.certs);
    if roots.is_empty() {
        roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
    }
    roots
}

impl Outbound for HttpOutbound {
    async fn send(&self, request: OutboundRequest) -> Result<OutboundResponse, OutboundError> {
        let (uri, limit) = (request.uri.to_string(), request.time_limit);
        let whole = async {
            // Never closed, so a permit comes; without one nothing is lost but the bound.
            let _permit = self.0.calls.acquire().await.ok();
            self.follow(request).await
        };
        self.0.env.timeout(limit, whole).await.unwrap_or(Err(OutboundError::TimedOut(uri)))
    }

    fn check(&self, uri: &Uri) -> Result<(), OutboundError> {
        let invalid = |reason: &str| {
            let uri = uri.to_string().chars().take(256).collect();
            OutboundError::Invalid { uri, reason: reason.to_owned() }
        };
        if !matches!(uri.scheme_str(), Some("http" | "https")) {
            return Err(invalid("it is neither http nor https"));
        }
        let Some(authority) = uri.authority().filter(|authority| !authority.host().is_empty()) else {
            return Err(invalid("it names no host"));
        };
        if authority.as_str().contains('@') {
            return Err(invalid("it holds a user name or password, which belong in a header"));
        }
        if authority.port().is_some_and(|port| port.as_u16() == 0) {
            return Err(invalid("its port is none"));
        }
        if uri.to_string().len() > URI_BYTES_MAX {
            return Err(invalid("it is too long"));
        }
        let host = authority.host();
        match judge::literal(host) {
            Some(address) => self.0.rules.judge(address).map_err(|reason| OutboundError::Forbidden {
                host: host.to_owned(),
                address: address.to_string(),
                reason,
            }),
            None => Ok(()),
        }
    }
}

/// What the dialler said, if it was the dialler.
fn dialled<'a>(error: &'a (dyn StdError + 'static)) -> Option<&'a DialError> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(found) = error.downcast_ref::<DialError>() {
            return Some(found);
        }
        next = error.source();
    }
    None
}

/// An error with the causes that say what happened.
fn unreachable(call: &OutboundRequest, error: &(dyn StdError + 'static)) -> OutboundError {
    let mut reason = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        reason = format!("{reason}: {cause}");
        next = cause.source();
    }
    OutboundError::Unreachable { uri: call.uri.to_string(), reason }
}

/// The beginning of a body. The rest is left: its connection is not used again.
async fn beginning(mut body: Incoming, most: usize) -> Result<Bytes, hyper::Error> {
    let mut read = BytesMut::new();
    while read.len() < most {
        let Some(frame) = body.frame().await else { break };
        if let Ok(chunk) = frame?.into_data() {
            read.extend_from_slice(chunk.get(..chunk.len().min(most - read.len())).unwrap_or_default());
        }
    }
    Ok(read.freeze())
}

/// Where a response sends its client.
fn redirected(from: &Uri, status: StatusCode, headers: &HeaderMap) -> Option<Uri> {
    if !matches!(status.as_u16(), 301 | 302 | 303 | 307 | 308) {
        return None;
    }
    let location = headers.get(header::LOCATION)?.to_str().ok()?;
    let location = location.split('#').next().unwrap_or_default();
    let scheme = from.scheme_str()?;
    let authority = from.authority()?;
    let text = if location.contains("://") {
        location.to_owned()
    } else if let Some(rest) = location.strip_prefix("//") {
        format!("{scheme}://{rest}")
    } else if location.starts_with('/') {
        format!("{scheme}://{authority}{location}")
    } else {
        let folder = from.path().rsplit_once('/').map_or("", |(folder, _)| folder);
        format!("{scheme}://{authority}{folder}/{location}")
    };
    text.parse().ok()
}

/// Makes the request one to the new address, as browsers and RFC 9110 have it.
fn turn(call: &mut OutboundRequest, status: StatusCode, target: Uri) {
    let origin = |uri: &Uri| (uri.scheme().cloned(), uri.authority().map(uri::Authority::to_string));
    if origin(&call.uri) != origin(&target) {
        for name in [header::AUTHORIZATION, header::COOKIE, header::PROXY_AUTHORIZATION] {
            call.headers.remove(name);
        }
    }
    call.headers.remove(header::HOST);
    let becomes_get =
        status == StatusCode::SEE_OTHER || (matches!(status.as_u16(), 301 | 302) && call.method == Method::POST);
    if becomes_get && call.method != Method::HEAD {
        call.method = Method::GET;
        call.body = Bytes::new();
        for name in [header::CONTENT_TYPE, header::CONTENT_LENGTH, header::CONTENT_ENCODING] {
            call.headers.remove(name);
        }
    }
    call.uri = target;
}

#[cfg(test)]
mod tests;
