//! From JSON to a shape. Guarantee: a wrong type is answered in AWS's words (`STRING_VALUE can not be converted to an
//! Integer`, recorded from Lambda and SQS); unknown members are skipped, as AWS does.

use std::{borrow::Cow, fmt};

use base_types::Timestamp;
use base64::{
    Engine as _,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
};
use serde::de::{DeserializeSeed, Deserializer, Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor};
use wire_schema::{Kind, List, Location, Map, Place, Schema, Seen, Shape, Step, Survey, TimestampFormat};

use crate::Members;

/// The document is not JSON, or a value does not fit its shape. The text is what a client may read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Malformed(pub String);

/// Padding may be missing, as in Java's decoder.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &base64::alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// Fills those `members` of `shape` that travel in the document. `seen` notes them; the caller, who knows of members that
/// travel elsewhere, reports to `survey` which are missing. Below the top, this is done here.
///
/// # Errors
/// When the document is not JSON, or a value does not fit.
pub fn decode(
    document: &[u8],
    members: Members,
    shape: &mut dyn Shape,
    seen: &mut Seen,
    survey: &mut Survey,
) -> Result<(), Malformed> {
    let mut state = State { survey, error: None };
    let mut json = serde_json::Deserializer::from_slice(document);
    let outcome = Top { shape, members, seen, state: &mut state }.deserialize(&mut json).and_then(|()| json.end());
    match (outcome, state.error) {
        (Ok(()), None) => Ok(()),
        (_, Some(message)) => Err(Malformed(message)),
        (Err(error), None) => Err(Malformed(format!("Could not parse request body into json: {error}"))),
    }
}

struct State<'s> {
    survey: &'s mut Survey,
    /// What AWS would say, kept aside because the parser's own errors carry positions.
    error: Option<String>,
}

impl State<'_> {
    fn fail<E: serde::de::Error>(&mut self, message: impl Into<String>) -> E {
        self.error = Some(message.into());
        E::custom("the value does not fit its shape")
    }

    /// AWS's sentence for a token of the wrong kind.
    fn mismatch<E: serde::de::Error>(&mut self, token: &str, schema: &Schema) -> E {
        let wanted = match schema.kind {
            Kind::Boolean => "a Boolean",
            Kind::Integer => "an Integer",
            Kind::Long => "a Long",
            Kind::Float => "a Float",
            Kind::Double => "a Double",
            Kind::String | Kind::Enum(_) => "a String",
            Kind::Blob => "a ByteBuffer",
            Kind::Timestamp => "a Date",
            Kind::List { .. } | Kind::Map { .. } | Kind::Structure { .. } | Kind::Stream => {
                return self.fail("Unexpected field type");
            }
        };
        self.fail(format!("{token} can not be converted to {wanted}"))
    }
}

/// The document itself.
struct Top<'a, 's> {
    shape: &'a mut dyn Shape,
    members: Members,
    seen: &'a mut Seen,
    state: &'a mut State<'s>,
}

impl<'de> DeserializeSeed<'de> for Top<'_, '_> {
    type Value = ();
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Top<'_, '_> {
    type Value = ();
    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }
    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<(), A::Error> {
        fill_members(map, self.shape, self.seen, self.state, self.members)
    }
    fn visit_unit<E: serde::de::Error>(self) -> Result<(), E> {
        Ok(())
    }
    fn visit_seq<A: SeqAccess<'de>>(self, _: A) -> Result<(), A::Error> {
        Err(self.state.fail("Start of list found where not expected"))
    }
}

