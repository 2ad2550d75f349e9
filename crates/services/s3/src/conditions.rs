//! Conditional requests and ranges. Pure.

use base_types::Timestamp;
use model_s3::{Error, InvalidRange, NotModified};

use crate::error::{header_not_implemented, precondition, text};

/// The conditions of a read (or of a copy's source).
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Read<'a> {
    pub(crate) matches: Option<&'a str>,
    pub(crate) differs: Option<&'a str>,
    pub(crate) modified: Option<Timestamp>,
    pub(crate) unmodified: Option<Timestamp>,
}

/// Why a read does not go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unmet {
    /// 412, by this condition.
    Failed(&'static str),
    /// 304.
    NotModified,
}

impl Read<'_> {
    /// The order of RFC 9110: a tag's condition makes the date's of its kind void.
    pub(crate) fn judge(&self, etag: &str, modified: Timestamp) -> Result<(), Unmet> {
        // HTTP's dates know seconds only.
        let second = modified.as_seconds();
        match (self.matches, self.unmodified) {
            (Some(tags), _) if !names(tags, etag) => return Err(Unmet::Failed("If-Match")),
            (None, Some(date)) if second > date.as_seconds() => return Err(Unmet::Failed("If-Unmodified-Since")),
            _ => {}
        }
        match (self.differs, self.modified) {
            (Some(tags), _) if names(tags, etag) => Err(Unmet::NotModified),
            (None, Some(date)) if second <= date.as_seconds() => Err(Unmet::NotModified),
            _ => Ok(()),
        }
    }

    /// As a read of an object answers.
    pub(crate) fn check(&self, etag: &str, modified: Timestamp) -> Result<(), Error> {
        self.judge(etag, modified).map_err(|unmet| match unmet {
            Unmet::Failed(condition) => precondition(condition),
            Unmet::NotModified => NotModified { message: text("Not Modified") }.into(),
        })
    }

    /// As a copy answers of its source: there is nothing to be "not modified".
    pub(crate) fn check_source(&self, etag: &str, modified: Timestamp, now: Timestamp) -> Result<(), Error> {
        // A date that is still to come says nothing.
        let modified_since = self.modified.filter(|date| *date <= now);
        Read { modified: modified_since, ..*self }.judge(etag, modified).map_err(|unmet| match (unmet, self.differs) {
            (Unmet::Failed("If-Match"), _) => precondition("x-amz-copy-source-If-Match"),
            (Unmet::Failed(_), _) => precondition("x-amz-copy-source-If-Unmodified-Since"),
            (Unmet::NotModified, Some(_)) => precondition("x-amz-copy-source-If-None-Match"),
            (Unmet::NotModified, None) => precondition("x-amz-copy-source-If-Modified-Since"),
        })
    }
}

/// Whether a list of entity tags names this one.
fn names(tags: &str, etag: &str) -> bool {
    tags.split(',')
        .map(str::trim)
        .any(|tag| tag == "*" || tag.strip_prefix("W/").unwrap_or(tag).trim_matches('"') == etag)
}

/// The conditions of a write.
#[derive(Clone, Debug, Default)]
pub(crate) struct Write {
    /// `If-Match`: the entity tag that must be there.
    pub(crate) matches: Option<String>,
    /// `If-None-Match: *`: nothing must be there.
    pub(crate) absent: bool,
}

impl Write {
    pub(crate) fn read(matches: Option<&str>, differs: Option<&str>) -> Result<Self, Error> {
        match (matches, differs) {
            (Some(_), Some(_)) => Err(header_not_implemented(
                "If-Match,If-None-Match",
                Some("Multiple conditional request headers present in the request"),
            )),
            (Some("*"), None) => Err(header_not_implemented(
                "If-Match",
                Some("We don't accept the provided value of If-Match header for this API"),
            )),
            (_, Some(tag)) if tag != "*" => Err(header_not_implemented(
                "If-None-Match",
                Some("We don't accept the provided value of If-None-Match header for this API"),
            )),
            _ => Ok(Self { matches: matches.map(|tag| tag.trim_matches('"').to_owned()), absent: differs.is_some() }),
        }
    }

    /// `there` is the entity tag of the current version, if there is one.
    pub(crate) fn check(&self, there: Option<&str>, key: &str) -> Result<(), Error> {
        match (&self.matches, there) {
            (Some(_), None) => return Err(crate::error::no_key(key)),
            (Some(wanted), Some(etag)) if wanted != etag => return Err(precondition("If-Match")),
            _ => {}
        }
        if self.absent && there.is_some() { Err(precondition("If-None-Match")) } else { Ok(()) }
    }
}

