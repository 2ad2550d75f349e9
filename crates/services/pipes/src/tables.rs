//! What is in the store, and the only file that knows keys.
//!
//! | table | key | what |
//! |---|---|---|
//! | `pipes.pipes` | account · region · name | a pipe |
//! | `pipes.positions` | account · region · name · shard · lane | how far a pipe is in the stream that is its source |
//! | `pipes.all` | (global) account · region · name | the same names, for the reconciler: a declared exception to "keys begin with account and region" |

use base_types::{Fault, Timestamp};
use minicbor::{Decode, Encode};
use store_api::{DamagedKey, Direction, Family, Key, Part, Table, Tx};

use crate::names::Named;

const PIPES: Table<Pipe> = Table::new(Family::Meta, "pipes.pipes", 1);
const POSITIONS: Table<Position> = Table::new(Family::Meta, "pipes.positions", 1);
const ALL: Table<Mark> = Table::new(Family::Meta, "pipes.all", 1);

/// Positions of one pipe: of all shards that a stream has had, in ten lanes each.
const POSITIONS_MAX: usize = 10_000;

/// A pipe.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub(crate) struct Pipe {
    /// Changes with every change of the pipe.
    #[n(0)]
    pub(crate) version: u64,
    #[n(1)]
    pub(crate) created: Timestamp,
    #[n(2)]
    pub(crate) modified: Timestamp,
    #[n(3)]
    pub(crate) description: Option<String>,
    /// What its owner wants.
    #[n(4)]
    pub(crate) running: bool,
    #[n(5)]
    pub(crate) state: State,
    #[n(6)]
    pub(crate) reason: Option<String>,
    #[n(7)]
    pub(crate) source: String,
    /// JSON documents, in the model's own form.
    #[n(8)]
    pub(crate) source_parameters: Option<String>,
    #[n(9)]
    pub(crate) enrichment: Option<String>,
    #[n(10)]
    pub(crate) enrichment_parameters: Option<String>,
    #[n(11)]
    pub(crate) target: String,
    #[n(12)]
    pub(crate) target_parameters: Option<String>,
    #[n(13)]
    pub(crate) role: String,
    #[n(14)]
    pub(crate) log: Option<String>,
    #[n(15)]
    pub(crate) kms_key: Option<String>,
}

/// AWS's states, as far as a pipe can be in them here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
pub(crate) enum State {
    #[n(0)]
    Creating,
    #[n(1)]
    Updating,
    #[n(2)]
    Starting,
    #[n(3)]
    Running,
    #[n(4)]
    Stopping,
    #[n(5)]
    Stopped,
    #[n(6)]
    Deleting,
    #[n(7)]
    CreateFailed,
    #[n(8)]
    UpdateFailed,
    #[n(9)]
    StartFailed,
}

impl State {
    /// Something is under way.
    pub(crate) fn is_passing(self) -> bool {
        matches!(self, Self::Creating | Self::Updating | Self::Starting | Self::Stopping | Self::Deleting)
    }
}

/// How far a pipe is in a shard.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub(crate) struct Position {
    /// Everything up to this sequence number is done with; nothing when there is none.
    #[n(0)]
    pub(crate) after: Option<String>,
    /// How often what comes next has failed.
    #[n(1)]
    pub(crate) failures: u32,
    /// The shard is closed and done with.
    #[n(2)]
    pub(crate) ended: bool,
    /// How many lanes there are.
    #[n(3)]
    pub(crate) shares: u64,
}

impl Position {
    /// At the beginning.
    pub(crate) fn new(shares: u64) -> Self {
        Self { after: None, failures: 0, ended: false, shares }
    }
}

/// Nothing but the key.
#[derive(Clone, Copy, Debug, Encode, Decode)]
#[cbor(map)]
struct Mark {}

fn key(named: &Named) -> Key {
    of_place(named).str(&named.name)
}

fn all_key(named: &Named) -> Key {
    ALL.global_key(None).str(named.account.as_str()).str(named.region.as_str()).str(&named.name)
}

/// Where the pipes of an account in a region begin.
pub(crate) fn of_place(named: &Named) -> Key {
    PIPES.key(named.account, &named.region)
}

