//! What a decoder noticed that a struct cannot hold: required members that were absent, texts that are no value of a
//! closed enum. Guarantee: bounded; what lies beyond the bound is counted as seen, and the request fails anyway.

use crate::Schema;

/// One step on the way from the input structure to a value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// The member with this (model) name.
    Member(&'static str),
    /// The item at this index, from 0.
    Item(usize),
    /// The map's value of this key.
    Key(String),
}

/// How many findings are kept: AWS, too, stops somewhere.
const FINDINGS_MAX: usize = 64;

/// Kept while decoding; [`crate::validate`] reads it.
#[derive(Debug, Default)]
pub struct Survey {
    path: Vec<Step>,
    missing: Vec<Vec<Step>>,
    unknown: Vec<(Vec<Step>, String)>,
}

impl Survey {
    /// Goes one step down.
    pub fn enter(&mut self, step: Step) {
        self.path.push(step);
    }

    /// Goes one step up.
    pub fn leave(&mut self) {
        self.path.pop();
    }

    /// How deep the decoder is.
    #[must_use]
    pub fn depth(&self) -> usize {
        self.path.len()
    }

    /// The structure at hand is complete: notes which of its required members were not among the `seen` ones.
    pub fn absent(&mut self, schema: &'static Schema, seen: Seen) {
        for (index, member) in schema.members().iter().enumerate() {
            if member.required && !seen.contains(index) {
                self.missing(member.name);
            }
        }
    }

    /// The item or entry at hand is null.
    pub fn null(&mut self) {
        if self.missing.len() < FINDINGS_MAX {
            self.missing.push(self.path.clone());
        }
    }

    /// A required member of the structure at hand was not there.
    pub fn missing(&mut self, member: &'static str) {
        if self.missing.len() < FINDINGS_MAX {
            let mut path = self.path.clone();
            path.push(Step::Member(member));
            self.missing.push(path);
        }
    }

    /// The value at hand belongs to a closed enum, and this text is none of its values.
    pub fn unknown(&mut self, text: &str) {
        if self.unknown.len() < FINDINGS_MAX {
            self.unknown.push((self.path.clone(), text.to_owned()));
        }
    }

    pub(crate) fn is_missing(&self, path: &[Step]) -> bool {
        self.missing.iter().any(|missing| missing == path)
    }

    pub(crate) fn unknown_at(&self, path: &[Step]) -> Option<&str> {
        self.unknown.iter().find(|(at, _)| at == path).map(|(_, text)| text.as_str())
    }
}

/// Which members of a structure were seen; structures have at most 128 (code generation refuses larger ones).
#[derive(Clone, Copy, Debug, Default)]
pub struct Seen(u128);

impl Seen {
    /// Notes the member at `index`.
    pub fn insert(&mut self, index: usize) {
        if let Ok(index) = u32::try_from(index) {
            self.0 |= 1_u128.checked_shl(index).unwrap_or(0);
        }
    }

    /// Whether the member at `index` was seen.
    #[must_use]
    pub fn contains(self, index: usize) -> bool {
        u32::try_from(index).ok().and_then(|index| self.0.checked_shr(index)).is_some_and(|bits| bits & 1 == 1)
    }
}
