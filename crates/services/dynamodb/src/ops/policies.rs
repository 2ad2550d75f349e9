//! Policies of tables.

use model_dynamodb::{
    DeleteResourcePolicyInput, DeleteResourcePolicyOutput, Error, GetResourcePolicyInput, GetResourcePolicyOutput,
    PutResourcePolicyInput, PutResourcePolicyOutput,
};
use services_kernel::Cx;
use store_api::Tx;

use super::create::check_policy;
use crate::{DynamoDb, table::Policy, target::Target};

/// What `ExpectedRevisionId` says when there must be no policy yet.
const NO_POLICY: &str = "NO_POLICY";

impl DynamoDb {
    pub(crate) fn set_policy(
        &self,
        cx: &Cx,
        tx: &Tx,
        input: &PutResourcePolicyInput,
    ) -> Result<PutResourcePolicyOutput, Error> {
        let mut target = Target::of_table(cx, tx, "dynamodb:PutResourcePolicy", &input.resource_arn)?;
        check_revision(&target, input.expected_revision_id.as_deref())?;
        check_policy(&input.policy)?;
        let before = target.record.policy.as_ref().map_or(0, |policy| policy.revision);
        let revision = tx.now().as_millis().max(before + 1);
        target.record.policy = Some(Policy { text: input.policy.clone(), revision });
        target.save(tx)?;
        Ok(PutResourcePolicyOutput { revision_id: Some(revision.to_string()) })
    }

    pub(crate) fn policy(
        &self,
        cx: &Cx,
        tx: &Tx,
        input: &GetResourcePolicyInput,
    ) -> Result<GetResourcePolicyOutput, Error> {
        let target = Target::of_table(cx, tx, "dynamodb:GetResourcePolicy", &input.resource_arn)?;
        let policy = target.record.policy.ok_or_else(|| none(&input.resource_arn))?;
        Ok(GetResourcePolicyOutput { policy: Some(policy.text), revision_id: Some(policy.revision.to_string()) })
    }

    pub(crate) fn drop_policy(
        &self,
        cx: &Cx,
        tx: &Tx,
        input: &DeleteResourcePolicyInput,
    ) -> Result<DeleteResourcePolicyOutput, Error> {
        let mut target = Target::of_table(cx, tx, "dynamodb:DeleteResourcePolicy", &input.resource_arn)?;
        check_revision(&target, input.expected_revision_id.as_deref())?;
        let gone = target.record.policy.take();
        if gone.is_some() {
            target.save(tx)?;
        }
        Ok(DeleteResourcePolicyOutput { revision_id: gone.map(|policy| policy.revision.to_string()) })
    }
}

fn none(arn: &str) -> Error {
    Error::policy_not_found_exception(format!("Resource-based policy not found for the provided ResourceArn: {arn}"))
}

fn check_revision(target: &Target, expected: Option<&str>) -> Result<(), Error> {
    let Some(expected) = expected else { return Ok(()) };
    let fits = match &target.record.policy {
        Some(policy) => policy.revision.to_string() == expected,
        None => expected == NO_POLICY,
    };
    if fits {
        Ok(())
    } else {
        Err(Error::policy_not_found_exception(format!(
            "Resource-based policy not found for the provided ResourceArn: Requested update for policy with revision id \
             {expected}"
        )))
    }
}
