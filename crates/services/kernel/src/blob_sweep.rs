//! Gives back the disk of blobs that nothing refers to any more, and of uploads that were never finished.

use std::time::Duration;

use base_types::Fault;
use store_api::{Family, Key, Store};

use crate::Reconciler;

/// Runs [`store_api::Blobs::sweep`] from time to time.
pub struct BlobSweep {
    store: Store,
}

impl BlobSweep {
    /// Over this store.
    #[must_use]
    pub fn new(store: Store) -> Self {
        Self { store }
    }
}

impl Reconciler for BlobSweep {
    const NAME: &'static str = "blob sweep";
    const POLL: Duration = Duration::from_secs(600);

    fn topic(&self) -> Key {
        Key::global(Family::Meta, None).str("kernel.blob-sweep")
    }

    async fn round(&self) -> Result<Option<Duration>, Fault> {
        let removed = self.store.blobs().sweep().await?;
        if removed > 0 {
            tracing::info!(removed, "blobs without a reference were removed");
        }
        Ok(None)
    }
}
