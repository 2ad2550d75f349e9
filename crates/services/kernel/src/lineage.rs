//! How often a chain of consequences has come by each resource: the `Lineage` field of the X-Ray trace header.
//!
//! It travels where the trace header travels: into a function's environment, out again with the requests of AWS's SDKs, and
//! with every message and event in between. So a loop is seen wherever it closes. Pure. AWS's form is
//! `Lineage=a87bd80c:1|68fd508a:5`: the digest of a resource and how often the chain passed it.
//!
//! Guarantees: at most sixteen resources are kept (the most frequent), so that the field stays bounded; text
//! that is no lineage counts as none.

use std::{fmt::Write as _, sync::Arc};

use sha2::{Digest, Sha256};

use crate::{Cx, HOPS_MAX};

/// Resources that a lineage names at most.
const RESOURCES_MAX: usize = 16;
/// The field's name in the trace header.
const FIELD: &str = "Lineage=";

impl Cx {
    /// Takes up the chain that the request belongs to: what its trace header says, and what the environment it comes from
    /// is running (a client need not say it).
    pub fn follow(&mut self, inside: Option<&Lineage>) {
        let trace = self.trace.as_deref().unwrap_or_default();
        if inside.is_none() && !trace.contains(FIELD) {
            return;
        }
        let mut lineage = Lineage::of(trace);
        if let Some(inside) = inside {
            lineage.merge(inside);
        }
        let trace = lineage.apply(trace);
        self.hops = lineage.hops().min(HOPS_MAX);
        self.trace = Some(Arc::from(trace));
    }
}

/// The counts of one chain.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Lineage(Vec<(u32, u32)>);

/// A resource as a lineage names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Passed(u32);

impl Passed {
    /// Of the resource with this ARN.
    #[must_use]
    pub fn by(arn: &str) -> Self {
        let digest = Sha256::digest(arn.as_bytes());
        Self(digest.iter().take(4).fold(0, |sum, byte| sum << 8 | u32::from(*byte)))
    }
}

impl Lineage {
    /// The lineage in a trace header; empty when there is none.
    #[must_use]
    pub fn of(trace: &str) -> Self {
        let field = trace.split(';').find_map(|part| part.trim().strip_prefix(FIELD)).unwrap_or_default();
        let entries = field.split('|').filter_map(|entry| {
            let (resource, count) = entry.split_once(':')?;
            Some((u32::from_str_radix(resource, 16).ok()?, count.parse().ok()?))
        });
        let mut lineage = Self::default();
        for (resource, count) in entries.take(RESOURCES_MAX) {
            lineage.raise(resource, count);
        }
        lineage
    }

    /// How often the chain has passed this resource.
    #[must_use]
    pub fn count(&self, resource: Passed) -> u32 {
        self.0.iter().find(|(known, _)| *known == resource.0).map_or(0, |(_, count)| *count)
    }

    /// How often it has passed the one that it passed most.
    #[must_use]
    pub fn hops(&self) -> u8 {
        let most = self.0.iter().map(|(_, count)| *count).max().unwrap_or(0);
        u8::try_from(most).unwrap_or(u8::MAX)
    }

    /// Counts one more passing.
    pub fn pass(&mut self, resource: Passed) {
        self.raise(resource.0, self.count(resource).saturating_add(1));
    }

    /// Takes over what another lineage counted higher.
    pub fn merge(&mut self, other: &Self) {
        for (resource, count) in &other.0 {
            self.raise(*resource, *count);
        }
    }

    /// The trace header with this lineage in place of its own.
    #[must_use]
    pub fn apply(&self, trace: &str) -> String {
        let mut text = String::with_capacity(trace.len() + FIELD.len() + 1 + self.0.len() * 12);
        for part in trace.split(';').filter(|part| !part.is_empty() && !part.trim().starts_with(FIELD)) {
            if !text.is_empty() {
                text.push(';');
            }
            text.push_str(part);
        }
        for (index, (resource, count)) in self.0.iter().enumerate() {
            let before = match index {
                0 if text.is_empty() => FIELD,
                0 => ";Lineage=",
                _ => "|",
            };
            // Writing to a string cannot fail.
            let _ = write!(text, "{before}{resource:08x}:{count}");
        }
        text
    }

