//! Whose request it is.

use std::sync::Arc;

use base_types::{AccountId, Fault, Region};
use http::request::Parts;
use services_kernel::Principal;
use wire_sigv4::{Claim, Glimpse, Payload, Request, Rules, SignatureError};

use crate::{
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
