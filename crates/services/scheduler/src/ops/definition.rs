//! What a schedule is defined by: the members that CreateSchedule and UpdateSchedule share, checked.

use std::time::Duration;

use base_types::Timestamp;
use model_scheduler::{
    ActionAfterCompletion, CreateScheduleInput, DeadLetterConfig, Error, EventBridgeParameters, FlexibleTimeWindow,
    FlexibleTimeWindowMode, RetryPolicy, ScheduleState, SqsParameters, Target as Given, UpdateScheduleInput,
};
use services_kernel::Cx;
use services_ports::{OperationError, Operations};

use crate::{
    Scheduler,
    error::{invalid, unsupported},
    plan::{NoPlan, Plan, Zones},
    tables::{EventParameters, QueueParameters, Schedule, Target},
    target::{self, INPUT_BYTES_MAX, Kind, NoTarget},
};

/// How far back a start may lie.
const START_PAST_MAX: Duration = Duration::from_secs(300);

/// The shared members.
pub(crate) struct Definition<'a> {
    pub(crate) expression: &'a str,
    pub(crate) zone: Option<&'a str>,
    pub(crate) start: Option<Timestamp>,
    pub(crate) end: Option<Timestamp>,
    pub(crate) description: Option<&'a str>,
    pub(crate) state: Option<ScheduleState>,
    pub(crate) kms_key: Option<&'a str>,
    pub(crate) target: &'a Given,
    pub(crate) window: &'a FlexibleTimeWindow,
    pub(crate) after: Option<ActionAfterCompletion>,
}

macro_rules! definition {
    ($($input:ty),*) => {
        $(impl<'a> From<&'a $input> for Definition<'a> {
            fn from(input: &'a $input) -> Self {
                Self {
                    expression: &input.schedule_expression,
                    zone: input.schedule_expression_timezone.as_deref(),
                    start: input.start_date,
                    end: input.end_date,
                    description: input.description.as_deref(),
                    state: input.state,
                    kms_key: input.kms_key_arn.as_deref(),
                    target: &input.target,
                    window: &input.flexible_time_window,
                    after: input.action_after_completion,
                }
            }
        })*
    };
}

definition!(CreateScheduleInput, UpdateScheduleInput);

impl<O: Operations> Scheduler<O> {
    /// The schedule that this defines, made then, and its plan. `changed` is the one that it takes the place of.
    pub(crate) fn define(
        &self,
        cx: &Cx,
        now: Timestamp,
        given: &Definition<'_>,
        changed: Option<&Schedule>,
    ) -> Result<(Schedule, Plan), Error> {
        let schedule = Schedule {
            seed: changed.map_or_else(|| self.env.below(u64::MAX), |schedule| schedule.seed),
            created: changed.map_or(now, |schedule| schedule.created),
            modified: now,
            expression: given.expression.to_owned(),
            zone: given.zone.unwrap_or("UTC").to_owned(),
            start: given.start,
            end: given.end,
            description: given.description.map(str::to_owned),
            enabled: given.state.unwrap_or_default() == ScheduleState::Enabled,
            kms_key: given.kms_key.map(str::to_owned),
            window: window(given.window)?,
            delete_after: given.after == Some(ActionAfterCompletion::Delete),
            target: self.target(cx, given.target)?,
        };
        let plan = Plan::of(&schedule, &mut Zones::default()).map_err(|reason| match reason {
            NoPlan::Expression => invalid(format!("Invalid Schedule Expression {}.", given.expression)),
            NoPlan::Zone => invalid(format!("Invalid Schedule Expression Timezone {}.", schedule.zone)),
        })?;
        let start_unchanged = changed.is_some_and(|schedule| schedule.start == given.start);
        if given.start.is_some_and(|start| start < now - START_PAST_MAX) && !start_unchanged {
            return Err(invalid("The StartDate you specify cannot be earlier than 5 minutes ago."));
        }
        if let (Some(start), Some(end)) = (given.start, given.end)
            && end <= start
        {
            return Err(invalid("The EndDate you specify must come after the StartDate."));
        }
        if given.end.is_some_and(|end| end < now) && changed.is_none() {
            return Err(invalid("The EndDate you specify must come after the current time."));
        }
        Ok((schedule, plan))
    }

    fn target(&self, cx: &Cx, given: &Given) -> Result<Target, Error> {
        let kind = Kind::of(&given.arn).map_err(|reason| match reason {
            NoTarget::Form => invalid("Provided Arn is not in correct format."),
            NoTarget::Unsupported(what) => unsupported(&what),
        })?;
        let (account, _) =
            target::role(&given.role_arn).ok_or_else(|| invalid("Provided RoleArn is not in correct format."))?;
        if account != cx.account {
            return Err(invalid("Cross-account pass role is not allowed."));
        }
        if given.input.as_ref().is_some_and(|input| input.len() > INPUT_BYTES_MAX) {
            return Err(invalid(format!("The Input may not be larger than {INPUT_BYTES_MAX} bytes.")));
        }
        self.check_parameters(given, &kind)?;
        Ok(Target {
            arn: given.arn.clone(),
            role: given.role_arn.clone(),
            dead_letters: given.dead_letter_config.as_ref().and_then(|config| config.arn.clone()),
            age_max: given.retry_policy.as_ref().and_then(|policy| unsigned(policy.maximum_event_age_in_seconds)),
            retries_max: given.retry_policy.as_ref().and_then(|policy| unsigned(policy.maximum_retry_attempts)),
            event: given
                .event_bridge_parameters
                .as_ref()
                .map(|event| EventParameters { detail_type: event.detail_type.clone(), source: event.source.clone() }),
            queue: given.sqs_parameters.as_ref().map(|queue| QueueParameters { group: queue.message_group_id.clone() }),
            has_input: given.input.is_some(),
        })
    }

