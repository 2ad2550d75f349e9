//! Query and Scan.

use lang_dynamodb::{Comparator, Condition, KeyCondition, KeyConditions, Value, legacy};
use model_dynamodb::{Error, QueryInput, QueryOutput, ScanInput, ScanOutput};
use services_kernel::Cx;
use store_api::{Direction, Key, KeyRange, Tx};

use super::page::{PAGE_BYTES_MAX, Page, choose, consumed, index_of, keys_of, number_of, start};
use crate::{
    DynamoDb, convert,
    error::{expression, invalid},
    parameters::{self, check_forms, operator},
    table::{Index, Keys},
    tables::Place,
    target::Target,
    write::ordered,
};

impl DynamoDb {
    pub(crate) fn select(&self, cx: &Cx, tx: &Tx, input: &QueryInput) -> Result<QueryOutput, Error> {
        check_forms(
            &[
                ("AttributesToGet", input.attributes_to_get.is_some()),
                ("QueryFilter", input.query_filter.is_some()),
                ("ConditionalOperator", input.conditional_operator.is_some()),
                ("KeyConditions", input.key_conditions.is_some()),
            ],
            &[
                ("ProjectionExpression", input.projection_expression.is_some()),
                ("FilterExpression", input.filter_expression.is_some()),
                ("KeyConditionExpression", input.key_condition_expression.is_some()),
            ],
            input.expression_attribute_names.is_some(),
            Some(input.expression_attribute_values.is_some()),
        )?;
        let values = convert::placeholders(input.expression_attribute_values.as_ref())?;
        let mut names = parameters::placeholders(input.expression_attribute_names.as_ref(), values.as_ref())?;
        let filter = parameters::condition("FilterExpression", input.filter_expression.as_deref(), &mut names)?;
        let projection = parameters::projection(
            input.projection_expression.as_deref(),
            input.attributes_to_get.as_deref(),
            &mut names,
        )?;
        let conditions = match &input.key_condition_expression {
            Some(text) => KeyCondition::parse(text, &mut names).map_err(expression)?,
            None => older_conditions(input)?,
        };
        parameters::finish(&names)?;
        let filter = match filter {
            Some(filter) => Some(filter),
            None => parameters::filter(input.query_filter.as_ref(), input.conditional_operator)?,
        };
        let target = Target::of_items(cx, tx, "dynamodb:Query", &input.table_name)?;
        let consistent = input.consistent_read == Some(true);
        let index = index_of(&target, input.index_name.as_deref(), consistent)?;
        let keys = keys_of(&target, index);
        let kind = if input.filter_expression.is_some() { "Filter Expression" } else { "QueryFilter" };
        check_filter(kind, keys, filter.as_ref())?;
        let (hash, condition) = check_conditions(keys, &conditions)?;
        let choice =
            choose(&target, index, input.select, projection, input.projection_expression.is_some(), filter.as_ref())?;
        let direction = if input.scan_index_forward == Some(false) { Direction::Reverse } else { Direction::Forward };
        let mut range = range_of(&target, index, hash, condition);
        if let Some((row, key)) = start(&target, index, input.exclusive_start_key.as_ref())? {
            check_start(keys, &conditions, &key)?;
            range = match direction {
                Direction::Forward => range.after(&row),
                Direction::Reverse => range.before(&row),
            };
        }
        let page = Page {
            target: &target,
            index,
            range,
            direction,
            limit: input.limit.and_then(|limit| usize::try_from(limit).ok()),
            bytes_max: PAGE_BYTES_MAX,
            filter: filter.as_ref(),
            projection: choice.projection.as_ref(),
            rows: None,
            count_only: choice.count_only,
            fetch: choice.fetch,
            consistent,
        };
        let found = page.read(tx)?;
        Ok(QueryOutput {
            consumed_capacity: consumed(&found, input.return_consumed_capacity, &target),
            items: found.items,
            count: Some(found.count),
            scanned_count: Some(found.scanned),
            last_evaluated_key: found.last_key.map(convert::wire_item),
        })
    }

