//! What is in the store, and the only file that knows keys.
//!
//! | table | key | what |
//! |---|---|---|
//! | `sqs.queues` | account · region · name | a queue |
//! | `sqs.deleted` | account · region · name | when a queue of this name was deleted |
//! | `sqs.sources` | account · region · name of a dead-letter queue · ARN of a queue that uses it | |
//! | `sqs.numbers` | account · region · queue id | counter: messages that ever arrived; the number of the last |
//! | `sqs.gone` | account · region · queue id | counter: messages that left for good |
//! | `sqs.flying`, `sqs.delayed` | account · region · queue id | counters: hidden messages, by why |
//! | `sqs.bodies` | account · region · queue id · number | what never changes of a message |
//! | `sqs.cursor` | account · region · queue id | standard: the number up to which nothing is new any more |
//! | `sqs.ready` | account · region · queue id · number | standard: the record of a message that came back; FIFO: a group, under its first number |
//! | `sqs.hidden` | account · region · queue id · number | standard: a hidden message's record; FIFO: the group of one in flight |
//! | `sqs.due` | account · region · queue id · time · number | hidden messages by when they can be seen |
//! | `sqs.groups`, `sqs.members` | account · region · queue id · group (· number) | FIFO: a group; its messages' records |
//! | `sqs.sent` | account · region · queue id · group or nothing · deduplication id | what was sent within five minutes |
//! | `sqs.attempts` | account · region · queue id · attempt | what a receive attempt was given |
//! | `sqs.memory` | account · region · queue id · time · key | when either of them is forgotten |
//! | `sqs.moves` | account · region · source name · started (newest first) · task id | move tasks |
//! | `sqs.moving` | (global) account · region · source name · started · task id | those that run |
//! | `sqs.expiry` | (global) time · account · region · name | when a queue's oldest message may expire |
//! | `sqs.trash` | (global) queue id | purged and deleted queues whose messages are still there |
//!
//! The global ones are declared exceptions to "keys begin with account and region": the reconciler works for all of them.

use base_types::{AccountId, Fault, Region, Timestamp};
use minicbor::{Decode, Encode};
use store_api::{Family, Key, Table, Tx};

use crate::{attributes::Attributes, message::Body, names::QueueName};

pub(crate) const QUEUES: Table<Queue> = Table::new(Family::Meta, "sqs.queues", 1);
pub(crate) const DELETED: Table<Moment> = Table::new(Family::Meta, "sqs.deleted", 1);
pub(crate) const SOURCES: Table<Mark> = Table::new(Family::Meta, "sqs.sources", 1);
pub(crate) const BODIES: Table<Body> = Table::new(Family::Queue, "sqs.bodies", 2).upgrading(Body::upgrade);
pub(crate) const CURSOR: Table<Cursor> = Table::new(Family::Queue, "sqs.cursor", 1);
pub(crate) const READY: Table<Ready> = Table::new(Family::Queue, "sqs.ready", 1);
pub(crate) const HIDDEN: Table<Hidden> = Table::new(Family::Queue, "sqs.hidden", 1);
pub(crate) const DUE: Table<Mark> = Table::new(Family::Queue, "sqs.due", 1);
pub(crate) const GROUPS: Table<Group> = Table::new(Family::Queue, "sqs.groups", 1);
pub(crate) const MEMBERS: Table<Record> = Table::new(Family::Queue, "sqs.members", 1);
pub(crate) const SENT: Table<Sent> = Table::new(Family::Queue, "sqs.sent", 1);
pub(crate) const MEMORY: Table<Mark> = Table::new(Family::Queue, "sqs.memory", 1);
pub(crate) const ATTEMPTS: Table<Attempt> = Table::new(Family::Queue, "sqs.attempts", 1);
pub(crate) const MOVES: Table<Move> = Table::new(Family::Meta, "sqs.moves", 1);
pub(crate) const MOVING: Table<Mark> = Table::new(Family::Queue, "sqs.moving", 1);
pub(crate) const EXPIRY: Table<Mark> = Table::new(Family::Queue, "sqs.expiry", 1);
pub(crate) const TRASH: Table<Trash> = Table::new(Family::Queue, "sqs.trash", 1);

const COUNTERS: [&str; 4] = ["sqs.numbers", "sqs.gone", "sqs.flying", "sqs.delayed"];
/// Tables of messages: everything below a queue's id.
const OF_A_QUEUE: [&str; 10] = [
    "sqs.bodies",
    "sqs.cursor",
    "sqs.ready",
    "sqs.hidden",
    "sqs.due",
    "sqs.groups",
    "sqs.members",
    "sqs.sent",
    "sqs.attempts",
    "sqs.memory",
];

