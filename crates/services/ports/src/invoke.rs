//! Invoking a function and waiting for its answer (a pipe's enrichment or target). An event invocation, which waits for
//! nothing, is a delivery: see [`crate::Deliver`].

use std::future::Future;

use base_types::{Arn, Fault};
use bytes::Bytes;
use services_kernel::Cx;

/// A service that runs functions.
pub trait Invoke: Send + Sync + 'static {
    /// Runs the function that the ARN names (with its version or alias) and answers what it answered.
    ///
    /// # Errors
    /// See [`InvokeError`].
    fn invoke(
        &self,
        cx: &Cx,
        function: &Arn,
        payload: Bytes,
    ) -> impl Future<Output = Result<Invoked, InvokeError>> + Send;
}

/// A function's answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Invoked {
    /// Its payload; the error document when it failed.
    pub payload: Bytes,
    /// `Unhandled` when the function failed.
    pub function_error: Option<String>,
}

/// Why a function was not run.
#[derive(Debug, thiserror::Error)]
pub enum InvokeError {
    /// There is none.
    #[error("{0} does not exist")]
    NotFound(String),
    /// Who asks may not.
    #[error("{0}")]
    Denied(String),
    /// A limit is reached; it may be tried again.
    #[error("{0}")]
    Throttled(String),
    /// It cannot be: the payload is too large, the function's state forbids it. The text is the service's own.
    #[error("{0}")]
    Refused(String),
    /// The store failed, or the host of functions.
    #[error(transparent)]
    Fault(#[from] Fault),
}
