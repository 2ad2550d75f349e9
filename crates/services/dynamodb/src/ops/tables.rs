//! Tables: describe, list, update, delete.

use model_dynamodb::{
    BillingMode, DeleteTableInput, DeleteTableOutput, DescribeTableInput, DescribeTableOutput, Error,
    GlobalSecondaryIndexUpdate, ListTablesInput, ListTablesOutput, UpdateTableInput, UpdateTableOutput,
};
use services_kernel::{Cx, Tags};
use store_api::{Direction, Tx};

use super::{
    create::{
        GLOBAL_MAX, check_indexes, check_used, definitions_of, global_of, index_throughput, on_demand_of, units_of,
        view_of, warm_of,
    },
    describe::Stage,
};
use crate::{
    DynamoDb,
    error::invalid,
    recovery, restore, streams,
    table::{Index, KeyAttribute},
    tables::{BACKFILL, Backfill, NO_INDEX, TABLES, TRASH, Trash, backfill_key, table_key, trash_key},
    target::{Target, check_name},
};

const PAGE_MAX: usize = 100;

impl DynamoDb {
    pub(crate) fn describe(&self, cx: &Cx, tx: &Tx, input: &DescribeTableInput) -> Result<DescribeTableOutput, Error> {
        let target = Target::of_table(cx, tx, "dynamodb:DescribeTable", &input.table_name)?;
        Ok(DescribeTableOutput { table: Some(target.describe(tx, Stage::Active)?) })
    }

    pub(crate) fn list(&self, cx: &Cx, tx: &Tx, input: &ListTablesInput) -> Result<ListTablesOutput, Error> {
        cx.authorize::<Error>(tx, "dynamodb:ListTables", &cx.arn("dynamodb", "table/*"))?;
        let limit = input.limit.and_then(|limit| usize::try_from(limit).ok()).unwrap_or(PAGE_MAX);
        let mut range = TABLES.key(cx.account, &cx.region).prefix();
        if let Some(after) = &input.exclusive_start_table_name {
            check_name("ExclusiveStartTableName", after)?;
            range = range.after(&table_key(cx.account, &cx.region, after));
        }
        let rows = tx.scan(&range, limit + 1, Direction::Forward)?;
        let names = rows.iter().map(|(key, _)| key.last_str()).collect::<Result<Vec<_>, _>>();
        let mut names = names.map_err(base_types::Fault::from)?;
        let more = names.len() > limit;
        names.truncate(limit);
        Ok(ListTablesOutput {
            last_evaluated_table_name: names.last().filter(|_| more).cloned(),
            table_names: Some(names),
        })
    }

    pub(crate) fn drop_table(&self, cx: &Cx, tx: &Tx, input: &DeleteTableInput) -> Result<DeleteTableOutput, Error> {
        let mut target = Target::of_whole_table(cx, tx, "dynamodb:DeleteTable", &input.table_name)?;
        if target.record.protected {
            return Err(Error::validation_exception(format!(
                "Resource cannot be deleted as it is currently protected against deletion. Disable deletion protection \
                 first. Table: {}",
                target.name
            )));
        }
        let copied = target.record.copying.as_ref().is_some_and(|copying| copying.backup.is_some());
        if copied || restore::reads(tx, target.rows.id)? {
            return Err(Error::resource_in_use_exception(format!(
                "Attempt to change a resource which is still in use: Table is being backed up or restored from: {}",
                target.name
            )));
        }
        let description = target.describe(tx, Stage::Deleting)?;
        recovery::disable(tx, &mut target)?;
        streams::end(tx, &mut target)?;
        TABLES.remove(tx, &table_key(target.rows.account, &target.rows.region, &target.name))?;
        discard(tx, &target, NO_INDEX)?;
        Tags::clear(tx, cx, &target.arn())?;
        Ok(DeleteTableOutput { table_description: Some(description) })
    }

