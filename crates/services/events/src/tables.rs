//! What is in the store, and the only file that knows keys.
//!
//! | table | key | what |
//! |---|---|---|
//! | `events.buses` | account · region · bus | a bus; the default one has a row only when something was set |
//! | `events.editions` | account · region · bus | which edition of its rules is in force |
//! | `events.rules` | account · region · bus · rule | a rule |
//! | `events.rule-counts`, `events.rule-bytes` | account · region · bus | counters: its rules, and how large they are |
//! | `events.targets` | account · region · bus · rule · target | a target |
//! | `events.by-target` | account · region · bus · target's ARN · rule | rules by target |
//! | `events.due` | (global) time · account · region · bus · rule | when a rule fires next |
//! | `events.archives` | account · region · archive | an archive |
//! | `events.kept` | account · region · archive id · event's time · event id | an archived event |
//! | `events.kept-since` | account · region · archive id · when archived · event's time · event id | the same by age |
//! | `events.kept-counts`, `events.kept-bytes` | account · region · archive id | counters of an archive |
//! | `events.retained` | (global) account · region · archive | archives whose events expire |
//! | `events.trash` | (global) archive id | deleted archives whose events are still there |
//! | `events.replays` | account · region · replay | a replay |
//! | `events.replaying` | (global) account · region · replay | those that run |
//! | `events.connections`, `events.destinations` | account · region · name | connections and API destinations |
//! | `events.authorizing` | (global) account · region · connection | connections that are to be authorised |
//! | `events.calls` | (global) due · call id | requests to API destinations that are to be made |
//! | `events.call-bodies`, `events.call-letters` | (global) call id | a request's body; the event, for a dead letter |
//! | `events.chunks` | (global) intent id · number | targets that are to be handed an event |
//! | `events.chunk-events` | (global) intent id | that event |
//!
//! The global ones are declared exceptions to "keys begin with account and region": the reconcilers work for all of them.

use base_types::{AccountId, Fault, Region, Timestamp};
use minicbor::{Decode, Encode};
use store_api::{DamagedKey, Family, Key, Part, Table};

use crate::names::BusName;

pub(crate) const BUSES: Table<Bus> = Table::new(Family::Meta, "events.buses", 1);
pub(crate) const EDITIONS: Table<Edition> = Table::new(Family::Meta, "events.editions", 1);
pub(crate) const RULES: Table<Rule> = Table::new(Family::Meta, "events.rules", 1);
pub(crate) const TARGETS: Table<Target> = Table::new(Family::Meta, "events.targets", 1);
pub(crate) const BY_TARGET: Table<Mark> = Table::new(Family::Meta, "events.by-target", 1);
pub(crate) const DUE: Table<Mark> = Table::new(Family::Queue, "events.due", 1);
pub(crate) const ARCHIVES: Table<Archive> = Table::new(Family::Meta, "events.archives", 1);
pub(crate) const KEPT: Table<Kept> = Table::new(Family::Stream, "events.kept", 1);
pub(crate) const KEPT_SINCE: Table<Mark> = Table::new(Family::Stream, "events.kept-since", 1);
pub(crate) const RETAINED: Table<Mark> = Table::new(Family::Meta, "events.retained", 1);
pub(crate) const TRASH: Table<Trash> = Table::new(Family::Queue, "events.trash", 1);
pub(crate) const REPLAYS: Table<Replay> = Table::new(Family::Meta, "events.replays", 1);
pub(crate) const REPLAYING: Table<Mark> = Table::new(Family::Queue, "events.replaying", 1);
pub(crate) const CONNECTIONS: Table<Connection> = Table::new(Family::Meta, "events.connections", 1);
pub(crate) const DESTINATIONS: Table<Destination> = Table::new(Family::Meta, "events.destinations", 1);
pub(crate) const AUTHORIZING: Table<Mark> = Table::new(Family::Queue, "events.authorizing", 1);
pub(crate) const CALLS: Table<Call> = Table::new(Family::Queue, "events.calls", 1);
pub(crate) const CALL_BODIES: Table<Text> = Table::new(Family::Queue, "events.call-bodies", 1);
pub(crate) const CALL_LETTERS: Table<Text> = Table::new(Family::Queue, "events.call-letters", 1);
pub(crate) const CHUNKS: Table<Chunk> = Table::new(Family::Queue, "events.chunks", 1);
pub(crate) const CHUNK_EVENTS: Table<ChunkEvent> = Table::new(Family::Queue, "events.chunk-events", 1);

/// The identity of an archive's events, of a call, of an intent; never reused.
pub(crate) type Id = [u8; 16];

