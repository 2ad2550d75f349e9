//! The service through its trait, on the simulated clock and the memory store, beside a real SQS.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod calls;
mod chunks;
mod fifo;
mod filters;
mod publishing;
mod recorded;
mod subscriptions;
mod support;
mod topics;
