//! What a topic and a subscription can be set to: AWS's names, defaults and errors.

use std::collections::BTreeMap;

use lang_policy::{Kind, Policy};
use minicbor::{Decode, Encode};
use model_sns::Error;
use serde_json::{Value, json};
use services_kernel::Cx;

use crate::{
    delivery_policy,
    error::{invalid, not_served},
    filter::{self, Scope},
    tables::{Found, Subscription},
};

/// The settings of a topic.
#[derive(Clone, Debug, Default, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub(crate) struct TopicAttributes {
    #[n(0)]
    pub(crate) display_name: String,
    /// As it was given; AWS's default when `None`.
    #[n(1)]
    pub(crate) policy: Option<String>,
    /// Without what is null.
    #[n(2)]
    pub(crate) delivery: Option<String>,
    #[n(3)]
    pub(crate) fifo: Option<Fifo>,
    #[n(4)]
    pub(crate) signature_version: Option<u8>,
    /// What is kept and shown: keys of encryption, tracing, feedback roles.
    #[n(5)]
    pub(crate) kept: BTreeMap<String, String>,
}

/// What only FIFO topics have.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub(crate) struct Fifo {
    #[n(0)]
    pub(crate) content_based: bool,
    /// Deduplication within a group only; `None` when it was never set.
    #[n(1)]
    pub(crate) by_group: Option<bool>,
}

/// Kept and shown, and without effect here.
fn is_kept(name: &str) -> bool {
    let feedback = ["Application", "Firehose", "HTTP", "Lambda", "SQS"].iter().any(|protocol| {
        let kind = name.strip_prefix(protocol);
        matches!(kind, Some("SuccessFeedbackRoleArn" | "SuccessFeedbackSampleRate" | "FailureFeedbackRoleArn"))
    });
    feedback || matches!(name, "KmsMasterKeyId" | "TracingConfig")
}

impl TopicAttributes {
    pub(crate) fn new(fifo: bool) -> Self {
        Self { fifo: fifo.then(Fifo::default), ..Self::default() }
    }

    /// Sets one. `new` when the topic is being made.
    pub(crate) fn set(&mut self, name: &str, value: &str, new: bool) -> Result<(), Error> {
        match name {
            "DisplayName" if value.chars().count() <= 100 && !value.contains(char::is_control) => {
                self.display_name = value.to_owned();
            }
            "DisplayName" => return Err(invalid("DisplayName")),
            "Policy" if value.is_empty() => self.policy = None,
            "Policy" => {
                Policy::parse(value, Kind::Resource).map_err(|_| invalid("Policy Error: null"))?;
                self.policy = Some(value.to_owned());
            }
            "DeliveryPolicy" if value.is_empty() => self.delivery = None,
            "DeliveryPolicy" => {
                let kept = delivery_policy::of_topic(value)
                    .map_err(|reason| invalid(format_args!("DeliveryPolicy: {reason}")))?;
                self.delivery = Some(kept);
            }
            "SignatureVersion" => {
                self.signature_version = match value {
                    "1" => Some(1),
                    "2" => Some(2),
                    _ => return Err(invalid("SignatureVersion")),
                }
            }
            "TracingConfig" if !matches!(value, "" | "PassThrough" | "Active") => return Err(invalid("TracingConfig")),
            "FifoTopic" if new && (value == "true") == self.fifo.is_some() => {}
            "ContentBasedDeduplication" => {
                let content_based = truth(name, value)?;
                match &mut self.fifo {
                    Some(fifo) => fifo.content_based = content_based,
                    None if !content_based => {}
                    None => {
                        return Err(invalid(format_args!(
                            "{name} Reason: Content-based deduplication can only be set for FIFO topics"
                        )));
                    }
                }
            }
            "FifoThroughputScope" => match (&mut self.fifo, value) {
                (Some(fifo), "Topic") => fifo.by_group = Some(false),
                (Some(fifo), "MessageGroup") => fifo.by_group = Some(true),
                _ => return Err(invalid(name)),
            },
            "ArchivePolicy" if matches!(value, "" | "{}") => {}
            "ArchivePolicy" => return Err(not_served("archives of topics (`ArchivePolicy`)")),
            _ if is_kept(name) && value.is_empty() => drop(self.kept.remove(name)),
            _ if is_kept(name) => drop(self.kept.insert(name.to_owned(), value.to_owned())),
            _ if new => return Err(invalid(format_args!("Attributes Reason: Unknown attribute {name}"))),
            _ => return Err(invalid("AttributeName")),
        }
        Ok(())
    }

