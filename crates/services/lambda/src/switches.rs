//! What a function is told by its tags, since every AWS tool can set tags and no AWS member means these things.
//!
//! | Tag | Values | Without it |
//! |---|---|---|
//! | `pileus:start` | `prepared`, `fresh` | `prepared`: environments may be forks of a prepared runtime |
//! | `pileus:egress` | `none`, `internet` | what the server is configured for |
//! | `pileus:egress-allow` | CIDRs, separated by commas | nothing private or link-local may be reached |
//!
//! Pure. Guarantee: a wrong value is refused with an error that names it; other tags mean nothing here. The switches are the
//! function's and hold for all its versions; [`Switches::mark`] differs whenever they do, so that a change replaces the
//! environments as a change of the configuration does.

use std::collections::BTreeMap;

use compute_api::Cidr;
use minicbor::{Decode, Encode};

/// How environments are started.
pub const START: &str = "pileus:start";
/// What functions may connect to.
pub const EGRESS: &str = "pileus:egress";
/// Private addresses that they may connect to all the same.
pub const EGRESS_ALLOW: &str = "pileus:egress-allow";
/// Every tag that begins so belongs to Pileus.
const PREFIX: &str = "pileus:";
/// Ranges in one tag.
const RANGES_MAX: usize = 16;

/// What the tags of a function say.
#[derive(Debug, Clone, Default, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Switches {
    /// `pileus:start` = `fresh`.
    #[n(0)]
    #[cbor(default)]
    pub fresh: bool,
    /// `pileus:egress`: true for `internet`, false for `none`; absent, the server decides.
    #[n(1)]
    pub internet: Option<bool>,
    /// `pileus:egress-allow`, as given.
    #[n(2)]
    #[cbor(default)]
    pub egress_allow: Vec<String>,
}

/// A tag that steers has a value that means nothing (`InvalidParameterValueException`).
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SwitchError {
    /// One of a few words was expected.
    #[error("The value {value} of the tag {tag} is invalid: it must be one of [{expected}].")]
    Value {
        /// The tag.
        tag: &'static str,
        /// Its value.
        value: String,
        /// What it may be.
        expected: &'static str,
    },
    /// Not a range.
    #[error("The value of the tag pileus:egress-allow is invalid: {0}; several are separated by commas.")]
    Range(String),
    /// More than we keep.
    #[error("The tag pileus:egress-allow names more than {RANGES_MAX} ranges.")]
    TooManyRanges,
    /// Nothing is allowed to a function that may connect to nothing.
    #[error("The tag pileus:egress-allow is invalid beside the tag pileus:egress with the value none.")]
    AllowedWithoutEgress,
    /// A tag of Pileus that does not exist.
    #[error(
        "The tag {0} is unknown: tags that begin with pileus: are [pileus:start, pileus:egress, pileus:egress-allow]."
    )]
    Unknown(String),
}

impl Switches {
    /// Reads all tags of a function.
    ///
    /// # Errors
    /// See [`SwitchError`].
    pub fn read(tags: &BTreeMap<String, String>) -> Result<Self, SwitchError> {
        let known = [START, EGRESS, EGRESS_ALLOW];
        if let Some(unknown) = tags.keys().find(|tag| tag.starts_with(PREFIX) && !known.contains(&tag.as_str())) {
            return Err(SwitchError::Unknown(unknown.clone()));
        }
        let wrong = |tag, value: &str, expected| SwitchError::Value { tag, value: value.to_owned(), expected };
        let fresh = match tags.get(START).map(String::as_str) {
            None | Some("prepared") => false,
            Some("fresh") => true,
            Some(other) => return Err(wrong(START, other, "prepared, fresh")),
        };
        let internet = match tags.get(EGRESS).map(String::as_str) {
            None => None,
            Some("none") => Some(false),
            Some("internet") => Some(true),
            Some(other) => return Err(wrong(EGRESS, other, "none, internet")),
        };
        let egress_allow = tags.get(EGRESS_ALLOW).map(|list| ranges(list)).transpose()?.unwrap_or_default();
        if internet == Some(false) && !egress_allow.is_empty() {
            return Err(SwitchError::AllowedWithoutEgress);
        }
        Ok(Self { fresh, internet, egress_allow })
    }

