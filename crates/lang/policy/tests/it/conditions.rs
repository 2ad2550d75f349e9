//! Every operator, with the key present, absent and many-valued.

use base_types::AccountId;
use lang_policy::{Access, Caller, Context, Kind, Policy, Request};

/// Whether an identity policy with this condition block permits a request with these keys.
fn holds(condition: &str, keys: &[(&str, &str)]) -> bool {
    let text = format!(
        r#"{{"Version":"2012-10-17","Statement":[{{"Effect":"Allow","Action":"*","Resource":"*","Condition":{condition}}}]}}"#
    );
    let policy = Policy::parse(&text, Kind::Identity).unwrap();
    let account = AccountId::DEFAULT;
    let caller = Caller::User { account, arn: "arn:aws:iam::000000000000:user/ada".into() };
    let mut context = Context::new();
    for (key, value) in keys {
        context.add(key, *value);
    }
    let request = Request { caller: &caller, action: "s3:GetObject", resource: "arn:aws:s3:::b/k", context: &context };
    Access { identity: &[&policy], limits: &[], resource: None, owner: account }.decide(&request).is_allowed()
}

#[test]
fn each_operator_compares_as_documented() {
    for (operator, wanted, value, expected) in [
        ("StringEquals", "\"a\"", "a", true),
        ("StringEquals", "\"a\"", "A", false),
        ("StringEquals", "\"a*\"", "ab", false),
        ("StringEquals", "[\"a\",\"b\"]", "b", true),
        ("StringNotEquals", "[\"a\",\"b\"]", "b", false),
        ("StringNotEquals", "[\"a\",\"b\"]", "c", true),
        ("StringEqualsIgnoreCase", "\"ÄB\"", "äb", true),
        ("StringNotEqualsIgnoreCase", "\"AB\"", "ab", false),
        ("StringLike", "\"a*c?\"", "abbcd", true),
        ("StringLike", "\"a*\"", "b", false),
        ("StringNotLike", "\"a*\"", "b", true),
        ("NumericEquals", "5", "5.0", true),
        ("NumericNotEquals", "5", "6", true),
        ("NumericLessThan", "5", "4.9", true),
        ("NumericLessThan", "5", "5", false),
        ("NumericLessThanEquals", "5", "5", true),
        ("NumericGreaterThan", "\"5\"", "5.1", true),
        ("NumericGreaterThanEquals", "5", "4", false),
        ("NumericLessThan", "5", "many", false),
        ("DateEquals", "\"2026-11-23\"", "2026-11-23T00:00:00Z", true),
        ("DateNotEquals", "\"2026-11-23\"", "2026-11-24", true),
        ("DateLessThan", "\"2026-11-23T12:00:00Z\"", "2026-11-23T13:00:00+02:00", true),
        ("DateLessThanEquals", "\"1795435200\"", "2026-11-23T12:00:00Z", true),
        ("DateGreaterThan", "\"2026-11-23\"", "2026-11-22T23:59:59Z", false),
        ("DateGreaterThanEquals", "\"2026-11-23\"", "2026-11-23", true),
        ("Bool", "true", "True", true),
        ("Bool", "\"false\"", "true", false),
        ("BinaryEquals", "\"QQ==\"", "QQ==", true),
        ("BinaryEquals", "\"QQ==\"", "Qg==", false),
        ("IpAddress", "\"10.1.0.0/16\"", "10.1.2.3", true),
        ("IpAddress", "\"10.1.0.0/16\"", "10.2.0.0", false),
        ("IpAddress", "\"10.1.2.3\"", "10.1.2.3", true),
        ("IpAddress", "\"0.0.0.0/0\"", "8.8.8.8", true),
        ("IpAddress", "\"2001:db8::/32\"", "2001:db8:1::1", true),
        ("IpAddress", "\"::/0\"", "::1", true),
        ("IpAddress", "\"10.0.0.0/8\"", "::ffff:10.0.0.1", true),
        ("IpAddress", "\"10.0.0.0/8\"", "localhost", false),
        ("NotIpAddress", "\"10.0.0.0/8\"", "11.0.0.1", true),
        ("ArnLike", "\"arn:aws:s3:::b*\"", "arn:aws:s3:::bucket", true),
        ("ArnLike", "\"arn:aws:s3:*\"", "arn:aws:s3:eu-1:1:b", false),
        ("ArnLike", "\"arn:aws:*:*:*:x:*\"", "arn:aws:sns:eu-1:1:x:y", true),
        ("ArnEquals", "\"arn:aws:s3:::b*\"", "arn:aws:s3:::bucket", true),
        ("ArnNotLike", "\"arn:aws:s3:::b*\"", "arn:aws:s3:::c", true),
        ("ArnNotEquals", "\"arn:aws:s3:::c\"", "arn:aws:s3:::c", false),
        ("Null", "true", "x", false),
        ("Null", "\"false\"", "x", true),
    ] {
        let condition = format!(r#"{{"{operator}":{{"a:Key":{wanted}}}}}"#);
        assert_eq!(holds(&condition, &[("A:key", value)]), expected, "{condition} {value}");
    }
}

#[test]
fn absent_and_many_valued_keys_follow_the_modifiers() {
    let many: &[(&str, &str)] = &[("k", "a"), ("k", "b")];
    for (condition, keys, expected) in [
        (r#"{"StringEquals":{"k":"a"}}"#, &[][..], false),
        (r#"{"StringNotEquals":{"k":"a"}}"#, &[], true),
        (r#"{"StringEqualsIfExists":{"k":"a"}}"#, &[], true),
        (r#"{"StringEqualsIfExists":{"k":"a"}}"#, &[("k", "b")], false),
        (r#"{"BoolIfExists":{"k":"true"}}"#, &[], true),
        (r#"{"Null":{"k":"true"}}"#, &[], true),
        (r#"{"Null":{"k":"false"}}"#, &[], false),
        (r#"{"ForAllValues:StringEquals":{"k":["a","b","c"]}}"#, many, true),
        (r#"{"ForAllValues:StringEquals":{"k":["a"]}}"#, many, false),
        (r#"{"ForAllValues:StringEquals":{"k":["a"]}}"#, &[], true),
        (r#"{"ForAnyValue:StringEquals":{"k":["b"]}}"#, many, true),
        (r#"{"ForAnyValue:StringEquals":{"k":["c"]}}"#, many, false),
        (r#"{"ForAnyValue:StringEquals":{"k":["c"]}}"#, &[], false),
        (r#"{"ForAnyValue:StringNotEquals":{"k":["a"]}}"#, many, true),
        (r#"{"ForAllValues:StringNotEquals":{"k":["a"]}}"#, many, false),
        (r#"{"StringNotEquals":{"k":"a"}}"#, many, false),
        (r#"{"StringEquals":{"k":"a","l":"x"}}"#, &[("k", "a")], false),
        (r#"{"StringEquals":{"k":"a"},"Bool":{"l":"true"}}"#, &[("k", "a"), ("l", "true")], true),
        (r#"{"StringLike":{"k":"${aws:username}/*"}}"#, &[("k", "ada/x"), ("aws:username", "ada")], true),
        (r#"{"StringLike":{"k":"${aws:username}/*"}}"#, &[("k", "ada/x"), ("aws:username", "*")], false),
        (r#"{"StringEquals":{"k":"${aws:username}"}}"#, &[("k", "ada")], false),
    ] {
        assert_eq!(holds(condition, keys), expected, "{condition} {keys:?}");
    }
}
