//! Constraints: required, length, range, pattern, enum. Guarantee: the violations carry AWS's own words, in the model's
//! order, and their number and size are bounded.
//!
//! AWS's forms (recorded): a structure's member is reported where it stands (`targets.1.member.id`); items of a list of
//! texts or numbers and keys and values of a map are reported at the list or map, with all constraints of the item.

use std::fmt;

use crate::{Kind, Schema, Shape, Step, Survey, Value};

/// How many violations are reported.
const VIOLATIONS_MAX: usize = 32;
/// How much of an offending value is printed, in characters.
const PRINTED_MAX: usize = 16 * 1024;

/// A constraint that a value does not satisfy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// The member, as AWS prints it: `vpcConfig.subnetIds`.
    pub path: String,
    /// The model's name of the innermost member.
    pub member: &'static str,
    /// The value that offends.
    pub value: Offender,
    /// `Member must …`.
    pub constraint: String,
}

/// A value that offends, as AWS prints it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Offender {
    /// There is none.
    Null,
    /// It must not be printed.
    Sensitive,
    /// This.
    Text(String),
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Value ")?;
        match &self.value {
            Offender::Null => f.write_str("null ")?,
            Offender::Sensitive => {}
            Offender::Text(text) => write!(f, "'{text}' ")?,
        }
        write!(f, "at '{}' failed to satisfy constraint: {}", self.path, self.constraint)
    }
}

/// AWS's message for one or more violations.
#[must_use]
pub fn summary(violations: &[Violation]) -> String {
    let (noun, count) = (if violations.len() == 1 { "error" } else { "errors" }, violations.len());
    let each: Vec<String> = violations.iter().map(ToString::to_string).collect();
    format!("{count} validation {noun} detected: {}", each.join("; "))
}

/// All violations of `input`, given what its decoder noticed.
#[must_use]
pub fn validate(input: &dyn Shape, survey: &Survey) -> Vec<Violation> {
    let mut walk = Walk { survey, path: Vec::new(), found: Vec::new() };
    walk.structure(input);
    walk.found
}

struct Walk<'s> {
    survey: &'s Survey,
    path: Vec<Step>,
    found: Vec<Violation>,
}

