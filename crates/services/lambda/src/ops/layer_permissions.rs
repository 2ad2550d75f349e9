//! `AddLayerVersionPermission`, `RemoveLayerVersionPermission`, `GetLayerVersionPolicy`.

use model_lambda::{
    AddLayerVersionPermissionRequest, AddLayerVersionPermissionResponse, Error, GetLayerVersionPolicyRequest,
    GetLayerVersionPolicyResponse, RemoveLayerVersionPermissionRequest,
};
use services_kernel::Cx;
use store_api::{Key, Tx};

use super::layers::{FoundLayer, number};
use crate::{
    control::Control,
    permission::{POLICY_BYTES_MAX, Policy, Principal, Statement},
    tables::{LAYER_POLICIES, LAYER_VERSIONS},
};

impl Control {
    pub(crate) fn add_layer_version_permission(
        &self,
        cx: &Cx,
        tx: &Tx,
        input: &AddLayerVersionPermissionRequest,
    ) -> Result<AddLayerVersionPermissionResponse, Error> {
        const ACTION: &str = "lambda:AddLayerVersionPermission";
        let (found, key) = self.own_version(tx, cx, ACTION, &input.layer_name, input.version_number)?;
        let principal = Principal::parse(&input.principal, cx.region.partition())?;
        let mut policy = LAYER_POLICIES.get(tx, &key)?.unwrap_or_default();
        check_revision(&policy, input.revision_id.as_deref())?;
        if policy.statements.iter().any(|statement| statement.id == input.statement_id) {
            return Err(Error::resource_conflict_exception(format!(
                "The statement id ({}) provided already exists. Please provide a new statement id, or remove the existing \
                 statement.",
                input.statement_id
            )));
        }
        let statement = Statement {
            id: input.statement_id.clone(),
            action: input.action.clone(),
            principal,
            resource: found.arn(),
            source_arn: None,
            source_account: None,
            organization: input.organization_id.clone(),
            event_source_token: None,
            url_auth_type: None,
            via_url: None,
        };
        let text = statement.to_json();
        policy.statements.push(statement);
        let size = policy.to_json().len();
        if size > POLICY_BYTES_MAX {
            return Err(Error::policy_length_exceeded_exception(format!(
                "The final policy size ({size}) is bigger than the limit ({POLICY_BYTES_MAX})."
            )));
        }
        policy.revision = self.env.uuid();
        LAYER_POLICIES.put(tx, &key, &policy)?;
        Ok(AddLayerVersionPermissionResponse { statement: Some(text), revision_id: Some(policy.revision) })
    }

    pub(crate) fn remove_layer_version_permission(
        &self,
        cx: &Cx,
        tx: &Tx,
        input: &RemoveLayerVersionPermissionRequest,
    ) -> Result<(), Error> {
        const ACTION: &str = "lambda:RemoveLayerVersionPermission";
        let (_, key) = self.own_version(tx, cx, ACTION, &input.layer_name, input.version_number)?;
        let mut policy = policy(tx, &key)?;
        check_revision(&policy, input.revision_id.as_deref())?;
        let before = policy.statements.len();
        policy.statements.retain(|statement| statement.id != input.statement_id);
        if policy.statements.len() == before {
            return Err(Error::resource_not_found_exception(format!(
                "Statement {} is not found in resource policy.",
                input.statement_id
            )));
        }
        if policy.statements.is_empty() {
            LAYER_POLICIES.remove(tx, &key)?;
        } else {
            policy.revision = self.env.uuid();
            LAYER_POLICIES.put(tx, &key, &policy)?;
        }
        Ok(())
    }

    pub(crate) fn get_layer_version_policy(
        &self,
        cx: &Cx,
        tx: &Tx,
        input: &GetLayerVersionPolicyRequest,
    ) -> Result<GetLayerVersionPolicyResponse, Error> {
        const ACTION: &str = "lambda:GetLayerVersionPolicy";
        let (_, key) = self.own_version(tx, cx, ACTION, &input.layer_name, input.version_number)?;
        let policy = policy(tx, &key)?;
        Ok(GetLayerVersionPolicyResponse { policy: Some(policy.to_json()), revision_id: Some(policy.revision) })
    }

    /// A layer version of the own account, and the key of its policy.
    fn own_version(
        &self,
        tx: &Tx,
        cx: &Cx,
        action: &str,
        name: &str,
        version_number: i64,
    ) -> Result<(FoundLayer, Key), Error> {
        let (layer, place) = self.layer(cx, action, name)?;
        let number = number(version_number)?;
        let missing = || {
            let arn = layer.arn(place.region.partition());
            Error::resource_not_found_exception(format!("Layer version {arn}:{number} does not exist."))
        };
        let version = LAYER_VERSIONS.get(tx, &place.layer_version(&layer.name, number))?.ok_or_else(missing)?;
        let key = place.layer_policy(&layer.name, number);
        Ok((FoundLayer { layer, place, version }, key))
    }
}

fn policy(tx: &Tx, key: &Key) -> Result<Policy, Error> {
    LAYER_POLICIES
        .get(tx, key)?
        .ok_or_else(|| Error::resource_not_found_exception("No policy is associated with the given resource."))
}

/// The caller's precondition; before there is a policy nothing can match.
fn check_revision(policy: &Policy, given: Option<&str>) -> Result<(), Error> {
    if given.is_none_or(|given| given == policy.revision) {
        return Ok(());
    }
    Err(Error::precondition_failed_exception(
        "The Revision Id provided does not match the latest Revision Id. Call the GetLayerPolicy API to retrieve the latest \
         Revision Id",
    ))
}
