//! botocore signs, we verify.

use std::process::Command;

use base_types::Timestamp;
use http::{HeaderMap, HeaderName, HeaderValue};
use serde_json::Value;
use wire_sigv4::{Claim, Payload, Request, Rules, SignatureError};

struct Case {
    value: Value,
    headers: HeaderMap,
    body: Vec<u8>,
}

impl Case {
    fn read(line: &str) -> Self {
        let value: Value = serde_json::from_str(line).unwrap();
        let mut headers = HeaderMap::new();
        for pair in value["headers"].as_array().unwrap() {
            let name: HeaderName = pair[0].as_str().unwrap().parse().unwrap();
            headers.append(name, HeaderValue::from_str(pair[1].as_str().unwrap()).unwrap());
        }
        let hex = value["body"].as_str().unwrap();
        let body = (0..hex.len() / 2).map(|i| u8::from_str_radix(&hex[2 * i..2 * i + 2], 16).unwrap()).collect();
        Self { value, headers, body }
    }

    fn text(&self, name: &str) -> &str {
        self.value[name].as_str().unwrap()
    }

    fn request(&self) -> Request<'_> {
        Request {
            method: self.text("method"),
            path: self.text("path"),
            query: self.text("query"),
            headers: &self.headers,
        }
    }

    fn judge(&self, request: &Request<'_>, secret: &str, body: &[u8]) -> Result<(), SignatureError> {
        let rules = if self.text("service") == "s3" { Rules::S3 } else { Rules::Common };
        let claim = Claim::read(request)?;
        claim.check(self.text("service"), rules, Timestamp::parse_basic(self.text("now")).unwrap())?;
        assert_eq!((&*claim.key_id, &*claim.region), (self.text("key"), self.text("region")));
        assert_eq!(claim.token.as_deref(), self.value["token"].as_str());
        claim.verify(secret, request, rules, Payload::Bytes(body))
    }
}

/// Every case verifies; and no longer does once the secret, method, path, query, a signed header or the body differs.
fn judge_all(lines: &str) -> usize {
    let mut count = 0;
    for line in lines.lines() {
        let case = Case::read(line);
        let request = case.request();
        let secret = case.text("secret");
        assert_eq!(case.judge(&request, secret, &case.body), Ok(()), "{line}");
        let refused = |request: &Request<'_>, secret: &str, body: &[u8]| {
            let judged = case.judge(request, secret, body);
            assert!(
                matches!(judged, Err(SignatureError::Mismatch | SignatureError::PayloadHash)),
                "{judged:?} for {line}"
            );
        };
        refused(&request, "another secret", &case.body);
        refused(&Request { method: "PATCH", ..request }, secret, &case.body);
        refused(&Request { path: "/somewhere/else", ..request }, secret, &case.body);
        let query = format!("{}&extra=1", request.query);
        refused(&Request { query: &query, ..request }, secret, &case.body);
        let mut headers = case.headers.clone();
        headers.insert("host", HeaderValue::from_static("elsewhere"));
        refused(&Request { headers: &headers, ..request }, secret, &case.body);
        let hashed = case.text("kind") != "s3query"
            && case.headers.get("x-amz-content-sha256").is_none_or(|text| text != "UNSIGNED-PAYLOAD");
        if hashed {
            refused(&request, secret, b"another body");
        }
        count += 1;
    }
    count
}

#[test]
fn what_botocore_signed_verifies_and_nothing_else_does() {
    assert_eq!(judge_all(include_str!("botocore.jsonl")), 60);
}

/// Runs where `python3` has botocore; `PILEUS_TEST_PYTHON` names the interpreter and makes it mandatory.
#[test]
fn what_botocore_signs_now_verifies_and_nothing_else_does() {
    let wanted = std::env::var("PILEUS_TEST_PYTHON").ok();
    let python = wanted.as_deref().unwrap_or("python3");
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/oracle.py");
    let seed = std::process::id().to_string();
    let output = Command::new(python).args([script, &seed, "300"]).output();
    match output {
        Ok(output) if output.status.success() => {
            assert_eq!(judge_all(std::str::from_utf8(&output.stdout).unwrap()), 300, "seed {seed}");
        }
        other if wanted.is_some() => panic!("{python} cannot run {script}: {other:?}"),
        _ => eprintln!("not run: {python} has no botocore (the recorded signatures were checked)"),
    }
}