    pub(crate) fn scan_table(&self, cx: &Cx, tx: &Tx, input: &ScanInput) -> Result<ScanOutput, Error> {
        check_forms(
            &[
                ("AttributesToGet", input.attributes_to_get.is_some()),
                ("ScanFilter", input.scan_filter.is_some()),
                ("ConditionalOperator", input.conditional_operator.is_some()),
            ],
            &[
                ("ProjectionExpression", input.projection_expression.is_some()),
                ("FilterExpression", input.filter_expression.is_some()),
            ],
            input.expression_attribute_names.is_some(),
            Some(input.expression_attribute_values.is_some()),
        )?;
        let (segment, total) = segments(input)?;
        let values = convert::placeholders(input.expression_attribute_values.as_ref())?;
        let mut names = parameters::placeholders(input.expression_attribute_names.as_ref(), values.as_ref())?;
        let filter = parameters::condition("FilterExpression", input.filter_expression.as_deref(), &mut names)?;
        let projection = parameters::projection(
            input.projection_expression.as_deref(),
            input.attributes_to_get.as_deref(),
            &mut names,
        )?;
        parameters::finish(&names)?;
        let filter = match filter {
            Some(filter) => Some(filter),
            None => parameters::filter(input.scan_filter.as_ref(), input.conditional_operator)?,
        };
        let target = Target::of_items(cx, tx, "dynamodb:Scan", &input.table_name)?;
        let consistent = input.consistent_read == Some(true);
        let index = index_of(&target, input.index_name.as_deref(), consistent)?;
        let choice =
            choose(&target, index, input.select, projection, input.projection_expression.is_some(), filter.as_ref())?;
        let mut range = target.rows.segment(number_of(index), segment, total);
        if let Some((row, _)) = start(&target, index, input.exclusive_start_key.as_ref())? {
            if !range.contains(row.as_bytes()) {
                return Err(Error::validation_exception(
                    "The provided starting key is invalid: Invalid ExclusiveStartKey. Please use ExclusiveStartKey with \
                     correct Segment. TotalSegments: "
                        .to_owned()
                        + &format!("{total} Segment: {segment}"),
                ));
            }
            range = range.after(&row);
        }
        let page = Page {
            target: &target,
            index,
            range,
            direction: Direction::Forward,
            limit: input.limit.and_then(|limit| usize::try_from(limit).ok()),
            bytes_max: PAGE_BYTES_MAX,
            filter: filter.as_ref(),
            projection: choice.projection.as_ref(),
            rows: None,
            count_only: choice.count_only,
            fetch: choice.fetch,
            consistent,
        };
        let found = page.read(tx)?;
        Ok(ScanOutput {
            consumed_capacity: consumed(&found, input.return_consumed_capacity, &target),
            items: found.items,
            count: Some(found.count),
            scanned_count: Some(found.scanned),
            last_evaluated_key: found.last_key.map(convert::wire_item),
        })
    }
}

fn segments(input: &ScanInput) -> Result<(u64, u64), Error> {
    match (input.segment, input.total_segments) {
        (None, None) => Ok((0, 1)),
        (Some(_), None) => Err(Error::validation_exception(
            "The TotalSegments parameter is required but was not present in the request when Segment parameter is present",
        )),
        (None, Some(_)) => Err(Error::validation_exception(
            "The Segment parameter is required but was not present in the request when parameter TotalSegments is present",
        )),
        (Some(segment), Some(total)) if segment >= total => Err(Error::validation_exception(format!(
            "The Segment parameter is zero-based and must be less than parameter TotalSegments: Segment: {segment} is not \
             less than TotalSegments: {total}"
        ))),
        // The wire's constraints leave no negative ones.
        (Some(segment), Some(total)) => Ok((u64::try_from(segment).unwrap_or(0), u64::try_from(total).unwrap_or(1))),
    }
}

fn older_conditions(input: &QueryInput) -> Result<KeyConditions, Error> {
    let Some(conditions) = &input.key_conditions else {
        return Err(Error::validation_exception(
            "Either the KeyConditions or KeyConditionExpression parameter must be specified in the request.",
        ));
    };
    let each = conditions.iter().map(|(name, wire)| {
        let values = wire.attribute_value_list.iter().flatten().map(convert::value).collect::<Result<_, _>>()?;
        let condition = legacy::key_condition(operator(wire.comparison_operator), values).map_err(expression)?;
        Ok((name.clone(), condition))
    });
    each.collect()
}

/// A filter must not speak of what the key conditions are for.
fn check_filter(kind: &str, keys: &Keys, filter: Option<&Condition>) -> Result<(), Error> {
    let mut wrong = None;
    if let Some(filter) = filter {
        filter.paths(&mut |path| {
            if wrong.is_none() && keys.has(path.head()) {
                wrong = Some(path.head().to_owned());
            }
        });
    }
    match wrong {
        Some(name) => Err(Error::validation_exception(format!(
            "{kind} can only contain non-primary key attributes: Primary key attribute: {name}"
        ))),
        None => Ok(()),
    }
}

