//! When a delivery by HTTP is tried again. Pure.
//!
//! Source: SNS Developer Guide, "Amazon SNS message delivery retries" and "Creating a delivery policy for HTTP/S"; what is
//! shown follows the recorded answers. A delivery goes through four phases: retries without delay, before the backoff at the
//! least delay, the backoff from the least to the greatest delay, and after it at the greatest.
//!
//! Guarantee: all of it takes an hour at most, as on AWS; a policy that would take longer is refused.

use std::time::Duration;

use serde_json::{Map, Value, json};

/// Phases together take no longer, in seconds.
const TOTAL_MAX: u64 = 3600;
const CONTENT_TYPE: &str = "text/plain; charset=UTF-8";

/// When a delivery is tried again, how fast, and as what.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct RetryPolicy {
    min_delay: u64,
    max_delay: u64,
    retries: u64,
    no_delay: u64,
    at_min: u64,
    at_max: u64,
    backoff: Backoff,
    /// Deliveries a second.
    pub(crate) per_second: Option<u64>,
    pub(crate) content_type: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Backoff {
    Linear,
    Arithmetic,
    Geometric,
    Exponential,
}

impl Default for RetryPolicy {
    fn default() -> Self {
        Self {
            min_delay: 20,
            max_delay: 20,
            retries: 3,
            no_delay: 0,
            at_min: 0,
            at_max: 0,
            backoff: Backoff::Linear,
            per_second: None,
            content_type: CONTENT_TYPE.to_owned(),
        }
    }
}

impl RetryPolicy {
    /// Reads the members that a policy's object has over what is there.
    fn apply(
        &mut self,
        retry: Option<&Value>,
        throttle: Option<&Value>,
        request: Option<&Value>,
    ) -> Result<(), String> {
        if let Some(Value::Object(retry)) = retry {
            for (name, value) in retry {
                let number = || value.as_u64().ok_or_else(|| format!("{name} must be a non-negative integer"));
                match name.as_str() {
                    _ if value.is_null() => {}
                    "minDelayTarget" => self.min_delay = number()?,
                    "maxDelayTarget" => self.max_delay = number()?,
                    "numRetries" => self.retries = number()?,
                    "numNoDelayRetries" => self.no_delay = number()?,
                    "numMinDelayRetries" => self.at_min = number()?,
                    "numMaxDelayRetries" => self.at_max = number()?,
                    "backoffFunction" => {
                        self.backoff = match value.as_str() {
                            Some("linear") => Backoff::Linear,
                            Some("arithmetic") => Backoff::Arithmetic,
                            Some("geometric") => Backoff::Geometric,
                            Some("exponential") => Backoff::Exponential,
                            _ => return Err("unrecognized backoffFunction".to_owned()),
                        }
                    }
                    _ => return Err(format!("unexpected JSON member: {name}")),
                }
            }
        }
        if let Some(Value::Object(throttle)) = throttle {
            match throttle.get("maxReceivesPerSecond") {
                None | Some(Value::Null) => {}
                Some(value) => match value.as_u64() {
                    Some(rate @ 1..) => self.per_second = Some(rate),
                    _ => return Err("throttlePolicy maxReceivesPerSecond must be greater than 0".to_owned()),
                },
            }
        }
        if let Some(Value::Object(request)) = request {
            match request.get("headerContentType") {
                None | Some(Value::Null) => {}
                Some(Value::String(text)) if is_content_type(text) => self.content_type.clone_from(text),
                Some(_) => return Err("headerContentType is not a supported content type".to_owned()),
            }
        }
        self.check()
    }

