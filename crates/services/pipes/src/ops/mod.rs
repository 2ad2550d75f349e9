//! The operations.

mod pipes;
mod tags;
