//! The rows of a SELECT: the items of the keys that its condition names, or of a whole table or index; page by page.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use lang_dynamodb::{
    Item, Value,
    partiql::{Plan, Select, Statement},
};
use model_dynamodb::{Error, ExecuteStatementInput, ExecuteStatementOutput, ReturnConsumedCapacity};
use services_kernel::Cx;
use sha2::{Digest as _, Sha256};
use store_api::{Direction, Key, KeyRange, Tx};

use super::{
    page::{PAGE_BYTES_MAX, Page, keys_of, number_of, start},
    query::range_of,
    statements::Prepared,
};
use crate::{
    capacity::Used,
    convert::wire_item,
    error::{expression, invalid},
    table::{Index, Keys, Projected},
    target::Target,
};

/// How a SELECT is read.
pub(crate) struct Reading {
    limit: Option<usize>,
    consistent: bool,
    wanted: Option<ReturnConsumedCapacity>,
    /// What the token must have been made for.
    mark: [u8; 8],
    after: Option<After>,
}

/// Where the page before ended.
struct After {
    /// The position of the hash key among those that are looked at.
    turn: usize,
    key: Item,
}

impl Reading {
    /// As a request asks for it.
    ///
    /// # Errors
    /// When its token is none of ours, or of another statement.
    pub(crate) fn of(input: &ExecuteStatementInput) -> Result<Self, Error> {
        let mut digest = Sha256::new();
        digest.update(&input.statement);
        digest.update(format!("{:?}", input.parameters));
        let digest = digest.finalize();
        let mut mark = [0; 8];
        mark.copy_from_slice(&digest[..8]);
        let refused = || Error::validation_exception("NextToken does not match request");
        let after = input.next_token.as_deref().map(|token| opened(token, mark).ok_or_else(refused)).transpose()?;
        Ok(Self {
            limit: input.limit.and_then(|limit| usize::try_from(limit).ok()),
            consistent: input.consistent_read == Some(true),
            wanted: input.return_consumed_capacity,
            mark,
            after,
        })
    }

    /// Reads a page.
    pub(crate) fn read(&self, cx: &Cx, tx: &Tx, prepared: &Prepared) -> Result<ExecuteStatementOutput, Error> {
        let Statement::Select(select) = &prepared.statement else { return Ok(ExecuteStatementOutput::default()) };
        let target = Target::of_items(cx, tx, prepared.action(), prepared.table())?;
        let index = index_of(&target, select.source.index.as_deref(), self.consistent)?;
        let keys = keys_of(&target, index);
        let range = keys.range.as_ref().map(|range| range.name.as_str());
        let mut plan = Plan::of(select.condition.as_ref(), &keys.hash.name, range).map_err(expression)?;
        check_types(keys, &plan)?;
        let fetch = check_projected(&target, index, select, &plan)?;
        let direction = order(keys, select, &mut plan)?;
        let ranges = ranges(&target, index, &plan);
        let first = self.after.as_ref().map_or(0, |after| after.turn);
        let (mut items, mut used, mut last) = (Vec::new(), Used::default(), None);
        let (mut scanned, mut bytes) = (0, 0);
        for (turn, range) in ranges.iter().enumerate().skip(first) {
            let mut range = range.clone();
            if let Some(after) = self.after.as_ref().filter(|after| after.turn == turn && !after.key.is_empty()) {
                let wire = wire_item(after.key.clone());
                if let Some((row, _)) = start(&target, index, Some(&wire))? {
                    range = match direction {
                        Direction::Forward => range.after(&row),
                        Direction::Reverse => range.before(&row),
                    };
                }
            }
            let page = Page {
                target: &target,
                index,
                range,
                direction,
                limit: self.limit.map(|limit| limit - scanned),
                bytes_max: PAGE_BYTES_MAX - bytes,
                filter: plan.filter.as_ref(),
                projection: None,
                rows: Some(select),
                count_only: false,
                fetch,
                consistent: self.consistent,
            };
            let found = page.read(tx)?;
            scanned += usize::try_from(found.scanned).unwrap_or(0);
            bytes += found.bytes;
            used.merge(&found.used);
            items.extend(found.items.into_iter().flatten());
            if let Some(key) = found.last_key {
                last = Some((turn, key));
                break;
            }
            let full = self.limit.is_some_and(|limit| scanned >= limit) || bytes >= PAGE_BYTES_MAX;
            if full && turn + 1 < ranges.len() {
                // The next page begins with the next hash key: behind nothing of it.
                last = Some((turn + 1, Item::new()));
                break;
            }
        }
        Ok(ExecuteStatementOutput {
            items: Some(items),
            next_token: last.as_ref().map(|(turn, key)| sealed(self.mark, *turn, key)),
            last_evaluated_key: last.and_then(|(_, key)| (!key.is_empty()).then(|| wire_item(key))),
            consumed_capacity: used.wire(self.wanted, &target.name),
        })
    }
}

fn sealed(mark: [u8; 8], turn: usize, key: &Item) -> String {
    let mut bytes = mark.to_vec();
    bytes.extend_from_slice(&u32::try_from(turn).unwrap_or(u32::MAX).to_be_bytes());
    bytes.extend_from_slice(&lang_dynamodb::encode(key));
    URL_SAFE_NO_PAD.encode(bytes)
}