fn positions_of(named: &Named) -> Key {
    POSITIONS.key(named.account, &named.region).str(&named.name)
}

fn position_key(named: &Named, shard: &str, lane: u64) -> Key {
    positions_of(named).str(shard).u64(lane)
}

pub(crate) fn position(tx: &Tx, named: &Named, shard: &str, lane: u64) -> Result<Option<Position>, Fault> {
    POSITIONS.get(tx, &position_key(named, shard, lane))
}

pub(crate) fn put_position(tx: &Tx, named: &Named, shard: &str, lane: u64, position: &Position) -> Result<(), Fault> {
    POSITIONS.put(tx, &position_key(named, shard, lane), position)
}

pub(crate) fn remove_position(tx: &Tx, named: &Named, shard: &str, lane: u64) -> Result<(), Fault> {
    POSITIONS.remove(tx, &position_key(named, shard, lane))
}

/// All positions of a pipe: shard, lane.
pub(crate) fn positions(tx: &Tx, named: &Named) -> Result<Vec<(String, u64, Position)>, Fault> {
    let rows = POSITIONS.scan(tx, &positions_of(named).prefix(), POSITIONS_MAX, Direction::Forward)?;
    rows.into_iter()
        .map(|(key, position)| {
            let mut parts = key.parts()?;
            match (parts.pop(), parts.pop()) {
                (Some(Part::U64(lane)), Some(Part::Str(shard))) => Ok((shard, lane, position)),
                _ => Err(DamagedKey.into()),
            }
        })
        .collect()
}

/// What wakes the reconciler.
pub(crate) fn topic() -> Key {
    ALL.global_key(None)
}

pub(crate) fn get(tx: &Tx, named: &Named) -> Result<Option<Pipe>, Fault> {
    PIPES.get(tx, &key(named))
}

/// Keeps a pipe and tells the reconciler.
pub(crate) fn put(tx: &Tx, named: &Named, pipe: &Pipe) -> Result<(), Fault> {
    ALL.put(tx, &all_key(named), &Mark {})?;
    PIPES.put(tx, &key(named), pipe)?;
    tx.wake(&topic(), 1)?;
    // Its poller, too.
    tx.wake(&wake_up(named), usize::MAX)
}

/// What wakes a pipe's poller beside its queue.
pub(crate) fn wake_up(named: &Named) -> Key {
    key(named)
}

pub(crate) fn remove(tx: &Tx, named: &Named) -> Result<(), Fault> {
    ALL.remove(tx, &all_key(named))?;
    for (shard, lane, _) in positions(tx, named)? {
        remove_position(tx, named, &shard, lane)?;
    }
    PIPES.remove(tx, &key(named))
}

/// At most `limit` pipes behind this one, by name.
pub(crate) fn page(tx: &Tx, place: &Named, after: Option<&str>, limit: usize) -> Result<Vec<(String, Pipe)>, Fault> {
    let mut range = of_place(place).prefix();
    if let Some(after) = after {
        range = range.after(&of_place(place).str(after));
    }
    let rows = PIPES.scan(tx, &range, limit, Direction::Forward)?;
    rows.into_iter().map(|(key, pipe)| Ok((key.last_str()?, pipe))).collect()
}

/// At most `limit` pipes of all accounts and regions behind this one.
pub(crate) fn all(tx: &Tx, after: Option<&Named>, limit: usize) -> Result<Vec<(Named, Pipe)>, Fault> {
    let mut range = ALL.global_key(None).prefix();
    if let Some(after) = after {
        range = range.after(&all_key(after));
    }
    let mut found = Vec::new();
    for (key, _) in ALL.scan(tx, &range, limit, Direction::Forward)? {
        let mut parts = key.parts()?;
        let (Some(Part::Str(name)), Some(Part::Str(region)), Some(Part::Str(account))) =
            (parts.pop(), parts.pop(), parts.pop())
        else {
            return Err(DamagedKey.into());
        };
        let account = account.parse().map_err(|_| DamagedKey)?;
        let named = Named { account, region: region.parse().map_err(|_| DamagedKey)?, name };
        if let Some(pipe) = get(tx, &named)? {
            found.push((named, pipe));
        }
    }
    Ok(found)
}
