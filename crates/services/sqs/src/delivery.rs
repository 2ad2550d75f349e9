//! Queues as targets: what is delivered becomes a message, in the commit that caused it.

use std::collections::BTreeMap;

use base_types::Arn;
use model_sqs::{Error, MessageAttributeValue, MessageSystemAttributeValue};
use services_kernel::Cx;
use services_ports::{AttributeValue, Deliver, Delivery, DeliveryError};
use store_api::Tx;
use wire_schema::ServiceError;

use crate::{Sqs, flow::Found, message::Given, names, ops, tables::Numbers};

impl Sqs {
    fn target(&self, cx: &Cx, tx: &Tx, target: &Arn) -> Result<Found, DeliveryError> {
        let name = names::of_arn(cx, &target.to_string()).ok_or_else(|| DeliveryError::NotFound(target.to_string()))?;
        ops::find_named(cx, tx, "sqs:SendMessage", name).map_err(|error| failed(error, target))
    }
}

impl Deliver for Sqs {
    fn service(&self) -> &'static str {
        "sqs"
    }

    fn check(&self, cx: &Cx, tx: &Tx, target: &Arn) -> Result<(), DeliveryError> {
        self.target(cx, tx, target).map(|_| ())
    }

    fn deliver(&self, cx: &Cx, tx: &Tx, target: &Arn, delivery: &Delivery) -> Result<(), DeliveryError> {
        let found = self.target(cx, tx, target)?;
        let text = std::str::from_utf8(&delivery.body)
            .map_err(|_| DeliveryError::Refused { arn: target.to_string(), reason: "it is not text".to_owned() })?;
        let attributes: BTreeMap<String, MessageAttributeValue> = delivery
            .attributes
            .iter()
            .map(|attribute| {
                let (text, bytes) = match &attribute.value {
                    AttributeValue::Text(text) => (Some(text.clone()), None),
                    AttributeValue::Binary(bytes) => (None, Some(bytes.clone())),
                };
                let value = MessageAttributeValue {
                    data_type: attribute.data_type.clone(),
                    string_value: text,
                    binary_value: bytes,
                    ..MessageAttributeValue::default()
                };
                (attribute.name.clone(), value)
            })
            .collect();
        let trace = delivery.trace.as_ref().map(|trace| {
            let value = MessageSystemAttributeValue {
                data_type: "String".to_owned(),
                string_value: Some(trace.clone()),
                ..MessageSystemAttributeValue::default()
            };
            BTreeMap::from([("AWSTraceHeader".to_owned(), value)])
        });
        let given = Given {
            text,
            attributes: Some(&attributes),
            system: trace.as_ref(),
            group: delivery.group.as_deref(),
            deduplication: delivery.deduplication.as_deref(),
            delay: None,
        };
        self.send_one(cx, tx, &found, &mut Numbers::default(), given).map(drop).map_err(|error| failed(error, target))
    }
}

/// Why a queue could not be used, for another service.
pub(crate) fn failed(error: Error, target: &Arn) -> DeliveryError {
    match error {
        Error::Fault(fault) => DeliveryError::Fault(fault),
        Error::QueueDoesNotExist(_) => DeliveryError::NotFound(target.to_string()),
        Error::AccessDeniedException(_) => DeliveryError::Denied(error.message().to_owned()),
        _ => DeliveryError::Refused { arn: target.to_string(), reason: error.message().to_owned() },
    }
}
