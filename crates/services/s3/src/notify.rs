//! Notifications: what happened to an object, told to queues, topics, functions and the event bus, in its very commit.

use base_types::Arn;
use bytes::Bytes;
use model_s3::*;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Value, json};
use services_kernel::{Cx, Source};
use services_ports::{Delivery, DeliveryError, EventFields};
use store_api::Tx;

use crate::{
    S3,
    access::Found,
    error::{argument, malformed_xml, text},
    history::{self, Place},
    names,
    ops::configurations::{kinds, read},
    tables::Version,
};

/// The principal that hands over.
const HOST: &str = "s3.amazonaws.com";
const KEY: &percent_encoding::AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'*');
/// Targets of one configuration (AWS: 100).
const TARGETS_MAX: usize = 100;

const EVENTS: [&str; 22] = [
    "s3:ObjectCreated:*",
    "s3:ObjectCreated:Put",
    "s3:ObjectCreated:Post",
    "s3:ObjectCreated:Copy",
    "s3:ObjectCreated:CompleteMultipartUpload",
    "s3:ObjectRemoved:*",
    "s3:ObjectRemoved:Delete",
    "s3:ObjectRemoved:DeleteMarkerCreated",
    "s3:ObjectTagging:*",
    "s3:ObjectTagging:Put",
    "s3:ObjectTagging:Delete",
    "s3:ObjectAcl:Put",
    "s3:ObjectRestore:*",
    "s3:ObjectRestore:Post",
    "s3:ObjectRestore:Completed",
    "s3:ObjectRestore:Delete",
    "s3:ReducedRedundancyLostObject",
    "s3:Replication:*",
    "s3:LifecycleExpiration:*",
    "s3:LifecycleExpiration:Delete",
    "s3:LifecycleExpiration:DeleteMarkerCreated",
    "s3:LifecycleTransition",
];

/// One target of a configuration, whatever its kind.
struct Target<'a> {
    id: &'a Option<String>,
    arn: &'a str,
    events: &'a [String],
    filter: &'a Option<NotificationConfigurationFilter>,
    kind: &'static str,
}

fn targets(document: &NotificationConfiguration) -> Vec<Target<'_>> {
    let queues = document.queue_configurations.iter().flatten();
    let topics = document.topic_configurations.iter().flatten();
    let functions = document.lambda_function_configurations.iter().flatten();
    let queues = queues.map(|it| Target {
        id: &it.id,
        arn: &it.queue_arn,
        events: &it.events,
        filter: &it.filter,
        kind: "Queue",
    });
    let topics = topics.map(|it| Target {
        id: &it.id,
        arn: &it.topic_arn,
        events: &it.events,
        filter: &it.filter,
        kind: "Topic",
    });
    let functions = functions.map(|it| Target {
        id: &it.id,
        arn: &it.lambda_function_arn,
        events: &it.events,
        filter: &it.filter,
        kind: "CloudFunction",
    });
    queues.chain(topics).chain(functions).collect()
}