/// A bus.
#[derive(Clone, Debug, Default, Encode, Decode)]
#[cbor(map)]
pub(crate) struct Bus {
    #[n(0)]
    pub(crate) created: Timestamp,
    #[n(1)]
    pub(crate) modified: Timestamp,
    #[n(2)]
    pub(crate) description: Option<String>,
    #[n(3)]
    pub(crate) kms_key: Option<String>,
    #[n(4)]
    pub(crate) dead_letter: Option<String>,
    #[n(5)]
    pub(crate) log_detail: Option<String>,
    #[n(6)]
    pub(crate) log_level: Option<String>,
    /// The resource policy, as JSON.
    #[n(7)]
    pub(crate) policy: Option<String>,
}

/// Which rules are in force: drawn anew with every change of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub(crate) struct Edition {
    #[n(0)]
    pub(crate) drawn: u64,
}

/// A rule.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub(crate) struct Rule {
    #[n(0)]
    pub(crate) pattern: Option<String>,
    #[n(1)]
    pub(crate) schedule: Option<String>,
    /// AWS's word.
    #[n(2)]
    pub(crate) state: String,
    #[n(3)]
    pub(crate) description: Option<String>,
    #[n(4)]
    pub(crate) role: Option<String>,
    #[n(5)]
    pub(crate) managed_by: Option<String>,
    #[n(6)]
    pub(crate) created_by: String,
    /// What a rate counts from.
    #[n(7)]
    pub(crate) since: Timestamp,
    /// When it fires next.
    #[n(8)]
    pub(crate) next: Option<Timestamp>,
    /// The archive whose rule it is.
    #[n(9)]
    pub(crate) archive: Option<String>,
    /// The bytes it counts for.
    #[n(10)]
    pub(crate) bytes: u64,
}

impl Rule {
    /// Whether it is to do anything.
    pub(crate) fn is_enabled(&self) -> bool {
        self.state != "DISABLED"
    }
}

/// A target of a rule.
#[derive(Clone, Debug, Default, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub(crate) struct Target {
    #[n(0)]
    pub(crate) arn: String,
    #[n(1)]
    pub(crate) role: Option<String>,
    #[n(2)]
    pub(crate) input: Option<String>,
    #[n(3)]
    pub(crate) input_path: Option<String>,
    #[n(4)]
    pub(crate) template: Option<String>,
    /// Names and paths of the template's variables.
    #[n(5)]
    pub(crate) variables: Option<Vec<(String, String)>>,
    #[n(6)]
    pub(crate) group: Option<String>,
    #[n(7)]
    pub(crate) http: Option<HttpParts>,
    #[n(8)]
    pub(crate) dead_letter: Option<String>,
    #[n(9)]
    pub(crate) retries_max: Option<u32>,
    #[n(10)]
    pub(crate) age_max_seconds: Option<u32>,
    /// Whether there was a retry policy at all, a dead-letter configuration, the parameters of a queue.
    #[n(11)]
    pub(crate) said: u8,
}

/// What a rule adds to a request.
#[derive(Clone, Debug, Default, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub(crate) struct HttpParts {
    #[n(0)]
    pub(crate) path: Option<Vec<String>>,
    #[n(1)]
    pub(crate) headers: Option<Vec<(String, String)>>,
    #[n(2)]
    pub(crate) query: Option<Vec<(String, String)>>,
}

/// Nothing but the key.
#[derive(Clone, Copy, Debug, Encode, Decode)]
#[cbor(map)]
pub(crate) struct Mark {}

/// An archive.
#[derive(Clone, Debug, Encode, Decode)]
#[cbor(map)]
pub(crate) struct Archive {
    #[cbor(n(0), with = "minicbor::bytes")]
    pub(crate) id: Id,
    #[n(1)]
    pub(crate) created: Timestamp,
    /// The bus's name.
    #[n(2)]
    pub(crate) bus: String,
    #[n(3)]
    pub(crate) description: Option<String>,
    #[n(4)]
    pub(crate) pattern: Option<String>,
    /// 0 for ever.
    #[n(5)]
    pub(crate) days: u32,
    #[n(6)]
    pub(crate) kms_key: Option<String>,
}

/// An archived event.
#[derive(Clone, Debug, Encode, Decode)]
#[cbor(map)]
pub(crate) struct Kept {
    #[n(0)]
    pub(crate) event: crate::event::Event,
    /// What it counts for.
    #[n(1)]
    pub(crate) bytes: u64,
}

/// Events that nobody can reach any more.
#[derive(Clone, Debug, Encode, Decode)]
#[cbor(map)]
pub(crate) struct Trash {
    #[n(0)]
    pub(crate) account: AccountId,
    #[n(1)]
    pub(crate) region: Region,
}