    /// Whether the parameters and the input suit the target.
    fn check_parameters(&self, given: &Given, kind: &Kind) -> Result<(), Error> {
        let service = match kind {
            Kind::Resource(arn) => arn.service.as_str(),
            Kind::Operation { .. } => "",
        };
        if given.event_bridge_parameters.is_some() && service != "events" {
            return Err(invalid("EventBridgeParameters can only be specified for an event bus target."));
        }
        if given.sqs_parameters.is_some() && service != "sqs" {
            return Err(invalid("SqsParameters can only be specified for an Amazon SQS target."));
        }
        match kind {
            Kind::Resource(arn) if arn.service == "events" => {
                if given.event_bridge_parameters.is_none() {
                    return Err(invalid("EventBridgeParameters must be specified for an event bus target."));
                }
                is_json(given.input.as_deref().unwrap_or("{}"))
            }
            Kind::Resource(arn) if arn.service == "lambda" => given.input.as_deref().map_or(Ok(()), is_json),
            Kind::Resource(arn) => {
                let fifo = arn.service == "sqs" && arn.resource.ends_with(".fifo");
                let group = given.sqs_parameters.as_ref().and_then(|queue| queue.message_group_id.as_ref());
                if fifo && group.is_none() {
                    return Err(invalid("MessageGroupId must be specified for an Amazon SQS FIFO queue target."));
                }
                Ok(())
            }
            Kind::Operation { service, operation } => self.check_operation(service, operation, given.input.as_deref()),
        }
    }

    fn check_operation(&self, service: &str, operation: &str, input: Option<&str>) -> Result<(), Error> {
        if target::only_reads(operation) {
            return Err(invalid(format!("The operation {operation} of {service} only reads: it cannot be a target.")));
        }
        match self.operations.find(service, operation) {
            Ok(_) => {}
            Err(OperationError::Fault(fault)) => return Err(fault.into()),
            Err(error) => return Err(unsupported(&format!("the target aws-sdk:{service}:{operation}: {error}"))),
        }
        let input = input.unwrap_or("{}");
        is_json(input)?;
        // What the context's attributes will be is not known: an input with them is checked when it is used.
        if input.contains("<aws.scheduler.") {
            return Ok(());
        }
        match self.operations.check(service, operation, input.as_bytes()) {
            Ok(()) => Ok(()),
            Err(OperationError::Fault(fault)) => Err(fault.into()),
            Err(OperationError::Failed { message, .. }) => {
                Err(invalid(format!("Invalid RequestJson provided. Reason {message}")))
            }
            Err(error) => Err(invalid(format!("Invalid RequestJson provided. Reason {error}"))),
        }
    }
}

/// A JSON document; attributes of the context may stand in it unquoted.
fn is_json(input: &str) -> Result<(), Error> {
    let filled = input.replace("<aws.scheduler.attempt-number>", "1");
    match serde_json::from_str::<serde_json::Value>(&filled) {
        Ok(_) => Ok(()),
        Err(_) => Err(invalid("Invalid RequestJson provided. Reason The input is not valid JSON.")),
    }
}

fn window(given: &FlexibleTimeWindow) -> Result<Option<u32>, Error> {
    match (given.mode, unsigned(given.maximum_window_in_minutes)) {
        (FlexibleTimeWindowMode::Off, None) => Ok(None),
        (FlexibleTimeWindowMode::Flexible, Some(minutes)) => Ok(Some(minutes)),
        (FlexibleTimeWindowMode::Off, Some(_)) => {
            Err(invalid("MaximumWindowInMinutes must not be specified when FlexibleTimeWindow Mode is OFF."))
        }
        (FlexibleTimeWindowMode::Flexible, None) => {
            Err(invalid("MaximumWindowInMinutes must be specified when FlexibleTimeWindow Mode is FLEXIBLE."))
        }
    }
}

fn unsigned(number: Option<i32>) -> Option<u32> {
    number.and_then(|number| u32::try_from(number).ok())
}

fn signed(number: u32) -> Option<i32> {
    i32::try_from(number).ok()
}

/// The target as AWS shows it, with what it has when the client said nothing.
pub(crate) fn shown_target(target: &Target, input: Option<String>) -> Given {
    Given {
        arn: target.arn.clone(),
        role_arn: target.role.clone(),
        dead_letter_config: target.dead_letters.as_ref().map(|arn| DeadLetterConfig { arn: Some(arn.clone()) }),
        retry_policy: Some(RetryPolicy {
            maximum_event_age_in_seconds: signed(target.age()),
            maximum_retry_attempts: signed(target.retries()),
        }),
        input,
        event_bridge_parameters: target.event.as_ref().map(|event| EventBridgeParameters {
            detail_type: event.detail_type.clone(),
            source: event.source.clone(),
        }),
        sqs_parameters: target.queue.as_ref().map(|queue| SqsParameters { message_group_id: queue.group.clone() }),
        ..Given::default()
    }
}

/// The window as AWS shows it.
pub(crate) fn shown_window(window: Option<u32>) -> FlexibleTimeWindow {
    FlexibleTimeWindow {
        mode: if window.is_some() { FlexibleTimeWindowMode::Flexible } else { FlexibleTimeWindowMode::Off },
        maximum_window_in_minutes: window.and_then(signed),
    }
}
