//! Deployment packages: taken from a request, checked, and stored by their content before the transaction that uses them.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use base_types::{Fault, FaultKind};
use bytes::Bytes;
use model_lambda::Error;
use sha2::{Digest, Sha256};
use store_api::{BlobId, Key, Tx};

use crate::{
    archive::{ArchiveError, Package},
    control::Control,
    function::Code,
    tables::{self, PACKAGES},
};

/// The seal of a package's location.
pub(crate) const PACKAGE_SCOPE: &[&str] = &["lambda.package"];

/// A package whose bytes are durable.
#[derive(Debug, Clone)]
pub(crate) struct Stored {
    pub(crate) code: Code,
    /// The blob that was written for it; `None` when the content was there already.
    blob: Option<BlobId>,
    /// The content was there already, and has lost its last user since.
    gone: Arc<AtomicBool>,
}

impl Control {
    /// Checks a zip, makes its bytes durable and runs `body`, which is to use them, in a transaction. Content that is there
    /// already is not written again, unless it loses its last user before the transaction could become one.
    pub(crate) async fn transact_with_package<R, F>(&self, zip: Bytes, body: F) -> Result<R, Error>
    where
        F: FnMut(&Tx, &Stored) -> Result<R, Error> + Clone + Send + 'static,
        R: Send + 'static,
    {
        let run = |stored: Stored| {
            let mut body = body.clone();
            self.store.transact(move |tx| body(tx, &stored))
        };
        let stored = self.store_package(zip.clone()).await?;
        let outcome = run(stored.clone()).await;
        if outcome.is_ok() || !stored.gone.load(Ordering::Relaxed) {
            return outcome;
        }
        let blob = Some(self.store.blobs().put(zip).await?);
        run(Stored { blob, ..stored }).await
    }

    /// Checks a zip and makes its bytes durable. They stay only if a transaction attaches them soon.
    async fn store_package(&self, zip: Bytes) -> Result<Stored, Error> {
        let code = self.check_package(zip.clone()).await?;
        let key = tables::package(&code.digest);
        let known = self.store.view(move |tx| Ok::<_, Fault>(PACKAGES.get(tx, &key)?.is_some())).await?;
        let blob = if known { None } else { Some(self.store.blobs().put(zip).await?) };
        Ok(Stored { code, blob, gone: Arc::default() })
    }

    /// Where a package can be fetched: a sealed path below `/_pileus`, served by [`crate::Lambda::package`].
    pub(crate) fn package_location(&self, cx: &services_kernel::Cx, digest: &str) -> String {
        format!("{}/_pileus/lambda/packages/{}", cx.endpoint, self.tokens.seal(PACKAGE_SCOPE, digest.as_bytes()))
    }

    /// Checks a zip, on a thread that may be busy for long.
    pub(crate) async fn check_package(&self, zip: Bytes) -> Result<Code, Error> {
        let limits = self.limits;
        tokio::task::spawn_blocking(move || {
            let package = Package::read(&zip, &limits).inspect_err(|error| {
                tracing::info!(reason = error.reason(), "a deployment package is refused");
            })?;
            let digest = Sha256::digest(&zip).iter().map(|byte| format!("{byte:02x}")).collect();
            let unzipped_bytes = package.unzipped_bytes();
            Ok::<_, ArchiveError>(Code { digest, bytes: zip.len() as u64, unzipped_bytes })
        })
        .await
        .map_err(|error| Fault::internal("check a deployment package", error))?
        .map_err(Error::from)
    }
}

impl Stored {
    /// Makes the version at `version` a user of the package.
    pub(crate) fn attach(&self, tx: &Tx, version: &Key) -> Result<(), Error> {
        let key = tables::package(&self.code.digest);
        if PACKAGES.get(tx, &key)?.is_none() {
            let Some(blob) = self.blob else {
                self.gone.store(true, Ordering::Relaxed);
                return Err(Fault::new(FaultKind::Internal, "use a package: it has lost its last user").into());
            };
            tx.attach_blob(blob, &key)?;
            PACKAGES.put(tx, &key, &tables::Package { blob, bytes: self.code.bytes })?;
        }
        tables::use_package(tx, &self.code.digest, version)?;
        Ok(())
    }
}
