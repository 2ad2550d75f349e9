//! Access control lists: canned ones, grants in headers and documents, what they permit.

use base_types::AccountId;
use minicbor::{Decode, Encode};
use model_s3::{AccessControlPolicy, Error, Grant as WireGrant, Grantee as WireGrantee, Owner};

use crate::{error::argument, names::canonical_id};

const ALL_USERS: &str = "http://acs.amazonaws.com/groups/global/AllUsers";
const AUTHENTICATED: &str = "http://acs.amazonaws.com/groups/global/AuthenticatedUsers";
const LOG_DELIVERY: &str = "http://acs.amazonaws.com/groups/s3/LogDelivery";
/// Grants that a list may have.
const GRANTS_MAX: usize = 100;

/// A list of grants; an empty one gives the owner everything, which the owner has anyway.
#[derive(Clone, Debug, Default, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub(crate) struct Acl {
    #[n(0)]
    pub(crate) grants: Vec<Grant>,
}

#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub(crate) struct Grant {
    #[n(0)]
    pub(crate) to: Grantee,
    #[n(1)]
    pub(crate) permission: Permission,
}

#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub(crate) enum Grantee {
    #[n(0)]
    Everybody,
    #[n(1)]
    Authenticated,
    #[n(2)]
    LogDelivery,
    /// By canonical user id.
    #[n(3)]
    User(#[n(0)] String),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(index_only)]
pub(crate) enum Permission {
    #[n(0)]
    Full,
    #[n(1)]
    Read,
    #[n(2)]
    Write,
    #[n(3)]
    ReadAcl,
    #[n(4)]
    WriteAcl,
}

impl Permission {
    fn text(self) -> &'static str {
        match self {
            Self::Full => "FULL_CONTROL",
            Self::Read => "READ",
            Self::Write => "WRITE",
            Self::ReadAcl => "READ_ACP",
            Self::WriteAcl => "WRITE_ACP",
        }
    }

    fn read(text: &str) -> Option<Self> {
        [Self::Full, Self::Read, Self::Write, Self::ReadAcl, Self::WriteAcl]
            .into_iter()
            .find(|permission| permission.text() == text)
    }
}

/// Grants in headers, by permission.
pub(crate) struct Headers<'a> {
    pub(crate) canned: Option<&'a str>,
    pub(crate) full: Option<&'a str>,
    pub(crate) read: Option<&'a str>,
    pub(crate) write: Option<&'a str>,
    pub(crate) read_acl: Option<&'a str>,
    pub(crate) write_acl: Option<&'a str>,
}

impl Headers<'_> {
    /// The list that they ask for; `None` when they ask for none.
    pub(crate) fn acl(&self, owner: AccountId, bucket_owner: AccountId) -> Result<Option<Acl>, Error> {
        let named = [
            (self.full, Permission::Full, "x-amz-grant-full-control"),
            (self.read, Permission::Read, "x-amz-grant-read"),
            (self.write, Permission::Write, "x-amz-grant-write"),
            (self.read_acl, Permission::ReadAcl, "x-amz-grant-read-acp"),
            (self.write_acl, Permission::WriteAcl, "x-amz-grant-write-acp"),
        ];
        let any = named.iter().any(|(text, ..)| text.is_some());
        if let Some(canned) = self.canned {
            if any {
                return Err(Error::invalid_request("Specifying both Canned ACLs and Header Grants is not allowed"));
            }
            return of_canned(canned, owner, bucket_owner).map(Some);
        }
        if !any {
            return Ok(None);
        }
        let mut grants = Vec::new();
        for (text, permission, header) in named {
            for item in text.unwrap_or_default().split(',').map(str::trim).filter(|item| !item.is_empty()) {
                grants.push(Grant { to: grantee_of_header(item, header)?, permission });
            }
        }
        Ok(Some(Acl { grants }))
    }
}

fn grantee_of_header(item: &str, header: &str) -> Result<Grantee, Error> {
    let unknown = || argument("Argument format not recognized", header, item);
    let (kind, value) = item.split_once('=').ok_or_else(unknown)?;
    let value = value.trim().trim_matches('"');
    match kind.trim() {
        "id" if is_user(value) => Ok(Grantee::User(value.to_owned())),
        "id" => Err(argument("Invalid id", "id", value)),
        "uri" => group(value).ok_or_else(|| argument("Invalid group uri", "uri", value)),
        "emailAddress" => Err(Error::not_implemented("Pileus does not support grantees by e-mail address.")),
        _ => Err(unknown()),
    }
}

fn is_user(id: &str) -> bool {
    id.len() == 64 && id.bytes().all(|byte| byte.is_ascii_hexdigit())
}

fn group(uri: &str) -> Option<Grantee> {
    match uri {
        ALL_USERS => Some(Grantee::Everybody),
        AUTHENTICATED => Some(Grantee::Authenticated),
        LOG_DELIVERY => Some(Grantee::LogDelivery),
        _ => None,
    }
}

