//! The one way in which an item changes: with its entries in indexes, counts, expiry and stream record, in one commit.

use base_types::{Fault, Timestamp};
use lang_dynamodb::{Item, Value, item_size};
use minicbor::bytes::ByteVec;
use model_dynamodb::Error;
use store_api::Tx;

use crate::{
    copies, recovery, streams,
    table::{Index, Keys, TableRecord},
    tables::{ENTRIES, EXPIRY, Expiring, ITEMS, NO_INDEX, Place, Stored, expiry_key},
    target::Target,
};

/// The greatest item collection of a table with local indexes (AWS: 10 GB).
const COLLECTION_BYTES_MAX: i64 = 10 << 30;
/// AWS passes over what expired longer ago than this.
const EXPIRED_YEARS_MAX: u64 = 5 * 365 * 24 * 3600;

/// Where an item, or an entry of an index, lies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Position {
    pub(crate) hash: Place,
    pub(crate) range: Option<Vec<u8>>,
}

impl Position {
    /// Of values of a key.
    pub(crate) fn of(keys: &Keys, item: &Item) -> Option<Self> {
        let (hash, range) = keys.of(item)?;
        Some(Self { hash: Place::of(hash), range: range.map(ordered) })
    }
}

/// A value's ordered bytes.
pub(crate) fn ordered(value: &Value) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(value.size() + 2);
    value.encode_ordered(&mut bytes);
    bytes
}

/// The place of a whole key.
pub(crate) fn place_of(record: &TableRecord, item: &Item) -> Place {
    Place::of_all(record.keys.attributes().filter_map(|attribute| item.get(&attribute.name)))
}

/// What a write took.
#[derive(Clone, Debug, Default)]
pub(crate) struct Effect {
    /// Units of the table.
    pub(crate) table: f64,
    /// Units of each index that was touched: its name, whether it is local.
    pub(crate) indexes: Vec<(String, bool, f64)>,
    /// Bytes of the item collection, of tables that have local indexes.
    pub(crate) collection: Option<i64>,
}

/// The item of this key.
pub(crate) fn read(tx: &Tx, target: &Target, key: &Item) -> Result<Option<Item>, Fault> {
    let Some(position) = Position::of(&target.record.keys, key) else { return Ok(None) };
    let row = target.rows.item(position.hash, position.range.as_deref());
    Ok(ITEMS.get(tx, &row)?.map(|stored| stored.0))
}

/// Replaces `old`, which is what is there, by `new`; both have the same key.
pub(crate) fn replace(
    tx: &Tx,
    target: &Target,
    old: Option<&Item>,
    new: Option<&Item>,
    expired: bool,
) -> Result<Effect, Error> {
    let (record, rows) = (&target.record, &target.rows);
    let Some(some) = new.or(old) else { return Ok(Effect { table: 1.0, ..Effect::default() }) };
    let Some(position) = Position::of(&record.keys, some) else {
        return Err(crate::error::damaged("an item's key").into());
    };
    let sizes = (old.map_or(0, item_size), new.map_or(0, item_size));
    let mut effect = Effect { table: write_units(sizes.0.max(sizes.1)), ..Effect::default() };
    if old == new {
        return Ok(effect);
    }
    copies::keep(tx, target, &position, old)?;
    let row = rows.item(position.hash, position.range.as_deref());
    match new {
        Some(item) => ITEMS.put(tx, &row, &Stored(item.clone()))?,
        None => ITEMS.remove(tx, &row)?,
    }
    let count = i64::from(new.is_some()) - i64::from(old.is_some());
    let mut grown = difference(sizes);
    rows.add(tx, NO_INDEX, count, grown)?;
    let item = place_of(record, some);
    for index in &record.indexes {
        let (units, bytes) = reindex(tx, target, index, item, old, new)?;
        if units > 0.0 {
            effect.indexes.push((index.name.clone(), index.local, units));
        }
        grown += if index.local { bytes } else { 0 };
    }
    if record.has_local() {
        let bytes = rows.add_to_collection(tx, position.hash, grown)?;
        if bytes > COLLECTION_BYTES_MAX && grown > 0 {
            return Err(Error::item_collection_size_limit_exceeded_exception("Collection size exceeded."));
        }
        effect.collection = Some(bytes);
    }
    reschedule(tx, target, item, old, new)?;
    recovery::log(tx, target, old, new)?;
    streams::append(tx, target, old, new, expired)?;
    Ok(effect)
}

