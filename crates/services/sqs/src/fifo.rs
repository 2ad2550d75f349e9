//! Groups: messages in order, and none while an earlier one is in flight.
//!
//! A group is among the ready ones, under the number of its first message, exactly while that message can be received and
//! none of the group is in flight.

use std::time::Duration;

use base_types::{Fault, Timestamp};
use services_kernel::Cx;
use sha2::{Digest, Sha256};
use store_api::{Direction, Key, Tx};

use crate::{
    flow::{Catch, Found, Net, Taken},
    message::hex,
    tables::{
        ATTEMPTS, Attempt, BODIES, GROUPS, Group, HIDDEN, Hidden, MEMBERS, MEMORY, Mark, READY, Ready, Record, SENT,
        Sent, last_number,
    },
};

/// How long a deduplication id and a receive attempt are remembered (AWS: 5 minutes).
const MEMORY_TIME: Duration = Duration::from_secs(300);
/// What one send or receive forgets at most: more than it adds.
const FORGOTTEN_MAX: usize = 4;

/// A message joins its group.
pub(crate) fn join(found: &Found, tx: &Tx, name: &str, number: u64, record: &Record) -> Result<(), Fault> {
    MEMBERS.put(tx, &member(found, name, number), record)?;
    let group = GROUPS.get(tx, &key(found, name))?.unwrap_or_default();
    settle(found, tx, name, group)
}

/// A message of the group can be seen again, or for the first time.
pub(crate) fn come_back(found: &Found, tx: &Tx, name: &str, number: u64, hidden: &Hidden) -> Result<(), Fault> {
    MEMBERS.put(tx, &member(found, name, number), &hidden.record)?;
    if hidden.delayed {
        let group = GROUPS.get(tx, &key(found, name))?.unwrap_or_default();
        settle(found, tx, name, group)
    } else {
        land(found, tx, name)
    }
}

/// A message in flight leaves its group for good.
pub(crate) fn leave(found: &Found, tx: &Tx, name: &str, number: u64) -> Result<(), Fault> {
    MEMBERS.remove(tx, &member(found, name, number))?;
    land(found, tx, name)
}

fn land(found: &Found, tx: &Tx, name: &str) -> Result<(), Fault> {
    let mut group = GROUPS.get(tx, &key(found, name))?.unwrap_or_default();
    group.in_flight = group.in_flight.saturating_sub(1);
    settle(found, tx, name, group)
}

/// A message has expired in its group.
pub(crate) fn expire(found: &Found, tx: &Tx, name: &str, number: u64, flying: bool) -> Result<(), Fault> {
    MEMBERS.remove(tx, &member(found, name, number))?;
    let mut group = GROUPS.get(tx, &key(found, name))?.unwrap_or_default();
    if group.filed == Some(number) {
        READY.remove(tx, &found.row(&READY, number))?;
        group.filed = None;
    }
    if flying {
        group.in_flight = group.in_flight.saturating_sub(1);
    }
    settle(found, tx, name, group)
}

/// The first messages of a group that can be received, by number.
pub(crate) fn waiting(found: &Found, tx: &Tx, name: &str, limit: usize) -> Result<Vec<u64>, Fault> {
    let first = MEMBERS.scan(tx, &members(found, name).prefix(), limit, Direction::Forward)?;
    let ready = first.iter().take_while(|(_, record)| record.visible <= tx.now());
    ready.map(|(row, _)| last_number(row)).collect()
}

/// Files the group among the ready ones if it can be received from; forgets it when it is empty.
fn settle(found: &Found, tx: &Tx, name: &str, mut group: Group) -> Result<(), Fault> {
    if group.in_flight == 0 && group.filed.is_none() {
        let first = MEMBERS.scan(tx, &members(found, name).prefix(), 1, Direction::Forward)?;
        match first.first() {
            None => return GROUPS.remove(tx, &key(found, name)),
            Some((row, record)) if record.visible <= tx.now() => {
                let number = last_number(row)?;
                READY.put(tx, &found.row(&READY, number), &Ready { record: None, group: Some(name.to_owned()) })?;
                group.filed = Some(number);
                tx.wake(&found.topic(), 1)?;
            }
            // It is hidden, and comes back by itself.
            Some(_) => {}
        }
    }
    GROUPS.put(tx, &key(found, name), &group)
}

/// Takes messages of a ready group, in order, as many as there is room for.
pub(crate) fn take(
    found: &Found,
    cx: &Cx,
    tx: &Tx,
    name: &str,
    filed: u64,
    wanted: usize,
    net: &mut Net,
) -> Result<(), Fault> {
    let left = wanted - net.taken.len();
    if left == 0 || net.is_full() {
        return Ok(());
    }
    READY.remove(tx, &found.row(&READY, filed))?;
    let mut group = GROUPS.get(tx, &key(found, name))?.unwrap_or_default();
    group.filed = None;
    for (row, record) in MEMBERS.scan(tx, &members(found, name).prefix(), left, Direction::Forward)? {
        if record.visible > tx.now() || net.is_full() {
            break;
        }
        let number = last_number(&row)?;
        let body = BODIES.get(tx, &found.row(&BODIES, number))?;
        let taken = body.map(|body| found.take_one(cx, tx, number, body, record, Some(name), net)).transpose()?;
        match taken.flatten() {
            Some(taken) => {
                MEMBERS.put(tx, &row, &taken.record)?;
                group.in_flight += 1;
                net.taken.push(taken);
            }
            None => MEMBERS.remove(tx, &row)?,
        }
    }
    settle(found, tx, name, group)
}

