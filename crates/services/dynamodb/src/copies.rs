//! Copies of tables. Guarantee: a copy is the table as it was in the commit in which it began, whatever is written meanwhile,
//! although it is made in bounded pieces.
//!
//! A piece at a time, items are copied in the order of their keys. Who changes an item that the copy has not come to yet
//! copies first what was there (or that there was nothing), in the commit of the change; the copy passes over what it finds
//! copied.

use std::time::Duration;

use base_types::Fault;
use lang_dynamodb::Item;
use minicbor::{Decode, Encode, bytes::ByteVec};
use store_api::{Direction, Key, Part, Tx};

use crate::{
    recovery,
    tables::{
        BACKUPS, COPIES, COPYING, ITEMS, Id, NO_INDEX, Rows, TRASH, Trash, backup_key, copying_key, owner, trash_key,
    },
    target::Target,
    write::Position,
};

/// Items that one transaction copies, and their bytes at most.
const COPIED_MAX: usize = 500;
const COPIED_BYTES_MAX: usize = 2 << 20;
/// More is to be done: the next round comes at once.
const AT_ONCE: Duration = Duration::from_millis(1);

/// A copy that is being made of a table.
#[derive(Clone, Debug, Encode, Decode)]
#[cbor(map)]
pub(crate) struct Copying {
    #[cbor(n(0), with = "minicbor::bytes")]
    pub(crate) id: Id,
    /// The row of the last item that was copied.
    #[n(1)]
    pub(crate) after: Option<ByteVec>,
    /// The backup that it is; otherwise a base of point-in-time recovery.
    #[n(2)]
    pub(crate) backup: Option<String>,
}

/// An item as it was; `None`: there was none.
#[derive(Clone, Debug, Encode, Decode)]
#[cbor(map)]
pub(crate) struct Copied {
    #[n(0)]
    pub(crate) item: Option<ByteVec>,
}

/// That a table is being copied.
#[derive(Clone, Copy, Debug, Encode, Decode)]
#[cbor(map)]
pub(crate) struct CopyTask {
    #[cbor(n(0), with = "minicbor::bytes")]
    pub(crate) id: Id,
}

impl Copied {
    fn of(item: Option<&Item>) -> Self {
        Self { item: item.map(|item| lang_dynamodb::encode(item).into()) }
    }

    /// The item.
    pub(crate) fn into_item(self) -> Result<Option<Item>, Fault> {
        let Some(bytes) = self.item else { return Ok(None) };
        lang_dynamodb::decode(&bytes).map(Some).map_err(|_| crate::error::damaged("a copied item"))
    }
}

/// Begins a copy; the table's record is the caller's to save. There is one at a time.
pub(crate) fn begin(tx: &Tx, target: &mut Target, id: Id, backup: Option<String>) -> Result<(), Fault> {
    target.record.copying = Some(Copying { id, after: None, backup });
    let row = copying_key(target.rows.account, &target.rows.region, &target.name);
    COPYING.put(tx, &row, &CopyTask { id })?;
    tx.wake(&TRASH.global_key(None), 1)
}

/// Copies what is about to change, if the copy has not come to it yet.
pub(crate) fn keep(tx: &Tx, target: &Target, position: &Position, old: Option<&Item>) -> Result<(), Fault> {
    let Some(copying) = &target.record.copying else { return Ok(()) };
    let row = target.rows.item(position.hash, position.range.as_deref());
    if copying.after.as_ref().is_some_and(|after| row.as_bytes() <= after.as_slice()) {
        return Ok(());
    }
    let copies = Rows { id: copying.id, ..target.rows.clone() };
    let copy = copies.copy(position.hash, position.range.as_deref());
    match tx.get(&copy)? {
        Some(_) => Ok(()),
        None => COPIES.put(tx, &copy, &Copied::of(old)),
    }
}

/// Nobody needs a copy any more: its space is freed in the background.
pub(crate) fn discard(tx: &Tx, rows: &Rows, id: Id) -> Result<(), Fault> {
    let trash = Trash { account: rows.account, region: rows.region.clone() };
    TRASH.put(tx, &trash_key(&id, NO_INDEX), &trash)?;
    tx.wake(&TRASH.global_key(None), 1)
}

/// Copies some more items.
pub(crate) fn copy(tx: &Tx) -> Result<Option<Duration>, Fault> {
    let rows = COPYING.global_key(None).prefix();
    let Some((key, task)) = COPYING.scan(tx, &rows, 1, Direction::Forward)?.pop() else { return Ok(None) };
    let mut parts = key.parts()?;
    let (Some(Part::Str(name)), Some(Part::Str(region)), Some(Part::Str(account))) =
        (parts.pop(), parts.pop(), parts.pop())
    else {
        return Err(store_api::DamagedKey.into());
    };
    let (account, region) = owner(&account, &region)?;
    let target = Target::load(tx, account, &region, &name)?;
    let Some(mut target) =
        target.filter(|target| target.record.copying.as_ref().is_some_and(|copying| copying.id == task.id))
    else {
        // The table went, and the copy with it.
        COPYING.remove(tx, &key)?;
        return Ok(Some(AT_ONCE));
    };
    let Some(copying) = target.record.copying.take() else { return Ok(Some(AT_ONCE)) };
    match copy_some(tx, &target, &copying)? {
        Some(last) => {
            let after = Some(last.into_bytes().to_vec().into());
            target.record.copying = Some(Copying { after, ..copying });
        }
        None => {
            COPYING.remove(tx, &key)?;
            match &copying.backup {
                Some(backup) => {
                    let row = backup_key(account, &region, &name, backup);
                    if let Some(mut record) = BACKUPS.get(tx, &row)? {
                        record.complete = true;
                        BACKUPS.put(tx, &row, &record)?;
                    }
                }
                None => recovery::completed(&mut target, copying.id),
            }
        }
    }
    target.save(tx)?;
    Ok(Some(AT_ONCE))
}

/// The row of the last item that was looked at; `None` when there are no more.
fn copy_some(tx: &Tx, target: &Target, copying: &Copying) -> Result<Option<Key>, Fault> {
    let copies = Rows { id: copying.id, ..target.rows.clone() };
    let mut range = target.rows.all(NO_INDEX).prefix();
    if let Some(after) = &copying.after {
        range = range.after(&Key::from_encoded(after));
    }
    let (mut last, mut count, mut bytes) = (None, 0, 0);
    while count < COPIED_MAX && bytes < COPIED_BYTES_MAX {
        let items = ITEMS.scan(tx, &range, 16, Direction::Forward)?;
        if items.is_empty() {
            return Ok(None);
        }
        for (key, stored) in items {
            let position = Position::of(&target.record.keys, &stored.0);
            let position = position.ok_or_else(|| crate::error::damaged("an item's key"))?;
            let row = copies.copy(position.hash, position.range.as_deref());
            if tx.get(&row)?.is_none() {
                bytes += lang_dynamodb::item_size(&stored.0);
                COPIES.put(tx, &row, &Copied::of(Some(&stored.0)))?;
            }
            count += 1;
            range = range.after(&key);
            last = Some(key);
        }
    }
    Ok(last)
}