fn opened(token: &str, mark: [u8; 8]) -> Option<After> {
    let bytes = URL_SAFE_NO_PAD.decode(token).ok()?;
    let (found, rest) = bytes.split_first_chunk::<8>()?;
    let (turn, key) = rest.split_first_chunk::<4>()?;
    let key = lang_dynamodb::decode(key).ok()?;
    (*found == mark).then_some(After { turn: u32::from_be_bytes(*turn) as usize, key })
}

fn index_of<'t>(target: &'t Target, name: Option<&str>, consistent: bool) -> Result<Option<&'t Index>, Error> {
    let Some(name) = name else { return Ok(None) };
    // Without the name, which Query has.
    let index = target
        .record
        .index(name)
        .ok_or_else(|| Error::validation_exception("The table does not have the specified index"))?;
    if consistent && !index.local {
        return Err(Error::validation_exception(
            "Strongly consistent read is not supported on Global Secondary Indexes",
        ));
    }
    super::page::check_filled(index)?;
    Ok(Some(index))
}

fn check_types(keys: &Keys, plan: &Plan) -> Result<(), Error> {
    let mut values: Vec<(&Value, &crate::table::KeyAttribute)> =
        plan.hashes.iter().map(|value| (value, &keys.hash)).collect();
    if let (Some(range), Some(attribute)) = (&plan.range, &keys.range) {
        values.extend(range.values().map(|value| (value, attribute)));
    }
    for (value, attribute) in values {
        if value.r#type() != attribute.r#type.value_type() {
            return Err(invalid("Condition parameter type does not match schema type"));
        }
        crate::table::check_not_empty(&attribute.name, value)?;
    }
    Ok(())
}

/// Whether attributes that the index lacks are fetched from the table.
fn check_projected(target: &Target, index: Option<&Index>, select: &Select, plan: &Plan) -> Result<bool, Error> {
    let Some(index) = index.filter(|index| index.projected != Projected::All) else { return Ok(false) };
    let lacks = |name: &str| !target.record.is_projected(index, name);
    let mut lacking: Vec<String> = Vec::new();
    if let Some(filter) = plan.filter.as_ref().filter(|_| plan.keyed) {
        filter.paths(&mut |path| {
            if lacks(path.head()) && !lacking.iter().any(|known| known == path.head()) {
                lacking.push(path.head().to_owned());
            }
        });
    }
    if !lacking.is_empty() {
        return Err(invalid(format!(
            "Secondary index {} does not project one or more filter attributes: [{}]",
            index.name,
            lacking.join(", ")
        )));
    }
    let columns = select.columns.iter().flatten().map(|column| column.path.head());
    let lacking: Vec<&str> = columns.filter(|name| lacks(name)).collect();
    if !lacking.is_empty() && !index.local {
        return Err(invalid(format!(
            "Global secondary index {} does not project [{}]",
            index.name,
            lacking.join(", ")
        )));
    }
    Ok(!lacking.is_empty())
}

/// In which direction the range keys go; the hash keys are put in their order.
fn order(keys: &Keys, select: &Select, plan: &mut Plan) -> Result<Direction, Error> {
    if select.order.is_empty() {
        return Ok(Direction::Forward);
    }
    if select.condition.is_none() {
        return Err(Error::validation_exception("Must have WHERE clause in the statement when using ORDER BY clause."));
    }
    if plan.hashes.is_empty() {
        return Err(Error::validation_exception(
            "Must have at least one non-optional hash key condition in WHERE clause when using ORDER BY clause.",
        ));
    }
    let mut direction = Direction::Forward;
    let mut by_hash = None;
    for (name, descending) in &select.order {
        if *name == keys.hash.name {
            by_hash = Some(*descending);
        } else if keys.range.as_ref().is_some_and(|range| range.name == *name) {
            direction = if *descending { Direction::Reverse } else { Direction::Forward };
        } else {
            return Err(Error::validation_exception(format!(
                "Variable reference {name} in ORDER BY clause must be part of the primary key"
            )));
        }
    }
    if plan.hashes.len() > 1 {
        let Some(descending) = by_hash.filter(|_| select.order[0].0 == keys.hash.name) else {
            return Err(Error::validation_exception(
                "Must have hash key in ORDER BY clause when more than one hash key condition specified in WHERE clause.",
            ));
        };
        plan.hashes.sort_by(|left, right| left.compare(right).unwrap_or(std::cmp::Ordering::Equal));
        if descending {
            plan.hashes.reverse();
        }
    }
    Ok(direction)
}

/// The rows that are looked at: of each hash key, or all.
fn ranges(target: &Target, index: Option<&Index>, plan: &Plan) -> Vec<KeyRange> {
    if plan.hashes.is_empty() {
        let all: Key = target.rows.all(number_of(index));
        return vec![all.prefix()];
    }
    plan.hashes.iter().map(|hash| range_of(target, index, hash, plan.range.as_ref())).collect()
}
