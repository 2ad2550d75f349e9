//! Streams: what one side makes while the other reads it.
//!
//! - [`channel`]: a [`Sender`] and a [`Receiver`] of anything. Bounded: who makes waits for who reads; who makes learns
//!   when nobody reads any more, and who reads learns whether the end is the end or a [`Fault`];
//! - [`ByteStream`]: pieces of a body, from a channel or from anything that can be asked for its next [`Pieces`];
//! - [`Body`]: an answer's body, whole or a stream. Services return it, the gateway sends it.
//!
//! Absent here: HTTP (only the trait that makes a body one), sockets, timers.

mod body;
mod channel;

pub use body::{Body, ByteStream, Pieces, Spoilt};
pub use channel::{Receiver, Sender, channel};
