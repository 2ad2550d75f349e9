//! Both engines pass the suite of every back-end.

use base_env::Env;
use base_types::Timestamp;
use store_api::Store;
use store_embedded::{DataDir, EmbeddedStore, EngineKind, Options};

async fn fresh(engine: EngineKind) -> Store {
    // The directory goes with the process: a store that is dropped at the end of a case still writes for a moment.
    let path = tempfile::tempdir().unwrap().keep();
    let options = Options { engine, disk_reserve_bytes: 0, ..Options::default() };
    let directory = DataDir::open(&path, &options).unwrap();
    let env = Env::simulated(Timestamp::from_millis(1_000_000), 7);
    let opened = EmbeddedStore::open(&directory, options, &env).await.unwrap();
    std::mem::forget(directory);
    opened.store().clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_tree_engine_behaves() {
    store_testkit::behaviours(|| fresh(EngineKind::Tree)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_lsm_engine_behaves() {
    store_testkit::behaviours(|| fresh(EngineKind::Lsm)).await;
}
