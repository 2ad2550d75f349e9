//! Committed writes that the engine does not hold yet: a sorted map with a few versions of each key.
//!
//! Everything a segment of the commit log holds is in one generation; when the engine has absorbed a generation, the
//! generation and its segment
//! go together. A reader sees, of each key, the newest version not above its own.

use std::{
    collections::{BTreeMap, btree_map::Entry},
    ops::Bound,
    sync::atomic::{AtomicU64, AtomicUsize, Ordering},
};

use bytes::Bytes;
use parking_lot::RwLock;
use store_api::{Direction, KeyRange};

/// What a key costs beside its bytes: map node, version, two handles.
const ENTRY_BYTES: usize = 120;
/// Entries copied at a time while scanning.
const CHUNK: usize = 64;

/// One version of a key's value: since which commit, and what (`None`: removed).
type Version = (u64, Option<Bytes>);

/// The versions of a key, oldest first; nearly every key has one.
#[derive(Debug)]
enum Versions {
    One(Version),
    Several(Vec<Version>),
}

impl Versions {
    fn as_slice(&self) -> &[Version] {
        match self {
            Self::One(version) => std::slice::from_ref(version),
            Self::Several(versions) => versions,
        }
    }

    /// Adds the newest. Versions that nobody at `horizon` or later can see are dropped.
    fn push(&mut self, newest: Version, horizon: u64) {
        if newest.0 <= horizon {
            *self = Self::One(newest);
            return;
        }
        match self {
            Self::One(before) => {
                let before = std::mem::take(before);
                *self = Self::Several(vec![before, newest]);
            }
            Self::Several(versions) => {
                versions.push(newest);
                // The newest version at or below the horizon hides those before it.
                let hidden = versions.iter().rposition(|(version, _)| *version <= horizon).unwrap_or(0);
                versions.drain(..hidden);
            }
        }
    }

    /// Forgets what is newer than `version`; false when nothing is left.
    fn roll_back(&mut self, version: u64) -> bool {
        match self {
            Self::One((since, _)) => *since <= version,
            Self::Several(versions) => {
                versions.retain(|(since, _)| *since <= version);
                !versions.is_empty()
            }
        }
    }
}

/// The commits of one segment of the log.
#[derive(Debug)]
pub(crate) struct Generation {
    segment: u64,
    map: RwLock<BTreeMap<Bytes, Versions>>,
    bytes: AtomicUsize,
    last: AtomicU64,
    clock: AtomicU64,
}

impl Generation {
    pub(crate) fn new(segment: u64) -> Self {
        Self {
            segment,
            map: RwLock::default(),
            bytes: AtomicUsize::new(0),
            last: AtomicU64::new(0),
            clock: AtomicU64::new(0),
        }
    }

    /// The number of the log's segment that holds the same.
    pub(crate) fn segment(&self) -> u64 {
        self.segment
    }

    /// The greatest version in it; 0 when it is empty.
    pub(crate) fn last(&self) -> u64 {
        self.last.load(Ordering::Acquire)
    }

    /// The greatest time of a commit in it, in milliseconds.
    pub(crate) fn clock(&self) -> u64 {
        self.clock.load(Ordering::Acquire)
    }

    /// Memory held, about.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes.load(Ordering::Relaxed)
    }

    /// Adds a commit. Versions that nobody at `horizon` or later can see are dropped.
    pub(crate) fn apply(&self, version: u64, clock: u64, horizon: u64, writes: Vec<(Bytes, Option<Bytes>)>) {
        let mut grown = 0;
        let mut map = self.map.write();
        for (key, value) in writes {
            let value_bytes = value.as_ref().map_or(0, Bytes::len);
            // Every write is in the log, so even an overwritten value counts: this bounds the segment's length.
            grown += value_bytes + key.len() + ENTRY_BYTES;
            match map.entry(key) {
                Entry::Vacant(place) => {
                    place.insert(Versions::One((version, value)));
                }
                Entry::Occupied(mut there) => there.get_mut().push((version, value), horizon),
            }
        }
        drop(map);
        self.bytes.fetch_add(grown, Ordering::Relaxed);
        self.last.store(version, Ordering::Release);
        self.clock.fetch_max(clock, Ordering::AcqRel);
    }

    /// Forgets every commit after `version`: they did not become durable.
    pub(crate) fn roll_back(&self, version: u64) {
        let mut map = self.map.write();
        map.retain(|_, versions| versions.roll_back(version));
        self.last.fetch_min(version, Ordering::AcqRel);
    }

    /// What this generation says about a key at `version`; `None` when it says nothing.
    pub(crate) fn get(&self, key: &[u8], version: u64) -> Option<Option<Bytes>> {
        self.map.read().get(key).and_then(|versions| visible(versions, version)).cloned()
    }

    /// What this generation says about a range at `version`, in order; of which about `wanted` are wanted.
    pub(crate) fn scan(&self, range: &KeyRange, direction: Direction, version: u64, wanted: usize) -> Scan<'_> {
        let chunk = Vec::new().into_iter();
        let size = wanted.clamp(1, CHUNK);
        Scan { generation: self, range: Some(range.clone()), direction, version, chunk, size }
    }

    /// The newest entries in order, at most `limit` from the first key behind `after`.
    pub(crate) fn newest(&self, after: Option<&Bytes>, limit: usize) -> Vec<(Bytes, Option<Bytes>)> {
        let start = after.map_or(Bound::Unbounded, Bound::Excluded);
        let map = self.map.read();
        let entries = map.range::<Bytes, _>((start, Bound::Unbounded));
        entries
            .take(limit)
            .filter_map(|(key, versions)| versions.as_slice().last().map(|(_, value)| (key.clone(), value.clone())))
            .collect()
    }
}

