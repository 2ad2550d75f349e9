//! An arena whose keys go stale: a removed entry's [`Id`] never finds the entry that took its place.
//!
//! Guarantee: insertion, look-up and removal are constant time and allocate only when the arena grows.

use std::{fmt, hash::Hash, marker::PhantomData};

/// The key of an entry of type `T`.
pub(crate) struct Id<T> {
    index: u32,
    generation: u32,
    kind: PhantomData<fn() -> T>,
}

impl<T> Id<T> {
    /// One number that no other entry of this arena, living or removed, has.
    pub(crate) fn number(self) -> u64 {
        u64::from(self.generation) << 32 | u64::from(self.index)
    }
}

// Written by hand: a derive would ask the same of `T`.
impl<T> Clone for Id<T> {
    fn clone(&self) -> Self {
        *self
    }
}
impl<T> Copy for Id<T> {}
impl<T> PartialEq for Id<T> {
    fn eq(&self, other: &Self) -> bool {
        self.number() == other.number()
    }
}
impl<T> Eq for Id<T> {}
impl<T> PartialOrd for Id<T> {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}
impl<T> Ord for Id<T> {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.number().cmp(&other.number())
    }
}
impl<T> Hash for Id<T> {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.number().hash(state);
    }
}
impl<T> fmt::Debug for Id<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.index, self.generation)
    }
}

/// The arena.
pub(crate) struct Slots<T> {
    entries: Vec<(u32, Option<T>)>,
    free: Vec<u32>,
}

impl<T> Slots<T> {
    pub(crate) fn new() -> Self {
        Self { entries: Vec::new(), free: Vec::new() }
    }

    pub(crate) fn insert(&mut self, value: T) -> Id<T> {
        if let Some(index) = self.free.pop()
            && let Some((generation, entry)) = self.entries.get_mut(index as usize)
        {
            *entry = Some(value);
            return Id { index, generation: *generation, kind: PhantomData };
        }
        let index = u32::try_from(self.entries.len()).unwrap_or(u32::MAX);
        self.entries.push((0, Some(value)));
        Id { index, generation: 0, kind: PhantomData }
    }

    pub(crate) fn get(&self, id: Id<T>) -> Option<&T> {
        self.entries.get(id.index as usize).filter(|(generation, _)| *generation == id.generation)?.1.as_ref()
    }

    pub(crate) fn get_mut(&mut self, id: Id<T>) -> Option<&mut T> {
        self.entries.get_mut(id.index as usize).filter(|(generation, _)| *generation == id.generation)?.1.as_mut()
    }

    pub(crate) fn remove(&mut self, id: Id<T>) -> Option<T> {
        let (generation, entry) = self.entries.get_mut(id.index as usize)?;
        if *generation != id.generation {
            return None;
        }
        let value = entry.take()?;
        *generation = generation.wrapping_add(1);
        self.free.push(id.index);
        Some(value)
    }

    /// How many entries there are.
    pub(crate) fn len(&self) -> usize {
        self.entries.len() - self.free.len()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (Id<T>, &T)> {
        self.entries.iter().zip(0u32..).filter_map(|((generation, entry), index)| {
            Some((Id { index, generation: *generation, kind: PhantomData }, entry.as_ref()?))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stale_key_finds_nothing() {
        let mut slots = Slots::new();
        let first = slots.insert("a");
        assert_eq!(slots.remove(first), Some("a"));
        let second = slots.insert("b");
        assert_eq!((slots.get(first), slots.get(second)), (None, Some(&"b")));
        assert_eq!((slots.remove(first), slots.iter().count()), (None, 1));
        assert_ne!(first.number(), second.number());
    }
}
