//! `ExpressionAttributeNames` and `ExpressionAttributeValues`. Guarantee: one that no expression uses is found.

use std::collections::{BTreeMap, BTreeSet};

use crate::{Invalid, Item, Value};

/// What `#names` and `:values` stand for, for all expressions of one request.
#[derive(Debug, Default)]
pub struct Placeholders<'a> {
    names: Option<&'a BTreeMap<String, String>>,
    values: Option<&'a Item>,
    used_names: BTreeSet<&'a str>,
    used_values: BTreeSet<&'a str>,
}

impl<'a> Placeholders<'a> {
    /// Of a request.
    ///
    /// # Errors
    /// When there are some, but empty, or a key is none.
    pub fn new(names: Option<&'a BTreeMap<String, String>>, values: Option<&'a Item>) -> Result<Self, Invalid> {
        if let Some(names) = names {
            check("ExpressionAttributeNames", '#', names.keys())?;
        }
        if let Some(values) = values {
            check("ExpressionAttributeValues", ':', values.keys())?;
        }
        Ok(Self { names, values, ..Self::default() })
    }

    pub(crate) fn name(&mut self, key: &str) -> Option<&'a str> {
        let (key, name) = self.names?.get_key_value(key)?;
        self.used_names.insert(key);
        Some(name)
    }

    pub(crate) fn value(&mut self, key: &str) -> Option<&'a Value> {
        let (key, value) = self.values?.get_key_value(key)?;
        self.used_values.insert(key);
        Some(value)
    }

    /// All expressions were read: everything must have been used.
    ///
    /// # Errors
    /// Naming what was not.
    pub fn finish(&self) -> Result<(), Invalid> {
        let unused = |what: &str, keys: Vec<&str>| {
            if keys.is_empty() {
                return Ok(());
            }
            let keys = keys.join(", ");
            Err(Invalid(format!("Value provided in {what} unused in expressions: keys: {{{keys}}}")))
        };
        let names = self.names.into_iter().flatten().map(|(key, _)| key.as_str());
        unused("ExpressionAttributeNames", names.filter(|key| !self.used_names.contains(key)).collect())?;
        let values = self.values.into_iter().flatten().map(|(key, _)| key.as_str());
        unused("ExpressionAttributeValues", values.filter(|key| !self.used_values.contains(key)).collect())
    }
}

fn check<'k>(what: &str, sign: char, mut keys: impl Iterator<Item = &'k String>) -> Result<(), Invalid> {
    let mut empty = true;
    let is_key = |key: &str| {
        key.strip_prefix(sign).is_some_and(|rest| {
            !rest.is_empty() && rest.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
        })
    };
    let wrong = keys.find(|key| {
        empty = false;
        !is_key(key)
    });
    match wrong {
        Some(key) => Err(Invalid(format!("{what} contains invalid key: Syntax error; key: \"{key}\""))),
        None if empty => Err(Invalid(format!("{what} must not be empty"))),
        None => Ok(()),
    }
}
