//! Where ranges really begin: so that the head of a queue is found at once, however many entries were deleted before
//! it.
//!
//! For the start of a range that was scanned from its beginning this remembers the first live key (the low-water
//! mark). A commit that
//! writes below the mark lowers it, so an entry that arrives late is still found.
//!
//! Only ranges that begin at a key's prefix are remembered: then the marks a written key may lower are those at its
//! own prefixes.

use std::{
    collections::{BTreeMap, HashMap},
    hash::{BuildHasherDefault, Hasher},
};

use bytes::Bytes;
use parking_lot::Mutex;

/// Marks kept. Beyond it all are forgotten and learnt anew: each costs one slow scan at worst.
const MARKS_MAX: usize = 4096;

/// The marks of a store.
#[derive(Debug, Default)]
pub(crate) struct Heads(Mutex<Marks>);

#[derive(Debug, Default)]
struct Marks {
    /// By the hash of their start. Of two starts with one hash the later is kept: a mark that is missing costs a scan.
    by_hash: HashMap<u64, Mark, BuildHasherDefault<Hashed>>,
    /// How many marks there are of each length of their start.
    lengths: BTreeMap<usize, usize>,
}

#[derive(Debug)]
struct Mark {
    start: Bytes,
    /// No live key lies between the start and this.
    low: Bytes,
    /// The version at which that was seen.
    since: u64,
}

/// A hash (FNV-1a) that is read off at every length while it goes over a key once: a written key is looked for under all
/// of its prefixes.
#[derive(Clone, Copy)]
struct Rolling(u64);

impl Rolling {
    fn new() -> Self {
        Self(0xcbf2_9ce4_8422_2325)
    }

    fn over(mut self, bytes: &[u8]) -> Self {
        for byte in bytes {
            self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
        }
        self
    }
}

fn hash(start: &[u8]) -> u64 {
    Rolling::new().over(start).0
}

/// What is a hash already.
#[derive(Default)]
struct Hashed(u64);

impl Hasher for Hashed {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        self.0 = Rolling(self.0).over(bytes).0;
    }

    fn write_u64(&mut self, hash: u64) {
        // The table looks at the upper bits and at the lower ones.
        self.0 = hash ^ hash >> 32;
    }
}

impl Heads {
    /// From where a reader at `version` may scan instead of `start`.
    pub(crate) fn low(&self, start: &[u8], version: u64) -> Option<Bytes> {
        let marks = self.0.lock();
        let mark = marks.by_hash.get(&hash(start)).filter(|mark| mark.start == start)?;
        (mark.since <= version).then(|| mark.low.clone())
    }

    /// A scan of everything from `start`, seeing all commits up to `version` and no later ones existing, found `low`
    /// first.
    pub(crate) fn raise(&self, start: &[u8], low: Bytes, version: u64) {
        let mut marks = self.0.lock();
        let hash = hash(start);
        if let Some(mark) = marks.by_hash.get_mut(&hash).filter(|mark| mark.start == start) {
            (mark.low, mark.since) = (low, version);
            return;
        }
        if marks.by_hash.len() >= MARKS_MAX {
            *marks = Marks::default();
        }
        let mark = Mark { start: Bytes::copy_from_slice(start), low, since: version };
        if let Some(before) = marks.by_hash.insert(hash, mark) {
            marks.forget_length(before.start.len());
        }
        *marks.lengths.entry(start.len()).or_default() += 1;
    }

    /// A commit writes `keys`.
    pub(crate) fn lower<'a>(&self, keys: impl Iterator<Item = &'a Bytes>) {
        let mut marks = self.0.lock();
        let Marks { by_hash, lengths } = &mut *marks;
        if by_hash.is_empty() {
            return;
        }
        for key in keys {
            let (mut hash, mut done) = (Rolling::new(), 0);
            for length in lengths.keys() {
                let Some(piece) = key.get(done..*length) else { break };
                (hash, done) = (hash.over(piece), *length);
                if let Some(mark) = by_hash.get_mut(&hash.0)
                    && *key < mark.low
                    && key.starts_with(&mark.start)
                {
                    mark.low = key.clone();
                }
            }
        }
    }

    /// Forgets everything, after commits were rolled back.
    pub(crate) fn clear(&self) {
        *self.0.lock() = Marks::default();
    }
}

impl Marks {
    fn forget_length(&mut self, length: usize) {
        if let Some(count) = self.lengths.get_mut(&length) {
            *count -= 1;
            if *count == 0 {
                self.lengths.remove(&length);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_late_entry_lowers_the_mark() {
        let heads = Heads::default();
        heads.raise(b"q", Bytes::from("q5"), 10);
        assert_eq!(heads.low(b"q", 9), None, "an older reader may still see what lies below");
        assert_eq!(heads.low(b"q", 10), Some(Bytes::from("q5")));
        heads.lower([Bytes::from("q7")].iter());
        heads.lower([Bytes::from("r1")].iter());
        assert_eq!(heads.low(b"q", 11), Some(Bytes::from("q5")));
        heads.lower([Bytes::from("q3")].iter());
        assert_eq!(heads.low(b"q", 11), Some(Bytes::from("q3")));
    }
}
