//! CloudWatch Logs through its generated trait and the dispatcher, on a simulated clock.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod delivery;
mod describe;
mod events;
mod filter;
mod lifecycle;
mod output;
mod recorded;
mod support;
