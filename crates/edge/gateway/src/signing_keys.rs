//! Derived signing keys, kept: a key is good for a day, and deriving it costs four times what the signature itself does.
//! Guarantee: bounded; a key is used only with the secret that it was derived from.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
};

use wire_sigv4::{Claim, SigningKey};

/// How many keys are kept; beyond it all are forgotten and derived anew.
const KEYS_MAX: usize = 4096;

/// The keys by access key and scope.
#[derive(Default)]
pub(crate) struct SigningKeys(Mutex<HashMap<String, Kept>>);

struct Kept {
    secret: String,
    key: SigningKey,
}

impl SigningKeys {
    /// The key for a claim whose access key has this secret.
    pub(crate) fn of(&self, claim: &Claim<'_>, secret: &str) -> SigningKey {
        let name = format!("{}/{}", claim.key_id, claim.scope_text());
        let mut keys = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // An identifier that was given to somebody else meanwhile has another secret.
        if let Some(kept) = keys.get(&name).filter(|kept| kept.secret == secret) {
            return kept.key.clone();
        }
        if keys.len() >= KEYS_MAX {
            keys.clear();
        }
        let key = claim.signing_key(secret);
        keys.insert(name, Kept { secret: secret.to_owned(), key: key.clone() });
        key
    }
}
