//! One look into a queue, within a transaction: whether the mapping still works, which messages it takes, which of them
//! nobody is to get.
//!
//! Guarantee: in the one commit that takes messages, those that a filter keeps out are deleted, and those that have gone
//! round in circles are deleted and told to whom the function tells its failures.

use std::sync::Arc;

use base_types::{Arn, Fault, Timestamp};
use bytes::Bytes;
use services_kernel::{Cx, Lineage, Passed};
use services_ports::{DeliveryError, QueueMessage, QueueTraits, Received};
use store_api::{Lease, Tx};

use super::{
    Mapping, Task,
    batch::{Batch, Full, Item, record},
    filter::Filters,
    scale::Scale,
};
use crate::{
    control::Control,
    event_invoke::EventInvoke,
    events::{Event, Outcome, PASSES_MAX, record::Response},
    invoke::destinations::{Ends, traced},
    tables::{MAPPINGS, Place},
};

/// Messages taken in one transaction.
const MESSAGES_MAX: usize = 500;
/// Batches taken in one transaction.
pub(super) const BATCHES_MAX: usize = 32;

/// What is asked of a look.
#[derive(Clone)]
pub(super) struct Ask {
    pub(super) place: Place,
    pub(super) uuid: String,
    /// The queue.
    pub(super) source: Arn,
    /// In whose name messages are taken: the function's role.
    pub(super) cx: Cx,
    /// The mapping as it was when the function was looked up.
    pub(super) mapping: Arc<Mapping>,
    /// Its patterns.
    pub(super) filters: Arc<Filters>,
    pub(super) scale: Scale,
    /// Batches under way.
    pub(super) busy: usize,
    /// The room that the batch has which is being gathered.
    pub(super) gathered: Batch,
    /// Batches, and messages of one, that this look may take.
    pub(super) batches_max: usize,
    pub(super) messages_max: usize,
    /// What is to be known of the function for messages that go round in circles.
    pub(super) function: Target,
}

/// What a look has to know of the function.
#[derive(Clone)]
pub(super) struct Target {
    pub(super) passed: Passed,
    pub(super) recursion_allowed: bool,
    pub(super) incarnation: String,
    pub(super) version: String,
    pub(super) event_invoke: Option<EventInvoke>,
    pub(super) ends: Ends,
}

/// What a look saw.
pub(super) enum Looked {
    /// The mapping works no more.
    Over,
    /// It is set to something else: look again, knowing it.
    Changed(Arc<Mapping>),
    /// What it took.
    Saw(Box<Sight>),
}

/// What a look took.
pub(super) struct Sight {
    pub(super) batches: Vec<Batch>,
    /// Until when what was taken is hidden.
    pub(super) until: Timestamp,
    pub(super) traits: QueueTraits,
    /// Whether anything was received, passed or not.
    pub(super) some: bool,
    /// Whether every batch that may be is under way.
    pub(super) full: bool,
    /// When the next hidden message can be seen.
    pub(super) next_due: Option<Timestamp>,
}

/// Why a look came to nothing; nothing was taken.
#[derive(Debug)]
pub(super) enum LookError {
    Fault(Fault),
    /// The queue cannot be used.
    Queue(DeliveryError),
    /// So many batches, and messages of the next, fit into events.
    TooLarge {
        batches: usize,
        messages: usize,
    },
}

impl From<Fault> for LookError {
    fn from(fault: Fault) -> Self {
        Self::Fault(fault)
    }
}

impl From<DeliveryError> for LookError {
    fn from(error: DeliveryError) -> Self {
        match error {
            DeliveryError::Fault(fault) => Self::Fault(fault),
            other => Self::Queue(other),
        }
    }
}

