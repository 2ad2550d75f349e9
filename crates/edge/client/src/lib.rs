//! A small signed client of the public API: what the `pileus` command speaks to a server with.
//!
//! - [`Settings`]: where the server is and who asks, read from the variables that every AWS tool reads;
//! - [`Client`]: sends one [`Call`] and returns the [`Answer`], or hands the answer's body on piece by piece;
//! - [`ClientError`]: what may go wrong before an answer is there. An answer with an error status is an [`Answer`].
//!
//! Guarantees: every request is signed (Signature Version 4), has a time limit, and an answer held in memory is at most
//! [`ANSWER_BYTES_MAX`] long. Absent here on purpose: TLS, retries, redirects, connection reuse, knowledge of a service.

mod call;
mod settings;

pub use call::{ANSWER_BYTES_MAX, Answer, Call, Client, ClientError};
pub use settings::{Endpoint, InvalidSettings, Settings};
