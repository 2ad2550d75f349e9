//! Reading, refusing and writing documents.

use lang_policy::{Condition, Effect, Kind, Matcher, Policy, PrincipalKind, Principals, Statement};

/// The statement of an AddPermission for a bucket, as AWS's answer was recorded.
#[test]
fn a_function_policy_is_written_as_lambda_writes_it() {
    let function = "arn:aws:lambda:us-east-1:111111111111:function:hello";
    let mut policy = Policy::of_resource();
    policy.statements.push(Statement {
        sid: Some("s3".into()),
        effect: Effect::Allow,
        principals: Some(Principals::one(PrincipalKind::Service, "s3.amazonaws.com")),
        actions: Matcher::one("lambda:InvokeFunction"),
        resources: Some(Matcher::one(function)),
        conditions: vec![Condition::new("ArnLike", "AWS:SourceArn", "arn:aws:s3:::bucket").unwrap()],
    });
    policy.statements.push(Statement {
        sid: Some("urlPermission".into()),
        effect: Effect::Allow,
        principals: Some(Principals::everyone()),
        actions: Matcher::one("lambda:InvokeFunctionUrl"),
        resources: Some(Matcher::one(function)),
        conditions: vec![
            Condition::new("StringEquals", "AWS:SourceAccount", "111111111111").unwrap(),
            Condition::new("ArnLike", "AWS:SourceArn", "arn:aws:s3:::bucket").unwrap(),
            Condition::new("StringEquals", "lambda:FunctionUrlAuthType", "NONE").unwrap(),
        ],
    });
    let text = policy.to_json();
    assert_eq!(
        text,
        r#"{"Version":"2012-10-17","Id":"default","Statement":[{"Sid":"s3","Effect":"Allow","Principal":{"Service":"s3.amazonaws.com"},"Action":"lambda:InvokeFunction","Resource":"arn:aws:lambda:us-east-1:111111111111:function:hello","Condition":{"ArnLike":{"AWS:SourceArn":"arn:aws:s3:::bucket"}}},{"Sid":"urlPermission","Effect":"Allow","Principal":"*","Action":"lambda:InvokeFunctionUrl","Resource":"arn:aws:lambda:us-east-1:111111111111:function:hello","Condition":{"StringEquals":{"AWS:SourceAccount":"111111111111","lambda:FunctionUrlAuthType":"NONE"},"ArnLike":{"AWS:SourceArn":"arn:aws:s3:::bucket"}}}]}"#
    );
    let again = Policy::parse(&text, Kind::Resource).unwrap();
    assert_eq!(again.to_json().len(), text.len());
    assert_eq!(again.statements[0], policy.statements[0]);
}

#[test]
fn every_form_of_a_document_reads_and_is_written_canonically() {
    for (kind, text, written) in [
        (
            Kind::Identity,
            r#"{"Statement": {"Effect": "Allow", "Action": ["s3:*"], "Resource": "*"}}"#,
            r#"{"Version":"2008-10-17","Statement":[{"Effect":"Allow","Action":"s3:*","Resource":"*"}]}"#,
        ),
        (
            Kind::Resource,
            r#"{"Version":"2012-10-17","Statement":[{"Sid":"a\"\n\u0001","Effect":"Deny",
                "NotPrincipal":{"AWS":["111111111111","222222222222"],"Service":"x.amazonaws.com"},
                "NotAction":["a:b","a:c"],"NotResource":"arn:aws:s3:::b"}]}"#,
            r#"{"Version":"2012-10-17","Statement":[{"Sid":"a\"\n\u0001","Effect":"Deny","NotPrincipal":{"AWS":["111111111111","222222222222"],"Service":"x.amazonaws.com"},"NotAction":["a:b","a:c"],"NotResource":"arn:aws:s3:::b"}]}"#,
        ),
        (
            Kind::Trust,
            r#"{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"Service":"lambda.amazonaws.com"},
                "Action":"sts:AssumeRole","Condition":{"NumericLessThan":{"a:b":5},"Bool":{"a:c":true},
                "ForAllValues:StringLikeIfExists":{"a:d":["x*","y"]},"Null":{"a:e":"false"}}}]}"#,
            r#"{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"Service":"lambda.amazonaws.com"},"Action":"sts:AssumeRole","Condition":{"NumericLessThan":{"a:b":"5"},"Bool":{"a:c":"true"},"ForAllValues:StringLikeIfExists":{"a:d":["x*","y"]},"Null":{"a:e":"false"}}}]}"#,
        ),
    ] {
        let policy = Policy::parse(text, kind).unwrap();
        assert_eq!(policy.to_json(), written);
        assert_eq!(Policy::parse(written, kind).unwrap(), policy);
    }
}

