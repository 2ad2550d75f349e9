//! What invocations took, for whoever counts it.
//!
//! Recording costs no commit and no wait: the meter keeps sums in memory and writes them in batches. What was recorded may
//! be lost only in a crash, and then at most its last second.

use std::{sync::Arc, time::Duration};

use base_types::{AccountId, Region, Timestamp};
use compute_api::{IsolationLevel, Origin, Start};

/// Counts invocations.
pub trait Meter: Send + Sync + 'static {
    /// Adds an invocation that came to its end, whatever it was.
    fn invocation(&self, record: &InvocationRecord);

    /// Adds an invocation that was refused. `reason` is AWS's word (`ReservedFunctionConcurrentInvocationLimitExceeded`).
    fn throttle(&self, function: &MeteredFunction, at: Timestamp, reason: &'static str);
}

/// Whose figures they are.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct MeteredFunction {
    /// The function's account.
    pub account: AccountId,
    /// Its region.
    pub region: Region,
    /// Its name.
    pub name: Arc<str>,
}

/// How an invocation ended, as far as it is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Ending {
    /// The function answered.
    Success,
    /// It reported an error, exited, or its initialisation failed.
    Error,
    /// It did not answer in time.
    Timeout,
    /// It was killed at its memory limit.
    OutOfMemory,
}

/// One invocation, measured and never estimated.
#[derive(Clone, Debug)]
pub struct InvocationRecord {
    /// Whose.
    pub function: MeteredFunction,
    /// `$LATEST` or a number.
    pub version: Arc<str>,
    /// The request's identifier.
    pub request_id: Arc<str>,
    /// When it was given to its environment.
    pub at: Timestamp,
    /// How it ended.
    pub ending: Ending,
    /// From its admission until it was given to an environment, a start included.
    pub queued: Duration,
    /// The initialisation (or the restoring of a snapshot) that it waited for.
    pub init: Option<Duration>,
    /// From handing over the event to the answer.
    pub duration: Duration,
    /// What AWS would bill, in milliseconds.
    pub billed_millis: u64,
    /// Processor time.
    pub cpu: Duration,
    /// The configured memory, MiB.
    pub memory_mib: u32,
    /// The configured size of `/tmp`, MiB.
    pub tmp_mib: u32,
    /// The environment's peak so far, bytes.
    pub memory_bytes_max: u64,
    /// The event's size.
    pub bytes_in: u64,
    /// The response's size.
    pub bytes_out: u64,
    /// Cold or warm, and why.
    pub start: Start,
    /// What its environment was made from.
    pub origin: Origin,
    /// The walls around it.
    pub isolation: IsolationLevel,
    /// Whether it came from the queue of asynchronous invocations.
    pub asynchronous: bool,
    /// Whether its environment was provisioned ahead.
    pub provisioned: bool,
}
