//! Merging sorted sources of one range, the newest layer winning.

use std::iter::Peekable;

use base_types::Fault;
use bytes::Bytes;

use crate::Direction;

/// A stored entry.
pub type Entry = (Bytes, Bytes);

/// A sorted layer over older ones: `None` hides the key.
pub type Layer<'a> = Box<dyn Iterator<Item = Result<(Bytes, Option<Bytes>), Fault>> + 'a>;

/// The visible entries of several layers (newest first), each sorted in `direction`.
pub fn merge<'a>(layers: Vec<Layer<'a>>, direction: Direction) -> impl Iterator<Item = Result<Entry, Fault>> + 'a {
    Merge { layers: layers.into_iter().map(Iterator::peekable).collect(), direction }
}

struct Merge<'a> {
    layers: Vec<Peekable<Layer<'a>>>,
    direction: Direction,
}

impl Merge<'_> {
    /// The index of the layer whose head comes first; of equals the newest. A failed head comes before everything.
    fn first(&mut self) -> Option<usize> {
        let mut best: Option<(usize, Bytes)> = None;
        for (index, layer) in self.layers.iter_mut().enumerate() {
            let key = match layer.peek() {
                None => continue,
                Some(Err(_)) => return Some(index),
                Some(Ok((key, _))) => key,
            };
            let sooner = best.as_ref().is_none_or(|(_, best)| match self.direction {
                Direction::Forward => key < best,
                Direction::Reverse => key > best,
            });
            if sooner {
                best = Some((index, key.clone()));
            }
        }
        best.map(|(index, _)| index)
    }
}

impl Iterator for Merge<'_> {
    type Item = Result<Entry, Fault>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let winner = self.first()?;
            let (key, value) = match self.layers[winner].next()? {
                Ok(entry) => entry,
                Err(fault) => return Some(Err(fault)),
            };
            for older in &mut self.layers[winner + 1..] {
                older.next_if(|head| matches!(head, Ok((other, _)) if *other == key));
            }
            if let Some(value) = value {
                return Some(Ok((key, value)));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layer(entries: &[(&'static str, Option<&'static str>)]) -> Layer<'static> {
        let entries: Vec<_> = entries.iter().map(|(k, v)| Ok((Bytes::from(*k), v.map(Bytes::from)))).collect();
        Box::new(entries.into_iter())
    }

    #[test]
    fn the_newest_layer_wins_and_hides() {
        let layers = vec![
            layer(&[("a", Some("3")), ("c", None)]),
            layer(&[("a", None), ("b", Some("2"))]),
            layer(&[("a", Some("1")), ("b", Some("1")), ("c", Some("1")), ("d", Some("1"))]),
        ];
        let seen: Vec<_> = merge(layers, Direction::Forward).map(Result::unwrap).collect();
        assert_eq!(seen, [("a", "3"), ("b", "2"), ("d", "1")].map(|(k, v)| (Bytes::from(k), Bytes::from(v))));
    }
}
