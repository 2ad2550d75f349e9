//! The reconciler: opens new shards, removes records that are a day old, and streams that ended a day ago.

use std::time::Duration;

use base_types::{Fault, Timestamp};
use services_kernel::Reconciler;
use store_api::{Direction, Key, Part, Position, Store, Tx};

use super::{
    KEPT, StreamState,
    log::{CHANGES, ROWS_MAX},
    stream::Place,
};
use crate::tables::{Rows, STREAM_DUE, STREAM_STATES, StreamDue, owner, stream_due_key, stream_key, stream_topic};

/// How often a stream is looked at for what is too old.
const TRIM_EVERY: Duration = Duration::from_secs(600);
/// More is to be done: the next round comes at once.
const AT_ONCE: Duration = Duration::from_millis(1);

/// Keeps streams.
pub struct StreamReconciler {
    store: Store,
    shard_open: Duration,
}

impl StreamReconciler {
    pub(super) fn new(store: Store, shard_open: Duration) -> Self {
        Self { store, shard_open }
    }
}

/// What wakes the reconciler: a stream was begun.
pub(super) fn topic() -> Key {
    STREAM_DUE.global_key(None)
}

impl Reconciler for StreamReconciler {
    const NAME: &'static str = "streams";
    const POLL: Duration = Duration::from_secs(60);

    fn topic(&self) -> Key {
        topic()
    }

    async fn round(&self) -> Result<Option<Duration>, Fault> {
        let shard_open = self.shard_open;
        self.store.transact(move |tx| look_after(tx, shard_open)).await
    }
}

/// Looks after one stream if it is due; when the next one is.
fn look_after(tx: &Tx, shard_open: Duration) -> Result<Option<Duration>, Fault> {
    let first = STREAM_DUE.scan(tx, &topic().prefix(), 1, Direction::Forward)?.pop();
    let Some((due, StreamDue {})) = first else { return Ok(None) };
    let mut parts = due.parts()?;
    let (
        Some(Part::Str(label)),
        Some(Part::Str(table)),
        Some(Part::Str(region)),
        Some(Part::Str(account)),
        Some(Part::U64(at)),
    ) = (parts.pop(), parts.pop(), parts.pop(), parts.pop(), parts.pop())
    else {
        return Err(store_api::DamagedKey.into());
    };
    let (at, now) = (Timestamp::from_millis(at), tx.now());
    if at > now {
        return Ok(Some(at.since(now).max(AT_ONCE)));
    }
    STREAM_DUE.remove(tx, &due)?;
    let (account, region) = owner(&account, &region)?;
    let key = stream_key(account, &region, &table, &label);
    let Some(mut state) = STREAM_STATES.get(tx, &key)? else { return Ok(Some(AT_ONCE)) };
    let rows = Rows { account, region: region.clone(), id: state.id }.changes(&label);
    let more = trim(tx, &rows, &mut state)?;
    let rotated = rotate(tx, &rows, &mut state, shard_open)?;
    if state.is_over(now) && !more {
        STREAM_STATES.remove(tx, &key)?;
        return Ok(Some(AT_ONCE));
    }
    if !more {
        state.forget(now);
    }
    STREAM_STATES.put(tx, &key, &state)?;
    if rotated {
        tx.wake(&stream_topic(account, &region, &table, &label), usize::MAX)?;
    }
    let next = if more { Duration::ZERO } else { TRIM_EVERY.min(shard_open) };
    STREAM_DUE.put(tx, &stream_due_key(now + next, account, &region, &table, &label), &StreamDue {})?;
    Ok(Some(AT_ONCE))
}

/// Removes records that are too old. True when there are more.
fn trim(tx: &Tx, rows: &Key, state: &mut StreamState) -> Result<bool, Fault> {
    let changes = tx.read_stream(rows, Position::START, ROWS_MAX)?;
    let looked_at = changes.len();
    let mut removed = 0;
    for (position, value) in changes {
        if CHANGES.decode(&value)?.at + KEPT > tx.now() {
            break;
        }
        tx.delete(&rows.clone().position(position))?;
        state.trimmed = Place::from(position);
        removed += 1;
    }
    Ok(removed == ROWS_MAX && looked_at == ROWS_MAX)
}

/// Closes the open shard if it has been open for long, and opens its child. One that has no records stays.
fn rotate(tx: &Tx, rows: &Key, state: &mut StreamState, shard_open: Duration) -> Result<bool, Fault> {
    let Some(open) = state.open().filter(|open| open.opened + shard_open <= tx.now()) else { return Ok(false) };
    if tx.read_stream(rows, open.after.position(), 1)?.is_empty() && open.after >= state.trimmed {
        return Ok(false);
    }
    state.rotate(tx.now(), tx.stable_position());
    Ok(true)
}