/// Moves an item's entry in an index; the units and bytes that this took.
pub(crate) fn reindex(
    tx: &Tx,
    target: &Target,
    index: &Index,
    item: Place,
    old: Option<&Item>,
    new: Option<&Item>,
) -> Result<(f64, i64), Fault> {
    let (record, rows) = (&target.record, &target.rows);
    let entry = |from: Option<&Item>| {
        let projection = record.projection(index, from?)?;
        let position = Position::of(&index.keys, &projection)?;
        Some((rows.entry(index.number, position.hash, position.range.as_deref(), item), projection))
    };
    let (mut before, after) = (entry(old), entry(new));
    // What is still being filled may lack the entry of an item that was there before it.
    if index.filling
        && let Some((key, _)) = &before
        && tx.get(key)?.is_none()
    {
        before = None;
    }
    if before == after {
        return Ok((0.0, 0));
    }
    let sizes = (
        before.as_ref().map_or(0, |(_, projection)| item_size(projection)),
        after.as_ref().map_or(0, |(_, projection)| item_size(projection)),
    );
    let moved = match (&before, &after) {
        (Some((old, _)), Some((new, _))) => old != new,
        _ => false,
    };
    let units = if moved { write_units(sizes.0) + write_units(sizes.1) } else { write_units(sizes.0.max(sizes.1)) };
    rows.add(tx, index.number, i64::from(after.is_some()) - i64::from(before.is_some()), difference(sizes))?;
    if let Some((key, _)) = &before
        && after.as_ref().is_none_or(|(new, _)| new != key)
    {
        ENTRIES.remove(tx, key)?;
    }
    if let Some((key, projection)) = after {
        ENTRIES.put(tx, &key, &Stored(projection))?;
    }
    Ok((units, difference(sizes)))
}

fn difference((old, new): (usize, usize)) -> i64 {
    i64::try_from(new).unwrap_or(i64::MAX) - i64::try_from(old).unwrap_or(i64::MAX)
}

/// Units of a write of so many bytes.
pub(crate) fn write_units(bytes: usize) -> f64 {
    bytes.div_ceil(1024).max(1) as f64
}

/// When an item expires.
pub(crate) fn expires(record: &TableRecord, item: &Item) -> Option<Timestamp> {
    let Some(Value::N(number)) = item.get(record.ttl.as_ref()?) else { return None };
    let seconds = u64::try_from(number.truncated()?).ok()?;
    Some(Timestamp::from_millis(seconds.checked_mul(1000)?))
}

/// Whether an item has expired, but not so long ago that AWS would keep it.
pub(crate) fn has_expired(record: &TableRecord, item: &Item, now: Timestamp) -> bool {
    expires(record, item).is_some_and(|at| at <= now && now.since(at).as_secs() < EXPIRED_YEARS_MAX)
}

fn reschedule(tx: &Tx, target: &Target, item: Place, old: Option<&Item>, new: Option<&Item>) -> Result<(), Fault> {
    if target.record.ttl.is_none() {
        return Ok(());
    }
    let at = |item: Option<&Item>| expires(&target.record, item?);
    let (before, after) = (at(old), at(new));
    if before == after {
        return Ok(());
    }
    if let Some(before) = before {
        EXPIRY.remove(tx, &expiry_row(target, before, item))?;
    }
    if let (Some(_), Some(new)) = (after, new) {
        schedule(tx, target, new)?;
    }
    Ok(())
}

fn expiry_row(target: &Target, at: Timestamp, item: Place) -> store_api::Key {
    expiry_key(at, target.rows.account, &target.rows.region, &target.name, item)
}

/// Files an item under the time at which it expires, if it does.
pub(crate) fn schedule(tx: &Tx, target: &Target, item: &Item) -> Result<(), Fault> {
    let Some(at) = expires(&target.record, item) else { return Ok(()) };
    let key = ByteVec::from(lang_dynamodb::encode(&target.record.key_of(item)));
    let row = expiry_row(target, at, place_of(&target.record, item));
    EXPIRY.put(tx, &row, &Expiring { id: target.rows.id, key })
}
