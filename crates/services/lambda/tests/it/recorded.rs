//! The service against answers that AWS gave (`tests/data/recorded.json`, see `extract.py` there): codes, messages, statuses,
//! and the members of every answer, with their values where the recording kept them.

use serde_json::{Value, json};
use services_kernel::Cx;

use crate::{
    recording::Recorded,
    world::{ROLE, World, function, zip},
};

#[tokio::test(flavor = "multi_thread")]
async fn names_are_judged_as_aws_judges_them() {
    const ARN: &str = "arn:aws:lambda:us-east-1:111111111111:function:my-function";
    let a = |n: usize| "a".repeat(n);
    let elsewhere = "arn:aws:lambda:invalid-region:111111111111:function:my-function";
    let cases = [
        ("full_arn_and_qualifier_too_long_and_invalid_region", format!("{elsewhere}-{}", a(170)), Some(a(129))),
        ("full_arn_with_multiple_qualifiers", format!("{ARN}:1:2"), None),
        ("function_name_and_qualifier_too_long", "my-function".to_owned(), Some(a(65))),
        ("function_name_is_single_invalid", "*".to_owned(), None),
        ("function_name_too_long", a(65), None),
        ("function_name_too_long_and_invalid_region", format!("{elsewhere}{}", a(170)), None),
        ("incomplete_arn", "arn:aws:lambda:us-east-1:111111111111:function".to_owned(), None),
        ("invalid_account_id_in_partial_arn", "invalid-account:function:my-function".to_owned(), None),
        ("invalid_characters_in_function_name", "my-function!".to_owned(), None),
        ("invalid_characters_in_qualifier", "my-function".to_owned(), Some("invalid!".to_owned())),
        ("invalid_region_in_arn", elsewhere.to_owned(), None),
        ("latest_version_with_additional_qualifier", format!("{ARN}:$LATEST"), Some("1".to_owned())),
        ("lowercase_latest_qualifier", ARN.to_owned(), Some("$latest".to_owned())),
        ("missing_account_id_in_arn", "arn:aws:lambda:us-east-1::function:my-function".to_owned(), None),
        ("missing_region_in_arn", "arn:aws:lambda::111111111111:function:my-function".to_owned(), None),
        ("misspelled_latest_in_arn", format!("{ARN}:$LATES"), None),
        ("non_lambda_arn", "arn:aws:ec2:us-east-1:111111111111:instance:i-1234567890abcdef0".to_owned(), None),
        ("partial_arn_with_extra_qualifier", "function:my-function:$LATEST:extra".to_owned(), None),
        ("qualifier_too_long", "my-function".to_owned(), Some(a(129))),
        ("qualifier_too_long0", "my-function".to_owned(), Some(a(129))),
        ("qualifier_too_long1", "my-function".to_owned(), Some(a(65))),
    ];
    let (world, recorded) = (World::new(), Recorded::load());
    let mut compared = 0;
    for (case, name, qualifier) in &cases {
        for (operation, step) in [
            ("CreateFunction", "create_function"),
            ("DeleteFunction", "delete_function"),
            ("GetFunction", "get_function"),
            ("Invoke", "invoke"),
        ] {
            let key = format!(
                "TestLambdaFunction::test_function_name_and_qualifier_validation[{case}-{step}] {step}_exception"
            );
            let Some(expected) = recorded.0.get(&key) else { continue };
            let input = match (operation, qualifier) {
                ("CreateFunction", Some(qualifier)) => function(&format!("{name}:{qualifier}"), "app.handler"),
                ("CreateFunction", None) => function(name, "app.handler"),
                (_, Some(qualifier)) => json!({ "FunctionName": name, "Qualifier": qualifier }),
                (_, None) => json!({ "FunctionName": name }),
            };
            let failure = world.fails(operation, input).await;
            assert_eq!(expected["code"], failure.code, "{key}: {failure:?}");
            // AWS lists several violations in no order of its own.
            let expected = spelled_out(expected["message"].as_str().unwrap());
            assert_eq!(violations(&expected), violations(&failure.message), "{key}");
            compared += 1;
        }
    }
    let all = recorded.0.keys().filter(|key| key.contains("name_and_qualifier_validation")).count();
    assert_eq!(compared, all, "every recorded case is compared");
}

