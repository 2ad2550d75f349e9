//! JSON documents, both directions, over the schema: what `json 1.0`, `json 1.1` and `rest-json` have in common.
//!
//! [`decode`] fills a shape straight from the text, without a tree of values in between; [`encode`] writes one. Where an
//! operation's name, its labels and headers travel is not known here (`wire-http` knows).
//!
//! Guarantees: hostile bytes give an error, never a panic; depth is bounded by the schema, and by 128 inside members that
//! no schema knows; a member that occurs twice is an error; `null` is absence.

mod decode;
mod encode;

pub use decode::{Malformed, decode};
pub use encode::{Members, encode, encode_error};
