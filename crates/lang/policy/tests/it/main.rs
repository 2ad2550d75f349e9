//! Policy documents through the crate's public face.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod conditions;
mod decisions;
mod documents;
mod hostile;
