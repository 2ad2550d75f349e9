//! The service through its generated trait and its dispatcher, on the memory store and a simulated clock. The host is a
//! scripted one: what it does follows from the function's handler, and it sees the code that was really unpacked.

#![expect(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test says no by panicking")]

mod events;
mod host;
mod invoke;
mod layers;
mod lifecycle;
mod mappings;
mod mappings_changes;
mod mappings_recorded;
mod mappings_streams;
mod provisioned;
mod recorded;
mod recorded_resources;
mod recording;
mod settings;
mod simulation;
mod snapstart;
mod streams;
mod targets;
mod urls;
mod world;
