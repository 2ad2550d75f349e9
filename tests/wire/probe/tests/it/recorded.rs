//! Messages that AWS was recorded to give, and the forms of errors in each protocol.

use model_lambda::Api as Lambda;
use model_logs::Api as Logs;
use model_sqs::Api as Sqs;
use model_sts::Api as Sts;

use crate::{head, read, refusal};

const FUNCTIONS: &str = "/2015-03-31/functions";

/// A create request that is valid but for what is replaced.
fn create(from: &str, to: &str) -> String {
    let valid = r#"{"FunctionName":"hello","Runtime":"python3.11","Handler":"a.b","Role":"arn:aws:iam::000000000000:role/any","Code":{"ZipFile":"UEsFBg=="}}"#;
    assert!(valid.contains(from), "{from}");
    valid.replace(from, to)
}

#[test]
fn lambda_says_what_aws_says_of_members_in_the_document() {
    let function_pattern = r"(arn:(aws[a-zA-Z-]*)?:lambda:)?((eusc-)?[a-z]{2}((-gov)|(-iso([a-z]?)))?-[a-z]+-\d{1}:)?(\d{12}:)?(function:)?([a-zA-Z0-9-_]+)(:(\$LATEST|[a-zA-Z0-9-_]+))?";
    for (from, to, message) in [
        (
            r#""hello""#,
            r#""invalid:function:name""#,
            format!(
                "Value 'invalid:function:name' at 'functionName' failed to satisfy constraint: Member must satisfy \
                 regular expression pattern: {function_pattern}"
            ),
        ),
        (
            "arn:aws:iam::000000000000:role/any",
            "r1",
            r"Value 'r1' at 'role' failed to satisfy constraint: Member must satisfy regular expression pattern: arn:(aws[a-zA-Z-]*)?:iam::\d{12}:role/?[a-zA-Z_0-9+=,.@\-_/]+".to_owned(),
        ),
        (
            r#"{"FunctionName""#,
            r#"{"Architectures":["x86_64","arm64"],"FunctionName""#,
            "Value '[x86_64, arm64]' at 'architectures' failed to satisfy constraint: Member must have length less than \
             or equal to 1"
                .to_owned(),
        ),
        (
            r#"{"FunctionName""#,
            r#"{"Architectures":["X86_64"],"FunctionName""#,
            "Value '[X86_64]' at 'architectures' failed to satisfy constraint: Member must satisfy constraint: [Member \
             must satisfy enum value set: [x86_64, arm64], Member must not be null]"
                .to_owned(),
        ),
        (
            r#"{"FunctionName""#,
            r#"{"VpcConfig":{"SubnetIds":["bad"]},"FunctionName""#,
            "Value '[bad]' at 'vpcConfig.subnetIds' failed to satisfy constraint: Member must satisfy constraint: [Member \
             must have length less than or equal to 1024, Member must have length greater than or equal to 0, Member must \
             satisfy regular expression pattern: subnet-[0-9a-z]*]"
                .to_owned(),
        ),
        (
            r#"{"FunctionName""#,
            r#"{"Environment":{"Variables":{"1":"x"}},"FunctionName""#,
            "Value at 'environment.variables' failed to satisfy constraint: Map keys must satisfy constraint: [Member \
             must satisfy regular expression pattern: [a-zA-Z]([a-zA-Z0-9_])+]"
                .to_owned(),
        ),
        (
            r#"{"FunctionName""#,
            r#"{"Timeout":0,"MemorySize":127,"FunctionName""#,
            String::new(),
        ),
    ] {
        let parts = head("POST", FUNCTIONS, &[("content-type", "application/json")]);
        let Err(refused) = read::<Lambda>(&parts, create(from, to)) else { panic!("{to} was read") };
        assert_eq!((refused.response.status().as_u16(), refused.response.headers()["x-amzn-errortype"].to_str().unwrap()), (400, "ValidationException"));
        let said = wire_schema::ServiceError::message(&refused.error).to_owned();
        if message.is_empty() {
            assert!(said.starts_with("2 validation errors detected: Value '0' at 'timeout' failed"), "{said}");
            assert!(said.contains("; Value '127' at 'memorySize' failed to satisfy constraint: Member must have value greater than or equal to 128"), "{said}");
        } else {
            assert_eq!(said, format!("1 validation error detected: {message}"));
        }
    }
    let parts = head("POST", FUNCTIONS, &[]);
    assert!(read::<Lambda>(&parts, create("hello", "hello")).is_ok());
}