/// The hash key's value, and what is demanded of the range key.
fn check_conditions<'c>(
    keys: &Keys,
    conditions: &'c KeyConditions,
) -> Result<(&'c Value, Option<&'c KeyCondition>), Error> {
    if conditions.is_empty() || conditions.len() > 2 {
        return Err(Error::validation_exception("Conditions can be of length 1 or 2 only"));
    }
    let missed = |name: &str| Error::validation_exception(format!("Query condition missed key schema element: {name}"));
    let hash = conditions.get(&keys.hash.name).ok_or_else(|| missed(&keys.hash.name))?;
    let range = match (&keys.range, conditions.len()) {
        (_, 1) => None,
        (Some(range), _) => Some(conditions.get(&range.name).ok_or_else(|| missed(&range.name))?),
        (None, _) => return Err(Error::validation_exception("Query key condition not supported")),
    };
    for (attribute, condition) in keys.attributes().zip([Some(hash), range]) {
        for value in condition.into_iter().flat_map(KeyCondition::values) {
            if value.r#type() != attribute.r#type.value_type() {
                return Err(invalid("Condition parameter type does not match schema type"));
            }
            if matches!(condition, Some(KeyCondition::BeginsWith(Value::N(_)))) {
                return Err(Error::validation_exception("Query key condition not supported"));
            }
            if value.size() == 0 {
                let what = if matches!(value, Value::S(_)) { "string" } else { "binary" };
                return Err(Error::validation_exception(format!(
                    "One or more parameter values are not valid. The AttributeValue for a key attribute cannot contain an \
                     empty {what} value. Key: {}",
                    attribute.name
                )));
            }
        }
    }
    match hash {
        KeyCondition::Compare(Comparator::Equal, value) => Ok((value, range)),
        _ => Err(Error::validation_exception("Query key condition not supported")),
    }
}

fn check_start(keys: &Keys, conditions: &KeyConditions, start: &lang_dynamodb::Item) -> Result<(), Error> {
    let fits = |name: &str| match (conditions.get(name), start.get(name)) {
        (Some(condition), Some(value)) => condition.is_met(value),
        _ => true,
    };
    if !fits(&keys.hash.name) {
        return Err(Error::validation_exception(
            "The provided starting key is outside query boundaries based on provided conditions",
        ));
    }
    if keys.range.as_ref().is_some_and(|range| !fits(&range.name)) {
        return Err(Error::validation_exception("The provided starting key does not match the range key predicate"));
    }
    Ok(())
}

/// The rows that satisfy the key conditions.
pub(crate) fn range_of(
    target: &Target,
    index: Option<&Index>,
    hash: &Value,
    condition: Option<&KeyCondition>,
) -> KeyRange {
    let collection = target.rows.collection(number_of(index), Place::of(hash));
    let all = collection.prefix();
    let at = |value: &Value| collection.clone().bytes(&ordered(value));
    // Behind everything that extends the key: an index's entries have more after the range key.
    let through = |range: KeyRange, key: &Key| KeyRange::encoded(range.start(), key.prefix().end());
    match condition {
        None => all,
        Some(KeyCondition::Compare(comparator, value)) => {
            let key = at(value);
            match comparator {
                Comparator::Equal | Comparator::NotEqual => key.prefix(),
                Comparator::Less => all.before(&key),
                Comparator::LessOrEqual => through(all, &key),
                Comparator::Greater => all.after(&key),
                Comparator::GreaterOrEqual => all.starting_at(&key),
            }
        }
        Some(KeyCondition::Between(low, high)) => through(all.starting_at(&at(low)), &at(high)),
        Some(KeyCondition::BeginsWith(prefix)) => {
            // The key without the byte that ends it: what every key that begins so begins with.
            let key = at(prefix);
            let start = key.as_bytes().split_last().map_or(&[][..], |(_, start)| start);
            KeyRange::encoded(start, successor(start))
        }
    }
}

/// The first bytes behind all that begin with these.
fn successor(bytes: &[u8]) -> Vec<u8> {
    let mut end = bytes.to_vec();
    while let Some(last) = end.pop() {
        if last < u8::MAX {
            end.push(last + 1);
            break;
        }
    }
    end
}
