//! The data plane: from a name to an answer.
//!
//! - `routes`: what a name leads to, cached; a commit invalidates it before it is acknowledged;
//! - `environment`: what an execution environment is made from, and the platform's lines around each invocation;
//! - `runner`: one invocation, from a route to a finished answer;
//! - `flow`: the operations `Invoke` and `InvokeAsync`;
//! - `queue`: event invocations, accepted in a commit and run by a reconciler;
//! - `serve`: function URLs.

pub(crate) mod environment;
mod flow;
pub(crate) mod queue;
pub(crate) mod routes;
pub(crate) mod runner;
mod serve;
