//! Stored deployment packages, and their code unpacked for running.

use base_types::Fault;
use bytes::Bytes;
use store_api::Store;

use std::path::PathBuf;

use crate::{
    archive::{CodeFolder, Limits},
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
        let zip = self.zip(digest).await?.ok_or_else(|| {
            Fault::new(base_types::FaultKind::Internal, format!("find the deployment package {digest}"))
        })?;
        let (folder, limits, digest) = (self.folder.clone(), self.limits, digest.to_owned());
        tokio::task::spawn_blocking(move || folder.ensure(&digest, || Ok(zip), &limits))
            .await
            .map_err(|error| Fault::internal("unpack a deployment package", error))?
            .map_err(|error| Fault::internal("unpack a deployment package", error))
    }
}
