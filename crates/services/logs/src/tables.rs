//! What is in the store, and the only file that knows keys.
//!
//! | table | key | what |
//! |---|---|---|
//! | `logs.groups` | account · region · name | a group |
//! | `logs.streams` | account · region · group id · name | a stream |
//! | `logs.order` | account · region · group id · time of the last event · name | streams by their last event |
//! | `logs.owners` | (global) stream id | whose a stream is: events name streams by id only |
//! | `logs.retained` | (global) group id | groups whose events expire |
//! | `logs.trash` | (global) id | deleted groups and streams whose rows or events are still there |
//! | `logs.intents` | (global) time · id | what was delivered and is to be appended |
//! | `logs.activity` | (global) | up to where the streams' activity was taken over from the segments |
//!
//! The global ones are declared exceptions to "keys begin with account and region": the reconciler works for all of them,
//! and ids are unique in the installation.

use base_types::{AccountId, Fault, Region, Timestamp};
use minicbor::{Decode, Encode};
use services_kernel::Cx;
use store_api::{Direction, Family, Key, KeyRange, Part, Table, Tx};

const GROUPS: Table<Group> = Table::new(Family::Meta, "logs.groups", 1);
const STREAMS: Table<Stream> = Table::new(Family::Meta, "logs.streams", 1);
const ORDER: Table<Marker> = Table::new(Family::Meta, "logs.order", 1);
const OWNERS: Table<Owner> = Table::new(Family::Meta, "logs.owners", 1);
const RETAINED: Table<Retained> = Table::new(Family::Meta, "logs.retained", 1);
const TRASH: Table<Trash> = Table::new(Family::Queue, "logs.trash", 1);
const INTENTS: Table<Intent> = Table::new(Family::Queue, "logs.intents", 1);
const ACTIVITY: Table<Mark> = Table::new(Family::Meta, "logs.activity", 1);

/// The identity of a group or stream; never reused.
pub(crate) type Id = [u8; 16];

#[derive(Clone, Debug, Encode, Decode)]
#[cbor(map)]
pub(crate) struct Group {
    #[cbor(n(0), with = "minicbor::bytes")]
    pub(crate) id: Id,
    #[n(1)]
    pub(crate) created: Timestamp,
    #[n(2)]
    pub(crate) retention_days: Option<u32>,
    #[n(3)]
    pub(crate) kms_key_id: Option<String>,
    #[n(4)]
    pub(crate) deletion_protected: bool,
}

#[derive(Clone, Debug, Encode, Decode)]
#[cbor(map)]
pub(crate) struct Stream {
    #[cbor(n(0), with = "minicbor::bytes")]
    pub(crate) id: Id,
    #[n(1)]
    pub(crate) created: Timestamp,
    #[n(2)]
    pub(crate) first_event: Option<Timestamp>,
    #[n(3)]
    pub(crate) last_event: Option<Timestamp>,
    #[n(4)]
    pub(crate) last_ingestion: Option<Timestamp>,
}

#[derive(Encode, Decode)]
#[cbor(map)]
struct Marker {}

#[derive(Clone, Debug, Encode, Decode)]
#[cbor(map)]
pub(crate) struct Owner {
    #[n(0)]
    pub(crate) account: AccountId,
    #[n(1)]
    pub(crate) region: Region,
    #[cbor(n(2), with = "minicbor::bytes")]
    pub(crate) group: Id,
    #[n(3)]
    pub(crate) name: String,
}

#[derive(Encode, Decode)]
#[cbor(map)]
struct Retained {
    #[n(0)]
    days: u32,
}

/// Something deleted. A group's streams have rows until the reconciler has removed them.
#[derive(Clone, Debug, Encode, Decode)]
#[cbor(map)]
pub(crate) struct Trash {
    #[n(0)]
    pub(crate) account: AccountId,
    #[n(1)]
    pub(crate) region: Region,
    #[cbor(n(2), with = "minicbor::bytes")]
    pub(crate) group: Id,
    /// The stream, if only one was deleted.
    #[cbor(n(3), with = "minicbor::bytes")]
    pub(crate) stream: Option<Id>,
}

