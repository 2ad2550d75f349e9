//! Many items at once, each for itself: BatchGetItem and BatchWriteItem.

use std::collections::BTreeMap;

use lang_dynamodb::{Item, item_size};
use model_dynamodb::{
    BatchGetItemInput, BatchGetItemOutput, BatchWriteItemInput, BatchWriteItemOutput, DeleteRequest, Error,
    KeysAndAttributes, PutRequest, WriteRequest,
};
use services_kernel::Cx;
use store_api::Tx;

use crate::{
    DynamoDb,
    capacity::{self, Used, read_units},
    change::{Change, Deed},
    convert::{self, wire_item},
    parameters::{self, check_forms},
    target::Target,
    write,
};

/// Keys of one BatchGetItem (AWS: 100).
const KEYS_MAX: usize = 100;
/// Requests of one BatchWriteItem (AWS: 25).
const WRITES_MAX: usize = 25;
/// The greatest answer, in bytes of items (AWS: 16 MB).
const ANSWER_BYTES_MAX: usize = 16 << 20;
/// What one transaction writes at most, about, with entries of indexes and stream records: the rest is unprocessed.
const WRITTEN_BYTES_MAX: usize = 5 << 20;

impl DynamoDb {
    pub(crate) fn batch_get(&self, cx: &Cx, tx: &Tx, input: &BatchGetItemInput) -> Result<BatchGetItemOutput, Error> {
        check_get_count(input)?;
        let mut responses = BTreeMap::new();
        let mut unprocessed = BTreeMap::new();
        let mut consumed = Vec::new();
        let mut bytes = 0;
        for (table, wanted) in &input.request_items {
            let newer = [("ProjectionExpression", wanted.projection_expression.is_some())];
            let older = [("AttributesToGet", wanted.attributes_to_get.is_some())];
            check_forms(&older, &newer, wanted.expression_attribute_names.is_some(), None)?;
            let keys: Vec<Item> = wanted.keys.iter().map(convert::item).collect::<Result<_, _>>()?;
            check_distinct(keys.iter())?;
            let mut names = parameters::placeholders(wanted.expression_attribute_names.as_ref(), None)?;
            let projection = parameters::projection(
                wanted.projection_expression.as_deref(),
                wanted.attributes_to_get.as_deref(),
                &mut names,
            )?;
            parameters::finish(&names)?;
            let target = Target::of_items(cx, tx, "dynamodb:BatchGetItem", table)?;
            keys.iter().try_for_each(|key| target.record.check_key(key))?;
            let (mut found, mut left, mut used) = (Vec::new(), Vec::new(), Used::default());
            for (key, wire) in keys.iter().zip(&wanted.keys) {
                if bytes >= ANSWER_BYTES_MAX {
                    left.push(wire.clone());
                    continue;
                }
                let item = write::read(tx, &target, key)?;
                let size = item.as_ref().map_or(0, item_size);
                bytes += size;
                used.table += read_units(size, wanted.consistent_read == Some(true));
                found.extend(item.map(|item| {
                    wire_item(match &projection {
                        Some(projection) => projection.apply(&item),
                        None => item,
                    })
                }));
            }
            if !left.is_empty() {
                unprocessed.insert(table.clone(), KeysAndAttributes { keys: left, ..wanted.clone() });
            }
            consumed.extend(used.wire(input.return_consumed_capacity, table));
            responses.insert(table.clone(), found);
        }
        Ok(BatchGetItemOutput {
            responses: Some(responses),
            unprocessed_keys: Some(unprocessed),
            consumed_capacity: (!consumed.is_empty()).then_some(consumed),
        })
    }

