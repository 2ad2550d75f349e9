//! Queues as sources: whoever works a queue off takes, hides and deletes messages within its own transaction.
//!
//! Guarantee: the rules are those of the public operations (policy, limits, order within a group, receipts); only the
//! number of messages that one look may bring is the asker's own.

use std::{collections::BTreeMap, time::Duration};

use base_types::{Arn, Fault, Timestamp};
use bytes::Bytes;
use services_kernel::Cx;
use services_ports::{Attribute, AttributeValue, DeliveryError, QueueMessage, QueueTraits, Queues, Received};
use store_api::{Key, Tx};

use crate::{
    IN_FLIGHT_MAX, Sqs,
    delivery::failed,
    flow::{Found, Taken},
    handle::Handle,
    message, names, ops,
    tables::{self, Change, Place},
};

/// The longest time that a message may be hidden (AWS: 12 hours), in seconds.
const HIDDEN_SECONDS_MAX: u32 = 43_200;

fn find(cx: &Cx, tx: &Tx, action: &str, queue: &Arn) -> Result<Found, DeliveryError> {
    let name = names::of_arn(cx, &queue.to_string()).ok_or_else(|| DeliveryError::NotFound(queue.to_string()))?;
    ops::find_named(cx, tx, action, name).map_err(|error| failed(error, queue))
}

fn seconds(duration: Duration) -> u32 {
    u32::try_from(duration.as_secs()).map_or(HIDDEN_SECONDS_MAX, |seconds| seconds.min(HIDDEN_SECONDS_MAX))
}

/// The receives of this queue that the receipts name; what names another queue, or one that was purged, names nothing.
fn handles<'a>(found: &'a Found, receipts: &'a [&str]) -> impl Iterator<Item = Handle> + 'a {
    let open = |receipt: &&str| Handle::open(receipt, &found.arn);
    receipts.iter().filter_map(open).filter(|handle| handle.queue == found.queue.id)
}

impl Queues for Sqs {
    fn describe(&self, cx: &Cx, tx: &Tx, queue: &Arn) -> Result<QueueTraits, DeliveryError> {
        let found = find(cx, tx, "sqs:ReceiveMessage", queue)?;
        let visibility = Duration::from_secs(found.queue.attributes.visibility.into());
        Ok(QueueTraits { fifo: found.is_fifo(), visibility })
    }

    fn receive(
        &self,
        cx: &Cx,
        tx: &Tx,
        queue: &Arn,
        most: usize,
        visibility: Option<Duration>,
    ) -> Result<Received, DeliveryError> {
        let found = find(cx, tx, "sqs:ReceiveMessage", queue)?;
        let hidden = visibility.map_or(found.queue.attributes.visibility, seconds);
        let flying = |tx: &Tx| Ok::<_, Fault>(tables::counts(tx, &found.place, &found.queue.id)?.in_flight);
        if flying(tx)? >= IN_FLIGHT_MAX {
            // What could be seen again is in flight no more.
            let next_due = found.surface(tx)?;
            if flying(tx)? >= IN_FLIGHT_MAX {
                return Ok(Received { messages: Vec::new(), next_due });
            }
        }
        let catch = found.take(cx, tx, most, hidden)?;
        Ok(Received {
            messages: catch.taken.iter().map(|taken| show(&found, taken)).collect(),
            next_due: if catch.more { Some(tx.now()) } else { catch.next_due },
        })
    }

    fn delete(&self, cx: &Cx, tx: &Tx, queue: &Arn, receipts: &[&str]) -> Result<(), DeliveryError> {
        let found = find(cx, tx, "sqs:DeleteMessage", queue)?;
        let mut change = Change::default();
        for handle in handles(&found, receipts) {
            found.delete(tx, handle.number, handle.receive, &mut change)?;
        }
        Ok(found.change(tx, change)?)
    }

    fn hide(
        &self,
        cx: &Cx,
        tx: &Tx,
        queue: &Arn,
        receipts: &[&str],
        visibility: Duration,
    ) -> Result<(), DeliveryError> {
        let found = find(cx, tx, "sqs:ChangeMessageVisibility", queue)?;
        for handle in handles(&found, receipts) {
            found.set_visible(tx, handle.number, handle.receive, seconds(visibility))?;
        }
        Ok(())
    }

    fn topic(&self, queue: &Arn) -> Option<Key> {
        let account = queue.account.parse().ok().filter(|_| queue.service == "sqs")?;
        let name = names::QueueName { account, name: queue.resource.clone() };
        Some(Place::of(&name, &queue.region.parse().ok()?).queue(&name.name))
    }
}

fn show(found: &Found, Taken { number, record, body }: &Taken) -> QueueMessage {
    let attribute = |(name, attribute): (&String, &message::Attribute)| Attribute {
        name: name.clone(),
        data_type: attribute.data_type.clone(),
        value: match (&attribute.text, &attribute.bytes) {
            (Some(text), _) => AttributeValue::Text(text.clone()),
            (None, bytes) => AttributeValue::Binary(Bytes::from(bytes.clone().unwrap_or_default())),
        },
    };
    let millis = |at: Timestamp| at.as_millis().to_string();
    let sequence = found.is_fifo().then(|| ops::sequence(*number));
    let system: BTreeMap<String, String> = [
        ("SenderId", Some(body.sender.clone())),
        ("SentTimestamp", Some(millis(body.sent))),
        ("ApproximateReceiveCount", Some(record.receives.to_string())),
        ("ApproximateFirstReceiveTimestamp", record.first_received.map(millis)),
        ("SequenceNumber", sequence),
        ("MessageDeduplicationId", body.deduplication.clone()),
        ("MessageGroupId", body.group.clone()),
        ("AWSTraceHeader", body.trace.clone()),
        ("DeadLetterQueueSourceArn", body.source.clone()),
    ]
    .into_iter()
    .filter_map(|(name, value)| Some((name.to_owned(), value?)))
    .collect();
    QueueMessage {
        id: body.message_id.clone(),
        receipt: Handle { queue: found.queue.id, number: *number, receive: record.receives }.seal(&found.arn),
        md5_of_body: message::digest(&body.text),
        body: body.text.clone(),
        system,
        attributes: body.attributes.iter().map(attribute).collect(),
        md5_of_attributes: message::digest_of(&body.attributes),
    }
}
