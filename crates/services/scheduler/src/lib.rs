//! Amazon EventBridge Scheduler: schedules in groups, and what they start.
//!
//! | file | what |
//! |---|---|
//! | `service` | the generated trait, one line per operation |
//! | `ops/*` | the operations: groups, schedules, tags |
//! | `plan` | when a schedule is due: expression, zone, start, end, flexible window; pure |
//! | `target` | what a target is and what is sent to it; pure |
//! | `firing` | a schedule comes due: it is delivered, or an execution is filed |
//! | `execution` | what could not be delivered within its firing: operations, retries, dead letters |
//! | `names` | names and ARNs |
//! | `tables` | the only file that knows keys |
//! | `tasks` | the reconciler: what is due, what runs, groups that are being deleted |
//!
//! # A firing
//!
//! A schedule is filed once in one index, by the time at which it is due; the reconciler sleeps until the first. What is
//! due fires in batches, a transaction each: the target's delivery, and filing the schedule for its next time, are one
//! commit. A universal target is an operation of another service: its firing files an *execution*, which then runs in
//! a transaction of its own together with the operation, so that one that fails can be rolled back and tried again. An
//! operation that waits runs outside of any transaction and may, after a crash, run twice.
//!
//! # Invariants
//! - A schedule is filed at most once, and the filed time is the one that its record of filing names.
//! - A firing with a transactional target happens exactly once, whatever ends the server; none is lost.
//! - What came due while the server was down fires once: the last time that was missed, in place of all of them.
//! - An execution is there until its operation has succeeded, or its dead letter is written, in the same commit.

mod error;
mod execution;
mod firing;
mod names;
mod ops;
mod plan;
mod service;
mod tables;
mod target;
mod tasks;

use std::sync::Arc;

use base_env::Env;
use services_kernel::PageTokens;
use services_ports::{Destinations, Operations};
use store_api::Store;
pub use tasks::SchedulerReconciler;

/// What the service is made of.
pub struct Parts<O> {
    /// Where everything is kept.
    pub store: Store,
    /// Seals the tokens of listings.
    pub tokens: PageTokens,
    /// Who takes deliveries.
    pub destinations: Destinations,
    /// Who runs operations for universal targets.
    pub operations: O,
}

/// The service. Cheap to clone; clones share everything.
pub struct Scheduler<O> {
    store: Store,
    env: Env,
    tokens: PageTokens,
    destinations: Destinations,
    operations: Arc<O>,
}

impl<O> Clone for Scheduler<O> {
    fn clone(&self) -> Self {
        Self {
            store: self.store.clone(),
            env: self.env.clone(),
            tokens: self.tokens.clone(),
            destinations: self.destinations.clone(),
            operations: Arc::clone(&self.operations),
        }
    }
}

impl<O: Operations> Scheduler<O> {
    /// Of these parts.
    #[must_use]
    pub fn new(parts: Parts<O>) -> Self {
        let Parts { store, tokens, destinations, operations } = parts;
        let env = store.env().clone();
        Self { store, env, tokens, destinations, operations: Arc::new(operations) }
    }

    /// The background work, to be kept reconciling.
    #[must_use]
    pub fn reconciler(&self) -> SchedulerReconciler<O> {
        SchedulerReconciler::new(self.clone())
    }
}