impl Walk<'_> {
    fn structure(&mut self, shape: &dyn Shape) {
        for (index, member) in shape.schema().members().iter().enumerate() {
            self.path.push(Step::Member(member.name));
            let value = if self.survey.is_missing(&self.path) { None } else { shape.value(index) };
            match value {
                Some(value) => self.value(member.schema, value),
                None if member.required => self.report(Offender::Null, "Member must not be null".to_owned()),
                None => {}
            }
            self.path.pop();
        }
    }

    fn value(&mut self, schema: &'static Schema, value: Value<'_>) {
        let broken = self.broken(schema, value);
        if !broken.is_empty() {
            let printed = self.printed(schema, value);
            for constraint in broken {
                self.report(printed.clone(), constraint);
            }
        }
        match (&schema.kind, value) {
            (Kind::Structure { .. }, Value::Structure(shape)) => self.structure(shape),
            (Kind::List { member, .. }, Value::List(list)) => {
                if is_simple(member) {
                    return; // reported at the list, by `broken`
                }
                for index in 0..list.len() {
                    self.path.push(Step::Item(index));
                    self.item(member, list.item(index));
                    self.path.pop();
                }
            }
            (Kind::Map { value: schema, .. }, Value::Map(map)) if !is_simple(schema) && !map.is_empty() => {
                for (key, value) in map.entries() {
                    self.path.push(Step::Key(key.to_owned()));
                    self.item(schema, value);
                    self.path.pop();
                }
            }
            _ => {}
        }
    }

    fn item(&mut self, schema: &'static Schema, value: Option<Value<'_>>) {
        match value.filter(|_| !self.survey.is_missing(&self.path)) {
            Some(value) => self.value(schema, value),
            None => self.report(Offender::Null, "Member must not be null".to_owned()),
        }
    }

    /// The constraints of `schema` that `value`, which stands at the current path, does not satisfy.
    fn broken(&mut self, schema: &'static Schema, value: Value<'_>) -> Vec<String> {
        let mut broken = self.broken_self(schema, value);
        match (&schema.kind, value) {
            (Kind::List { member, items_required, .. }, Value::List(list)) if is_simple(member) => {
                let bad = (0..list.len())
                    .any(|index| list.item(index).is_some_and(|item| self.below(Step::Item(index), member, item)));
                if bad {
                    let mut all = constraints(member);
                    if *items_required {
                        all.push("Member must not be null".to_owned());
                    }
                    broken.push(format!("Member must satisfy constraint: [{}]", all.join(", ")));
                }
            }
            (Kind::Map { key, value: item, .. }, Value::Map(map)) => {
                if map.entries().any(|(text, _)| !self.broken_self(key, Value::String(text)).is_empty()) {
                    broken.push(format!("Map keys must satisfy constraint: [{}]", constraints(key).join(", ")));
                }
                let bad = is_simple(item)
                    && map.entries().any(|(key, value)| {
                        value.is_some_and(|value| self.below(Step::Key(key.to_owned()), item, value))
                    });
                if bad {
                    broken.push(format!("Map value must satisfy constraint: [{}]", constraints(item).join(", ")));
                }
            }
            _ => {}
        }
        broken
    }

    fn below(&mut self, step: Step, schema: &'static Schema, value: Value<'_>) -> bool {
        self.path.push(step);
        let broken = self.survey.is_missing(&self.path) || !self.broken_self(schema, value).is_empty();
        self.path.pop();
        broken
    }

    /// As `broken`, of the value itself only.
    fn broken_self(&self, schema: &'static Schema, value: Value<'_>) -> Vec<String> {
        let mut broken = Vec::new();
        if let Kind::Enum(values) = schema.kind {
            let known = match value {
                Value::String(text) => values.contains(&text),
                _ => true,
            };
            if !known || self.survey.unknown_at(&self.path).is_some() {
                broken.push(enum_constraint(values));
            }
            return broken;
        }
        if let (Some(pattern), Value::String(text)) = (schema.pattern, value)
            && !pattern.matches(text)
        {
            broken.push(format!("Member must satisfy regular expression pattern: {}", pattern.text()));
        }
        let above = schema.max.is_some_and(|max| measure(value).is_some_and(|size| size > max as f64));
        let below = schema.min.is_some_and(|min| measure(value).is_some_and(|size| size < min as f64));
        if above {
            broken.extend(max_constraint(schema));
        }
        if below {
            broken.extend(min_constraint(schema));
        }
        broken
    }

    fn report(&mut self, value: Offender, constraint: String) {
        if self.found.len() < VIOLATIONS_MAX {
            let member = self.path.iter().rev().find_map(|step| match step {
                Step::Member(name) => Some(*name),
                Step::Item(_) | Step::Key(_) => None,
            });
            let member = member.unwrap_or_default();
            self.found.push(Violation { path: printed_path(&self.path), member, value, constraint });
        }
    }

    fn printed(&mut self, schema: &'static Schema, value: Value<'_>) -> Offender {
        if is_sensitive(schema) {
            return Offender::Sensitive;
        }
        let mut text = String::new();
        self.print(schema, value, &mut text);
        if let Some((end, _)) = text.char_indices().nth(PRINTED_MAX) {
            text.truncate(end);
        }
        Offender::Text(text)
    }

    fn print(&mut self, schema: &'static Schema, value: Value<'_>, out: &mut String) {
        if out.len() > PRINTED_MAX * 4 {
            return;
        }
        if self.survey.is_missing(&self.path) {
            out.push_str("null");
            return;
        }
        if let Some(text) = self.survey.unknown_at(&self.path) {
            out.push_str(text);
            return;
        }
        match (value, &schema.kind) {
            (Value::String(text), _) => out.push_str(text),
            (Value::Boolean(value), _) => out.push_str(if value { "true" } else { "false" }),
            (Value::Integer(value), _) => out.push_str(&value.to_string()),
            (Value::Float(value), _) => out.push_str(&format!("{value:?}")),
            (Value::Double(value), _) => out.push_str(&format!("{value:?}")),
            (Value::Timestamp(value), _) => out.push_str(&value.to_iso8601()),
            // What a Java service prints for a buffer.
            (Value::Blob(bytes), _) => {
                let size = bytes.len();
                out.push_str(&format!("java.nio.HeapByteBuffer[pos=0 lim={size} cap={size}]"));
            }
            (Value::List(list), Kind::List { member, .. }) => {
                out.push('[');
                for index in 0..list.len() {
                    if index > 0 {
                        out.push_str(", ");
                    }
                    self.path.push(Step::Item(index));
                    if let Some(item) = list.item(index) {
                        self.print(member, item, out);
                    }
                    self.path.pop();
                }
                out.push(']');
            }
            (Value::Map(map), Kind::Map { value: schema, .. }) => {
                out.push('{');
                for (index, (key, value)) in map.entries().enumerate() {
                    if index > 0 {
                        out.push_str(", ");
                    }
                    out.push_str(key);
                    out.push('=');
                    self.path.push(Step::Key(key.to_owned()));
                    if let Some(value) = value {
                        self.print(schema, value, out);
                    }
                    self.path.pop();
                }
                out.push('}');
            }
            _ => out.push_str(schema.name),
        }
    }
}

