//! What is in the store, and the only file that knows keys.
//!
//! | table | key | what |
//! |---|---|---|
//! | `dynamodb.tables` | account · region · name | a table |
//! | `dynamodb.items` | account · region · table id · digest of the hash key · range key | an item |
//! | `dynamodb.entries` | account · region · table id · index · digest of its hash key · its range key · digest of the item's key | an item's projection |
//! | `dynamodb.counts` | account · region · table id · index (0: the table) · what | counters: items, bytes |
//! | `dynamodb.collections` | account · region · table id · digest of the hash key | counter: bytes of an item collection, of tables with local indexes |
//! | `dynamodb.changes` | account · region · table id · label | stream: what changed |
//! | `dynamodb.stream-states` | account · region · name · label | a stream, of a table that is there or not |
//! | `dynamodb.expiry` | (global) second · account · region · name · digest of the item's key | which items expire when |
//! | `dynamodb.backfill` | (global) account · region · name · index (0: expiry) | what is being filled, and how far |
//! | `dynamodb.stream-due` | (global) time · account · region · name · label | which stream is looked at next for what is too old |
//! | `dynamodb.copies` | account · region · copy id · digest of the hash key · range key | an item as it was |
//! | `dynamodb.backups` | account · region · name · backup | a backup: a copy and the table's definition |
//! | `dynamodb.recovery` | account · region · table id | stream: what items became, for point-in-time recovery |
//! | `dynamodb.copying` | (global) account · region · name | which table is being copied |
//! | `dynamodb.restores` | (global) account · region · name | which table is being restored, and how far |
//! | `dynamodb.recovery-due` | (global) time · account · region · name · table id | whose recovery is looked after next |
//! | `dynamodb.trash` | (global) table id · index (0: everything) | rows that nobody can reach any more |
//!
//! A digest is sixteen bytes, as two numbers: so the items of a table lie in the order of the digests (a segment of a
//! parallel scan is a range of them), those of one hash key together, in the order of the range key; and a key has a
//! bounded length whatever its values are. The global ones are declared exceptions to "keys begin with account and
//! region": the reconciler works for all of them.

use base_types::{AccountId, Fault, Region, Timestamp};
use lang_dynamodb::{Item, Value};
use minicbor::{Decode, Encode, bytes::ByteVec};
use sha2::{Digest as _, Sha256};
use store_api::{Family, Key, KeyRange, Table, Tx};

use crate::{
    copies::{Copied, CopyTask},
    ops::Backup,
    recovery::{Logged, RecoveryDue},
    restore::Restore,
    streams::StreamState,
    table::TableRecord,
};

pub(crate) const TABLES: Table<TableRecord> = Table::new(Family::Meta, "dynamodb.tables", 1);
pub(crate) const ITEMS: Table<Stored> = Table::new(Family::Item, "dynamodb.items", 1);
pub(crate) const ENTRIES: Table<Stored> = Table::new(Family::Item, "dynamodb.entries", 1);
pub(crate) const EXPIRY: Table<Expiring> = Table::new(Family::Queue, "dynamodb.expiry", 1);
pub(crate) const BACKFILL: Table<Backfill> = Table::new(Family::Queue, "dynamodb.backfill", 1);
pub(crate) const STREAM_STATES: Table<StreamState> = Table::new(Family::Meta, "dynamodb.stream-states", 1);
pub(crate) const STREAM_DUE: Table<StreamDue> = Table::new(Family::Queue, "dynamodb.stream-due", 1);
pub(crate) const TRASH: Table<Trash> = Table::new(Family::Queue, "dynamodb.trash", 1);
pub(crate) const COPIES: Table<Copied> = Table::new(Family::Item, "dynamodb.copies", 1);
pub(crate) const BACKUPS: Table<Backup> = Table::new(Family::Meta, "dynamodb.backups", 1);
pub(crate) const RECOVERY_LOG: Table<Logged> = Table::new(Family::Stream, "dynamodb.recovery", 1);
pub(crate) const COPYING: Table<CopyTask> = Table::new(Family::Queue, "dynamodb.copying", 1);
pub(crate) const RESTORES: Table<Restore> = Table::new(Family::Queue, "dynamodb.restores", 1);
pub(crate) const RECOVERY_DUE: Table<RecoveryDue> = Table::new(Family::Queue, "dynamodb.recovery-due", 1);
const COUNTS: &str = "dynamodb.counts";
const COLLECTIONS: &str = "dynamodb.collections";
const CHANGES: &str = "dynamodb.changes";
const STREAM_TOPIC: &str = "dynamodb.stream-topic";