/// A configuration as it is kept: every target with an identifier, checked, and told of it by a test event.
pub(crate) fn accept(
    service: &S3,
    cx: &Cx,
    tx: &Tx,
    found: &Found,
    document: &NotificationConfiguration,
    validate: bool,
) -> Result<NotificationConfiguration, Error> {
    let mut kept = document.clone();
    let fresh = |id: &mut Option<String>| {
        if id.as_ref().is_none_or(String::is_empty) {
            *id = Some(service.store.env().uuid());
        }
    };
    kept.queue_configurations.iter_mut().flatten().for_each(|it| fresh(&mut it.id));
    kept.topic_configurations.iter_mut().flatten().for_each(|it| fresh(&mut it.id));
    kept.lambda_function_configurations.iter_mut().flatten().for_each(|it| fresh(&mut it.id));
    for filter in kept
        .queue_configurations
        .iter_mut()
        .flatten()
        .map(|it| &mut it.filter)
        .chain(kept.topic_configurations.iter_mut().flatten().map(|it| &mut it.filter))
        .chain(kept.lambda_function_configurations.iter_mut().flatten().map(|it| &mut it.filter))
        .flatten()
    {
        check_filter(filter)?;
    }
    let list = targets(&kept);
    if list.len() > TARGETS_MAX {
        return Err(malformed_xml());
    }
    let consequence = consequence(cx, found);
    let mut failures = Vec::new();
    for target in &list {
        for event in target.events {
            if !EVENTS.contains(&event.as_str()) {
                return Err(argument("The event is not supported for notifications", event, ""));
            }
        }
        let service_of = match target.kind {
            "Queue" => "sqs",
            "Topic" => "sns",
            _ => "lambda",
        };
        let arn: Arn = match target.arn.parse::<Arn>() {
            Ok(arn) if arn.service == service_of => arn,
            _ => return Err(argument("The ARN could not be parsed", target.kind, target.arn)),
        };
        if target.events.is_empty() {
            return Err(malformed_xml());
        }
        if !validate {
            continue;
        }
        let told = match service_of {
            // A function is not told: it would run.
            "lambda" => service.destinations.check(&consequence, tx, &arn),
            _ => service.destinations.deliver(&consequence, tx, &arn, &message(test_event(cx, tx, found))),
        };
        match told {
            Ok(()) => {}
            Err(DeliveryError::Fault(fault)) => return Err(fault.into()),
            Err(error) => failures.push((target.arn.to_owned(), reason(&error, service_of))),
        }
    }
    if let Some((arn, reason)) = failures.into_iter().next() {
        return Err(InvalidArgument {
            message: text("Unable to validate the following destination configurations"),
            argument_name1: Some(arn),
            argument_value1: Some(reason),
            ..InvalidArgument::default()
        }
        .into());
    }
    Ok(kept)
}

fn reason(error: &DeliveryError, service: &str) -> String {
    let what = match service {
        "sqs" => "queue",
        "sns" => "topic",
        _ => "Lambda",
    };
    match error {
        DeliveryError::NotFound(_) => format!("The destination {what} does not exist"),
        DeliveryError::Denied(_) if service == "lambda" => "Not authorized to invoke function".to_owned(),
        DeliveryError::Denied(_) => {
            format!("Permissions on the destination {what} do not allow S3 to publish notifications from this bucket")
        }
        other => other.to_string(),
    }
}

fn check_filter(filter: &mut NotificationConfigurationFilter) -> Result<(), Error> {
    let Some(rules) = filter.key.as_mut().and_then(|key| key.filter_rules.as_mut()) else { return Ok(()) };
    for rule in rules {
        let name = rule.name.clone().unwrap_or_default();
        match name.to_ascii_lowercase().as_str() {
            "prefix" => rule.name = text("Prefix"),
            "suffix" => rule.name = text("Suffix"),
            _ => return Err(argument("filter rule name must be either prefix or suffix", "FilterRule.Name", &name)),
        }
        if rule.value.is_none() {
            return Err(argument("filter rule value cannot be empty", "FilterRule.Value", "null"));
        }
    }
    Ok(())
}

fn fits(target: &Target<'_>, event: &str, key: &str) -> bool {
    let named = target.events.iter().any(|wanted| {
        let wanted = wanted.strip_prefix("s3:").unwrap_or(wanted);
        wanted == event || wanted.strip_suffix('*').is_some_and(|prefix| event.starts_with(prefix))
    });
    let rules = target.filter.as_ref().and_then(|filter| filter.key.as_ref()).and_then(|key| key.filter_rules.as_ref());
    named
        && rules.into_iter().flatten().all(|rule| {
            let value = rule.value.as_deref().unwrap_or_default();
            match rule.name.as_deref() {
                Some("Prefix") => key.starts_with(value),
                _ => key.ends_with(value),
            }
        })
}

