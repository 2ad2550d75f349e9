//! What is in the store, and the only file that knows keys.
//!
//! | table | key | what |
//! |---|---|---|
//! | `scheduler.groups` | account · region · name | a group (the default one from its first schedule on) |
//! | `scheduler.schedules` | account · region · group · name | a schedule, without its input |
//! | `scheduler.inputs` | account · region · group · name | a schedule's input |
//! | `scheduler.count` | account · region | counter: schedules |
//! | `scheduler.filed` | account · region · group · name | for when a schedule is filed |
//! | `scheduler.due` | (global) time · account · region · group · name | schedules by when they are due |
//! | `scheduler.executions` | (global) time · id | what is to be tried (again), by when |
//! | `scheduler.deleting` | (global) account · region · group | groups that are being deleted |
//!
//! The global ones are declared exceptions to "keys begin with account and region": the reconciler works for all of them.

use base_types::{AccountId, Fault, Region, Timestamp};
use minicbor::{Decode, Encode};
use store_api::{DamagedKey, Direction, Family, Key, Part, Table, Tx};

use crate::names::{Named, Place};

pub(crate) const GROUPS: Table<Group> = Table::new(Family::Meta, "scheduler.groups", 1);
pub(crate) const SCHEDULES: Table<Schedule> = Table::new(Family::Meta, "scheduler.schedules", 1);
const INPUTS: Table<Input> = Table::new(Family::Item, "scheduler.inputs", 1);
const FILED: Table<Filed> = Table::new(Family::Queue, "scheduler.filed", 1);
const DUE: Table<Mark> = Table::new(Family::Queue, "scheduler.due", 1);
const EXECUTIONS: Table<Execution> = Table::new(Family::Queue, "scheduler.executions", 1);
const DELETING: Table<Mark> = Table::new(Family::Meta, "scheduler.deleting", 1);

/// A group.
#[derive(Clone, Debug, Encode, Decode)]
#[cbor(map)]
pub(crate) struct Group {
    #[n(0)]
    pub(crate) created: Timestamp,
    #[n(1)]
    pub(crate) modified: Timestamp,
    #[n(2)]
    pub(crate) deleting: bool,
}

/// A schedule.
#[derive(Clone, Debug, Encode, Decode)]
#[cbor(map)]
pub(crate) struct Schedule {
    /// What spreads its firings over a flexible window.
    #[n(0)]
    pub(crate) seed: u64,
    #[n(1)]
    pub(crate) created: Timestamp,
    #[n(2)]
    pub(crate) modified: Timestamp,
    #[n(3)]
    pub(crate) expression: String,
    #[n(4)]
    pub(crate) zone: String,
    #[n(5)]
    pub(crate) start: Option<Timestamp>,
    #[n(6)]
    pub(crate) end: Option<Timestamp>,
    #[n(7)]
    pub(crate) description: Option<String>,
    #[n(8)]
    pub(crate) enabled: bool,
    #[n(9)]
    pub(crate) kms_key: Option<String>,
    /// Minutes of the flexible window; none when it is off.
    #[n(10)]
    pub(crate) window: Option<u32>,
    #[n(11)]
    pub(crate) delete_after: bool,
    #[n(12)]
    pub(crate) target: Target,
}

/// A target, without its input.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub(crate) struct Target {
    #[n(0)]
    pub(crate) arn: String,
    #[n(1)]
    pub(crate) role: String,
    #[n(2)]
    pub(crate) dead_letters: Option<String>,
    /// Seconds.
    #[n(3)]
    pub(crate) age_max: Option<u32>,
    #[n(4)]
    pub(crate) retries_max: Option<u32>,
    #[n(5)]
    pub(crate) event: Option<EventParameters>,
    #[n(6)]
    pub(crate) queue: Option<QueueParameters>,
    #[n(7)]
    pub(crate) has_input: bool,
}

/// `EventBridgeParameters`.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub(crate) struct EventParameters {
    #[n(0)]
    pub(crate) detail_type: String,
    #[n(1)]
    pub(crate) source: String,
}

/// `SqsParameters`.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub(crate) struct QueueParameters {
    #[n(0)]
    pub(crate) group: Option<String>,
}

/// An input, as the client wrote it.
#[derive(Clone, Debug, Encode, Decode)]
#[cbor(map)]
struct Input {
    #[n(0)]
    text: String,
}

/// When a schedule is filed for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub(crate) struct Filed {
    /// The time that its expression names.
    #[n(0)]
    pub(crate) scheduled: Timestamp,
    /// The same within its flexible window.
    #[n(1)]
    pub(crate) due: Timestamp,
}

/// Nothing but the key.
#[derive(Clone, Copy, Debug, Encode, Decode)]
#[cbor(map)]
struct Mark {}