/// What the table itself is among its indexes.
pub(crate) const NO_INDEX: u64 = 0;

/// What the log of point-in-time recovery is among them, when it is freed.
const LOG: u64 = u64::MAX;

/// A table's identity: another one each time a table of its name is made.
pub(crate) type Id = [u8; 16];

/// An item as it is stored.
#[derive(Debug)]
pub(crate) struct Stored(pub(crate) Item);

impl<C> Encode<C> for Stored {
    fn encode<W: minicbor::encode::Write>(
        &self,
        encoder: &mut minicbor::Encoder<W>,
        _: &mut C,
    ) -> Result<(), minicbor::encode::Error<W::Error>> {
        encoder.bytes(&lang_dynamodb::encode(&self.0))?;
        Ok(())
    }
}

impl<'b, C> Decode<'b, C> for Stored {
    fn decode(decoder: &mut minicbor::Decoder<'b>, _: &mut C) -> Result<Self, minicbor::decode::Error> {
        let bytes = decoder.bytes()?;
        lang_dynamodb::decode(bytes).map(Self).map_err(|_| minicbor::decode::Error::message("a damaged item"))
    }
}

/// An item that expires.
#[derive(Clone, Debug, Encode, Decode)]
#[cbor(map)]
pub(crate) struct Expiring {
    /// Its table's identity.
    #[cbor(n(0), with = "minicbor::bytes")]
    pub(crate) id: Id,
    /// Its key.
    #[n(1)]
    pub(crate) key: ByteVec,
}

/// How far an index, or the expiry of items, has been filled.
#[derive(Clone, Debug, Encode, Decode)]
#[cbor(map)]
pub(crate) struct Backfill {
    #[cbor(n(0), with = "minicbor::bytes")]
    pub(crate) id: Id,
    /// The last key that was handled.
    #[n(1)]
    pub(crate) after: Option<ByteVec>,
}

/// A stream is to be looked at.
#[derive(Clone, Copy, Debug, Encode, Decode)]
#[cbor(map)]
pub(crate) struct StreamDue {}

/// Rows that nobody can reach any more.
#[derive(Clone, Debug, Encode, Decode)]
#[cbor(map)]
pub(crate) struct Trash {
    #[n(0)]
    pub(crate) account: AccountId,
    #[n(1)]
    pub(crate) region: Region,
}

/// A digest of key values: an item's place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Place(u64, u64);

impl Place {
    /// Of a hash key.
    pub(crate) fn of(value: &Value) -> Self {
        Self::of_all([value])
    }

    /// Of a whole key.
    pub(crate) fn of_all<'v>(values: impl IntoIterator<Item = &'v Value>) -> Self {
        let mut digest = Sha256::new();
        for value in values {
            let mut bytes = Vec::with_capacity(64);
            value.encode_ordered(&mut bytes);
            digest.update((bytes.len() as u64).to_be_bytes());
            digest.update(&bytes);
        }
        let digest = digest.finalize();
        let half = |bytes: &[u8]| bytes.iter().fold(0_u64, |sum, byte| sum << 8 | u64::from(*byte));
        Self(half(&digest[..8]), half(&digest[8..16]))
    }

    fn append(self, key: Key) -> Key {
        key.u64(self.0).u64(self.1)
    }
}

/// A table's rows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Rows {
    pub(crate) account: AccountId,
    pub(crate) region: Region,
    pub(crate) id: Id,
}

impl Rows {
    fn base<V>(&self, table: &Table<V>) -> Key {
        table.key(self.account, &self.region).bytes(&self.id)
    }

