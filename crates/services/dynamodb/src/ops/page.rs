//! A page of a table or an index: what Query and Scan have in common. Guarantee: a page evaluates at most its limit, or
//! what fits in 1 MB; following the keys that pages end with visits every item exactly once.

use lang_dynamodb::{Condition, Item, Path, Projection, item_size, partiql::Select};
use model_dynamodb::{AttributeValue, Error, ReturnConsumedCapacity, Select as Wanted};
use std::collections::BTreeMap;
use store_api::{Direction, Key, KeyRange, Tx};

use crate::{
    capacity::{Used, read_units},
    convert::{self, WireItem, wire_item},
    error::invalid,
    table::{Index, Keys},
    tables::{ENTRIES, ITEMS, NO_INDEX},
    target::Target,
    write::{self, Position, place_of},
};

/// The greatest page, in bytes of items evaluated.
pub(crate) const PAGE_BYTES_MAX: usize = 1 << 20;
/// Rows read at a time: few at first, as they may be large.
const ROWS_FIRST: usize = 16;
const ROWS_MAX: usize = 512;

/// What is read, and how.
pub(crate) struct Page<'a> {
    pub(crate) target: &'a Target,
    pub(crate) index: Option<&'a Index>,
    pub(crate) range: KeyRange,
    pub(crate) direction: Direction,
    pub(crate) limit: Option<usize>,
    /// Bytes of items that are evaluated: [`PAGE_BYTES_MAX`] at most.
    pub(crate) bytes_max: usize,
    pub(crate) filter: Option<&'a Condition>,
    pub(crate) projection: Option<&'a Projection>,
    /// The rows of a SELECT, instead of a projection.
    pub(crate) rows: Option<&'a Select>,
    pub(crate) count_only: bool,
    /// Attributes that a local index lacks are fetched from the table.
    pub(crate) fetch: bool,
    pub(crate) consistent: bool,
}

/// What was found.
pub(crate) struct Found {
    pub(crate) items: Option<Vec<WireItem>>,
    pub(crate) count: i32,
    pub(crate) scanned: i32,
    /// Where the next page begins.
    pub(crate) last_key: Option<Item>,
    /// Bytes that were evaluated.
    pub(crate) bytes: usize,
    pub(crate) used: Used,
}

impl Page<'_> {
    /// Reads it.
    pub(crate) fn read(self, tx: &Tx) -> Result<Found, Error> {
        let limit = self.limit.unwrap_or(usize::MAX);
        let (mut bytes, mut scanned, mut matched) = (0, 0, 0);
        let mut items = Vec::new();
        let mut fetched_units = 0.0;
        let mut last = None;
        let mut range = self.range.clone();
        let mut rows_wanted = ROWS_FIRST;
        'pages: loop {
            let wanted = rows_wanted.min(limit - scanned);
            let rows = self.rows(tx, &range, wanted)?;
            let complete = rows.len() < wanted;
            for (key, item) in rows {
                scanned += 1;
                bytes += item_size(&item);
                let full = scanned >= limit || bytes >= self.bytes_max;
                if full {
                    last = Some(self.key_of(&item));
                }
                range = match self.direction {
                    Direction::Forward => range.after(&key),
                    Direction::Reverse => range.before(&key),
                };
                let item = if self.fetch {
                    let whole = write::read(tx, self.target, &self.target.record.key_of(&item))?.unwrap_or(item);
                    fetched_units += read_units(item_size(&whole), self.consistent);
                    whole
                } else {
                    item
                };
                if self.filter.is_none_or(|filter| filter.is_met(&item)) {
                    matched += 1;
                    if !self.count_only {
                        items.push(wire_item(match (self.projection, self.rows) {
                            (Some(projection), _) => projection.apply(&item),
                            (None, Some(select)) => select.row(item),
                            (None, None) => item,
                        }));
                    }
                }
                if full {
                    break 'pages;
                }
            }
            if complete {
                break;
            }
            let average = bytes / scanned.max(1) + 1;
            rows_wanted = ((self.bytes_max - bytes.min(self.bytes_max)) / average + 1).clamp(1, ROWS_MAX);
        }
        let mut used = Used::default();
        let units = read_units(bytes, self.consistent);
        match self.index {
            Some(index) => *used.index(&index.name, index.local) += units,
            None => used.table += units,
        }
        used.table += fetched_units;
        Ok(Found {
            items: (!self.count_only).then_some(items),
            count: matched,
            scanned: i32::try_from(scanned).unwrap_or(i32::MAX),
            last_key: last,
            bytes,
            used,
        })
    }

    fn rows(&self, tx: &Tx, range: &KeyRange, limit: usize) -> Result<Vec<(Key, Item)>, Error> {
        let table = if self.index.is_some() { ENTRIES } else { ITEMS };
        let rows = table.scan(tx, range, limit, self.direction)?;
        Ok(rows.into_iter().map(|(key, stored)| (key, stored.0)).collect())
    }

    /// The key with which the next page begins: the table's, and the index's.
    fn key_of(&self, item: &Item) -> Item {
        let own = self.target.record.keys.attributes();
        let names = own.chain(self.index.iter().flat_map(|index| index.keys.attributes()));
        names.filter_map(|key| Some((key.name.clone(), item.get(&key.name)?.clone()))).collect()
    }
}

