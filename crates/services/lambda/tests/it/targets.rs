//! Functions as targets of other services: who may start one, and that it is started.

use std::sync::Arc;

use base_types::Arn;
use bytes::Bytes;
use serde_json::{Value, json};
use services_kernel::{Cx, Principal, Source};
use services_ports::{Delivery, DeliveryError};

use crate::world::World;

const FUNCTION: &str = "arn:aws:lambda:us-east-1:111111111111:function:f";

impl World {
    /// What comes of a delivery.
    async fn deliver(&self, cx: &Cx, target: &str) -> Result<(), String> {
        let (destinations, cx) = (self.destinations.clone(), cx.clone());
        let target: Arn = target.parse().unwrap();
        let delivery = Delivery { body: Bytes::from_static(br#"{"n":1}"#), ..Delivery::default() };
        let outcome = self.store.transact(move |tx| match destinations.deliver(&cx, tx, &target, &delivery) {
            Err(DeliveryError::Fault(fault)) => Err(fault),
            Err(DeliveryError::Denied(text)) => Ok(Err(text.trim_start_matches("AccessDeniedException: ").to_owned())),
            Err(other) => Ok(Err(format!("not denied: {other}"))),
            Ok(()) => Ok(Ok(())),
        });
        outcome.await.unwrap()
    }

    /// The context in which a service acts for one of its resources.
    fn on_behalf(&self, service: &str, resource: &str) -> Cx {
        self.cx.consequence(Source { service: service.to_owned(), arn: resource.parse().unwrap() })
    }

    async fn permit_service(&self, statement: &str, principal: &str, more: Value) {
        let mut input = json!({
            "FunctionName": "f", "StatementId": statement, "Action": "lambda:InvokeFunction", "Principal": principal
        });
        input.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        self.call("AddPermission", input).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_needs_a_permission_that_names_it_and_its_resource() {
    let mine = "111111111111";
    for (service, own, other) in [
        ("sns.amazonaws.com", "arn:aws:sns:us-east-1:111111111111:t", "arn:aws:sns:us-east-1:111111111111:u"),
        (
            "events.amazonaws.com",
            "arn:aws:events:us-east-1:111111111111:rule/r",
            "arn:aws:events:us-east-1:111111111111:rule/s",
        ),
        (
            "scheduler.amazonaws.com",
            "arn:aws:scheduler:us-east-1:111111111111:schedule/default/s",
            "arn:aws:scheduler:us-east-1:111111111111:schedule/default/t",
        ),
        ("s3.amazonaws.com", "arn:aws:s3:us-east-1:111111111111:b", "arn:aws:s3:us-east-1:222222222222:b"),
    ] {
        let world = World::new();
        world.function("f", "app.handler").await;
        let (asks, stranger) = (world.on_behalf(service, own), world.on_behalf(service, other));
        let denied = format!(
            "User: {service} is not authorized to perform: lambda:InvokeFunction on resource: {FUNCTION} because no \
             resource-based policy allows the lambda:InvokeFunction action"
        );
        assert_eq!(world.deliver(&asks, FUNCTION).await, Err(denied.clone()), "{service}: nothing permits it");
        world.permit_service("else", "iot.amazonaws.com", json!({})).await;
        assert_eq!(world.deliver(&asks, FUNCTION).await, Err(denied.clone()), "{service}: another service may");
        world.permit_service("arn", service, json!({ "SourceArn": own })).await;
        assert_eq!(world.deliver(&asks, FUNCTION).await, Ok(()), "{service}");
        assert_eq!(world.deliver(&stranger, FUNCTION).await, Err(denied.clone()), "{service}: another resource");
        // By account instead.
        world.call("RemovePermission", json!({ "FunctionName": "f", "StatementId": "arn" })).await;
        world.permit_service("account", service, json!({ "SourceAccount": "222222222222" })).await;
        assert_eq!(world.deliver(&asks, FUNCTION).await, Err(denied.clone()), "{service}: another account");
        world.permit_service("mine", service, json!({ "SourceAccount": mine })).await;
        assert_eq!(world.deliver(&asks, FUNCTION).await, Ok(()), "{service}");
        // Both conditions of one statement have to hold.
        world.call("RemovePermission", json!({ "FunctionName": "f", "StatementId": "mine" })).await;
        world.permit_service("both", service, json!({ "SourceArn": own, "SourceAccount": "222222222222" })).await;
        assert_eq!(world.deliver(&asks, FUNCTION).await, Err(denied), "{service}: one condition fails");
        world.permit_service("all", service, json!({ "SourceArn": format!("{}*", &own[..own.len() - 1]) })).await;
        assert_eq!(world.deliver(&asks, FUNCTION).await, Ok(()), "{service}: ARNs may have wildcards");
        world.eventually("every delivery runs", || async { world.host.seen.lock().len() == 3 }).await;
        assert!(world.host.seen.lock().iter().all(|seen| &seen.payload[..] == br#"{"n":1}"#));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_arn_that_is_called_decides_whose_policy_is_asked() {
    let world = World::new();
    world.function("f", "app.handler").await;
    world.call("PublishVersion", json!({ "FunctionName": "f" })).await;
    world.call("CreateAlias", json!({ "FunctionName": "f", "FunctionVersion": "1", "Name": "live" })).await;
    let rule = world.on_behalf("events.amazonaws.com", "arn:aws:events:us-east-1:111111111111:rule/r");
    let live = format!("{FUNCTION}:live");
    world.permit_service("on-alias", "events.amazonaws.com", json!({ "Qualifier": "live" })).await;
    assert_eq!(world.deliver(&rule, &live).await, Ok(()));
    assert!(world.deliver(&rule, FUNCTION).await.is_err(), "the function's own policy is another");
    assert!(world.deliver(&rule, &format!("{FUNCTION}:1")).await.is_err(), "so is the version's");
    world.permit_service("on-function", "events.amazonaws.com", json!({})).await;
    assert_eq!(world.deliver(&rule, FUNCTION).await, Ok(()));
    let nobody = world.deliver(&rule, &FUNCTION.replace("function:f", "function:nobody")).await.unwrap_err();
    assert!(nobody.starts_with("User: events.amazonaws.com is not authorized"), "{nobody}: nothing is told of it");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_role_of_the_account_needs_no_permission_and_one_of_another_does() {
    let world = World::new();
    world.function("f", "app.handler").await;
    let rule =
        world.on_behalf("scheduler.amazonaws.com", "arn:aws:scheduler:us-east-1:111111111111:schedule/default/s");
    let role = |account: &str| Cx {
        principal: Arc::new(Principal::AssumedRole {
            account: account.parse().unwrap(),
            role: "runner".to_owned(),
            session: "s".to_owned(),
        }),
        ..rule.clone()
    };
    assert_eq!(world.deliver(&role("111111111111"), FUNCTION).await, Ok(()));
    assert!(world.deliver(&role("222222222222"), FUNCTION).await.is_err());
    world.permit_service("them", "222222222222", json!({})).await;
    assert_eq!(world.deliver(&role("222222222222"), FUNCTION).await, Ok(()));
    world.eventually("both run", || async { world.host.seen.lock().len() == 2 }).await;
}
