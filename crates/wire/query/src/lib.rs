//! The query protocol: parameters of a form in, an XML document out.
//!
//! [`Form`] reads the parameters; [`decode`] fills a shape from them (`Tags.member.1.Key=…`); [`encode`] and
//! [`encode_error`] write the answers.
//!
//! Guarantees: hostile bytes give an error, never a panic; the number and depth of parameters are bounded; every
//! character of an answer is escaped or legal in XML 1.0.

mod decode;
mod encode;
mod form;

pub use decode::decode;
pub use encode::{Answer, encode, encode_error};
pub use form::Form;
pub use wire_schema::Malformed;