    pub(crate) fn alter(&self, cx: &Cx, tx: &Tx, input: &UpdateTableInput) -> Result<UpdateTableOutput, Error> {
        let mut target = Target::of_whole_table(cx, tx, "dynamodb:UpdateTable", &input.table_name)?;
        let changes = [
            input.billing_mode.is_some(),
            input.provisioned_throughput.is_some(),
            input.global_secondary_index_updates.is_some(),
            input.stream_specification.is_some(),
            input.table_class.is_some(),
            input.deletion_protection_enabled.is_some(),
            input.on_demand_throughput.is_some(),
            input.warm_throughput.is_some(),
        ];
        if !changes.contains(&true) {
            return Err(Error::validation_exception(
                "At least one of ProvisionedThroughput, BillingMode, UpdateStreamEnabled, GlobalSecondaryIndexUpdates or \
                 SSESpecification or ReplicaUpdates is required",
            ));
        }
        bill(tx, &mut target, input)?;
        if let Some(wire) = &input.stream_specification {
            let enabled = target.record.stream.as_ref().is_some_and(|stream| stream.enabled);
            match (enabled, view_of(wire)?) {
                (true, Some(_)) => {
                    return Err(Error::validation_exception(format!(
                        "Table already has an enabled stream: TableName: {}",
                        target.name
                    )));
                }
                (false, None) => {
                    return Err(Error::validation_exception(format!(
                        "Table is already disabled for streams: TableName: {}",
                        target.name
                    )));
                }
                (false, Some(view)) => streams::begin(tx, &mut target, view)?,
                (true, None) => streams::end(tx, &mut target)?,
            }
        }
        if let Some(updates) = &input.global_secondary_index_updates {
            let given = input.attribute_definitions.as_deref().map(definitions_of).transpose()?;
            reindex(tx, &mut target, updates, given)?;
        }
        let record = &mut target.record;
        if let Some(class) = input.table_class {
            record.class = Some(class.as_str().to_owned());
        }
        record.protected = input.deletion_protection_enabled.unwrap_or(record.protected);
        if let Some(wire) = &input.on_demand_throughput {
            record.on_demand = Some(on_demand_of(wire));
        }
        if let Some(wire) = &input.warm_throughput {
            record.warm = Some(warm_of(wire));
        }
        target.save(tx)?;
        Ok(UpdateTableOutput { table_description: Some(target.describe(tx, Stage::Updating)?) })
    }
}

/// Rows of a table, or of one of its indexes, go in the background.
pub(crate) fn discard(tx: &Tx, target: &Target, index: u64) -> Result<(), Error> {
    let trash = Trash { account: target.rows.account, region: target.rows.region.clone() };
    TRASH.put(tx, &trash_key(&target.rows.id, index), &trash)?;
    Ok(tx.wake(&TRASH.global_key(None), 1)?)
}

/// An index, or the expiry of items, is filled in the background.
pub(crate) fn fill(tx: &Tx, target: &Target, index: u64) -> Result<(), Error> {
    let row = backfill_key(target.rows.account, &target.rows.region, &target.name, index);
    BACKFILL.put(tx, &row, &Backfill { id: target.rows.id, after: None })?;
    Ok(tx.wake(&TRASH.global_key(None), 1)?)
}

fn bill(tx: &Tx, target: &mut Target, input: &UpdateTableInput) -> Result<(), Error> {
    let record = &mut target.record;
    let units = input.provisioned_throughput.as_ref().map(units_of).transpose()?;
    match (input.billing_mode, units) {
        (Some(BillingMode::PayPerRequest), Some(_)) => Err(invalid(
            "Neither ReadCapacityUnits nor WriteCapacityUnits can be specified when BillingMode is PAY_PER_REQUEST",
        )),
        (Some(BillingMode::PayPerRequest), None) => {
            if record.throughput.take().is_some() {
                record.on_demand_since = Some(tx.now());
                record.indexes.iter_mut().for_each(|index| index.throughput = None);
            }
            Ok(())
        }
        (Some(BillingMode::Provisioned), None) if record.throughput.is_none() => Err(invalid(
            "ReadCapacityUnits and WriteCapacityUnits must both be specified when BillingMode is PROVISIONED",
        )),
        (None, Some(_)) if record.throughput.is_none() => Err(invalid(
            "Neither ReadCapacityUnits nor WriteCapacityUnits can be specified when BillingMode is PAY_PER_REQUEST",
        )),
        (_, Some(units)) => {
            if let Some(before) = record.throughput {
                if before == units && input.global_secondary_index_updates.is_none() && input.billing_mode.is_none() {
                    return Err(Error::validation_exception(format!(
                        "The provisioned throughput for the table will not change. The requested value equals the current \
                         value. Current ReadCapacityUnits provisioned for the table: {}. Requested ReadCapacityUnits: {}. \
                         Current WriteCapacityUnits provisioned for the table: {}. Requested WriteCapacityUnits: {}. Refer \
                         to the Amazon DynamoDB Developer Guide for current limits and how to request higher limits.",
                        before.read, units.read, before.write, units.write
                    )));
                }
                if units.read > before.read || units.write > before.write {
                    record.increased = Some(tx.now());
                }
                if units.read < before.read || units.write < before.write {
                    record.decreased = Some(tx.now());
                }
            }
            record.throughput = Some(units);
            Ok(())
        }
        (_, None) => Ok(()),
    }
}

