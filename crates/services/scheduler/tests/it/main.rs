//! EventBridge Scheduler through its generated trait and the dispatcher, on a simulated clock, with queues beside it.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod firing;
mod groups;
mod operations;
mod recorded;
mod schedules;
mod support;
mod time;
