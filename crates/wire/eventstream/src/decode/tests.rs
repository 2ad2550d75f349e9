//! What is written is read back, however it is cut; what was damaged is not.

use proptest::prelude::*;

use super::*;
use crate::frame::TooLarge;

/// The example of the specification: one header, one small document.
const PUBLISHED: &[u8] = b"\x00\x00\x00=\x00\x00\x00 \x07\xfd\x83\x96\x0ccontent-type\x07\x00\x10application/json{'foo':'bar'}\x8d\x9c\x08\xb1";

fn published() -> Message {
    Message {
        headers: vec![("content-type".to_owned(), Header::String("application/json".to_owned()))],
        payload: Bytes::from_static(b"{'foo':'bar'}"),
    }
}

fn read(bytes: &[u8], size: usize) -> Result<Vec<Message>, Malformed> {
    let (mut decoder, mut found) = (Decoder::default(), Vec::new());
    for piece in bytes.chunks(size.max(1)) {
        decoder.push(piece);
        while let Some(message) = decoder.next_message()? {
            found.push(message);
        }
    }
    decoder.finish()?;
    Ok(found)
}

fn any_header() -> impl Strategy<Value = Header> {
    prop_oneof![
        any::<bool>().prop_map(Header::Boolean),
        any::<i8>().prop_map(Header::Byte),
        any::<i16>().prop_map(Header::Short),
        any::<i32>().prop_map(Header::Integer),
        any::<i64>().prop_map(Header::Long),
        proptest::collection::vec(any::<u8>(), 0..40).prop_map(|bytes| Header::Bytes(bytes.into())),
        ".{0,20}".prop_map(Header::String),
        any::<i64>().prop_map(Header::Timestamp),
        any::<[u8; 16]>().prop_map(Header::Uuid),
    ]
}

fn any_message() -> impl Strategy<Value = Message> {
    let headers = proptest::collection::vec((".{0,20}", any_header()), 0..6);
    (headers, proptest::collection::vec(any::<u8>(), 0..600))
        .prop_map(|(headers, payload)| Message { headers, payload: payload.into() })
}

#[test]
fn the_published_frame_is_written_and_read() {
    assert_eq!(published().encode().unwrap(), PUBLISHED);
    assert_eq!(read(PUBLISHED, 1).unwrap(), [published()]);
    let empty = b"\x00\x00\x00\x10\x00\x00\x00\x00\x05\xc2H\xeb}\x98\xc8\xff";
    assert_eq!(Message::default().encode().unwrap(), &empty[..]);
    assert_eq!(read(empty, 16).unwrap(), [Message::default()]);
}

#[test]
fn what_exceeds_a_frame_is_not_written() {
    let sized = |payload: usize| Message { headers: Vec::new(), payload: vec![0; payload].into() };
    assert!(sized(PAYLOAD_BYTES_MAX).encode().is_ok());
    assert_eq!(sized(PAYLOAD_BYTES_MAX + 1).encode(), Err(TooLarge));
    let named = |name: usize, value: usize, count: usize| Message {
        headers: vec![("n".repeat(name), Header::String("v".repeat(value))); count],
        payload: Bytes::new(),
    };
    assert!(named(255, 65_535, 1).encode().is_ok());
    for message in [named(256, 1, 1), named(1, 65_536, 1), named(255, 65_535, 2)] {
        assert_eq!(message.encode(), Err(TooLarge));
    }
}

#[test]
fn impossible_lengths_are_refused_before_anything_is_held() {
    for (total, headers) in [(0_u32, 0_u32), (15, 0), (16, 1), (u32::MAX, 0), (u32::MAX, u32::MAX), (200_000, 150_000)]
    {
        let mut bytes = [total.to_be_bytes(), headers.to_be_bytes()].concat();
        bytes.extend(crc32fast::hash(&bytes).to_be_bytes());
        assert_eq!(read(&bytes, 64), Err(Malformed::Length), "{total} {headers}");
    }
    assert_eq!(read(&PUBLISHED[..30], 64), Err(Malformed::Truncated));
}

proptest! {
    #[test]
    fn what_is_written_is_read_back(messages in proptest::collection::vec(any_message(), 0..4), size in 1_usize..700) {
        let frames: Vec<Bytes> = messages.iter().map(|message| message.encode().unwrap()).collect();
        prop_assert_eq!(read(&frames.concat(), size).unwrap(), messages);
    }

    #[test]
    fn a_damaged_frame_is_refused(message in any_message(), at in any::<prop::sample::Index>(), bit in 0_u8..8) {
        let mut frame = message.encode().unwrap().to_vec();
        let at = at.index(frame.len());
        frame[at] ^= 1 << bit;
        prop_assert!(read(&frame, 64).is_err());
    }

    #[test]
    fn bytes_from_outside_cause_no_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200), size in 1_usize..50) {
        // With a right prelude, so that headers are reached.
        let mut frame = [(bytes.len() as u32 + 16).to_be_bytes(), (bytes.len() as u32).to_be_bytes()].concat();
        frame.extend(crc32fast::hash(&frame).to_be_bytes());
        frame.extend(&bytes);
        frame.extend(crc32fast::hash(&frame).to_be_bytes());
        drop(read(&frame, size));
        drop(read(&bytes, size));
    }
}
