//! Layers: published, listed, permitted, used, deleted.

use serde_json::{Value, json};
use services_kernel::Cx;

use crate::{
    recording::Recorded,
    world::{World, function, layer, zip},
};

const ARN: &str = "arn:aws:lambda:us-east-1:111111111111:layer";

fn with_layers(name: &str, layers: &Value) -> Value {
    let mut input = function(name, "app.handler");
    input["Layers"] = layers.clone();
    input
}

#[tokio::test(flavor = "multi_thread")]
async fn layers_are_published_permitted_and_refused_as_at_aws() {
    let (world, recorded) = (World::new(), Recorded::load());
    let case = "TestLambdaLayer::test_layer_function_exceptions";
    let mut empty = layer("l", "lib.py", "one");
    empty["CompatibleRuntimes"] = json!([]);
    empty["CompatibleArchitectures"] = json!(["x86_64"]);
    recorded.is_answer(case, "publish_result", &world.call("PublishLayerVersion", empty.clone()).await);
    recorded.is_answer(case, "publish_result_2", &world.call("PublishLayerVersion", empty.clone()).await);
    recorded.is_answer(case, "publish_result_3", &world.call("PublishLayerVersion", empty).await);
    for (step, layers) in [
        ("add_layer_arn_without_version_exc", json!([format!("{ARN}:l")])),
        ("add_nonexistent_layer_exc", json!([format!("{ARN}:doesnotexist:1")])),
        ("add_nonexistent_layer_version_exc", json!([format!("{ARN}:l:9")])),
        ("two_layer_versions_single_function_exc", json!([format!("{ARN}:l:1"), format!("{ARN}:l:2")])),
        (
            "three_layer_versions_single_function_exc",
            json!([format!("{ARN}:l:1"), format!("{ARN}:l:2"), format!("{ARN}:l:3")]),
        ),
        ("two_identical_layer_versions_single_function_exc", json!([format!("{ARN}:l:1"), format!("{ARN}:l:1")])),
        ("create_function_with_layer_in_different_region", json!(["arn:aws:lambda:eu-west-1:111111111111:layer:l:1"])),
    ] {
        recorded.is_failure(case, step, &world.fails("CreateFunction", with_layers("f", &layers)).await);
    }
    let six: Vec<String> = (0..6).map(|n| format!("{ARN}:l{n}:1")).collect();
    assert_eq!(
        world.fails("CreateFunction", with_layers("f", &json!(six))).await.message,
        "Cannot reference more than 5 layers."
    );
    let case = "TestLambdaLayer::test_layer_compatibilities[runtimes0]";
    let mut many = layer("m", "lib.py", "one");
    let published = recorded.step(case, "publish_result")["answer"].clone();
    many["CompatibleRuntimes"] = published["CompatibleRuntimes"].clone();
    many["CompatibleArchitectures"] = published["CompatibleArchitectures"].clone();
    recorded.is_answer(case, "publish_result", &world.call("PublishLayerVersion", many).await);

    let case = "TestLambdaLayer::test_layer_policy_lifecycle";
    let mut policed = layer("p", "lib.py", "one");
    policed["CompatibleRuntimes"] = json!(["python3.12"]);
    policed["CompatibleArchitectures"] = json!(["x86_64"]);
    recorded.is_answer(case, "publish_result", &world.call("PublishLayerVersion", policed).await);
    let of = json!({ "LayerName": "p", "VersionNumber": 1 });
    let with = |members: Value| {
        let mut input = of.clone();
        input.as_object_mut().unwrap().extend(members.as_object().unwrap().clone());
        input
    };
    let parsed = |mut answer: Value, member: &str| {
        answer[member] = serde_json::from_str(answer[member].as_str().unwrap()).unwrap();
        answer
    };
    assert_eq!(
        world.fails("GetLayerVersionPolicy", of.clone()).await.message,
        "No policy is associated with the given resource."
    );
    let grant = |id: &str| with(json!({ "StatementId": id, "Action": "lambda:GetLayerVersion", "Principal": "*" }));
    let first = world.call("AddLayerVersionPermission", grant("s1")).await;
    recorded.is_answer(case, "add_policy_s1", &parsed(first.clone(), "Statement"));
    let policy = || async { parsed(world.call("GetLayerVersionPolicy", of.clone()).await, "Policy") };
    recorded.is_answer(case, "get_layer_version_policy", &policy().await);
    assert_eq!(world.fails("AddLayerVersionPermission", grant("s1")).await.status, 409);
    let mut stale = grant("s2");
    stale["RevisionId"] = json!("other");
    assert_eq!(
        world.fails("AddLayerVersionPermission", stale.clone()).await.message,
        "The Revision Id provided does not match the latest Revision Id. Call the GetLayerPolicy API to retrieve the latest \
         Revision Id"
    );
    stale["RevisionId"] = first["RevisionId"].clone();
    recorded.is_answer(
        case,
        "add_policy_s2",
        &parsed(world.call("AddLayerVersionPermission", stale).await, "Statement"),
    );
    recorded.is_answer(case, "get_layer_version_policy_postadd2", &policy().await);
    world.call("RemoveLayerVersionPermission", with(json!({ "StatementId": "s2" }))).await;
    recorded.is_answer(case, "get_layer_version_policy_postdeletes2", &policy().await);
    let gone = world.fails("RemoveLayerVersionPermission", with(json!({ "StatementId": "s2" }))).await;
    assert_eq!((gone.status, gone.message.as_str()), (404, "Statement s2 is not found in resource policy."));
    let nowhere = json!({ "LayerName": "p", "VersionNumber": 7, "StatementId": "s", "Action": "lambda:GetLayerVersion", "Principal": "*" });
    assert_eq!(
        world.fails("AddLayerVersionPermission", nowhere).await.message,
        format!("Layer version {ARN}:p:7 does not exist.")
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn layers_are_handed_to_environments_in_order_and_outlive_their_deletion() {
    let world = World::new();
    world.call("PublishLayerVersion", layer("a", "a.txt", "from a")).await;
    world.call("PublishLayerVersion", layer("b", "b.txt", "from b")).await;
    let layers = json!([format!("{ARN}:b:1"), format!("{ARN}:a:1")]);
    let created = world.call("CreateFunction", with_layers("f", &layers)).await;
    let arns: Vec<_> = created["Layers"].as_array().unwrap().iter().map(|layer| layer["Arn"].clone()).collect();
    assert_eq!(json!(arns), layers);
    assert!(created["Layers"][0]["CodeSize"].as_u64().unwrap() > 0);
    world.settled("f").await;
    world.call("PublishVersion", json!({ "FunctionName": "f" })).await;
    for name in ["a", "b"] {
        world.call("DeleteLayerVersion", json!({ "LayerName": name, "VersionNumber": 1 })).await;
        // What is not there is as good as deleted.
        world.call("DeleteLayerVersion", json!({ "LayerName": name, "VersionNumber": 1 })).await;
    }
    assert_eq!(world.fails("GetLayerVersion", json!({ "LayerName": "a", "VersionNumber": 1 })).await.status, 404);
    world.invoke("f", json!({})).await;
    world.invoke("f:1", json!({})).await;
    for spec in world.host.specs.lock().iter() {
        let files: Vec<_> = ["b.txt", "a.txt"].iter().zip(&spec.layers).map(|(file, at)| at.join(file)).collect();
        assert_eq!(std::fs::read_to_string(&files[0]).unwrap(), "from b");
        assert_eq!(std::fs::read_to_string(&files[1]).unwrap(), "from a");
    }
    // Numbers are never handed out twice.
    assert_eq!(world.call("PublishLayerVersion", layer("a", "a.txt", "again")).await["Version"], 2);
    // Taking the layers away replaces the environments.
    let update = json!({ "FunctionName": "f", "Layers": [] });
    assert_eq!(world.call("UpdateFunctionConfiguration", update).await["Layers"], Value::Null);
    world.settled("f").await;
    world.invoke("f", json!({})).await;
    assert!(world.host.specs.lock().last().unwrap().layers.is_empty());
    world.call("DeleteFunction", json!({ "FunctionName": "f" })).await;
    world
        .eventually("nothing but the new layer is counted", || async {
            let settings = world.call("GetAccountSettings", json!({})).await;
            let found = world.call("GetLayerVersion", json!({ "LayerName": "a", "VersionNumber": 2 })).await;
            settings["AccountUsage"]["TotalCodeSize"] == found["Content"]["CodeSize"]
        })
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_zip_may_be_code_and_layer_at_once() {
    let world = World::new();
    let mut same = layer("a", "app.py", "first");
    same["Description"] = json!("the code of f");
    same["LicenseInfo"] = json!("MIT");
    world.call("PublishLayerVersion", same).await;
    world.call("CreateFunction", with_layers("f", &json!([format!("{ARN}:a:1")]))).await;
    world.settled("f").await;
    // The code changes, the layer with the same bytes stays.
    world.call("UpdateFunctionCode", json!({ "FunctionName": "f", "ZipFile": zip("app.py", "second") })).await;
    world.settled("f").await;
    world.call("DeleteLayerVersion", json!({ "LayerName": "a", "VersionNumber": 1 })).await;
    world.invoke("f", json!({})).await;
    let spec = world.host.specs.lock().last().unwrap().clone();
    assert_eq!(std::fs::read_to_string(spec.layers[0].join("app.py")).unwrap(), "first");
    assert_eq!(std::fs::read_to_string(spec.code.join("app.py")).unwrap(), "second");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_layer_of_another_account_needs_its_permission() {
    let world = World::new();
    let other = Cx::internal("222222222222".parse().unwrap(), world.cx.region.clone(), "x");
    let published = world.try_call(&other, "PublishLayerVersion", layer("shared", "a.txt", "theirs")).await.unwrap().1;
    let arn = published["LayerVersionArn"].as_str().unwrap();
    let refused = world.fails("CreateFunction", with_layers("f", &json!([arn]))).await;
    assert_eq!((refused.status, refused.code.as_str()), (403, "AccessDeniedException"));
    assert!(
        refused.message.ends_with(&format!(
            "is not authorized to perform: lambda:GetLayerVersion on resource: {arn} because no resource-based policy allows \
             the lambda:GetLayerVersion action"
        )),
        "{}",
        refused.message
    );
    assert_eq!(world.fails("GetLayerVersionByArn", json!({ "Arn": arn })).await.status, 403);
    let grant = json!({
        "LayerName": "shared", "VersionNumber": 1, "StatementId": "s", "Action": "lambda:GetLayerVersion",
        "Principal": "111111111111",
    });
    world.try_call(&other, "AddLayerVersionPermission", grant).await.unwrap();
    assert_eq!(world.call("GetLayerVersionByArn", json!({ "Arn": arn })).await["Version"], 1);
    world.call("CreateFunction", with_layers("f", &json!([arn]))).await;
    world.settled("f").await;
    world.invoke("f", json!({})).await;
    let mine = json!({ "LayerName": arn.rsplit_once(':').unwrap().0, "VersionNumber": 1 });
    assert_eq!(world.fails("DeleteLayerVersion", mine).await.status, 403);
}

#[tokio::test(flavor = "multi_thread")]
async fn lists_of_layers_are_filtered_and_paged() {
    let world = World::new();
    for (name, runtimes) in [("a", json!(["python3.11"])), ("a", json!(["python3.12"])), ("b", json!(["nodejs20.x"]))] {
        let mut input = layer(name, "x", "y");
        input["CompatibleRuntimes"] = runtimes;
        input["CompatibleArchitectures"] = json!(["arm64"]);
        world.call("PublishLayerVersion", input).await;
    }
    world.call("PublishLayerVersion", layer("c", "x", "y")).await;
    world.call("DeleteLayerVersion", json!({ "LayerName": "c", "VersionNumber": 1 })).await;
    for (filter, expected) in [
        (json!({}), vec![("a", 2), ("b", 1)]),
        (json!({ "CompatibleRuntime": "python3.11" }), vec![("a", 1)]),
        (json!({ "CompatibleArchitecture": "arm64", "CompatibleRuntime": "nodejs20.x" }), vec![("b", 1)]),
        (json!({ "CompatibleArchitecture": "x86_64" }), vec![]),
    ] {
        let listed = world.call("ListLayers", filter).await;
        let found: Vec<_> = listed["Layers"]
            .as_array()
            .unwrap()
            .iter()
            .map(|layer| {
                let version = layer["LatestMatchingVersion"]["Version"].as_u64().unwrap();
                (layer["LayerName"].as_str().unwrap(), version)
            })
            .collect();
        assert_eq!(found, expected);
    }
    let first = world.call("ListLayers", json!({ "MaxItems": 1 })).await;
    let second = world.call("ListLayers", json!({ "MaxItems": 1, "Marker": first["NextMarker"] })).await;
    assert_eq!((&second["Layers"][0]["LayerName"], &second["NextMarker"]), (&json!("b"), &Value::Null));
    let newest = world.call("ListLayerVersions", json!({ "LayerName": "a", "MaxItems": 1 })).await;
    assert_eq!(newest["LayerVersions"][0]["Version"], 2);
    let older = json!({ "LayerName": "a", "MaxItems": 1, "Marker": newest["NextMarker"] });
    let older = world.call("ListLayerVersions", older).await;
    assert_eq!((&older["LayerVersions"][0]["Version"], &older["NextMarker"]), (&json!(1), &Value::Null));
    let none = world.call("ListLayerVersions", json!({ "LayerName": "never" })).await;
    assert_eq!(none["LayerVersions"], json!([]));
    for (operation, input, status) in [
        ("ListLayers", json!({ "CompatibleRuntime": "python1" }), 400),
        ("GetLayerVersion", json!({ "LayerName": "a", "VersionNumber": 0 }), 400),
        ("GetLayerVersion", json!({ "LayerName": "a", "VersionNumber": 9 }), 404),
        ("PublishLayerVersion", json!({ "LayerName": "a", "Content": {} }), 400),
        ("PublishLayerVersion", json!({ "LayerName": "a", "Content": { "S3Bucket": "bucket", "S3Key": "key" } }), 501),
        ("PublishLayerVersion", json!({ "LayerName": "a", "Content": { "ZipFile": "AAAA" } }), 400),
    ] {
        assert_eq!(world.fails(operation, input).await.status, status, "{operation}");
    }
}
