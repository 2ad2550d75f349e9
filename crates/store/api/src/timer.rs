//! Durable timers: one due time per resource (a queue, a table, a schedule group), not one per message.
//!
//! Timers live in groups; a reconciler owns a group, waits for [`Store::timer_due`], asks [`Tx::due_timers`] what is
//! due, does it, and
//! sets or cancels each timer in the same transaction.

use base_types::{Fault, Timestamp};
use bytes::Bytes;

use crate::{Direction, Family, Key, Part, Store, Tx};

fn by_due(group: &str) -> Key {
    Key::system(Family::Queue).str("timer").str(group)
}

fn by_key(group: &str, key: &Key) -> Key {
    Key::system(Family::Meta).str("timer").str(group).bytes(key.as_bytes())
}

fn topic(group: &str) -> Key {
    Key::system(Family::Queue).str("timer-topic").str(group)
}

impl Tx {
    /// Sets the timer of `key` in `group` to `due`, in place of an earlier setting.
    ///
    /// # Errors
    /// As [`Tx::put`].
    pub fn set_timer(&self, group: &str, key: &Key, due: Timestamp) -> Result<(), Fault> {
        if self.timer(group, key)? == Some(due) {
            return Ok(());
        }
        let head = self.scan(&by_due(group).prefix(), 1, Direction::Forward)?;
        self.cancel_timer(group, key)?;
        self.put(&by_key(group, key), Bytes::copy_from_slice(&due.as_millis().to_be_bytes()))?;
        let entry = by_due(group).time(due).bytes(key.as_bytes());
        self.put(&entry, Bytes::new())?;
        // Only an earlier first due time changes how long anybody may sleep.
        if head.first().is_none_or(|(first, _)| entry < *first) {
            self.wake(&topic(group), usize::MAX)?;
        }
        Ok(())
    }

    /// Removes the timer of `key` in `group`, whether or not it is set.
    ///
    /// # Errors
    /// As [`Tx::put`].
    pub fn cancel_timer(&self, group: &str, key: &Key) -> Result<(), Fault> {
        if let Some(due) = self.timer(group, key)? {
            self.delete(&by_due(group).time(due).bytes(key.as_bytes()))?;
            self.delete(&by_key(group, key))?;
        }
        Ok(())
    }

    /// When the timer of `key` in `group` is due, if it is set.
    ///
    /// # Errors
    /// As [`Tx::get`].
    pub fn timer(&self, group: &str, key: &Key) -> Result<Option<Timestamp>, Fault> {
        let Some(value) = self.get(&by_key(group, key))? else { return Ok(None) };
        let millis = <[u8; 8]>::try_from(&value[..]).map_err(|error| Fault::internal("read a timer", error))?;
        Ok(Some(Timestamp::from_millis(u64::from_be_bytes(millis))))
    }

    /// At most `limit` timers of `group` that are due now, the earliest first. They stay set.
    ///
    /// # Errors
    /// As [`Tx::scan`].
    pub fn due_timers(&self, group: &str, limit: usize) -> Result<Vec<(Key, Timestamp)>, Fault> {
        let due = by_due(group).prefix().before(&by_due(group).u64(self.now().as_millis() + 1));
        self.scan(&due, limit, Direction::Forward)?.iter().map(|(entry, _)| decode(entry)).collect()
    }

    fn first_timer(&self, group: &str) -> Result<Option<Timestamp>, Fault> {
        let head = self.snapshot_scan(&by_due(group).prefix(), 1, Direction::Forward)?;
        head.first().map(|(entry, _)| Ok(decode(entry)?.1)).transpose()
    }
}

fn decode(entry: &Key) -> Result<(Key, Timestamp), Fault> {
    let mut parts = entry.parts()?;
    match (parts.pop(), parts.pop()) {
        (Some(Part::Bytes(key)), Some(Part::U64(due))) => Ok((Key::from_encoded(&key), Timestamp::from_millis(due))),
        _ => Err(crate::key::DamagedKey.into()),
    }
}

impl Store {
    /// Returns when at least one timer of `group` is due.
    ///
    /// # Errors
    /// A fault of the store.
    pub async fn timer_due(&self, group: &str) -> Result<(), Fault> {
        loop {
            let waiter = self.waiter(&topic(group));
            let name = group.to_owned();
            let first = self.view(move |tx| Ok::<_, Fault>((tx.first_timer(&name)?, tx.now()))).await?;
            match first {
                (Some(due), now) if due <= now => return Ok(()),
                // Woken early or the time has come: look again either way.
                (Some(due), now) => drop(self.env().timeout(due.since(now), waiter.wait()).await),
                (None, _) => waiter.wait().await,
            }
        }
    }
}
