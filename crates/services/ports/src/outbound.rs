//! Calling out of Pileus by HTTP: a topic's subscriber, an API destination.
//!
//! One dialler serves everybody. It judges the address that it dials (not the name that was asked for) on every redirect,
//! bounds time and sizes, and is never used inside a transaction: who calls out has a durable record of the attempt, made
//! before, and calls at least once.

use std::{future::Future, time::Duration};

use bytes::Bytes;
use http::{HeaderMap, Method, StatusCode, Uri};

/// Who calls out.
pub trait Outbound: Send + Sync + 'static {
    /// Sends one request and answers the response, whatever its status.
    ///
    /// # Errors
    /// See [`OutboundError`].
    fn send(&self, request: OutboundRequest) -> impl Future<Output = Result<OutboundResponse, OutboundError>> + Send;

    /// Objects to an address that would never be dialled, as far as can be said without looking names up.
    ///
    /// # Errors
    /// [`OutboundError::Forbidden`], [`OutboundError::Invalid`].
    fn check(&self, uri: &Uri) -> Result<(), OutboundError>;
}

/// A request.
#[derive(Debug, Clone)]
pub struct OutboundRequest {
    /// Its method.
    pub method: Method,
    /// `http` or `https`.
    pub uri: Uri,
    /// Its headers; `Host`, `Content-Length` and `User-Agent` are added where they lack.
    pub headers: HeaderMap,
    /// Its body.
    pub body: Bytes,
    /// From the beginning until the response is whole.
    pub time_limit: Duration,
    /// Bytes of the response's body that are wanted; the rest is not read.
    pub response_bytes_max: usize,
    /// Redirects that are followed.
    pub redirects_max: u8,
}

/// A response.
#[derive(Debug, Clone)]
pub struct OutboundResponse {
    /// Its status.
    pub status: StatusCode,
    /// Its headers.
    pub headers: HeaderMap,
    /// The beginning of its body, at most as long as was asked for.
    pub body: Bytes,
}

/// Why there is no response.
#[derive(Debug, thiserror::Error)]
pub enum OutboundError {
    /// The address is none that can be called.
    #[error("`{uri}` cannot be called: {reason}")]
    Invalid {
        /// The address.
        uri: String,
        /// Why.
        reason: String,
    },
    /// The address may not be called (it is private, link-local, the host's own) unless the configuration allows it.
    #[error("`{host}` is {address}, which may not be called: {reason}")]
    Forbidden {
        /// What was asked for.
        host: String,
        /// What it is.
        address: String,
        /// Why, and what would allow it.
        reason: String,
    },
    /// Nobody answered: the name is unknown, the connection was refused, broken or not trusted.
    #[error("`{uri}` did not answer: {reason}")]
    Unreachable {
        /// The address.
        uri: String,
        /// Why.
        reason: String,
    },
    /// The time was over.
    #[error("`{0}` did not answer in time")]
    TimedOut(String),
}
