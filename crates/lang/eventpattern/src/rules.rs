//! Many patterns at once.
//!
//! Each alternative of each pattern is filed under one of its paths: under the values, prefixes or suffixes that it asks
//! for there, or under the path itself when it asks for something that cannot be looked up (a range, anything but). Of
//! its paths it is the one that has the fewest others filed beside it. An event looks into the drawers of its own values
//! and tries what it finds there.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    hash::Hash,
};

use crate::{
    Event, EventPattern,
    event::Scalar,
    pattern::{Branch, Test, Wildcard, fold},
};

/// Patterns by name.
#[derive(Clone, Debug)]
pub struct RuleSet<K> {
    rules: HashMap<K, usize>,
    slots: Vec<Option<Rule<K>>>,
    free: Vec<usize>,
    drawers: HashMap<Drawer, Vec<Filed>>,
    /// Per path: how many alternatives are filed by a prefix (or suffix) of this many bytes.
    prefix_lengths: HashMap<String, BTreeMap<usize, usize>>,
    suffix_lengths: HashMap<String, BTreeMap<usize, usize>>,
}

#[derive(Clone, Debug)]
struct Rule<K> {
    key: K,
    pattern: EventPattern,
    filed: Vec<Vec<Drawer>>,
}

/// An alternative of a rule.
type Filed = (usize, usize);

/// Where an alternative is looked for.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Drawer {
    /// Whatever the event holds: nothing is asked but what must not be there.
    Always,
    /// Anything at this path.
    Path(String),
    Value(String, String),
    Folded(String, String),
    Prefix(String, String),
    Suffix(String, String),
}

impl<K> Default for RuleSet<K> {
    fn default() -> Self {
        Self {
            rules: HashMap::new(),
            slots: Vec::new(),
            free: Vec::new(),
            drawers: HashMap::new(),
            prefix_lengths: HashMap::new(),
            suffix_lengths: HashMap::new(),
        }
    }
}

impl<K: Clone + Eq + Hash> RuleSet<K> {
    /// An empty set.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The number of rules.
    #[must_use]
    pub fn len(&self) -> usize {
        self.rules.len()
    }