/// The identity of a queue's messages; never reused.
pub(crate) type Id = [u8; 16];

/// A queue.
#[derive(Clone, Debug, Encode, Decode)]
#[cbor(map)]
pub(crate) struct Queue {
    /// Changes with a purge.
    #[cbor(n(0), with = "minicbor::bytes")]
    pub(crate) id: Id,
    #[n(1)]
    pub(crate) created: Timestamp,
    #[n(2)]
    pub(crate) modified: Timestamp,
    #[n(3)]
    pub(crate) purged: Option<Timestamp>,
    #[n(4)]
    pub(crate) attributes: Attributes,
}

/// A time.
#[derive(Clone, Copy, Debug, Encode, Decode)]
#[cbor(map)]
pub(crate) struct Moment {
    #[n(0)]
    pub(crate) at: Timestamp,
}

/// Nothing but the key.
#[derive(Clone, Copy, Debug, Encode, Decode)]
#[cbor(map)]
pub(crate) struct Mark {}

/// Where the new messages of a standard queue begin.
#[derive(Clone, Copy, Debug, Default, Encode, Decode)]
#[cbor(map)]
pub(crate) struct Cursor {
    /// Behind this number.
    #[n(0)]
    pub(crate) number: u64,
}

/// What changes of a message.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub(crate) struct Record {
    /// Receives so far.
    #[n(0)]
    pub(crate) receives: u32,
    #[n(1)]
    pub(crate) first_received: Option<Timestamp>,
    /// When it can be seen; in the past for one that can.
    #[n(2)]
    pub(crate) visible: Timestamp,
    /// When it was received last: what visibility is counted from.
    #[n(3)]
    pub(crate) received: Timestamp,
}

/// An entry among the ready ones.
#[derive(Clone, Debug, Encode, Decode)]
#[cbor(map)]
pub(crate) struct Ready {
    /// Standard.
    #[n(0)]
    pub(crate) record: Option<Record>,
    /// FIFO.
    #[n(1)]
    pub(crate) group: Option<String>,
}

/// An entry among the hidden ones.
#[derive(Clone, Debug, Encode, Decode)]
#[cbor(map)]
pub(crate) struct Hidden {
    /// Standard: the message's record. FIFO: that of the receive, for the handle.
    #[n(0)]
    pub(crate) record: Record,
    /// Delayed, not in flight.
    #[n(1)]
    pub(crate) delayed: bool,
    /// FIFO.
    #[n(2)]
    pub(crate) group: Option<String>,
}

/// A FIFO group.
#[derive(Clone, Debug, Default, Encode, Decode)]
#[cbor(map)]
pub(crate) struct Group {
    #[n(0)]
    pub(crate) in_flight: u32,
    /// The number under which it is among the ready ones, or waits for its first message's delay.
    #[n(1)]
    pub(crate) filed: Option<u64>,
}

/// A deduplication id that was used.
#[derive(Clone, Debug, Encode, Decode)]
#[cbor(map)]
pub(crate) struct Sent {
    #[n(0)]
    pub(crate) number: u64,
    #[n(1)]
    pub(crate) message_id: String,
    #[n(2)]
    pub(crate) expires: Timestamp,
}

/// What a receive attempt was given.
#[derive(Clone, Debug, Encode, Decode)]
#[cbor(map)]
pub(crate) struct Attempt {
    #[n(0)]
    pub(crate) expires: Timestamp,
    /// Number and how manieth receive of each message.
    #[n(1)]
    pub(crate) given: Vec<(u64, u32)>,
}

/// A move task.
#[derive(Clone, Debug, Encode, Decode)]
#[cbor(map)]
pub(crate) struct Move {
    #[n(0)]
    pub(crate) destination: Option<String>,
    #[n(1)]
    pub(crate) per_second: Option<u32>,
    #[n(2)]
    pub(crate) status: MoveStatus,
    #[n(3)]
    pub(crate) moved: u64,
    #[n(4)]
    pub(crate) to_move: u64,
    #[n(5)]
    pub(crate) failure: Option<String>,
}

/// AWS's statuses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
pub(crate) enum MoveStatus {
    #[n(0)]
    Running,
    #[n(1)]
    Cancelling,
    #[n(2)]
    Cancelled,
    #[n(3)]
    Completed,
    #[n(4)]
    Failed,
}

