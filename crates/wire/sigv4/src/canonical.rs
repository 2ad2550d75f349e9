//! The canonical request and the text to be signed.
//!
//! The canonical request is never built as one text: its parts are fed to a [`Sink`], which is a hash in production.

use http::{HeaderMap, header::HOST};
use sha2::{Digest, Sha256};

use crate::{Request, verify::Rules};

/// Takes bytes, one piece after the other.
pub(crate) trait Sink {
    fn put(&mut self, bytes: &[u8]);
}

impl Sink for Sha256 {
    fn put(&mut self, bytes: &[u8]) {
        Digest::update(self, bytes);
    }
}

impl Sink for Vec<u8> {
    fn put(&mut self, bytes: &[u8]) {
        self.extend_from_slice(bytes);
    }
}

/// Feeds the canonical request to `sink`. `signed` are the signed headers' names in the order of the signature,
/// separated by semicolons; `skip` is a query parameter that does not take part (`X-Amz-Signature`).
pub(crate) fn canonical_request(
    request: &Request<'_>,
    rules: Rules,
    signed: &str,
    skip: Option<&str>,
    payload_hash: &str,
    sink: &mut impl Sink,
) {
    sink.put(request.method.as_bytes());
    sink.put(b"\n");
    path(request.path, rules, sink);
    sink.put(b"\n");
    query(request.query, skip, sink);
    sink.put(b"\n");
    for name in signed.split(';').filter(|name| !name.is_empty()) {
        sink.put(name.as_bytes());
        sink.put(b":");
        header(request.headers, name, sink);
        sink.put(b"\n");
    }
    sink.put(b"\n");
    sink.put(signed.as_bytes());
    sink.put(b"\n");
    sink.put(payload_hash.as_bytes());
}

/// S3: the path decoded and encoded once. Others: dot segments and empty segments removed, the (already encoded)
/// path encoded once more.
fn path(raw: &str, rules: Rules, sink: &mut impl Sink) {
    let mut text = Vec::with_capacity(raw.len() + 16);
    if rules == Rules::S3 {
        encode(&decode(raw.as_bytes(), false), b"/", &mut text);
        if !raw.starts_with('/') {
            sink.put(b"/");
        }
        return sink.put(&text);
    }
    let mut segments: Vec<&str> = Vec::new();
    for segment in raw.split('/') {
        match segment {
            "" | "." => {}
            ".." => drop(segments.pop()),
            other => segments.push(other),
        }
    }
    for segment in &segments {
        text.push(b'/');
        encode(segment.as_bytes(), b"", &mut text);
    }
    if segments.is_empty() || raw.ends_with('/') {
        text.push(b'/');
    }
    sink.put(&text);
}

/// Every name and value decoded and encoded anew, sorted by name and then by value.
fn query(raw: &str, skip: Option<&str>, sink: &mut impl Sink) {
    let mut pairs: Vec<(Vec<u8>, Vec<u8>)> = Vec::new();
    for (name, value) in pairs_of(raw) {
        let recode = |text: &str| {
            let mut out = Vec::with_capacity(text.len());
            encode(&decode(text.as_bytes(), true), b"", &mut out);
            out
        };
        let name = recode(name);
        if skip.is_none_or(|skip| name != skip.as_bytes()) {
            pairs.push((name, recode(value)));
        }
    }
    pairs.sort_unstable();
    for (index, (name, value)) in pairs.iter().enumerate() {
        if index > 0 {
            sink.put(b"&");
        }
        sink.put(name);
        sink.put(b"=");
        sink.put(value);
    }
}

/// The raw pairs of a query.
pub(crate) fn pairs_of(raw: &str) -> impl Iterator<Item = (&str, &str)> {
    raw.split('&').filter(|pair| !pair.is_empty()).map(|pair| pair.split_once('=').unwrap_or((pair, "")))
}

/// All values of a header in order, joined by commas; outer white space removed, inner runs of it made one space.
fn header(headers: &HeaderMap, name: &str, sink: &mut impl Sink) {
    for (index, value) in headers.get_all(name).iter().enumerate() {
        if index > 0 {
            sink.put(b",");
        }
        let words = value.as_bytes().split(|byte| matches!(byte, b' ' | b'\t')).filter(|word| !word.is_empty());
        for (position, word) in words.enumerate() {
            if position > 0 {
                sink.put(b" ");
            }
            sink.put(word);
        }
    }
}

