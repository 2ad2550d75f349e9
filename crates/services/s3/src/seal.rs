//! Encryption at rest: a data key per body, sealed chunks of 64 KiB that can be read from anywhere.
//!
//! A body's bytes are cut into chunks, each sealed by AES-256-GCM under the body's own random key with its number as the
//! nonce; the key is sealed by the installation's key, or by the customer's (SSE-C). What a record says of the length tells
//! how many chunks there must be, so a chunk that is missing, moved or changed is found when it is read.

use std::sync::Arc;

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use base_env::Env;
use base_types::{Fault, FaultKind};
use bytes::Bytes;
use minicbor::{Decode, Encode};

/// Plain bytes in a chunk.
pub(crate) const CHUNK: usize = 64 << 10;
/// What sealing adds to one.
const TAG: usize = 16;
/// A full chunk as it is stored.
pub(crate) const SEALED_CHUNK: usize = CHUNK + TAG;
const KEY: usize = 32;

/// A data key that only its vault (or the customer) can open.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub(crate) struct SealedKey(#[cbor(n(0), with = "minicbor::bytes")] Vec<u8>);

/// What seals data keys.
#[derive(Clone)]
pub(crate) struct Vault(Arc<LessSafeKey>);

/// A body's own key.
#[derive(Clone)]
pub(crate) struct DataKey(Arc<LessSafeKey>);

impl Vault {
    pub(crate) fn new(key: &[u8; KEY]) -> Self {
        Self(Arc::new(cipher(key)))
    }

    /// A new data key, open and sealed.
    pub(crate) fn make(&self, env: &Env) -> Result<(DataKey, SealedKey), Fault> {
        let (mut key, mut nonce) = ([0; KEY], [0; NONCE_LEN]);
        env.fill(&mut key);
        env.fill(&mut nonce);
        let data_key = DataKey(Arc::new(cipher(&key)));
        let mut sealed = key.to_vec();
        let name = Nonce::assume_unique_for_key(nonce);
        self.0
            .seal_in_place_append_tag(name, Aad::from(b"s3 data key"), &mut sealed)
            .map_err(|_| failed("seal a data key"))?;
        let mut whole = nonce.to_vec();
        whole.append(&mut sealed);
        Ok((data_key, SealedKey(whole)))
    }

    pub(crate) fn open(&self, sealed: &SealedKey) -> Result<DataKey, Fault> {
        let wrong = || failed("open a data key");
        let (nonce, sealed) = sealed.0.split_first_chunk::<NONCE_LEN>().ok_or_else(wrong)?;
        let mut key = sealed.to_vec();
        let name = Nonce::assume_unique_for_key(*nonce);
        let open = self.0.open_in_place(name, Aad::from(b"s3 data key"), &mut key).map_err(|_| wrong())?;
        Ok(DataKey(Arc::new(cipher((&*open).try_into().map_err(|_| wrong())?))))
    }
}

impl DataKey {
    /// Seals one chunk.
    pub(crate) fn seal(&self, number: u64, mut chunk: Vec<u8>) -> Result<Bytes, Fault> {
        self.0.seal_in_place_append_tag(nonce(number), Aad::empty(), &mut chunk).map_err(|_| failed("seal a chunk"))?;
        Ok(Bytes::from(chunk))
    }

    /// Opens one chunk, in its place.
    pub(crate) fn open<'a>(&self, number: u64, sealed: &'a mut [u8]) -> Result<&'a [u8], Fault> {
        let open = self.0.open_in_place(nonce(number), Aad::empty(), sealed);
        open.map(|plain| &*plain).map_err(|_| failed("read a body: its bytes are damaged"))
    }
}

/// How many bytes `plain` bytes are when they are sealed.
pub(crate) fn sealed_length(plain: u64) -> u64 {
    plain + plain.div_ceil(CHUNK as u64) * TAG as u64
}

fn nonce(number: u64) -> Nonce {
    let mut bytes = [0; NONCE_LEN];
    bytes[NONCE_LEN - 8..].copy_from_slice(&number.to_be_bytes());
    Nonce::assume_unique_for_key(bytes)
}

#[expect(
    clippy::expect_used,
    reason = "the key has the length that the algorithm asks for, which is all that is checked"
)]
fn cipher(key: &[u8; KEY]) -> LessSafeKey {
    LessSafeKey::new(UnboundKey::new(&AES_256_GCM, key).expect("AES-256 takes keys of 32 bytes"))
}

fn failed(what: &'static str) -> Fault {
    Fault::new(FaultKind::Internal, what)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_sealed_opens_in_its_place_only() {
        let env = Env::real();
        let vault = Vault::new(&[1; 32]);
        let (key, sealed_key) = vault.make(&env).unwrap();
        let sealed = key.seal(3, b"hello".to_vec()).unwrap();
        assert_eq!(sealed.len() as u64, sealed_length(5));
        assert!(!sealed.windows(5).any(|window| window == b"hello"));
        let again = vault.open(&sealed_key).unwrap();
        assert_eq!(again.open(3, &mut sealed.to_vec()).unwrap(), b"hello");
        assert!(again.open(4, &mut sealed.to_vec()).is_err());
        let mut damaged = sealed.to_vec();
        damaged[0] ^= 1;
        assert!(again.open(3, &mut damaged).is_err());
        assert!(Vault::new(&[2; 32]).open(&sealed_key).is_err());
    }
}
