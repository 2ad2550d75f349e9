//! What AWS answered, against what we answer: `recorded.json` holds its answers, the code below what it had been asked.
//!
//! Every recording has its place here, in the tests named below (policies' texts in `filters`), or among those that
//! Pileus answers with a typed error ([`NOT_SERVED`]).

use model_sns::*;
use serde_json::{Map, Value};

use crate::support::*;

const RECORDED: &str = include_str!("recorded.json");

/// Recordings of what Pileus does not do: mobile push, whose operations answer `NotImplementedException`, and the log of
/// deliveries, whose settings are kept.
const NOT_SERVED: [&str; 3] = [
    "TestSNSPlatformApplicationCrud::",
    "TestSNSPlatformEndpointCrud::",
    "TestSNSPublishDelivery::test_delivery_lambda",
];

pub(crate) fn recordings() -> Map<String, Value> {
    serde_json::from_str(RECORDED).unwrap()
}

/// The code and message that AWS gave in a step.
fn told(test: &str, step: &str) -> Refusal {
    let recorded = recordings();
    let error = &recorded[test][step]["Error"];
    let text = |name: &str| error[name].as_str().unwrap_or_else(|| panic!("{test} {step}")).to_owned();
    (text("Code"), text("Message"))
}

fn topic_told(step: &str) -> Refusal {
    told("TestSNSSubscriptionSQSFifo::test_validations_for_fifo", step)
}