/// The deduplication id of a message: the given one, or the digest of its body.
pub(crate) fn deduplication_id(given: Option<&str>, text: &str) -> String {
    given.map_or_else(|| hex(&Sha256::digest(text)), str::to_owned)
}

/// What was sent with this deduplication id, if it is remembered.
pub(crate) fn sent(found: &Found, tx: &Tx, group: &str, id: &str) -> Result<Option<Sent>, Fault> {
    forget(found, tx)?;
    Ok(SENT.get(tx, &sent_key(found, group, id))?.filter(|sent| sent.expires > tx.now()))
}

/// Remembers what was sent with this deduplication id.
pub(crate) fn remember(
    found: &Found,
    tx: &Tx,
    group: &str,
    id: &str,
    number: u64,
    message_id: &str,
) -> Result<(), Fault> {
    let key = sent_key(found, group, id);
    let expires = tx.now() + MEMORY_TIME;
    MEMORY.put(tx, &found.place.rows(&MEMORY, &found.queue.id).time(expires).bytes(key.as_bytes()), &Mark {})?;
    SENT.put(tx, &key, &Sent { number, message_id: message_id.to_owned(), expires })
}

/// What an earlier receive of the same attempt was given, as far as it still holds it; its visibility begins anew.
pub(crate) fn repeat(found: &Found, tx: &Tx, attempt: &str, seconds: u32) -> Result<Option<Catch>, Fault> {
    forget(found, tx)?;
    let earlier = ATTEMPTS.get(tx, &attempt_key(found, attempt))?.filter(|earlier| earlier.expires > tx.now());
    let Some(earlier) = earlier else { return Ok(None) };
    let mut taken = Vec::new();
    for (number, receive) in earlier.given {
        let Some(mut hidden) = HIDDEN.get(tx, &found.row(&HIDDEN, number))? else { continue };
        if hidden.delayed || hidden.record.receives != receive || hidden.record.visible <= tx.now() {
            continue;
        }
        let Some(body) = BODIES.get(tx, &found.row(&BODIES, number))? else { continue };
        crate::tables::DUE.remove(tx, &found.due(&hidden.record, number))?;
        hidden.record.visible = tx.now() + Duration::from_secs(seconds.into());
        found.hide(tx, number, &hidden)?;
        taken.push(Taken { number, record: hidden.record, body });
    }
    Ok((!taken.is_empty()).then_some(Catch { taken, next_due: None, more: false }))
}

/// Remembers what a receive attempt was given.
pub(crate) fn remember_attempt(found: &Found, tx: &Tx, attempt: &str, taken: &[Taken]) -> Result<(), Fault> {
    let key = attempt_key(found, attempt);
    let expires = tx.now() + MEMORY_TIME;
    MEMORY.put(tx, &found.place.rows(&MEMORY, &found.queue.id).time(expires).bytes(key.as_bytes()), &Mark {})?;
    let given = taken.iter().map(|taken| (taken.number, taken.record.receives)).collect();
    ATTEMPTS.put(tx, &key, &Attempt { expires, given })
}

/// Forgets some of what is not remembered any more.
fn forget(found: &Found, tx: &Tx) -> Result<(), Fault> {
    let rows = found.place.rows(&MEMORY, &found.queue.id);
    let before = rows.prefix().before(&rows.clone().time(tx.now()));
    for (entry, _) in tx.scan(&before, FORGOTTEN_MAX, Direction::Forward)? {
        if let Some(store_api::Part::Bytes(key)) = entry.parts()?.pop() {
            let key = Key::from_encoded(&key);
            // It may have been used again since: then it has a later entry of its own.
            if expires(tx, &key)?.is_some_and(|expires| expires <= tx.now()) {
                tx.delete(&key)?;
            }
        }
        tx.delete(&entry)?;
    }
    Ok(())
}

/// When what is under this key is forgotten: a deduplication id or an attempt.
fn expires(tx: &Tx, key: &Key) -> Result<Option<Timestamp>, Fault> {
    let attempt = key.parts()?.iter().any(|part| *part == store_api::Part::Str("sqs.attempts".to_owned()));
    Ok(if attempt {
        ATTEMPTS.get(tx, key)?.map(|attempt| attempt.expires)
    } else {
        SENT.get(tx, key)?.map(|sent| sent.expires)
    })
}

fn key(found: &Found, name: &str) -> Key {
    found.place.rows(&GROUPS, &found.queue.id).str(name)
}

fn members(found: &Found, name: &str) -> Key {
    found.place.rows(&MEMBERS, &found.queue.id).str(name)
}

fn member(found: &Found, name: &str, number: u64) -> Key {
    members(found, name).u64(number)
}

/// Within the whole queue, or within the group.
fn sent_key(found: &Found, group: &str, id: &str) -> Key {
    let by_group = found.queue.attributes.fifo.is_some_and(|fifo| fifo.by_group);
    found.place.rows(&SENT, &found.queue.id).str(if by_group { group } else { "" }).str(id)
}

fn attempt_key(found: &Found, attempt: &str) -> Key {
    found.place.rows(&ATTEMPTS, &found.queue.id).str(attempt)
}
