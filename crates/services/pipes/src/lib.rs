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
//! | `poller` | one pipe at work: lease, taking, the end of a batch |
//! | `stages` | what becomes of a batch: enrichment, target |
//! | `journal` | what a pipe writes to its log |
//! | `stream` | a stream as the source: how far a pipe is in it |
//! | `names` | ARNs |
//! | `tables` | the only file that knows keys |
//! | `tasks` | the reconciler: states, and a poller for each pipe that runs |
//!
//! # How a batch goes
//!
//! When the target takes deliveries and nothing has to be waited for, taking the messages, filtering, delivering and
//! deleting them are one transaction: a message is in the queue or with the target, never in both and never in neither.
//! With an enrichment, a function or API destination that is waited for, or a batching window, the messages are taken (and hidden) in one
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
mod journal;
mod names;
mod ops;
mod poller;
mod service;
mod stages;
mod stream;
mod tables;
mod target;
mod tasks;
mod template;

use std::sync::Arc;

use base_env::Env;
use services_kernel::PageTokens;
use services_ports::{Destinations, Endpoints, Invoke, LogSink, Queues, StreamSources};
use store_api::Store;
pub use tasks::PipesReconciler;

/// Whom pipes wait for.
pub trait Peers: Send + Sync + 'static {
    /// Who runs functions.
    type Functions: Invoke;
    /// Who calls API destinations.
    type Endpoints: Endpoints;
    /// Who takes what pipes log.
    type Logs: LogSink;

    /// See [`Peers::Functions`].
    fn functions(&self) -> &Self::Functions;
    /// See [`Peers::Endpoints`].
    fn endpoints(&self) -> &Self::Endpoints;
    /// See [`Peers::Logs`].
    fn logs(&self) -> &Self::Logs;
}

/// What the service is made of.
pub struct Parts<P> {
    /// Where everything is kept.
    pub store: Store,
    /// Seals the tokens of listings.
    pub tokens: PageTokens,
    /// Who takes deliveries.
    pub destinations: Destinations,
    /// Where messages come from.
    pub queues: Arc<dyn Queues>,
    /// Whose streams are read.
    pub streams: StreamSources,
    /// Whom pipes wait for.
    pub peers: Arc<P>,
}

/// The service. Cheap to clone; clones share everything.
pub struct Pipes<P> {
    store: Store,
    env: Env,
    tokens: PageTokens,
    destinations: Destinations,
    queues: Arc<dyn Queues>,
    streams: StreamSources,
    peers: Arc<P>,
}

impl<P> Clone for Pipes<P> {
    fn clone(&self) -> Self {
        Self {
            store: self.store.clone(),
            env: self.env.clone(),
            tokens: self.tokens.clone(),
            destinations: self.destinations.clone(),
            queues: Arc::clone(&self.queues),
            streams: self.streams.clone(),
            peers: Arc::clone(&self.peers),
        }
    }
}

impl<P: Peers> Pipes<P> {
    /// Of these parts.
    #[must_use]
    pub fn new(parts: Parts<P>) -> Self {
        let Parts { store, tokens, destinations, queues, streams, peers } = parts;
        let env = store.env().clone();
        Self { store, env, tokens, destinations, queues, streams, peers }
    }

    /// The background work, to be kept reconciling.
    #[must_use]
    pub fn reconciler(&self) -> PipesReconciler<P> {
        PipesReconciler::new(self.clone())
    }
}
