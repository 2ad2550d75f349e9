//! AssumeRole and GetSessionToken.

use std::time::Duration;

use base_types::{AccountId, Arn};
use model_sts::{
    AssumeRoleRequest, AssumeRoleResponse, AssumedRoleUser, Credentials, Error, GetSessionTokenRequest,
    GetSessionTokenResponse,
};
use services_kernel::{Cx, Principal};
use services_ports::SessionCredentials;
use store_api::Tx;
use wire_schema::ServiceError;

use crate::{Sts, is_session, role_name, session::Bearer};

const ASSUME_ROLE_DEFAULT_SECONDS: i32 = 3600;
/// A role's session may not give itself another one for longer.
const CHAINED_SECONDS_MAX: i32 = 3600;
/// AWS limits sessions of an account's root to an hour, whatever they ask for.
const ROOT_SESSION_SECONDS_MAX: i32 = 3600;

impl Sts {
    pub(crate) fn assume(&self, cx: &Cx, tx: &Tx, input: &AssumeRoleRequest) -> Result<AssumeRoleResponse, Error> {
        let (role, account) = role_of(&input.role_arn)?;
        permit(cx, tx, &role, account)?;
        let seconds = input.duration_seconds.unwrap_or(ASSUME_ROLE_DEFAULT_SECONDS);
        if is_session(&cx.principal) && seconds > CHAINED_SECONDS_MAX {
            return Err(Error::validation(
                "The requested DurationSeconds exceeds the 1 hour session limit for roles assumed by role chaining",
            ));
        }
        let (name, session) = (role_name(&role).to_owned(), input.role_session_name.clone());
        let principal = Principal::AssumedRole { account, role: name.clone(), session: session.clone() };
        let assumed_role_id = format!("{}:{session}", self.sessions.role_id(account, &name));
        let issued = self.sessions.issue(account, Bearer::Role { role: name, session }, lifetime(seconds));
        Ok(AssumeRoleResponse {
            credentials: Some(credentials(issued)),
            assumed_role_user: Some(AssumedRoleUser { assumed_role_id, arn: principal.arn() }),
            packed_policy_size: None,
            source_identity: None,
        })
    }

    pub(crate) fn session_token(
        &self,
        cx: &Cx,
        _tx: &Tx,
        input: &GetSessionTokenRequest,
    ) -> Result<GetSessionTokenResponse, Error> {
        let Principal::Root { account } = *cx.principal else {
            return Err(Error::access_denied("Cannot call GetSessionToken with session credentials"));
        };
        let seconds = input.duration_seconds.unwrap_or(ROOT_SESSION_SECONDS_MAX).min(ROOT_SESSION_SECONDS_MAX);
        let issued = self.sessions.issue(account, Bearer::Root, lifetime(seconds));
        Ok(GetSessionTokenResponse { credentials: Some(credentials(issued)) })
    }
}

fn role_of(text: &str) -> Result<(Arn, AccountId), Error> {
    let invalid = || Error::validation(format!("{text} is invalid"));
    let role: Arn = text.parse().map_err(|_| invalid())?;
    let name = role.resource.strip_prefix("role/").map(|_| role_name(&role)).unwrap_or_default();
    let well_formed = (1..=64).contains(&name.len())
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+=,.@_-".contains(&byte));
    if role.service != "iam" || !role.region.is_empty() || !well_formed {
        return Err(invalid());
    }
    let account = role.account.parse().map_err(|_| invalid())?;
    Ok((role, account))
}

/// Within an account the caller's own policies decide. Across accounts a trust policy would; until there is one, only an
/// account's root (the operator) may cross.
fn permit(cx: &Cx, tx: &Tx, role: &Arn, account: AccountId) -> Result<(), Error> {
    match &*cx.principal {
        Principal::Root { .. } => Ok(()),
        Principal::AssumedRole { account: own, .. } if *own == account => cx.authorize(tx, "sts:AssumeRole", role),
        Principal::AssumedRole { .. } | Principal::Service { .. } | Principal::Anonymous => Err(Error::access_denied(
            format!("User: {} is not authorized to perform: sts:AssumeRole on resource: {role}", cx.principal),
        )),
    }
}

fn lifetime(seconds: i32) -> Duration {
    Duration::from_secs(u64::try_from(seconds).unwrap_or_default())
}

fn credentials(issued: SessionCredentials) -> Credentials {
    Credentials {
        access_key_id: issued.access_key_id,
        secret_access_key: issued.secret_access_key,
        session_token: issued.session_token,
        expiration: issued.expires,
    }
}
