//! One suite that every back-end must pass.
//!
//! [`behaviours`] runs the named cases; [`histories_match_the_oracle`] and
//! [`concurrent_transactions_are_serialisable`] compare random
//! transactions with a model; the others put many clients at one place. For the cases each back-end's own tests call
//! it with a factory that gives an empty store. A case that
//! fails panics with a sentence, as a test does.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "this crate is test code: a failed expectation is a panic"
)]

mod behaviour;
mod blobs;
mod clocks;
mod contention;
mod fixture;
mod model;

use std::future::Future;

use store_api::Store;

pub use contention::{a_hot_key_serves_everyone, a_queue_head_stays_flat, takers_share_a_queue_head};
pub use fixture::{key, queue_key};
pub use model::{concurrent_transactions_are_serialisable, histories_match_the_oracle};

/// Runs every behaviour, each on an empty store of its own. The store's environment may be real or simulated.
pub async fn behaviours<F: Future<Output = Store>>(factory: impl Fn() -> F) {
    behaviour::reads_see_own_writes(factory().await).await;
    behaviour::a_failed_body_leaves_nothing(factory().await).await;
    behaviour::a_panicking_body_fails_alone(factory().await).await;
    behaviour::scans_page_in_both_directions(factory().await).await;
    behaviour::counters_add_up(factory().await).await;
    behaviour::streams_are_ordered_and_stable(factory().await).await;
    behaviour::claims_take_the_head(factory().await).await;
    behaviour::a_view_cannot_write(factory().await).await;
    behaviour::bounds_give_clear_faults(factory().await).await;
    behaviour::a_transaction_grows_too_old(factory().await).await;
    behaviour::hooks_run_before_the_answer(factory().await).await;
    behaviour::wake_ups_follow_the_commit(factory().await).await;
    clocks::leases_are_exclusive_and_fence(factory().await).await;
    clocks::timers_are_due_in_order(factory().await).await;
    blobs::a_blob_reads_back(factory().await).await;
    blobs::the_sweep_respects_references_and_intents(factory().await).await;
    behaviour::after_shutdown_work_is_refused(factory().await).await;
}
