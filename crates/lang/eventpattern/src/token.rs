//! JSON as a stream of tokens that know where they stand, because AWS's errors say so.
//!
//! Places follow the reader that AWS uses: the place of a token is behind it, except that a text which nobody has looked
//! at yet is behind its opening quote only.

use crate::parse::PatternError;

/// A token's kind and content.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Kind {
    ObjectStart,
    ObjectEnd,
    ArrayStart,
    ArrayEnd,
    /// A member's name.
    Name(String),
    Text(String),
    Number(String),
    True,
    False,
    Null,
}

/// A token.
#[derive(Clone, Debug)]
pub(crate) struct Token {
    pub(crate) kind: Kind,
    /// Characters before the place at which the reader stands when nobody has looked at the token.
    pub(crate) seen: usize,
    /// Characters up to its end.
    pub(crate) end: usize,
}

/// What may come next.
#[derive(Clone, Copy, PartialEq)]
enum Expect {
    Value,
    NameOrEnd,
    Name,
    ValueOrEnd,
    CommaOrEnd,
    Nothing,
}

/// Reads tokens.
pub(crate) struct Tokens<'a> {
    source: &'a str,
    text: Vec<char>,
    at: usize,
    /// For every open object or array: whether it is an object.
    open: Vec<bool>,
    expect: Expect,
}

const VALUES: &str = "(JSON String, Number, Array, Object or token 'null', 'true' or 'false')";

impl<'a> Tokens<'a> {
    pub(crate) fn new(source: &'a str) -> Self {
        Self { source, text: source.chars().collect(), at: 0, open: Vec::new(), expect: Expect::Value }
    }

