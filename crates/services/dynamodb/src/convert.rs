//! Attribute values between the wire and the language. Guarantee: what comes out is a value that an item may have.

use std::collections::{BTreeMap, BTreeSet};

use lang_dynamodb::{Item, NESTING_MAX, Number, NumberError, Value};
use model_dynamodb::{AttributeValue, Error};

use crate::error::invalid;

/// Values by name, as the wire has them.
pub(crate) type WireItem = BTreeMap<String, AttributeValue>;

/// The items of an attribute map.
///
/// # Errors
/// In AWS's words.
pub(crate) fn item(wire: &WireItem) -> Result<Item, Error> {
    let item: Item =
        wire.iter().map(|(name, wire)| Ok((name.clone(), read(wire, 0)?))).collect::<Result<_, Error>>()?;
    Ok(item)
}

/// A value.
///
/// # Errors
/// In AWS's words.
pub(crate) fn value(wire: &AttributeValue) -> Result<Value, Error> {
    read(wire, 0)
}

/// `ExpressionAttributeValues`: as [`item`], but an error says which.
///
/// # Errors
/// In AWS's words.
pub(crate) fn placeholders(wire: Option<&WireItem>) -> Result<Option<Item>, Error> {
    let Some(wire) = wire else { return Ok(None) };
    let values = wire.iter().map(|(name, wire)| match read(wire, 0) {
        Ok(value) => Ok((name.clone(), value)),
        Err(error) => {
            use wire_schema::ServiceError as _;
            Err(Error::validation_exception(format!(
                "ExpressionAttributeValues contains invalid value: {} for key {name}",
                error.message()
            )))
        }
    });
    values.collect::<Result<_, _>>().map(Some)
}

fn read(wire: &AttributeValue, depth: usize) -> Result<Value, Error> {
    if depth > NESTING_MAX {
        return Err(Error::validation_exception(
            "Nesting Levels have exceeded supported limits: Attributes in the item have nested levels beyond supported \
             limit",
        ));
    }
    let AttributeValue { s, n, b, ss, ns, bs, m, l, null, bool } = wire;
    let there = [
        s.is_some(),
        n.is_some(),
        b.is_some(),
        ss.is_some(),
        ns.is_some(),
        bs.is_some(),
        m.is_some(),
        l.is_some(),
        null.is_some(),
        bool.is_some(),
    ];
    match there.into_iter().filter(|there| *there).count() {
        1 => {}
        0 => {
            return Err(Error::validation_exception(
                "Supplied AttributeValue is empty, must contain exactly one of the supported datatypes",
            ));
        }
        _ => {
            return Err(Error::validation_exception(
                "Supplied AttributeValue has more than one datatypes set, must contain exactly one of the supported \
                 datatypes",
            ));
        }
    }
    if let Some(text) = s {
        Ok(Value::S(text.clone()))
    } else if let Some(text) = n {
        Ok(Value::N(number(text)?))
    } else if let Some(bytes) = b {
        Ok(Value::B(bytes.clone()))
    } else if let Some(map) = m {
        let entries = map.iter().map(|(name, wire)| Ok((name.clone(), read(wire, depth + 1)?)));
        Ok(Value::M(entries.collect::<Result<_, Error>>()?))
    } else if let Some(list) = l {
        Ok(Value::L(list.iter().map(|wire| read(wire, depth + 1)).collect::<Result<_, _>>()?))
    } else if let Some(value) = bool {
        Ok(Value::Bool(*value))
    } else if null.is_some() {
        // Whatever it says: AWS takes `false`, too, and gives back `true`.
        Ok(Value::Null)
    } else {
        set(wire)
    }
}

fn number(text: &str) -> Result<Number, Error> {
    text.parse().map_err(|error: NumberError| match error {
        NumberError::NotNumeric if !text.is_empty() => Error::validation_exception(format!("{error}: {text}")),
        other => Error::validation_exception(other.to_string()),
    })
}

fn set(wire: &AttributeValue) -> Result<Value, Error> {
    use base64::{Engine as _, engine::general_purpose::STANDARD};
    let duplicates = |items: Vec<String>, of: &str| {
        Err(invalid(format!("Input collection [{}]{of} contains duplicates.", items.join(", "))))
    };
    if let Some(texts) = &wire.ss {
        let set: BTreeSet<String> = texts.iter().cloned().collect();
        return match (set.is_empty(), set.len() < texts.len()) {
            // The two spaces are AWS's.
            (true, _) => Err(invalid("An string set  may not be empty")),
            (_, true) => duplicates(texts.clone(), ""),
            _ => Ok(Value::Ss(set)),
        };
    }
    if let Some(texts) = &wire.ns {
        let set: BTreeSet<Number> = texts.iter().map(|text| number(text)).collect::<Result<_, _>>()?;
        return match (set.is_empty(), set.len() < texts.len()) {
            (true, _) => Err(invalid("An number set  may not be empty")),
            (_, true) => Err(Error::validation_exception("Input collection contains duplicates")),
            _ => Ok(Value::Ns(set)),
        };
    }
    let all = wire.bs.as_deref().unwrap_or_default();
    let set: BTreeSet<bytes::Bytes> = all.iter().cloned().collect();
    match (set.is_empty(), set.len() < all.len()) {
        (true, _) => Err(invalid("Binary sets should not be empty")),
        (_, true) => duplicates(all.iter().map(|bytes| STANDARD.encode(bytes)).collect(), "of type BS"),
        _ => Ok(Value::Bs(set)),
    }
}

/// An item as the wire has it.
pub(crate) fn wire_item(item: Item) -> WireItem {
    item.into_iter().map(|(name, value)| (name, wire(value))).collect()
}

/// A value as the wire has it.
pub(crate) fn wire(value: Value) -> AttributeValue {
    let mut wire = AttributeValue::default();
    match value {
        Value::S(text) => wire.s = Some(text),
        Value::N(number) => wire.n = Some(number.to_string()),
        Value::B(bytes) => wire.b = Some(bytes),
        Value::Bool(value) => wire.bool = Some(value),
        Value::Null => wire.null = Some(true),
        Value::Ss(set) => wire.ss = Some(set.into_iter().collect()),
        Value::Ns(set) => wire.ns = Some(set.iter().map(ToString::to_string).collect()),
        Value::Bs(set) => wire.bs = Some(set.into_iter().collect()),
        Value::L(list) => wire.l = Some(list.into_iter().map(self::wire).collect()),
        Value::M(map) => wire.m = Some(wire_item(map)),
    }
    wire
}
