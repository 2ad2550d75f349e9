//! From a text to an [`EventPattern`]. Reasons and places of errors are AWS's.

use std::net::IpAddr;

use crate::{
    ALTERNATIVES_MAX, DEPTH_MAX, EventPattern, WILDCARDS_MAX,
    event::Scalar,
    pattern::{Alternative, Bound, Branch, Test, Wildcard, fold},
    token::{Kind, Token, Tokens},
};

/// Whose language it is: they differ in what `anything-but` may hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dialect {
    /// EventBridge, Pipes, event source mappings.
    Events,
    /// SNS filter policies.
    Sns,
}

/// A text that is no pattern.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{reason}{}", self.place())]
pub struct PatternError {
    /// AWS's reason, without the place.
    pub reason: String,
    source_text: Option<String>,
    line: usize,
    column: usize,
    /// AWS names the place once more for every list that it was in.
    repeated: bool,
}

/// AWS shows this much of a pattern.
const SHOWN_CHARS_MAX: usize = 500;

impl PatternError {
    pub(crate) fn new(reason: String, source: &str, line: usize, column: usize) -> Self {
        Self { reason, source_text: Some(source.to_owned()), line, column, repeated: false }
    }

    /// An error whose place AWS does not name.
    fn without_place(reason: impl Into<String>) -> Self {
        Self { reason: reason.into(), source_text: None, line: 0, column: 0, repeated: false }
    }

    /// Line and column, from 1.
    #[must_use]
    pub fn line_and_column(&self) -> Option<(usize, usize)> {
        self.source_text.as_ref().map(|_| (self.line, self.column))
    }

    fn place(&self) -> String {
        let Some(source) = &self.source_text else { return String::new() };
        let shown: String = source.chars().take(SHOWN_CHARS_MAX).collect();
        let rest = source.chars().count() - shown.chars().count();
        let cut = if rest > 0 { format!("[truncated {rest} chars]") } else { String::new() };
        let place = format!("\n at [Source: (String)\"{shown}\"{cut}; line: {}, column: {}]", self.line, self.column);
        if self.repeated { place.repeat(2) } else { place }
    }

    fn repeat(mut self) -> Self {
        self.repeated = true;
        self
    }
}

impl EventPattern {
    /// Reads a pattern.
    ///
    /// # Errors
    /// [`PatternError`], which displays as AWS's reason with the place in the text.
    pub fn parse(text: &str, dialect: Dialect) -> Result<Self, PatternError> {
        let mut parser = Parser { tokens: Tokens::new(text), dialect };
        let first = parser.token()?;
        if first.kind != Kind::ObjectStart {
            return Err(parser.tokens.error("Filter is not an object", first.seen));
        }
        let alternatives = parser.object(&[], 0)?;
        if let Some(more) = parser.tokens.next()? {
            return Err(parser.tokens.error("Unexpected content after the pattern", more.seen));
        }
        let alternatives = alternatives.into_iter().map(|terms| Alternative { root: tree(terms) }).collect();
        Ok(Self { alternatives })
    }
}

/// One path with its tests.
type Term = (Vec<String>, Vec<Test>);

fn tree(terms: Vec<Term>) -> Branch {
    let mut root = Branch::default();
    for (path, tests) in terms {
        let mut branch = &mut root;
        for name in path {
            let whole = if branch.path.is_empty() { name.clone() } else { format!("{}.{name}", branch.path) };
            branch = branch.below.entry(name).or_insert_with(|| Branch { path: whole, ..Branch::default() });
        }
        // Two spellings of one path, or two branches of an `$or`: both have to hold, which only a common test can say.
        if branch.tests.is_empty() {
            branch.tests = tests;
        } else {
            let other = std::mem::take(&mut branch.tests);
            branch.tests = vec![Test::AnythingBut(vec![Test::AnythingBut(other), Test::AnythingBut(tests)])];
        }
    }
    root
}

struct Parser<'a> {
    tokens: Tokens<'a>,
    dialect: Dialect,
}

