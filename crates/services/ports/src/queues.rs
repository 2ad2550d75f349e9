//! Taking messages from a queue, for whoever works them off: an event source mapping, a pipe.
//!
//! Every step takes the caller's transaction, so that a message leaves its queue in the commit in which its batch is done.
//! Who waits for messages subscribes to [`Queues::topic`] before looking: a hint may be lost, the queue is the truth.

use std::{collections::BTreeMap, time::Duration};

use base_types::{Arn, Timestamp};
use services_kernel::Cx;
use store_api::{Key, Tx};

use crate::{Attribute, DeliveryError};

/// A service whose queues can be worked off.
pub trait Queues: Send + Sync + 'static {
    /// What a queue is, if it is there and who asks may receive from it.
    ///
    /// # Errors
    /// See [`DeliveryError`].
    fn describe(&self, cx: &Cx, tx: &Tx, queue: &Arn) -> Result<QueueTraits, DeliveryError>;

    /// Takes up to `most` messages and hides them for `visibility` (the queue's own when `None`). Of a FIFO queue, those of
    /// a group come in order, and none of a group of which a message is in flight.
    ///
    /// # Errors
    /// See [`DeliveryError`].
    fn receive(
        &self,
        cx: &Cx,
        tx: &Tx,
        queue: &Arn,
        most: usize,
        visibility: Option<Duration>,
    ) -> Result<Received, DeliveryError>;

    /// Deletes what these receipts name. One that names nothing any more is no error: somebody else got the message.
    ///
    /// # Errors
    /// See [`DeliveryError`].
    fn delete(&self, cx: &Cx, tx: &Tx, queue: &Arn, receipts: &[&str]) -> Result<(), DeliveryError>;

    /// Hides what these receipts name for so long from now; zero makes it receivable at once.
    ///
    /// # Errors
    /// See [`DeliveryError`].
    fn hide(&self, cx: &Cx, tx: &Tx, queue: &Arn, receipts: &[&str], visibility: Duration)
    -> Result<(), DeliveryError>;

    /// What wakes those who wait for the queue's messages.
    fn topic(&self, queue: &Arn) -> Option<Key>;
}

/// What a queue is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QueueTraits {
    /// Whether it is first-in-first-out.
    pub fifo: bool,
    /// How long a received message is hidden.
    pub visibility: Duration,
}

/// What a look brought.
#[derive(Debug, Clone, Default)]
pub struct Received {
    /// The messages, in the queue's order.
    pub messages: Vec<QueueMessage>,
    /// When the next message that is hidden or delayed can be seen.
    pub next_due: Option<Timestamp>,
}

/// A received message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QueueMessage {
    /// Its identifier.
    pub id: String,
    /// Names this receive of it.
    pub receipt: String,
    /// Its text.
    pub body: String,
    /// The digest of the text, hexadecimal.
    pub md5_of_body: String,
    /// `SentTimestamp`, `ApproximateReceiveCount`, `MessageGroupId`, `AWSTraceHeader`, …: all that it has.
    pub system: BTreeMap<String, String>,
    /// The sender's attributes.
    pub attributes: Vec<Attribute>,
    /// Their digest, if there are any.
    pub md5_of_attributes: Option<String>,
}
