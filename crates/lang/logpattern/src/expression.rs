//! `||`, `&&` and parentheses over any kind of condition, shared by the JSON and the space-delimited dialect.
//! `&&` binds closer than `||`. Guarantee: nests at most [`NESTING_MAX`] deep, so walking it needs a bounded stack.

use crate::{InvalidPattern, NESTING_MAX, cursor::Cursor};

#[derive(Debug, Clone)]
pub(crate) enum Expression<T> {
    Is(T),
    All(Vec<Self>),
    Any(Vec<Self>),
}

impl<T> Expression<T> {
    pub(crate) fn holds(&self, ask: &impl Fn(&T) -> bool) -> bool {
        match self {
            Self::Is(condition) => ask(condition),
            Self::All(parts) => parts.iter().all(|part| part.holds(ask)),
            Self::Any(parts) => parts.iter().any(|part| part.holds(ask)),
        }
    }
}

/// Parses an expression whose conditions `parse_condition` reads.
pub(crate) fn parse<'p, T>(
    cursor: &mut Cursor<'p>,
    parse_condition: &mut impl FnMut(&mut Cursor<'p>) -> Result<T, InvalidPattern>,
    depth: usize,
) -> Result<Expression<T>, InvalidPattern> {
    if depth > NESTING_MAX {
        return Err(InvalidPattern::Syntax);
    }
    let mut alternatives = Vec::new();
    loop {
        let mut parts = Vec::new();
        loop {
            cursor.skip_spaces();
            if cursor.take("(") {
                parts.push(parse(cursor, parse_condition, depth + 1)?);
                cursor.skip_spaces();
                if !cursor.take(")") {
                    return Err(InvalidPattern::Syntax);
                }
            } else {
                parts.push(Expression::Is(parse_condition(cursor)?));
            }
            cursor.skip_spaces();
            if !cursor.take("&&") {
                break;
            }
        }
        alternatives.push(single_or(parts, Expression::All));
        if !cursor.take("||") {
            return Ok(single_or(alternatives, Expression::Any));
        }
    }
}

fn single_or<T>(mut parts: Vec<Expression<T>>, many: fn(Vec<Expression<T>>) -> Expression<T>) -> Expression<T> {
    match parts.pop() {
        Some(only) if parts.is_empty() => only,
        last => {
            parts.extend(last);
            many(parts)
        }
    }
}
