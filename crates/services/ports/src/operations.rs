//! Running an operation of any service by its name, as a public request would run it: decoded by its schema, validated,
//! authorised in the name of who asks, written into the audit trail.
//!
//! A schedule's universal target (`aws-sdk:sqs:sendMessage`) is such a call. What a *transactional* operation changes is
//! part of the caller's commit; a *flow* operation (one that waits or streams) runs outside of any transaction.

use std::future::Future;

use base_types::Fault;
use bytes::Bytes;
use services_kernel::Cx;
use store_api::Tx;

/// All operations of all services.
pub trait Operations: Send + Sync + 'static {
    /// What is known of an operation. `service` is the name that AWS's SDKs give it (`sqs`, `eventbridge`) or ours
    /// (`events`); the operation's first letter may be of either case.
    ///
    /// # Errors
    /// [`OperationError::NotServed`] and [`OperationError::Unknown`].
    fn find(&self, service: &str, operation: &str) -> Result<FoundOperation, OperationError>;

    /// Whether this input (a JSON document with AWS's member names) is one that the operation takes.
    ///
    /// # Errors
    /// As [`Operations::find`], and the service's own error about the input.
    fn check(&self, service: &str, operation: &str, input: &[u8]) -> Result<(), OperationError>;

    /// Runs a transactional operation as part of this transaction. After an error the transaction has to be given up: the
    /// operation may have written before it failed.
    ///
    /// # Errors
    /// See [`OperationError`].
    fn transact(&self, cx: &Cx, tx: &Tx, service: &str, operation: &str, input: &[u8]) -> Result<(), OperationError>;

    /// Runs an operation that waits, to its end.
    ///
    /// # Errors
    /// See [`OperationError`].
    fn flow(
        &self,
        cx: Cx,
        service: &str,
        operation: &str,
        input: Bytes,
    ) -> impl Future<Output = Result<(), OperationError>> + Send;
}

/// What is known of an operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FoundOperation {
    /// AWS's name, in the model's spelling: `SendMessage`.
    pub name: &'static str,
    /// Whether it runs in the caller's transaction.
    pub transactional: bool,
    /// Whether it changes nothing.
    pub read_only: bool,
}

/// Why an operation did not run, or failed.
#[derive(Debug, thiserror::Error)]
pub enum OperationError {
    /// There is no such service here.
    #[error("this version of Pileus has no service `{0}`")]
    NotServed(String),
    /// There is no such operation.
    #[error("the service `{service}` has no operation `{operation}`")]
    Unknown {
        /// The service.
        service: String,
        /// What was asked for.
        operation: String,
    },
    /// The service answered with an error of its own.
    #[error("{code}: {message}")]
    Failed {
        /// AWS's code.
        code: String,
        /// The service's text.
        message: String,
        /// Whether it may succeed later: a throttle, or a failure on the service's side.
        retryable: bool,
    },
    /// The store failed, or the service.
    #[error(transparent)]
    Fault(#[from] Fault),
}
