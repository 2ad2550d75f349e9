//! What is in the store, and the only file that knows keys.
//!
//! | table | key | what |
//! |---|---|---|
//! | `sns.topics` | account · region · name | a topic |
//! | `sns.subscriptions` | account · region · topic id · number | a subscription, in the order in which they came |
//! | `sns.named` | account · region · topic id · subscription id | its number |
//! | `sns.endpoints` | account · region · topic id · protocol · digest of the endpoint | the number of who is subscribed |
//! | `sns.tokens` | account · region · topic id · token | the number of who may confirm with it |
//! | `sns.owned` | owner's account · region · topic's account · topic's name · subscription id | who owns which subscription |
//! | `sns.count` | account · region · `standard` or `fifo` | counter: topics |
//! | `sns.sequence` | account · region · topic id | counter: messages of a FIFO topic |
//! | `sns.sent` | account · region · topic id · group or nothing · deduplication id | what was published within five minutes |
//! | `sns.forget` | (global) time · key of `sns.sent` | when it is forgotten |
//! | `sns.intents` | (global) topic id · ordinal | a message that is yet to be handed to subscribers |
//! | `sns.calls` | (global) call id | something to be sent by HTTP, or a confirmation to be delivered |
//! | `sns.due` | (global) time · call id | when |
//! | `sns.outbox` | account · region · time (newest first) · id | what an e-mail or SMS subscriber would have got |
//! | `sns.sms` | account · region | the settings of `SetSMSAttributes` |
//! | `sns.signing` | (global) | the key that signs, and its certificate |
//! | `sns.trash` | (global) topic id | deleted topics whose rows are still there |
//!
//! The global ones are declared exceptions to "keys begin with account and region": the reconcilers work for all of them,
//! and the signing key is the installation's.

use std::collections::BTreeMap;

use base_types::{AccountId, Fault, Region, Timestamp};
use minicbor::{Decode, Encode};
use sha2::{Digest, Sha256};
use store_api::{Direction, Family, Key, Part, Table, Tx};

use crate::{
    attributes::TopicAttributes,
    message::{Message, Request},
    names::{SubscriptionName, TopicName},
};

pub(crate) const TOPICS: Table<Topic> = Table::new(Family::Meta, "sns.topics", 1);
pub(crate) const SUBSCRIPTIONS: Table<Subscription> = Table::new(Family::Meta, "sns.subscriptions", 1);
pub(crate) const NAMED: Table<Number> = Table::new(Family::Meta, "sns.named", 1);
pub(crate) const ENDPOINTS: Table<Number> = Table::new(Family::Meta, "sns.endpoints", 1);
pub(crate) const TOKENS: Table<Number> = Table::new(Family::Meta, "sns.tokens", 1);
pub(crate) const OWNED: Table<Mark> = Table::new(Family::Meta, "sns.owned", 1);
pub(crate) const SENT: Table<Sent> = Table::new(Family::Queue, "sns.sent", 1);
pub(crate) const FORGET: Table<Mark> = Table::new(Family::Queue, "sns.forget", 1);
pub(crate) const INTENTS: Table<Intent> = Table::new(Family::Queue, "sns.intents", 1);
pub(crate) const CALLS: Table<Call> = Table::new(Family::Queue, "sns.calls", 1);
pub(crate) const DUE: Table<Due> = Table::new(Family::Queue, "sns.due", 1);
pub(crate) const OUTBOX: Table<Letter> = Table::new(Family::Queue, "sns.outbox", 1);
pub(crate) const SMS: Table<SmsSettings> = Table::new(Family::Meta, "sns.sms", 1);
pub(crate) const SIGNING: Table<SigningKey> = Table::new(Family::Meta, "sns.signing", 1);
pub(crate) const TRASH: Table<Trash> = Table::new(Family::Queue, "sns.trash", 1);

const SEQUENCE: &str = "sns.sequence";
/// Tables below a topic's id.
const OF_A_TOPIC: [(&str, Family); 6] = [
    ("sns.subscriptions", Family::Meta),
    ("sns.named", Family::Meta),
    ("sns.endpoints", Family::Meta),
    ("sns.tokens", Family::Meta),
    (SEQUENCE, Family::Queue),
    ("sns.sent", Family::Queue),
];
/// Letters that an account keeps in a region.
const LETTERS_MAX: usize = 1000;

/// The identity of a topic's subscriptions; never reused.
pub(crate) type Id = [u8; 16];

