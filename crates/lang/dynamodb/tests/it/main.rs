//! The language as a service uses it.

mod conditions;
mod hostile;
mod numbers;
mod support;
mod updates;
mod values;
