//! Kept events: what archives take from their bus, and what they need not keep any more.

use std::time::Duration;

use base_types::{Fault, Timestamp};
use services_kernel::Reconciler;
use store_api::{Direction, Key, Part, Tx};

use crate::{
    EventBridge,
    event::Event,
    names::BusName,
    tables::{ARCHIVES, Id, KEPT, KEPT_SINCE, Kept, Mark, Place, RETAINED, TRASH, last_id, within_of},
};

/// Events that one transaction forgets.
const FORGOTTEN_MAX: usize = 500;
/// Archives looked at in a round.
const ARCHIVES_PER_ROUND: usize = 1000;
const AT_ONCE: Duration = Duration::from_millis(1);

/// Forgets.
pub struct ArchiveReconciler {
    events: EventBridge,
}

impl ArchiveReconciler {
    pub(crate) fn new(events: EventBridge) -> Self {
        Self { events }
    }
}

impl EventBridge {
    /// Keeps an event in an archive of its bus.
    pub(crate) fn keep(&self, tx: &Tx, bus: &BusName, archive: &str, event: &Event, bytes: usize) -> Result<(), Fault> {
        // What comes back is there already.
        if event.replay.is_some() {
            return Ok(());
        }
        let place = bus.place();
        let Some(found) = ARCHIVES.get(tx, &place.named(&ARCHIVES, archive))? else { return Ok(()) };
        let key = place.kept(&KEPT, &found.id).time(event.time).str(&event.id);
        let bytes = bytes as u64;
        KEPT.put(tx, &key, &Kept { event: event.clone(), bytes })?;
        let since = place.kept(&KEPT_SINCE, &found.id).time(tx.now()).time(event.time).str(&event.id);
        KEPT_SINCE.put(tx, &since, &Mark {})?;
        count(tx, &place, &found.id, 1, i64::try_from(bytes).unwrap_or(i64::MAX))
    }
}

fn count(tx: &Tx, place: &Place, id: &Id, events: i64, bytes: i64) -> Result<(), Fault> {
    let [counts, sizes] = place.kept_counters(id);
    tx.add(&counts, events)?;
    tx.add(&sizes, bytes)
}

/// Forgets events of one archive that are older than it keeps them; true when there are more.
fn forget(tx: &Tx, key: &Key) -> Result<bool, Fault> {
    let (place, name) = within_of(key)?;
    let archive = ARCHIVES.get(tx, &place.named(&ARCHIVES, &name))?.filter(|archive| archive.days > 0);
    let Some(archive) = archive else {
        RETAINED.remove(tx, key)?;
        return Ok(false);
    };
    let oldest = tx.now() - Duration::from_secs(u64::from(archive.days) * 24 * 3600);
    let rows = place.kept(&KEPT_SINCE, &archive.id);
    let due = tx.scan(&rows.prefix().before(&rows.clone().time(oldest)), FORGOTTEN_MAX, Direction::Forward)?;
    let (mut events, mut bytes) = (0, 0);
    for (since, _) in &due {
        let mut parts = since.parts()?;
        tx.delete(since)?;
        let (Some(Part::Str(event)), Some(Part::U64(time))) = (parts.pop(), parts.pop()) else { continue };
        let key = place.kept(&KEPT, &archive.id).time(Timestamp::from_millis(time)).str(&event);
        if let Some(kept) = KEPT.get(tx, &key)? {
            KEPT.remove(tx, &key)?;
            events += 1;
            bytes += i64::try_from(kept.bytes).unwrap_or_default();
        }
    }
    count(tx, &place, &archive.id, -events, -bytes)?;
    Ok(due.len() == FORGOTTEN_MAX)
}

/// Frees events of deleted archives; true when there are more.
fn free(tx: &Tx) -> Result<bool, Fault> {
    let Some((key, trash)) = TRASH.scan(tx, &TRASH.global_key(None).prefix(), 1, Direction::Forward)?.pop() else {
        return Ok(false);
    };
    let (id, place) = (last_id(&key)?, Place { account: trash.account, region: trash.region });
    let mut left = FORGOTTEN_MAX;
    for rows in [place.kept(&KEPT, &id), place.kept(&KEPT_SINCE, &id)] {
        for (row, _) in tx.scan(&rows.prefix(), left, Direction::Forward)? {
            tx.delete(&row)?;
            left -= 1;
        }
        if left == 0 {
            return Ok(true);
        }
    }
    for counter in place.kept_counters(&id) {
        tx.delete(&counter)?;
    }
    TRASH.remove(tx, &key)?;
    Ok(true)
}

impl Reconciler for ArchiveReconciler {
    const NAME: &'static str = "event archives";
    const POLL: Duration = Duration::from_secs(60);

    fn topic(&self) -> Key {
        TRASH.global_key(None)
    }

    async fn round(&self) -> Result<Option<Duration>, Fault> {
        let store = &self.events.store;
        let mut more = store.transact(free).await?;
        let retained = store
            .view(|tx| {
                let all = RETAINED.global_key(None).prefix();
                RETAINED.scan(tx, &all, ARCHIVES_PER_ROUND, Direction::Forward)
            })
            .await?;
        for (key, _) in retained {
            more |= store.transact(move |tx| forget(tx, &key)).await?;
        }
        Ok(more.then_some(AT_ONCE))
    }
}
