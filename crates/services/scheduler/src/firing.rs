//! A schedule comes due, and what it starts is handed over: the synchronous half, inside a transaction.

use std::sync::Arc;

use base_types::{Arn, Fault, Timestamp};
use bytes::Bytes;
use services_kernel::{Cx, Principal, Source};
use services_ports::{Attribute, Delivery, DeliveryError, EventFields, Operations};
use store_api::Tx;

use crate::{
    Scheduler,
    names::Named,
    plan::{Plan, Zones},
    tables::{self, Execution, SCHEDULES, Schedule},
    target::{self, Kind},
};

/// Schedules that one transaction fires.
pub(crate) const BATCH_MAX: usize = 256;
/// Bytes of inputs after which it fires no further one.
const BATCH_BYTES_MAX: usize = 2 << 20;
/// Keys and bytes that it has written after which it fires no further one: a topic may have many subscribers.
const WRITTEN_MAX: (usize, usize) = (8_000, 4 << 20);
/// The service's principal.
const HOST: &str = "scheduler.amazonaws.com";

/// What is done with what is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    /// It is delivered.
    Deliver,
    /// Delivering failed: it is filed to be tried again, and the attempt counts.
    File,
}

/// Why an attempt failed, as a dead letter tells it.
#[derive(Clone, Debug)]
pub(crate) struct Failure {
    pub(crate) code: String,
    pub(crate) message: String,
    /// Which limit ended the retries; none when there was no point in trying again.
    pub(crate) exhausted: Option<&'static str>,
}

impl<O: Operations> Scheduler<O> {
    /// Fires at most `limit` of the schedules that are due; answers how many there were.
    pub(crate) fn fire_due(&self, tx: &Tx, limit: usize, mode: Mode) -> Result<usize, Fault> {
        let mut zones = Zones::default();
        let mut bytes = 0;
        let due = tables::due_schedules(tx, limit)?;
        for (key, named) in &due {
            let filed = tables::filed(tx, named)?;
            let schedule = SCHEDULES.get(tx, &tables::schedule_key(named))?;
            let (Some(filed), Some(schedule)) = (filed, schedule) else {
                tables::drop_due(tx, key)?;
                continue;
            };
            bytes += self.fire(tx, named, &schedule, filed, mode, &mut zones)?;
            let (keys, written) = tx.written();
            if bytes > BATCH_BYTES_MAX || keys > WRITTEN_MAX.0 || written > WRITTEN_MAX.1 {
                break;
            }
        }
        Ok(due.len())
    }

    /// Fires one schedule and files it for its next time; answers the size of its input.
    fn fire(
        &self,
        tx: &Tx,
        named: &Named,
        schedule: &Schedule,
        filed: tables::Filed,
        mode: Mode,
        zones: &mut Zones,
    ) -> Result<usize, Fault> {
        // Both were read when the schedule was made.
        let Ok(plan) = Plan::of(schedule, zones) else {
            tables::file(tx, named, None)?;
            return Ok(0);
        };
        let (fired, next) = plan.fire(filed, tx.now());
        tables::file(tx, named, next)?;
        let input = if schedule.target.has_input { tables::input(tx, named)? } else { None };
        let size = input.as_ref().map_or(0, String::len);
        let last = next.is_none() && schedule.delete_after;
        let execution = Execution {
            id: self.env.uuid(),
            account: named.place.account,
            region: named.place.region.clone(),
            group: named.group.clone(),
            name: named.name.clone(),
            target: schedule.target.clone(),
            input,
            scheduled: fired.scheduled,
            since: fired.due,
            failed: 0,
            runs: false,
            last,
        };
        if too_old(&execution, tx.now()) {
            self.give_up(tx, &execution, &age_exceeded())?;
        } else {
            self.begin(tx, execution, mode)?;
        }
        Ok(size)
    }

    fn begin(&self, tx: &Tx, execution: Execution, mode: Mode) -> Result<(), Fault> {
        match (Kind::of(&execution.target.arn), mode) {
            (Ok(Kind::Resource(arn)), Mode::Deliver) => self.deliver(tx, &execution, &arn),
            (Ok(Kind::Operation { .. }), Mode::Deliver) => tables::file_execution(tx, &execution, tx.now()),
            (Ok(_), Mode::File) => self.try_again(tx, execution, &internal()),
            (Err(_), _) => self.give_up(tx, &execution, &no_target()),
        }
    }

    /// Delivers to a resource. What can be known to fail again ends in a dead letter, in this transaction.
    pub(crate) fn deliver(&self, tx: &Tx, execution: &Execution, arn: &Arn) -> Result<(), Fault> {
        let cx = context(execution);
        let delivery = delivery(execution, arn);
        match self.destinations.deliver(&cx, tx, arn, &delivery) {
            Ok(()) => self.done(tx, execution),
            Err(DeliveryError::Fault(fault)) => Err(fault),
            Err(error) => self.give_up(tx, execution, &refused(arn, &error)),
        }
    }

    /// The execution has come to its end.
    pub(crate) fn done(&self, tx: &Tx, execution: &Execution) -> Result<(), Fault> {
        let named = execution.named();
        if !execution.last {
            return Ok(());
        }
        // It may have been given another time while its last execution ran.
        let gone = SCHEDULES.get(tx, &tables::schedule_key(&named))?.is_none();
        if gone || tables::filed(tx, &named)?.is_some() {
            return Ok(());
        }
        tables::remove_schedule(tx, &named)
    }