    /// Everything that `GetTopicAttributes` shows.
    pub(crate) fn show(found: &Found) -> BTreeMap<String, String> {
        let (topic, attributes) = (&found.topic, &found.topic.attributes);
        let mut shown: BTreeMap<String, String> = BTreeMap::new();
        let mut put = |name: &str, value: String| drop(shown.insert(name.to_owned(), value));
        put("TopicArn", found.arn.clone());
        put("Owner", found.name.account.to_string());
        put("DisplayName", attributes.display_name.clone());
        put("Policy", attributes.policy.clone().unwrap_or_else(|| default_policy(found).to_string()));
        put("EffectiveDeliveryPolicy", delivery_policy::effective_of_topic(attributes.delivery.as_deref()));
        put("SubscriptionsConfirmed", topic.confirmed.to_string());
        put("SubscriptionsPending", topic.pending.to_string());
        put("SubscriptionsDeleted", topic.deleted.to_string());
        if let Some(delivery) = &attributes.delivery {
            put("DeliveryPolicy", delivery.clone());
        }
        if let Some(version) = attributes.signature_version {
            put("SignatureVersion", version.to_string());
        }
        if let Some(fifo) = attributes.fifo {
            put("FifoTopic", "true".to_owned());
            put("ContentBasedDeduplication", fifo.content_based.to_string());
            if let Some(by_group) = fifo.by_group {
                put("FifoThroughputScope", if by_group { "MessageGroup" } else { "Topic" }.to_owned());
            }
        }
        for (name, value) in &attributes.kept {
            put(name, value.clone());
        }
        shown
    }
}

/// The policy of a topic that was given none.
pub(crate) fn default_policy(found: &Found) -> Value {
    json!({
        "Version": "2008-10-17",
        "Id": "__default_policy_ID",
        "Statement": [{
            "Sid": "__default_statement_ID",
            "Effect": "Allow",
            "Principal": { "AWS": "*" },
            "Action": [
                "SNS:GetTopicAttributes",
                "SNS:SetTopicAttributes",
                "SNS:AddPermission",
                "SNS:RemovePermission",
                "SNS:DeleteTopic",
                "SNS:Subscribe",
                "SNS:ListSubscriptionsByTopic",
                "SNS:Publish",
            ],
            "Resource": found.arn,
            "Condition": { "StringEquals": { "AWS:SourceOwner": found.name.account.as_str() } },
        }],
    })
}

impl Subscription {
    /// Sets what is given at once: a policy's scope counts for the policy whichever is named first.
    ///
    /// # Errors
    /// A reason, for `Invalid parameter: …`, or an error of its own.
    pub(crate) fn set(&mut self, cx: &Cx, fifo: bool, given: &BTreeMap<String, String>) -> Result<(), Refused> {
        for (name, value) in given {
            match name.as_str() {
                "RawMessageDelivery" => self.raw = raw(value)?,
                "FilterPolicyScope" => {
                    self.filter_body = match Scope::parse(value) {
                        Some(scope) => scope == Scope::Body,
                        None => {
                            return Err(Refused::Reason(format!(
                                "FilterPolicyScope: Invalid value [{value}]. Please use either MessageBody or \
                                 MessageAttributes"
                            )));
                        }
                    }
                }
                "FilterPolicy" => self.filter = (!matches!(value.as_str(), "" | "{}")).then(|| value.clone()),
                "RedrivePolicy" => self.redrive = redrive(cx, value, fifo)?,
                "DeliveryPolicy" if value.is_empty() => self.delivery = None,
                "DeliveryPolicy" => {
                    if !matches!(self.protocol.as_str(), "http" | "https") {
                        return Err(Refused::Reason(
                            "DeliveryPolicy: Delivery policy can only be set for HTTP and HTTPS subscriptions"
                                .to_owned(),
                        ));
                    }
                    delivery_policy::of_subscription(value)
                        .map_err(|reason| Refused::Reason(format!("DeliveryPolicy: {reason}")))?;
                    self.delivery = Some(value.clone());
                }
                "SubscriptionRoleArn" => self.role = (!value.is_empty()).then(|| value.clone()),
                "ReplayPolicy" if value.is_empty() => {}
                "ReplayPolicy" => return Err(Refused::Error(not_served("the replay of topics (`ReplayPolicy`)"))),
                _ => return Err(Refused::Name),
            }
        }
        if let Some(policy) = &self.filter {
            let scope = if self.filter_body { Scope::Body } else { Scope::Attributes };
            filter::check(policy, scope).map_err(|reason| Refused::Reason(format!("FilterPolicy: {reason}")))?;
        }
        Ok(())
    }

