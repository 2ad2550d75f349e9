//! What a name leads to, cached: a warm invocation reads nothing from the store.
//!
//! Guarantee: no invocation that begins after a change was acknowledged sees what was before. A commit's hook drops the
//! function's entries before the commit is acknowledged, and raises the generation; what was read from the store under an
//! older generation is used once, by those who asked before, and not kept.

use std::{collections::HashMap, sync::Arc};

use base_types::Fault;
use compute_scheduler::{FunctionVersion, VersionKey};
use lang_policy::{Kind, Policy};
use parking_lot::Mutex;
use services_kernel::Passed;
use services_ports::MeteredFunction;
use store_api::{Store, Tx};

use super::environment::{Ground, Plan};
use crate::{
    event_invoke::EventInvoke,
    function::{Alias, LATEST, State, Version},
    names::{Qualifier, function_arn},
    provisioned::shares,
    switches::Switches,
    tables::{ALIASES, EVENT_INVOKES, FUNCTIONS, POLICIES, Place, URL_HOSTS, URLS, VERSIONS, url_host},
    url::FunctionUrl,
};

/// Functions (and URLs) kept at most; beyond it everything is forgotten and read again.
const ENTRIES_MAX: usize = 20_000;

/// A function by name.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct FunctionKey {
    pub(crate) place: Place,
    pub(crate) name: String,
}

/// What a name and a qualifier lead to.
pub(crate) struct Route<L> {
    pub(crate) key: FunctionKey,
    pub(crate) incarnation: String,
    /// The unqualified ARN.
    pub(crate) arn: Arc<str>,
    first: Runnable<L>,
    /// The alias, and the version that it gives a share to.
    weighted: Option<(Alias, Runnable<L>)>,
    /// Its resource policy.
    pub(crate) policy: Option<Policy>,
    pub(crate) reserved_concurrency: Option<u32>,
    /// How its events are treated.
    pub(crate) event_invoke: Option<EventInvoke>,
    /// Whether it may go round in circles.
    pub(crate) recursion_allowed: bool,
    /// Whose figures its invocations are.
    pub(crate) metered: MeteredFunction,
    /// Its name in lineages.
    pub(crate) passed: Passed,
}

/// A version that can be run, if its state permits.
pub(crate) struct Runnable<L> {
    pub(crate) state: State,
    pub(crate) version: Arc<FunctionVersion<Plan<L>>>,
}

/// What a URL's identifier leads to.
pub(crate) struct UrlRoute {
    pub(crate) key: FunctionKey,
    pub(crate) url: FunctionUrl,
}

/// The cache.
pub(crate) struct Routes<L> {
    ground: Arc<Ground<L>>,
    store: Store,
    state: Mutex<Cached<L>>,
}

struct Cached<L> {
    generation: u64,
    entries: usize,
    functions: HashMap<FunctionKey, HashMap<Option<Qualifier>, Arc<Route<L>>>>,
    urls: HashMap<String, Arc<UrlRoute>>,
}

impl<L> Cached<L> {
    fn make_room(&mut self) {
        if self.entries >= ENTRIES_MAX {
            self.functions.clear();
            self.urls.clear();
            self.entries = 0;
        }
        self.entries += 1;
    }
}

impl<L> Route<L> {
    /// What environments of its (first) version are made from.
    pub(crate) fn plan(&self) -> &Plan<L> {
        &self.first.version.spec
    }

    /// The version for one call; `draw` is random (see [`Alias::route`]).
    pub(crate) fn pick(&self, draw: u64) -> &Runnable<L> {
        match &self.weighted {
            Some((alias, second)) if alias.route(draw) != alias.version => second,
            _ => &self.first,
        }
    }

    /// The version that it leads to, or the first of two.
    pub(crate) fn first(&self) -> &Runnable<L> {
        &self.first
    }

