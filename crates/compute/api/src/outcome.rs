//! How an invocation ended, and what it took. AWS's words for it are the Lambda service's business; the error type and
//! payload that a runtime itself reported are passed on as they came.

use std::{fmt, time::Duration};

use bytes::Bytes;

/// The end of one invocation.
#[derive(Clone, Debug)]
pub struct Completion {
    /// What came of it.
    pub outcome: Outcome,
    /// What it took.
    pub figures: Figures,
    /// The last lines that the function wrote during this invocation (and, for the first one, its initialisation), at most
    /// 4 KiB. Platform lines are not among them.
    pub log_tail: Bytes,
}

/// What came of an invocation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The function's response.
    Success {
        /// The response's bytes. JSON when the runtime is one of ours; a custom runtime may send anything.
        payload: Bytes,
    },
    /// The function streamed its response into the sink of its invocation.
    Streamed {
        /// How many bytes.
        bytes: u64,
        /// The error with which the stream broke off, if it did (AWS: the error trailers, `InvokeComplete`'s `ErrorCode`).
        error: Option<StreamError>,
    },
    /// The runtime reported an error of the function (AWS: `FunctionError: Unhandled`).
    FunctionError {
        /// `Lambda-Runtime-Function-Error-Type`, such as `Runtime.UnmarshalError` or `ValueError`; empty when not given.
        error_type: String,
        /// The error document that the runtime sent: JSON with `errorMessage`, `errorType`, `stackTrace`.
        payload: Bytes,
    },
    /// The function did not answer within its timeout; it was killed.
    Timeout,
    /// The function's process ended without an answer.
    Exited(Exit),
    /// The kernel killed the function at its memory limit.
    OutOfMemory,
    /// The response exceeded [`crate::PAYLOAD_BYTES_MAX`] by more than [`crate::RESPONSE_SLACK_BYTES`]. The environment
    /// stays alive.
    ResponseTooLarge {
        /// Its size in bytes as declared or as far as it was read.
        size: u64,
        /// The limit in bytes.
        limit: u64,
    },
    /// The host lost the environment for a reason that is not the function's (a dropped invocation before, a shutdown).
    Lost {
        /// A lower-case fragment that completes "the environment was lost: …".
        reason: String,
    },
}

/// An error in the middle of a streamed response.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StreamError {
    /// `Lambda-Runtime-Function-Error-Type`.
    pub error_type: String,
    /// The error document that the runtime sent; JSON when the runtime is one of ours.
    pub payload: Bytes,
}

/// What the process of an environment was made from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Origin {
    /// An interpreter (or the function's own program) started for it.
    #[default]
    Fresh,
    /// A fork of a prepared runtime, made for it.
    Forked,
    /// A runtime that waited behind its walls.
    Pooled,
    /// A fork of this version's initialised process (SnapStart).
    Restored,
}

impl Origin {
    /// One lower-case word.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Fresh => "fresh",
            Self::Forked => "forked",
            Self::Pooled => "pooled",
            Self::Restored => "restored",
        }
    }
}

/// Whether an invocation waited for a new environment, and why there was none for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Start {
    /// It got an environment that was there.
    Warm,
    /// It waited for a new one.
    Cold(ColdReason),
}

/// Why no idle environment was there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ColdReason {
    /// This version's first invocation since the server started, or since its code or configuration changed.
    First,
    /// All environments were busy.
    Busy,
    /// The last ones had been unused for too long.
    Expired,
    /// The last ones had made room for others.
    Evicted,
    /// The last one had ended by itself: a timeout, an exit, out of memory.
    Ended,
}

impl Start {
    /// Lower-case words: `warm`, `cold: first`, `cold: all busy`, …
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Warm => "warm",
            Self::Cold(ColdReason::First) => "cold: first",
            Self::Cold(ColdReason::Busy) => "cold: all busy",
            Self::Cold(ColdReason::Expired) => "cold: expired",
            Self::Cold(ColdReason::Evicted) => "cold: evicted",
            Self::Cold(ColdReason::Ended) => "cold: ended",
        }
    }
}

/// How a process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// With a status, 0 included.
    Status(i32),
    /// By a signal's number.
    Signal(i32),
    /// By the kernel, at the memory limit.
    OutOfMemory,
}

impl fmt::Display for Exit {
    /// The words of AWS's `Runtime exited with error: …`, e.g. `exit status 1` and `signal: killed`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Status(status) => write!(f, "exit status {status}"),
            Self::Signal(signal) => match signal_name(*signal) {
                Some(name) => write!(f, "signal: {name}"),
                None => write!(f, "signal: signal {signal}"),
            },
            Self::OutOfMemory => f.write_str("signal: killed"),
        }
    }
}

/// The names that AWS's (Go's) messages use.
fn signal_name(signal: i32) -> Option<&'static str> {
    Some(match signal {
        1 => "hangup",
        2 => "interrupt",
        3 => "quit",
        4 => "illegal instruction",
        5 => "trace/breakpoint trap",
        6 => "aborted",
        7 => "bus error",
        8 => "floating point exception",
        9 => "killed",
        11 => "segmentation fault",
        13 => "broken pipe",
        14 => "alarm clock",
        15 => "terminated",
        31 => "bad system call",
        _ => return None,
    })
}

/// What an invocation took, measured and never estimated.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Figures {
    /// From handing over the event to the answer.
    pub duration: Duration,
    /// The initialisation that this environment needed, on its first invocation only.
    pub init_duration: Option<Duration>,
    /// The restoring of a snapshot that this environment needed (hooks included), on its first invocation only; then
    /// `init_duration` is none.
    pub restore_duration: Option<Duration>,
    /// The environment's peak memory so far, in bytes; zero when the host cannot measure it.
    pub memory_bytes_max: u64,
    /// Processor time used during the invocation by all its processes; zero when the host cannot measure it.
    pub cpu: Duration,
}

impl Figures {
    /// What AWS bills: duration and initialisation or restoring together, rounded up to the millisecond.
    #[must_use]
    pub fn billed_millis(&self) -> u64 {
        let total = self.duration + self.init_duration.unwrap_or_default() + self.restore_duration.unwrap_or_default();
        u64::try_from(total.as_nanos().div_ceil(1_000_000)).unwrap_or(u64::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_exit_reads_as_aws_writes_it() {
        for (exit, text) in [
            (Exit::Status(0), "exit status 0"),
            (Exit::Status(3), "exit status 3"),
            (Exit::Signal(9), "signal: killed"),
            (Exit::Signal(11), "signal: segmentation fault"),
            (Exit::Signal(40), "signal: signal 40"),
            (Exit::OutOfMemory, "signal: killed"),
        ] {
            assert_eq!(exit.to_string(), text);
        }
    }

    #[test]
    fn billing_rounds_up_and_counts_the_initialisation() {
        let figures = |duration, init: Option<u64>| Figures {
            duration: Duration::from_micros(duration),
            init_duration: init.map(Duration::from_micros),
            ..Figures::default()
        };
        assert_eq!(figures(1, None).billed_millis(), 1);
        assert_eq!(figures(1000, None).billed_millis(), 1);
        assert_eq!(figures(1001, Some(84_500)).billed_millis(), 86);
    }
}
