//! The commit log's frames: one per transaction, so that a transaction is in the log entirely or not at all.
//!
//! A frame is a header (40 bytes, little-endian: magic, payload length, CRC-32C, kind, version, time, 8 bytes of
//! zero) and the
//! entries. The sum covers the segment's number too, so that what an earlier use of a recycled file left behind is
//! never taken
//! for a frame of the new one.
//!
//! Each group of frames that is synced together begins with a *mark*: a frame without entries that says up to which
//! version everything is
//! durable. It tells damage from a torn tail: bytes that do not parse are a torn tail unless a later mark says that
//! they had been durable.
//! (Of the very last group this cannot be told; it has no later mark.)

use base_types::Timestamp;
use bytes::Bytes;

const MAGIC: [u8; 4] = *b"PCF1";
const HEADER_BYTES: usize = 40;
/// Larger frames are never written (the bounds of a transaction are far below) and never believed.
const PAYLOAD_BYTES_MAX: usize = 64 << 20;
const REMOVED: u32 = u32::MAX;

/// What a frame is.
const COMMIT: u32 = 0;
const MARK: u32 = 1;

/// One commit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    /// One more than the commit before it.
    pub version: u64,
    /// The transaction's time.
    pub now: Timestamp,
    /// Keys and their new values; `None`: removed.
    pub writes: Vec<(Bytes, Option<Bytes>)>,
}

/// Why a segment's reading ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "the commit log is damaged: commit {version} in segment {segment} had been acknowledged and cannot be read any more"
)]
pub struct Damaged {
    /// The segment's number.
    pub segment: u64,
    /// The first commit that is lost.
    pub version: u64,
}

/// Appends a commit's frame to `out`.
pub fn encode(out: &mut Vec<u8>, segment: u64, version: u64, now: Timestamp, writes: &[(Bytes, Option<Bytes>)]) {
    encode_kind(out, segment, COMMIT, version, now, writes);
}

/// Appends a mark to `out`: everything up to `version` is durable.
pub fn encode_mark(out: &mut Vec<u8>, segment: u64, version: u64) {
    encode_kind(out, segment, MARK, version, Timestamp::EPOCH, &[]);
}

fn encode_kind(
    out: &mut Vec<u8>,
    segment: u64,
    kind: u32,
    version: u64,
    now: Timestamp,
    writes: &[(Bytes, Option<Bytes>)],
) {
    let start = out.len();
    out.extend_from_slice(&MAGIC);
    out.extend_from_slice(&[0; 8]);
    out.extend_from_slice(&kind.to_le_bytes());
    for number in [version, now.as_millis(), 0] {
        out.extend_from_slice(&number.to_le_bytes());
    }
    for (key, value) in writes {
        out.extend_from_slice(&(key.len() as u32).to_le_bytes());
        let length = value.as_ref().map_or(REMOVED, |value| value.len() as u32);
        out.extend_from_slice(&length.to_le_bytes());
        out.extend_from_slice(key);
        out.extend_from_slice(value.as_deref().unwrap_or_default());
    }
    let length = (out.len() - start - HEADER_BYTES) as u32;
    out[start + 4..start + 8].copy_from_slice(&length.to_le_bytes());
    let sum = sum(segment, &out[start..]);
    out[start + 8..start + 12].copy_from_slice(&sum.to_le_bytes());
}

/// The commits at the head of `bytes`, and where they end.
///
/// # Errors
/// [`Damaged`] when what follows the last whole frame had once been durable and is `needed` (the first version that
/// matters) or later. `expected`
/// is the version that must come first, if known.
pub fn read_segment(
    segment: u64,
    bytes: &[u8],
    expected: Option<u64>,
    needed: u64,
) -> Result<(Vec<Frame>, usize), Damaged> {
    let (mut frames, mut offset, mut next) = (Vec::new(), 0, expected);
    while let Some((kind, frame, length)) = decode(segment, &bytes[offset..]) {
        let version = if kind == MARK { frame.version + 1 } else { frame.version };
        if next.is_some_and(|next| version != next) {
            break;
        }
        next = Some(frame.version + 1);
        offset += length;
        if kind == COMMIT {
            frames.push(frame);
        }
    }
    let lost = next.unwrap_or_default().max(needed);
    let mut rest = &bytes[offset..];
    while let Some(at) = rest.windows(MAGIC.len()).position(|window| window == MAGIC) {
        rest = &rest[at..];
        if decode(segment, rest).is_some_and(|(kind, frame, _)| kind == MARK && frame.version >= lost) {
            return Err(Damaged { segment, version: lost });
        }
        rest = &rest[1..];
    }
    Ok((frames, offset))
}