    /// What of so much provisioned concurrency each of its versions gets.
    pub(crate) fn provisioned_shares(&self, requested: u32) -> Vec<(&Runnable<L>, u32)> {
        let Some((alias, second)) = &self.weighted else { return vec![(&self.first, requested)] };
        shares(alias.version, Some(alias), requested)
            .into_iter()
            .map(|(number, share)| (if number == alias.version { &self.first } else { second }, share))
            .collect()
    }
}

impl<L: Send + Sync + 'static> Routes<L> {
    pub(crate) fn new(ground: Arc<Ground<L>>, store: Store) -> Self {
        let state = Cached { generation: 0, entries: 0, functions: HashMap::new(), urls: HashMap::new() };
        Self { ground, store, state: Mutex::new(state) }
    }

    /// Forgets a function, and runs `within` before anybody can read it anew.
    pub(crate) fn invalidate(&self, key: &FunctionKey, within: impl FnOnce()) {
        let mut state = self.state.lock();
        state.generation += 1;
        if let Some(routes) = state.functions.remove(key) {
            state.entries = state.entries.saturating_sub(routes.len());
        }
        let before = state.urls.len();
        state.urls.retain(|_, route| route.key != *key);
        state.entries = state.entries.saturating_sub(before - state.urls.len());
        within();
    }

    /// What a name leads to; `None` when there is no such function, version or alias. `learned` is called with a route that
    /// was read from the store and is kept, before anybody else can use it.
    pub(crate) async fn route(
        &self,
        key: &FunctionKey,
        qualifier: Option<&Qualifier>,
        learned: impl FnOnce(&Route<L>) + Send,
    ) -> Result<Option<Arc<Route<L>>>, Fault> {
        let qualifier = qualifier.cloned();
        let generation = {
            let state = self.state.lock();
            if let Some(route) = state.functions.get(key).and_then(|routes| routes.get(&qualifier)) {
                return Ok(Some(Arc::clone(route)));
            }
            state.generation
        };
        let (wanted, asked) = (key.clone(), qualifier.clone());
        let Some(found) = self.store.view(move |tx| read(tx, &wanted, asked.as_ref())).await? else {
            return Ok(None);
        };
        let route = Arc::new(self.build(key, found));
        let mut state = self.state.lock();
        if state.generation == generation {
            learned(&route);
            state.make_room();
            state.functions.entry(key.clone()).or_default().insert(qualifier, Arc::clone(&route));
        }
        Ok(Some(route))
    }

    /// What a URL's identifier leads to.
    pub(crate) async fn url(&self, id: &str) -> Result<Option<Arc<UrlRoute>>, Fault> {
        let generation = {
            let state = self.state.lock();
            if let Some(route) = state.urls.get(id) {
                return Ok(Some(Arc::clone(route)));
            }
            state.generation
        };
        let wanted = id.to_owned();
        let Some((key, url)) = self.store.view(move |tx| read_url(tx, &wanted)).await? else { return Ok(None) };
        let route = Arc::new(UrlRoute { key, url });
        let mut state = self.state.lock();
        if state.generation == generation {
            state.make_room();
            state.urls.insert(id.to_owned(), Arc::clone(&route));
        }
        Ok(Some(route))
    }

    fn build(&self, key: &FunctionKey, found: Stored) -> Route<L> {
        let arn: Arc<str> = Arc::from(function_arn(&key.place.region, key.place.account, &key.name));
        let policy = found.policy.and_then(|text| match Policy::parse(&text, Kind::Resource) {
            Ok(policy) => Some(policy),
            Err(error) => {
                // Without its policy a function is open to its own account only.
                tracing::error!(function = %arn, %error, "the stored policy cannot be read");
                None
            }
        });
        Route {
            first: self.runnable(key, &arn, found.first, &found.switches),
            weighted: found.second.map(|(alias, version)| (alias, self.runnable(key, &arn, version, &found.switches))),
            key: key.clone(),
            incarnation: found.incarnation,
            event_invoke: found.event_invoke,
            recursion_allowed: found.recursion_allowed,
            metered: MeteredFunction {
                account: key.place.account,
                region: key.place.region.clone(),
                name: Arc::from(key.name.as_str()),
            },
            passed: Passed::by(&arn),
            arn,
            policy,
            reserved_concurrency: found.reserved_concurrency,
        }
    }

    fn runnable(&self, key: &FunctionKey, arn: &Arc<str>, version: Version, switches: &Switches) -> Runnable<L> {
        let label = version.label();
        let revision: Arc<str> = Arc::from(version.run_revision(switches));
        // A snapshot is forked: who wants fresh processes gets them.
        let snapshot = (version.wants_snapshot() && !switches.fresh).then(|| Arc::clone(&revision));
        let configuration = version.configuration;
        Runnable {
            state: version.state,
            version: Arc::new(FunctionVersion {
                key: VersionKey { function: Arc::clone(arn), version: Arc::from(label.as_str()), revision },
                account: key.place.account,
                region: key.place.region.clone(),
                memory_mib: configuration.memory_mib,
                spec: Plan {
                    ground: Arc::clone(&self.ground),
                    place: key.place.clone(),
                    function: key.name.clone(),
                    version: label,
                    digest: version.code.digest,
                    configuration,
                    switches: switches.clone(),
                    snapshot,
                },
            }),
        }
    }
}

