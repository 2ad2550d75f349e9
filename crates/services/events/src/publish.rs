//! From an event on a bus to its archives and targets.
//!
//! Guarantee: in the transaction that accepts an event, every matching target has it, or has an intent of its own, or the
//! event is in its dead-letter queue, or the log is told. The transaction's bounds are kept: what would go beyond them
//! becomes chunks (see [`crate::chunks`]).

use std::sync::Arc;

use base_types::{Arn, Fault, Timestamp};
use bytes::Bytes;
use lang_eventpattern::Event as Document;
use services_kernel::{Cx, HOPS_MAX, Principal, Source};
use services_ports::{Delivery, DeliveryError, EventFields};
use store_api::{Direction, Tx};

use crate::{
    EventBridge,
    event::Event,
    letters::{Failure, Lost},
    names::{BusName, named},
    path::Path,
    tables::{TARGETS, Target},
    transform::{self, Source as Filling},
};

/// Targets that are handed an event in the transaction that accepts it.
const TARGETS_MAX: usize = 256;
/// Bytes that such a transaction may have written for them.
const BYTES_MAX: usize = 4 << 20;
/// Keys that it may have written.
const WRITES_MAX: usize = 8_000;
/// How deep a chain of consequences may be within one transaction.
const DEPTH_MAX: u8 = 4;
/// Targets that one rule has at most.
pub(crate) const TARGETS_PER_RULE: usize = 100;

/// An event that is being handed to targets.
pub(crate) struct Handing<'a> {
    pub(crate) bus: &'a BusName,
    pub(crate) event: &'a Event,
    pub(crate) text: String,
    /// It came from another bus, and goes to no third one.
    pub(crate) forwarded: bool,
}

impl EventBridge {
    /// Hands an event to everything on a bus that it matches. `only` narrows it to these rules.
    pub(crate) fn publish(
        &self,
        cx: &Cx,
        tx: &Tx,
        bus: &BusName,
        event: &Event,
        forwarded: bool,
        only: Option<&[String]>,
    ) -> Result<(), Fault> {
        if cx.hops >= HOPS_MAX {
            tracing::warn!(bus = bus.name, event = event.id, "an event came round too often and goes no further");
            return Ok(());
        }
        let handing = Handing { bus, event, text: event.text(), forwarded };
        let document = serde_json::from_str(&handing.text)
            .map_err(|error| Fault::internal("read an event that was accepted", error))?;
        let mut later = Vec::new();
        let mut handed = 0;
        for matched in self.index.matching(tx, bus, &Document::new(&document))? {
            if only.is_some_and(|only| !only.iter().any(|rule| **rule == *matched.rule)) {
                continue;
            }
            if let Some(archive) = &matched.archive {
                self.keep(tx, bus, archive, event, handing.text.len())?;
                continue;
            }
            let rows = bus.targets(&matched.rule);
            for (key, target) in TARGETS.scan(tx, &rows.prefix(), TARGETS_PER_RULE, Direction::Forward)? {
                let (writes, bytes) = tx.written();
                let room = handed < TARGETS_MAX
                    && cx.hops < DEPTH_MAX
                    && writes < WRITES_MAX
                    && bytes + 2 * handing.text.len() < BYTES_MAX;
                if room {
                    handed += 1;
                    self.hand(cx, tx, &handing, &matched.rule, &target)?;
                } else {
                    later.push((matched.rule.to_string(), key.last_str()?));
                }
            }
        }
        if later.is_empty() { Ok(()) } else { self.put_off(cx, tx, &handing, later) }
    }

    /// Hands an event to one target.
    pub(crate) fn hand(
        &self,
        cx: &Cx,
        tx: &Tx,
        handing: &Handing<'_>,
        rule: &str,
        target: &Target,
    ) -> Result<(), Fault> {
        let rule_arn = handing.bus.rule_arn(rule);
        let acting = acting(cx, handing, &rule_arn, target);
        let text = rule_arn.to_string();
        let failure = match self.try_hand(&acting, tx, handing, rule, &text, target) {
            Ok(()) => return Ok(()),
            Err(failure) => failure?,
        };
        // The queue is the rule's own affair, whatever role the target has.
        let telling = acting_as_service(cx, handing, &rule_arn);
        let lost = Lost {
            rule: &text,
            target: &target.arn,
            queue: target.dead_letter.as_deref(),
            event: &handing.text,
            failure: &failure,
        };
        self.give_up(&telling, tx, &lost)
    }

