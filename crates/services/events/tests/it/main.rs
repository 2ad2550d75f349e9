//! EventBridge through the wire and the dispatcher, on simulated time, over the memory store (which runs every transaction
//! twice).

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod archives;
mod buses;
mod calls;
mod deliveries;
mod endpoints;
mod recorded;
mod rules;
mod schedules;
mod world;