    fn named(&self, family: Family, name: &str) -> Key {
        Key::new(family, self.account, &self.region).str(name).bytes(&self.id)
    }

    /// Where the rows of the table, or of one of its indexes, begin.
    pub(crate) fn all(&self, index: u64) -> Key {
        if index == NO_INDEX { self.base(&ITEMS) } else { self.base(&ENTRIES).u64(index) }
    }

    /// Where the rows of one hash key begin.
    pub(crate) fn collection(&self, index: u64, hash: Place) -> Key {
        hash.append(self.all(index))
    }

    /// The rows of one of `total` segments.
    pub(crate) fn segment(&self, index: u64, segment: u64, total: u64) -> KeyRange {
        let all = self.all(index);
        let bound =
            |segment: u64| u64::try_from((u128::from(segment) << 64) / u128::from(total.max(1))).unwrap_or(u64::MAX);
        let range = all.prefix().starting_at(&all.clone().u64(bound(segment)));
        if segment + 1 >= total { range } else { range.before(&all.u64(bound(segment + 1))) }
    }

    /// An item.
    pub(crate) fn item(&self, hash: Place, range: Option<&[u8]>) -> Key {
        let collection = self.collection(NO_INDEX, hash);
        match range {
            Some(range) => collection.bytes(range),
            None => collection,
        }
    }

    /// An entry of an index.
    pub(crate) fn entry(&self, index: u64, hash: Place, range: Option<&[u8]>, item: Place) -> Key {
        let collection = self.collection(index, hash);
        item.append(match range {
            Some(range) => collection.bytes(range),
            None => collection,
        })
    }

    /// The counter of an index's items, or of their bytes.
    fn count(&self, index: u64, what: &str) -> Key {
        self.named(Family::Item, COUNTS).u64(index).str(what)
    }

    /// The counter of a collection's bytes.
    fn collection_bytes(&self, hash: Place) -> Key {
        hash.append(self.named(Family::Item, COLLECTIONS))
    }

    /// Changes the counts.
    pub(crate) fn add(&self, tx: &Tx, index: u64, items: i64, bytes: i64) -> Result<(), Fault> {
        for (what, by) in [("items", items), ("bytes", bytes)] {
            if by != 0 {
                tx.add(&self.count(index, what), by)?;
            }
        }
        Ok(())
    }

    /// Changes a collection's bytes; what they are then.
    pub(crate) fn add_to_collection(&self, tx: &Tx, hash: Place, bytes: i64) -> Result<i64, Fault> {
        let key = self.collection_bytes(hash);
        if bytes != 0 {
            tx.add(&key, bytes)?;
        }
        tx.counter(&key)
    }

    /// How many items, and how many bytes.
    pub(crate) fn counts(&self, tx: &Tx, index: u64) -> Result<(i64, i64), Fault> {
        Ok((tx.counter(&self.count(index, "items"))?, tx.counter(&self.count(index, "bytes"))?))
    }

    /// The log of the stream of this label. It outlives the table.
    pub(crate) fn changes(&self, label: &str) -> Key {
        self.named(Family::Stream, CHANGES).str(label)
    }

    /// Where the items of a copy begin: these are then the copy's rows.
    pub(crate) fn copies(&self) -> Key {
        self.base(&COPIES)
    }

    /// A copied item.
    pub(crate) fn copy(&self, hash: Place, range: Option<&[u8]>) -> Key {
        let row = hash.append(self.copies());
        match range {
            Some(range) => row.bytes(range),
            None => row,
        }
    }

    /// The log of point-in-time recovery.
    pub(crate) fn log(&self) -> Key {
        self.base(&RECOVERY_LOG)
    }

    /// Bytes that were ever logged.
    pub(crate) fn logged(&self, tx: &Tx) -> Result<i64, Fault> {
        tx.counter(&self.count(NO_INDEX, "logged"))
    }

    /// Counts what is logged.
    pub(crate) fn add_logged(&self, tx: &Tx, bytes: i64) -> Result<(), Fault> {
        tx.add(&self.count(NO_INDEX, "logged"), bytes)
    }