#[test]
fn what_is_no_policy_is_refused_with_its_reason() {
    let whole = |statement: &str| format!(r#"{{"Version":"2012-10-17","Statement":[{{{statement}}}]}}"#);
    let base = r#""Effect":"Allow","Action":"a:b","Resource":"*""#;
    for (kind, text, expected) in [
        (Kind::Identity, "[]".to_owned(), "the policy is not valid JSON: an object is due, not an array"),
        (Kind::Identity, "{".to_owned(), "the policy is not valid JSON: EOF"),
        (Kind::Identity, "{}".to_owned(), "`Statement` must hold at least one statement"),
        (Kind::Identity, r#"{"Statement":[]}"#.to_owned(), "`Statement` must hold at least one statement"),
        (Kind::Identity, r#"{"Version":"2012-10-18"}"#.to_owned(), "`Version` must be `2012-10-17` or `2008-10-17`"),
        (Kind::Identity, r#"{"Statements":[]}"#.to_owned(), "`Statements` is not a member of a policy"),
        (
            Kind::Identity,
            whole(r#""Effect":"Allow","Effect":"Deny""#),
            "the policy is not valid JSON: member `Effect` s",
        ),
        (Kind::Identity, whole(r#""Effect":"allow","Action":"*""#), "`Statement[0].Effect` must be `Allow` or `Deny`"),
        (Kind::Identity, whole(r#""Action":"*","Resource":"*""#), "`Statement[0]` must have an Effect"),
        (Kind::Identity, whole(r#""Effect":"Allow","Resource":"*""#), "`Statement[0]` must have an Action"),
        (Kind::Identity, whole(r#""Effect":"Allow","Action":"*""#), "`Statement[0]` must name a resource"),
        (Kind::Identity, whole(&format!(r#"{base},"Principal":"*""#)), "`Statement[0]` must not name a principal"),
        (Kind::Resource, whole(base), "`Statement[0]` must name a principal"),
        (Kind::Trust, whole(&format!(r#"{base},"Principal":"*""#)), "`Statement[0]` must not name a resource"),
        (Kind::Resource, whole(r#""Principal":"ada""#), "`Statement[0].Principal` must be `*` or an object"),
        (Kind::Resource, whole(r#""Principal":{"Aws":"*"}"#), "`Statement[0].Principal` knows AWS, Service"),
        (Kind::Identity, whole(r#""Action":"everything""#), "`Statement[0].Action` must name a service and an action"),
        (Kind::Identity, whole(r#""Action":[]"#), "`Statement[0].Action` must not be empty"),
        (Kind::Identity, whole(r#""Action":"*","NotAction":"*""#), "`Statement[0].NotAction` stands beside its opp"),
        (Kind::Identity, whole(r#""Resource":"bucket""#), "`Statement[0].Resource` must hold ARNs or `*`"),
        (Kind::Identity, whole(r#""Conditions":{}"#), "`Statement[0].Conditions` is not a member of a statement"),
        (
            Kind::Identity,
            whole(r#""Condition":{"StringIs":{}}"#),
            "`Statement[0].Condition.StringIs` is not a condition",
        ),
        (Kind::Identity, whole(r#""Condition":{"NullIfExists":{}}"#), "`Statement[0].Condition.NullIfExists` is not"),
        (
            Kind::Identity,
            whole(r#""Condition":{"IpAddress":{"aws:SourceIp":"10.0.0.0/33"}}"#),
            "`Statement[0].Condition.IpAddress` compares `aws:SourceIp` with an address or a CIDR block",
        ),
        (
            Kind::Identity,
            whole(r#""Condition":{"Bool":{"a:b":{}}}"#),
            "`Statement[0].Condition.Bool.a:b` must be a str",
        ),
        (
            Kind::Identity,
            format!(r#"{{"Statement":[{{"Sid":"x",{base}}},{{"Sid":"x",{base}}}]}}"#),
            "`Statement` has the Sid `x` twice",
        ),
        (Kind::Identity, format!("\"{}\"", "x".repeat(40_000)), "the policy has 40002 bytes, at most 32768 are read"),
        (Kind::Identity, "[".repeat(20_000), "the policy is not valid JSON: recursion limit exceeded"),
    ] {
        let error = Policy::parse(&text, kind).unwrap_err().to_string();
        assert!(error.starts_with(expected), "{error}\n{expected}");
    }
}
