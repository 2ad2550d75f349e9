//! The memory back-end passes the suite.

use base_env::Env;
use base_types::Timestamp;
use store_api::Store;

#[tokio::test]
async fn the_memory_back_end_behaves() {
    store_testkit::behaviours(|| async { Store::memory(&Env::simulated(Timestamp::from_millis(1_000_000), 7)) }).await;
}
