//! What is in the store, and the only file that knows keys.
//!
//! | table | key | what |
//! |---|---|---|
//! | `usage.hours` | account · region · function · hour · version | the sums of one version in one hour |
//! | `usage.functions` | account · region · function | functions that have such rows, and their latest hour |
//! | `usage.expiry` | (global) hour · account · region · function · version | the rows by age, to be reclaimed |
//!
//! The global one is a declared exception to "keys begin with account and region": the reconciler works for all of them.
//! An hour is a number of hours since 1970.

use base_types::{AccountId, Fault, FaultKind, Region, Timestamp};
use minicbor::{Decode, Encode};
use store_api::{Direction, Family, Key, Part, Table, Tx};

use crate::{query::Cursor, sums::Sums};

const HOURS: Table<Sums> = Table::new(Family::Item, "usage.hours", 1);
const FUNCTIONS: Table<Seen> = Table::new(Family::Meta, "usage.functions", 1);
const EXPIRY: Table<Marker> = Table::new(Family::Queue, "usage.expiry", 1);

const HOUR_MILLIS: u64 = 3_600_000;

#[derive(Encode, Decode)]
#[cbor(map)]
struct Seen {
    #[n(0)]
    last: u64,
}

#[derive(Encode, Decode)]
#[cbor(map)]
struct Marker {}

/// The hour that an instant lies in.
pub(crate) fn hour_of(at: Timestamp) -> u64 {
    at.as_millis() / HOUR_MILLIS
}

/// When an hour begins.
pub(crate) fn begin_of(hour: u64) -> Timestamp {
    Timestamp::from_millis(hour.saturating_mul(HOUR_MILLIS))
}

/// Names one row.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct RowKey {
    pub(crate) account: AccountId,
    pub(crate) region: Region,
    pub(crate) function: String,
    pub(crate) hour: u64,
    pub(crate) version: String,
}

impl RowKey {
    fn row(&self) -> Key {
        rows_of(self.account, &self.region, &self.function).u64(self.hour).str(&self.version)
    }

    fn function(&self) -> Key {
        FUNCTIONS.key(self.account, &self.region).str(&self.function)
    }

    fn expiry(&self) -> Key {
        expiry()
            .u64(self.hour)
            .str(self.account.as_str())
            .str(self.region.as_str())
            .str(&self.function)
            .str(&self.version)
    }

    fn of_expiry(key: &Key) -> Result<Self, Fault> {
        let parts = key.parts()?;
        let damaged = || Fault::new(FaultKind::Internal, "read a key of `usage.expiry`");
        // Account and region of a global key, and the table's name, come first.
        let Some([Part::U64(hour), Part::Str(account), Part::Str(region), Part::Str(function), Part::Str(version)]) =
            parts.get(3..)
        else {
            return Err(damaged());
        };
        Ok(Self {
            account: account.parse().map_err(|error| damaged().caused_by(error))?,
            region: region.parse().map_err(|error| damaged().caused_by(error))?,
            function: function.clone(),
            hour: *hour,
            version: version.clone(),
        })
    }
}

fn rows_of(account: AccountId, region: &Region, function: &str) -> Key {
    HOURS.key(account, region).str(function)
}

fn expiry() -> Key {
    EXPIRY.global_key(None)
}

/// What wakes the reconciler: nothing does, it looks now and then.
pub(crate) fn expiry_topic() -> Key {
    expiry()
}

/// Adds to a row, which may be new.
pub(crate) fn add(tx: &Tx, key: &RowKey, sums: &Sums) -> Result<(), Fault> {
    let row = key.row();
    match HOURS.get(tx, &row)? {
        Some(mut stored) => {
            stored.merge(sums);
            HOURS.put(tx, &row, &stored)
        }
        None => {
            if FUNCTIONS.get(tx, &key.function())?.is_none_or(|seen| seen.last < key.hour) {
                FUNCTIONS.put(tx, &key.function(), &Seen { last: key.hour })?;
            }
            EXPIRY.put(tx, &key.expiry(), &Marker {})?;
            HOURS.put(tx, &row, sums)
        }
    }
}

/// Functions by name behind `after` that have rows of hour `from` or later, from at most `limit` looked at; and where to
/// go on.
pub(crate) fn functions(
    tx: &Tx,
    account: AccountId,
    region: &Region,
    after: Option<&str>,
    from: u64,
    limit: usize,
) -> Result<(Vec<String>, Option<String>), Fault> {
    let beginning = FUNCTIONS.key(account, region);
    let mut range = beginning.prefix();
    if let Some(after) = after {
        range = range.after(&beginning.str(after));
    }
    let found = FUNCTIONS.scan(tx, &range, limit, Direction::Forward)?;
    let next = if found.len() == limit { found.last().map(|(key, _)| key.last_str()).transpose()? } else { None };
    let names = found.iter().filter(|(_, seen)| seen.last >= from).map(|(key, _)| Ok(key.last_str()?));
    Ok((names.collect::<Result<_, Fault>>()?, next))
}

/// Rows of one function with an hour in `from..until`, oldest first, behind a cursor of this very function.
pub(crate) fn rows(
    tx: &Tx,
    (account, region, function): (AccountId, &Region, &str),
    (from, until): (u64, u64),
    after: Option<&Cursor>,
    limit: usize,
) -> Result<Vec<(u64, String, Sums)>, Fault> {
    let beginning = rows_of(account, region, function);
    let (first, end) = (beginning.clone().u64(from), beginning.clone().u64(until));
    let mut range = beginning.prefix().starting_at(&first).before(&end);
    if let Some(Cursor { hour, version, .. }) = after {
        range = range.after(&beginning.u64(*hour).str(version));
    }
    let found = HOURS.scan(tx, &range, limit, Direction::Forward)?;
    found
        .into_iter()
        .map(|(key, sums)| match key.parts()?.split_off(4).as_slice() {
            [Part::U64(hour), Part::Str(version)] => Ok((*hour, version.clone(), sums)),
            _ => Err(Fault::new(FaultKind::Internal, "read a key of `usage.hours`")),
        })
        .collect()
}

/// Removes up to `limit` rows of hours before `before`; how many there were.
pub(crate) fn reclaim(tx: &Tx, before: u64, limit: usize) -> Result<usize, Fault> {
    let range = expiry().prefix().before(&expiry().u64(before));
    let due = EXPIRY.scan(tx, &range, limit, Direction::Forward)?;
    for (entry, _) in &due {
        let key = RowKey::of_expiry(entry)?;
        HOURS.remove(tx, &key.row())?;
        if FUNCTIONS.get(tx, &key.function())?.is_some_and(|seen| seen.last <= key.hour) {
            FUNCTIONS.remove(tx, &key.function())?;
        }
        tx.delete(entry)?;
    }
    Ok(due.len())
}