    fn raise(&mut self, resource: u32, count: u32) {
        match self.0.iter_mut().find(|(known, _)| *known == resource) {
            Some((_, known)) => *known = (*known).max(count),
            None => {
                if self.0.len() >= RESOURCES_MAX
                    && let Some(rarest) = (0..self.0.len()).min_by_key(|index| self.0.get(*index).map(|(_, n)| *n))
                {
                    self.0.swap_remove(rarest);
                }
                self.0.push((resource, count));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lineage_is_read_counted_and_written_back() {
        let trace = "Root=1-5759e988-bd862e3fe1be46a994272793;Parent=53995c3f42cd8ad8;Sampled=1";
        let mut lineage = Lineage::of(trace);
        assert_eq!((lineage.hops(), lineage.apply(trace)), (0, trace.to_owned()));
        let (a, b) = (Passed::by("arn:aws:lambda:us-east-1:000000000000:function:a"), Passed::by("b"));
        lineage.pass(a);
        lineage.pass(b);
        lineage.pass(a);
        let written = lineage.apply(trace);
        assert_eq!(Lineage::of(&written), lineage);
        assert_eq!((lineage.count(a), lineage.count(b), lineage.hops()), (2, 1, 2));
        assert_eq!(written, format!("{trace};Lineage={:08x}:2|{:08x}:1", a.0, b.0));
        let mut other = Lineage::of("Lineage=a87bd80c:1|68fd508a:5");
        other.merge(&lineage);
        assert_eq!((other.count(a), other.hops()), (2, 5));
        assert_eq!(lineage.apply(&written), written, "it takes the place of what was there");
    }

    #[test]
    fn a_request_follows_its_header_and_its_environment() {
        let cx = || Cx::internal(base_types::AccountId::DEFAULT, base_types::Region::default(), "r");
        let mut plain = Cx { trace: Some(Arc::from("Root=1")), ..cx() };
        plain.follow(None);
        assert_eq!((plain.trace.as_deref(), plain.hops), (Some("Root=1"), 0));
        let inside = Lineage::of("Lineage=a87bd80c:3");
        for (said, hops) in [(None, 3), (Some("Root=1;Lineage=a87bd80c:1"), 3), (Some("Lineage=68fd508a:40"), HOPS_MAX)]
        {
            let mut cx = Cx { trace: said.map(Arc::from), ..cx() };
            cx.follow(Some(&inside));
            let lineage = Lineage::of(cx.trace.as_deref().unwrap());
            assert_eq!(cx.hops, hops, "{said:?}");
            assert!(lineage.0.contains(&(0xa87b_d80c, 3)));
        }
    }

    #[test]
    fn what_is_no_lineage_counts_as_none_and_a_long_one_is_cut() {
        for text in ["", "Lineage=", "Lineage=zz:1", "Lineage=1:a87bd80c", "Root=1;Lineage=12", "lineage=a87bd80c:7"] {
            assert_eq!(Lineage::of(text).hops(), 0, "{text}");
        }
        let mut lineage = Lineage::default();
        for _ in 0..3 {
            lineage.pass(Passed::by("often"));
        }
        for n in 0..100 {
            lineage.pass(Passed::by(&n.to_string()));
        }
        assert_eq!((lineage.0.len(), lineage.count(Passed::by("often"))), (RESOURCES_MAX, 3));
        let many: Vec<String> = (0..1000).map(|n| format!("{n:08x}:1")).collect();
        assert_eq!(Lineage::of(&format!("Lineage={}", many.join("|"))).0.len(), RESOURCES_MAX);
    }
}
