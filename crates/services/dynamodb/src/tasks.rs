//! The background work: filling new indexes, expiry of items, copies and what is restored from them, and the space of what
//! was deleted.

use std::time::Duration;

use base_types::{Fault, Timestamp};
use model_dynamodb::Error;
use services_kernel::Reconciler;
use store_api::{Direction, Key, Part, Store, Tx};

use crate::{
    copies, recovery, restore,
    tables::{BACKFILL, Backfill, EXPIRY, Expiring, ITEMS, NO_INDEX, Rows, TRASH, owner},
    target::Target,
    write::{self, Position, has_expired, place_of},
};

/// Rows that one transaction frees.
const FREED_MAX: usize = 1000;
/// Items that one transaction files into an index, and their bytes at most.
const FILLED_MAX: usize = 200;
const FILLED_BYTES_MAX: usize = 1 << 20;
/// Items that one transaction lets expire.
const EXPIRED_MAX: usize = 100;
/// More is to be done: the next round comes at once.
const AT_ONCE: Duration = Duration::from_millis(1);

/// Keeps tables tidy.
pub struct DynamoDbReconciler {
    store: Store,
}

impl DynamoDbReconciler {
    pub(crate) fn new(store: Store) -> Self {
        Self { store }
    }
}

impl Reconciler for DynamoDbReconciler {
    const NAME: &'static str = "tables";
    const POLL: Duration = Duration::from_secs(10);

    fn topic(&self) -> Key {
        TRASH.global_key(None)
    }

    async fn round(&self) -> Result<Option<Duration>, Fault> {
        let filled = self.store.transact(fill).await?;
        let expired = self.store.transact(expire).await?;
        let copied = self.store.transact(copies::copy).await?;
        let restored = self.store.transact(restore::restore).await?;
        let env = self.store.env().clone();
        let tended = self.store.transact(move |tx| recovery::look_after(tx, &env)).await?;
        let freed = self.store.transact(free).await?;
        Ok([filled, expired, copied, restored, tended, freed].into_iter().flatten().min())
    }
}

/// Frees rows of what cannot be reached any more.
fn free(tx: &Tx) -> Result<Option<Duration>, Fault> {
    let Some((key, trash)) = TRASH.scan(tx, &TRASH.global_key(None).prefix(), 1, Direction::Forward)?.pop() else {
        return Ok(None);
    };
    let mut parts = key.parts()?;
    let (Some(Part::U64(index)), Some(Part::Bytes(id))) = (parts.pop(), parts.pop()) else {
        return Err(store_api::DamagedKey.into());
    };
    let id = id.try_into().map_err(|_| store_api::DamagedKey)?;
    let rows = Rows { account: trash.account, region: trash.region, id };
    let mut left = FREED_MAX;
    for remains in rows.remains(index) {
        // Large items: a few at a time, as reading them has a bound, too.
        for (row, _) in tx.scan(&remains.prefix(), left.min(64), Direction::Forward)? {
            tx.delete(&row)?;
            left -= 1;
        }
        if left < FREED_MAX {
            return Ok(Some(AT_ONCE));
        }
    }
    TRASH.remove(tx, &key)?;
    Ok(Some(AT_ONCE))
}

/// Files some more items into what is being filled.
fn fill(tx: &Tx) -> Result<Option<Duration>, Fault> {
    let rows = BACKFILL.global_key(None).prefix();
    let Some((key, task)) = BACKFILL.scan(tx, &rows, 1, Direction::Forward)?.pop() else { return Ok(None) };
    let mut parts = key.parts()?;
    let (Some(Part::U64(index)), Some(Part::Str(name)), Some(Part::Str(region)), Some(Part::Str(account))) =
        (parts.pop(), parts.pop(), parts.pop(), parts.pop())
    else {
        return Err(store_api::DamagedKey.into());
    };
    let (account, region) = owner(&account, &region)?;
    let target = Target::load(tx, account, &region, &name)?.filter(|target| target.record.id == task.id);
    let after = match &target {
        Some(target) => fill_some(tx, target, index, &task)?,
        None => None,
    };
    match (after, target) {
        (Some(after), _) => {
            BACKFILL.put(tx, &key, &Backfill { after: Some(after.into_bytes().to_vec().into()), ..task })?
        }
        (None, target) => {
            BACKFILL.remove(tx, &key)?;
            if let Some(mut target) = target {
                for filled in target.record.indexes.iter_mut().filter(|filled| filled.number == index) {
                    filled.filling = false;
                }
                target.save(tx)?;
            }
        }
    }
    Ok(Some(AT_ONCE))
}