/// One run of a schedule's target.
#[derive(Clone, Debug, Encode, Decode)]
#[cbor(map)]
pub(crate) struct Execution {
    #[n(0)]
    pub(crate) id: String,
    #[n(1)]
    pub(crate) account: AccountId,
    #[n(2)]
    pub(crate) region: Region,
    #[n(3)]
    pub(crate) group: String,
    #[n(4)]
    pub(crate) name: String,
    #[n(5)]
    pub(crate) target: Target,
    #[n(6)]
    pub(crate) input: Option<String>,
    #[n(7)]
    pub(crate) scheduled: Timestamp,
    /// When it was due: what its age is counted from.
    #[n(8)]
    pub(crate) since: Timestamp,
    /// Attempts that failed.
    #[n(9)]
    pub(crate) failed: u32,
    /// It runs outside of a transaction, since a server that was started then.
    #[n(10)]
    pub(crate) runs: bool,
    /// The schedule is to be deleted when this is over.
    #[n(11)]
    pub(crate) last: bool,
}

impl Execution {
    pub(crate) fn named(&self) -> Named {
        let place = Place { account: self.account, region: self.region.clone() };
        Named { place, group: self.group.clone(), name: self.name.clone() }
    }
}

// --- groups ----------------------------------------------------------------------------------------------------------

pub(crate) fn group_key(place: &Place, name: &str) -> Key {
    GROUPS.key(place.account, &place.region).str(name)
}

pub(crate) fn groups_of(place: &Place) -> Key {
    GROUPS.key(place.account, &place.region)
}

/// Notes that a group is to be emptied and removed.
pub(crate) fn mark_deleting(tx: &Tx, place: &Place, group: &str) -> Result<(), Fault> {
    let key = DELETING.global_key(None).str(place.account.as_str()).str(place.region.as_str()).str(group);
    DELETING.put(tx, &key, &Mark {})?;
    tx.wake(&topic(), 1)
}

/// The first group that is being deleted.
pub(crate) fn first_deleting(tx: &Tx) -> Result<Option<(Key, Place, String)>, Fault> {
    let Some((key, _)) = DELETING.scan(tx, &DELETING.global_key(None).prefix(), 1, Direction::Forward)?.pop() else {
        return Ok(None);
    };
    let mut parts = key.parts()?;
    let (Some(Part::Str(group)), Some(Part::Str(region)), Some(Part::Str(account))) =
        (parts.pop(), parts.pop(), parts.pop())
    else {
        return Err(DamagedKey.into());
    };
    let place =
        Place { account: account.parse().map_err(|_| DamagedKey)?, region: region.parse().map_err(|_| DamagedKey)? };
    Ok(Some((key, place, group)))
}

/// The group is gone.
pub(crate) fn unmark_deleting(tx: &Tx, key: &Key) -> Result<(), Fault> {
    DELETING.remove(tx, key)
}

// --- schedules -------------------------------------------------------------------------------------------------------

pub(crate) fn schedules_of(place: &Place) -> Key {
    SCHEDULES.key(place.account, &place.region)
}

pub(crate) fn schedule_key(named: &Named) -> Key {
    schedules_of(&named.place).str(&named.group).str(&named.name)
}

/// The group and the name at the end of a schedule's key.
pub(crate) fn group_and_name(key: &Key) -> Result<(String, String), Fault> {
    let mut parts = key.parts()?;
    match (parts.pop(), parts.pop()) {
        (Some(Part::Str(name)), Some(Part::Str(group))) => Ok((group, name)),
        _ => Err(DamagedKey.into()),
    }
}

fn input_key(named: &Named) -> Key {
    INPUTS.key(named.place.account, &named.place.region).str(&named.group).str(&named.name)
}

pub(crate) fn input(tx: &Tx, named: &Named) -> Result<Option<String>, Fault> {
    Ok(INPUTS.get(tx, &input_key(named))?.map(|input| input.text))
}

pub(crate) fn put_input(tx: &Tx, named: &Named, text: Option<&str>) -> Result<(), Fault> {
    match text {
        Some(text) => INPUTS.put(tx, &input_key(named), &Input { text: text.to_owned() }),
        None => INPUTS.remove(tx, &input_key(named)),
    }
}

/// Counts schedules.
pub(crate) fn count(tx: &Tx, place: &Place) -> Result<i64, Fault> {
    tx.counter(&count_key(place))
}

fn count_key(place: &Place) -> Key {
    Key::new(Family::Queue, place.account, &place.region).str("scheduler.count")
}

pub(crate) fn counted(tx: &Tx, place: &Place, by: i64) -> Result<(), Fault> {
    tx.add(&count_key(place), by)
}

/// Removes a schedule and everything that is filed for it.
pub(crate) fn remove_schedule(tx: &Tx, named: &Named) -> Result<(), Fault> {
    unfile(tx, named)?;
    put_input(tx, named, None)?;
    counted(tx, &named.place, -1)?;
    SCHEDULES.remove(tx, &schedule_key(named))
}

// --- what is due -----------------------------------------------------------------------------------------------------

/// What wakes the reconciler.
pub(crate) fn topic() -> Key {
    DUE.global_key(None)
}

fn filed_key(named: &Named) -> Key {
    FILED.key(named.place.account, &named.place.region).str(&named.group).str(&named.name)
}

fn due_key(named: &Named, due: Timestamp) -> Key {
    let key = DUE.global_key(None).time(due).str(named.place.account.as_str()).str(named.place.region.as_str());
    key.str(&named.group).str(&named.name)
}