/// A replay.
#[derive(Clone, Debug, Encode, Decode)]
#[cbor(map)]
pub(crate) struct Replay {
    #[n(0)]
    pub(crate) archive: String,
    #[cbor(n(1), with = "minicbor::bytes")]
    pub(crate) archive_id: Id,
    #[n(2)]
    pub(crate) bus: String,
    /// Names of the rules that alone get the events.
    #[n(3)]
    pub(crate) rules: Option<Vec<String>>,
    #[n(4)]
    pub(crate) description: Option<String>,
    #[n(5)]
    pub(crate) state: ReplayState,
    #[n(6)]
    pub(crate) reason: Option<String>,
    #[n(7)]
    pub(crate) from: Timestamp,
    #[n(8)]
    pub(crate) until: Timestamp,
    #[n(9)]
    pub(crate) begun: Timestamp,
    #[n(10)]
    pub(crate) ended: Option<Timestamp>,
    /// Time of the last event that came back.
    #[n(11)]
    pub(crate) last: Option<Timestamp>,
    /// Its key.
    #[cbor(n(12), with = "minicbor::bytes")]
    pub(crate) cursor: Option<Vec<u8>>,
}

/// AWS's states.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
pub(crate) enum ReplayState {
    #[n(0)]
    Starting,
    #[n(1)]
    Running,
    #[n(2)]
    Cancelling,
    #[n(3)]
    Completed,
    #[n(4)]
    Cancelled,
    #[n(5)]
    Failed,
}

/// A connection.
#[derive(Clone, Debug, Encode, Decode)]
#[cbor(map)]
pub(crate) struct Connection {
    #[n(0)]
    pub(crate) uuid: String,
    #[n(1)]
    pub(crate) created: Timestamp,
    #[n(2)]
    pub(crate) modified: Timestamp,
    #[n(3)]
    pub(crate) authorized: Option<Timestamp>,
    #[n(4)]
    pub(crate) description: Option<String>,
    #[n(5)]
    pub(crate) kms_key: Option<String>,
    /// AWS's word.
    #[n(6)]
    pub(crate) state: String,
    #[n(7)]
    pub(crate) reason: Option<String>,
    /// Its authorisation parameters, sealed.
    #[cbor(n(8), with = "minicbor::bytes")]
    pub(crate) sealed: Vec<u8>,
    /// The end of its secret's ARN.
    #[n(9)]
    pub(crate) suffix: String,
}

/// An API destination.
#[derive(Clone, Debug, Encode, Decode)]
#[cbor(map)]
pub(crate) struct Destination {
    #[n(0)]
    pub(crate) uuid: String,
    #[n(1)]
    pub(crate) created: Timestamp,
    #[n(2)]
    pub(crate) modified: Timestamp,
    #[n(3)]
    pub(crate) description: Option<String>,
    /// The connection's ARN.
    #[n(4)]
    pub(crate) connection: String,
    #[n(5)]
    pub(crate) endpoint: String,
    #[n(6)]
    pub(crate) method: String,
    #[n(7)]
    pub(crate) per_second: Option<u32>,
}

/// A request that is to be made.
#[derive(Clone, Debug, Encode, Decode)]
#[cbor(map)]
pub(crate) struct Call {
    #[n(0)]
    pub(crate) account: AccountId,
    #[n(1)]
    pub(crate) region: Region,
    /// The destination's ARN.
    #[n(2)]
    pub(crate) target: String,
    #[n(3)]
    pub(crate) rule: String,
    #[n(4)]
    pub(crate) http: HttpParts,
    #[n(5)]
    pub(crate) dead_letter: Option<String>,
    #[n(6)]
    pub(crate) retries_max: u32,
    #[n(7)]
    pub(crate) expires: Timestamp,
    #[n(8)]
    pub(crate) failures: u32,
    #[n(9)]
    pub(crate) trace: Option<String>,
}

/// A text.
#[derive(Clone, Debug, Encode, Decode)]
#[cbor(map)]
pub(crate) struct Text {
    #[n(0)]
    pub(crate) text: String,
}

/// Targets that are to be handed an event.
#[derive(Clone, Debug, Encode, Decode)]
#[cbor(map)]
pub(crate) struct Chunk {
    /// Rule and target.
    #[n(0)]
    pub(crate) targets: Vec<(String, String)>,
}