/// Whether the value, its items, keys or values must not be printed.
fn is_sensitive(schema: &Schema) -> bool {
    schema.sensitive
        || match schema.kind {
            Kind::List { member, .. } => is_sensitive(member),
            Kind::Map { key, value, .. } => is_sensitive(key) || is_sensitive(value),
            _ => false,
        }
}

/// Neither a structure nor a list nor a map: reported at its container.
fn is_simple(schema: &Schema) -> bool {
    !matches!(schema.kind, Kind::Structure { .. } | Kind::List { .. } | Kind::Map { .. })
}

/// A length in characters, bytes, items or entries, or the number itself.
fn measure(value: Value<'_>) -> Option<f64> {
    match value {
        Value::String(text) => Some(text.chars().count() as f64),
        Value::Blob(bytes) => Some(bytes.len() as f64),
        Value::List(list) => Some(list.len() as f64),
        Value::Map(map) => Some(map.len() as f64),
        Value::Integer(value) => Some(value as f64),
        Value::Float(value) => Some(f64::from(value)),
        Value::Double(value) => Some(value),
        Value::Boolean(_) | Value::Timestamp(_) | Value::Structure(_) | Value::Events(_) | Value::Stream(_) => None,
    }
}

/// All constraints of a simple shape, in AWS's order.
fn constraints(schema: &Schema) -> Vec<String> {
    let mut all = Vec::new();
    if let Kind::Enum(values) = schema.kind {
        all.push(enum_constraint(values));
    }
    all.extend(max_constraint(schema));
    all.extend(min_constraint(schema));
    if let Some(pattern) = schema.pattern {
        all.push(format!("Member must satisfy regular expression pattern: {}", pattern.text()));
    }
    all
}

fn enum_constraint(values: &[&str]) -> String {
    format!("Member must satisfy enum value set: [{}]", values.join(", "))
}

fn max_constraint(schema: &Schema) -> Option<String> {
    schema.max.map(|max| format!("Member must have {} less than or equal to {max}", measured(schema)))
}

fn min_constraint(schema: &Schema) -> Option<String> {
    schema.min.map(|min| format!("Member must have {} greater than or equal to {min}", measured(schema)))
}

fn measured(schema: &Schema) -> &'static str {
    match schema.kind {
        Kind::Integer | Kind::Long | Kind::Float | Kind::Double => "value",
        _ => "length",
    }
}

/// `targets.1.member.id`: members begin in lower case, items count from 1.
fn printed_path(path: &[Step]) -> String {
    let mut text = String::new();
    for step in path {
        if !text.is_empty() {
            text.push('.');
        }
        match step {
            Step::Member(name) => {
                let mut chars = name.chars();
                text.extend(chars.next().map(|first| first.to_ascii_lowercase()));
                text.push_str(chars.as_str());
            }
            Step::Item(index) => text.push_str(&format!("{}.member", index + 1)),
            Step::Key(key) => text.push_str(&format!("{key}.member")),
        }
    }
    text
}

#[cfg(test)]
mod tests;