    /// Whether there is no rule.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.rules.is_empty()
    }

    /// Adds a rule, or gives it another pattern.
    pub fn insert(&mut self, key: K, pattern: EventPattern) {
        self.remove(&key);
        let slot = self.free.pop().unwrap_or_else(|| {
            self.slots.push(None);
            self.slots.len() - 1
        });
        let mut filed = Vec::with_capacity(pattern.alternatives.len());
        for (number, alternative) in pattern.alternatives.iter().enumerate() {
            let drawers = self.choose(&alternative.root);
            for drawer in &drawers {
                self.count(drawer, true);
                self.drawers.entry(drawer.clone()).or_default().push((slot, number));
            }
            filed.push(drawers);
        }
        self.rules.insert(key.clone(), slot);
        self.slots[slot] = Some(Rule { key, pattern, filed });
    }

    /// Takes a rule out; false when there was none.
    pub fn remove(&mut self, key: &K) -> bool {
        let Some(slot) = self.rules.remove(key) else { return false };
        let Some(rule) = self.slots[slot].take() else { return false };
        self.free.push(slot);
        for (number, drawers) in rule.filed.iter().enumerate() {
            for drawer in drawers {
                self.count(drawer, false);
                if let Some(filed) = self.drawers.get_mut(drawer) {
                    filed.retain(|it| *it != (slot, number));
                    if filed.is_empty() {
                        self.drawers.remove(drawer);
                    }
                }
            }
        }
        true
    }

    /// The rules that the event matches, each once, in no particular order.
    #[must_use]
    pub fn matching(&self, event: &Event) -> Vec<K> {
        let mut tried = HashSet::new();
        let mut found = Vec::new();
        let mut matched = HashSet::new();
        let mut look = |drawer: &Drawer| {
            for &(slot, number) in self.drawers.get(drawer).into_iter().flatten() {
                if matched.contains(&slot) || !tried.insert((slot, number)) {
                    continue;
                }
                if let Some(rule) = &self.slots[slot]
                    && rule.pattern.alternatives[number].matches(event)
                {
                    matched.insert(slot);
                    found.push(rule.key.clone());
                }
            }
        };
        look(&Drawer::Always);
        for (path, values) in &event.leaves {
            look(&Drawer::Path(path.clone()));
            for value in values {
                look(&Drawer::Value(path.clone(), value.key()));
                let Scalar::Text(text) = value else { continue };
                look(&Drawer::Folded(path.clone(), fold(text)));
                for (length, _) in self.prefix_lengths.get(path).into_iter().flatten() {
                    if let Some(prefix) = text.get(..*length) {
                        look(&Drawer::Prefix(path.clone(), prefix.to_owned()));
                    }
                }
                for (length, _) in self.suffix_lengths.get(path).into_iter().flatten() {
                    if let Some(suffix) = text.len().checked_sub(*length).and_then(|start| text.get(start..)) {
                        look(&Drawer::Suffix(path.clone(), suffix.to_owned()));
                    }
                }
            }
        }
        found
    }

    /// The drawers of the path that has the fewest alternatives in them.
    fn choose(&self, root: &Branch) -> Vec<Drawer> {
        let mut best: Option<(usize, Vec<Drawer>)> = None;
        let mut open = vec![root];
        while let Some(branch) = open.pop() {
            open.extend(branch.below.values());
            let Some(drawers) = drawers_of(branch) else { continue };
            // A value is looked up; a path is only narrowed down: with equal numbers the value is the better place.
            let fullness = |drawer: &Drawer| {
                let there = self.drawers.get(drawer).map_or(0, Vec::len);
                if matches!(drawer, Drawer::Path(_)) { there + 1 } else { there }
            };
            let cost = drawers.iter().map(fullness).sum();
            if best.as_ref().is_none_or(|(least, _)| cost < *least) {
                best = Some((cost, drawers));
            }
        }
        best.map_or_else(|| vec![Drawer::Always], |(_, drawers)| drawers)
    }

    fn count(&mut self, drawer: &Drawer, more: bool) {
        let (lengths, path, length) = match drawer {
            Drawer::Prefix(path, text) => (&mut self.prefix_lengths, path, text.len()),
            Drawer::Suffix(path, text) => (&mut self.suffix_lengths, path, text.len()),
            _ => return,
        };
        let of_path = lengths.entry(path.clone()).or_default();
        let count = of_path.entry(length).or_default();
        if more {
            *count += 1;
        } else {
            *count -= 1;
            if *count == 0 {
                of_path.remove(&length);
            }
            if of_path.is_empty() {
                lengths.remove(path);
            }
        }
    }
}

/// Where a branch's tests could be looked up; none when it may hold for an event that has nothing there.
fn drawers_of(branch: &Branch) -> Option<Vec<Drawer>> {
    if branch.tests.is_empty() || branch.tests.contains(&Test::Absent) {
        return None;
    }
    let path = || branch.path.clone();
    let mut drawers: Vec<Drawer> = Vec::new();
    for test in &branch.tests {
        let drawer = match test {
            Test::Equal(value) => Drawer::Value(path(), value.key()),
            Test::EqualIgnoringCase(text) => Drawer::Folded(path(), text.clone()),
            Test::Prefix(text) if !text.is_empty() => Drawer::Prefix(path(), text.clone()),
            Test::Suffix(text) if !text.is_empty() => Drawer::Suffix(path(), text.clone()),
            Test::Wildcard(Wildcard(pieces)) => match (pieces.first(), pieces.last()) {
                (Some(first), _) if pieces.len() > 1 && !first.is_empty() => Drawer::Prefix(path(), first.clone()),
                (_, Some(last)) if pieces.len() > 1 && !last.is_empty() => Drawer::Suffix(path(), last.clone()),
                (Some(only), _) if pieces.len() == 1 => Drawer::Value(path(), Scalar::Text(only.clone()).key()),
                _ => return Some(vec![Drawer::Path(path())]),
            },
            _ => return Some(vec![Drawer::Path(path())]),
        };
        if !drawers.contains(&drawer) {
            drawers.push(drawer);
        }
    }
    Some(drawers)
}
