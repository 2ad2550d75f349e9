//! Errors in AWS's words.

use model_sns::Error;

/// `Invalid parameter: …`.
pub(crate) fn invalid(what: impl std::fmt::Display) -> Error {
    Error::invalid_parameter_exception(format!("Invalid parameter: {what}"))
}

/// `Invalid parameter: … Reason: …`.
pub(crate) fn invalid_because(parameter: &str, reason: impl std::fmt::Display) -> Error {
    invalid(format_args!("{parameter} Reason: {reason}"))
}

pub(crate) fn no_topic() -> Error {
    Error::not_found_exception("Topic does not exist")
}

pub(crate) fn no_subscription() -> Error {
    Error::not_found_exception("Subscription does not exist")
}

/// Something that AWS has and Pileus does not.
pub(crate) fn not_served(what: impl std::fmt::Display) -> Error {
    Error::not_implemented_exception(format!("Pileus does not support {what} (yet)."))
}
