//! The service through its trait, on simulated time and the memory store, which runs every body twice.

mod model;
mod support;
mod tables;
