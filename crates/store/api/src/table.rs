//! Typed tables over the key space, and the header that every stored value carries.
//!
//! A value is `header ++ CBOR`. The header (8 bytes) says how to read what follows: layout, compression, schema
//! version, encryption
//! key; so a later release can change any of them and still read what this one wrote.

use std::{cell::RefCell, marker::PhantomData};

use base_types::{AccountId, Fault, FaultKind, Region};
use bytes::Bytes;
use minicbor::{Decode, Encode};

use crate::{Direction, Family, Key, KeyRange, Tx};

/// The layout of the header itself.
const LAYOUT: u8 = 1;
const HEADER_BYTES: usize = 8;

/// How the payload is compressed.
const COMPRESSION_NONE: u8 = 0;

/// What a thread keeps at most for encoding.
const SCRATCH_BYTES_MAX: usize = 64 << 10;

thread_local! {
    /// Where a record's length is found out, so that what is kept of it has just that length. Nothing that is encoded
    /// encodes another record meanwhile.
    static SCRATCH: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// The records of one kind. A service names all of its tables in one file, as constants:
///
/// ```
/// # use store_api::{Family, Table};
/// #[derive(minicbor::Encode, minicbor::Decode)]
/// struct Alias {
///     #[n(0)]
///     version: u64,
/// }
/// const ALIASES: Table<Alias> = Table::new(Family::Meta, "lambda.aliases", 1);
/// ```
///
/// `V` may gain optional members without a new schema version (CBOR maps or arrays by index); a change of meaning
/// takes the
/// next version and an [`Table::upgrading`] function for the older ones.
pub struct Table<V> {
    family: Family,
    name: &'static str,
    schema: u16,
    upgrade: Option<Upgrade<V>>,
    records: PhantomData<fn() -> V>,
}

/// Reads the CBOR of an older schema version.
pub type Upgrade<V> = fn(schema: u16, payload: &[u8]) -> Result<V, Fault>;

impl<V> Clone for Table<V> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<V> Copy for Table<V> {}

impl<V> Table<V> {
    /// A table. `name` (`service.records`) is part of every key: never reuse a retired one.
    #[must_use]
    pub const fn new(family: Family, name: &'static str, schema: u16) -> Self {
        Self { family, name, schema, upgrade: None, records: PhantomData }
    }

    /// The same table, able to read older schema versions.
    #[must_use]
    pub const fn upgrading(mut self, upgrade: Upgrade<V>) -> Self {
        self.upgrade = Some(upgrade);
        self
    }

    /// The beginning of this table's keys in an account and region: extend it by the record's own elements.
    #[must_use]
    pub fn key(&self, account: AccountId, region: &Region) -> Key {
        Key::new(self.family, account, region).str(self.name)
    }

    /// As [`Table::key`] for a namespace that spans regions or accounts (see [`Key::global`]).
    #[must_use]
    pub fn global_key(&self, account: Option<AccountId>) -> Key {
        Key::global(self.family, account).str(self.name)
    }

    /// Removes a record, whether or not it exists.
    ///
    /// # Errors
    /// As [`Tx::delete`].
    pub fn remove(&self, tx: &Tx, key: &Key) -> Result<(), Fault> {
        tx.delete(key)
    }
}

impl<V: Encode<()> + for<'b> Decode<'b, ()>> Table<V> {
    /// The record at `key`.
    ///
    /// # Errors
    /// As [`Tx::get`], or when the stored bytes cannot be read as `V`.
    pub fn get(&self, tx: &Tx, key: &Key) -> Result<Option<V>, Fault> {
        tx.get(key)?.map(|value| self.decode(&value)).transpose()
    }

    /// As [`Table::get`], but never makes the transaction run again (see [`Tx::snapshot_get`]).
    ///
    /// # Errors
    /// As [`Table::get`].
    pub fn snapshot_get(&self, tx: &Tx, key: &Key) -> Result<Option<V>, Fault> {
        tx.snapshot_get(key)?.map(|value| self.decode(&value)).transpose()
    }

    /// The record at `key`, or the error that says it is missing.
    ///
    /// # Errors
    /// `missing()`, or a fault as for [`Table::get`].
    pub fn require<E: From<Fault>>(&self, tx: &Tx, key: &Key, missing: impl FnOnce() -> E) -> Result<V, E> {
        self.get(tx, key)?.ok_or_else(missing)
    }

    /// Writes a record.
    ///
    /// # Errors
    /// As [`Tx::put`].
    pub fn put(&self, tx: &Tx, key: &Key, record: &V) -> Result<(), Fault> {
        tx.put(key, self.encode(record)?)
    }

    /// At most `limit` records of `range`, in `direction`.
    ///
    /// # Errors
    /// As [`Tx::scan`], or when a stored record cannot be read as `V`.
    pub fn scan(&self, tx: &Tx, range: &KeyRange, limit: usize, direction: Direction) -> Result<Vec<(Key, V)>, Fault> {
        self.decode_all(tx.scan(range, limit, direction)?)
    }

    /// Takes up to `n` records from the head of `range` (see [`Tx::claim`]).
    ///
    /// # Errors
    /// As [`Table::scan`].
    pub fn claim(&self, tx: &Tx, range: &KeyRange, n: usize) -> Result<Vec<(Key, V)>, Fault> {
        self.decode_all(tx.claim(range, n)?)
    }

    /// The bytes that are stored for a record: header and CBOR.
    ///
    /// # Errors
    /// When the record cannot be encoded.
    pub fn encode(&self, record: &V) -> Result<Bytes, Fault> {
        let [high, low] = self.schema.to_be_bytes();
        SCRATCH.with_borrow_mut(|value| {
            value.clear();
            value.extend_from_slice(&[LAYOUT, COMPRESSION_NONE, high, low, 0, 0, 0, 0]);
            minicbor::encode(record, &mut *value)
                .map_err(|error| Fault::internal(format!("encode a record of `{}`", self.name), error.to_string()))?;
            let encoded = Bytes::copy_from_slice(value);
            if value.capacity() > SCRATCH_BYTES_MAX {
                *value = Vec::new();
            }
            Ok(encoded)
        })
    }

    /// Reads what [`Table::encode`] wrote, by this or an older release.
    ///
    /// # Errors
    /// When the bytes are damaged or written by a newer release; the fault says which table and why.
    pub fn decode(&self, value: &[u8]) -> Result<V, Fault> {
        let Some((&[layout, compression, high, low, k0, k1, k2, k3], payload)) =
            value.split_first_chunk::<HEADER_BYTES>()
        else {
            return Err(self.unreadable("the value is shorter than its header"));
        };
        if layout != LAYOUT {
            return Err(self.unreadable(&format!("header layout {layout} is unknown to this release")));
        }
        if compression != COMPRESSION_NONE {
            return Err(self.unreadable(&format!("compression {compression} is unknown to this release")));
        }
        let encryption_key = u32::from_be_bytes([k0, k1, k2, k3]);
        if encryption_key != 0 {
            return Err(self.unreadable(&format!("it is encrypted with key {encryption_key}, which is not loaded")));
        }
        let schema = u16::from_be_bytes([high, low]);
        match self.upgrade {
            _ if schema == self.schema => {
                minicbor::decode(payload).map_err(|error| self.unreadable(&error.to_string()))
            }
            Some(upgrade) if schema < self.schema => upgrade(schema, payload),
            _ => {
                Err(self.unreadable(&format!("schema version {schema} is unknown, this release reads {}", self.schema)))
            }
        }
    }

    fn decode_all(&self, entries: Vec<(Key, Bytes)>) -> Result<Vec<(Key, V)>, Fault> {
        entries.into_iter().map(|(key, value)| Ok((key, self.decode(&value)?))).collect()
    }

    fn unreadable(&self, reason: &str) -> Fault {
        Fault::new(FaultKind::Internal, format!("read a record of `{}`: {reason}", self.name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, PartialEq, Encode, Decode)]
    struct Old {
        #[n(0)]
        name: String,
    }

    #[derive(Debug, PartialEq, Encode, Decode)]
    struct New {
        #[n(0)]
        name: String,
        #[n(1)]
        size: u64,
    }

    const OLD: Table<Old> = Table::new(Family::Meta, "t", 1);
    const NEW: Table<New> = Table::new(Family::Meta, "t", 2).upgrading(|_, payload| {
        let Old { name } = minicbor::decode(payload).map_err(|error| Fault::internal("upgrade", error.to_string()))?;
        Ok(New { name, size: 7 })
    });

    #[test]
    fn an_older_schema_is_upgraded_and_a_newer_refused() {
        let old = OLD.encode(&Old { name: "a".into() }).unwrap();
        assert_eq!(NEW.decode(&old).unwrap(), New { name: "a".into(), size: 7 });
        let new = NEW.encode(&New { name: "a".into(), size: 1 }).unwrap();
        let fault = OLD.decode(&new).unwrap_err().to_string();
        assert!(fault.contains("schema version 2 is unknown"), "{fault}");
    }

    #[test]
    fn an_unknown_header_is_refused_by_name() {
        let value = OLD.encode(&Old { name: "a".into() }).unwrap();
        for (index, byte, expect) in
            [(0, 9, "layout 9"), (1, 1, "compression 1"), (7, 5, "encrypted with key 5"), (8, 0xFF, "`t`")]
        {
            let mut damaged = value.to_vec();
            damaged[index] = byte;
            let fault = OLD.decode(&damaged).unwrap_err().to_string();
            assert!(fault.contains(expect), "{fault}");
        }
        assert!(OLD.decode(&value[..7]).is_err());
    }
}