impl Parser<'_> {
    fn token(&mut self) -> Result<Token, PatternError> {
        match self.tokens.next()? {
            Some(token) => Ok(token),
            None => Err(self.tokens.error("Unexpected end-of-input", self.tokens.source().chars().count())),
        }
    }

    fn bad<T>(&self, reason: impl Into<String>, at: usize) -> Result<T, PatternError> {
        Err(self.tokens.error(reason, at))
    }

    /// What follows an opened object: the alternatives that it multiplies to.
    fn object(&mut self, path: &[String], depth: usize) -> Result<Vec<Vec<Term>>, PatternError> {
        if depth > DEPTH_MAX {
            return self.bad("Pattern is nested too deeply", 0);
        }
        let mut alternatives: Vec<Vec<Term>> = vec![Vec::new()];
        let mut names = std::collections::BTreeSet::new();
        loop {
            let token = self.token()?;
            let name = match token.kind {
                Kind::ObjectEnd if names.is_empty() => return self.bad("Empty objects are not allowed", token.end),
                Kind::ObjectEnd => return Ok(alternatives),
                Kind::Name(name) => name,
                _ => return self.bad("Unexpected content in an object", token.end),
            };
            let mut below = path.to_vec();
            below.extend(name.split('.').map(str::to_owned));
            if !names.insert(name.clone()) {
                return self.bad(format!("Path `{}` cannot be allowed multiple times", below.join(".")), token.end);
            }
            let value = self.token()?;
            let more = match value.kind {
                Kind::ObjectStart => self.object(&below, depth + 1)?,
                Kind::ArrayStart if name == "$or" => self.or(path, depth + 1)?,
                Kind::ArrayStart => vec![vec![(below, self.array()?)]],
                _ => return self.bad(format!("\"{name}\" must be an object or an array"), value.seen),
            };
            if alternatives.len() * more.len() > ALTERNATIVES_MAX {
                return Err(PatternError::without_place("Rule is too complex - try using fewer alternatives in $or"));
            }
            alternatives = alternatives
                .iter()
                .flat_map(|left| more.iter().map(move |right| [left.as_slice(), right.as_slice()].concat()))
                .collect();
        }
    }

    /// What follows `"$or": [`.
    fn or(&mut self, path: &[String], depth: usize) -> Result<Vec<Vec<Term>>, PatternError> {
        let mut alternatives = Vec::new();
        let mut count = 0;
        loop {
            let token = self.token()?;
            match token.kind {
                Kind::ObjectStart => alternatives.extend(self.object(path, depth)?),
                Kind::ArrayEnd if count < 2 => {
                    return self.bad("There must have at least 2 Objects in $or relationship.", token.end);
                }
                Kind::ArrayEnd => return Ok(alternatives),
                _ => return self.bad("Only object is allowed in array of $or relationship.", token.end),
            }
            count += 1;
        }
    }

    /// What follows the `[` of a path's values.
    fn array(&mut self) -> Result<Vec<Test>, PatternError> {
        let mut tests = Vec::new();
        loop {
            let token = self.token()?;
            tests.push(match token.kind {
                Kind::ArrayEnd if tests.is_empty() => return self.bad("Empty arrays are not allowed", token.end),
                Kind::ArrayEnd => return Ok(tests),
                Kind::ObjectStart => self.expression()?,
                Kind::Text(_) | Kind::Number(_) | Kind::True | Kind::False | Kind::Null => {
                    Test::Equal(scalar(&token.kind).unwrap_or(Scalar::Null))
                }
                _ => return self.bad("Match value must be String, number, true, false, or null", token.end),
            });
        }
    }

    /// What follows the `{` of a match expression, its end included.
    fn expression(&mut self) -> Result<Test, PatternError> {
        let name = self.token()?;
        let Kind::Name(operator) = name.kind else {
            return self.bad("Empty match expression", name.end);
        };
        let value = self.token()?;
        let test = match operator.as_str() {
            "exists" => match value.kind {
                Kind::True => Test::Exists,
                Kind::False => Test::Absent,
                _ => return self.bad("exists match pattern must be either true or false.", value.seen),
            },
            "prefix" => self.affix("prefix", &value, Test::Prefix, Test::PrefixIgnoringCase)?,
            "suffix" => self.affix("suffix", &value, Test::Suffix, Test::SuffixIgnoringCase)?,
            "equals-ignore-case" => match &value.kind {
                Kind::Text(text) => Test::EqualIgnoringCase(fold(text)),
                _ => return self.bad("equals-ignore-case match pattern must be a string", value.seen),
            },
            "wildcard" => match &value.kind {
                Kind::Text(text) => Test::Wildcard(self.wildcard(text, value.end)?),
                _ => return self.bad("wildcard match pattern must be a string", value.seen),
            },
            "numeric" => self.numeric(&value)?,
            "cidr" => match &value.kind {
                Kind::Text(text) => cidr(text)?,
                // The words are AWS's.
                _ => return self.bad("prefix match pattern must be a string", value.seen),
            },
            "anything-but" => Test::AnythingBut(self.anything_but(&value)?),
            _ => return self.bad(format!("Unrecognized match type {operator}"), value.seen),
        };
        self.only_one()?;
        Ok(test)
    }

    /// The end of a match expression.
    fn only_one(&mut self) -> Result<(), PatternError> {
        let token = self.token()?;
        match token.kind {
            Kind::ObjectEnd => Ok(()),
            _ => self.bad("Only one key allowed in match expression", token.end),
        }
    }

    fn affix(
        &mut self,
        name: &str,
        value: &Token,
        exact: fn(String) -> Test,
        folded: fn(String) -> Test,
    ) -> Result<Test, PatternError> {
        match &value.kind {
            Kind::Text(text) => Ok(exact(text.clone())),
            Kind::ObjectStart if self.dialect == Dialect::Events => {
                let inner = self.token()?;
                let Kind::Name(operator) = inner.kind else {
                    return self.bad("Empty match expression", inner.end);
                };
                let value = self.token()?;
                match &value.kind {
                    _ if operator != "equals-ignore-case" => {
                        self.bad(format!("Unsupported {name} pattern: {operator}"), value.seen)
                    }
                    Kind::Text(text) => {
                        self.only_one()?;
                        Ok(folded(fold(text)))
                    }
                    _ => self.bad("equals-ignore-case match pattern must be a string", value.seen),
                }
            }
            _ => self.bad(format!("{name} match pattern must be a string"), value.seen),
        }
    }

    fn wildcard(&self, text: &str, at: usize) -> Result<Wildcard, PatternError> {
        let mut pieces = vec![String::new()];
        let mut chars = text.char_indices().peekable();
        while let Some((index, c)) = chars.next() {
            // AWS counts bytes, the opening quote included.
            let position = index + 1;
            match c {
                '*' => {
                    if chars.peek().is_some_and(|(_, next)| *next == '*') {
                        return self.bad(format!("Consecutive wildcard characters at pos {position}"), at);
                    }
                    pieces.push(String::new());
                }
                '\\' => match chars.next() {
                    Some((_, escaped @ ('*' | '\\'))) => {
                        pieces.iter_mut().last().into_iter().for_each(|p| p.push(escaped))
                    }
                    _ => return self.bad(format!("Invalid escape character at pos {position}"), at),
                },
                _ => pieces.iter_mut().last().into_iter().for_each(|piece| piece.push(c)),
            }
        }
        if pieces.len() > WILDCARDS_MAX + 1 {
            return Err(PatternError::without_place(
                "Rule is too complex - try using fewer wildcard characters or fewer repeating character sequences after a \
                 wildcard character",
            ));
        }
        Ok(Wildcard(pieces))
    }

    fn numeric(&mut self, value: &Token) -> Result<Test, PatternError> {
        if value.kind != Kind::ArrayStart {
            return self.bad("Value of numeric must be an array.", value.seen);
        }
        let first = self.token()?;
        let Kind::Text(operator) = first.kind else {
            let shown = shown(&first.kind);
            return self.bad(format!("Invalid member in numeric match: {shown}"), first.end);
        };
        let operand = self.token()?;
        let number = match (&operand.kind, operator.as_str()) {
            (_, operator) if !matches!(operator, "=" | "<" | "<=" | ">" | ">=") => {
                return self.bad(format!("Unrecognized numeric range operator: {operator}"), operand.seen);
            }
            (Kind::Number(number), _) => number.parse().unwrap_or(f64::NAN),
            (_, "=") => return self.bad("Value of equals must be numeric", operand.seen),
            (_, operator) => return self.bad(format!("Value of {operator} must be numeric"), operand.seen),
        };
        let bound = Bound { value: number, included: operator.ends_with('=') };
        let next = self.token()?;
        if operator == "=" || operator.starts_with('<') {
            if next.kind != Kind::ArrayEnd {
                return self.bad("Too many elements in numeric expression", next.seen);
            }
            let low = (operator == "=").then_some(bound);
            return Ok(Test::Numeric { low, high: Some(bound) });
        }
        match next.kind {
            Kind::ArrayEnd => Ok(Test::Numeric { low: Some(bound), high: None }),
            Kind::Text(second) => self.upper_bound(bound, &second, next.end),
            other => self.bad(format!("Bad value in numeric range: {}", shown(&other)), next.end),
        }
    }

    /// The second half of a range.
    fn upper_bound(&mut self, low: Bound, operator: &str, at: usize) -> Result<Test, PatternError> {
        if !matches!(operator, "<" | "<=") {
            return self.bad(format!("Bad numeric range operator: {operator}"), at);
        }
        let operand = self.token()?;
        let Kind::Number(number) = &operand.kind else {
            return self.bad(format!("Value of {operator} must be numeric"), operand.seen);
        };
        let high = Bound { value: number.parse().unwrap_or(f64::NAN), included: operator.ends_with('=') };
        let end = self.token()?;
        if end.kind != Kind::ArrayEnd {
            return self.bad("Too many terms in numeric range expression", end.seen);
        }
        if low.value >= high.value {
            return self.bad("Bottom must be less than top", end.end);
        }
        Ok(Test::Numeric { low: Some(low), high: Some(high) })
    }

    fn anything_but(&mut self, value: &Token) -> Result<Vec<Test>, PatternError> {
        match &value.kind {
            Kind::Text(_) | Kind::Number(_) => Ok(vec![Test::Equal(scalar(&value.kind).unwrap_or(Scalar::Null))]),
            Kind::ArrayStart => {
                let mut tests = Vec::new();
                loop {
                    let token = self.token()?;
                    match &token.kind {
                        Kind::ArrayEnd if tests.is_empty() => {
                            return self.bad("Empty arrays are not allowed", token.end);
                        }
                        Kind::ArrayEnd => return Ok(tests),
                        Kind::Text(_) | Kind::Number(_) => {
                            tests.push(Test::Equal(scalar(&token.kind).unwrap_or(Scalar::Null)));
                        }
                        _ => {
                            let reason = "Inside anything but list, start|null|boolean is not supported.";
                            return Err(self.tokens.error(reason, token.seen).repeat());
                        }
                    }
                }
            }
            Kind::ObjectStart => {
                let name = self.token()?;
                let Kind::Name(operator) = name.kind else {
                    return self.bad("Empty match expression", name.end);
                };
                let value = self.token()?;
                let tests = self.anything_but_pattern(&operator, &value)?;
                self.only_one()?;
                Ok(tests)
            }
            _ => self.bad("Value of anything-but must be an array or single string/number value.", value.seen),
        }
    }

    /// `{"anything-but": {"prefix": …}}` and its like.
    fn anything_but_pattern(&mut self, operator: &str, value: &Token) -> Result<Vec<Test>, PatternError> {
        if self.dialect == Dialect::Sns {
            return match (operator, &value.kind) {
                ("prefix", Kind::Text(text)) => Ok(vec![Test::Prefix(text.clone())]),
                ("prefix", _) => self.bad("prefix match pattern must be a string", value.seen),
                _ => self.bad(format!("Unsupported anything-but pattern: {operator}"), value.seen),
            };
        }
        if !matches!(operator, "prefix" | "suffix" | "equals-ignore-case" | "wildcard") {
            return self.bad(format!("Unsupported anything-but pattern: {operator}"), value.seen);
        }
        match &value.kind {
            Kind::ArrayStart => {
                let mut tests = Vec::new();
                loop {
                    let token = self.token()?;
                    match token.kind {
                        Kind::ArrayEnd if tests.is_empty() => {
                            return self.bad("Empty arrays are not allowed", token.end);
                        }
                        Kind::ArrayEnd => return Ok(tests),
                        _ => tests.push(self.excluded(operator, &token).map_err(PatternError::repeat)?),
                    }
                }
            }
            Kind::ObjectStart => {
                self.bad("Value of anything-but must be an array or single string/number value.", value.seen)
            }
            _ => Ok(vec![self.excluded(operator, value)?]),
        }
    }

    fn excluded(&self, operator: &str, value: &Token) -> Result<Test, PatternError> {
        match (operator, &value.kind) {
            ("prefix" | "suffix", Kind::Text(text)) if text.is_empty() => {
                self.bad("Null prefix/suffix not allowed", value.end)
            }
            ("prefix", Kind::Text(text)) => Ok(Test::Prefix(text.clone())),
            ("suffix", Kind::Text(text)) => Ok(Test::Suffix(text.clone())),
            ("wildcard", Kind::Text(text)) => Ok(Test::Wildcard(self.wildcard(text, value.end)?)),
            (_, Kind::Text(text)) => Ok(Test::EqualIgnoringCase(fold(text))),
            ("prefix" | "suffix", _) => self.bad("prefix/suffix match pattern must be a string", value.seen),
            ("wildcard", _) => self.bad("wildcard match pattern must be a string", value.seen),
            _ => self.bad(
                "Inside anything-but/equals-ignore-case list, number|start|null|boolean is not supported.",
                value.seen,
            ),
        }
    }
}

