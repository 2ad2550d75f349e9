//! Whose request it is.

use std::sync::Arc;

use base_types::{AccountId, Fault, Region};
use http::request::Parts;
use services_kernel::Principal;
use wire_sigv4::{Claim, Content, Glimpse, LegacyClaim, Payload, Placement, Request, Rules, SignatureError};

use crate::{
    incoming::Manner,
    server::Gateway,
    upstream::{Identity, Key, Lookup, Upstream},
};

/// Why there is no identity.
#[derive(Debug)]
pub(crate) enum Denied {
    /// The client's fault.
    Signature(SignatureError),
    /// Ours.
    Fault(Fault),
}

impl From<SignatureError> for Denied {
    fn from(error: SignatureError) -> Self {
        Self::Signature(error)
    }
}

impl From<Fault> for Denied {
    fn from(fault: Fault) -> Self {
        Self::Fault(fault)
    }
}

impl<U: Upstream> Gateway<U> {
    /// Finds out who signed. `open` is the mode of this connection; `signing` the signing name that must be in the scope
    /// (`None`: any); `region` the host name's, which counts when there is no scope.
    pub(crate) async fn authenticate(
        &self,
        head: &Parts,
        body: &[u8],
        signing: Option<&str>,
        open: bool,
        region: Option<Region>,
    ) -> Result<Identity, Denied> {
        let request = Request::from(head);
        // The open mode believes whoever signs with a key that nobody knows, whatever the rest of the signature says.
        if open
            && let Some(glimpse) = Claim::glimpse(&request)
            && matches!(self.upstream().key(&glimpse.key_id, None).await?, Lookup::Unknown)
        {
            return Ok(believed(Some(glimpse), region));
        }
        let claim = match Claim::read(&request) {
            Ok(claim) => claim,
            Err(_) if open => return Ok(believed(Claim::glimpse(&request), region)),
            Err(error) => return Err(error.into()),
        };
        let signing = signing.unwrap_or(&claim.service);
        let rules = if signing == "s3" { Rules::S3 } else { Rules::Common };
        if !open {
            claim.check(signing, rules, self.env().now())?;
        }
        match self.upstream().key(&claim.key_id, claim.token.as_deref()).await? {
            Lookup::Found(Key { secret, principal, account }) => {
                if open {
                    claim.check(signing, rules, self.env().now())?;
                }
                let signing_key = self.signing_keys().of(&claim, &secret);
                claim.verify_by(&signing_key, &request, rules, Payload::Bytes(body))?;
                // The scope was checked: its region is one.
                let region = claim.region.parse().unwrap_or_default();
                Ok(Identity { account, region, principal, key_id: Some(claim.key_id.into_owned()) })
            }
            Lookup::Unknown if open => Ok(believed(Claim::glimpse(&request), region)),
            Lookup::Unknown => Err(SignatureError::UnknownKey.into()),
            Lookup::InvalidToken => Err(SignatureError::InvalidToken.into()),
            Lookup::Expired => Err(SignatureError::ExpiredToken.into()),
        }
    }
}

impl<U: Upstream> Gateway<U> {
    /// As [`Gateway::authenticate`] for a body that is still to be read: who signed, and what the request says of its body,
    /// to be proven by who reads it. `resource` is the path with the bucket as its first part.
    pub(crate) async fn authenticate_unread(
        &self,
        head: &Parts,
        (signing, resource): (&str, &str),
        open: bool,
        region: Option<Region>,
    ) -> Result<(Identity, Manner), Denied> {
        let request = Request::from(head);
        let rules = Rules::S3;
        if let Some(claim) = LegacyClaim::read(&request) {
            let identity = self.authenticate_legacy(claim?, &request, resource, open, region).await?;
            return Ok((identity, Manner::unproven(&head.headers)));
        }
        let unproven = || (believed(Claim::glimpse(&request), region.clone()), Manner::unproven(&head.headers));
        let claim = match Claim::read(&request) {
            Ok(claim) => claim,
            Err(_) if open && Claim::glimpse(&request).is_some() => return Ok(unproven()),
            Err(error) => return Err(error.into()),
        };
        if !open {
            claim.check(signing, rules, self.env().now())?;
        }
        match self.upstream().key(&claim.key_id, claim.token.as_deref()).await? {
            Lookup::Found(Key { secret, principal, account }) => {
                if open {
                    claim.check(signing, rules, self.env().now())?;
                }
                let key = self.signing_keys().of(&claim, &secret);
                claim.verify_by(&key, &request, rules, Payload::Unread)?;
                let content = claim.content(&request, rules)?;
                let chain = matches!(content, Content::Chunked { signed: true, .. }).then(|| claim.chain(key));
                let region = claim.region.parse().unwrap_or_default();
                let identity = Identity { account, region, principal, key_id: Some(claim.key_id.into_owned()) };
                Ok((identity, Manner { content, chain }))
            }
            Lookup::Unknown if open => {
                // Nobody knows the secret; that a presigned address has had its time needs none.
                if matches!(claim.placement, Placement::Query { .. }) {
                    claim.check(signing, rules, self.env().now())?;
                }
                Ok(unproven())
            }
            Lookup::Unknown => Err(SignatureError::UnknownKey.into()),
            Lookup::InvalidToken => Err(SignatureError::InvalidToken.into()),
            Lookup::Expired => Err(SignatureError::ExpiredToken.into()),
        }
    }
}

impl<U: Upstream> Gateway<U> {
    async fn authenticate_legacy(
        &self,
        claim: LegacyClaim,
        request: &Request<'_>,
        resource: &str,
        open: bool,
        region: Option<Region>,
    ) -> Result<Identity, Denied> {
        claim.check(self.env().now())?;
        match self.upstream().key(&claim.key_id, claim.token.as_deref()).await? {
            Lookup::Found(Key { secret, principal, account }) => {
                claim.verify(&secret, request, resource)?;
                let key_id = Some(claim.key_id);
                Ok(Identity { account, region: region.unwrap_or_default(), principal, key_id })
            }
            Lookup::Unknown if open => {
                let glimpse = Glimpse { key_id: claim.key_id, region: String::new(), service: "s3".to_owned() };
                Ok(believed(Some(glimpse), region))
            }
            Lookup::Unknown => Err(SignatureError::UnknownKey.into()),
            Lookup::InvalidToken => Err(SignatureError::InvalidToken.into()),
            Lookup::Expired => Err(SignatureError::ExpiredToken.into()),
        }
    }
}

/// The open mode's identity: the account that a twelve-digit key id names, as its root.
fn believed(glimpse: Option<Glimpse>, host_region: Option<Region>) -> Identity {
    let account: AccountId =
        glimpse.as_ref().and_then(|glimpse| glimpse.key_id.parse().ok()).unwrap_or(AccountId::DEFAULT);
    let scope_region = glimpse.as_ref().and_then(|glimpse| glimpse.region.parse().ok());
    Identity {
        account,
        region: scope_region.or(host_region).unwrap_or_default(),
        principal: Arc::new(Principal::Root { account }),
        key_id: glimpse.map(|glimpse| glimpse.key_id),
    }
}
