//! Errors in AWS's words.

use model_events::Error;

/// No such bus.
pub(crate) fn no_bus(name: &str) -> Error {
    Error::resource_not_found_exception(format!("Event bus {name} does not exist."))
}

/// No such rule.
pub(crate) fn no_rule(name: &str, bus: &str) -> Error {
    Error::resource_not_found_exception(format!("Rule {name} does not exist on EventBus {bus}."))
}

/// `Archive a does not exist.`, and so on.
pub(crate) fn missing(kind: &str, name: &str) -> Error {
    Error::resource_not_found_exception(format!("{kind} {name} does not exist."))
}

/// The name is taken.
pub(crate) fn taken(kind: &str, name: &str) -> Error {
    Error::resource_already_exists_exception(format!("{kind} {name} already exists."))
}

/// A quota.
pub(crate) fn too_many() -> Error {
    Error::limit_exceeded_exception("The requested resource exceeds the maximum number allowed.")
}

/// A request that contradicts itself or the state of things.
pub(crate) fn invalid(message: impl Into<String>) -> Error {
    Error::validation_exception(message.into())
}

/// `Parameter … is not valid.`, perhaps with a reason.
pub(crate) fn bad_parameter(parameter: &str, reason: Option<&str>) -> Error {
    invalid(match reason {
        Some(reason) => format!("Parameter {parameter} is not valid. Reason: {reason}"),
        None => format!("Parameter {parameter} is not valid."),
    })
}

/// An ARN that names nothing of the kind.
pub(crate) fn bad_arn(arn: &str) -> Error {
    bad_parameter(arn, Some("Provided Arn is not in correct format."))
}

/// A pattern that cannot be read.
pub(crate) fn bad_pattern(error: &lang_eventpattern::PatternError) -> Error {
    Error::invalid_event_pattern_exception(format!("Event pattern is not valid. Reason: {error}"))
}
