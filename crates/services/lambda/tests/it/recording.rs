//! Recorded answers and how ours are compared with them.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::world::Failure;

/// What AWS answered, by case and step.
pub(crate) struct Recorded(pub(crate) BTreeMap<String, Value>);

impl Recorded {
    pub(crate) fn load() -> Self {
        Self(serde_json::from_str(include_str!("../data/recorded.json")).unwrap())
    }

    pub(crate) fn step(&self, case: &str, step: &str) -> &Value {
        self.0.get(&format!("{case} {step}")).unwrap_or_else(|| panic!("nothing is recorded for {case} {step}"))
    }

    /// An error: code, message, status and the members of its document, as far as they were recorded.
    pub(crate) fn is_failure(&self, case: &str, step: &str, failure: &Failure) {
        let recorded = self.step(case, step);
        assert_eq!(recorded["code"], failure.code, "{case} {step}: {failure:?}");
        let message = recorded["message"].as_str().unwrap_or_default();
        assert!(text_matches(message, &failure.message), "{case} {step}:\nAWS:  {message}\nours: {}", failure.message);
        if let Some(status) = recorded["status"].as_u64() {
            assert_eq!(status, u64::from(failure.status), "{case} {step}");
        }
        if let Some(members) = recorded["members"].as_array().filter(|members| !members.is_empty()) {
            let mut ours: Vec<_> = failure.body.as_object().unwrap().keys().map(|key| json!(key)).collect();
            ours.sort_by_key(ToString::to_string);
            // AWS leaves `Type` out of a few errors for no reason that could be found.
            let theirs: Vec<_> = members.iter().filter(|member| *member != "Type").collect();
            let ours: Vec<_> = ours.iter().filter(|member| *member != "Type").collect();
            assert_eq!(theirs, ours, "{case} {step}");
        }
    }

    pub(crate) fn is_answer(&self, case: &str, step: &str, answer: &Value) {
        let recorded = &self.step(case, step)["answer"];
        if let Err(difference) = matches(recorded, answer) {
            panic!("{case} {step}: {difference}\nAWS:  {recorded}\nours: {answer}");
        }
    }
}

/// Whether our text is the recorded one, in which `<…>` stands for anything.
fn text_matches(recorded: &str, ours: &str) -> bool {
    let mut pieces = Vec::new();
    let mut rest = recorded;
    while let Some(open) = rest.find('<') {
        let Some(close) = rest[open..].find('>') else { break };
        // `<<code-sha-256>:1>`: the outermost pair.
        let mut end = open + close + 1;
        if rest[open + 1..].starts_with('<') {
            end += rest[end..].find('>').map_or(0, |close| close + 1);
        }
        pieces.push(&rest[..open]);
        rest = &rest[end..];
    }
    pieces.push(rest);
    let (Some(first), Some(last)) = (pieces.first(), pieces.last()) else { return false };
    if pieces.len() == 1 {
        return recorded == ours;
    }
    let Some(mut middle) = ours.strip_prefix(first).and_then(|ours| ours.strip_suffix(last)) else { return false };
    pieces[1..pieces.len() - 1].iter().all(|piece| match middle.find(piece) {
        Some(at) => {
            middle = &middle[at + piece.len()..];
            true
        }
        None => false,
    })
}

fn matches(recorded: &Value, ours: &Value) -> Result<(), String> {
    match (recorded, ours) {
        (Value::Object(theirs), Value::Object(own)) => {
            for (key, value) in theirs {
                let found = own.get(key).ok_or_else(|| format!("`{key}` is missing"))?;
                matches(value, found).map_err(|difference| format!("{key}: {difference}"))?;
            }
            match own.keys().find(|key| !theirs.contains_key(*key)) {
                Some(key) => Err(format!("`{key}` is too much")),
                None => Ok(()),
            }
        }
        (Value::Array(theirs), Value::Array(own)) if theirs.len() == own.len() => {
            theirs.iter().zip(own).try_for_each(|(theirs, own)| matches(theirs, own))
        }
        (Value::String(text), _)
            if matches!(
                text.as_str(),
                "date" | "datetime" | "<datetime>" | "code-sha256" | "<code-size>" | "lambda-url"
            ) =>
        {
            Ok(())
        }
        (Value::String(theirs), Value::String(own)) if text_matches(theirs, own) => Ok(()),
        (theirs, own) if theirs == own => Ok(()),
        (theirs, own) => Err(format!("{theirs} is not {own}")),
    }
}

#[test]
fn placeholders_match_what_they_stand_for() {
    assert!(text_matches(
        "arn:<partition>:lambda:<region>:1:function:<f>:2",
        "arn:aws:lambda:us-east-1:1:function:hello:2"
    ));
    assert!(!text_matches(
        "arn:<partition>:lambda:<region>:1:function:<f>:2",
        "arn:aws:lambda:us-east-1:1:function:hello:3"
    ));
    assert!(
        text_matches("<<code-sha-256>:1>", "abc") && text_matches("plain", "plain") && !text_matches("plain", "plai")
    );
}

/// Fails with the first difference between what was recorded and what we have.
pub(crate) fn same(recorded: &Value, ours: &Value) {
    if let Err(difference) = matches(recorded, ours) {
        panic!("{difference}\nAWS:  {recorded}\nours: {ours}");
    }
}
