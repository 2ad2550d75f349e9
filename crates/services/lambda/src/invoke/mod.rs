//! The data plane: from a name to an answer.
//!
//! - `routes`: what a name leads to, cached; a commit invalidates it before it is acknowledged;
//! - `environment`: what an execution environment is made from, and the platform's lines around each invocation;
//! - `runner`: what runs invocations, and `flight` the way of each: environment, answer, meter;
//! - `flow`: the operations `Invoke` and `InvokeAsync`; `port`: the same for other services;
//! - `queue`: event invocations, accepted in a commit and run by a reconciler;
//! - `destinations`: where the end of an event is told, and functions as such a place;
//! - `stream`: `InvokeWithResponseStream`; `serve`: function URLs.

pub(crate) mod destinations;
pub(crate) mod environment;
mod flight;
mod flow;
mod port;
pub(crate) mod queue;
pub(crate) mod routes;
pub(crate) mod runner;
mod serve;
mod stream;
