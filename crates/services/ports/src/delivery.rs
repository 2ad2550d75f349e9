//! Handing something over to a target that an ARN names: a queue, a topic, an event bus, a function.
//!
//! A service that can be a target implements [`Deliver`] and is registered, once, in [`Destinations`]; whoever delivers
//! knows the ARN only. Both halves take the caller's transaction: a delivery is part of the commit that caused it, so
//! nothing is lost between two services and nothing is invented.

use std::{collections::BTreeMap, sync::Arc};

use base_types::{Arn, Fault};
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
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Delivery {
    /// The content, JSON: a queue's or topic's message, a function's event, an event's detail.
    pub body: Bytes,
    /// Attributes of a message.
    pub attributes: Vec<Attribute>,
    /// An event's `source`: `lambda`.
    pub source: &'static str,
    /// An event's `detail-type`, a topic's subject: `Lambda Function Invocation Result - Success`.
    pub detail_type: &'static str,
    /// An event's `resources`.
    pub resources: Vec<String>,
    /// The X-Ray trace header, with its lineage.
    pub trace: Option<String>,
}

/// An attribute of a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attribute {
    /// Its name.
    pub name: &'static str,
    /// Whether its data type is `Number` (else `String`).
    pub number: bool,
    /// Its value.
    pub value: String,
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
