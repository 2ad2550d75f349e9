//! `pileus env`: the exports that point every AWS tool at the server. Guarantee: safe to hand to a shell's `eval`.

use edge_client::Endpoint;
use serde_json::{Map, Value, json};

use crate::{
    args::Environment,
    failure::{Failure, Outcome},
    screen::Screen,
};

/// Prints the endpoint and, where the surrounding shell has none yet, credentials and a region.
pub(crate) fn run(screen: Screen, options: &Environment) -> Outcome<()> {
    let endpoint = Endpoint::parse(&options.endpoint)
        .map_err(|error| Failure::new("the exports cannot be made").because(&error))?;
    let exports = exports(&endpoint.to_string(), |name| std::env::var(name).ok());
    let value: Map<_, _> = exports.iter().map(|(name, value)| ((*name).to_owned(), json!(value))).collect();
    let lines: Vec<_> = exports.iter().map(|(name, value)| format!("export {name}={}", quoted(value))).collect();
    screen.result(&Value::Object(value), &lines.join("\n"));
    Ok(())
}

fn exports(endpoint: &str, variable: impl Fn(&str) -> Option<String>) -> Vec<(&'static str, String)> {
    let keep = |name: &'static str, otherwise: &str| {
        (name, variable(name).filter(|value| !value.is_empty()).unwrap_or_else(|| otherwise.to_owned()))
    };
    vec![
        ("AWS_ENDPOINT_URL", endpoint.to_owned()),
        keep("AWS_ACCESS_KEY_ID", "test"),
        keep("AWS_SECRET_ACCESS_KEY", "test"),
        keep("AWS_DEFAULT_REGION", "us-east-1"),
    ]
}

/// A word of a POSIX shell.
fn quoted(value: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./:+=@%".contains(c);
    if !value.is_empty() && value.chars().all(plain) {
        value.to_owned()
    } else {
        format!("'{}'", value.replace('\'', r"'\''"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_quoted_for_a_shell() {
        let rows =
            [("us-east-1", "us-east-1"), ("a b", "'a b'"), ("it's", r"'it'\''s'"), ("", "''"), ("$(x)", "'$(x)'")];
        for (value, word) in rows {
            assert_eq!(quoted(value), word);
        }
    }

    #[test]
    fn what_the_shell_has_is_kept() {
        let got = exports("http://127.0.0.1:1", |name| (name == "AWS_ACCESS_KEY_ID").then(|| "mine".to_owned()));
        let expected = [
            ("AWS_ENDPOINT_URL", "http://127.0.0.1:1"),
            ("AWS_ACCESS_KEY_ID", "mine"),
            ("AWS_SECRET_ACCESS_KEY", "test"),
            ("AWS_DEFAULT_REGION", "us-east-1"),
        ];
        assert_eq!(got, expected.map(|(name, value)| (name, value.to_owned())));
    }
}
