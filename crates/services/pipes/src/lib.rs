//! Amazon EventBridge Pipes: from a queue, through a filter and perhaps an enrichment, to a target.
//!
//! | file | what |
//! |---|---|
//! | `service` | the generated trait, one line per operation |
//! | `ops/*` | the operations: pipes, their states, tags |
//! | `definition` | what a pipe is defined by, checked, and as the poller needs it |
//! | `event` | a message as a pipe presents it; filters; pure |
//! | `template` | input templates and JSON paths; pure |
//! | `target` | what a target is and what it gets |
//! | `poller` | one pipe at work |
//! | `names` | ARNs |
//! | `tables` | the only file that knows keys |
//! | `tasks` | the reconciler: states, and a poller for each pipe that runs |
//!
//! # How a batch goes
//!
//! When the target takes deliveries and nothing has to be waited for, taking the messages, filtering, delivering and
//! deleting them are one transaction: a message is in the queue or with the target, never in both and never in neither.
//! With an enrichment, a function that is waited for, or a batching window, the messages are taken (and hidden) in one
//! transaction; delivering and deleting them is another. What fails stays in the queue and can be seen again when its
//! visibility ends, as on AWS; the queue's redrive policy decides how often.
//!
//! # Invariants
//! - A message is deleted only in the commit in which its delivery is made, or after the function has answered for it.
//! - A pipe's work is done under its lease: a poller that has lost it cannot commit.
//! - What a pipe does is done in the name of its role.

mod definition;
mod error;
mod event;
mod names;
mod ops;
mod poller;
mod service;
mod tables;
mod target;
mod tasks;
mod template;

use std::sync::Arc;

use base_env::Env;
use services_kernel::PageTokens;
use services_ports::{Destinations, Invoke, Queues};
use store_api::Store;
pub use tasks::PipesReconciler;

/// What the service is made of.
pub struct Parts<I> {
    /// Where everything is kept.
    pub store: Store,
    /// Seals the tokens of listings.
    pub tokens: PageTokens,
    /// Who takes deliveries.
    pub destinations: Destinations,
    /// Where messages come from.
    pub queues: Arc<dyn Queues>,
    /// Who runs functions.
    pub functions: Arc<I>,
}

/// The service. Cheap to clone; clones share everything.
pub struct Pipes<I> {
    store: Store,
    env: Env,
    tokens: PageTokens,
    destinations: Destinations,
    queues: Arc<dyn Queues>,
    functions: Arc<I>,
}

impl<I> Clone for Pipes<I> {
    fn clone(&self) -> Self {
        Self {
            store: self.store.clone(),
            env: self.env.clone(),
            tokens: self.tokens.clone(),
            destinations: self.destinations.clone(),
            queues: Arc::clone(&self.queues),
            functions: Arc::clone(&self.functions),
        }
    }
}

impl<I: Invoke> Pipes<I> {
    /// Of these parts.
    #[must_use]
    pub fn new(parts: Parts<I>) -> Self {
        let Parts { store, tokens, destinations, queues, functions } = parts;
        let env = store.env().clone();
        Self { store, env, tokens, destinations, queues, functions }
    }

    /// The background work, to be kept reconciling.
    #[must_use]
    pub fn reconciler(&self) -> PipesReconciler<I> {
        PipesReconciler::new(self.clone())
    }
}
