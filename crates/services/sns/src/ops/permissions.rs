//! `AddPermission` and `RemovePermission`: statements in the topic's policy.

use base_types::AccountId;
use model_sns::{AddPermissionInput, Error, RemovePermissionInput};
use serde_json::{Map, Value, json};
use services_kernel::Cx;
use store_api::Tx;

use super::find;
use crate::{Sns, attributes::default_policy, error::invalid, names, tables::Found};

/// What may be permitted to others.
const ACTIONS: [&str; 12] = [
    "AddPermission",
    "DeleteTopic",
    "GetDataProtectionPolicy",
    "GetTopicAttributes",
    "ListSubscriptionsByTopic",
    "ListTagsForResource",
    "Publish",
    "PutDataProtectionPolicy",
    "Receive",
    "RemovePermission",
    "SetTopicAttributes",
    "Subscribe",
];

impl Sns {
    pub(crate) fn permit(&self, cx: &Cx, tx: &Tx, input: &AddPermissionInput) -> Result<(), Error> {
        let found = find(cx, tx, "SNS:AddPermission", names::topic(cx, &input.topic_arn, "TopicArn")?)?;
        if input.label.is_empty() {
            return Err(invalid("Label"));
        }
        if input.action_name.is_empty() || input.action_name.iter().any(|name| !ACTIONS.contains(&name.as_str())) {
            return Err(invalid("Policy statement action out of service scope!"));
        }
        let root = |account: &String| match account.parse::<AccountId>() {
            Ok(account) => Ok(format!("arn:{}:iam::{account}:root", cx.region.partition())),
            Err(_) => Err(invalid("Policy Error: PrincipalNotFound")),
        };
        let accounts = input.aws_account_id.iter().map(root).collect::<Result<Vec<_>, Error>>()?;
        if accounts.is_empty() {
            return Err(invalid("AWSAccountId"));
        }
        let mut policy = policy(&found);
        let statements = statements(&mut policy);
        if statements.iter().any(|statement| statement["Sid"] == input.label.as_str()) {
            return Err(invalid("Statement already exists"));
        }
        statements.push(json!({
            "Sid": input.label,
            "Effect": "Allow",
            "Principal": { "AWS": one_or_all(accounts) },
            "Action": one_or_all(input.action_name.iter().map(|name| format!("SNS:{name}")).collect()),
            "Resource": found.arn,
        }));
        put(tx, found, policy)
    }

    pub(crate) fn forbid(&self, cx: &Cx, tx: &Tx, input: &RemovePermissionInput) -> Result<(), Error> {
        let found = find(cx, tx, "SNS:RemovePermission", names::topic(cx, &input.topic_arn, "TopicArn")?)?;
        let mut policy = policy(&found);
        statements(&mut policy).retain(|statement| statement["Sid"] != input.label.as_str());
        put(tx, found, policy)
    }
}

/// The topic's policy as JSON.
fn policy(found: &Found) -> Map<String, Value> {
    let there = found.topic.attributes.policy.as_deref().and_then(|text| serde_json::from_str(text).ok());
    match there.unwrap_or_else(|| default_policy(found)) {
        Value::Object(policy) => policy,
        _ => Map::new(),
    }
}

/// Its statements; a single one may stand without a list.
fn statements(policy: &mut Map<String, Value>) -> &mut Vec<Value> {
    let statements = policy.entry("Statement").or_insert_with(|| Value::Array(Vec::new()));
    if !statements.is_array() {
        *statements = Value::Array(vec![statements.take()]);
    }
    match statements {
        Value::Array(statements) => statements,
        _ => unreachable!("it has just been made a list"),
    }
}

fn one_or_all(mut texts: Vec<String>) -> Value {
    if texts.len() == 1 { Value::String(texts.swap_remove(0)) } else { json!(texts) }
}

fn put(tx: &Tx, mut found: Found, policy: Map<String, Value>) -> Result<(), Error> {
    found.topic.attributes.policy = Some(Value::Object(policy).to_string());
    Ok(found.put(tx)?)
}
