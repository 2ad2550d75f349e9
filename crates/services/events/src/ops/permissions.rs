//! `PutPermission` and `RemovePermission`: the policy of a bus.

use base_types::Arn;
use lang_policy::{Kind, Policy};
use model_events::{Error, PutPermissionRequest, RemovePermissionRequest};
use serde_json::{Map, Value, json};
use services_kernel::Cx;
use store_api::Tx;

use super::buses::permitted;
use crate::{
    EventBridge,
    error::{bad_parameter, invalid},
    names::BusName,
    tables::{BUSES, Bus},
};

/// AWS's limit of a bus's policy.
const POLICY_BYTES_MAX: usize = 10_240;

impl EventBridge {
    pub(crate) fn permit(&self, cx: &Cx, tx: &Tx, input: &PutPermissionRequest) -> Result<(), Error> {
        let name = BusName::given(cx, input.event_bus_name.as_deref())?;
        let mut bus = permitted(cx, tx, &name, "events:PutPermission")?;
        let text = match &input.policy {
            Some(text) => {
                let parts = [input.action.is_some(), input.principal.is_some(), input.statement_id.is_some()];
                if parts.contains(&true) || input.condition.is_some() {
                    return Err(invalid("Policy can't be combined with Action, Principal, StatementId or Condition."));
                }
                text.clone()
            }
            None => with_statement(&bus, &name.arn(), input)?,
        };
        if text.len() > POLICY_BYTES_MAX {
            return Err(Error::policy_length_exceeded_exception(format!(
                "The policy is longer than {POLICY_BYTES_MAX} bytes."
            )));
        }
        Policy::parse(&text, Kind::Resource)
            .map_err(|error| bad_parameter("Policy", Some(&format!("The policy cannot be read: {error}"))))?;
        bus.policy = Some(text);
        put(tx, &name, bus)
    }

    pub(crate) fn forbid(&self, cx: &Cx, tx: &Tx, input: &RemovePermissionRequest) -> Result<(), Error> {
        let name = BusName::given(cx, input.event_bus_name.as_deref())?;
        let mut bus = permitted(cx, tx, &name, "events:RemovePermission")?;
        if input.remove_all_permissions == Some(true) {
            bus.policy = None;
            return put(tx, &name, bus);
        }
        let missing = || Error::resource_not_found_exception("Statement with the provided id does not exist.");
        let wanted = input.statement_id.as_deref().ok_or_else(|| {
            invalid("Parameter StatementId is not valid. Reason: StatementId is a required argument.")
        })?;
        let mut policy = read(bus.policy.as_deref().ok_or_else(missing)?);
        let statements = statements(&mut policy);
        let before = statements.len();
        statements.retain(|statement| statement["Sid"] != wanted);
        if statements.len() == before {
            return Err(missing());
        }
        let empty = statements.is_empty();
        bus.policy = (!empty).then(|| Value::Object(policy).to_string());
        put(tx, &name, bus)
    }
}

/// The bus's policy with the statement that the request describes, in place of one of the same name.
fn with_statement(bus: &Bus, arn: &Arn, input: &PutPermissionRequest) -> Result<String, Error> {
    let required = |value: &Option<String>, name: &str| {
        let reason = format!("{name} is a required argument.");
        value.clone().ok_or_else(|| bad_parameter(name, Some(&reason)))
    };
    let (action, principal) = (required(&input.action, "Action")?, required(&input.principal, "Principal")?);
    let sid = required(&input.statement_id, "StatementId")?;
    if action != "events:PutEvents" {
        return Err(bad_parameter("Action", Some("Provided value in parameter 'action' is not supported.")));
    }
    let principal = match principal.as_str() {
        "*" => json!("*"),
        account => json!({ "AWS": format!("arn:{}:iam::{account}:root", arn.partition) }),
    };
    let mut statement = json!({
        "Sid": sid,
        "Effect": "Allow",
        "Principal": principal,
        "Action": action,
        "Resource": arn.to_string(),
    });
    if let Some(condition) = &input.condition {
        if condition.r#type != "StringEquals" || condition.key != "aws:PrincipalOrgID" {
            return Err(bad_parameter("Condition", Some("Only StringEquals of aws:PrincipalOrgID is supported.")));
        }
        statement["Condition"] = json!({ condition.r#type.clone(): { condition.key.clone(): condition.value } });
    }
    let mut policy = bus.policy.as_deref().map(read).unwrap_or_default();
    policy.entry("Version").or_insert_with(|| json!("2012-10-17"));
    let all = statements(&mut policy);
    all.retain(|statement| statement["Sid"] != sid.as_str());
    all.push(statement);
    Ok(Value::Object(policy).to_string())
}

/// A policy that was checked when it was set.
fn read(text: &str) -> Map<String, Value> {
    serde_json::from_str(text).unwrap_or_default()
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

fn put(tx: &Tx, name: &BusName, mut bus: Bus) -> Result<(), Error> {
    bus.modified = tx.now();
    Ok(BUSES.put(tx, &name.key(&BUSES), &bus)?)
}
