//! The parameters from before there were expressions: `Expected`, `KeyConditions`, `QueryFilter`, `ScanFilter`,
//! `AttributeUpdates`. They become conditions and updates, so that both forms are evaluated by the same code.

use crate::{
    Comparator, Condition, Invalid, KeyCondition, Operand, Path, Type, Update, Value, update::Action, update::Source,
};

/// `ComparisonOperator`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operator {
    /// `EQ`, `NE`, `LT`, `LE`, `GT`, `GE`.
    Compare(Comparator),
    /// `IN`.
    In,
    /// `BETWEEN`.
    Between,
    /// `NULL`: there is no such attribute.
    Null,
    /// `NOT_NULL`.
    NotNull,
    /// `CONTAINS`.
    Contains,
    /// `NOT_CONTAINS`.
    NotContains,
    /// `BEGINS_WITH`.
    BeginsWith,
}

impl Operator {
    /// AWS's word.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Compare(Comparator::Equal) => "EQ",
            Self::Compare(Comparator::NotEqual) => "NE",
            Self::Compare(Comparator::Less) => "LT",
            Self::Compare(Comparator::LessOrEqual) => "LE",
            Self::Compare(Comparator::Greater) => "GT",
            Self::Compare(Comparator::GreaterOrEqual) => "GE",
            Self::In => "IN",
            Self::Between => "BETWEEN",
            Self::Null => "NULL",
            Self::NotNull => "NOT_NULL",
            Self::Contains => "CONTAINS",
            Self::NotContains => "NOT_CONTAINS",
            Self::BeginsWith => "BEGINS_WITH",
        }
    }

    fn takes(self, count: usize) -> bool {
        match self {
            Self::Null | Self::NotNull => count == 0,
            Self::In => count > 0,
            Self::Between => count == 2,
            _ => count == 1,
        }
    }

    fn takes_type(self, r#type: Type) -> bool {
        match self {
            Self::Compare(Comparator::Equal | Comparator::NotEqual) | Self::Null | Self::NotNull => true,
            Self::BeginsWith => matches!(r#type, Type::S | Type::B),
            _ => r#type.is_ordered(),
        }
    }
}

/// The condition that an attribute compares so with these values.
///
/// # Errors
/// When the operator does not take so many values, or not of such types.
pub fn condition(attribute: &str, operator: Operator, values: Vec<Value>) -> Result<Condition, Invalid> {
    check(operator, &values)?;
    let path = || Path::attribute(attribute);
    let key = || Operand::Path(path());
    let mut values = values.into_iter().map(Operand::Value);
    let mut next = || values.next().unwrap_or(Operand::Value(Value::Null));
    Ok(match operator {
        Operator::Compare(comparator) => Condition::Compare(comparator, key(), next()),
        Operator::Between => Condition::Between(key(), next(), next()),
        Operator::Null => Condition::NotExists(path()),
        Operator::NotNull => Condition::Exists(path()),
        Operator::Contains => Condition::Contains(key(), next()),
        Operator::NotContains => Condition::And(vec![
            Condition::Exists(path()),
            Condition::Not(Box::new(Condition::Contains(key(), next()))),
        ]),
        Operator::BeginsWith => Condition::BeginsWith(key(), next()),
        Operator::In => Condition::In(key(), values.collect()),
    })
}

/// What a query demands of a key attribute.
///
/// # Errors
/// As [`condition`]; and when no query can be made of it.
pub fn key_condition(operator: Operator, values: Vec<Value>) -> Result<KeyCondition, Invalid> {
    check(operator, &values)?;
    let mut values = values.into_iter();
    match (operator, values.next(), values.next()) {
        (Operator::Compare(Comparator::NotEqual), ..) => {
            Err(Invalid("Attempted conditional constraint is not an indexable operation".to_owned()))
        }
        (Operator::Compare(comparator), Some(value), None) => Ok(KeyCondition::Compare(comparator, value)),
        (Operator::Between, Some(low), Some(high)) => Ok(KeyCondition::Between(low, high)),
        (Operator::BeginsWith, Some(prefix), None) => Ok(KeyCondition::BeginsWith(prefix)),
        _ => Err(Invalid("Attempted conditional constraint is not an indexable operation".to_owned())),
    }
}

fn check(operator: Operator, values: &[Value]) -> Result<(), Invalid> {
    let name = operator.as_str();
    if !operator.takes(values.len()) {
        return Err(Invalid(format!(
            "One or more parameter values were invalid: Invalid number of argument(s) for the {name} \
             ComparisonOperator"
        )));
    }
    if let Some(wrong) = values.iter().find(|value| !operator.takes_type(value.r#type())) {
        return Err(Invalid(format!(
            "One or more parameter values were invalid: ComparisonOperator {name} is not valid for {} AttributeValue \
             type",
            wrong.r#type()
        )));
    }
    let mut types = values.iter().map(Value::r#type);
    let first = types.next();
    if types.any(|other| Some(other) != first) {
        return Err(Invalid(
            "One or more parameter values were invalid: AttributeValues inside AttributeValueList must all be of the \
             same type"
                .to_owned(),
        ));
    }
    if let (Operator::Between, [low, high]) = (operator, values)
        && low.compare(high).is_some_and(std::cmp::Ordering::is_gt)
    {
        return Err(Invalid(format!(
            "The BETWEEN condition was provided a range where the lower bound is greater than the upper bound; lower bound \
             operand: AttributeValue: {low}, upper bound operand: AttributeValue: {high}"
        )));
    }
    Ok(())
}

/// `AttributeUpdates`' action.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UpdateAction {
    /// Sets it.
    Put,
    /// Adds to a number, a set or a list.
    Add,
    /// Removes it, or elements of a set.
    Delete,
}

/// The update that does this to these attributes.
///
/// # Errors
/// When an action lacks a value, or does not take one of its type.
pub fn update(attributes: impl IntoIterator<Item = (String, UpdateAction, Option<Value>)>) -> Result<Update, Invalid> {
    let mut actions = Vec::new();
    for (name, action, value) in attributes {
        let path = Path::attribute(&name);
        let refused = |action: &str, r#type: Type| {
            Err(Invalid(format!(
                "One or more parameter values were invalid: {action} is not supported for the type {type}"
            )))
        };
        actions.push(match (action, value) {
            (UpdateAction::Put, Some(value)) => Action::Set(path, Source::Value(value)),
            (UpdateAction::Delete, None) => Action::Remove(path),
            (UpdateAction::Delete, Some(value)) if value.r#type().is_set() => Action::Delete(path, value),
            (UpdateAction::Delete, Some(value)) => return refused("DELETE action with value", value.r#type()),
            (UpdateAction::Add, Some(value))
                if value.r#type().is_set() || matches!(value.r#type(), Type::N | Type::L) =>
            {
                Action::Add(path, value)
            }
            (UpdateAction::Add, Some(value)) => return refused("ADD action", value.r#type()),
            (UpdateAction::Put | UpdateAction::Add, None) => {
                return Err(Invalid(
                    "One or more parameter values were invalid: Only DELETE action is allowed when no attribute value \
                     is specified"
                        .to_owned(),
                ));
            }
        });
    }
    Ok(Update::of(actions))
}
