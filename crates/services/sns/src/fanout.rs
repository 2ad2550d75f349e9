//! From a published message to its subscribers.
//!
//! Who wants a message is found in a compiled form of the topic's subscriptions ([`Members`]), kept in memory under the
//! topic's revision, which changes with every change of a subscription to what it never was: what is compiled can be old but
//! never wrong, and a transaction that was not committed leaves nothing that another could take for true.
//!
//! Up to [`TARGETS_MAX`] subscribers and [`BYTES_MAX`] get the message in the transaction that publishes it. More are an
//! *intent*: the message and how far it has come, moved on by the reconciler in chunks, each of which is one transaction
//! with its deliveries. So each subscriber gets it once, whatever is cut off where. Messages of a FIFO topic never overtake
//! an intent of theirs.

use std::{cell::OnceCell, collections::HashMap, sync::Arc};

use base_types::{Arn, Fault};
use bytes::Bytes;
use lang_eventpattern::{Event, EventPattern, RuleSet};
use parking_lot::Mutex;
use services_kernel::{Cx, HOPS_MAX, Lineage, Source};
use services_ports::{Delivery, DeliveryError};
use store_api::{Direction, Key, Part, Tx};

use crate::{
    Sns,
    filter::{self, Scope},
    message::{Envelope, Message, Signature},
    sign::Signer,
    tables::{self, Call, Found, INTENTS, Id, Intent, Letter, SUBSCRIPTIONS, Subscription, last_number},
};

/// Subscribers that get a message in the transaction that publishes it.
pub(crate) const TARGETS_MAX: usize = 256;
/// Bytes that one transaction hands to subscribers.
const BYTES_MAX: usize = 4 << 20;
/// Topics with more subscriptions are not compiled: their messages are always expanded in chunks.
const MEMBERS_MAX: u64 = 20_000;
/// Subscriptions that are kept compiled, of all topics together.
const COMPILED_MAX: usize = 100_000;
/// Subscriptions that one chunk looks at.
const LOOKED_AT_MAX: usize = 1000;
/// Who SNS is to others.
const SERVICE: &str = "sns.amazonaws.com";

/// What one transaction may still hand over.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Budget {
    targets: usize,
    bytes: usize,
}

impl Budget {
    pub(crate) fn new() -> Self {
        Self { targets: TARGETS_MAX, bytes: BYTES_MAX }
    }

    /// Takes what these targets need, if it is there.
    fn take(&mut self, targets: usize, bytes: usize) -> bool {
        let fits = targets <= self.targets && bytes <= self.bytes;
        if fits {
            self.targets -= targets;
            self.bytes -= bytes;
        }
        fits
    }

    fn is_spent(self) -> bool {
        self.targets == 0 || self.bytes == 0
    }
}

/// A topic's confirmed subscriptions, prepared for the question who wants a message.
pub(crate) struct Members {
    subscriptions: Vec<Subscription>,
    /// Those without a filter policy.
    plain: Vec<usize>,
    by_attributes: RuleSet<usize>,
    by_body: RuleSet<usize>,
    /// Protocols of which some subscriber gets a signed document in the transaction.
    signed: Vec<&'static str>,
}

impl Members {
    fn compile(tx: &Tx, found: &Found) -> Result<Self, Fault> {
        let rows = found.name.rows(&SUBSCRIPTIONS, &found.topic.id);
        let all = SUBSCRIPTIONS.scan(tx, &rows.prefix(), MEMBERS_MAX as usize + 1, Direction::Forward)?;
        let mut members = Self {
            subscriptions: Vec::with_capacity(all.len()),
            plain: Vec::new(),
            by_attributes: RuleSet::new(),
            by_body: RuleSet::new(),
            signed: Vec::new(),
        };
        for (_, subscription) in all.into_iter().filter(|(_, subscription)| subscription.confirmed) {
            let index = members.subscriptions.len();
            match (pattern(&subscription), subscription.filter_body) {
                (Wants::All, _) => members.plain.push(index),
                (Wants::These(pattern), true) => members.by_body.insert(index, pattern),
                (Wants::These(pattern), false) => members.by_attributes.insert(index, pattern),
                (Wants::Nothing, _) => {}
            }
            if let Some(protocol) = signed_within(&subscription)
                && !members.signed.contains(&protocol)
            {
                members.signed.push(protocol);
            }
            members.subscriptions.push(subscription);
        }
        Ok(members)
    }

