//! What a table is: its keys, indexes and settings. Pure.

use std::collections::BTreeMap;

use base_types::Timestamp;
use lang_dynamodb::{Item, Path, Projection, Type, Value};
use minicbor::{Decode, Encode};
use model_dynamodb::{Error, ScalarAttributeType, StreamViewType};

use crate::{copies::Copying, error::invalid, recovery::Recovery, restore::Restored, tables::Id};

/// The greatest hash key, in bytes.
pub(crate) const HASH_BYTES_MAX: usize = 2048;
/// The greatest range key.
pub(crate) const RANGE_BYTES_MAX: usize = 1024;

/// A key attribute and its type.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub(crate) struct KeyAttribute {
    #[n(0)]
    pub(crate) name: String,
    #[n(1)]
    pub(crate) r#type: KeyType,
}

/// The types that keys have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
pub(crate) enum KeyType {
    #[n(0)]
    S,
    #[n(1)]
    N,
    #[n(2)]
    B,
}

impl KeyType {
    pub(crate) fn of(wire: ScalarAttributeType) -> Self {
        match wire {
            ScalarAttributeType::S => Self::S,
            ScalarAttributeType::N => Self::N,
            ScalarAttributeType::B => Self::B,
        }
    }

    pub(crate) fn wire(self) -> ScalarAttributeType {
        match self {
            Self::S => ScalarAttributeType::S,
            Self::N => ScalarAttributeType::N,
            Self::B => ScalarAttributeType::B,
        }
    }

    pub(crate) fn value_type(self) -> Type {
        match self {
            Self::S => Type::S,
            Self::N => Type::N,
            Self::B => Type::B,
        }
    }
}

/// The key of a table or index.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub(crate) struct Keys {
    #[n(0)]
    pub(crate) hash: KeyAttribute,
    #[n(1)]
    pub(crate) range: Option<KeyAttribute>,
}

impl Keys {
    pub(crate) fn attributes(&self) -> impl Iterator<Item = &KeyAttribute> {
        std::iter::once(&self.hash).chain(&self.range)
    }

    pub(crate) fn has(&self, name: &str) -> bool {
        self.attributes().any(|attribute| attribute.name == name)
    }

    /// The key's values out of an item, if it has them all, in their types and sizes.
    pub(crate) fn of<'i>(&self, item: &'i Item) -> Option<(&'i Value, Option<&'i Value>)> {
        let find = |attribute: &KeyAttribute, max: usize| {
            let value = item.get(&attribute.name)?;
            let size = value.size();
            (value.r#type() == attribute.r#type.value_type() && (1..=max).contains(&size)).then_some(value)
        };
        let hash = find(&self.hash, HASH_BYTES_MAX)?;
        match &self.range {
            Some(range) => Some((hash, Some(find(range, RANGE_BYTES_MAX)?))),
            None => Some((hash, None)),
        }
    }
}

/// Which attributes an index has.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub(crate) enum Projected {
    #[n(0)]
    All,
    #[n(1)]
    KeysOnly,
    #[n(2)]
    Include(#[n(0)] Vec<String>),
}

/// A secondary index.
#[derive(Clone, Debug, Encode, Decode)]
#[cbor(map)]
pub(crate) struct Index {
    #[n(0)]
    pub(crate) name: String,
    /// Its number among all that the table ever had.
    #[n(1)]
    pub(crate) number: u64,
    #[n(2)]
    pub(crate) keys: Keys,
    #[n(3)]
    pub(crate) projected: Projected,
    /// A local one is one of the table's own hash key.
    #[n(4)]
    pub(crate) local: bool,
    /// It is still being filled.
    #[n(5)]
    pub(crate) filling: bool,
    #[n(6)]
    pub(crate) throughput: Option<Throughput>,
    #[n(7)]
    pub(crate) on_demand: Option<OnDemand>,
    #[n(8)]
    pub(crate) warm: Option<Throughput>,
}

/// Units of reading and writing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub(crate) struct Throughput {
    #[n(0)]
    pub(crate) read: i64,
    #[n(1)]
    pub(crate) write: i64,
}

/// Bounds of on-demand tables.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub(crate) struct OnDemand {
    #[n(0)]
    pub(crate) read: Option<i64>,
    #[n(1)]
    pub(crate) write: Option<i64>,
}

/// A stream of a table's changes.
#[derive(Clone, Debug, Encode, Decode)]
#[cbor(map)]
pub(crate) struct Stream {
    #[n(0)]
    pub(crate) label: String,
    #[n(1)]
    pub(crate) view: View,
    #[n(2)]
    pub(crate) enabled: bool,
}

/// What a stream's records hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
pub(crate) enum View {
    #[n(0)]
    Keys,
    #[n(1)]
    New,
    #[n(2)]
    Old,
    #[n(3)]
    Both,
}

