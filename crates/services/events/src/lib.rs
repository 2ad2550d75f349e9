//! Amazon EventBridge: event buses, rules and targets, archives and replays, connections and API destinations.
//!
//! | file | what |
//! |---|---|
//! | `service` | the generated trait, one line per operation |
//! | `ops/*` | the operations: buses, permissions, rules, targets, events, archives, replays, connections, destinations, tags |
//! | `names` | names and ARNs |
//! | `event` | an event: its text, its document, its size |
//! | `path`, `transform` | what of an event a target gets: input paths and input transformers |
//! | `index` | the rules of a bus, compiled: which of them an event matches |
//! | `publish` | from an event on a bus to its archives and targets, within the transaction |
//! | `letters` | dead letters: AWS's attributes and codes |
//! | `delivery` | buses as targets of other services |
//! | `chunks` | what is beyond a transaction: durable intents, expanded piece by piece |
//! | `schedules` | rules that fire by the clock |
//! | `archives`, `replays` | kept events, and their coming back |
//! | `calls/*` | API destinations: durable intents, authorisation, requests, retries |
//! | `seal` | secrets at rest |
//! | `tables` | the only file that knows keys |
//!
//! # From an event to its targets
//!
//! PutEvents reads the edition of a bus's rules, asks the compiled rules of that edition which of them match, and hands the
//! event to each of their targets, all in the transaction that accepts the event. What is beyond the bounds of a
//! transaction (256 targets, 4 MiB) is a durable intent of that transaction, expanded afterwards in transactions of its own.
//! A call to an API destination is always an intent: nothing leaves Pileus inside a transaction.
//!
//! # Invariants
//! - An accepted event is with every target that matched, or on its way in an intent, or in a dead-letter queue, or the
//!   server's log says why not: in the commit that accepts it.
//! - Which rules match is decided by the rules as the transaction reads them: the compiled ones are used only when they are
//!   of the edition that it reads.
//! - A rule fires once for each time that it is due while the server runs, and once for all those that passed while it did
//!   not.
//! - No answer and no log line holds a connection's secrets; at rest they are sealed under a key of the installation.

mod archives;
mod calls;
mod chunks;
mod delivery;
mod error;
mod event;
mod index;
mod letters;
mod names;
mod ops;
mod path;
mod publish;
mod replays;
mod schedules;
mod seal;
mod service;
mod tables;
mod transform;

use std::sync::Arc;

use base_env::Env;
pub use calls::{ApiCalls, ApiDestinations};
pub use chunks::ChunkReconciler;
use services_kernel::PageTokens;
use services_ports::{Destinations, Outbound};
use store_api::Store;

pub use crate::{archives::ArchiveReconciler, replays::ReplayReconciler, schedules::ScheduleReconciler};

/// What the service is made of.
pub struct Parts {
    /// Where everything is.
    pub store: Store,
    /// Seals the places where listings go on.
    pub page_tokens: PageTokens,
    /// Who takes deliveries.
    pub destinations: Destinations,
    /// The key that connections' secrets are sealed under.
    pub sealing_key: [u8; 32],
}

/// The service. Cheap to clone; clones share everything.
#[derive(Clone)]
pub struct EventBridge {
    store: Store,
    env: Env,
    page_tokens: PageTokens,
    destinations: Destinations,
    seal: seal::Seal,
    index: Arc<index::Index>,
    told: Arc<letters::Told>,
}

impl EventBridge {
    /// Of these parts.
    #[must_use]
    pub fn new(parts: Parts) -> Self {
        let env = parts.store.env().clone();
        Self {
            seal: seal::Seal::new(&parts.sealing_key, env.clone()),
            store: parts.store,
            env,
            page_tokens: parts.page_tokens,
            destinations: parts.destinations,
            index: Arc::default(),
            told: Arc::default(),
        }
    }

    /// Fires the rules that are due, to be kept reconciling.
    #[must_use]
    pub fn schedules(&self) -> ScheduleReconciler {
        ScheduleReconciler::new(self.clone())
    }

    /// Expands what was beyond a transaction, to be kept reconciling.
    #[must_use]
    pub fn chunks(&self) -> ChunkReconciler {
        ChunkReconciler::new(self.clone())
    }

    /// Forgets what archives need not keep, to be kept reconciling.
    #[must_use]
    pub fn archives(&self) -> ArchiveReconciler {
        ArchiveReconciler::new(self.clone())
    }

    /// Replays, to be kept reconciling.
    #[must_use]
    pub fn replays(&self) -> ReplayReconciler {
        ReplayReconciler::new(self.clone())
    }

    /// Calls API destinations, to be kept reconciling.
    #[must_use]
    pub fn calls<O: Outbound>(&self, outbound: O) -> ApiCalls<O> {
        ApiCalls::new(self.clone(), outbound)
    }
}
