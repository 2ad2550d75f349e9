//! Errors in AWS's words.

use base_types::Fault;
use lang_dynamodb::{Invalid, UpdateError};
use model_dynamodb::Error;

/// `One or more parameter values were invalid: …`.
pub(crate) fn invalid(reason: impl std::fmt::Display) -> Error {
    Error::validation_exception(format!("One or more parameter values were invalid: {reason}"))
}

/// What the languages found wrong.
pub(crate) fn expression(error: Invalid) -> Error {
    Error::validation_exception(error.0)
}

/// An update that does not apply.
pub(crate) fn update(error: &UpdateError) -> Error {
    Error::validation_exception(error.to_string())
}

/// No such table, to operations on items.
pub(crate) fn no_resource() -> Error {
    Error::resource_not_found_exception("Requested resource not found")
}

/// No such table, to operations on tables.
pub(crate) fn no_table(name: &str) -> Error {
    Error::resource_not_found_exception(format!("Requested resource not found: Table: {name} not found"))
}

/// What is stored contradicts itself.
pub(crate) fn damaged(what: &str) -> Fault {
    Fault::new(base_types::FaultKind::Internal, format!("read {what}: it is not as it was written"))
}
