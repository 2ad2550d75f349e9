//! AWS Security Token Service: who am I, and short-lived credentials.
//!
//! | file | what |
//! |---|---|
//! | `service` | the generated trait, one line per operation |
//! | `ops` | the operations |
//! | `session` | session tokens: sealed, self-contained; nothing is stored |
//! | `identifiers` | access key ids and role ids in AWS's form |
//!
//! # Invariants
//! - **Issuing stores nothing.** A session token is an encrypted, authenticated record (key id, principal, expiry, salt); the
//!   secret is derived from key id and salt under the installation's key. So a function's environment starts without a
//!   commit, credentials outlive a restart, and there is no table of sessions to sweep or to leak. The price: a single
//!   session cannot be revoked before its end; changing the installation's key ends all of them.
//! - A secret is never logged and never compared here: the verifier of signatures does that in constant time.
//! - Until roles and trust policies exist, whoever may act in an account may assume any role name in it; a role of another
//!   account may be assumed by an account's root only.

mod identifiers;
mod ops;
mod service;
mod session;

use std::{sync::Arc, time::Duration};

use base_env::Env;
use base_types::{AccountId, Arn};
pub use identifiers::{access_key_account, access_key_id};
use services_kernel::Principal;
use services_ports::{RoleCredentials, SessionCredentials};
use session::{Bearer, Sessions};
pub use session::{Session, SessionLookup};

/// The service. Cheap to clone.
#[derive(Clone)]
pub struct Sts {
    sessions: Arc<Sessions>,
}

impl Sts {
    /// With a key that is derived from the installation's for this purpose alone.
    #[must_use]
    pub fn new(key: &[u8; 32], env: Env) -> Self {
        Self { sessions: Arc::new(Sessions::new(key, env)) }
    }

    /// Whose session an access key id and its token belong to: what the gateway asks for each signed request.
    #[must_use]
    pub fn session(&self, key_id: &str, token: Option<&str>) -> SessionLookup {
        self.sessions.open(key_id, token)
    }
}

impl RoleCredentials for Sts {
    fn issue(&self, account: AccountId, role: &Arn, session: &str, lifetime: Duration) -> SessionCredentials {
        let role = role_name(role).to_owned();
        self.sessions.issue(account, Bearer::Role { role, session: session.to_owned() }, lifetime)
    }
}

/// A role's name: the last part of its path.
fn role_name(role: &Arn) -> &str {
    role.resource.rsplit('/').next().unwrap_or_default()
}

/// Whether the caller's own credentials are a session's.
fn is_session(principal: &Principal) -> bool {
    matches!(principal, Principal::AssumedRole { .. })
}