#[derive(Encode, Decode)]
#[cbor(map)]
struct Mark {
    #[n(0)]
    sequence: u64,
}

/// A log event that was delivered and is to be appended.
#[derive(Clone, Debug, Encode, Decode)]
#[cbor(map)]
pub(crate) struct Intent {
    #[cbor(n(0), with = "minicbor::bytes")]
    pub(crate) group: Id,
    #[cbor(n(1), with = "minicbor::bytes")]
    pub(crate) stream: Id,
    #[n(2)]
    pub(crate) at: Timestamp,
    #[cbor(n(3), with = "minicbor::bytes")]
    pub(crate) text: Vec<u8>,
}

/// A group and its name.
pub(crate) type NamedGroup = (String, Group);
/// A stream and its name.
pub(crate) type NamedStream = (String, Stream);

/// Where the rows of an account in a region are.
#[derive(Clone, Copy)]
pub(crate) struct Place<'a> {
    account: AccountId,
    region: &'a Region,
}

impl<'a> Place<'a> {
    pub(crate) fn of(cx: &'a Cx) -> Self {
        Self { account: cx.account, region: &cx.region }
    }

    pub(crate) fn of_trash(trash: &'a Trash) -> Self {
        Self { account: trash.account, region: &trash.region }
    }

    pub(crate) fn of_owner(owner: &'a Owner) -> Self {
        Self { account: owner.account, region: &owner.region }
    }

    fn group_key(self, name: &str) -> Key {
        GROUPS.key(self.account, self.region).str(name)
    }

    fn streams_of(self, group: &Id) -> Key {
        STREAMS.key(self.account, self.region).bytes(group)
    }

    fn order_of(self, group: &Id) -> Key {
        ORDER.key(self.account, self.region).bytes(group)
    }

    fn order_key(self, group: &Id, last_event: Option<Timestamp>, name: &str) -> Key {
        self.order_of(group).time(last_event.unwrap_or(Timestamp::EPOCH)).str(name)
    }

    pub(crate) fn group(self, tx: &Tx, name: &str) -> Result<Option<Group>, Fault> {
        GROUPS.get(tx, &self.group_key(name))
    }

    pub(crate) fn put_group(self, tx: &Tx, name: &str, group: &Group) -> Result<(), Fault> {
        let key = retained_key(&group.id);
        match group.retention_days {
            Some(days) => RETAINED.put(tx, &key, &Retained { days })?,
            None => RETAINED.remove(tx, &key)?,
        }
        GROUPS.put(tx, &self.group_key(name), group)
    }

    /// Removes a group and puts what hangs on it into the trash.
    pub(crate) fn remove_group(self, tx: &Tx, name: &str, group: &Group) -> Result<(), Fault> {
        GROUPS.remove(tx, &self.group_key(name))?;
        RETAINED.remove(tx, &retained_key(&group.id))?;
        self.discard(tx, group.id, None)
    }

