//! Frames, read. Guarantee: bytes from outside never cause more than one frame of AWS's greatest size to be held, and
//! never a panic; what is given out has passed both checksums.

use bytes::{Buf, Bytes, BytesMut};

use crate::frame::{HEADERS_BYTES_MAX, Header, Message, OVERHEAD_BYTES, PAYLOAD_BYTES_MAX, PRELUDE_BYTES};

/// The bytes are no event stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Malformed {
    /// A length that no frame has.
    Length,
    /// The prelude's checksum is wrong.
    PreludeChecksum,
    /// The frame's checksum is wrong.
    Checksum,
    /// A header does not parse.
    Header,
    /// The stream ends within a frame.
    Truncated,
}

impl std::fmt::Display for Malformed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Length => "a frame has an impossible length",
            Self::PreludeChecksum => "the checksum of a frame's prelude is wrong",
            Self::Checksum => "the checksum of a frame is wrong",
            Self::Header => "a frame's header does not parse",
            Self::Truncated => "the stream ends within a frame",
        })
    }
}

impl std::error::Error for Malformed {}

/// Reads frames from pieces of any size.
#[derive(Debug, Default)]
pub struct Decoder {
    buffer: BytesMut,
}

impl Decoder {
    /// Takes a piece of the stream. Frames that are complete are to be taken out before the next piece is pushed.
    pub fn push(&mut self, piece: &[u8]) {
        self.buffer.extend_from_slice(piece);
    }

    /// The next frame, if it is complete.
    ///
    /// # Errors
    /// [`Malformed`]; the stream cannot be read any further then.
    pub fn next_message(&mut self) -> Result<Option<Message>, Malformed> {
        let Some(prelude) = self.buffer.first_chunk::<PRELUDE_BYTES>() else { return Ok(None) };
        let word = |at: usize| u32::from_be_bytes([prelude[at], prelude[at + 1], prelude[at + 2], prelude[at + 3]]);
        let (total, headers, checksum) = (word(0) as usize, word(4) as usize, word(8));
        if crc32fast::hash(&prelude[..8]) != checksum {
            return Err(Malformed::PreludeChecksum);
        }
        let payload = total.checked_sub(OVERHEAD_BYTES).and_then(|rest| rest.checked_sub(headers));
        let payload = payload.filter(|payload| *payload <= PAYLOAD_BYTES_MAX && headers <= HEADERS_BYTES_MAX);
        let payload = payload.ok_or(Malformed::Length)?;
        if self.buffer.len() < total {
            return Ok(None);
        }
        let mut frame = self.buffer.split_to(total).freeze();
        let expected = crc32fast::hash(&frame[..total - 4]);
        frame.advance(PRELUDE_BYTES);
        let mut fields = frame.split_to(headers);
        let payload = frame.split_to(payload);
        if frame.get_u32() != expected {
            return Err(Malformed::Checksum);
        }
        let mut headers = Vec::new();
        while !fields.is_empty() {
            headers.push(header(&mut fields).ok_or(Malformed::Header)?);
        }
        Ok(Some(Message { headers, payload }))
    }

    /// The stream has ended.
    ///
    /// # Errors
    /// [`Malformed::Truncated`] when a part of a frame is left.
    pub fn finish(&self) -> Result<(), Malformed> {
        if self.buffer.is_empty() { Ok(()) } else { Err(Malformed::Truncated) }
    }
}

fn header(fields: &mut Bytes) -> Option<(String, Header)> {
    let length = usize::from(fields.try_get_u8().ok()?);
    let name = text(take(fields, length)?)?;
    let value = match fields.try_get_u8().ok()? {
        0 => Header::Boolean(true),
        1 => Header::Boolean(false),
        2 => Header::Byte(fields.try_get_i8().ok()?),
        3 => Header::Short(fields.try_get_i16().ok()?),
        4 => Header::Integer(fields.try_get_i32().ok()?),
        5 => Header::Long(fields.try_get_i64().ok()?),
        kind @ (6 | 7) => {
            let length = usize::from(fields.try_get_u16().ok()?);
            let bytes = take(fields, length)?;
            if kind == 6 { Header::Bytes(bytes) } else { Header::String(text(bytes)?) }
        }
        8 => Header::Timestamp(fields.try_get_i64().ok()?),
        9 => Header::Uuid(take(fields, 16)?.as_ref().try_into().ok()?),
        _ => return None,
    };
    Some((name, value))
}

fn take(fields: &mut Bytes, length: usize) -> Option<Bytes> {
    (fields.len() >= length).then(|| fields.split_to(length))
}

fn text(bytes: Bytes) -> Option<String> {
    String::from_utf8(bytes.into()).ok()
}

#[cfg(test)]
mod tests;
