//! What invocations took: sums by function, version and hour, kept in the store; and what happens just now, in memory.
//!
//! | file | what |
//! |---|---|
//! | `meter` | the port: counts in shards, without contention |
//! | [`live`](Live) | the last invocations and the present rate of a function; in memory only |
//! | `writer` | writes sums once a second in batches; the reconciler that reclaims old rows |
//! | [`sums`](Sums), [`histogram`](Histogram) | what is added up; pure |
//! | [`query`](hours) | rows of a time, over the caller's transaction, and their sums |
//! | [`price`](Prices) | what AWS would have charged, by its public price list; pure |
//! | `tables` | the only file that knows keys |
//!
//! Invariants: counting touches no store and waits for nobody; a crash loses at most the last second; a row's hour is that
//! in which an invocation was given to its environment; what a deleted function used stays.
//!
//! Absent here: what is measured and how (`compute`), and the texts and pages that show it (`app`).

mod histogram;
mod live;
mod meter;
mod price;
mod query;
mod sums;
mod tables;
mod writer;

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use base_types::Fault;
pub use histogram::{BUCKETS, ERROR_MAX, Histogram};
pub use live::{FUNCTIONS_MAX, Live, RECENT_MAX, Recent, SECONDS};
pub use price::{Architecture, Bill, InvalidPrices, Line, Prices, Tier};
pub use query::{Cursor, PAGE_ROWS_MAX, Page, Row, Selection, Summary, hours, summarise};
use services_ports::MeteredFunction;
use store_api::Store;
pub use sums::Sums;
use tokio::sync::{mpsc, oneshot};
pub use writer::{UsageRetention, Writer};

use crate::{meter::Counts, writer::Request};

/// How long rows are kept.
pub const KEPT: Duration = Duration::from_secs(400 * 24 * 3600);

/// Counts invocations. Cheap to clone; clones share everything.
#[derive(Clone)]
pub struct Usage {
    counts: Arc<Counts>,
    store: Store,
    requests: mpsc::Sender<Request>,
}

impl Usage {
    /// Over a store. The writer is to be run.
    #[must_use]
    pub fn new(store: Store) -> (Self, Writer) {
        let (sender, requests) = mpsc::channel(writer::REQUESTS);
        let counts = Arc::new(Counts::new());
        let writer = Writer {
            counts: Arc::clone(&counts),
            env: store.env().clone(),
            store: store.clone(),
            requests,
            waiting: BTreeMap::new(),
        };
        (Self { counts, store, requests: sender }, writer)
    }

    /// Puts everything counted so far into the store.
    ///
    /// # Errors
    /// A fault of the store: what was counted is kept and tried again. Or the writer has ended.
    pub async fn write(&self) -> Result<(), Fault> {
        self.ask(Request::Write).await
    }

    /// Puts everything counted so far into the store and ends the writer.
    ///
    /// # Errors
    /// A fault of the store: what was counted since the last write is lost.
    pub async fn end(&self) -> Result<(), Fault> {
        self.ask(Request::End).await
    }

    async fn ask(&self, request: impl FnOnce(oneshot::Sender<Result<(), Fault>>) -> Request) -> Result<(), Fault> {
        let (reply, answer) = oneshot::channel();
        self.requests.send(request(reply)).await.map_err(|_| writer::ended())?;
        answer.await.map_err(|_| writer::ended())?
    }

    /// Adds what a version had provisioned for the last `span`: the configured memory of its ready environments together.
    pub fn reserved(&self, function: &MeteredFunction, version: &str, memory_mib: u64, span: Duration) {
        self.counts.reserved(function, version, self.store.env().now(), memory_mib, span);
    }

    /// What a function does just now; nothing when it was not used for long.
    #[must_use]
    pub fn live(&self, function: &MeteredFunction) -> Option<Live> {
        self.counts.live(function, self.store.env().now())
    }

    /// What all functions do just now, with the very last invocation of each.
    #[must_use]
    pub fn live_all(&self) -> BTreeMap<MeteredFunction, Live> {
        self.counts.all(self.store.env().now())
    }

    /// Everything of a selection, added up; what was counted up to now is among it.
    ///
    /// # Errors
    /// A fault of the store.
    pub async fn summary(&self, selection: &Selection) -> Result<Summary, Fault> {
        if let Err(fault) = self.write().await {
            // What is in the store is worth showing even when it takes no more.
            tracing::warn!(?fault, "usage of the last moments is not shown");
        }
        summarise(&self.store, selection).await
    }

    /// The background work that reclaims rows older than [`KEPT`].
    #[must_use]
    pub fn retention(&self) -> UsageRetention {
        UsageRetention::new(self.store.clone(), KEPT)
    }
}