/// The last key that was handled; `None` when there are no more.
fn fill_some(tx: &Tx, target: &Target, number: u64, task: &Backfill) -> Result<Option<Key>, Fault> {
    let index = target.record.indexes.iter().find(|index| index.number == number);
    if index.is_none() && (number != NO_INDEX || target.record.ttl.is_none()) {
        return Ok(None);
    }
    let mut range = target.rows.all(NO_INDEX).prefix();
    if let Some(after) = &task.after {
        range = range.after(&Key::from_encoded(after));
    }
    let (mut last, mut bytes, mut count) = (None, 0, 0);
    while count < FILLED_MAX && bytes < FILLED_BYTES_MAX {
        let items = ITEMS.scan(tx, &range, 16, Direction::Forward)?;
        if items.is_empty() {
            return Ok(None);
        }
        for (key, stored) in items {
            let item = stored.0;
            match index {
                // What was written since has its entry already; then nothing is counted twice.
                Some(index) if is_filed(tx, target, index, &item)? => {}
                Some(index) => {
                    write::reindex(tx, target, index, place_of(&target.record, &item), None, Some(&item))?;
                }
                None => write::schedule(tx, target, &item)?,
            }
            bytes += lang_dynamodb::item_size(&item);
            count += 1;
            range = range.after(&key);
            last = Some(key);
        }
    }
    Ok(last)
}

fn is_filed(tx: &Tx, target: &Target, index: &crate::table::Index, item: &lang_dynamodb::Item) -> Result<bool, Fault> {
    let Some(position) = Position::of(&index.keys, item) else { return Ok(false) };
    let place = place_of(&target.record, item);
    let row = target.rows.entry(index.number, position.hash, position.range.as_deref(), place);
    Ok(tx.get(&row)?.is_some())
}

/// Lets items expire whose time has come; when the next does.
fn expire(tx: &Tx) -> Result<Option<Duration>, Fault> {
    let due = EXPIRY.scan(tx, &EXPIRY.global_key(None).prefix(), EXPIRED_MAX, Direction::Forward)?;
    let looked_at = due.len();
    for (key, expiring) in due {
        // Behind the empty account and region of a global key: table, time, account, region, name, two numbers.
        let mut parts = key.parts()?;
        parts.truncate(parts.len().saturating_sub(2));
        let (Some(Part::Str(name)), Some(Part::Str(region)), Some(Part::Str(account)), Some(Part::U64(at))) =
            (parts.pop(), parts.pop(), parts.pop(), parts.pop())
        else {
            return Err(store_api::DamagedKey.into());
        };
        let at = Timestamp::from_millis(at);
        if at > tx.now() {
            return Ok(Some(at.since(tx.now()).max(AT_ONCE)));
        }
        tx.delete(&key)?;
        let (account, region) = owner(&account, &region)?;
        if let Some(target) = Target::load(tx, account, &region, &name)? {
            expire_one(tx, &target, &expiring)?;
        }
    }
    Ok((looked_at == EXPIRED_MAX).then_some(AT_ONCE))
}

fn expire_one(tx: &Tx, target: &Target, expiring: &Expiring) -> Result<(), Fault> {
    if target.record.id != expiring.id {
        return Ok(());
    }
    let key =
        lang_dynamodb::decode(&expiring.key).map_err(|_| crate::error::damaged("the key of an item that expires"))?;
    let Some(item) = write::read(tx, target, &key)? else { return Ok(()) };
    if !has_expired(&target.record, &item, tx.now()) {
        return Ok(());
    }
    match write::replace(tx, target, Some(&item), None, true) {
        Ok(_) => Ok(()),
        Err(Error::Fault(fault)) => Err(fault),
        Err(_) => Err(crate::error::damaged("an item that expires")),
    }
}
