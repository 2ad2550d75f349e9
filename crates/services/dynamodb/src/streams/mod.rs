//! DynamoDB Streams: what changed in a table, for a day.
//!
//! | file | what |
//! |---|---|
//! | `log` | a change as it is kept: written in the commit of its item, read in commit order |
//! | `stream` | what a stream is: its shards over time; pure |
//! | `iterator` | shard iterators |
//! | `record` | a change as clients and functions get it; pure |
//! | `ops` | the four operations |
//! | `port` | the stream for those inside of Pileus who work it off |
//! | `tasks` | the reconciler: new shards, records and streams that are too old |
//!
//! # Invariants
//! - A change and its record are one commit; records have the order of the commits.
//! - A shard is a part of one log, from a position to a position: shards neither overlap nor leave anything out, and all
//!   of a shard's records come before those of its child.
//! - A stream is no part of its table: it can be read until a day after it ended, whatever becomes of the table. A table
//!   that has a stream again has another one, with another label.

mod iterator;
mod log;
mod ops;
mod port;
mod record;
mod stream;
mod tasks;

use std::time::Duration;

use base_types::Fault;
pub(crate) use log::append;
use model_dynamodbstreams::Error;
use services_kernel::PageTokens;
use store_api::{Store, Tx};
pub(crate) use stream::StreamState;
pub use tasks::StreamReconciler;

use crate::{
    table::{Stream, View},
    tables::{STREAM_DUE, STREAM_STATES, StreamDue, stream_due_key, stream_key, stream_topic},
    target::Target,
};

/// How long records are kept, and a stream that has ended.
pub(crate) const KEPT: Duration = Duration::from_secs(24 * 3600);
/// How long records are added to one shard, about. AWS: "approximately four hours".
const SHARD_OPEN: Duration = Duration::from_secs(4 * 3600);

/// The service. Cheap to clone; clones share everything.
#[derive(Clone)]
pub struct DynamoDbStreams {
    store: Store,
    tokens: PageTokens,
    shard_open: Duration,
}

impl DynamoDbStreams {
    /// Over this store; `tokens` seals iterators.
    #[must_use]
    pub fn new(store: Store, tokens: PageTokens) -> Self {
        Self { store, tokens, shard_open: SHARD_OPEN }
    }

    /// The same with shards that are open for another time than AWS's four hours: for those who want to see their readers
    /// go from shard to shard.
    #[must_use]
    pub fn with_shards_open_for(mut self, time: Duration) -> Self {
        self.shard_open = time;
        self
    }

    /// The background work, to be kept reconciling.
    #[must_use]
    pub fn reconciler(&self) -> StreamReconciler {
        StreamReconciler::new(self.store.clone(), self.shard_open)
    }
}

/// A stream of the table begins now. Its record is the caller's to save.
pub(crate) fn begin(tx: &Tx, target: &mut Target, view: View) -> Result<(), Fault> {
    let rows = &target.rows;
    let mut now = tx.now();
    // A label is a time; a table that was deleted and made again within a moment has a later one.
    let (label, key) = loop {
        let label = now.to_iso8601_millis().trim_end_matches('Z').to_owned();
        let key = stream_key(rows.account, &rows.region, &target.name, &label);
        if STREAM_STATES.get(tx, &key)?.is_none() {
            break (label, key);
        }
        now = now + Duration::from_millis(1);
    };
    let state = StreamState::begun(rows.id, target.record.keys.clone(), view, tx.now(), tx.stable_position());
    STREAM_STATES.put(tx, &key, &state)?;
    let due = stream_due_key(tx.now(), rows.account, &rows.region, &target.name, &label);
    STREAM_DUE.put(tx, &due, &StreamDue {})?;
    target.record.stream = Some(Stream { label, view, enabled: true });
    tx.wake(&tasks::topic(), 1)
}

/// The table's stream ends now, if it has one that is not over. Its record is the caller's to save.
pub(crate) fn end(tx: &Tx, target: &mut Target) -> Result<(), Fault> {
    let Some(stream) = target.record.stream.as_mut().filter(|stream| stream.enabled) else { return Ok(()) };
    stream.enabled = false;
    let rows = &target.rows;
    let key = stream_key(rows.account, &rows.region, &target.name, &stream.label);
    if let Some(mut state) = STREAM_STATES.get(tx, &key)? {
        state.end(tx.now(), tx.stable_position());
        STREAM_STATES.put(tx, &key, &state)?;
    }
    tx.wake(&stream_topic(rows.account, &rows.region, &target.name, &stream.label), usize::MAX)
}
