//! What stands behind the gateway: [`Upstream`], and the data that goes to it.

use std::{future::Future, sync::Arc};

use base_types::{AccountId, Fault, Region};
use bytes::Bytes;
use http::{Response, request::Parts};
use services_kernel::{Cx, Principal};
use wire_schema::{Operation, Protocol, ServiceSchema};
use wire_sigv4::SignatureError;

use crate::{Body, ByteStream, server::Environment};

/// Everything the gateway serves. Implemented once, by the application.
pub trait Upstream: Send + Sync + 'static {
    /// The services that are there, for routing.
    fn services(&self) -> &[&'static ServiceSchema];

    /// Runs a request to a service: decode, dispatch, encode. The answer needs no request id.
    fn call(&self, call: Call) -> impl Future<Output = Response<Body>> + Send;

    /// Runs a request to a function URL, its CORS rules and authorisation included.
    fn function_url(&self, call: UrlCall) -> impl Future<Output = Response<Body>> + Send;

    /// Answers a path below `/_pileus/` other than `health` and `url/…`; `None` when there is no such page.
    fn own(&self, call: OwnCall) -> impl Future<Output = Option<Response<Body>>> + Send;

    /// Whose access key this is. `token` is the session token that came with it.
    fn key(&self, key_id: &str, token: Option<&str>) -> impl Future<Output = Result<Lookup, Fault>> + Send;
}

/// A request to a service, authenticated.
#[derive(Debug)]
pub struct Call {
    /// The service's table.
    pub service: &'static ServiceSchema,
    /// The protocol the request speaks; the answer must speak it too.
    pub protocol: Protocol,
    /// The operation, when the gateway could tell it from the head.
    pub operation: Option<&'static Operation>,
    /// What the path said, for rest protocols.
    pub route: Option<wire_http::Route>,
    /// Who asks, where, under which request id.
    pub cx: Cx,
    /// Method, target, headers.
    pub head: Parts,
    /// The whole body; empty when it is in `stream`.
    pub body: Bytes,
    /// The body of an operation that takes it piece by piece: still to be read, and proven on the way.
    pub stream: Option<ByteStream>,
    /// It was addressed to a bucket's website.
    pub website: bool,
    /// Whoever signs with a key that nobody knows is believed on this connection.
    pub open: bool,
    /// The execution environment it came from, if it came from inside one.
    pub environment: Option<Arc<Environment>>,
}

/// A request to a function's URL.
#[derive(Debug)]
pub struct UrlCall {
    /// The URL's identifier: lower-case letters and digits.
    pub url_id: String,
    /// The region of the host name; `None` for the path form.
    pub region: Option<Region>,
    /// The raw path as the function shall see it; begins with a slash.
    pub path: String,
    /// Method, original target, headers.
    pub head: Parts,
    /// The whole body.
    pub body: Bytes,
    /// Who signed the request, for URLs that demand it; why nobody did, otherwise.
    pub identity: Result<Identity, SignatureError>,
    /// The request's identifier.
    pub request_id: Arc<str>,
    /// The client's address, as text.
    pub source_ip: Arc<str>,
}

/// A request to one of Pileus's own pages.
#[derive(Debug)]
pub struct OwnCall {
    /// The path after `/_pileus/`.
    pub path: String,
    /// Method, original target, headers.
    pub head: Parts,
    /// The whole body.
    pub body: Bytes,
    /// Who asks, as for a service; in the open mode always somebody.
    pub identity: Result<Identity, SignatureError>,
    /// The request's identifier.
    pub request_id: Arc<str>,
}

/// Who asks and where.
#[derive(Debug, Clone)]
pub struct Identity {
    /// The account whose resources are meant.
    pub account: AccountId,
    /// The region whose resources are meant.
    pub region: Region,
    /// Who asks.
    pub principal: Arc<Principal>,
    /// The access key id, when there was one.
    pub key_id: Option<String>,
}

/// An access key's owner and secret.
#[derive(Clone)]
pub struct Key {
    /// The secret access key.
    pub secret: String,
    /// Whom it stands for.
    pub principal: Arc<Principal>,
    /// The account that a request signed with it means.
    pub account: AccountId,
}

impl std::fmt::Debug for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Key").field("principal", &self.principal).finish_non_exhaustive()
    }
}

/// The outcome of looking up an access key.
#[derive(Debug, Clone)]
pub enum Lookup {
    /// It is ours.
    Found(Key),
    /// Nobody's.
    Unknown,
    /// Ours, but the session token is missing or not its own.
    InvalidToken,
    /// Ours, but the session is over.
    Expired,
}
