//! The right-hand side of a comparison, and the comparison itself: `= 4*`, `!= "a b"`, `>= 1.5e3`, `= %^4\d\d$%`.
//!
//! An asterisk is a wildcard only as the first or the last character; inside it is an asterisk (AWS: `Ev*ent` matches
//! only `Ev*ent`). An operand without quotes that reads as a number compares by value with numbers and by text with texts.

use std::cmp::Ordering;

use crate::{
    InvalidPattern,
    cursor::Cursor,
    regular::{self, Regular},
};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Operator {
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

/// A number as far as it can be kept exactly.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Number {
    Integer(i128),
    Float(f64),
}

impl Number {
    /// `+1`, `-2.5`, `10e-3`: AWS's NUMBER. Not `inf`, `nan` or an empty text.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        if !text.bytes().all(|b| b.is_ascii_digit() || matches!(b, b'+' | b'-' | b'.' | b'e' | b'E')) {
            return None;
        }
        match text.parse() {
            Ok(integer) => Some(Self::Integer(integer)),
            Err(_) => text.parse::<f64>().ok().filter(|float| float.is_finite()).map(Self::Float),
        }
    }

    fn as_f64(self) -> f64 {
        match self {
            Self::Integer(integer) => integer as f64,
            Self::Float(float) => float,
        }
    }

    fn compare(self, other: Self) -> Option<Ordering> {
        match (self, other) {
            (Self::Integer(left), Self::Integer(right)) => Some(left.cmp(&right)),
            (left, right) => left.as_f64().partial_cmp(&right.as_f64()),
        }
    }
}

#[derive(Debug, Clone)]
pub(crate) enum Operand {
    Text { text: String, any_before: bool, any_after: bool, number: Option<Number> },
    Regular(Regular),
}

/// An operator and what stands to its right.
#[derive(Debug, Clone)]
pub(crate) struct Comparison {
    operator: Operator,
    operand: Operand,
}

impl Comparison {
    pub(crate) fn parse(cursor: &mut Cursor<'_>) -> Result<Self, InvalidPattern> {
        cursor.skip_spaces();
        let operators = [
            ("!=", Operator::NotEqual),
            ("<=", Operator::LessOrEqual),
            (">=", Operator::GreaterOrEqual),
            ("=", Operator::Equal),
            ("<", Operator::Less),
            (">", Operator::Greater),
        ];
        let Some((_, operator)) = operators.into_iter().find(|(token, _)| cursor.take(token)) else {
            return Err(cursor.unexpected());
        };
        cursor.skip_spaces();
        let operand = Operand::parse(cursor)?;
        let ordered = !matches!(operator, Operator::Equal | Operator::NotEqual);
        if ordered && !matches!(operand, Operand::Text { number: Some(_), .. }) {
            return Err(InvalidPattern::Syntax);
        }
        Ok(Self { operator, operand })
    }

    /// Compares a text; `number` is its value when the text is to be taken as a number too.
    pub(crate) fn holds(&self, text: &str, number: Option<Number>) -> bool {
        let order = || match (&self.operand, number) {
            (Operand::Text { number: Some(right), .. }, Some(left)) => left.compare(*right),
            _ => None,
        };
        match self.operator {
            Operator::Equal => order() == Some(Ordering::Equal) || self.operand.is_text(text),
            Operator::NotEqual => order() != Some(Ordering::Equal) && !self.operand.is_text(text),
            Operator::Less => order() == Some(Ordering::Less),
            Operator::LessOrEqual => matches!(order(), Some(Ordering::Less | Ordering::Equal)),
            Operator::Greater => order() == Some(Ordering::Greater),
            Operator::GreaterOrEqual => matches!(order(), Some(Ordering::Greater | Ordering::Equal)),
        }
    }
}

impl Operand {
    fn parse(cursor: &mut Cursor<'_>) -> Result<Self, InvalidPattern> {
        match cursor.peek() {
            Some('"') => Ok(Self::text(&cursor.take_quoted()?, false)),
            Some('%') => Ok(Self::Regular(regular::compile(cursor.take_regex()?)?)),
            _ => {
                let bare = cursor.take_while(is_bare);
                if bare.is_empty() {
                    return Err(cursor.unexpected());
                }
                Ok(Self::text(bare, true))
            }
        }
    }

    fn text(text: &str, may_be_number: bool) -> Self {
        let number = if may_be_number { Number::parse(text) } else { None };
        let (any_before, inner) = text.strip_prefix('*').map_or((false, text), |rest| (true, rest));
        let (any_after, inner) = inner.strip_suffix('*').map_or((false, inner), |rest| (true, rest));
        // A lone asterisk is both.
        let any_after = any_after || (any_before && inner.is_empty());
        Self::Text { text: inner.to_owned(), any_before, any_after, number }
    }

    fn is_text(&self, actual: &str) -> bool {
        match self {
            Self::Text { text, any_before: false, any_after: false, .. } => actual == text,
            Self::Text { text, any_before: true, any_after: false, .. } => actual.ends_with(text.as_str()),
            Self::Text { text, any_before: false, any_after: true, .. } => actual.starts_with(text.as_str()),
            Self::Text { text, any_before: true, any_after: true, .. } => {
                memchr::memmem::find(actual.as_bytes(), text.as_bytes()).is_some()
            }
            Self::Regular(regular) => regular.is_match(actual),
        }
    }
}

fn is_bare(character: char) -> bool {
    character.is_alphanumeric() || matches!(character, '_' | '-' | '.' | '*' | '+' | ':' | '/' | '#')
}
