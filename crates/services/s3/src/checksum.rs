//! Sums over bodies: MD5 for entity tags, and the checksums that clients choose. Pure.
//!
//! Guarantee: what a sum of parts is, is computed from the parts' sums alone: nothing is read again.

use base64::{Engine as _, prelude::BASE64_STANDARD};
use crc_fast::{CrcAlgorithm, Digest as Crc, checksum_combine};
use md5::{Digest as _, Md5};
use minicbor::{Decode, Encode};
use sha1::Sha1;
use sha2::Sha256;

/// The algorithms.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(index_only)]
pub(crate) enum Algorithm {
    #[n(0)]
    Crc32,
    #[n(1)]
    Crc32c,
    #[n(2)]
    Crc64Nvme,
    #[n(3)]
    Sha1,
    #[n(4)]
    Sha256,
}

impl Algorithm {
    pub(crate) const ALL: [Self; 5] = [Self::Crc32, Self::Crc32c, Self::Crc64Nvme, Self::Sha1, Self::Sha256];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Crc32 => "CRC32",
            Self::Crc32c => "CRC32C",
            Self::Crc64Nvme => "CRC64NVME",
            Self::Sha1 => "SHA1",
            Self::Sha256 => "SHA256",
        }
    }

    /// The header (and the trailer) that carries its sum.
    pub(crate) fn header(self) -> &'static str {
        match self {
            Self::Crc32 => "x-amz-checksum-crc32",
            Self::Crc32c => "x-amz-checksum-crc32c",
            Self::Crc64Nvme => "x-amz-checksum-crc64nvme",
            Self::Sha1 => "x-amz-checksum-sha1",
            Self::Sha256 => "x-amz-checksum-sha256",
        }
    }

    pub(crate) fn read(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|algorithm| algorithm.name().eq_ignore_ascii_case(name))
    }

    /// A sum's length, in bytes.
    fn bytes(self) -> usize {
        match self {
            Self::Crc32 | Self::Crc32c => 4,
            Self::Crc64Nvme => 8,
            Self::Sha1 => 20,
            Self::Sha256 => 32,
        }
    }

    fn crc(self) -> Option<CrcAlgorithm> {
        match self {
            Self::Crc32 => Some(CrcAlgorithm::Crc32IsoHdlc),
            Self::Crc32c => Some(CrcAlgorithm::Crc32Iscsi),
            Self::Crc64Nvme => Some(CrcAlgorithm::Crc64Nvme),
            Self::Sha1 | Self::Sha256 => None,
        }
    }

    /// Whether the sum of a whole object follows from those of its parts.
    pub(crate) fn is_linear(self) -> bool {
        self.crc().is_some()
    }

    /// Whether `text` can be a sum of it.
    pub(crate) fn fits(self, text: &str) -> bool {
        BASE64_STANDARD.decode(text).is_ok_and(|bytes| bytes.len() == self.bytes())
    }
}

/// A sum.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub(crate) struct Checksum {
    #[n(0)]
    pub(crate) algorithm: Algorithm,
    /// Base64; of a composite one with `-` and the number of parts behind it.
    #[n(1)]
    pub(crate) value: String,
    #[n(2)]
    pub(crate) composite: bool,
}

/// Sums as far as a body has come.
pub(crate) struct Sums {
    md5: Md5,
    chosen: Hasher,
    /// What an object has whose client chose nothing: it costs next to nothing beside MD5.
    usual: Crc,
}

/// All sums of a body.
pub(crate) struct Summed {
    pub(crate) md5: [u8; 16],
    pub(crate) chosen: Checksum,
    /// CRC64NVME.
    pub(crate) usual: Checksum,
}

enum Hasher {
    Crc(Algorithm, Box<Crc>),
    Sha1(Sha1),
    Sha256(Sha256),
}

impl Sums {
    pub(crate) fn new(algorithm: Algorithm) -> Self {
        let chosen = match (algorithm, algorithm.crc()) {
            (_, Some(crc)) => Hasher::Crc(algorithm, Box::new(Crc::new(crc))),
            (Algorithm::Sha1, None) => Hasher::Sha1(Sha1::new()),
            (_, None) => Hasher::Sha256(Sha256::new()),
        };
        Self { md5: Md5::new(), chosen, usual: Crc::new(CrcAlgorithm::Crc64Nvme) }
    }

    pub(crate) fn update(&mut self, bytes: &[u8]) {
        self.md5.update(bytes);
        self.usual.update(bytes);
        match &mut self.chosen {
            Hasher::Crc(Algorithm::Crc64Nvme, _) => {}
            Hasher::Crc(_, crc) => crc.update(bytes),
            Hasher::Sha1(sha) => sha.update(bytes),
            Hasher::Sha256(sha) => sha.update(bytes),
        }
    }

    pub(crate) fn finish(self) -> Summed {
        let plain = |algorithm, value| Checksum { algorithm, value, composite: false };
        let usual = plain(Algorithm::Crc64Nvme, text_of_crc(Algorithm::Crc64Nvme, self.usual.finalize()));
        let chosen = match self.chosen {
            Hasher::Crc(Algorithm::Crc64Nvme, _) => usual.clone(),
            Hasher::Crc(algorithm, crc) => plain(algorithm, text_of_crc(algorithm, crc.finalize())),
            Hasher::Sha1(sha) => plain(Algorithm::Sha1, BASE64_STANDARD.encode(sha.finalize())),
            Hasher::Sha256(sha) => plain(Algorithm::Sha256, BASE64_STANDARD.encode(sha.finalize())),
        };
        Summed { md5: self.md5.finalize().into(), chosen, usual }
    }
}

