//! Members that Pileus does not support. Guarantee: a request that carries one with an effect is found here, before its
//! operation runs, so nothing a client asks for is silently ignored.

use crate::{Kind, Mark, Shape, Tolerated, Value};

/// The path (as the model writes it, `Code.ImageUri`) of the first refused member that `input` carries.
#[must_use]
pub fn refused_member(input: &dyn Shape) -> Option<String> {
    for (index, member) in input.schema().members().iter().enumerate() {
        let Some(value) = input.value(index) else { continue };
        if let Mark::Refused(tolerated) = member.mark
            && !is_tolerated(value, tolerated)
        {
            return Some(member.name.to_owned());
        }
        if let Some(below) = refused_within(value) {
            return Some(format!("{}.{below}", member.name));
        }
    }
    None
}

fn refused_within(value: Value<'_>) -> Option<String> {
    match value {
        Value::Structure(shape) => refused_member(shape),
        Value::List(list) => {
            // Lists of texts and numbers have nothing below: look at the first item only, they are all alike.
            matches!(list.item(0), Some(Value::Structure(_) | Value::List(_) | Value::Map(_))).then_some(())?;
            (0..list.len()).filter_map(|index| list.item(index)).find_map(refused_within)
        }
        Value::Map(map) => map.entries().filter_map(|(_, value)| value).find_map(refused_within),
        _ => None,
    }
}

fn is_tolerated(value: Value<'_>, tolerated: Tolerated) -> bool {
    match tolerated {
        Tolerated::Nothing => false,
        Tolerated::Empty => is_empty(value),
        Tolerated::Text(text) => matches!(value, Value::String(given) if given == text),
    }
}

fn is_empty(value: Value<'_>) -> bool {
    match value {
        Value::Boolean(value) => !value,
        Value::String(text) => text.is_empty(),
        Value::Blob(bytes) => bytes.is_empty(),
        Value::List(list) => list.is_empty(),
        Value::Map(map) => map.is_empty(),
        Value::Structure(shape) => match shape.schema().kind {
            Kind::Structure { members, .. } => (0..members.len()).filter_map(|index| shape.value(index)).all(is_empty),
            _ => false,
        },
        Value::Integer(_)
        | Value::Float(_)
        | Value::Double(_)
        | Value::Timestamp(_)
        | Value::Events(_)
        | Value::Stream(_) => false,
    }
}
