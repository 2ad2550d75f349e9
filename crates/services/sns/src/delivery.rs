//! Topics as targets: what is delivered is published, in the commit that caused it.

use base_types::Arn;
use model_sns::Error;
use services_kernel::Cx;
use services_ports::{AttributeValue, Deliver, Delivery, DeliveryError};
use store_api::Tx;
use wire_schema::ServiceError;

use crate::{
    Sns,
    fanout::Budget,
    message::{Attribute, Checked, MESSAGE_BYTES_MAX},
    names,
    ops::{Draft, find},
    tables::Found,
};

fn target(cx: &Cx, tx: &Tx, target: &Arn) -> Result<Found, DeliveryError> {
    let name =
        names::topic(cx, &target.to_string(), "TopicArn").map_err(|_| DeliveryError::NotFound(target.to_string()))?;
    find(cx, tx, "SNS:Publish", name).map_err(|error| failed(error, target))
}

impl Deliver for Sns {
    fn service(&self) -> &'static str {
        "sns"
    }

    fn check(&self, cx: &Cx, tx: &Tx, to: &Arn) -> Result<(), DeliveryError> {
        target(cx, tx, to).map(drop)
    }

    fn deliver(&self, cx: &Cx, tx: &Tx, to: &Arn, delivery: &Delivery) -> Result<(), DeliveryError> {
        let found = target(cx, tx, to)?;
        let refused = |reason: String| DeliveryError::Refused { arn: to.to_string(), reason };
        let text = std::str::from_utf8(&delivery.body).map_err(|_| refused("it is not text".to_owned()))?;
        if text.is_empty() {
            return Err(refused("it is empty".to_owned()));
        }
        let attributes: Vec<Attribute> = delivery.attributes.iter().map(attribute).collect();
        let bytes = text.len() + attributes.iter().map(Attribute::bytes).sum::<usize>();
        if bytes > MESSAGE_BYTES_MAX {
            return Err(refused(format!("{bytes} bytes are too many for a message (limit {MESSAGE_BYTES_MAX} bytes)")));
        }
        let checked = Checked {
            text: text.to_owned(),
            by_protocol: Default::default(),
            subject: delivery.subject.clone(),
            attributes,
            group: delivery.group.clone().filter(|_| found.is_fifo()),
            deduplication: delivery.deduplication.clone().filter(|_| found.is_fifo()),
            bytes,
        };
        let draft = Draft { checked, id: self.env.uuid(), at: tx.now() };
        let mut publisher = cx.clone();
        if let Some(trace) = &delivery.trace {
            publisher.trace = Some(trace.as_str().into());
        }
        let published = self.publish_one(&publisher, tx, &found, &draft, &mut Budget::new());
        published.map(drop).map_err(|error| failed(error, to))
    }
}

fn attribute(given: &services_ports::Attribute) -> Attribute {
    let (text, bytes) = match &given.value {
        AttributeValue::Text(text) => (Some(text.clone()), None),
        AttributeValue::Binary(bytes) => (None, Some(bytes.to_vec())),
    };
    Attribute { name: given.name.clone(), data_type: given.data_type.clone(), text, bytes }
}

fn failed(error: Error, target: &Arn) -> DeliveryError {
    match error {
        Error::Fault(fault) => DeliveryError::Fault(fault),
        Error::NotFoundException(_) => DeliveryError::NotFound(target.to_string()),
        Error::AuthorizationErrorException(_) => DeliveryError::Denied(error.message().to_owned()),
        _ => DeliveryError::Refused { arn: target.to_string(), reason: error.message().to_owned() },
    }
}
