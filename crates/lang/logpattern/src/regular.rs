//! AWS's subset of regular expressions, between percent signs.
//!
//! Letters, digits and `: _ # = @ / ; , -`; the operators `^ $ ? [ ] { } | \ * + .`; the escapes `\d \D \s \S \w \W` and
//! `\xhh`. No parentheses, not even escaped (AWS has one write `\x28`), no spaces, nothing beyond ASCII. The engine is a
//! finite automaton: time is linear in the message, and its size is bounded when it is built.

use regex::bytes::{Regex, RegexBuilder};

use crate::InvalidPattern;

/// How large a compiled automaton may grow, in bytes: `a{9}{9}{9}{9}` is refused, not built.
const AUTOMATON_BYTES_MAX: usize = 1 << 18;

#[derive(Debug, Clone)]
pub(crate) struct Regular(Regex);

impl Regular {
    pub(crate) fn is_match(&self, text: &str) -> bool {
        self.0.is_match(text.as_bytes())
    }
}

pub(crate) fn compile(text: &str) -> Result<Regular, InvalidPattern> {
    if text.is_empty() {
        return Err(InvalidPattern::Syntax);
    }
    RegexBuilder::new(&translate(text)?)
        .unicode(false)
        .size_limit(AUTOMATON_BYTES_MAX)
        .dfa_size_limit(AUTOMATON_BYTES_MAX)
        .build()
        .map(Regular)
        .map_err(|_| InvalidPattern::Syntax)
}

/// Writes the expression in our engine's syntax, which knows more than AWS's: what means something only to the engine
/// (nested classes and set operations inside brackets) is escaped.
fn translate(text: &str) -> Result<String, InvalidPattern> {
    let mut translated = String::with_capacity(text.len() + 8);
    let mut characters = text.chars().peekable();
    // `Some(n)`: inside brackets, after n characters of the class.
    let mut class: Option<usize> = None;
    while let Some(character) = characters.next() {
        match (character, class) {
            ('\\', _) => {
                let escaped = characters.next().ok_or(InvalidPattern::Syntax)?;
                escape(escaped, &mut characters, &mut translated)?;
            }
            ('[', None) => {
                translated.push('[');
                if characters.next_if_eq(&'^').is_some() {
                    translated.push('^');
                }
                class = Some(0);
                continue;
            }
            (']', Some(1..)) => {
                translated.push(']');
                class = None;
                continue;
            }
            ('-', Some(length)) => {
                let ends = characters.peek().is_none_or(|&next| matches!(next, ']' | '-'));
                translated.push_str(if length == 0 || ends { "\\-" } else { "-" });
            }
            ('[' | ']' | '^' | '$' | '?' | '{' | '}' | '|' | '*' | '+' | '.', Some(_)) => {
                translated.push('\\');
                translated.push(character);
            }
            (']', None) => return Err(InvalidPattern::Syntax),
            ('^' | '$' | '?' | '{' | '}' | '|' | '*' | '+' | '.', None) => translated.push(character),
            (plain, _) if is_plain(plain) => translated.push(plain),
            (other, _) => return Err(InvalidPattern::Characters(other.to_string())),
        }
        class = class.map(|length| length + 1);
    }
    if class.is_some() { Err(InvalidPattern::Syntax) } else { Ok(translated) }
}

fn is_plain(character: char) -> bool {
    character.is_ascii_alphanumeric() || matches!(character, ':' | '_' | '#' | '=' | '@' | '/' | ';' | ',' | '-')
}

fn escape(
    escaped: char,
    characters: &mut impl Iterator<Item = char>,
    translated: &mut String,
) -> Result<(), InvalidPattern> {
    match escaped {
        'd' | 'D' | 's' | 'S' | 'w' | 'W' | 't' | 'n' | 'r' => {
            translated.push('\\');
            translated.push(escaped);
        }
        'x' => {
            let mut digit = || characters.next().and_then(|c| c.to_digit(16)).ok_or(InvalidPattern::Syntax);
            let code = digit()? * 16 + digit()?;
            if code > 0x7f {
                return Err(InvalidPattern::Syntax);
            }
            translated.push_str(&format!("\\x{code:02x}"));
        }
        '(' | ')' => return Err(InvalidPattern::Characters(escaped.to_string())),
        symbol if symbol.is_ascii_punctuation() => {
            translated.push('\\');
            translated.push(symbol);
        }
        other => return Err(InvalidPattern::Characters(other.to_string())),
    }
    Ok(())
}
