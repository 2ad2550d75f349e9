//! Errors in AWS's words.

use base_stream::Spoilt;
use base_types::{Fault, FaultKind};
use model_s3::*;

pub(crate) const MALFORMED_XML: &str =
    "The XML you provided was not well-formed or did not validate against our published schema";
const HEADER_NOT_IMPLEMENTED: &str = "A header you provided implies functionality that is not implemented";

pub(crate) fn no_bucket(name: &str) -> Error {
    NoSuchBucket { message: text("The specified bucket does not exist"), bucket_name: text(name) }.into()
}

pub(crate) fn no_key(key: &str) -> Error {
    NoSuchKey { message: text("The specified key does not exist."), key: text(key) }.into()
}

pub(crate) fn no_version(key: &str, version: &str) -> Error {
    NoSuchVersion { message: text("The specified version does not exist."), key: text(key), version_id: text(version) }
        .into()
}

pub(crate) fn no_upload(id: &str) -> Error {
    NoSuchUpload {
        message: text(
            "The specified upload does not exist. The upload ID may be invalid, or the upload may have been aborted or \
             completed.",
        ),
        upload_id: text(id),
    }
    .into()
}

pub(crate) fn denied() -> Error {
    Error::access_denied("Access Denied")
}

/// `InvalidArgument` about an argument.
pub(crate) fn argument(message: &str, name: &str, value: &str) -> Error {
    InvalidArgument {
        message: text(message),
        argument_name: text(name),
        argument_value: text(value),
        ..InvalidArgument::default()
    }
    .into()
}

/// The same without the value.
pub(crate) fn argument_named(message: &str, name: &str) -> Error {
    InvalidArgument { message: text(message), argument_name: text(name), ..InvalidArgument::default() }.into()
}

pub(crate) fn malformed_xml() -> Error {
    Error::malformed_xml(MALFORMED_XML)
}

pub(crate) fn precondition(condition: &str) -> Error {
    PreconditionFailed {
        message: text("At least one of the pre-conditions you specified did not hold"),
        condition: text(condition),
    }
    .into()
}

pub(crate) fn method_not_allowed(method: &str, resource: &str) -> Error {
    MethodNotAllowed {
        message: text("The specified method is not allowed against this resource."),
        method: text(method),
        resource_type: text(resource),
    }
    .into()
}

/// A header whose function is not there.
pub(crate) fn header_not_implemented(header: &str, more: Option<&str>) -> Error {
    NotImplemented {
        message: text(HEADER_NOT_IMPLEMENTED),
        header: text(header),
        additional_message: more.map(str::to_owned),
    }
    .into()
}

/// The client's fault in a body, or ours.
pub(crate) fn of_body(fault: Fault) -> Error {
    match Spoilt::of(&fault) {
        None if fault.kind() == FaultKind::Unavailable => Error::service_unavailable(
            "The body could not be stored: the disk may be full. Nothing of it was kept. Please try again later.",
        ),
        None => fault.into(),
        Some(Spoilt::Incomplete { promised, got }) => IncompleteBody {
            message: text("You did not provide the number of bytes specified by the Content-Length HTTP header"),
            number_bytes_expected: promised.map(|bytes| bytes.to_string()),
            number_bytes_provided: Some(got.to_string()),
        }
        .into(),
        Some(Spoilt::Late) => Error::request_timeout(
            "Your socket connection to the server was not read from or written to within the timeout period. Idle \
             connections will be closed.",
        ),
        Some(Spoilt::Digest { claimed, computed }) => XAmzContentSHA256Mismatch {
            message: text("The provided 'x-amz-content-sha256' header does not match what was computed."),
            client_computed_content_sha256: text(claimed),
            s3_computed_content_sha256: text(computed),
        }
        .into(),
        Some(Spoilt::Signature) => Error::signature_does_not_match(
            "The request signature we calculated does not match the signature you provided. Check your key and signing \
             method.",
        ),
        Some(Spoilt::Malformed(place)) => {
            Error::invalid_request(format!("The body's framing (`aws-chunked`) is not well-formed: {place}."))
        }
    }
}

pub(crate) fn text(text: impl Into<String>) -> Option<String> {
    Some(text.into())
}
