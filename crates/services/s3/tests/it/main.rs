//! S3 through the service's trait, on simulated time and the memory store.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod buckets;
mod histories;
mod multipart;
mod support;
