//! Which service answers, and AWS's errors for what nobody serves.

use edge_gateway::Settings;

use crate::harness::start;

const SCOPE: &str = "Authorization: AWS4-HMAC-SHA256 Credential=111111111111/20261123/eu-west-1";

#[tokio::test]
async fn each_way_of_naming_a_service_reaches_it() {
    let running = start(Settings::open("1")).await;
    let home = "000000000000 us-east-1 arn:aws:iam::000000000000:root http://localhost";
    let abroad = "111111111111 eu-west-1 arn:aws:iam::111111111111:root http://localhost";
    let form = "Content-Type: application/x-www-form-urlencoded";
    for (head, body, expected) in [
        ("GET /2015-03-31/functions HTTP/1.1".to_owned(), "", format!("lambda RestJson ListFunctions {home} 0[]")),
        (
            "POST /2015-03-31/functions/f%2Fg/invocations HTTP/1.1".to_owned(),
            "{}",
            format!("lambda RestJson Invoke {home} 2[]"),
        ),
        (
            format!("GET /2015-03-31/functions/ HTTP/1.1\r\n{SCOPE}/lambda/aws4_request"),
            "",
            format!("lambda RestJson ListFunctions {abroad} 0[]"),
        ),
        (
            format!("GET /no/such/path HTTP/1.1\r\n{SCOPE}/lambda/aws4_request"),
            "",
            format!("lambda RestJson ? {abroad} 0[]"),
        ),
        (
            "POST / HTTP/1.1\r\nX-Amz-Target: Logs_20140328.DescribeLogGroups\r\n\
             Content-Type: application/x-amz-json-1.1"
                .to_owned(),
            "{}",
            format!("logs Json11 DescribeLogGroups {home} 2[]"),
        ),
        (
            "POST / HTTP/1.1\r\nX-Amz-Target: AmazonSQS.SendMessage\r\nContent-Type: application/x-amz-json-1.0"
                .to_owned(),
            "{}",
            format!("sqs Json10 SendMessage {home} 2[]"),
        ),
        (
            format!("POST / HTTP/1.1\r\n{form}"),
            "Action=GetCallerIdentity&Version=2011-06-15",
            format!("sts Query GetCallerIdentity {home} 43[]"),
        ),
        (
            "GET /?Action=GetCallerIdentity&Version=2011-06-15 HTTP/1.1".to_owned(),
            "",
            format!("sts Query GetCallerIdentity {home} 0[]"),
        ),
        (
            format!("POST / HTTP/1.1\r\n{form}\r\n{SCOPE}/sqs/aws4_request"),
            "Action=ListQueues",
            format!("sqs Query ? {abroad} 17[]"),
        ),
        (
            format!("POST / HTTP/1.1\r\n{form}"),
            "Action=ListQueues&Version=2012-11-05",
            format!("sqs Query ListQueues {home} 36[]"),
        ),
        (
            format!("POST / HTTP/1.1\r\n{form}\r\nHost: sts.eu-west-1.localhost:4566"),
            "Action=GetCallerIdentity",
            "sts Query ? 000000000000 eu-west-1 arn:aws:iam::000000000000:root http://sts.eu-west-1.localhost:4566 \
             24[]"
                .to_owned(),
        ),
    ] {
        let answer = running.send(&head, body.as_bytes()).await;
        assert_eq!((answer.status, &*answer.body), (200, &*expected), "{head}");
        assert_eq!(answer.header("x-amzn-requestid").map(str::len), Some(36));
        assert_eq!(answer.header("access-control-allow-origin"), None);
    }
}

#[tokio::test]
async fn what_nobody_serves_is_answered_with_an_error_that_names_it() {
    let running = start(Settings::open("1")).await;
    for (head, body, status, part) in [
        (format!("GET / HTTP/1.1\r\n{SCOPE}/dynamodb/aws4_request"), "", 501, "`dynamodb` is not served"),
        (
            format!("GET /bucket HTTP/1.1\r\n{SCOPE}/s3/aws4_request"),
            "",
            501,
            "<Code>NotImplemented</Code><Message>The service `s3` is",
        ),
        (
            format!("GET /2015-03-31/functions HTTP/1.1\r\n{SCOPE}/dynamodb/aws4_request"),
            "",
            501,
            "`dynamodb` is not served",
        ),
        (
            "POST / HTTP/1.1\r\nX-Amz-Target: DynamoDB_20120810.ListTables".to_owned(),
            "{}",
            400,
            r#"{"__type":"UnknownOperationException","message":"Pileus does not serve `DynamoDB_20120810` (yet)."}"#,
        ),
        (
            format!("POST / HTTP/1.1\r\n{SCOPE}/iam/aws4_request\r\nContent-Type: application/x-www-form-urlencoded"),
            "Action=ListUsers&Version=2010-05-08",
            501,
            "<ErrorResponse><Error><Type>Sender</Type><Code>NotImplemented</Code><Message>The service `iam` is not",
        ),
        ("GET / HTTP/1.1".to_owned(), "", 404, "The request names no service"),
        ("GET /2015-03-31/nothing HTTP/1.1".to_owned(), "", 404, "The request names no service"),
        (
            "POST / HTTP/1.1\r\nContent-Type: application/x-www-form-urlencoded".to_owned(),
            "Action=RunInstances&Version=2016-11-15",
            400,
            "<Code>InvalidAction</Code><Message>The action RunInstances is not valid for this web service",
        ),
        (
            "POST / HTTP/1.1\r\nContent-Type: application/x-www-form-urlencoded".to_owned(),
            "a=b",
            400,
            "must contain the parameter Action",
        ),
    ] {
        let answer = running.send(&head, body.as_bytes()).await;
        assert_eq!(answer.status, status, "{head}: {answer:?}");
        assert!(answer.body.contains(part), "{head}: {answer:?}");
        assert!(answer.header("x-amzn-requestid").is_some());
    }
}

#[tokio::test]
async fn a_panic_is_an_error_of_one_request_and_a_stream_arrives_whole() {
    let running = start(Settings::open("1")).await;
    let lambda = format!("{SCOPE}/lambda/aws4_request");
    let answer = running.send(&format!("GET /panic HTTP/1.1\r\n{lambda}"), b"").await;
    assert_eq!(answer.status, 500, "{answer:?}");
    assert!(answer.body.contains("InternalFailure") && !answer.body.contains("told"), "{answer:?}");
    let answer = running.send(&format!("GET /stream HTTP/1.1\r\n{lambda}"), b"").await;
    assert_eq!(answer.status, 200);
    assert!(["one ", "two ", "three"].iter().all(|piece| answer.body.contains(piece)), "{answer:?}");
}
