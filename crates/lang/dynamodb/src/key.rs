//! Key conditions: which items of which collection a query is for. Both forms, `KeyConditionExpression` and the older
//! `KeyConditions`, become the same.

use std::collections::BTreeMap;

use crate::{Comparator, Condition, Invalid, Operand, Path, Placeholders, Value};

/// What a query demands of a key attribute.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeyCondition {
    /// A comparison; never `<>`.
    Compare(Comparator, Value),
    /// Between these, both included.
    Between(Value, Value),
    /// Begins with this.
    BeginsWith(Value),
}

/// By attribute.
pub type KeyConditions = BTreeMap<String, KeyCondition>;

impl KeyCondition {
    /// The values.
    pub fn values(&self) -> impl Iterator<Item = &Value> {
        let (first, second) = match self {
            Self::Compare(_, value) | Self::BeginsWith(value) => (value, None),
            Self::Between(low, high) => (low, Some(high)),
        };
        std::iter::once(first).chain(second)
    }

    /// Reads a `KeyConditionExpression`.
    ///
    /// # Errors
    /// In AWS's words.
    pub fn parse(text: &str, placeholders: &mut Placeholders<'_>) -> Result<KeyConditions, Invalid> {
        const KIND: &str = "KeyConditionExpression";
        let condition = Condition::parse(KIND, text, placeholders)?;
        let mut found = KeyConditions::new();
        collect(condition, &mut found)?;
        Ok(found)
    }

    /// Whether a value satisfies it.
    #[must_use]
    pub fn is_met(&self, value: &Value) -> bool {
        let key = || Operand::Value(value.clone());
        let condition = match self.clone() {
            Self::Compare(comparator, other) => Condition::Compare(comparator, key(), Operand::Value(other)),
            Self::Between(low, high) => Condition::Between(key(), Operand::Value(low), Operand::Value(high)),
            Self::BeginsWith(prefix) => Condition::BeginsWith(key(), Operand::Value(prefix)),
        };
        condition.is_met(&BTreeMap::new())
    }
}

fn operator(name: &str) -> Invalid {
    Invalid(format!("Invalid operator used in KeyConditionExpression: {name}"))
}

fn no_key(name: &str) -> Invalid {
    Invalid(format!(
        "Invalid condition in KeyConditionExpression: {name} operator must have the key attribute as its first operand"
    ))
}

fn collect(condition: Condition, found: &mut KeyConditions) -> Result<(), Invalid> {
    let (path, condition) = match condition {
        Condition::And(all) => return all.into_iter().try_for_each(|condition| collect(condition, found)),
        Condition::Or(_) => return Err(operator("OR")),
        Condition::Not(_) => return Err(operator("NOT")),
        Condition::In(..) => return Err(operator("IN")),
        Condition::Exists(_) => return Err(operator("attribute_exists")),
        Condition::NotExists(_) => return Err(operator("attribute_not_exists")),
        Condition::HasType(..) => return Err(operator("attribute_type")),
        Condition::Contains(..) => return Err(operator("contains")),
        Condition::Compare(Comparator::NotEqual, ..) => return Err(operator("<>")),
        Condition::Compare(comparator, left, right) => match (nested(left)?, nested(right)?) {
            (Operand::Path(path), Operand::Value(value)) => (path, KeyCondition::Compare(comparator, value)),
            (Operand::Value(value), Operand::Path(path)) => (path, KeyCondition::Compare(turned(comparator), value)),
            (Operand::Path(_), _) => {
                return Err(Invalid(
                    "Invalid condition in KeyConditionExpression: Multiple attribute names used in one condition"
                        .to_owned(),
                ));
            }
            _ => {
                return Err(Invalid(
                    "Invalid condition in KeyConditionExpression: No key attribute specified".to_owned(),
                ));
            }
        },
        Condition::Between(key, low, high) => match (nested(key)?, nested(low)?, nested(high)?) {
            (Operand::Path(path), Operand::Value(low), Operand::Value(high)) => {
                (path, KeyCondition::Between(low, high))
            }
            _ => return Err(no_key("BETWEEN")),
        },
        Condition::BeginsWith(key, prefix) => match (nested(key)?, nested(prefix)?) {
            (Operand::Path(path), Operand::Value(prefix)) => (path, KeyCondition::BeginsWith(prefix)),
            _ => return Err(no_key("begins_with")),
        },
    };
    if path.is_nested() {
        return Err(Invalid("KeyConditionExpressions cannot have conditions on nested attributes".to_owned()));
    }
    if found.insert(name_of(&path), condition).is_some() {
        return Err(Invalid("KeyConditionExpressions must only contain one condition per key".to_owned()));
    }
    Ok(())
}

fn name_of(path: &Path) -> String {
    path.head().to_owned()
}

fn nested(operand: Operand) -> Result<Operand, Invalid> {
    match operand {
        Operand::Size(_) => Err(Invalid("KeyConditionExpressions cannot contain nested operations".to_owned())),
        other => Ok(other),
    }
}

/// The comparator of `b ? a` that says what `a ? b` says.
pub(crate) fn turned(comparator: Comparator) -> Comparator {
    match comparator {
        Comparator::Less => Comparator::Greater,
        Comparator::LessOrEqual => Comparator::GreaterOrEqual,
        Comparator::Greater => Comparator::Less,
        Comparator::GreaterOrEqual => Comparator::LessOrEqual,
        same => same,
    }
}
