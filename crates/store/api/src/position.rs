//! Where a record stands in a stream.

use std::{
    fmt,
    str::FromStr,
    sync::{Arc, OnceLock},
};

/// An opaque, ordered position: later commits have greater ones. Not dense: do not count with it.
///
/// It is made of an epoch (raised by every restore, so that positions from before it are recognisably older), the
/// commit's version and the record's ordinal within the commit. As text: 32 lower-case hexadecimal digits, in order.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Position {
    epoch: u32,
    version: u64,
    ordinal: u32,
}

impl Position {
    /// Before every record.
    pub const START: Self = Self { epoch: 0, version: 0, ordinal: 0 };

    /// For back-ends, which assign positions at commit.
    #[must_use]
    pub const fn new(epoch: u32, version: u64, ordinal: u32) -> Self {
        Self { epoch, version, ordinal }
    }

    /// The epoch: raised by every restore.
    #[must_use]
    pub const fn epoch(self) -> u32 {
        self.epoch
    }

    /// Sixteen bytes whose order is the positions'.
    #[must_use]
    pub fn to_bytes(self) -> [u8; 16] {
        let number = u128::from(self.epoch) << 96 | u128::from(self.version) << 32 | u128::from(self.ordinal);
        number.to_be_bytes()
    }

    /// The inverse of [`Position::to_bytes`]; any sixteen bytes are a position.
    #[must_use]
    pub fn from_bytes(bytes: &[u8; 16]) -> Self {
        let [a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p] = *bytes;
        Self {
            epoch: u32::from_be_bytes([a, b, c, d]),
            version: u64::from_be_bytes([e, f, g, h, i, j, k, l]),
            ordinal: u32::from_be_bytes([m, n, o, p]),
        }
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", u128::from_be_bytes(self.to_bytes()))
    }
}

impl fmt::Debug for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.epoch, self.version, self.ordinal)
    }
}

/// The text is not a position.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a stream position is 32 lower-case hexadecimal digits")]
pub struct InvalidPosition;

impl FromStr for Position {
    type Err = InvalidPosition;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let valid = text.len() == 32 && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
        match u128::from_str_radix(text, 16) {
            Ok(number) if valid => Ok(Self::from_bytes(&number.to_be_bytes())),
            _ => Err(InvalidPosition),
        }
    }
}

/// The position of a record appended in a transaction, known once that transaction has committed. Return it from the
/// body and read it from the answer.
#[derive(Clone, Debug, Default)]
pub struct Appended(Arc<OnceLock<Position>>);

impl Appended {
    /// The position; `None` before the commit and after a rollback.
    #[must_use]
    pub fn position(&self) -> Option<Position> {
        self.0.get().copied()
    }

    pub(crate) fn fill(&self, position: Position) {
        // A re-run body makes fresh handles, so a handle is filled at most once.
        let _first = self.0.set(position);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_bytes_and_order_agree() {
        let (a, b) = (Position::new(1, 2, u32::MAX), Position::new(1, 3, 0));
        assert!(a < b && a.to_bytes() < b.to_bytes() && a.to_string() < b.to_string());
        assert_eq!(a.to_string().parse::<Position>(), Ok(a));
        assert_eq!(Position::from_bytes(&b.to_bytes()), b);
        for text in ["", "0", "+0000000000000000000000000000001", "G0000000000000000000000000000000"] {
            assert_eq!(text.parse::<Position>(), Err(InvalidPosition), "{text}");
        }
    }
}
