//! Calling an API destination and waiting for its answer: a pipe's enrichment or target. A rule's call, which nobody waits
//! for, is a durable intent of the service that knows the destination.

use std::future::Future;

use base_types::{Arn, Fault};
use bytes::Bytes;
use services_kernel::Cx;

/// A service that knows HTTP endpoints by ARN: where they are, how they are authorised, how often they may be called.
pub trait Endpoints: Send + Sync + 'static {
    /// Calls the endpoint once and answers the body of its answer. What its connection adds is added.
    ///
    /// # Errors
    /// See [`EndpointError`].
    fn call(
        &self,
        cx: &Cx,
        endpoint: &Arn,
        call: EndpointCall,
    ) -> impl Future<Output = Result<Bytes, EndpointError>> + Send;
}

/// What one call is made of, beside what endpoint and connection say.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct EndpointCall {
    /// The body; not sent with `GET` and `HEAD`.
    pub body: String,
    /// What takes the place of the endpoint's wildcards, in their order.
    pub path: Vec<String>,
    /// Headers.
    pub headers: Vec<(String, String)>,
    /// The query's names and values.
    pub query: Vec<(String, String)>,
    /// The greatest answer that is taken, in bytes; a larger one is a failure.
    pub answer_bytes_max: usize,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum EndpointError {
    /// There is no such endpoint, or its connection is gone.
    #[error("{0} does not exist")]
    NotFound(String),
    /// Who asks may not, or the connection is not authorised.
    #[error("{0}")]
    Denied(String),
    /// It did not answer, or not with success.
    #[error("{reason}")]
    Failed {
        /// The status that it answered.
        status: Option<u16>,
        /// What happened.
        reason: String,
    },
    /// The store failed, or the service.
    #[error(transparent)]
    Fault(#[from] Fault),
}
