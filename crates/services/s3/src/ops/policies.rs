//! Policies of buckets, and the block on public access.

use lang_policy::{Kind, Policy};
use model_s3::*;
use services_kernel::Cx;
use store_api::Tx;

use crate::{
    S3,
    access::{self, Ask, Found},
    error::{denied, text},
    names,
    tables::{self, BUCKETS, PublicAccess},
};

/// A policy's greatest size, in bytes (AWS: 20 KB).
const BYTES_MAX: usize = 20 * 1024;

fn find(cx: &Cx, tx: &Tx, bucket: &str, owner: &Option<String>, action: &str) -> Result<Found, Error> {
    access::find(cx, tx, bucket, owner.as_deref(), &Ask::of_bucket(action))
}

fn put(tx: &Tx, found: &Found) -> Result<(), Error> {
    Ok(BUCKETS.put(tx, &tables::bucket(&found.name), &found.bucket)?)
}

impl S3 {
    pub(crate) fn put_policy(&self, cx: &Cx, tx: &Tx, input: &PutBucketPolicyRequest) -> Result<(), Error> {
        let mut found = find(cx, tx, &input.bucket, &input.expected_bucket_owner, "s3:PutBucketPolicy")?;
        let policy = read(&input.policy, &found.name)?;
        if found.bucket.public_access.is_some_and(|block| block.block_policy) && access::is_public(&policy) {
            return Err(denied());
        }
        found.bucket.policy = Some(input.policy.clone());
        put(tx, &found)
    }

    pub(crate) fn get_policy(
        &self,
        cx: &Cx,
        tx: &Tx,
        input: &GetBucketPolicyRequest,
    ) -> Result<GetBucketPolicyOutput, Error> {
        let found = find(cx, tx, &input.bucket, &input.expected_bucket_owner, "s3:GetBucketPolicy")?;
        let policy = found.bucket.policy.ok_or_else(|| none(&found.name))?;
        Ok(GetBucketPolicyOutput { policy: Some(policy) })
    }

    pub(crate) fn delete_policy(&self, cx: &Cx, tx: &Tx, input: &DeleteBucketPolicyRequest) -> Result<(), Error> {
        let mut found = find(cx, tx, &input.bucket, &input.expected_bucket_owner, "s3:DeleteBucketPolicy")?;
        found.bucket.policy = None;
        put(tx, &found)
    }

    pub(crate) fn policy_status(
        &self,
        cx: &Cx,
        tx: &Tx,
        input: &GetBucketPolicyStatusRequest,
    ) -> Result<GetBucketPolicyStatusOutput, Error> {
        let found = find(cx, tx, &input.bucket, &input.expected_bucket_owner, "s3:GetBucketPolicyStatus")?;
        let kept = found.bucket.policy.ok_or_else(|| none(&found.name))?;
        let public = Policy::parse(&kept, Kind::Resource).is_ok_and(|policy| access::is_public(&policy));
        Ok(GetBucketPolicyStatusOutput { policy_status: Some(PolicyStatus { is_public: Some(public) }) })
    }

    pub(crate) fn put_block(&self, cx: &Cx, tx: &Tx, input: &PutPublicAccessBlockRequest) -> Result<(), Error> {
        let mut found = find(cx, tx, &input.bucket, &input.expected_bucket_owner, "s3:PutBucketPublicAccessBlock")?;
        let block = &input.public_access_block_configuration;
        let said = [
            block.block_public_acls,
            block.ignore_public_acls,
            block.block_public_policy,
            block.restrict_public_buckets,
        ];
        if said.iter().all(Option::is_none) {
            return Err(Error::invalid_request("Must specify at least one configuration."));
        }
        let [block_acls, ignore_acls, block_policy, restrict] = said.map(|said| said == Some(true));
        found.bucket.public_access = Some(PublicAccess { block_acls, ignore_acls, block_policy, restrict });
        put(tx, &found)
    }

    pub(crate) fn get_block(
        &self,
        cx: &Cx,
        tx: &Tx,
        input: &GetPublicAccessBlockRequest,
    ) -> Result<GetPublicAccessBlockOutput, Error> {
        let found = find(cx, tx, &input.bucket, &input.expected_bucket_owner, "s3:GetBucketPublicAccessBlock")?;
        let block = found.bucket.public_access.ok_or_else(|| NoSuchPublicAccessBlockConfiguration {
            message: text("The public access block configuration was not found"),
            bucket_name: text(&found.name),
        })?;
        Ok(GetPublicAccessBlockOutput {
            public_access_block_configuration: Some(PublicAccessBlockConfiguration {
                block_public_acls: Some(block.block_acls),
                ignore_public_acls: Some(block.ignore_acls),
                block_public_policy: Some(block.block_policy),
                restrict_public_buckets: Some(block.restrict),
            }),
        })
    }

    pub(crate) fn delete_block(&self, cx: &Cx, tx: &Tx, input: &DeletePublicAccessBlockRequest) -> Result<(), Error> {
        let mut found = find(cx, tx, &input.bucket, &input.expected_bucket_owner, "s3:PutBucketPublicAccessBlock")?;
        found.bucket.public_access = None;
        put(tx, &found)
    }
}

fn none(bucket: &str) -> Error {
    NoSuchBucketPolicy { message: text("The bucket policy does not exist"), bucket_name: text(bucket) }.into()
}

/// A policy of this bucket, as AWS takes it.
fn read(document: &str, bucket: &str) -> Result<Policy, Error> {
    if !document.starts_with('{') || serde_json::from_str::<serde_json::Value>(document).is_err() {
        return Err(Error::malformed_policy("Policies must be valid JSON and the first byte must be '{'"));
    }
    if document.len() > BYTES_MAX {
        return Err(Error::malformed_policy("Policy exceeds the maximum allowed document size."));
    }
    let value: serde_json::Value = serde_json::from_str(document).unwrap_or_default();
    if value.get("Statement").is_none() {
        return Err(Error::malformed_policy("Missing required field Statement"));
    }
    let policy = Policy::parse(document, Kind::Resource).map_err(|error| Error::malformed_policy(error.to_string()))?;
    let (own, below) = (names::arn(bucket, None), format!("{}/", names::arn(bucket, None)));
    for statement in &policy.statements {
        if statement.principals.is_none() {
            return Err(Error::malformed_policy("Missing required field Principal"));
        }
        let patterns = statement.resources.as_ref().map(|matcher| &matcher.patterns[..]).unwrap_or_default();
        let inside = |pattern: &String| *pattern == own || pattern.starts_with(&below) || pattern.contains(['*', '?']);
        if !patterns.iter().all(inside) {
            return Err(Error::malformed_policy("Policy has invalid resource"));
        }
    }
    Ok(policy)
}
