//! JSON patterns: `{ ($.user.id = 1 || $.users[*].email = "*@example.com") && $.error NOT EXISTS && $.dry IS FALSE }`.
//!
//! A selector starts at the root `$` and steps by `.name`, `['any name']`, `[3]` or `[*]` (any element: AWS allows one in a
//! selector and three in a pattern). A comparison holds only for a string, number or boolean that is there: neither `=` nor
//! `!=` holds for what is absent, null, an array or an object. An event that is not JSON matches nothing.

use serde_json::Value;

use crate::{
    InvalidPattern,
    cursor::Cursor,
    expression::{self, Expression},
    operand::{Comparison, Number},
};

const WILDCARDS_IN_SELECTOR_MAX: usize = 1;
const WILDCARDS_IN_PATTERN_MAX: usize = 3;

#[derive(Debug, Clone)]
pub(crate) struct Condition(Expression<Test>);

#[derive(Debug, Clone)]
struct Test {
    selector: Vec<Step>,
    check: Check,
}

#[derive(Debug, Clone)]
enum Step {
    Property(String),
    Element(usize),
    AnyElement,
}

#[derive(Debug, Clone)]
enum Check {
    Compares(Comparison),
    IsNull,
    IsTrue,
    IsFalse,
    NotExists,
}

impl Condition {
    pub(crate) fn matches(&self, message: &str) -> bool {
        if !message.trim_start().starts_with(['{', '[']) {
            return false;
        }
        let Ok(event) = serde_json::from_str::<Value>(message) else { return false };
        self.0.holds(&|test| test.holds(&event))
    }
}

impl Test {
    fn holds(&self, event: &Value) -> bool {
        match &self.check {
            Check::Compares(comparison) => any(event, &self.selector, &|value| compares(comparison, value)),
            Check::IsNull => any(event, &self.selector, &Value::is_null),
            Check::IsTrue => any(event, &self.selector, &|value| value.as_bool() == Some(true)),
            Check::IsFalse => any(event, &self.selector, &|value| value.as_bool() == Some(false)),
            Check::NotExists => !any(event, &self.selector, &|_| true),
        }
    }
}

/// Whether something that the selector reaches passes. Depth is bounded by the selector, breadth by its one wildcard.
fn any(value: &Value, selector: &[Step], passes: &impl Fn(&Value) -> bool) -> bool {
    let Some((step, rest)) = selector.split_first() else { return passes(value) };
    match step {
        Step::Property(name) => value.get(name.as_str()).is_some_and(|inner| any(inner, rest, passes)),
        Step::Element(index) => value.get(*index).is_some_and(|inner| any(inner, rest, passes)),
        Step::AnyElement => {
            value.as_array().is_some_and(|elements| elements.iter().any(|inner| any(inner, rest, passes)))
        }
    }
}

fn compares(comparison: &Comparison, value: &Value) -> bool {
    match value {
        Value::String(text) => comparison.holds(text, None),
        Value::Bool(flag) => comparison.holds(if *flag { "true" } else { "false" }, None),
        Value::Number(number) => {
            let text = number.to_string();
            comparison.holds(&text, Number::parse(&text))
        }
        Value::Null | Value::Array(_) | Value::Object(_) => false,
    }
}

pub(crate) fn compile(mut cursor: Cursor<'_>) -> Result<Condition, InvalidPattern> {
    let mut wildcard_count = 0;
    let mut parse_test = |cursor: &mut Cursor<'_>| {
        let test = Test { selector: parse_selector(cursor)?, check: parse_check(cursor)? };
        let wildcards = test.selector.iter().filter(|step| matches!(step, Step::AnyElement)).count();
        wildcard_count += wildcards;
        if wildcards > WILDCARDS_IN_SELECTOR_MAX || wildcard_count > WILDCARDS_IN_PATTERN_MAX {
            return Err(InvalidPattern::Syntax);
        }
        Ok(test)
    };
    let expression = expression::parse(&mut cursor, &mut parse_test, 0)?;
    cursor.skip_spaces();
    if cursor.is_at_end() { Ok(Condition(expression)) } else { Err(cursor.unexpected()) }
}

fn parse_selector(cursor: &mut Cursor<'_>) -> Result<Vec<Step>, InvalidPattern> {
    if !cursor.rest().starts_with("$.") && !cursor.rest().starts_with("$[") {
        return Err(cursor.unexpected());
    }
    let start = Cursor::new(cursor.rest());
    cursor.take("$");
    let mut steps = Vec::new();
    loop {
        let dotted = cursor.take(".");
        if cursor.take("[") {
            steps.push(parse_bracket(cursor)?);
        } else if dotted {
            let name = cursor.take_while(|c| c.is_alphanumeric() || matches!(c, '_' | '-'));
            if name.is_empty() {
                return Err(start.unexpected());
            }
            steps.push(Step::Property(name.to_owned()));
        } else {
            return Ok(steps);
        }
    }
}

/// What follows an opening bracket: `3]`, `*]`, `'name']` or `"name"]`.
fn parse_bracket(cursor: &mut Cursor<'_>) -> Result<Step, InvalidPattern> {
    let step = if cursor.take("*") {
        Step::AnyElement
    } else if cursor.peek() == Some('"') {
        Step::Property(cursor.take_quoted()?)
    } else if cursor.take("'") {
        let name = cursor.take_while(|c| c != '\'').to_owned();
        if !cursor.take("'") {
            return Err(InvalidPattern::Syntax);
        }
        Step::Property(name)
    } else {
        let index = cursor.take_while(|c| c.is_ascii_digit());
        Step::Element(index.parse().map_err(|_| InvalidPattern::Syntax)?)
    };
    if cursor.take("]") { Ok(step) } else { Err(InvalidPattern::Syntax) }
}

fn parse_check(cursor: &mut Cursor<'_>) -> Result<Check, InvalidPattern> {
    cursor.skip_spaces();
    if cursor.take_word("IS") {
        cursor.skip_spaces();
        let checks = [("NULL", Check::IsNull), ("TRUE", Check::IsTrue), ("FALSE", Check::IsFalse)];
        let check = checks.into_iter().find(|(word, _)| cursor.take_word(word));
        return check.map(|(_, check)| check).ok_or(InvalidPattern::Syntax);
    }
    if cursor.take_word("NOT") {
        cursor.skip_spaces();
        return if cursor.take_word("EXISTS") { Ok(Check::NotExists) } else { Err(InvalidPattern::Syntax) };
    }
    Comparison::parse(cursor).map(Check::Compares)
}
