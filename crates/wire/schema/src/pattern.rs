//! Regular expressions of the models. Guarantee: a text is tested as a whole (Java's `matches`), in linear time.
//!
//! The models' expressions are Java's. Code generation translates their classes to ASCII ones and splits the few
//! look-arounds that AWS uses into a second expression that must *not* match, because the linear engine has none.

use std::sync::OnceLock;

use regex::Regex;

/// An expression as AWS prints it, and how we test it.
#[derive(Debug)]
pub struct Pattern {
    text: &'static str,
    expression: &'static str,
    refused: Option<&'static str>,
    compiled: OnceLock<Option<(Regex, Option<Regex>)>>,
}

impl Pattern {
    /// `text` is printed in messages; a value must match `expression` as a whole, and must not match `refused`.
    #[must_use]
    pub const fn new(text: &'static str, expression: &'static str, refused: Option<&'static str>) -> Self {
        Self { text, expression, refused, compiled: OnceLock::new() }
    }

    /// The expression as AWS prints it.
    #[must_use]
    pub fn text(&self) -> &'static str {
        self.text
    }

    /// Whether the whole of `value` satisfies the pattern. An expression that does not compile satisfies nothing; code
    /// generation compiles each once, so none such is built.
    #[must_use]
    pub fn matches(&self, value: &str) -> bool {
        let compiled = self.compiled.get_or_init(|| {
            let whole = Regex::new(&format!("^(?:{})$", self.expression)).ok()?;
            let refused = match self.refused {
                Some(refused) => Some(Regex::new(&format!("^(?:{refused})$")).ok()?),
                None => None,
            };
            Some((whole, refused))
        });
        compiled.as_ref().is_some_and(|(whole, refused)| {
            whole.is_match(value) && !refused.as_ref().is_some_and(|refused| refused.is_match(value))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_whole_text_must_match_and_the_refused_part_must_not() {
        static ALIAS: Pattern = Pattern::new("(?!^[0-9]+$)([a-z0-9-_]+)", "([a-z0-9-_]+)", Some("[0-9]+"));
        for (text, valid) in
            [("prod", true), ("v2", true), ("2024", false), ("a b", false), ("", false), ("a\n", false)]
        {
            assert_eq!(ALIAS.matches(text), valid, "{text:?}");
        }
    }
}
