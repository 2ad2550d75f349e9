//! Statements as tokens. Guarantee: any text gives tokens that know where they stand, or one error.

use super::malformed;
use crate::Invalid;

/// The greatest statement, in bytes (AWS: 8 KB).
pub const STATEMENT_BYTES_MAX: usize = 8192;

/// What a token is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// A bare name.
    Word,
    /// A bare name that the language has a meaning for.
    Keyword,
    /// `"a name"`.
    Quoted,
    /// `'a text'`.
    Text,
    Number,
    /// `?`
    Parameter,
    Symbol,
    /// Behind the last.
    End,
}

/// Where something stands: line and column from 1, and its length, in characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct At {
    line: usize,
    column: usize,
    length: usize,
}

impl std::fmt::Display for At {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}:{}", self.line, self.column, self.length)
    }
}

/// A part of a statement; `text` without its quotes.
#[derive(Clone, Debug)]
pub(super) struct Token {
    pub(super) kind: Kind,
    pub(super) text: String,
    pub(super) at: At,
}

/// SQL's reserved words and PartiQL's own: none of them is a name unless it is quoted.
const KEYWORDS: [&str; 150] = [
    "absolute",
    "action",
    "add",
    "all",
    "allocate",
    "alter",
    "and",
    "any",
    "are",
    "as",
    "asc",
    "assertion",
    "at",
    "authorization",
    "begin",
    "between",
    "bit",
    "both",
    "by",
    "cascade",
    "cascaded",
    "case",
    "cast",
    "check",
    "close",
    "coalesce",
    "collate",
    "collation",
    "column",
    "commit",
    "connect",
    "connection",
    "constraint",
    "constraints",
    "continue",
    "convert",
    "corresponding",
    "create",
    "cross",
    "current",
    "cursor",
    "deallocate",
    "declare",
    "default",
    "deferrable",
    "deferred",
    "delete",
    "desc",
    "describe",
    "descriptor",
    "diagnostics",
    "disconnect",
    "distinct",
    "domain",
    "drop",
    "else",
    "end",
    "escape",
    "except",
    "exception",
    "exec",
    "execute",
    "exists",
    "external",
    "fetch",
    "for",
    "foreign",
    "found",
    "from",
    "full",
    "get",
    "global",
    "go",
    "goto",
    "grant",
    "group",
    "having",
    "identity",
    "immediate",
    "in",
    "initially",
    "inner",
    "input",
    "insensitive",
    "insert",
    "intersect",
    "into",
    "is",
    "isolation",
    "join",
    "key",
    "last",
    "leading",
    "left",
    "like",
    "limit",
    "local",
    "match",
    "missing",
    "natural",
    "next",
    "no",
    "not",
    "null",
    "of",
    "offset",
    "on",
    "only",
    "open",
    "option",
    "or",
    "order",
    "outer",
    "output",
    "overlaps",
    "pad",
    "partial",
    "pivot",
    "precision",
    "prepare",
    "preserve",
    "primary",
    "prior",
    "privileges",
    "procedure",
    "references",
    "relative",
    "remove",
    "restrict",
    "returning",
    "revoke",
    "right",
    "rollback",
    "rows",
    "schema",
    "scroll",
    "select",
    "set",
    "then",
    "to",
    "trailing",
    "union",
    "unique",
    "unpivot",
    "update",
    "using",
    "value",
    "values",
    "when",
    "where",
];

/// Literals that look like words.
const LITERALS: [&str; 2] = ["true", "false"];

pub(super) fn is_keyword(word: &str) -> bool {
    KEYWORDS.iter().chain(&LITERALS).any(|known| known.eq_ignore_ascii_case(word))
}

