//! SQS through its generated trait and the dispatcher, on a simulated clock.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod dead_letters;
mod fifo;
mod histories;
mod hostile;
mod messages;
mod model;
mod queues;
mod redrive;
mod source;
mod support;
