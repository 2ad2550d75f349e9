//! CreateTable, and what tables and indexes may be.

use std::collections::{BTreeMap, BTreeSet};

use lang_policy::{Kind, Policy as Document};
use model_dynamodb::{
    AttributeDefinition, BillingMode, CreateTableInput, CreateTableOutput, Error, KeySchemaElement, KeyType as Role,
    OnDemandThroughput, Projection, ProjectionType, ProvisionedThroughput, StreamSpecification, WarmThroughput,
};
use services_kernel::Cx;
use store_api::Tx;

use super::{describe::Stage, tags};
use crate::{
    DynamoDb,
    error::invalid,
    streams,
    table::{Index, KeyAttribute, KeyType, Keys, OnDemand, Policy, Projected, TableRecord, Throughput, View, types},
    tables::{Rows, TABLES, table_key},
    target::{Named, Target, check_name},
};

/// Indexes of each sort (AWS: 5 and 20).
const LOCAL_MAX: usize = 5;
pub(crate) const GLOBAL_MAX: usize = 20;
/// Attributes that indexes of one table may name beside their keys (AWS: 100).
const PROJECTED_MAX: usize = 100;
const UNITS_MAX: i64 = 1_000_000_000_000;

impl DynamoDb {
    pub(crate) fn create(&self, cx: &Cx, tx: &Tx, input: &CreateTableInput) -> Result<CreateTableOutput, Error> {
        let named = Named::of(cx, &input.table_name)?;
        cx.authorize::<Error>(tx, "dynamodb:CreateTable", &named.arn(cx))?;
        let mut record = self.record_of(tx, input)?;
        let view = input.stream_specification.as_ref().map(view_of).transpose()?.flatten();
        if TABLES.get(tx, &table_key(cx.account, &cx.region, &named.name))?.is_some() {
            return Err(Error::resource_in_use_exception(format!("Table already exists: {}", named.name)));
        }
        if let Some(text) = &input.resource_policy {
            check_policy(text)?;
            record.policy = Some(Policy { text: text.clone(), revision: tx.now().as_millis() });
        }
        let rows = Rows { account: cx.account, region: cx.region.clone(), id: record.id };
        let mut target = Target { name: named.name, record, rows };
        if let Some(view) = view {
            streams::begin(tx, &mut target, view)?;
        }
        target.save(tx)?;
        tags::put(tx, cx, &target.arn(), input.tags.iter().flatten())?;
        Ok(CreateTableOutput { table_description: Some(target.describe(tx, Stage::Creating)?) })
    }

    fn record_of(&self, tx: &Tx, input: &CreateTableInput) -> Result<TableRecord, Error> {
        let (Some(wire_definitions), Some(schema)) = (&input.attribute_definitions, &input.key_schema) else {
            let missing = if input.attribute_definitions.is_none() { "attributeDefinitions" } else { "keySchema" };
            return Err(Error::validation_exception(format!(
                "1 validation error detected: Value null at '{missing}' failed to satisfy constraint: Member must not be \
                 null"
            )));
        };
        let throughput = throughput_of(input.billing_mode, input.provisioned_throughput.as_ref())?;
        let definitions = definitions_of(wire_definitions)?;
        if schema.len() > definitions.len() {
            return Err(Error::validation_exception("Invalid KeySchema: Some index key attribute have no definition"));
        }
        let keys = keys_of(schema, &definitions)?;
        let locals = input.local_secondary_indexes.as_deref();
        let globals = input.global_secondary_indexes.as_deref();
        if locals.is_none() && globals.is_none() && schema.len() != definitions.len() {
            return Err(invalid(
                "Number of attributes in KeySchema does not exactly match number of attributes defined in \
                 AttributeDefinitions",
            ));
        }
        let mut indexes = Vec::new();
        let mut next_index = 1;
        let mut number = || {
            next_index += 1;
            next_index - 1
        };
        if let Some(locals) = locals {
            if locals.is_empty() {
                return Err(invalid("List of LocalSecondaryIndexes is empty"));
            }
            if keys.range.is_none() {
                return Err(invalid(
                    "Table KeySchema does not have a range key, which is required when specifying a LocalSecondaryIndex",
                ));
            }
            for wire in locals {
                let index = local_of(&wire.index_name, &wire.key_schema, &wire.projection, &keys, &definitions)?;
                indexes.push(Index { number: number(), ..index });
            }
            if locals.len() > LOCAL_MAX {
                return Err(invalid("Number of LocalSecondaryIndexes exceeds per-table limit of 5"));
            }
        }
        if let Some(globals) = globals {
            if globals.is_empty() {
                return Err(invalid("List of GlobalSecondaryIndexes is empty"));
            }
            for wire in globals {
                let index = global_of(&wire.index_name, &wire.key_schema, &wire.projection, &definitions)?;
                let throughput = index_throughput(&wire.index_name, throughput, wire.provisioned_throughput.as_ref())?;
                indexes.push(Index {
                    number: number(),
                    throughput,
                    on_demand: wire.on_demand_throughput.as_ref().map(on_demand_of),
                    warm: wire.warm_throughput.as_ref().map(warm_of),
                    ..index
                });
            }
            if globals.len() > GLOBAL_MAX {
                return Err(invalid("GlobalSecondaryIndex count exceeds the per-table limit of 20"));
            }
        }
        check_indexes(&indexes)?;
        check_used(&keys, &indexes, &definitions)?;
        let mut id = [0; 16];
        self.env.fill(&mut id);
        Ok(TableRecord {
            id,
            created: tx.now(),
            keys,
            definitions,
            indexes,
            next_index,
            throughput,
            on_demand_since: throughput.is_none().then(|| tx.now()),
            stream: None,
            ttl: None,
            protected: input.deletion_protection_enabled == Some(true),
            class: input.table_class.map(|class| class.as_str().to_owned()),
            warm: input.warm_throughput.as_ref().map(warm_of),
            on_demand: input.on_demand_throughput.as_ref().map(on_demand_of),
            policy: None,
            ttl_changed: None,
            increased: None,
            decreased: None,
            copying: None,
            recovery: None,
            restored: None,
        })
    }
}

