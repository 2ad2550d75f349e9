//! Both engines pass the suite of every back-end.

use base_env::Env;
use base_types::Timestamp;
use store_api::Store;
use store_embedded::{EngineKind, Options};

use crate::fixture::Opened;

async fn fresh(engine: EngineKind) -> Store {
    let env = Env::simulated(Timestamp::from_millis(1_000_000), 7);
    Opened::with(Options { engine, ..Options::default() }, &env).await.keep()
}

/// So small that the engine takes part all the time.
fn restless(engine: EngineKind) -> Options {
    Options { engine, generation_bytes: 20_000, generations_max: 2, checkpoint_idle_ms: 1, ..Options::default() }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_tree_engine_behaves() {
    store_testkit::behaviours(|| fresh(EngineKind::Tree)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_lsm_engine_behaves() {
    store_testkit::behaviours(|| fresh(EngineKind::Lsm)).await;
}

#[test]
fn both_engines_match_the_oracle() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    for engine in [EngineKind::Tree, EngineKind::Lsm] {
        let opened = runtime.block_on(Opened::with(restless(engine), &Env::real()));
        store_testkit::histories_match_the_oracle(&runtime, opened.store(), 150);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn both_engines_serialise_concurrent_transactions() {
    for engine in [EngineKind::Tree, EngineKind::Lsm] {
        let opened = Opened::with(restless(engine), &Env::real()).await;
        store_testkit::concurrent_transactions_are_serialisable(opened.store().clone(), 16, 60).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn both_engines_bear_contention() {
    for engine in [EngineKind::Tree, EngineKind::Lsm] {
        let opened = Opened::with(Options { engine, ..Options::default() }, &Env::real()).await;
        store_testkit::a_hot_key_serves_everyone(opened.store().clone(), 64, 40).await;
        store_testkit::takers_share_a_queue_head(opened.store().clone(), 64, 2000).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_queue_head_stays_flat_after_a_million_deletes() {
    let opened = Opened::with(Options::default(), &Env::real()).await;
    store_testkit::a_queue_head_stays_flat(opened.store().clone(), 1_000_000).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_queue_head_stays_flat_on_the_second_engine() {
    let opened = Opened::with(Options { engine: EngineKind::Lsm, ..Options::default() }, &Env::real()).await;
    store_testkit::a_queue_head_stays_flat(opened.store().clone(), 200_000).await;
}
