//! Filter policies: AWS's recorded texts, and who gets what.

use model_sns::*;

use crate::support::*;

#[tokio::test]
async fn every_recorded_refusal_of_a_policy_has_its_text() {
    let world = World::new();
    let topic = world.topic("t").await;
    let recorded = crate::recorded::recordings();
    let mut seen = 0;
    for (test, steps) in recorded.iter().filter(|(test, _)| test.starts_with("TestSNSFilterPolicyConditions::")) {
        for (step, answer) in steps.as_object().unwrap() {
            let text = answer["Error"]["Message"].as_str().unwrap();
            // AWS shows what it was given.
            let Some((_, shown)) = text.split_once("[Source: (String)\"") else { continue };
            let policy = shown.rsplit_once("\"; line:").unwrap().0;
            let given = [("FilterPolicy", policy), ("FilterPolicyScope", "MessageBody")];
            let error = world.try_link(&topic, "sms", "+123123123", &given).await.unwrap_err();
            assert_eq!(error, refusal("InvalidParameter", text), "{test} {step}");
            seen += 1;
        }
    }
    assert!(seen >= 25, "{seen}");
}

#[tokio::test]
async fn the_limits_of_a_policy_have_their_recorded_texts() {
    let world = World::new();
    let topic = world.topic("t").await;
    let values = |count: usize| (0..count).map(|number| format!("\"v{number}\"")).collect::<Vec<_>>().join(",");
    let six = (0..6).map(|number| format!("\"k{number}\":[\"v\"]")).collect::<Vec<_>>().join(",");
    let prefix = "Attributes Reason: FilterPolicy: ";
    let cidr = |network: &str| format!(r#"{{"key":[{{"cidr":"{network}"}}]}}"#);
    for (policy, scope, reason) in [
        (format!("{{{six}}}"), "MessageAttributes", "Filter policy can not have more than 5 keys"),
        (format!("{{\"k\":[{}]}}", values(151)), "MessageAttributes", "Filter policy is too complex"),
        (format!("{{\"a\":[{}],\"b\":[{}]}}", values(15), values(11)), "MessageAttributes", "Filter policy is too complex"),
        (
            r#"{"source":["a","b","c","d"],"$or":[{"name":["1","2","3","4","5","6"]},{"type":["a","b","c","d"],"$or":[{"id":[1,2,3,4]},{"space":[1,2,3,4]}]}]}"#.to_owned(),
            "MessageAttributes",
            "Filter policy is too complex",
        ),
        (
            r#"{"$or":[{"name":["1","2","3"]},{"space":["a","b"]}],"detail":{"scope":["a","b"],"$or":[{"source":["a"]},{"type":["a","b","c"]}]}}"#.to_owned(),
            "MessageBody",
            "Filter policy is too complex",
        ),
        (cidr("bad-filter"), "MessageBody", "Malformed CIDR, one '/' required"),
        (cidr("bad-filter/32"), "MessageBody", "Nonstandard IP address: bad-filter"),
        (cidr("bad-filter/bad"), "MessageBody", "Malformed CIDR, mask bits must be an integer"),
        (cidr("xx.11.xx/8"), "MessageBody", "Nonstandard IP address: xx.11.xx"),
        (cidr("xxxx:db8:1234:1a00::/64"), "MessageBody", "Nonstandard IP address: xxxx:db8:1234:1a00::"),
    ] {
        let given = [("FilterPolicy", policy.as_str()), ("FilterPolicyScope", scope)];
        let error = world.try_link(&topic, "sms", "+123123123", &given).await.unwrap_err();
        assert_eq!(error, invalid(&format!("{prefix}{reason}")), "{policy}");
    }
}

async fn say(world: &World, topic: &str, text: &str, number: Option<&str>) {
    let values = number.map(|number| [("attr1".to_owned(), attribute("Number", number))].into());
    world.publish(PublishInput { message_attributes: values, ..message(topic, text) }).await.unwrap();
}

#[tokio::test]
async fn a_message_goes_to_those_who_want_it() {
    let world = World::new();
    let topic = world.topic("t").await;
    let mut queues = Vec::new();
    for (name, scope, policy) in [
        ("all", "MessageAttributes", ""),
        ("range", "MessageAttributes", r#"{"attr1":[{"numeric":[">",0,"<=",100]}]}"#),
        ("absent", "MessageAttributes", r#"{"attr1":[null,{"anything-but":"whatever"}]}"#),
        (
            "body",
            "MessageBody",
            r#"{"object":{"key":[{"prefix":"auto-"},"hardcodedvalue"]},"test":[{"exists":false}]}"#,
        ),
        ("dotted", "MessageBody", r#"{"object.nested":{"test":["string.value"]}}"#),
    ] {
        let queue = world.queue(name).await;
        let mut attributes = vec![("RawMessageDelivery", "true")];
        if !policy.is_empty() {
            attributes.extend([("FilterPolicy", policy), ("FilterPolicyScope", scope)]);
        }
        world.link(&topic, &queue, &attributes).await;
        queues.push(queue);
    }
    for (text, number, wanting) in [
        ("plain", Some("99"), &["all", "range", "absent"][..]),
        ("plain", Some("101"), &["all", "absent"]),
        ("plain", None, &["all", "absent"]),
        (r#"{"object": {"key": "auto-test"}}"#, Some("101"), &["all", "absent", "body"]),
        (r#"{"object": {"key": "hardcodedvalue"}}"#, Some("101"), &["all", "absent", "body"]),
        (r#"{"object": {"key": "auto-test"}, "test": 1}"#, Some("101"), &["all", "absent"]),
        (r#"{"object": {"nested": {"test": "string.value"}}}"#, Some("101"), &["all", "absent", "dotted"]),
        (r#"{"object.nested.test": "string.value"}"#, Some("101"), &["all", "absent", "dotted"]),
        (r#"{"object.nested": {"test": "string.value"}}"#, Some("101"), &["all", "absent", "dotted"]),
    ] {
        say(&world, &topic, text, number).await;
        for queue in &queues {
            let name = queue.rsplit(':').next().unwrap();
            let expected: &[&str] = if wanting.contains(&name) { &[text] } else { &[] };
            assert_eq!(world.bodies(queue).await, expected, "{name}: {text} {number:?}");
        }
    }
}

#[tokio::test]
async fn a_changed_policy_holds_for_the_very_next_message() {
    let world = World::new();
    let (topic, queue) = (world.topic("t").await, world.queue("q").await);
    let subscription = world.link(&topic, &queue, &[("RawMessageDelivery", "true")]).await;
    for (policy, count) in [(r#"{"a":["b"]}"#, 0), ("", 1), (r#"{"a":["c"]}"#, 0), (r#"{"a":[{"exists":false}]}"#, 1)] {
        world.set(&subscription, "FilterPolicy", policy).await.unwrap();
        world.say(&topic, "x").await;
        assert_eq!(world.take(&queue).await.len(), count, "{policy}");
    }
}
