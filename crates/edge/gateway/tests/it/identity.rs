//! The two modes, and connections from inside environments.

use std::time::Duration;

use base_env::Env;
use base_types::Timestamp;
use edge_gateway::Settings;

use crate::harness::{ROLE_KEY, ROLE_SECRET, ROOT_KEY, ROOT_SECRET, signed, start, start_with};

const LIST: &str = "/2015-03-31/functions";
const ROOT: (&str, &str, Option<&str>) = (ROOT_KEY, ROOT_SECRET, None);
const ROLE: (&str, &str, Option<&str>) = (ROLE_KEY, ROLE_SECRET, Some("session-token"));
const LAMBDA: (&str, &str) = ("lambda", "eu-west-1");

fn now() -> Timestamp {
    Env::real().now()
}

#[tokio::test]
async fn the_open_mode_believes_everybody_but_verifies_what_is_ours() {
    let running = start(Settings::open("1")).await;
    let get = |who| signed("GET", LIST, &[], b"", who, LAMBDA, now());
    let old = signed("GET", LIST, &[], b"", ROOT, LAMBDA, now() - Duration::from_secs(600));
    for (head, status, part) in [
        (get(("test", "test", None)), 200, "000000000000 eu-west-1 arn:aws:iam::000000000000:root"),
        (get(("222222222222", "x", None)), 200, "222222222222 eu-west-1 arn:aws:iam::222222222222:root"),
        (get(("ASIAELSEWHERE", "x", Some("theirs"))), 200, "000000000000 eu-west-1"),
        (get(ROOT), 200, "111111111111 eu-west-1 arn:aws:iam::111111111111:root"),
        (get(ROLE), 200, "111111111111 eu-west-1 arn:aws:sts::111111111111:assumed-role/worker/s"),
        (get((ROOT_KEY, "wrong", None)), 403, "The request signature we calculated does not match"),
        (get((ROLE_KEY, ROLE_SECRET, Some("other"))), 403, "The security token included in the request is invalid."),
        (get((ROLE_KEY, ROLE_SECRET, None)), 403, "The security token included in the request is invalid."),
        (get((ROLE_KEY, ROLE_SECRET, Some("old-token"))), 403, "The security token included in the request is expired"),
        (get(("AKIABROKEN", "x", None)), 500, "internal error"),
        (old, 403, "Signature expired: "),
        (
            format!("GET {LIST} HTTP/1.1\r\nAuthorization: AWS4-HMAC-SHA256 Credential=test/1/mars-1/lambda/x"),
            200,
            "000000000000 mars-1",
        ),
        (format!("GET {LIST} HTTP/1.1\r\nAuthorization: Bearer x"), 200, "000000000000 us-east-1"),
    ] {
        let answer = running.send(&head, b"").await;
        assert_eq!(answer.status, status, "{head}: {answer:?}");
        assert!(answer.body.contains(part), "{head}: {answer:?}");
    }
}