/// An object's version came, or something of it changed.
pub(crate) fn created(
    service: &S3,
    cx: &Cx,
    tx: &Tx,
    place: &Place<'_>,
    version: &Version,
    event: &str,
) -> Result<(), Error> {
    tell(service, cx, tx, place, Some(version), event)
}

/// An object or a version went. `version` is what has an identifier to be named.
pub(crate) fn removed(
    service: &S3,
    cx: &Cx,
    tx: &Tx,
    place: &Place<'_>,
    version: Option<&Version>,
    event: &str,
) -> Result<(), Error> {
    tell(service, cx, tx, place, version, event)
}

fn tell(
    service: &S3,
    cx: &Cx,
    tx: &Tx,
    place: &Place<'_>,
    version: Option<&Version>,
    event: &str,
) -> Result<(), Error> {
    let found = place.found;
    if !found.bucket.notifies {
        return Ok(());
    }
    let document: NotificationConfiguration = read(tx, found.bucket.id, kinds::NOTIFICATION, "")?.unwrap_or_default();
    let consequence = consequence(cx, found);
    for target in targets(&document).iter().filter(|target| fits(target, event, place.key)) {
        let Ok(arn) = target.arn.parse::<Arn>() else { continue };
        let record = record(cx, tx, place, version, event, target.id.as_deref().unwrap_or_default());
        let delivery = message(json!({ "Records": [record] }));
        handed(service.destinations.deliver(&consequence, tx, &arn, &delivery), &arn, cx)?;
    }
    if document.event_bridge_configuration.is_some()
        && let Some((detail_type, detail)) = bus_event(cx, tx, place, version, event)
    {
        let bus = Arn::regional("events", &found.bucket.region, found.bucket.owner, "event-bus/default");
        let fields = EventFields {
            id: None,
            source: "aws.s3".to_owned(),
            detail_type: detail_type.to_owned(),
            resources: vec![names::arn(&found.name, None)],
            time: Some(tx.now()),
        };
        let delivery = Delivery { event: Some(fields), ..message(detail) };
        handed(service.destinations.deliver(&consequence, tx, &bus, &delivery), &bus, cx)?;
    }
    Ok(())
}

/// What cannot be handed over is told once and does not undo what happened.
fn handed(outcome: Result<(), DeliveryError>, arn: &Arn, cx: &Cx) -> Result<(), Error> {
    match outcome {
        Ok(()) => Ok(()),
        Err(DeliveryError::Fault(fault)) => Err(fault.into()),
        Err(error) => {
            tracing::warn!(request_id = %cx.request_id, target = %arn, %error, "a notification of S3 could not be handed over");
            Ok(())
        }
    }
}

fn consequence(cx: &Cx, found: &Found) -> Cx {
    let name = found.name.clone();
    let arn = Arn { region: String::new(), account: String::new(), ..Arn::global("s3", found.bucket.owner, name) };
    let mut deeper = cx.consequence(Source { service: HOST.to_owned(), arn });
    (deeper.account, deeper.region) = (found.bucket.owner, found.bucket.region.clone());
    deeper
}

fn message(body: Value) -> Delivery {
    Delivery {
        body: Bytes::from(body.to_string()),
        subject: Some("Amazon S3 Notification".to_owned()),
        ..Delivery::default()
    }
}

fn test_event(cx: &Cx, tx: &Tx, found: &Found) -> Value {
    json!({
        "Service": "Amazon S3",
        "Event": "s3:TestEvent",
        "Time": tx.now().to_iso8601_millis(),
        "Bucket": found.name,
        "RequestId": &*cx.request_id,
        "HostId": &*cx.request_id,
    })
}

fn principal(cx: &Cx) -> String {
    format!("AWS:{}", cx.principal.account().map_or_else(|| "Anonymous".to_owned(), |account| account.to_string()))
}

fn sequencer(tx: &Tx, version: Option<&Version>) -> String {
    let number = version.map_or_else(|| tx.now().as_millis() << 8, |version| version.number);
    format!("00{number:016X}")
}