/// The head of a message, and its violations in an order.
fn violations(message: &str) -> Vec<&str> {
    let (head, list) = message.split_once("detected: ").unwrap_or(("", message));
    let mut violations: Vec<&str> =
        list.split("; Value ").map(|one| one.strip_prefix("Value ").unwrap_or(one)).collect();
    violations.sort_unstable();
    violations.insert(0, head);
    violations
}

/// The recorded text with `<a:len(65)>` and the like written out.
fn spelled_out(recorded: &str) -> String {
    let mut text = recorded.replace("<partition>", "aws").replace("<region>", "us-east-1").replace("\\\\", "\\");
    while let Some(at) = text.find("<a:len(") {
        let end = at + text[at..].find(")>").unwrap();
        let count: usize = text[at + 7..end].parse().unwrap();
        text.replace_range(at..end + 2, &"a".repeat(count));
    }
    text
}

#[tokio::test(flavor = "multi_thread")]
async fn creations_are_refused_as_aws_refuses_them() {
    let (world, recorded) = (World::new(), Recorded::load());
    let with = |member: &str, value: Value| {
        let mut input = function("f", "app.handler");
        input[member] = value;
        input
    };
    let case = "TestLambdaFunction::test_create_lambda_exceptions";
    for (step, input) in [
        ("invalid_role_arn_exc", with("Role", json!("r1"))),
        ("invalid_runtime_exc", with("Runtime", json!("non-existent-runtime"))),
        ("uppercase_runtime_exc", with("Runtime", json!("PYTHON3.9"))),
        ("invalid_zip_exc", with("Code", json!({ "ZipFile": "dGhpcyBpcyBub3QgYSB6aXBmaWxl" }))),
        ("multiple_architectures", with("Architectures", json!(["x86_64", "arm64"]))),
        ("uppercase_architecture", with("Architectures", json!(["X86_64"]))),
    ] {
        recorded.is_failure(case, step, &world.fails("CreateFunction", input).await);
    }
    let retired = "TestRuntimeValidation::test_create_deprecated_function_runtime_with_validation_enabled[python3.7]";
    recorded.is_failure(
        retired,
        "deprecation_error",
        &world.fails("CreateFunction", with("Runtime", json!("python3.7"))).await,
    );
    let large = with("Code", json!({ "ZipFile": "A".repeat(52_428_800 / 3 * 4 + 8) }));
    let failure = world.fails("CreateFunction", large).await;
    recorded.is_failure("TestLambdaSizeLimits::test_oversized_zipped_create_lambda", "invalid_param_exc", &failure);
    let case = "TestLambdaFunction::test_function_arns";
    for (step, name) in [
        ("function_arn_other_region_exc", "arn:aws:lambda:ap-southeast-1:111111111111:function:f"),
        ("function_arn_other_account_exc", "arn:aws:lambda:us-east-1:123456789012:function:f"),
        ("invalid_function_name_exc", "invalid:function:name"),
        ("long_function_name_exc", &"a".repeat(65)),
    ] {
        recorded.is_failure(case, step, &world.fails("CreateFunction", function(name, "app.handler")).await);
    }
    for (step, name) in [
        ("create-function-arn-response", "arn:aws:lambda:us-east-1:111111111111:function:one"),
        ("create-function-partial-arn-response", "111111111111:function:two"),
    ] {
        let mut input = function(name, "handler.handler");
        input["Timeout"] = json!(30);
        input["Environment"] = json!({ "Variables": {} });
        recorded.is_answer(case, step, &world.call("CreateFunction", input).await);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_there_is_missed_as_aws_misses_it() {
    let (world, recorded) = (World::new(), Recorded::load());
    let wrong_region = "arn:aws:lambda:eu-central-1:111111111111:function:f";
    let mismatch = "arn:aws:lambda:us-east-1:111111111111:function:some-function:$LATEST";
    for (case, step, operation, input) in [
        (
            "TestLambdaFunction::test_get_function_wrong_region[get_function]",
            "wrong_region_exception",
            "GetFunction",
            json!({ "FunctionName": wrong_region }),
        ),
        (
            "TestLambdaFunction::test_ops_on_nonexisting_fn[get_function]",
            "not_found_exception",
            "GetFunction",
            json!({ "FunctionName": "absent" }),
        ),
        (
            "TestLambdaFunction::test_ops_on_nonexisting_fn[get_function_url_config]",
            "not_found_exception",
            "GetFunctionUrlConfig",
            json!({ "FunctionName": "absent" }),
        ),
        (
            "TestLambdaFunction::test_ops_with_arn_qualifier_mismatch[delete_function]",
            "not_match_exception",
            "DeleteFunction",
            json!({ "FunctionName": mismatch, "Qualifier": "1" }),
        ),
        (
            "TestLambdaFunction::test_ops_with_arn_qualifier_mismatch[delete_function]",
            "match_exception",
            "DeleteFunction",
            json!({ "FunctionName": mismatch, "Qualifier": "$LATEST" }),
        ),
        (
            "TestLambdaFunction::test_ops_with_arn_qualifier_mismatch[get_function]",
            "not_match_exception",
            "GetFunction",
            json!({ "FunctionName": mismatch, "Qualifier": "1" }),
        ),
        (
            "TestLambdaFunction::test_ops_with_arn_qualifier_mismatch[get_function]",
            "match_exception",
            "GetFunction",
            json!({ "FunctionName": mismatch, "Qualifier": "$LATEST" }),
        ),
        (
            "TestLambdaFunction::test_delete_on_nonexisting_version",
            "delete_function_response_non_existent",
            "DeleteFunction",
            json!({ "FunctionName": "absent" }),
        ),
        (
            "TestLambdaFunction::test_delete_on_nonexisting_version",
            "delete_function_response_non_existent_with_qualifier",
            "DeleteFunction",
            json!({ "FunctionName": "absent", "Qualifier": "1" }),
        ),
        (
            "TestLambdaFeatures::test_invoke_exceptions",
            "invoke_function_doesnotexist",
            "Invoke",
            json!({ "FunctionName": "doesnotexist" }),
        ),
        (
            "TestLambdaFunction::test_list_functions",
            "list_functions_invalid_functionversion",
            "ListFunctions",
            json!({ "FunctionVersion": "invalid" }),
        ),
        (
            "TestLambdaReservedConcurrency::test_function_concurrency_exceptions",
            "put_function_concurrency_with_function_name_doesnotexist",
            "PutFunctionConcurrency",
            json!({ "FunctionName": "doesnotexist", "ReservedConcurrentExecutions": 1 }),
        ),
        (
            "TestLambdaTag::test_tag_exceptions[event_source_mapping]",
            "not_found_exception_list",
            "ListTags",
            json!({ "Resource": "arn:aws:lambda:us-east-1:111111111111:event-source-mapping:12345678-1234-1234-1234-123456789012" }),
        ),
        (
            "TestLambdaTag::test_tag_exceptions[event_source_mapping]",
            "invalid_arn_exception",
            "ListTags",
            json!({ "Resource": "arn:aws:lambda:us-east-1:111111111111:foobar:12345678-1234-1234-1234-123456789012" }),
        ),
    ] {
        recorded.is_failure(case, step, &world.fails(operation, input).await);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn versions_live_as_they_do_at_aws() {
    let (world, recorded) = (World::new(), Recorded::load());
    let case = "TestLambdaVersions::test_version_lifecycle";
    let mut input = function("f", "index.handler");
    input["Description"] = json!("No version :(");
    recorded.is_answer(case, "create_response", &world.call("CreateFunction", input).await);
    world.settled("f").await;
    let get = |name: &'static str| async move { json!({ "FunctionName": name }) };
    recorded.is_answer(case, "get_function_result", &world.call("GetFunction", get("f").await).await);
    recorded.is_answer(case, "list_versions_result", &world.call("ListVersionsByFunction", get("f").await).await);
    let describe = |text: &str| json!({ "FunctionName": "f", "Description": text });
    let updated = world.call("UpdateFunctionConfiguration", describe("First version :)")).await;
    recorded.is_answer(case, "first_update_response", &updated);
    world.settled("f").await;
    recorded.is_answer(case, "first_update_get_function", &world.call("GetFunction", get("f").await).await);
    let published = world.call("PublishVersion", describe("First version description :)")).await;
    recorded.is_answer(case, "first_publish_response", &published);
    let first = json!({ "FunctionName": "f", "Qualifier": "1" });
    recorded.is_answer(case, "first_publish_get_function", &world.call("GetFunction", first.clone()).await);
    recorded.is_answer(
        case,
        "first_publish_get_function_config",
        &world.call("GetFunctionConfiguration", first.clone()).await,
    );
    let updated = world.call("UpdateFunctionConfiguration", describe("Second version :))")).await;
    recorded.is_answer(case, "second_update_response", &updated);
    world.settled("f").await;
    recorded.is_answer(
        case,
        "first_publish_get_function_after_update",
        &world.call("GetFunction", first.clone()).await,
    );
    let second = world.call("PublishVersion", get("f").await).await;
    recorded.is_answer(case, "second_publish_response", &second);
    let third = world.call("PublishVersion", describe("Third version description :)))")).await;
    recorded.is_answer(case, "third_publish_response", &third);
    assert_eq!(second["RevisionId"], third["RevisionId"]);
    let listed = world.call("ListVersionsByFunction", get("f").await).await;
    recorded.is_answer(case, "list_versions_result_after_third_publish", &listed);
    world.call("DeleteFunction", first).await;
    let listed = world.call("ListVersionsByFunction", get("f").await).await;
    recorded.is_answer(case, "list_versions_result_after_deletion_of_first_version", &listed);
}

#[tokio::test(flavor = "multi_thread")]
async fn updates_and_lists_answer_as_aws_does() {
    let (world, recorded) = (World::new(), Recorded::load());
    let case = "TestLambdaFunction::test_list_functions";
    let create = |name: &str, publish: bool| {
        let mut input = function(name, "handler.handler");
        input["Timeout"] = json!(30);
        input["Publish"] = json!(publish);
        input["Environment"] = json!({ "Variables": {} });
        input
    };
    recorded.is_answer(case, "create_response_1", &world.call("CreateFunction", create("a", true)).await);
    recorded.is_answer(case, "create_response_2", &world.call("CreateFunction", create("b", false)).await);
    recorded.is_answer(case, "list_default", &world.call("ListFunctions", json!({})).await);
    recorded.is_answer(case, "list_all", &world.call("ListFunctions", json!({ "FunctionVersion": "ALL" })).await);
    world.settled("a").await;

    let case = "TestLambdaVersions::test_publish_with_update";
    recorded.is_answer(case, "create_response", &world.call("CreateFunction", function("c", "index.handler")).await);
    world.settled("c").await;
    recorded.is_answer(case, "get_function_result", &world.call("GetFunction", json!({ "FunctionName": "c" })).await);
    let update = json!({ "FunctionName": "c", "ZipFile": zip("app.py", "new"), "Publish": true });
    recorded.is_answer(case, "update_function_code_result", &world.call("UpdateFunctionCode", update).await);

    for (config, logging) in
        [("partial_config0", json!({ "LogFormat": "JSON" })), ("partial_config3", json!({ "LogGroup": "cool_lambda" }))]
    {
        let case = format!("TestLoggingConfig::test_function_partial_advanced_logging_configuration_update[{config}]");
        let mut input = create(config, false);
        input["MemorySize"] = json!(256);
        input["Timeout"] = json!(5);
        recorded.is_answer(&case, "create_response", &world.call("CreateFunction", input).await);
        world.settled(config).await;
        let update = json!({ "FunctionName": config, "LoggingConfig": logging });
        recorded.is_answer(&case, "updated_config", &world.call("UpdateFunctionConfiguration", update).await);
        world.settled(config).await;
        let named = json!({ "FunctionName": config });
        recorded.is_answer(&case, "received_config", &world.call("GetFunctionConfiguration", named).await);
    }

    let case = "TestLambdaRevisions::test_function_revisions_basic";
    world.call("CreateFunction", create("r", false)).await;
    world.settled("r").await;
    let code = json!({ "FunctionName": "r", "ZipFile": zip("app.py", "x"), "RevisionId": "wrong" });
    recorded.is_failure(case, "update_function_revision_exception", &world.fails("UpdateFunctionCode", code).await);
    let configuration = json!({ "FunctionName": "r", "Runtime": "python3.8", "RevisionId": "wrong" });
    let failure = world.fails("UpdateFunctionConfiguration", configuration).await;
    recorded.is_failure(case, "update_function_configuration_revision_exception", &failure);
    let settings = world.call("GetAccountSettings", json!({})).await;
    for (member, names) in
        recorded.step("TestLambdaAccountSettings::test_account_settings", "acc_settings_modded")["answer"]
            .as_object()
            .unwrap()
    {
        let ours: Vec<_> = settings[member].as_object().unwrap().keys().map(|key| json!(key)).collect();
        assert_eq!(names.as_array().unwrap().len(), ours.len(), "{member}");
        assert!(ours.iter().all(|name| names.as_array().unwrap().contains(name)));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn aliases_live_as_they_do_at_aws() {
    let (world, recorded) = (World::new(), Recorded::load());
    let case = "TestLambdaAlias::test_alias_lifecycle";
    let mut input = function("f", "index.handler");
    input["Environment"] = json!({ "Variables": { "testenv": "staging" } });
    recorded.is_answer(case, "create_response", &world.call("CreateFunction", input).await);
    world.settled("f").await;
    recorded.is_answer(case, "publish_v1", &world.call("PublishVersion", json!({ "FunctionName": "f" })).await);
    let environment = json!({ "FunctionName": "f", "Environment": { "Variables": { "testenv": "prod" } } });
    world.call("UpdateFunctionConfiguration", environment).await;
    world.settled("f").await;
    recorded.is_answer(case, "publish_v2", &world.call("PublishVersion", json!({ "FunctionName": "f" })).await);
    let weights = json!({ "AdditionalVersionWeights": { "2": 0.2 } });
    for (step, input) in [
        (
            "create_alias_1_1",
            json!({ "Name": "aliasname1_1", "FunctionVersion": "1", "Description": "custom-alias", "RoutingConfig": weights }),
        ),
        ("create_alias_1_2", json!({ "Name": "aliasname1_2", "FunctionVersion": "1", "Description": "custom-alias" })),
        ("create_alias_1_3", json!({ "Name": "aliasname1_3", "FunctionVersion": "1" })),
        ("create_alias_2", json!({ "Name": "aliasname2", "FunctionVersion": "2", "Description": "custom-alias" })),
    ] {
        let mut input = input;
        input["FunctionName"] = json!("f");
        recorded.is_answer(case, step, &world.call("CreateAlias", input).await);
    }
    let named = |name: &str| json!({ "FunctionName": "f", "Name": name });
    recorded.is_answer(case, "get_alias_1_1", &world.call("GetAlias", named("aliasname1_1")).await);
    recorded.is_answer(
        case,
        "list_aliases_for_fnname",
        &world.call("ListAliases", json!({ "FunctionName": "f" })).await,
    );
    let qualified = json!({ "FunctionName": "f", "Qualifier": "aliasname1_1" });
    recorded.is_answer(case, "get_function_alias_1_1", &world.call("GetFunction", qualified).await);
    let absent = json!({ "FunctionName": "f", "Qualifier": "aliasdoesnotexist" });
    recorded.is_failure(case, "get_function_alias_notfound_exc", &world.fails("GetFunction", absent).await);
    let mut update = named("aliasname1_1");
    update["RoutingConfig"] = json!({ "AdditionalVersionWeights": {} });
    recorded.is_answer(case, "update_alias_1_1", &world.call("UpdateAlias", update).await);
    let of_version = json!({ "FunctionName": "f", "FunctionVersion": "1" });
    recorded.is_answer(case, "list_aliases_for_version", &world.call("ListAliases", of_version).await);
    world.call("DeleteAlias", named("aliasname1_1")).await;
    let listed = world.call("ListAliases", json!({ "FunctionName": "f" })).await;
    recorded.is_answer(case, "list_aliases_for_fnname_afterdelete", &listed);
    let numeric = json!({ "FunctionName": "f", "Name": "2024", "FunctionVersion": "1" });
    recorded.is_failure(
        "TestLambdaAlias::test_alias_naming",
        "create_alias_number_exception",
        &world.fails("CreateAlias", numeric).await,
    );
    let failure = world.fails("UpdateAlias", named("non-existent")).await;
    recorded.is_failure("TestLambdaAlias::test_non_existent_alias_update", "update_alias_response", &failure);
}

#[tokio::test(flavor = "multi_thread")]
async fn every_region_is_a_world_of_its_own() {
    let world = World::new();
    world.function("f", "app.handler").await;
    let elsewhere = Cx { region: "eu-west-1".parse().unwrap(), ..world.cx.clone() };
    let missing = world.try_call(&elsewhere, "GetFunction", json!({ "FunctionName": "f" })).await.unwrap_err();
    assert_eq!(missing.message, "Function not found: arn:aws:lambda:eu-west-1:111111111111:function:f");
    assert!(ROLE.contains("111111111111"));
}
