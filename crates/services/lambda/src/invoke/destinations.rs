//! Where the end of an event invocation is told, and Lambda as a place where others' ends are told.
//!
//! Guarantee: what a destination or dead-letter queue gets is part of the commit that ends the event: it is told exactly
//! once, or the event is not over. A target that refuses (it is gone, it may not be used) is told in the server's log and
//! does not keep the event from ending.

use std::sync::Arc;

use base_env::Env;
use base_types::{AccountId, Arn, Fault, Region};
use model_lambda::Error;
use services_kernel::{Cx, Lineage, Passed, Principal, Source};
use services_ports::{Deliver, Delivery, DeliveryError};
use store_api::Tx;

use super::queue::accept;
use crate::{
    control::Control,
    event_invoke::EventInvoke,
    events::{
        Event, Outcome, PAYLOAD_BYTES_MAX, Payload,
        record::{Response, dead_letter, delivery},
    },
    names::{FunctionName, Qualifier, function_arn},
    ops::permissions::policy_qualifier,
    tables::{self, ALIASES, EVENT_PAYLOADS, FUNCTIONS, POLICIES, Place, VERSIONS},
};

/// What of a function its events' ends depend on.
#[derive(Debug, Clone)]
pub(crate) struct Ends {
    /// ARN of the execution role: who tells.
    pub(crate) role: String,
    /// ARN of the dead-letter queue.
    pub(crate) dead_letter: Option<String>,
}

/// Who learns of an end.
struct Told<'a> {
    destination: Option<&'a String>,
    letters: Option<&'a String>,
    ends: &'a Ends,
}

impl<'a> Told<'a> {
    fn of(outcome: Outcome, config: Option<&'a EventInvoke>, ends: &'a Ends) -> Self {
        let success = outcome == Outcome::Success;
        let destination =
            config.and_then(|config| if success { &config.on_success } else { &config.on_failure }.as_ref());
        let letters = ends.dead_letter.as_ref().filter(|_| !success && outcome.condition().is_some());
        Self { destination, letters, ends }
    }

    fn is_nobody(&self) -> bool {
        self.destination.is_none() && self.letters.is_none()
    }
}

impl Control {
    /// Tells everybody who is to know that an event has come to its end.
    pub(super) fn tell(
        &self,
        tx: &Tx,
        event: &Event,
        outcome: Outcome,
        config: Option<&EventInvoke>,
        ends: &Ends,
        response: Option<&Response>,
    ) -> Result<(), Fault> {
        let told = Told::of(outcome, config, ends);
        if told.is_nobody() {
            return Ok(());
        }
        let payload = EVENT_PAYLOADS.get(tx, &tables::event_payload(&event.request_id))?;
        let request = payload.map(|payload| payload.bytes).unwrap_or_default();
        self.tell_all(tx, event, outcome, &told, response, &request)
    }

    /// The same for what was no event invocation, with its payload.
    #[expect(clippy::too_many_arguments, reason = "an end and all that it is told with")]
    pub(crate) fn tell_of(
        &self,
        tx: &Tx,
        event: &Event,
        outcome: Outcome,
        config: Option<&EventInvoke>,
        ends: &Ends,
        response: Option<&Response>,
        request: &[u8],
    ) -> Result<(), Fault> {
        self.tell_all(tx, event, outcome, &Told::of(outcome, config, ends), response, request)
    }

    fn tell_all(
        &self,
        tx: &Tx,
        event: &Event,
        outcome: Outcome,
        told: &Told<'_>,
        response: Option<&Response>,
        request: &[u8],
    ) -> Result<(), Fault> {
        let function = function_arn(&event.region, event.account, &event.name);
        if let Some(target) = told.destination
            && let Some(delivery) = delivery(event, &function, outcome, request, response, tx.now())
        {
            self.hand_over(tx, event, &function, told.ends, target, &delivery)?;
        }
        if let Some(target) = told.letters {
            let letter = dead_letter(event, outcome, request, response);
            self.hand_over(tx, event, &function, told.ends, target, &letter)?;
        }
        Ok(())
    }

    fn hand_over(
        &self,
        tx: &Tx,
        event: &Event,
        function: &str,
        ends: &Ends,
        target: &str,
        delivery: &Delivery,
    ) -> Result<(), Fault> {
        let told = match (target.parse::<Arn>(), function.parse::<Arn>()) {
            (Ok(target), Ok(function)) => {
                let cx = on_behalf(event, &ends.role, function);
                self.destinations.deliver(&cx, tx, &target, &addressed(delivery, &target))
            }
            _ => Err(DeliveryError::NotFound(target.to_owned())),
        };
        match told {
            Ok(()) => Ok(()),
            Err(DeliveryError::Fault(fault)) => Err(fault),
            Err(error) => {
                tracing::warn!(request_id = %event.request_id, function, target, %error, "the end of an event could not be told");
                Ok(())
            }
        }
    }

    /// Objects to a target that could not be delivered to. `role` is the execution role of the function `name`.
    pub(crate) fn check_target(&self, tx: &Tx, cx: &Cx, name: &str, role: &str, target: &str) -> Result<(), Error> {
        let invalid = || Error::invalid_parameter_value_exception(format!("The destination ARN {target} is invalid."));
        let arn: Arn = target.parse().map_err(|_| invalid())?;
        let asking = Cx { principal: Arc::new(session(role, cx.account, name)), ..cx.clone() };
        match self.destinations.check(&asking, tx, &arn) {
            Ok(()) => Ok(()),
            Err(DeliveryError::Fault(fault)) => Err(fault.into()),
            Err(DeliveryError::NotFound(_)) => Err(invalid()),
            Err(error) => Err(Error::invalid_parameter_value_exception(error.to_string())),
        }
    }
}

