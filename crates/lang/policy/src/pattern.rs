//! Texts with wildcards and policy variables, and their match.
//!
//! A pattern is expanded before it is matched, so that what a variable brings in is literal.

use crate::condition::Context;

/// A piece of an expanded pattern.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Token {
    /// Exactly this character.
    Literal(char),
    /// Any run of characters (`*`).
    Run,
    /// Any one character (`?`).
    One,
}

/// Expands a pattern. `variables` is `None` where the language's version has none. `None` is given when a variable has no
/// value and no default: such a pattern matches nothing.
pub(crate) fn expand(pattern: &str, variables: Option<&Context>) -> Option<Vec<Token>> {
    let mut tokens = Vec::with_capacity(pattern.len());
    let mut rest = pattern;
    while let Some(character) = rest.chars().next() {
        if let (Some(context), Some(after)) = (variables, rest.strip_prefix("${"))
            && let Some((inside, tail)) = after.split_once('}')
        {
            tokens.extend(value_of(inside, context)?.chars().map(Token::Literal));
            rest = tail;
            continue;
        }
        tokens.push(match character {
            '*' => Token::Run,
            '?' => Token::One,
            other => Token::Literal(other),
        });
        rest = &rest[character.len_utf8()..];
    }
    Some(tokens)
}

/// Expands a text whose wildcards are literal (all operators but the `…Like` ones).
pub(crate) fn expand_literal(pattern: &str, variables: Option<&Context>) -> Option<String> {
    let mut out = String::with_capacity(pattern.len());
    let mut rest = pattern;
    while let Some(context) = variables
        && let Some((before, after)) = rest.split_once("${")
        && let Some((inside, tail)) = after.split_once('}')
    {
        out.push_str(before);
        out.push_str(&value_of(inside, context)?);
        rest = tail;
    }
    out.push_str(rest);
    Some(out)
}

/// `${*}`, `${?}` and `${$}` are the characters themselves; `${key}` and `${key, 'default'}` are a context key's value.
fn value_of(inside: &str, context: &Context) -> Option<String> {
    if matches!(inside, "*" | "?" | "$") {
        return Some(inside.to_owned());
    }
    let (key, default) = match inside.split_once(',') {
        Some((key, default)) => {
            (key.trim(), default.trim().strip_prefix('\'').and_then(|text| text.strip_suffix('\'')))
        }
        None => (inside.trim(), None),
    };
    match context.get(key) {
        // A variable stands for one value: a key that has several is no variable.
        Some([single]) => Some(single.clone()),
        _ => default.map(str::to_owned),
    }
}

/// Whether the text matches. Greedy with one point of return: at worst the product of both lengths.
pub(crate) fn matches(tokens: &[Token], text: &[char], fold_case: bool) -> bool {
    let same = |a: char, b: char| a == b || (fold_case && a.to_lowercase().eq(b.to_lowercase()));
    let (mut at, mut position) = (0, 0);
    let mut retry: Option<(usize, usize)> = None;
    while position < text.len() {
        let advanced = match tokens.get(at) {
            Some(Token::Literal(wanted)) => same(*wanted, text[position]),
            Some(Token::One) => true,
            Some(Token::Run) => {
                retry = Some((at, position));
                at += 1;
                continue;
            }
            None => false,
        };
        if advanced {
            at += 1;
            position += 1;
        } else if let Some((run, taken)) = retry {
            retry = Some((run, taken + 1));
            at = run + 1;
            position = taken + 1;
        } else {
            return false;
        }
    }
    tokens[at..].iter().all(|token| *token == Token::Run)
}

/// Whether `text` matches the unexpanded `pattern`.
pub(crate) fn pattern_matches(pattern: &str, text: &str, variables: Option<&Context>, fold_case: bool) -> bool {
    // The common patterns cost nothing.
    if pattern == "*" || (!fold_case && pattern == text && !pattern.contains(['*', '?', '$'])) {
        return true;
    }
    let text: Vec<char> = text.chars().collect();
    expand(pattern, variables).is_some_and(|tokens| matches(&tokens, &text, fold_case))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wildcards_match_runs_and_single_characters() {
        for (pattern, text, expected) in [
            ("*", "", true),
            ("a*c", "abbbc", true),
            ("a*c", "abbbd", false),
            ("a?c", "abc", true),
            ("a?c", "ac", false),
            ("*a*b*", "xxaxxbxx", true),
            ("*ab", "aab", true),
            ("", "", true),
            ("", "a", false),
            ("a*", "a", true),
            ("arn:aws:s3:::b/*", "arn:aws:s3:::b/k/l", true),
            ("ü?*", "üäö", true),
        ] {
            assert_eq!(pattern_matches(pattern, text, None, false), expected, "{pattern} {text}");
        }
    }

    #[test]
    fn many_wildcards_do_not_explode() {
        let pattern = "*a".repeat(2000);
        assert!(!pattern_matches(&pattern, &"a".repeat(1999), None, false));
    }

    #[test]
    fn variables_are_literal_and_may_have_defaults() {
        let context = Context::new().with("aws:username", "*").with("aws:PrincipalTag/team", "blue");
        for (pattern, text, expected) in [
            ("home/${aws:username}/x", "home/*/x", true),
            ("home/${aws:username}/x", "home/ada/x", false),
            ("${AWS:PrincipalTag/team}", "blue", true),
            ("${aws:PrincipalTag/none}", "", false),
            ("${aws:PrincipalTag/none, 'red'}", "red", true),
            ("${*}${?}${$}", "*?$", true),
            ("${open", "${open", true),
        ] {
            assert_eq!(pattern_matches(pattern, text, Some(&context), false), expected, "{pattern}");
            if !pattern.contains("${*}") {
                assert_eq!(expand_literal(pattern, Some(&context)).as_deref() == Some(text), expected, "{pattern}");
            }
        }
    }
}
