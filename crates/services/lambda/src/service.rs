//! The generated trait: one line per operation, in the order of the files of `ops`.

use compute_api::FunctionHost;
use model_lambda::*;
use services_kernel::Cx;
use store_api::Tx;

use services_ports::LogSink;

use crate::Lambda;

macro_rules! control {
    ($($operation:ident: $input:ident => $output:ty;)*) => {
        $(fn $operation(&self, cx: &Cx, tx: &Tx, input: &$input) -> Result<$output, Error> {
            self.0.control.$operation(cx, tx, input)
        })*
    };
}

impl<H: FunctionHost, L: LogSink> model_lambda::Lambda<Cx, Tx> for Lambda<H, L> {
    async fn create_function(&self, cx: &Cx, input: CreateFunctionRequest) -> Result<FunctionConfiguration, Error> {
        self.0.control.create_function(cx, input).await
    }

    async fn update_function_code(
        &self,
        cx: &Cx,
        input: UpdateFunctionCodeRequest,
    ) -> Result<FunctionConfiguration, Error> {
        self.0.control.update_function_code(cx, input).await
    }

    async fn publish_layer_version(
        &self,
        cx: &Cx,
        input: PublishLayerVersionRequest,
    ) -> Result<PublishLayerVersionResponse, Error> {
        self.0.control.publish_layer_version(cx, input).await
    }

    async fn invoke(&self, cx: &Cx, input: InvocationRequest) -> Result<InvocationResponse, Error> {
        self.run_invoke(cx, input).await
    }

    async fn invoke_with_response_stream(
        &self,
        cx: &Cx,
        input: InvokeWithResponseStreamRequest,
    ) -> Result<InvokeWithResponseStreamResponse, Error> {
        self.run_invoke_with_response_stream(cx, input).await
    }

    async fn invoke_async(&self, cx: &Cx, input: InvokeAsyncRequest) -> Result<InvokeAsyncResponse, Error> {
        self.run_invoke_async(cx, input).await
    }

    fn get_account_settings(
        &self,
        cx: &Cx,
        tx: &Tx,
        _: &GetAccountSettingsRequest,
    ) -> Result<GetAccountSettingsResponse, Error> {
        self.0.control.get_account_settings(cx, tx)
    }

    control! {
        get_function: GetFunctionRequest => GetFunctionResponse;
        get_function_configuration: GetFunctionConfigurationRequest => FunctionConfiguration;
        list_functions: ListFunctionsRequest => ListFunctionsResponse;
        delete_function: DeleteFunctionRequest => DeleteFunctionResponse;
        update_function_configuration: UpdateFunctionConfigurationRequest => FunctionConfiguration;
        publish_version: PublishVersionRequest => FunctionConfiguration;
        list_versions_by_function: ListVersionsByFunctionRequest => ListVersionsByFunctionResponse;
        create_alias: CreateAliasRequest => AliasConfiguration;
        get_alias: GetAliasRequest => AliasConfiguration;
        update_alias: UpdateAliasRequest => AliasConfiguration;
        delete_alias: DeleteAliasRequest => ();
        list_aliases: ListAliasesRequest => ListAliasesResponse;
        add_permission: AddPermissionRequest => AddPermissionResponse;
        remove_permission: RemovePermissionRequest => ();
        get_policy: GetPolicyRequest => GetPolicyResponse;
        tag_resource: TagResourceRequest => ();
        untag_resource: UntagResourceRequest => ();
        list_tags: ListTagsRequest => ListTagsResponse;
        put_function_concurrency: PutFunctionConcurrencyRequest => Concurrency;
        get_function_concurrency: GetFunctionConcurrencyRequest => GetFunctionConcurrencyResponse;
        delete_function_concurrency: DeleteFunctionConcurrencyRequest => ();
        put_function_event_invoke_config: PutFunctionEventInvokeConfigRequest => FunctionEventInvokeConfig;
        update_function_event_invoke_config: UpdateFunctionEventInvokeConfigRequest => FunctionEventInvokeConfig;
        get_function_event_invoke_config: GetFunctionEventInvokeConfigRequest => FunctionEventInvokeConfig;
        delete_function_event_invoke_config: DeleteFunctionEventInvokeConfigRequest => ();
        list_function_event_invoke_configs:
            ListFunctionEventInvokeConfigsRequest => ListFunctionEventInvokeConfigsResponse;
        create_event_source_mapping: CreateEventSourceMappingRequest => EventSourceMappingConfiguration;
        get_event_source_mapping: GetEventSourceMappingRequest => EventSourceMappingConfiguration;
        update_event_source_mapping: UpdateEventSourceMappingRequest => EventSourceMappingConfiguration;
        delete_event_source_mapping: DeleteEventSourceMappingRequest => EventSourceMappingConfiguration;
        list_event_source_mappings: ListEventSourceMappingsRequest => ListEventSourceMappingsResponse;
        get_layer_version: GetLayerVersionRequest => GetLayerVersionResponse;
        get_layer_version_by_arn: GetLayerVersionByArnRequest => GetLayerVersionResponse;
        list_layers: ListLayersRequest => ListLayersResponse;
        list_layer_versions: ListLayerVersionsRequest => ListLayerVersionsResponse;
        delete_layer_version: DeleteLayerVersionRequest => ();
        add_layer_version_permission: AddLayerVersionPermissionRequest => AddLayerVersionPermissionResponse;
        remove_layer_version_permission: RemoveLayerVersionPermissionRequest => ();
        get_layer_version_policy: GetLayerVersionPolicyRequest => GetLayerVersionPolicyResponse;
        put_provisioned_concurrency_config:
            PutProvisionedConcurrencyConfigRequest => PutProvisionedConcurrencyConfigResponse;
        get_provisioned_concurrency_config:
            GetProvisionedConcurrencyConfigRequest => GetProvisionedConcurrencyConfigResponse;
        delete_provisioned_concurrency_config: DeleteProvisionedConcurrencyConfigRequest => ();
        list_provisioned_concurrency_configs:
            ListProvisionedConcurrencyConfigsRequest => ListProvisionedConcurrencyConfigsResponse;
        put_function_recursion_config: PutFunctionRecursionConfigRequest => PutFunctionRecursionConfigResponse;
        get_function_recursion_config: GetFunctionRecursionConfigRequest => GetFunctionRecursionConfigResponse;
        put_runtime_management_config: PutRuntimeManagementConfigRequest => PutRuntimeManagementConfigResponse;
        get_runtime_management_config: GetRuntimeManagementConfigRequest => GetRuntimeManagementConfigResponse;
        put_function_scaling_config: PutFunctionScalingConfigRequest => PutFunctionScalingConfigResponse;
        get_function_scaling_config: GetFunctionScalingConfigRequest => GetFunctionScalingConfigResponse;
        get_function_code_signing_config: GetFunctionCodeSigningConfigRequest => GetFunctionCodeSigningConfigResponse;
        put_function_code_signing_config: PutFunctionCodeSigningConfigRequest => PutFunctionCodeSigningConfigResponse;
        delete_function_code_signing_config: DeleteFunctionCodeSigningConfigRequest => ();
        create_function_url_config: CreateFunctionUrlConfigRequest => CreateFunctionUrlConfigResponse;
        get_function_url_config: GetFunctionUrlConfigRequest => GetFunctionUrlConfigResponse;
        update_function_url_config: UpdateFunctionUrlConfigRequest => UpdateFunctionUrlConfigResponse;
        delete_function_url_config: DeleteFunctionUrlConfigRequest => ();
        list_function_url_configs: ListFunctionUrlConfigsRequest => ListFunctionUrlConfigsResponse;
    }
}
