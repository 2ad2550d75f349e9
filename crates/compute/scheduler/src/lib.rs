//! Placement, concurrency and keep-alive of execution environments.
//!
//! [`Scheduler`] is generic over the host that starts environments and over the [`Blueprint`] they are started from. An
//! invocation gets the most recently used idle environment of its function version, a provisioned one first, else a new
//! one; it is never queued behind a busy one. What comes first, freed or started, serves the waiter who came first.
//!
//! Map: `core` decides (pure, no clock, no tasks), `shell` performs (tasks, the one mutex), `keep_alive` is the
//! policy for idle environments, `limits` names every bound, `replay` (a feature) runs the core on a recorded load.
//!
//! Guarantees: no bound of [`Limits`] is ever exceeded by an admission; every caller of [`Scheduler::acquire`] gets an
//! environment, or a typed refusal, within [`Limits::wait_max`]; an environment of a retired version is never used by a
//! later call; a chain of functions that call one another never waits for itself (a start holds its slot for a bounded
//! time, and nobody waits for memory that something running holds); whatever one function asks for, another's next start
//! begins after at most one start of every function that waits.

mod core;
mod keep_alive;
mod limits;
#[cfg(feature = "replay")]
pub mod replay;
mod shell;
mod slots;
mod survive;

pub use core::{
    Concurrency, Counters, EnvironmentState, EnvironmentView, FunctionVersion, Provisioned, Snapshot, VersionKey,
    VersionView,
};

pub use keep_alive::{Expiry, Victims};
pub use limits::{Limits, MemoryProbe, Rate, Throttle};
pub use shell::{Blueprint, Lease, Ran, Refused, Scheduler};
pub use survive::survive;
