//! What the expression parameters, and the older ones, of a request say. Both forms become the same conditions.

use std::collections::BTreeMap;

use lang_dynamodb::{
    Comparator, Condition, Invalid, Item, Operand, Path, Placeholders, Projection,
    legacy::{self, Operator},
};
use model_dynamodb::{
    ComparisonOperator, Condition as WireCondition, ConditionalOperator, Error, ExpectedAttributeValue,
};

use crate::{
    convert,
    error::{expression, invalid},
};

/// Names of parameters, and whether a request has them.
pub(crate) type Present<'a> = &'a [(&'a str, bool)];

/// Checks which parameters stand together.
///
/// # Errors
/// In AWS's words.
pub(crate) fn check_forms(
    older: Present<'_>,
    newer: Present<'_>,
    names: bool,
    values: Option<bool>,
) -> Result<(), Error> {
    let there = |of: Present<'_>| -> Vec<String> {
        of.iter().filter(|(_, there)| *there).map(|(name, _)| (*name).to_owned()).collect()
    };
    let (older, given) = (there(older), there(newer));
    if !older.is_empty() && !given.is_empty() {
        return Err(Error::validation_exception(format!(
            "Can not use both expression and non-expression parameters in the same request: Non-expression parameters: \
             {{{}}} Expression parameters: {{{}}}",
            older.join(", "),
            given.join(", ")
        )));
    }
    if names && given.is_empty() {
        return Err(Error::validation_exception(
            "ExpressionAttributeNames can only be specified when using expressions",
        ));
    }
    // Projections have no values.
    let with_values: Vec<&(&str, bool)> = newer.iter().filter(|(name, _)| *name != "ProjectionExpression").collect();
    if values == Some(true) && !with_values.iter().any(|(_, there)| *there) {
        let names: Vec<&str> = with_values.iter().map(|(name, _)| *name).collect();
        let verb = if names.len() > 1 { "are" } else { "is" };
        return Err(Error::validation_exception(format!(
            "ExpressionAttributeValues can only be specified when using expressions: {} {verb} null",
            names.join(" and ")
        )));
    }
    Ok(())
}

/// The placeholders of a request.
///
/// # Errors
/// In AWS's words.
pub(crate) fn placeholders<'a>(
    names: Option<&'a BTreeMap<String, String>>,
    values: Option<&'a Item>,
) -> Result<Placeholders<'a>, Error> {
    Placeholders::new(names, values).map_err(expression)
}

/// A condition expression.
///
/// # Errors
/// In AWS's words.
pub(crate) fn condition(
    kind: &str,
    text: Option<&str>,
    placeholders: &mut Placeholders<'_>,
) -> Result<Option<Condition>, Error> {
    text.map(|text| Condition::parse(kind, text, placeholders)).transpose().map_err(expression)
}

/// A projection, in either form.
///
/// # Errors
/// In AWS's words.
pub(crate) fn projection(
    text: Option<&str>,
    attributes: Option<&[String]>,
    placeholders: &mut Placeholders<'_>,
) -> Result<Option<Projection>, Error> {
    if let Some(text) = text {
        return Projection::parse(text, placeholders).map(Some).map_err(expression);
    }
    let Some(names) = attributes else { return Ok(None) };
    for (index, name) in names.iter().enumerate() {
        if names[..index].contains(name) {
            return Err(invalid(format!("Duplicate value in attribute name: {name}")));
        }
    }
    Ok(Some(Projection::attributes(names.iter().map(String::as_str))))
}

