//! What a function host offers, and the data that passes between it and those who use it.
//!
//! - [`FunctionHost`] starts execution environments from an [`EnvironmentSpec`]; [`Environment`] runs one [`Invocation`]
//!   at a time and answers a [`Completion`]. Both are used through generics, never as trait objects.
//! - [`output`]: the bounded channel on which the lines of a function and of the platform arrive, told apart by a type
//!   that a function cannot set.
//! - [`endpoint`]: connections that a function opened to the AWS endpoint inside its own network namespace, handed out
//!   with the identity of the environment they came from.
//! - [`IsolationReport`], [`HostReport`], [`RuntimeListing`]: what the host gives, as data.
//!
//! Absent here on purpose: how an environment is made, AWS's wording of errors and log lines (the Lambda service's), HTTP.

pub mod endpoint;
pub mod output;
pub mod stream;

mod cidr;
mod error;
mod host;
mod isolation;
mod outcome;
mod runtime;
mod spec;

pub use cidr::{Cidr, CidrError};
pub use endpoint::{EndpointConnection, EndpointConnections, EndpointSender};
pub use error::{InitFailure, InitOutcome, StartError};
pub use host::{Environment, EnvironmentId, FunctionHost};
pub use isolation::{Finding, FindingState, HostReport, IsolationLevel, IsolationReport, Wall, WallState};
pub use outcome::{ColdReason, Completion, Exit, Figures, Origin, Outcome, Start, StreamError};
pub use output::{OutputKind, OutputLine, OutputLines, OutputSink};
pub use runtime::{InstalledRuntime, Language, RuntimeListing, SUPPORTED_RUNTIMES};
pub use spec::{
    Credentials, Deployed, Egress, EnvironmentSpec, InitializationType, Invocation, LogFormat, Logging, SeccompProfile,
    StartPolicy,
};
pub use stream::{ResponseSink, ResponseStream, STREAMED_BYTES_MAX, StreamPiece};

/// The greatest request and buffered response payload, in bytes (AWS Lambda quotas, "Invocation payload": 6 MB).
pub const PAYLOAD_BYTES_MAX: usize = 6 * 1024 * 1024;
/// What a response may exceed [`PAYLOAD_BYTES_MAX`] by before it is refused, in bytes: AWS's error names 6291556.
pub const RESPONSE_SLACK_BYTES: usize = 100;
/// How long the initialisation of an on-demand environment may take (AWS Lambda, "Init phase": 10 seconds).
pub const INIT_TIMEOUT: std::time::Duration = std::time::Duration::from_secs(10);
/// How long restoring an environment from a snapshot may take, after-restore hooks included (AWS Lambda, "Restore phase":
/// 10 seconds).
pub const RESTORE_TIMEOUT: std::time::Duration = std::time::Duration::from_secs(10);
