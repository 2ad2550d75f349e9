//! The CloudWatch Logs filter-pattern language: compiled once, asked of every event.
//!
//! Three dialects, told apart by their first character (AWS, "Filter pattern syntax for metric filters, subscription
//! filters, filter log events, and Live Tail"):
//!
//! - terms: `ERROR -"timed out" ?retry %4\d\d%`                                            → `terms`
//! - fields of a space-delimited line: `[ip, user, ..., status=4*, bytes>1000]`            → `fields`
//! - properties of a JSON event: `{ $.status >= 500 && $.user.name NOT EXISTS }`           → `json`
//!
//! Pure: no input, output or clock. Guarantees: a pattern is at most [`PATTERN_LENGTH_MAX`] characters and nests at most
//! [`NESTING_MAX`] deep; asking it of an event takes time linear in the event and never panics, whatever the event holds.
//!
//! ```
//! # use lang_logpattern::Pattern;
//! let pattern = Pattern::compile("{ $.status = 5* && $.path != \"/health\" }").unwrap();
//! assert!(pattern.matches(r#"{"status": "503", "path": "/pay"}"#));
//! ```

mod cursor;
mod expression;
mod fields;
mod json;
mod operand;
mod regular;
mod terms;

use cursor::Cursor;

/// The longest pattern AWS takes, in characters.
pub const PATTERN_LENGTH_MAX: usize = 1024;
/// How deep parentheses may nest.
pub const NESTING_MAX: usize = 32;
/// How many regular expressions one pattern may hold (AWS's quota).
pub const REGEX_COUNT_MAX: usize = 2;

/// The text is not a pattern. Displayed, each variant is AWS's own message for it (`InvalidParameterException`).
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidPattern {
    /// A character that must stand inside double quotes, with those that follow it.
    #[error("Invalid character(s) in term '{0}'")]
    Characters(String),
    /// The closing brace or bracket is missing.
    #[error("If a filter pattern starts with '{open}' it must end with '{close}'")]
    Unclosed {
        /// The first character.
        open: char,
        /// The one that was expected at the end.
        close: char,
    },
    /// Anything else that the grammar or a bound refuses.
    #[error("Invalid filter pattern")]
    Syntax,
}

/// A compiled filter pattern.
#[derive(Debug, Clone)]
pub struct Pattern(Dialect);

#[derive(Debug, Clone)]
enum Dialect {
    Everything,
    Terms(terms::Terms),
    Fields(fields::Fields),
    Json(json::Condition),
}

impl Pattern {
    /// The pattern that every event matches (the empty text).
    #[must_use]
    pub fn everything() -> Self {
        Self(Dialect::Everything)
    }

    /// Compiles a pattern.
    ///
    /// # Errors
    /// [`InvalidPattern`], whose text is AWS's message, when the text is not a pattern or exceeds a bound.
    pub fn compile(text: &str) -> Result<Self, InvalidPattern> {
        if text.chars().count() > PATTERN_LENGTH_MAX {
            return Err(InvalidPattern::Syntax);
        }
        let text = text.trim();
        let dialect = match text.as_bytes().first() {
            None => Dialect::Everything,
            Some(b'{') => Dialect::Json(json::compile(enclosed(text, '{', '}')?)?),
            Some(b'[') => Dialect::Fields(fields::compile(enclosed(text, '[', ']')?)?),
            Some(_) => Dialect::Terms(terms::compile(text)?),
        };
        Ok(Self(dialect))
    }

    /// Whether an event's message matches.
    #[must_use]
    pub fn matches(&self, message: &str) -> bool {
        match &self.0 {
            Dialect::Everything => true,
            Dialect::Terms(terms) => terms.matches(message),
            Dialect::Fields(fields) => fields.matches(message),
            Dialect::Json(condition) => condition.matches(message),
        }
    }

    /// Whether it is known without looking that every event matches.
    #[must_use]
    pub fn matches_everything(&self) -> bool {
        matches!(self.0, Dialect::Everything)
    }

    /// A text that every matching message holds, if the pattern implies one: a reader may skip a block of messages in
    /// which it does not occur.
    #[must_use]
    pub fn required_text(&self) -> Option<&[u8]> {
        match &self.0 {
            Dialect::Terms(terms) => terms.required_text(),
            Dialect::Everything | Dialect::Fields(_) | Dialect::Json(_) => None,
        }
    }
}

fn enclosed(text: &str, open: char, close: char) -> Result<Cursor<'_>, InvalidPattern> {
    text.strip_prefix(open)
        .and_then(|rest| rest.strip_suffix(close))
        .map(Cursor::new)
        .ok_or(InvalidPattern::Unclosed { open, close })
}

#[cfg(test)]
mod tests;
