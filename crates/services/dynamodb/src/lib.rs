//! Amazon DynamoDB: tables, items, indexes, queries, transactions.
//!
//! | file | what |
//! |---|---|
//! | `service` | the generated trait, one line per operation |
//! | `ops/*` | the operations: tables and their settings, items, queries and scans, batches, transactions |
//! | `table` | what a table is: keys, indexes, settings |
//! | `target` | the table that a request names, if the caller may |
//! | `convert` | attribute values between the wire and the language |
//! | `parameters` | expressions and the older parameters of a request |
//! | `change` | a change of one item: checked, then carried out |
//! | `write` | the one way in which an item changes |
//! | `streams/*` | DynamoDB Streams: what changed, for a day |
//! | `copies`, `recovery`, `restore` | copies of tables as of one commit, point-in-time recovery, and what becomes of both |
//! | `capacity` | capacity units and item collections |
//! | `tables` | the only file that knows keys |
//! | `tasks` | the reconciler: filling indexes, expiry, space of what was deleted |
//!
//! The languages (numbers, conditions, updates, projections) are `lang-dynamodb`.
//!
//! # Invariants
//! - An item, its entries in indexes, the counts and its stream record change in one commit: an index never disagrees with
//!   its items, not even for a moment.
//! - What is read belongs to one durable state; so every read is as current as AWS's consistent one.
//! - Transactions are serialisable: each is one transaction of the store.
//! - A table that is made again has another identity: what was before cannot be reached from that commit on, and its space
//!   is freed in the background.

mod capacity;
mod change;
mod convert;
mod copies;
mod error;
mod ops;
mod parameters;
mod recovery;
mod restore;
mod service;
mod streams;
mod table;
mod tables;
mod target;
mod tasks;
mod write;

use base_env::Env;
use store_api::Store;
pub use streams::{DynamoDbStreams, StreamReconciler};
pub use tasks::DynamoDbReconciler;

/// The service. Cheap to clone; clones share everything.
#[derive(Clone)]
pub struct DynamoDb {
    store: Store,
    env: Env,
}

impl DynamoDb {
    /// Over this store.
    #[must_use]
    pub fn new(store: Store) -> Self {
        let env = store.env().clone();
        Self { store, env }
    }

    /// The background work, to be kept reconciling.
    #[must_use]
    pub fn reconciler(&self) -> DynamoDbReconciler {
        DynamoDbReconciler::new(self.store.clone())
    }
}
