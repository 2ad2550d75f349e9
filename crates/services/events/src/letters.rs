//! Dead letters: what a target's dead-letter queue is told of an event that it did not get.
//!
//! Source: EventBridge User Guide, "Using dead-letter queues to process undelivered events".

use std::collections::HashSet;

use base_types::{Arn, Fault};
use parking_lot::Mutex;
use services_kernel::Cx;
use services_ports::{Attribute, Delivery, DeliveryError};
use store_api::Tx;

use crate::EventBridge;

/// Refusals that are told once; beyond it they are told again.
const TOLD_MAX: usize = 10_000;

/// Why a target did not get an event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Failure {
    /// AWS's code: `NO_PERMISSIONS`, `NO_RESOURCE`, `SDK_CLIENT_ERROR`, ….
    pub(crate) code: &'static str,
    pub(crate) message: String,
    /// `MaximumRetryAttempts` or `MaximumEventAgeInSeconds`, when it was tried again.
    pub(crate) exhausted: Option<&'static str>,
    pub(crate) retries: u32,
}

/// An event that a target did not get.
#[derive(Clone, Copy)]
pub(crate) struct Lost<'a> {
    /// The rule's ARN.
    pub(crate) rule: &'a str,
    /// The target's ARN.
    pub(crate) target: &'a str,
    /// The dead-letter queue's ARN.
    pub(crate) queue: Option<&'a str>,
    pub(crate) event: &'a str,
    pub(crate) failure: &'a Failure,
}

impl Failure {
    /// One that no repetition mends.
    pub(crate) fn permanent(code: &'static str, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), exhausted: None, retries: 0 }
    }

    /// What a refused delivery is to AWS; a fault is the store's and no failure of the target.
    pub(crate) fn of(error: DeliveryError) -> Result<Self, Fault> {
        let code = match &error {
            DeliveryError::Denied(_) => "NO_PERMISSIONS",
            DeliveryError::NotFound(_) => "NO_RESOURCE",
            DeliveryError::NotServed { .. } | DeliveryError::Refused { .. } => "SDK_CLIENT_ERROR",
            DeliveryError::Fault(_) => "INTERNAL_ERROR",
        };
        match error {
            DeliveryError::Fault(fault) => Err(fault),
            error => Ok(Self::permanent(code, error.to_string())),
        }
    }
}

/// What the log has been told.
#[derive(Default)]
pub(crate) struct Told(Mutex<HashSet<(String, String, &'static str)>>);

impl Told {
    /// Whether this is told for the first time.
    fn first(&self, rule: &str, target: &str, code: &'static str) -> bool {
        let mut told = self.0.lock();
        if told.len() >= TOLD_MAX {
            told.clear();
        }
        told.insert((rule.to_owned(), target.to_owned(), code))
    }
}

impl EventBridge {
    /// Puts an event that a target did not get into the target's dead-letter queue, or tells the log.
    pub(crate) fn give_up(&self, cx: &Cx, tx: &Tx, lost: &Lost<'_>) -> Result<(), Fault> {
        let Lost { rule, target, queue, event, failure } = *lost;
        if let Some(queue) = queue {
            let told = match queue.parse::<Arn>() {
                Ok(arn) => self.destinations.deliver(cx, tx, &arn, &letter(rule, target, event, failure)),
                Err(_) => Err(DeliveryError::NotFound(queue.to_owned())),
            };
            match told {
                Ok(()) => return Ok(()),
                Err(DeliveryError::Fault(fault)) => return Err(fault),
                Err(error) if self.told.first(rule, queue, "dead-letter") => {
                    tracing::warn!(rule, target, queue, %error, "a dead letter was refused: allow events.amazonaws.com to send to the queue in the queue's policy");
                }
                Err(_) => {}
            }
        }
        if self.told.first(rule, target, failure.code) {
            let remedy = remedy(failure.code);
            tracing::warn!(
                rule,
                target,
                code = failure.code,
                error = failure.message,
                remedy,
                "a target does not get its events"
            );
        }
        Ok(())
    }
}

fn letter(rule: &str, target: &str, event: &str, failure: &Failure) -> Delivery {
    let mut attributes = vec![
        Attribute::text("RULE_ARN", rule),
        Attribute::text("TARGET_ARN", target),
        Attribute::text("ERROR_CODE", failure.code),
        Attribute::text("ERROR_MESSAGE", failure.message.chars().take(1024).collect::<String>()),
        Attribute::number("RETRY_ATTEMPTS", failure.retries),
    ];
    if let Some(exhausted) = failure.exhausted {
        attributes.push(Attribute::text("EXHAUSTED_RETRY_CONDITION", exhausted));
    }
    Delivery { body: event.to_owned().into(), attributes, ..Delivery::default() }
}

fn remedy(code: &str) -> &'static str {
    match code {
        "NO_PERMISSIONS" => {
            "allow events.amazonaws.com in the target's resource policy (condition aws:SourceArn: the rule), or give the target a RoleArn"
        }
        "NO_RESOURCE" => "make the target, or remove it from the rule",
        "INVALID_JSON" => "correct the target's input transformer",
        _ => "see the error; a dead-letter queue on the target keeps such events",
    }
}