fn visible(versions: &Versions, version: u64) -> Option<&Option<Bytes>> {
    versions.as_slice().iter().rev().find(|(since, _)| *since <= version).map(|(_, value)| value)
}

/// See [`Generation::scan`]. Copies piece by piece, so that no lock is held between two entries.
pub(crate) struct Scan<'a> {
    generation: &'a Generation,
    range: Option<KeyRange>,
    direction: Direction,
    version: u64,
    chunk: std::vec::IntoIter<(Bytes, Option<Bytes>)>,
    /// Entries of the next piece.
    size: usize,
}

impl Scan<'_> {
    fn refill(&mut self) {
        let Some(range) = self.range.take() else { return };
        if range.is_empty() {
            return;
        }
        let map = self.generation.map.read();
        let entries = map.range::<[u8], _>((Bound::Included(range.start()), Bound::Excluded(range.end())));
        let (mut chunk, mut last) = (Vec::new(), None);
        let mut take = |(key, versions): (&Bytes, &Versions)| {
            if let Some(value) = visible(versions, self.version) {
                chunk.push((key.clone(), value.clone()));
            }
            last = Some(key.clone());
        };
        match self.direction {
            Direction::Forward => entries.take(self.size).for_each(&mut take),
            Direction::Reverse => entries.rev().take(self.size).for_each(&mut take),
        }
        self.size = CHUNK;
        let Some(last) = last else { return };
        self.range = Some(match self.direction {
            Direction::Forward => KeyRange::encoded([&last[..], &[0]].concat(), range.end().to_vec()),
            Direction::Reverse => KeyRange::encoded(range.start().to_vec(), last.to_vec()),
        });
        self.chunk = chunk.into_iter();
    }
}

impl Iterator for Scan<'_> {
    type Item = (Bytes, Option<Bytes>);

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some(entry) = self.chunk.next() {
                return Some(entry);
            }
            self.range.as_ref()?;
            self.refill();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn put(generation: &Generation, version: u64, horizon: u64, key: &'static str, value: Option<&'static str>) {
        generation.apply(version, version, horizon, vec![(Bytes::from(key), value.map(Bytes::from))]);
    }

    #[test]
    fn each_reader_sees_its_own_version() {
        let generation = Generation::new(1);
        put(&generation, 1, 0, "a", Some("1"));
        put(&generation, 2, 0, "a", None);
        put(&generation, 3, 0, "a", Some("3"));
        for (version, expected) in
            [(0, None), (1, Some(Some("1"))), (2, Some(None)), (3, Some(Some("3"))), (9, Some(Some("3")))]
        {
            let expected = expected.map(|value| value.map(Bytes::from));
            assert_eq!(generation.get(b"a", version), expected, "{version}");
        }
        put(&generation, 4, 3, "a", Some("4"));
        assert_eq!(generation.map.read()[&b"a"[..]].as_slice().len(), 2, "versions below the horizon are dropped");
        generation.roll_back(3);
        assert_eq!(generation.get(b"a", 9), Some(Some(Bytes::from("3"))));
        assert_eq!(generation.last(), 3);
    }

    #[test]
    fn scans_cross_chunks_in_both_directions() {
        let generation = Generation::new(1);
        for n in 0..200u64 {
            generation.apply(n + 1, 0, 0, vec![(Bytes::copy_from_slice(&n.to_be_bytes()), Some(Bytes::new()))]);
        }
        let range = KeyRange::encoded(10u64.to_be_bytes().to_vec(), 190u64.to_be_bytes().to_vec());
        let forward: Vec<_> = generation.scan(&range, Direction::Forward, 150, 3).map(|(key, _)| key).collect();
        assert_eq!(forward.len(), 140, "from 10 to the last visible, 149");
        let mut reverse: Vec<_> =
            generation.scan(&range, Direction::Reverse, 150, usize::MAX).map(|(key, _)| key).collect();
        reverse.reverse();
        assert_eq!(forward, reverse);
    }
}
