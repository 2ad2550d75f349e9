//! Handing something over to a target that an ARN names: a queue, a topic, an event bus, a function.
//!
//! A service that can be a target implements [`Deliver`] and is registered, once, in [`Destinations`]; whoever delivers
//! knows the ARN only. Both halves take the caller's transaction: a delivery is part of the commit that caused it, so
//! nothing is lost between two services and nothing is invented.

use std::{collections::BTreeMap, sync::Arc};

use base_types::{Arn, Fault, Timestamp};
use bytes::Bytes;
use parking_lot::RwLock;
use services_kernel::Cx;
use store_api::Tx;

/// A service whose resources can be handed something.
pub trait Deliver: Send + Sync + 'static {
    /// The service in the ARNs of its resources: `sqs`, `sns`, `events`, `lambda`.
    fn service(&self) -> &'static str;

    /// Whether the target can be delivered to: it is there, and who asks may. Asked when something is configured.
    ///
    /// # Errors
    /// See [`DeliveryError`].
    fn check(&self, cx: &Cx, tx: &Tx, target: &Arn) -> Result<(), DeliveryError>;

    /// Hands it over, as part of the transaction. `cx` is the context of the consequence: who delivers, on behalf of
    /// which resource, and how deep in a chain. It may be called again with the same values when the transaction is
    /// re-run.
    ///
    /// # Errors
    /// See [`DeliveryError`]. Except for a fault, the transaction may go on without the delivery.
    fn deliver(&self, cx: &Cx, tx: &Tx, target: &Arn, delivery: &Delivery) -> Result<(), DeliveryError>;
}

/// What is handed over. Each kind of target takes from it what it has a place for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Delivery {
    /// The content: a queue's or topic's message, a function's event, an event's detail (JSON for the latter two).
    pub body: Bytes,
    /// Attributes of a message.
    pub attributes: Vec<Attribute>,
    /// A topic's `Subject`.
    pub subject: Option<String>,
    /// What a bus makes of it; a bus refuses a delivery without it.
    pub event: Option<EventFields>,
    /// The message group, for a FIFO queue or topic (a standard queue's fair-queue group).
    pub group: Option<String>,
    /// The deduplication identifier, for a FIFO queue or topic.
    pub deduplication: Option<String>,
    /// The X-Ray trace header, with its lineage.
    pub trace: Option<String>,
    /// The log stream, for a log group; a group takes one of its own for each resource on whose behalf it is delivered.
    pub log_stream: Option<String>,
}

/// The fields of an event beside its detail.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct EventFields {
    /// `id`; the bus makes one when there is none.
    pub id: Option<String>,
    /// `source`: `lambda`.
    pub source: String,
    /// `detail-type`: `Lambda Function Invocation Result - Success`.
    pub detail_type: String,
    /// `resources`.
    pub resources: Vec<String>,
    /// `time`; the bus takes its own when there is none.
    pub time: Option<Timestamp>,
}

/// An attribute of a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attribute {
    /// Its name.
    pub name: String,
    /// `String`, `Number`, `Binary`, each perhaps with a suffix (`Number.int`); `String.Array` where the target has it.
    pub data_type: String,
    /// Its value.
    pub value: AttributeValue,
}

/// The value of an attribute.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AttributeValue {
    /// Of `String` and `Number`.
    Text(String),
    /// Of `Binary`.
    Binary(Bytes),
}

impl Attribute {
    /// One of type `String`.
    #[must_use]
    pub fn text(name: &str, value: impl Into<String>) -> Self {
        Self { name: name.to_owned(), data_type: "String".to_owned(), value: AttributeValue::Text(value.into()) }
    }

    /// One of type `Number`.
    #[must_use]
    pub fn number(name: &str, value: impl ToString) -> Self {
        let value = AttributeValue::Text(value.to_string());
        Self { name: name.to_owned(), data_type: "Number".to_owned(), value }
    }
}

/// Why nothing can be handed over.
#[derive(Debug, thiserror::Error)]
pub enum DeliveryError {
    /// Nobody serves such targets.
    #[error("{arn} cannot be delivered to: this version of Pileus has no service `{service}` that takes deliveries")]
    NotServed {
        /// The target.
        arn: String,
        /// Its service.
        service: String,
    },
    /// The target is not there.
    #[error("{0} does not exist")]
    NotFound(String),
    /// Who delivers may not. The text is the service's own.
    #[error("{0}")]
    Denied(String),
    /// The target does not take it: too large, full, not of a kind that it takes. A fragment that completes
    /// "… refused it: ".
    #[error("{arn} refused it: {reason}")]
    Refused {
        /// The target.
        arn: String,
        /// Why.
        reason: String,
    },
    /// The store failed, or the service.
    #[error(transparent)]
    Fault(#[from] Fault),
}

/// Who takes deliveries, by service. Filled by the composition before anything is served; cheap to clone.
#[derive(Clone, Default)]
pub struct Destinations(Arc<RwLock<BTreeMap<&'static str, Arc<dyn Deliver>>>>);

impl Destinations {
    /// Nobody.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a service; one that was there under this name is replaced.
    pub fn register(&self, service: Arc<dyn Deliver>) {
        self.0.write().insert(service.service(), service);
    }

    /// See [`Deliver::check`].
    ///
    /// # Errors
    /// [`DeliveryError::NotServed`] when nobody serves such targets; else the service's.
    pub fn check(&self, cx: &Cx, tx: &Tx, target: &Arn) -> Result<(), DeliveryError> {
        self.of(target)?.check(cx, tx, target)
    }

    /// See [`Deliver::deliver`].
    ///
    /// # Errors
    /// [`DeliveryError::NotServed`] when nobody serves such targets; else the service's.
    pub fn deliver(&self, cx: &Cx, tx: &Tx, target: &Arn, delivery: &Delivery) -> Result<(), DeliveryError> {
        self.of(target)?.deliver(cx, tx, target, delivery)
    }

    fn of(&self, target: &Arn) -> Result<Arc<dyn Deliver>, DeliveryError> {
        self.0
            .read()
            .get(target.service.as_str())
            .cloned()
            .ok_or_else(|| DeliveryError::NotServed { arn: target.to_string(), service: target.service.clone() })
    }
}
