//! Backups: a copy of a table as of the commit that made it, with its definition. Point-in-time recovery: on, off, and how
//! far back.

use base_env::Env;
use base_types::{AccountId, Arn, Region, Timestamp};
use minicbor::{Decode, Encode};
use model_dynamodb::{
    BackupDescription, BackupDetails, BackupStatus, BackupSummary, BackupType, BackupTypeFilter, BillingMode,
    ContinuousBackupsDescription, ContinuousBackupsStatus, CreateBackupInput, CreateBackupOutput, DeleteBackupInput,
    DeleteBackupOutput, DescribeBackupInput, DescribeBackupOutput, DescribeContinuousBackupsInput,
    DescribeContinuousBackupsOutput, Error, GlobalSecondaryIndexInfo, ListBackupsInput, ListBackupsOutput,
    LocalSecondaryIndexInfo, PointInTimeRecoveryDescription, PointInTimeRecoveryStatus, ProvisionedThroughput,
    SourceTableDetails, SourceTableFeatureDetails, UpdateContinuousBackupsInput, UpdateContinuousBackupsOutput,
};
use services_kernel::Cx;
use store_api::{Direction, Part, Tx};

use super::describe::{Stage, projection, schema, uuid};
use crate::{
    DynamoDb, copies,
    recovery::{self, DAYS_MAX},
    restore,
    table::{TableRecord, Throughput},
    tables::{BACKUPS, Id, NO_INDEX, Rows, backup_key, backups_key},
    target::{Named, Target},
};

/// Backups of one page (AWS: 100).
const PAGE_MAX: usize = 100;
/// Backups that one listing looks at.
const LOOKED_AT_MAX: usize = 10_000;

/// A backup.
#[derive(Clone, Debug, Encode, Decode)]
#[cbor(map)]
pub(crate) struct Backup {
    #[cbor(n(0), with = "minicbor::bytes")]
    pub(crate) copy: Id,
    #[n(1)]
    pub(crate) name: String,
    #[n(2)]
    pub(crate) at: Timestamp,
    #[n(3)]
    pub(crate) complete: bool,
    /// The table as it was.
    #[n(4)]
    pub(crate) table: TableRecord,
    #[n(5)]
    pub(crate) items: i64,
    #[n(6)]
    pub(crate) bytes: i64,
}

/// A backup's place.
pub(crate) struct BackupName {
    pub(crate) account: AccountId,
    pub(crate) table: String,
    pub(crate) id: String,
}

impl BackupName {
    /// Of an ARN.
    pub(crate) fn of(cx: &Cx, arn: &str) -> Result<Self, Error> {
        let refused = || Error::validation_exception(format!("Invalid BackupArn: {arn}"));
        let named = Named::of(cx, arn).map_err(|_| refused())?;
        let id = arn.rsplit_once("/backup/").map(|(_, id)| id.to_owned()).ok_or_else(refused)?;
        Ok(Self { account: named.account, table: named.name, id })
    }

    /// The backup.
    pub(crate) fn get(&self, cx: &Cx, tx: &Tx, arn: &str) -> Result<Backup, Error> {
        let row = backup_key(self.account, &cx.region, &self.table, &self.id);
        BACKUPS.require(tx, &row, || Error::backup_not_found_exception(format!("Backup not found: {arn}")))
    }
}

fn arn(account: AccountId, region: &Region, table: &str, id: &str) -> String {
    Arn::regional("dynamodb", region, account, format!("table/{table}/backup/{id}")).to_string()
}

fn new_id(env: &Env, at: Timestamp) -> (Id, String) {
    let mut id = [0; 16];
    env.fill(&mut id);
    let [a, b, c, d, ..] = id;
    (id, format!("{:014}-{a:02x}{b:02x}{c:02x}{d:02x}", at.as_millis()))
}

