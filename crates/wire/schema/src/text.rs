//! Texts to values: form parameters, elements of XML, labels, headers and query strings of rest protocols. Guarantee: a text that
//! does not fit is an error in AWS's words.

use crate::{Place, Survey, TimestampFormat};
use base_types::Timestamp;
use base64::{Engine as _, engine::general_purpose::STANDARD};

/// A text does not fit where it is to go. The text is what a client may read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Malformed(pub String);

/// Puts `text` where a scalar goes. Instants are ISO 8601 unless `format` says otherwise.
///
/// # Errors
/// When the text is no such value, or the place is no scalar's.
pub fn fill_text(
    place: Place<'_>,
    text: &str,
    format: Option<TimestampFormat>,
    survey: &mut Survey,
) -> Result<(), Malformed> {
    fn put<T>(place: &mut T, value: Option<T>, what: &str) -> Result<(), Malformed> {
        *place = value.ok_or_else(|| Malformed(format!("STRING_VALUE can not be converted to {what}")))?;
        Ok(())
    }
    match place {
        Place::String(place) => {
            text.clone_into(place);
            Ok(())
        }
        Place::Enum(place) => {
            if !place.assign(text) {
                survey.unknown(text);
            }
            Ok(())
        }
        Place::Boolean(place) => match text {
            _ if text.eq_ignore_ascii_case("true") => put(place, Some(true), ""),
            _ if text.eq_ignore_ascii_case("false") => put(place, Some(false), ""),
            _ => put(place, None, "a Boolean"),
        },
        Place::Integer(place) => put(place, text.parse().ok(), "an Integer"),
        Place::Long(place) => put(place, text.parse().ok(), "a Long"),
        Place::Float(place) => put(place, float(text).map(|value| value as f32), "a Float"),
        Place::Double(place) => put(place, float(text), "a Double"),
        Place::Blob(place) => put(place, STANDARD.decode(text).ok().map(Into::into), "a ByteBuffer"),
        Place::Timestamp(place) => {
            let instant = match format {
                Some(TimestampFormat::HttpDate) => Timestamp::parse_http_date(text).ok(),
                Some(TimestampFormat::Seconds) => float(text).and_then(|text| Timestamp::from_seconds(text).ok()),
                None | Some(TimestampFormat::Iso8601) => Timestamp::parse_iso8601(text)
                    .ok()
                    .or_else(|| float(text).and_then(|text| Timestamp::from_seconds(text).ok())),
            };
            put(place, instant, "a Date")
        }
        Place::List(_) | Place::Map(_) | Place::Structure(_) | Place::Events(_) | Place::Stream(_) => {
            Err(Malformed("Unexpected field type".to_owned()))
        }
    }
}

/// A number; the three that have no digits are spelt as AWS does.
fn float(text: &str) -> Option<f64> {
    match text {
        "NaN" => Some(f64::NAN),
        "Infinity" => Some(f64::INFINITY),
        "-Infinity" => Some(f64::NEG_INFINITY),
        _ if text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'+' | b'-' | b'.' | b'e' | b'E')) => {
            text.parse().ok()
        }
        _ => None,
    }
}
