//! Unstructured patterns: terms that must occur, must not occur (`-`), or of which one must occur (`?`).
//!
//! A term is a word of letters, digits and underscores, a quoted text or a regular expression; it matches anywhere in the
//! message, letter case counts. Optional terms are ignored when the pattern has others too, as AWS documents.

use memchr::memmem::Finder;

use crate::{
    InvalidPattern,
    cursor::Cursor,
    regular::{self, Regular},
};

#[derive(Debug, Clone)]
pub(crate) struct Terms {
    required: Vec<Term>,
    excluded: Vec<Term>,
    optional: Vec<Term>,
}

#[derive(Debug, Clone)]
enum Term {
    Text(Box<Finder<'static>>),
    Regular(Regular),
}

impl Term {
    fn occurs_in(&self, message: &str) -> bool {
        match self {
            Self::Text(finder) => finder.find(message.as_bytes()).is_some(),
            Self::Regular(regular) => regular.is_match(message),
        }
    }
}

impl Terms {
    pub(crate) fn matches(&self, message: &str) -> bool {
        if self.required.is_empty() && self.excluded.is_empty() {
            return self.optional.iter().any(|term| term.occurs_in(message));
        }
        self.required.iter().all(|term| term.occurs_in(message))
            && !self.excluded.iter().any(|term| term.occurs_in(message))
    }

    pub(crate) fn required_text(&self) -> Option<&[u8]> {
        let texts = self.required.iter().filter_map(|term| match term {
            Term::Text(finder) => Some(finder.needle()),
            Term::Regular(_) => None,
        });
        texts.max_by_key(|text| text.len()).filter(|text| !text.is_empty())
    }
}

pub(crate) fn compile(text: &str) -> Result<Terms, InvalidPattern> {
    let mut cursor = Cursor::new(text);
    let mut terms = Terms { required: Vec::new(), excluded: Vec::new(), optional: Vec::new() };
    loop {
        cursor.skip_spaces();
        if cursor.is_at_end() {
            return Ok(terms);
        }
        let kind = if cursor.take("-") {
            &mut terms.excluded
        } else if cursor.take("?") {
            &mut terms.optional
        } else {
            &mut terms.required
        };
        kind.push(parse_term(&mut cursor)?);
    }
}

fn parse_term(cursor: &mut Cursor<'_>) -> Result<Term, InvalidPattern> {
    let text = |text: &str| Term::Text(Box::new(Finder::new(text.as_bytes()).into_owned()));
    match cursor.peek() {
        Some('"') => Ok(text(&cursor.take_quoted()?)),
        Some('%') => Ok(Term::Regular(regular::compile(cursor.take_regex()?)?)),
        _ => {
            let word = cursor.take_while(|c| c.is_alphanumeric() || c == '_');
            let ends = cursor.peek().is_none_or(|next| next.is_whitespace() || next == '"');
            if word.is_empty() || !ends { Err(cursor.unexpected()) } else { Ok(text(word)) }
        }
    }
}