/// The bytes that a `Range` header asks for, of a body of `size` bytes: first and last. `None`: all of it, for a header
/// that says nothing that is understood.
pub(crate) fn range(header: Option<&str>, size: u64) -> Result<Option<(u64, u64)>, Error> {
    let Some(header) = header else { return Ok(None) };
    let Some(spec) = header.trim().strip_prefix("bytes=").filter(|spec| !spec.contains(',')) else { return Ok(None) };
    let Some((first, last)) = spec.split_once('-') else { return Ok(None) };
    let number = |text: &str| {
        let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        digits.then(|| text.parse::<u64>().unwrap_or(u64::MAX))
    };
    let (first, last) = (first.trim(), last.trim());
    let found = match (number(first), number(last)) {
        (Some(first), Some(last)) if first <= last => Some((first, last)),
        (Some(first), None) if last.is_empty() => Some((first, u64::MAX)),
        (None, Some(count)) if first.is_empty() => {
            if count == 0 || size == 0 {
                return Err(unsatisfiable(header, size));
            }
            Some((size.saturating_sub(count), u64::MAX))
        }
        _ => None,
    };
    let Some((first, last)) = found else { return Ok(None) };
    if first >= size {
        return Err(unsatisfiable(header, size));
    }
    Ok(Some((first, last.min(size - 1))))
}

fn unsatisfiable(header: &str, size: u64) -> Error {
    InvalidRange {
        message: text("The requested range is not satisfiable"),
        range_requested: text(header),
        actual_object_size: Some(size.to_string()),
    }
    .into()
}

#[cfg(test)]
mod tests {
    use wire_schema::ServiceError as _;

    use super::*;

    #[test]
    fn ranges_are_those_of_http() {
        for (header, size, expected) in [
            ("bytes=0-8", 10, Ok(Some((0, 8)))),
            ("bytes=5-", 10, Ok(Some((5, 9)))),
            ("bytes=-3", 10, Ok(Some((7, 9)))),
            ("bytes=-30", 10, Ok(Some((0, 9)))),
            ("bytes=0-100", 10, Ok(Some((0, 9)))),
            ("bytes=0-99999999999999999999999", 10, Ok(Some((0, 9)))),
            ("bytes=10-", 10, Err("InvalidRange")),
            ("bytes=100-200", 10, Err("InvalidRange")),
            ("bytes=-0", 10, Err("InvalidRange")),
            ("bytes=0-0", 0, Err("InvalidRange")),
            ("bytes=8-3", 10, Ok(None)),
            ("bytes=0-1,2-3", 10, Ok(None)),
            ("bytes=a-b", 10, Ok(None)),
            ("bytes=-", 10, Ok(None)),
            ("bytes=1", 10, Ok(None)),
            ("lines=0-1", 10, Ok(None)),
            ("", 10, Ok(None)),
        ] {
            assert_eq!(range(Some(header), size).map_err(|error| error.code()), expected, "{header}");
        }
    }

    #[test]
    fn conditions_are_judged_in_the_order_of_http() {
        let (early, late) = (Timestamp::from_millis(1_000_000), Timestamp::from_millis(9_000_000));
        let now = Timestamp::from_millis(5_000_500);
        for (conditions, expected) in [
            (Read::default(), Ok(())),
            (Read { matches: Some("\"a\""), ..Read::default() }, Ok(())),
            (Read { matches: Some("a"), ..Read::default() }, Ok(())),
            (Read { matches: Some("\"b\", \"a\""), ..Read::default() }, Ok(())),
            (Read { matches: Some("*"), ..Read::default() }, Ok(())),
            (Read { matches: Some("\"b\""), ..Read::default() }, Err(Unmet::Failed("If-Match"))),
            (Read { differs: Some("\"a\""), ..Read::default() }, Err(Unmet::NotModified)),
            (Read { differs: Some("*"), ..Read::default() }, Err(Unmet::NotModified)),
            (Read { differs: Some("\"b\""), modified: Some(late), ..Read::default() }, Ok(())),
            (Read { modified: Some(late), ..Read::default() }, Err(Unmet::NotModified)),
            (Read { modified: Some(early), ..Read::default() }, Ok(())),
            (Read { unmodified: Some(early), ..Read::default() }, Err(Unmet::Failed("If-Unmodified-Since"))),
            (Read { matches: Some("\"a\""), unmodified: Some(early), ..Read::default() }, Ok(())),
            (Read { unmodified: Some(Timestamp::from_millis(5_000_000)), ..Read::default() }, Ok(())),
        ] {
            assert_eq!(conditions.judge("a", now), expected, "{conditions:?}");
        }
    }

    #[test]
    fn conditional_writes_are_judged_by_the_current_version() {
        let write = |matches, differs| Write::read(matches, differs).map_err(|error| error.code());
        assert!(matches!(write(None, Some("\"a\"")), Err("NotImplemented")));
        assert!(matches!(write(Some("*"), None), Err("NotImplemented")));
        assert!(matches!(write(Some("\"a\""), Some("*")), Err("NotImplemented")));
        let check = |write: &Write, there| write.check(there, "k").map_err(|error| error.code());
        let absent = write(None, Some("*")).unwrap();
        assert_eq!((check(&absent, None), check(&absent, Some("a"))), (Ok(()), Err("PreconditionFailed")));
        let same = write(Some("\"a\""), None).unwrap();
        assert_eq!(check(&same, Some("a")), Ok(()));
        assert_eq!(check(&same, Some("b")), Err("PreconditionFailed"));
        assert_eq!(check(&same, None), Err("NoSuchKey"));
    }
}
