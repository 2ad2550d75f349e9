//! The sandbox from outside: real functions on the real host. Run as root for all walls; as an ordinary user, what needs
//! host uids or limits says so and is left out.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "tests stop at the first surprise, say what they leave out, and measure real time from outside"
)]

mod clients;
mod custom;
mod egress;
mod endings;
mod extensions;
mod failures;
mod harness;
mod node;
mod python;
mod restart;
mod snapshot;
mod starting;
mod stream;
mod telemetry;
mod walls;