    /// The text that is read.
    pub(crate) fn source(&self) -> &'a str {
        self.source
    }

    /// An error at a place given in characters.
    pub(crate) fn error(&self, reason: impl Into<String>, at: usize) -> PatternError {
        let before = &self.text[..at.min(self.text.len())];
        let line = before.iter().filter(|c| **c == '\n').count() + 1;
        let column = before.iter().rev().take_while(|c| **c != '\n').count() + 1;
        PatternError::new(reason.into(), self.source, line, column)
    }

    /// The next token; none after the last.
    pub(crate) fn next(&mut self) -> Result<Option<Token>, PatternError> {
        loop {
            self.skip_space();
            let Some(&c) = self.text.get(self.at) else {
                return if self.open.is_empty() && self.expect == Expect::Nothing {
                    Ok(None)
                } else {
                    Err(self.error("Unexpected end-of-input", self.at))
                };
            };
            if self.expect == Expect::Nothing {
                return Err(self.unexpected(c, "expected end of input"));
            }
            if self.expect == Expect::CommaOrEnd && c == ',' {
                self.at += 1;
                self.expect = if self.open.last() == Some(&true) { Expect::Name } else { Expect::Value };
                continue;
            }
            return self.token(c).map(Some);
        }
    }

    fn token(&mut self, c: char) -> Result<Token, PatternError> {
        let object = self.open.last() == Some(&true);
        let may_end = matches!(self.expect, Expect::NameOrEnd | Expect::ValueOrEnd | Expect::CommaOrEnd);
        match c {
            '}' if object && may_end => Ok(self.close(Kind::ObjectEnd)),
            ']' if !object && may_end => Ok(self.close(Kind::ArrayEnd)),
            _ if self.expect == Expect::CommaOrEnd => {
                let whole = if object { "Object" } else { "Array" };
                Err(self.unexpected(c, &format!("was expecting comma to separate {whole} entries")))
            }
            '"' if matches!(self.expect, Expect::Name | Expect::NameOrEnd) => {
                let (name, seen) = self.text_token()?;
                self.skip_space();
                if self.text.get(self.at) != Some(&':') {
                    let Some(&other) = self.text.get(self.at) else {
                        return Err(self.error("Unexpected end-of-input", self.at));
                    };
                    return Err(self.unexpected(other, "was expecting a colon to separate field name and value"));
                }
                let end = self.at;
                self.at += 1;
                self.expect = Expect::Value;
                Ok(Token { kind: Kind::Name(name), seen, end })
            }
            _ if matches!(self.expect, Expect::Name | Expect::NameOrEnd) => {
                Err(self.unexpected(c, "was expecting double-quote to start field name"))
            }
            '{' | '[' => {
                if self.open.len() >= crate::DEPTH_MAX {
                    return Err(self.error("Document nesting depth exceeds the maximum allowed", self.at + 1));
                }
                self.at += 1;
                self.open.push(c == '{');
                self.expect = if c == '{' { Expect::NameOrEnd } else { Expect::ValueOrEnd };
                let kind = if c == '{' { Kind::ObjectStart } else { Kind::ArrayStart };
                Ok(Token { kind, seen: self.at, end: self.at })
            }
            '"' => {
                let (text, seen) = self.text_token()?;
                Ok(self.value(Kind::Text(text), seen))
            }
            '-' | '0'..='9' => self.number(),
            _ => self.word(c),
        }
    }

    fn close(&mut self, kind: Kind) -> Token {
        self.at += 1;
        self.open.pop();
        let at = self.at;
        self.value(kind, at)
    }

    /// A complete value: what may follow it.
    fn value(&mut self, kind: Kind, seen: usize) -> Token {
        self.expect = if self.open.is_empty() { Expect::Nothing } else { Expect::CommaOrEnd };
        Token { kind, seen, end: self.at }
    }

    fn skip_space(&mut self) {
        while matches!(self.text.get(self.at), Some(' ' | '\t' | '\n' | '\r')) {
            self.at += 1;
        }
    }

    fn unexpected(&self, c: char, expected: &str) -> PatternError {
        self.error(format!("Unexpected character ('{c}' (code {})): {expected}", c as u32), self.at + 1)
    }

    /// A text with its quotes; answers the place behind the opening one, too.
    fn text_token(&mut self) -> Result<(String, usize), PatternError> {
        let start = self.at;
        let mut end = start + 1;
        loop {
            match self.text.get(end) {
                None => return Err(self.error("Unexpected end-of-input: was expecting closing quote", end)),
                Some('"') => break,
                Some('\\') => end += 2,
                Some(_) => end += 1,
            }
        }
        self.at = end + 1;
        let raw: String = self.text[start..self.at].iter().collect();
        // Escapes, surrogates and control characters are the library's business.
        let text =
            serde_json::from_str(&raw).map_err(|_| self.error("Illegal character or escape in a string", end))?;
        Ok((text, start + 1))
    }

    fn number(&mut self) -> Result<Token, PatternError> {
        let start = self.at;
        while matches!(self.text.get(self.at), Some('-' | '+' | '.' | 'e' | 'E' | '0'..='9')) {
            self.at += 1;
        }
        let raw: String = self.text[start..self.at].iter().collect();
        match serde_json::from_str::<f64>(&raw) {
            Ok(number) if number.is_finite() => {
                let at = self.at;
                Ok(self.value(Kind::Number(raw), at))
            }
            Ok(_) | Err(_) => Err(self.error(format!("Invalid numeric value: {raw}"), self.at)),
        }
    }

    fn word(&mut self, first: char) -> Result<Token, PatternError> {
        let start = self.at;
        let mut end = start;
        while self.text.get(end).is_some_and(|c| c.is_alphanumeric() || matches!(c, '_' | '$')) {
            end += 1;
        }
        let word: String = self.text[start..end].iter().take(256).collect();
        let kind = match word.as_str() {
            "true" => Kind::True,
            "false" => Kind::False,
            "null" => Kind::Null,
            "" => return Err(self.unexpected(first, &format!("expected a valid value {VALUES}"))),
            _ => return Err(self.error(format!("Unrecognized token '{word}': was expecting {VALUES}"), end)),
        };
        self.at = end;
        Ok(self.value(kind, end))
    }
}
