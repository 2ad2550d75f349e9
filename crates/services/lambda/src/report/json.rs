//! What AWS's JSON parser says of a payload that is not JSON.

use serde_json::Value;

/// Which problem AWS's JSON parser would name for a payload that is not JSON, or `None` when it is JSON.
///
/// An empty payload is an empty object to AWS: the caller handles it before.
#[must_use]
pub fn json_problem(payload: &[u8]) -> Option<String> {
    let error = match serde_json::from_slice::<&serde_json::value::RawValue>(payload) {
        Ok(_) => return None,
        Err(error) => error,
    };
    let text = String::from_utf8_lossy(payload);
    let trimmed = text.trim_start();
    let token: String =
        trimmed.chars().take_while(|c| c.is_alphanumeric() || matches!(c, '_' | '$')).take(256).collect();
    let expected = "(JSON String, Number, Array, Object or token 'null', 'true' or 'false')";
    let problem = match trimmed.chars().next() {
        _ if std::str::from_utf8(payload).is_err() => "Invalid UTF-8".to_owned(),
        Some(first) if first.is_alphabetic() && serde_json::from_str::<Value>(&token).is_err() => {
            format!("Unrecognized token '{token}': was expecting {expected}")
        }
        _ if error.is_eof() => "Unexpected end-of-input".to_owned(),
        Some(first) if !matches!(first, '{' | '[' | '"' | '-' | '0'..='9') && !first.is_alphabetic() => {
            format!("Unexpected character ('{first}' (code {})): expected a valid value {expected}", first as u32)
        }
        _ => error.to_string().split(" at line").next().unwrap_or_default().to_owned(),
    };
    let source: String = text.chars().take(500).collect();
    Some(format!(
        "{problem}\n at [Source: (byte[])\"{source}\"; line: {}, column: {}]",
        error.line(),
        error.column() + 1
    ))
}
