//! What a tree means: a value, a condition, an action of an update. Conditions and sources are those of the native
//! expressions, so whatever is evaluated is evaluated by the same code.

use std::collections::BTreeSet;

use super::{
    malformed,
    token::At,
    tree::{Node, Tree},
};
use crate::{
    Comparator, Condition, Invalid, Item, NESTING_MAX, NumberError, Operand, Path, Type, Value,
    update::{Action, Source as Origin},
};

/// How many operands `IN` takes (AWS: 100).
const IN_MAX: usize = 100;

/// What trees mean, given the parameters.
pub(super) struct Meaning<'a> {
    pub(super) parameters: &'a [Value],
}

impl Meaning<'_> {
    /// A value.
    pub(super) fn value(&self, tree: &Tree) -> Result<Value, Invalid> {
        self.value_under(tree, &mut "root".to_owned(), 0)
    }

    fn parameter(&self, position: usize) -> Result<Value, Invalid> {
        let missing = || Invalid("Number of parameters in request and statement don't match.".to_owned());
        self.parameters.get(position).cloned().ok_or_else(missing)
    }

    fn value_under(&self, tree: &Tree, key: &mut String, depth: usize) -> Result<Value, Invalid> {
        if depth > NESTING_MAX {
            return Err(Invalid(
                "Nesting Levels have exceeded supported limits: Attributes in the item have nested levels beyond supported \
                 limit"
                    .to_owned(),
            ));
        }
        Ok(match &tree.node {
            Node::Text(text) => Value::S(text.clone()),
            Node::Number(text) => {
                Value::N(text.parse().map_err(|error: NumberError| Invalid(format!("{error} under {key}")))?)
            }
            Node::Bool(value) => Value::Bool(*value),
            Node::Null => Value::Null,
            Node::Parameter(position) => self.parameter(*position)?,
            Node::List(items) => {
                let mut list = Vec::new();
                for (index, item) in items.iter().enumerate() {
                    list.push(self.below(item, key, &format!("[{index}]"), depth)?);
                }
                Value::L(list)
            }
            Node::Bag(items) => self.set(items, key, depth)?,
            Node::Struct(entries) => {
                let mut map = Item::new();
                for (name, entry) in entries {
                    let Node::Text(name) = &name.node else {
                        return Err(Invalid(format!("Unexpected path component at {}", name.at)));
                    };
                    let value = self.below(entry, key, &format!(".{name}"), depth)?;
                    if map.insert(name.clone(), value).is_some() {
                        return Err(Invalid(format!("Duplicate key {name} under {key} at {}", tree.at)));
                    }
                }
                Value::M(map)
            }
            Node::Call(name, _) => return Err(unsupported(name, key, tree.at)),
            Node::Path(path) => return Err(unsupported(path.head(), key, tree.at)),
            other => return Err(unsupported(other.operation(), key, tree.at)),
        })
    }

    /// A value within another. A number at the top of an item is still said to be "under root", as AWS has it.
    fn below(&self, tree: &Tree, key: &mut String, step: &str, depth: usize) -> Result<Value, Invalid> {
        let length = key.len();
        if depth > 0 || !step.starts_with('.') {
            key.push_str(step);
        }
        let value = self.value_under(tree, key, depth + 1);
        key.truncate(length);
        value
    }

    fn set(&self, items: &[Tree], key: &mut String, depth: usize) -> Result<Value, Invalid> {
        let values = items.iter().map(|item| self.value_under(item, key, depth + 1));
        let values: Vec<Value> = values.collect::<Result<_, _>>()?;
        let Some(first) = values.first() else { return Err(Invalid("Empty bags are not supported".to_owned())) };
        let first = first.r#type();
        if let Some(other) = values.iter().map(Value::r#type).find(|r#type| *r#type != first || !first.is_ordered()) {
            let of = match first {
                Type::N => "Number",
                Type::B => "Binary",
                _ => "String",
            };
            return Err(Invalid(format!("Unexpected data type {} in {of} Set under key {key}", other.long_name())));
        }
        let count = values.len();
        let written: Vec<String> = values.iter().map(said).collect();
        let (mut texts, mut numbers, mut bytes) = (BTreeSet::new(), BTreeSet::new(), BTreeSet::new());
        for value in values {
            match value {
                Value::S(text) => drop(texts.insert(text)),
                Value::N(number) => drop(numbers.insert(number)),
                Value::B(blob) => drop(bytes.insert(blob)),
                _ => {}
            }
        }
        if texts.len() + numbers.len() + bytes.len() < count {
            return Err(Invalid(format!(
                "One or more parameter values were invalid: Input collection [{}] contains duplicates.",
                written.join(", ")
            )));
        }
        Ok(match first {
            Type::N => Value::Ns(numbers),
            Type::B => Value::Bs(bytes),
            _ => Value::Ss(texts),
        })
    }

    /// A condition.
    pub(super) fn condition(&self, tree: &Tree) -> Result<Condition, Invalid> {
        match &tree.node {
            Node::Binary("and", left, right) => self.joined(left, right, true),
            Node::Binary("or", left, right) => self.joined(left, right, false),
            Node::Binary("in", left, right) => self.within(left, right),
            Node::Binary("like", ..) => Err(Invalid(format!("Unsupported operator: LIKE at {}", tree.at))),
            Node::Binary(operator, left, right) => {
                let Some(comparator) = Comparator::of(operator) else {
                    return Err(Invalid(format!("Unsupported operator: {operator} at {}", tree.at)));
                };
                let (left, right) = (self.operand(left)?, self.operand(right)?);
                if !matches!(comparator, Comparator::Equal | Comparator::NotEqual) {
                    check_ordered(operator, [&left, &right])?;
                }
                Ok(Condition::Compare(comparator, left, right))
            }
            Node::Not(inner) => Ok(Condition::Not(Box::new(self.condition(inner)?))),
            Node::Between(operand, low, high) => {
                let (operand, low, high) = (self.operand(operand)?, self.operand(low)?, self.operand(high)?);
                check_ordered("BETWEEN", [&operand, &low, &high])?;
                check_bounds(&low, &high)?;
                Ok(Condition::Between(operand, low, high))
            }
            Node::Is(inner, name) => self.is(inner, name),
            Node::Call(name, arguments) => self.function(name, arguments, tree.at),
            Node::Path(_) => Err(Invalid(format!("Unexpected path component at {}", tree.at))),
            other => Err(Invalid(format!("Unsupported operation: {} at {}", other.operation(), tree.at))),
        }
    }

    /// A chain of the same operator becomes one list, so that its depth is not the number of its parts.
    fn joined(&self, left: &Tree, right: &Tree, all: bool) -> Result<Condition, Invalid> {
        let mut parts = Vec::new();
        for side in [left, right] {
            match (self.condition(side)?, all) {
                (Condition::And(more), true) | (Condition::Or(more), false) => parts.extend(more),
                (other, _) => parts.push(other),
            }
        }
        Ok(if all { Condition::And(parts) } else { Condition::Or(parts) })
    }

    fn within(&self, left: &Tree, right: &Tree) -> Result<Condition, Invalid> {
        let left = self.operand(left)?;
        let others: Vec<Operand> = match &right.node {
            Node::List(items) | Node::Bag(items) => {
                items.iter().map(|item| self.operand(item)).collect::<Result<_, _>>()?
            }
            Node::Parameter(position) => match self.parameter(*position)? {
                Value::L(list) => list.into_iter().map(Operand::Value).collect(),
                other => vec![Operand::Value(other)],
            },
            // One in parentheses.
            _ => vec![self.operand(right)?],
        };
        match others.len() {
            0 => Err(malformed("Unexpected term")),
            count if count > IN_MAX => {
                Err(Invalid(format!("The IN operator is provided with too many operands; number of operands: {count}")))
            }
            _ => Ok(Condition::In(left, others)),
        }
    }

    fn is(&self, inner: &Tree, name: &str) -> Result<Condition, Invalid> {
        let operand = self.operand(inner)?;
        let r#type = match name {
            "missing" => {
                return match operand {
                    Operand::Path(path) => Ok(Condition::NotExists(path)),
                    _ => Err(requires_path("IS MISSING")),
                };
            }
            "null" => Type::Null,
            "bool" | "boolean" => Type::Bool,
            "char" | "character" | "varchar" | "string" | "symbol" | "clob" => Type::S,
            "blob" => Type::B,
            "list" => Type::L,
            "struct" | "tuple" => Type::M,
            "timestamp" | "date" | "time" | "sexp" | "bag" => {
                return Err(Invalid("Unsupported operation: IsType".to_owned()));
            }
            _ => Type::N,
        };
        Ok(Condition::HasType(operand, r#type))
    }

    fn operand(&self, tree: &Tree) -> Result<Operand, Invalid> {
        match &tree.node {
            Node::Path(path) => Ok(Operand::Path(path.clone())),
            Node::Call(name, arguments) if name == "size" => {
                let [argument] = arguments.as_slice() else { return Err(wrong_count(name, arguments.len())) };
                let inner = self.operand(argument)?;
                match &inner {
                    Operand::Value(Value::N(_) | Value::Bool(_) | Value::Null) => Err(wrong_type(name, &inner)),
                    _ => Ok(Operand::Size(Box::new(inner))),
                }
            }
            Node::Call(name, _) => Err(Invalid(format!("Unrecognized function: {name} at {}", tree.at))),
            Node::Binary(operator, ..) => Err(Invalid(format!("Unsupported operator: {operator} at {}", tree.at))),
            Node::Missing => Err(Invalid(format!("Unsupported operation: LiteralMissing at {}", tree.at))),
            _ => self.value(tree).map(Operand::Value),
        }
    }

    fn function(&self, name: &str, arguments: &[Tree], at: At) -> Result<Condition, Invalid> {
        let operands = |wanted: usize| -> Result<Vec<Operand>, Invalid> {
            if arguments.len() != wanted {
                return Err(wrong_count(name, arguments.len()));
            }
            arguments.iter().map(|argument| self.operand(argument)).collect()
        };
        let pair = |check: fn(&str, &Operand) -> Result<(), Invalid>| {
            let mut both = operands(2)?.into_iter();
            match (both.next(), both.next()) {
                (Some(left), Some(right)) => {
                    check(name, &left)?;
                    check(name, &right)?;
                    Ok((left, right))
                }
                _ => Err(wrong_count(name, 0)),
            }
        };
        match name {
            "attribute_exists" | "attribute_not_exists" => match operands(1)?.pop() {
                Some(Operand::Path(path)) if name == "attribute_exists" => Ok(Condition::Exists(path)),
                Some(Operand::Path(path)) => Ok(Condition::NotExists(path)),
                _ => Err(requires_path(name)),
            },
            "missing" => match operands(1)?.pop() {
                Some(Operand::Path(path)) => Ok(Condition::NotExists(path)),
                _ => Err(requires_path("MISSING")),
            },
            "begins_with" => {
                let (whole, part) = pair(|name, operand| match operand {
                    Operand::Value(Value::S(_) | Value::B(_)) | Operand::Path(_) => Ok(()),
                    _ => Err(wrong_type(name, operand)),
                })?;
                Ok(Condition::BeginsWith(whole, part))
            }
            "contains" => pair(|_, _| Ok(())).map(|(whole, part)| Condition::Contains(whole, part)),
            "attribute_type" => {
                let (operand, r#type) = pair(|_, _| Ok(()))?;
                match &r#type {
                    Operand::Value(Value::S(text)) => match Type::named(text) {
                        Some(r#type) => Ok(Condition::HasType(operand, r#type)),
                        None => Err(Invalid(format!(
                            "Invalid attribute type name found; type: {text}, valid types: \
                             {{B,NULL,SS,BOOL,L,BS,N,NS,S,M}}"
                        ))),
                    },
                    other => Err(wrong_type(name, other)),
                }
            }
            "size" => Err(Invalid(format!(
                "The function is not allowed to be used this way in an expression; function: {name}"
            ))),
            _ => Err(Invalid(format!("Unrecognized function: {name} at {at}"))),
        }
    }

    /// `SET path = …`.
    pub(super) fn action(&self, path: Path, tree: &Tree) -> Result<Action, Invalid> {
        let Node::Call(name, arguments) = &tree.node else { return Ok(Action::Set(path, self.source(tree)?)) };
        let delete = match name.as_str() {
            "set_add" => false,
            "set_delete" => true,
            _ => return Ok(Action::Set(path, self.source(tree)?)),
        };
        let upper = name.to_ascii_uppercase();
        let [first, second] = arguments.as_slice() else {
            return Err(Invalid(format!("{upper} must have exactly two arguments at {}", tree.at)));
        };
        if !matches!(&first.node, Node::Path(found) if *found == path) {
            return Err(Invalid(format!(
                "The first argument to {upper} must equal the assignment value at {}",
                tree.at
            )));
        }
        let no_set =
            || Invalid(format!("The second argument to {upper} must be a value with type SET at {}", first.at));
        if matches!(second.node, Node::Path(_) | Node::Call(..) | Node::Binary(..)) {
            return Err(no_set());
        }
        let value = self.value(second)?;
        if !value.r#type().is_set() {
            return Err(no_set());
        }
        Ok(if delete { Action::Delete(path, value) } else { Action::Add(path, value) })
    }

    fn source(&self, tree: &Tree) -> Result<Origin, Invalid> {
        match &tree.node {
            Node::Path(path) => Ok(Origin::Path(path.clone())),
            Node::Binary(operator @ ("+" | "-"), left, right) => {
                let (left, right) = (self.source(left)?, self.source(right)?);
                for side in [&left, &right] {
                    check_side(operator, side, Type::N)?;
                }
                let (left, right) = (Box::new(left), Box::new(right));
                Ok(if *operator == "+" { Origin::Plus(left, right) } else { Origin::Minus(left, right) })
            }
            Node::Binary(operator, ..) => Err(Invalid(format!("Unsupported operator: {operator} at {}", tree.at))),
            Node::Call(name, arguments) if name == "list_append" || name == "if_not_exists" => {
                let [left, right] = arguments.as_slice() else { return Err(wrong_count(name, arguments.len())) };
                let (left, right) = (self.source(left)?, self.source(right)?);
                if name == "list_append" {
                    for side in [&left, &right] {
                        check_side(name, side, Type::L)?;
                    }
                    return Ok(Origin::ListAppend(Box::new(left), Box::new(right)));
                }
                match left {
                    Origin::Path(path) => Ok(Origin::IfNotExists(path, Box::new(right))),
                    _ => Err(requires_path(name)),
                }
            }
            Node::Call(name, _) => Err(Invalid(format!("Unrecognized function: {name} at {}", tree.at))),
            _ => self.value(tree).map(Origin::Value),
        }
    }
}

