//! Invocations: answers, errors, logs, limits, and that changes hold for the very next call.

use std::future::Future as _;

use base64::{Engine, engine::general_purpose::STANDARD};
use serde_json::{Value, json};
use services_kernel::Cx;
use services_ports::Ending;

use crate::world::{World, zip};

#[tokio::test(flavor = "multi_thread")]
async fn an_invocation_answers_with_its_log() {
    let world = World::new();
    world.function("f", "app.handler").await;
    let input = json!({ "Payload": STANDARD.encode(r#"{"name":"Ada"}"#), "LogType": "Tail" });
    let (payload, answer) = world.invoke_with("f", input).await;
    assert_eq!(payload, json!({ "name": "Ada" }));
    assert_eq!((&answer["StatusCode"], &answer["ExecutedVersion"]), (&json!(200), &json!("$LATEST")));
    assert_eq!(answer["FunctionError"], Value::Null);
    let tail = String::from_utf8(STANDARD.decode(answer["LogResult"].as_str().unwrap()).unwrap()).unwrap();
    let id = tail.split(' ').nth(2).unwrap();
    assert_eq!(
        tail,
        format!(
            "START RequestId: {id} Version: $LATEST\nhandling {{\"name\":\"Ada\"}}\nEND RequestId: {id}\nREPORT RequestId: \
             {id}\tDuration: 1.50 ms\tBilled Duration: 14 ms\tMemory Size: 128 MB\tMax Memory Used: 36 MB\tInit Duration: \
             12.00 ms\tIsolation: full\tOrigin: fresh\t\n"
        )
    );
    world.invoke("f", json!({})).await;
    assert_eq!(world.host.starts(), 1, "the second invocation is warm");
    world
        .eventually("both are in the log", || async {
            world.lines.all().iter().any(|(.., text)| text.matches("REPORT").count() == 2)
        })
        .await;
    let all = world.lines.all();
    let (group, stream, text) = &all[0];
    assert_eq!((all.len(), group.as_str()), (1, "/aws/lambda/f"));
    assert!(
        stream.starts_with("2026/11/23/[$LATEST]") && stream.len() == "2026/11/23/[$LATEST]".len() + 32,
        "{stream}"
    );
    assert!(text.starts_with(
        "INIT_START Runtime Version: python:3.12\tRuntime Version ARN: arn:aws:lambda:us-east-1::runtime:"
    ));
    assert!(text.contains(&tail), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_warm_invocation_needs_no_store() {
    let world = World::new();
    world.function("f", "app.handler").await;
    world.call("PublishVersion", json!({ "FunctionName": "f" })).await;
    world.call("CreateAlias", json!({ "FunctionName": "f", "Name": "live", "FunctionVersion": "1" })).await;
    for name in ["f", "f:live"] {
        world.invoke(name, json!(1)).await;
    }
    world.store.shutdown().await;
    for name in ["f", "f:live"] {
        assert_eq!(world.invoke(name, json!(2)).await.0, 2);
    }
    let cold = world.fails("Invoke", json!({ "FunctionName": "f", "Qualifier": "1" })).await;
    assert_eq!(cold.status, 503, "what is not cached is read, and the store has stopped");
}

#[tokio::test(flavor = "multi_thread")]
async fn failures_have_the_forms_of_aws() {
    let world = World::new();
    for (handler, error_type, message) in [
        ("app.fails", "ValueError", "bad thing"),
        ("app.times_out", "Sandbox.Timedout", "Task timed out after 3.00 seconds"),
        ("app.exits", "Runtime.ExitError", "Error: Runtime exited without providing a reason"),
        ("init.error", "Runtime.ImportModuleError", "no module"),
    ] {
        let name = handler.replace('.', "-");
        world.function(&name, handler).await;
        let (payload, answer) = world.invoke(&name, json!({})).await;
        assert_eq!((&answer["FunctionError"], &answer["StatusCode"]), (&json!("Unhandled"), &json!(200)), "{handler}");
        assert_eq!(payload["errorType"], error_type);
        assert!(payload["errorMessage"].as_str().unwrap().contains(message), "{payload}");
    }
    world.eventually("the init failure is logged", || async {
        world.lines.all().iter().any(|(group, _, text)| group == "/aws/lambda/init-error" && text.contains("INIT_REPORT Init Duration: 12.00 ms\tPhase: init\tStatus: error\tError Type: Runtime.ImportModuleError\n"))
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_acknowledged_change_holds_for_the_very_next_call() {
    let world = World::new();
    world.function("f", "app.code").await;
    assert_eq!(world.invoke("f", json!({})).await.0, "first");
    for round in 0..5 {
        let code = format!("code {round}");
        world.call("UpdateFunctionCode", json!({ "FunctionName": "f", "ZipFile": zip("app.py", &code) })).await;
        // Not settled yet: the new code runs all the same.
        assert_eq!(world.invoke("f", json!({})).await.0, code);
        world.settled("f").await;
        world.call("PutFunctionConcurrency", json!({ "FunctionName": "f", "ReservedConcurrentExecutions": 0 })).await;
        let throttled = world.fails("Invoke", json!({ "FunctionName": "f" })).await;
        assert_eq!((throttled.status, throttled.message.as_str()), (429, "Rate Exceeded."));
        assert_eq!(throttled.body["Reason"], "ReservedFunctionConcurrentInvocationLimitExceeded");
        world.call("DeleteFunctionConcurrency", json!({ "FunctionName": "f" })).await;
        world.invoke("f", json!({})).await;
    }
    world
        .call(
            "UpdateFunctionConfiguration",
            json!({ "FunctionName": "f", "Handler": "app.context", "Environment": { "Variables": { "AA": "b" } } }),
        )
        .await;
    assert_eq!(world.invoke("f", json!({})).await.0["variables"], json!({ "AA": "b" }));
    world.call("DeleteFunction", json!({ "FunctionName": "f" })).await;
    assert_eq!(world.fails("Invoke", json!({ "FunctionName": "f" })).await.status, 404);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_commit_on_a_thread_of_the_store_ends_idle_environments() {
    let world = World::new();
    world.function("f", "app.handler").await;
    world.invoke("f", json!({})).await;
    assert_eq!(world.lambda.environments().environments.len(), 1);
    // The memory store commits where it is asked: here on a thread that knows no runtime, as a store's own thread.
    let delete = world.deletion("f");
    std::thread::spawn(move || {
        let mut delete = Box::pin(delete);
        let mut context = std::task::Context::from_waker(std::task::Waker::noop());
        assert!(delete.as_mut().poll(&mut context).is_ready());
    })
    .join()
    .unwrap();
    world.eventually("no environment is left", || async { world.lambda.environments().environments.is_empty() }).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn reserved_concurrency_survives_a_restart() {
    let world = World::new();
    world.function("f", "app.handler").await;
    world.call("PutFunctionConcurrency", json!({ "FunctionName": "f", "ReservedConcurrentExecutions": 0 })).await;
    let world = world.restarted();
    assert_eq!(world.fails("Invoke", json!({ "FunctionName": "f" })).await.code, "TooManyRequestsException");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_alias_routes_by_weight() {
    let world = World::new();
    world.function("f", "app.context").await;
    world.call("PublishVersion", json!({ "FunctionName": "f" })).await;
    world.call("UpdateFunctionConfiguration", json!({ "FunctionName": "f", "Timeout": 9 })).await;
    world.settled("f").await;
    world.call("PublishVersion", json!({ "FunctionName": "f" })).await;
    let alias = json!({ "FunctionName": "f", "Name": "live", "FunctionVersion": "1", "RoutingConfig": { "AdditionalVersionWeights": { "2": 0.5 } } });
    world.call("CreateAlias", alias).await;
    let mut counts = [0; 2];
    for _ in 0..200 {
        let (payload, answer) = world.invoke("f:live", json!({})).await;
        assert_eq!(payload["arn"], "arn:aws:lambda:us-east-1:111111111111:function:f:live");
        assert_eq!(payload["version"], answer["ExecutedVersion"]);
        counts[usize::from(answer["ExecutedVersion"] == "2")] += 1;
    }
    assert!(counts.iter().all(|&count| count > 60), "{counts:?}");
    world
        .call(
            "UpdateAlias",
            json!({ "FunctionName": "f", "Name": "live", "RoutingConfig": { "AdditionalVersionWeights": {} } }),
        )
        .await;
    for _ in 0..20 {
        assert_eq!(world.invoke("f:live", json!({})).await.1["ExecutedVersion"], "1");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_that_cannot_be_are_refused_in_awss_words() {
    let world = World::new();
    world.function("f", "app.context").await;
    let with = |payload: &[u8], kind: &str| json!({ "FunctionName": "f", "InvocationType": kind, "Payload": STANDARD.encode(payload) });
    let large = vec![b' '; 6 * 1024 * 1024 + 1];
    for (input, status, code, text) in [
        (
            with(&large, "RequestResponse"),
            413,
            "RequestEntityTooLargeException",
            "Request must be smaller than 6291456 bytes for the InvokeFunction operation",
        ),
        (
            with(&large[..(1 << 20) + 1], "Event"),
            413,
            "RequestEntityTooLargeException",
            "1048577 byte payload is too large for the Event invocation type (limit 1048576 bytes)",
        ),
        (
            with(b"hello", "RequestResponse"),
            400,
            "InvalidRequestContentException",
            "Could not parse request body into json: Could not parse payload into json: Unrecognized token 'hello'",
        ),
        (
            json!({ "FunctionName": "f", "ClientContext": "%%" }),
            400,
            "InvalidRequestContentException",
            "Client context must be a valid Base64-encoded JSON object.",
        ),
        (
            json!({ "FunctionName": "f", "Qualifier": "absent" }),
            404,
            "ResourceNotFoundException",
            "Function not found: arn:aws:lambda:us-east-1:111111111111:function:f:absent",
        ),
        (
            json!({ "FunctionName": "f", "InvocationType": "Never" }),
            400,
            "ValidationException",
            "Value 'Never' at 'invocationType'",
        ),
    ] {
        let failure = world.fails("Invoke", input).await;
        assert_eq!((failure.status, failure.code.as_str()), (status, code), "{failure:?}");
        assert!(failure.message.contains(text), "{failure:?}");
    }
    assert_eq!(world.host.seen.lock().len(), 0);
    let dry = world.call("Invoke", json!({ "FunctionName": "f", "InvocationType": "DryRun" })).await;
    assert_eq!(dry["StatusCode"], 204);
    assert_eq!(world.host.seen.lock().len(), 0);
    let client = STANDARD.encode(r#"{"custom":{"k":"v"}}"#);
    let (payload, _) = world.invoke_with("f", json!({ "ClientContext": client })).await;
    assert_eq!(payload["client"], r#"{"custom":{"k":"v"}}"#);
    assert!(payload["trace"].as_str().unwrap().starts_with("Root=1-"));
}

#[tokio::test(flavor = "multi_thread")]
async fn another_account_needs_a_permission() {
    let world = World::new();
    world.function("f", "app.handler").await;
    let arn = "arn:aws:lambda:us-east-1:111111111111:function:f";
    let stranger = Cx::internal("222222222222".parse().unwrap(), world.cx.region.clone(), "r");
    let input = json!({ "FunctionName": arn });
    let refused = world.try_call(&stranger, "Invoke", input.clone()).await.unwrap_err();
    assert_eq!(
        refused.message,
        "User: arn:aws:iam::222222222222:root is not authorized to perform: lambda:InvokeFunction on resource: \
         arn:aws:lambda:us-east-1:111111111111:function:f because no resource-based policy allows the lambda:InvokeFunction \
         action"
    );
    // Nor is it told whether something is there.
    let absent = json!({ "FunctionName": "arn:aws:lambda:us-east-1:111111111111:function:absent" });
    assert_eq!(world.try_call(&stranger, "Invoke", absent).await.unwrap_err().status, 403);
    let permission = json!({ "FunctionName": "f", "StatementId": "s", "Action": "lambda:InvokeFunction", "Principal": "222222222222" });
    world.call("AddPermission", permission).await;
    world.try_call(&stranger, "Invoke", input.clone()).await.unwrap();
    world.call("RemovePermission", json!({ "FunctionName": "f", "StatementId": "s" })).await;
    assert_eq!(world.try_call(&stranger, "Invoke", input).await.unwrap_err().status, 403);
    let foreign = world.try_call(&stranger, "GetFunction", json!({ "FunctionName": arn })).await.unwrap_err();
    assert_eq!(foreign.code, "AccessDeniedException");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failed_initialisation_is_tried_again_within_the_invocation() {
    let world = World::new();
    world.function("never", "init.error").await;
    let (payload, answer) = world.invoke("never", json!({})).await;
    assert_eq!(
        (&payload["errorType"], &answer["FunctionError"]),
        (&json!("Runtime.ImportModuleError"), &json!("Unhandled"))
    );
    world.function("late", "init.error_once").await;
    let (payload, answer) = world.invoke_with("late", json!({ "LogType": "Tail" })).await;
    assert_eq!((payload, &answer["FunctionError"]), (json!({}), &Value::Null));
    let tail = String::from_utf8(STANDARD.decode(answer["LogResult"].as_str().unwrap()).unwrap()).unwrap();
    // The second attempt is part of the invocation: it is billed with it, and there is no `Init Duration`.
    assert!(
        tail.contains("\tDuration: 13.50 ms\tBilled Duration: 14 ms\t") && !tail.contains("Init Duration"),
        "{tail}"
    );
    world
        .eventually("both attempts are logged", || async {
            let all = world.lines.all();
            let of = |name: &str| all.iter().filter(|(group, ..)| group.ends_with(name)).map(|(.., text)| text.clone()).collect::<String>();
            let report = |phase| format!("INIT_REPORT Init Duration: 12.00 ms\tPhase: {phase}\tStatus: error\tError Type: Runtime.ImportModuleError\n");
            let (never, late) = (of("never"), of("late"));
            never.contains(&report("init")) && never.contains(&report("invoke")) && never.contains("REPORT RequestId")
                && late.contains(&report("init")) && !late.contains("Phase: invoke")
        })
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_attempt_takes_from_the_time_of_its_invocation() {
    let world = World::new();
    world.function("f", "init.error_once_then_hangs").await;
    let waiting = world.background("f");
    world
        .eventually("it runs", || async { world.lambda.environments().in_flight == 1 && world.host.starts() == 1 })
        .await;
    world
        .eventually("its end", || async {
            world.pass(std::time::Duration::from_millis(100)).await;
            !world.meter.records.lock().is_empty()
        })
        .await;
    waiting.await.unwrap();
    let record = world.meter.records.lock()[0].clone();
    assert_eq!(
        (record.ending, record.duration, record.init),
        (Ending::Timeout, std::time::Duration::from_secs(3), None)
    );
    world.eventually("it is not used again", || async { world.lambda.environments().environments.is_empty() }).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_invocation_is_metered_once() {
    let world = World::new();
    for (name, handler) in
        [("good", "app.handler"), ("bad", "app.fails"), ("slow", "app.times_out"), ("init", "init.error")]
    {
        world.function(name, handler).await;
        world.invoke(name, json!({ "n": 1 })).await;
    }
    world.invoke("good", json!({ "n": 1 })).await;
    world.call("PutFunctionConcurrency", json!({ "FunctionName": "good", "ReservedConcurrentExecutions": 0 })).await;
    world.fails("Invoke", json!({ "FunctionName": "good" })).await;
    let records = world.meter.records.lock();
    let told: Vec<_> = records
        .iter()
        .map(|record| {
            (&*record.function.name, record.ending, record.start.as_str(), record.billed_millis, record.bytes_out)
        })
        .collect();
    assert_eq!(
        told[..3],
        [
            ("good", Ending::Success, "cold: first", 14, 7),
            ("bad", Ending::Error, "cold: first", 14, 53),
            ("slow", Ending::Timeout, "cold: first", 14, told[2].4),
        ]
    );
    assert_eq!((told[3].0, told[3].1, told[4].0, told[4].2, told[4].3), ("init", Ending::Error, "good", "warm", 2));
    assert_eq!(told.len(), 5);
    let first = &records[0];
    assert_eq!(
        (first.bytes_in, first.memory_mib, first.tmp_mib, first.isolation),
        (7, 128, 512, compute_api::IsolationLevel::Full)
    );
    assert_eq!((&*first.version, first.asynchronous, first.provisioned), ("$LATEST", false, false));
    assert_eq!(*world.meter.throttles.lock(), ["ReservedFunctionConcurrentInvocationLimitExceeded"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn code_changes_under_load_without_a_lost_or_failed_invocation() {
    let world = std::sync::Arc::new(World::new());
    world.function("f", "app.code").await;
    let stop = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
    let callers: Vec<_> = (0..8)
        .map(|_| {
            let (world, stop) = (std::sync::Arc::clone(&world), std::sync::Arc::clone(&stop));
            tokio::spawn(async move {
                let mut count = 0;
                while !stop.load(std::sync::atomic::Ordering::SeqCst) {
                    let (payload, answer) = world.invoke("f", json!({})).await;
                    assert_eq!(answer["FunctionError"], Value::Null);
                    assert!(payload.is_string(), "{payload}");
                    count += 1;
                    tokio::task::yield_now().await;
                }
                count
            })
        })
        .collect();
    for round in 0..20 {
        let code = format!("code {round}");
        world.call("UpdateFunctionCode", json!({ "FunctionName": "f", "ZipFile": zip("app.py", &code) })).await;
        assert_eq!(world.invoke("f", json!({})).await.0, code, "the change holds for the very next call");
        world.settled("f").await;
    }
    stop.store(true, std::sync::atomic::Ordering::SeqCst);
    let mut count = 20;
    for caller in callers {
        count += caller.await.unwrap();
    }
    assert_eq!(world.meter.records.lock().len(), count, "each was run and metered");
}