    /// Groups by name behind `after`, whose names begin with `prefix`.
    pub(crate) fn groups(
        self,
        tx: &Tx,
        prefix: &str,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<NamedGroup>, Fault> {
        let mut range = beginning_with(&GROUPS.key(self.account, self.region), prefix);
        if let Some(after) = after {
            range = range.after(&self.group_key(after));
        }
        named(GROUPS.scan(tx, &range, limit, Direction::Forward)?)
    }

    pub(crate) fn stream(self, tx: &Tx, group: &Id, name: &str) -> Result<Option<Stream>, Fault> {
        STREAMS.get(tx, &self.streams_of(group).str(name))
    }

    pub(crate) fn put_new_stream(self, tx: &Tx, group: &Id, name: &str, stream: &Stream) -> Result<(), Fault> {
        let owner = Owner { account: self.account, region: self.region.clone(), group: *group, name: name.to_owned() };
        OWNERS.put(tx, &owner_key(&stream.id), &owner)?;
        ORDER.put(tx, &self.order_key(group, stream.last_event, name), &Marker {})?;
        STREAMS.put(tx, &self.streams_of(group).str(name), stream)
    }

    /// Writes a stream whose last event may have changed from `before`.
    pub(crate) fn update_stream(
        self,
        tx: &Tx,
        group: &Id,
        name: &str,
        before: Option<Timestamp>,
        stream: &Stream,
    ) -> Result<(), Fault> {
        if before != stream.last_event {
            ORDER.remove(tx, &self.order_key(group, before, name))?;
            ORDER.put(tx, &self.order_key(group, stream.last_event, name), &Marker {})?;
        }
        STREAMS.put(tx, &self.streams_of(group).str(name), stream)
    }

    /// Removes a stream and puts its events into the trash.
    pub(crate) fn remove_stream(self, tx: &Tx, group: &Id, name: &str, stream: &Stream) -> Result<(), Fault> {
        self.remove_stream_rows(tx, group, name, stream)?;
        self.discard(tx, *group, Some(stream.id))
    }

    fn remove_stream_rows(self, tx: &Tx, group: &Id, name: &str, stream: &Stream) -> Result<(), Fault> {
        OWNERS.remove(tx, &owner_key(&stream.id))?;
        ORDER.remove(tx, &self.order_key(group, stream.last_event, name))?;
        STREAMS.remove(tx, &self.streams_of(group).str(name))
    }

    /// Removes up to `limit` rows of a deleted group's streams; whether that were all.
    pub(crate) fn remove_streams(self, tx: &Tx, group: &Id, limit: usize) -> Result<bool, Fault> {
        let streams = self.streams(tx, group, "", None, Direction::Forward, limit)?;
        for (name, stream) in &streams {
            self.remove_stream_rows(tx, group, name, stream)?;
        }
        Ok(streams.len() < limit)
    }

    /// Streams by name beyond `beyond`, whose names begin with `prefix`.
    pub(crate) fn streams(
        self,
        tx: &Tx,
        group: &Id,
        prefix: &str,
        beyond: Option<&str>,
        direction: Direction,
        limit: usize,
    ) -> Result<Vec<NamedStream>, Fault> {
        let mut range = beginning_with(&self.streams_of(group), prefix);
        if let Some(beyond) = beyond {
            range = go_on(range, &self.streams_of(group).str(beyond), direction);
        }
        named(STREAMS.scan(tx, &range, limit, direction)?)
    }

    /// Streams by the time of their last event, as far as it was taken over.
    pub(crate) fn streams_by_time(
        self,
        tx: &Tx,
        group: &Id,
        beyond: Option<(u64, &str)>,
        direction: Direction,
        limit: usize,
    ) -> Result<Vec<(u64, NamedStream)>, Fault> {
        let mut range = self.order_of(group).prefix();
        if let Some((time, name)) = beyond {
            let key = self.order_key(group, Some(Timestamp::from_millis(time)), name);
            range = go_on(range, &key, direction);
        }
        let mut streams = Vec::new();
        for (key, _) in ORDER.scan(tx, &range, limit, direction)? {
            let parts = key.parts()?;
            let [.., Part::U64(time), Part::Str(name)] = parts.as_slice() else {
                return Err(store_api::DamagedKey.into());
            };
            if let Some(stream) = self.stream(tx, group, name)? {
                streams.push((*time, (name.clone(), stream)));
            }
        }
        Ok(streams)
    }

    fn discard(self, tx: &Tx, group: Id, stream: Option<Id>) -> Result<(), Fault> {
        let trash = Trash { account: self.account, region: self.region.clone(), group, stream };
        TRASH.put(tx, &trash_key(&stream.unwrap_or(group)), &trash)?;
        tx.wake(&trash_topic(), 1)
    }
}

fn named<V>(rows: Vec<(Key, V)>) -> Result<Vec<(String, V)>, Fault> {
    rows.into_iter().map(|(key, row)| Ok((key.last_str()?, row))).collect()
}

/// The keys below `base` whose next text begins with `prefix`.
fn beginning_with(base: &Key, prefix: &str) -> KeyRange {
    let range = base.prefix();
    if prefix.is_empty() {
        return range;
    }
    // No name holds the last character of Unicode.
    range.starting_at(&base.clone().str(prefix)).before(&base.clone().str(&format!("{prefix}\u{10ffff}")))
}

fn go_on(range: KeyRange, key: &Key, direction: Direction) -> KeyRange {
    match direction {
        Direction::Forward => range.after(key),
        Direction::Reverse => range.before(key),
    }
}

fn owner_key(stream: &Id) -> Key {
    OWNERS.global_key(None).bytes(stream)
}

fn retained_key(group: &Id) -> Key {
    RETAINED.global_key(None).bytes(group)
}

fn trash_key(id: &Id) -> Key {
    TRASH.global_key(None).bytes(id)
}

/// Woken when something was deleted.
pub(crate) fn trash_topic() -> Key {
    TRASH.global_key(None)
}

/// Whose a stream is; `None` when it was deleted.
pub(crate) fn owner(tx: &Tx, stream: &Id) -> Result<Option<Owner>, Fault> {
    OWNERS.get(tx, &owner_key(stream))
}

/// All groups whose events expire, and after how many days.
pub(crate) fn retained(tx: &Tx, after: Option<&Id>, limit: usize) -> Result<Vec<(Id, u32)>, Fault> {
    let mut range = RETAINED.global_key(None).prefix();
    if let Some(after) = after {
        range = range.after(&retained_key(after));
    }
    let mut groups = Vec::new();
    for (key, row) in RETAINED.scan(tx, &range, limit, Direction::Forward)? {
        if let Some(Part::Bytes(bytes)) = key.parts()?.pop()
            && let Ok(id) = Id::try_from(bytes.as_slice())
        {
            groups.push((id, row.days));
        }
    }
    Ok(groups)
}

pub(crate) fn trash(tx: &Tx, limit: usize) -> Result<Vec<Trash>, Fault> {
    let rows = TRASH.scan(tx, &TRASH.global_key(None).prefix(), limit, Direction::Forward)?;
    Ok(rows.into_iter().map(|(_, row)| row).collect())
}

pub(crate) fn empty_trash(tx: &Tx, trash: &Trash) -> Result<(), Fault> {
    TRASH.remove(tx, &trash_key(&trash.stream.unwrap_or(trash.group)))
}

pub(crate) fn activity_mark(tx: &Tx) -> Result<u64, Fault> {
    Ok(ACTIVITY.get(tx, &ACTIVITY.global_key(None))?.map_or(0, |mark| mark.sequence))
}

pub(crate) fn put_activity_mark(tx: &Tx, sequence: u64) -> Result<(), Fault> {
    ACTIVITY.put(tx, &ACTIVITY.global_key(None), &Mark { sequence })
}

/// Woken when something was delivered.
pub(crate) fn intents_topic() -> Key {
    INTENTS.global_key(None)
}

pub(crate) fn put_intent(tx: &Tx, id: &Id, intent: &Intent) -> Result<(), Fault> {
    INTENTS.put(tx, &INTENTS.global_key(None).time(tx.now()).bytes(id), intent)?;
    tx.wake(&intents_topic(), 1)
}

/// What is to be appended, the oldest first.
pub(crate) fn intents(tx: &Tx, limit: usize) -> Result<Vec<(Key, Intent)>, Fault> {
    INTENTS.scan(tx, &INTENTS.global_key(None).prefix(), limit, Direction::Forward)
}
