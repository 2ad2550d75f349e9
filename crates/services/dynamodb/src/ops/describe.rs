//! A table as AWS describes it.

use base_types::{Fault, Timestamp};
use model_dynamodb::{
    AttributeDefinition, BillingMode, BillingModeSummary, GlobalSecondaryIndexDescription,
    GlobalSecondaryIndexWarmThroughputDescription, IndexStatus, KeySchemaElement, KeyType as Role,
    LocalSecondaryIndexDescription, OnDemandThroughput, Projection, ProjectionType, ProvisionedThroughputDescription,
    RestoreSummary, StreamSpecification, TableClassSummary, TableDescription, TableStatus,
    TableWarmThroughputDescription,
};
use store_api::Tx;

use crate::{
    table::{Index, KeyAttribute, Keys, OnDemand, Projected, Throughput},
    tables::NO_INDEX,
    target::Target,
};

/// What on-demand tables can do at once (AWS's figures).
const WARM_ON_DEMAND: Throughput = Throughput { read: 12_000, write: 4_000 };

/// From where a table is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stage {
    Creating,
    Active,
    Updating,
    Deleting,
}

impl Target {
    /// Its description.
    pub(crate) fn describe(&self, tx: &Tx, stage: Stage) -> Result<TableDescription, Fault> {
        let record = &self.record;
        let (items, bytes) = self.rows.counts(tx, NO_INDEX)?;
        let arn = self.arn();
        let gone = stage == Stage::Deleting;
        let stream = record.stream.as_ref();
        let filling = record.indexes.iter().any(|index| index.filling);
        let (mut locals, mut globals) = (Vec::new(), Vec::new());
        for index in record.indexes.iter().filter(|_| !gone) {
            let counts = self.rows.counts(tx, index.number)?;
            let index_arn = format!("{arn}/index/{}", index.name);
            if index.local {
                locals.push(local(index, counts, index_arn));
            } else {
                globals.push(global(index, counts, index_arn, stage));
            }
        }
        Ok(TableDescription {
            attribute_definitions: (!gone).then(|| definitions(&record.definitions)),
            table_name: Some(self.name.clone()),
            key_schema: (!gone).then(|| schema(&record.keys)),
            table_status: Some(match stage {
                Stage::Creating => TableStatus::Creating,
                Stage::Deleting => TableStatus::Deleting,
                Stage::Updating => TableStatus::Updating,
                Stage::Active if record.is_restoring() => TableStatus::Creating,
                Stage::Active if filling => TableStatus::Updating,
                Stage::Active => TableStatus::Active,
            }),
            creation_date_time: (!gone).then_some(record.created),
            provisioned_throughput: Some(throughput(record.throughput, record.increased, record.decreased)),
            table_size_bytes: Some(bytes),
            item_count: Some(items),
            table_arn: Some(arn.clone()),
            table_id: Some(uuid(&record.id)),
            billing_mode_summary: record.on_demand_since.map(|since| BillingModeSummary {
                billing_mode: Some(match record.throughput {
                    Some(_) => BillingMode::Provisioned,
                    None => BillingMode::PayPerRequest,
                }),
                last_update_to_pay_per_request_date_time: (stage != Stage::Creating).then_some(since),
            }),
            local_secondary_indexes: (!locals.is_empty()).then_some(locals),
            global_secondary_indexes: (!globals.is_empty()).then_some(globals),
            stream_specification: stream
                .filter(|stream| stream.enabled)
                .map(|stream| StreamSpecification { stream_enabled: true, stream_view_type: Some(stream.view.wire()) }),
            latest_stream_label: stream.map(|stream| stream.label.clone()),
            latest_stream_arn: stream.map(|stream| format!("{arn}/stream/{}", stream.label)),
            table_class_summary: record
                .class
                .as_ref()
                .map(|class| TableClassSummary { table_class: class.parse().ok(), last_update_date_time: None }),
            deletion_protection_enabled: Some(record.protected),
            on_demand_throughput: record.on_demand.map(on_demand),
            warm_throughput: warm(record.warm, record.throughput, stage).map(|(units, ready)| {
                TableWarmThroughputDescription {
                    read_units_per_second: Some(units.read),
                    write_units_per_second: Some(units.write),
                    status: Some(if ready { TableStatus::Active } else { TableStatus::Updating }),
                }
            }),
            restore_summary: record.restored.as_ref().map(|restored| RestoreSummary {
                source_backup_arn: restored.backup.clone(),
                source_table_arn: restored.table.clone(),
                restore_date_time: restored.at,
                restore_in_progress: restored.in_progress,
            }),
            ..TableDescription::default()
        })
    }
}