    /// Who wants a message, in the order in which they subscribed.
    fn wanting(&self, message: &Message) -> Vec<&Subscription> {
        let mut wanting = self.plain.clone();
        if !self.by_attributes.is_empty() {
            wanting.extend(self.by_attributes.matching(&filter::of_attributes(&message.attributes)));
        }
        if !self.by_body.is_empty()
            && let Some(event) = filter::of_body(&message.text)
        {
            wanting.extend(self.by_body.matching(&event));
        }
        wanting.sort_unstable();
        wanting.into_iter().filter_map(|index| self.subscriptions.get(index)).collect()
    }

    /// Protocols whose text has to be signed before anybody can have it.
    pub(crate) fn signed(&self) -> &[&'static str] {
        &self.signed
    }
}

enum Wants {
    All,
    These(EventPattern),
    /// A policy that cannot be read any more; it was when it was set.
    Nothing,
}

fn pattern(subscription: &Subscription) -> Wants {
    let scope = if subscription.filter_body { Scope::Body } else { Scope::Attributes };
    match &subscription.filter {
        None => Wants::All,
        Some(policy) => filter::compile(policy, scope).map_or(Wants::Nothing, Wants::These),
    }
}

/// A message as filters look at it, prepared once for all of them.
struct Looked<'a> {
    message: &'a Message,
    attributes: OnceCell<Event>,
    body: OnceCell<Option<Event>>,
}

impl<'a> Looked<'a> {
    fn at(message: &'a Message) -> Self {
        Self { message, attributes: OnceCell::new(), body: OnceCell::new() }
    }

    fn is_wanted(&self, subscription: &Subscription) -> bool {
        match pattern(subscription) {
            Wants::All => true,
            Wants::Nothing => false,
            Wants::These(pattern) if subscription.filter_body => {
                let body = self.body.get_or_init(|| filter::of_body(&self.message.text));
                body.as_ref().is_some_and(|event| pattern.matches(event))
            }
            Wants::These(pattern) => {
                let attributes = self.attributes.get_or_init(|| filter::of_attributes(&self.message.attributes));
                pattern.matches(attributes)
            }
        }
    }
}

/// The protocol, when the subscriber gets a signed document in the transaction itself. (What goes by HTTP is signed when
/// it is sent.)
fn signed_within(subscription: &Subscription) -> Option<&'static str> {
    match subscription.protocol.as_str() {
        "sqs" if !subscription.raw => Some("sqs"),
        "lambda" => Some("lambda"),
        _ => None,
    }
}

/// Compiled topics, by id; each under its revision.
#[derive(Default)]
pub(crate) struct Compiled(Mutex<HashMap<Id, (Id, Arc<Members>)>>);

impl Compiled {
    fn get(&self, found: &Found) -> Option<Arc<Members>> {
        let compiled = self.0.lock();
        let (revision, members) = compiled.get(&found.topic.id)?;
        (*revision == found.topic.revision).then(|| Arc::clone(members))
    }

    fn put(&self, found: &Found, members: &Arc<Members>) {
        let mut compiled = self.0.lock();
        let there: usize = compiled.values().map(|(_, members)| members.subscriptions.len() + 1).sum();
        if there + members.subscriptions.len() > COMPILED_MAX {
            compiled.clear();
        }
        compiled.insert(found.topic.id, (found.topic.revision, Arc::clone(members)));
    }
}

/// What a message is to its subscribers, made once for all of them.
struct Rendered<'a> {
    message: &'a Message,
    signer: Option<&'a Signer>,
    queue: Option<Envelope>,
    attributes: Option<Vec<services_ports::Attribute>>,
}

