//! The bounds of the scheduler, and the words for hitting one.

use std::{fmt, sync::Arc, time::Duration};

use crate::keep_alive::{Expiry, Victims};

/// Every bound the scheduler keeps. All of them hold at every moment, except where one says otherwise.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Invocations that may run (or wait for their environment) at once, per account and region: AWS's account
    /// concurrency limit. `Scheduler::set_account_concurrency` changes it at run time.
    pub account_concurrency: u32,
    /// How many environments one function may begin to start on demand in a time (AWS Lambda, "Concurrency scaling rate":
    /// 1,000 every 10 seconds).
    pub scaling: Rate,
    /// Invocations a second for each unit of concurrency: ten at AWS (Lambda quotas, "Invocations per second"). None does
    /// not bound it.
    pub invocations_per_concurrency: Option<u32>,
    /// Memory that all environments together may take, MiB. What an environment counts with is in `core::memory`.
    pub memory_budget_mib: u64,
    /// How many times the budget the *configured* memory of all running environments may add up to: they count with what
    /// they are expected to need, which is usually far less.
    pub memory_overcommit: u32,
    /// Memory of the host that functions leave free, MiB; kept as far as stopping idle environments and refusing new ones
    /// can keep it. Only with a probe.
    pub memory_floor_mib: u64,
    /// Tells how much memory the host has left.
    pub memory_probe: Option<MemoryProbe>,
    /// Environments that may be starting at once. A start that takes longer than `start_slot_hold` no longer counts:
    /// it is presumed to wait for something (its own init code may call another function), not to use the processor.
    pub starts_concurrent: usize,
    /// How long a start holds its slot at most.
    pub start_slot_hold: Duration,
    /// Invocations of one function that may wait for an environment at once.
    pub waiters_per_function: usize,
    /// Invocations that may wait for an environment at once, all functions together. One function gets at most as many
    /// places as are still free, so `n` functions that take all they can leave the `n+1`th part to the next.
    pub waiters_total: usize,
    /// How long an invocation may wait for an environment.
    pub wait_max: Duration,
    /// How long idle environments are kept.
    pub expiry: Expiry,
    /// Which of them go first when memory is short.
    pub victims: Victims,
    /// An idle environment is stopped after this time: with [`Expiry::Fixed`], and while not enough is known of its
    /// version.
    pub idle_max: Duration,
    /// An environment is not used any more after this time: its credentials would expire. A provisioned one is replaced,
    /// and used for at most half as long again until its successor is ready.
    pub age_max: Duration,
    /// Versions without environments whose idle times are still known.
    pub versions_remembered: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            account_concurrency: 1000,
            scaling: Rate { count: 1000, per: Duration::from_secs(10) },
            invocations_per_concurrency: None,
            memory_budget_mib: 4096,
            memory_overcommit: 8,
            memory_floor_mib: 256,
            memory_probe: None,
            starts_concurrent: 4,
            start_slot_hold: Duration::from_millis(500),
            waiters_per_function: 1000,
            waiters_total: 4000,
            wait_max: Duration::from_secs(60),
            expiry: Expiry::Histogram,
            victims: Victims::GreedyDual,
            idle_max: Duration::from_secs(600),
            age_max: Duration::from_secs(6 * 3600),
            versions_remembered: 20_000,
        }
    }
}

/// So many in a time; as many at once, then evenly.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// How many.
    pub count: u32,
    /// In which time.
    pub per: Duration,
}

/// Reads how many bytes of memory the host could still give without swapping (`MemAvailable`, or what is left of the
/// server's control group if that is less); none when it cannot tell. Called about twice a second while functions run.
#[derive(Clone)]
pub struct MemoryProbe(Arc<dyn Fn() -> Option<u64> + Send + Sync>);

impl MemoryProbe {
    /// A probe that asks this.
    pub fn new(read: impl Fn() -> Option<u64> + Send + Sync + 'static) -> Self {
        Self(Arc::new(read))
    }

    /// Asks it.
    #[must_use]
    pub fn available_bytes(&self) -> Option<u64> {
        (self.0)()
    }
}

impl fmt::Debug for MemoryProbe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("MemoryProbe")
    }
}

/// Why an invocation was not admitted. AWS answers all of these with `TooManyRequestsException`, status 429.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, thiserror::Error)]
pub enum Throttle {
    /// The function's reserved concurrency is in use (or zero), the part set aside for provisioned concurrency included.
    #[error("the function's reserved concurrency is in use")]
    ReservedConcurrency,
    /// The account's unreserved concurrency is in use.
    #[error("the account's concurrency limit is reached")]
    AccountConcurrency,
    /// The function is called more often than its reserved concurrency permits.
    #[error("the function is called more often than its reserved concurrency permits")]
    ReservedRate,
    /// The functions of the account are called more often than its concurrency limit permits.
    #[error("the functions of the account are called more often than its concurrency limit permits")]
    AccountRate,
    /// The function got as many new environments as it may get in a time.
    #[error("the function's concurrency grows faster than the scaling rate permits")]
    ScalingRate,
    /// Too many invocations of this function wait for an environment, or one waited too long.
    #[error("too many invocations of the function wait for an execution environment")]
    FunctionBacklog,
    /// Too many invocations wait for an environment, whichever function.
    #[error("too many invocations wait for an execution environment")]
    TotalBacklog,
    /// The memory budget, or the function's fair share of it, is held by running environments.
    #[error("the memory budget is held by running execution environments")]
    Memory,
}

impl Throttle {
    /// All of them, for tables.
    pub const ALL: [Self; 8] = [
        Self::ReservedConcurrency,
        Self::AccountConcurrency,
        Self::ReservedRate,
        Self::AccountRate,
        Self::ScalingRate,
        Self::FunctionBacklog,
        Self::TotalBacklog,
        Self::Memory,
    ];

    /// The `Reason` member of `TooManyRequestsException` (Lambda's `ThrottleReason`).
    #[must_use]
    pub fn reason(self) -> &'static str {
        match self {
            Self::ReservedConcurrency => "ReservedFunctionConcurrentInvocationLimitExceeded",
            Self::AccountConcurrency | Self::Memory => "ConcurrentInvocationLimitExceeded",
            Self::ReservedRate => "ReservedFunctionInvocationRateLimitExceeded",
            Self::AccountRate | Self::ScalingRate | Self::FunctionBacklog => "FunctionInvocationRateLimitExceeded",
            Self::TotalBacklog => "CallerRateLimitExceeded",
        }
    }
}
