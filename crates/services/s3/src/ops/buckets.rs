//! Buckets: create, delete, head, list, where they are.

use model_s3::*;
use services_kernel::Cx;
use store_api::{Direction, Tx};

use super::objects::caller_account;
use crate::{
    S3,
    access::{self, Ask},
    acl::{self, Headers as Grants, Permission},
    body,
    error::{argument_named, text},
    names,
    tables::{self, BUCKETS, Bucket, EMPTIED, Lock, Mark, OWNED, Ownership, PublicAccess, Versioning},
    tags,
};

/// Buckets that an account may have (AWS: 10,000).
const BUCKETS_MAX: usize = 10_000;
const PAGE_MAX: i32 = 10_000;

impl S3 {
    pub(crate) fn create(&self, cx: &Cx, tx: &Tx, input: &CreateBucketRequest) -> Result<CreateBucketOutput, Error> {
        let name = &input.bucket;
        cx.authorize::<Error>(
            tx,
            "s3:CreateBucket",
            &base_types::Arn { account: String::new(), region: String::new(), ..cx.arn("s3", name.clone()) },
        )?;
        if !names::is_bucket_name(name) {
            return Err(InvalidBucketName {
                message: text("The specified bucket is not valid."),
                bucket_name: text(name),
            }
            .into());
        }
        let region = place(cx, input)?;
        let owner = caller_account(cx);
        if let Some(there) = BUCKETS.get(tx, &tables::bucket(name))? {
            let location = text(format!("/{name}"));
            // As AWS in its oldest region: who has it already is told that all is well.
            if there.owner == owner
                && there.region == region
                && region.as_str() == "us-east-1"
                && cx.region.as_str() == "us-east-1"
                && (input
                    .create_bucket_configuration
                    .as_ref()
                    .and_then(|it| it.tags.as_ref())
                    .is_none_or(Vec::is_empty)
                    || tags_of(input)? == there.tags)
            {
                return Ok(CreateBucketOutput { location, bucket_arn: text(names::arn(name, None)) });
            }
            return Err(if there.owner == owner {
                BucketAlreadyOwnedByYou {
                    message: text("Your previous request to create the named bucket succeeded and you already own it."),
                    bucket_name: text(name),
                }
                .into()
            } else {
                BucketAlreadyExists {
                    message: text(
                        "The requested bucket name is not available. The bucket namespace is shared by all users of the \
                         system. Please select a different name and try again.",
                    ),
                    bucket_name: text(name),
                }
                .into()
            });
        }
        if OWNED.scan(tx, &tables::owned(owner).prefix(), BUCKETS_MAX, Direction::Forward)?.len() >= BUCKETS_MAX {
            return Err(Error::too_many_buckets("You have attempted to create more buckets than allowed"));
        }
        let ownership = input.object_ownership.map_or(Ownership::Enforced, super::acls::ownership_of);
        let grants = Grants {
            canned: input.acl.as_deref(),
            full: input.grant_full_control.as_deref(),
            read: input.grant_read.as_deref(),
            write: input.grant_write.as_deref(),
            read_acl: input.grant_read_acp.as_deref(),
            write_acl: input.grant_write_acp.as_deref(),
        };
        let acl = grants.acl(owner, owner)?;
        if ownership == Ownership::Enforced && acl.as_ref().is_some_and(|acl| !acl.is_private(owner)) {
            return Err(Error::invalid_request(
                "Bucket cannot have ACLs set with ObjectOwnership's BucketOwnerEnforced setting",
            ));
        }
        let locked = input.object_lock_enabled_for_bucket == Some(true);
        let block = PublicAccess { block_acls: true, ignore_acls: true, block_policy: true, restrict: true };
        let bucket = Bucket {
            id: body::fresh(&self.store),
            owner,
            region: region.clone(),
            created: tx.now(),
            versioning: locked.then_some(Versioning::Enabled),
            lock: locked.then(Lock::default),
            ownership: Some(ownership),
            acl: acl.unwrap_or_default(),
            public_access: Some(block),
            policy: None,
            notifies: false,
            cors: false,
            lifecycle: false,
            website: false,
            tags: tags_of(input)?,
        };
        BUCKETS.put(tx, &tables::bucket(name), &bucket)?;
        OWNED.put(tx, &tables::owned(owner).str(name), &Mark {})?;
        let location = if region.as_str() == "us-east-1" {
            format!("/{name}")
        } else {
            let host = cx.endpoint.split_once("://").map_or(&*cx.endpoint, |(_, host)| host);
            format!("http://{name}.{host}/")
        };
        Ok(CreateBucketOutput { location: Some(location), bucket_arn: text(names::arn(name, None)) })
    }