impl<'a> Rendered<'a> {
    fn new(message: &'a Message, signer: Option<&'a Signer>) -> Self {
        Self { message, signer, queue: None, attributes: None }
    }

    fn signature(&self, protocol: &str) -> Result<Option<Signature>, Fault> {
        let Some(signer) = self.signer.filter(|_| self.message.is_signed()) else { return Ok(None) };
        let text = self.message.signed_text(protocol);
        signer.sign(self.message.signature_version, &text, &self.message.endpoint).map(Some)
    }

    fn for_queue(&mut self, subscription: &str) -> Result<String, Fault> {
        let envelope = match self.queue.take() {
            Some(envelope) => envelope,
            None => self.message.envelope("sqs", self.signature("sqs")?.as_ref()),
        };
        let document = envelope.to(subscription);
        self.queue = Some(envelope);
        Ok(document)
    }

    fn attributes(&mut self) -> Vec<services_ports::Attribute> {
        let message = self.message;
        let made = || message.attributes.iter().map(crate::message::Attribute::to_port).collect();
        self.attributes.get_or_insert_with(made).clone()
    }
}

impl Sns {
    /// The compiled subscriptions of a topic; `None` when they are too many.
    pub(crate) fn members(&self, tx: &Tx, found: &Found) -> Result<Option<Arc<Members>>, Fault> {
        if found.topic.confirmed + found.topic.pending > MEMBERS_MAX {
            return Ok(None);
        }
        if let Some(members) = self.compiled.get(found) {
            return Ok(Some(members));
        }
        let members = Arc::new(Members::compile(tx, found)?);
        self.compiled.put(found, &members);
        Ok(Some(members))
    }

    /// Hands a message to everybody who wants it, or files the intent to.
    pub(crate) fn spread(&self, tx: &Tx, found: &Found, message: &Message, budget: &mut Budget) -> Result<(), Fault> {
        if found.topic.confirmed == 0 {
            return Ok(());
        }
        let defer = || {
            let intent = Intent {
                account: found.name.account,
                region: found.name.region.clone(),
                topic: found.name.name.clone(),
                message: message.clone(),
                done: 0,
                last: found.topic.last,
            };
            tables::put_intent(tx, &found.topic.id, &intent)
        };
        let waiting = tables::intents(&found.topic.id).prefix();
        if found.is_fifo() && !tx.scan(&waiting, 1, Direction::Forward)?.is_empty() {
            return defer();
        }
        let Some(members) = self.members(tx, found)? else { return defer() };
        let wanting = members.wanting(message);
        let signer = self.signer_if_ready();
        let unsigned = message.is_signed() && !members.signed.is_empty() && signer.is_none();
        if unsigned || !budget.take(wanting.len(), wanting.len().saturating_mul(bytes(message))) {
            return defer();
        }
        let mut rendered = Rendered::new(message, signer.as_deref());
        for subscription in wanting {
            self.hand(tx, found, subscription, &mut rendered)?;
        }
        Ok(())
    }

    /// Moves one intent on by a chunk: the first of the topic that follows `after`. Answers the topic's id, or nothing
    /// when no topic follows.
    pub(crate) fn expand(&self, tx: &Tx, after: Option<&Id>, signer: &Signer) -> Result<Option<Id>, Fault> {
        let mut range = INTENTS.global_key(None).prefix();
        if let Some(id) = after {
            range = range.after(&tables::intents(id).u64(u64::MAX));
        }
        let Some((key, mut intent)) = INTENTS.scan(tx, &range, 1, Direction::Forward)?.pop() else { return Ok(None) };
        let id = id_of(&key)?;
        let name = crate::names::TopicName {
            account: intent.account,
            region: intent.region.clone(),
            name: intent.topic.clone(),
        };
        let found = Found::load(tx, name)?.filter(|found| found.topic.id == id);
        let Some(found) = found else {
            // The topic is gone, and with it who would have got it.
            INTENTS.remove(tx, &key)?;
            return Ok(Some(id));
        };
        let message = intent.message.clone();
        let ended = self.expand_some(tx, &found, &message, &mut intent, signer)?;
        if ended {
            INTENTS.remove(tx, &key)?;
        } else {
            INTENTS.put(tx, &key, &intent)?;
        }
        Ok(Some(id))
    }

