//! Restoring: a new table from a backup, or from another table as it was.

use base_types::Timestamp;
use model_dynamodb::{
    BillingMode, Error, GlobalSecondaryIndex, LocalSecondaryIndex, ProvisionedThroughput, RestoreTableFromBackupInput,
    RestoreTableFromBackupOutput, RestoreTableToPointInTimeInput, RestoreTableToPointInTimeOutput, TableDescription,
};
use services_kernel::Cx;
use store_api::Tx;

use super::{
    backups::{BackupName, RESTORING, allowed, look},
    create::{throughput_of, units_of},
};
use crate::{
    DynamoDb,
    error::invalid,
    restore::{self, FromLog, Restore, Restored},
    table::{Index, TableRecord, Throughput},
    tables::{Rows, TABLES, table_key},
    target::{Named, Target},
};

/// What the new table has otherwise than the old one.
struct Overrides<'a> {
    mode: Option<BillingMode>,
    units: Option<&'a ProvisionedThroughput>,
    globals: Option<&'a [GlobalSecondaryIndex]>,
    locals: Option<&'a [LocalSecondaryIndex]>,
}

impl DynamoDb {
    pub(crate) fn restore_backup(
        &self,
        cx: &Cx,
        tx: &Tx,
        input: &RestoreTableFromBackupInput,
    ) -> Result<RestoreTableFromBackupOutput, Error> {
        let named: BackupName = allowed(cx, tx, "dynamodb:RestoreTableFromBackup", &input.backup_arn)?;
        let backup = named.get(cx, tx, &input.backup_arn)?;
        if !backup.complete {
            return Err(Error::backup_in_use_exception(format!("Backup is being created: {}", input.backup_arn)));
        }
        let overrides = Overrides {
            mode: input.billing_mode_override,
            units: input.provisioned_throughput_override.as_ref(),
            globals: input.global_secondary_index_override.as_deref(),
            locals: input.local_secondary_index_override.as_deref(),
        };
        let restored = Restored {
            backup: Some(input.backup_arn.clone()),
            table: Some(cx.arn("dynamodb", format!("table/{}", named.table)).to_string()),
            at: backup.at,
            in_progress: true,
        };
        let description =
            self.restore(cx, tx, &input.target_table_name, &backup.table, &overrides, restored, |id| Restore {
                id,
                copy: backup.copy,
                after: None,
                copied: false,
                log: None,
            })?;
        Ok(RestoreTableFromBackupOutput { table_description: Some(description) })
    }

    pub(crate) fn restore_time(
        &self,
        cx: &Cx,
        tx: &Tx,
        input: &RestoreTableToPointInTimeInput,
    ) -> Result<RestoreTableToPointInTimeOutput, Error> {
        let source = match (&input.source_table_arn, &input.source_table_name) {
            (Some(arn), _) => arn,
            (None, Some(name)) => name,
            (None, None) => {
                return Err(Error::validation_exception(
                    "Either SourceTableArn or SourceTableName must be specified in the request",
                ));
            }
        };
        let source = look(cx, tx, "dynamodb:RestoreTableToPointInTime", source)?;
        let unavailable = || {
            Error::point_in_time_recovery_unavailable_exception(format!(
                "Point in time recovery is not enabled for table '{}'",
                source.name
            ))
        };
        let recovery = source.record.recovery.as_ref().ok_or_else(unavailable)?;
        let (now, earliest) = (tx.now(), recovery.earliest(tx.now()).ok_or_else(unavailable)?);
        let at: Timestamp = match (input.use_latest_restorable_time, input.restore_date_time) {
            (Some(true), Some(_)) => {
                return Err(Error::validation_exception(
                    "Only one of RestoreDateTime or UseLatestRestorableTime can be specified",
                ));
            }
            (Some(true), None) => now,
            (_, Some(at)) => at,
            (_, None) => {
                return Err(Error::validation_exception(
                    "One of RestoreDateTime or UseLatestRestorableTime must be specified",
                ));
            }
        };
        let base = recovery.base(at).filter(|_| (earliest..=now).contains(&at)).ok_or_else(|| {
            Error::invalid_restore_time_exception(format!(
                "Invalid restore time specified: it must lie between {} and {}",
                earliest.to_iso8601_millis(),
                now.to_iso8601_millis()
            ))
        })?;
        let log = FromLog {
            table: source.rows.id,
            name: source.name.clone(),
            after: base.place,
            until: at,
            last: tx.stable_position().to_bytes(),
        };
        let overrides = Overrides {
            mode: input.billing_mode_override,
            units: input.provisioned_throughput_override.as_ref(),
            globals: input.global_secondary_index_override.as_deref(),
            locals: input.local_secondary_index_override.as_deref(),
        };
        let restored = Restored { backup: None, table: Some(source.arn()), at, in_progress: true };
        let description =
            self.restore(cx, tx, &input.target_table_name, &source.record, &overrides, restored, |id| Restore {
                id,
                copy: base.id,
                after: None,
                copied: false,
                log: Some(log.clone()),
            })?;
        Ok(RestoreTableToPointInTimeOutput { table_description: Some(description) })
    }