impl DynamoDb {
    pub(crate) fn create_backup_of(
        &self,
        cx: &Cx,
        tx: &Tx,
        input: &CreateBackupInput,
    ) -> Result<CreateBackupOutput, Error> {
        let mut target = look(cx, tx, "dynamodb:CreateBackup", &input.table_name)?;
        if target.record.is_restoring() {
            return Err(Error::table_in_use_exception(format!("Table is in use: {}", target.name)));
        }
        if target.record.copying.is_some() {
            return Err(Error::backup_in_use_exception(format!(
                "There is another ongoing conflicting backup control plane operation on the table: {}",
                target.name
            )));
        }
        let (items, bytes) = target.rows.counts(tx, NO_INDEX)?;
        let (copy, id) = new_id(&self.env, tx.now());
        let table = TableRecord { copying: None, recovery: None, ..target.record.clone() };
        let backup =
            Backup { copy, name: input.backup_name.clone(), at: tx.now(), complete: false, table, items, bytes };
        BACKUPS.put(tx, &backup_key(target.rows.account, &target.rows.region, &target.name, &id), &backup)?;
        copies::begin(tx, &mut target, copy, Some(id.clone()))?;
        target.save(tx)?;
        let arn = arn(target.rows.account, &target.rows.region, &target.name, &id);
        Ok(CreateBackupOutput { backup_details: Some(details(&backup, arn)) })
    }

    pub(crate) fn backup(&self, cx: &Cx, tx: &Tx, input: &DescribeBackupInput) -> Result<DescribeBackupOutput, Error> {
        let named = allowed(cx, tx, "dynamodb:DescribeBackup", &input.backup_arn)?;
        let backup = named.get(cx, tx, &input.backup_arn)?;
        let described = description(cx, &named, &backup, input.backup_arn.clone());
        Ok(DescribeBackupOutput { backup_description: Some(described) })
    }

    pub(crate) fn drop_backup(&self, cx: &Cx, tx: &Tx, input: &DeleteBackupInput) -> Result<DeleteBackupOutput, Error> {
        let named = allowed(cx, tx, "dynamodb:DeleteBackup", &input.backup_arn)?;
        let backup = named.get(cx, tx, &input.backup_arn)?;
        if !backup.complete || restore::reads(tx, backup.copy)? {
            return Err(Error::backup_in_use_exception(format!(
                "There is another ongoing conflicting backup control plane operation on the backup: {}",
                input.backup_arn
            )));
        }
        let rows = Rows { account: named.account, region: cx.region.clone(), id: backup.copy };
        BACKUPS.remove(tx, &backup_key(named.account, &cx.region, &named.table, &named.id))?;
        copies::discard(tx, &rows, backup.copy)?;
        let mut described = description(cx, &named, &backup, input.backup_arn.clone());
        if let Some(details) = &mut described.backup_details {
            details.backup_status = BackupStatus::Deleted;
        }
        Ok(DeleteBackupOutput { backup_description: Some(described) })
    }

    pub(crate) fn backups(&self, cx: &Cx, tx: &Tx, input: &ListBackupsInput) -> Result<ListBackupsOutput, Error> {
        cx.authorize::<Error>(tx, "dynamodb:ListBackups", &cx.arn("dynamodb", "table/*"))?;
        let limit = input.limit.and_then(|limit| usize::try_from(limit).ok()).unwrap_or(PAGE_MAX);
        let mut key = backups_key(cx.account, &cx.region);
        if let Some(table) = &input.table_name {
            key = key.str(&Named::of(cx, table)?.name);
        }
        let mut range = key.prefix();
        if let Some(after) = &input.exclusive_start_backup_arn {
            let after = BackupName::of(cx, after)?;
            range = range.after(&backup_key(cx.account, &cx.region, &after.table, &after.id));
        }
        // Ours are all made by users.
        let none = matches!(input.backup_type, Some(BackupTypeFilter::System | BackupTypeFilter::AwsBackup));
        let rows = if none { Vec::new() } else { BACKUPS.scan(tx, &range, LOOKED_AT_MAX, Direction::Forward)? };
        let mut found = Vec::new();
        for (key, backup) in rows {
            let within = input.time_range_lower_bound.is_none_or(|from| backup.at >= from)
                && input.time_range_upper_bound.is_none_or(|to| backup.at < to);
            let mut parts = key.parts().map_err(base_types::Fault::from)?;
            if let (true, Some(Part::Str(id)), Some(Part::Str(table))) = (within, parts.pop(), parts.pop()) {
                found.push(summary(cx, &table, &id, backup));
            }
        }
        let more = found.len() > limit;
        found.truncate(limit);
        let last = found.last().filter(|_| more).and_then(|summary| summary.backup_arn.clone());
        Ok(ListBackupsOutput { backup_summaries: Some(found), last_evaluated_backup_arn: last })
    }