/// What a bus gets names the bus before the function, as recorded.
fn addressed(delivery: &Delivery, target: &Arn) -> Delivery {
    let mut delivery = delivery.clone();
    if let Some(event) = delivery.event.as_mut().filter(|_| target.service == "events") {
        event.resources.insert(0, target.to_string());
    }
    delivery
}

/// The context in which a function's role tells of an event's end: a consequence of the event.
fn on_behalf(event: &Event, role: &str, function: Arn) -> Cx {
    let cx = Cx::internal(event.account, event.region.clone(), &event.request_id);
    let lineage = event.trace.as_deref().map(Lineage::of).unwrap_or_default();
    Cx {
        principal: Arc::new(session(role, event.account, &event.name)),
        source: Some(Arc::new(Source { service: "lambda.amazonaws.com".to_owned(), arn: function })),
        trace: event.trace.as_deref().map(Arc::from),
        hops: lineage.hops(),
        ..cx
    }
}

/// The session in which a function's role acts.
pub(crate) fn session(role: &str, account: AccountId, session: &str) -> Principal {
    let account = role.split(':').nth(4).and_then(|text| text.parse().ok()).unwrap_or(account);
    let role = role.rsplit('/').next().unwrap_or_default().to_owned();
    Principal::AssumedRole { account, role, session: session.to_owned() }
}

/// Functions as targets: what is delivered becomes an event invocation.
pub(crate) struct FunctionTarget {
    pub(crate) env: Env,
}

/// A function that was found.
struct Target {
    place: Place,
    name: String,
    incarnation: String,
    qualifier: Option<Qualifier>,
}

impl FunctionTarget {
    fn find(&self, cx: &Cx, tx: &Tx, target: &Arn) -> Result<Target, DeliveryError> {
        let missing = || DeliveryError::NotFound(target.to_string());
        let named = FunctionName::parse(&target.to_string()).map_err(|_| missing())?;
        let region: Region = target.region.parse().map_err(|_| missing())?;
        let account: AccountId = target.account.parse().map_err(|_| missing())?;
        let place = Place { account, region };
        let qualifier = named.qualifier.as_deref().map(Qualifier::parse);
        let function = FUNCTIONS.get(tx, &place.function(&named.name))?;
        let policy = match &function {
            Some(function) => {
                let within = policy_qualifier(qualifier.as_ref());
                POLICIES.get(tx, &place.policy(&function.incarnation, within.as_deref()))?
            }
            None => None,
        };
        let policy =
            policy.and_then(|policy| lang_policy::Policy::parse(&policy.to_json(), lang_policy::Kind::Resource).ok());
        cx.authorize_by::<Error>("lambda:InvokeFunction", target, policy.as_ref(), &cx.conditions())
            .map_err(|error| DeliveryError::Denied(error.to_string()))?;
        let incarnation = function.ok_or_else(missing)?.incarnation;
        let there = match &qualifier {
            None | Some(Qualifier::Latest) => true,
            Some(Qualifier::Version(number)) => VERSIONS.get(tx, &place.version(&incarnation, *number))?.is_some(),
            Some(Qualifier::Alias(alias)) => ALIASES.get(tx, &place.alias(&incarnation, alias))?.is_some(),
            Some(Qualifier::Nothing(_)) => false,
        };
        if !there {
            return Err(missing());
        }
        Ok(Target { place, name: named.name, incarnation, qualifier })
    }
}

impl Deliver for FunctionTarget {
    fn service(&self) -> &'static str {
        "lambda"
    }

    fn check(&self, cx: &Cx, tx: &Tx, target: &Arn) -> Result<(), DeliveryError> {
        self.find(cx, tx, target).map(|_| ())
    }

    fn deliver(&self, cx: &Cx, tx: &Tx, target: &Arn, delivery: &Delivery) -> Result<(), DeliveryError> {
        let Target { place, name, incarnation, qualifier } = self.find(cx, tx, target)?;
        let refused = |reason: String| DeliveryError::Refused { arn: target.to_string(), reason };
        let bytes = delivery.body.len();
        if bytes > PAYLOAD_BYTES_MAX {
            return Err(refused(format!("{bytes} bytes are too many for an event (limit {PAYLOAD_BYTES_MAX} bytes)")));
        }
        let passed = Passed::by(&function_arn(&place.region, place.account, &name));
        let now = tx.now();
        let event = Event {
            account: place.account,
            region: place.region,
            name,
            incarnation,
            qualifier: qualifier.as_ref().map(ToString::to_string),
            payload_bytes: bytes as u64,
            request_id: self.env.uuid(),
            trace: Some(traced(delivery.trace.as_deref().unwrap_or_default(), passed)),
            client_context: None,
            accepted: now,
            due: now,
            failures: 0,
            delays: 0,
            running_under: None,
            hops: cx.hops,
        };
        let payload = Payload { bytes: delivery.body.to_vec() };
        if accept(tx, &event, &payload)? { Ok(()) } else { Err(refused("too many events wait".to_owned())) }
    }
}

/// The trace header of an event that reaches a function: its lineage counts that function once more.
pub(crate) fn traced(trace: &str, passed: Passed) -> String {
    let mut lineage = Lineage::of(trace);
    lineage.pass(passed);
    lineage.apply(trace)
}
