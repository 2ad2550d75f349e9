//! Settings of a function beside its configuration: recursion (`PutFunctionRecursionConfig`, `GetFunctionRecursionConfig`),
//! the updates of its runtime (`PutRuntimeManagementConfig`, `GetRuntimeManagementConfig`), the scaling of managed
//! instances (`PutFunctionScalingConfig`, `GetFunctionScalingConfig`) and code signing (`GetFunctionCodeSigningConfig`,
//! `PutFunctionCodeSigningConfig`, `DeleteFunctionCodeSigningConfig`).

use model_lambda::{
    DeleteFunctionCodeSigningConfigRequest, Error, GetFunctionCodeSigningConfigRequest,
    GetFunctionCodeSigningConfigResponse, GetFunctionRecursionConfigRequest, GetFunctionRecursionConfigResponse,
    GetFunctionScalingConfigRequest, GetFunctionScalingConfigResponse, GetRuntimeManagementConfigRequest,
    GetRuntimeManagementConfigResponse, PutFunctionCodeSigningConfigRequest, PutFunctionCodeSigningConfigResponse,
    PutFunctionRecursionConfigRequest, PutFunctionRecursionConfigResponse, PutFunctionScalingConfigRequest,
    PutFunctionScalingConfigResponse, PutRuntimeManagementConfigRequest, PutRuntimeManagementConfigResponse,
    RecursiveLoop, UpdateRuntimeOn,
};
use services_kernel::Cx;
use store_api::Tx;

use crate::{
    control::{Change, Control, Found},
    describe::runtime_version_arn,
    function::{Function, RuntimeUpdate, Version},
    names::Qualifier,
    tables::{FUNCTIONS, VERSIONS},
};

impl Control {
    pub(crate) fn put_function_recursion_config(
        &self,
        cx: &Cx,
        tx: &Tx,
        input: &PutFunctionRecursionConfigRequest,
    ) -> Result<PutFunctionRecursionConfigResponse, Error> {
        let found = self.require_whole(tx, cx, "lambda:PutFunctionRecursionConfig", &input.function_name)?;
        let recursion_allowed = input.recursive_loop == RecursiveLoop::Allow;
        let function = Function { recursion_allowed, ..found.function.clone() };
        FUNCTIONS.put(tx, &found.place.function(&found.name), &function)?;
        self.announce(tx, &found, Change::Routing)?;
        Ok(PutFunctionRecursionConfigResponse { recursive_loop: Some(input.recursive_loop) })
    }

    pub(crate) fn get_function_recursion_config(
        &self,
        cx: &Cx,
        tx: &Tx,
        input: &GetFunctionRecursionConfigRequest,
    ) -> Result<GetFunctionRecursionConfigResponse, Error> {
        let found = self.require_whole(tx, cx, "lambda:GetFunctionRecursionConfig", &input.function_name)?;
        let allowed = found.function.recursion_allowed;
        let recursive_loop = if allowed { RecursiveLoop::Allow } else { RecursiveLoop::Terminate };
        Ok(GetFunctionRecursionConfigResponse { recursive_loop: Some(recursive_loop) })
    }

    pub(crate) fn put_runtime_management_config(
        &self,
        cx: &Cx,
        tx: &Tx,
        input: &PutRuntimeManagementConfigRequest,
    ) -> Result<PutRuntimeManagementConfigResponse, Error> {
        const ACTION: &str = "lambda:PutRuntimeManagementConfig";
        let qualifier = input.qualifier.as_deref();
        let (found, qualifier, mut version) = self.managed(tx, cx, ACTION, &input.function_name, qualifier)?;
        let manual = input.update_runtime_on == UpdateRuntimeOn::Manual;
        let given = input.runtime_version_arn.as_deref();
        match given {
            None if manual => {
                return Err(Error::invalid_parameter_value_exception(
                    "RuntimeVersionArn is required when UpdateRuntimeOn is set to Manual.",
                ));
            }
            Some(_) if !manual => {
                return Err(Error::invalid_parameter_value_exception(
                    "RuntimeVersionArn can only be specified when UpdateRuntimeOn is set to Manual.",
                ));
            }
            // A host has one version of each runtime: that can be pinned, another cannot be brought back.
            Some(arn) if arn != runtime_version_arn(&found.place, &version.configuration.runtime) => {
                return Err(Error::invalid_parameter_value_exception(format!(
                    "The runtime version {arn} is not available on this host."
                )));
            }
            None | Some(_) => {}
        }
        version.runtime_update = Some(RuntimeUpdate {
            mode: input.update_runtime_on.as_str().to_owned(),
            version_arn: given.map(str::to_owned),
        });
        VERSIONS.put(tx, &found.place.version(&found.function.incarnation, version.number), &version)?;
        Ok(PutRuntimeManagementConfigResponse {
            update_runtime_on: input.update_runtime_on,
            function_arn: found.arn_as_asked(qualifier.as_ref()),
            runtime_version_arn: input.runtime_version_arn.clone(),
        })
    }

