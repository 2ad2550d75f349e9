//! Every operation of every service, by its name: what a schedule's universal target runs.
//!
//! The input is a JSON document with AWS's member names, whatever protocol the service speaks to clients. It goes the way
//! of a public request: decoded by the schema, validated, refused where a member is not supported, authorised by the
//! operation itself, written into the audit trail.

use std::sync::{Arc, PoisonError, RwLock};

use base_types::{Fault, FaultKind};
use bytes::Bytes;
use serde_json::{Map, Value};
use services_kernel::{Audit, Cx};
use services_ports::{FoundOperation, OperationError, Operations};
use store_api::Tx;
use wire_json::Members;
use wire_schema::{
    Class, Kind, Model, Operation, Role, Schema, Seen, Serve, ServiceError, ServiceSchema, Survey, refused_member,
    validate,
};

use crate::cloud::{Services, with_service};

/// Deeper documents are not decoded.
const DEPTH_MAX: usize = 64;

/// The door to all operations. It is opened once all services are there, and closed at the end of the server: services
/// hold it and it holds them.
#[derive(Clone, Default)]
pub(crate) struct AllOperations(Arc<RwLock<Option<Services>>>);

impl AllOperations {
    /// Opens the door.
    pub(crate) fn open(&self, services: Services) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = Some(services);
    }

    /// Closes it: no service holds another any more.
    pub(crate) fn close(&self) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = None;
    }

    fn services(&self) -> Result<Services, OperationError> {
        let services = self.0.read().unwrap_or_else(PoisonError::into_inner).clone();
        services.ok_or_else(|| Fault::new(FaultKind::Unavailable, "run an operation: the server is not up").into())
    }
}

impl Operations for AllOperations {
    fn find(&self, service: &str, operation: &str) -> Result<FoundOperation, OperationError> {
        let services = self.services()?;
        let found = with_service!(services, ours(service), find(operation), other => not_served(other))?;
        Ok(FoundOperation { name: found.name, transactional: found.class != Class::Flow, read_only: found.read_only })
    }

    fn check(&self, service: &str, operation: &str, input: &[u8]) -> Result<(), OperationError> {
        let services = self.services()?;
        with_service!(services, ours(service), check(operation, input), other => not_served(other))
    }

    fn transact(&self, cx: &Cx, tx: &Tx, service: &str, operation: &str, input: &[u8]) -> Result<(), OperationError> {
        let services = self.services()?;
        with_service!(services, ours(service), transact(cx, tx, operation, input), other => not_served(other))
    }

    async fn flow(&self, cx: Cx, service: &str, operation: &str, input: Bytes) -> Result<(), OperationError> {
        let services = self.services()?;
        with_service!(services, ours(service), flow(&cx, operation, &input).await, other => not_served(other))
    }
}

fn not_served<T>(service: &str) -> Result<T, OperationError> {
    Err(OperationError::NotServed(service.to_owned()))
}

/// Our name of a service that AWS's SDKs call so.
fn ours(service: &str) -> &str {
    match service {
        "cloudwatchlogs" => "logs",
        "eventbridge" => "events",
        other => other,
    }
}

fn find<M: Model, S>(_: &S, operation: &str) -> Result<&'static Operation, OperationError> {
    known(M::service(), operation)
}

