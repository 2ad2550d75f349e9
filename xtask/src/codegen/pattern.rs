//! The models' regular expressions, which are Java's, for an engine that is linear and knows no look-around.
//! Guarantee: what comes out compiles.

use regex::Regex;

/// How a pattern is tested: a value must match `expression` as a whole and must not match `refused`.
pub(crate) struct Translated {
    pub expression: String,
    pub refused: Option<String>,
}

/// Translates `text`.
pub(crate) fn translate(text: &str) -> Result<Translated, String> {
    let mut body = text.to_owned();
    let mut refused = None;
    if let Some(inner) = body.strip_prefix('(').and_then(|rest| rest.strip_suffix(')'))
        && inner.starts_with("(?!")
        && balanced(inner)
    {
        body = inner.to_owned();
    }
    if body.starts_with("(?!") {
        let end = closing(&body).ok_or_else(|| format!("`{text}` has no end of its look-ahead"))?;
        let ahead = body[3..end].strip_prefix('^').and_then(|ahead| ahead.strip_suffix('$'));
        let ahead = ahead.ok_or_else(|| format!("the look-ahead of `{text}` is not about the whole text"))?;
        refused = Some(classes(ahead));
        body = body[end + 1..].to_owned();
    }
    if let Some(rest) = body.strip_suffix("(?<!\\.)") {
        refused = Some("(?s:.*)\\.".to_owned());
        body = rest.to_owned();
    }
    let translated = Translated { expression: classes(&body), refused };
    check(text, &translated.expression)?;
    if let Some(refused) = &translated.refused {
        check(text, refused)?;
    }
    Ok(translated)
}

/// Fails when `expression` (of `text`) does not compile.
pub(crate) fn check(text: &str, expression: &str) -> Result<(), String> {
    Regex::new(&format!("^(?:{expression})$")).map(drop).map_err(|error| format!("pattern `{text}`: {error}"))
}

/// Java's classes are ASCII ones.
fn classes(text: &str) -> String {
    let (mut out, mut chars, mut inside) = (String::new(), text.chars(), false);
    while let Some(char) = chars.next() {
        match char {
            '\\' => {
                let escaped = chars.next().unwrap_or('\\');
                let class = match escaped {
                    'd' => "0-9",
                    'w' => "a-zA-Z0-9_",
                    's' => " \\t\\n\\x0B\\f\\r",
                    // Only an escape in front of punctuation is known to every engine alike.
                    '/' | '@' | '=' | ':' | ',' => {
                        out.push(escaped);
                        continue;
                    }
                    _ => {
                        out.push('\\');
                        out.push(escaped);
                        continue;
                    }
                };
                if inside {
                    out.push_str(class);
                } else {
                    out.push_str(&format!("[{class}]"));
                }
            }
            '[' if !inside => {
                inside = true;
                out.push('[');
            }
            ']' => {
                inside = false;
                out.push(']');
            }
            _ => out.push(char),
        }
    }
    out
}

/// The byte index of the parenthesis that closes the one at 0.
fn closing(text: &str) -> Option<usize> {
    let (mut depth, mut escaped) = (0_usize, false);
    for (index, char) in text.char_indices() {
        match char {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '(' => depth += 1,
            ')' => {
                depth = depth.checked_sub(1)?;
                if depth == 0 {
                    return Some(index);
                }
            }
            _ => {}
        }
    }
    None
}

fn balanced(text: &str) -> bool {
    let wrapped = format!("({text})");
    closing(&wrapped) == Some(wrapped.len() - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn look_arounds_become_a_second_expression() {
        for (text, expression, refused) in [
            ("(?!^[0-9]+$)([a-zA-Z0-9-_]+)", "([a-zA-Z0-9-_]+)", Some("[0-9]+")),
            ("((?!^\\d+$)^[0-9a-zA-Z-_]+$)", "^[0-9a-zA-Z-_]+$", Some("[0-9]+")),
            ("[0-9A-Za-z\\.\\-_]*(?<!\\.)", "[0-9A-Za-z\\.\\-_]*", Some("(?s:.*)\\.")),
            ("\\d{12}", "[0-9]{12}", None),
            ("[\\w+=/:,.@-]*", "[a-zA-Z0-9_+=/:,.@-]*", None),
        ] {
            let translated = translate(text).unwrap();
            assert_eq!((translated.expression.as_str(), translated.refused.as_deref()), (expression, refused));
        }
        assert!(translate("(?=x)y").is_err());
    }
}
