//! The bounds of the scheduler, and the words for hitting one.

use std::time::Duration;

/// Every bound the scheduler keeps. All of them hold at every moment.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Invocations that may run (or wait for their environment) at once, per account and region: AWS's account
    /// concurrency limit.
    pub account_concurrency: u32,
    /// Memory that all environments together may be promised, MiB. An environment counts with the function's configured
    /// memory from the decision to start it until it is gone.
    pub memory_budget_mib: u64,
    /// Environments that may be starting at once. A start that takes longer than `start_slot_hold` no longer counts:
    /// it is presumed to wait for something (its own init code may call another function), not to use the processor.
    pub starts_concurrent: usize,
    /// How long a start holds its slot at most.
    pub start_slot_hold: Duration,
    /// Invocations of one function that may wait for an environment at once.
    pub waiters_per_function: usize,
    /// Invocations that may wait for an environment at once, all functions together.
    pub waiters_total: usize,
    /// How long an invocation may wait for an environment.
    pub wait_max: Duration,
    /// An idle environment is stopped after this time.
    pub idle_max: Duration,
    /// An environment is not used any more after this time: its credentials would expire.
    pub age_max: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            account_concurrency: 1000,
            memory_budget_mib: 4096,
            starts_concurrent: 4,
            start_slot_hold: Duration::from_millis(500),
            waiters_per_function: 1000,
            waiters_total: 4000,
            wait_max: Duration::from_secs(60),
            idle_max: Duration::from_secs(600),
            age_max: Duration::from_secs(6 * 3600),
        }
    }
}

/// Why an invocation was not admitted. AWS answers all of these with `TooManyRequestsException`, status 429.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, thiserror::Error)]
pub enum Throttle {
    /// The function's reserved concurrency is in use (or zero).
    #[error("the function's reserved concurrency is in use")]
    ReservedConcurrency,
    /// The account's unreserved concurrency is in use.
    #[error("the account's concurrency limit is reached")]
    AccountConcurrency,
    /// Too many invocations of this function wait for an environment, or one waited too long.
    #[error("too many invocations of the function wait for an execution environment")]
    FunctionBacklog,
    /// Too many invocations wait for an environment, whichever function.
    #[error("too many invocations wait for an execution environment")]
    TotalBacklog,
    /// The memory budget is held by running environments.
    #[error("the memory budget is held by running execution environments")]
    Memory,
}

impl Throttle {
    /// All of them, for tables.
    pub const ALL: [Self; 5] =
        [Self::ReservedConcurrency, Self::AccountConcurrency, Self::FunctionBacklog, Self::TotalBacklog, Self::Memory];

    /// The `Reason` member of `TooManyRequestsException` (Lambda's `ThrottleReason`).
    #[must_use]
    pub fn reason(self) -> &'static str {
        match self {
            Self::ReservedConcurrency => "ReservedFunctionConcurrentInvocationLimitExceeded",
            Self::AccountConcurrency | Self::Memory => "ConcurrentInvocationLimitExceeded",
            Self::FunctionBacklog => "FunctionInvocationRateLimitExceeded",
            Self::TotalBacklog => "CallerRateLimitExceeded",
        }
    }
}
