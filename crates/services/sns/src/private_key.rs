//! RSA signatures by AWS-LC, which this program holds anyway: portable Rust takes some ten times as long, and a publish to a
//! hundred queues would spend half its time on its one signature. All unsafe code of this room is here.

#![expect(
    unsafe_code,
    reason = "AWS-LC's safe binding signs over SHA-256 only; SNS's signature version 1 is over SHA-1"
)]

use std::ptr::NonNull;

use aws_lc_sys::{NID_sha1, NID_sha256, RSA, RSA_free, RSA_private_key_from_bytes, RSA_sign, RSA_size};

/// What a digest was made with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Hash {
    Sha1,
    Sha256,
}

/// A private key that signs.
pub(crate) struct PrivateKey(NonNull<RSA>);

// SAFETY: a key belongs to no thread. AWS-LC (`rsa.h`) lets any number of threads use one at once as long as none changes it,
// and nothing here changes it between its making and its end; what signing itself keeps inside (blinding) is locked there.
unsafe impl Send for PrivateKey {}
// SAFETY: as above.
unsafe impl Sync for PrivateKey {}

impl PrivateKey {
    /// From an `RSAPrivateKey` (PKCS #1, DER); none when it is none.
    pub(crate) fn open(der: &[u8]) -> Option<Self> {
        // SAFETY: the pointer is valid for reads of the length beside it; what comes back is null or a new key that is ours.
        let key = unsafe { RSA_private_key_from_bytes(der.as_ptr(), der.len()) };
        NonNull::new(key).map(Self)
    }

    /// The signature (PKCS #1 v1.5) under a digest; none when the digest is not as long as its hash makes it.
    pub(crate) fn sign(&self, hash: Hash, digest: &[u8]) -> Option<Vec<u8>> {
        let (hash, length) = match hash {
            Hash::Sha1 => (NID_sha1, 20),
            Hash::Sha256 => (NID_sha256, 32),
        };
        if digest.len() != length {
            return None;
        }
        // SAFETY: the key is valid until it is dropped.
        let most = unsafe { RSA_size(self.0.as_ptr()) };
        let mut signature = vec![0; usize::try_from(most).ok()?];
        let mut written = most;
        // SAFETY: the digest is valid for reads of its length, the buffer has the `RSA_size` bytes that the function may
        // write, and the key is valid and, though the signature of the function says `mut`, not changed (see above).
        let done = unsafe {
            RSA_sign(hash, digest.as_ptr(), digest.len(), signature.as_mut_ptr(), &raw mut written, self.0.as_ptr())
        };
        signature.truncate(usize::try_from(written).ok()?);
        (done == 1).then_some(signature)
    }
}

impl Drop for PrivateKey {
    fn drop(&mut self) {
        // SAFETY: the key is ours, and nobody has it any more.
        unsafe { RSA_free(self.0.as_ptr()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_key_is_none() {
        for der in [&b""[..], b"\x30", b"\x30\x03\x02\x01\x00", &[0xff; 600]] {
            assert!(PrivateKey::open(der).is_none());
        }
    }
}
