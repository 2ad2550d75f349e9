//! Session tokens.
//!
//! A token is `PILEUS1.` and the base64 of a nonce and an encrypted record (XChaCha20-Poly1305); the access key id is
//! authenticated with it, so a token works with its own key id only.

use std::{sync::Arc, time::Duration};

use base_env::Env;
use base_types::{AccountId, Timestamp};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD, prelude::BASE64_STANDARD};
use chacha20poly1305::{
    Key, KeyInit as _, XChaCha20Poly1305, XNonce,
    aead::{Aead, Payload},
};
use hmac::{Hmac, Mac};
use minicbor::{Decode, Encode};
use services_kernel::Principal;
use services_ports::SessionCredentials;
use sha2::Sha256;

use crate::identifiers::{access_key_id, unique_id};

const PREFIX: &str = "PILEUS1.";
const NONCE_BYTES: usize = 24;
/// Longer than any token of ours: role and session names are at most 64 characters each.
const TOKEN_CHARS_MAX: usize = 2048;
/// Thirty bytes are the forty characters of a secret access key.
const SECRET_BYTES: usize = 30;

/// What a token says. Fields are only ever added: tokens of an older release stay valid.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
struct Record {
    #[n(0)]
    account: AccountId,
    #[n(1)]
    bearer: Bearer,
    #[n(2)]
    expires: Timestamp,
    #[cbor(n(3), with = "minicbor::bytes")]
    salt: [u8; 16],
}

/// Whom a session stands for.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub(crate) enum Bearer {
    /// A session of a role.
    #[n(0)]
    Role {
        #[n(0)]
        role: String,
        #[n(1)]
        session: String,
    },
    /// The account itself (`GetSessionToken`).
    #[n(1)]
    Root,
}

/// A session whose token was opened. That the caller holds the secret is for the signature to prove.
#[derive(Clone)]
pub struct Session {
    /// The secret access key that must have signed.
    pub secret: String,
    /// Whom the session stands for.
    pub principal: Arc<Principal>,
    /// The account whose resources its requests mean.
    pub account: AccountId,
}

impl std::fmt::Debug for Session {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Session").field("principal", &self.principal).finish_non_exhaustive()
    }
}

/// The outcome of looking at an access key id and a token.
#[derive(Debug, Clone)]
pub enum SessionLookup {
    /// Ours, and not over.
    Found(Session),
    /// Not ours: no token, or somebody else's.
    Unknown,
    /// It claims to be ours and is not, or belongs to another key id.
    Invalid,
    /// Ours, but over.
    Expired,
}

pub(crate) struct Sessions {
    cipher: XChaCha20Poly1305,
    secrets: Hmac<Sha256>,
    env: Env,
}

impl Sessions {
    pub(crate) fn new(key: &[u8; 32], env: Env) -> Self {
        // Two keys from one, so that no text is ever used under both algorithms.
        let root = keyed(key);
        let cipher_key = digest(&root, &[b"tokens"]);
        let secrets_key = digest(&root, &[b"secrets"]);
        Self { cipher: XChaCha20Poly1305::new(&Key::from(cipher_key)), secrets: keyed(&secrets_key), env }
    }

    pub(crate) fn issue(&self, account: AccountId, bearer: Bearer, lifetime: Duration) -> SessionCredentials {
        let key_id = access_key_id("ASIA", account, &self.env);
        // Clients read whole seconds.
        let expires = Timestamp::from_millis((self.env.now() + lifetime).as_seconds() * 1000);
        let mut salt = [0; 16];
        self.env.fill(&mut salt);
        let record = Record { account, bearer, expires, salt };
        let mut nonce = [0; NONCE_BYTES];
        self.env.fill(&mut nonce);
        let mut plain = Vec::with_capacity(256);
        // Writing to memory cannot fail, and encryption fails only beyond 256 GiB: an empty token is refused on its return.
        if minicbor::encode(&record, &mut plain).is_err() {
            plain.clear();
        }
        let payload = Payload { msg: &plain, aad: key_id.as_bytes() };
        let sealed = self.cipher.encrypt(&XNonce::from(nonce), payload).unwrap_or_default();
        SessionCredentials {
            secret_access_key: self.secret(&key_id, &salt),
            session_token: format!("{PREFIX}{}", URL_SAFE_NO_PAD.encode([&nonce[..], &sealed].concat())),
            access_key_id: key_id,
            expires,
        }
    }

    pub(crate) fn open(&self, key_id: &str, token: Option<&str>) -> SessionLookup {
        let Some(sealed) = token.and_then(|token| token.strip_prefix(PREFIX)) else {
            return SessionLookup::Unknown;
        };
        let Some(record) = self.unseal(key_id, sealed) else {
            return SessionLookup::Invalid;
        };
        if record.expires <= self.env.now() {
            return SessionLookup::Expired;
        }
        let account = record.account;
        let principal = match record.bearer {
            Bearer::Role { role, session } => Principal::AssumedRole { account, role, session },
            Bearer::Root => Principal::Root { account },
        };
        let secret = self.secret(key_id, &record.salt);
        SessionLookup::Found(Session { secret, principal: Arc::new(principal), account })
    }

    /// A role's id. There is no record of the role, so it follows from its name.
    pub(crate) fn role_id(&self, account: AccountId, role: &str) -> String {
        unique_id("AROA", &digest(&self.secrets, &[b"role/", account.as_str().as_bytes(), b"/", role.as_bytes()]))
    }

    fn unseal(&self, key_id: &str, sealed: &str) -> Option<Record> {
        if sealed.len() > TOKEN_CHARS_MAX {
            return None;
        }
        let bytes = URL_SAFE_NO_PAD.decode(sealed).ok()?;
        let (nonce, sealed) = bytes.split_first_chunk::<NONCE_BYTES>()?;
        let payload = Payload { msg: sealed, aad: key_id.as_bytes() };
        let plain = self.cipher.decrypt(&XNonce::from(*nonce), payload).ok()?;
        minicbor::decode(&plain).ok()
    }

    fn secret(&self, key_id: &str, salt: &[u8; 16]) -> String {
        BASE64_STANDARD.encode(&digest(&self.secrets, &[b"key/", key_id.as_bytes(), b"/", salt])[..SECRET_BYTES])
    }
}

#[expect(clippy::expect_used, reason = "HMAC takes keys of every length: the error cannot happen")]
fn keyed(key: &[u8; 32]) -> Hmac<Sha256> {
    <Hmac<Sha256> as hmac::KeyInit>::new_from_slice(key).expect("HMAC takes keys of every length")
}

fn digest(keyed: &Hmac<Sha256>, pieces: &[&[u8]]) -> [u8; 32] {
    let mut mac = keyed.clone();
    for piece in pieces {
        mac.update(piece);
    }
    mac.finalize().into_bytes().into()
}
