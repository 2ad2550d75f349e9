//! What one installation keeps for itself: its sealing key and the root access key. Both are made at the first start, live
//! in the store (so a backup restores them), and never change.

use std::fmt;

use base_env::Env;
use base_types::{AccountId, Fault};
use hmac::{Hmac, KeyInit, Mac};
use minicbor::{Decode, Encode};
use sha2::Sha256;
use store_api::{Family, Key, Store, Table, Tx};
use subtle::ConstantTimeEq;

const INSTALLATION: Table<Record> = Table::new(Family::Meta, "app.installation", 1);
const SECRET_ALPHABET: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

#[derive(Clone, Encode, Decode)]
#[cbor(map)]
struct Record {
    #[cbor(n(0), with = "minicbor::bytes")]
    master: [u8; 32],
    #[n(1)]
    root_key_id: String,
    #[n(2)]
    root_secret: String,
    /// The root key was shown to the operator.
    #[n(3)]
    shown: bool,
}

/// The keys of this installation.
#[derive(Clone)]
pub(crate) struct Installation {
    record: Record,
}

/// The access key of the account's root.
#[derive(Clone, PartialEq, Eq)]
pub struct RootKey {
    /// `AKIA…`.
    pub access_key_id: String,
    /// Shown once, never logged.
    pub secret_access_key: String,
}

impl fmt::Debug for RootKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RootKey").field("access_key_id", &self.access_key_id).finish_non_exhaustive()
    }
}

impl Installation {
    /// What the store holds; made, durably, when it holds nothing yet.
    pub(crate) async fn open(store: &Store, env: &Env) -> Result<Self, Fault> {
        let found = store.view(|tx: &Tx| INSTALLATION.get(tx, &key())).await?;
        let record = match found {
            Some(record) => record,
            None => {
                let mut master = [0; 32];
                env.fill(&mut master);
                let made = Record {
                    master,
                    root_key_id: services_sts::access_key_id("AKIA", AccountId::DEFAULT, env),
                    root_secret: env.id(40, SECRET_ALPHABET),
                    shown: false,
                };
                store
                    .transact(move |tx: &Tx| match INSTALLATION.get(tx, &key())? {
                        Some(record) => Ok::<_, Fault>(record),
                        None => {
                            INSTALLATION.put(tx, &key(), &made)?;
                            Ok(made.clone())
                        }
                    })
                    .await?
            }
        };
        Ok(Self { record })
    }

    /// A key for one purpose, derived from the master key.
    pub(crate) fn derive(&self, purpose: &str) -> [u8; 32] {
        #[expect(clippy::expect_used, reason = "HMAC takes a key of any length")]
        let mut mac = Hmac::<Sha256>::new_from_slice(&self.record.master).expect("a key of any length");
        mac.update(b"pileus/");
        mac.update(purpose.as_bytes());
        mac.finalize().into_bytes().into()
    }

    /// The secret of the root key, if this is its identifier.
    pub(crate) fn root_secret(&self, key_id: &str) -> Option<&str> {
        let same = key_id.as_bytes().ct_eq(self.record.root_key_id.as_bytes());
        bool::from(same).then_some(self.record.root_secret.as_str())
    }

    /// The root key, if it was never shown: it is from now on.
    pub(crate) async fn show_root_key(&self, store: &Store) -> Result<Option<RootKey>, Fault> {
        if self.record.shown {
            return Ok(None);
        }
        let mut record = self.record.clone();
        record.shown = true;
        store.transact(move |tx: &Tx| INSTALLATION.put(tx, &key(), &record)).await?;
        Ok(Some(RootKey {
            access_key_id: self.record.root_key_id.clone(),
            secret_access_key: self.record.root_secret.clone(),
        }))
    }
}

fn key() -> Key {
    INSTALLATION.global_key(None)
}

#[cfg(test)]
mod tests {
    use base_types::Timestamp;

    use super::*;

    #[tokio::test]
    async fn the_root_key_is_made_once_and_shown_once() {
        let env = Env::simulated(Timestamp::from_millis(1), 1);
        let store = Store::memory(&env);
        let first = Installation::open(&store, &env).await.unwrap();
        let shown = first.show_root_key(&store).await.unwrap().unwrap();
        assert!(shown.access_key_id.starts_with("AKIA") && shown.access_key_id.len() == 20);
        assert_eq!(shown.secret_access_key.len(), 40);
        assert!(!format!("{shown:?}").contains(&shown.secret_access_key));
        let second = Installation::open(&store, &env).await.unwrap();
        assert_eq!(second.show_root_key(&store).await.unwrap(), None);
        assert_eq!(second.root_secret(&shown.access_key_id), Some(shown.secret_access_key.as_str()));
        assert_eq!(second.root_secret("AKIAOTHER"), None);
        assert_eq!(first.derive("a"), second.derive("a"));
        assert_ne!(first.derive("a"), first.derive("b"));
    }
}
