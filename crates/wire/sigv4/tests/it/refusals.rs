//! Each defect of a signature has AWS's answer.

use base_types::Timestamp;
use http::HeaderMap;
use wire_sigv4::{Claim, Credentials, Family, Payload, Request, Rules, Signer};

const DATE: &str = "20261123T120000Z";
const GOOD: &str = "AWS4-HMAC-SHA256 Credential=AKID/20261123/us-east-1/lambda/aws4_request, \
                    SignedHeaders=host;x-amz-date, Signature=00";

/// What the verifier of the Lambda service answers at `now` to an `Authorization` header and a query.
fn answer(authorization: Option<&str>, query: &str, date: Option<&str>, now: &str) -> String {
    let mut headers = HeaderMap::new();
    headers.insert("host", "localhost".parse().unwrap());
    if let Some(text) = authorization {
        headers.insert("authorization", text.parse().unwrap());
    }
    if let Some(text) = date {
        headers.insert("x-amz-date", text.parse().unwrap());
    }
    let request = Request { method: "GET", path: "/", query, headers: &headers };
    let judged = Claim::read(&request).and_then(|claim| {
        claim.check("lambda", Rules::Common, Timestamp::parse_basic(now).unwrap())?;
        claim.verify("secret", &request, Rules::Common, Payload::Bytes(b""))
    });
    let denial = judged.unwrap_err().describe(Family::RestJson);
    format!("{} {}: {}", denial.status, denial.code, denial.message)
}

#[test]
fn header_defects_have_their_answers() {
    let header = |text: &str| answer(Some(text), "", Some(DATE), DATE);
    let scoped = |scope: &str| header(&GOOD.replace("20261123/us-east-1/lambda/aws4_request", scope));
    for (got, expected) in [
        (answer(None, "", None, DATE), "403 MissingAuthenticationTokenException: Missing Authentication Token"),
        (header(GOOD), "403 InvalidSignatureException: The request signature we calculated does not match"),
        (header("Bearer abc"), "403 IncompleteSignatureException: Invalid key=value pair (missing equal-sign) in"),
        (header("AWS4-HMAC-SHA256 what"), "403 IncompleteSignatureException: Invalid key=value pair (missing equal"),
        (header("AWS4-HMAC-SHA1 a=b"), "403 IncompleteSignatureException: Unsupported AWS 'algorithm': 'AWS4-HMAC-SH"),
        (
            header("AWS4-HMAC-SHA256 Credential=a"),
            "403 IncompleteSignatureException: Authorization header requires 'Signature' parameter. Authorization \
             header requires 'SignedHeaders' parameter. (Hashed with SHA-256",
        ),
        (
            answer(Some(GOOD), "", None, DATE),
            "403 IncompleteSignatureException: Authorization header requires existence of either a 'X-Amz-Date' or a",
        ),
        (
            scoped("us-east-1/lambda/aws4_request"),
            "403 IncompleteSignatureException: Credential must have exactly 5 slash-delimited elements, e.g. \
             keyid/date/region/service/term, got 'AKID/us-east-1/lambda/aws4_request'",
        ),
        (
            scoped("20261123/us-east-1/logs/aws4_request"),
            "403 InvalidSignatureException: Credential should be scoped to correct service: 'lambda'. ",
        ),
        (
            scoped("20261123/US EAST/lambda/aws4_request").replace("US", ""),
            "403 IncompleteSignatureException: Invalid key=value pair",
        ),
        (
            scoped("20261123/US_EAST/lambda/aws4_request"),
            "403 InvalidSignatureException: Credential should be scoped to a valid region, not 'US_EAST'. ",
        ),
        (
            scoped("20261122/us-east-1/lambda/aws3_request"),
            "403 InvalidSignatureException: Credential should be scoped with a valid terminator: 'aws4_request', not \
             'aws3_request'. Date in Credential scope does not match YYYYMMDD from ISO-8601 version of date from \
             HTTP: '20261122' != '20261123', from '20261123T120000Z'. ",
        ),
        (
            header(&GOOD.replace("host;", "")),
            "403 InvalidSignatureException: 'Host' or ':authority' must be a 'SignedHeader' in the AWS Authorization.",
        ),
        (
            answer(Some(GOOD), "", Some("201"), DATE),
            "403 IncompleteSignatureException: Date must be in ISO-8601 'basic format'. Got '201'. See \
             http://en.wikipedia.org/wiki/ISO_8601",
        ),
        (
            answer(Some(GOOD), "", Some(DATE), "20261123T120501Z"),
            "403 InvalidSignatureException: Signature expired: 20261123T120000Z is now earlier than 20261123T120001Z \
             (20261123T120501Z - 5 min.)",
        ),
        (
            answer(Some(GOOD), "", Some(DATE), "20261123T115459Z"),
            "403 InvalidSignatureException: Signature not yet current: 20261123T120000Z is still later than \
             20261123T115959Z (20261123T115459Z + 5 min.)",
        ),
        (
            answer(Some(GOOD), "X-Amz-Algorithm=AWS4-HMAC-SHA256", Some(DATE), DATE),
            "403 InvalidSignatureException: Found both 'X-Amz-Algorithm' as a query-string param and 'Authorization'",
        ),
    ] {
        assert!(got.starts_with(expected), "{got}\n{expected}");
    }
}

