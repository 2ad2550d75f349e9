//! CloudWatch Logs: groups, streams, events, retention, filters.
//!
//! | file | what |
//! |---|---|
//! | `service` | the generated trait, one line per operation |
//! | `ops/groups`, `ops/streams`, `ops/tags`, `ops/retention` | what exists: transactions over the tables |
//! | `ops/put`, `ops/read` | events: appended to and read from the segments |
//! | `batch`, `names`, `tokens` | pure rules: what a batch may be, what names and ARNs mean, where a page goes on |
//! | `tables` | the only file that knows keys |
//! | `sink` | the port that takes functions' output |
//! | `delivery` | log groups as targets of other services |
//! | `tasks` | the reconciler: activity of streams, retention, space of what was deleted |
//!
//! Invariants: what exists is in the store, events are in the segments, and the two meet by identity, never by name: a group
//! or stream that is deleted and made again is another one, so old events never reappear. The events of a deleted group
//! or stream are unreachable from that commit on; their space is freed in the background. `PutLogEvents` is answered when
//! its events are on disk; every event is visible to readers at once.

mod batch;
mod deleted;
mod delivery;
mod error;
mod names;
mod ops;
mod service;
mod sink;
mod tables;
mod tasks;
mod tokens;

use std::{collections::HashMap, sync::Arc};

use base_env::Env;
use deleted::Deleted;
pub use delivery::LogDeliveries;
use parking_lot::RwLock;
use services_kernel::PageTokens;
use store_api::Store;
use store_segments::{GroupId, Segments};
pub use tasks::LogsReconciler;

/// CloudWatch Logs. Cheap to clone; clones share everything.
#[derive(Clone)]
pub struct CloudWatchLogs {
    store: Store,
    segments: Segments,
    page_tokens: PageTokens,
    env: Env,
    deleted: Arc<Deleted>,
    /// What groups keep, as last counted by the reconciler.
    stored_bytes: Arc<RwLock<HashMap<GroupId, u64>>>,
}

impl CloudWatchLogs {
    /// Over a store for what exists and segments for the events.
    #[must_use]
    pub fn new(store: Store, segments: Segments, page_tokens: PageTokens) -> Self {
        let env = store.env().clone();
        Self { store, segments, page_tokens, env, deleted: Arc::default(), stored_bytes: Arc::default() }
    }

    /// Appends what other services deliver, to be kept reconciling.
    #[must_use]
    pub fn deliveries(&self) -> LogDeliveries {
        LogDeliveries::new(self.clone())
    }

    /// The background work, to be kept reconciling.
    #[must_use]
    pub fn reconciler(&self) -> LogsReconciler {
        LogsReconciler::new(self.clone())
    }
}