    pub(crate) fn get_runtime_management_config(
        &self,
        cx: &Cx,
        tx: &Tx,
        input: &GetRuntimeManagementConfigRequest,
    ) -> Result<GetRuntimeManagementConfigResponse, Error> {
        const ACTION: &str = "lambda:GetRuntimeManagementConfig";
        let qualifier = input.qualifier.as_deref();
        let (found, qualifier, version) = self.managed(tx, cx, ACTION, &input.function_name, qualifier)?;
        let update = version.runtime_update;
        let mode = update.as_ref().and_then(|update| update.mode.parse().ok()).unwrap_or(UpdateRuntimeOn::Auto);
        Ok(GetRuntimeManagementConfigResponse {
            update_runtime_on: Some(mode),
            runtime_version_arn: update.and_then(|update| update.version_arn),
            function_arn: Some(found.arn_as_asked(qualifier.as_ref())),
        })
    }

    /// The version whose runtime is managed: aliases have none of their own.
    fn managed(
        &self,
        tx: &Tx,
        cx: &Cx,
        action: &str,
        function_name: &str,
        qualifier: Option<&str>,
    ) -> Result<(Found, Option<Qualifier>, Version), Error> {
        let (found, qualifier) = self.require(tx, cx, action, function_name, qualifier)?;
        if let Some(Qualifier::Alias(_)) = &qualifier {
            return Err(Error::invalid_parameter_value_exception(
                "Function aliases do not support this operation. Please specify a function or a version of it.",
            ));
        }
        let version = found.resolve(tx, qualifier.as_ref())?.version;
        Ok((found, qualifier, version))
    }

    /// Only functions on managed instances scale so, and there are none here.
    pub(crate) fn put_function_scaling_config(
        &self,
        cx: &Cx,
        tx: &Tx,
        input: &PutFunctionScalingConfigRequest,
    ) -> Result<PutFunctionScalingConfigResponse, Error> {
        const ACTION: &str = "lambda:PutFunctionScalingConfig";
        let qualifier = Some(input.qualifier.as_str());
        let (found, qualifier) = self.require(tx, cx, ACTION, &input.function_name, qualifier)?;
        Err(Error::invalid_parameter_value_exception(format!(
            "The function {} has no capacity provider: a scaling configuration is for functions on managed instances. Use \
             PutFunctionConcurrency or PutProvisionedConcurrencyConfig.",
            found.arn_as_asked(qualifier.as_ref())
        )))
    }

    pub(crate) fn get_function_scaling_config(
        &self,
        cx: &Cx,
        tx: &Tx,
        input: &GetFunctionScalingConfigRequest,
    ) -> Result<GetFunctionScalingConfigResponse, Error> {
        const ACTION: &str = "lambda:GetFunctionScalingConfig";
        let qualifier = Some(input.qualifier.as_str());
        let (found, qualifier) = self.require(tx, cx, ACTION, &input.function_name, qualifier)?;
        found.resolve(tx, qualifier.as_ref())?;
        let function_arn = Some(found.arn_as_asked(qualifier.as_ref()));
        Ok(GetFunctionScalingConfigResponse { function_arn, ..GetFunctionScalingConfigResponse::default() })
    }

    pub(crate) fn get_function_code_signing_config(
        &self,
        cx: &Cx,
        tx: &Tx,
        input: &GetFunctionCodeSigningConfigRequest,
    ) -> Result<GetFunctionCodeSigningConfigResponse, Error> {
        self.require_whole(tx, cx, "lambda:GetFunctionCodeSigningConfig", &input.function_name)?;
        Ok(GetFunctionCodeSigningConfigResponse::default())
    }

    /// There are no code signing configurations here, so none is found.
    pub(crate) fn put_function_code_signing_config(
        &self,
        cx: &Cx,
        tx: &Tx,
        input: &PutFunctionCodeSigningConfigRequest,
    ) -> Result<PutFunctionCodeSigningConfigResponse, Error> {
        self.require_whole(tx, cx, "lambda:PutFunctionCodeSigningConfig", &input.function_name)?;
        Err(Error::code_signing_config_not_found_exception(format!(
            "The code signing configuration cannot be found. Check that the provided configuration is not deleted: {}.",
            input.code_signing_config_arn
        )))
    }

    /// What is not there is as good as deleted.
    pub(crate) fn delete_function_code_signing_config(
        &self,
        cx: &Cx,
        tx: &Tx,
        input: &DeleteFunctionCodeSigningConfigRequest,
    ) -> Result<(), Error> {
        self.require_whole(tx, cx, "lambda:DeleteFunctionCodeSigningConfig", &input.function_name)?;
        Ok(())
    }
}
