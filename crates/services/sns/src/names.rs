//! Names and ARNs of topics and subscriptions.

use base_types::{AccountId, Arn, Region};
use model_sns::Error;
use services_kernel::Cx;

use crate::error::{invalid, invalid_because};

const NAME_CHARS_MAX: usize = 256;

/// A topic as it is named: in an account and region.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct TopicName {
    pub(crate) account: AccountId,
    pub(crate) region: Region,
    pub(crate) name: String,
}

/// A subscription as it is named.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SubscriptionName {
    pub(crate) topic: TopicName,
    pub(crate) id: String,
}

/// Checks the name of a new topic.
pub(crate) fn check(name: &str, fifo: bool) -> Result<(), Error> {
    let stem = if fifo { name.strip_suffix(".fifo") } else { Some(name) };
    let good = stem.is_some_and(|stem| {
        !stem.is_empty()
            && name.len() <= NAME_CHARS_MAX
            && stem.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
    });
    if good {
        return Ok(());
    }
    if fifo {
        return Err(invalid(
            "Topic Name Reason: Fifo Topic names must end with .fifo and must be made up of only uppercase and lowercase \
             ASCII letters, numbers, underscores, and hyphens, and must be between 1 and 256 characters long.",
        ));
    }
    Err(invalid("Topic Name"))
}

/// The parts of an ARN that a parameter holds.
fn parts<'a>(text: &'a str, parameter: &str) -> Result<Vec<&'a str>, Error> {
    let parts: Vec<&str> = text.split(':').collect();
    if parts.len() < 6 {
        let count = parts.len();
        return Err(invalid_because(parameter, format_args!("An ARN must have at least 6 elements, not {count}")));
    }
    Ok(parts)
}

/// The topic that an ARN names, wherever it is.
pub(crate) fn topic_anywhere(text: &str, parameter: &str) -> Result<TopicName, Error> {
    let parts = parts(text, parameter)?;
    match parts[..] {
        ["arn", _, "sns", region, account, name] if !name.is_empty() => {
            let (Ok(region), Ok(account)) = (region.parse(), account.parse()) else { return Err(invalid(parameter)) };
            Ok(TopicName { account, region, name: name.to_owned() })
        }
        _ => Err(invalid(parameter)),
    }
}

/// The topic that an ARN names, which must be one of the request's region.
pub(crate) fn topic(cx: &Cx, text: &str, parameter: &str) -> Result<TopicName, Error> {
    let topic = topic_anywhere(text, parameter)?;
    if topic.region == cx.region { Ok(topic) } else { Err(invalid(parameter)) }
}

/// The subscription that an ARN names, wherever it is.
pub(crate) fn subscription(text: &str) -> Result<SubscriptionName, Error> {
    let parts = parts(text, "SubscriptionArn")?;
    let wrong = || invalid("SubscriptionArn");
    match parts[..] {
        [.., "PendingConfirmation" | "pending confirmation"] => Err(wrong()),
        ["arn", _, "sns", region, account, name, id] if !id.is_empty() => {
            let (region, account) = (region.parse().map_err(|_| wrong())?, account.parse().map_err(|_| wrong())?);
            let topic = TopicName { account, region, name: name.to_owned() };
            Ok(SubscriptionName { topic, id: id.to_owned() })
        }
        _ => Err(invalid_because("SubscriptionArn", "An ARN must have at least 7 elements")),
    }
}

impl TopicName {
    pub(crate) fn own(cx: &Cx, name: &str) -> Self {
        Self { account: cx.account, region: cx.region.clone(), name: name.to_owned() }
    }

    pub(crate) fn arn(&self) -> Arn {
        Arn::regional("sns", &self.region, self.account, self.name.clone())
    }
}

impl SubscriptionName {
    pub(crate) fn arn(&self) -> String {
        format!("{}:{}", self.topic.arn(), self.id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_checked_by_type() {
        for (name, fifo, good) in [
            ("t", false, true),
            ("T-_9", false, true),
            ("t.fifo", true, true),
            ("t.fifo", false, false),
            ("t", true, false),
            (".fifo", true, false),
            ("", false, false),
            ("a b", false, false),
            ("ü", false, false),
        ] {
            assert_eq!(check(name, fifo).is_ok(), good, "{name}");
        }
        assert!(check(&"x".repeat(256), false).is_ok() && check(&"x".repeat(257), false).is_err());
    }

    #[test]
    fn arns_are_read_and_written() {
        let cx = Cx::internal(AccountId::DEFAULT, Region::default(), "r");
        let arn = "arn:aws:sns:us-east-1:000000000000:t";
        let topic = topic(&cx, arn, "TopicArn").unwrap();
        assert_eq!(topic.arn().to_string(), arn);
        let name = subscription(&format!("{arn}:an-id")).unwrap();
        assert_eq!((name.topic.clone(), name.arn()), (topic, format!("{arn}:an-id")));
        for wrong in ["", "x", "arn:aws:sns:us-east-1:000000000000", "arn:aws:sqs:us-east-1:000000000000:t"] {
            assert!(topic_anywhere(wrong, "TopicArn").is_err(), "{wrong}");
        }
        assert!(super::topic(&cx, "arn:aws:sns:eu-west-1:000000000000:t", "TopicArn").is_err());
    }

    mod property {
        use proptest::prelude::*;

        use super::*;

        proptest! {
            /// What an unsigned request to confirm or to leave brings, among others.
            #[test]
            fn no_text_breaks_it(text in "(arn|aws|sns|us-east-1|[0-9]{12}|:|PendingConfirmation|[ -~]){0,14}|\\PC{0,60}") {
                let _ = (check(&text, true), check(&text, false));
                if let Ok(topic) = topic_anywhere(&text, "TopicArn") {
                    prop_assert_eq!(topic_anywhere(&topic.arn().to_string(), "TopicArn").unwrap(), topic);
                }
                if let Ok(name) = subscription(&text) {
                    prop_assert_eq!(subscription(&name.arn()).unwrap(), name);
                }
            }
        }
    }
}