/// Where a value goes, once it is known not to be null.
enum Target<'p> {
    Member(&'p mut dyn Shape, usize),
    Item(&'p mut dyn List),
    Entry(&'p mut dyn Map, String),
}

struct Fill<'a, 'p, 's> {
    target: Target<'p>,
    schema: &'static Schema,
    format: Option<TimestampFormat>,
    state: &'a mut State<'s>,
}

impl<'p, 's> Fill<'_, 'p, 's> {
    fn place<E: serde::de::Error>(target: Target<'p>) -> Result<Place<'p>, E> {
        match target {
            Target::Member(shape, index) => shape.place(index).ok_or_else(|| E::custom("the shape lacks the member")),
            Target::Item(list) => Ok(list.push()),
            Target::Entry(map, key) => Ok(map.insert(key)),
        }
    }

    fn integer<E: serde::de::Error>(self, value: i128) -> Result<(), E> {
        match Self::place(self.target)? {
            Place::Integer(place) => match i32::try_from(value) {
                Ok(value) => *place = value,
                Err(_) => return Err(self.state.mismatch("NUMBER_VALUE", self.schema)),
            },
            Place::Long(place) => match i64::try_from(value) {
                Ok(value) => *place = value,
                Err(_) => return Err(self.state.mismatch("NUMBER_VALUE", self.schema)),
            },
            Place::Float(place) => *place = value as f32,
            Place::Double(place) => *place = value as f64,
            Place::Timestamp(place) => match Timestamp::from_seconds(value as f64) {
                Ok(instant) => *place = instant,
                Err(_) => return Err(self.state.mismatch("NUMBER_VALUE", self.schema)),
            },
            _ => return Err(self.state.mismatch("NUMBER_VALUE", self.schema)),
        }
        Ok(())
    }

    fn text<E: serde::de::Error>(self, text: Cow<'_, str>) -> Result<(), E> {
        let special = match &*text {
            "NaN" => Some(f64::NAN),
            "Infinity" => Some(f64::INFINITY),
            "-Infinity" => Some(f64::NEG_INFINITY),
            _ => None,
        };
        match (Self::place(self.target)?, special) {
            (Place::String(place), _) => *place = text.into_owned(),
            (Place::Enum(place), _) => {
                if !place.assign(&text) {
                    self.state.survey.unknown(&text);
                }
            }
            (Place::Blob(place), _) => match BASE64.decode(text.as_bytes()) {
                Ok(bytes) => *place = bytes.into(),
                Err(_) => return Err(self.state.fail("Failed to decode base64 data")),
            },
            (Place::Timestamp(place), _) => {
                let instant = match self.format {
                    Some(TimestampFormat::HttpDate) => Timestamp::parse_http_date(&text),
                    _ => Timestamp::parse_iso8601(&text),
                };
                *place = instant.map_err(|_| self.state.mismatch("STRING_VALUE", self.schema))?;
            }
            (Place::Float(place), Some(value)) => *place = value as f32,
            (Place::Double(place), Some(value)) => *place = value,
            _ => return Err(self.state.mismatch("STRING_VALUE", self.schema)),
        }
        Ok(())
    }
}

impl<'de> DeserializeSeed<'de> for Fill<'_, '_, '_> {
    type Value = ();
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Fill<'_, '_, '_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.schema.name)
    }

    fn visit_unit<E: serde::de::Error>(self) -> Result<(), E> {
        // An absent member; but an item or entry without a value cannot be told from a default one later.
        match self.target {
            Target::Member(..) => {}
            Target::Item(list) => {
                list.push();
                self.state.survey.null();
            }
            Target::Entry(map, key) => {
                map.insert(key);
                self.state.survey.null();
            }
        }
        Ok(())
    }

    fn visit_bool<E: serde::de::Error>(self, value: bool) -> Result<(), E> {
        match Self::place(self.target)? {
            Place::Boolean(place) => {
                *place = value;
                Ok(())
            }
            _ => Err(self.state.mismatch(if value { "TRUE_VALUE" } else { "FALSE_VALUE" }, self.schema)),
        }
    }

    fn visit_i64<E: serde::de::Error>(self, value: i64) -> Result<(), E> {
        self.integer(i128::from(value))
    }

    fn visit_u64<E: serde::de::Error>(self, value: u64) -> Result<(), E> {
        self.integer(i128::from(value))
    }

    fn visit_f64<E: serde::de::Error>(self, value: f64) -> Result<(), E> {
        match self.schema.kind {
            // AWS cuts fractions off.
            Kind::Integer | Kind::Long => self.integer(value as i128),
            _ => match Self::place(self.target)? {
                Place::Float(place) => {
                    *place = value as f32;
                    Ok(())
                }
                Place::Double(place) => {
                    *place = value;
                    Ok(())
                }
                Place::Timestamp(place) => match Timestamp::from_seconds(value) {
                    Ok(instant) => {
                        *place = instant;
                        Ok(())
                    }
                    Err(_) => Err(self.state.mismatch("NUMBER_VALUE", self.schema)),
                },
                _ => Err(self.state.mismatch("NUMBER_VALUE", self.schema)),
            },
        }
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<(), E> {
        self.text(Cow::Borrowed(text))
    }

    fn visit_string<E: serde::de::Error>(self, text: String) -> Result<(), E> {
        self.text(Cow::Owned(text))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<(), A::Error> {
        let Kind::List { member, .. } = self.schema.kind else {
            return Err(self.state.fail("Start of list found where not expected"));
        };
        let Place::List(list) = Self::place(self.target)? else {
            return Err(A::Error::custom("the shape's place is no list"));
        };
        list.clear();
        for index in 0.. {
            self.state.survey.enter(Step::Item(index));
            let more = items.next_element_seed(Fill {
                target: Target::Item(list),
                schema: member,
                format: member.timestamp,
                state: self.state,
            })?;
            self.state.survey.leave();
            if more.is_none() {
                break;
            }
        }
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<(), A::Error> {
        match (&self.schema.kind, Self::place::<A::Error>(self.target)?) {
            (Kind::Structure { .. }, Place::Structure(shape)) => {
                let mut seen = Seen::default();
                fill_members(entries, shape, &mut seen, self.state, Members::All)?;
                self.state.survey.absent(shape.schema(), seen);
                Ok(())
            }
            (Kind::Map { value, .. }, Place::Map(map)) => {
                map.clear();
                while let Some(key) = entries.next_key::<String>()? {
                    self.state.survey.enter(Step::Key(key.clone()));
                    entries.next_value_seed(Fill {
                        target: Target::Entry(map, key),
                        schema: value,
                        format: value.timestamp,
                        state: self.state,
                    })?;
                    self.state.survey.leave();
                }
                Ok(())
            }
            _ => Err(self.state.fail("Start of structure or map found where not expected")),
        }
    }
}

fn fill_members<'de, A: MapAccess<'de>>(
    mut map: A,
    shape: &mut dyn Shape,
    seen: &mut Seen,
    state: &mut State<'_>,
    which: Members,
) -> Result<(), A::Error> {
    let members = shape.schema().members();
    // Clients mostly write members in one order: looking from the last hit onwards finds the next one at once.
    let mut next = 0;
    while let Some(index) = map.next_key_seed(MemberName { members, next, which })? {
        let Some(index) = index else {
            map.next_value::<IgnoredAny>()?;
            continue;
        };
        next = index + 1;
        let member = &members[index];
        if seen.contains(index) {
            return Err(state.fail(format!("Duplicate field '{}'", member.wire_name)));
        }
        state.survey.enter(Step::Member(member.name));
        let present = Noted {
            fill: Fill {
                target: Target::Member(shape, index),
                schema: member.schema,
                format: member.timestamp_format(),
                state,
            },
        };
        if map.next_value_seed(present)? {
            seen.insert(index);
        }
        state.survey.leave();
    }
    Ok(())
}

/// A member's name, as its index; `None` for a name that the schema lacks.
struct MemberName {
    members: &'static [wire_schema::Member],
    next: usize,
    which: Members,
}

impl<'de> DeserializeSeed<'de> for MemberName {
    type Value = Option<usize>;
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for MemberName {
    type Value = Option<usize>;
    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a member's name")
    }
    fn visit_str<E: serde::de::Error>(self, name: &str) -> Result<Self::Value, E> {
        let count = self.members.len();
        let order = (self.next..count).chain(0..self.next.min(count));
        Ok(order.into_iter().find(|&index| {
            let member = &self.members[index];
            member.wire_name == name && (self.which == Members::All || member.location == Location::Body)
        }))
    }
}

/// Fills, and tells whether there was anything but null.
struct Noted<'a, 'p, 's> {
    fill: Fill<'a, 'p, 's>,
}

impl<'de> DeserializeSeed<'de> for Noted<'_, '_, '_> {
    type Value = bool;
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<bool, D::Error> {
        deserializer.deserialize_option(self)
    }
}

impl<'de> Visitor<'de> for Noted<'_, '_, '_> {
    type Value = bool;
    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value or null")
    }
    fn visit_unit<E: serde::de::Error>(self) -> Result<bool, E> {
        Ok(false)
    }
    fn visit_none<E: serde::de::Error>(self) -> Result<bool, E> {
        Ok(false)
    }
    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<bool, D::Error> {
        self.fill.deserialize(deserializer).map(|()| true)
    }
}

#[cfg(test)]
mod tests;