    fn check(&self) -> Result<(), String> {
        let within = |name: &str, value: u64, least: u64, most: u64| {
            let good = (least..=most).contains(&value);
            if good { Ok(()) } else { Err(format!("{name} must be between {least} and {most}")) }
        };
        within("minDelayTarget", self.min_delay, 1, self.max_delay.max(1))?;
        within("maxDelayTarget", self.max_delay, self.min_delay, TOTAL_MAX)?;
        within("numRetries", self.retries, 0, 100)?;
        let phases = self.no_delay.saturating_add(self.at_min).saturating_add(self.at_max);
        within("the sum of the phases' retries", phases, 0, self.retries)?;
        let total: u64 = (0..self.retries).filter_map(|retry| self.delay(retry)).map(|delay| delay.as_secs()).sum();
        within("the total delay", total, 0, TOTAL_MAX)
    }

    /// How long after a failed attempt the `retry`th retry (from 0) is made; `None` when there is none.
    pub(crate) fn delay(&self, retry: u64) -> Option<Duration> {
        if retry >= self.retries {
            return None;
        }
        let backing_off = self.retries.saturating_sub(self.no_delay + self.at_min + self.at_max);
        let seconds = if retry < self.no_delay {
            0
        } else if retry < self.no_delay + self.at_min {
            self.min_delay
        } else if retry < self.no_delay + self.at_min + backing_off {
            self.backoff(retry - self.no_delay - self.at_min, backing_off)
        } else {
            self.max_delay
        };
        Some(Duration::from_secs(seconds))
    }

    /// The delay of one step of the backoff: it begins at the least and ends at the greatest delay.
    fn backoff(&self, step: u64, steps: u64) -> u64 {
        if steps <= 1 || self.max_delay == self.min_delay {
            return self.min_delay;
        }
        #[expect(clippy::cast_precision_loss, reason = "at most 100 steps and 3600 seconds")]
        let (step, last, least, most) = (step as f64, (steps - 1) as f64, self.min_delay as f64, self.max_delay as f64);
        let part = step / last;
        let delay = match self.backoff {
            Backoff::Linear => least + (most - least) * part,
            Backoff::Arithmetic => least + (most - least) * (step * (step + 1.0)) / (last * (last + 1.0)),
            Backoff::Geometric => least + (most - least) * part * part,
            Backoff::Exponential => least * (most / least).powf(part),
        };
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "between two small positive numbers"
        )]
        let seconds = delay.round() as u64;
        seconds.clamp(self.min_delay, self.max_delay)
    }

    fn to_json(&self) -> Value {
        json!({
            "minDelayTarget": self.min_delay,
            "maxDelayTarget": self.max_delay,
            "numRetries": self.retries,
            "numNoDelayRetries": self.no_delay,
            "numMinDelayRetries": self.at_min,
            "numMaxDelayRetries": self.at_max,
            "backoffFunction": match self.backoff {
                Backoff::Linear => "linear",
                Backoff::Arithmetic => "arithmetic",
                Backoff::Geometric => "geometric",
                Backoff::Exponential => "exponential",
            },
        })
    }
}

/// The content types that AWS lets a subscriber choose, with or without parameters.
fn is_content_type(text: &str) -> bool {
    let kind = text.split(';').next().unwrap_or_default().trim();
    let known = [
        "application/atom+xml",
        "application/json",
        "application/octet-stream",
        "application/soap+xml",
        "application/x-www-form-urlencoded",
        "application/xhtml+xml",
        "application/xml",
        "text/css",
        "text/csv",
        "text/html",
        "text/plain",
        "text/xml",
    ];
    known.contains(&kind) && text.bytes().all(|byte| (b' '..=b'~').contains(&byte)) && text.len() <= 256
}

fn object(text: &str) -> Result<Map<String, Value>, String> {
    match serde_json::from_str(text) {
        Ok(Value::Object(object)) => Ok(object),
        Ok(_) => Err("policy is not a JSON object".to_owned()),
        Err(_) => Err("failed to parse JSON.".to_owned()),
    }
}