/// A topic.
#[derive(Clone, Debug, Encode, Decode)]
#[cbor(map)]
pub(crate) struct Topic {
    #[cbor(n(0), with = "minicbor::bytes")]
    pub(crate) id: Id,
    #[n(1)]
    pub(crate) created: Timestamp,
    #[n(2)]
    pub(crate) attributes: TopicAttributes,
    /// Changes with every change of a subscription, to what it never was.
    #[cbor(n(3), with = "minicbor::bytes")]
    pub(crate) revision: Id,
    /// Subscriptions that ever were: the number of the last.
    #[n(4)]
    pub(crate) last: u64,
    #[n(5)]
    pub(crate) confirmed: u64,
    #[n(6)]
    pub(crate) pending: u64,
    #[n(7)]
    pub(crate) deleted: u64,
    /// `scheme://host[:port]` as who made it addressed us: where subscribers of what is published from inside find us.
    #[n(8)]
    pub(crate) endpoint: String,
}

/// A subscription.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub(crate) struct Subscription {
    #[n(0)]
    pub(crate) id: String,
    #[n(1)]
    pub(crate) protocol: String,
    #[n(2)]
    pub(crate) endpoint: String,
    #[n(3)]
    pub(crate) owner: AccountId,
    /// ARN of who subscribed.
    #[n(4)]
    pub(crate) principal: String,
    #[n(5)]
    pub(crate) created: Timestamp,
    /// The token that confirms it, while it is not confirmed or after it said farewell.
    #[n(6)]
    pub(crate) token: Option<String>,
    #[n(7)]
    pub(crate) confirmed: bool,
    #[n(8)]
    pub(crate) authenticated: bool,
    #[n(9)]
    pub(crate) leave_authenticated: bool,
    #[n(10)]
    pub(crate) raw: bool,
    #[n(11)]
    pub(crate) filter: Option<String>,
    #[n(12)]
    pub(crate) filter_body: bool,
    /// As it was given.
    #[n(13)]
    pub(crate) redrive: Option<String>,
    /// As it was given.
    #[n(14)]
    pub(crate) delivery: Option<String>,
    #[n(15)]
    pub(crate) role: Option<String>,
}

/// The number of a subscription.
#[derive(Clone, Copy, Debug, Encode, Decode)]
#[cbor(map)]
pub(crate) struct Number {
    #[n(0)]
    pub(crate) number: u64,
}

/// Nothing but the key.
#[derive(Clone, Copy, Debug, Encode, Decode)]
#[cbor(map)]
pub(crate) struct Mark {}

/// A message that was published to a FIFO topic.
#[derive(Clone, Debug, Encode, Decode)]
#[cbor(map)]
pub(crate) struct Sent {
    #[n(0)]
    pub(crate) message_id: String,
    #[n(1)]
    pub(crate) sequence: String,
    #[n(2)]
    pub(crate) until: Timestamp,
}

/// A message on its way to many subscribers.
#[derive(Clone, Debug, Encode, Decode)]
#[cbor(map)]
pub(crate) struct Intent {
    #[n(0)]
    pub(crate) account: AccountId,
    #[n(1)]
    pub(crate) region: Region,
    #[n(2)]
    pub(crate) topic: String,
    #[n(3)]
    pub(crate) message: Message,
    /// Subscriptions up to this number have it.
    #[n(4)]
    pub(crate) done: u64,
    /// Later ones were not there when it was published.
    #[n(5)]
    pub(crate) last: u64,
}

/// Something to be sent to one subscriber.
#[derive(Clone, Debug, Encode, Decode)]
#[cbor(map)]
pub(crate) struct Call {
    #[n(0)]
    pub(crate) account: AccountId,
    #[n(1)]
    pub(crate) region: Region,
    #[n(2)]
    pub(crate) topic: String,
    /// The subscription's ARN.
    #[n(3)]
    pub(crate) subscription: String,
    #[n(4)]
    pub(crate) protocol: String,
    #[n(5)]
    pub(crate) endpoint: String,
    /// A notification.
    #[n(6)]
    pub(crate) message: Option<Message>,
    /// Or a request to confirm.
    #[n(7)]
    pub(crate) request: Option<Request>,
    #[n(8)]
    pub(crate) raw: bool,
    /// Attempts that failed.
    #[n(9)]
    pub(crate) failed: u64,
    /// When it is tried next: names its row among the due ones.
    #[n(10)]
    pub(crate) due: Timestamp,
}

/// Of a call that is due, what tells whether it may be made now.
#[derive(Clone, Debug, Encode, Decode)]
#[cbor(map)]
pub(crate) struct Due {
    #[n(0)]
    pub(crate) endpoint: String,
    #[n(1)]
    pub(crate) subscription: String,
}

/// What somebody would have got by e-mail or SMS.
#[derive(Clone, Debug, Encode, Decode)]
#[cbor(map)]
pub(crate) struct Letter {
    #[n(0)]
    pub(crate) at: Timestamp,
    #[n(1)]
    pub(crate) protocol: String,
    /// The address or number.
    #[n(2)]
    pub(crate) to: String,
    #[n(3)]
    pub(crate) subject: Option<String>,
    #[n(4)]
    pub(crate) text: String,
    #[n(5)]
    pub(crate) topic_arn: Option<String>,
}

