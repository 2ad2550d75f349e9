//! Frames, written. Guarantee: lengths and checksums are those of what is written; nothing beyond AWS's bounds is.
//!
//! ```text
//! total length u32 · headers' length u32 · CRC-32 of these eight bytes · headers · payload · CRC-32 of all before
//! header: name's length u8 · name · type u8 · value
//! ```

use bytes::{BufMut, Bytes, BytesMut};

/// The greatest payload of one frame, in bytes.
pub const PAYLOAD_BYTES_MAX: usize = 16 * 1024 * 1024;
/// The greatest size of all headers of one frame, in bytes.
pub const HEADERS_BYTES_MAX: usize = 128 * 1024;
/// Prelude with its checksum.
pub(crate) const PRELUDE_BYTES: usize = 12;
/// Both ends of a frame without headers and payload.
pub(crate) const OVERHEAD_BYTES: usize = PRELUDE_BYTES + 4;

/// A header's value.
#[derive(Clone, Debug, PartialEq)]
pub enum Header {
    /// `true` or `false`.
    Boolean(bool),
    /// 8 bits.
    Byte(i8),
    /// 16 bits.
    Short(i16),
    /// 32 bits.
    Integer(i32),
    /// 64 bits.
    Long(i64),
    /// Bytes, at most 65,535.
    Bytes(Bytes),
    /// A text of at most 65,535 bytes.
    String(String),
    /// Milliseconds since 1970.
    Timestamp(i64),
    /// A UUID's sixteen bytes.
    Uuid([u8; 16]),
}

/// A frame's contents.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Message {
    /// In their order.
    pub headers: Vec<(String, Header)>,
    /// What the frame is for.
    pub payload: Bytes,
}

/// A name, value, all headers or the payload exceed what a frame may hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooLarge;

impl std::fmt::Display for TooLarge {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "an event exceeds {PAYLOAD_BYTES_MAX} bytes, or its headers {HEADERS_BYTES_MAX}")
    }
}

impl std::error::Error for TooLarge {}

impl Message {
    /// The text of a header; `None` when it is absent or no text.
    #[must_use]
    pub fn text(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).and_then(|(_, value)| match value {
            Header::String(text) => Some(text.as_str()),
            _ => None,
        })
    }

    /// The frame.
    ///
    /// # Errors
    /// [`TooLarge`].
    pub fn encode(&self) -> Result<Bytes, TooLarge> {
        let mut frame = Frame::new(self.payload.len());
        for (name, value) in &self.headers {
            frame.header(name, value)?;
        }
        frame.finish(&self.payload)
    }
}

/// A frame under way: headers first, then the payload.
pub(crate) struct Frame(BytesMut);

impl Frame {
    pub(crate) fn new(payload_bytes: usize) -> Self {
        let mut buffer = BytesMut::with_capacity(payload_bytes.min(PAYLOAD_BYTES_MAX) + 128);
        buffer.put_bytes(0, PRELUDE_BYTES);
        Self(buffer)
    }

    pub(crate) fn header(&mut self, name: &str, value: &Header) -> Result<(), TooLarge> {
        let text = |out: &mut BytesMut, kind: u8, bytes: &[u8]| {
            out.put_u8(kind);
            out.put_u16(u16::try_from(bytes.len()).map_err(|_| TooLarge)?);
            out.put_slice(bytes);
            Ok(())
        };
        let out = &mut self.0;
        out.put_u8(u8::try_from(name.len()).map_err(|_| TooLarge)?);
        out.put_slice(name.as_bytes());
        match value {
            Header::Boolean(true) => out.put_u8(0),
            Header::Boolean(false) => out.put_u8(1),
            Header::Byte(value) => {
                out.put_u8(2);
                out.put_i8(*value);
            }
            Header::Short(value) => {
                out.put_u8(3);
                out.put_i16(*value);
            }
            Header::Integer(value) => {
                out.put_u8(4);
                out.put_i32(*value);
            }
            Header::Long(value) => {
                out.put_u8(5);
                out.put_i64(*value);
            }
            Header::Bytes(bytes) => text(out, 6, bytes)?,
            Header::String(value) => text(out, 7, value.as_bytes())?,
            Header::Timestamp(millis) => {
                out.put_u8(8);
                out.put_i64(*millis);
            }
            Header::Uuid(bytes) => {
                out.put_u8(9);
                out.put_slice(bytes);
            }
        }
        if out.len() - PRELUDE_BYTES > HEADERS_BYTES_MAX { Err(TooLarge) } else { Ok(()) }
    }

    pub(crate) fn text(&mut self, name: &str, value: &str) -> Result<(), TooLarge> {
        self.header(name, &Header::String(value.to_owned()))
    }

    pub(crate) fn finish(self, payload: &[u8]) -> Result<Bytes, TooLarge> {
        if payload.len() > PAYLOAD_BYTES_MAX {
            return Err(TooLarge);
        }
        let mut frame = self.0;
        let headers = frame.len() - PRELUDE_BYTES;
        frame.put_slice(payload);
        // Both are below the bounds above.
        let total = u32::try_from(frame.len() + 4).map_err(|_| TooLarge)?;
        let headers = u32::try_from(headers).map_err(|_| TooLarge)?;
        frame[..4].copy_from_slice(&total.to_be_bytes());
        frame[4..8].copy_from_slice(&headers.to_be_bytes());
        let checksum = crc32fast::hash(&frame[..8]);
        frame[8..PRELUDE_BYTES].copy_from_slice(&checksum.to_be_bytes());
        let checksum = crc32fast::hash(&frame);
        frame.put_u32(checksum);
        Ok(frame.freeze())
    }
}
