//! Event streams on the wire: `application/vnd.amazon.eventstream`.
//!
//! - [`Message`] and [`Header`]: a frame with its headers and payload; [`Message::encode`] writes one, [`Decoder`] reads
//!   any number of them from pieces of any size (clients, tests);
//! - [`body`]: the events of a model's stream ([`wire_schema::EventStream`]) as an answer's body, written as they come, in
//!   the task of who reads.
//!
//! Sources: "Amazon event stream" in the Smithy specification; the forms that botocore reads.
//! Guarantees: a frame that does not fit AWS's bounds is never written; what a decoder gives has passed both checksums; a
//! decoder holds at most one frame. Absent here: HTTP, channels, events from clients.

mod decode;
mod event;
mod frame;

pub use decode::{Decoder, Malformed};
pub use event::{body, event};
pub use frame::{HEADERS_BYTES_MAX, Header, Message, PAYLOAD_BYTES_MAX, TooLarge};

/// The type of such a body.
pub const CONTENT_TYPE: &str = "application/vnd.amazon.eventstream";
