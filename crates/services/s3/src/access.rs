//! May they? One question, asked by every operation: the bucket's owner may (unless its policy denies it), others by its
//! policy or by lists of grants, as far as the public-access block leaves them.

use lang_policy::{Access, Caller, Context, Decision, Kind, Policy, Request};
use model_s3::Error;
use services_kernel::{Cx, Principal};
use store_api::Tx;

use crate::{
    acl::{Acl, Permission},
    error::{denied, no_bucket},
    names,
    tables::{self, BUCKETS, Bucket, Ownership},
};

/// A bucket that was found.
#[derive(Clone)]
pub(crate) struct Found {
    pub(crate) name: String,
    pub(crate) bucket: Bucket,
}

/// What is asked.
pub(crate) struct Ask<'a> {
    /// `s3:GetObject`.
    pub(crate) action: &'a str,
    /// The object, for what is done to one.
    pub(crate) key: Option<&'a str>,
    /// What lists of grants call it; `None` for what they never permit.
    pub(crate) grant: Option<Permission>,
    /// The object's own list, for what is done to one that is there.
    pub(crate) acl: Option<&'a Acl>,
    /// What a policy's conditions may ask beside what is known of every request.
    pub(crate) conditions: Vec<(&'static str, String)>,
}

impl<'a> Ask<'a> {
    pub(crate) fn of_bucket(action: &'a str) -> Self {
        Self { action, key: None, grant: None, acl: None, conditions: Vec::new() }
    }

    pub(crate) fn of_object(action: &'a str, key: &'a str) -> Self {
        Self { key: Some(key), ..Self::of_bucket(action) }
    }

    pub(crate) fn granted_by(self, grant: Permission) -> Self {
        Self { grant: Some(grant), ..self }
    }
}

/// The bucket of this name, if the caller may do this to it (or to an object in it).
pub(crate) fn find(cx: &Cx, tx: &Tx, name: &str, expected: Option<&str>, ask: &Ask<'_>) -> Result<Found, Error> {
    let found = look(tx, name, expected)?;
    permit(cx, &found, ask)?;
    Ok(found)
}

/// The bucket of this name, and of this owner if one is expected; nobody was asked whether the caller may.
pub(crate) fn look(tx: &Tx, name: &str, expected: Option<&str>) -> Result<Found, Error> {
    check_expected(expected)?;
    let bucket = BUCKETS.get(tx, &tables::bucket(name))?.ok_or_else(|| no_bucket(name))?;
    if expected.is_some_and(|expected| expected != bucket.owner.as_str()) {
        return Err(denied());
    }
    Ok(Found { name: name.to_owned(), bucket })
}

/// Whether this can be an account.
fn check_expected(expected: Option<&str>) -> Result<(), Error> {
    match expected {
        Some(text) if text.len() != 12 || !text.bytes().all(|byte| byte.is_ascii_digit()) => {
            Err(Error::invalid_bucket_owner_aws_account_id(format!(
                "The value of the expected bucket owner parameter must be an AWS Account ID... [{text}]"
            )))
        }
        _ => Ok(()),
    }
}

/// Whether the caller may.
pub(crate) fn permit(cx: &Cx, found: &Found, ask: &Ask<'_>) -> Result<(), Error> {
    let bucket = &found.bucket;
    // Nothing has to be evaluated for the owner of a bucket without a policy: nearly every request.
    if bucket.policy.is_none() && cx.owns(bucket.owner) {
        return Ok(());
    }
    let (decision, public) = by_policy(cx, found, ask);
    let restricted = bucket.public_access.is_some_and(|block| block.restrict) && public;
    let outsider = cx.principal.account() != Some(bucket.owner);
    match decision {
        Decision::Allow if restricted && outsider && !matches!(&*cx.principal, Principal::Service { .. }) => {
            Err(denied())
        }
        Decision::Allow => Ok(()),
        Decision::ExplicitDeny { .. } => {
            Err(refused(cx, found, ask, "with an explicit deny in a resource-based policy"))
        }
        Decision::ImplicitDeny if by_grants(cx, bucket, ask) => Ok(()),
        Decision::ImplicitDeny => {
            let reason = format!("because no resource-based policy allows the {} action", ask.action);
            Err(refused(cx, found, ask, &reason))
        }
    }
}

fn refused(cx: &Cx, found: &Found, ask: &Ask<'_>, reason: &str) -> Error {
    if matches!(&*cx.principal, Principal::Anonymous) {
        return denied();
    }
    let (principal, arn) = (&cx.principal, names::arn(&found.name, ask.key));
    Error::access_denied(format!(
        "User: {principal} is not authorized to perform: {} on resource: \"{arn}\" {reason}",
        ask.action
    ))
}

/// What the policy says, and whether it is one for everybody.
fn by_policy(cx: &Cx, found: &Found, ask: &Ask<'_>) -> (Decision, bool) {
    // It was read when it was set.
    let policy = found.bucket.policy.as_deref().and_then(|text| Policy::parse(text, Kind::Resource).ok());
    let mut context: Context = cx.conditions();
    for (key, value) in &ask.conditions {
        context.add(key, value.clone());
    }
    context.add("aws:SecureTransport", "false");
    let caller = caller(cx);
    let arn = names::arn(&found.name, ask.key);
    let request = Request { caller: &caller, action: ask.action, resource: &arn, context: &context };
    let identity = [everything()];
    let own: &[&Policy] = if cx.principal.account().is_some() { &identity } else { &[] };
    let access = Access { identity: own, limits: &[], resource: policy.as_ref(), owner: found.bucket.owner };
    (access.decide(&request), policy.as_ref().is_some_and(is_public))
}

/// Whether a policy permits something to everybody, without a condition that narrows it to known places.
pub(crate) fn is_public(policy: &Policy) -> bool {
    policy.statements.iter().any(|statement| {
        let open =
            statement.principals.as_ref().is_some_and(|principals| *principals == lang_policy::Principals::everyone());
        matches!(statement.effect, lang_policy::Effect::Allow) && open && statement.conditions.is_empty()
    })
}

fn by_grants(cx: &Cx, bucket: &Bucket, ask: &Ask<'_>) -> bool {
    let (Some(grant), false) = (ask.grant, bucket.ownership == Some(Ownership::Enforced)) else { return false };
    let caller = cx.principal.account();
    let ignored = bucket.public_access.is_some_and(|block| block.ignore_acls);
    // What is done to an object's content is the bucket's to permit when it is written, the object's when it is read.
    let list = match (ask.key, grant) {
        (None, _) | (Some(_), Permission::Write) => Some(&bucket.acl),
        (Some(_), _) => ask.acl,
    };
    list.is_some_and(|acl| {
        let granted = acl.permits(grant, caller);
        granted && !(ignored && acl.is_public())
    })
}

fn caller(cx: &Cx) -> Caller {
    match &*cx.principal {
        Principal::Root { account } => Caller::Root { account: *account },
        Principal::AssumedRole { account, role, session } => {
            Caller::AssumedRole { account: *account, role: role.clone(), session: session.clone() }
        }
        Principal::Service { host, .. } => Caller::Service { host: host.clone() },
        Principal::Anonymous => Caller::Anonymous,
    }
}

/// The identity policy of every principal until there are others.
fn everything() -> &'static Policy {
    static EVERYTHING: std::sync::OnceLock<Policy> = std::sync::OnceLock::new();
    EVERYTHING.get_or_init(|| {
        let text = r#"{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"*","Resource":"*"}]}"#;
        Policy::parse(text, Kind::Identity).unwrap_or_else(|_| Policy::of_resource())
    })
}
