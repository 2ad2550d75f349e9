//! What the service answers when it refuses, in AWS's words.

use base_types::Fault;
use model_logs::Error;
use store_segments::SegmentsError;

pub(crate) fn invalid(message: impl Into<String>) -> Error {
    Error::invalid_parameter_exception(message)
}

pub(crate) fn group_missing() -> Error {
    Error::resource_not_found_exception("The specified log group does not exist.")
}

pub(crate) fn stream_missing() -> Error {
    Error::resource_not_found_exception("The specified log stream does not exist.")
}

pub(crate) fn group_exists() -> Error {
    Error::resource_already_exists_exception("The specified log group already exists")
}

pub(crate) fn stream_exists() -> Error {
    Error::resource_already_exists_exception("The specified log stream already exists")
}

pub(crate) fn token_invalid() -> Error {
    invalid("The specified nextToken is invalid.")
}

pub(crate) fn segments(error: SegmentsError) -> Error {
    Error::from(Fault::from(error))
}