    /// A chunk of the subscribers behind those who have the message; true when there are no more.
    fn expand_some(
        &self,
        tx: &Tx,
        found: &Found,
        message: &Message,
        intent: &mut Intent,
        signer: &Signer,
    ) -> Result<bool, Fault> {
        let rows = found.name.rows(&SUBSCRIPTIONS, &found.topic.id);
        let (mut budget, size) = (Budget::new(), bytes(message));
        let (mut rendered, looked) = (Rendered::new(message, Some(signer)), Looked::at(message));
        // No more are read than may get it, unless filters let few have it.
        for _ in 0..LOOKED_AT_MAX.div_ceil(TARGETS_MAX) {
            let range = rows.prefix().after(&rows.clone().u64(intent.done));
            let some = SUBSCRIPTIONS.scan(tx, &range, TARGETS_MAX, Direction::Forward)?;
            let whole = some.len() < TARGETS_MAX;
            for (row, subscription) in some {
                let number = last_number(&row)?;
                if number > intent.last {
                    return Ok(true);
                }
                if subscription.confirmed && looked.is_wanted(&subscription) {
                    // One that is larger than any budget goes alone.
                    if !budget.take(1, size.min(BYTES_MAX)) {
                        return Ok(false);
                    }
                    self.hand(tx, found, &subscription, &mut rendered)?;
                }
                intent.done = number;
                if budget.is_spent() {
                    return Ok(false);
                }
            }
            if whole {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Hands a message to one subscriber.
    fn hand(&self, tx: &Tx, found: &Found, to: &Subscription, rendered: &mut Rendered<'_>) -> Result<(), Fault> {
        let message = rendered.message;
        let arn = found.subscription_name(to).arn();
        match to.protocol.as_str() {
            "sqs" => {
                let fifo = to.endpoint.ends_with(".fifo");
                let mut delivery = Delivery { trace: message.trace.clone(), ..Delivery::default() };
                if to.raw {
                    delivery.body = Bytes::from(message.text_for("sqs").to_owned());
                    delivery.attributes = rendered.attributes();
                } else {
                    delivery.body = Bytes::from(rendered.for_queue(&arn)?);
                }
                // A standard queue takes a group from a standard topic; from a FIFO topic, nothing that is of FIFO.
                if fifo || !found.is_fifo() {
                    delivery.group.clone_from(&message.group);
                }
                if fifo {
                    delivery.deduplication.clone_from(&message.deduplication);
                }
                self.deliver_or_bury(tx, found, to, message, delivery)
            }
            "lambda" => {
                let event = message.event(&arn, rendered.signature("lambda")?.as_ref());
                let delivery =
                    Delivery { body: Bytes::from(event), trace: message.trace.clone(), ..Delivery::default() };
                match self.deliver_to(tx, found, message, &to.endpoint, &delivery) {
                    Ok(()) => Ok(()),
                    Err(DeliveryError::Fault(fault)) => Err(fault),
                    Err(error) => {
                        // What is buried is the document that a queue would have got.
                        let body = Bytes::from(rendered.for_queue(&arn)?);
                        self.bury(tx, found, to, message, Delivery { body, ..delivery }, &error)
                    }
                }
            }
            "http" | "https" => {
                let call = Call {
                    account: found.name.account,
                    region: found.name.region.clone(),
                    topic: found.name.name.clone(),
                    subscription: arn,
                    protocol: to.protocol.clone(),
                    endpoint: to.endpoint.clone(),
                    message: Some(message.clone()),
                    request: None,
                    raw: to.raw,
                    failed: 0,
                    due: tx.now(),
                };
                tables::put_call(tx, &self.env.uuid(), &call)
            }
            // E-mail and SMS: nobody sends them here; they are kept to be read.
            _ => {
                let letter = Letter {
                    at: message.at,
                    protocol: to.protocol.clone(),
                    to: to.endpoint.clone(),
                    subject: message.subject.clone(),
                    text: message.text_for(&to.protocol).to_owned(),
                    topic_arn: Some(found.arn.clone()),
                };
                tables::put_letter(tx, to.owner, &found.name.region, &self.env.uuid(), &letter)
            }
        }
    }

    fn deliver_or_bury(
        &self,
        tx: &Tx,
        found: &Found,
        to: &Subscription,
        message: &Message,
        delivery: Delivery,
    ) -> Result<(), Fault> {
        match self.deliver_to(tx, found, message, &to.endpoint, &delivery) {
            Ok(()) => Ok(()),
            Err(DeliveryError::Fault(fault)) => Err(fault),
            Err(error) => self.bury(tx, found, to, message, delivery, &error),
        }
    }

    /// Delivers in the topic's name.
    pub(crate) fn deliver_to(
        &self,
        tx: &Tx,
        found: &Found,
        message: &Message,
        target: &str,
        delivery: &Delivery,
    ) -> Result<(), DeliveryError> {
        let missing = || DeliveryError::NotFound(target.to_owned());
        let target: Arn = target.parse().map_err(|_| missing())?;
        let region = target.region.parse().map_err(|_| missing())?;
        let mut cx = Cx::internal(found.name.account, region, &message.request_id);
        if let Some(trace) = &message.trace {
            cx.trace = Some(Arc::from(trace.as_str()));
            cx.hops = Lineage::of(trace).hops().min(HOPS_MAX);
        }
        let cx = cx.consequence(Source { service: SERVICE.to_owned(), arn: found.name.arn() });
        self.destinations.deliver(&cx, tx, &target, delivery)
    }

    /// Puts what could not be delivered into the subscription's dead-letter queue, if it has one.
    pub(crate) fn bury(
        &self,
        tx: &Tx,
        found: &Found,
        to: &Subscription,
        message: &Message,
        mut delivery: Delivery,
        why: &dyn std::fmt::Display,
    ) -> Result<(), Fault> {
        let arn = found.subscription_name(to).arn();
        let Some(queue) = to.dead_letters() else {
            self.tell_once(&arn, || {
                tracing::warn!(
                    subscription = %arn, endpoint = %to.endpoint, error = %why,
                    "a message could not be delivered and is lost; allow {SERVICE} in the target's policy for {}, or give \
                     the subscription a RedrivePolicy", found.arn
                );
            });
            return Ok(());
        };
        let fifo = queue.ends_with(".fifo");
        delivery.group = message.group.clone().filter(|_| fifo);
        delivery.deduplication = message.deduplication.clone().filter(|_| fifo);
        match self.deliver_to(tx, found, message, &queue, &delivery) {
            Ok(()) => Ok(()),
            Err(DeliveryError::Fault(fault)) => Err(fault),
            Err(error) => {
                self.tell_once(&arn, || {
                    tracing::warn!(
                        subscription = %arn, endpoint = %to.endpoint, %queue, cause = %why, %error,
                        "a message could not be delivered, its dead-letter queue does not take it either, and it is lost; \
                         allow {SERVICE} in the queue's policy for {}", found.arn
                    );
                });
                Ok(())
            }
        }
    }
}

/// About what a message is to each of its subscribers.
fn bytes(message: &Message) -> usize {
    let longest = message.by_protocol.values().map(String::len).max().unwrap_or(0).max(message.text.len());
    let attributes: usize = message
        .attributes
        .iter()
        .map(|a| a.name.len() + a.text.as_ref().map_or(0, String::len) + a.bytes.as_ref().map_or(0, Vec::len))
        .sum();
    longest + attributes + 1024
}

fn id_of(key: &Key) -> Result<Id, Fault> {
    let mut parts = key.parts()?;
    parts.pop();
    match parts.pop() {
        Some(Part::Bytes(id)) => id.try_into().map_err(|_| store_api::DamagedKey.into()),
        _ => Err(store_api::DamagedKey.into()),
    }
}