    pub(crate) fn batch_write(
        &self,
        cx: &Cx,
        tx: &Tx,
        input: &BatchWriteItemInput,
    ) -> Result<BatchWriteItemOutput, Error> {
        check_write_count(input)?;
        let mut prepared = Vec::new();
        for (table, requests) in &input.request_items {
            let changes: Vec<Change> = requests.iter().map(change_of).collect::<Result<_, _>>()?;
            let target = Target::of_items(cx, tx, "dynamodb:BatchWriteItem", table)?;
            changes.iter().try_for_each(|change| change.check(&target))?;
            let keys: Vec<Item> = changes.iter().map(|change| target.record.key_of(change.key())).collect();
            check_distinct(keys.iter())?;
            prepared.push((table, target, changes.into_iter().zip(requests)));
        }
        let mut unprocessed: BTreeMap<String, Vec<WriteRequest>> = BTreeMap::new();
        let mut collections = BTreeMap::new();
        let mut consumed = Vec::new();
        let mut written = 0;
        for (table, target, changes) in prepared {
            let mut used = Used::default();
            let mut metrics = Vec::new();
            // An item is written once, again into every index, and perhaps twice into the stream.
            let copies = 1 + target.record.indexes.len() + if target.record.stream.is_some() { 2 } else { 0 };
            for (change, request) in changes {
                let size = item_size(change.key()) * copies;
                if written > 0 && written + size > WRITTEN_BYTES_MAX {
                    unprocessed.entry(table.clone()).or_default().push(request.clone());
                    continue;
                }
                written += size;
                let done = change.apply(tx, &target).map_err(|undone| undone.error(false))?;
                used.add(&done.effect, 1.0);
                metrics.extend(capacity::collection(
                    input.return_item_collection_metrics,
                    &target,
                    change.key(),
                    &done.effect,
                ));
            }
            consumed.extend(used.wire(input.return_consumed_capacity, table));
            if !metrics.is_empty() {
                collections.insert(table.clone(), metrics);
            }
        }
        Ok(BatchWriteItemOutput {
            unprocessed_items: Some(unprocessed),
            item_collection_metrics: (!collections.is_empty()).then_some(collections),
            consumed_capacity: (!consumed.is_empty()).then_some(consumed),
        })
    }
}

fn change_of(request: &WriteRequest) -> Result<Change, Error> {
    let deed = match (&request.put_request, &request.delete_request) {
        (Some(PutRequest { item }), None) => Deed::Put(convert::item(item)?),
        (None, Some(DeleteRequest { key })) => Deed::Delete(convert::item(key)?),
        (Some(_), Some(_)) => {
            return Err(Error::validation_exception(
                "Supplied AttributeValue has more than one datatypes set, must contain exactly one of the supported \
                 datatypes",
            ));
        }
        (None, None) => {
            return Err(Error::validation_exception(
                "Supplied AttributeValue is empty, must contain exactly one of the supported datatypes",
            ));
        }
    };
    Ok(Change { deed, condition: None })
}

/// No key twice.
fn check_distinct<'k>(keys: impl Iterator<Item = &'k Item>) -> Result<(), Error> {
    let mut seen = std::collections::BTreeSet::new();
    for key in keys {
        if !seen.insert(lang_dynamodb::encode(key)) {
            return Err(Error::validation_exception("Provided list of item keys contains duplicates"));
        }
    }
    Ok(())
}

fn check_get_count(input: &BatchGetItemInput) -> Result<(), Error> {
    if input.request_items.is_empty() {
        return Err(at_least_one("requestItems", "{}"));
    }
    let count: usize = input.request_items.values().map(|wanted| wanted.keys.len()).sum();
    if input.request_items.values().any(|wanted| wanted.keys.is_empty()) {
        return Err(at_least_one("requestItems", "[]"));
    }
    if count > KEYS_MAX {
        return Err(Error::validation_exception("Too many items requested for the BatchGetItem call"));
    }
    Ok(())
}

fn check_write_count(input: &BatchWriteItemInput) -> Result<(), Error> {
    if input.request_items.is_empty() {
        return Err(at_least_one("requestItems", "{}"));
    }
    if let Some(table) = input.request_items.iter().find_map(|(table, requests)| requests.is_empty().then_some(table)) {
        return Err(at_least_one(&format!("requestItems.{table}.member"), "[]"));
    }
    let count: usize = input.request_items.values().map(Vec::len).sum();
    if count > WRITES_MAX {
        return Err(Error::validation_exception("Too many items requested for the BatchWriteItem call"));
    }
    Ok(())
}

fn at_least_one(path: &str, value: &str) -> Error {
    Error::validation_exception(format!(
        "1 validation error detected: Value '{value}' at '{path}' failed to satisfy constraint: Member must have length \
         greater than or equal to 1"
    ))
}
