//! EventBridge Pipes through its generated trait and the dispatcher, on a simulated clock, with real queues at both ends.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod asking;
mod fencing;
mod states;
mod streams;
mod support;
mod work;