fn record(cx: &Cx, tx: &Tx, place: &Place<'_>, version: Option<&Version>, event: &str, id: &str) -> Value {
    let found = place.found;
    let mut object = json!({
        "key": utf8_percent_encode(place.key, KEY).to_string().replace("%20", "+").replace("%2F", "/"),
        "sequencer": sequencer(tx, version),
    });
    if let Some(version) = version {
        let removed = event.starts_with("ObjectRemoved");
        if !removed {
            object["size"] = version.size.into();
        }
        if !removed || version.marker {
            object["eTag"] =
                if version.marker { "d41d8cd98f00b204e9800998ecf8427e".into() } else { version.etag.clone().into() };
        }
        if let Some(name) = place.name_of(version).filter(|_| !version.null || version.marker) {
            object["versionId"] = name.into();
        }
    }
    json!({
        "eventVersion": if event.starts_with("ObjectTagging") || event.starts_with("ObjectAcl") { "2.3" } else { "2.1" },
        "eventSource": "aws:s3",
        "awsRegion": found.bucket.region.as_str(),
        "eventTime": tx.now().to_iso8601_millis(),
        "eventName": event,
        "userIdentity": { "principalId": principal(cx) },
        "requestParameters": { "sourceIPAddress": &*cx.source_ip },
        "responseElements": { "x-amz-request-id": &*cx.request_id, "x-amz-id-2": &*cx.request_id },
        "s3": {
            "s3SchemaVersion": "1.0",
            "configurationId": id,
            "bucket": {
                "name": found.name,
                "ownerIdentity": { "principalId": names::canonical_id(found.bucket.owner) },
                "arn": names::arn(&found.name, None),
            },
            "object": object,
        },
    })
}

/// The same as the bus has it: its kind, and its detail.
fn bus_event(
    cx: &Cx,
    tx: &Tx,
    place: &Place<'_>,
    version: Option<&Version>,
    event: &str,
) -> Option<(&'static str, Value)> {
    let (kind, reason, deletion) = match event {
        "ObjectCreated:Put" => ("Object Created", Some("PutObject"), None),
        "ObjectCreated:Post" => ("Object Created", Some("POST Object"), None),
        "ObjectCreated:Copy" => ("Object Created", Some("CopyObject"), None),
        "ObjectCreated:CompleteMultipartUpload" => ("Object Created", Some("CompleteMultipartUpload"), None),
        "ObjectRemoved:Delete" => ("Object Deleted", Some("DeleteObject"), Some("Permanently Deleted")),
        "ObjectRemoved:DeleteMarkerCreated" => ("Object Deleted", Some("DeleteObject"), Some("Delete Marker Created")),
        "ObjectTagging:Put" => ("Object Tags Added", None, None),
        "ObjectTagging:Delete" => ("Object Tags Deleted", None, None),
        "ObjectAcl:Put" => ("Object ACL Updated", None, None),
        _ => return None,
    };
    let mut object = json!({ "key": place.key, "sequencer": sequencer(tx, version) });
    if let Some(version) = version {
        if kind == "Object Created" {
            object["size"] = version.size.into();
        }
        if !version.marker && deletion.is_none() {
            object["etag"] = version.etag.clone().into();
        }
        if place.found.bucket.versioning.is_some() && !version.null {
            object["version-id"] = history::name(version).into();
        }
    }
    let mut detail = json!({
        "version": "0",
        "bucket": { "name": place.found.name },
        "object": object,
        "request-id": &*cx.request_id,
        "requester": cx.principal.account().map(|account| account.to_string()),
        "source-ip-address": &*cx.source_ip,
    });
    if let Some(reason) = reason {
        detail["reason"] = reason.into();
    }
    if let Some(deletion) = deletion {
        detail["deletion-type"] = deletion.into();
    }
    Some((kind, detail))
}
