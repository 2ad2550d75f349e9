//! Provisioned concurrency, and how it shares the account's concurrency with what is reserved.

use serde_json::{Value, json};

use crate::{recording::Recorded, world::World};

fn put(qualifier: &str, count: u32) -> Value {
    json!({ "FunctionName": "f", "Qualifier": qualifier, "ProvisionedConcurrentExecutions": count })
}

fn of(qualifier: &str) -> Value {
    json!({ "FunctionName": "f", "Qualifier": qualifier })
}

impl World {
    async fn provided(&self, qualifier: &str) {
        self.eventually(&format!("{qualifier} has its environments"), || async {
            self.call("GetProvisionedConcurrencyConfig", of(qualifier)).await["Status"] == "READY"
        })
        .await;
    }

    async fn with_versions(versions: &[&str]) -> Self {
        let world = Self::new();
        world.function("f", "app.handler").await;
        for version in versions {
            let description = json!({ "FunctionName": "f", "Description": version });
            world.call("UpdateFunctionConfiguration", description).await;
            world.settled("f").await;
            assert_eq!(world.call("PublishVersion", json!({ "FunctionName": "f" })).await["Version"], *version);
        }
        world
    }

    async fn alias(&self, name: &str, version: &str) {
        self.call("CreateAlias", json!({ "FunctionName": "f", "Name": name, "FunctionVersion": version })).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn environments_are_ready_ahead_and_end_with_the_configuration() {
    let (world, recorded) = (World::with_versions(&["1"]).await, Recorded::load());
    let case = "TestLambdaConcurrency::test_provisioned_concurrency";
    let answer = world.call("PutProvisionedConcurrencyConfig", put("1", 5)).await;
    recorded.is_answer(case, "put_provisioned_5", &answer);
    world.provided("1").await;
    let ready = world.call("GetProvisionedConcurrencyConfig", of("1")).await;
    recorded.is_answer(case, "get_provisioned_postwait", &ready);
    assert_eq!(world.host.starts(), 5);
    world.invoke("f:1", json!({})).await;
    assert_eq!(world.host.starts(), 5, "the call found one of them");
    let listed = world.call("ListProvisionedConcurrencyConfigs", json!({ "FunctionName": "f" })).await;
    assert_eq!(
        listed["ProvisionedConcurrencyConfigs"][0]["FunctionArn"],
        "arn:aws:lambda:us-east-1:111111111111:function:f:1"
    );
    world.call("DeleteProvisionedConcurrencyConfig", of("1")).await;
    world.eventually("they are ended", || async { world.lambda.environments().environments.is_empty() }).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_configured_is_there_again_after_a_restart() {
    let world = World::with_versions(&["1"]).await;
    world.alias("live", "1").await;
    world.call("PutProvisionedConcurrencyConfig", put("live", 2)).await;
    world.provided("live").await;
    let world = world.restarted();
    world.provided("live").await;
    assert_eq!(world.host.starts(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_alias_that_moves_takes_its_environments_along() {
    let world = World::with_versions(&["1", "2"]).await;
    world.alias("live", "1").await;
    world.call("PutProvisionedConcurrencyConfig", put("live", 2)).await;
    world.provided("live").await;
    let moved = json!({ "FunctionName": "f", "Name": "live", "FunctionVersion": "2" });
    world.call("UpdateAlias", moved).await;
    world.provided("live").await;
    let versions: Vec<String> = world.host.specs.lock().iter().map(|spec| spec.version.clone()).collect();
    assert_eq!(versions, ["1", "1", "2", "2"]);
    let weighted = json!({
        "FunctionName": "f", "Name": "live", "RoutingConfig": { "AdditionalVersionWeights": { "1": 0.5 } },
    });
    world.call("UpdateAlias", weighted).await;
    world.provided("live").await;
    let latest = json!({ "FunctionName": "f", "Name": "live", "FunctionVersion": "$LATEST", "RoutingConfig": {} });
    assert_eq!(world.fails("UpdateAlias", latest).await.code, "InvalidParameterValueException");
    world.call("DeleteFunction", json!({ "FunctionName": "f" })).await;
    world.eventually("all are ended", || async { world.lambda.environments().environments.is_empty() }).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn configurations_are_refused_as_at_aws() {
    let (world, recorded) = (World::with_versions(&["1", "2"]).await, Recorded::load());
    let case = "TestLambdaProvisionedConcurrency::test_lambda_provisioned_lifecycle";
    world.alias("alias-name", "1").await;
    recorded.is_answer(
        case,
        "put_provisioned_on_version",
        &world.call("PutProvisionedConcurrencyConfig", put("1", 1)).await,
    );
    let conflict = world.fails("PutProvisionedConcurrencyConfig", put("alias-name", 1)).await;
    recorded.is_failure(case, "put_provisioned_on_alias_versionconflict", &conflict);
    world.call("DeleteProvisionedConcurrencyConfig", of("1")).await;
    // What is not there is as good as deleted.
    world.call("DeleteProvisionedConcurrencyConfig", of("1")).await;
    let none = world.fails("GetProvisionedConcurrencyConfig", of("1")).await;
    recorded.is_failure(case, "get_provisioned_version_postdelete", &none);
    world.call("PutProvisionedConcurrencyConfig", put("alias-name", 1)).await;
    let conflict = world.fails("PutProvisionedConcurrencyConfig", put("1", 1)).await;
    recorded.is_failure(case, "put_provisioned_on_version_conflict", &conflict);
    world.call("DeleteAlias", json!({ "FunctionName": "f", "Name": "alias-name" })).await;
    let gone = world.fails("GetProvisionedConcurrencyConfig", of("alias-name")).await;
    recorded.is_failure(case, "get_provisioned_alias_postaliasdelete", &gone);
    let listed = world.call("ListProvisionedConcurrencyConfigs", json!({ "FunctionName": "f" })).await;
    recorded.is_answer(case, "list_response_postdeletes", &listed);
    world.alias("latest", "$LATEST").await;
    for (operation, input, code, message) in [
        (
            "PutProvisionedConcurrencyConfig",
            put("$LATEST", 1),
            "InvalidParameterValueException",
            "Provisioned Concurrency Configs cannot be applied to unpublished function versions.",
        ),
        (
            "PutProvisionedConcurrencyConfig",
            put("latest", 1),
            "InvalidParameterValueException",
            "Provisioned Concurrency Configs cannot be applied to unpublished function versions.",
        ),
        (
            "GetProvisionedConcurrencyConfig",
            of("$LATEST"),
            "InvalidParameterValueException",
            "The function resource provided must be an alias or a published version.",
        ),
        (
            "PutProvisionedConcurrencyConfig",
            put("9", 1),
            "ResourceNotFoundException",
            "Function not found: arn:aws:lambda:us-east-1:111111111111:function:f:9",
        ),
    ] {
        let failure = world.fails(operation, input).await;
        assert_eq!((failure.code.as_str(), failure.message.as_str()), (code, message));
    }
    assert_eq!(world.fails("PutProvisionedConcurrencyConfig", put("1", 0)).await.code, "ValidationException");
}

#[tokio::test(flavor = "multi_thread")]
async fn reserved_and_provisioned_concurrency_fit_together_and_into_the_account() {
    let (world, recorded) = (World::with_versions(&["1", "2"]).await, Recorded::load());
    let reserve = |count: u32| json!({ "FunctionName": "f", "ReservedConcurrentExecutions": count });
    let case = "TestLambdaProvisionedConcurrency::test_provisioned_concurrency_limits";
    let failure = world.fails("PutProvisionedConcurrencyConfig", put("1", 1001)).await;
    recorded.is_failure(case, "put_provisioned_concurrency_account_limit_exceeded", &failure);
    assert!(failure.message.ends_with("[1000]."));
    let failure = world.fails("PutProvisionedConcurrencyConfig", put("1", 901)).await;
    recorded.is_failure(case, "put_provisioned_concurrency_below_unreserved_min_value", &failure);
    assert!(failure.message.ends_with("[100]."));

    let case = "TestLambdaConcurrency::test_reserved_provisioned_overlap";
    world.call("PutFunctionConcurrency", reserve(2)).await;
    recorded.is_answer(case, "put_provisioned_5", &world.call("PutProvisionedConcurrencyConfig", put("1", 2)).await);
    let failure = world.fails("PutProvisionedConcurrencyConfig", put("1", 3)).await;
    recorded.is_failure(case, "reserved_equals_provisioned_increase_provisioned_exc", &failure);
    let failure = world.fails("PutProvisionedConcurrencyConfig", put("2", 1)).await;
    recorded.is_failure(case, "reserved_equals_provisioned_another_provisioned_exc", &failure);
    let failure = world.fails("PutFunctionConcurrency", reserve(1)).await;
    recorded.is_failure(case, "reserved_lower_than_provisioned_exc", &failure);
    world.provided("1").await;
    // All that is reserved is provisioned for version 1: nothing is left for `$LATEST`.
    let failure = world.fails("Invoke", json!({ "FunctionName": "f" })).await;
    recorded.is_failure(case, "reserved_equals_provisioned_latest_invoke_exc", &failure);

    // Without the reservation it is taken from the unreserved, and comes back with its end.
    world.call("DeleteFunctionConcurrency", json!({ "FunctionName": "f" })).await;
    world.function("g", "app.handler").await;
    let other = |count: u32| json!({ "FunctionName": "g", "ReservedConcurrentExecutions": count });
    assert_eq!(world.fails("PutFunctionConcurrency", other(899)).await.code, "InvalidParameterValueException");
    world.call("PutFunctionConcurrency", other(898)).await;
    world.call("DeleteProvisionedConcurrencyConfig", of("1")).await;
    world.call("PutFunctionConcurrency", other(900)).await;
}
