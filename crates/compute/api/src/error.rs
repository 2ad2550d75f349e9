//! Why an environment could not be started.

use base_types::Fault;
use bytes::Bytes;

use crate::{Exit, Figures, IsolationLevel};

/// Why an environment could not be started.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The host has no interpreter for a runtime that Pileus knows.
    #[error(
        "runtime `{runtime}` is not installed on this host; installed are: {}. Install its interpreter (for example \
         `{how}`) and start Pileus again; `pileus runtimes` lists what was found",
        available.join(", ")
    )]
    RuntimeMissing {
        /// The identifier asked for.
        runtime: String,
        /// The identifiers that can be run here.
        available: Vec<String>,
        /// A command that would add it.
        how: String,
    },
    /// Pileus does not run this runtime at all.
    #[error("runtime `{runtime}` is not supported; supported and installed are: {}", available.join(", "))]
    RuntimeUnsupported {
        /// The identifier asked for.
        runtime: String,
        /// The identifiers that can be run here.
        available: Vec<String>,
    },
    /// The host cannot give the isolation that the function demands.
    #[error("this host offers isolation `{offered}`, the function demands `{demanded}`: {reason}")]
    Isolation {
        /// The least level that would do.
        demanded: IsolationLevel,
        /// What the host gives.
        offered: IsolationLevel,
        /// The walls that are missing.
        reason: String,
    },
    /// The specification asks for something that this host does not do.
    #[error("{what} is not supported by this host")]
    Unsupported {
        /// What was asked for.
        what: String,
    },
    /// There can be no snapshot of this function's initialised process; it is initialised ordinarily.
    #[error("the function cannot be restored from a snapshot: {reason}")]
    NoSnapshot {
        /// A lower-case fragment: `its initialisation started 2 threads`.
        reason: String,
    },
    /// A bound of the host was hit: environments, host uids, disk, processes.
    #[error("the host's limit of {limit} {what} is reached")]
    HostLimit {
        /// What there are too many of.
        what: &'static str,
        /// The limit.
        limit: u64,
    },
    /// The function's own initialisation failed.
    #[error("the function's initialisation failed")]
    Init(Box<InitFailure>),
    /// The host failed.
    #[error("the host failed to start an environment")]
    Host(#[source] Fault),
}

impl From<Fault> for StartError {
    fn from(fault: Fault) -> Self {
        Self::Host(fault)
    }
}

/// A failed initialisation: the answer to the invocation that caused it.
#[derive(Clone, Debug)]
pub struct InitFailure {
    /// How it failed.
    pub outcome: InitOutcome,
    /// What it took; `init_duration` is set, `duration` is zero.
    pub figures: Figures,
    /// The last 4 KiB of what the function wrote.
    pub log_tail: Bytes,
}

/// How an initialisation failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum InitOutcome {
    /// The runtime reported it (`/init/error`).
    Error {
        /// The error type, e.g. `Runtime.ImportModuleError`.
        error_type: String,
        /// The error document, JSON.
        payload: Bytes,
    },
    /// It took longer than [`crate::EnvironmentSpec::init_timeout`].
    Timeout,
    /// The process ended before it asked for an event.
    Exited(Exit),
    /// The runtime's entry point could not be executed (AWS: `Runtime.InvalidEntrypoint`).
    InvalidEntrypoint {
        /// What the kernel said.
        reason: String,
    },
}
