//! PartiQL in DynamoDB's dialect: a statement becomes the very same conditions, updates and projections that the native
//! operations have. Pure.
//!
//! | file | what |
//! |---|---|
//! | `token`, `tree` | a statement as tokens, its expressions as trees |
//! | `statement` | the statements: what is read and changed, where |
//! | `meaning` | what a tree means: a value, a condition, the source of an update |
//! | `plan` | which key a condition is for |
//!
//! Messages are AWS's, as recorded; positions in them are `line:column:length`, in characters from 1.

mod meaning;
mod plan;
mod statement;
mod token;
mod tree;

pub use plan::{Plan, key_of};
pub use statement::{Column, Delete, Insert, Returning, Select, Source, Statement, UpdateOf};
pub use token::STATEMENT_BYTES_MAX;

use crate::{Invalid, Value};

/// Reads a statement; every `?` stands for the next of the parameters.
///
/// # Errors
/// In AWS's words.
pub fn parse(text: &str, parameters: &[Value]) -> Result<Statement, Invalid> {
    statement::read(text, parameters)
}

/// AWS's envelope of what it cannot read.
fn malformed(detail: &str) -> Invalid {
    Invalid(format!("Statement wasn't well formed, can't be processed: {detail}"))
}
