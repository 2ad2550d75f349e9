//! Short forms of values.

use std::collections::BTreeMap;

use bytes::Bytes;
use lang_dynamodb::{Item, Placeholders, Value};

pub(crate) fn s(text: &str) -> Value {
    Value::S(text.to_owned())
}

pub(crate) fn n(text: &str) -> Value {
    Value::N(text.parse().unwrap())
}

pub(crate) fn b(bytes: &[u8]) -> Value {
    Value::B(Bytes::copy_from_slice(bytes))
}

pub(crate) fn ss(texts: &[&str]) -> Value {
    Value::Ss(texts.iter().map(|text| (*text).to_owned()).collect())
}

pub(crate) fn ns(texts: &[&str]) -> Value {
    Value::Ns(texts.iter().map(|text| text.parse().unwrap()).collect())
}

pub(crate) fn l(items: &[Value]) -> Value {
    Value::L(items.to_vec())
}

pub(crate) fn m(entries: &[(&str, Value)]) -> Value {
    Value::M(item(entries))
}

pub(crate) fn item(entries: &[(&str, Value)]) -> Item {
    entries.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect()
}

/// The names and values that the tables of these tests use.
pub(crate) struct Given {
    names: BTreeMap<String, String>,
    values: Item,
}

impl Given {
    pub(crate) fn new() -> Self {
        let names = [("#a", "a"), ("#b", "b"), ("#dot", "x.y"), ("#r", "status")];
        let values = [
            (":s", s("text")),
            (":t", s("z")),
            (":n", n("5")),
            (":m", n("7")),
            (":b", b(b"bin")),
            (":bool", Value::Bool(true)),
            (":null", Value::Null),
            (":ss", ss(&["x", "y"])),
            (":ns", ns(&["1", "2"])),
            (":l", l(&[n("1")])),
            (":map", m(&[("k", n("1"))])),
            (":type", s("SS")),
            (":notype", s("X")),
        ];
        Self {
            names: names.iter().map(|(key, name)| ((*key).to_owned(), (*name).to_owned())).collect(),
            values: item(&values),
        }
    }

    pub(crate) fn placeholders(&self) -> Placeholders<'_> {
        Placeholders::new(Some(&self.names), Some(&self.values)).unwrap()
    }
}
