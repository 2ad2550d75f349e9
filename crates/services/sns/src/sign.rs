//! The signature under what is sent, and the certificate by which it is verified.
//!
//! One key an installation, made when it is first needed and kept in the store, so that the certificate's address stays the
//! same and a backup brings it along. AWS signs with RSA (PKCS #1 v1.5) over SHA-1 (signature version 1) or SHA-256
//! (version 2); so do we. What was signed last is remembered, so that a transaction that is run again, and all subscribers
//! of one message, share one signature. Keys are made in portable Rust and used by AWS-LC (`private_key`).

use std::{collections::HashMap, convert::Infallible};

use base_env::Env;
use base_types::{Fault, FaultKind, Timestamp};
use base64::{Engine, engine::general_purpose::STANDARD};
use parking_lot::Mutex;
use rsa::{
    Pkcs1v15Sign,
    pkcs8::{EncodePrivateKey, EncodePublicKey, PrivateKeyInfoRef},
    rand_core::{TryCryptoRng, TryRng},
};
use sha1::Sha1;
use sha2::{Digest, Sha256};

use crate::{
    message::Signature,
    private_key::{Hash, PrivateKey},
};

const KEY_BITS: usize = 2048;
/// Signatures that are remembered.
const REMEMBERED_MAX: usize = 256;
/// How long the certificate is valid.
const VALID_YEARS: u64 = 20;
const YEAR_SECONDS: u64 = 31_556_952;

/// Makes signatures.
pub(crate) struct Signer {
    key: PrivateKey,
    /// PEM.
    certificate: String,
    file: String,
    remembered: Mutex<HashMap<[u8; 32], String>>,
}

/// A key and its certificate, as they are kept: PKCS #8 and X.509, both DER.
pub(crate) struct Made {
    pub(crate) key: Vec<u8>,
    pub(crate) certificate: Vec<u8>,
}

/// Makes a key. It takes from a tenth of a second to seconds.
pub(crate) fn make(env: &Env) -> Result<Made, Fault> {
    let mut chance = Chance(env);
    let key = rsa::PrivateKey::new(&mut chance, KEY_BITS).map_err(fault)?;
    let encoded = key.to_pkcs8_der().map_err(fault)?.as_bytes().to_vec();
    let public = key.as_public_key().to_public_key_der().map_err(fault)?;
    let mut serial = [0; 16];
    env.fill(&mut serial);
    let body = der::certificate_body(&serial, env.now(), public.as_bytes());
    let digest = Sha256::digest(&body);
    let signature = key.sign_with_rng(&mut chance, Pkcs1v15Sign::new::<Sha256>(), &digest).map_err(fault)?;
    Ok(Made { key: encoded, certificate: der::certificate(&body, &signature) })
}

fn fault(error: impl std::error::Error + Send + Sync + 'static) -> Fault {
    Fault::internal("the signing key of topics", error)
}

impl Signer {
    /// From what is kept.
    pub(crate) fn open(made: &Made) -> Result<Self, Fault> {
        let damaged = || Fault::new(FaultKind::Internal, "the signing key of topics is damaged");
        let kept = PrivateKeyInfoRef::try_from(made.key.as_slice()).map_err(|_| damaged())?;
        let key = PrivateKey::open(kept.private_key.as_bytes()).ok_or_else(damaged)?;
        let name: String =
            Sha256::digest(&made.certificate).iter().take(16).map(|byte| format!("{byte:02x}")).collect();
        let encoded = STANDARD.encode(&made.certificate);
        let lines = encoded.as_bytes().chunks(64).map(|line| String::from_utf8_lossy(line).into_owned() + "\n");
        let certificate =
            format!("-----BEGIN CERTIFICATE-----\n{}-----END CERTIFICATE-----\n", lines.collect::<String>());
        let file = format!("SimpleNotificationService-{name}.pem");
        Ok(Self { key, certificate, file, remembered: Mutex::default() })
    }

    /// The certificate, when the file is its.
    pub(crate) fn certificate(&self, file: &str) -> Option<&str> {
        (file == self.file).then_some(self.certificate.as_str())
    }

    /// Signs a text.
    pub(crate) fn sign(&self, version: u8, text: &str, endpoint: &str) -> Result<Signature, Fault> {
        let certificate = format!("{endpoint}/{}", self.file);
        let name: [u8; 32] = Sha256::new().chain_update([version]).chain_update(text).finalize().into();
        if let Some(known) = self.remembered.lock().get(&name) {
            return Ok(Signature { signature: known.clone(), certificate });
        }
        let signed = match version {
            2 => self.key.sign(Hash::Sha256, &Sha256::digest(text)),
            _ => self.key.sign(Hash::Sha1, &Sha1::digest(text)),
        };
        let signed = signed.ok_or_else(|| Fault::new(FaultKind::Internal, "a message could not be signed"))?;
        let signature = STANDARD.encode(signed);
        let mut remembered = self.remembered.lock();
        if remembered.len() >= REMEMBERED_MAX {
            remembered.clear();
        }
        remembered.insert(name, signature.clone());
        Ok(Signature { signature, certificate })
    }
}

