//! The embedded back-end on real disks, and on simulated ones that fail.

#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a test stops at the first failure, and says what it skips"
)]

mod backup;
mod behaviour;
mod crash;
mod directory;
mod fixture;
mod power;
mod simulated_disk;
mod workload;