/// As it stands in a message.
fn said(value: &Value) -> String {
    match value {
        Value::S(text) => text.clone(),
        Value::N(number) => number.to_string(),
        other => other.to_string(),
    }
}

fn unsupported(what: &str, key: &str, at: At) -> Invalid {
    Invalid(format!("Unsupported data type: {what} under key {key} at {at}"))
}

fn requires_path(function: &str) -> Invalid {
    Invalid(format!("Operator or function requires a document path; operator or function: {function}"))
}

fn wrong_count(function: &str, count: usize) -> Invalid {
    Invalid(format!(
        "Incorrect number of operands for operator or function; operator or function: {function}, number of operands: {count}"
    ))
}

fn wrong_type(function: &str, operand: &Operand) -> Invalid {
    let r#type = match operand {
        Operand::Value(value) => value.r#type(),
        Operand::Path(_) | Operand::Size(_) => Type::N,
    };
    Invalid(format!(
        "Incorrect operand type for operator or function; operator or function: {function}, operand type: {type}"
    ))
}

fn check_ordered<'o>(operator: &str, operands: impl IntoIterator<Item = &'o Operand>) -> Result<(), Invalid> {
    for operand in operands {
        if matches!(operand, Operand::Value(value) if !value.r#type().is_ordered()) {
            return Err(wrong_type(operator, operand));
        }
    }
    Ok(())
}

fn check_bounds(low: &Operand, high: &Operand) -> Result<(), Invalid> {
    let (Operand::Value(low), Operand::Value(high)) = (low, high) else { return Ok(()) };
    let wrong = match low.compare(high) {
        Some(std::cmp::Ordering::Greater) => "upper bound to be greater than or equal to lower bound",
        None if low.r#type() != high.r#type() => "same data type for lower and upper bounds",
        _ => return Ok(()),
    };
    Err(Invalid(format!(
        "The BETWEEN operator requires {wrong}; lower bound operand: AttributeValue: {low}, upper bound operand: \
         AttributeValue: {high}"
    )))
}

fn check_side(operator: &str, side: &Origin, wanted: Type) -> Result<(), Invalid> {
    match side {
        Origin::Value(value) if value.r#type() != wanted => Err(Invalid(format!(
            "Incorrect operand type for operator or function; operator or function: {operator}, operand type: {}",
            value.r#type()
        ))),
        _ => Ok(()),
    }
}
