//! GetCallerIdentity and GetAccessKeyInfo.

use model_sts::{Error, GetAccessKeyInfoRequest, GetAccessKeyInfoResponse, GetCallerIdentityResponse};
use services_kernel::{Cx, Principal};
use store_api::Tx;
use wire_schema::ServiceError;

use crate::{Sts, identifiers::access_key_account};

impl Sts {
    /// Needs no permission: everybody may know who they are, even where a policy denies this action.
    pub(crate) fn caller_identity(&self, cx: &Cx) -> Result<GetCallerIdentityResponse, Error> {
        let (user_id, account) = match &*cx.principal {
            Principal::Root { account } => (account.to_string(), *account),
            Principal::AssumedRole { account, role, session } => {
                (format!("{}:{session}", self.sessions.role_id(*account, role)), *account)
            }
            Principal::Service { host, account } => (host.clone(), *account),
            Principal::Anonymous => {
                return Err(Error::missing_authentication_token("Request is missing Authentication Token"));
            }
        };
        Ok(GetCallerIdentityResponse {
            user_id: Some(user_id),
            account: Some(account.to_string()),
            arn: Some(cx.principal.arn()),
        })
    }

    pub(crate) fn access_key_info(
        &self,
        _cx: &Cx,
        _tx: &Tx,
        input: &GetAccessKeyInfoRequest,
    ) -> Result<GetAccessKeyInfoResponse, Error> {
        match access_key_account(&input.access_key_id) {
            Some(account) => Ok(GetAccessKeyInfoResponse { account: Some(account.to_string()) }),
            None => Err(Error::validation(format!("`{}` is not an access key ID", input.access_key_id))),
        }
    }
}
