//! A change as it is kept. It is written in the commit of its item and read in the order of the commits.

use base_types::{Fault, Timestamp};
use lang_dynamodb::{Item, item_size};
use minicbor::{Decode, Encode, bytes::ByteVec};
use store_api::{Family, Key, Position, Table, Tx};

use super::stream::{Place, Shard, StreamState};
use crate::{
    tables::{Rows, stream_topic},
    target::Target,
};

pub(crate) const CHANGES: Table<Change> = Table::new(Family::Stream, "dynamodb.changes", 1);

/// Records read at a time: each may hold two items of 400 KB, and what a transaction reads has a bound.
pub(super) const ROWS_MAX: usize = 32;

/// A record of a stream.
#[derive(Clone, Debug, Encode, Decode)]
#[cbor(map)]
pub(crate) struct Change {
    #[n(0)]
    pub(crate) kind: ChangeKind,
    #[n(1)]
    pub(crate) keys: ByteVec,
    #[n(2)]
    pub(crate) old: Option<ByteVec>,
    #[n(3)]
    pub(crate) new: Option<ByteVec>,
    #[n(4)]
    pub(crate) at: Timestamp,
    /// AWS's `SizeBytes`.
    #[n(5)]
    pub(crate) size: u64,
    /// The item expired.
    #[n(6)]
    pub(crate) expired: bool,
}

/// What happened to an item.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
pub(crate) enum ChangeKind {
    #[n(0)]
    Insert,
    #[n(1)]
    Modify,
    #[n(2)]
    Remove,
}

impl ChangeKind {
    /// AWS's word.
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Insert => "INSERT",
            Self::Modify => "MODIFY",
            Self::Remove => "REMOVE",
        }
    }
}

impl Change {
    /// A digest of the item's key (FNV-1a).
    pub(super) fn key(&self) -> u64 {
        self.keys
            .iter()
            .fold(0xCBF2_9CE4_8422_2325, |sum, byte| (sum ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01B3))
    }
}

/// Writes the record of a change into the table's stream, if it has one.
pub(crate) fn append(
    tx: &Tx,
    target: &Target,
    old: Option<&Item>,
    new: Option<&Item>,
    expired: bool,
) -> Result<(), Fault> {
    let Some(stream) = target.record.stream.as_ref().filter(|stream| stream.enabled) else { return Ok(()) };
    let (kind, some) = match (old, new) {
        (None, Some(new)) => (ChangeKind::Insert, new),
        (Some(_), Some(new)) => (ChangeKind::Modify, new),
        (Some(old), None) => (ChangeKind::Remove, old),
        (None, None) => return Ok(()),
    };
    let keys = target.record.key_of(some);
    let (old, new) = (old.filter(|_| stream.view.has_old()), new.filter(|_| stream.view.has_new()));
    let size = item_size(&keys) + old.map_or(0, item_size) + new.map_or(0, item_size);
    let image = |item: &Item| ByteVec::from(lang_dynamodb::encode(item));
    let change = Change {
        kind,
        keys: image(&keys),
        old: old.map(image),
        new: new.map(image),
        at: tx.now(),
        size: size as u64,
        expired,
    };
    tx.append(&target.rows.changes(&stream.label), CHANGES.encode(&change)?)?;
    let rows = &target.rows;
    tx.wake(&stream_topic(rows.account, &rows.region, &target.name, &stream.label), usize::MAX)
}

/// The log of a stream.
pub(super) struct Log {
    rows: Key,
    trimmed: Place,
}

impl Log {
    pub(super) fn of(rows: &Rows, label: &str, state: &StreamState) -> Self {
        Self { rows: rows.changes(label), trimmed: state.trimmed }
    }

    /// The records behind `after`, oldest first, until `each` says that it has enough or the shard ends. True when
    /// everything that there is now was visited.
    pub(super) fn visit(
        &self,
        tx: &Tx,
        shard: &Shard,
        after: Option<Place>,
        most: usize,
        mut each: impl FnMut(Place, Change) -> bool,
    ) -> Result<bool, Fault> {
        let mut after = after.unwrap_or(shard.after).max(shard.after).max(self.trimmed);
        let mut left = most;
        loop {
            let wanted = ROWS_MAX.min(left);
            let rows = tx.read_stream(&self.rows, after.position(), wanted)?;
            let complete = rows.len() < wanted;
            for (position, value) in rows {
                let place = Place::from(position);
                if shard.upto.is_some_and(|upto| place > upto) {
                    return Ok(true);
                }
                (after, left) = (place, left - 1);
                if !each(place, CHANGES.decode(&value)?) {
                    return Ok(false);
                }
            }
            if complete {
                return Ok(true);
            }
            if left == 0 {
                return Ok(false);
            }
        }
    }

    /// The place behind which all records came at `at` or later: records have the order of their times.
    pub(super) fn before(&self, tx: &Tx, shard: &Shard, at: Timestamp) -> Result<Place, Fault> {
        let first = shard.after.max(self.trimmed);
        let last = shard.upto.unwrap_or_else(|| tx.stable_position().into());
        if epoch(first) != epoch(last) {
            // Behind a restore versions begin anew.
            return Ok(first);
        }
        let (mut low, mut high) = (number(first), number(last));
        // Of versions; all records of one commit have one time. So there are at most 64 steps, each of one record.
        while low < high {
            let middle = low + (high - low) / 2;
            let found = tx.read_stream(&self.rows, Position::new(epoch(last), middle, u32::MAX), 1)?.pop();
            let (at_least, position) = match found {
                Some((position, value)) => (CHANGES.decode(&value)?.at >= at, position),
                None => (true, last.position()),
            };
            if at_least {
                high = middle;
            } else {
                low = number(position.into()).max(middle + 1);
            }
        }
        Ok(Place::from(Position::new(epoch(last), low, u32::MAX)).max(first))
    }
}

fn number(place: Place) -> u64 {
    let [_, _, _, _, version @ .., _, _, _, _] = place.bytes();
    u64::from_be_bytes(version)
}

fn epoch(place: Place) -> u32 {
    place.position().epoch()
}