    /// Where messages go that cannot be delivered.
    pub(crate) fn dead_letters(&self) -> Option<String> {
        let policy: Value = serde_json::from_str(self.redrive.as_deref()?).ok()?;
        policy.get("deadLetterTargetArn")?.as_str().map(str::to_owned)
    }

    /// Everything that `GetSubscriptionAttributes` shows.
    pub(crate) fn show(&self, found: &Found) -> BTreeMap<String, String> {
        let mut shown = BTreeMap::from([
            ("SubscriptionArn", found.subscription_name(self).arn()),
            ("TopicArn", found.arn.clone()),
            ("Protocol", self.protocol.clone()),
            ("Endpoint", self.endpoint.clone()),
            ("Owner", self.owner.to_string()),
            ("SubscriptionPrincipal", self.principal.clone()),
            ("RawMessageDelivery", self.raw.to_string()),
            ("PendingConfirmation", (!self.confirmed).to_string()),
            ("ConfirmationWasAuthenticated", self.authenticated.to_string()),
        ]);
        if let Some(filter) = &self.filter {
            let scope = if self.filter_body { "MessageBody" } else { "MessageAttributes" };
            shown.insert("FilterPolicy", filter.clone());
            shown.insert("FilterPolicyScope", scope.to_owned());
        }
        let own =
            [("RedrivePolicy", &self.redrive), ("DeliveryPolicy", &self.delivery), ("SubscriptionRoleArn", &self.role)];
        shown.extend(own.into_iter().filter_map(|(name, text)| text.clone().map(|text| (name, text))));
        if matches!(self.protocol.as_str(), "http" | "https") {
            let policy =
                delivery_policy::effective(found.topic.attributes.delivery.as_deref(), self.delivery.as_deref());
            shown.insert("EffectiveDeliveryPolicy", delivery_policy::effective_of_subscription(&policy));
        }
        shown.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
    }
}

/// Why an attribute of a subscription is refused.
#[derive(Debug)]
pub(crate) enum Refused {
    /// There is no such attribute.
    Name,
    /// `Invalid parameter: [Attributes Reason: ]…`.
    Reason(String),
    Error(Error),
}

impl Refused {
    /// As `Subscribe` says it.
    pub(crate) fn when_subscribing(self) -> Error {
        match self {
            Self::Name => invalid("Attributes Reason: Unknown attribute"),
            Self::Reason(reason) => invalid(format_args!("Attributes Reason: {reason}")),
            Self::Error(error) => error,
        }
    }

    /// As `SetSubscriptionAttributes` says it.
    pub(crate) fn when_setting(self) -> Error {
        match self {
            Self::Name => invalid("AttributeName"),
            Self::Reason(reason) => invalid(reason),
            Self::Error(error) => error,
        }
    }
}

fn raw(value: &str) -> Result<bool, Refused> {
    match value {
        "true" | "True" => Ok(true),
        "false" | "False" => Ok(false),
        _ => Err(Refused::Reason(format!("RawMessageDelivery: Invalid value [{value}]. Must be true or false."))),
    }
}

fn redrive(cx: &Cx, text: &str, fifo: bool) -> Result<Option<String>, Refused> {
    if text.is_empty() {
        return Ok(None);
    }
    let wrong = |reason: &str| Err(Refused::Reason(format!("RedrivePolicy: {reason}")));
    let policy = match filter::parse_json(text) {
        Ok(policy) => policy,
        Err(reason) => return wrong(&reason),
    };
    if policy.as_object().is_some_and(serde_json::Map::is_empty) {
        return Ok(None);
    }
    let Some(target) = policy.get("deadLetterTargetArn").and_then(Value::as_str) else {
        return wrong("deadLetterTargetArn is missing");
    };
    let Ok(arn) = target.parse::<base_types::Arn>() else {
        return wrong("deadLetterTargetArn is an invalid arn");
    };
    if arn.service != "sqs" || arn.region != cx.region.as_str() {
        return wrong("deadLetterTargetArn is an invalid arn");
    }
    if fifo && !arn.resource.ends_with(".fifo") {
        return wrong("must use a FIFO queue as DLQ for a FIFO Subscription to a FIFO Topic.");
    }
    Ok(Some(text.to_owned()))
}

fn truth(name: &str, value: &str) -> Result<bool, Error> {
    match value {
        "true" | "True" => Ok(true),
        "false" | "False" | "" => Ok(false),
        _ => Err(invalid(name)),
    }
}
