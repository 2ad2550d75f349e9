//! Which groups and streams were deleted since the start: who holds a target from before must not append to it.
//!
//! Bounded: it remembers the last 65,536. A target older than that many deletions appends to events nobody reads.

use std::collections::{HashSet, VecDeque};

use parking_lot::RwLock;

const REMEMBERED_MAX: usize = 1 << 16;

#[derive(Default)]
pub(crate) struct Deleted(RwLock<Ids>);

#[derive(Default)]
struct Ids {
    set: HashSet<u128>,
    order: VecDeque<u128>,
}

impl Deleted {
    pub(crate) fn insert(&self, id: u128) {
        let mut ids = self.0.write();
        if ids.set.insert(id) {
            ids.order.push_back(id);
        }
        if ids.order.len() > REMEMBERED_MAX
            && let Some(oldest) = ids.order.pop_front()
        {
            ids.set.remove(&oldest);
        }
    }

    pub(crate) fn contains(&self, id: u128) -> bool {
        self.0.read().set.contains(&id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_are_forgotten_first() {
        let deleted = Deleted::default();
        for id in 0..=REMEMBERED_MAX as u128 {
            deleted.insert(id);
            deleted.insert(id);
        }
        assert!(!deleted.contains(0));
        assert!(deleted.contains(1) && deleted.contains(REMEMBERED_MAX as u128));
    }
}
