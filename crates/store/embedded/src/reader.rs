//! One consistent state of the store: generations over an engine's snapshot, at a version.

use std::sync::Arc;

use base_types::Fault;
use bytes::Bytes;
use store_api::{Direction, Entry, KeyRange, Layer, Position, Read, Reader, merge};

use crate::{core::State, generation::Generation, heads::Heads};

/// A reader at one version.
pub(crate) struct CommittedReader {
    state: Arc<State>,
    version: u64,
    epoch: u32,
    /// Given to transactions that write: they run alone, so what they find at the head of a range can be remembered.
    heads: Option<Arc<Heads>>,
}

impl CommittedReader {
    /// For a view of `version`.
    pub(crate) fn view(state: Arc<State>, version: u64, epoch: u32) -> Self {
        Self { state, version, epoch, heads: None }
    }

    /// For a transaction that runs alone after `version`, the last commit.
    pub(crate) fn newest(state: Arc<State>, version: u64, epoch: u32, heads: &Arc<Heads>) -> Self {
        Self { state, version, epoch, heads: Some(Arc::clone(heads)) }
    }

    fn generations(&self) -> impl Iterator<Item = &Arc<Generation>> {
        std::iter::once(&self.state.active).chain(&self.state.frozen)
    }

    fn merged(
        &self,
        range: &KeyRange,
        direction: Direction,
        wanted: usize,
    ) -> impl Iterator<Item = Result<Entry, Fault>> + '_ {
        let mut layers: Vec<Layer<'_>> = self
            .generations()
            .map(|generation| Box::new(generation.scan(range, direction, self.version, wanted).map(Ok)) as Layer<'_>)
            .collect();
        let engine = self.state.engine.scan(range, direction);
        layers.push(Box::new(engine.map(|entry| entry.map(|(key, value)| (key, Some(value))))));
        merge(layers, direction)
    }
}

impl Reader for CommittedReader {
    fn get(&self, key: &[u8], _: Read) -> Result<Option<Bytes>, Fault> {
        match self.generations().find_map(|generation| generation.get(key, self.version)) {
            Some(value) => Ok(value),
            None => self.state.engine.get(key),
        }
    }

    fn scan(
        &self,
        range: &KeyRange,
        direction: Direction,
        _: Read,
        wanted: usize,
    ) -> Box<dyn Iterator<Item = Result<Entry, Fault>> + '_> {
        // The marks are about whole prefixes, from their beginning.
        let marked = direction == Direction::Forward && range.end().starts_with(range.start());
        let Some(heads) = self.heads.as_ref().filter(|_| marked) else {
            return Box::new(self.merged(range, direction, wanted));
        };
        let low = heads.low(range.start(), self.version);
        let rest = match &low {
            Some(low) if low[..] > *range.start() => KeyRange::encoded(low.to_vec(), range.end().to_vec()),
            _ => range.clone(),
        };
        let mut first = Some((Arc::clone(heads), range.clone(), low));
        let mut entries: Box<dyn Iterator<Item = _>> = if rest.is_empty() {
            Box::new(std::iter::empty())
        } else {
            Box::new(self.merged(&rest, direction, wanted))
        };
        Box::new(std::iter::from_fn(move || {
            let entry = entries.next();
            if let Some((heads, range, low)) = first.take() {
                match &entry {
                    Some(Ok((key, _))) => heads.raise(range.start(), key.clone(), self.version),
                    // Nothing up to the end; a mark that lies behind it knows more.
                    None if low.is_none_or(|low| low[..] < *range.end()) => {
                        heads.raise(range.start(), Bytes::copy_from_slice(range.end()), self.version);
                    }
                    None | Some(Err(_)) => {}
                }
            }
            entry
        }))
    }

    fn stable_position(&self) -> Position {
        Position::new(self.epoch, self.version, u32::MAX)
    }
}