fn reindex(
    tx: &Tx,
    target: &mut Target,
    updates: &[GlobalSecondaryIndexUpdate],
    given: Option<Vec<KeyAttribute>>,
) -> Result<(), Error> {
    let made_or_gone = updates.iter().filter(|update| update.create.is_some() || update.delete.is_some()).count();
    if made_or_gone > 1 {
        return Err(Error::limit_exceeded_exception(
            "Subscriber limit exceeded: Only 1 online index can be created or deleted simultaneously per table",
        ));
    }
    for update in updates {
        match (&update.create, &update.delete, &update.update) {
            (Some(wire), None, None) => {
                if target.record.indexes.iter().any(|index| index.filling) {
                    return Err(Error::limit_exceeded_exception(
                        "Subscriber limit exceeded: Only 1 online index can be created or deleted simultaneously per table",
                    ));
                }
                let definitions = match &given {
                    Some(given) => merged(target, given)?,
                    None => target.record.definitions.clone(),
                };
                let index = global_of(&wire.index_name, &wire.key_schema, &wire.projection, &definitions)?;
                if target.record.index(&index.name).is_some() {
                    return Err(invalid(format!(
                        "Attempting to create an index which already exists. Index: {}",
                        index.name
                    )));
                }
                let throughput =
                    index_throughput(&wire.index_name, target.record.throughput, wire.provisioned_throughput.as_ref())?;
                let number = target.record.next_index;
                target.record.next_index += 1;
                target.record.indexes.push(Index {
                    number,
                    filling: true,
                    throughput,
                    on_demand: wire.on_demand_throughput.as_ref().map(on_demand_of),
                    warm: wire.warm_throughput.as_ref().map(warm_of),
                    ..index
                });
                if target.record.indexes.iter().filter(|index| !index.local).count() > GLOBAL_MAX {
                    return Err(Error::limit_exceeded_exception(
                        "GlobalSecondaryIndex count exceeds the per-table limit of 20",
                    ));
                }
                check_indexes(&target.record.indexes)?;
                check_used(&target.record.keys, &target.record.indexes, &definitions)?;
                target.record.definitions = definitions;
                fill(tx, target, number)?;
            }
            (None, Some(wire), None) => {
                let index = global_index(target, &wire.index_name)?;
                let number = index.number;
                discard(tx, target, number)?;
                target.record.indexes.retain(|index| index.number != number);
                // What only this index needed is defined no more.
                let (keys, indexes) = (&target.record.keys, &target.record.indexes);
                target.record.definitions.retain(|definition| {
                    keys.has(&definition.name) || indexes.iter().any(|index| index.keys.has(&definition.name))
                });
            }
            (None, None, Some(wire)) => {
                let table = target.record.throughput;
                let units = match &wire.provisioned_throughput {
                    Some(_) => index_throughput(&wire.index_name, table, wire.provisioned_throughput.as_ref())?,
                    None => None,
                };
                let index = global_index(target, &wire.index_name)?;
                index.throughput = units.or(index.throughput);
                index.on_demand = wire.on_demand_throughput.as_ref().map(on_demand_of).or(index.on_demand);
                index.warm = wire.warm_throughput.as_ref().map(warm_of).or(index.warm);
            }
            _ => {
                return Err(invalid("One of GlobalSecondaryIndexUpdate's Create, Update or Delete must be specified"));
            }
        }
    }
    Ok(())
}

fn global_index<'t>(target: &'t mut Target, name: &str) -> Result<&'t mut Index, Error> {
    let found = target.record.indexes.iter_mut().find(|index| index.name == name && !index.local);
    found.ok_or_else(|| Error::resource_not_found_exception("Requested resource not found"))
}

/// The definitions that there are, and those that were given for a new index.
fn merged(target: &Target, given: &[KeyAttribute]) -> Result<Vec<KeyAttribute>, Error> {
    let mut all = target.record.definitions.clone();
    for definition in given {
        match all.iter().find(|known| known.name == definition.name) {
            Some(known) if known.r#type != definition.r#type => {
                return Err(invalid(format!("Attempting to change the type of a key attribute: {}", definition.name)));
            }
            Some(_) => {}
            None => all.push(definition.clone()),
        }
    }
    Ok(all)
}
