//! A store in a directory of its own.

use base_env::Env;
use store_api::Store;
use store_embedded::{DataDir, EmbeddedStore, Options};
use tempfile::TempDir;

/// An open store; its directory goes when this goes.
pub(crate) struct Opened {
    pub(crate) embedded: EmbeddedStore,
    pub(crate) directory: DataDir,
    // Last: the directory outlives the store.
    temporary: TempDir,
}

impl Opened {
    pub(crate) async fn with(options: Options, env: &Env) -> Self {
        let temporary = tempfile::tempdir().unwrap();
        let options = Options { disk_reserve_bytes: 0, ..options };
        let directory = DataDir::open(temporary.path(), &options).unwrap();
        let embedded = EmbeddedStore::open(&directory, options, env).await.unwrap();
        Self { embedded, directory, temporary }
    }

    pub(crate) fn store(&self) -> &Store {
        self.embedded.store()
    }

    /// For a store that outlives its test; the directory stays until the process ends.
    pub(crate) fn keep(self) -> Store {
        let Self { embedded, directory, temporary } = self;
        std::mem::forget((directory, temporary));
        embedded.store().clone()
    }

    /// Ends the store as a crash would, but for what is in memory; gives the directory's life.
    pub(crate) fn end_without_shutdown(self) -> TempDir {
        let Self { embedded, directory, temporary } = self;
        drop((embedded, directory));
        temporary
    }
}
