//! SnapStart: versions that are initialised once.

use compute_api::{InitializationType, StartPolicy};
use serde_json::{Value, json};

use crate::world::{World, function};

fn snap(name: &str, handler: &str) -> Value {
    let mut input = function(name, handler);
    input["SnapStart"] = json!({ "ApplyOn": "PublishedVersions" });
    input
}

#[tokio::test(flavor = "multi_thread")]
async fn a_published_version_is_initialised_once_and_started_from_that() {
    let world = World::new();
    let created = world.call("CreateFunction", snap("f", "app.handler")).await;
    assert_eq!(created["SnapStart"], json!({ "ApplyOn": "PublishedVersions", "OptimizationStatus": "Off" }));
    world.settled("f").await;
    let published = world.call("PublishVersion", json!({ "FunctionName": "f" })).await;
    assert_eq!(published["SnapStart"], json!({ "ApplyOn": "PublishedVersions", "OptimizationStatus": "On" }));
    assert_eq!((&published["State"], &published["StateReasonCode"]), (&json!("Pending"), &json!("Creating")));
    world.settled("f:1").await;
    let version = world.call("GetFunctionConfiguration", json!({ "FunctionName": "f:1" })).await;
    assert_eq!((&version["State"], &version["StateReason"]), (&json!("Active"), &Value::Null));
    world.invoke("f:1", json!({})).await;
    world.invoke("f", json!({})).await;
    let taken = world.host.snapshots.lock().clone();
    assert_eq!(taken.len(), 1);
    assert_eq!(taken[0].initialization, InitializationType::SnapStart);
    let specs = world.host.specs.lock().clone();
    assert_eq!((&specs[0].snapshot, specs[0].initialization), (&taken[0].snapshot, InitializationType::SnapStart));
    assert_eq!((&specs[1].snapshot, specs[1].initialization), (&None, InitializationType::OnDemand));
    // A function whose tags ask for fresh processes is not forked.
    let tag =
        json!({ "Resource": "arn:aws:lambda:us-east-1:111111111111:function:f", "Tags": { "pileus:start": "fresh" } });
    world.call("TagResource", tag).await;
    world.invoke("f:1", json!({})).await;
    let spec = world.host.specs.lock().last().unwrap().clone();
    assert_eq!((&spec.snapshot, spec.start), (&None, StartPolicy::Fresh));
    world.call("DeleteFunction", json!({ "FunctionName": "f" })).await;
    world.eventually("its snapshot is forgotten", || async { !world.host.forgotten.lock().is_empty() }).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn deleting_a_version_forgets_its_snapshot() {
    let world = World::new();
    let mut input = snap("f", "app.handler");
    input["Publish"] = json!(true);
    let created = world.call("CreateFunction", input).await;
    assert_eq!((&created["Version"], &created["State"]), (&json!("1"), &json!("Pending")));
    world.settled("f:1").await;
    let name = world.host.snapshots.lock()[0].snapshot.clone().unwrap();
    world.call("DeleteFunction", json!({ "FunctionName": "f", "Qualifier": "1" })).await;
    assert_eq!(*world.host.forgotten.lock(), [name.to_string()]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_snapshotted_says_why() {
    let world = World::new();
    for (handler, state, code, reason) in [
        ("init.threads", "Active", Value::Null, "it runs two threads"),
        ("init.error", "Failed", json!("FunctionError"), "Runtime.ImportModuleError"),
        ("init.slow", "Failed", json!("FunctionError.InitTimeout"), "too long"),
        ("init.exits", "Failed", json!("FunctionError.RuntimeInitError"), "exit status 1"),
    ] {
        let name = handler.replace('.', "-");
        world.call("CreateFunction", snap(&name, handler)).await;
        world.settled(&name).await;
        world.call("PublishVersion", json!({ "FunctionName": name })).await;
        world.settled(&format!("{name}:1")).await;
        let version = world.call("GetFunctionConfiguration", json!({ "FunctionName": name, "Qualifier": "1" })).await;
        assert_eq!((&version["State"], &version["StateReasonCode"]), (&json!(state), &code), "{handler}");
        assert!(version["StateReason"].as_str().unwrap().contains(reason), "{version}");
    }
    // Refused, but run all the same, each environment by itself.
    let version = world.call("GetFunctionConfiguration", json!({ "FunctionName": "init-threads:1" })).await;
    assert_eq!(version["SnapStart"]["OptimizationStatus"], "Off");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restore_that_fails_has_the_errors_that_aws_has_for_it() {
    let world = World::new();
    for (handler, status, code) in
        [("restore.fails", 400, "SnapStartException"), ("restore.slow", 408, "SnapStartTimeoutException")]
    {
        let name = handler.replace('.', "-");
        world.call("CreateFunction", snap(&name, handler)).await;
        world.settled(&name).await;
        world.call("PublishVersion", json!({ "FunctionName": name })).await;
        world.settled(&format!("{name}:1")).await;
        let refused = world.fails("Invoke", json!({ "FunctionName": format!("{name}:1") })).await;
        assert_eq!((refused.status, refused.code.as_str()), (status, code));
        // The version that is not restored runs.
        world.invoke(&name, json!({})).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_host_is_told_what_was_deployed() {
    let world = World::new();
    let mut input = function("f", "app.handler");
    input["Environment"] = json!({ "Variables": { "STAGE": "1" } });
    world.call("CreateFunction", input).await;
    world.settled("f").await;
    let expected = world.host.expected.lock().clone();
    assert_eq!(expected.len(), 1);
    assert_eq!((expected[0].memory_mib, &expected[0].variables[..]), (128, &["STAGE".to_owned()][..]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_snapshot_that_was_being_taken_is_taken_after_a_restart_and_delays_nobody() {
    let world = World::new();
    world.call("CreateFunction", snap("f", "init.hangs")).await;
    world.settled("f").await;
    world.call("PublishVersion", json!({ "FunctionName": "f" })).await;
    world.eventually("it is begun", || async { !world.host.snapshots.lock().is_empty() }).await;
    // Others are created meanwhile.
    world.function("g", "app.handler").await;
    let refused = world.fails("Invoke", json!({ "FunctionName": "f:1" })).await;
    assert_eq!((refused.status, refused.code.as_str()), (409, "SnapStartNotReadyException"));
    let world = world.restarted();
    world.eventually("it is begun again", || async { !world.host.snapshots.lock().is_empty() }).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn snapstart_is_refused_where_aws_has_none() {
    let world = World::new();
    let with = |member: &str, value: Value| {
        let mut input = snap("f", "app.handler");
        input[member] = value;
        input
    };
    for (input, message) in [
        (with("Runtime", json!("python3.11")), "python3.11 is not supported for SnapStart enabled functions."),
        (with("Runtime", json!("nodejs20.x")), "nodejs20.x is not supported for SnapStart enabled functions."),
        (
            with("EphemeralStorage", json!({ "Size": 1024 })),
            "Ephemeral storage greater than 512 MB is not supported for SnapStart enabled functions.",
        ),
    ] {
        let failure = world.fails("CreateFunction", input).await;
        assert_eq!((failure.status, failure.message.as_str()), (400, message));
    }
    let unknown = with("SnapStart", json!({ "ApplyOn": "Always" }));
    assert_eq!(world.fails("CreateFunction", unknown).await.code, "ValidationException");
    world.call("CreateFunction", snap("f", "app.handler")).await;
    world.settled("f").await;
    world.call("PublishVersion", json!({ "FunctionName": "f" })).await;
    let put = json!({ "FunctionName": "f", "Qualifier": "1", "ProvisionedConcurrentExecutions": 1 });
    assert_eq!(
        world.fails("PutProvisionedConcurrencyConfig", put).await.message,
        "Provisioned Concurrency is not supported for SnapStart enabled functions."
    );
    let off = json!({ "FunctionName": "f", "SnapStart": { "ApplyOn": "None" } });
    assert_eq!(world.call("UpdateFunctionConfiguration", off).await["SnapStart"]["ApplyOn"], "None");
}
