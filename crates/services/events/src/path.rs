//! Input paths: which part of an event is meant. The part is found in the text itself, so that it is handed on as it was
//! written. Pure.
//!
//! What EventBridge has of JSONPath: names after dots (or quoted in brackets), indices, and the wildcard in brackets.

/// A path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Path(Vec<Step>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Step {
    Name(String),
    Index(usize),
    All,
}

/// Steps that a path may have.
const STEPS_MAX: usize = 64;

impl Path {
    /// Reads a path; none when the text is none.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let mut rest = text.strip_prefix('$')?;
        let mut steps = Vec::new();
        while !rest.is_empty() {
            if steps.len() == STEPS_MAX {
                return None;
            }
            if let Some(after) = rest.strip_prefix('.') {
                let end = after.find(['.', '[']).unwrap_or(after.len());
                let (name, after) = after.split_at(end);
                if name.is_empty() {
                    return None;
                }
                steps.push(if name == "*" { Step::All } else { Step::Name(name.to_owned()) });
                rest = after;
            } else {
                let (inner, after) = bracket(rest)?;
                steps.push(inner);
                rest = after;
            }
        }
        Some(Self(steps))
    }

    /// The part of a JSON text (without blanks) that the path names; with a wildcard, a list of all of them.
    pub(crate) fn find(&self, text: &str) -> Option<String> {
        let mut found = Vec::new();
        collect(&self.0, text, &mut found);
        if self.0.contains(&Step::All) {
            return (!found.is_empty()).then(|| format!("[{}]", found.join(",")));
        }
        found.first().map(|part| (*part).to_owned())
    }
}

/// `[0]`, `[*]`, `['name']`, `["name"]` and what follows.
fn bracket(text: &str) -> Option<(Step, &str)> {
    let inner = text.strip_prefix('[')?;
    for quote in ['\'', '"'] {
        if let Some(quoted) = inner.strip_prefix(quote) {
            let (name, after) = quoted.split_once(quote)?;
            return Some((Step::Name(name.to_owned()), after.strip_prefix(']')?));
        }
    }
    let (inner, after) = inner.split_once(']')?;
    let step = if inner == "*" { Step::All } else { Step::Index(inner.parse().ok()?) };
    Some((step, after))
}

fn collect<'a>(steps: &[Step], text: &'a str, found: &mut Vec<&'a str>) {
    let Some((step, rest)) = steps.split_first() else {
        found.push(text);
        return;
    };
    match (step, text.as_bytes().first()) {
        (Step::Name(name), Some(b'{')) => {
            if let Some((_, value)) = members(text).find(|(member, _)| is_name(member, name)) {
                collect(rest, value, found);
            }
        }
        (Step::Index(index), Some(b'[')) => {
            if let Some(item) = items(text).nth(*index) {
                collect(rest, item, found);
            }
        }
        (Step::All, Some(b'[')) => items(text).for_each(|item| collect(rest, item, found)),
        (Step::All, Some(b'{')) => members(text).for_each(|(_, value)| collect(rest, value, found)),
        _ => {}
    }
}

/// Whether a member's name, quoted as it was written, is this one.
fn is_name(written: &str, name: &str) -> bool {
    let inner = written.trim_matches('"');
    inner == name || (inner.contains('\\') && serde_json::from_str::<String>(written).is_ok_and(|read| read == name))
}

/// The members of an object: quoted names and values.
fn members(text: &str) -> impl Iterator<Item = (&str, &str)> {
    let mut at = 1;
    std::iter::from_fn(move || {
        let name_end = value_end(text, at)?;
        let name = text.get(at..name_end)?;
        let value_start = name_end + 1;
        let end = value_end(text, value_start)?;
        at = end + 1;
        Some((name, text.get(value_start..end)?))
    })
}

/// The items of a list.
fn items(text: &str) -> impl Iterator<Item = &str> {
    let mut at = 1;
    std::iter::from_fn(move || {
        let end = value_end(text, at)?;
        let item = text.get(at..end)?;
        at = end + 1;
        Some(item)
    })
}