    pub(crate) fn continuous_backups(
        &self,
        cx: &Cx,
        tx: &Tx,
        input: &DescribeContinuousBackupsInput,
    ) -> Result<DescribeContinuousBackupsOutput, Error> {
        let target = look(cx, tx, "dynamodb:DescribeContinuousBackups", &input.table_name)?;
        Ok(DescribeContinuousBackupsOutput { continuous_backups_description: Some(recoverable(tx, &target)) })
    }

    pub(crate) fn set_continuous_backups(
        &self,
        cx: &Cx,
        tx: &Tx,
        input: &UpdateContinuousBackupsInput,
    ) -> Result<UpdateContinuousBackupsOutput, Error> {
        let mut target = look(cx, tx, "dynamodb:UpdateContinuousBackups", &input.table_name)?;
        let wanted = &input.point_in_time_recovery_specification;
        if target.record.is_restoring() {
            return Err(Error::continuous_backups_unavailable_exception(
                "Backups are being enabled for the table. Please retry later",
            ));
        }
        if wanted.point_in_time_recovery_enabled {
            let kept = target.record.recovery.as_ref().map_or(DAYS_MAX, |recovery| recovery.days);
            let days = wanted.recovery_period_in_days.and_then(|days| u32::try_from(days).ok()).unwrap_or(kept);
            recovery::enable(tx, &self.env, &mut target, days)?;
        } else {
            if wanted.recovery_period_in_days.is_some() {
                return Err(Error::validation_exception(
                    "RecoveryPeriodInDays can only be specified when PointInTimeRecoveryEnabled is true",
                ));
            }
            if restore::reads(tx, target.rows.id)? {
                return Err(Error::continuous_backups_unavailable_exception(
                    "A table is being restored from the continuous backups of this one. Please retry later",
                ));
            }
            recovery::disable(tx, &mut target)?;
        }
        target.save(tx)?;
        Ok(UpdateContinuousBackupsOutput { continuous_backups_description: Some(recoverable(tx, &target)) })
    }
}

/// The table, in the words of the operations on backups.
pub(crate) fn look(cx: &Cx, tx: &Tx, action: &str, table: &str) -> Result<Target, Error> {
    Target::of_table(cx, tx, action, table).map_err(|error| match error {
        Error::ResourceNotFoundException(_) => Error::table_not_found_exception(format!("Table not found: {table}")),
        other => other,
    })
}

/// A backup that the caller may do that to.
pub(crate) fn allowed(cx: &Cx, tx: &Tx, action: &str, arn: &str) -> Result<BackupName, Error> {
    let named = BackupName::of(cx, arn)?;
    if cx.owns(named.account) {
        cx.authorize::<Error>(tx, action, &cx.arn("dynamodb", format!("table/{}/backup/{}", named.table, named.id)))?;
        return Ok(named);
    }
    Err(Error::backup_not_found_exception(format!("Backup not found: {arn}")))
}

