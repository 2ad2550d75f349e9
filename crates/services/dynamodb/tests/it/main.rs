//! The service through its trait, on simulated time and the memory store, which runs every body twice.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on shall panic")]

mod backups;
mod history;
mod model;
mod serial;
mod statements;
mod streams;
mod support;
mod tables;