/// An operator of the older form.
pub(crate) fn operator(wire: ComparisonOperator) -> Operator {
    match wire {
        ComparisonOperator::Eq => Operator::Compare(Comparator::Equal),
        ComparisonOperator::Ne => Operator::Compare(Comparator::NotEqual),
        ComparisonOperator::Lt => Operator::Compare(Comparator::Less),
        ComparisonOperator::Le => Operator::Compare(Comparator::LessOrEqual),
        ComparisonOperator::Gt => Operator::Compare(Comparator::Greater),
        ComparisonOperator::Ge => Operator::Compare(Comparator::GreaterOrEqual),
        ComparisonOperator::In => Operator::In,
        ComparisonOperator::Between => Operator::Between,
        ComparisonOperator::Null => Operator::Null,
        ComparisonOperator::NotNull => Operator::NotNull,
        ComparisonOperator::Contains => Operator::Contains,
        ComparisonOperator::NotContains => Operator::NotContains,
        ComparisonOperator::BeginsWith => Operator::BeginsWith,
    }
}

fn joined(all: Vec<Condition>, by: Option<ConditionalOperator>) -> Condition {
    match by {
        Some(ConditionalOperator::Or) => Condition::Or(all),
        _ => Condition::And(all),
    }
}

/// `QueryFilter`, `ScanFilter`.
///
/// # Errors
/// In AWS's words.
pub(crate) fn filter(
    filter: Option<&BTreeMap<String, WireCondition>>,
    by: Option<ConditionalOperator>,
) -> Result<Option<Condition>, Error> {
    let filter = filter.filter(|filter| !filter.is_empty());
    let Some(filter) = filter else { return without(by) };
    let each = filter.iter().map(|(name, wire)| {
        let values = wire.attribute_value_list.iter().flatten().map(convert::value).collect::<Result<_, _>>()?;
        legacy::condition(name, operator(wire.comparison_operator), values).map_err(expression)
    });
    each.collect::<Result<_, _>>().map(|all| Some(joined(all, by)))
}

fn without<T>(by: Option<ConditionalOperator>) -> Result<Option<T>, Error> {
    match by {
        Some(_) => Err(invalid("ConditionalOperator cannot be used without Filter or Expected")),
        None => Ok(None),
    }
}

/// `Expected`.
///
/// # Errors
/// In AWS's words.
pub(crate) fn expected(
    expected: Option<&BTreeMap<String, ExpectedAttributeValue>>,
    by: Option<ConditionalOperator>,
) -> Result<Option<Condition>, Error> {
    let Some(expected) = expected.filter(|expected| !expected.is_empty()) else { return without(by) };
    let each = expected.iter().map(|(name, wire)| expect(name, wire));
    each.collect::<Result<_, _>>().map(|all| Some(joined(all, by)))
}

fn expect(name: &str, wire: &ExpectedAttributeValue) -> Result<Condition, Error> {
    let ExpectedAttributeValue { value, exists, comparison_operator, attribute_value_list } = wire;
    let refuse = |reason: &str| Err(invalid(format!("{reason} for Attribute: {name}")));
    if let Some(comparison) = comparison_operator {
        if exists.is_some() {
            return refuse("Exists and ComparisonOperator cannot be used together");
        }
        if value.is_some() && attribute_value_list.is_some() {
            return refuse("Value and AttributeValueList cannot be used together");
        }
        let given = attribute_value_list.iter().flatten().chain(value);
        let values = given.map(convert::value).collect::<Result<_, _>>()?;
        return legacy::condition(name, operator(*comparison), values).map_err(expression);
    }
    if attribute_value_list.is_some() {
        return refuse("AttributeValueList can only be used with a ComparisonOperator");
    }
    match (exists, value) {
        (None | Some(true), Some(value)) => Ok(Condition::Compare(
            Comparator::Equal,
            Operand::Path(Path::attribute(name)),
            Operand::Value(convert::value(value)?),
        )),
        (Some(false), None) => Ok(Condition::NotExists(Path::attribute(name))),
        (Some(false), Some(_)) => refuse("Value cannot be used when Exists is false"),
        (None, None) => refuse("Value must be provided when Exists is null"),
        (Some(true), None) => refuse("Value must be provided when Exists is true"),
    }
}

/// All expressions were read.
///
/// # Errors
/// Naming placeholders that none of them uses.
pub(crate) fn finish(placeholders: &Placeholders<'_>) -> Result<(), Error> {
    placeholders.finish().map_err(|Invalid(message)| Error::validation_exception(message))
}
