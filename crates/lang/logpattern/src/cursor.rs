//! A position in a pattern's text. Guarantee: it only ever stands on a character's border.

use crate::{InvalidPattern, REGEX_COUNT_MAX};

pub(crate) struct Cursor<'p> {
    rest: &'p str,
    regex_count: usize,
}

impl<'p> Cursor<'p> {
    pub(crate) fn new(text: &'p str) -> Self {
        Self { rest: text, regex_count: 0 }
    }

    pub(crate) fn rest(&self) -> &'p str {
        self.rest
    }

    pub(crate) fn peek(&self) -> Option<char> {
        self.rest.chars().next()
    }

    pub(crate) fn is_at_end(&self) -> bool {
        self.rest.is_empty()
    }

    pub(crate) fn skip_spaces(&mut self) {
        self.rest = self.rest.trim_start();
    }

    /// Steps over `token` if the text goes on with it.
    pub(crate) fn take(&mut self, token: &str) -> bool {
        match self.rest.strip_prefix(token) {
            Some(rest) => {
                self.rest = rest;
                true
            }
            None => false,
        }
    }

    /// Steps over a word in any letter case, which must not go on with a letter or digit.
    pub(crate) fn take_word(&mut self, word: &str) -> bool {
        let Some((head, tail)) = self.rest.split_at_checked(word.len()) else { return false };
        if head.eq_ignore_ascii_case(word) && !tail.starts_with(|c: char| c.is_alphanumeric() || c == '_') {
            self.rest = tail;
            return true;
        }
        false
    }

    /// Steps over the longest run of characters that `accept` takes; the run may be empty.
    pub(crate) fn take_while(&mut self, accept: impl Fn(char) -> bool) -> &'p str {
        let end = self.rest.find(|c| !accept(c)).unwrap_or(self.rest.len());
        let (run, rest) = self.rest.split_at(end);
        self.rest = rest;
        run
    }

    /// The text between double quotes (the cursor stands on the first): `\"` and `\\` are unescaped, any other backslash
    /// stays. The second part says whether the first and the last character were bare asterisks.
    pub(crate) fn take_quoted(&mut self) -> Result<String, InvalidPattern> {
        if !self.take("\"") {
            return Err(InvalidPattern::Syntax);
        }
        let mut text = String::new();
        let mut characters = self.rest.char_indices();
        while let Some((at, character)) = characters.next() {
            match character {
                '"' => {
                    self.rest = &self.rest[at + 1..];
                    return Ok(text);
                }
                '\\' if self.rest[at + 1..].starts_with(['"', '\\']) => {
                    text.extend(characters.next().map(|(_, escaped)| escaped));
                }
                other => text.push(other),
            }
        }
        Err(InvalidPattern::Syntax)
    }

    /// The raw text between percent signs (the cursor stands on the first). Counts against the quota of expressions.
    pub(crate) fn take_regex(&mut self) -> Result<&'p str, InvalidPattern> {
        self.regex_count += 1;
        if !self.take("%") || self.regex_count > REGEX_COUNT_MAX {
            return Err(InvalidPattern::Syntax);
        }
        let end = self.rest.find('%').ok_or(InvalidPattern::Syntax)?;
        let text = &self.rest[..end];
        self.rest = &self.rest[end + 1..];
        Ok(text)
    }

    /// What to say of the characters at hand, which fit nowhere.
    pub(crate) fn unexpected(&self) -> InvalidPattern {
        let run: String =
            self.rest.chars().take_while(|&c| !c.is_alphanumeric() && c != '_' && !c.is_whitespace()).collect();
        if run.is_empty() { InvalidPattern::Syntax } else { InvalidPattern::Characters(run) }
    }
}