#[tokio::test]
async fn publishing_is_refused_in_aws_words() {
    let world = World::new();
    let topic = world.topic("t").await;
    let test = "TestSNSPublishCrud::test_publish_wrong_arn_format";
    for (arn, step) in
        [("", "empty-topic"), ("randomstring", "invalid-topic-arn"), ("randomstring:1", "invalid-topic-arn-1")]
    {
        assert_eq!(world.publish(message(arn, "x")).await.unwrap_err(), told(test, step), "{step}");
    }
    let error = world.publish(message(&topic, "")).await.unwrap_err();
    assert_eq!(error, told("TestSNSPublishCrud::test_empty_sns_message", "empty-msg-error"));
    let elsewhere = "arn:aws:sns:eu-west-1:000000000000:t";
    let test = "TestSNSPublishCrud::test_topic_publish_another_region";
    assert_eq!(world.publish(message(elsewhere, "x")).await.unwrap_err(), told(test, "error"));
    let error = world.publish_batch(batch(elsewhere, vec![entry("1", "x")])).await.unwrap_err();
    assert_eq!(error, told(test, "error-batch"));
    let test = "TestSNSPublishCrud::test_publish_too_long_message";
    assert_eq!(world.publish(message(&topic, &"x".repeat(262_145))).await.unwrap_err(), told(test, "error"));
    let values = Some([("attr1".to_owned(), attribute("Number", "1"))].into());
    let request = PublishInput { message_attributes: values, ..message(&topic, &"x".repeat(262_144)) };
    assert_eq!(world.publish(request).await.unwrap_err(), told(test, "error-with-attrs"));
    assert!(world.publish(message(&topic, &"x".repeat(262_144))).await.is_ok());
    let test = "TestSNSPublishCrud::test_message_structure_json_exc";
    let structured = |text: &str| PublishInput { message_structure: Some("json".to_owned()), ..message(&topic, text) };
    for (text, step) in [
        (r#"{"sqs": "x"}"#, "missing-default-key"),
        (r#"{"default": {"object": "x"}}"#, "key-is-not-string"),
        ("not json", "invalid-json"),
    ] {
        assert_eq!(world.publish(structured(text)).await.unwrap_err(), told(test, step), "{step}");
    }
    assert!(world.publish(structured(r#"{"default": "a", "default": "b"}"#)).await.is_ok());
}

#[tokio::test]
async fn batches_are_refused_in_aws_words() {
    let world = World::new();
    let topic = world.topic("t").await;
    let fifo = world.topic_with("t.fifo", &[("FifoTopic", "true")]).await;
    let test = "TestSNSPublishCrud::test_publish_batch_invalid_entry_id";
    for (id, step) in [
        ("message.id".to_owned(), "invalid-char-dot"),
        ("msg@123#test".to_owned(), "invalid-char-special"),
        ("a".repeat(81), "id-too-long-81"),
    ] {
        let error = world.publish_batch(batch(&topic, vec![entry(&id, "x")])).await.unwrap_err();
        assert_eq!(error, told(test, step), "{step}");
    }
    for id in ["a".repeat(80), "valid-message_123".to_owned()] {
        let answer = world.publish_batch(batch(&topic, vec![entry(&id, "x")])).await.unwrap();
        assert_eq!((answer.failed.unwrap().len(), answer.successful.unwrap().len()), (0, 1));
    }
    let test = "TestSNSSubscriptionSQS::test_publish_batch_exceptions";
    let grouped = |id: &str, group: Option<&str>| PublishBatchRequestEntry {
        message_group_id: group.map(str::to_owned),
        ..entry(id, "x")
    };
    let structured =
        PublishBatchRequestEntry { message_structure: Some("json".to_owned()), ..entry("1", r#"{"sqs":"x"}"#) };
    for (topic, entries, step) in [
        (&fifo, vec![grouped("1", None)], "no-group-id"),
        (&fifo, vec![grouped("1", Some("g"))], "no-dedup-id"),
        (&topic, vec![structured], "no-default-key-json"),
        (&topic, vec![entry("1", "x"), entry("1", "y")], "same-msg-id"),
        (&topic, (0..11).map(|id| entry(&id.to_string(), "x")).collect(), "too-many-msg"),
    ] {
        assert_eq!(world.publish_batch(batch(topic, entries)).await.unwrap_err(), told(test, step), "{step}");
    }
}

#[tokio::test]
async fn fifo_is_validated_in_aws_words() {
    let world = World::new();
    let (topic, fifo) = (world.topic("t").await, world.topic_with("t.fifo", &[("FifoTopic", "true")]).await);
    let queue = world.queue("q").await;
    let fifo_queue = world.queue("q.fifo").await;
    assert_eq!(world.try_link(&topic, "sqs", &fifo_queue, &[]).await.unwrap_err(), topic_told("not-fifo-topic"));
    let subscription = world.link(&fifo, &queue, &[]).await;
    same_subscription(
        &world.attributes(&subscription).await,
        &recordings()["TestSNSSubscriptionSQSFifo::test_validations_for_fifo"]["not-fifo-queue"],
    );
    let fifo_subscription = world.link(&fifo, &fifo_queue, &[]).await;
    let redrive = format!(r#"{{"deadLetterTargetArn":"{queue}"}}"#);
    let error = world.set(&fifo_subscription, "RedrivePolicy", &redrive).await.unwrap_err();
    assert_eq!(error, topic_told("regular-queue-for-dlq-of-fifo-topic"));
    assert_eq!(world.publish(message(&fifo, "x")).await.unwrap_err(), topic_told("no-msg-group-id"));
    let grouped = PublishInput { message_group_id: Some("g".to_owned()), ..message(&fifo, "x") };
    assert_eq!(world.publish(grouped).await.unwrap_err(), topic_told("no-dedup-policy"));
    let with_id = PublishInput { message_deduplication_id: Some("d".to_owned()), ..message(&topic, "x") };
    assert_eq!(world.publish(with_id).await.unwrap_err(), topic_told("no-msg-dedup-regular-topic"));
}

/// The same members, and the same values where they do not name something.
fn same_subscription(ours: &std::collections::BTreeMap<String, String>, theirs: &Value) {
    let theirs = theirs.get("Attributes").unwrap_or(theirs).as_object().unwrap();
    let names: Vec<_> = ours.keys().collect();
    assert_eq!(names, theirs.keys().filter(|name| *name != "ResponseMetadata").collect::<Vec<_>>());
    for (name, value) in ours {
        match theirs[name].as_str() {
            Some(text) if !text.contains('<') && name != "Owner" && name != "Endpoint" => {
                assert_eq!(value, text, "{name}")
            }
            Some(_) => {}
            // The recording shows documents as they are.
            None => assert_eq!(json(value).is_object(), theirs[name].is_object(), "{name}"),
        }
    }
}

#[tokio::test]
async fn subscriptions_look_as_aws_shows_them() {
    let world = World::new();
    let (topic, queue) = (world.topic("t").await, world.queue("q").await);
    let recorded = recordings();
    let filter = r#"{"attr1":[{"numeric":[">",0,"<=",100]}]}"#;
    let dead = r#"{"deadLetterTargetArn":"arn:aws:sqs:us-east-1:000000000000:dead"}"#;
    for (test, step, attributes) in [
        (
            "TestSNSFilterPolicyAttributes::test_filter_policy",
            "subscription-attributes",
            &[("FilterPolicy", filter)][..],
        ),
        ("TestSNSSubscriptionSQS::test_subscribe_sqs_queue", "subscription-attributes", &[("FilterPolicy", filter)]),
        (
            "TestSNSSubscriptionSQS::test_attribute_raw_subscribe",
            "subscription-attributes",
            &[("RawMessageDelivery", "true")],
        ),
        ("TestSNSSubscriptionSQS::test_publish_sqs_from_sns", "sub-attrs-raw-true", &[("RawMessageDelivery", "true")]),
        ("TestSNSSubscriptionSQS::test_publish_sqs_from_sns", "sub-attrs-raw-false", &[]),
        (
            "TestSNSSubscriptionSQS::test_publish_batch_messages_from_sns_to_sqs",
            "sub-attrs-raw-true",
            &[("RawMessageDelivery", "true")],
        ),
        ("TestSNSSubscriptionSQS::test_sqs_topic_subscription_confirmation", "subscription-attrs", &[]),
        ("TestSNSSubscriptionSQS::test_subscription_after_failure_to_deliver", "subscriptions-attrs", &[]),
        (
            "TestSNSSubscriptionSQS::test_subscription_after_failure_to_deliver",
            "subscriptions-attrs-with-redrive",
            &[("RedrivePolicy", dead)],
        ),
        (
            "TestSNSSubscriptionCrud::test_create_subscriptions_with_attributes",
            "get-attrs",
            &[("RawMessageDelivery", "true")],
        ),
        ("TestSNSSubscriptionCrud::test_not_found_error_on_set_subscription_attributes", "sub-attrs", &[]),
        (
            "TestSNSSubscriptionCrudV2::test_creating_subscription_with_attributes",
            "subscription-with-attributes",
            &[("RawMessageDelivery", "true")],
        ),
    ] {
        let subscription = world.link(&topic, &queue, attributes).await;
        same_subscription(&world.attributes(&subscription).await, &recorded[test][step]);
        world.unsubscribe(&subscription).await.unwrap();
    }
    let function = "arn:aws:lambda:us-east-1:000000000000:function:f";
    let subscription = world.try_link(&topic, "lambda", function, &[("RedrivePolicy", dead)]).await.unwrap();
    let test = "TestSNSSubscriptionLambda::test_redrive_policy_lambda_subscription";
    same_subscription(&world.attributes(&subscription).await, &recorded[test]["subscription-attributes"]);
    let subscription = world.try_link(&topic, "sms", "+123123123", &[]).await.unwrap();
    same_subscription(
        &world.attributes(&subscription).await,
        &recorded["TestSNSSMS::test_subscribe_sms_endpoint"]["subscribe-sms-attrs"],
    );
}

#[tokio::test]
async fn subscribing_is_refused_in_aws_words() {
    let world = World::new();
    let (topic, queue) = (world.topic("t").await, world.queue("q").await);
    let test = "TestSNSSubscriptionCrud::test_create_subscriptions_with_attributes";
    let error = world.try_link(&topic, "sqs", &queue, &[("RawMessageDelivery", "wrongvalue")]).await.unwrap_err();
    assert_eq!(error, told(test, "subscribe-wrong-attr"));
    let missing =
        GetSubscriptionAttributesInput { subscription_arn: format!("{topic}:8c3c6a1e-0000-0000-0000-000000000000") };
    assert_eq!(world.get_subscription(missing).await.unwrap_err(), told(test, "get-attrs-nonexistent-sub"));
    let url = "http://127.0.0.1:4566/000000000000/q";
    let error = world.try_link(&topic, "sqs", url, &[]).await.unwrap_err();
    assert_eq!(error, told("TestSNSSubscriptionSQS::test_subscribe_to_sqs_with_queue_url", "sub-queue-url"));
    let error = world.try_link(&topic, "sms", "invalid-number", &[]).await.unwrap_err();
    assert_eq!(error, told("TestSNSSubscriptionCrudV2::test_subscribe_bad_sms", "subscribe-bad-sms"));
    let elsewhere = "arn:aws:sns:eu-west-1:000000000000:t";
    let error = world.try_link(elsewhere, "sqs", &queue, &[]).await.unwrap_err();
    assert_eq!(error, told("TestSNSMultiRegions::test_cross_region_delivery_sqs", "subscribe-cross-region"));
    let subscription = world.link(&topic, &queue, &[]).await;
    let test = "TestSNSSubscriptionCrud::test_validate_set_sub_attributes";
    for (name, value, step) in [
        ("FilterPolicy", "{invalidjson}", "invalid-json-filter-policy"),
        ("RawMessageDelivery", "test-ValUe", "raw-message-wrong-value"),
        ("RawMessageDelivery", "", "raw-message-empty-value"),
        ("RedrivePolicy", "{invalidjson}", "invalid-json-redrive-policy"),
        ("RedrivePolicy", r#"{"deadLetterTargetArn": "fake-arn"}"#, "fake-arn-redrive-policy"),
        ("FakeAttribute", "x", "fake-attribute"),
    ] {
        assert_eq!(world.set(&subscription, name, value).await.unwrap_err(), told(test, step), "{step}");
    }
    world.unsubscribe(&subscription).await.unwrap();
    world.unsubscribe(&subscription).await.unwrap();
    let error = world.set(&subscription, "RawMessageDelivery", "true").await.unwrap_err();
    let test = "TestSNSSubscriptionCrud::test_not_found_error_on_set_subscription_attributes";
    assert_eq!(error, told(test, "sub-not-found"));
    let listed = ListSubscriptionsByTopicInput { topic_arn: topic.clone(), next_token: None };
    assert_eq!(world.list_by_topic(listed).await.unwrap().subscriptions.unwrap(), []);
    let test = "TestSNSSubscriptionCrud::test_sns_confirm_subscription_wrong_token";
    let wellformed = "ab".repeat(64);
    for (topic, token, step) in [
        (topic.as_str(), "randomtoken", "invalid-token"),
        (&topic, &wellformed, "token-not-exists"),
        (&format!("{topic}x"), &wellformed, "topic-not-exists"),
    ] {
        let request = ConfirmSubscriptionInput {
            topic_arn: topic.to_owned(),
            token: token.to_owned(),
            authenticate_on_unsubscribe: None,
        };
        assert_eq!(world.confirm(request).await.unwrap_err(), told(test, step), "{step}");
    }
}

/// A topic's attributes as the recording shows them: documents as they are, names of ours.
fn shown(attributes: &std::collections::BTreeMap<String, String>, name: &str) -> Value {
    let mut shown = Map::new();
    for (key, value) in attributes {
        let document = matches!(key.as_str(), "Policy" | "EffectiveDeliveryPolicy" | "DeliveryPolicy");
        shown.insert(key.clone(), if document { json(value) } else { Value::from(value.as_str()) });
    }
    let text = Value::Object(shown).to_string().replace(&format!(":{name}\""), ":<resource:1>\"");
    json(
        &text
            .replace("000000000000", "111111111111")
            .replace("arn:aws:", "arn:<partition>:")
            .replace("us-east-1", "<region>"),
    )
}

async fn attributes(world: &World, topic: &str) -> std::collections::BTreeMap<String, String> {
    let request = GetTopicAttributesInput { topic_arn: topic.to_owned() };
    world.get_topic(request).await.unwrap().attributes.unwrap()
}

async fn tags(world: &World, topic: &str) -> Vec<Tag> {
    let request = ListTagsForResourceRequest { resource_arn: topic.to_owned() };
    world.list_tags(request).await.unwrap().tags.unwrap()
}

#[tokio::test]
async fn topics_look_as_aws_shows_them() {
    let world = World::new();
    let recorded = recordings();
    let topic = world.topic("plain").await;
    let theirs = &recorded["TestSNSTopicCrud::test_create_topic_test_arn"]["get-topic-attrs"]["Attributes"];
    assert_eq!(&shown(&attributes(&world, &topic).await, "plain"), theirs);
    let fifo = [("FifoTopic", "true"), ("DisplayName", "TestTopic"), ("SignatureVersion", "2")];
    let topic = world.topic_with("t.fifo", &fifo).await;
    let theirs = &recorded["TestSNSTopicCrud::test_create_topic_with_attributes"]["get-topic-attrs"]["Attributes"];
    assert_eq!(&shown(&attributes(&world, &topic).await, "t.fifo"), theirs);
    let steps = &recorded["TestSNSTopicCrud::test_topic_delivery_policy_crud"];
    for (policy, step) in [
        (r#"{"http":{"defaultRequestPolicy":{"headerContentType":"application/json"}}}"#, "get-topic-attrs"),
        (
            r#"{"http":{"defaultHealthyRetryPolicy":{"minDelayTarget":5,"maxDelayTarget":6,"numRetries":1}}}"#,
            "get-topic-attrs-after-update",
        ),
        (r#"{"http":{"defaultHealthyRetryPolicy":null}}"#, "get-topic-attrs-after-none"),
        ("", "get-topic-attrs-after-delete"),
    ] {
        world.set_topic(&topic, "DeliveryPolicy", policy).await.unwrap();
        assert_eq!(shown(&attributes(&world, &topic).await, "t.fifo"), steps[step]["Attributes"], "{step}");
    }
    let test = "TestSNSTopicCrud::test_create_topic_with_attributes";
    for (arn, step) in [
        ("topic", "get-attrs-malformed-topic"),
        ("arn:aws:sns:us-east-1:000000000000:none", "get-attrs-nonexistent-topic"),
    ] {
        let request = GetTopicAttributesInput { topic_arn: arn.to_owned() };
        assert_eq!(world.get_topic(request).await.unwrap_err(), told(test, step), "{step}");
    }
    let permit = AddPermissionInput {
        topic_arn: world.topic("permitted").await,
        label: "label".to_owned(),
        aws_account_id: vec!["111111111111".to_owned()],
        action_name: vec!["Publish".to_owned()],
    };
    let remove = RemovePermissionInput { topic_arn: permit.topic_arn.clone(), label: "label".to_owned() };
    world.call(Request::AddPermission(Box::new(permit.clone()))).await.unwrap();
    world.call(Request::RemovePermission(Box::new(remove))).await.unwrap();
    let policy = shown(&attributes(&world, &permit.topic_arn).await, "permitted")["Policy"].clone();
    assert_eq!(policy, recorded["TestSNSTopicCrudV2::test_topic_remove_permission"]["topic-policy"]);
    world.delete_topic(&topic).await.unwrap();
    world.delete_topic(&topic).await.unwrap();
}

#[tokio::test]
async fn tags_are_as_aws_has_them() {
    let world = World::new();
    let tag = |key: &str, value: &str| Tag { key: key.to_owned(), value: value.to_owned() };
    let create = |tags: Vec<Tag>| CreateTopicInput { name: "t".to_owned(), tags: Some(tags), ..Default::default() };
    let error = world.create_topic(create(vec![tag("k1", "v1"), tag("k1", "v2")])).await.unwrap_err();
    assert_eq!(error, told("TestSNSTopicCrud::test_tags", "duplicate-key-error"));
    let topic = world.create_topic(create(vec![tag("k1", "v1"), tag("k2", "v2")])).await.unwrap().topic_arn.unwrap();
    assert_eq!(tags(&world, &topic).await, [tag("k1", "v1"), tag("k2", "v2")]);
    let untag = UntagResourceRequest { resource_arn: topic.clone(), tag_keys: vec!["k1".to_owned()] };
    world.untag(untag).await.unwrap();
    assert_eq!(tags(&world, &topic).await, [tag("k2", "v2")]);
    world.tag(TagResourceRequest { resource_arn: topic.clone(), tags: vec![tag("k2", "v2b")] }).await.unwrap();
    assert_eq!(tags(&world, &topic).await, [tag("k2", "v2b")]);
    world.delete_topic(&topic).await.unwrap();
    world.create_topic(create(vec![])).await.unwrap();
    assert_eq!(tags(&world, &topic).await, []);
}

#[tokio::test]
async fn sms_settings_are_validated_in_aws_words() {
    let world = World::new();
    for (name, value, step) in [
        ("InvalidAttribute", "x", "InvalidAttributeName"),
        ("DefaultSMSType", "InvalidValue", "InvalidSMSType"),
        ("DefaultSendID", "123", "NoLetterID"),
        ("DefaultSendID", "aaaaaaaaaaaaaaaaaaaaa", "TooLongID"),
    ] {
        let error = world.set_sms(SetSMSAttributesInput { attributes: map(&[(name, value)]) }).await.unwrap_err();
        assert_eq!(error, told(&format!("TestSNSSMS::test_set_invalid_sms_attributes[{step}]"), "invalid-attribute"));
    }
    world.set_sms(SetSMSAttributesInput { attributes: map(&[("DefaultSMSType", "Promotional")]) }).await.unwrap();
    let settings = world.get_sms(GetSMSAttributesInput::default()).await.unwrap().attributes.unwrap();
    assert_eq!(settings, map(&[("DefaultSMSType", "Promotional")]));
    let opt_in = |number: &str| OptInPhoneNumberInput { phone_number: number.to_owned() };
    let error = world.opt_in(opt_in("not-a-number")).await.unwrap_err();
    assert_eq!(error, told("TestSNSSMS::test_opt_in_invalid_number", "opt-in-non-existing-number"));
    world.opt_in(opt_in("+44123456789")).await.unwrap();
    let asked = CheckIfPhoneNumberIsOptedOutInput { phone_number: "+44123456789".to_owned() };
    assert_eq!(world.is_opted_out(asked).await.unwrap().is_opted_out, Some(false));
}

#[tokio::test]
async fn notifications_have_the_members_that_aws_sends() {
    let world = World::new();
    let recorded = recordings();
    let members = |document: &Value| document.as_object().unwrap().keys().cloned().collect::<Vec<_>>();
    let queue = world.queue("q").await;
    for (test, step, name, attributes) in [
        ("TestSNSSubscriptionSQS::test_publish_unicode_chars", "received-message", "plain", false),
        ("TestSNSSubscriptionSQS::test_publish_sqs_verify_signature[1]", "messages", "one", true),
        ("TestSNSSubscriptionSQS::test_publish_sqs_verify_signature[2]", "messages", "two", true),
        ("TestSNSSubscriptionSQSFifo::test_fifo_topic_to_regular_sqs[False]", "messages", "t.fifo", false),
    ] {
        let version = if test.ends_with("[2]") { "2" } else { "1" };
        let mut with = vec![("SignatureVersion", version)];
        with.extend(name.ends_with(".fifo").then_some(("FifoTopic", "true")));
        let topic = world.topic_with(name, &with).await;
        world.link(&topic, &queue, &[]).await;
        let mut request = message(&topic, "ö§a1\"_!?,. £$-");
        if attributes {
            request.message_attributes = Some([("attr1".to_owned(), attribute("Number", "1"))].into());
        }
        if name.ends_with(".fifo") {
            request.message_group_id = Some("g".to_owned());
            request.message_deduplication_id = Some("d".to_owned());
        }
        world.publish(request).await.unwrap();
        let body = world.bodies(&queue).await.pop().unwrap();
        let theirs = &recorded[test][step]["Messages"][0]["Body"];
        // The one recording shows the message alone.
        if let Some(theirs) = theirs.as_object() {
            assert_eq!(members(&json(&body)), members(&Value::Object(theirs.clone())), "{test}");
            let version = theirs.get("SignatureVersion");
            assert_eq!(json(&body).get("SignatureVersion"), version, "{test}");
        } else {
            assert_eq!(json(&body)["Message"], *theirs, "{test}");
        }
    }
}

/// Recordings that another test makes by hand, and which.
const ELSEWHERE: [(&str, &str); 17] = [
    ("TestSNSFilterPolicyBody::", "filters::a_message_goes_to_those_who_want_it, test_sns.py"),
    ("TestSNSFilterPolicyConditions::", "filters"),
    ("TestSNSSMS::test_is_phone_number_opted_out", "nobody can opt out of what is not sent: docs/topics.md"),
    ("TestSNSSMS::test_list_phone_numbers_opted_out", "the same"),
    ("TestSNSSMS::test_opt_in_non_existing_phone_number", "sms_settings_are_validated_in_aws_words"),
    ("TestSNSSubscriptionCrud::test_unsubscribe_idempotency", "subscribing_is_refused_in_aws_words"),
    (
        "TestSNSSubscriptionCrudV2::test_confirm_subscription",
        "calls::a_subscriber_confirms_and_only_then_gets_messages",
    ),
    ("TestSNSSubscriptionCrudV2::test_subscribe_sms", "subscriptions_look_as_aws_shows_them"),
    ("TestSNSSubscriptionLambda::test_publish_lambda_verify_signature", "test_sns.py: a function verifies"),
    ("TestSNSSubscriptionLambda::test_sns_topic_as_lambda_dead_letter_queue", "services-lambda: destinations"),
    ("TestSNSSubscriptionSQS::test_publish_message_group_id", "test_sns.py: test_a_trace_goes_along"),
    ("TestSNSSubscriptionSQS::test_redrive_policy_sqs_queue_subscription", "publishing, calls: buried"),
    ("TestSNSSubscriptionSQSFifo::test_message_to_fifo_sqs", "fifo::messages_come_in_order_and_once"),
    ("TestSNSSubscriptionSQSFifo::test_fifo_topic_to_regular_sqs", "fifo, and above"),
    ("TestSNSTopicCrud::test_create_topic_after_delete_with_new_tags", "tags_are_as_aws_has_them"),
    ("TestSNSTopicCrud::test_delete_topic_idempotency", "topics_look_as_aws_shows_them"),
    ("TestSNSTopicCrud::test_tags_removed_after_deletion", "tags_are_as_aws_has_them"),
];

#[test]
fn every_recording_has_its_place() {
    let here = [include_str!("recorded.rs"), include_str!("../../../../../tests/blackbox/test_sns.py")];
    let elsewhere = ELSEWHERE.iter().map(|(name, _)| *name).chain(NOT_SERVED);
    let placed = |name: &str| {
        let whole = name.split('[').next().unwrap_or(name);
        elsewhere.clone().any(|prefix| name.starts_with(prefix)) || here.iter().any(|text| text.contains(whole))
    };
    let unplaced: Vec<_> = recordings().into_iter().map(|(name, _)| name).filter(|name| !placed(name)).collect();
    assert!(unplaced.is_empty(), "{unplaced:#?}");
}
