//! Whatever the bytes, there is an answer and never a valid signature.

use base_types::Timestamp;
use http::{HeaderMap, HeaderValue};
use proptest::prelude::*;
use wire_sigv4::{Claim, Family, Payload, Request, Rules};

fn judge(request: &Request<'_>) {
    let now = Timestamp::parse_basic("20261123T120000Z").unwrap();
    for (rules, family) in [(Rules::Common, Family::Json), (Rules::S3, Family::S3)] {
        let judged = Claim::read(request).and_then(|claim| {
            let checked = claim.check("lambda", rules, now);
            claim.verify("secret", request, rules, Payload::Bytes(b"body")).and(checked)
        });
        assert!(judged.unwrap_err().describe(family).status >= 400);
    }
}

proptest! {
    #[test]
    fn no_header_is_believed(authorization in proptest::collection::vec(32u8..=255, 0..200), date in "\\PC{0,20}") {
        let mut headers = HeaderMap::new();
        headers.insert("host", HeaderValue::from_static("localhost"));
        if let Ok(value) = HeaderValue::from_bytes(&authorization) {
            headers.insert("authorization", value);
        }
        if let Ok(value) = HeaderValue::from_str(&date) {
            headers.insert("x-amz-date", value);
        }
        judge(&Request { method: "GET", path: "/", query: "", headers: &headers });
    }

    #[test]
    fn no_parameters_are_believed(
        credential in "[ -~]{0,60}", signed in "[a-z;:-]{0,300}", signature in "[0-9a-f]{0,70}", path in "\\PC{0,50}",
        query in "\\PC{0,80}",
    ) {
        let mut headers = HeaderMap::new();
        headers.insert("host", HeaderValue::from_static("localhost"));
        headers.insert("x-amz-date", HeaderValue::from_static("20261123T120000Z"));
        let text = format!(
            "AWS4-HMAC-SHA256 Credential={credential}/20261123/us-east-1/lambda/aws4_request, \
             SignedHeaders={signed}, Signature={signature}"
        );
        headers.insert("authorization", HeaderValue::from_str(&text).unwrap());
        judge(&Request { method: "GET", path: &path, query: &query, headers: &headers });
        headers.remove("authorization");
        let query = format!(
            "{query}&X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential={credential}&X-Amz-Date=20261123T120000Z\
             &X-Amz-SignedHeaders={signed}&X-Amz-Signature={signature}&X-Amz-Expires={signature}"
        );
        judge(&Request { method: "GET", path: &path, query: &query, headers: &headers });
    }
}
