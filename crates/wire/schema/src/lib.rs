//! What a shape is on the wire: schema tables, the visitor and builder of each shape, constraints, errors.
//!
//! Generated model crates declare plain structs and, beside each, a [`Schema`] table and an implementation of [`Shape`]
//! (two matches over the member's index: one to read it, one to fill it). Codecs are written once over these: a codec
//! walks the table and asks the shape. The same walk validates ([`validate`]) and looks for members that are not
//! supported ([`refused_member`]). So the code is *shapes + codecs*, never *shapes × codecs*.
//!
//! Files: `schema` (tables) · `value` (reading and filling) · `survey` (what a decoder noticed that a struct cannot
//! hold: absent required members, unknown enum values) · `validate` (constraints and AWS's messages) · `marks` (members
//! that are refused) · `service` (operations, the `Model` and `Serve` traits) · `events` (answers that go on) · `stream` (bodies
//! that are handed on) · `text` (texts to values) · `error` (the
//! wire errors) · `macros`.
//!
//! Absent here: any protocol, any service, input and output.

mod error;
mod events;
mod macros;
mod marks;
mod pattern;
mod schema;
mod service;
mod stream;
mod survey;
mod text;
mod validate;
mod value;

pub use error::{ErrorSchema, Role, ServiceError};
pub use events::{EventSource, EventStream, Events};
pub use marks::refused_member;
pub use pattern::Pattern;
pub use schema::{Kind, Location, Mark, Member, Schema, TimestampFormat, Tolerated};
pub use service::{
    Class, HttpBinding, Model, Operation, Protocol, Segment, Serve, ServiceSchema, UnsupportedOperation,
};
pub use stream::Streaming;
pub use survey::{Seen, Step, Survey};
pub use text::{Malformed, fill_text};
pub use validate::{Offender, Violation, summary, validate};
pub use value::{Cell, Enumeration, List, Map, Place, Shape, Value};
