//! The language as a service uses it.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on shall panic")]

mod conditions;
mod hostile;
mod numbers;
mod partiql;
mod support;
mod updates;
mod values;
