//! Functions, versions, aliases: what they are through their lives.

use serde_json::{Value, json};

use crate::world::{World, function, zip};

#[tokio::test(flavor = "multi_thread")]
async fn a_function_becomes_active_is_updated_and_deleted() {
    let world = World::new();
    let created = world.call("CreateFunction", function("f", "app.handler")).await;
    assert_eq!((&created["State"], &created["StateReasonCode"]), (&json!("Pending"), &json!("Creating")));
    assert_eq!(created["LastUpdateStatus"], Value::Null);
    assert_eq!(created["LastModified"], "2026-11-23T12:00:00.000+0000");
    world.settled("f").await;
    let found = world.call("GetFunction", json!({ "FunctionName": "f" })).await;
    assert_eq!(found["Configuration"]["State"], "Active");
    assert_ne!(found["Configuration"]["RevisionId"], created["RevisionId"]);

    let again = world.fails("CreateFunction", function("f", "app.handler")).await;
    assert_eq!((again.status, again.message.as_str()), (409, "Function already exist: f"));

    let updated = world
        .call(
            "UpdateFunctionConfiguration",
            json!({ "FunctionName": "f", "Timeout": 9, "Environment": { "Variables": { "AA": "b" } } }),
        )
        .await;
    assert_eq!((&updated["Timeout"], &updated["LastUpdateStatus"]), (&json!(9), &json!("InProgress")));
    world.settled("f").await;
    world.call("DeleteFunction", json!({ "FunctionName": "f" })).await;
    let gone = world.fails("GetFunction", json!({ "FunctionName": "f" })).await;
    assert_eq!(gone.message, "Function not found: arn:aws:lambda:us-east-1:111111111111:function:f");
    let settings = world.call("GetAccountSettings", json!({})).await;
    assert_eq!(settings["AccountUsage"]["FunctionCount"], 0);
    world
        .eventually("its code is not counted any more", || async {
            world.call("GetAccountSettings", json!({})).await["AccountUsage"]["TotalCodeSize"] == 0
        })
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_update_is_refused_while_another_is_under_way_or_when_the_revision_is_old() {
    let world = World::new();
    world.call("CreateFunction", function("f", "app.handler")).await;
    world.settled("f").await;
    let revision = world.call("GetFunctionConfiguration", json!({ "FunctionName": "f" })).await["RevisionId"].clone();
    let update = json!({ "FunctionName": "f", "ZipFile": zip("app.py", "second"), "RevisionId": revision });
    world.call("UpdateFunctionCode", update.clone()).await;
    world.settled("f").await;
    let stale = world.fails("UpdateFunctionCode", update).await;
    assert_eq!((stale.status, stale.code.as_str()), (412, "PreconditionFailedException"));
    let dry = world
        .call("UpdateFunctionCode", json!({ "FunctionName": "f", "ZipFile": zip("app.py", "third"), "DryRun": true }))
        .await;
    let present = world.call("GetFunctionConfiguration", json!({ "FunctionName": "f" })).await;
    assert_ne!(dry["CodeSha256"], present["CodeSha256"]);
    assert_eq!(present["LastUpdateStatus"], "Successful");
}

#[tokio::test(flavor = "multi_thread")]
async fn versions_are_numbered_once_and_kept_apart_from_latest() {
    let world = World::new();
    world.function("f", "app.code").await;
    let here = &world;
    let publish = |description: &'static str| async move {
        here.call("PublishVersion", json!({ "FunctionName": "f", "Description": description })).await
    };
    let first = publish("one").await;
    assert_eq!(
        (&first["Version"], &first["Description"], &first["State"]),
        (&json!("1"), &json!("one"), &json!("Active"))
    );
    assert_eq!(first["FunctionArn"], "arn:aws:lambda:us-east-1:111111111111:function:f:1");
    // Nothing changed: the same version again.
    assert_eq!(publish("other").await["RevisionId"], first["RevisionId"]);
    let update = json!({ "FunctionName": "f", "ZipFile": zip("app.py", "second"), "Publish": true });
    let second = world.call("UpdateFunctionCode", update).await;
    assert_eq!(
        (&second["Version"], &second["State"], &second["LastUpdateStatus"]),
        (&json!("2"), &json!("Pending"), &Value::Null)
    );
    world.settled("f:2").await;
    world.settled("f").await;
    for (name, code) in [("f:1", "first"), ("f:2", "second"), ("f:$LATEST", "second"), ("f", "second")] {
        let (payload, answer) = world.invoke(name, json!({})).await;
        assert_eq!(payload, code, "{name}");
        let version = name.split(':').nth(1).unwrap_or("$LATEST");
        assert_eq!(answer["ExecutedVersion"], version);
    }
    world.call("CreateAlias", json!({ "FunctionName": "f", "Name": "live", "FunctionVersion": "2" })).await;
    let bound = world.fails("DeleteFunction", json!({ "FunctionName": "f", "Qualifier": "2" })).await;
    assert_eq!(bound.message, "Unable to delete version because the following aliases reference it: [live]");
    world.call("DeleteAlias", json!({ "FunctionName": "f", "Name": "live" })).await;
    world.call("DeleteFunction", json!({ "FunctionName": "f", "Qualifier": "2" })).await;
    world.call("DeleteFunction", json!({ "FunctionName": "f", "Qualifier": "99" })).await;
    // The number is not handed out again, although the content is the same.
    assert_eq!(publish("").await["Version"], "3");
    let wrong = json!({ "FunctionName": "f", "CodeSha256": "AAAA" });
    assert_eq!(world.fails("PublishVersion", wrong).await.code, "InvalidParameterValueException");
    let listed = world.call("ListVersionsByFunction", json!({ "FunctionName": "f" })).await;
    let versions: Vec<_> = listed["Versions"].as_array().unwrap().iter().map(|v| v["Version"].clone()).collect();
    assert_eq!(versions, [json!("$LATEST"), json!("1"), json!("3")]);
}

