//! The reconciler: removes parts that nobody refers to any more, and configurations of deleted buckets.

use std::time::Duration;

use base_types::Fault;
use services_kernel::Reconciler;
use store_api::{Direction, Family, Key, Part as KeyPart, Store, Tx};

use crate::tables::{self, CONFIG, EMPTIED, Id, PARTS, TRASH};

/// Records removed in one transaction.
const PAGE: usize = 500;

/// Where commits tell that there is something to do.
pub(crate) fn topic() -> Key {
    Key::global(Family::Queue, None).str("s3.tasks")
}

/// See the module.
pub struct S3Reconciler {
    store: Store,
}

impl S3Reconciler {
    pub(crate) fn new(store: Store) -> Self {
        Self { store }
    }
}

impl Reconciler for S3Reconciler {
    const NAME: &'static str = "s3";

    fn topic(&self) -> Key {
        topic()
    }

    async fn round(&self) -> Result<Option<Duration>, Fault> {
        loop {
            let more = self.store.transact(|tx| Ok::<_, Fault>(remove_parts(tx)? | remove_configurations(tx)?)).await?;
            if !more {
                return Ok(None);
            }
        }
    }
}

/// One page of one upload's parts; whether there is more to do.
fn remove_parts(tx: &Tx) -> Result<bool, Fault> {
    let Some((key, trash)) = TRASH.scan(tx, &tables::all_trash().prefix(), 1, Direction::Forward)?.pop() else {
        return Ok(false);
    };
    let upload = identity(&key)?;
    let mut removed = 0;
    let mut range = tables::parts(upload).prefix();
    loop {
        let page = PARTS.scan(tx, &range, PAGE, Direction::Forward)?;
        let Some((last, _)) = page.last() else { break };
        range = range.after(last);
        for (key, part) in page {
            if matches!(key.parts()?.pop(), Some(KeyPart::U64(number)) if trash.kept.iter().any(|kept| u64::from(*kept) == number))
            {
                continue;
            }
            tables::release(tx, part.id, &part.pieces)?;
            PARTS.remove(tx, &key)?;
            removed += 1;
            if removed >= PAGE {
                return Ok(true);
            }
        }
    }
    TRASH.remove(tx, &key)?;
    Ok(true)
}

fn remove_configurations(tx: &Tx) -> Result<bool, Fault> {
    let Some((key, _)) = EMPTIED.scan(tx, &tables::all_emptied().prefix(), 1, Direction::Forward)?.pop() else {
        return Ok(false);
    };
    let page = CONFIG.scan(tx, &tables::configs(identity(&key)?).prefix(), PAGE, Direction::Forward)?;
    if page.is_empty() {
        EMPTIED.remove(tx, &key)?;
    }
    for (key, _) in page {
        CONFIG.remove(tx, &key)?;
    }
    Ok(true)
}

fn identity(key: &Key) -> Result<Id, Fault> {
    match key.parts()?.pop() {
        Some(KeyPart::Bytes(bytes)) => bytes.try_into().map_err(|_| tables::damaged()),
        _ => Err(tables::damaged()),
    }
}
