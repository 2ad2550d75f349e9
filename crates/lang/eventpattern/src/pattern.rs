//! A pattern and how it is matched: alternatives (what its `$or`s multiply to) of terms that must all hold.
//!
//! Terms that lie in the same array of an event must hold for the same element of it.

use std::{collections::BTreeMap, net::IpAddr};

use crate::event::{Event, Node, Scalar};

/// A pattern that was read.
#[derive(Clone, Debug, PartialEq)]
pub struct EventPattern {
    pub(crate) alternatives: Vec<Alternative>,
}

/// Terms that must all hold, as the tree of their paths.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Alternative {
    pub(crate) root: Branch,
}

/// What is asked of one path and of what lies below.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Branch {
    /// The whole path.
    pub(crate) path: String,
    /// Any of them must hold; empty when nothing is asked of the path itself.
    pub(crate) tests: Vec<Test>,
    pub(crate) below: BTreeMap<String, Branch>,
}

/// One comparison.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Test {
    Equal(Scalar),
    EqualIgnoringCase(String),
    Prefix(String),
    PrefixIgnoringCase(String),
    Suffix(String),
    SuffixIgnoringCase(String),
    Wildcard(Wildcard),
    Numeric { low: Option<Bound>, high: Option<Bound> },
    Cidr { network: IpAddr, bits: u8 },
    Exists,
    Absent,
    AnythingBut(Vec<Test>),
}

/// An end of a numeric range.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Bound {
    pub(crate) value: f64,
    pub(crate) included: bool,
}

/// A text with wildcards: the pieces between them.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Wildcard(pub(crate) Vec<String>);

impl Wildcard {
    /// The earliest place of each piece is as good as any other: linear in the text for each piece.
    fn matches(&self, text: &str) -> bool {
        let Some((first, rest)) = self.0.split_first() else { return false };
        let Some((last, middle)) = rest.split_last() else { return first == text };
        let Some(mut text) = text.strip_prefix(first.as_str()) else { return false };
        for piece in middle {
            let Some(at) = text.find(piece.as_str()) else { return false };
            text = &text[at + piece.len()..];
        }
        text.ends_with(last.as_str())
    }
}

/// Lower case, as the comparisons that ignore it see a text.
pub(crate) fn fold(text: &str) -> String {
    text.chars().flat_map(char::to_lowercase).collect()
}

impl Test {
    /// Whether it holds for a value that is there.
    pub(crate) fn holds(&self, value: &Scalar) -> bool {
        let text = match value {
            Scalar::Text(text) => Some(text.as_str()),
            Scalar::Number(_) | Scalar::Bool(_) | Scalar::Null => None,
        };
        match self {
            Self::Equal(wanted) => match (wanted, value) {
                (Scalar::Number(wanted), Scalar::Number(value)) => wanted == value,
                _ => wanted == value,
            },
            Self::EqualIgnoringCase(wanted) => text.is_some_and(|text| fold(text) == *wanted),
            Self::Prefix(prefix) => text.is_some_and(|text| text.starts_with(prefix.as_str())),
            Self::PrefixIgnoringCase(prefix) => text.is_some_and(|text| fold(text).starts_with(prefix.as_str())),
            Self::Suffix(suffix) => text.is_some_and(|text| text.ends_with(suffix.as_str())),
            Self::SuffixIgnoringCase(suffix) => text.is_some_and(|text| fold(text).ends_with(suffix.as_str())),
            Self::Wildcard(wildcard) => text.is_some_and(|text| wildcard.matches(text)),
            Self::Numeric { low, high } => {
                let Scalar::Number(number) = value else { return false };
                low.is_none_or(|low| *number > low.value || (low.included && *number == low.value))
                    && high.is_none_or(|high| *number < high.value || (high.included && *number == high.value))
            }
            Self::Cidr { network, bits } => {
                text.and_then(|text| text.parse().ok()).is_some_and(|address| is_in(address, *network, *bits))
            }
            Self::Exists => true,
            Self::Absent => false,
            Self::AnythingBut(these) => !these.iter().any(|test| test.holds(value)),
        }
    }
}

/// Whether an address lies in a network. IPv4 and IPv6 are different worlds.
pub(crate) fn is_in(address: IpAddr, network: IpAddr, bits: u8) -> bool {
    match (address, network) {
        (IpAddr::V4(address), IpAddr::V4(network)) => {
            let mask = u32::MAX.checked_shl(32 - u32::from(bits.min(32))).unwrap_or(0);
            address.to_bits() & mask == network.to_bits() & mask
        }
        (IpAddr::V6(address), IpAddr::V6(network)) => {
            let mask = u128::MAX.checked_shl(128 - u32::from(bits.min(128))).unwrap_or(0);
            address.to_bits() & mask == network.to_bits() & mask
        }
        _ => false,
    }
}

impl EventPattern {
    /// Whether the event is one that the pattern asks for.
    #[must_use]
    pub fn matches(&self, event: &Event) -> bool {
        self.alternatives.iter().any(|alternative| alternative.matches(event))
    }
}

impl Alternative {
    pub(crate) fn matches(&self, event: &Event) -> bool {
        holds(&self.root, Some(&event.root), event)
    }
}

/// Whether everything below a branch holds for what is at its place, if anything is.
fn holds(branch: &Branch, node: Option<&Node>, event: &Event) -> bool {
    match node {
        // One element has to do for all that is asked below.
        Some(Node::Array(items)) if !items.is_empty() => items.iter().any(|item| holds(branch, Some(item), event)),
        Some(Node::Scalar(scalar)) => {
            tests_hold(branch, Some(scalar), event) && branch.below.values().all(|below| holds(below, None, event))
        }
        Some(Node::Object(members)) => {
            tests_hold(branch, None, event)
                && branch.below.iter().all(|(name, below)| holds(below, members.get(name), event))
        }
        Some(Node::Array(_)) | None => {
            tests_hold(branch, None, event) && branch.below.values().all(|below| holds(below, None, event))
        }
    }
}

fn tests_hold(branch: &Branch, value: Option<&Scalar>, event: &Event) -> bool {
    branch.tests.is_empty()
        || branch.tests.iter().any(|test| match (test, value) {
            // Absence is asked of the whole event, whatever array the path goes through.
            (Test::Absent, _) => !event.leaves.contains_key(&branch.path),
            (test, Some(value)) => test.holds(value),
            (_, None) => false,
        })
}