    pub(crate) fn delete_bucket_(&self, cx: &Cx, tx: &Tx, input: &DeleteBucketRequest) -> Result<(), Error> {
        let owner = input.expected_bucket_owner.as_deref();
        let found = access::find(cx, tx, &input.bucket, owner, &Ask::of_bucket("s3:DeleteBucket"))?;
        let id = found.bucket.id;
        for table in [tables::current(id), tables::older(id)] {
            if !tx.scan(&table.prefix(), 1, Direction::Forward)?.is_empty() {
                let versioned = found.bucket.versioning.is_some();
                let more = if versioned { " You must delete all versions in the bucket." } else { "" };
                return Err(BucketNotEmpty {
                    message: Some(format!("The bucket you tried to delete is not empty.{more}")),
                    bucket_name: text(&input.bucket),
                }
                .into());
            }
        }
        super::multipart::abandon_all(tx, id)?;
        BUCKETS.remove(tx, &tables::bucket(&input.bucket))?;
        OWNED.remove(tx, &tables::owned(found.bucket.owner).str(&input.bucket))?;
        EMPTIED.put(tx, &tables::emptied(id), &Mark {})?;
        Ok(tx.wake(&crate::tasks::topic(), 1)?)
    }

    pub(crate) fn head_bucket_(&self, cx: &Cx, tx: &Tx, input: &HeadBucketRequest) -> Result<HeadBucketOutput, Error> {
        let ask = Ask::of_bucket("s3:ListBucket").granted_by(Permission::Read);
        let found = access::find(cx, tx, &input.bucket, input.expected_bucket_owner.as_deref(), &ask)?;
        Ok(HeadBucketOutput {
            bucket_arn: text(names::arn(&input.bucket, None)),
            bucket_region: Some(found.bucket.region.to_string()),
            access_point_alias: Some(false),
            ..HeadBucketOutput::default()
        })
    }

    pub(crate) fn location(
        &self,
        cx: &Cx,
        tx: &Tx,
        input: &GetBucketLocationRequest,
    ) -> Result<GetBucketLocationOutput, Error> {
        let owner = input.expected_bucket_owner.as_deref();
        let found = access::find(cx, tx, &input.bucket, owner, &Ask::of_bucket("s3:GetBucketLocation"))?;
        let region = found.bucket.region.to_string();
        Ok(GetBucketLocationOutput { location_constraint: (region != "us-east-1").then_some(region) })
    }