/// What the store knows of a route.
struct Stored {
    incarnation: String,
    reserved_concurrency: Option<u32>,
    switches: Switches,
    first: Version,
    second: Option<(Alias, Version)>,
    policy: Option<String>,
    event_invoke: Option<EventInvoke>,
    recursion_allowed: bool,
}

fn read(tx: &Tx, key: &FunctionKey, qualifier: Option<&Qualifier>) -> Result<Option<Stored>, Fault> {
    let place = &key.place;
    let Some(function) = FUNCTIONS.get(tx, &place.function(&key.name))? else { return Ok(None) };
    let incarnation = function.incarnation;
    let version = |number| VERSIONS.get(tx, &place.version(&incarnation, number));
    let (first, second) = match qualifier {
        None | Some(Qualifier::Latest) => (version(LATEST)?, None),
        Some(&Qualifier::Version(number)) if number != LATEST => (version(number)?, None),
        Some(Qualifier::Alias(name)) => match ALIASES.get(tx, &place.alias(&incarnation, name))? {
            None => (None, None),
            Some(alias) => {
                let other = alias.weight.map(|(number, _)| version(number)).transpose()?.flatten();
                (version(alias.version)?, other.map(|other| (alias, other)))
            }
        },
        Some(Qualifier::Version(_) | Qualifier::Nothing(_)) => (None, None),
    };
    let Some(first) = first else { return Ok(None) };
    let named = crate::ops::permissions::policy_qualifier(qualifier);
    let policy = POLICIES.get(tx, &place.policy(&incarnation, named.as_deref()))?.map(|policy| policy.to_json());
    let label = qualifier.unwrap_or(&Qualifier::Latest).to_string();
    let event_invoke = EVENT_INVOKES.get(tx, &place.event_invoke(&incarnation, &label))?;
    let (reserved_concurrency, recursion_allowed) = (function.reserved_concurrency, function.recursion_allowed);
    Ok(Some(Stored {
        incarnation,
        reserved_concurrency,
        switches: function.switches,
        first,
        second,
        policy,
        event_invoke,
        recursion_allowed,
    }))
}

fn read_url(tx: &Tx, id: &str) -> Result<Option<(FunctionKey, FunctionUrl)>, Fault> {
    let Some(host) = URL_HOSTS.get(tx, &url_host(id))? else { return Ok(None) };
    let place = Place { account: host.account, region: host.region };
    let url = URLS.get(tx, &place.url(&host.incarnation, host.alias.as_deref()))?;
    Ok(url.map(|url| (FunctionKey { place, name: host.name }, url)))
}