fn text_of_crc(algorithm: Algorithm, crc: u64) -> String {
    let bytes = crc.to_be_bytes();
    BASE64_STANDARD.encode(&bytes[8 - algorithm.bytes()..])
}

fn crc_of_text(text: &str) -> Option<u64> {
    let bytes = BASE64_STANDARD.decode(text).ok().filter(|bytes| bytes.len() <= 8)?;
    Some(bytes.iter().fold(0, |crc, byte| (crc << 8) | u64::from(*byte)))
}

/// The sum of a whole object from its parts' sums and sizes; `None` where it does not follow from them.
pub(crate) fn full(algorithm: Algorithm, parts: &[(&str, u64)]) -> Option<Checksum> {
    let crc = algorithm.crc()?;
    let mut whole: Option<u64> = None;
    for (text, size) in parts {
        let part = crc_of_text(text)?;
        whole = Some(match whole {
            None => part,
            Some(before) => checksum_combine(crc, before, part, *size),
        });
    }
    Some(Checksum { algorithm, value: text_of_crc(algorithm, whole?), composite: false })
}

/// The sum of the parts' sums.
pub(crate) fn composite(algorithm: Algorithm, parts: &[&str]) -> Option<Checksum> {
    let mut sums = Sums::new(algorithm);
    for text in parts {
        sums.update(&BASE64_STANDARD.decode(text).ok()?);
    }
    let value = sums.finish().chosen.value;
    Some(Checksum { algorithm, value: format!("{value}-{}", parts.len()), composite: true })
}

/// The entity tag of an object of parts, from the parts' own.
pub(crate) fn etag_of_parts(parts: &[&str]) -> String {
    let mut md5 = Md5::new();
    for part in parts {
        md5.update(unhex(part));
    }
    format!("{}-{}", hex(&md5.finalize()), parts.len())
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let mut text = String::with_capacity(bytes.len() * 2);
    for byte in bytes {
        text.push(char::from(DIGITS[usize::from(byte >> 4)]));
        text.push(char::from(DIGITS[usize::from(byte & 15)]));
    }
    text
}

fn unhex(text: &str) -> Vec<u8> {
    let digits = text.as_bytes().chunks_exact(2);
    digits.filter_map(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sum(algorithm: Algorithm, bytes: &[u8]) -> String {
        let mut sums = Sums::new(algorithm);
        for piece in bytes.chunks(3) {
            sums.update(piece);
        }
        sums.finish().chosen.value
    }

    #[test]
    fn sums_are_those_of_the_published_check_values() {
        // The check values of the CRC catalogue, and of the SHA standards' `abc`.
        for (algorithm, bytes, expected) in [
            (Algorithm::Crc32, "123456789", "y/Q5Jg=="),
            (Algorithm::Crc32c, "123456789", "4waSgw=="),
            (Algorithm::Crc64Nvme, "123456789", "rosUhgp5mIg="),
            (Algorithm::Sha1, "abc", "qZk+NkcGgWq6PiVxeFDCbJzQ2J0="),
            (Algorithm::Sha256, "abc", "ungWv48Bz+pBQUDeXa4iI7ADYaOWF3qctBD/YfIAFa0="),
        ] {
            assert_eq!(sum(algorithm, bytes.as_bytes()), expected, "{algorithm:?}");
            assert!(algorithm.fits(expected) && !algorithm.fits("AA=="), "{algorithm:?}");
        }
    }

    #[test]
    fn the_sum_of_the_whole_follows_from_the_parts() {
        let whole: Vec<u8> = (0..100_000_u32).map(|number| (number % 251) as u8).collect();
        for algorithm in [Algorithm::Crc32, Algorithm::Crc32c, Algorithm::Crc64Nvme] {
            let parts: Vec<(String, u64)> =
                whole.chunks(7777).map(|part| (sum(algorithm, part), part.len() as u64)).collect();
            let parts: Vec<(&str, u64)> = parts.iter().map(|(text, size)| (&**text, *size)).collect();
            assert_eq!(full(algorithm, &parts).map(|sum| sum.value), Some(sum(algorithm, &whole)));
        }
        assert_eq!(full(Algorithm::Sha1, &[("AA==", 1)]), None);
    }

    #[test]
    fn entity_tags_of_parts_are_the_digest_of_their_digests() {
        // Two parts of five MiB of zeroes: the tag that every S3 gives them.
        let mut sums = Sums::new(Algorithm::Crc32);
        sums.update(&vec![0; 5 << 20]);
        let part = hex(&sums.finish().md5);
        assert_eq!(part, "5f363e0e58a95f06cbe9bbc662c5dfb6");
        let mut md5 = Md5::new();
        md5.update(unhex(&part));
        md5.update(unhex(&part));
        assert_eq!(etag_of_parts(&[&part, &part]), format!("{}-2", hex(&md5.finalize())));
    }
}