/// A policy of a resource must be one.
pub(crate) fn check_policy(text: &str) -> Result<(), Error> {
    match Document::parse(text, Kind::Resource) {
        Ok(_) => Ok(()),
        Err(error) => Err(Error::validation_exception(format!("Invalid policy document: {error}"))),
    }
}

/// Provisioned units, or none for on-demand tables.
pub(crate) fn throughput_of(
    mode: Option<BillingMode>,
    units: Option<&ProvisionedThroughput>,
) -> Result<Option<Throughput>, Error> {
    match (mode, units) {
        (Some(BillingMode::PayPerRequest), Some(_)) => Err(invalid(
            "Neither ReadCapacityUnits nor WriteCapacityUnits can be specified when BillingMode is PAY_PER_REQUEST",
        )),
        (Some(BillingMode::PayPerRequest), None) => Ok(None),
        (_, None) => Err(invalid(
            "ReadCapacityUnits and WriteCapacityUnits must both be specified when BillingMode is PROVISIONED",
        )),
        (_, Some(units)) => units_of(units).map(Some),
    }
}

/// Units within AWS's bounds.
pub(crate) fn units_of(wire: &ProvisionedThroughput) -> Result<Throughput, Error> {
    let units = Throughput { read: wire.read_capacity_units, write: wire.write_capacity_units };
    for (name, value) in [("ReadCapacityUnits", units.read), ("WriteCapacityUnits", units.write)] {
        if value > UNITS_MAX {
            return Err(Error::validation_exception(format!("Given value {value} for {name} is out of bounds")));
        }
    }
    Ok(units)
}

/// The units of a global index, which follow the table's mode.
pub(crate) fn index_throughput(
    name: &str,
    table: Option<Throughput>,
    units: Option<&ProvisionedThroughput>,
) -> Result<Option<Throughput>, Error> {
    match (table, units) {
        (None, Some(_)) => Err(invalid(format!(
            "ProvisionedThroughput should not be specified for index: {name} when BillingMode is PAY_PER_REQUEST"
        ))),
        (Some(_), None) => Err(invalid(format!("ProvisionedThroughput is not specified for index: {name}"))),
        (_, units) => units.map(units_of).transpose(),
    }
}

pub(crate) fn warm_of(wire: &WarmThroughput) -> Throughput {
    Throughput { read: wire.read_units_per_second.unwrap_or(0), write: wire.write_units_per_second.unwrap_or(0) }
}

pub(crate) fn on_demand_of(wire: &OnDemandThroughput) -> OnDemand {
    OnDemand { read: wire.max_read_request_units, write: wire.max_write_request_units }
}

/// What the records of a stream are to hold; `None` when there is to be none.
pub(crate) fn view_of(wire: &StreamSpecification) -> Result<Option<View>, Error> {
    match (wire.stream_enabled, wire.stream_view_type) {
        (false, None) => Ok(None),
        (false, Some(_)) => Err(invalid(
            "Table is not enabled for streams: StreamViewType must not be specified when \
                                         StreamEnabled is false",
        )),
        (true, None) => Err(invalid("StreamViewType must be specified when StreamEnabled is true")),
        (true, Some(view)) => Ok(Some(View::of(view))),
    }
}

/// The attributes that keys may use.
pub(crate) fn definitions_of(wire: &[AttributeDefinition]) -> Result<Vec<KeyAttribute>, Error> {
    let mut seen = BTreeSet::new();
    for definition in wire {
        if !seen.insert(definition.attribute_name.as_str()) {
            return Err(Error::validation_exception(
                "Cannot have two attributes with the same name in AttributeDefinitions",
            ));
        }
    }
    let all = wire.iter().map(|definition| KeyAttribute {
        name: definition.attribute_name.clone(),
        r#type: KeyType::of(definition.attribute_type),
    });
    Ok(all.collect())
}