/// Settings of SMS.
#[derive(Clone, Debug, Default, Encode, Decode)]
#[cbor(map)]
pub(crate) struct SmsSettings {
    #[n(0)]
    pub(crate) attributes: BTreeMap<String, String>,
}

/// The installation's signing key.
#[derive(Clone, Encode, Decode)]
#[cbor(map)]
pub(crate) struct SigningKey {
    #[cbor(n(0), with = "minicbor::bytes")]
    pub(crate) key: Vec<u8>,
    #[cbor(n(1), with = "minicbor::bytes")]
    pub(crate) certificate: Vec<u8>,
}

/// Whose rows are to be freed.
#[derive(Clone, Debug, Encode, Decode)]
#[cbor(map)]
pub(crate) struct Trash {
    #[n(0)]
    pub(crate) account: AccountId,
    #[n(1)]
    pub(crate) region: Region,
    #[n(2)]
    pub(crate) topic: String,
}

impl Trash {
    /// The topic that it was.
    pub(crate) fn name(&self) -> TopicName {
        TopicName { account: self.account, region: self.region.clone(), name: self.topic.clone() }
    }
}

impl TopicName {
    pub(crate) fn key(&self) -> Key {
        TOPICS.key(self.account, &self.region).str(&self.name)
    }

    /// Where the rows of a topic with this id begin.
    pub(crate) fn rows<V>(&self, table: &Table<V>, id: &Id) -> Key {
        table.key(self.account, &self.region).bytes(id)
    }

    pub(crate) fn subscription(&self, id: &Id, number: u64) -> Key {
        self.rows(&SUBSCRIPTIONS, id).u64(number)
    }

    pub(crate) fn endpoint(&self, id: &Id, protocol: &str, endpoint: &str) -> Key {
        self.rows(&ENDPOINTS, id).str(protocol).bytes(&Sha256::digest(endpoint))
    }

    pub(crate) fn owned(&self, owner: AccountId, subscription: &str) -> Key {
        OWNED.key(owner, &self.region).str(self.account.as_str()).str(&self.name).str(subscription)
    }

    pub(crate) fn sent(&self, id: &Id, scope: &str, deduplication: &str) -> Key {
        self.rows(&SENT, id).str(scope).str(deduplication)
    }

    /// How many topics there are beside this one, of its kind.
    pub(crate) fn counted(&self, tx: &Tx, fifo: bool) -> Result<u64, Fault> {
        Ok(u64::try_from(tx.counter(&self.count(fifo))?).unwrap_or_default())
    }

    /// One more or one less of them.
    pub(crate) fn count_in(&self, tx: &Tx, fifo: bool, by: i64) -> Result<(), Fault> {
        tx.add(&self.count(fifo), by)
    }

    fn count(&self, fifo: bool) -> Key {
        let kind = if fifo { "fifo" } else { "standard" };
        Key::new(Family::Meta, self.account, &self.region).str("sns.count").str(kind)
    }

    /// The next number of a FIFO topic's message.
    pub(crate) fn next_sequence(&self, tx: &Tx, id: &Id) -> Result<u64, Fault> {
        let key = Key::new(Family::Queue, self.account, &self.region).str(SEQUENCE).bytes(id);
        let last = tx.counter(&key)?;
        tx.add(&key, 1)?;
        Ok(u64::try_from(last).unwrap_or_default() + 1)
    }
}

/// Where the rows of a deleted topic are.
pub(crate) fn remains(trash: &Trash, id: &Id) -> Vec<Key> {
    let rows = |(name, family): &(&str, Family)| Key::new(*family, trash.account, &trash.region).str(name).bytes(id);
    OF_A_TOPIC.iter().map(rows).collect()
}

/// Where the intents of a topic are.
pub(crate) fn intents(id: &Id) -> Key {
    INTENTS.global_key(None).bytes(id)
}

/// Files an intent behind those that are there.
pub(crate) fn put_intent(tx: &Tx, id: &Id, intent: &Intent) -> Result<(), Fault> {
    let rows = intents(id);
    let last = tx.scan(&rows.prefix(), 1, Direction::Reverse)?.pop();
    let ordinal = match last {
        Some((key, _)) => last_number(&key)? + 1,
        None => 1,
    };
    INTENTS.put(tx, &rows.u64(ordinal), intent)?;
    tx.wake(&intents_topic(), 1)
}

/// What wakes who expands intents.
pub(crate) fn intents_topic() -> Key {
    INTENTS.global_key(None)
}

/// What wakes who calls.
pub(crate) fn calls_topic() -> Key {
    DUE.global_key(None)
}