fn of_canned(canned: &str, owner: AccountId, bucket_owner: AccountId) -> Result<Acl, Error> {
    let own = Grant { to: Grantee::User(canonical_id(owner)), permission: Permission::Full };
    let to = |to: Grantee, permission| Grant { to, permission };
    let bucket_owner = || Grantee::User(canonical_id(bucket_owner));
    let more = match canned {
        "private" | "aws-exec-read" => Vec::new(),
        "public-read" => vec![to(Grantee::Everybody, Permission::Read)],
        "public-read-write" => {
            vec![to(Grantee::Everybody, Permission::Read), to(Grantee::Everybody, Permission::Write)]
        }
        "authenticated-read" => vec![to(Grantee::Authenticated, Permission::Read)],
        "log-delivery-write" => {
            vec![to(Grantee::LogDelivery, Permission::Write), to(Grantee::LogDelivery, Permission::ReadAcl)]
        }
        "bucket-owner-read" => vec![to(bucket_owner(), Permission::Read)],
        "bucket-owner-full-control" => vec![to(bucket_owner(), Permission::Full)],
        _ => return Err(argument("", "x-amz-acl", canned)),
    };
    let mut grants = vec![own];
    for grant in more {
        if !grants.contains(&grant) {
            grants.push(grant);
        }
    }
    Ok(Acl { grants })
}

impl Acl {
    /// The list of a document.
    pub(crate) fn of_document(policy: &AccessControlPolicy, owner: AccountId) -> Result<Self, Error> {
        let malformed = || Error::malformed_acl_error(crate::error::MALFORMED_XML);
        let same = policy.owner.as_ref().and_then(|owner| owner.id.as_ref()).ok_or_else(malformed)?;
        if *same != canonical_id(owner) {
            return if is_user(same) {
                Err(crate::error::denied())
            } else {
                Err(argument("Invalid id", "CanonicalUser/ID", same))
            };
        }
        let list = policy.grants.as_deref().unwrap_or_default();
        if list.len() > GRANTS_MAX {
            return Err(malformed());
        }
        let mut grants = Vec::new();
        for grant in list {
            let permission = grant.permission.as_deref().and_then(Permission::read).ok_or_else(malformed)?;
            let grantee = grant.grantee.as_ref().ok_or_else(malformed)?;
            let to = match (&*grantee.r#type, &grantee.id, &grantee.uri) {
                ("CanonicalUser", Some(id), _) if is_user(id) => Grantee::User(id.clone()),
                ("CanonicalUser", Some(id), _) => return Err(argument("Invalid id", "CanonicalUser/ID", id)),
                ("Group", _, Some(uri)) => group(uri).ok_or_else(|| argument("Invalid group uri", "Group/URI", uri))?,
                ("AmazonCustomerByEmail", ..) => {
                    return Err(Error::not_implemented("Pileus does not support grantees by e-mail address."));
                }
                _ => return Err(malformed()),
            };
            grants.push(Grant { to, permission });
        }
        Ok(Self { grants })
    }

    /// The grants as documents have them.
    pub(crate) fn to_wire(&self, owner: AccountId) -> Vec<WireGrant> {
        let own = [Grant { to: Grantee::User(canonical_id(owner)), permission: Permission::Full }];
        let grants = if self.grants.is_empty() { &own[..] } else { &self.grants };
        grants
            .iter()
            .map(|grant| {
                let (r#type, id, uri) = match &grant.to {
                    Grantee::User(id) => ("CanonicalUser", Some(id.clone()), None),
                    Grantee::Everybody => ("Group", None, Some(ALL_USERS)),
                    Grantee::Authenticated => ("Group", None, Some(AUTHENTICATED)),
                    Grantee::LogDelivery => ("Group", None, Some(LOG_DELIVERY)),
                };
                let grantee = WireGrantee {
                    r#type: r#type.to_owned(),
                    id,
                    uri: uri.map(str::to_owned),
                    ..WireGrantee::default()
                };
                WireGrant { grantee: Some(grantee), permission: Some(grant.permission.text().to_owned()) }
            })
            .collect()
    }

    /// Whether it grants this to a caller: of this account, or to nobody in particular.
    pub(crate) fn permits(&self, wanted: Permission, caller: Option<AccountId>) -> bool {
        self.grants.iter().any(|grant| {
            let named = match &grant.to {
                Grantee::Everybody => true,
                Grantee::Authenticated => caller.is_some(),
                Grantee::LogDelivery => false,
                Grantee::User(id) => caller.is_some_and(|caller| *id == canonical_id(caller)),
            };
            named && (grant.permission == wanted || grant.permission == Permission::Full)
        })
    }

    /// Whether it grants anything to the public.
    pub(crate) fn is_public(&self) -> bool {
        self.grants.iter().any(|grant| matches!(grant.to, Grantee::Everybody | Grantee::Authenticated))
    }

    /// Whether it grants anything to anybody but the owner.
    pub(crate) fn is_private(&self, owner: AccountId) -> bool {
        let own = Grantee::User(canonical_id(owner));
        self.grants.iter().all(|grant| grant.to == own)
    }
}

/// The owner of something, as answers have it.
pub(crate) fn owner(account: AccountId) -> Owner {
    Owner { id: Some(canonical_id(account)), ..Owner::default() }
}
