//! Settings beside the configuration: events, recursion, runtimes, scaling, code signing, tags that steer.

use compute_api::{Egress, StartPolicy};
use serde_json::{Value, json};

use crate::{
    recording::Recorded,
    world::{World, function},
};

const ARN: &str = "arn:aws:lambda:us-east-1:111111111111:function:f";
const QUEUE: &str = "arn:aws:sqs:us-east-1:111111111111:q";

#[tokio::test(flavor = "multi_thread")]
async fn event_invoke_configs_are_put_updated_listed_and_deleted() {
    let (world, recorded) = (World::new(), Recorded::load());
    world.function("f", "app.handler").await;
    world.call("PublishVersion", json!({ "FunctionName": "f" })).await;
    world.call("CreateAlias", json!({ "FunctionName": "f", "Name": "live", "FunctionVersion": "1" })).await;
    let put = |members: Value| {
        let mut input = json!({ "FunctionName": "f" });
        input.as_object_mut().unwrap().extend(members.as_object().unwrap().clone());
        input
    };
    let answer = world
        .call(
            "PutFunctionEventInvokeConfig",
            put(json!({ "MaximumRetryAttempts": 1, "DestinationConfig": { "OnFailure": { "Destination": QUEUE } } })),
        )
        .await;
    assert_eq!(
        (&answer["FunctionArn"], &answer["MaximumRetryAttempts"]),
        (&json!(format!("{ARN}:$LATEST")), &json!(1))
    );
    assert_eq!(answer["DestinationConfig"], json!({ "OnSuccess": {}, "OnFailure": { "Destination": QUEUE } }));
    assert_eq!(answer["MaximumEventAgeInSeconds"], Value::Null);
    let updated = world.call("UpdateFunctionEventInvokeConfig", put(json!({ "MaximumEventAgeInSeconds": 60 }))).await;
    assert_eq!((&updated["MaximumRetryAttempts"], &updated["MaximumEventAgeInSeconds"]), (&json!(1), &json!(60)));
    // Putting replaces all of it.
    let replaced = put(json!({ "MaximumEventAgeInSeconds": 90, "Qualifier": "$LATEST" }));
    assert_eq!(world.call("PutFunctionEventInvokeConfig", replaced).await["MaximumRetryAttempts"], Value::Null);
    for qualifier in ["1", "live"] {
        let input = put(json!({ "MaximumRetryAttempts": 0, "Qualifier": qualifier }));
        assert_eq!(
            world.call("PutFunctionEventInvokeConfig", input).await["FunctionArn"],
            format!("{ARN}:{qualifier}")
        );
    }
    let listed = world.call("ListFunctionEventInvokeConfigs", json!({ "FunctionName": "f" })).await;
    assert_eq!(listed["FunctionEventInvokeConfigs"].as_array().unwrap().len(), 3);
    let page = world.call("ListFunctionEventInvokeConfigs", json!({ "FunctionName": "f", "MaxItems": 2 })).await;
    let rest = json!({ "FunctionName": "f", "MaxItems": 2, "Marker": page["NextMarker"] });
    let rest = world.call("ListFunctionEventInvokeConfigs", rest).await;
    assert_eq!(rest["FunctionEventInvokeConfigs"].as_array().unwrap().len(), 1);
    world.call("DeleteFunctionEventInvokeConfig", json!({ "FunctionName": "f", "Qualifier": "live" })).await;
    // What belongs to a version or an alias goes with it.
    world.call("DeleteAlias", json!({ "FunctionName": "f", "Name": "live" })).await;
    world.call("DeleteFunction", json!({ "FunctionName": "f", "Qualifier": "1" })).await;
    let listed = world.call("ListFunctionEventInvokeConfigs", json!({ "FunctionName": "f" })).await;
    assert_eq!(listed["FunctionEventInvokeConfigs"].as_array().unwrap().len(), 1);
    for (operation, input, status, message) in [
        (
            "PutFunctionEventInvokeConfig",
            put(json!({})),
            400,
            "You must specify at least one of error handling or destination setting.",
        ),
        (
            "PutFunctionEventInvokeConfig",
            json!({ "FunctionName": "nobody", "MaximumRetryAttempts": 1 }),
            404,
            "The function doesn't exist.",
        ),
        (
            "PutFunctionEventInvokeConfig",
            put(json!({ "MaximumRetryAttempts": 1, "Qualifier": "gone" })),
            404,
            "The function doesn't exist.",
        ),
        (
            "PutFunctionEventInvokeConfig",
            put(json!({ "DestinationConfig": { "OnSuccess": { "Destination": ARN } } })),
            400,
            "You can't specify the function as a destination for itself.",
        ),
        (
            "PutFunctionEventInvokeConfig",
            put(json!({ "DestinationConfig": { "OnSuccess": { "Destination": format!("{ARN}unknown") } } })),
            400,
            "The destination ARN arn:aws:lambda:us-east-1:111111111111:function:funknown is invalid.",
        ),
        (
            "PutFunctionEventInvokeConfig",
            put(json!({ "DestinationConfig": { "OnSuccess": { "Destination": "arn:aws:iam::111111111111:role/r" } } })),
            400,
            "The provided destination config DestinationConfig(onSuccess=OnSuccess(destination=arn:aws:iam::111111111111:role/r), onFailure=null) is invalid.",
        ),
        (
            "UpdateFunctionEventInvokeConfig",
            put(json!({ "MaximumRetryAttempts": 1, "Qualifier": "1" })),
            404,
            "The function doesn't exist.",
        ),
        (
            "DeleteFunctionEventInvokeConfig",
            put(json!({ "Qualifier": "live" })),
            404,
            "The function arn:aws:lambda:us-east-1:111111111111:function:f:live doesn't have an EventInvokeConfig",
        ),
    ] {
        let failure = world.fails(operation, input).await;
        assert_eq!((failure.status, failure.message.as_str()), (status, message));
    }
    for input in [json!({ "MaximumRetryAttempts": 3 }), json!({ "MaximumEventAgeInSeconds": 59 })] {
        assert_eq!(world.fails("PutFunctionEventInvokeConfig", put(input)).await.code, "ValidationException");
    }
    let nobody = world.fails("GetFunctionEventInvokeConfig", json!({ "FunctionName": "nobody" })).await;
    let case = "TestLambdaFunction::test_ops_on_nonexisting_fn[get_function_event_invoke_config]";
    recorded.is_failure(case, "not_found_exception", &nobody);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_deployment_tools_read_is_answered() {
    let (world, recorded) = (World::new(), Recorded::load());
    world.function("f", "app.handler").await;
    world.call("PublishVersion", json!({ "FunctionName": "f" })).await;
    let named = json!({ "FunctionName": "f" });
    recorded.is_answer(
        "TestLambdaRecursion::test_put_function_recursion_config_default_terminate",
        "get_recursion_default_terminate_response",
        &world.call("GetFunctionRecursionConfig", named.clone()).await,
    );
    let case = "TestLambdaRecursion::test_put_function_recursion_config_allow";
    let allow = json!({ "FunctionName": "f", "RecursiveLoop": "Allow" });
    recorded.is_answer(case, "put_recursion_config_response", &world.call("PutFunctionRecursionConfig", allow).await);
    recorded.is_answer(
        case,
        "get_recursion_config_response",
        &world.call("GetFunctionRecursionConfig", named.clone()).await,
    );

    let runtime = world.call("GetRuntimeManagementConfig", named.clone()).await;
    assert_eq!(runtime, json!({ "UpdateRuntimeOn": "Auto", "FunctionArn": ARN }));
    let found = world.call("GetFunction", named.clone()).await;
    let version = found["Configuration"]["RuntimeVersionConfig"]["RuntimeVersionArn"].clone();
    let manual = json!({ "FunctionName": "f", "UpdateRuntimeOn": "Manual", "RuntimeVersionArn": version });
    world.call("PutRuntimeManagementConfig", manual).await;
    assert_eq!(world.call("GetRuntimeManagementConfig", named.clone()).await["RuntimeVersionArn"], version);
    let of_version = json!({ "FunctionName": "f", "Qualifier": "1", "UpdateRuntimeOn": "FunctionUpdate" });
    assert_eq!(world.call("PutRuntimeManagementConfig", of_version).await["FunctionArn"], format!("{ARN}:1"));
    for (input, status) in [
        (json!({ "FunctionName": "f", "UpdateRuntimeOn": "Manual" }), 400),
        (json!({ "FunctionName": "f", "UpdateRuntimeOn": "Auto", "RuntimeVersionArn": version }), 400),
        (
            json!({ "FunctionName": "f", "UpdateRuntimeOn": "Manual", "RuntimeVersionArn": "arn:aws:lambda:us-east-1::runtime:other" }),
            400,
        ),
        (json!({ "FunctionName": "f", "UpdateRuntimeOn": "Never" }), 400),
        (json!({ "FunctionName": "nobody", "UpdateRuntimeOn": "Auto" }), 404),
    ] {
        assert_eq!(world.fails("PutRuntimeManagementConfig", input).await.status, status);
    }

    let scaling = world.call("GetFunctionScalingConfig", json!({ "FunctionName": "f", "Qualifier": "1" })).await;
    assert_eq!(scaling, json!({ "FunctionArn": format!("{ARN}:1") }));
    let put = json!({
        "FunctionName": "f", "Qualifier": "1", "FunctionScalingConfig": { "MinExecutionEnvironments": 1 },
    });
    assert!(world.fails("PutFunctionScalingConfig", put).await.message.contains("no capacity provider"));

    let case = "TestCodeSigningConfig::test_code_signing_not_found_excs";
    let nobody = json!({ "FunctionName": "csc-test-doesnotexist" });
    recorded.is_answer(
        case,
        "get_function_csc_fnwithoutcsc",
        &world.call("GetFunctionCodeSigningConfig", named.clone()).await,
    );
    recorded.is_failure(
        case,
        "get_function_csc_nonexistingfn",
        &world.fails("GetFunctionCodeSigningConfig", nobody.clone()).await,
    );
    recorded.is_answer(
        case,
        "nothing_to_delete_response",
        &world.call("DeleteFunctionCodeSigningConfig", named.clone()).await,
    );
    recorded.is_failure(
        case,
        "delete_function_csc_fnnotfound",
        &world.fails("DeleteFunctionCodeSigningConfig", nobody).await,
    );
    let signing = "arn:aws:lambda:us-east-1:111111111111:code-signing-config:csc-0123456789abcdef0";
    let put = |name: &str| json!({ "FunctionName": name, "CodeSigningConfigArn": signing });
    let failure = world.fails("PutFunctionCodeSigningConfig", put("f")).await;
    recorded.is_failure(case, "put_function_csc_invalid_csc_arn", &failure);
    let failure = world.fails("PutFunctionCodeSigningConfig", put("csc-test-doesnotexist")).await;
    recorded.is_failure(case, "put_function_csc_invalid_fnname", &failure);
}

#[tokio::test(flavor = "multi_thread")]
async fn tags_steer_how_environments_are_made_and_replace_those_that_are_there() {
    let world = World::new();
    let mut input = function("f", "app.handler");
    input["Tags"] = json!({ "pileus:start": "fresh", "team": "a" });
    world.call("CreateFunction", input).await;
    world.settled("f").await;
    world.call("PublishVersion", json!({ "FunctionName": "f" })).await;
    let started = || world.host.specs.lock().last().unwrap().clone();
    world.invoke("f:1", json!({})).await;
    world.invoke("f:1", json!({})).await;
    assert_eq!((world.host.starts(), started().start), (1, StartPolicy::Fresh));
    let tag = |tags: Value| json!({ "Resource": ARN, "Tags": tags });
    world.call("TagResource", tag(json!({ "pileus:egress": "internet", "pileus:egress-allow": "10.0.0.0/8" }))).await;
    world.invoke("f:1", json!({})).await;
    assert_eq!((world.host.starts(), started().egress, started().egress_allow.len()), (2, Egress::Internet, 1));
    // Other tags change nothing.
    world.call("TagResource", tag(json!({ "team": "b" }))).await;
    world.invoke("f:1", json!({})).await;
    assert_eq!(world.host.starts(), 2);
    let untag = json!({ "Resource": ARN, "TagKeys": ["pileus:start", "pileus:egress", "pileus:egress-allow"] });
    world.call("UntagResource", untag).await;
    world.invoke("f:1", json!({})).await;
    assert_eq!((started().start, started().egress), (StartPolicy::Prepared, Egress::None));
    for (name, value) in [
        ("pileus:start", "warm"),
        ("pileus:egress", "everything"),
        ("pileus:egress-allow", "10.0.0.1/8"),
        ("pileus:unknown", "x"),
    ] {
        let failure = world.fails("TagResource", tag(json!({ name: value }))).await;
        assert_eq!((failure.status, failure.code.as_str()), (400, "InvalidParameterValueException"));
        assert!(failure.message.contains(name), "{}", failure.message);
        let mut input = function("g", "app.handler");
        input["Tags"] = json!({ name: value });
        assert!(world.fails("CreateFunction", input).await.message.contains(name));
    }
    let tags = world.call("ListTags", json!({ "Resource": ARN })).await;
    assert_eq!(tags["Tags"], json!({ "team": "b" }), "a refused change leaves nothing behind");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dead_letter_target_is_kept_answered_and_taken_away() {
    let world = World::new();
    let mut input = function("f", "app.handler");
    input["DeadLetterConfig"] = json!({ "TargetArn": QUEUE });
    assert_eq!(world.call("CreateFunction", input).await["DeadLetterConfig"], json!({ "TargetArn": QUEUE }));
    world.settled("f").await;
    let empty = json!({ "FunctionName": "f", "DeadLetterConfig": { "TargetArn": "" } });
    assert_eq!(world.call("UpdateFunctionConfiguration", empty).await["DeadLetterConfig"], Value::Null);
}