#[test]
fn lambda_says_what_aws_says_of_members_elsewhere() {
    for (method, uri, message) in [
        (
            "DELETE",
            "/2017-03-31/tags/arn%3Aaws%3Alambda%3Aus-east-1%3A111111111111%3Afunction%3Af",
            "Value null at 'tagKeys' failed to satisfy constraint: Member must not be null",
        ),
        (
            "GET",
            "/2015-03-31/functions?FunctionVersion=invalid",
            "Value 'invalid' at 'functionVersion' failed to satisfy constraint: Member must satisfy enum value set: [ALL]",
        ),
        (
            "GET",
            "/2021-10-31/functions/f/url?Qualifier=1",
            r"Value '1' at 'qualifier' failed to satisfy constraint: Member must satisfy regular expression pattern: ((?!^\d+$)^[0-9a-zA-Z-_]+$)",
        ),
        (
            "GET",
            "/2015-03-31/functions/f/policy?Qualifier=invalid-qualifier-with-%3F-char",
            r"Value 'invalid-qualifier-with-?-char' at 'qualifier' failed to satisfy constraint: Member must satisfy regular expression pattern: \$(LATEST(\.PUBLISHED)?)|[a-zA-Z0-9-_$]+",
        ),
    ] {
        let (status, name, body) = refusal::<Lambda>(&head(method, uri, &[]), "");
        assert_eq!((status, name.as_str()), (400, "ValidationException"), "{uri}");
        let body: serde_json::Value = serde_json::from_str(&body).unwrap();
        assert_eq!(body["message"], format!("1 validation error detected: {message}"), "{uri}");
    }
    let (_, _, body) = refusal::<Lambda>(
        &head("POST", "/2015-03-31/functions/f/aliases", &[]),
        r#"{"Name":"2024","FunctionVersion":"1"}"#,
    );
    assert_eq!(
        body,
        r#"{"message":"1 validation error detected: Value '2024' at 'name' failed to satisfy constraint: Member must satisfy regular expression pattern: (?!^[0-9]+$)([a-zA-Z0-9-_]+)"}"#
    );
}

#[test]
fn each_protocol_has_its_own_form_of_error() {
    let logs = [("content-type", "application/x-amz-json-1.1"), ("x-amz-target", "Logs_20140328.GetLogEvents")];
    assert_eq!(
        refusal::<Logs>(&head("POST", "/", &logs), r#"{"logStreamName":"s","limit":10001}"#),
        (
            400,
            String::new(),
            r#"{"__type":"InvalidParameterException","message":"1 validation error detected: Value '10001' at 'limit' failed to satisfy constraint: Member must have value less than or equal to 10000"}"#.to_owned()
        )
    );
    let sqs = [("content-type", "application/x-amz-json-1.0"), ("x-amz-target", "AmazonSQS.SendMessage")];
    let Err(refused) = read::<Sqs>(&head("POST", "/", &sqs), r#"{"QueueUrl":"q"}"#) else { panic!("read") };
    assert_eq!(refused.response.headers()["x-amzn-query-error"], "MissingParameter;Sender");
    assert_eq!(
        refused.response.body().whole().unwrap(),
        r#"{"__type":"com.amazonaws.sqs#MissingRequiredParameterException","message":"The request must contain the parameter MessageBody."}"#
    );
    let form = [("content-type", "application/x-www-form-urlencoded; charset=utf-8")];
    let (status, _, body) =
        refusal::<Sqs>(&head("POST", "/", &form), "Action=SendMessage&Version=2012-11-05&QueueUrl=q");
    assert_eq!(status, 400);
    assert_eq!(
        body,
        "<?xml version=\"1.0\"?>\n<ErrorResponse xmlns=\"http://queue.amazonaws.com/doc/2012-11-05/\"><Error><Type>Sender\
         </Type><Code>MissingParameter</Code><Message>The request must contain the parameter MessageBody.</Message>\
         <Detail/></Error><RequestId>request-1</RequestId></ErrorResponse>"
    );
    let (status, _, body) = refusal::<Sts>(&head("POST", "/", &form), "Action=Nope&Version=2011-06-15");
    assert_eq!(status, 400);
    assert!(
        body.contains(
            "<Code>InvalidAction</Code><Message>Could not find operation Nope for version 2011-06-15</Message>"
        )
    );
}

#[test]
fn an_unsupported_member_is_named_unless_it_changes_nothing() {
    let parts = head("POST", FUNCTIONS, &[]);
    let (status, name, body) = refusal::<Lambda>(&parts, create(r#""ZipFile":"UEsFBg==""#, r#""ImageUri":"x""#));
    assert_eq!((status, name.as_str()), (501, "NotImplementedException"));
    assert_eq!(
        body,
        r#"{"Type":"User","Message":"Pileus does not support the parameter Code.ImageUri of CreateFunction yet."}"#
    );
    // What Terraform and SAM send by default.
    let defaults = r#"{"VpcConfig":{"SubnetIds":[],"SecurityGroupIds":[]},"TracingConfig":{"Mode":"PassThrough"},"Layers":[],"SnapStart":{"ApplyOn":"None"},"PackageType":"Zip","LoggingConfig":{"LogFormat":"Text"},"FunctionName""#;
    assert!(read::<Lambda>(&parts, create(r#"{"FunctionName""#, defaults)).is_ok());
}
