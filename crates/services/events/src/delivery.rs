//! Buses as targets: what is delivered becomes an event, in the commit that caused it.

use base_types::Arn;
use model_events::Error;
use services_kernel::Cx;
use services_ports::{Deliver, Delivery, DeliveryError};
use store_api::Tx;
use wire_schema::ServiceError;

use crate::{
    EventBridge, calls,
    event::{Event, detail},
    names::{BusName, named},
    ops::buses::permitted,
};

/// Events as large as this are taken (AWS: 1 MiB).
const EVENT_BYTES_MAX: usize = 1_048_576;

impl EventBridge {
    fn target(&self, cx: &Cx, tx: &Tx, target: &Arn) -> Result<BusName, DeliveryError> {
        let missing = || DeliveryError::NotFound(target.to_string());
        let bus = BusName::of_arn(target).ok_or_else(missing)?;
        match permitted(cx, tx, &bus, "events:PutEvents") {
            Ok(_) => Ok(bus),
            Err(Error::Fault(fault)) => Err(DeliveryError::Fault(fault)),
            Err(error @ Error::AccessDeniedException(_)) => Err(DeliveryError::Denied(error.message().to_owned())),
            Err(_) => Err(missing()),
        }
    }
}

impl Deliver for EventBridge {
    fn service(&self) -> &'static str {
        "events"
    }

    fn check(&self, cx: &Cx, tx: &Tx, target: &Arn) -> Result<(), DeliveryError> {
        // A destination is called, not delivered to; whoever does that asks before whether it is there.
        if named(target, "api-destination").is_some() {
            cx.authorize::<Error>(tx, "events:InvokeApiDestination", target)
                .map_err(|error| DeliveryError::Denied(error.message().to_owned()))?;
            let found = calls::destination(tx, &target.to_string())?;
            return found.map(drop).ok_or_else(|| DeliveryError::NotFound(target.to_string()));
        }
        self.target(cx, tx, target).map(drop)
    }

    fn deliver(&self, cx: &Cx, tx: &Tx, target: &Arn, delivery: &Delivery) -> Result<(), DeliveryError> {
        let bus = self.target(cx, tx, target)?;
        let refused = |reason: &str| DeliveryError::Refused { arn: target.to_string(), reason: reason.to_owned() };
        let fields = delivery.event.as_ref().ok_or_else(|| refused("a bus takes events only"))?;
        if delivery.body.len() > EVENT_BYTES_MAX {
            return Err(refused("the event is too large"));
        }
        let text = std::str::from_utf8(&delivery.body).ok();
        let detail = text.and_then(detail).ok_or_else(|| refused("the detail is not a JSON object"))?;
        // Whose event it is, is whose resource caused it.
        let origin = cx.source.as_ref().map(|source| &source.arn);
        let account = origin.and_then(|arn| arn.account.parse().ok()).unwrap_or(cx.account);
        let region = origin.and_then(|arn| arn.region.parse().ok()).unwrap_or_else(|| cx.region.clone());
        let forwarded = origin.is_some_and(|arn| arn.service == "events" && arn.resource.starts_with("rule/"));
        let event = Event {
            id: fields.id.clone().unwrap_or_else(|| self.env.uuid()),
            detail_type: fields.detail_type.clone(),
            source: fields.source.clone(),
            account,
            region,
            time: fields.time.unwrap_or_else(|| tx.now()),
            resources: fields.resources.clone(),
            detail,
            ingested: tx.now(),
            replay: None,
            trace: delivery.trace.clone(),
        };
        Ok(self.publish(cx, tx, &bus, &event, forwarded, None)?)
    }
}
