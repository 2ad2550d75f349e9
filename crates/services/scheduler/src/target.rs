//! What a target is, and what is sent to it. Pure.

use std::time::Duration;

use base_types::{AccountId, Arn, Timestamp};
use serde_json::json;

use crate::tables::{Execution, Target};

/// The greatest input, in bytes (AWS: 256 KiB).
pub(crate) const INPUT_BYTES_MAX: usize = 262_144;

/// A target, by its ARN.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A resource that takes deliveries.
    Resource(Arn),
    /// `arn:aws:scheduler:::aws-sdk:service:operation`.
    Operation { service: String, operation: String },
}

/// Why an ARN is no target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum NoTarget {
    /// It is not of AWS's form.
    Form,
    /// AWS has such targets and we have not.
    Unsupported(String),
}

/// Services with templated targets that are not here.
const LATER: [&str; 9] =
    ["codebuild", "codepipeline", "ecs", "firehose", "inspector", "kinesis", "sagemaker", "states", "events-v2"];

/// What only reads cannot be a target (Scheduler User Guide, "Using universal targets").
const READING: [&str; 24] = [
    "get",
    "describe",
    "list",
    "poll",
    "receive",
    "search",
    "scan",
    "query",
    "select",
    "read",
    "lookup",
    "discover",
    "validate",
    "batchGet",
    "batchDescribe",
    "batchRead",
    "transactGet",
    "adminGet",
    "adminList",
    "testMigration",
    "retrieve",
    "testConnection",
    "translateDocument",
    "isAuthorized",
];

impl Kind {
    pub(crate) fn of(text: &str) -> Result<Self, NoTarget> {
        let arn: Arn = text.parse().map_err(|_| NoTarget::Form)?;
        if arn.service == "scheduler" {
            let mut parts = arn.resource.split(':');
            let universal = arn.region.is_empty() && arn.account.is_empty() && parts.next() == Some("aws-sdk");
            return match (universal, parts.next(), parts.next(), parts.next()) {
                (true, Some(service), Some(operation), None) if is_word(service) && is_word(operation) => {
                    Ok(Self::Operation { service: service.to_owned(), operation: operation.to_owned() })
                }
                _ => Err(NoTarget::Form),
            };
        }
        let named = !arn.region.is_empty() && !arn.account.is_empty() && !arn.resource.is_empty();
        match arn.service.as_str() {
            "lambda" if named && arn.resource.starts_with("function:") => Ok(Self::Resource(arn)),
            "events" if named && arn.resource.starts_with("event-bus/") => Ok(Self::Resource(arn)),
            "sqs" | "sns" if named && !arn.resource.contains([':', '/']) => Ok(Self::Resource(arn)),
            service if LATER.contains(&service) => {
                Err(NoTarget::Unsupported(format!("targets of the service `{service}`")))
            }
            _ => Err(NoTarget::Form),
        }
    }
}

/// Whether an operation, by its name in the ARN, only reads.
pub(crate) fn only_reads(operation: &str) -> bool {
    READING.iter().any(|prefix| operation.starts_with(prefix))
}

fn is_word(text: &str) -> bool {
    !text.is_empty() && text.len() <= 100 && text.bytes().all(|byte| byte.is_ascii_alphanumeric())
}

/// The account and the name of a role.
pub(crate) fn role(text: &str) -> Option<(AccountId, String)> {
    let arn: Arn = text.parse().ok()?;
    let path = arn.resource.strip_prefix("role/")?;
    let name = path.rsplit('/').next().filter(|name| !name.is_empty())?;
    Some((arn.account.parse().ok()?, name.to_owned()))
}

/// What the target gets: its input with the context's attributes in their places, or AWS's default.
pub(crate) fn payload(execution: &Execution, kind: &Kind) -> String {
    let Some(input) = &execution.input else {
        return match kind {
            Kind::Resource(arn) if arn.service != "events" => notification(execution),
            Kind::Resource(_) | Kind::Operation { .. } => "{}".to_owned(),
        };
    };
    fill(input, execution)
}

/// Replaces `<aws.scheduler.…>`.
pub(crate) fn fill(input: &str, execution: &Execution) -> String {
    const OPEN: &str = "<aws.scheduler.";
    let mut filled = String::with_capacity(input.len());
    let mut rest = input;
    while let Some(at) = rest.find(OPEN) {
        let (before, from) = rest.split_at(at);
        filled.push_str(before);
        let inner = &from[OPEN.len()..];
        let value = inner.split_once('>').and_then(|(name, after)| {
            let value = match name {
                "schedule-arn" => execution.named().arn().to_string(),
                "scheduled-time" => seconds(execution.scheduled),
                "execution-id" => execution.id.clone(),
                "attempt-number" => (execution.failed + 1).to_string(),
                _ => return None,
            };
            Some((value, after))
        });
        match value {
            Some((value, after)) => {
                filled.push_str(&value);
                rest = after;
            }
            None => {
                filled.push_str(OPEN);
                rest = inner;
            }
        }
    }
    filled.push_str(rest);
    filled
}

/// In whole seconds: `2026-11-23T12:00:00Z`.
pub(crate) fn seconds(at: Timestamp) -> String {
    Timestamp::from_millis(at.as_seconds() * 1000).to_iso8601()
}

/// What AWS sends when a schedule has no input.
fn notification(execution: &Execution) -> String {
    json!({
        "version": "0",
        "id": execution.id,
        "detail-type": "Scheduled Event",
        "source": "aws.scheduler",
        "account": execution.account.to_string(),
        "time": seconds(execution.scheduled),
        "region": execution.region.to_string(),
        "resources": [execution.named().arn().to_string()],
        "detail": "{}",
    })
    .to_string()
}

