//! Restoring: a new table is filled from a copy, and from what was logged since it, in bounded pieces. Nobody reads or
//! writes its items before it is whole.

use std::time::Duration;

use base_types::{Fault, Timestamp};
use lang_dynamodb::Item;
use minicbor::{Decode, Encode, bytes::ByteVec};
use model_dynamodb::Error;
use store_api::{Direction, Key, Part, Position as Place, Tx};

use crate::{
    recovery::Logged,
    tables::{COPIES, Id, RECOVERY_LOG, RESTORES, Rows, TRASH, owner, restore_key},
    target::Target,
    write,
};

/// Items that one transaction restores, and their bytes at most: they are written with their entries in indexes.
const RESTORED_MAX: usize = 200;
const RESTORED_BYTES_MAX: usize = 512 << 10;
const AT_ONCE: Duration = Duration::from_millis(1);
/// How soon it is looked again for a base that is still being copied.
const WAIT: Duration = Duration::from_millis(200);
/// Restores under way at a time.
const RESTORES_MAX: usize = 50;

/// Where a table came from.
#[derive(Clone, Debug, Encode, Decode)]
#[cbor(map)]
pub(crate) struct Restored {
    #[n(0)]
    pub(crate) backup: Option<String>,
    #[n(1)]
    pub(crate) table: Option<String>,
    #[n(2)]
    pub(crate) at: Timestamp,
    #[n(3)]
    pub(crate) in_progress: bool,
}

/// How far a restore has come.
#[derive(Clone, Debug, Encode, Decode)]
#[cbor(map)]
pub(crate) struct Restore {
    /// The new table.
    #[cbor(n(0), with = "minicbor::bytes")]
    pub(crate) id: Id,
    #[cbor(n(1), with = "minicbor::bytes")]
    pub(crate) copy: Id,
    /// The last row of the copy.
    #[n(2)]
    pub(crate) after: Option<ByteVec>,
    /// The copy has been read.
    #[n(3)]
    pub(crate) copied: bool,
    #[n(4)]
    pub(crate) log: Option<FromLog>,
}

/// What of a log is restored.
#[derive(Clone, Debug, Encode, Decode)]
#[cbor(map)]
pub(crate) struct FromLog {
    /// The table's identity.
    #[cbor(n(0), with = "minicbor::bytes")]
    pub(crate) table: Id,
    /// And its name: its base may still be in the making.
    #[n(1)]
    pub(crate) name: String,
    #[cbor(n(2), with = "minicbor::bytes")]
    pub(crate) after: [u8; 16],
    #[n(3)]
    pub(crate) until: Timestamp,
    /// And not beyond this place.
    #[cbor(n(4), with = "minicbor::bytes")]
    pub(crate) last: [u8; 16],
}

/// Files a restore; the new table is there already.
pub(crate) fn begin(tx: &Tx, target: &Target, restore: &Restore) -> Result<(), Error> {
    if all(tx)?.len() >= RESTORES_MAX {
        return Err(Error::limit_exceeded_exception(format!(
            "Subscriber limit exceeded: Only {RESTORES_MAX} tables can be restored simultaneously"
        )));
    }
    RESTORES.put(tx, &restore_key(target.rows.account, &target.rows.region, &target.name), restore)?;
    Ok(tx.wake(&TRASH.global_key(None), 1)?)
}

fn all(tx: &Tx) -> Result<Vec<(Key, Restore)>, Fault> {
    RESTORES.scan(tx, &RESTORES.global_key(None).prefix(), RESTORES_MAX, Direction::Forward)
}

/// Whether a restore reads this copy, or the log of this table.
pub(crate) fn reads(tx: &Tx, id: Id) -> Result<bool, Fault> {
    let uses = |restore: &Restore| restore.copy == id || restore.log.as_ref().is_some_and(|log| log.table == id);
    Ok(all(tx)?.iter().any(|(_, restore)| uses(restore)))
}

