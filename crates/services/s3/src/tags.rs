//! Tags of buckets and objects. Pure.

use model_s3::{Error, InvalidTag, Tag};
use percent_encoding::percent_decode_str;

use crate::error::text;

/// Tags that an object may have; a bucket may have fifty.
pub(crate) const OBJECT_TAGS_MAX: usize = 10;
pub(crate) const BUCKET_TAGS_MAX: usize = 50;

/// The tags of a document, checked.
pub(crate) fn of_set(set: &[Tag], max: usize) -> Result<Vec<(String, String)>, Error> {
    let tags = set.iter().map(|tag| (tag.key.clone(), tag.value.clone()));
    check(tags.collect(), max, false)
}

/// The tags of the header `x-amz-tagging`: a query string.
pub(crate) fn of_header(header: &str) -> Result<Vec<(String, String)>, Error> {
    let unescape = |part: &str| {
        let spaced = part.replace('+', " ");
        percent_decode_str(&spaced).decode_utf8().map(std::borrow::Cow::into_owned)
    };
    let mut tags = Vec::new();
    for pair in header.split('&').filter(|pair| !pair.is_empty()) {
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        match (unescape(key), unescape(value)) {
            (Ok(key), Ok(value)) => tags.push((key, value)),
            _ => {
                return Err(Error::invalid_argument(
                    "The header 'x-amz-tagging' shall be encoded as UTF-8 then URLEncoded URL query parameters without tag name duplicates.",
                ));
            }
        }
    }
    check(tags, OBJECT_TAGS_MAX, true)
}

fn check(tags: Vec<(String, String)>, max: usize, header: bool) -> Result<Vec<(String, String)>, Error> {
    if tags.len() > max {
        let what = if max == OBJECT_TAGS_MAX { "Object" } else { "Bucket" };
        return Err(Error::bad_request(format!("{what} tags cannot be greater than {max}")));
    }
    let refuse = |message: &str, key: &str, value: Option<&str>| {
        Error::from(InvalidTag { message: text(message), tag_key: text(key), tag_value: value.map(str::to_owned) })
    };
    for (index, (key, value)) in tags.iter().enumerate() {
        if key.is_empty() || key.chars().count() > 128 || !key.chars().all(is_allowed) {
            return Err(refuse("The TagKey you have provided is invalid", key, None));
        }
        if value.chars().count() > 256 || !value.chars().all(is_allowed) {
            return Err(refuse("The TagValue you have provided is invalid", key, Some(value)));
        }
        if key.starts_with("aws:") {
            let message = if header {
                "Your TagKey cannot be prefixed with aws:"
            } else {
                "System tags cannot be added/updated by requester"
            };
            return Err(refuse(message, key, None));
        }
        if tags.iter().take(index).any(|(other, _)| other == key) {
            return Err(refuse("Cannot provide multiple Tags with the same key", key, None));
        }
    }
    Ok(tags)
}

/// Letters, digits and spaces of any script, and `_ . : / = + - @`.
fn is_allowed(char: char) -> bool {
    char.is_alphanumeric() || char.is_whitespace() || "_.:/=+-@".contains(char)
}

pub(crate) fn to_set(tags: &[(String, String)]) -> Vec<Tag> {
    tags.iter().map(|(key, value)| Tag { key: key.clone(), value: value.clone() }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_of_tags_is_a_query() {
        let pair = |key: &str, value: &str| (key.to_owned(), value.to_owned());
        assert_eq!(of_header("a=1&b=x%20y+z&c").unwrap(), [pair("a", "1"), pair("b", "x y z"), pair("c", "")]);
        for header in ["a=1&a=2", "aws:x=1", "=1", "a=%FF", "a=1,2", &"k=v&".repeat(11), "Key1,Key2=1"] {
            assert!(of_header(header).is_err(), "{header}");
        }
    }
}
