//! Requests that no client of AWS would send: each gets an answer of the service it was sent to.

use bytes::Bytes;
use model_lambda::Api as Lambda;
use model_logs::Api as Logs;
use model_sqs::Api as Sqs;
use model_sts::Api as Sts;
use proptest::prelude::*;

use crate::{head, read, refusal};

#[test]
fn what_is_no_operation_is_unknown_in_the_protocol_of_the_service() {
    let (status, name, _) = refusal::<Lambda>(&head("GET", "/2015-03-31/nothing", &[]), "");
    assert_eq!((status, name.as_str()), (404, "UnknownOperationException"));
    let (status, name, _) = refusal::<Lambda>(&head("PATCH", "/2015-03-31/functions", &[]), "");
    assert_eq!((status, name.as_str()), (404, "UnknownOperationException"));
    let json = ("content-type", "application/x-amz-json-1.1");
    for headers in [
        [json, ("x-amz-target", "Logs_20140328.Nope")],
        [json, ("x-amz-target", "AmazonSQS.SendMessage")],
        [json, ("x-other", "")],
        [("content-type", "text/plain"), ("x-amz-target", "Logs_20140328.CreateLogGroup")],
    ] {
        let (status, _, body) = refusal::<Logs>(&head("POST", "/", &headers), "{}");
        assert_eq!(status, 400, "{headers:?}");
        assert!(body.starts_with(r#"{"__type":"UnknownOperationException""#), "{headers:?}: {body}");
    }
    let form = [("content-type", "application/x-www-form-urlencoded")];
    for body in ["", "Version=2011-06-15", "Action=GetCallerIdentity&Version=1999-01-01"] {
        let (status, _, body) = refusal::<Sts>(&head("POST", "/", &form), body);
        assert_eq!(status, 400);
        assert!(body.contains("<Code>InvalidAction</Code>"), "{body}");
    }
}

#[test]
fn what_does_not_parse_is_a_serialization_error() {
    let parts = head("POST", "/2015-03-31/functions", &[]);
    for (body, message) in [
        ("{\"Timeout\":\"3\"}", "STRING_VALUE can not be converted to an Integer"),
        ("{\"Description\":3}", "NUMBER_VALUE can not be converted to a String"),
        ("{\"Code\":[]}", "Start of list found where not expected"),
    ] {
        let (status, name, said) = refusal::<Lambda>(&parts, body);
        assert_eq!((status, name.as_str()), (400, "SerializationException"));
        assert_eq!(said, format!(r#"{{"Message":"{message}"}}"#));
    }
    for body in ["{", "nope", "[", "\u{0}", "{\"Code\":{\"ZipFile\":\"*\"}}"] {
        assert_eq!(refusal::<Lambda>(&parts, body).1, "SerializationException", "{body}");
    }
    let encoded = head("POST", "/2015-03-31/functions", &[("content-encoding", "gzip")]);
    assert_eq!(refusal::<Lambda>(&encoded, "").1, "SerializationException");
    let path = head("GET", "/2015-03-31/functions/%ff", &[]);
    assert_eq!(refusal::<Lambda>(&path, "").1, "SerializationException");
    let number = head("GET", "/2015-03-31/functions?MaxItems=many", &[]);
    assert_eq!(refusal::<Lambda>(&number, "").1, "SerializationException");
    let json = [("content-type", "application/x-amz-json-1.0"), ("x-amz-target", "AmazonSQS.SendMessage")];
    let (status, _, body) = refusal::<Sqs>(&head("POST", "/", &json), "");
    assert_eq!(status, 400);
    assert!(body.starts_with(r#"{"__type":"com.amazonaws.sqs#SerializationException""#), "{body}");
}

#[test]
fn a_payload_is_taken_as_it_is() {
    let payload = Bytes::from_static(b"{not json \xff");
    let parts = head("POST", "/2015-03-31/functions/f/invocations", &[("x-amz-invocation-type", "Event")]);
    let Ok(call) = read::<Lambda>(&parts, payload.clone()) else { panic!("refused") };
    let model_lambda::Request::Invoke(input) = call.request else { panic!("another operation") };
    assert_eq!(input.payload, Some(payload));
    assert_eq!(input.invocation_type, Some(model_lambda::InvocationType::Event));
}

#[test]
fn the_body_has_a_bound_of_its_operation() {
    let bound = |parts| wire_http::route(&model_lambda::SERVICE, &parts).body_bytes_max();
    assert_eq!(bound(head("POST", "/2015-03-31/functions", &[])), 70_167_211);
    assert_eq!(bound(head("POST", "/2015-03-31/functions/f/aliases", &[])), 1_048_576);
    let route = wire_http::route(&model_lambda::SERVICE, &head("POST", "/2015-03-31/functions", &[]));
    let error = wire_http::too_large::<Lambda>(&route);
    let response = wire_http::refuse::<Lambda>(&route, &error, "request-1");
    assert_eq!(response.status(), 413);
    assert_eq!(
        response.body().whole().unwrap(),
        r#"{"Type":"User","Message":"Request must be smaller than 70167211 bytes for the CreateFunction operation"}"#
    );
}

#[test]
fn a_fault_shows_nothing_of_its_cause() {
    for (kind, status) in [
        (base_types::FaultKind::Internal, 500),
        (base_types::FaultKind::Overloaded, 429),
        (base_types::FaultKind::Unavailable, 503),
    ] {
        let error: model_lambda::Error = base_types::Fault::new(kind, "read /secret/path").into();
        let route = wire_http::route(&model_lambda::SERVICE, &head("GET", "/2015-03-31/functions", &[]));
        let response = wire_http::refuse::<Lambda>(&route, &error, "request-1");
        assert_eq!(response.status(), status);
        let body = String::from_utf8(response.body().whole().unwrap().to_vec()).unwrap();
        assert!(!body.contains("secret") && body.contains("essage\":\""), "{body}");
    }
}

#[test]
fn a_service_is_recognised_by_scope_target_host_or_path() {
    let services: &[&'static wire_schema::ServiceSchema] =
        &[&model_lambda::SERVICE, &model_logs::SERVICE, &model_sqs::SERVICE, &model_sts::SERVICE];
    let name = |parts, scope| wire_http::recognise(services, &parts, scope).map(|service| service.name);
    assert_eq!(name(head("POST", "/", &[]), Some("sts")), Some("sts"));
    assert_eq!(name(head("POST", "/", &[]), Some("ec2")), None);
    assert_eq!(name(head("POST", "/", &[("x-amz-target", "AmazonSQS.ListQueues")]), None), Some("sqs"));
    assert_eq!(name(head("POST", "/", &[("host", "sqs.us-east-1.localhost:4566")]), None), Some("sqs"));
    assert_eq!(name(head("GET", "/2015-03-31/functions/", &[("host", "localhost")]), None), Some("lambda"));
    assert_eq!(name(head("GET", "/", &[("host", "localhost")]), None), None);
}

proptest! {
    #[test]
    fn arbitrary_forms_never_panic(body in "(Action=AssumeRole&|Tags|\\.|member|1|2|99999999999|=|&|%|%4|%ff|Key|RoleArn|\\+){0,40}") {
        let form = [("content-type", "application/x-www-form-urlencoded")];
        drop(read::<Sts>(&head("POST", "/", &form), body));
    }

    #[test]
    fn arbitrary_paths_and_documents_never_panic(path in "/2015-03-31/functions/[a-z%/:?=&]{0,30}", body in "[\\[\\]{}\":,a-zA-Z0-9]{0,60}") {
        if let Ok(uri) = path.parse::<http::Uri>() {
            for method in ["GET", "POST", "PUT", "DELETE"] {
                drop(read::<Lambda>(&head(method, &uri.to_string(), &[]), body.clone()));
            }
        }
    }
}
