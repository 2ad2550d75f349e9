//! Stored deployment packages, and their code unpacked for running.

use base_types::{Fault, FaultKind};
use bytes::Bytes;
use store_api::Store;

use std::path::PathBuf;

use crate::{
    archive::{CodeFolder, CodeFolderError, Limits},
    tables::{self, PACKAGES},
};

/// Packages by digest. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Packages {
    store: Store,
    folder: CodeFolder,
    limits: Limits,
}

impl Packages {
    pub(crate) fn new(store: Store, folder: CodeFolder, limits: Limits) -> Self {
        Self { store, folder, limits }
    }

    pub(crate) fn folder(&self) -> &CodeFolder {
        &self.folder
    }

    /// The zip with this digest, if it is stored.
    pub(crate) async fn zip(&self, digest: &str) -> Result<Option<Bytes>, Fault> {
        let key = tables::package(digest);
        let Some(package) = self.store.view(move |tx| PACKAGES.get(tx, &key)).await? else { return Ok(None) };
        self.store.blobs().get(package.blob, self.limits.zipped_bytes_max).await
    }

    /// The folder with the code of this digest, unpacked now if it is not there.
    pub(crate) async fn ensure(&self, digest: &str) -> Result<PathBuf, Fault> {
        if let Some(place) = self.folder.ready(digest) {
            return Ok(place);
        }
        let zip = self
            .zip(digest)
            .await?
            .ok_or_else(|| Fault::new(FaultKind::Internal, format!("find the deployment package {digest}")))?;
        let (folder, limits, digest) = (self.folder.clone(), self.limits, digest.to_owned());
        tokio::task::spawn_blocking(move || folder.ensure(&digest, || Ok(zip), &limits))
            .await
            .map_err(|error| Fault::internal("unpack a deployment package", error))?
            .map_err(unpack_fault)
    }
}

/// A full disk passes: what waits for it is tried again, and who asks meanwhile is told.
fn unpack_fault(error: CodeFolderError) -> Fault {
    const CONTEXT: &str = "unpack a deployment package";
    if error.is_disk_full() {
        return Fault::new(FaultKind::Unavailable, CONTEXT).caused_by(error).telling(
            "The server's disk has no room for the function's code: free space where its data directory lies.",
        );
    }
    Fault::internal(CONTEXT, error)
}