/// The tokens of a statement; the last is [`Kind::End`].
pub(super) fn tokens(source: &str) -> Result<Vec<Token>, Invalid> {
    if source.len() > STATEMENT_BYTES_MAX {
        return Err(Invalid(format!(
            "Statement size has exceeded the maximum allowed size; statement size: {}",
            source.len()
        )));
    }
    let mut reader = Reader { rest: source, line: 1, column: 1 };
    let mut all = Vec::new();
    loop {
        reader.skip()?;
        let (line, column, before) = (reader.line, reader.column, reader.rest);
        let found = reader.next()?;
        let length = before[..before.len() - reader.rest.len()].chars().count();
        let end = found.0 == Kind::End;
        all.push(Token { kind: found.0, text: found.1, at: At { line, column, length } });
        if end {
            return Ok(all);
        }
    }
}

struct Reader<'a> {
    rest: &'a str,
    line: usize,
    column: usize,
}

impl<'a> Reader<'a> {
    fn take(&mut self, bytes: usize) -> &'a str {
        let (taken, rest) = self.rest.split_at(bytes);
        for char in taken.chars() {
            if char == '\n' {
                self.line += 1;
                self.column = 1;
            } else {
                self.column += 1;
            }
        }
        self.rest = rest;
        taken
    }

    fn run(&mut self, is_part: impl Fn(char) -> bool) -> &'a str {
        let end = self.rest.find(|char| !is_part(char)).unwrap_or(self.rest.len());
        self.take(end)
    }

    /// White space and comments.
    fn skip(&mut self) -> Result<(), Invalid> {
        loop {
            self.run(char::is_whitespace);
            if self.rest.starts_with("--") {
                self.run(|char| char != '\n');
            } else if self.rest.starts_with("/*") {
                let end = self.rest.find("*/").ok_or_else(|| malformed(""))?;
                self.take(end + 2);
            } else {
                return Ok(());
            }
        }
    }

    fn next(&mut self) -> Result<(Kind, String), Invalid> {
        let Some(first) = self.rest.chars().next() else { return Ok((Kind::End, String::new())) };
        match first {
            '\'' => Ok((Kind::Text, self.quoted('\'')?)),
            '"' => Ok((Kind::Quoted, self.quoted('"')?)),
            '?' => Ok((Kind::Parameter, self.take(1).to_owned())),
            '0'..='9' => Ok((Kind::Number, self.number())),
            '.' if self.rest[1..].starts_with(|char: char| char.is_ascii_digit()) => Ok((Kind::Number, self.number())),
            'a'..='z' | 'A'..='Z' | '_' | '$' => {
                let word = self.run(|char| char.is_ascii_alphanumeric() || matches!(char, '_' | '$'));
                let kind = if is_keyword(word) { Kind::Keyword } else { Kind::Word };
                Ok((kind, word.to_owned()))
            }
            _ => {
                let doubled = ["<<", ">>", "<=", ">=", "<>", "!=", "||"];
                let symbol = doubled.into_iter().find(|symbol| self.rest.starts_with(symbol));
                match symbol {
                    Some(symbol) => Ok((Kind::Symbol, self.take(symbol.len()).to_owned())),
                    None if "()[]{},.:;=<>*+-/%".contains(first) => Ok((Kind::Symbol, self.take(1).to_owned())),
                    None => Err(malformed("")),
                }
            }
        }
    }

    /// What stands between two of these quotes; a doubled one stands for itself.
    fn quoted(&mut self, quote: char) -> Result<String, Invalid> {
        self.take(1);
        let mut text = String::new();
        loop {
            text.push_str(self.run(|char| char != quote));
            if self.rest.is_empty() {
                return Err(malformed(""));
            }
            self.take(1);
            if !self.rest.starts_with(quote) {
                return Ok(text);
            }
            text.push(quote);
            self.take(1);
        }
    }

    fn number(&mut self) -> String {
        let mut text = self.run(|char| char.is_ascii_digit()).to_owned();
        if self.rest.starts_with('.') {
            text.push_str(self.take(1));
            text.push_str(self.run(|char| char.is_ascii_digit()));
        }
        if self.rest.starts_with(['e', 'E']) {
            let sign = usize::from(self.rest[1..].starts_with(['+', '-']));
            if self.rest[1 + sign..].starts_with(|char: char| char.is_ascii_digit()) {
                text.push_str(self.take(1 + sign));
                text.push_str(self.run(|char| char.is_ascii_digit()));
            }
        }
        text
    }
}
