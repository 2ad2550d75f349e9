//! What a queue can be set to: AWS's names, ranges, defaults and errors.

use std::collections::BTreeMap;

use lang_policy::{Kind, Policy};
use minicbor::{Decode, Encode};
use model_sqs::Error;
use serde_json::Value;
use services_kernel::Cx;

use crate::{
    MESSAGE_BYTES_MAX,
    error::{bad_attribute, invalid},
    names::{self, QueueName},
};

/// The settings of a queue.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub(crate) struct Attributes {
    /// Seconds.
    #[n(0)]
    pub(crate) visibility: u32,
    /// Seconds.
    #[n(1)]
    pub(crate) delay: u32,
    /// Bytes.
    #[n(2)]
    pub(crate) message_bytes_max: u32,
    /// Seconds.
    #[n(3)]
    pub(crate) retention: u32,
    /// Seconds.
    #[n(4)]
    pub(crate) wait: u32,
    /// As it was given.
    #[n(5)]
    pub(crate) policy: Option<String>,
    #[n(6)]
    pub(crate) redrive: Option<Redrive>,
    /// As it was given.
    #[n(7)]
    pub(crate) redrive_allow: Option<String>,
    #[n(8)]
    pub(crate) fifo: Option<Fifo>,
    #[n(9)]
    pub(crate) kms_key: Option<String>,
    /// Seconds.
    #[n(10)]
    pub(crate) kms_reuse: Option<u32>,
    #[n(11)]
    pub(crate) managed_encryption: bool,
}

/// What only FIFO queues have.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub(crate) struct Fifo {
    #[n(0)]
    pub(crate) content_based: bool,
    /// Deduplication within a group only.
    #[n(1)]
    pub(crate) by_group: bool,
    /// Throughput limit per group.
    #[n(2)]
    pub(crate) limit_by_group: bool,
}

/// Where messages go that nobody could process.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub(crate) struct Redrive {
    /// The dead-letter queue's ARN.
    #[n(0)]
    pub(crate) target: String,
    #[n(1)]
    pub(crate) receives_max: u32,
}

impl Attributes {
    pub(crate) fn new(fifo: bool) -> Self {
        Self {
            visibility: 30,
            delay: 0,
            message_bytes_max: u32::try_from(MESSAGE_BYTES_MAX).unwrap_or(u32::MAX),
            retention: 345_600,
            wait: 0,
            policy: None,
            redrive: None,
            redrive_allow: None,
            fifo: fifo.then(Fifo::default),
            kms_key: None,
            kms_reuse: None,
            managed_encryption: true,
        }
    }

    /// Sets what is given. `new` when the queue is being made.
    pub(crate) fn set(&mut self, cx: &Cx, given: &BTreeMap<String, String>, new: bool) -> Result<(), Error> {
        for (name, value) in given {
            self.set_one(cx, name, value, new)?;
        }
        // A key of one's own and SQS's are different ways to encrypt: the one that was named last holds.
        match (given.get("KmsMasterKeyId"), given.get("SqsManagedSseEnabled").map(String::as_str)) {
            (Some(key), Some("true")) if !key.is_empty() => Err(Error::invalid_attribute_name(
                "You can use one type of server-side encryption (SSE) at one time. You can either enable KMS SSE or SQS SSE.",
            )),
            (Some(key), _) if !key.is_empty() => {
                self.managed_encryption = false;
                Ok(())
            }
            (_, Some("true")) => {
                self.kms_key = None;
                Ok(())
            }
            _ => Ok(()),
        }?;
        match self.fifo {
            Some(fifo) if fifo.limit_by_group && !fifo.by_group => Err(Error::invalid_attribute_value(
                "The perMessageGroupId value for FifoThroughputLimit is allowed only when the value for DeduplicationScope \
                 is messageGroup.",
            )),
            _ => Ok(()),
        }
    }

