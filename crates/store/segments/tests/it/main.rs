//! The log segments as their callers see them: order, durability, crashes, damage, a full disk.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking and says what it did")]

mod crash;
mod damage;
mod full_disk;
mod model;
mod reading;
mod support;
