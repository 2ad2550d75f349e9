//! Who may do what: one policy, several policies, one account and two.

use base_types::AccountId;
use lang_policy::{Access, Caller, Context, Decision, Kind, Policy, Request};

const HOME: &str = "111111111111";
const ABROAD: &str = "222222222222";
const QUEUE: &str = "arn:aws:sqs:us-east-1:111111111111:jobs";

fn account(text: &str) -> AccountId {
    text.parse().unwrap()
}

fn identity(text: &str) -> Policy {
    Policy::parse(&format!(r#"{{"Version":"2012-10-17","Statement":[{text}]}}"#), Kind::Identity).unwrap()
}

fn resource(principal: &str, effect: &str) -> Policy {
    let text = format!(
        r#"{{"Version":"2012-10-17","Statement":[{{"Effect":"{effect}","Principal":{principal},"Action":"sqs:*","Resource":"{QUEUE}"}}]}}"#
    );
    Policy::parse(&text, Kind::Resource).unwrap()
}

fn role(home: &str) -> Caller {
    Caller::AssumedRole { account: account(home), role: "worker".into(), session: "s1".into() }
}

fn decide(caller: &Caller, identity: &[&Policy], resource: Option<&Policy>, action: &str) -> Decision {
    let context = Context::new().with("aws:username", "ada");
    let request = Request { caller, action, resource: QUEUE, context: &context };
    Access { identity, limits: &[], resource, owner: account(HOME) }.decide(&request)
}

#[test]
fn deny_beats_allow_beats_silence() {
    let all = identity(r#"{"Effect":"Allow","Action":"*","Resource":"*"}"#);
    let none = identity(r#"{"Sid":"no","Effect":"Deny","Action":"sqs:Purge*","Resource":"*"}"#);
    let not = identity(r#"{"Effect":"Allow","NotAction":"sqs:PurgeQueue","NotResource":"arn:aws:sqs:*:*:secret"}"#);
    let mine =
        identity(r#"{"Effect":"Allow","Action":"SQS:sendmessage","Resource":"arn:aws:sqs:*:*:${aws:username}"}"#);
    let one = identity(r#"{"Effect":"Allow","Action":"SQS:sendmessage","Resource":"arn:aws:sqs:*:*:jobs"}"#);
    let denied = Decision::ExplicitDeny { sid: Some("no".into()) };
    for (policies, action, expected) in [
        (&[][..], "sqs:SendMessage", Decision::ImplicitDeny),
        (&[&all][..], "sqs:SendMessage", Decision::Allow),
        (&[&all, &none], "sqs:PurgeQueue", denied.clone()),
        (&[&none, &all], "sqs:PurgeQueue", denied),
        (&[&none, &all], "sqs:SendMessage", Decision::Allow),
        (&[&not], "sqs:SendMessage", Decision::Allow),
        (&[&not], "sqs:PurgeQueue", Decision::ImplicitDeny),
        (&[&mine], "sqs:SendMessage", Decision::ImplicitDeny),
        (&[&one], "sqs:SendMessage", Decision::Allow),
        (&[&one], "sqs:ReceiveMessage", Decision::ImplicitDeny),
    ] {
        assert_eq!(decide(&role(HOME), policies, None, action), expected, "{policies:?} {action}");
    }
}

#[test]
fn inside_an_account_either_side_permits_and_across_accounts_both_must() {
    let all = identity(r#"{"Effect":"Allow","Action":"*","Resource":"*"}"#);
    let role_arn = r#"{"AWS":"arn:aws:iam::111111111111:role/path/worker"}"#;
    let role_abroad = r#"{"AWS":"arn:aws:iam::222222222222:role/worker"}"#;
    let session = r#"{"AWS":"arn:aws:sts::111111111111:assumed-role/worker/s1"}"#;
    let root = r#"{"AWS":"arn:aws:iam::111111111111:root"}"#;
    let id_abroad = r#"{"AWS":"222222222222"}"#;
    for (caller, own, principal, expected) in [
        (role(HOME), false, None, false),
        (role(HOME), true, None, true),
        (role(HOME), false, Some(role_arn), true),
        (role(HOME), false, Some(session), true),
        (role(HOME), false, Some(r#"{"AWS":"arn:aws:iam::111111111111:role/workers"}"#), false),
        (role(HOME), false, Some("\"*\""), true),
        (role(HOME), false, Some(root), false),
        (role(HOME), true, Some(root), true),
        (role(ABROAD), true, None, false),
        (role(ABROAD), false, Some(role_abroad), false),
        (role(ABROAD), true, Some(role_abroad), true),
        (role(ABROAD), true, Some(id_abroad), true),
        (role(ABROAD), false, Some(id_abroad), false),
        (role(ABROAD), true, Some(role_arn), false),
        (Caller::Root { account: account(HOME) }, false, None, true),
        (Caller::Root { account: account(ABROAD) }, false, None, false),
        (Caller::Root { account: account(ABROAD) }, false, Some(id_abroad), true),
        (Caller::Anonymous, false, None, false),
        (Caller::Anonymous, false, Some("\"*\""), true),
        (Caller::Anonymous, false, Some(root), false),
        (Caller::Service { host: "s3.amazonaws.com".into() }, false, Some(r#"{"Service":"s3.amazonaws.com"}"#), true),
        (Caller::Service { host: "s3.amazonaws.com".into() }, false, Some(r#"{"Service":"sns.amazonaws.com"}"#), false),
        (Caller::Service { host: "s3.amazonaws.com".into() }, true, None, false),
    ] {
        let policy = principal.map(|principal| resource(principal, "Allow"));
        let own: &[&Policy] = if own { &[&all] } else { &[] };
        let decision = decide(&caller, own, policy.as_ref(), "sqs:SendMessage");
        assert_eq!(decision.is_allowed(), expected, "{caller:?} {principal:?}");
    }
}

#[test]
fn a_resource_may_deny_even_root() {
    let all = identity(r#"{"Effect":"Allow","Action":"*","Resource":"*"}"#);
    for (principal, text, caller, denied) in [
        ("Principal", "\"*\"", Caller::Root { account: account(HOME) }, true),
        ("Principal", r#"{"AWS":"111111111111"}"#, role(HOME), true),
        ("NotPrincipal", r#"{"AWS":"arn:aws:iam::111111111111:role/worker"}"#, role(HOME), false),
        ("NotPrincipal", r#"{"AWS":"arn:aws:iam::111111111111:role/other"}"#, role(HOME), true),
    ] {
        let document = format!(
            r#"{{"Version":"2012-10-17","Statement":{{"Effect":"Deny","{principal}":{text},"Action":"*","Resource":"*"}}}}"#
        );
        let policy = Policy::parse(&document, Kind::Resource).unwrap();
        let decision = decide(&caller, &[&all], Some(&policy), "sqs:SendMessage");
        assert_eq!(matches!(decision, Decision::ExplicitDeny { .. }), denied, "{principal} {text}");
    }
}

#[test]
fn a_limit_narrows_and_never_widens() {
    let all = identity(r#"{"Effect":"Allow","Action":"*","Resource":"*"}"#);
    let only_send = identity(r#"{"Effect":"Allow","Action":"sqs:SendMessage","Resource":"*"}"#);
    let context = Context::new();
    for (identity, action, expected) in [
        (&[&all][..], "sqs:SendMessage", true),
        (&[&all][..], "sqs:PurgeQueue", false),
        (&[][..], "sqs:SendMessage", false),
    ] {
        let caller = role(HOME);
        let request = Request { caller: &caller, action, resource: QUEUE, context: &context };
        let access = Access { identity, limits: &[&only_send], resource: None, owner: account(HOME) };
        assert_eq!(access.decide(&request).is_allowed(), expected, "{action}");
    }
}

#[test]
fn a_trust_policy_says_who_may_assume_the_role() {
    let text = r#"{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"Service":"lambda.amazonaws.com",
        "AWS":"222222222222"},"Action":"sts:AssumeRole"}]}"#;
    let trust = Policy::parse(text, Kind::Trust).unwrap();
    let context = Context::new();
    for (caller, expected) in [
        (Caller::Service { host: "lambda.amazonaws.com".into() }, Decision::Allow),
        (Caller::Service { host: "ec2.amazonaws.com".into() }, Decision::ImplicitDeny),
        (role(ABROAD), Decision::Allow),
        (role(HOME), Decision::ImplicitDeny),
    ] {
        let resource = "arn:aws:iam::111111111111:role/worker";
        let request = Request { caller: &caller, action: "sts:AssumeRole", resource, context: &context };
        assert_eq!(trust.grants(&request), expected, "{caller:?}");
    }
}
