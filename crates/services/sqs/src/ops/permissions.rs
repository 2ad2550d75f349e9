//! `AddPermission` and `RemovePermission`: statements in the queue's policy.

use model_sqs::{AddPermissionRequest, Error, RemovePermissionRequest};
use serde_json::{Map, Value, json};
use services_kernel::Cx;
use store_api::Tx;

use super::find;
use crate::{
    Sqs,
    error::{invalid, missing},
    flow::Found,
    tables::QUEUES,
};

/// What may be permitted to others.
const ACTIONS: [&str; 7] = [
    "*",
    "SendMessage",
    "ReceiveMessage",
    "DeleteMessage",
    "ChangeMessageVisibility",
    "GetQueueAttributes",
    "GetQueueUrl",
];
const ACTIONS_MAX: usize = 7;
const LABEL_CHARS_MAX: usize = 80;

impl Sqs {
    pub(crate) fn permit(&self, cx: &Cx, tx: &Tx, input: &AddPermissionRequest) -> Result<(), Error> {
        let found = find(cx, tx, "sqs:AddPermission", &input.queue_url)?;
        check_label(&input.label)?;
        if input.aws_account_ids.is_empty() {
            return Err(missing("AWSAccountIds"));
        }
        if input.actions.is_empty() {
            return Err(missing("Actions"));
        }
        if input.actions.len() > ACTIONS_MAX {
            return Err(Error::over_limit(format!(
                "{} Actions were found, maximum allowed is {ACTIONS_MAX}.",
                input.actions.len()
            )));
        }
        if let Some(other) = input.actions.iter().find(|action| !ACTIONS.contains(&action.as_str())) {
            return Err(invalid(
                format!("SQS:{other}"),
                "ActionName",
                "Please refer to the appropriate WSDL for a list of valid actions.",
            ));
        }
        let accounts: Vec<String> = input
            .aws_account_ids
            .iter()
            .map(|account| {
                let good = account.parse::<base_types::AccountId>().is_ok();
                let arn = format!("arn:{}:iam::{account}:root", cx.region.partition());
                if good { Ok(arn) } else { Err(invalid(account, "PrincipalId", "Unable to verify.")) }
            })
            .collect::<Result<_, Error>>()?;
        let mut policy = policy(&found);
        let statements = statements(&mut policy);
        if statements.iter().any(|statement| statement["Sid"] == input.label.as_str()) {
            return Err(invalid(&input.label, "Label", "Already exists."));
        }
        let actions: Vec<String> = input.actions.iter().map(|action| format!("SQS:{action}")).collect();
        statements.push(json!({
            "Sid": input.label,
            "Effect": "Allow",
            "Principal": { "AWS": one_or_all(accounts) },
            "Action": one_or_all(actions),
            "Resource": found.arn,
        }));
        put(tx, found, Some(policy))
    }

    pub(crate) fn forbid(&self, cx: &Cx, tx: &Tx, input: &RemovePermissionRequest) -> Result<(), Error> {
        let found = find(cx, tx, "sqs:RemovePermission", &input.queue_url)?;
        let mut policy = policy(&found);
        let statements = statements(&mut policy);
        let before = statements.len();
        statements.retain(|statement| statement["Sid"] != input.label.as_str());
        if statements.len() == before {
            return Err(invalid(&input.label, "Label", "can't find label."));
        }
        let empty = statements.is_empty();
        put(tx, found, (!empty).then_some(policy))
    }
}

fn check_label(label: &str) -> Result<(), Error> {
    let good = (1..=LABEL_CHARS_MAX).contains(&label.len())
        && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'));
    if good {
        return Ok(());
    }
    Err(invalid(
        label,
        "Label",
        "Can only include alphanumeric characters, hyphens, or underscores. 1 to 80 in length.",
    ))
}

/// The queue's policy as JSON, or the beginning of one.
fn policy(found: &Found) -> Map<String, Value> {
    let there = found.queue.attributes.policy.as_deref().and_then(|text| serde_json::from_str(text).ok());
    there.unwrap_or_else(|| {
        let Value::Object(empty) = json!({
            "Version": "2008-10-17",
            "Id": format!("{}/SQSDefaultPolicy", found.arn),
            "Statement": [],
        }) else {
            return Map::new();
        };
        empty
    })
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

fn put(tx: &Tx, mut found: Found, policy: Option<Map<String, Value>>) -> Result<(), Error> {
    found.queue.attributes.policy = policy.map(|policy| Value::Object(policy).to_string());
    found.queue.modified = tx.now();
    Ok(QUEUES.put(tx, &found.place.queue(&found.name.name), &found.queue)?)
}
