//! Space-delimited patterns: `[ip, user, ..., request=*html*, status=4* || status=5*, bytes>1000]`.
//!
//! A line is cut at white space; what stands between square brackets or double quotes is one field. Without an ellipsis the
//! line must have exactly the fields named; an ellipsis (at most one) stands for any number of them, also none.

use std::collections::VecDeque;

use crate::{
    InvalidPattern,
    cursor::Cursor,
    expression::{self, Expression},
    operand::{Comparison, Number},
};

type Field = Option<Expression<Comparison>>;

#[derive(Debug, Clone)]
pub(crate) struct Fields {
    leading: Vec<Field>,
    /// The fields after the ellipsis, when there is one.
    trailing: Option<Vec<Field>>,
}

impl Fields {
    pub(crate) fn matches(&self, message: &str) -> bool {
        let mut tokens = Tokens(message);
        for field in &self.leading {
            match tokens.next() {
                Some(token) if holds(field, token) => {}
                _ => return false,
            }
        }
        let Some(trailing) = &self.trailing else { return tokens.next().is_none() };
        let mut last = VecDeque::with_capacity(trailing.len() + 1);
        for token in tokens {
            last.push_back(token);
            if last.len() > trailing.len() {
                last.pop_front();
            }
        }
        last.len() == trailing.len() && trailing.iter().zip(last).all(|(field, token)| holds(field, token))
    }
}

fn holds(field: &Field, token: &str) -> bool {
    let number = || Number::parse(token);
    field.as_ref().is_none_or(|expression| expression.holds(&|comparison| comparison.holds(token, number())))
}

/// The fields of a line, in order.
struct Tokens<'m>(&'m str);

impl<'m> Iterator for Tokens<'m> {
    type Item = &'m str;

    fn next(&mut self) -> Option<&'m str> {
        let rest = self.0.trim_start();
        let close = match rest.chars().next()? {
            '[' => Some(']'),
            '"' => Some('"'),
            _ => None,
        };
        // An opening that is never closed is an ordinary character.
        let enclosed = close.and_then(|close| rest[1..].find(close));
        let (token, tail) = match enclosed {
            Some(length) => (&rest[1..=length], &rest[length + 2..]),
            None => rest.split_at(rest.find(char::is_whitespace).unwrap_or(rest.len())),
        };
        self.0 = tail;
        Some(token)
    }
}

pub(crate) fn compile(mut cursor: Cursor<'_>) -> Result<Fields, InvalidPattern> {
    let mut fields = Fields { leading: Vec::new(), trailing: None };
    loop {
        cursor.skip_spaces();
        if cursor.take("...") || cursor.take("…") {
            if fields.trailing.replace(Vec::new()).is_some() {
                return Err(InvalidPattern::Syntax);
            }
        } else {
            let field = parse_field(&mut cursor)?;
            fields.trailing.as_mut().unwrap_or(&mut fields.leading).push(field);
        }
        cursor.skip_spaces();
        if cursor.is_at_end() {
            return Ok(fields);
        }
        if !cursor.take(",") {
            return Err(cursor.unexpected());
        }
    }
}

fn is_name(character: char) -> bool {
    character.is_alphanumeric() || matches!(character, '_' | '-')
}

/// A name alone, a condition on it, or nothing: an unnamed field that takes any value.
fn parse_field(cursor: &mut Cursor<'_>) -> Result<Field, InvalidPattern> {
    if cursor.is_at_end() || cursor.rest().starts_with(',') {
        return Ok(None);
    }
    let name = cursor.rest().trim_start_matches(|c: char| c == '(' || c.is_whitespace());
    let name = &name[..name.find(|c| !is_name(c)).unwrap_or(name.len())];
    if name.is_empty() {
        return Err(cursor.unexpected());
    }
    if cursor.rest().strip_prefix(name).is_some_and(|rest| matches!(rest.trim_start().chars().next(), None | Some(',')))
    {
        cursor.take(name);
        return Ok(None);
    }
    let mut condition = |cursor: &mut Cursor<'_>| {
        // All conditions of one field speak of that field.
        if cursor.take_while(is_name) != name {
            return Err(InvalidPattern::Syntax);
        }
        Comparison::parse(cursor)
    };
    expression::parse(cursor, &mut condition, 0).map(Some)
}