    /// The ranges of `pileus:egress-allow`.
    #[must_use]
    pub fn ranges_allowed(&self) -> Vec<Cidr> {
        self.egress_allow.iter().filter_map(|range| range.parse().ok()).collect()
    }

    /// Differs whenever the switches do; empty when no tag steers.
    #[must_use]
    pub fn mark(&self) -> String {
        let mut mark = String::new();
        if self.fresh {
            mark.push_str("/fresh");
        }
        match self.internet {
            None => {}
            Some(true) => mark.push_str("/internet"),
            Some(false) => mark.push_str("/none"),
        }
        for range in &self.egress_allow {
            mark.push('/');
            mark.push_str(&range.replace('/', "~"));
        }
        mark
    }
}

fn ranges(list: &str) -> Result<Vec<String>, SwitchError> {
    let ranges: Vec<String> = list.split(',').map(|range| range.trim().to_owned()).collect();
    if ranges.len() > RANGES_MAX {
        return Err(SwitchError::TooManyRanges);
    }
    for range in &ranges {
        range.parse::<Cidr>().map_err(|error| SwitchError::Range(error.to_string()))?;
    }
    Ok(ranges)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(tags: &[(&str, &str)]) -> Result<Switches, SwitchError> {
        Switches::read(&tags.iter().map(|(tag, value)| ((*tag).to_owned(), (*value).to_owned())).collect())
    }

    #[test]
    fn tags_are_read_and_their_marks_differ() {
        let mut marks = Vec::new();
        for (tags, expected) in [
            (vec![], Switches::default()),
            (vec![("team", "a"), (START, "prepared")], Switches::default()),
            (vec![(START, "fresh")], Switches { fresh: true, ..Switches::default() }),
            (vec![(EGRESS, "none")], Switches { internet: Some(false), ..Switches::default() }),
            (vec![(EGRESS, "internet")], Switches { internet: Some(true), ..Switches::default() }),
            (
                vec![(EGRESS_ALLOW, "10.0.0.0/8, fd00::/8,192.168.1.7")],
                Switches {
                    egress_allow: vec!["10.0.0.0/8".into(), "fd00::/8".into(), "192.168.1.7".into()],
                    ..Switches::default()
                },
            ),
        ] {
            let switches = read(&tags).unwrap();
            assert_eq!(switches, expected, "{tags:?}");
            marks.push(switches.mark());
        }
        marks.dedup();
        assert_eq!(marks.len(), 5, "{marks:?}");
        assert_eq!(marks[0], "");
    }

    #[test]
    fn a_wrong_value_is_refused_by_name() {
        for (tag, value) in [
            (START, "warm"),
            (START, ""),
            (EGRESS, "all"),
            (EGRESS_ALLOW, "10.0.0.0/33"),
            (EGRESS_ALLOW, "10.0.0.0/+8"),
            (EGRESS_ALLOW, "10.0.0.1/8"),
            (EGRESS_ALLOW, "10.0.0/8"),
            (EGRESS_ALLOW, "::/129"),
            (EGRESS_ALLOW, "example.com"),
            (EGRESS_ALLOW, "10.0.0.0/8,,"),
            ("pileus:speed", "1"),
        ] {
            let error = read(&[(tag, value)]).unwrap_err().to_string();
            assert!(error.contains(tag), "{error}");
        }
        assert_eq!(read(&[(EGRESS, "none"), (EGRESS_ALLOW, "10.0.0.0/8")]), Err(SwitchError::AllowedWithoutEgress));
        let many = ["10.0.0.1"; RANGES_MAX + 1].join(",");
        assert_eq!(read(&[(EGRESS_ALLOW, &many)]), Err(SwitchError::TooManyRanges));
    }
}