/// Looks.
pub(super) fn look(control: &Control, tx: &Tx, lease: &Lease, ask: &Ask) -> Result<Looked, LookError> {
    tx.require(lease)?;
    let mapping = match MAPPINGS.get(tx, &ask.place.mapping(&ask.uuid))? {
        Some(mapping) if mapping.task() == Task::Work => mapping,
        _ => return Ok(Looked::Over),
    };
    if mapping.revision != ask.mapping.revision {
        return Ok(Looked::Changed(Arc::new(mapping)));
    }
    let settings = &mapping.settings;
    let queues = &control.queues;
    let traits = queues.describe(&ask.cx, tx, &ask.source)?;
    let window = std::time::Duration::from_secs(settings.window_seconds.into());
    let gathers = !window.is_zero();
    let visibility = gathers.then(|| traits.visibility + window);
    let room = ask.scale.limit(settings).saturating_sub(ask.busy);
    let slots = if gathers { room.min(1) } else { room.min(ask.batches_max) };
    let size = usize::try_from(settings.batch_size).unwrap_or(usize::MAX);
    let mut sight = Sight {
        batches: Vec::new(),
        until: tx.now() + visibility.unwrap_or(traits.visibility),
        traits,
        some: false,
        full: room == 0,
        next_due: None,
    };
    let mut taken = 0;
    for _ in 0..slots {
        let mut batch = ask.gathered.continuation();
        let wanted = size.saturating_sub(batch.count()).min(ask.messages_max).min(MESSAGES_MAX - taken);
        if wanted == 0 {
            break;
        }
        let Received { messages, next_due } = queues.receive(&ask.cx, tx, &ask.source, wanted, visibility)?;
        sight.next_due = next_due;
        if messages.is_empty() {
            break;
        }
        taken += messages.len();
        sight.some = true;
        let short = messages.len() < wanted;
        if let Err(fit) = sort(control, tx, ask, messages, &mut batch)? {
            return Err(LookError::TooLarge { batches: sight.batches.len(), messages: fit });
        }
        if !batch.is_empty() {
            sight.batches.push(batch);
        }
        if short {
            break;
        }
    }
    sight.full = sight.full || (!gathers && sight.batches.len() >= room);
    Ok(Looked::Saw(Box::new(sight)))
}

/// Puts what passes into the batch and deletes the rest. The inner error says how many messages fit.
fn sort(
    control: &Control,
    tx: &Tx,
    ask: &Ask,
    messages: Vec<QueueMessage>,
    batch: &mut Batch,
) -> Result<Result<(), usize>, LookError> {
    let mut unwanted = Vec::new();
    for (index, message) in messages.into_iter().enumerate() {
        let record = record(&message, &ask.mapping.source, ask.place.region.as_str());
        let item = Item::new(&message, &record);
        let circles = !ask.function.recursion_allowed
            && item.trace.as_deref().is_some_and(|trace| Lineage::of(trace).count(ask.function.passed) >= PASSES_MAX);
        if !ask.filters.pass(&record) {
            unwanted.push(message.receipt);
        } else if circles {
            cut(control, tx, ask, &item)?;
            unwanted.push(message.receipt);
        } else if batch.push(item) == Err(Full) {
            return Ok(Err(index));
        }
    }
    if !unwanted.is_empty() {
        let receipts: Vec<&str> = unwanted.iter().map(String::as_str).collect();
        control.queues.delete(&ask.cx, tx, &ask.source, &receipts)?;
    }
    Ok(Ok(()))
}

/// Tells that a message was cut out of a loop, as the end of an event is told.
fn cut(control: &Control, tx: &Tx, ask: &Ask, item: &Item) -> Result<(), Fault> {
    let target = &ask.function;
    tracing::warn!(function = %ask.mapping.function, message = %item.id, "a message was cut out of a loop");
    let event = Event {
        account: ask.place.account,
        region: ask.place.region.clone(),
        name: ask.mapping.function.clone(),
        incarnation: target.incarnation.clone(),
        qualifier: ask.mapping.qualifier.clone(),
        payload_bytes: 0,
        request_id: item.id.to_string(),
        trace: Some(traced(item.trace.as_deref().unwrap_or_default(), target.passed)),
        client_context: None,
        accepted: tx.now(),
        due: tx.now(),
        failures: 0,
        delays: 0,
        running_under: None,
        hops: ask.cx.hops,
    };
    let response = Response::recursive(target.version.clone());
    let request: Bytes = item.event();
    let config = target.event_invoke.as_ref();
    control.tell_of(tx, &event, Outcome::Recursion, config, &target.ends, Some(&response), &request)
}
