//! Names of groups and streams, and the ARNs that hold them.
//!
//! A group is named by its name, by its ARN, or by its ARN with `:*` behind it (AWS writes that form as `arn` and the bare
//! one as `logGroupArn`).

use base_types::Arn;
use model_logs::Error;
use services_kernel::Cx;

use crate::error::{group_missing, invalid};

const NAME_CHARS_MAX: usize = 512;

/// Checks a group's name.
pub(crate) fn check_group(name: &str) -> Result<(), Error> {
    check_length(name)?;
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | '/' | '#');
    if name.chars().all(allowed) { Ok(()) } else { Err(pattern(name, "logGroupName", r"[\.\-_/#A-Za-z0-9]+")) }
}

/// Checks a stream's name.
pub(crate) fn check_stream(name: &str) -> Result<(), Error> {
    check_length(name)?;
    if name.contains([':', '*']) { Err(pattern(name, "logStreamName", "[^:*]*")) } else { Ok(()) }
}

/// Checks the beginning of a name.
pub(crate) fn check_prefix(prefix: &str) -> Result<(), Error> {
    if prefix.is_empty() { Ok(()) } else { check_length(prefix) }
}

fn check_length(name: &str) -> Result<(), Error> {
    if name.is_empty() {
        return Err(invalid("Invalid LogGroup or LogStream, both must have length greater than or equal to 1."));
    }
    if name.chars().count() > NAME_CHARS_MAX {
        return Err(invalid("Invalid LogGroup or LogStream, both must have length less than or equal to 512."));
    }
    Ok(())
}

fn pattern(value: &str, member: &str, pattern: &str) -> Error {
    invalid(format!(
        "1 validation error detected: Value '{value}' at '{member}' failed to satisfy constraint: \
         Member must satisfy regular expression pattern: {pattern}"
    ))
}

/// The group that a request means by its name or its identifier.
pub(crate) fn group_of(cx: &Cx, name: Option<&str>, identifier: Option<&str>) -> Result<String, Error> {
    match (name, identifier) {
        (Some(name), None) => check_group(name).map(|()| name.to_owned()),
        (None, Some(identifier)) => of_identifier(cx, identifier),
        (Some(_), Some(_)) => Err(invalid("LogGroupName and LogGroupIdentifier are mutually exclusive parameters.")),
        (None, None) => Err(invalid("Either logGroupName or logGroupIdentifier must be specified.")),
    }
}

/// The group that an identifier (a name or an ARN) means.
pub(crate) fn of_identifier(cx: &Cx, identifier: &str) -> Result<String, Error> {
    let name = if identifier.starts_with("arn:") { of_arn(cx, identifier)? } else { identifier.to_owned() };
    check_group(&name).map(|()| name)
}

/// The group that an ARN means. One of another account or region does not exist here.
pub(crate) fn of_arn(cx: &Cx, text: &str) -> Result<String, Error> {
    let arn: Arn = text.parse().map_err(|_| invalid(format!("Invalid ARN: {text}")))?;
    let name = arn.resource.strip_prefix("log-group:").filter(|_| arn.service == "logs");
    let name = name.ok_or_else(|| invalid(format!("Invalid ARN: {text}")))?;
    let name = name.strip_suffix(":*").unwrap_or(name);
    let own = cx.arn("logs", "log-group");
    if arn.region == own.region && arn.account == own.account { Ok(name.to_owned()) } else { Err(group_missing()) }
}

/// A group's ARN, without `:*`.
pub(crate) fn group_arn(cx: &Cx, group: &str) -> Arn {
    cx.arn("logs", format!("log-group:{group}"))
}

/// A stream's ARN.
pub(crate) fn stream_arn(cx: &Cx, group: &str, stream: &str) -> Arn {
    cx.arn("logs", format!("log-group:{group}:log-stream:{stream}"))
}

/// What a permission on a group is asked for: policies say `log-group:name:*`, and AWS asks for the group as the stream
/// without a name.
pub(crate) fn group_resource(cx: &Cx, group: &str) -> Arn {
    stream_arn(cx, group, "")
}

#[cfg(test)]
mod tests {
    use base_types::{AccountId, Region};

    use super::*;

    #[test]
    fn a_group_is_meant_by_name_and_arn() {
        let cx = Cx::internal(AccountId::DEFAULT, Region::default(), "r");
        let meant = |identifier| of_identifier(&cx, identifier).map_err(|error| error.to_string());
        for (identifier, expected) in [
            ("/aws/lambda/f", Some("/aws/lambda/f")),
            ("arn:aws:logs:us-east-1:000000000000:log-group:g", Some("g")),
            ("arn:aws:logs:us-east-1:000000000000:log-group:/a/b:*", Some("/a/b")),
            ("arn:aws:logs:us-east-1:111111111111:log-group:g", None),
            ("arn:aws:logs:eu-west-1:000000000000:log-group:g", None),
            ("arn:aws:sqs:us-east-1:000000000000:g", None),
            ("arn:aws:logs", None),
            ("a b", None),
            ("a*", None),
        ] {
            assert_eq!(meant(identifier).ok().as_deref(), expected, "{identifier}");
        }
    }

    #[test]
    fn names_are_checked() {
        assert!(check_group(&"g".repeat(512)).is_ok() && check_group(&"g".repeat(513)).is_err());
        assert!(check_stream("2026/11/23/[$LATEST]0123abcd é").is_ok());
        for name in ["", "a:b", "a*"] {
            assert!(check_stream(name).is_err(), "{name}");
        }
    }
}
