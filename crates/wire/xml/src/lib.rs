//! XML documents over the schema: the bodies of rest-xml, and the elements of query's answers.
//!
//! [`decode`] fills a shape from a document; [`encode`] writes one; [`element`], [`text`] and [`structure`] are the
//! pieces from which other documents (query's answers, errors) are put together.
//!
//! Guarantees: hostile bytes give an error, never a panic; no entity but the five of XML and character references is
//! known, so nothing expands; depth is bounded; an element that the schema lacks is an error, as it is for AWS, so nothing
//! that a client says is silently ignored. Every character of an answer is escaped or legal in XML 1.0.

mod decode;
mod encode;

pub use decode::decode;
pub use encode::{Root, Style, close, element, encode, open, structure, text};
