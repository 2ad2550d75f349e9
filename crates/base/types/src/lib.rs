//! The nouns every floor shares.
//!
//! - [`AccountId`], [`Region`], [`Arn`]: who and where, validated once at the border and trusted afterwards;
//! - [`Timestamp`]: a wall-clock instant in milliseconds, with the three texts AWS uses for it;
//! - [`Fault`]: a failure that is *ours*, never the caller's. It is carried opaquely to the edge, logged there once with
//!   the request id, and answered as an internal error.
//!
//! Absent here on purpose: input and output, the clock, randomness, anything of a single service.

mod account;
mod arn;
mod fault;
mod region;
mod timestamp;

pub use account::{AccountId, InvalidAccountId};
pub use arn::{Arn, InvalidArn};
pub use fault::{Fault, FaultKind};
pub use region::{InvalidRegion, Region};
pub use timestamp::{InvalidTimestamp, Timestamp};
