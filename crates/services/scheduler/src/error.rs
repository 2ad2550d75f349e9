//! Errors in AWS's words.

use model_scheduler::Error;

/// No such schedule.
pub(crate) fn no_schedule(name: &str) -> Error {
    Error::resource_not_found_exception(format!("Schedule {name} does not exist."))
}

/// No such group.
pub(crate) fn no_group(name: &str) -> Error {
    Error::resource_not_found_exception(format!("Schedule group {name} does not exist."))
}

/// A group that is about to vanish.
pub(crate) fn deleting(name: &str) -> Error {
    Error::conflict_exception(format!("Schedule group {name} is being deleted."))
}

/// A parameter that is not valid.
pub(crate) fn invalid(message: impl Into<String>) -> Error {
    Error::validation_exception(message.into())
}

/// What AWS has and we have not.
pub(crate) fn unsupported(what: &str) -> Error {
    Error::not_implemented_exception(format!("Pileus does not support {what} (yet)."))
}
