//! What an environment is made from and what it is asked to do. Plain data; validated by the Lambda service that fills it.

use std::{collections::BTreeMap, fmt, path::PathBuf, sync::Arc, time::Duration};

use base_types::{AccountId, Region};
use bytes::Bytes;

use crate::{Cidr, IsolationLevel, OutputSink, ResponseSink};

/// Everything that one execution environment depends on.
#[derive(Clone, Debug)]
pub struct EnvironmentSpec {
    /// The function's account.
    pub account: AccountId,
    /// The function's region.
    pub region: Region,
    /// `AWS_LAMBDA_FUNCTION_NAME`.
    pub function_name: String,
    /// The function's ARN with its version, or without for `$LATEST`; an identity for the endpoint, not what callers named.
    pub function_arn: String,
    /// The ARN of the execution role whose credentials are below.
    pub role_arn: String,
    /// `$LATEST` or a number.
    pub version: String,
    /// AWS's identifier: `python3.11`, `nodejs20.x`, `provided.al2023`.
    pub runtime: String,
    /// `_HANDLER`.
    pub handler: String,
    /// The hard memory limit, in MiB.
    pub memory_mib: u32,
    /// The hard quota of `/tmp`, in MiB.
    pub tmp_mib: u32,
    /// How long one invocation may take.
    pub timeout: Duration,
    /// How long the initialisation may take: [`crate::INIT_TIMEOUT`] for environments started on demand.
    pub init_timeout: Duration,
    /// The function's own environment variables.
    pub variables: BTreeMap<String, String>,
    /// The folder that the function sees, read-only, as `/var/task`.
    pub code: PathBuf,
    /// Folders merged, later over earlier, into `/opt`.
    pub layers: Vec<PathBuf>,
    /// Where its output goes and in which form.
    pub logging: Logging,
    /// The role's short-lived credentials.
    pub credentials: Credentials,
    /// What the function may connect to beside the platform.
    pub egress: Egress,
    /// With [`Egress::Internet`]: what it may reach although it is no public address. An address of the host itself and the
    /// metadata service of a cloud must be named one by one; a wider range does not open them.
    pub egress_allow: Vec<Cidr>,
    /// `AWS_LAMBDA_INITIALIZATION_TYPE`.
    pub initialization: InitializationType,
    /// Whether its process may be a fork of a prepared runtime.
    pub start: StartPolicy,
    /// SnapStart: names the initialised process of this version that environments are forks of. Two specifications with
    /// the same name have the same code, layers and configuration.
    pub snapshot: Option<Arc<str>>,
    /// The least isolation under which it may run; a host that gives less refuses.
    pub isolation_min: IsolationLevel,
    /// Which system calls it may make.
    pub seccomp: SeccompProfile,
    /// Where its lines go.
    pub output: OutputSink,
}

/// A function that was deployed and may be called soon: as much of it as decides what can be prepared ahead.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Deployed {
    /// The function's account.
    pub account: AccountId,
    /// AWS's identifier: `python3.11`, `nodejs20.x`, `provided.al2023`.
    pub runtime: String,
    /// Its memory, in MiB.
    pub memory_mib: u32,
    /// Its `/tmp`, in MiB.
    pub tmp_mib: u32,
    /// The names of its own environment variables.
    pub variables: Vec<String>,
}

/// Where a function's output goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Logging {
    /// `AWS_LAMBDA_LOG_GROUP_NAME`.
    pub group: String,
    /// `AWS_LAMBDA_LOG_STREAM_NAME`.
    pub stream: String,
    /// `AWS_LAMBDA_LOG_FORMAT`.
    pub format: LogFormat,
    /// `AWS_LAMBDA_LOG_LEVEL` (JSON format only): `TRACE`, `DEBUG`, `INFO`, `WARN`, `ERROR`, `FATAL`.
    pub application_level: Option<String>,
    /// AWS's `SystemLogLevel` (JSON format only): which records of the platform are written. `DEBUG`, `INFO`, `WARN`.
    pub system_level: Option<String>,
}

/// AWS's `LogFormat`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LogFormat {
    /// Lines as the function writes them.
    #[default]
    Text,
    /// One JSON object a record.
    Json,
}

impl LogFormat {
    /// AWS's word.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Text => "Text",
            Self::Json => "JSON",
        }
    }
}

/// A role's short-lived credentials, as the function finds them in its environment variables.
#[derive(Clone, PartialEq, Eq)]
pub struct Credentials {
    /// `AWS_ACCESS_KEY_ID`.
    pub access_key_id: String,
    /// `AWS_SECRET_ACCESS_KEY`.
    pub secret_access_key: String,
    /// `AWS_SESSION_TOKEN`.
    pub session_token: String,
}

impl fmt::Debug for Credentials {
    /// Without the secret and the token.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials").field("access_key_id", &self.access_key_id).finish_non_exhaustive()
    }
}

/// What a function may reach beside the Runtime API and the AWS endpoint.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Egress {
    /// Nothing: its network namespace has no route.
    #[default]
    None,
    /// TCP to public addresses and those of `egress_allow`, and a resolver. A host that cannot do it refuses to start the
    /// environment.
    Internet,
    /// The same where the host can do it, else nothing: for functions that do not say.
    Offered,
}

/// Why an environment was started.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum InitializationType {
    /// For an invocation that found no idle one.
    #[default]
    OnDemand,
    /// Kept ready ahead of invocations.
    ProvisionedConcurrency,
    /// Initialised once for all environments of a published version.
    SnapStart,
}

impl InitializationType {
    /// AWS's word.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::OnDemand => "on-demand",
            Self::ProvisionedConcurrency => "provisioned-concurrency",
            Self::SnapStart => "snap-start",
        }
    }
}

/// What an environment's process may be made from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum StartPolicy {
    /// A fork of a prepared runtime or a runtime that was booted ahead of need: the fastest. Forks of one runtime have the
    /// same address layout and hash seed.
    #[default]
    Prepared,
    /// A process of its own from its first instruction.
    Fresh,
}

/// A set of permitted system calls.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SeccompProfile {
    /// What ordinary language runtimes use. Everything else answers `ENOSYS`, the known dangerous ones `EPERM`.
    #[default]
    Default,
}

/// One event for a function.
#[derive(Clone, Debug)]
pub struct Invocation {
    /// The request id that the function sees and its log lines carry.
    pub request_id: String,
    /// The event, at most [`crate::PAYLOAD_BYTES_MAX`] bytes.
    pub payload: Bytes,
    /// The ARN that the caller named, with its qualifier if there was one.
    pub invoked_function_arn: String,
    /// `X-Amzn-Trace-Id`, handed on as `_X_AMZN_TRACE_ID`.
    pub trace_id: Option<String>,
    /// The caller's client context: JSON, already decoded from base64.
    pub client_context: Option<String>,
    /// The Cognito identity, as JSON.
    pub cognito_identity: Option<String>,
    /// Where a response goes that the function streams; without it (and for a function that does not stream) the response
    /// comes whole in the completion.
    pub response: Option<ResponseSink>,
}
