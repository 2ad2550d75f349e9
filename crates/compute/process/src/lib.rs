//! The process sandbox: functions as walled processes of this host.
//!
//! Three kinds of process take part. The **server** ([`ProcessHost`]) serves the Runtime API, moves events, answers and
//! output, and measures. The **launcher** ([`run_if_launcher`]) is a single-threaded child that does all cloning, killing
//! and reaping, over a versioned protocol. A **shell** is a sandbox without a function: namespaces, a read-only root, two
//! listeners, a trusted init. A process is *prepared* in it: forked (by the launcher, or by a **template**, a booted Python
//! that has run no user code), walled in, looked at from outside, waiting. What is a function's is *assigned* to it later.
//!
//! - `launcher/`: shells, preparing and assigning, templates, walls, seccomp, cgroups, the disk behind `/tmp`, host uids;
//! - `host/`: seats (prepared processes), the pool, templates, invoking, Runtime API, private channel, output, figures;
//! - `runtimes`: which interpreters the host has; `variables`: what a function finds in its environment.
//!
//! Invariants: the server never runs code between clone and exec; no user code runs before the launcher has seen its
//! walls from outside; the end of the server, however sudden, is the end of every function.

mod egress;
mod host;
mod instance;
mod launcher;
mod protocol;
mod runtimes;
mod sys;
mod variables;

pub use host::{OpenError, ProcessEnvironment, ProcessHost, ProcessSettings, StartSteps};

/// The Runtime API's port on a function's loopback.
pub const RUNTIME_API_PORT: u16 = 9001;
/// The hidden first argument that makes a program the launcher.
pub const LAUNCHER_ARGUMENT: &str = "__launch";

/// Turns this process into the launcher when it was started as one. A program that uses [`ProcessHost`] with its own
/// executable calls this first thing in `main`, before it starts a thread.
pub fn run_if_launcher() {
    if std::env::args_os().nth(1).is_some_and(|argument| argument == LAUNCHER_ARGUMENT) {
        launcher::run()
    }
}
