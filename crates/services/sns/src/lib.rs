//! Amazon SNS: standard and FIFO topics.
//!
//! | file | what |
//! |---|---|
//! | `service` | the generated trait, one line per operation |
//! | `ops/*` | the operations: topics, subscriptions, confirming and leaving, publishing, permissions, tags, SMS settings |
//! | `attributes` | what topics and subscriptions can be set to, in AWS's words |
//! | `names` | names and ARNs |
//! | `message` | what is published, and how each kind of subscriber sees it |
//! | `filter` | filter policies |
//! | `delivery_policy` | when a delivery by HTTP is tried again |
//! | `sign`, `private_key` | the key, its certificate, signatures |
//! | `fanout` | from a message to its subscribers |
//! | `calls` | what goes out by HTTP |
//! | `delivery` | topics as targets of other services |
//! | `outbox` | what e-mail and SMS subscribers would have got |
//! | `tables` | the only file that knows keys |
//! | `tasks` | the reconciler: intents, forgetting, freeing |
//!
//! # Invariants
//! - A message is in the queues of its subscribers, and its functions' events are accepted, in the commit that publishes it:
//!   up to 256 subscribers and 4 MiB. Beyond that the commit holds an intent, and each chunk of it is a commit with its
//!   deliveries: each subscriber gets the message once, a crash between chunks included.
//! - What leaves Pileus (HTTP) is at least once: a call's record ends in the commit of its outcome.
//! - Messages of a FIFO topic reach each subscriber in the order of their sequence numbers.
//! - A subscriber that did not confirm gets nothing but the request to.
//! - Nothing is pretended to be sent: e-mail and SMS are kept to be read (`outbox`).

mod attributes;
mod calls;
mod delivery;
mod delivery_policy;
mod error;
mod fanout;
mod filter;
mod message;
mod names;
mod ops;
mod outbox;
mod private_key;
mod service;
mod sign;
mod tables;
mod tasks;

use std::{collections::HashSet, sync::Arc};

use base_env::Env;
use base_types::Fault;
pub use calls::SnsCaller;
use http::Uri;
pub use outbox::Kept;
use parking_lot::Mutex;
use services_kernel::PageTokens;
use services_ports::{Destinations, Outbound, OutboundError};
use sign::{Made, Signer};
use store_api::Store;
use tables::{SIGNING, SigningKey};
pub use tasks::SnsReconciler;
use tokio::sync::OnceCell;

/// Subscriptions whose losses were told and are not told again.
const TOLD_MAX: usize = 1000;

/// Objects to an address that could never be called.
pub type CheckAddress = dyn Fn(&Uri) -> Result<(), OutboundError> + Send + Sync;

/// What the service is made of.
pub struct Parts {
    /// The store.
    pub store: Store,
    /// Seals pagination tokens.
    pub page_tokens: PageTokens,
    /// Who takes deliveries.
    pub destinations: Destinations,
    /// Which addresses subscribers may have.
    pub check: Arc<CheckAddress>,
}

/// The service. Cheap to clone; clones share everything.
#[derive(Clone)]
pub struct Sns {
    store: Store,
    env: Env,
    page_tokens: PageTokens,
    destinations: Destinations,
    check: Arc<CheckAddress>,
    compiled: Arc<fanout::Compiled>,
    signer: Arc<OnceCell<Arc<Signer>>>,
    told: Arc<Mutex<HashSet<String>>>,
}

impl Sns {
    /// Over this store.
    #[must_use]
    pub fn new(parts: Parts) -> Self {
        let Parts { store, page_tokens, destinations, check } = parts;
        Self {
            env: store.env().clone(),
            store,
            page_tokens,
            destinations,
            check,
            compiled: Arc::default(),
            signer: Arc::default(),
            told: Arc::default(),
        }
    }

    /// The background work within the store, to be kept reconciling.
    #[must_use]
    pub fn reconciler(&self) -> SnsReconciler {
        SnsReconciler::new(self.clone())
    }

    /// The background work that calls out, to be kept reconciling.
    #[must_use]
    pub fn caller<O: Outbound>(&self, outbound: O) -> SnsCaller<O> {
        SnsCaller::new(self.clone(), outbound)
    }

    /// The certificate in PEM by which signatures are verified, when the file's name is its own.
    ///
    /// # Errors
    /// A fault of the store.
    pub async fn certificate(&self, file: &str) -> Result<Option<String>, Fault> {
        self.recall_signer().await?;
        Ok(self.signer.get().and_then(|signer| signer.certificate(file).map(str::to_owned)))
    }

    /// Takes up the signing key if there is one.
    async fn recall_signer(&self) -> Result<(), Fault> {
        if self.signer.initialized() {
            return Ok(());
        }
        if let Some(key) = self.store.view(|tx| SIGNING.get(tx, &SIGNING.global_key(None))).await? {
            let signer = Arc::new(open(&key)?);
            // Somebody else may have been faster: it is the same key.
            drop(self.signer.set(signer));
        }
        Ok(())
    }

    /// Who signs; made when there is none yet.
    async fn signer(&self) -> Result<Arc<Signer>, Fault> {
        self.recall_signer().await?;
        let made = self.signer.get_or_try_init(|| async {
            let env = self.env.clone();
            let made = tokio::task::spawn_blocking(move || sign::make(&env)).await;
            let Made { key, certificate } = made.map_err(|error| Fault::internal("no key was made", error))??;
            let made = SigningKey { key, certificate };
            let kept = self
                .store
                .transact(move |tx| {
                    let place = SIGNING.global_key(None);
                    if let Some(there) = SIGNING.get(tx, &place)? {
                        return Ok(there);
                    }
                    SIGNING.put(tx, &place, &made)?;
                    Ok::<_, Fault>(made.clone())
                })
                .await?;
            Ok::<_, Fault>(Arc::new(open(&kept)?))
        });
        made.await.cloned()
    }

    fn signer_if_ready(&self) -> Option<Arc<Signer>> {
        self.signer.get().cloned()
    }

    /// Says something of a subscription once, not for every message.
    fn tell_once(&self, subscription: &str, tell: impl FnOnce()) {
        let mut told = self.told.lock();
        if told.len() >= TOLD_MAX {
            told.clear();
        }
        if told.insert(subscription.to_owned()) {
            tell();
        }
    }
}

fn open(key: &SigningKey) -> Result<Signer, Fault> {
    Signer::open(&Made { key: key.key.clone(), certificate: key.certificate.clone() })
}
