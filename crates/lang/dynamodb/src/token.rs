//! Expressions as tokens. Guarantee: any text gives tokens, of which each remembers where it stands; what belongs to no
//! token is a token of one character, which no grammar takes.

use crate::Invalid;

/// The greatest expression, in bytes (AWS: 4 KB).
pub const EXPRESSION_BYTES_MAX: usize = 4096;

/// What a token is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A letter, then letters, digits and underscores.
    Word,
    /// `#name`.
    Name,
    /// `:value`.
    Value,
    /// Digits.
    Digits,
    /// `=`, `<>`, `(`, … and every character that has no meaning.
    Symbol,
    /// Behind the last.
    End,
}

/// A part of an expression.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Token<'a> {
    pub(crate) kind: Kind,
    pub(crate) text: &'a str,
    start: usize,
    end: usize,
}

/// The tokens of an expression, and how far they were read.
pub(crate) struct Tokens<'a> {
    source: &'a str,
    all: Vec<Token<'a>>,
    next: usize,
}

impl<'a> Tokens<'a> {
    /// Of an expression.
    pub(crate) fn of(source: &'a str) -> Result<Self, Invalid> {
        if source.len() > EXPRESSION_BYTES_MAX {
            return Err(Invalid(format!(
                "Expression size has exceeded the maximum allowed size; expression size: {}",
                source.len()
            )));
        }
        let mut all = Vec::new();
        let mut at = 0;
        while let Some(first) = source[at..].chars().next() {
            if first.is_ascii_whitespace() {
                at += 1;
                continue;
            }
            let (kind, length) = token(&source[at..], first);
            all.push(Token { kind, text: &source[at..at + length], start: at, end: at + length });
            at += length;
        }
        if all.is_empty() {
            return Err(Invalid("The expression can not be empty;".to_owned()));
        }
        all.push(Token { kind: Kind::End, text: "<EOF>", start: source.len(), end: source.len() });
        Ok(Self { source, all, next: 0 })
    }

    /// The next token, which stays.
    pub(crate) fn peek(&self) -> Token<'a> {
        self.ahead(0)
    }

    /// The one `by` behind the next.
    pub(crate) fn ahead(&self, by: usize) -> Token<'a> {
        let last = self.all.len() - 1;
        self.all[(self.next + by).min(last)]
    }

    /// Takes the next token.
    pub(crate) fn take(&mut self) -> Token<'a> {
        let token = self.peek();
        self.next = (self.next + 1).min(self.all.len() - 1);
        token
    }

    /// Takes the next token if it is this symbol.
    pub(crate) fn take_symbol(&mut self, symbol: &str) -> bool {
        let token = self.peek();
        let found = token.kind == Kind::Symbol && token.text == symbol;
        if found {
            self.take();
        }
        found
    }

    /// Takes this symbol.
    pub(crate) fn expect(&mut self, symbol: &str) -> Result<(), Invalid> {
        if self.take_symbol(symbol) { Ok(()) } else { Err(self.unexpected()) }
    }

    /// Whether the next token is this word, in any case.
    pub(crate) fn at_word(&self, word: &str) -> bool {
        is_word(self.peek(), word)
    }

    /// Takes the next token if it is this word.
    pub(crate) fn take_word(&mut self, word: &str) -> bool {
        let found = self.at_word(word);
        if found {
            self.take();
        }
        found
    }

    /// Nothing may be left.
    pub(crate) fn end(&self) -> Result<(), Invalid> {
        if self.peek().kind == Kind::End { Ok(()) } else { Err(self.unexpected()) }
    }

    /// AWS's message for a token that cannot stand where it does: with the one before and the one behind it, as they were
    /// written.
    pub(crate) fn unexpected(&self) -> Invalid {
        let token = self.peek();
        let before = self.next.checked_sub(1).map_or(token.start, |index| self.all[index].start);
        let behind = self.ahead(1);
        let end = if token.kind == Kind::End || behind.kind == Kind::End { token.end } else { behind.end };
        // Behind the last token stands nothing, not even the space that follows it.
        let near = self.source[before..end].trim_end();
        Invalid(format!("Syntax error; token: \"{}\", near: \"{near}\"", token.text))
    }
}

/// Whether a token is this word, in any case.
pub(crate) fn is_word(token: Token<'_>, word: &str) -> bool {
    token.kind == Kind::Word && token.text.eq_ignore_ascii_case(word)
}

/// Kind and length of the token that `rest` begins with.
fn token(rest: &str, first: char) -> (Kind, usize) {
    let part = |byte: &u8| byte.is_ascii_alphanumeric() || *byte == b'_';
    let run = |from: usize| from + rest.as_bytes()[from..].iter().take_while(|byte| part(byte)).count();
    match first {
        'a'..='z' | 'A'..='Z' => (Kind::Word, run(1)),
        '0'..='9' => (Kind::Digits, rest.bytes().take_while(u8::is_ascii_digit).count()),
        '#' | ':' if run(1) > 1 => (if first == '#' { Kind::Name } else { Kind::Value }, run(1)),
        '<' if rest.starts_with("<=") || rest.starts_with("<>") => (Kind::Symbol, 2),
        '>' if rest.starts_with(">=") => (Kind::Symbol, 2),
        other => (Kind::Symbol, other.len_utf8()),
    }
}