#[tokio::test(flavor = "multi_thread")]
async fn lists_come_in_pages_that_nobody_can_forge() {
    let world = World::new();
    for name in ["a", "b", "c"] {
        world.function(name, "app.handler").await;
    }
    world.call("PublishVersion", json!({ "FunctionName": "b" })).await;
    for (all, expected) in [
        (false, vec!["a:$LATEST", "b:$LATEST", "c:$LATEST"]),
        (true, vec!["a:$LATEST", "b:$LATEST", "b:1", "c:$LATEST"]),
    ] {
        for size in 1..=5 {
            let mut listed = Vec::new();
            let mut marker = Value::Null;
            loop {
                let mut input = json!({ "MaxItems": size });
                if all {
                    input["FunctionVersion"] = json!("ALL");
                }
                if !marker.is_null() {
                    input["Marker"] = marker;
                }
                let page = world.call("ListFunctions", input).await;
                let items = page["Functions"].as_array().unwrap();
                assert!(items.len() <= size);
                let name = |item: &Value| {
                    format!("{}:{}", item["FunctionName"].as_str().unwrap(), item["Version"].as_str().unwrap())
                };
                listed.extend(items.iter().map(name));
                marker = page["NextMarker"].clone();
                if marker.is_null() {
                    break;
                }
            }
            assert_eq!(listed, expected, "pages of {size}");
        }
    }
    assert_eq!(
        world.fails("ListFunctions", json!({ "Marker": "forged" })).await.code,
        "InvalidParameterValueException"
    );
    let marker = world.call("ListFunctions", json!({ "MaxItems": 1 })).await["NextMarker"].clone();
    let elsewhere = json!({ "Marker": marker, "FunctionVersion": "ALL" });
    assert_eq!(world.fails("ListFunctions", elsewhere).await.status, 400);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_function_of_the_same_name_starts_empty() {
    let world = World::new();
    world.function("f", "app.handler").await;
    world.call("PublishVersion", json!({ "FunctionName": "f" })).await;
    world.call("CreateAlias", json!({ "FunctionName": "f", "Name": "live", "FunctionVersion": "1" })).await;
    world
        .call(
            "TagResource",
            json!({ "Resource": "arn:aws:lambda:us-east-1:111111111111:function:f", "Tags": { "a": "b" } }),
        )
        .await;
    world.call("PutFunctionConcurrency", json!({ "FunctionName": "f", "ReservedConcurrentExecutions": 7 })).await;
    world.call("DeleteFunction", json!({ "FunctionName": "f" })).await;
    world.function("f", "app.handler").await;
    let found = world.call("GetFunction", json!({ "FunctionName": "f" })).await;
    assert_eq!((&found["Tags"], &found["Concurrency"]), (&Value::Null, &Value::Null));
    assert_eq!(world.fails("GetAlias", json!({ "FunctionName": "f", "Name": "live" })).await.status, 404);
    assert_eq!(world.fails("GetFunction", json!({ "FunctionName": "f", "Qualifier": "1" })).await.status, 404);
    assert_eq!(world.call("PublishVersion", json!({ "FunctionName": "f" })).await["Version"], "1");
    let settings = world.call("GetAccountSettings", json!({})).await;
    assert_eq!(settings["AccountLimit"]["UnreservedConcurrentExecutions"], 1000);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_run_here_is_refused_by_name() {
    let world = World::new();
    let with = |member: &str, value: Value| {
        let mut input = function("f", "app.handler");
        input[member] = value;
        input
    };
    for (input, status, text) in [
        (with("Runtime", json!("nodejs16.x")), 400, "The runtime nodejs16.x is not installed on this host."),
        (with("Runtime", json!("ruby3.3")), 400, "Pileus does not support the runtime ruby3.3 yet."),
        (
            with("Timeout", json!(901)),
            400,
            "Value '901' at 'timeout' failed to satisfy constraint: Member must have value less than or equal to 900",
        ),
        (
            with("MemorySize", json!(127)),
            400,
            "Value '127' at 'memorySize' failed to satisfy constraint: Member must have value greater than or equal to 128",
        ),
        (
            with(
                "FileSystemConfigs",
                json!([{ "Arn": "arn:aws:elasticfilesystem:us-east-1:111111111111:access-point/fsap-01234567890123456", "LocalMountPath": "/mnt/x" }]),
            ),
            501,
            "Pileus does not support FileSystemConfigs yet.",
        ),
        (
            with("DeadLetterConfig", json!({ "TargetArn": "arn:aws:s3:::bucket" })),
            400,
            "The provided target ARN arn:aws:s3:::bucket is invalid",
        ),
        (with("Code", json!({ "S3Bucket": "bucket", "S3Key": "key" })), 501, "S3Bucket"),
        (with("Code", json!({})), 400, "Please provide a source for function code."),
        (with("Code", json!({ "ZipFile": "" })), 400, "Uploaded file must be a non-empty zip"),
    ] {
        let failure = world.fails("CreateFunction", input).await;
        assert_eq!(failure.status, status, "{failure:?}");
        assert!(failure.message.contains(text), "{failure:?} should say {text}");
    }
    // What is empty asks for nothing.
    let empty = with("VpcConfig", json!({ "SubnetIds": [], "SecurityGroupIds": [] }));
    world.call("CreateFunction", empty).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_location_of_the_code_leads_to_the_code() {
    let world = World::new();
    world.function("f", "app.handler").await;
    let found = world.call("GetFunction", json!({ "FunctionName": "f" })).await;
    let location = found["Code"]["Location"].as_str().unwrap();
    let token = location.rsplit('/').next().unwrap();
    let package = world.lambda.package(token).await.unwrap().unwrap();
    assert_eq!(package.len() as u64, found["Configuration"]["CodeSize"].as_u64().unwrap());
    assert!(world.lambda.package("forged").await.unwrap().is_none());
}