#[test]
fn presigned_defects_have_their_answers() {
    let full = "X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=AKID%2F20261123%2Fus-east-1%2Flambda%2Faws4_request\
                &X-Amz-Date=20261123T120000Z&X-Amz-Expires=60&X-Amz-SignedHeaders=host&X-Amz-Signature=00";
    for (query, now, expected) in [
        (full.to_owned(), DATE, "403 InvalidSignatureException: The request signature we calculated"),
        (
            full.to_owned(),
            "20261123T120101Z",
            "403 InvalidSignatureException: Signature expired: 20261123T120000Z is now earlier than \
             20261123T120001Z (20261123T120101Z - 1 min.)",
        ),
        (full.replace("=60", "=604801"), DATE, "403 IncompleteSignatureException: X-Amz-Expires must be less than"),
        (full.replace("=60", "=x"), DATE, "403 IncompleteSignatureException: X-Amz-Expires should be a number"),
        (
            full.replace("&X-Amz-Signature=00", ""),
            DATE,
            "403 IncompleteSignatureException: AWS query-string parameters must include 'X-Amz-Signature'. \
             Re-examine the query-string parameters.",
        ),
        (
            format!("{full}&X-Amz-Credential=OTHER%2F20261123%2Fus-east-1%2Flambda%2Faws4_request"),
            DATE,
            "403 IncompleteSignatureException: AWS query-string parameters must include 'X-Amz-Credential' only once.",
        ),
    ] {
        let got = answer(None, &query, None, now);
        assert!(got.starts_with(expected), "{got}\n{expected}");
    }
}

/// A captured request must not be turned into another operation; S3 wants every `x-amz-` header signed.
#[test]
fn headers_that_steer_must_be_signed() {
    for (service, rules, header, expected) in [
        ("logs", Rules::Common, "x-amz-target", Some("x-amz-target")),
        ("logs", Rules::Common, "x-amz-other", None),
        ("s3", Rules::S3, "x-amz-copy-source", Some("x-amz-copy-source")),
        ("s3", Rules::S3, "x-custom", None),
    ] {
        let credentials = Credentials { key_id: "AKID".into(), secret: "secret".into(), token: None };
        let signer = Signer { credentials, region: "us-east-1".into(), service: service.into(), rules };
        let mut headers = HeaderMap::new();
        headers.insert("host", "localhost".parse().unwrap());
        let request = Request { method: "POST", path: "/", query: "", headers: &headers };
        let now = Timestamp::parse_basic(DATE).unwrap();
        let mut all = signer.sign(&request, b"", now).unwrap();
        all.extend(headers.clone());
        all.insert(http::HeaderName::from_static(header), "added.afterwards".parse().unwrap());
        let request = Request { headers: &all, ..request };
        let judged = Claim::read(&request).unwrap().verify("secret", &request, rules, Payload::Bytes(b""));
        let expected = expected.map_or(Ok(()), |name| Err(wire_sigv4::SignatureError::UnsignedHeaders(name.into())));
        assert_eq!(judged, expected, "{service} {header}");
    }
}

#[test]
fn a_payload_signed_in_chunks_is_refused_by_name() {
    let mut headers = HeaderMap::new();
    headers.insert("host", "localhost".parse().unwrap());
    headers.insert("x-amz-date", DATE.parse().unwrap());
    headers.insert("x-amz-content-sha256", "STREAMING-UNSIGNED-PAYLOAD-TRAILER".parse().unwrap());
    headers.insert("authorization", GOOD.parse().unwrap());
    let request = Request { method: "PUT", path: "/", query: "", headers: &headers };
    let judged = Claim::read(&request).unwrap().verify("secret", &request, Rules::S3, Payload::Bytes(b""));
    let denial = judged.unwrap_err().describe(Family::S3);
    assert_eq!((denial.code, denial.status), ("NotImplemented", 501));
    assert_eq!(denial.message, "`STREAMING-UNSIGNED-PAYLOAD-TRAILER` is not supported here.");
}
