//! The generated trait, delegated.

use model_sts::{
    AssumeRoleRequest, AssumeRoleResponse, Error, GetAccessKeyInfoRequest, GetAccessKeyInfoResponse,
    GetCallerIdentityRequest, GetCallerIdentityResponse, GetSessionTokenRequest, GetSessionTokenResponse,
};
use services_kernel::Cx;
use store_api::Tx;

use crate::Sts;

impl model_sts::Sts<Cx, Tx> for Sts {
    fn assume_role(&self, cx: &Cx, tx: &Tx, input: &AssumeRoleRequest) -> Result<AssumeRoleResponse, Error> {
        self.assume(cx, tx, input)
    }

    fn get_session_token(
        &self,
        cx: &Cx,
        tx: &Tx,
        input: &GetSessionTokenRequest,
    ) -> Result<GetSessionTokenResponse, Error> {
        self.session_token(cx, tx, input)
    }

    fn get_caller_identity(
        &self,
        cx: &Cx,
        _tx: &Tx,
        _input: &GetCallerIdentityRequest,
    ) -> Result<GetCallerIdentityResponse, Error> {
        self.caller_identity(cx)
    }

    fn get_access_key_info(
        &self,
        cx: &Cx,
        tx: &Tx,
        input: &GetAccessKeyInfoRequest,
    ) -> Result<GetAccessKeyInfoResponse, Error> {
        self.access_key_info(cx, tx, input)
    }
}