fn scalar(kind: &Kind) -> Option<Scalar> {
    Some(match kind {
        Kind::Text(text) => Scalar::Text(text.clone()),
        Kind::Number(number) => Scalar::Number(number.parse().ok()?),
        Kind::True => Scalar::Bool(true),
        Kind::False => Scalar::Bool(false),
        Kind::Null => Scalar::Null,
        _ => return None,
    })
}

/// A token as it is written.
fn shown(kind: &Kind) -> String {
    match kind {
        Kind::ObjectStart => "{",
        Kind::ObjectEnd => "}",
        Kind::ArrayStart => "[",
        Kind::ArrayEnd => "]",
        Kind::True => "true",
        Kind::False => "false",
        Kind::Null => "null",
        Kind::Name(text) | Kind::Text(text) | Kind::Number(text) => text,
    }
    .to_owned()
}

fn cidr(text: &str) -> Result<Test, PatternError> {
    let (address, bits) = match text.split('/').collect::<Vec<_>>()[..] {
        [address, bits] => (address, bits),
        _ => return Err(PatternError::without_place("Malformed CIDR, one '/' required")),
    };
    let Ok(bits) = bits.parse::<i64>() else {
        return Err(PatternError::without_place("Malformed CIDR, mask bits must be an integer"));
    };
    let Ok(network) = address.parse::<IpAddr>() else {
        return Err(PatternError::without_place(format!("Nonstandard IP address: {address}")));
    };
    let most = if network.is_ipv4() { 32 } else { 128 };
    match u8::try_from(bits).ok().filter(|bits| *bits <= most) {
        Some(bits) => Ok(Test::Cidr { network, bits }),
        None => Err(PatternError::without_place(format!(
            "IPv{} mask bits must not exceed {most}",
            if most == 32 { 4 } else { 6 }
        ))),
    }
}
