//! Permissions, tags, concurrency and URLs against answers that AWS gave.

use serde_json::{Value, json};

use crate::{
    recording::Recorded,
    world::{World, function},
};

#[tokio::test(flavor = "multi_thread")]
async fn permissions_are_kept_as_at_aws() {
    let (world, recorded) = (World::new(), Recorded::load());
    world.function("f", "app.handler").await;
    let parsed = |mut answer: Value, member: &str| {
        answer[member] = serde_json::from_str(answer[member].as_str().unwrap()).unwrap();
        answer
    };
    let add = |input: Value| {
        let mut all = json!({ "FunctionName": "f", "Action": "lambda:InvokeFunction" });
        all.as_object_mut().unwrap().extend(input.as_object().unwrap().clone());
        all
    };
    let case = "TestLambdaPermissions::test_permission_exceptions";
    let missing = "No policy is associated with the given resource.";
    let removal = json!({ "FunctionName": "f", "StatementId": "s3" });
    assert_eq!(world.fails("RemovePermission", removal.clone()).await.message, missing);
    recorded.is_failure(case, "remove_permission_policy_doesnotexist", &world.fails("RemovePermission", removal).await);

    let fields = "TestLambdaPermissions::test_add_lambda_permission_fields";
    for (step, input) in [
        (
            "add_permission_principal_wildcard",
            json!({ "StatementId": "wilcard", "Principal": "*", "SourceAccount": "111111111111" }),
        ),
        (
            "add_permission_principal_service",
            json!({ "StatementId": "lambda", "Principal": "lambda.amazonaws.com", "SourceAccount": "111111111111" }),
        ),
        ("add_permission_principal_account", json!({ "StatementId": "account-id", "Principal": "111111111111" })),
        (
            "add_permission_principal_arn",
            json!({ "StatementId": "user-arn", "Principal": "arn:aws:iam::111111111111:user/u", "SourceAccount": "111111111111" }),
        ),
        (
            "add_permission_optional_fields",
            json!({
                "StatementId": "urlPermission", "Action": "lambda:InvokeFunctionUrl", "Principal": "*", "SourceArn": "arn:aws:s3:::bucket",
                "SourceAccount": "111111111111", "PrincipalOrgID": "o-1234567890", "FunctionUrlAuthType": "NONE",
            }),
        ),
        (
            "add_permission_alexa_skill",
            json!({
                "StatementId": "alexaSkill", "Principal": "*", "EventSourceToken": "amzn1.ask.skill.xxxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx",
            }),
        ),
    ] {
        recorded.is_answer(fields, step, &parsed(world.call("AddPermission", add(input)).await, "Statement"));
    }
    let sid = |name: &str, qualifier: Option<&str>| {
        let mut input = add(json!({ "StatementId": "s3", "Principal": "s3.amazonaws.com", "FunctionName": name }));
        if let Some(qualifier) = qualifier {
            input["Qualifier"] = json!(qualifier);
        }
        input
    };
    world.call("AddPermission", sid("f", None)).await;
    let full = "arn:aws:lambda:us-east-1:111111111111:function:f:alias-not-42";
    for (step, operation, input) in [
        ("add_permission_conflicting_statement_id", "AddPermission", sid("f", None)),
        ("add_permission_fn_alias_doesnotexist", "AddPermission", sid("f", Some("alias-doesnotexist"))),
        ("add_permission_fn_doesnotexist", "AddPermission", sid("doesnotexist", None)),
        ("add_permission_fn_qualifier_invalid", "AddPermission", sid("f", Some("invalid-qualifier-with-?-char"))),
        ("add_permission_fn_qualifier_latest", "AddPermission", sid("f", Some("$LATEST"))),
        ("add_permission_fn_qualifier_mismatch", "AddPermission", sid(full, Some("42"))),
        (
            "add_permission_fn_qualifier_valid_doesnotexist",
            "AddPermission",
            sid("f", Some("valid-with-$-but-doesnotexist")),
        ),
        ("add_permission_fn_version_doesnotexist", "AddPermission", sid("f", Some("42"))),
        (
            "add_permission_invalid_statement_id",
            "AddPermission",
            add(json!({ "StatementId": "example.com", "Principal": "s3.amazonaws.com" })),
        ),
        (
            "add_permission_principal_invalid",
            "AddPermission",
            add(json!({ "StatementId": "s", "Principal": "invalid.nonaws.com" })),
        ),
        ("get_policy_fn_doesnotexist", "GetPolicy", json!({ "FunctionName": "doesnotexist" })),
        ("get_policy_fn_version_doesnotexist", "GetPolicy", json!({ "FunctionName": "f", "Qualifier": "42" })),
        (
            "remove_permission_fn_alias_doesnotexist",
            "RemovePermission",
            json!({ "FunctionName": "f", "StatementId": "s", "Qualifier": "alias-doesnotexist" }),
        ),
        (
            "remove_permission_fn_doesnotexist",
            "RemovePermission",
            json!({ "FunctionName": "doesnotexist", "StatementId": "s" }),
        ),
    ] {
        recorded.is_failure(case, step, &world.fails(operation, input).await);
    }

    let case = "TestLambdaPermissions::test_remove_multi_permissions";
    world.function("m", "app.handler").await;
    let one = json!({ "FunctionName": "m", "StatementId": "s3", "Action": "lambda:InvokeFunction", "Principal": "s3.amazonaws.com" });
    recorded.is_answer(case, "add_permission_1", &parsed(world.call("AddPermission", one).await, "Statement"));
    let two = json!({
        "FunctionName": "m", "StatementId": "sqs", "Action": "lambda:InvokeFunction", "Principal": "sqs.amazonaws.com", "SourceArn": "arn:aws:s3:::b",
    });
    recorded.is_answer(case, "add_permission_2", &parsed(world.call("AddPermission", two).await, "Statement"));
    let policy = || async { parsed(world.call("GetPolicy", json!({ "FunctionName": "m" })).await, "Policy") };
    recorded.is_answer(case, "policy_after_2_add", &policy().await);
    let remove = |id: &str| json!({ "FunctionName": "m", "StatementId": id });
    recorded.is_failure(
        case,
        "remove_permission_exception_nonexisting_sid",
        &world.fails("RemovePermission", remove("non-existent")).await,
    );
    world.call("RemovePermission", remove("sqs")).await;
    recorded.is_answer(case, "policy_after_removal", &policy().await);
    world.call("RemovePermission", remove("s3")).await;
    recorded.is_failure(
        case,
        "get_policy_exception_removed_all",
        &world.fails("GetPolicy", json!({ "FunctionName": "m" })).await,
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn tags_and_concurrency_are_kept_as_at_aws() {
    let (world, recorded) = (World::new(), Recorded::load());
    world.function("f", "app.handler").await;
    let arn = "arn:aws:lambda:us-east-1:111111111111:function:f";
    let case = "TestLambdaTags::test_tag_exceptions";
    let tag = |resource: &str, tags: Value| json!({ "Resource": resource, "Tags": tags });
    for (step, operation, input) in [
        ("tag_empty_tags", "TagResource", tag(arn, json!({}))),
        (
            "tag_lambda_doesnotexist",
            "TagResource",
            tag("arn:aws:lambda:us-east-1:111111111111:function:doesnotexist", json!({ "a": "b" })),
        ),
        ("tag_lambda_invalidarn", "TagResource", tag("arn:aws:something", json!({ "a": "b" }))),
        ("tag_lambda_qualifier_doesnotexist", "TagResource", tag(&format!("{arn}:v1"), json!({ "a": "b" }))),
        ("untag_empty_keys", "UntagResource", json!({ "Resource": arn })),
    ] {
        recorded.is_failure(case, step, &world.fails(operation, input).await);
    }
    recorded.is_answer(case, "list_tag_lambda_empty", &world.call("ListTags", json!({ "Resource": arn })).await);
    world.call("UntagResource", json!({ "Resource": arn, "TagKeys": ["absent"] })).await;
    let many = |n: usize| Value::Object((0..n).map(|n| (format!("{n}_key"), json!(format!("{n}_value")))).collect());
    let case = "TestLambdaTags::test_tag_limits";
    recorded.is_failure(case, "tag_lambda_too_many_tags", &world.fails("TagResource", tag(arn, many(51))).await);
    world.call("TagResource", tag(arn, many(50))).await;
    recorded.is_answer(case, "list_tags_response", &world.call("ListTags", json!({ "Resource": arn })).await);
    recorded.is_failure(
        case,
        "tag_lambda_too_many_tags_additional",
        &world.fails("TagResource", tag(arn, json!({ "new": "x" }))).await,
    );
    let mut input = function("g", "app.handler");
    input["Tags"] = many(51);
    recorded.is_failure(case, "create_function_invalid_tags", &world.fails("CreateFunction", input).await);
    assert_eq!(world.fails("GetFunction", json!({ "FunctionName": "g" })).await.status, 404, "nothing of it stays");

    let case = "TestLambdaReservedConcurrency::test_function_concurrency";
    let reserve = |n: u32| json!({ "FunctionName": "f", "ReservedConcurrentExecutions": n });
    recorded.is_answer(
        case,
        "put_function_concurrency_with_reserved_0",
        &world.call("PutFunctionConcurrency", reserve(0)).await,
    );
    recorded.is_answer(
        case,
        "put_function_concurrency_with_reserved_1",
        &world.call("PutFunctionConcurrency", reserve(1)).await,
    );
    let named = json!({ "FunctionName": "f" });
    recorded.is_answer(case, "get_function_concurrency", &world.call("GetFunctionConcurrency", named.clone()).await);
    world.call("DeleteFunctionConcurrency", named.clone()).await;
    recorded.is_answer(
        case,
        "get_function_concurrency_after_delete",
        &world.call("GetFunctionConcurrency", named).await,
    );
    let case = "TestLambdaReservedConcurrency::test_function_concurrency_exceptions";
    let qualified = json!({ "FunctionName": format!("{arn}:1"), "ReservedConcurrentExecutions": 1 });
    recorded.is_failure(
        case,
        "put_function_concurrency_with_qualified_arn",
        &world.fails("PutFunctionConcurrency", qualified).await,
    );
    let case = "TestLambdaReservedConcurrency::test_function_concurrency_limits";
    recorded.is_failure(
        case,
        "put_function_concurrency_account_limit_exceeded",
        &world.fails("PutFunctionConcurrency", reserve(901)).await,
    );
    world.call("PutFunctionConcurrency", reserve(900)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn urls_are_configured_as_at_aws() {
    let (world, recorded) = (World::new(), Recorded::load());
    world.function("f", "app.handler").await;
    world.call("PublishVersion", json!({ "FunctionName": "f" })).await;
    world.call("CreateAlias", json!({ "FunctionName": "f", "Name": "urlalias", "FunctionVersion": "1" })).await;
    let case = "TestLambdaUrl::test_url_config_exceptions";
    let fails = |step: &'static str, operation: &'static str, input: Value| {
        let (world, recorded) = (&world, &recorded);
        async move { recorded.is_failure(case, step, &world.fails(operation, input).await) }
    };
    let aliased = "arn:aws:lambda:us-east-1:111111111111:function:f:urlalias-other";
    for (verb, operation) in [
        ("create", "CreateFunctionUrlConfig"),
        ("get", "GetFunctionUrlConfig"),
        ("update", "UpdateFunctionUrlConfig"),
        ("delete", "DeleteFunctionUrlConfig"),
    ] {
        let with = |name: &str, qualifier: Option<&str>| {
            let mut input = json!({ "FunctionName": name });
            if let Some(qualifier) = qualifier {
                input["Qualifier"] = json!(qualifier);
            }
            if operation == "CreateFunctionUrlConfig" {
                input["AuthType"] = json!("NONE");
            }
            input
        };
        for (what, input) in [
            ("name_doesnotexist", with("doesnotexist", None)),
            ("arn_doesnotexist", with("arn:aws:lambda:us-east-1:111111111111:function:doesnotexist", None)),
            ("name_doesnotexist_qualifier", with("doesnotexist", Some("1"))),
            ("qualifier_version", with("f", Some("1"))),
            ("qualifier_version_doesnotexist", with("f", Some("2"))),
            ("qualifier_latest", with("f", Some("$LATEST"))),
            ("qualifier_alias_doesnotexist", with("f", Some("doesnotexist"))),
            ("qualifier_alias_doesnotmatch_arn", with(aliased, Some("my-alias"))),
            ("config_doesnotexist", with("f", None)),
        ] {
            let step: &'static str = format!("{verb}_function_url_config_{what}").leak();
            // AWS itself fails where an alias to be deleted does not match; and a creation needs no configuration.
            let recorded_error =
                recorded.0.get(&format!("{case} {step}")).is_some_and(|value| value["code"].is_string());
            if recorded_error {
                fails(step, operation, input).await;
            }
        }
    }
    let case = "TestLambdaUrl::test_url_config_list_paging";
    recorded.is_answer(
        case,
        "list_all_empty",
        &world.call("ListFunctionUrlConfigs", json!({ "FunctionName": "f" })).await,
    );
    world.call("CreateFunctionUrlConfig", json!({ "FunctionName": "f", "AuthType": "NONE" })).await;
    world
        .call("CreateFunctionUrlConfig", json!({ "FunctionName": "f", "AuthType": "NONE", "Qualifier": "urlalias" }))
        .await;
    recorded.is_answer(case, "list_all", &world.call("ListFunctionUrlConfigs", json!({ "FunctionName": "f" })).await);
    let failure = world.fails("ListFunctionUrlConfigs", json!({ "FunctionName": "doesnotexist" })).await;
    recorded.is_failure(case, "list_function_notfound", &failure);

    let case = "TestLambdaURL::test_lambda_update_function_url_config";
    world.function("u", "app.handler").await;
    let create = json!({ "FunctionName": "u", "AuthType": "NONE" });
    recorded.is_answer(case, "create_lambda_url_config", &world.call("CreateFunctionUrlConfig", create).await);
    let found = world.call("GetFunctionUrlConfig", json!({ "FunctionName": "u" })).await;
    recorded.is_answer(case, "get_url_config", &found);
    let unknown = json!({ "FunctionName": "f", "AuthType": "NONE", "InvokeMode": "UNKNOWN" });
    let case = "TestLambdaURL::test_lambda_url_invalid_invoke_mode";
    recorded.is_failure(
        case,
        "invoke_function_invalid_invoke_type",
        &world.fails("CreateFunctionUrlConfig", unknown).await,
    );
}
