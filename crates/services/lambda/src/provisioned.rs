//! Provisioned concurrency: environments of a published version that are ready before anybody asks.
//!
//! The rules are pure; [`Provide`] is the reconciler that brings about what is configured. A configuration is put on a
//! version or an alias; what runs is versions, so an alias with a weight shares its number out by it. Guarantees: the
//! environments of a version that an alias has left are ended only when those of the version it names now are ready (or
//! cannot be had); what is configured is asked for again after a restart.

use std::{collections::HashMap, sync::Arc, time::Duration};

use base_types::{AccountId, Fault, Region, Timestamp};
use compute_api::FunctionHost;
use compute_scheduler::{FunctionVersion, VersionKey};
use minicbor::{Decode, Encode};
use parking_lot::Mutex;
use services_kernel::Reconciler;
use services_ports::LogSink;
use store_api::{Direction, Key};

use crate::{
    Lambda,
    function::{Alias, State},
    invoke::{environment::Plan, routes::FunctionKey},
    names::Qualifier,
    tables::{self, PROVISIONED, Place},
};

/// What is configured of a version or alias.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub(crate) struct ProvisionedConfig {
    /// The function's account.
    #[n(0)]
    pub(crate) account: AccountId,
    /// The function's region.
    #[n(1)]
    pub(crate) region: Region,
    /// The function's name.
    #[n(2)]
    pub(crate) name: String,
    /// Its incarnation.
    #[n(3)]
    pub(crate) incarnation: String,
    /// A version's number or an alias's name.
    #[n(4)]
    pub(crate) qualifier: String,
    /// How many environments.
    #[n(5)]
    pub(crate) requested: u32,
    /// When it was changed last.
    #[n(6)]
    pub(crate) modified: Timestamp,
}

/// Why provisioned concurrency is refused (`InvalidParameterValueException`, unless it says otherwise). The texts are AWS's,
/// its odd blanks included.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ProvisionedError {
    /// `$LATEST`, or an alias of it.
    #[error("Provisioned Concurrency Configs cannot be applied to unpublished function versions.")]
    Unpublished,
    /// `$LATEST`, where a configuration is looked for.
    #[error("The function resource provided must be an alias or a published version.")]
    NotPublished,
    /// A SnapStart version starts fast by itself.
    #[error("Provisioned Concurrency is not supported for SnapStart enabled functions.")]
    SnapStart,
    /// The alias names a version that has its own (`ResourceConflictException`).
    #[error("Alias can't be used for Provisioned Concurrency configuration on an already Provisioned version")]
    AliasOfProvisioned,
    /// The version is named by an alias that has its own (`ResourceConflictException`).
    #[error("Version is pointed by a Provisioned Concurrency alias")]
    VersionOfAlias,
    /// More than the function's reserved concurrency, with that of its other versions.
    #[error(
        "Requested Provisioned Concurrency should not be greater than the reservedConcurrentExecution for function"
    )]
    AboveReserved,
    /// Less reserved concurrency than what is provisioned.
    #[error(
        " ReservedConcurrentExecutions  {reserved} should not be lower than function's total provisioned concurrency \
         [{provisioned}]."
    )]
    ReservedBelow {
        /// What was asked for.
        reserved: u32,
        /// All that the function has.
        provisioned: u32,
    },
    /// More than the account has unreserved.
    #[error("Specified ConcurrentExecutions for function is greater than account's unreserved concurrency [{0}].")]
    AboveUnreserved(i64),
    /// Nothing would be left to functions without any.
    #[error(
        "Specified ConcurrentExecutions for function decreases account's UnreservedConcurrentExecution below its minimum \
         value of [{0}]."
    )]
    BelowMinimum(i64),
    /// `ProvisionedConcurrencyConfigNotFoundException`.
    #[error("No Provisioned Concurrency Config found for this function")]
    None,
}

/// How many environments each version of an alias (or the version itself) gets: what the weight says, rounded, but at least
/// one each as far as there are so many; the first version comes first.
pub(crate) fn shares(version: u64, alias: Option<&Alias>, requested: u32) -> Vec<(u64, u32)> {
    match alias.and_then(|alias| alias.weight) {
        Some((second, weight)) if weight >= 1.0 => vec![(second, requested)],
        Some((second, weight)) if weight > 0.0 && requested > 1 => {
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "0 < weight < 1")]
            let share = ((f64::from(requested) * weight).round() as u32).clamp(1, requested - 1);
            vec![(version, requested - share), (second, share)]
        }
        _ => vec![(version, requested)],
    }
}

type Version<L> = Arc<FunctionVersion<Plan<L>>>;

/// Brings about what is configured.
pub(crate) struct Provide<H: FunctionHost, L: LogSink> {
    lambda: Lambda<H, L>,
    /// What was asked of the scheduler.
    asked: Mutex<HashMap<VersionKey, (Version<L>, u32)>>,
}

