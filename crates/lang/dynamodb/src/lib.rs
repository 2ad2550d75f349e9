//! DynamoDB's values and languages: pure, no IO, no clock.
//!
//! | file | what |
//! |---|---|
//! | `number` | numbers of 38 digits, their arithmetic, order and text |
//! | `value` | attribute values and items, their sizes |
//! | `codec` | items as bytes |
//! | `token`, `parser`, `reserved` | expressions as tokens; what all grammars share; words that are no names |
//! | `placeholders` | `#names` and `:values`, and which of them are used |
//! | `path` | document paths; projections |
//! | `condition` | condition and filter expressions: grammar and evaluation |
//! | `key` | key conditions |
//! | `update` | update expressions: grammar and application |
//! | `partiql` | statements: the same conditions and updates in SQL's clothes |
//! | `legacy` | the parameters from before there were expressions, evaluated by the same code |
//!
//! Messages are AWS's: a text that no service would refuse differently. Everything is bounded: an expression has at most
//! 4 KB and 300 operators, values nest at most 32 levels.

mod codec;
mod condition;
mod key;
pub mod legacy;
mod number;
mod parser;
pub mod partiql;
mod path;
mod placeholders;
mod reserved;
mod token;
mod update;
mod value;

pub use codec::{Damaged, decode, encode};
pub use condition::{Comparator, Condition, Operand};
pub use key::{KeyCondition, KeyConditions};
pub use number::{DIGITS_MAX, Number, NumberError};
pub use path::{Element, Path, Projection};
pub use placeholders::Placeholders;
pub use reserved::is_reserved;
pub use token::EXPRESSION_BYTES_MAX;
pub use update::{Update, UpdateError};
pub use value::{ITEM_BYTES_MAX, Item, NESTING_MAX, Type, Value, item_size};

/// What is wrong with an expression or a parameter, in AWS's words.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Invalid(pub String);

impl Invalid {
    /// With `Invalid …Expression: ` before it.
    fn of(self, kind: &str) -> Self {
        Self(format!("Invalid {kind}: {}", self.0))
    }
}
