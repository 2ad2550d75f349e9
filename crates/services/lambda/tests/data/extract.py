"""Extracts from a file of recorded answers what the tests compare with: `extract.py RECORDED.json > recorded.json`."""

import json
import sys

CASES = """
TestCodeSigningConfig::test_code_signing_not_found_excs
TestLambdaAccountSettings::test_account_settings
TestLambdaAlias::test_alias_lifecycle
TestLambdaAlias::test_alias_naming
TestLambdaAlias::test_non_existent_alias_update
TestLambdaConcurrency::test_provisioned_concurrency
TestLambdaConcurrency::test_reserved_concurrency_async_queue
TestLambdaConcurrency::test_reserved_provisioned_overlap
TestLambdaEventSourceMappings::test_create_event_filter_criteria_validation
TestLambdaEventSourceMappings::test_event_source_mapping_exceptions
TestLambdaEventSourceMappings::test_function_name_variations
TestLambdaFeatures::test_invoke_exceptions
TestLambdaFunction::test_create_lambda_exceptions
TestLambdaFunction::test_delete_on_nonexisting_version
TestLambdaFunction::test_function_arns
TestLambdaFunction::test_get_function_wrong_region[get_function]
TestLambdaFunction::test_lambda_code_location_zipfile
TestLambdaFunction::test_lambda_concurrent_code_updates
TestLambdaFunction::test_list_functions
TestLambdaFunction::test_ops_on_nonexisting_fn[get_function]
TestLambdaFunction::test_ops_on_nonexisting_fn[get_function_code_signing_config]
TestLambdaFunction::test_ops_on_nonexisting_fn[get_function_event_invoke_config]
TestLambdaFunction::test_ops_on_nonexisting_fn[get_function_url_config]
TestLambdaFunction::test_ops_with_arn_qualifier_mismatch[delete_function]
TestLambdaFunction::test_ops_with_arn_qualifier_mismatch[get_function]
TestLambdaLayer::test_layer_compatibilities[runtimes0]
TestLambdaLayer::test_layer_function_exceptions
TestLambdaLayer::test_layer_policy_lifecycle
TestLambdaPermissions::test_add_lambda_permission_aws
TestLambdaPermissions::test_add_lambda_permission_fields
TestLambdaPermissions::test_permission_exceptions
TestLambdaPermissions::test_remove_multi_permissions
TestLambdaProvisionedConcurrency::test_lambda_provisioned_lifecycle
TestLambdaProvisionedConcurrency::test_provisioned_concurrency_limits
TestLambdaRecursion::test_put_function_recursion_config_allow
TestLambdaRecursion::test_put_function_recursion_config_default_terminate
TestLambdaReservedConcurrency::test_function_concurrency
TestLambdaReservedConcurrency::test_function_concurrency_exceptions
TestLambdaReservedConcurrency::test_function_concurrency_limits
TestLambdaRevisions::test_function_revisions_basic
TestLambdaSizeLimits::test_oversized_zipped_create_lambda
TestLambdaTag::test_tag_exceptions[event_source_mapping]
TestLambdaTags::test_tag_exceptions
TestLambdaTags::test_tag_limits
TestLambdaTags::test_tag_versions
TestLambdaURL::test_lambda_update_function_url_config
TestLambdaURL::test_lambda_url_invalid_invoke_mode
TestLambdaUrl::test_url_config_exceptions
TestLambdaUrl::test_url_config_list_paging
TestLambdaVersions::test_publish_with_update
TestLambdaVersions::test_version_lifecycle
TestLoggingConfig::test_function_partial_advanced_logging_configuration_update[partial_config0]
TestLoggingConfig::test_function_partial_advanced_logging_configuration_update[partial_config3]
TestSQSEventSourceMapping::test_duplicate_event_source_mappings
TestSQSEventSourceMapping::test_event_source_mapping_default_batch_size
test_failing_lambda_retries_after_visibility_timeout
test_fifo_message_group_parallelism
TestRuntimeValidation::test_create_deprecated_function_runtime_with_validation_enabled[python3.7]
""".split("\n")


def extract(answer):
    if not isinstance(answer, dict):
        return answer
    answer = answer.get("CreateFunctionResponse", answer)
    status = answer.get("ResponseMetadata", {}).get("HTTPStatusCode")
    body = {key: value for key, value in answer.items() if key not in ("ResponseMetadata", "Error")}
    if "Code" in answer and "Configuration" not in answer:
        message = answer.get("Message")
        if "Errors" in answer:
            noun = "error" if answer["Count"] == 1 else "errors"
            message = f"{answer['Count']} validation {noun} detected: " + "; ".join(answer["Errors"])
        return {"code": answer["Code"], "message": message}
    if "Error" in answer:
        error = answer["Error"]
        return {"status": status, "code": error["Code"], "message": error.get("Message"), "members": sorted(body)}
    return {"status": status, "answer": body}


recorded = json.load(open(sys.argv[1]))
wanted = [case for case in recorded if case in CASES or "name_and_qualifier_validation" in case]
out = {f"{case} {step}": extract(answer) for case in wanted for step, answer in recorded[case].items()}
json.dump(out, sys.stdout, indent=1, sort_keys=True)
print()