/// The keys of a table or index.
pub(crate) fn keys_of(schema: &[KeySchemaElement], definitions: &[KeyAttribute]) -> Result<Keys, Error> {
    let types: BTreeMap<&str, KeyType> = types(definitions);
    if schema.len() > 2 {
        return Err(wire_schema::ServiceError::not_implemented("keys of more than two attributes"));
    }
    if schema.iter().any(|element| !types.contains_key(element.attribute_name.as_str())) {
        let names: Vec<&str> = schema.iter().map(|element| element.attribute_name.as_str()).collect();
        let known: Vec<&str> = definitions.iter().map(|definition| definition.name.as_str()).collect();
        return Err(invalid(format!(
            "Some index key attributes are not defined in AttributeDefinitions. Keys: [{}], AttributeDefinitions: [{}]",
            names.join(", "),
            known.join(", ")
        )));
    }
    if let [hash, range] = schema
        && hash.attribute_name == range.attribute_name
    {
        return Err(Error::validation_exception(
            "Both the Hash Key and the Range Key element in the KeySchema have the same name",
        ));
    }
    let attribute = |element: &KeySchemaElement| KeyAttribute {
        name: element.attribute_name.clone(),
        r#type: types.get(element.attribute_name.as_str()).copied().unwrap_or(KeyType::S),
    };
    match schema {
        [hash, ..] if hash.key_type != Role::Hash => {
            Err(Error::validation_exception("Invalid KeySchema: The first KeySchemaElement is not a HASH key type"))
        }
        [_, range] if range.key_type != Role::Range => {
            Err(Error::validation_exception("Invalid KeySchema: The second KeySchemaElement is not a RANGE key type"))
        }
        [hash, rest @ ..] => Ok(Keys { hash: attribute(hash), range: rest.first().map(attribute) }),
        [] => Err(Error::validation_exception("Invalid KeySchema: there is no HASH key")),
    }
}

fn projected_of(wire: &Projection) -> Result<Projected, Error> {
    let more = wire.non_key_attributes.as_ref();
    match wire.projection_type {
        None => Err(invalid("Unknown ProjectionType: null")),
        Some(ProjectionType::Include) => match more {
            Some(more) => Ok(Projected::Include(more.clone())),
            None => Err(invalid("ProjectionType is INCLUDE, but NonKeyAttributes is not specified")),
        },
        Some(other) => match (more, other) {
            (Some(_), _) => Err(invalid(format!("ProjectionType is {other}, but NonKeyAttributes is specified"))),
            (None, ProjectionType::All) => Ok(Projected::All),
            (None, _) => Ok(Projected::KeysOnly),
        },
    }
}

fn local_of(
    name: &str,
    schema: &[KeySchemaElement],
    projection: &Projection,
    table: &Keys,
    definitions: &[KeyAttribute],
) -> Result<Index, Error> {
    let index = global_of(name, schema, projection, definitions)?;
    if index.keys.range.is_none() {
        return Err(invalid(format!("Index KeySchema does not have a range key for index: {name}")));
    }
    if index.keys.hash.name != table.hash.name {
        return Err(invalid(format!(
            "Index KeySchema does not have the same leading hash key as table KeySchema for index: {name}. index hash key: \
             {}, table hash key: {}",
            index.keys.hash.name, table.hash.name
        )));
    }
    Ok(Index { local: true, ..index })
}

/// An index that has no number yet.
pub(crate) fn global_of(
    name: &str,
    schema: &[KeySchemaElement],
    projection: &Projection,
    definitions: &[KeyAttribute],
) -> Result<Index, Error> {
    check_name("IndexName", name)?;
    Ok(Index {
        name: name.to_owned(),
        number: 0,
        keys: keys_of(schema, definitions)?,
        projected: projected_of(projection)?,
        local: false,
        filling: false,
        throughput: None,
        on_demand: None,
        warm: None,
    })
}

/// No name twice, and not too many attributes.
pub(crate) fn check_indexes(indexes: &[Index]) -> Result<(), Error> {
    let mut names = BTreeSet::new();
    let mut projected = 0;
    for index in indexes {
        if !names.insert(index.name.as_str()) {
            return Err(invalid(format!("Duplicate index name: {}", index.name)));
        }
        if let Projected::Include(more) = &index.projected {
            projected += more.len();
        }
    }
    if projected > PROJECTED_MAX {
        return Err(invalid("Number of projected attributes across all indexes exceeds the per-table limit of 100"));
    }
    Ok(())
}

/// Every attribute that is defined is of some key.
pub(crate) fn check_used(keys: &Keys, indexes: &[Index], definitions: &[KeyAttribute]) -> Result<(), Error> {
    let used = |name: &str| keys.has(name) || indexes.iter().any(|index| index.keys.has(name));
    if definitions.iter().all(|definition| used(&definition.name)) {
        return Ok(());
    }
    let mut keys: Vec<&str> = keys.attributes().map(|key| key.name.as_str()).collect();
    for key in indexes.iter().flat_map(|index| index.keys.attributes()) {
        if !keys.contains(&key.name.as_str()) {
            keys.push(&key.name);
        }
    }
    let known: Vec<&str> = definitions.iter().map(|definition| definition.name.as_str()).collect();
    Err(invalid(format!(
        "Some AttributeDefinitions are not used. AttributeDefinitions: [{}], keys used: [{}]",
        known.join(", "),
        keys.join(", ")
    )))
}