fn known(service: &'static ServiceSchema, operation: &str) -> Result<&'static Operation, OperationError> {
    let same = |name: &str| name.len() == operation.len() && same_but_first(name, operation);
    service
        .operations
        .iter()
        .find(|known| same(known.name))
        .ok_or_else(|| OperationError::Unknown { service: service.name.to_owned(), operation: operation.to_owned() })
}

/// Whether two names are the same but for the case of their first letter.
fn same_but_first(a: &str, b: &str) -> bool {
    match (a.split_at_checked(1), b.split_at_checked(1)) {
        (Some((a, rest)), Some((b, other))) => a.eq_ignore_ascii_case(b) && rest == other,
        _ => a == b,
    }
}

fn check<M: Model, S>(_: &S, operation: &str, input: &[u8]) -> Result<(), OperationError> {
    read::<M>(known(M::service(), operation)?, input).map(drop)
}

fn transact<M, S>(service: &Arc<S>, cx: &Cx, tx: &Tx, operation: &str, input: &[u8]) -> Result<(), OperationError>
where
    M: Serve<S, Cx, Tx>,
{
    let operation = known(M::service(), operation)?;
    let request = read::<M>(operation, input)?;
    M::transact(service, cx, tx, &request).map_err(failed)?;
    if operation.class == Class::Transactional && !operation.read_only {
        Audit::record(tx, cx, operation.action)?;
    }
    Ok(())
}

async fn flow<M, S>(service: &Arc<S>, cx: &Cx, operation: &str, input: &[u8]) -> Result<(), OperationError>
where
    M: Serve<S, Cx, Tx>,
    S: Send + Sync,
{
    let request = read::<M>(known(M::service(), operation)?, input)?;
    Box::pin(M::flow(service, cx, request)).await.map(drop).map_err(failed)
}

/// The request that the document makes.
fn read<M: Model>(operation: &'static Operation, input: &[u8]) -> Result<M::Request, OperationError> {
    let malformed = |message: String| failed(M::Error::by_role(Role::Serialization, message));
    let document: Value = serde_json::from_slice(input).map_err(|error| malformed(error.to_string()))?;
    let document = Value::Object(match document {
        Value::Object(members) => structure(members, operation.input, 0),
        _ => return Err(malformed("The input is not a JSON object.".to_owned())),
    });
    let mut request = M::request(operation).ok_or_else(|| malformed("The operation takes no input.".to_owned()))?;
    let (mut seen, mut survey) = (Seen::default(), Survey::default());
    let text = document.to_string();
    wire_json::decode(text.as_bytes(), Members::All, M::input_mut(&mut request), &mut seen, &mut survey)
        .map_err(|error| malformed(error.0))?;
    survey.absent(operation.input, seen);
    let violations = validate(M::input(&request), &survey);
    if !violations.is_empty() {
        return Err(failed(M::Error::violated(&violations, M::service().missing_parameter)));
    }
    if let Some(member) = refused_member(M::input(&request)) {
        return Err(failed(M::Error::not_implemented(&format!("the parameter {member} of {}", operation.name))));
    }
    Ok(request)
}

/// The members under the names that the service's own documents have. AWS's universal targets spell a member with a
/// capital letter whatever the service does.
fn structure(given: Map<String, Value>, schema: &'static Schema, depth: usize) -> Map<String, Value> {
    let Kind::Structure { members, payload } = &schema.kind else { return given };
    if depth > DEPTH_MAX {
        return Map::new();
    }
    let mut named = Map::new();
    for (name, value) in given {
        let index = members
            .iter()
            .position(|member| same_but_first(member.name, &name) || same_but_first(member.wire_name, &name));
        match index.and_then(|index| members.get(index).map(|member| (index, member))) {
            Some((index, member)) if *payload == Some(index) && matches!(member.schema.kind, Kind::Blob) => {
                named.insert(member.wire_name.to_owned(), whole_body(value));
            }
            Some((_, member)) => {
                named.insert(member.wire_name.to_owned(), under(value, member.schema, depth + 1));
            }
            None => {
                named.insert(name, value);
            }
        }
    }
    named
}

fn under(value: Value, schema: &'static Schema, depth: usize) -> Value {
    match (value, &schema.kind) {
        (Value::Object(members), Kind::Structure { .. }) => Value::Object(structure(members, schema, depth)),
        (Value::Object(entries), Kind::Map { value, .. }) if depth <= DEPTH_MAX => {
            Value::Object(entries.into_iter().map(|(key, entry)| (key, under(entry, value, depth + 1))).collect())
        }
        (Value::Array(items), Kind::List { member, .. }) if depth <= DEPTH_MAX => {
            Value::Array(items.into_iter().map(|item| under(item, member, depth + 1)).collect())
        }
        (value, _) => value,
    }
}

/// What is a request's whole body is given as it is, not in base64: a text, or a document.
fn whole_body(value: Value) -> Value {
    let text = match value {
        Value::Null => return Value::Null,
        Value::String(text) => text,
        document => document.to_string(),
    };
    Value::String(base64(text.as_bytes()))
}

fn base64(bytes: &[u8]) -> String {
    use base64::Engine as _;
    base64::engine::general_purpose::STANDARD.encode(bytes)
}

/// A service's own error. A fault is logged here, where its request ends.
fn failed<E: ServiceError>(error: E) -> OperationError {
    if let Some(fault) = error.fault() {
        tracing::error!(?fault, "an operation that was run by its name failed");
    }
    let (code, status) = (error.schema().code, error.status());
    let retryable = (status >= 500 && status != 501) || status == 429 || throttled(code);
    OperationError::Failed { code: code.to_owned(), message: error.message().to_owned(), retryable }
}

fn throttled(code: &str) -> bool {
    ["Throttl", "TooManyRequests", "ProvisionedThroughputExceeded", "LimitExceeded", "SlowDown"]
        .iter()
        .any(|word| code.contains(word))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn operations_are_found_by_the_names_of_the_sdks() {
        for (name, expect) in
            [("sendMessage", Some("SendMessage")), ("SendMessage", Some("SendMessage")), ("send", None)]
        {
            assert_eq!(known(model_sqs::Api::service(), name).ok().map(|found| found.name), expect, "{name}");
        }
        assert_eq!((ours("eventbridge"), ours("cloudwatchlogs"), ours("sqs")), ("events", "logs", "sqs"));
    }

    #[test]
    fn a_document_becomes_the_request_that_a_client_would_send() {
        let operation = known(model_lambda::Api::service(), "invoke").unwrap();
        let input = br#"{"FunctionName":"f","InvocationType":"Event","Payload":{"a":1}}"#;
        let request = read::<model_lambda::Api>(operation, input).unwrap();
        let model_lambda::Request::Invoke(request) = request else { panic!("another operation") };
        assert_eq!((request.function_name.as_str(), request.payload.as_deref()), ("f", Some(&b"{\"a\":1}"[..])));
        let text = br#"{"functionName":"f","payload":"{\"a\":1}"}"#;
        let model_lambda::Request::Invoke(request) = read::<model_lambda::Api>(operation, text).unwrap() else {
            panic!("another operation")
        };
        assert_eq!(request.payload.as_deref(), Some(&b"{\"a\":1}"[..]));

        let operation = known(model_logs::Api::service(), "createLogGroup").unwrap();
        let model_logs::Request::CreateLogGroup(request) =
            read::<model_logs::Api>(operation, br#"{"LogGroupName":"g","Tags":{"Key":"v"}}"#).unwrap()
        else {
            panic!("another operation")
        };
        assert_eq!(request.log_group_name, "g");
        assert_eq!(
            request.tags.unwrap().get("Key").map(String::as_str),
            Some("v"),
            "a map's keys are the client's own"
        );
    }

    #[test]
    fn what_a_client_could_not_send_is_refused_in_the_services_words() {
        let operation = known(model_sqs::Api::service(), "sendMessage").unwrap();
        for (input, code) in [
            (&b"[]"[..], "MalformedInput"),
            (b"{", "MalformedInput"),
            (b"{\"QueueUrl\":1}", "MalformedInput"),
            (b"{\"QueueUrl\":\"q\"}", "MissingParameter"),
        ] {
            match read::<model_sqs::Api>(operation, input).unwrap_err() {
                OperationError::Failed { code: ours, retryable, .. } => {
                    assert_eq!((ours.as_str(), retryable), (code, false))
                }
                other => panic!("{other}"),
            }
        }
    }
}