/// Whether the list of signed headers names `host` (or HTTP/2's `:authority`).
pub(crate) fn names_host(signed: &str) -> bool {
    signed.split(';').any(|name| name.eq_ignore_ascii_case(HOST.as_str()) || name == ":authority")
}

/// Percent-decoding; `%` that begins no valid escape stays as it is.
pub(crate) fn decode(raw: &[u8], plus_is_space: bool) -> Vec<u8> {
    let mut out = Vec::with_capacity(raw.len());
    let mut rest = raw;
    while let Some((&byte, tail)) = rest.split_first() {
        rest = tail;
        let escaped = match (byte, tail) {
            (b'%', [high, low, ..]) => hex_digit(*high).zip(hex_digit(*low)),
            _ => None,
        };
        match escaped {
            Some((high, low)) => {
                out.push(high << 4 | low);
                rest = &tail[2..];
            }
            None if byte == b'+' && plus_is_space => out.push(b' '),
            None => out.push(byte),
        }
    }
    out
}

/// Percent-encoding of everything but the unreserved characters and those in `keep`.
pub(crate) fn encode(raw: &[u8], keep: &[u8], out: &mut Vec<u8>) {
    const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
    for &byte in raw {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b'~') || keep.contains(&byte) {
            out.push(byte);
        } else {
            out.extend_from_slice(&[b'%', DIGITS[usize::from(byte >> 4)], DIGITS[usize::from(byte & 15)]]);
        }
    }
}

fn hex_digit(byte: u8) -> Option<u8> {
    char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok())
}

/// The 32 bytes of a digest in hexadecimal.
pub(crate) fn unhex(text: &str) -> Option<[u8; 32]> {
    let mut bytes = [0; 32];
    if text.len() != 64 {
        return None;
    }
    for (byte, pair) in bytes.iter_mut().zip(text.as_bytes().chunks(2)) {
        let &[high, low] = pair else { return None };
        *byte = hex_digit(high)? << 4 | hex_digit(low)?;
    }
    Some(bytes)
}

/// Lower-case hexadecimal.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes
        .iter()
        .flat_map(|byte| [byte >> 4, byte & 15])
        .filter_map(|nibble| char::from_digit(u32::from(nibble), 16))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path_of(raw: &str, rules: Rules) -> String {
        let mut out = Vec::new();
        path(raw, rules, &mut out);
        String::from_utf8(out).unwrap()
    }

    fn query_of(raw: &str) -> String {
        let mut out = Vec::new();
        query(raw, Some("X-Amz-Signature"), &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn paths_are_normalised_for_all_but_s3() {
        for (raw, common, s3) in [
            ("/", "/", "/"),
            ("", "/", "/"),
            ("/a/../b", "/b", "/a/../b"),
            ("//a//b/", "/a/b/", "//a//b/"),
            ("/./a/.", "/a", "/./a/."),
            ("/..", "/", "/.."),
            ("/a%20b", "/a%2520b", "/a%20b"),
            ("/a:b~c=d", "/a%3Ab~c%3Dd", "/a%3Ab~c%3Dd"),
            ("/%C3%BC", "/%25C3%25BC", "/%C3%BC"),
            ("/a%2Fb", "/a%252Fb", "/a/b"),
        ] {
            assert_eq!(path_of(raw, Rules::Common), common, "{raw}");
            assert_eq!(path_of(raw, Rules::S3), s3, "{raw}");
        }
    }

    #[test]
    fn queries_are_sorted_and_encoded_anew() {
        for (raw, expected) in [
            ("", ""),
            ("b=2&a=1", "a=1&b=2"),
            ("a=2&a=1", "a=1&a=2"),
            ("a", "a="),
            ("a=b=c", "a=b%3Dc"),
            ("a=x+y&b=%2B", "a=x%20y&b=%2B"),
            ("a=%zz", "a=%25zz"),
            ("a=%e4", "a=%E4"),
            ("&&a=1&", "a=1"),
            ("X-Amz-Signature=f00&a=1", "a=1"),
        ] {
            assert_eq!(query_of(raw), expected, "{raw}");
        }
    }
}