/// Configurations read in one transaction.
const BATCH: usize = 200;
/// How soon to look again while something is on its way.
const SOON: Duration = Duration::from_millis(250);

impl<H: FunctionHost, L: LogSink> Provide<H, L> {
    pub(crate) fn new(lambda: Lambda<H, L>) -> Self {
        Self { lambda, asked: Mutex::default() }
    }

    /// All that is configured.
    async fn configured(&self) -> Result<Vec<ProvisionedConfig>, Fault> {
        let store = &self.lambda.0.control.store;
        let (mut all, mut after) = (Vec::new(), None::<Key>);
        loop {
            let from = after.take();
            let batch = store
                .view(move |tx| {
                    let cursor = from.as_ref().map(Key::as_bytes);
                    PROVISIONED.scan(tx, &tables::page(&tables::all_provisioned(), cursor), BATCH, Direction::Forward)
                })
                .await?;
            let more = batch.len() == BATCH;
            after = batch.last().map(|(key, _)| key.clone());
            all.extend(batch.into_iter().map(|(_, config)| config));
            if !more {
                return Ok(all);
            }
        }
    }

    /// The versions that are to have environments, and whether some are not ready to be asked for.
    async fn wanted(&self) -> Result<(HashMap<VersionKey, (Version<L>, u32)>, bool), Fault> {
        let (mut wanted, mut pending) = (HashMap::new(), false);
        for config in self.configured().await? {
            let place = Place { account: config.account, region: config.region };
            let key = FunctionKey { place, name: config.name };
            let qualifier = Qualifier::parse(&config.qualifier);
            let Some(route) = self.lambda.0.runner.route(&key, Some(&qualifier)).await? else { continue };
            if route.incarnation != config.incarnation {
                continue;
            }
            for (runnable, share) in route.provisioned_shares(config.requested) {
                match runnable.state {
                    State::Active => {
                        let version = Arc::clone(&runnable.version);
                        // Two aliases of one version, each with its own, share the environments of both.
                        let entry = wanted.entry(version.key.clone()).or_insert((version, 0));
                        entry.1 += share;
                    }
                    State::Pending => pending = true,
                    State::Failed { .. } => {}
                }
            }
        }
        Ok((wanted, pending))
    }

    /// Whether a version has all its environments, or will not get them.
    fn is_settled(&self, key: &VersionKey) -> bool {
        self.lambda
            .0
            .runner
            .scheduler
            .provisioned(key)
            .is_none_or(|now| now.allocated >= now.requested || now.failure.is_some())
    }
}

impl<H: FunctionHost, L: LogSink> Reconciler for Provide<H, L> {
    const NAME: &'static str = "provide provisioned concurrency";

    fn topic(&self) -> Key {
        tables::all_provisioned()
    }

    async fn round(&self) -> Result<Option<Duration>, Fault> {
        let (wanted, mut pending) = self.wanted().await?;
        let scheduler = &self.lambda.0.runner.scheduler;
        let mut asked = self.asked.lock();
        for (key, (version, count)) in &wanted {
            // A version that was retired meanwhile has none any more.
            let known = asked.get(key).is_some_and(|(_, before)| before == count);
            if !known || scheduler.provisioned(key).is_none() {
                scheduler.set_provisioned(version, *count);
                asked.insert(key.clone(), (Arc::clone(version), *count));
            }
        }
        let left: Vec<VersionKey> = asked.keys().filter(|key| !wanted.contains_key(*key)).cloned().collect();
        for key in left {
            let successors = wanted.keys().filter(|other| other.function == key.function);
            if successors.into_iter().all(|other| self.is_settled(other)) {
                if let Some((version, _)) = asked.remove(&key) {
                    scheduler.set_provisioned(&version, 0);
                }
            } else {
                pending = true;
            }
        }
        Ok(pending.then_some(SOON))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_alias_shares_its_environments_by_weight() {
        let alias = |weight| Alias {
            name: "live".into(),
            version: 1,
            description: String::new(),
            weight,
            revision: String::new(),
        };
        for (weight, requested, expected) in [
            (None, 10, vec![(1, 10)]),
            (Some((2, 0.0)), 10, vec![(1, 10)]),
            (Some((2, 0.3)), 10, vec![(1, 7), (2, 3)]),
            (Some((2, 0.01)), 10, vec![(1, 9), (2, 1)]),
            (Some((2, 0.5)), 1, vec![(1, 1)]),
            (Some((2, 0.99)), 3, vec![(1, 1), (2, 2)]),
            (Some((2, 1.0)), 4, vec![(2, 4)]),
        ] {
            assert_eq!(shares(1, Some(&alias(weight)), requested), expected);
        }
        assert_eq!(shares(3, None, 2), [(3, 2)]);
    }
}
