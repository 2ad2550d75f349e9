//! Names of buckets, keys of objects, sources of copies. Pure.

use base_types::AccountId;
use percent_encoding::{AsciiSet, CONTROLS, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};

/// A key's greatest length, in bytes.
pub(crate) const KEY_BYTES_MAX: usize = 1024;

/// What AWS leaves as it is when it encodes keys (`encoding-type=url`).
const KEY: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'*').remove(b'/');
const PATH: &AsciiSet = &CONTROLS.add(b' ').add(b'"').add(b'#').add(b'<').add(b'>').add(b'?').add(b'`').add(b'%');

/// Whether a bucket can have this name (the rules for general purpose buckets).
pub(crate) fn is_bucket_name(name: &str) -> bool {
    let bytes = name.as_bytes();
    let plain = |byte: &u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let allowed = |byte: &u8| plain(byte) || matches!(byte, b'-' | b'.');
    let ends = bytes.first().is_some_and(plain) && bytes.last().is_some_and(plain);
    let is_address = name.split('.').count() == 4 && name.split('.').all(|part| part.parse::<u8>().is_ok());
    (3..=63).contains(&name.len())
        && bytes.iter().all(allowed)
        && ends
        && !name.contains("..")
        && !is_address
        && !["xn--", "sthree-", "amzn-s3-demo-"].iter().any(|prefix| name.starts_with(prefix))
        && !["-s3alias", "--ol-s3", ".mrap", "--x-s3", "--table-s3"].iter().any(|suffix| name.ends_with(suffix))
}

/// The ARN of a bucket, or of an object in it.
pub(crate) fn arn(bucket: &str, key: Option<&str>) -> String {
    match key {
        Some(key) => format!("arn:aws:s3:::{bucket}/{key}"),
        None => format!("arn:aws:s3:::{bucket}"),
    }
}

/// The canonical user id of an account: 64 hexadecimal digits that depend on the account alone.
pub(crate) fn canonical_id(account: AccountId) -> String {
    use sha2::Digest as _;
    let digest = sha2::Sha256::digest(format!("canonical user of {account}").as_bytes());
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A key as listings write it when the client asked for it: as a form encodes it, slashes left.
pub(crate) fn encoded(key: &str) -> String {
    utf8_percent_encode(key, KEY).to_string().replace("%20", "+")
}

/// A key as a path.
pub(crate) fn path_of(key: &str) -> String {
    utf8_percent_encode(key, PATH).to_string()
}

/// What is copied.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Source {
    pub(crate) bucket: String,
    pub(crate) key: String,
    pub(crate) version: Option<String>,
}

impl Source {
    /// Reads `x-amz-copy-source`: `bucket/key`, encoded, perhaps with a slash before and `?versionId=…` behind.
    pub(crate) fn read(text: &str) -> Option<Self> {
        let (path, version) = match text.rsplit_once("?versionId=") {
            Some((path, version)) => (path, Some(version.to_owned())),
            None => (text, None),
        };
        let path = path.strip_prefix('/').unwrap_or(path);
        let decoded = percent_decode_str(path).decode_utf8().ok()?;
        let decoded = decoded.strip_prefix('/').unwrap_or(&decoded);
        let (bucket, key) = decoded.split_once('/')?;
        let whole = !bucket.is_empty() && !key.is_empty();
        whole.then(|| Self { bucket: bucket.to_owned(), key: key.to_owned(), version })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_have_the_names_that_aws_allows() {
        for name in ["abc", "a-b", "my.bucket", "123", "a1.b2-c3", &"a".repeat(63), "1.2.3", "192.168.5.256"] {
            assert!(is_bucket_name(name), "{name}");
        }
        for name in [
            "",
            "ab",
            "Abc",
            "a_b",
            "-ab",
            "ab-",
            ".ab",
            "ab.",
            "a..b",
            "192.168.5.4",
            "xn--abc",
            "sthree-abc",
            "abc-s3alias",
            "abc--ol-s3",
            "abc--x-s3",
            "a b",
            "aé",
            "abc.mrap",
            "a/b",
            &"a".repeat(64),
            "amzn-s3-demo-x",
        ] {
            assert!(!is_bucket_name(name), "{name}");
        }
    }

    #[test]
    fn a_source_is_read_in_each_of_its_forms() {
        let source = |bucket: &str, key: &str, version: Option<&str>| {
            Some(Source { bucket: bucket.into(), key: key.into(), version: version.map(Into::into) })
        };
        for (text, expected) in [
            ("b/k", source("b", "k", None)),
            ("/b/k/l", source("b", "k/l", None)),
            ("b/k%20%2B%3F?versionId=v1", source("b", "k +?", Some("v1"))),
            ("%2Fb%2Fk", source("b", "k", None)),
            ("b//k", source("b", "/k", None)),
            ("b", None),
            ("b/", None),
            ("/", None),
            ("b/%FF", None),
        ] {
            assert_eq!(Source::read(text), expected, "{text}");
        }
    }

    #[test]
    fn keys_are_encoded_as_aws_encodes_them() {
        assert_eq!(encoded("a b/c+d&é~*-._"), "a+b/c%2Bd%26%C3%A9%7E*-._");
    }
}
