//! Reading a shape and filling one, by member index. Guarantee: no reflection, no unsafe code; a codec sees every Rust
//! type of a model through the two enums here.

use std::collections::BTreeMap;

use base_types::Timestamp;
use bytes::Bytes;

use crate::{Events, Schema, Streaming};

/// A structure of a model.
pub trait Shape: Send + Sync {
    /// Its table.
    fn schema(&self) -> &'static Schema;
    /// What member `index` of the table holds; `None` when it is absent.
    fn value(&self, index: usize) -> Option<Value<'_>>;
    /// Where member `index` is to be put; makes an absent one present. `None` for an index that the table lacks.
    fn place(&mut self, index: usize) -> Option<Place<'_>>;
}

/// Something that can be a member, an item or a map's value.
pub trait Cell: Send + Sync {
    /// What it holds; `None` when it is absent.
    fn value(&self) -> Option<Value<'_>>;
    /// Where a new value goes; makes an absent one present.
    fn place(&mut self) -> Place<'_>;
}

/// What a member holds.
#[derive(Clone, Copy)]
pub enum Value<'a> {
    /// A boolean.
    Boolean(bool),
    /// An `integer` or `long`.
    Integer(i64),
    /// A `float`.
    Float(f32),
    /// A `double`.
    Double(f64),
    /// A text, or the text of an enum.
    String(&'a str),
    /// Bytes.
    Blob(&'a Bytes),
    /// An instant.
    Timestamp(Timestamp),
    /// A list.
    List(&'a dyn List),
    /// A map.
    Map(&'a dyn Map),
    /// A structure.
    Structure(&'a dyn Shape),
    /// Events.
    Events(&'a dyn Events),
    /// A body that is handed on.
    Stream(&'a Streaming),
}

/// Where a member's value is put.
pub enum Place<'a> {
    /// A boolean.
    Boolean(&'a mut bool),
    /// An `integer`.
    Integer(&'a mut i32),
    /// A `long`.
    Long(&'a mut i64),
    /// A `float`.
    Float(&'a mut f32),
    /// A `double`.
    Double(&'a mut f64),
    /// A text.
    String(&'a mut String),
    /// Bytes.
    Blob(&'a mut Bytes),
    /// An instant.
    Timestamp(&'a mut Timestamp),
    /// An enum.
    Enum(&'a mut dyn Enumeration),
    /// A list; what it held is kept, a codec clears it first.
    List(&'a mut dyn List),
    /// A map.
    Map(&'a mut dyn Map),
    /// A structure.
    Structure(&'a mut dyn Shape),
    /// Events: they come in a body of their own, so no document fills them.
    Events(&'a mut dyn Events),
    /// A body that is handed on: it is the message's own, so no document fills it.
    Stream(&'a mut Streaming),
}

/// A closed enum.
pub trait Enumeration: Send + Sync {
    /// Takes the value whose text this is; `false`, and unchanged, when there is none.
    fn assign(&mut self, text: &str) -> bool;
}

/// A list of a model.
pub trait List: Send + Sync {
    /// How many items it has.
    fn len(&self) -> usize;
    /// Whether it has none.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }
    /// The item at `index`.
    fn item(&self, index: usize) -> Option<Value<'_>>;
    /// Removes all items.
    fn clear(&mut self);
    /// Appends an item and gives its place.
    fn push(&mut self) -> Place<'_>;
}

/// A map of a model.
pub trait Map: Send + Sync {
    /// How many entries it has.
    fn len(&self) -> usize;
    /// Whether it has none.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }
    /// All entries, in the order of their keys.
    fn entries(&self) -> Box<dyn Iterator<Item = (&str, Option<Value<'_>>)> + '_>;
    /// Removes all entries.
    fn clear(&mut self);
    /// The place of `key`'s value, fresh.
    fn insert(&mut self, key: String) -> Place<'_>;
}

macro_rules! cells {
    ($($type:ty, $value:ident($this:ident) = $read:expr, $place:ident;)*) => {$(
        impl Cell for $type {
            fn value(&self) -> Option<Value<'_>> {
                let $this = self;
                Some(Value::$value($read))
            }
            fn place(&mut self) -> Place<'_> {
                Place::$place(self)
            }
        }
    )*};
}

cells! {
    bool, Boolean(this) = *this, Boolean;
    i32, Integer(this) = i64::from(*this), Integer;
    i64, Integer(this) = *this, Long;
    f32, Float(this) = *this, Float;
    f64, Double(this) = *this, Double;
    String, String(this) = this, String;
    Bytes, Blob(this) = this, Blob;
    Timestamp, Timestamp(this) = *this, Timestamp;
}

impl<T: Cell + Default> Cell for Option<T> {
    fn value(&self) -> Option<Value<'_>> {
        self.as_ref().and_then(Cell::value)
    }
    fn place(&mut self) -> Place<'_> {
        self.get_or_insert_default().place()
    }
}

impl<T: Cell> Cell for Box<T> {
    fn value(&self) -> Option<Value<'_>> {
        (**self).value()
    }
    fn place(&mut self) -> Place<'_> {
        (**self).place()
    }
}

impl<T: Cell + Default> Cell for Vec<T> {
    fn value(&self) -> Option<Value<'_>> {
        Some(Value::List(self))
    }
    fn place(&mut self) -> Place<'_> {
        Place::List(self)
    }
}

impl<T: Cell + Default> Cell for BTreeMap<String, T> {
    fn value(&self) -> Option<Value<'_>> {
        Some(Value::Map(self))
    }
    fn place(&mut self) -> Place<'_> {
        Place::Map(self)
    }
}

impl<T: Cell + Default> List for Vec<T> {
    fn len(&self) -> usize {
        self.len()
    }
    fn item(&self, index: usize) -> Option<Value<'_>> {
        self.get(index).and_then(Cell::value)
    }
    fn clear(&mut self) {
        self.clear();
    }
    fn push(&mut self) -> Place<'_> {
        self.push(T::default());
        let last = self.len() - 1;
        self[last].place()
    }
}

impl<T: Cell + Default> Map for BTreeMap<String, T> {
    fn len(&self) -> usize {
        self.len()
    }
    fn entries(&self) -> Box<dyn Iterator<Item = (&str, Option<Value<'_>>)> + '_> {
        Box::new(self.iter().map(|(key, value)| (key.as_str(), value.value())))
    }
    fn clear(&mut self) {
        self.clear();
    }
    fn insert(&mut self, key: String) -> Place<'_> {
        let value = self.entry(key).or_default();
        *value = T::default();
        value.place()
    }
}
