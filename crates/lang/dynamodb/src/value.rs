//! Attribute values and items. Guarantees: a set has no duplicates and, once checked, is not empty; sizes are AWS's
//! ("Item sizes and formats" in the developer guide).

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use bytes::Bytes;

use crate::Number;

/// The greatest item, in bytes by AWS's rule.
pub const ITEM_BYTES_MAX: usize = 400 * 1024;
/// How deep lists and maps may stand in each other.
pub const NESTING_MAX: usize = 32;

/// Named values: an item, or a map within one.
pub type Item = BTreeMap<String, Value>;

/// An attribute value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    /// `S`.
    S(String),
    /// `N`.
    N(Number),
    /// `B`.
    B(Bytes),
    /// `BOOL`.
    Bool(bool),
    /// `NULL`.
    Null,
    /// `SS`.
    Ss(BTreeSet<String>),
    /// `NS`.
    Ns(BTreeSet<Number>),
    /// `BS`.
    Bs(BTreeSet<Bytes>),
    /// `L`.
    L(Vec<Value>),
    /// `M`.
    M(Item),
}

/// The type of a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Type {
    /// A text.
    S,
    /// A number.
    N,
    /// Bytes.
    B,
    /// True or false.
    Bool,
    /// Nothing.
    Null,
    /// A set of texts.
    Ss,
    /// A set of numbers.
    Ns,
    /// A set of byte strings.
    Bs,
    /// A list.
    L,
    /// A map.
    M,
}

impl Type {
    /// All types.
    pub const ALL: [Self; 10] =
        [Self::S, Self::N, Self::B, Self::Bool, Self::Null, Self::Ss, Self::Ns, Self::Bs, Self::L, Self::M];

    /// AWS's name of it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::S => "S",
            Self::N => "N",
            Self::B => "B",
            Self::Bool => "BOOL",
            Self::Null => "NULL",
            Self::Ss => "SS",
            Self::Ns => "NS",
            Self::Bs => "BS",
            Self::L => "L",
            Self::M => "M",
        }
    }

    /// AWS's other name of it, which some messages have.
    #[must_use]
    pub const fn long_name(self) -> &'static str {
        match self {
            Self::S => "STRING",
            Self::N => "NUMBER",
            Self::B => "BINARY",
            Self::Bool => "BOOLEAN",
            Self::Null => "NULL",
            Self::Ss => "STRING_SET",
            Self::Ns => "NUMBER_SET",
            Self::Bs => "BINARY_SET",
            Self::L => "LIST",
            Self::M => "MAP",
        }
    }

    /// The type of this name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|known| known.as_str() == name)
    }

    /// Whether its values have an order: `S`, `N`, `B`.
    #[must_use]
    pub const fn is_ordered(self) -> bool {
        matches!(self, Self::S | Self::N | Self::B)
    }

    /// Whether it is a set.
    #[must_use]
    pub const fn is_set(self) -> bool {
        matches!(self, Self::Ss | Self::Ns | Self::Bs)
    }
}

impl fmt::Display for Type {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Value {
    /// Its type.
    #[must_use]
    pub fn r#type(&self) -> Type {
        match self {
            Self::S(_) => Type::S,
            Self::N(_) => Type::N,
            Self::B(_) => Type::B,
            Self::Bool(_) => Type::Bool,
            Self::Null => Type::Null,
            Self::Ss(_) => Type::Ss,
            Self::Ns(_) => Type::Ns,
            Self::Bs(_) => Type::Bs,
            Self::L(_) => Type::L,
            Self::M(_) => Type::M,
        }
    }

    /// Its size in an item, in bytes.
    #[must_use]
    pub fn size(&self) -> usize {
        match self {
            Self::S(text) => text.len(),
            Self::N(number) => number.size(),
            Self::B(bytes) => bytes.len(),
            Self::Bool(_) | Self::Null => 1,
            Self::Ss(set) => set.iter().map(String::len).sum(),
            Self::Ns(set) => set.iter().map(Number::size).sum(),
            Self::Bs(set) => set.iter().map(Bytes::len).sum(),
            Self::L(list) => 3 + list.iter().map(|value| 1 + value.size()).sum::<usize>(),
            Self::M(map) => 3 + map.len() + item_size(map),
        }
    }

    /// How many lists and maps stand in each other, this one included.
    #[must_use]
    pub fn depth(&self) -> usize {
        match self {
            Self::L(list) => 1 + list.iter().map(Self::depth).max().unwrap_or(0),
            Self::M(map) => 1 + map.values().map(Self::depth).max().unwrap_or(0),
            _ => 0,
        }
    }

    /// The order of two values of one ordered type; `None` for others.
    #[must_use]
    pub fn compare(&self, other: &Self) -> Option<std::cmp::Ordering> {
        match (self, other) {
            (Self::S(left), Self::S(right)) => Some(left.as_bytes().cmp(right.as_bytes())),
            (Self::N(left), Self::N(right)) => Some(left.cmp(right)),
            (Self::B(left), Self::B(right)) => Some(left.cmp(right)),
            _ => None,
        }
    }

    /// Appends bytes whose order is that of the values of its type. Only `S`, `N` and `B` have one: false for others.
    pub fn encode_ordered(&self, out: &mut Vec<u8>) -> bool {
        match self {
            Self::S(text) => out.extend_from_slice(text.as_bytes()),
            Self::N(number) => number.encode_ordered(out),
            Self::B(bytes) => out.extend_from_slice(bytes),
            _ => return false,
        }
        true
    }
}

/// The size of an item: names and values, in bytes.
#[must_use]
pub fn item_size(item: &Item) -> usize {
    item.iter().map(|(name, value)| name.len() + value.size()).sum()
}

/// As some of AWS's messages print it: `{S:text}`.
impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        use base64::{Engine as _, engine::general_purpose::STANDARD};
        let list = |items: Vec<String>| format!("[{}]", items.join(", "));
        let text = match self {
            Self::S(text) => text.clone(),
            Self::N(number) => number.to_string(),
            Self::B(bytes) => STANDARD.encode(bytes),
            Self::Bool(value) => value.to_string(),
            Self::Null => "true".to_owned(),
            Self::Ss(set) => list(set.iter().cloned().collect()),
            Self::Ns(set) => list(set.iter().map(ToString::to_string).collect()),
            Self::Bs(set) => list(set.iter().map(|bytes| STANDARD.encode(bytes)).collect()),
            Self::L(items) => list(items.iter().map(ToString::to_string).collect()),
            Self::M(map) => {
                let entries: Vec<String> = map.iter().map(|(name, value)| format!("{name}={value}")).collect();
                format!("{{{}}}", entries.join(", "))
            }
        };
        write!(f, "{{{}:{text}}}", self.r#type())
    }
}