    /// Makes the new table, and has it filled in the background.
    #[expect(clippy::too_many_arguments, reason = "what the two sorts of restoring have in common")]
    fn restore(
        &self,
        cx: &Cx,
        tx: &Tx,
        name: &str,
        source: &TableRecord,
        overrides: &Overrides<'_>,
        restored: Restored,
        task: impl Fn([u8; 16]) -> Restore,
    ) -> Result<TableDescription, Error> {
        let named = Named::of(cx, name)?;
        cx.authorize::<Error>(tx, "dynamodb:CreateTable", &named.arn(cx))?;
        if TABLES.get(tx, &table_key(cx.account, &cx.region, &named.name))?.is_some() {
            return Err(Error::table_already_exists_exception(format!("Table already exists: {}", named.name)));
        }
        let mut id = [0; 16];
        self.env.fill(&mut id);
        let throughput = match (overrides.mode, overrides.units) {
            (None, None) => source.throughput,
            (None, Some(units)) => Some(units_of(units)?),
            (mode, units) => throughput_of(mode, units)?,
        };
        let indexes = indexes(source, throughput, overrides)?;
        let definitions = source.definitions.iter().filter(|definition| {
            source.keys.has(&definition.name) || indexes.iter().any(|index| index.keys.has(&definition.name))
        });
        // What AWS does not restore: streams, time to live, tags, policies, recovery.
        let record = TableRecord {
            id,
            created: tx.now(),
            definitions: definitions.cloned().collect(),
            indexes,
            throughput,
            on_demand_since: throughput.is_none().then(|| tx.now()),
            stream: None,
            ttl: None,
            ttl_changed: None,
            protected: false,
            warm: None,
            policy: None,
            increased: None,
            decreased: None,
            copying: None,
            recovery: None,
            restored: Some(restored),
            ..source.clone()
        };
        let rows = Rows { account: cx.account, region: cx.region.clone(), id };
        let target = Target { name: named.name, record, rows };
        target.save(tx)?;
        restore::begin(tx, &target, &task(id))?;
        Ok(target.describe(tx, RESTORING)?)
    }
}

/// The indexes of the new table: some of the old one's.
fn indexes(
    source: &TableRecord,
    throughput: Option<Throughput>,
    overrides: &Overrides<'_>,
) -> Result<Vec<Index>, Error> {
    let names = |local: bool| -> Option<Vec<&str>> {
        match local {
            true => overrides.locals.map(|all| all.iter().map(|index| index.index_name.as_str()).collect()),
            false => overrides.globals.map(|all| all.iter().map(|index| index.index_name.as_str()).collect()),
        }
    };
    for local in [true, false] {
        for name in names(local).into_iter().flatten() {
            if !source.indexes.iter().any(|index| index.local == local && index.name == name) {
                return Err(invalid(format!("Index to be restored does not exist in the source table: {name}")));
            }
        }
    }
    let kept =
        source.indexes.iter().filter(|index| names(index.local).is_none_or(|names| names.contains(&&*index.name)));
    kept.map(|index| {
        let given = overrides.globals.into_iter().flatten().find(|wire| !index.local && wire.index_name == index.name);
        let units = given.and_then(|wire| wire.provisioned_throughput.as_ref()).map(units_of).transpose()?;
        let throughput = match throughput {
            Some(table) if !index.local => Some(units.or(index.throughput).unwrap_or(table)),
            _ => None,
        };
        Ok(Index { filling: false, throughput, ..index.clone() })
    })
    .collect()
}