    /// The log is freed in the background.
    pub(crate) fn forget_log(&self, tx: &Tx) -> Result<(), Fault> {
        let trash = Trash { account: self.account, region: self.region.clone() };
        TRASH.put(tx, &trash_key(&self.id, LOG), &trash)
    }

    /// All prefixes under which the table, or one of its indexes, has rows.
    pub(crate) fn remains(&self, index: u64) -> Vec<Key> {
        if index == LOG {
            return vec![self.log()];
        }
        if index != NO_INDEX {
            return vec![self.all(index), self.named(Family::Item, COUNTS).u64(index)];
        }
        vec![
            self.base(&ITEMS),
            self.base(&ENTRIES),
            self.named(Family::Item, COUNTS),
            self.named(Family::Item, COLLECTIONS),
            self.copies(),
            self.log(),
        ]
    }
}

/// The table of this name.
pub(crate) fn table_key(account: AccountId, region: &Region, name: &str) -> Key {
    TABLES.key(account, region).str(name)
}

/// When an item expires.
pub(crate) fn expiry_key(at: Timestamp, account: AccountId, region: &Region, name: &str, item: Place) -> Key {
    item.append(EXPIRY.global_key(None).time(at).str(account.as_str()).str(region.as_str()).str(name))
}

/// What is being filled.
pub(crate) fn backfill_key(account: AccountId, region: &Region, name: &str, index: u64) -> Key {
    BACKFILL.global_key(None).str(account.as_str()).str(region.as_str()).str(name).u64(index)
}

/// The streams of an account and region; of a table, by its name.
pub(crate) fn streams_key(account: AccountId, region: &Region) -> Key {
    STREAM_STATES.key(account, region)
}

/// A stream.
pub(crate) fn stream_key(account: AccountId, region: &Region, name: &str, label: &str) -> Key {
    streams_key(account, region).str(name).str(label)
}

/// When a stream is looked at.
pub(crate) fn stream_due_key(at: Timestamp, account: AccountId, region: &Region, name: &str, label: &str) -> Key {
    STREAM_DUE.global_key(None).time(at).str(account.as_str()).str(region.as_str()).str(name).str(label)
}

/// What wakes those who wait for a stream's records.
pub(crate) fn stream_topic(account: AccountId, region: &Region, name: &str, label: &str) -> Key {
    Key::new(Family::Stream, account, region).str(STREAM_TOPIC).str(name).str(label)
}

/// The account and region that a row of the global tables names.
pub(crate) fn owner(account: &str, region: &str) -> Result<(AccountId, Region), Fault> {
    match (account.parse(), region.parse()) {
        (Ok(account), Ok(region)) => Ok((account, region)),
        _ => Err(store_api::DamagedKey.into()),
    }
}

/// The backups of an account and region.
pub(crate) fn backups_key(account: AccountId, region: &Region) -> Key {
    BACKUPS.key(account, region)
}

/// A backup.
pub(crate) fn backup_key(account: AccountId, region: &Region, name: &str, backup: &str) -> Key {
    backups_key(account, region).str(name).str(backup)
}

/// That a table is being copied.
pub(crate) fn copying_key(account: AccountId, region: &Region, name: &str) -> Key {
    COPYING.global_key(None).str(account.as_str()).str(region.as_str()).str(name)
}

/// That a table is being restored.
pub(crate) fn restore_key(account: AccountId, region: &Region, name: &str) -> Key {
    RESTORES.global_key(None).str(account.as_str()).str(region.as_str()).str(name)
}

/// When a table's recovery is looked after.
pub(crate) fn recovery_due_key(at: Timestamp, account: AccountId, region: &Region, name: &str, id: &Id) -> Key {
    RECOVERY_DUE.global_key(None).time(at).str(account.as_str()).str(region.as_str()).str(name).bytes(id)
}

/// What is to be freed.
pub(crate) fn trash_key(id: &Id, index: u64) -> Key {
    TRASH.global_key(None).bytes(id).u64(index)
}