/// Restores some more items.
pub(crate) fn restore(tx: &Tx) -> Result<Option<Duration>, Fault> {
    let mut waits = None;
    for (key, mut restore) in all(tx)? {
        let mut parts = key.parts()?;
        let (Some(Part::Str(name)), Some(Part::Str(region)), Some(Part::Str(account))) =
            (parts.pop(), parts.pop(), parts.pop())
        else {
            return Err(store_api::DamagedKey.into());
        };
        let (account, region) = owner(&account, &region)?;
        let target = Target::load(tx, account, &region, &name)?;
        let Some(mut target) = target.filter(|target| target.record.id == restore.id) else {
            RESTORES.remove(tx, &key)?;
            return Ok(Some(AT_ONCE));
        };
        if !is_copied(tx, &target, &restore)? {
            waits = Some(WAIT);
            continue;
        }
        if step(tx, &target, &mut restore)? {
            RESTORES.put(tx, &key, &restore)?;
        } else {
            RESTORES.remove(tx, &key)?;
            if let Some(restored) = &mut target.record.restored {
                restored.in_progress = false;
            }
            target.save(tx)?;
        }
        return Ok(Some(AT_ONCE));
    }
    Ok(waits)
}

/// Whether the copy is complete.
fn is_copied(tx: &Tx, target: &Target, restore: &Restore) -> Result<bool, Fault> {
    let Some(log) = &restore.log else { return Ok(true) };
    let source = Target::load(tx, target.rows.account, &target.rows.region, &log.name)?;
    let recovery = source.and_then(|source| source.record.recovery);
    Ok(recovery.is_none_or(|recovery| recovery.bases.iter().all(|base| base.id != restore.copy || base.complete)))
}

/// A piece; whether there is more.
fn step(tx: &Tx, target: &Target, restore: &mut Restore) -> Result<bool, Fault> {
    if !restore.copied {
        restore.copied = !from_copy(tx, target, restore)?;
        return Ok(!restore.copied || restore.log.is_some());
    }
    match &mut restore.log {
        Some(log) => from_log(tx, target, log),
        None => Ok(false),
    }
}

fn from_copy(tx: &Tx, target: &Target, restore: &mut Restore) -> Result<bool, Fault> {
    let copies = Rows { id: restore.copy, ..target.rows.clone() };
    let mut range = copies.copies().prefix();
    if let Some(after) = &restore.after {
        range = range.after(&Key::from_encoded(after));
    }
    let (mut count, mut bytes) = (0, 0);
    while count < RESTORED_MAX && bytes < RESTORED_BYTES_MAX {
        let rows = COPIES.scan(tx, &range, 16, Direction::Forward)?;
        if rows.is_empty() {
            return Ok(false);
        }
        for (key, copied) in rows {
            if let Some(item) = copied.into_item()? {
                bytes += lang_dynamodb::item_size(&item);
                write(tx, target, None, Some(&item))?;
            }
            count += 1;
            range = range.after(&key);
            restore.after = Some(key.into_bytes().to_vec().into());
        }
    }
    Ok(true)
}

fn from_log(tx: &Tx, target: &Target, log: &mut FromLog) -> Result<bool, Fault> {
    let source = Rows { id: log.table, ..target.rows.clone() };
    let last = Place::from_bytes(&log.last);
    let (mut count, mut bytes) = (0, 0);
    while count < RESTORED_MAX && bytes < RESTORED_BYTES_MAX {
        let records = tx.read_stream(&source.log(), Place::from_bytes(&log.after), 16)?;
        if records.is_empty() {
            return Ok(false);
        }
        for (place, record) in records {
            let Logged { at, key, new } = RECOVERY_LOG.decode(&record)?;
            if place > last || at > log.until {
                return Ok(false);
            }
            let damaged = |_| crate::error::damaged("a change of an item");
            let key = lang_dynamodb::decode(&key).map_err(damaged)?;
            let new = new.map(|new| lang_dynamodb::decode(&new).map_err(damaged)).transpose()?;
            let old = write::read(tx, target, &key)?;
            bytes += new.as_ref().map_or(0, lang_dynamodb::item_size);
            write(tx, target, old.as_ref(), new.as_ref())?;
            count += 1;
            log.after = place.to_bytes();
        }
    }
    Ok(true)
}

fn write(tx: &Tx, target: &Target, old: Option<&Item>, new: Option<&Item>) -> Result<(), Fault> {
    match write::replace(tx, target, old, new, false) {
        Ok(_) => Ok(()),
        Err(Error::Fault(fault)) => Err(fault),
        Err(_) => Err(crate::error::damaged("an item that is restored")),
    }
}