impl View {
    pub(crate) fn of(wire: StreamViewType) -> Self {
        match wire {
            StreamViewType::KeysOnly => Self::Keys,
            StreamViewType::NewImage => Self::New,
            StreamViewType::OldImage => Self::Old,
            StreamViewType::NewAndOldImages => Self::Both,
        }
    }

    pub(crate) fn wire(self) -> StreamViewType {
        match self {
            Self::Keys => StreamViewType::KeysOnly,
            Self::New => StreamViewType::NewImage,
            Self::Old => StreamViewType::OldImage,
            Self::Both => StreamViewType::NewAndOldImages,
        }
    }

    pub(crate) fn has_new(self) -> bool {
        matches!(self, Self::New | Self::Both)
    }

    pub(crate) fn has_old(self) -> bool {
        matches!(self, Self::Old | Self::Both)
    }
}

/// A table.
#[derive(Clone, Debug, Encode, Decode)]
#[cbor(map)]
pub(crate) struct TableRecord {
    #[cbor(n(0), with = "minicbor::bytes")]
    pub(crate) id: Id,
    #[n(1)]
    pub(crate) created: Timestamp,
    #[n(2)]
    pub(crate) keys: Keys,
    /// All attributes of keys, in the order in which they were given.
    #[n(3)]
    pub(crate) definitions: Vec<KeyAttribute>,
    #[n(4)]
    pub(crate) indexes: Vec<Index>,
    #[n(5)]
    pub(crate) next_index: u64,
    /// `None`: on demand.
    #[n(6)]
    pub(crate) throughput: Option<Throughput>,
    #[n(7)]
    pub(crate) on_demand_since: Option<Timestamp>,
    #[n(8)]
    pub(crate) stream: Option<Stream>,
    /// The attribute by which items expire.
    #[n(9)]
    pub(crate) ttl: Option<String>,
    #[n(10)]
    pub(crate) protected: bool,
    #[n(11)]
    pub(crate) class: Option<String>,
    #[n(12)]
    pub(crate) warm: Option<Throughput>,
    #[n(13)]
    pub(crate) on_demand: Option<OnDemand>,
    #[n(14)]
    pub(crate) policy: Option<Policy>,
    #[n(15)]
    pub(crate) ttl_changed: Option<Timestamp>,
    #[n(16)]
    pub(crate) increased: Option<Timestamp>,
    #[n(17)]
    pub(crate) decreased: Option<Timestamp>,
    /// A copy that is being made of it.
    #[n(18)]
    pub(crate) copying: Option<Copying>,
    /// Point-in-time recovery.
    #[n(19)]
    pub(crate) recovery: Option<Recovery>,
    /// Where it came from.
    #[n(20)]
    pub(crate) restored: Option<Restored>,
}

/// A table's own policy.
#[derive(Clone, Debug, Encode, Decode)]
#[cbor(map)]
pub(crate) struct Policy {
    #[n(0)]
    pub(crate) text: String,
    #[n(1)]
    pub(crate) revision: u64,
}

impl TableRecord {
    pub(crate) fn index(&self, name: &str) -> Option<&Index> {
        self.indexes.iter().find(|index| index.name == name)
    }

    /// Whether it is still being restored: then nobody may use it.
    pub(crate) fn is_restoring(&self) -> bool {
        self.restored.as_ref().is_some_and(|restored| restored.in_progress)
    }

    pub(crate) fn has_local(&self) -> bool {
        self.indexes.iter().any(|index| index.local)
    }

    /// What an index keeps of an item; `None` when the item is not in it.
    pub(crate) fn projection(&self, index: &Index, item: &Item) -> Option<Item> {
        index.keys.of(item)?;
        let more = match &index.projected {
            Projected::All => return Some(item.clone()),
            Projected::KeysOnly => &[],
            Projected::Include(more) => more.as_slice(),
        };
        let keys = self.keys.attributes().chain(index.keys.attributes()).map(|attribute| &attribute.name);
        let kept = keys.chain(more).filter_map(|name| Some((name.clone(), item.get(name)?.clone())));
        Some(kept.collect())
    }

    /// Whether an index keeps this attribute.
    pub(crate) fn is_projected(&self, index: &Index, name: &str) -> bool {
        match &index.projected {
            Projected::All => true,
            Projected::KeysOnly => self.keys.has(name) || index.keys.has(name),
            Projected::Include(more) => {
                self.keys.has(name) || index.keys.has(name) || more.iter().any(|known| known == name)
            }
        }
    }

    /// The item's key.
    pub(crate) fn key_of(&self, item: &Item) -> Item {
        Projection::of(self.keys.attributes().map(|key| Path::attribute(&key.name)).collect()).apply(item)
    }