impl MoveStatus {
    /// AWS's word.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Running => "RUNNING",
            Self::Cancelling => "CANCELLING",
            Self::Cancelled => "CANCELLED",
            Self::Completed => "COMPLETED",
            Self::Failed => "FAILED",
        }
    }
}

/// Messages that nobody can reach any more.
#[derive(Clone, Debug, Encode, Decode)]
#[cbor(map)]
pub(crate) struct Trash {
    #[n(0)]
    pub(crate) account: AccountId,
    #[n(1)]
    pub(crate) region: Region,
}

/// An account in a region.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) account: AccountId,
    pub(crate) region: Region,
}

impl Place {
    pub(crate) fn new(account: AccountId, region: &Region) -> Self {
        Self { account, region: region.clone() }
    }

    pub(crate) fn of(name: &QueueName, region: &Region) -> Self {
        Self::new(name.account, region)
    }

    pub(crate) fn key<V>(&self, table: &Table<V>) -> Key {
        table.key(self.account, &self.region)
    }

    pub(crate) fn queue(&self, name: &str) -> Key {
        self.key(&QUEUES).str(name)
    }

    /// Where the rows of a queue's messages begin.
    pub(crate) fn rows<V>(&self, table: &Table<V>, id: &Id) -> Key {
        self.key(table).bytes(id)
    }

    fn counter(&self, name: &str, id: &Id) -> Key {
        Key::new(Family::Queue, self.account, &self.region).str(name).bytes(id)
    }

    /// All prefixes under which a queue's messages have rows.
    pub(crate) fn remains(&self, id: &Id) -> Vec<Key> {
        OF_A_QUEUE.iter().chain(&COUNTERS).map(|name| self.counter(name, id)).collect()
    }
}

/// The counters of a queue.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    pub(crate) total: u64,
    pub(crate) in_flight: u64,
    pub(crate) delayed: u64,
}

/// How counters change.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Change {
    pub(crate) gone: i64,
    pub(crate) in_flight: i64,
    pub(crate) delayed: i64,
}

impl std::ops::AddAssign for Change {
    fn add_assign(&mut self, other: Self) {
        self.gone += other.gone;
        self.in_flight += other.in_flight;
        self.delayed += other.delayed;
    }
}

/// The numbers that one operation gives to the messages of one queue: what they follow on is read once.
#[derive(Debug, Default)]
pub(crate) struct Numbers {
    last: Option<u64>,
}

impl Numbers {
    /// The next number; whether the queue was empty before.
    pub(crate) fn next(&mut self, tx: &Tx, place: &Place, id: &Id) -> Result<(u64, bool), Fault> {
        let key = place.counter(COUNTERS[0], id);
        let (last, empty) = match self.last {
            Some(last) => (last, false),
            None => {
                let last = tx.counter(&key)?;
                let empty = last == tx.counter(&place.counter(COUNTERS[1], id))?;
                (u64::try_from(last).unwrap_or_default(), empty)
            }
        };
        tx.add(&key, 1)?;
        self.last = Some(last + 1);
        Ok((last + 1, empty))
    }
}

/// The counters as they are.
pub(crate) fn counts(tx: &Tx, place: &Place, id: &Id) -> Result<Counts, Fault> {
    let read = |name| tx.counter(&place.counter(name, id));
    let unsigned = |number: i64| u64::try_from(number).unwrap_or_default();
    Ok(Counts {
        total: unsigned(read(COUNTERS[0])? - read(COUNTERS[1])?),
        in_flight: unsigned(read(COUNTERS[2])?),
        delayed: unsigned(read(COUNTERS[3])?),
    })
}

/// Changes the counters.
pub(crate) fn change(tx: &Tx, place: &Place, id: &Id, change: Change) -> Result<(), Fault> {
    for (name, by) in [(COUNTERS[1], change.gone), (COUNTERS[2], change.in_flight), (COUNTERS[3], change.delayed)] {
        if by != 0 {
            tx.add(&place.counter(name, id), by)?;
        }
    }
    Ok(())
}

/// The last element of a key that is a number.
pub(crate) fn last_number(key: &Key) -> Result<u64, Fault> {
    Ok(key.last_u64()?)
}

/// The time and the number at the end of a key of [`DUE`].
pub(crate) fn due_of(key: &Key) -> Result<(Timestamp, u64), Fault> {
    let (millis, number) = key.last_two_u64()?;
    Ok((Timestamp::from_millis(millis), number))
}
