//! Which key a condition is for: what of it chooses the items that are looked at, and what is left to filter them.

use std::collections::BTreeMap;

use crate::{Comparator, Condition, Invalid, Item, KeyCondition, Operand, Path, Value};

/// How the items of a SELECT are found.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Plan {
    /// The hash keys whose items are looked at; none: all items are.
    pub hashes: Vec<Value>,
    /// What is demanded of the range key.
    pub range: Option<KeyCondition>,
    /// What is left.
    pub filter: Option<Condition>,
    /// Whether the hash key stands beside the other conditions, not within one of several branches.
    pub keyed: bool,
}

impl Plan {
    /// For a key of these attributes.
    ///
    /// # Errors
    /// In AWS's words.
    pub fn of(condition: Option<&Condition>, hash: &str, range: Option<&str>) -> Result<Self, Invalid> {
        let Some(condition) = condition else { return Ok(Self::default()) };
        if let Condition::Or(branches) = condition {
            return Self::branches(condition, branches, hash, range);
        }
        let mut plan = Self::default();
        let mut left = Vec::new();
        for part in parts(condition) {
            if plan.hashes.is_empty()
                && let Some(values) = equal_to(part, hash)
            {
                plan.hashes = values;
                plan.keyed = true;
            } else if plan.range.is_none()
                && let Some(found) = range.and_then(|range| demanded(part, range))
            {
                plan.range = Some(found);
            } else {
                left.push(part.clone());
            }
        }
        if plan.hashes.is_empty() {
            // Without the hash key a demand on the range key is a filter like any other.
            return Ok(Self { filter: Some(condition.clone()), ..Self::default() });
        }
        plan.filter = match left.len() {
            0 => None,
            1 => left.pop(),
            _ => Some(Condition::And(left)),
        };
        Ok(plan)
    }

    /// Several branches: when each names hash keys, only the items of those are looked at.
    fn branches(
        condition: &Condition,
        branches: &[Condition],
        hash: &str,
        range: Option<&str>,
    ) -> Result<Self, Invalid> {
        let mut hashes: Vec<(Value, bool)> = Vec::new();
        for branch in branches {
            let Some(values) = parts(branch).iter().find_map(|part| equal_to(part, hash)) else {
                return Ok(Self { filter: Some(condition.clone()), ..Self::default() });
            };
            let ranged = range.is_some_and(|range| parts(branch).iter().any(|part| demanded(part, range).is_some()));
            for value in values {
                match hashes.iter().find(|(known, _)| *known == value) {
                    Some((_, before)) if ranged || *before => {
                        return Err(Invalid(
                            "Overlapping conditions with range keys are not supported in where clause".to_owned(),
                        ));
                    }
                    Some(_) => {}
                    None => hashes.push((value, ranged)),
                }
            }
        }
        let hashes = hashes.into_iter().map(|(value, _)| value).collect();
        Ok(Self { hashes, range: None, filter: Some(condition.clone()), keyed: false })
    }
}

/// The key of the one item that a statement changes, and the condition that is left.
///
/// # Errors
/// In AWS's words, when the condition does not name all of the key.
pub fn key_of(condition: Option<&Condition>, names: &[&str]) -> Result<(Item, Option<Condition>), Invalid> {
    let no_key = || Invalid("Where clause does not contain a mandatory equality on all key attributes".to_owned());
    let mut key: Item = BTreeMap::new();
    let mut left = Vec::new();
    for part in condition.map(parts).unwrap_or_default() {
        match equality(part) {
            Some((name, value)) if names.contains(&name) => {
                if key.insert(name.to_owned(), value.clone()).is_some() {
                    return Err(Invalid("Multiple conditions on same key".to_owned()));
                }
            }
            _ => left.push(part.clone()),
        }
    }
    if key.len() != names.len() {
        return Err(no_key());
    }
    let rest = match left.len() {
        0 => None,
        1 => left.pop(),
        _ => Some(Condition::And(left)),
    };
    Ok((key, rest))
}

fn parts(condition: &Condition) -> Vec<&Condition> {
    match condition {
        Condition::And(all) => all.iter().collect(),
        other => vec![other],
    }
}

fn is_attribute(path: &Path, name: &str) -> bool {
    !path.is_nested() && path.head() == name
}

/// `name = value`, either way round.
fn equality(condition: &Condition) -> Option<(&str, &Value)> {
    match condition {
        Condition::Compare(Comparator::Equal, Operand::Path(path), Operand::Value(value))
        | Condition::Compare(Comparator::Equal, Operand::Value(value), Operand::Path(path))
            if !path.is_nested() =>
        {
            Some((path.head(), value))
        }
        _ => None,
    }
}

/// The values of which an attribute must have one; each once.
fn equal_to(condition: &Condition, name: &str) -> Option<Vec<Value>> {
    if let Some((found, value)) = equality(condition) {
        return (found == name).then(|| vec![value.clone()]);
    }
    let Condition::In(Operand::Path(path), others) = condition else { return None };
    if !is_attribute(path, name) {
        return None;
    }
    let mut values = Vec::new();
    for other in others {
        let Operand::Value(value) = other else { return None };
        if !values.contains(value) {
            values.push(value.clone());
        }
    }
    Some(values)
}

/// What is demanded of a range key.
fn demanded(condition: &Condition, name: &str) -> Option<KeyCondition> {
    match condition {
        Condition::Compare(Comparator::NotEqual, ..) => None,
        Condition::Compare(comparator, Operand::Path(path), Operand::Value(value)) if is_attribute(path, name) => {
            Some(KeyCondition::Compare(*comparator, value.clone()))
        }
        Condition::Compare(comparator, Operand::Value(value), Operand::Path(path)) if is_attribute(path, name) => {
            Some(KeyCondition::Compare(crate::key::turned(*comparator), value.clone()))
        }
        Condition::Between(Operand::Path(path), Operand::Value(low), Operand::Value(high))
            if is_attribute(path, name) =>
        {
            Some(KeyCondition::Between(low.clone(), high.clone()))
        }
        Condition::BeginsWith(Operand::Path(path), Operand::Value(prefix)) if is_attribute(path, name) => {
            Some(KeyCondition::BeginsWith(prefix.clone()))
        }
        _ => None,
    }
}