    /// Whether the values are those of the table's key and nothing else.
    ///
    /// # Errors
    /// In AWS's words.
    pub(crate) fn check_key(&self, key: &Item) -> Result<(), Error> {
        let wanted = self.keys.attributes().count();
        let fits = |attribute: &KeyAttribute| {
            key.get(&attribute.name).is_some_and(|value| value.r#type() == attribute.r#type.value_type())
        };
        if key.len() != wanted || !self.keys.attributes().all(fits) {
            return Err(Error::validation_exception("The provided key element does not match the schema"));
        }
        self.check_key_values(key)
    }

    /// Whether an item has the table's key, and what indexes demand of their keys.
    ///
    /// # Errors
    /// In AWS's words.
    pub(crate) fn check_item(&self, item: &Item) -> Result<(), Error> {
        for attribute in self.keys.attributes() {
            let name = &attribute.name;
            match item.get(name) {
                None => return Err(invalid(format!("Missing the key {name} in the item"))),
                Some(value) if value.r#type() != attribute.r#type.value_type() => {
                    return Err(invalid(format!(
                        "Type mismatch for key {name} expected: {} actual: {}",
                        attribute.r#type.value_type(),
                        value.r#type()
                    )));
                }
                Some(_) => {}
            }
        }
        self.check_key_values(item)?;
        self.check_index_keys(item, false)
    }

    /// Whether none of the table's key is an empty text or empty bytes.
    ///
    /// # Errors
    /// In AWS's words.
    pub(crate) fn check_not_empty(&self, item: &Item) -> Result<(), Error> {
        for attribute in self.keys.attributes() {
            if let Some(value) = item.get(&attribute.name) {
                check_not_empty(&attribute.name, value)?;
            }
        }
        Ok(())
    }

    fn check_key_values(&self, item: &Item) -> Result<(), Error> {
        for (attribute, range) in self.keys.attributes().zip([false, true]) {
            let Some(value) = item.get(&attribute.name) else { continue };
            check_key_value(&attribute.name, value, range)?;
        }
        Ok(())
    }

    /// What indexes demand of an item's attributes; the first of them by name is told.
    pub(crate) fn check_index_keys(&self, item: &Item, updated: bool) -> Result<(), Error> {
        let mut indexes: Vec<&Index> = self.indexes.iter().collect();
        indexes.sort_by(|left, right| left.name.cmp(&right.name));
        for index in indexes {
            for (attribute, range) in index.keys.attributes().zip([false, true]) {
                let (name, index) = (&attribute.name, &index.name);
                let Some(value) = item.get(name) else { continue };
                if value.r#type() != attribute.r#type.value_type() {
                    return Err(invalid(format!(
                        "Type mismatch for Index Key {name} Expected: {} Actual: {} IndexName: {index}",
                        attribute.r#type.value_type(),
                        value.r#type()
                    )));
                }
                if let Some(what) = empty(value).filter(|_| updated) {
                    return Err(Error::validation_exception(format!(
                        "One or more parameter values are not valid. The update expression attempted to update a secondary \
                         index key to a value that is not supported. The AttributeValue for a key attribute cannot contain \
                         an empty {what} value."
                    )));
                }
                if let Some(what) = empty(value) {
                    return Err(Error::validation_exception(format!(
                        "One or more parameter values are not valid. A value specified for a secondary index key is not \
                         supported. The AttributeValue for a key attribute cannot contain an empty {what} value. \
                         IndexName: {index}, IndexKey: {name}"
                    )));
                }
                check_key_size(value, range)?;
            }
        }
        Ok(())
    }
}

fn empty(value: &Value) -> Option<&'static str> {
    match value {
        Value::S(text) if text.is_empty() => Some("string"),
        Value::B(bytes) if bytes.is_empty() => Some("binary"),
        _ => None,
    }
}

/// A value of a key is never empty.
///
/// # Errors
/// In AWS's words.
pub(crate) fn check_not_empty(name: &str, value: &Value) -> Result<(), Error> {
    match empty(value) {
        Some(what) => Err(Error::validation_exception(format!(
            "One or more parameter values are not valid. The AttributeValue for a key attribute cannot contain an empty \
             {what} value. Key: {name}"
        ))),
        None => Ok(()),
    }
}

fn check_key_value(name: &str, value: &Value, range: bool) -> Result<(), Error> {
    check_not_empty(name, value)?;
    check_key_size(value, range)
}

fn check_key_size(value: &Value, range: bool) -> Result<(), Error> {
    // The missing space is AWS's.
    match (range, value.size()) {
        (false, size) if size > HASH_BYTES_MAX => {
            Err(invalid("Size of hashkey has exceeded the maximum size limit of2048 bytes"))
        }
        (true, size) if size > RANGE_BYTES_MAX => {
            Err(invalid("Aggregated size of all range keys has exceeded the size limit of 1024 bytes"))
        }
        _ => Ok(()),
    }
}

/// The types of the attributes that a table defines.
pub(crate) fn types(definitions: &[KeyAttribute]) -> BTreeMap<&str, KeyType> {
    definitions.iter().map(|definition| (definition.name.as_str(), definition.r#type)).collect()
}