/// Where the value that begins at `start` ends; none where none begins.
fn value_end(text: &str, start: usize) -> Option<usize> {
    let bytes = text.as_bytes();
    let (mut at, mut depth, mut within) = (start, 0_usize, false);
    while let Some(byte) = bytes.get(at) {
        match byte {
            b'\\' if within => at += 1,
            b'"' => within = !within,
            _ if within => {}
            b'{' | b'[' => depth += 1,
            b'}' | b']' | b',' | b':' if depth == 0 => break,
            b'}' | b']' => depth -= 1,
            _ => {}
        }
        at += 1;
    }
    (at > start && at < bytes.len()).then_some(at)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str =
        r#"{"detail":{"a b":"x,\"}","n":1.50,"list":[{"id":1},{"id":[2]},3],"o":{},"e":[]},"k\u0041":true}"#;

    #[test]
    fn a_path_finds_what_it_names_as_it_was_written() {
        for (path, expected) in [
            ("$", Some(TEXT)),
            ("$.detail.n", Some("1.50")),
            ("$.detail.a b", Some(r#""x,\"}""#)),
            ("$['detail'][\"a b\"]", Some(r#""x,\"}""#)),
            ("$.detail.list[1].id", Some("[2]")),
            ("$.detail.list[1].id[0]", Some("2")),
            ("$.detail.list[2]", Some("3")),
            ("$.detail.list[3]", None),
            ("$.detail.list[*].id", Some("[1,[2]]")),
            ("$.detail.list[*].none", None),
            ("$.detail.o", Some("{}")),
            ("$.detail.o.x", None),
            ("$.detail.e[0]", None),
            ("$.detail.n.x", None),
            ("$.kA", Some("true")),
            ("$.none", None),
        ] {
            let found = Path::parse(path).unwrap_or_else(|| panic!("{path}")).find(TEXT);
            assert_eq!(found.as_deref(), expected, "{path}");
        }
    }

    #[test]
    fn what_is_no_path_is_refused() {
        for path in ["", "detail", "$detail", "$.", "$..a", "$.a.", "$[", "$[x]", "$['a]", "$[0", "$[-1]"] {
            assert_eq!(Path::parse(path), None, "{path}");
        }
        assert_eq!(Path::parse(&format!("${}", ".a".repeat(65))), None);
    }

    mod property {
        use proptest::prelude::*;
        use serde_json::{Value, json};

        use super::*;

        fn a_document() -> impl Strategy<Value = Value> {
            let leaf = prop_oneof![
                Just(Value::Null),
                any::<bool>().prop_map(Value::from),
                any::<i32>().prop_map(Value::from),
                "[ab\"\\\\{}\\[\\],:\n]{0,6}".prop_map(Value::from),
            ];
            leaf.prop_recursive(4, 32, 4, |inner| {
                prop_oneof![
                    prop::collection::vec(inner.clone(), 0..4).prop_map(Value::Array),
                    prop::collection::btree_map("[ab\"\\\\]{1,2}", inner, 0..4).prop_map(|members| json!(members)),
                ]
            })
        }

        /// The same question, asked of the parsed document.
        fn oracle<'a>(steps: &[Step], value: &'a Value, found: &mut Vec<&'a Value>) {
            let Some((step, rest)) = steps.split_first() else {
                found.push(value);
                return;
            };
            match (step, value) {
                (Step::Name(name), Value::Object(members)) => {
                    if let Some(value) = members.get(name) {
                        oracle(rest, value, found);
                    }
                }
                (Step::Index(index), Value::Array(items)) => {
                    if let Some(item) = items.get(*index) {
                        oracle(rest, item, found);
                    }
                }
                (Step::All, Value::Array(items)) => items.iter().for_each(|item| oracle(rest, item, found)),
                (Step::All, Value::Object(members)) => members.values().for_each(|value| oracle(rest, value, found)),
                _ => {}
            }
        }

        proptest! {
            #[test]
            fn no_text_breaks_it(path in "\\$[.a\\[\\]'\"*0-9]{0,20}|\\PC{0,30}", text in "[{}\\[\\]\",:a\\\\0-9]{0,60}") {
                if let Some(path) = Path::parse(&path) {
                    let _ = path.find(&text);
                }
            }

            #[test]
            fn the_text_answers_as_the_document_would(
                document in a_document(),
                steps in prop::collection::vec(
                    prop_oneof!["\\.[ab]{1,2}", "\\[[0-3]\\]", Just("[*]".to_owned()), Just(".*".to_owned())], 0..4,
                ),
            ) {
                let path = Path::parse(&format!("${}", steps.concat())).unwrap();
                let mut expected = Vec::new();
                oracle(&path.0, &document, &mut expected);
                let found = path.find(&document.to_string());
                if path.0.contains(&Step::All) {
                    let expected = (!expected.is_empty()).then(|| json!(expected).to_string());
                    prop_assert_eq!(found, expected);
                } else {
                    prop_assert_eq!(found, expected.first().map(|value| value.to_string()));
                }
            }
        }
    }
}