    /// Files the execution for its next attempt, or gives it up when its retry policy has no further one.
    pub(crate) fn try_again(&self, tx: &Tx, mut execution: Execution, failure: &Failure) -> Result<(), Fault> {
        execution.failed += 1;
        execution.runs = false;
        let next = tx.now() + target::backoff(&execution);
        let exhausted = if execution.failed > execution.target.retries() {
            Some("MaximumRetryAttempts")
        } else if too_old(&execution, next) {
            Some("MaximumEventAgeInSeconds")
        } else {
            None
        };
        match exhausted {
            Some(_) => self.give_up(tx, &execution, &Failure { exhausted, ..failure.clone() }),
            None => tables::file_execution(tx, &execution, next),
        }
    }

    /// Writes the dead letter, if there is a queue for it.
    pub(crate) fn give_up(&self, tx: &Tx, execution: &Execution, failure: &Failure) -> Result<(), Fault> {
        let Failure { code, message, .. } = failure;
        let schedule = execution.named().arn();
        let target = &execution.target;
        tracing::warn!(
            %schedule, target = %target.arn, %code, %message,
            "a schedule's target was not reached: see that it exists and that its policy, or the schedule's role, permits it"
        );
        let queue = target.dead_letters.as_ref().and_then(|arn| arn.parse::<Arn>().ok());
        if let Some(queue) = queue {
            let letter = dead_letter(execution, failure);
            match self.destinations.deliver(&context(execution), tx, &queue, &letter) {
                Ok(()) => {}
                Err(DeliveryError::Fault(fault)) => return Err(fault),
                Err(error) => tracing::warn!(%schedule, %queue, %error, "a schedule's dead letter was not delivered"),
            }
        }
        self.done(tx, execution)
    }
}

/// Who delivers: the role, on behalf of the schedule.
pub(crate) fn context(execution: &Execution) -> Cx {
    let named = execution.named();
    let cx = Cx::internal(execution.account, execution.region.clone(), &execution.id);
    let mut cx = cx.consequence(Source { service: HOST.to_owned(), arn: named.arn() });
    if let Some((account, role)) = target::role(&execution.target.role) {
        cx.principal = Arc::new(Principal::AssumedRole { account, role, session: execution.id.clone() });
    }
    cx
}

fn delivery(execution: &Execution, arn: &Arn) -> Delivery {
    let target = &execution.target;
    let body = target::payload(execution, &Kind::Resource(arn.clone()));
    let event = target.event.as_ref().map(|event| EventFields {
        id: None,
        source: event.source.clone(),
        detail_type: event.detail_type.clone(),
        resources: vec![execution.named().arn().to_string()],
        time: Some(execution.scheduled),
    });
    Delivery {
        body: Bytes::from(body),
        event,
        group: target.queue.as_ref().and_then(|queue| queue.group.clone()),
        ..Delivery::default()
    }
}

fn dead_letter(execution: &Execution, failure: &Failure) -> Delivery {
    let kind =
        Kind::of(&execution.target.arn).unwrap_or(Kind::Operation { service: String::new(), operation: String::new() });
    let body = target::payload(execution, &kind);
    let mut attributes = vec![
        Attribute::text("ERROR_CODE", failure.code.clone()),
        Attribute::text("ERROR_MESSAGE", failure.message.chars().take(1000).collect::<String>()),
        Attribute::text("EXECUTION_ID", execution.id.clone()),
        Attribute::text("IS_PAYLOAD_TRUNCATED", "false"),
        Attribute::text("RETRY_ATTEMPTS", execution.failed.saturating_sub(1).to_string()),
        Attribute::text("SCHEDULED_TIME", target::seconds(execution.scheduled)),
        Attribute::text("SCHEDULE_ARN", execution.named().arn().to_string()),
        Attribute::text("TARGET_ARN", execution.target.arn.clone()),
    ];
    if let Some(condition) = failure.exhausted {
        attributes.push(Attribute::text("EXHAUSTED_RETRY_CONDITION", condition));
    }
    Delivery { body: Bytes::from(body), attributes, ..Delivery::default() }
}

fn too_old(execution: &Execution, at: Timestamp) -> bool {
    at.since(execution.since).as_secs() > u64::from(execution.target.age())
}

fn age_exceeded() -> Failure {
    Failure {
        code: "EventAgeExceeded".to_owned(),
        message: "The schedule came due while nothing could be delivered, longer ago than its events may be old."
            .to_owned(),
        exhausted: Some("MaximumEventAgeInSeconds"),
    }
}

fn no_target() -> Failure {
    Failure {
        code: "ValidationException".to_owned(),
        message: "Provided Arn is not in correct format.".to_owned(),
        exhausted: None,
    }
}

/// What a client may read of a fault.
pub(crate) fn internal() -> Failure {
    Failure {
        code: "InternalServerException".to_owned(),
        message: "The service encountered an internal error. Please try again.".to_owned(),
        exhausted: None,
    }
}

/// The code that the target's own service gives.
fn refused(arn: &Arn, error: &DeliveryError) -> Failure {
    let code = match (error, arn.service.as_str()) {
        (DeliveryError::NotServed { .. }, _) => "NotImplementedException",
        (DeliveryError::NotFound(_), "sqs") => "AWS.SimpleQueueService.NonExistentQueue",
        (DeliveryError::NotFound(_), "sns") => "NotFoundException",
        (DeliveryError::NotFound(_), _) => "ResourceNotFoundException",
        (DeliveryError::Denied(_), _) => "AccessDeniedException",
        (DeliveryError::Refused { .. }, "sqs" | "sns") => "InvalidParameterValueException",
        (DeliveryError::Refused { .. }, _) => "ValidationException",
        (DeliveryError::Fault(_), _) => "InternalServerException",
    };
    Failure { code: code.to_owned(), message: error.to_string(), exhausted: None }
}