/// The index of this name.
///
/// # Errors
/// In AWS's words.
pub(crate) fn index_of<'t>(
    target: &'t Target,
    name: Option<&str>,
    consistent: bool,
) -> Result<Option<&'t Index>, Error> {
    let Some(name) = name else { return Ok(None) };
    let index = target
        .record
        .index(name)
        .ok_or_else(|| Error::validation_exception(format!("The table does not have the specified index: {name}")))?;
    if consistent && !index.local {
        return Err(Error::validation_exception("Consistent reads are not supported on global secondary indexes"));
    }
    check_filled(index)?;
    Ok(Some(index))
}

/// Whether an index has everything.
///
/// # Errors
/// In AWS's words.
pub(crate) fn check_filled(index: &Index) -> Result<(), Error> {
    if !index.filling {
        return Ok(());
    }
    let name = &index.name;
    Err(Error::validation_exception(format!("Cannot read from backfilling global secondary index: {name}")))
}

/// The keys of what is read.
pub(crate) fn keys_of<'t>(target: &'t Target, index: Option<&'t Index>) -> &'t Keys {
    index.map_or(&target.record.keys, |index| &index.keys)
}

/// Its number.
pub(crate) fn number_of(index: Option<&Index>) -> u64 {
    index.map_or(NO_INDEX, |index| index.number)
}

/// The row of an `ExclusiveStartKey`.
///
/// # Errors
/// In AWS's words.
pub(crate) fn start(
    target: &Target,
    index: Option<&Index>,
    key: Option<&BTreeMap<String, AttributeValue>>,
) -> Result<Option<(Key, Item)>, Error> {
    use wire_schema::ServiceError as _;
    let Some(wire) = key else { return Ok(None) };
    let refused = |reason: &str| Error::validation_exception(format!("The provided starting key is invalid{reason}"));
    let key = convert::item(wire).map_err(|error| refused(&format!(": {}", error.message())))?;
    let keys = keys_of(target, index);
    let names = target.record.keys.attributes().chain(keys.attributes());
    let mismatch = || refused(": The provided key element does not match the schema");
    for attribute in names {
        match key.get(&attribute.name) {
            Some(value) if value.r#type() == attribute.r#type.value_type() => {}
            _ if index.is_some() => return Err(refused("")),
            _ => return Err(mismatch()),
        }
    }
    if key.keys().any(|name| !target.record.keys.has(name) && !keys.has(name)) {
        return Err(if index.is_some() { refused("") } else { mismatch() });
    }
    let position = Position::of(keys, &key).ok_or_else(mismatch)?;
    let range = position.range.as_deref();
    let row = match index {
        None => target.rows.item(position.hash, range),
        Some(index) => target.rows.entry(index.number, position.hash, range, place_of(&target.record, &key)),
    };
    Ok(Some((row, key)))
}

/// What `Select` and the projection make of each other.
pub(crate) struct Choice {
    pub(crate) count_only: bool,
    pub(crate) fetch: bool,
    /// The attributes of an index that is projected otherwise than asked for are all that there are.
    pub(crate) projection: Option<Projection>,
}

/// Which attributes are given back.
///
/// # Errors
/// In AWS's words.
pub(crate) fn choose(
    target: &Target,
    index: Option<&Index>,
    select: Option<Wanted>,
    projection: Option<Projection>,
    is_expression: bool,
    filter: Option<&Condition>,
) -> Result<Choice, Error> {
    let asked = if is_expression { "ProjectionExpression" } else { "AttributesToGet" };
    let refused = |what: &str| {
        Err(Error::validation_exception(format!("Cannot specify the {asked} when choosing to get {what}")))
    };
    match (select, &projection) {
        (Some(Wanted::Count), Some(_)) => return refused("only the Count"),
        (Some(Wanted::AllAttributes), Some(_)) => return refused("ALL_ATTRIBUTES"),
        (Some(Wanted::AllProjectedAttributes), Some(_)) => return refused("ALL_PROJECTED_ATTRIBUTES"),
        (Some(Wanted::AllProjectedAttributes), None) if index.is_none() => {
            return Err(invalid("ALL_PROJECTED_ATTRIBUTES can be used only when Querying using an IndexName"));
        }
        (Some(Wanted::SpecificAttributes), None) => {
            return Err(Error::validation_exception(
                "Must specify the AttributesToGet or ProjectionExpression when choosing to get SPECIFIC_ATTRIBUTES",
            ));
        }
        _ => {}
    }
    let mut fetch = false;
    if let Some(index) = index {
        let mut lacking = Vec::new();
        let mut look = |path: &Path| {
            let name = path.head();
            if !target.record.is_projected(index, name) && !lacking.iter().any(|known| known == name) {
                lacking.push(name.to_owned());
            }
        };
        projection.iter().flat_map(Projection::paths).for_each(&mut look);
        if let Some(filter) = filter {
            filter.paths(&mut look);
        }
        if !lacking.is_empty() && !index.local {
            return Err(invalid(format!(
                "Global secondary index {} does not project [{}]",
                index.name,
                lacking.join(", ")
            )));
        }
        let all = select == Some(Wanted::AllAttributes);
        if all && !index.local && index.projected != crate::table::Projected::All {
            return Err(invalid(format!(
                "Select type ALL_ATTRIBUTES is not supported for global secondary index {} because its projection type is \
                 not ALL",
                index.name
            )));
        }
        fetch = !lacking.is_empty() || (all && index.projected != crate::table::Projected::All);
    }
    Ok(Choice { count_only: select == Some(Wanted::Count), fetch, projection })
}

/// As the wire has what a page used.
pub(crate) fn consumed(
    found: &Found,
    wanted: Option<ReturnConsumedCapacity>,
    target: &Target,
) -> Option<model_dynamodb::ConsumedCapacity> {
    found.used.wire(wanted, &target.name)
}