/// How long after a failed attempt the next one is made: twice as long each time, up to a quarter of an hour, and spread.
pub(crate) fn backoff(execution: &Execution) -> Duration {
    let seconds = 1u64 << execution.failed.saturating_sub(1).min(10);
    let spread =
        execution.id.bytes().fold(execution.failed, |sum, byte| sum.wrapping_mul(31).wrapping_add(u32::from(byte)))
            % 1000;
    Duration::from_millis(seconds.min(900) * (1000 + u64::from(spread) / 4))
}

impl Target {
    /// Retries after the first attempt (AWS's default: 185).
    pub(crate) fn retries(&self) -> u32 {
        self.retries_max.unwrap_or(185)
    }

    /// How old an event may become, in seconds (AWS's default: a day).
    pub(crate) fn age(&self) -> u32 {
        self.age_max.unwrap_or(86_400)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn execution(input: Option<&str>) -> Execution {
        Execution {
            id: "e-1".to_owned(),
            account: AccountId::DEFAULT,
            region: base_types::Region::default(),
            group: "default".to_owned(),
            name: "s".to_owned(),
            target: Target {
                arn: String::new(),
                role: String::new(),
                dead_letters: None,
                age_max: None,
                retries_max: None,
                event: None,
                queue: None,
                has_input: false,
            },
            input: input.map(str::to_owned),
            scheduled: Timestamp::parse_iso8601("2026-01-01T00:00:00.500Z").unwrap(),
            since: Timestamp::EPOCH,
            failed: 1,
            runs: false,
            last: false,
        }
    }

    #[test]
    fn targets_are_told_apart_by_their_arn() {
        let operation = |service: &str, operation: &str| {
            Ok(Kind::Operation { service: service.to_owned(), operation: operation.to_owned() })
        };
        let resource = |arn: &str| Ok(Kind::Resource(arn.parse().unwrap()));
        let later = |service: &str| Err(NoTarget::Unsupported(format!("targets of the service `{service}`")));
        for (arn, expect) in [
            ("arn:aws:scheduler:::aws-sdk:sqs:sendMessage", operation("sqs", "sendMessage")),
            ("arn:aws:scheduler:::aws-sdk:sqs", Err(NoTarget::Form)),
            ("arn:aws:scheduler:::aws-sdk:sqs:send:Message", Err(NoTarget::Form)),
            ("arn:aws:scheduler:us-east-1::aws-sdk:sqs:sendMessage", Err(NoTarget::Form)),
            ("arn:aws:sqs:us-east-1:000000000000:q", resource("arn:aws:sqs:us-east-1:000000000000:q")),
            ("arn:aws:sqs:us-east-1:000000000000", Err(NoTarget::Form)),
            ("arn:aws:sns:us-east-1:000000000000:t:s", Err(NoTarget::Form)),
            (
                "arn:aws:lambda:us-east-1:000000000000:function:f:live",
                resource("arn:aws:lambda:us-east-1:000000000000:function:f:live"),
            ),
            (
                "arn:aws:events:us-east-1:000000000000:event-bus/default",
                resource("arn:aws:events:us-east-1:000000000000:event-bus/default"),
            ),
            ("arn:aws:events:us-east-1:000000000000:rule/r", Err(NoTarget::Form)),
            ("arn:aws:states:us-east-1:000000000000:stateMachine:m", later("states")),
            ("arn:aws:kinesis:us-east-1:000000000000:stream/s", later("kinesis")),
            ("arn:aws:ecs:us-east-1:000000000000:cluster/c", later("ecs")),
            ("arn:aws:s3:::bucket", Err(NoTarget::Form)),
            ("nonsense", Err(NoTarget::Form)),
        ] {
            assert_eq!(Kind::of(arn), expect, "{arn}");
        }
        assert!(only_reads("getObject") && only_reads("receiveMessage") && !only_reads("sendMessage"));
    }

    #[test]
    fn the_context_stands_where_it_is_named() {
        let input = "<aws.scheduler.schedule-arn> <aws.scheduler.scheduled-time> <aws.scheduler.execution-id> \
                     <aws.scheduler.attempt-number> <aws.scheduler.other> <aws.scheduler.";
        assert_eq!(
            fill(input, &execution(None)),
            "arn:aws:scheduler:us-east-1:000000000000:schedule/default/s 2026-01-01T00:00:00Z e-1 2 \
             <aws.scheduler.other> <aws.scheduler."
        );
    }

    #[test]
    fn roles_are_read_with_their_path() {
        for (text, expect) in [
            ("arn:aws:iam::111111111111:role/r", Some("r")),
            ("arn:aws:iam::111111111111:role/service-role/r", Some("r")),
            ("arn:aws:iam::111111111111:role/", None),
            ("arn:aws:iam::111111111111:user/r", None),
        ] {
            assert_eq!(role(text).map(|(_, name)| name).as_deref(), expect, "{text}");
        }
    }

    mod property {
        use super::*;

        proptest! {
            #[test]
            fn no_input_makes_filling_panic_and_what_names_nothing_stays(
                before in "[^<]{0,20}", name in "[a-z-]{0,20}", after in "\\PC{0,40}",
            ) {
                let filled = fill(&format!("{before}<aws.scheduler.{name}>{after}"), &execution(None));
                prop_assert!(filled.starts_with(&before));
                if !["schedule-arn", "scheduled-time", "execution-id", "attempt-number"].contains(&name.as_str())
                    && !after.contains("<aws.scheduler.")
                {
                    prop_assert_eq!(filled, format!("{before}<aws.scheduler.{name}>{after}"));
                }
            }
        }
    }
}
