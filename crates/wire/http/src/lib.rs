//! From an HTTP request to a model's request, and from its answer to an HTTP response, whatever the protocol.
//!
//! A gateway needs no knowledge of protocols:
//!
//! 1. [`recognise`] tells which service a request addresses (by the signature's scope, the target header, the host or
//!    the path);
//! 2. [`route`] looks at the head only and gives a [`Route`]: protocol and, unless the form has it, the operation. The
//!    gateway reads the body up to [`Route::body_bytes_max`] and answers more than that with [`too_large`];
//! 3. [`read`] gives the model's request, decoded, validated, and free of members that are refused, or the service's
//!    error;
//! 4. [`respond`] and [`refuse`] write the response, with `x-amzn-RequestId` and the protocol's own form of errors.
//!
//! ```ignore
//! let route = wire_http::route(service, &parts);
//! let answer = match wire_http::read::<model_lambda::Api>(&route, &parts, body) {
//!     Ok(call) => wire_http::respond::<model_lambda::Api>(&route, call.operation, dispatch(call).await, &request_id),
//!     Err(error) => wire_http::refuse::<model_lambda::Api>(&route, &error, &request_id),
//! };
//! ```
//!
//! Guarantees: an answer is always in a protocol of the service that was addressed, never another's; an operation that
//! AWS has and Pileus does not is named in a `NotImplementedException` with status 501, which no AWS client retries (AWS
//! itself has no such answer; a 4xx would claim that the caller erred). The body of a request is taken as it is: a
//! compressed one is refused.
//!
//! Absent here: any HTTP stack (only the `http` types), any service, signatures.

mod answer;
mod binding;
mod call;
mod routing;

pub use answer::{refuse, respond};
pub use call::{Call, read, too_large};
pub use routing::{Route, recognise, route};
