//! Names, URLs and ARNs of queues.

use base_types::{AccountId, Arn};
use model_sqs::Error;
use services_kernel::Cx;

use crate::error::no_queue;

const NAME_CHARS_MAX: usize = 80;

/// A queue as it is named: in an account (of the request's region).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct QueueName {
    pub(crate) account: AccountId,
    pub(crate) name: String,
}

/// Checks the name of a new queue.
pub(crate) fn check(name: &str, fifo: bool) -> Result<(), Error> {
    let stem = name.strip_suffix(".fifo");
    let characters = stem.unwrap_or(name);
    let good = !characters.is_empty()
        && name.len() <= NAME_CHARS_MAX
        && characters.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'));
    match (good, fifo, stem) {
        (true, true, Some(_)) | (true, false, None) => Ok(()),
        (_, true, _) => Err(Error::invalid_parameter_value_exception(
            "The name of a FIFO queue can only include alphanumeric characters, hyphens, or underscores, must end with \
             .fifo suffix and be 1 to 80 in length.",
        )),
        (_, false, _) => Err(Error::invalid_parameter_value_exception(
            "Can only include alphanumeric characters, hyphens, or underscores. 1 to 80 in length",
        )),
    }
}

/// The queue that a URL names. Whatever host an SDK put before it, the path's last two parts are the account and the name.
pub(crate) fn of_url(cx: &Cx, url: &str) -> Result<QueueName, Error> {
    let path = match url.split_once("://") {
        Some((_, rest)) => rest.split_once('/').map_or("", |(_, path)| path),
        None => url,
    };
    let path = path.trim_end_matches('/');
    let (before, name) = path.rsplit_once('/').unwrap_or(("", path));
    if name.is_empty() {
        return Err(Error::invalid_address(format!("The address {url} is not valid for this endpoint.")));
    }
    let account = match before.rsplit('/').next() {
        // A bare name is one's own queue.
        None | Some("") => cx.account,
        Some(account) => account
            .parse()
            .map_err(|_| Error::invalid_address(format!("The address {url} is not valid for this endpoint.")))?,
    };
    Ok(QueueName { account, name: name.to_owned() })
}

/// The queue that an ARN names, if it is a queue of this region.
pub(crate) fn of_arn(cx: &Cx, text: &str) -> Option<QueueName> {
    let arn: Arn = text.parse().ok()?;
    let ours = arn.service == "sqs" && arn.region == cx.region.as_str() && !arn.resource.contains([':', '/']);
    let account = arn.account.parse().ok().filter(|_| ours)?;
    Some(QueueName { account, name: arn.resource })
}

impl QueueName {
    /// In the caller's account.
    pub(crate) fn own(cx: &Cx, name: &str) -> Self {
        Self { account: cx.account, name: name.to_owned() }
    }

    pub(crate) fn arn(&self, cx: &Cx) -> Arn {
        Arn::regional("sqs", &cx.region, self.account, self.name.clone())
    }

    /// The text of its ARN.
    pub(crate) fn arn_text(&self, cx: &Cx) -> String {
        let region = &cx.region;
        ["arn:", region.partition(), ":sqs:", region.as_str(), ":", self.account.as_str(), ":", &self.name].concat()
    }

    pub(crate) fn is_fifo(&self) -> bool {
        self.name.ends_with(".fifo")
    }

    /// An error when the name cannot be a queue's.
    pub(crate) fn check(&self) -> Result<(), Error> {
        check(&self.name, self.is_fifo()).map_err(|_| no_queue())
    }
}

#[cfg(test)]
mod tests {
    use base_types::Region;

    use super::*;

    #[test]
    fn every_url_form_names_the_same_queue() {
        let cx = Cx::internal(AccountId::DEFAULT, Region::default(), "r");
        for url in [
            "http://127.0.0.1:4566/000000000000/q",
            "https://sqs.us-east-1.amazonaws.com/000000000000/q",
            "http://queue.localhost:4566/000000000000/q",
            "http://127.0.0.1:4566/queue/us-east-1/000000000000/q",
            "http://127.0.0.1:4566/000000000000/q/",
            "q",
        ] {
            assert_eq!(of_url(&cx, url).unwrap(), QueueName::own(&cx, "q"), "{url}");
        }
        let own = QueueName::own(&cx, "q");
        assert_eq!(own.arn_text(&cx), own.arn(&cx).to_string());
        for url in ["http://127.0.0.1:4566", "http://127.0.0.1:4566/", "", "http://h/account/q"] {
            assert!(of_url(&cx, url).is_err(), "{url}");
        }
    }

    #[test]
    fn names_are_checked_by_type() {
        for (name, fifo, good) in [
            ("q", false, true),
            ("Q-_9", false, true),
            ("q.fifo", true, true),
            ("q.fifo", false, false),
            ("q", true, false),
            (".fifo", true, false),
            ("", false, false),
            ("a b", false, false),
            ("ü", false, false),
        ] {
            assert_eq!(check(name, fifo).is_ok(), good, "{name}");
        }
        assert!(check(&"x".repeat(80), false).is_ok() && check(&"x".repeat(81), false).is_err());
        assert!(check(&format!("{}.fifo", "x".repeat(76)), true).is_err());
    }
}
