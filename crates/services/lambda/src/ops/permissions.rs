//! `AddPermission`, `RemovePermission`, `GetPolicy`.

use model_lambda::{
    AddPermissionRequest, AddPermissionResponse, Error, GetPolicyRequest, GetPolicyResponse, RemovePermissionRequest,
};
use services_kernel::Cx;
use store_api::{Key, Tx};

use super::aliases::alias_not_found;
use crate::{
    control::{Change, Control, Found, arn_of, missing_resource},
    error::function_not_found,
    names::Qualifier,
    permission::{POLICY_BYTES_MAX, Policy, Principal, Statement},
    tables::POLICIES,
};

impl Control {
    pub(crate) fn add_permission(
        &self,
        cx: &Cx,
        tx: &Tx,
        input: &AddPermissionRequest,
    ) -> Result<AddPermissionResponse, Error> {
        const ACTION: &str = "lambda:AddPermission";
        let named = self.name(cx, ACTION, &input.function_name, input.qualifier.as_deref())?;
        if named.qualifier == Some(Qualifier::Latest) {
            return Err(Error::invalid_parameter_value_exception(
                "We currently do not support adding policies for $LATEST.",
            ));
        }
        self.authorize(cx, ACTION, &named.name)?;
        let principal = Principal::parse(&input.principal, cx.region.partition())?;
        let found = self.find(tx, cx, &named.name)?.ok_or_else(|| {
            let whole = crate::names::FunctionRef { name: named.name.clone(), qualifier: None };
            function_not_found(&arn_of(cx, &whole))
        })?;
        let qualifier = existing(tx, &found, named.qualifier.as_ref())?;
        let key = found.place.policy(&found.function.incarnation, qualifier.as_deref());
        let mut policy = POLICIES.get(tx, &key)?.unwrap_or_default();
        check_revision(tx, &found, &policy, named.qualifier.as_ref(), input.revision_id.as_deref())?;
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
            resource: found.arn_as_asked(named.qualifier.as_ref()),
            source_arn: input.source_arn.clone(),
            source_account: input.source_account.clone(),
            organization: input.principal_org_id.clone(),
            event_source_token: input.event_source_token.clone(),
            url_auth_type: input.function_url_auth_type.map(|auth| auth.as_str().to_owned()),
            via_url: input.invoked_via_function_url,
        };
        let text = statement.to_json();
        policy.statements.push(statement);
        let size = policy.to_json().len();
        if size > POLICY_BYTES_MAX {
            return Err(Error::policy_length_exceeded_exception(format!(
                "The final policy size ({size}) is bigger than the limit ({POLICY_BYTES_MAX})."
            )));
        }
        self.put_policy(tx, &found, &key, policy)?;
        Ok(AddPermissionResponse { statement: Some(text) })
    }

    fn put_policy(&self, tx: &Tx, found: &Found, key: &Key, mut policy: Policy) -> Result<(), Error> {
        if policy.statements.is_empty() {
            POLICIES.remove(tx, key)?;
        } else {
            policy.revision = self.env.uuid();
            POLICIES.put(tx, key, &policy)?;
        }
        self.announce(tx, found, Change::Routing)?;
        Ok(())
    }

    pub(crate) fn remove_permission(&self, cx: &Cx, tx: &Tx, input: &RemovePermissionRequest) -> Result<(), Error> {
        const ACTION: &str = "lambda:RemovePermission";
        let named = self.name(cx, ACTION, &input.function_name, input.qualifier.as_deref())?;
        self.authorize(cx, ACTION, &named.name)?;
        let found = self.find(tx, cx, &named.name)?.ok_or_else(|| {
            Error::resource_not_found_exception(format!("No policy found for: {}", arn_of(cx, &named)))
        })?;
        let qualifier = existing(tx, &found, named.qualifier.as_ref())?;
        let key = found.place.policy(&found.function.incarnation, qualifier.as_deref());
        let mut policy = POLICIES
            .get(tx, &key)?
            .ok_or_else(|| Error::resource_not_found_exception("No policy is associated with the given resource."))?;
        check_revision(tx, &found, &policy, named.qualifier.as_ref(), input.revision_id.as_deref())?;
        let before = policy.statements.len();
        policy.statements.retain(|statement| statement.id != input.statement_id);
        if policy.statements.len() == before {
            return Err(Error::resource_not_found_exception(format!(
                "Statement {} is not found in resource policy.",
                input.statement_id
            )));
        }
        self.put_policy(tx, &found, &key, policy)
    }

    pub(crate) fn get_policy(&self, cx: &Cx, tx: &Tx, input: &GetPolicyRequest) -> Result<GetPolicyResponse, Error> {
        const ACTION: &str = "lambda:GetPolicy";
        let named = self.name(cx, ACTION, &input.function_name, input.qualifier.as_deref())?;
        self.authorize(cx, ACTION, &named.name)?;
        let found = missing_resource(self.find(tx, cx, &named.name)?)?;
        let qualifier = policy_qualifier(named.qualifier.as_ref());
        let key = found.place.policy(&found.function.incarnation, qualifier.as_deref());
        let policy = missing_resource(POLICIES.get(tx, &key)?)?;
        Ok(GetPolicyResponse { policy: Some(policy.to_json()), revision_id: Some(policy.revision) })
    }
}

/// Under which qualifier a policy is kept: `$LATEST` is the function itself.
pub(crate) fn policy_qualifier(qualifier: Option<&Qualifier>) -> Option<String> {
    match qualifier {
        None | Some(Qualifier::Latest) => None,
        Some(other) => Some(other.to_string()),
    }
}

/// The qualifier of something that is there.
fn existing(tx: &Tx, found: &Found, qualifier: Option<&Qualifier>) -> Result<Option<String>, Error> {
    if let Some(Qualifier::Alias(name)) = qualifier
        && found.alias(tx, name)?.is_none()
    {
        return Err(alias_not_found(found, name));
    }
    found.resolve(tx, qualifier)?;
    Ok(policy_qualifier(qualifier))
}

/// The caller's precondition: the policy's revision, or, before there is a policy, that of what it is to guard.
fn check_revision(
    tx: &Tx,
    found: &Found,
    policy: &Policy,
    qualifier: Option<&Qualifier>,
    given: Option<&str>,
) -> Result<(), Error> {
    let Some(given) = given else { return Ok(()) };
    let current = if policy.revision.is_empty() {
        let resolved = found.resolve(tx, qualifier)?;
        resolved.alias.map_or(resolved.version.revision, |alias| alias.revision)
    } else {
        policy.revision.clone()
    };
    if given == current {
        return Ok(());
    }
    Err(Error::precondition_failed_exception(
        "The Revision Id provided does not match the latest Revision Id. Call the GetPolicy API to retrieve the latest \
         Revision Id",
    ))
}
