//! The examples that AWS publishes, and our own signer, which must reproduce them.

use std::time::Duration;

use base_types::Timestamp;
use http::HeaderMap;
use wire_sigv4::{Claim, Credentials, Payload, Request, Rules, Signer};

const SECRET: &str = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY";
const SECRET_S3: &str = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY";

fn signer(key_id: &str, secret: &str, service: &str, rules: Rules) -> Signer {
    let credentials = Credentials { key_id: key_id.into(), secret: secret.into(), token: None };
    Signer { credentials, region: "us-east-1".into(), service: service.into(), rules }
}

fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
    let mut map = HeaderMap::new();
    for (name, value) in pairs {
        map.append(*name, value.parse().unwrap());
    }
    map
}

/// The cases of AWS's Signature Version 4 test suite that a plain HTTP client can send.
#[test]
fn the_signer_reproduces_the_test_suite() {
    let host = ("host", "example.amazonaws.com");
    for (method, path, query, extra, signature) in [
        ("GET", "/", "", &[][..], "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31"),
        ("POST", "/", "", &[], "5da7c1a2acd57cee7505fc6676e4e544621c30862966e37dddb68e92efbe5d6b"),
        (
            "GET",
            "/",
            "Param2=value2&Param1=value1",
            &[],
            "b97d918cfa904a5beff61c982a1b6f458b799221646efd99d3219ec94cdf2500",
        ),
        (
            "GET",
            "/",
            "",
            &[("my-header1", " value1"), ("my-header2", " \"a   b   c\"")],
            "acc3ed3afb60bb290fc8d2dd0098b9911fcaa05412b367055dee359757a9c736",
        ),
        (
            "GET",
            "/",
            "",
            &[("my-header1", "value2"), ("my-header1", "value2"), ("my-header1", "value1")],
            "c9d5ea9f3f72853aea855b47ea873832890dbdd183b4468f858259531a5138ea",
        ),
        ("GET", "/ሴ", "", &[], "8318018e0b0f223aa2bbf98705b62bb787dc9c0e678f255a891fd03141be5d85"),
    ] {
        let mut pairs = vec![host];
        pairs.extend_from_slice(extra);
        let headers = headers(&pairs);
        let request = Request { method, path, query, headers: &headers };
        let now = Timestamp::parse_basic("20150830T123600Z").unwrap();
        let added = signer("AKIDEXAMPLE", SECRET, "service", Rules::Common).sign(&request, b"", now).unwrap();
        let authorization = added["authorization"].to_str().unwrap();
        assert!(authorization.ends_with(signature), "{method} {path}?{query}: {authorization}");
    }
}

/// "Example: presigned URL" of the S3 API Reference.
#[test]
fn the_presigned_example_of_s3_verifies() {
    let headers = headers(&[("host", "examplebucket.s3.amazonaws.com")]);
    let request = Request { method: "GET", path: "/test.txt", query: "", headers: &headers };
    let now = Timestamp::parse_basic("20130524T000000Z").unwrap();
    let signer = signer("AKIAIOSFODNN7EXAMPLE", SECRET_S3, "s3", Rules::S3);
    let query = signer.presign(&request, Duration::from_secs(86400), now);
    assert!(query.ends_with("aeeed9bbccd4d02ee5c0109b86d86835f995330da4c265957d157751f604d404"), "{query}");
    let request = Request { query: &query, ..request };
    let claim = Claim::read(&request).unwrap();
    assert_eq!(claim.check("s3", Rules::S3, now + Duration::from_secs(86400)), Ok(()));
    assert_eq!(claim.verify(SECRET_S3, &request, Rules::S3, Payload::Bytes(b"anything")), Ok(()));
}

/// "Example: GET Object" of the S3 API Reference.
#[test]
fn the_header_example_of_s3_verifies() {
    let headers = headers(&[
        ("host", "examplebucket.s3.amazonaws.com"),
        ("range", "bytes=0-9"),
        ("x-amz-content-sha256", "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"),
        ("x-amz-date", "20130524T000000Z"),
        (
            "authorization",
            "AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20130524/us-east-1/s3/aws4_request,SignedHeaders=host;\
             range;x-amz-content-sha256;x-amz-date,\
             Signature=f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41",
        ),
    ]);
    let request = Request { method: "GET", path: "/test.txt", query: "", headers: &headers };
    let claim = Claim::read(&request).unwrap();
    assert_eq!(claim.check("s3", Rules::S3, Timestamp::parse_basic("20130524T001000Z").unwrap()), Ok(()));
    assert_eq!(claim.verify(SECRET_S3, &request, Rules::S3, Payload::Bytes(b"")), Ok(()));
}
