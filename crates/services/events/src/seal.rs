//! Secrets at rest: XChaCha20-Poly1305 under a key of the installation, bound to whose they are.

use base_env::Env;
use base_types::{Fault, FaultKind};
use chacha20poly1305::{
    Key, KeyInit, XChaCha20Poly1305, XNonce,
    aead::{Aead, Payload},
};

const NONCE_BYTES: usize = 24;

/// Seals and opens.
#[derive(Clone)]
pub(crate) struct Seal {
    cipher: XChaCha20Poly1305,
    env: Env,
}

impl Seal {
    pub(crate) fn new(key: &[u8; 32], env: Env) -> Self {
        Self { cipher: XChaCha20Poly1305::new(&Key::from(*key)), env }
    }

    /// Seals `secret` for the resource with this ARN.
    pub(crate) fn seal(&self, arn: &str, secret: &[u8]) -> Result<Vec<u8>, Fault> {
        let mut nonce = [0; NONCE_BYTES];
        self.env.fill(&mut nonce);
        let payload = Payload { msg: secret, aad: arn.as_bytes() };
        let sealed = self.cipher.encrypt(&XNonce::from(nonce), payload);
        let sealed = sealed.map_err(|_| Fault::new(FaultKind::Internal, "seal a connection's secrets"))?;
        Ok([&nonce[..], &sealed].concat())
    }

    /// Opens what [`Seal::seal`] made for the same resource.
    pub(crate) fn open(&self, arn: &str, sealed: &[u8]) -> Result<Vec<u8>, Fault> {
        let failed = || Fault::new(FaultKind::Internal, "open a connection's secrets: another key sealed them");
        let (nonce, sealed) = sealed.split_first_chunk::<NONCE_BYTES>().ok_or_else(failed)?;
        let payload = Payload { msg: sealed, aad: arn.as_bytes() };
        self.cipher.decrypt(&XNonce::from(*nonce), payload).map_err(|_| failed())
    }
}

#[cfg(test)]
mod tests {
    use base_types::Timestamp;

    use super::*;

    #[test]
    fn a_secret_opens_only_for_whom_it_was_sealed() {
        let env = Env::simulated(Timestamp::EPOCH, 1);
        let seal = Seal::new(&[7; 32], env.clone());
        let sealed = seal.seal("arn:a", b"hunter2").unwrap();
        assert!(!sealed.windows(7).any(|window| window == b"hunter2"));
        assert_eq!(seal.open("arn:a", &sealed).unwrap(), b"hunter2");
        assert!(seal.open("arn:b", &sealed).is_err());
        assert!(Seal::new(&[8; 32], env).open("arn:a", &sealed).is_err());
        assert!(seal.open("arn:a", b"short").is_err());
    }
}
