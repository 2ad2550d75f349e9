//! Errors in AWS's words.

use model_pipes::Error;

/// No such pipe.
pub(crate) fn no_pipe(name: &str) -> Error {
    Error::not_found_exception(format!("Pipe {name} does not exist."))
}

/// A parameter that is not valid.
pub(crate) fn invalid(message: impl Into<String>) -> Error {
    Error::validation_exception(message.into())
}

/// What AWS has and we have not.
pub(crate) fn unsupported(what: &str) -> Error {
    Error::not_implemented_exception(format!("Pileus does not support {what} (yet)."))
}
