//! Amazon SQS: standard and FIFO queues.
//!
//! | file | what |
//! |---|---|
//! | `service` | the generated trait, one line per operation |
//! | `ops/*` | the operations: queues, sending, receiving, deleting and visibility, permissions, move tasks |
//! | `attributes` | what a queue can be set to, in AWS's words |
//! | `message` | what a message may be; its digests |
//! | `handle` | receipt handles |
//! | `names` | queue names and ARNs |
//! | `urls` | the addresses of queues, in all their forms |
//! | `flow` | the life of a message in the store: arrive, hide, come back, leave |
//! | `delivery` | queues as targets of other services |
//! | `source` | queues as what others work off |
//! | `fifo` | the same for groups: order, blocking, deduplication, repeated attempts |
//! | `tables` | the only file that knows keys |
//! | `tasks` | the reconciler: retention, move tasks, space of what was purged or deleted |
//!
//! # The life of a message
//!
//! A message has a number that rises with its arrival. Its body is written once; what changes (receive count, when it can
//! be seen) is a small record that is in exactly one place: among the *ready* ones, by number, or among the *hidden* ones
//! (in flight or delayed), which are also filed by the time at which they can be seen. There is no timer per message and
//! no sweep of hidden ones: whoever receives first brings back what has become due, and who waits sleeps until the
//! next is.
//!
//! In a FIFO queue the record stays with its group, in order; ready is the *group*, under the number of its first message,
//! as long as none of its messages is in flight.
//!
//! # Invariants
//! - A message is never in two places, and none is lost between two: each step is one transaction.
//! - At most one receiver holds a message within its visibility; a receipt handle names one receive of one message.
//! - Within a FIFO group messages are received in the order of their numbers, and none while an earlier one is in flight.
//! - The counts are those of the tables, kept by commutative counters: never read on the way of a message.
//! - A queue that is purged, deleted or made again has another identity: what was before cannot be reached from that
//!   commit on, and its space is freed in the background.

mod attributes;
mod delivery;
mod error;
mod fifo;
mod flow;
mod handle;
mod message;
mod names;
mod ops;
mod service;
mod source;
mod tables;
mod tasks;
mod urls;

use std::sync::Arc;

use base_env::Env;
use services_kernel::PageTokens;
use store_api::Store;
pub use tasks::SqsReconciler;
use tokio::sync::watch;
pub use urls::{UrlForm, complete_form};

/// The greatest message, and the greatest batch, in bytes (AWS: 1 MiB).
pub const MESSAGE_BYTES_MAX: usize = 1_048_576;
/// Messages in flight that a queue may have (AWS: 120,000).
pub const IN_FLIGHT_MAX: u64 = 120_000;

/// The service. Cheap to clone; clones share everything.
#[derive(Clone)]
pub struct Sqs {
    store: Store,
    env: Env,
    page_tokens: PageTokens,
    urls: UrlForm,
    /// Turns true when nobody shall wait for a message any more.
    ending: Arc<watch::Sender<bool>>,
}

impl Sqs {
    /// Over this store.
    #[must_use]
    pub fn new(store: Store, page_tokens: PageTokens) -> Self {
        let env = store.env().clone();
        Self { store, env, page_tokens, urls: UrlForm::default(), ending: Arc::new(watch::Sender::new(false)) }
    }

    /// Gives addresses of queues in this form.
    #[must_use]
    pub fn with_urls(self, urls: UrlForm) -> Self {
        Self { urls, ..self }
    }

    /// Receivers that wait are answered now, and later ones at once: the server is about to end, and an empty answer
    /// loses nothing.
    pub fn end_waits(&self) {
        self.ending.send_replace(true);
    }

    /// The background work, to be kept reconciling.
    #[must_use]
    pub fn reconciler(&self) -> SqsReconciler {
        SqsReconciler::new(self.clone())
    }
}
