//! Extensions' states and refusals, without a sandbox.

use super::*;

fn events(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

fn invoke(id: &str) -> Event {
    Event {
        request_id: Arc::from(id),
        payload: Bytes::new(),
        deadline: Timestamp::EPOCH,
        invoked_function_arn: "arn".to_owned(),
        trace_id: None,
        client_context: None,
        cognito_identity: None,
    }
}

fn with(external: &[&str]) -> Arc<Extensions> {
    let extensions = Extensions::new(Env::real());
    for (pid, name) in (1..).zip(external) {
        extensions.launch(name);
        extensions.launched(name, pid);
    }
    extensions
}

#[tokio::test]
async fn an_external_extension_gets_invocations_and_the_shutdown() {
    let extensions = with(&["e"]);
    let id = extensions.register("e", &events(&["INVOKE", "SHUTDOWN"])).unwrap();
    extensions.registered().await.unwrap();
    assert!(!extensions.is_settled());
    let asking = tokio::spawn({
        let (extensions, id) = (Arc::clone(&extensions), id.clone());
        async move { extensions.next(&id).await }
    });
    extensions.settled().await.unwrap();
    extensions.offer(&invoke("r-1"));
    assert!(!extensions.is_settled());
    let event: Value = serde_json::from_slice(&asking.await.unwrap().unwrap()).unwrap();
    assert_eq!(event, json!({"eventType": "INVOKE", "deadlineMs": 0, "requestId": "r-1", "invokedFunctionArn": "arn"}));
    assert!(!extensions.is_settled());
    extensions.begin_shutdown();
    assert_eq!(extensions.offer_shutdown("spindown", Timestamp::EPOCH), Vec::<i32>::new());
    let event: Value = serde_json::from_slice(&extensions.next(&id).await.unwrap()).unwrap();
    assert_eq!(event, json!({"eventType": "SHUTDOWN", "shutdownReason": "spindown", "deadlineMs": 0}));
    extensions.left(Some(1), End::Status(0));
    extensions.processes_left().await;
    assert_eq!(extensions.show()[0].state, "Exited");
    assert_eq!(extensions.failure(), None);
}

#[tokio::test]
async fn what_is_out_of_turn_is_refused_in_the_words_of_aws() {
    let extensions = with(&["e"]);
    let unknown = extensions.next("x").await.unwrap_err();
    assert_eq!(
        (unknown.error_type, unknown.message.as_str()),
        ("Extension.UnknownExtensionIdentifier", "Unknown extension x")
    );
    let bad = extensions.register("e", &events(&["STOP"])).unwrap_err();
    assert_eq!(bad.error_type, "Extension.InvalidEventType");
    let internal = extensions.register("i", &events(&["SHUTDOWN"])).unwrap_err();
    assert_eq!(internal.error_type, "Extension.InvalidEventType");
    let id = extensions.register("e", &events(&[])).unwrap();
    let twice = extensions.register("e", &events(&[])).unwrap_err();
    assert_eq!(
        (twice.error_type, twice.message.as_str()),
        (
            "Extension.InvalidExtensionState",
            "State transition from Registered to Registered failed for extension e. Error: State transition is not allowed"
        )
    );
    extensions.register("i", &events(&["INVOKE"])).unwrap();
    let taken = extensions.register("i", &events(&["INVOKE"])).unwrap_err();
    assert_eq!(taken.message, "Extension with this name already registered");
    extensions.init_error(&id, "Own.Trouble").unwrap();
    extensions.init_error(&id, "Own.Other").unwrap();
    assert_eq!(extensions.next(&id).await.unwrap_err().error_type, "Extension.InvalidExtensionState");
    let failure = extensions.failure().unwrap();
    assert_eq!(failure.error_type(), "Extension.InitError");
    assert_eq!(
        &failure.document(Some("r"))[..],
        br#"{"errorMessage":"RequestId: r Error: Own.Trouble","errorType":"Extension.InitError"}"#
    );
    extensions.close_registration();
    let closed = extensions.register("j", &events(&[])).unwrap_err();
    assert_eq!(closed.error_type, "Extension.RegistrationClosed");
}

#[tokio::test]
async fn there_are_ten_at_most_and_a_crash_is_the_first_failure() {
    let extensions = with(&["a", "b", "c", "d", "e", "f", "g", "h", "i", "j"]);
    let many = extensions.register("k", &events(&[])).unwrap_err();
    assert_eq!(
        (many.error_type, many.message.as_str()),
        ("Extension.TooManyExtensions", "Extension limit (10) reached")
    );
    extensions.left(Some(3), End::Status(1));
    extensions.left(None, End::Status(0));
    assert_eq!(extensions.registered().await, Err(Failure::Crash(End::Status(1))));
    assert_eq!(
        &extensions.failed().await.document(None)[..],
        br#"{"errorMessage":"Error: exit code 1","errorType":"Extension.Crash"}"#
    );
}