/// The event that they are to be handed.
#[derive(Clone, Debug, Encode, Decode)]
#[cbor(map)]
pub(crate) struct ChunkEvent {
    #[n(0)]
    pub(crate) account: AccountId,
    #[n(1)]
    pub(crate) region: Region,
    #[n(2)]
    pub(crate) bus: String,
    #[n(3)]
    pub(crate) event: crate::event::Event,
    /// Whether it came from another bus.
    #[n(4)]
    pub(crate) forwarded: bool,
    #[n(5)]
    pub(crate) hops: u8,
}

/// An account in a region.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Place {
    pub(crate) account: AccountId,
    pub(crate) region: Region,
}

impl Place {
    pub(crate) fn new(account: AccountId, region: &Region) -> Self {
        Self { account, region: region.clone() }
    }

    /// The caller's.
    pub(crate) fn of(cx: &services_kernel::Cx) -> Self {
        Self::new(cx.account, &cx.region)
    }

    pub(crate) fn key<V>(&self, table: &Table<V>) -> Key {
        table.key(self.account, &self.region)
    }

    /// A record by its name.
    pub(crate) fn named<V>(&self, table: &Table<V>, name: &str) -> Key {
        self.key(table).str(name)
    }

    /// Where the rows of an archive's events begin.
    pub(crate) fn kept<V>(&self, table: &Table<V>, id: &Id) -> Key {
        self.key(table).bytes(id)
    }

    /// The counters of an archive: events, bytes.
    pub(crate) fn kept_counters(&self, id: &Id) -> [Key; 2] {
        ["events.kept-counts", "events.kept-bytes"]
            .map(|name| Key::new(Family::Stream, self.account, &self.region).str(name).bytes(id))
    }

    /// A record of this place in a table that spans all places.
    pub(crate) fn within<V>(&self, table: &Table<V>, name: &str) -> Key {
        table.global_key(None).str(self.account.as_str()).str(self.region.as_str()).str(name)
    }
}

impl BusName {
    pub(crate) fn place(&self) -> Place {
        Place::new(self.account, &self.region)
    }

    /// Where its record is, or its edition.
    pub(crate) fn key<V>(&self, table: &Table<V>) -> Key {
        table.key(self.account, &self.region).str(&self.name)
    }

    pub(crate) fn rule(&self, rule: &str) -> Key {
        self.key(&RULES).str(rule)
    }

    /// Where the rows of a rule's targets begin.
    pub(crate) fn targets(&self, rule: &str) -> Key {
        self.key(&TARGETS).str(rule)
    }

    pub(crate) fn by_target(&self, arn: &str) -> Key {
        self.key(&BY_TARGET).str(arn)
    }

    pub(crate) fn due(&self, rule: &str, at: Timestamp) -> Key {
        let place = DUE.global_key(None).time(at).str(self.account.as_str()).str(self.region.as_str());
        place.str(&self.name).str(rule)
    }

    /// The counters of its rules: how many, how large.
    pub(crate) fn rule_counters(&self) -> [Key; 2] {
        ["events.rule-counts", "events.rule-bytes"]
            .map(|name| Key::new(Family::Meta, self.account, &self.region).str(name).str(&self.name))
    }
}

/// Time, bus and rule of a key of [`DUE`].
pub(crate) fn due_of(key: &Key) -> Result<(Timestamp, BusName, String), Fault> {
    let mut parts = key.parts()?;
    let (
        Some(Part::Str(rule)),
        Some(Part::Str(name)),
        Some(Part::Str(region)),
        Some(Part::Str(account)),
        Some(Part::U64(due)),
    ) = (parts.pop(), parts.pop(), parts.pop(), parts.pop(), parts.pop())
    else {
        return Err(DamagedKey.into());
    };
    let (Ok(account), Ok(region)) = (account.parse(), region.parse()) else { return Err(DamagedKey.into()) };
    Ok((Timestamp::from_millis(due), BusName { account, region, name }, rule))
}

/// Place and name of a key made by [`Place::within`].
pub(crate) fn within_of(key: &Key) -> Result<(Place, String), Fault> {
    let mut parts = key.parts()?;
    let (Some(Part::Str(name)), Some(Part::Str(region)), Some(Part::Str(account))) =
        (parts.pop(), parts.pop(), parts.pop())
    else {
        return Err(DamagedKey.into());
    };
    let (Ok(account), Ok(region)) = (account.parse(), region.parse()) else { return Err(DamagedKey.into()) };
    Ok((Place { account, region }, name))
}

/// The identity at the end of a key.
pub(crate) fn last_id(key: &Key) -> Result<Id, Fault> {
    match key.parts()?.pop() {
        Some(Part::Bytes(id)) => Ok(id.try_into().map_err(|_| DamagedKey)?),
        _ => Err(DamagedKey.into()),
    }
}