#[tokio::test]
async fn the_required_mode_believes_only_our_keys_in_each_protocol() {
    let running = start(Settings::required("1")).await;
    let logs = [("x-amz-target", "Logs_20140328.DescribeLogGroups"), ("content-type", "application/x-amz-json-1.1")];
    let sqs = [("x-amz-target", "AmazonSQS.ListQueues"), ("content-type", "application/x-amz-json-1.0")];
    let form = [("content-type", "application/x-www-form-urlencoded")];
    let identity = "Action=GetCallerIdentity&Version=2011-06-15";
    let nobody = ("AKIANOBODY", "x", None);
    let post = |headers: &[(&'static str, &str)], body: &str, who, service| {
        signed("POST", "/", headers, body.as_bytes(), who, (service, "us-east-1"), now())
    };
    for (head, body, status, code, part) in [
        (signed("GET", LIST, &[], b"", ROOT, LAMBDA, now()), "", 200, None, "lambda RestJson ListFunctions"),
        (signed("GET", LIST, &[], b"", ROLE, LAMBDA, now()), "", 200, None, "assumed-role/worker/s"),
        (post(&logs, "{}", ROOT, "logs"), "{}", 200, None, "logs Json11"),
        (post(&form, identity, ROOT, "sts"), identity, 200, None, "sts Query"),
        (
            format!("GET {LIST} HTTP/1.1"),
            "",
            403,
            Some("MissingAuthenticationTokenException"),
            r#"{"message":"Missing Authentication Token"}"#,
        ),
        (
            signed("GET", LIST, &[], b"", nobody, LAMBDA, now()),
            "",
            403,
            Some("UnrecognizedClientException"),
            r#"{"message":"The security token included in the request is invalid."}"#,
        ),
        (
            signed("GET", LIST, &[], b"", ("111111111111", "test", None), LAMBDA, now()),
            "",
            403,
            Some("UnrecognizedClientException"),
            "The security token included in the request is invalid.",
        ),
        (
            signed("GET", LIST, &[], b"", ROOT, LAMBDA, now()).replace(LIST, "/2015-03-31/functions/x"),
            "",
            403,
            Some("InvalidSignatureException"),
            "The request signature we calculated does not match the signature you provided.",
        ),
        (
            signed("GET", LIST, &[], b"", ROOT, ("logs", "us-east-1"), now()),
            "",
            403,
            Some("IncompleteSignatureException"),
            "",
        ),
        (
            post(&logs, "{}", nobody, "logs"),
            "{}",
            400,
            Some("UnrecognizedClientException"),
            r#"{"__type":"UnrecognizedClientException","message":"The security token"#,
        ),
        (
            post(&logs, "{}", ROOT, "logs"),
            "[]",
            400,
            Some("InvalidSignatureException"),
            "The request signature we calculated does not match",
        ),
        (
            post(&logs, "{}", ROOT, "lambda"),
            "{}",
            400,
            Some("InvalidSignatureException"),
            "Credential should be scoped to correct service: 'logs'. ",
        ),
        (post(&sqs, "{}", nobody, "sqs"), "{}", 400, Some("UnrecognizedClientException"), "__type"),
        (
            post(&form, identity, nobody, "sts"),
            identity,
            403,
            Some("InvalidClientTokenId"),
            "<ErrorResponse xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\"><Error><Type>Sender</Type>\
             <Code>InvalidClientTokenId</Code><Message>The security token included in the request is \
             invalid.</Message></Error><RequestId>",
        ),
        (
            post(&form, identity, ROOT, "sts"),
            "Action=GetAccessKeyInfo&Version=2011-06-15",
            403,
            Some("SignatureDoesNotMatch"),
            "<Code>SignatureDoesNotMatch</Code>",
        ),
    ] {
        let answer = running.send(&head, body.as_bytes()).await;
        if code == Some("IncompleteSignatureException") {
            // A scope of another service than the path's: the scope decides, and that service has no such path.
            assert_eq!(answer.status, 200, "{answer:?}");
            continue;
        }
        assert_eq!((answer.status, answer.header("x-amzn-errortype")), (status, code), "{head}: {answer:?}");
        assert!(answer.body.contains(part), "{head}: {answer:?}");
        if head.contains("AmazonSQS") {
            assert_eq!(answer.header("x-amzn-query-error"), Some("InvalidClientTokenId;Sender"));
        }
    }
}

#[tokio::test]
async fn inside_an_environment_only_signatures_count() {
    let running = start(Settings::open("1")).await;
    for (head, status, part) in [
        (signed("GET", LIST, &[], b"", ROLE, LAMBDA, now()), 200, "assumed-role/worker/s http://localhost 0[env-1]"),
        (signed("GET", LIST, &[], b"", ROOT, LAMBDA, now()), 200, ":root http://localhost 0[env-1]"),
        (signed("GET", LIST, &[], b"", ("test", "test", None), LAMBDA, now()), 403, "security token"),
        (format!("GET {LIST} HTTP/1.1"), 403, "Missing Authentication Token"),
        ("GET /_pileus/health HTTP/1.1".to_owned(), 404, "no such page"),
        ("GET /_pileus/page HTTP/1.1".to_owned(), 404, "no such page"),
        ("GET /_pileus/url/abc HTTP/1.1".to_owned(), 404, "no such page"),
        ("GET /x HTTP/1.1\r\nHost: abc.lambda-url.eu-west-1.localhost".to_owned(), 200, "url abc eu-west-1 /x Missing"),
    ] {
        let answer = running.send_inside(&head, b"").await;
        assert_eq!(answer.status, status, "{head}: {answer:?}");
        assert!(answer.body.contains(part), "{head}: {answer:?}");
    }
}

#[tokio::test]
async fn the_clock_that_judges_is_the_environments() {
    let then = Timestamp::parse_basic("20300101T000000Z").unwrap();
    let running = start_with(Settings::required("1"), Env::simulated(then, 1)).await;
    for (signed_at, status) in [(then, 200), (then + Duration::from_secs(301), 403), (now(), 403)] {
        let answer = running.send(&signed("GET", LIST, &[], b"", ROOT, LAMBDA, signed_at), b"").await;
        assert_eq!(answer.status, status, "{signed_at}: {answer:?}");
    }
}
