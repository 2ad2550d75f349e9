//! Errors in AWS's words.

use model_sqs::Error;

/// No such queue.
pub(crate) fn no_queue() -> Error {
    Error::queue_does_not_exist("The specified queue does not exist.")
}

/// `Value … for parameter … is invalid. Reason: …`.
pub(crate) fn invalid(value: impl std::fmt::Display, parameter: &str, reason: &str) -> Error {
    Error::invalid_parameter_value_exception(format!(
        "Value {value} for parameter {parameter} is invalid. Reason: {reason}"
    ))
}

/// A parameter that this type of queue does not have.
pub(crate) fn not_for_this_type(value: impl std::fmt::Display, parameter: &str) -> Error {
    invalid(value, parameter, "The request include parameter that is not valid for this queue type.")
}

/// A parameter that is missing.
pub(crate) fn missing(parameter: &str) -> Error {
    Error::missing_required_parameter_exception(format!("The request must contain the parameter {parameter}."))
}

/// A value that a queue's attribute cannot have.
pub(crate) fn bad_attribute(name: &str) -> Error {
    Error::invalid_attribute_value(format!("Invalid value for the parameter {name}."))
}
