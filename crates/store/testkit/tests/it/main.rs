//! The memory back-end passes the suite.

use base_env::Env;
use base_types::Timestamp;
use store_api::Store;

#[tokio::test]
async fn the_memory_back_end_behaves() {
    store_testkit::behaviours(|| async { Store::memory(&Env::simulated(Timestamp::from_millis(1_000_000), 7)) }).await;
}

#[test]
fn the_memory_back_end_matches_the_oracle() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let store = Store::memory(&Env::simulated(Timestamp::from_millis(1_000_000), 7));
    store_testkit::histories_match_the_oracle(&runtime, &store, 256);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_memory_back_end_bears_contention() {
    let store = Store::memory(&Env::simulated(Timestamp::from_millis(1_000_000), 7));
    store_testkit::concurrent_transactions_are_serialisable(store.clone(), 8, 40).await;
    store_testkit::a_hot_key_serves_everyone(store.clone(), 16, 50).await;
    store_testkit::takers_share_a_queue_head(store, 64, 1000).await;
}
