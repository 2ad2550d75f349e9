//! Keys that customers bring (SSE-C): they seal the data key and are forgotten; what is kept is their digest.

use base64::{Engine as _, prelude::BASE64_STANDARD};
use md5::{Digest as _, Md5};
use model_s3::Error;

use crate::{error::argument_named, seal::Vault, tables::Encryption};

const ARGUMENT: &str = "x-amz-server-side-encryption";

/// The three headers.
#[derive(Clone, Copy, Default)]
pub(crate) struct Given<'a> {
    algorithm: Option<&'a str>,
    key: Option<&'a str>,
    digest: Option<&'a str>,
}

/// A key that was read.
pub(crate) struct CustomerKey {
    bytes: [u8; 32],
    /// Base64 of its MD5.
    pub(crate) digest: String,
}

impl<'a> Given<'a> {
    pub(crate) fn new(algorithm: &'a Option<String>, key: &'a Option<String>, digest: &'a Option<String>) -> Self {
        Self { algorithm: algorithm.as_deref(), key: key.as_deref(), digest: digest.as_deref() }
    }

    pub(crate) fn read(&self) -> Result<Option<CustomerKey>, Error> {
        let (key, digest) = match (self.algorithm, self.key, self.digest) {
            (None, None, None) => return Ok(None),
            (Some("AES256"), Some(key), Some(digest)) => (key, digest),
            (Some(_), Some(_), Some(_)) | (None, ..) => {
                return Err(argument_named(
                    "Requests specifying Server Side Encryption with Customer provided keys must provide a valid \
                     encryption algorithm.",
                    ARGUMENT,
                ));
            }
            (Some(_), ..) => {
                return Err(argument_named(
                    "Requests specifying Server Side Encryption with Customer provided keys must provide an appropriate \
                     secret key.",
                    ARGUMENT,
                ));
            }
        };
        let bytes = BASE64_STANDARD.decode(key).ok().and_then(|bytes| <[u8; 32]>::try_from(bytes).ok());
        let bytes =
            bytes.ok_or_else(|| argument_named("The secret key was invalid for the specified algorithm.", ARGUMENT))?;
        let computed = BASE64_STANDARD.encode(Md5::digest(bytes));
        if computed != digest {
            return Err(argument_named(
                "The calculated MD5 hash of the key did not match the hash that was provided.",
                ARGUMENT,
            ));
        }
        Ok(Some(CustomerKey { bytes, digest: computed }))
    }
}

impl CustomerKey {
    pub(crate) fn vault(&self) -> Vault {
        Vault::new(&self.bytes)
    }
}

/// Whether a read brought the key that the body needs, and none that it does not.
pub(crate) fn check(encryption: &Encryption, digest: Option<&str>) -> Result<(), Error> {
    match (encryption, digest) {
        (Encryption::Own, None) => Ok(()),
        (Encryption::Own, Some(_)) => {
            Err(Error::invalid_request("The encryption parameters are not applicable to this object."))
        }
        (Encryption::Customer { .. }, None) => Err(Error::invalid_request(
            "The object was stored using a form of Server Side Encryption. The correct parameters must be provided to \
             retrieve the object.",
        )),
        (Encryption::Customer { digest: kept }, Some(digest)) if kept == digest => Ok(()),
        (Encryption::Customer { .. }, Some(_)) => Err(Error::access_denied(
            "Requests specifying Server Side Encryption with Customer provided keys must provide the correct secret key.",
        )),
    }
}
