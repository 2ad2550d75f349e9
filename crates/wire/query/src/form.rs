//! The parameters of a form, as a tree by the dots of their names. Guarantee: at most [`PARAMETERS_MAX`] parameters, at
//! most [`DEPTH_MAX`] dots; text is UTF-8.

use std::{borrow::Cow, collections::BTreeMap};

use percent_encoding::percent_decode;
use wire_schema::Malformed;

/// How many parameters are read: the largest batches of AWS's query services stay far below.
const PARAMETERS_MAX: usize = 10_000;
/// How many dots a name may have.
const DEPTH_MAX: usize = 32;

/// A parameter and those below it.
#[derive(Debug, Default)]
pub struct Form {
    value: Option<String>,
    below: BTreeMap<String, Form>,
}

impl Form {
    /// Reads `a=1&b.c=2`; both the body of a POST and a query string have this form.
    ///
    /// # Errors
    /// When it is not UTF-8 or exceeds a bound.
    pub fn read<'t>(texts: impl IntoIterator<Item = &'t [u8]>) -> Result<Self, Malformed> {
        let mut root = Self::default();
        let mut count = 0;
        for pair in texts.into_iter().flat_map(|text| text.split(|byte| *byte == b'&')).filter(|pair| !pair.is_empty())
        {
            count += 1;
            if count > PARAMETERS_MAX {
                return Err(Malformed(format!("The request has more than {PARAMETERS_MAX} parameters.")));
            }
            let equals = pair.iter().position(|byte| *byte == b'=');
            let (name, value) = match equals {
                Some(at) => (&pair[..at], &pair[at + 1..]),
                None => (pair, &[][..]),
            };
            root.insert(&unescape(name)?, unescape(value)?.into_owned())?;
        }
        Ok(root)
    }

    fn insert(&mut self, name: &str, value: String) -> Result<(), Malformed> {
        let mut node = self;
        for (depth, part) in name.split('.').enumerate() {
            if depth > DEPTH_MAX {
                return Err(Malformed(format!("A parameter's name has more than {DEPTH_MAX} parts.")));
            }
            node = node.below.entry(part.to_owned()).or_default();
        }
        node.value = Some(value);
        Ok(())
    }

    /// The text of the parameter itself.
    #[must_use]
    pub fn value(&self) -> Option<&str> {
        self.value.as_deref()
    }

    /// What is below `name`.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Self> {
        self.below.get(name)
    }

    /// Whether there are parameters below.
    #[must_use]
    pub fn has_below(&self) -> bool {
        !self.below.is_empty()
    }

    /// The numbered parameters below (`1`, `2`, …), in the order of their numbers.
    #[must_use]
    pub fn numbered(&self) -> Vec<&Self> {
        let mut items: Vec<(u32, &Self)> =
            self.below.iter().filter_map(|(name, form)| Some((name.parse().ok()?, form))).collect();
        items.sort_by_key(|(number, _)| *number);
        items.into_iter().map(|(_, form)| form).collect()
    }
}

/// Plus signs are spaces, percent signs escape.
fn unescape(text: &[u8]) -> Result<Cow<'_, str>, Malformed> {
    let spaced: Cow<'_, [u8]> = if text.contains(&b'+') {
        Cow::Owned(text.iter().map(|byte| if *byte == b'+' { b' ' } else { *byte }).collect())
    } else {
        Cow::Borrowed(text)
    };
    let decoded = percent_decode(&spaced).decode_utf8().map(Cow::into_owned);
    decoded.map(Cow::Owned).map_err(|_| Malformed("A parameter is not UTF-8.".to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_become_a_tree_and_numbers_an_order() {
        let form = Form::read([b"A=1&L.member.10=j&L.member.2=b%20c&L.member.1=a+b&E=".as_slice()]).unwrap();
        assert_eq!(form.get("A").and_then(Form::value), Some("1"));
        assert_eq!(form.get("E").and_then(Form::value), Some(""));
        let items = form.get("L").and_then(|list| list.get("member")).unwrap().numbered();
        assert_eq!(items.iter().filter_map(|item| item.value()).collect::<Vec<_>>(), ["a b", "b c", "j"]);
    }

    #[test]
    fn bounds_are_kept() {
        assert!(Form::read([b"a=%ff".as_slice()]).is_err());
        assert!(Form::read([".".repeat(40).as_bytes()]).is_err());
        assert!(Form::read(["a=1&".repeat(PARAMETERS_MAX + 1).as_bytes()]).is_err());
    }
}
