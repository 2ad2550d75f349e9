//! What operations say that they used: AWS's arithmetic of capacity units and item collections.

use std::collections::BTreeMap;

use model_dynamodb::{
    Capacity, ConsumedCapacity, ItemCollectionMetrics, ReturnConsumedCapacity, ReturnItemCollectionMetrics,
};

use crate::{convert, target::Target, write::Effect};

/// Bytes that one unit of reading covers.
const READ_UNIT_BYTES: usize = 4096;

/// Units of reading so many bytes; half of them when the read may be a little old.
pub(crate) fn read_units(bytes: usize, consistent: bool) -> f64 {
    let units = bytes.div_ceil(READ_UNIT_BYTES).max(1) as f64;
    if consistent { units } else { units / 2.0 }
}

/// Units that a request used of one table.
#[derive(Clone, Debug, Default)]
pub(crate) struct Used {
    pub(crate) table: f64,
    pub(crate) local: BTreeMap<String, f64>,
    pub(crate) global: BTreeMap<String, f64>,
    /// Transactions also say whether they read or wrote.
    pub(crate) transaction: Option<Side>,
}

/// Which units they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Side {
    Read,
    Write,
}

impl Used {
    /// By a read of the table.
    pub(crate) fn table(units: f64) -> Self {
        Self { table: units, ..Self::default() }
    }

    /// Adds what a write took, `times` over.
    pub(crate) fn add(&mut self, effect: &Effect, times: f64) {
        self.table += effect.table * times;
        for (name, local, units) in &effect.indexes {
            *self.index(name, *local) += units * times;
        }
    }

    /// Adds what another request used.
    pub(crate) fn merge(&mut self, other: &Self) {
        self.table += other.table;
        for (mine, theirs) in [(&mut self.local, &other.local), (&mut self.global, &other.global)] {
            for (name, units) in theirs {
                *mine.entry(name.clone()).or_default() += units;
            }
        }
    }

    /// The units of an index.
    pub(crate) fn index(&mut self, name: &str, local: bool) -> &mut f64 {
        let indexes = if local { &mut self.local } else { &mut self.global };
        indexes.entry(name.to_owned()).or_default()
    }

    /// As the wire has it, if it is wanted.
    pub(crate) fn wire(&self, wanted: Option<ReturnConsumedCapacity>, table: &str) -> Option<ConsumedCapacity> {
        let indexes = match wanted? {
            ReturnConsumedCapacity::None => return None,
            ReturnConsumedCapacity::Total => false,
            ReturnConsumedCapacity::Indexes => true,
        };
        let side = |side: Side, units: f64| (self.transaction == Some(side)).then_some(units);
        let capacity = |units: f64| Capacity {
            capacity_units: Some(units),
            read_capacity_units: side(Side::Read, units),
            write_capacity_units: side(Side::Write, units),
        };
        let of = |units: &BTreeMap<String, f64>| {
            (indexes && !units.is_empty())
                .then(|| units.iter().map(|(name, units)| (name.clone(), capacity(*units))).collect())
        };
        let total = self.table + self.local.values().sum::<f64>() + self.global.values().sum::<f64>();
        Some(ConsumedCapacity {
            table_name: Some(table.to_owned()),
            capacity_units: Some(total),
            read_capacity_units: side(Side::Read, total),
            write_capacity_units: side(Side::Write, total),
            table: indexes.then(|| capacity(self.table)),
            local_secondary_indexes: of(&self.local),
            global_secondary_indexes: of(&self.global),
            vector_indexes: None,
        })
    }
}

/// The metrics of an item collection, if they are wanted and the table has collections.
pub(crate) fn collection(
    wanted: Option<ReturnItemCollectionMetrics>,
    target: &Target,
    key: &lang_dynamodb::Item,
    effect: &Effect,
) -> Option<ItemCollectionMetrics> {
    if wanted != Some(ReturnItemCollectionMetrics::Size) {
        return None;
    }
    let hash = &target.record.keys.hash.name;
    let value = convert::wire(key.get(hash)?.clone());
    let gigabytes = effect.collection? as f64 / f64::from(1_u32 << 30);
    Some(ItemCollectionMetrics {
        item_collection_key: Some(BTreeMap::from([(hash.clone(), value)])),
        size_estimate_range_gb: Some(vec![gigabytes.floor(), gigabytes.floor() + 1.0]),
    })
}