    pub(crate) fn list_buckets_(
        &self,
        cx: &Cx,
        tx: &Tx,
        input: &ListBucketsRequest,
    ) -> Result<ListBucketsOutput, Error> {
        let Some(account) = cx.principal.account() else { return Err(crate::error::denied()) };
        let max = match input.max_buckets {
            Some(max) if !(1..=PAGE_MAX).contains(&max) => {
                return Err(argument_named(
                    "Argument max-buckets must be an integer between 1 and 10000",
                    "max-buckets",
                ));
            }
            max => max.unwrap_or(PAGE_MAX) as usize,
        };
        let prefix = input.prefix.as_deref().unwrap_or_default();
        let base = tables::owned(account);
        let mut range = tables::beginning(&base, prefix);
        let scope = ["s3", "ListBuckets", account.as_str()];
        if let Some(token) = input.continuation_token.as_deref().filter(|token| !token.is_empty()) {
            let after = self.page_tokens.open(&scope, token).ok().and_then(|bytes| String::from_utf8(bytes).ok());
            let after = after
                .ok_or_else(|| argument_named("The continuation token provided is incorrect", "continuation-token"))?;
            range = range.after(&base.clone().str(&after));
        }
        let (mut buckets, mut next) = (Vec::new(), None);
        'pages: loop {
            let page = OWNED.scan(tx, &range, 1000, Direction::Forward)?;
            let Some((last, _)) = page.last() else { break };
            range = range.clone().after(last);
            for (key, _) in &page {
                let name = key.last_str().map_err(base_types::Fault::from)?;
                let Some(bucket) = BUCKETS.get(tx, &tables::bucket(&name))? else { continue };
                if input.bucket_region.as_deref().is_some_and(|region| region != bucket.region.as_str()) {
                    continue;
                }
                if buckets.len() == max {
                    next = buckets.last().and_then(|bucket: &model_s3::Bucket| bucket.name.clone());
                    break 'pages;
                }
                buckets.push(model_s3::Bucket {
                    bucket_arn: text(names::arn(&name, None)),
                    name: Some(name),
                    creation_date: Some(bucket.created),
                    bucket_region: Some(bucket.region.to_string()),
                });
            }
        }
        Ok(ListBucketsOutput {
            buckets: Some(buckets),
            owner: Some(acl::owner(account)),
            continuation_token: next.map(|name| self.page_tokens.seal(&scope, name.as_bytes())),
            prefix: input.prefix.clone(),
        })
    }
}

fn tags_of(input: &CreateBucketRequest) -> Result<Vec<(String, String)>, Error> {
    let set = input.create_bucket_configuration.as_ref().and_then(|it| it.tags.as_deref()).unwrap_or_default();
    if set.iter().any(|tag| tag.key.starts_with("aws:")) {
        return Err(Error::invalid_tag(
            "User-defined tag keys can't start with \"aws:\". This prefix is reserved for system tags. Remove \"aws:\" from \
             your tag keys and try again.",
        ));
    }
    tags::of_set(set, tags::BUCKET_TAGS_MAX)
}

/// Where the bucket is to be: what the constraint says, which must be the region that is asked, but in the oldest one.
fn place(cx: &Cx, input: &CreateBucketRequest) -> Result<base_types::Region, Error> {
    let constraint = input.create_bucket_configuration.as_ref().and_then(|it| it.location_constraint.as_deref());
    let asked = &cx.region;
    let illegal = |constraint: &str| {
        Error::illegal_location_constraint_exception(format!(
            "The {constraint} location constraint is incompatible for the region specific endpoint this request was sent to."
        ))
    };
    let oldest = asked.as_str() == "us-east-1";
    match constraint.map(|text| if text == "EU" { "eu-west-1" } else { text }) {
        None | Some("") if oldest => Ok(asked.clone()),
        None | Some("") => Err(illegal("unspecified")),
        Some(constraint) => match constraint.parse::<base_types::Region>() {
            Ok(region) if oldest && constraint != "us-east-1" && is_region(constraint) => Ok(region),
            Ok(region) if region == *asked && !oldest => Ok(region),
            _ if oldest => Err(InvalidLocationConstraint {
                message: text("The specified location-constraint is not valid"),
                location_constraint: text(constraint),
            }
            .into()),
            _ => Err(illegal(constraint)),
        },
    }
}

/// `eu-west-1` and the like: letters, letters, a digit.
fn is_region(text: &str) -> bool {
    let mut parts = text.rsplit('-');
    parts.next().is_some_and(|number| number.bytes().all(|byte| byte.is_ascii_digit()))
        && parts.count() >= 2
        && text != "aws-global"
}
