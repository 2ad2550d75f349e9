//! Short-lived credentials of a role: what a function gets to call the platform with.
//!
//! The port takes no transaction, because issuing stores nothing: the session token is sealed and self-contained (account,
//! role, session, expiry), the secret is derived from the access key id under the installation's key. So an environment
//! that starts costs no commit, and its credentials outlive a restart of the server.

use std::{fmt, time::Duration};

use base_types::{AccountId, Arn, Timestamp};

/// Issues session credentials; the identity of the caller has been checked already.
pub trait RoleCredentials: Send + Sync + 'static {
    /// Credentials of `role` (an `arn:…:iam::…:role/…`) in a session called `session`, valid for `lifetime`.
    fn issue(&self, account: AccountId, role: &Arn, session: &str, lifetime: Duration) -> SessionCredentials;
}

/// What a client signs with.
#[derive(Clone, PartialEq, Eq)]
pub struct SessionCredentials {
    /// Begins with `ASIA`.
    pub access_key_id: String,
    /// Never logged.
    pub secret_access_key: String,
    /// Goes into `X-Amz-Security-Token`; never logged.
    pub session_token: String,
    /// When they cease to be accepted.
    pub expires: Timestamp,
}

impl fmt::Debug for SessionCredentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SessionCredentials({}, until {})", self.access_key_id, self.expires)
    }
}
