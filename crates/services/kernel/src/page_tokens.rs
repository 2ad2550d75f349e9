//! Sealed pagination tokens.
//!
//! A token is the cursor of a listing, encrypted and authenticated (XChaCha20-Poly1305) together with the *scope* it
//! continues: account, region, operation and whatever filters the caller must repeat. Guarantees: a client can neither
//! read nor forge nor alter a token, nor continue another listing with it. Tokens survive a restart (the key is kept in
//! the data directory) and never expire: a cursor is a key to go on from, not a snapshot.

use base_env::Env;
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use chacha20poly1305::{
    Key, KeyInit, XChaCha20Poly1305, XNonce,
    aead::{Aead, Payload},
};

const NONCE_BYTES: usize = 24;
/// AWS's own tokens stay below this; a longer one is not ours.
const TOKEN_CHARS_MAX: usize = 4096;

/// Seals and opens pagination tokens.
#[derive(Clone)]
pub struct PageTokens {
    cipher: XChaCha20Poly1305,
    env: Env,
}

/// The token was not made by us for this listing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the pagination token is invalid")]
pub struct InvalidPageToken;

impl PageTokens {
    /// With the installation's sealing key.
    #[must_use]
    pub fn new(key: &[u8; 32], env: Env) -> Self {
        Self { cipher: XChaCha20Poly1305::new(&Key::from(*key)), env }
    }

    /// Seals `cursor` for the listing that `scope` names.
    #[must_use]
    pub fn seal(&self, scope: &[&str], cursor: &[u8]) -> String {
        let mut nonce = [0; NONCE_BYTES];
        self.env.fill(&mut nonce);
        let aad = scope_bytes(scope);
        let sealed = self
            .cipher
            .encrypt(&XNonce::from(nonce), Payload { msg: cursor, aad: &aad })
            // Encryption fails only beyond 256 GiB of plaintext; an empty token is refused when it comes back.
            .unwrap_or_default();
        URL_SAFE_NO_PAD.encode([&nonce[..], &sealed].concat())
    }

    /// Opens a token that [`seal`](Self::seal) made for the same scope.
    ///
    /// # Errors
    /// [`InvalidPageToken`] for anything else.
    pub fn open(&self, scope: &[&str], token: &str) -> Result<Vec<u8>, InvalidPageToken> {
        if token.len() > TOKEN_CHARS_MAX {
            return Err(InvalidPageToken);
        }
        let bytes = URL_SAFE_NO_PAD.decode(token).map_err(|_| InvalidPageToken)?;
        let (nonce, sealed) = bytes.split_first_chunk::<NONCE_BYTES>().ok_or(InvalidPageToken)?;
        let aad = scope_bytes(scope);
        self.cipher.decrypt(&XNonce::from(*nonce), Payload { msg: sealed, aad: &aad }).map_err(|_| InvalidPageToken)
    }
}

/// Length-framed, so that `["ab", "c"]` and `["a", "bc"]` differ.
fn scope_bytes(scope: &[&str]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(scope.iter().map(|part| part.len() + 4).sum());
    for part in scope {
        bytes.extend_from_slice(&u32::try_from(part.len()).unwrap_or(u32::MAX).to_be_bytes());
        bytes.extend_from_slice(part.as_bytes());
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;
    use base_types::Timestamp;

    #[test]
    fn a_token_opens_only_for_its_own_listing() {
        let tokens = PageTokens::new(&[7; 32], Env::simulated(Timestamp::EPOCH, 1));
        let token = tokens.seal(&["000000000000", "ListFunctions"], b"cursor");
        assert_eq!(tokens.open(&["000000000000", "ListFunctions"], &token).as_deref(), Ok(&b"cursor"[..]));
        assert_eq!(tokens.open(&["000000000000L", "istFunctions"], &token), Err(InvalidPageToken));
        assert_eq!(tokens.open(&["000000000000", "ListAliases"], &token), Err(InvalidPageToken));
        let other = PageTokens::new(&[8; 32], Env::simulated(Timestamp::EPOCH, 1));
        assert_eq!(other.open(&["000000000000", "ListFunctions"], &token), Err(InvalidPageToken));
        for garbage in ["", "AAAA", "%%%", &"A".repeat(5000)] {
            assert_eq!(tokens.open(&[], garbage), Err(InvalidPageToken), "{garbage}");
        }
    }
}