/// What can be had at once; only said of a new table when it was asked for.
fn warm(asked: Option<Throughput>, provisioned: Option<Throughput>, stage: Stage) -> Option<(Throughput, bool)> {
    match (stage, asked) {
        (Stage::Creating, Some(asked)) => Some((asked, false)),
        (Stage::Creating | Stage::Deleting, _) => None,
        (_, Some(asked)) => Some((asked, true)),
        (_, None) => Some((provisioned.unwrap_or(WARM_ON_DEMAND), true)),
    }
}

/// The text of an identity.
pub(crate) fn uuid(id: &[u8; 16]) -> String {
    let hex: String = id.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("{}-{}-{}-{}-{}", &hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..])
}

fn definitions(all: &[KeyAttribute]) -> Vec<AttributeDefinition> {
    let wire = all.iter().map(|definition| AttributeDefinition {
        attribute_name: definition.name.clone(),
        attribute_type: definition.r#type.wire(),
    });
    wire.collect()
}

/// A key as the wire has it.
pub(crate) fn schema(keys: &Keys) -> Vec<KeySchemaElement> {
    let wire = keys
        .attributes()
        .zip([Role::Hash, Role::Range])
        .map(|(attribute, key_type)| KeySchemaElement { attribute_name: attribute.name.clone(), key_type });
    wire.collect()
}

fn throughput(
    units: Option<Throughput>,
    increased: Option<Timestamp>,
    decreased: Option<Timestamp>,
) -> ProvisionedThroughputDescription {
    let units = units.unwrap_or(Throughput { read: 0, write: 0 });
    ProvisionedThroughputDescription {
        last_increase_date_time: increased,
        last_decrease_date_time: decreased,
        number_of_decreases_today: Some(0),
        read_capacity_units: Some(units.read),
        write_capacity_units: Some(units.write),
    }
}

fn on_demand(units: OnDemand) -> OnDemandThroughput {
    OnDemandThroughput { max_read_request_units: units.read, max_write_request_units: units.write }
}

/// A projection as the wire has it.
pub(crate) fn projection(projected: &Projected) -> Projection {
    let (projection_type, non_key_attributes) = match projected {
        Projected::All => (ProjectionType::All, None),
        Projected::KeysOnly => (ProjectionType::KeysOnly, None),
        Projected::Include(more) => (ProjectionType::Include, Some(more.clone())),
    };
    Projection { projection_type: Some(projection_type), non_key_attributes }
}

fn local(index: &Index, (items, bytes): (i64, i64), arn: String) -> LocalSecondaryIndexDescription {
    LocalSecondaryIndexDescription {
        index_name: Some(index.name.clone()),
        key_schema: Some(schema(&index.keys)),
        projection: Some(projection(&index.projected)),
        index_size_bytes: Some(bytes),
        item_count: Some(items),
        index_arn: Some(arn),
    }
}

fn global(index: &Index, (items, bytes): (i64, i64), arn: String, stage: Stage) -> GlobalSecondaryIndexDescription {
    GlobalSecondaryIndexDescription {
        index_name: Some(index.name.clone()),
        key_schema: Some(schema(&index.keys)),
        projection: Some(projection(&index.projected)),
        index_status: Some(if stage == Stage::Creating || index.filling {
            IndexStatus::Creating
        } else {
            IndexStatus::Active
        }),
        backfilling: index.filling.then_some(true),
        provisioned_throughput: Some(throughput(index.throughput, None, None)),
        index_size_bytes: Some(bytes),
        item_count: Some(items),
        index_arn: Some(arn),
        on_demand_throughput: index.on_demand.map(on_demand),
        warm_throughput: warm(index.warm, index.throughput, stage).map(|(units, ready)| {
            GlobalSecondaryIndexWarmThroughputDescription {
                read_units_per_second: Some(units.read),
                write_units_per_second: Some(units.write),
                status: Some(if ready { IndexStatus::Active } else { IndexStatus::Updating }),
            }
        }),
    }
}
