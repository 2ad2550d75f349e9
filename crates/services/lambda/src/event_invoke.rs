//! How asynchronous invocations of a function (or of one of its versions or aliases) are treated: retries, age, destinations.
//!
//! Pure. The values that are absent have AWS's defaults: two retries, six hours.

use base_types::{Arn, Timestamp};
use minicbor::{Decode, Encode};

/// An event-invoke configuration.
#[derive(Debug, Clone, Default, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct EventInvoke {
    /// When it was changed last.
    #[n(0)]
    pub modified: Timestamp,
    /// Retries after a failed attempt: 0 to 2.
    #[n(1)]
    pub retries_max: Option<u32>,
    /// An event that is older is given up: 60 to 21,600 seconds.
    #[n(2)]
    pub age_seconds_max: Option<u32>,
    /// ARN of what learns of a success.
    #[n(3)]
    pub on_success: Option<String>,
    /// ARN of what learns of an event that was given up.
    #[n(4)]
    pub on_failure: Option<String>,
}

/// Why a configuration is refused (`InvalidParameterValueException`). The texts are AWS's.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EventInvokeError {
    /// Nothing was given.
    #[error("You must specify at least one of error handling or destination setting.")]
    Empty,
    /// A destination is no function, queue, topic or event bus.
    #[error(
        "The provided destination config DestinationConfig(onSuccess={}, onFailure={}) is invalid.",
        named("OnSuccess", success),
        named("OnFailure", failure)
    )]
    Destination {
        /// As given.
        success: Option<String>,
        /// As given.
        failure: Option<String>,
    },
    /// A function would be called with its own results, forever.
    #[error("You can't specify the function as a destination for itself.")]
    Itself,
    /// A function as destination is not there.
    #[error("The destination ARN {0} is invalid.")]
    MissingFunction(String),
}

fn named(kind: &str, destination: &Option<String>) -> String {
    destination.as_ref().map_or_else(|| "null".to_owned(), |arn| format!("{kind}(destination={arn})"))
}

impl EventInvoke {
    /// Takes over what is given; what is absent stays. An empty destination takes the one that is there away.
    ///
    /// # Errors
    /// [`EventInvokeError::Empty`] when nothing is given, [`EventInvokeError::Destination`].
    pub fn change(
        &mut self,
        retries_max: Option<u32>,
        age_seconds_max: Option<u32>,
        destinations: Option<Destinations<'_>>,
        now: Timestamp,
    ) -> Result<(), EventInvokeError> {
        if retries_max.is_none() && age_seconds_max.is_none() && destinations.is_none() {
            return Err(EventInvokeError::Empty);
        }
        self.retries_max = retries_max.or(self.retries_max);
        self.age_seconds_max = age_seconds_max.or(self.age_seconds_max);
        if let Some(Destinations { success, failure }) = destinations {
            let given = |text: Option<&str>| text.filter(|text| !text.is_empty()).map(str::to_owned);
            (self.on_success, self.on_failure) = (given(success), given(failure));
            let sound = |arn: &Option<String>| arn.as_deref().is_none_or(is_destination);
            if !sound(&self.on_success) || !sound(&self.on_failure) {
                return Err(EventInvokeError::Destination {
                    success: self.on_success.clone(),
                    failure: self.on_failure.clone(),
                });
            }
        }
        self.modified = now;
        Ok(())
    }

    /// Its destinations.
    pub fn destinations(&self) -> impl Iterator<Item = &str> {
        [&self.on_success, &self.on_failure].into_iter().flatten().map(String::as_str)
    }
}

/// Destinations as given.
#[derive(Debug, Clone, Copy)]
pub struct Destinations<'a> {
    /// `OnSuccess`.
    pub success: Option<&'a str>,
    /// `OnFailure`.
    pub failure: Option<&'a str>,
}

/// Whether it is the ARN of something that takes the record of an invocation: a function, queue, topic, event bus or bucket.
fn is_destination(text: &str) -> bool {
    let Ok(arn) = text.parse::<Arn>() else { return false };
    match arn.service.as_str() {
        "lambda" => arn.resource.starts_with("function:"),
        "sqs" | "sns" => !arn.resource.is_empty() && !arn.resource.contains([':', '/']),
        "events" => arn.resource.starts_with("event-bus/"),
        "s3" => !arn.resource.is_empty(),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const QUEUE: &str = "arn:aws:sqs:us-east-1:111111111111:q";

    #[test]
    fn what_is_given_replaces_and_what_is_absent_stays() {
        let mut config = EventInvoke::default();
        assert_eq!(config.change(None, None, None, Timestamp::EPOCH), Err(EventInvokeError::Empty));
        config.change(Some(0), None, None, Timestamp::EPOCH).unwrap();
        let both = Destinations { success: Some(QUEUE), failure: None };
        config.change(None, Some(60), Some(both), Timestamp::EPOCH).unwrap();
        assert_eq!((config.retries_max, config.age_seconds_max), (Some(0), Some(60)));
        assert_eq!(config.destinations().collect::<Vec<_>>(), [QUEUE]);
        let none = Destinations { success: Some(""), failure: None };
        config.change(None, None, Some(none), Timestamp::EPOCH).unwrap();
        assert_eq!(config.destinations().count(), 0);
    }

    #[test]
    fn only_what_takes_records_is_a_destination() {
        for (arn, sound) in [
            (QUEUE, true),
            ("arn:aws:sns:us-east-1:111111111111:t", true),
            ("arn:aws:lambda:us-east-1:111111111111:function:f", true),
            ("arn:aws:lambda:us-east-1:111111111111:function:f:live", true),
            ("arn:aws:events:us-east-1:111111111111:event-bus/default", true),
            ("arn:aws:events:us-east-1:111111111111:rule/r", false),
            ("arn:aws:iam::111111111111:role/r", false),
            ("kafka://cluster", false),
            ("queue", false),
        ] {
            assert_eq!(is_destination(arn), sound, "{arn}");
        }
        let wrong = Destinations { success: Some("arn:aws:iam::1:role/r"), failure: None };
        let error = EventInvoke::default().change(None, None, Some(wrong), Timestamp::EPOCH).unwrap_err();
        assert_eq!(
            error.to_string(),
            "The provided destination config DestinationConfig(onSuccess=OnSuccess(destination=arn:aws:iam::1:role/r), \
             onFailure=null) is invalid."
        );
    }
}