fn decode(segment: u64, bytes: &[u8]) -> Option<(u32, Frame, usize)> {
    let header = bytes.first_chunk::<HEADER_BYTES>()?;
    if header[..4] != MAGIC {
        return None;
    }
    let payload_bytes = u32_at(header, 4) as usize;
    if payload_bytes > PAYLOAD_BYTES_MAX {
        return None;
    }
    let whole = bytes.get(..HEADER_BYTES + payload_bytes)?;
    if u32_at(header, 8) != sum(segment, whole) {
        return None;
    }
    let kind = u32_at(header, 12);
    let mut payload = &whole[HEADER_BYTES..];
    let mut writes = Vec::new();
    while !payload.is_empty() {
        let (lengths, rest) = payload.split_first_chunk::<8>()?;
        let (key, rest) = rest.split_at_checked(u32_at(lengths, 0) as usize)?;
        let value_bytes = u32_at(lengths, 4);
        let (value, rest) = if value_bytes == REMOVED {
            (None, rest)
        } else {
            rest.split_at_checked(value_bytes as usize).map(|(value, rest)| (Some(value), rest))?
        };
        writes.push((Bytes::copy_from_slice(key), value.map(Bytes::copy_from_slice)));
        payload = rest;
    }
    let version = u64_at(header, 16);
    if kind > MARK || version == u64::MAX {
        return None;
    }
    let frame = Frame { version, now: Timestamp::from_millis(u64_at(header, 24)), writes };
    Some((kind, frame, whole.len()))
}

/// The sum of a frame: of the segment's number, and of everything behind the sum's own place.
fn sum(segment: u64, frame: &[u8]) -> u32 {
    let of_head = crc32c::crc32c_append(crc32c::crc32c(&segment.to_le_bytes()), &frame[4..8]);
    crc32c::crc32c_append(of_head, &frame[12..])
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    bytes.get(at..at + 4).and_then(|b| b.try_into().ok()).map_or(0, u32::from_le_bytes)
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    bytes.get(at..at + 8).and_then(|b| b.try_into().ok()).map_or(0, u64::from_le_bytes)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// `count` commits in groups of `group`.
    fn some_frames(count: u64, group: u64) -> (Vec<Frame>, Vec<u8>) {
        let mut bytes = Vec::new();
        let frames: Vec<Frame> = (1..=count)
            .map(|version| Frame {
                version,
                now: Timestamp::from_millis(version * 10),
                writes: (0..version % 4)
                    .map(|n| (Bytes::from(format!("key{n}")), (n % 2 == 0).then(|| Bytes::from(vec![n as u8; 9]))))
                    .collect(),
            })
            .collect();
        for frame in &frames {
            if frame.version % group == 1 % group {
                encode_mark(&mut bytes, 7, frame.version - 1);
            }
            encode(&mut bytes, 7, frame.version, frame.now, &frame.writes);
        }
        (frames, bytes)
    }

    #[test]
    fn frames_read_back() {
        let (frames, mut bytes) = some_frames(9, 2);
        let whole = bytes.len();
        bytes.extend_from_slice(&[0; 100]);
        assert_eq!(read_segment(7, &bytes, Some(1), 1), Ok((frames, whole)));
        assert_eq!(read_segment(8, &bytes, None, 1), Ok((Vec::new(), 0)), "another segment's frames are not believed");
        assert_eq!(read_segment(7, &bytes, Some(2), 1).unwrap_err(), Damaged { segment: 7, version: 2 });
    }

    #[test]
    fn damage_before_something_acknowledged_is_told_from_a_torn_tail() {
        let (_, mut bytes) = some_frames(9, 3);
        bytes[90] ^= 1;
        assert_eq!(read_segment(7, &bytes, Some(1), 1), Err(Damaged { segment: 7, version: 1 }));
        assert!(read_segment(7, &bytes, None, 9).is_ok(), "what the engine holds may be damaged here");
        let (frames, mut torn) = some_frames(9, 100);
        let second = 40 + 40 + 8 + 4 + 9;
        torn[second + 50] ^= 1;
        assert_eq!(
            read_segment(7, &torn, Some(1), 1),
            Ok((frames[..1].to_vec(), second)),
            "nothing says it was durable"
        );
    }

    proptest! {
        #[test]
        fn damaged_bytes_give_a_true_prefix_or_are_refused(
            count in 1..12u64,
            group in 1..12u64,
            cut in any::<prop::sample::Index>(),
            flips in proptest::collection::vec((any::<prop::sample::Index>(), 0..8u8), 0..4),
        ) {
            let (frames, mut bytes) = some_frames(count, group);
            bytes.truncate(cut.index(bytes.len() + 1));
            for (at, bit) in flips {
                if !bytes.is_empty() {
                    let at = at.index(bytes.len());
                    bytes[at] ^= 1 << bit;
                }
            }
            if let Ok((read, end)) = read_segment(7, &bytes, Some(1), 1) {
                prop_assert!(frames.starts_with(&read), "{read:?}");
                prop_assert!(end <= bytes.len());
            }
        }

        #[test]
        fn hostile_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let framed = [&MAGIC[..], &bytes].concat();
            prop_assert_eq!(read_segment(1, &framed, None, 1).map(|(frames, _)| frames.len()), Ok(0));
        }
    }
}
