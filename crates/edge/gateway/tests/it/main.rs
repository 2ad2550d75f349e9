//! The gateway over real sockets, before an upstream that says what reached it.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod harness;
mod hostile;
mod hosts;
mod identity;
mod limits;
mod routes;
mod streams;