    fn set_one(&mut self, cx: &Cx, name: &str, value: &str, new: bool) -> Result<(), Error> {
        match name {
            "VisibilityTimeout" => self.visibility = number(name, value, 0, 43_200)?,
            "DelaySeconds" => self.delay = number(name, value, 0, 900)?,
            "MaximumMessageSize" => self.message_bytes_max = number(name, value, 1024, 1_048_576)?,
            "MessageRetentionPeriod" => self.retention = number(name, value, 60, 1_209_600)?,
            "ReceiveMessageWaitTimeSeconds" => self.wait = number(name, value, 0, 20)?,
            "Policy" => self.policy = policy(value)?,
            "RedrivePolicy" => self.redrive = redrive(cx, value, self.fifo.is_some())?,
            "RedriveAllowPolicy" => self.redrive_allow = redrive_allow(cx, value)?,
            "KmsMasterKeyId" => self.kms_key = (!value.is_empty()).then(|| value.to_owned()),
            "KmsDataKeyReusePeriodSeconds" => self.kms_reuse = Some(number(name, value, 60, 86_400)?),
            "SqsManagedSseEnabled" => self.managed_encryption = truth(name, value)?,
            "FifoQueue" if new && self.fifo.is_some() && value == "true" => {}
            "ContentBasedDeduplication" if self.fifo.is_some() => {
                let content_based = truth(name, value)?;
                self.fifo.iter_mut().for_each(|fifo| fifo.content_based = content_based);
            }
            "DeduplicationScope" if self.fifo.is_some() => {
                let by_group = one_of(name, value, "queue", "messageGroup")?;
                self.fifo.iter_mut().for_each(|fifo| fifo.by_group = by_group);
            }
            "FifoThroughputLimit" if self.fifo.is_some() => {
                let by_group = one_of(name, value, "perQueue", "perMessageGroupId")?;
                self.fifo.iter_mut().for_each(|fifo| fifo.limit_by_group = by_group);
            }
            _ => return Err(unknown(name)),
        }
        Ok(())
    }

    /// The settings in AWS's words, those that it shows unasked included.
    pub(crate) fn show(&self) -> BTreeMap<&'static str, String> {
        let mut shown = BTreeMap::from([
            ("VisibilityTimeout", self.visibility.to_string()),
            ("DelaySeconds", self.delay.to_string()),
            ("MaximumMessageSize", self.message_bytes_max.to_string()),
            ("MessageRetentionPeriod", self.retention.to_string()),
            ("ReceiveMessageWaitTimeSeconds", self.wait.to_string()),
            ("SqsManagedSseEnabled", self.managed_encryption.to_string()),
        ]);
        let texts = [
            ("Policy", self.policy.clone()),
            ("RedrivePolicy", self.redrive.as_ref().map(Redrive::to_json)),
            ("RedriveAllowPolicy", self.redrive_allow.clone()),
            ("KmsMasterKeyId", self.kms_key.clone()),
            // AWS shows the period only with a key.
            ("KmsDataKeyReusePeriodSeconds", self.kms_key.as_ref().map(|_| self.kms_reuse.unwrap_or(300).to_string())),
        ];
        shown.extend(texts.into_iter().filter_map(|(name, text)| text.map(|text| (name, text))));
        if let Some(fifo) = self.fifo {
            let word = |by_group, yes: &str, no: &str| if by_group { yes.to_owned() } else { no.to_owned() };
            shown.insert("FifoQueue", "true".to_owned());
            shown.insert("ContentBasedDeduplication", fifo.content_based.to_string());
            shown.insert("DeduplicationScope", word(fifo.by_group, "messageGroup", "queue"));
            shown.insert("FifoThroughputLimit", word(fifo.limit_by_group, "perMessageGroupId", "perQueue"));
        }
        shown
    }

    /// Whether queues may name this one as their dead-letter queue; `source` is the ARN of one of the same account.
    pub(crate) fn takes_dead_letters_of(&self, source: &str) -> bool {
        let Some(text) = &self.redrive_allow else { return true };
        let Ok(Value::Object(policy)) = serde_json::from_str(text) else { return true };
        match policy.get("redrivePermission").and_then(Value::as_str) {
            Some("denyAll") => false,
            Some("byQueue") => {
                let named = policy.get("sourceQueueArns").and_then(Value::as_array);
                named.is_some_and(|arns| arns.iter().any(|arn| arn.as_str() == Some(source)))
            }
            _ => true,
        }
    }
}

impl Redrive {
    fn to_json(&self) -> String {
        serde_json::json!({ "deadLetterTargetArn": self.target, "maxReceiveCount": self.receives_max }).to_string()
    }
}

/// Every attribute that can be asked for.
pub(crate) const NAMES: [&str; 22] = [
    "All",
    "Policy",
    "VisibilityTimeout",
    "MaximumMessageSize",
    "MessageRetentionPeriod",
    "ApproximateNumberOfMessages",
    "ApproximateNumberOfMessagesNotVisible",
    "CreatedTimestamp",
    "LastModifiedTimestamp",
    "QueueArn",
    "ApproximateNumberOfMessagesDelayed",
    "DelaySeconds",
    "ReceiveMessageWaitTimeSeconds",
    "RedrivePolicy",
    "FifoQueue",
    "ContentBasedDeduplication",
    "KmsMasterKeyId",
    "KmsDataKeyReusePeriodSeconds",
    "DeduplicationScope",
    "FifoThroughputLimit",
    "RedriveAllowPolicy",
    "SqsManagedSseEnabled",
];