/// Files a call under its due time.
pub(crate) fn put_call(tx: &Tx, id: &str, call: &Call) -> Result<(), Fault> {
    CALLS.put(tx, &CALLS.global_key(None).str(id), call)?;
    let row = Due { endpoint: call.endpoint.clone(), subscription: call.subscription.clone() };
    DUE.put(tx, &due(call.due, id), &row)?;
    tx.wake(&calls_topic(), 1)
}

/// Takes a call out.
pub(crate) fn remove_call(tx: &Tx, id: &str, call: &Call) -> Result<(), Fault> {
    CALLS.remove(tx, &CALLS.global_key(None).str(id))?;
    tx.delete(&due(call.due, id))
}

fn due(at: Timestamp, id: &str) -> Key {
    DUE.global_key(None).time(at).str(id)
}

/// Keeps a letter, and forgets those that are too many.
pub(crate) fn put_letter(tx: &Tx, account: AccountId, region: &Region, id: &str, letter: &Letter) -> Result<(), Fault> {
    let rows = OUTBOX.key(account, region);
    OUTBOX.put(tx, &rows.clone().descending(letter.at.as_millis()).str(id), letter)?;
    let kept = tx.scan(&rows.prefix(), LETTERS_MAX + 2, Direction::Forward)?;
    for (key, _) in kept.iter().skip(LETTERS_MAX) {
        tx.delete(key)?;
    }
    Ok(())
}

/// The last element of a key that is a number.
pub(crate) fn last_number(key: &Key) -> Result<u64, Fault> {
    match key.parts()?.pop() {
        Some(Part::U64(number)) => Ok(number),
        _ => Err(store_api::DamagedKey.into()),
    }
}

/// A topic that is there, with its name.
#[derive(Clone, Debug)]
pub(crate) struct Found {
    pub(crate) name: TopicName,
    pub(crate) arn: String,
    pub(crate) topic: Topic,
}

impl Found {
    pub(crate) fn load(tx: &Tx, name: TopicName) -> Result<Option<Self>, Fault> {
        let topic = TOPICS.get(tx, &name.key())?;
        Ok(topic.map(|topic| Self { arn: name.arn().to_string(), name, topic }))
    }

    pub(crate) fn put(&self, tx: &Tx) -> Result<(), Fault> {
        TOPICS.put(tx, &self.name.key(), &self.topic)
    }

    pub(crate) fn is_fifo(&self) -> bool {
        self.topic.attributes.fifo.is_some()
    }

    pub(crate) fn subscription_name(&self, subscription: &Subscription) -> SubscriptionName {
        SubscriptionName { topic: self.name.clone(), id: subscription.id.clone() }
    }

    /// The subscription with this id, and its number.
    pub(crate) fn subscription(&self, tx: &Tx, id: &str) -> Result<Option<(u64, Subscription)>, Fault> {
        let Some(Number { number }) = NAMED.get(tx, &self.name.rows(&NAMED, &self.topic.id).str(id))? else {
            return Ok(None);
        };
        let found = SUBSCRIPTIONS.get(tx, &self.name.subscription(&self.topic.id, number))?;
        Ok(found.map(|subscription| (number, subscription)))
    }

    /// Writes a subscription and its rows; the topic's record is the caller's to write.
    pub(crate) fn put_subscription(&self, tx: &Tx, number: u64, subscription: &Subscription) -> Result<(), Fault> {
        let (name, id, at) = (&self.name, &self.topic.id, Number { number });
        SUBSCRIPTIONS.put(tx, &name.subscription(id, number), subscription)?;
        NAMED.put(tx, &name.rows(&NAMED, id).str(&subscription.id), &at)?;
        ENDPOINTS.put(tx, &name.endpoint(id, &subscription.protocol, &subscription.endpoint), &at)?;
        if let Some(token) = &subscription.token {
            TOKENS.put(tx, &name.rows(&TOKENS, id).str(token), &at)?;
        }
        OWNED.put(tx, &name.owned(subscription.owner, &subscription.id), &Mark {})
    }

    pub(crate) fn remove_subscription(&self, tx: &Tx, number: u64, subscription: &Subscription) -> Result<(), Fault> {
        let (name, id) = (&self.name, &self.topic.id);
        SUBSCRIPTIONS.remove(tx, &name.subscription(id, number))?;
        NAMED.remove(tx, &name.rows(&NAMED, id).str(&subscription.id))?;
        ENDPOINTS.remove(tx, &name.endpoint(id, &subscription.protocol, &subscription.endpoint))?;
        if let Some(token) = &subscription.token {
            TOKENS.remove(tx, &name.rows(&TOKENS, id).str(token))?;
        }
        OWNED.remove(tx, &name.owned(subscription.owner, &subscription.id))
    }
}