/// The environment's randomness, for what asks for a generator.
struct Chance<'a>(&'a Env);

impl TryRng for Chance<'_> {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        let mut bytes = [0; 4];
        self.0.fill(&mut bytes);
        Ok(u32::from_le_bytes(bytes))
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        let mut bytes = [0; 8];
        self.0.fill(&mut bytes);
        Ok(u64::from_le_bytes(bytes))
    }

    fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> Result<(), Infallible> {
        self.0.fill(bytes);
        Ok(())
    }
}

impl TryCryptoRng for Chance<'_> {}

/// As much of DER as a self-signed certificate needs (RFC 5280).
mod der {
    use super::{Timestamp, VALID_YEARS, YEAR_SECONDS};

    const SEQUENCE: u8 = 0x30;
    /// sha256WithRSAEncryption, with its null.
    const ALGORITHM: [u8; 15] = [0x30, 13, 6, 9, 0x2a, 0x86, 0x48, 0x86, 0xf7, 13, 1, 1, 11, 5, 0];
    const COMMON_NAME: [u8; 5] = [6, 3, 0x55, 4, 3];
    const NAME: &str = "sns.amazonaws.com";

    fn value(tag: u8, content: &[u8]) -> Vec<u8> {
        let length = content.len();
        let mut bytes = vec![tag];
        match u8::try_from(length) {
            Ok(short @ 0..128) => bytes.push(short),
            _ => {
                let digits: Vec<u8> = length.to_be_bytes().into_iter().skip_while(|byte| *byte == 0).collect();
                bytes.push(0x80 | u8::try_from(digits.len()).unwrap_or(8));
                bytes.extend_from_slice(&digits);
            }
        }
        bytes.extend_from_slice(content);
        bytes
    }

    /// Years until 2049 have two digits, later ones four.
    fn time(at: Timestamp) -> Vec<u8> {
        let digits: String = at.to_basic().chars().filter(char::is_ascii_digit).collect();
        match digits.strip_prefix("20") {
            Some(short) if digits.as_str() < "2050" => value(0x17, format!("{short}Z").as_bytes()),
            _ => value(0x18, format!("{digits}Z").as_bytes()),
        }
    }

    pub(super) fn certificate_body(serial: &[u8; 16], now: Timestamp, public: &[u8]) -> Vec<u8> {
        let common = value(SEQUENCE, &[&COMMON_NAME[..], &value(0x0c, NAME.as_bytes())].concat());
        let name = value(SEQUENCE, &value(0x31, &common));
        let end = Timestamp::from_millis(now.as_millis() + VALID_YEARS * YEAR_SECONDS * 1000);
        let validity = value(SEQUENCE, &[time(now), time(end)].concat());
        // Positive, and never with a leading zero too many.
        let mut serial = *serial;
        serial[0] = serial[0] & 0x7f | 0x40;
        let parts = [
            value(0xa0, &[2, 1, 2]),
            value(2, &serial),
            ALGORITHM.to_vec(),
            name.clone(),
            validity,
            name,
            public.to_vec(),
        ];
        value(SEQUENCE, &parts.concat())
    }

    pub(super) fn certificate(body: &[u8], signature: &[u8]) -> Vec<u8> {
        let bits = value(3, &[&[0], signature].concat());
        value(SEQUENCE, &[body, &ALGORITHM, &bits].concat())
    }
}

#[cfg(test)]
mod tests {
    use rsa::pkcs8::DecodePrivateKey;

    use super::*;

    #[test]
    fn a_signature_is_verified_by_the_key_in_the_certificate() {
        let env = Env::simulated(Timestamp::from_millis(1_795_435_200_000), 1);
        let made = make(&env).unwrap();
        let signer = Signer::open(&made).unwrap();
        let public = rsa::PrivateKey::from_pkcs8_der(&made.key).unwrap().to_public_key();
        let encoded = public.to_public_key_der().unwrap();
        assert!(made.certificate.windows(encoded.as_bytes().len()).any(|part| part == encoded.as_bytes()));
        for (version, text) in [(1, "one"), (2, "two")] {
            let signature = signer.sign(version, text, "http://h").unwrap();
            let bytes = STANDARD.decode(&signature.signature).unwrap();
            let verified = match version {
                1 => public.verify(Pkcs1v15Sign::new::<Sha1>(), &Sha1::digest(text), &bytes),
                _ => public.verify(Pkcs1v15Sign::new::<Sha256>(), &Sha256::digest(text), &bytes),
            };
            assert!(verified.is_ok(), "version {version}");
            assert_eq!(signer.sign(version, text, "http://h").unwrap().signature, signature.signature);
        }
        let other = signer.sign(1, "other", "http://h").unwrap();
        let file = other.certificate.strip_prefix("http://h/").unwrap();
        assert!(signer.certificate(file).unwrap().starts_with("-----BEGIN CERTIFICATE-----\nMII"));
        assert!(signer.certificate("SimpleNotificationService-0.pem").is_none());
    }
}