/// An attribute that this queue does not have, or that cannot be set.
pub(crate) fn unknown(name: &str) -> Error {
    Error::invalid_attribute_name(format!("Unknown Attribute {name}."))
}

fn number(name: &str, value: &str, least: u32, most: u32) -> Result<u32, Error> {
    let number = value.parse().ok().filter(|number| (least..=most).contains(number));
    number.ok_or_else(|| bad_attribute(name))
}

fn truth(name: &str, value: &str) -> Result<bool, Error> {
    match value {
        "true" | "True" => Ok(true),
        "false" | "False" | "" => Ok(false),
        _ => Err(bad_attribute(name)),
    }
}

fn one_of(name: &str, value: &str, no: &str, yes: &str) -> Result<bool, Error> {
    match value {
        _ if value == yes => Ok(true),
        _ if value == no => Ok(false),
        _ => Err(bad_attribute(name)),
    }
}

fn policy(text: &str) -> Result<Option<String>, Error> {
    if text.is_empty() {
        return Ok(None);
    }
    match Policy::parse(text, Kind::Resource) {
        Ok(_) => Ok(Some(text.to_owned())),
        Err(_) => Err(bad_attribute("Policy")),
    }
}

fn redrive(cx: &Cx, text: &str, fifo: bool) -> Result<Option<Redrive>, Error> {
    if text.is_empty() {
        return Ok(None);
    }
    let wrong = |reason: &str| invalid(text, "RedrivePolicy", reason);
    let Ok(Value::Object(policy)) = serde_json::from_str(text) else {
        return Err(wrong("Redrive policy is not a valid JSON map."));
    };
    if let Some(other) = policy.keys().find(|key| !matches!(key.as_str(), "deadLetterTargetArn" | "maxReceiveCount")) {
        return Err(wrong(&format!("Redrive policy contains an unknown parameter: {other}.")));
    }
    let Some(target) = policy.get("deadLetterTargetArn").and_then(Value::as_str) else {
        return Err(wrong("Redrive policy does not contain mandatory attribute: deadLetterTargetArn."));
    };
    let Some(count) = policy.get("maxReceiveCount") else {
        return Err(wrong("Redrive policy does not contain mandatory attribute: maxReceiveCount."));
    };
    let count = count.as_u64().or_else(|| count.as_str()?.parse().ok());
    let Some(receives_max) =
        count.filter(|count| (1..=1000).contains(count)).and_then(|count| u32::try_from(count).ok())
    else {
        return Err(wrong("Invalid value for maxReceiveCount. Must be an integer between 1 and 1000."));
    };
    let Some(queue) = names::of_arn(cx, target) else {
        return Err(wrong("Dead letter target is not a valid SQS ARN of this region."));
    };
    if queue.is_fifo() != fifo {
        return Err(wrong("Dead letter target must be same type of queue as the source."));
    }
    Ok(Some(Redrive { target: target.to_owned(), receives_max }))
}

fn redrive_allow(cx: &Cx, text: &str) -> Result<Option<String>, Error> {
    if text.is_empty() {
        return Ok(None);
    }
    let wrong = |reason: &str| invalid(text, "RedriveAllowPolicy", reason);
    let Ok(Value::Object(policy)) = serde_json::from_str(text) else {
        return Err(wrong("Redrive allow policy is not a valid JSON map."));
    };
    let sources = policy.get("sourceQueueArns").map(|arns| arns.as_array());
    match (policy.get("redrivePermission").and_then(Value::as_str), sources) {
        (Some("allowAll" | "denyAll"), None) => {}
        (Some("byQueue"), Some(Some(arns))) if (1..=10).contains(&arns.len()) => {
            let queue = |arn: &Value| -> Option<QueueName> { names::of_arn(cx, arn.as_str()?) };
            if arns.iter().any(|arn| queue(arn).is_none()) {
                return Err(wrong("sourceQueueArns must be ARNs of SQS queues of this region."));
            }
        }
        (Some("byQueue"), _) => return Err(wrong("sourceQueueArns must list 1 to 10 source queues.")),
        (Some("allowAll" | "denyAll"), Some(_)) => {
            return Err(wrong("sourceQueueArns is allowed only when redrivePermission is byQueue."));
        }
        _ => return Err(wrong("redrivePermission must be one of allowAll, denyAll, byQueue.")),
    }
    Ok(Some(text.to_owned()))
}