    fn try_hand(
        &self,
        cx: &Cx,
        tx: &Tx,
        handing: &Handing<'_>,
        rule: &str,
        rule_arn: &str,
        target: &Target,
    ) -> Result<(), Result<Failure, Fault>> {
        let missing = || Ok(Failure::permanent("NO_RESOURCE", format!("{} is no target", target.arn)));
        let arn: Arn = target.arn.parse().map_err(|_| missing())?;
        let to_bus = BusName::of_arn(&arn).is_some();
        if to_bus && handing.forwarded {
            // AWS: an event that came from another bus is not sent to a third.
            return Ok(());
        }
        let Handing { event, text, .. } = handing;
        let input =
            if to_bus { event.detail.clone() } else { input(target, event, text, rule, rule_arn).map_err(Ok)? };
        if named(&arn, "api-destination").is_some() {
            return self.call_later(cx, tx, rule_arn, target, input, text).map_err(Err);
        }
        let mut delivery = Delivery {
            body: Bytes::from(input),
            group: target.group.clone(),
            trace: event.trace.clone(),
            ..Delivery::default()
        };
        if to_bus || arn.service == "logs" {
            delivery.event = Some(EventFields {
                id: Some(event.id.clone()),
                source: event.source.clone(),
                detail_type: event.detail_type.clone(),
                resources: event.resources.clone(),
                time: Some(event.time),
            });
        }
        if arn.service == "logs" {
            as_log_event(&mut delivery, target);
        }
        let handed = self.destinations.deliver(cx, tx, &arn, &delivery);
        handed.map_err(|error: DeliveryError| Failure::of(error))
    }
}

/// What a target gets of an event.
pub(crate) fn input(target: &Target, event: &Event, text: &str, rule: &str, rule_arn: &str) -> Result<String, Failure> {
    if let Some(input) = &target.input {
        return Ok(input.clone());
    }
    if let Some(path) = &target.input_path {
        // AWS hands over nothing where the path leads nowhere.
        return Ok(Path::parse(path).and_then(|path| path.find(text)).unwrap_or_else(|| "{}".to_owned()));
    }
    let Some(template) = &target.template else { return Ok(text.to_owned()) };
    let filling = Filling { event, text, rule_arn, rule };
    let variables = target.variables.as_deref().unwrap_or_default();
    transform::fill(template, variables, &filling).map_err(|error| Failure::permanent("INVALID_JSON", error.0))
}

/// A template for CloudWatch Logs makes `{"timestamp": …, "message": …}`: the message is what is logged.
fn as_log_event(delivery: &mut Delivery, target: &Target) {
    if target.template.is_none() {
        return;
    }
    let Ok(serde_json::Value::Object(made)) = serde_json::from_slice(&delivery.body) else { return };
    let Some(message) = made.get("message") else { return };
    let message = message.as_str().map_or_else(|| message.to_string(), str::to_owned);
    let time = made.get("timestamp").and_then(|time| match time {
        serde_json::Value::String(text) => {
            Timestamp::parse_iso8601(text).ok().or_else(|| text.parse().ok().map(Timestamp::from_millis))
        }
        other => other.as_u64().map(Timestamp::from_millis),
    });
    delivery.body = Bytes::from(message);
    if let (Some(fields), Some(time)) = (&mut delivery.event, time) {
        fields.time = Some(time);
    }
}

/// In whose name a target is handed its event: the target's role, or EventBridge on behalf of the rule.
fn acting(cx: &Cx, handing: &Handing<'_>, rule: &Arn, target: &Target) -> Cx {
    let mut acting = acting_as_service(cx, handing, rule);
    if let Some(role) = &target.role {
        let account = role.split(':').nth(4).and_then(|text| text.parse().ok()).unwrap_or(handing.bus.account);
        let role = role.rsplit('/').next().unwrap_or_default().to_owned();
        acting.principal =
            Arc::new(Principal::AssumedRole { account, role, session: "events-rule-session".to_owned() });
    }
    acting
}

pub(crate) fn acting_as_service(cx: &Cx, handing: &Handing<'_>, rule: &Arn) -> Cx {
    let mut acting = cx.consequence(Source { service: "events.amazonaws.com".to_owned(), arn: rule.clone() });
    acting.account = handing.bus.account;
    acting.region = handing.bus.region.clone();
    acting.principal =
        Arc::new(Principal::Service { host: "events.amazonaws.com".to_owned(), account: handing.bus.account });
    acting.trace = handing.event.trace.as_deref().map(Arc::from);
    acting
}
