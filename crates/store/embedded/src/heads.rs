//! Where ranges really begin: so that the head of a queue is found at once, however many entries were deleted before
//! it.
//!
//! For the start of a range that was scanned from its beginning this remembers the first live key (the low-water
//! mark). A commit that
//! writes below the mark lowers it, so an entry that arrives late is still found.
//!
//! Only ranges that begin at a key's prefix are remembered: then the marks a written key may lower are those at its
//! own prefixes.

use std::collections::{BTreeMap, HashMap};

use bytes::Bytes;
use parking_lot::Mutex;

/// Marks kept. Beyond it all are forgotten and learnt anew: each costs one slow scan at worst.
const MARKS_MAX: usize = 4096;

/// The marks of a store.
#[derive(Debug, Default)]
pub(crate) struct Heads(Mutex<Marks>);

#[derive(Debug, Default)]
struct Marks {
    by_start: HashMap<Bytes, Mark>,
    /// How many marks there are of each length of their start.
    lengths: BTreeMap<usize, usize>,
}

#[derive(Debug)]
struct Mark {
    /// No live key lies between the start and this.
    low: Bytes,
    /// The version at which that was seen.
    since: u64,
}

impl Heads {
    /// From where a reader at `version` may scan instead of `start`.
    pub(crate) fn low(&self, start: &[u8], version: u64) -> Option<Bytes> {
        let marks = self.0.lock();
        marks.by_start.get(start).filter(|mark| mark.since <= version).map(|mark| mark.low.clone())
    }

    /// A scan of everything from `start`, seeing all commits up to `version` and no later ones existing, found `low`
    /// first.
    pub(crate) fn raise(&self, start: &[u8], low: Bytes, version: u64) {
        let mut marks = self.0.lock();
        if let Some(mark) = marks.by_start.get_mut(start) {
            *mark = Mark { low, since: version };
            return;
        }
        if marks.by_start.len() >= MARKS_MAX {
            *marks = Marks::default();
        }
        marks.by_start.insert(Bytes::copy_from_slice(start), Mark { low, since: version });
        *marks.lengths.entry(start.len()).or_default() += 1;
    }

    /// A commit writes `keys`.
    pub(crate) fn lower<'a>(&self, keys: impl Iterator<Item = &'a Bytes>) {
        let mut marks = self.0.lock();
        let Marks { by_start, lengths } = &mut *marks;
        if by_start.is_empty() {
            return;
        }
        for key in keys {
            for length in lengths.keys() {
                let Some(start) = key.get(..*length) else { break };
                if let Some(mark) = by_start.get_mut(start)
                    && *key < mark.low
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