pub(crate) fn filed(tx: &Tx, named: &Named) -> Result<Option<Filed>, Fault> {
    FILED.get(tx, &filed_key(named))
}

/// Files a schedule for its next time, in place of what was filed.
pub(crate) fn file(tx: &Tx, named: &Named, filed: Option<Filed>) -> Result<(), Fault> {
    unfile(tx, named)?;
    let Some(filed) = filed else { return Ok(()) };
    let key = due_key(named, filed.due);
    let first = DUE.scan(tx, &DUE.global_key(None).prefix(), 1, Direction::Forward)?;
    DUE.put(tx, &key, &Mark {})?;
    FILED.put(tx, &filed_key(named), &filed)?;
    if first.first().is_none_or(|(first, _)| key < *first) {
        tx.wake(&topic(), 1)?;
    }
    Ok(())
}

fn unfile(tx: &Tx, named: &Named) -> Result<(), Fault> {
    if let Some(before) = filed(tx, named)? {
        DUE.remove(tx, &due_key(named, before.due))?;
        FILED.remove(tx, &filed_key(named))?;
    }
    Ok(())
}

/// At most `limit` schedules that are due now, the earliest first, and when they were.
pub(crate) fn due_schedules(tx: &Tx, limit: usize) -> Result<Vec<(Key, Named)>, Fault> {
    let due = until_now(tx, &DUE.global_key(None));
    let mut found = Vec::new();
    for (key, _) in DUE.scan(tx, &due, limit, Direction::Forward)? {
        let mut parts = key.parts()?;
        let (Some(Part::Str(name)), Some(Part::Str(group)), Some(Part::Str(region)), Some(Part::Str(account))) =
            (parts.pop(), parts.pop(), parts.pop(), parts.pop())
        else {
            return Err(DamagedKey.into());
        };
        let account = account.parse().map_err(|_| DamagedKey)?;
        let place = Place { account, region: region.parse().map_err(|_| DamagedKey)? };
        found.push((key, Named { place, group, name }));
    }
    Ok(found)
}

/// Removes an entry that names nothing.
pub(crate) fn drop_due(tx: &Tx, key: &Key) -> Result<(), Fault> {
    DUE.remove(tx, key)
}

/// When the first schedule or execution is due.
pub(crate) fn first_due(tx: &Tx) -> Result<Option<Timestamp>, Fault> {
    let mut first: Option<Timestamp> = None;
    for table in [DUE.global_key(None), EXECUTIONS.global_key(None)] {
        if let Some((key, _)) = tx.snapshot_scan(&table.prefix(), 1, Direction::Forward)?.pop() {
            let at = time_of(&key)?;
            first = Some(first.map_or(at, |first| first.min(at)));
        }
    }
    Ok(first)
}

/// Global keys begin with two empty texts and the table's name; the time follows.
fn time_of(key: &Key) -> Result<Timestamp, Fault> {
    key.parts()?
        .into_iter()
        .find_map(|part| match part {
            Part::U64(millis) => Some(Timestamp::from_millis(millis)),
            _ => None,
        })
        .ok_or_else(|| DamagedKey.into())
}

fn until_now(tx: &Tx, table: &Key) -> store_api::KeyRange {
    table.prefix().before(&table.clone().u64(tx.now().as_millis() + 1))
}

// --- executions ------------------------------------------------------------------------------------------------------

/// Files an execution to be run then.
pub(crate) fn file_execution(tx: &Tx, execution: &Execution, at: Timestamp) -> Result<(), Fault> {
    let key = EXECUTIONS.global_key(None).time(at).str(&execution.id);
    let first = tx.scan(&EXECUTIONS.global_key(None).prefix(), 1, Direction::Forward)?;
    EXECUTIONS.put(tx, &key, execution)?;
    if first.first().is_none_or(|(first, _)| key < *first) {
        tx.wake(&topic(), 1)?;
    }
    Ok(())
}

/// At most `limit` executions that are due now.
pub(crate) fn due_executions(tx: &Tx, limit: usize) -> Result<Vec<(Key, Execution)>, Fault> {
    EXECUTIONS.scan(tx, &until_now(tx, &EXECUTIONS.global_key(None)), limit, Direction::Forward)
}

pub(crate) fn execution(tx: &Tx, key: &Key) -> Result<Option<Execution>, Fault> {
    EXECUTIONS.get(tx, key)
}

pub(crate) fn remove_execution(tx: &Tx, key: &Key) -> Result<(), Fault> {
    EXECUTIONS.remove(tx, key)
}

/// The next page of all executions.
pub(crate) fn executions_after(tx: &Tx, after: Option<&Key>, limit: usize) -> Result<Vec<(Key, Execution)>, Fault> {
    let all = EXECUTIONS.global_key(None).prefix();
    let range = match after {
        Some(key) => all.after(key),
        None => all,
    };
    EXECUTIONS.scan(tx, &range, limit, Direction::Forward)
}

/// The key under which an execution is filed for then.
pub(crate) fn execution_key(execution: &Execution, at: Timestamp) -> Key {
    EXECUTIONS.global_key(None).time(at).str(&execution.id)
}