/// A topic's policy as it is kept and shown: without what is null.
///
/// # Errors
/// A reason, for "DeliveryPolicy: …".
pub(crate) fn of_topic(text: &str) -> Result<String, String> {
    let policy = object(text)?;
    if let Some(other) = policy.keys().find(|name| *name != "http") {
        return Err(format!("unexpected JSON member: {other}"));
    }
    let Some(Value::Object(http)) = policy.get("http") else {
        return Err("the policy must have an http object".to_owned());
    };
    let mut kept =
        Map::from_iter(http.iter().filter(|(_, value)| !value.is_null()).map(|(n, v)| (n.clone(), v.clone())));
    let names =
        ["defaultHealthyRetryPolicy", "disableSubscriptionOverrides", "defaultThrottlePolicy", "defaultRequestPolicy"];
    if let Some(other) = kept.keys().find(|name| !names.contains(&name.as_str())) {
        return Err(format!("unexpected JSON member: {other}"));
    }
    kept.entry("disableSubscriptionOverrides").or_insert(Value::Bool(false));
    topic_policy(&kept)?;
    Ok(json!({ "http": kept }).to_string())
}

fn topic_policy(http: &Map<String, Value>) -> Result<RetryPolicy, String> {
    let mut policy = RetryPolicy::default();
    policy.apply(
        http.get("defaultHealthyRetryPolicy"),
        http.get("defaultThrottlePolicy"),
        http.get("defaultRequestPolicy"),
    )?;
    Ok(policy)
}

/// A subscription's policy, checked.
///
/// # Errors
/// A reason, for "DeliveryPolicy: …".
pub(crate) fn of_subscription(text: &str) -> Result<(), String> {
    let policy = object(text)?;
    let names = ["healthyRetryPolicy", "throttlePolicy", "requestPolicy", "sicklyRetryPolicy", "guaranteed"];
    if let Some(other) = policy.keys().find(|name| !names.contains(&name.as_str())) {
        return Err(format!("unexpected JSON member: {other}"));
    }
    RetryPolicy::default().apply(
        policy.get("healthyRetryPolicy"),
        policy.get("throttlePolicy"),
        policy.get("requestPolicy"),
    )
}

/// What a topic's policy comes to, as `EffectiveDeliveryPolicy` shows it.
pub(crate) fn effective_of_topic(policy: Option<&str>) -> String {
    let http = policy.and_then(|text| object(text).ok()).and_then(|mut policy| policy.remove("http"));
    let http = match http {
        Some(Value::Object(http)) => http,
        _ => Map::new(),
    };
    // What is kept was checked.
    let retry = topic_policy(&http).unwrap_or_default();
    let mut shown = json!({
        "defaultHealthyRetryPolicy": retry.to_json(),
        "disableSubscriptionOverrides": http.get("disableSubscriptionOverrides").cloned().unwrap_or(Value::Bool(false)),
        "defaultRequestPolicy": { "headerContentType": retry.content_type },
    });
    if let Some(rate) = retry.per_second {
        shown["defaultThrottlePolicy"] = json!({ "maxReceivesPerSecond": rate });
    }
    json!({ "http": shown }).to_string()
}

/// What holds for a subscription: its own policy over the topic's, unless the topic forbids that.
pub(crate) fn effective(topic: Option<&str>, subscription: Option<&str>) -> RetryPolicy {
    let http = topic.and_then(|text| object(text).ok()).and_then(|mut policy| policy.remove("http"));
    let http = match http {
        Some(Value::Object(http)) => http,
        _ => Map::new(),
    };
    let mut policy = topic_policy(&http).unwrap_or_default();
    let overrides = http.get("disableSubscriptionOverrides") != Some(&Value::Bool(true));
    if overrides && let Some(own) = subscription.and_then(|text| object(text).ok()) {
        let mut changed = policy.clone();
        if changed.apply(own.get("healthyRetryPolicy"), own.get("throttlePolicy"), own.get("requestPolicy")).is_ok() {
            policy = changed;
        }
    }
    policy
}