fn recoverable(tx: &Tx, target: &Target) -> ContinuousBackupsDescription {
    let described = match &target.record.recovery {
        None => PointInTimeRecoveryDescription {
            point_in_time_recovery_status: Some(PointInTimeRecoveryStatus::Disabled),
            ..PointInTimeRecoveryDescription::default()
        },
        Some(recovery) => {
            let earliest = recovery.earliest(tx.now());
            PointInTimeRecoveryDescription {
                point_in_time_recovery_status: Some(PointInTimeRecoveryStatus::Enabled),
                recovery_period_in_days: i32::try_from(recovery.days).ok(),
                earliest_restorable_date_time: earliest,
                latest_restorable_date_time: earliest.map(|_| tx.now()),
            }
        }
    };
    ContinuousBackupsDescription {
        continuous_backups_status: ContinuousBackupsStatus::Enabled,
        point_in_time_recovery_description: Some(described),
    }
}

fn status(backup: &Backup) -> BackupStatus {
    if backup.complete { BackupStatus::Available } else { BackupStatus::Creating }
}

fn details(backup: &Backup, arn: String) -> BackupDetails {
    BackupDetails {
        backup_arn: arn,
        backup_name: backup.name.clone(),
        backup_size_bytes: Some(backup.bytes),
        backup_status: status(backup),
        backup_type: BackupType::User,
        backup_creation_date_time: backup.at,
        backup_expiry_date_time: None,
    }
}

fn summary(cx: &Cx, table: &str, id: &str, backup: Backup) -> BackupSummary {
    BackupSummary {
        table_name: Some(table.to_owned()),
        table_id: Some(uuid(&backup.table.id)),
        table_arn: Some(cx.arn("dynamodb", format!("table/{table}")).to_string()),
        backup_arn: Some(arn(cx.account, &cx.region, table, id)),
        backup_creation_date_time: Some(backup.at),
        backup_expiry_date_time: None,
        backup_status: Some(status(&backup)),
        backup_type: Some(BackupType::User),
        backup_size_bytes: Some(backup.bytes),
        backup_name: Some(backup.name),
    }
}

fn units(throughput: Option<Throughput>) -> ProvisionedThroughput {
    let units = throughput.unwrap_or(Throughput { read: 0, write: 0 });
    ProvisionedThroughput { read_capacity_units: units.read, write_capacity_units: units.write }
}

fn description(cx: &Cx, named: &BackupName, backup: &Backup, arn: String) -> BackupDescription {
    let record = &backup.table;
    let indexes = |local: bool| record.indexes.iter().filter(move |index| index.local == local);
    let locals: Vec<LocalSecondaryIndexInfo> = indexes(true)
        .map(|index| LocalSecondaryIndexInfo {
            index_name: Some(index.name.clone()),
            key_schema: Some(schema(&index.keys)),
            projection: Some(projection(&index.projected)),
        })
        .collect();
    let globals: Vec<GlobalSecondaryIndexInfo> = indexes(false)
        .map(|index| GlobalSecondaryIndexInfo {
            index_name: Some(index.name.clone()),
            key_schema: Some(schema(&index.keys)),
            projection: Some(projection(&index.projected)),
            provisioned_throughput: Some(units(index.throughput)),
            ..GlobalSecondaryIndexInfo::default()
        })
        .collect();
    BackupDescription {
        backup_details: Some(details(backup, arn)),
        source_table_details: Some(SourceTableDetails {
            table_name: named.table.clone(),
            table_id: uuid(&record.id),
            table_arn: Some(cx.arn("dynamodb", format!("table/{}", named.table)).to_string()),
            table_size_bytes: Some(backup.bytes),
            key_schema: schema(&record.keys),
            table_creation_date_time: record.created,
            provisioned_throughput: units(record.throughput),
            item_count: Some(backup.items),
            billing_mode: Some(match record.throughput {
                Some(_) => BillingMode::Provisioned,
                None => BillingMode::PayPerRequest,
            }),
            ..SourceTableDetails::default()
        }),
        source_table_feature_details: Some(SourceTableFeatureDetails {
            local_secondary_indexes: (!locals.is_empty()).then_some(locals),
            global_secondary_indexes: (!globals.is_empty()).then_some(globals),
            ..SourceTableFeatureDetails::default()
        }),
    }
}

/// What a table that is being restored is described as.
pub(crate) const RESTORING: Stage = Stage::Creating;