/// `EffectiveDeliveryPolicy` of a subscription.
pub(crate) fn effective_of_subscription(policy: &RetryPolicy) -> String {
    let throttle = policy.per_second.map(|rate| json!({ "maxReceivesPerSecond": rate }));
    json!({
        "healthyRetryPolicy": policy.to_json(),
        "sicklyRetryPolicy": null,
        "throttlePolicy": throttle,
        "requestPolicy": { "headerContentType": policy.content_type },
        "guaranteed": false,
    })
    .to_string()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn delays(policy: &str) -> Vec<u64> {
        let policy = effective(None, Some(policy));
        (0..).map_while(|retry| policy.delay(retry)).map(|delay| delay.as_secs()).collect()
    }

    #[test]
    fn without_a_policy_it_is_tried_thrice_more_every_twenty_seconds() {
        assert_eq!(delays("{}"), [20, 20, 20]);
    }

    #[test]
    fn the_four_phases_follow_each_other() {
        for (function, backoff) in [
            ("linear", [10, 20, 30, 40, 50]),
            ("arithmetic", [10, 14, 22, 34, 50]),
            ("geometric", [10, 13, 20, 33, 50]),
            ("exponential", [10, 15, 22, 33, 50]),
        ] {
            let policy = json!({ "healthyRetryPolicy": {
                "minDelayTarget": 10, "maxDelayTarget": 50, "numRetries": 10, "numNoDelayRetries": 2,
                "numMinDelayRetries": 1, "numMaxDelayRetries": 2, "backoffFunction": function,
            }});
            let expected = [&[0, 0, 10][..], &backoff, &[50, 50]].concat();
            assert_eq!(delays(&policy.to_string()), expected, "{function}");
        }
    }

    #[test]
    fn what_cannot_be_is_refused() {
        for policy in [
            r#"{"healthyRetryPolicy":{"numRetries":101}}"#,
            r#"{"healthyRetryPolicy":{"minDelayTarget":0}}"#,
            r#"{"healthyRetryPolicy":{"minDelayTarget":30,"maxDelayTarget":20}}"#,
            r#"{"healthyRetryPolicy":{"numRetries":2,"numNoDelayRetries":3}}"#,
            r#"{"healthyRetryPolicy":{"numRetries":100,"minDelayTarget":600,"maxDelayTarget":600}}"#,
            r#"{"healthyRetryPolicy":{"numRetries":-1}}"#,
            r#"{"healthyRetryPolicy":{"backoffFunction":"cubic"}}"#,
            r#"{"throttlePolicy":{"maxReceivesPerSecond":0}}"#,
            r#"{"requestPolicy":{"headerContentType":"image/png"}}"#,
            r#"{"other":1}"#,
            "[]",
            "{",
        ] {
            assert!(of_subscription(policy).is_err(), "{policy}");
        }
        assert!(of_topic(r#"{"http":{"other":1}}"#).is_err() && of_topic("{}").is_err());
    }

    #[test]
    fn a_topic_that_forbids_it_is_not_overridden() {
        let topic = r#"{"http":{"defaultHealthyRetryPolicy":{"numRetries":1},"disableSubscriptionOverrides":true}}"#;
        let own = r#"{"healthyRetryPolicy":{"numRetries":7}}"#;
        assert_eq!(effective(Some(topic), Some(own)).retries, 1);
        let topic = topic.replace("true", "false");
        assert_eq!(effective(Some(&topic), Some(own)).retries, 7);
    }

    mod property {
        use super::*;

        proptest! {
            #[test]
            fn no_text_breaks_it(text in ".{0,60}") {
                let _ = (of_topic(&text), of_subscription(&text));
                let _ = effective(Some(&text), Some(&text));
            }

            #[test]
            fn an_accepted_policy_ends_within_the_hour(retries in 0_u64..200, least in 0_u64..4000, most in 0_u64..4000) {
                let text = json!({ "healthyRetryPolicy": {
                    "numRetries": retries, "minDelayTarget": least, "maxDelayTarget": most, "backoffFunction": "geometric",
                }}).to_string();
                if of_subscription(&text).is_ok() {
                    prop_assert!(delays(&text).iter().sum::<u64>() <= TOTAL_MAX);
                }
            }
        }
    }
}
