//! Where everything lies: the only file that knows keys.
//!
//! A function's record lies under its name; all that hangs on it (versions, aliases, policies, URLs) lies under its
//! *incarnation*, so that deleting a function is a handful of writes and a new one of the same name starts empty. What is
//! left of a deleted incarnation is named in [`GARBAGE`] and swept by a reconciler.
//!
//! Declared exceptions to the rule that keys begin with account and region: packages are shared by content, host names of
//! URLs are one namespace, and the work lists of the reconcilers (reserved and provisioned concurrency too) span accounts.

use std::collections::BTreeSet;

use base_types::{AccountId, Arn, Fault, Region, Timestamp};
use minicbor::{Decode, Encode};
use services_kernel::Cx;
use store_api::{BlobId, DamagedKey, Direction, Family, Key, KeyRange, Part, Table, Tx};

use crate::{
    event_invoke::EventInvoke,
    events::{Event, Payload},
    function::{Alias, Function, Version},
    layers::{LayerHead, LayerVersion},
    mappings::{Mapping, stream::lane::Lane},
    permission::Policy,
    provisioned::ProvisionedConfig,
    url::FunctionUrl,
};

/// Functions by name.
pub(crate) const FUNCTIONS: Table<Function> = Table::new(Family::Meta, "lambda.functions", 1);
/// Versions by incarnation and number; `$LATEST` is number 0 and so comes first.
pub(crate) const VERSIONS: Table<Version> = Table::new(Family::Meta, "lambda.versions", 1);
/// Aliases by incarnation and name.
pub(crate) const ALIASES: Table<Alias> = Table::new(Family::Meta, "lambda.aliases", 1);
/// Policies by incarnation and qualifier; empty for the function itself.
pub(crate) const POLICIES: Table<Policy> = Table::new(Family::Meta, "lambda.policies", 1);
/// URLs by incarnation and alias; empty for `$LATEST`.
pub(crate) const URLS: Table<FunctionUrl> = Table::new(Family::Meta, "lambda.urls", 1);
/// Event-invoke configurations by incarnation and qualifier (`$LATEST`, a number, an alias).
pub(crate) const EVENT_INVOKES: Table<EventInvoke> = Table::new(Family::Meta, "lambda.event-invokes", 1);
/// Provisioned concurrency by account, region, incarnation and qualifier (a number, an alias); one list for all accounts.
pub(crate) const PROVISIONED: Table<ProvisionedConfig> = Table::new(Family::Meta, "lambda.provisioned", 1);
/// Reserved concurrency by account, region and function, beside what the function's record says; one list for all accounts.
pub(crate) const RESERVED: Table<Reserved> = Table::new(Family::Meta, "lambda.reserved", 1);
/// Layers by name.
pub(crate) const LAYERS: Table<LayerHead> = Table::new(Family::Meta, "lambda.layers", 1);
/// Layer versions by name and number.
pub(crate) const LAYER_VERSIONS: Table<LayerVersion> = Table::new(Family::Meta, "lambda.layer-versions", 1);
/// Policies of layer versions by name and number.
pub(crate) const LAYER_POLICIES: Table<Policy> = Table::new(Family::Meta, "lambda.layer-policies", 1);
/// Whose URL a host name's identifier is.
pub(crate) const URL_HOSTS: Table<UrlHost> = Table::new(Family::Meta, "lambda.url-hosts", 1);
/// Deployment packages by digest.
pub(crate) const PACKAGES: Table<Package> = Table::new(Family::Meta, "lambda.packages", 1);
/// Which versions, of functions and of layers, use a package.
const PACKAGE_USES: Table<()> = Table::new(Family::Meta, "lambda.package-uses", 1);
/// Versions whose creation or update has to be settled.
pub(crate) const UNSETTLED: Table<VersionRef> = Table::new(Family::Queue, "lambda.unsettled", 1);
/// Published SnapStart versions whose snapshot has to be taken.
pub(crate) const SNAPSHOTS_DUE: Table<VersionRef> = Table::new(Family::Queue, "lambda.snapshots-due", 1);
/// Incarnations of deleted functions that are to be swept.
pub(crate) const GARBAGE: Table<Garbage> = Table::new(Family::Queue, "lambda.garbage", 1);
/// Event invocations that were accepted and are not done.
pub(crate) const EVENTS: Table<Event> = Table::new(Family::Queue, "lambda.events", 1);
/// Their payloads.
pub(crate) const EVENT_PAYLOADS: Table<Payload> = Table::new(Family::Queue, "lambda.event-payloads", 1);
/// Event invocations that nobody is running, by due time.
pub(crate) const EVENTS_DUE: Table<()> = Table::new(Family::Queue, "lambda.events-due", 1);

/// Event source mappings by identifier.
pub(crate) const MAPPINGS: Table<Mapping> = Table::new(Family::Meta, "lambda.mappings", 1);
/// Which mapping connects a source with a function, by source, function and qualifier (or nothing).
pub(crate) const MAPPING_PAIRS: Table<MappingRef> = Table::new(Family::Meta, "lambda.mapping-pairs", 1);
/// How far a mapping has come in a shard of its stream, by mapping, shard and lane.
pub(crate) const MAPPING_LANES: Table<Lane> = Table::new(Family::Meta, "lambda.mapping-lanes", 1);
/// Mappings that something is to be done about: all but the disabled ones, of all accounts.
pub(crate) const MAPPING_WORK: Table<MappingRef> = Table::new(Family::Queue, "lambda.mapping-work", 1);

/// Counters of an account and region.
const USAGE: Table<()> = Table::new(Family::Meta, "lambda.usage", 1);
/// Counters of the queue of event invocations.
const EVENT_TOTALS: Table<()> = Table::new(Family::Queue, "lambda.event-totals", 1);

/// The target of a URL.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub(crate) struct UrlHost {
    /// The function's account.
    #[n(0)]
    pub(crate) account: AccountId,
    /// The function's region.
    #[n(1)]
    pub(crate) region: Region,
    /// The function's name.
    #[n(2)]
    pub(crate) name: String,
    /// Its incarnation, so that a host name never leads to a later function of the same name.
    #[n(3)]
    pub(crate) incarnation: String,
    /// The alias; `None` for `$LATEST`.
    #[n(4)]
    pub(crate) alias: Option<String>,
}

/// A function's reserved concurrency, named across accounts.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub(crate) struct Reserved {
    /// The function's account.
    #[n(0)]
    pub(crate) account: AccountId,
    /// The function's region.
    #[n(1)]
    pub(crate) region: Region,
    /// The function's name.
    #[n(2)]
    pub(crate) name: String,
    /// What is set aside.
    #[n(3)]
    pub(crate) concurrency: u32,
}

/// A stored package.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub(crate) struct Package {
    /// The zip.
    #[n(0)]
    pub(crate) blob: BlobId,
    /// Its size.
    #[n(1)]
    pub(crate) bytes: u64,
}

/// Names a version across accounts.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub(crate) struct VersionRef {
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
    /// The version's number.
    #[n(4)]
    pub(crate) number: u64,
}

/// Names what is left of a deleted function.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub(crate) struct Garbage {
    /// The function's account.
    #[n(0)]
    pub(crate) account: AccountId,
    /// The function's region.
    #[n(1)]
    pub(crate) region: Region,
    /// The incarnation.
    #[n(2)]
    pub(crate) incarnation: String,
    /// What its tags steered (see `Switches::mark`): part of the names of its snapshots.
    #[n(3)]
    #[cbor(default)]
    pub(crate) mark: String,
}

/// Names a mapping across accounts.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Encode, Decode)]
#[cbor(map)]
pub(crate) struct MappingRef {
    /// Whose.
    #[n(0)]
    pub(crate) account: AccountId,
    /// Where.
    #[n(1)]
    pub(crate) region: Region,
    /// Its identifier.
    #[n(2)]
    pub(crate) uuid: String,
}

/// A place: an account in a region.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Place {
    /// Whose.
    pub(crate) account: AccountId,
    /// Where.
    pub(crate) region: Region,
}

impl From<&Cx> for Place {
    fn from(cx: &Cx) -> Self {
        Self { account: cx.account, region: cx.region.clone() }
    }
}

impl Place {
    /// All functions.
    #[must_use]
    pub(crate) fn functions(&self) -> Key {
        FUNCTIONS.key(self.account, &self.region)
    }

    /// One function.
    #[must_use]
    pub(crate) fn function(&self, name: &str) -> Key {
        self.functions().str(name)
    }

    /// All versions of an incarnation.
    #[must_use]
    pub(crate) fn versions(&self, incarnation: &str) -> Key {
        VERSIONS.key(self.account, &self.region).str(incarnation)
    }

    /// One version.
    #[must_use]
    pub(crate) fn version(&self, incarnation: &str, number: u64) -> Key {
        self.versions(incarnation).u64(number)
    }

    /// All aliases of an incarnation.
    #[must_use]
    pub(crate) fn aliases(&self, incarnation: &str) -> Key {
        ALIASES.key(self.account, &self.region).str(incarnation)
    }

    /// One alias.
    #[must_use]
    pub(crate) fn alias(&self, incarnation: &str, name: &str) -> Key {
        self.aliases(incarnation).str(name)
    }

    /// All policies of an incarnation.
    #[must_use]
    pub(crate) fn policies(&self, incarnation: &str) -> Key {
        POLICIES.key(self.account, &self.region).str(incarnation)
    }

    /// The policy of a function, or of one of its versions or aliases.
    #[must_use]
    pub(crate) fn policy(&self, incarnation: &str, qualifier: Option<&str>) -> Key {
        self.policies(incarnation).str(qualifier.unwrap_or_default())
    }

    /// All URLs of an incarnation.
    #[must_use]
    pub(crate) fn urls(&self, incarnation: &str) -> Key {
        URLS.key(self.account, &self.region).str(incarnation)
    }

    /// One URL.
    #[must_use]
    pub(crate) fn url(&self, incarnation: &str, alias: Option<&str>) -> Key {
        self.urls(incarnation).str(alias.unwrap_or_default())
    }

    /// All event-invoke configurations of an incarnation.
    #[must_use]
    pub(crate) fn event_invokes(&self, incarnation: &str) -> Key {
        EVENT_INVOKES.key(self.account, &self.region).str(incarnation)
    }

    /// One event-invoke configuration.
    #[must_use]
    pub(crate) fn event_invoke(&self, incarnation: &str, qualifier: &str) -> Key {
        self.event_invokes(incarnation).str(qualifier)
    }

    /// All provisioned concurrency of an incarnation.
    #[must_use]
    pub(crate) fn provisioned(&self, incarnation: &str) -> Key {
        all_provisioned().str(self.account.as_str()).str(self.region.as_str()).str(incarnation)
    }

    /// The provisioned concurrency of a version or alias.
    #[must_use]
    pub(crate) fn provisioned_of(&self, incarnation: &str, qualifier: &str) -> Key {
        self.provisioned(incarnation).str(qualifier)
    }

    /// The entry of a function in the list of reserved concurrency.
    #[must_use]
    pub(crate) fn reserved(&self, name: &str) -> Key {
        all_reserved().str(self.account.as_str()).str(self.region.as_str()).str(name)
    }

    /// All layers.
    #[must_use]
    pub(crate) fn layers(&self) -> Key {
        LAYERS.key(self.account, &self.region)
    }

    /// One layer.
    #[must_use]
    pub(crate) fn layer(&self, name: &str) -> Key {
        self.layers().str(name)
    }

    /// All versions of a layer.
    #[must_use]
    pub(crate) fn layer_versions(&self, name: &str) -> Key {
        LAYER_VERSIONS.key(self.account, &self.region).str(name)
    }

    /// One version of a layer.
    #[must_use]
    pub(crate) fn layer_version(&self, name: &str, number: u64) -> Key {
        self.layer_versions(name).u64(number)
    }

    /// The policy of a version of a layer.
    #[must_use]
    pub(crate) fn layer_policy(&self, name: &str, number: u64) -> Key {
        LAYER_POLICIES.key(self.account, &self.region).str(name).u64(number)
    }

    /// The entry of a version in the list of those to be settled.
    #[must_use]
    pub(crate) fn unsettled(&self, incarnation: &str, number: u64) -> Key {
        unsettled().str(self.account.as_str()).str(self.region.as_str()).str(incarnation).u64(number)
    }

    /// The entry of a version in the list of those whose snapshot has to be taken.
    #[must_use]
    pub(crate) fn snapshot_due(&self, incarnation: &str, number: u64) -> Key {
        snapshots_due().str(self.account.as_str()).str(self.region.as_str()).str(incarnation).u64(number)
    }

    /// All event source mappings.
    #[must_use]
    pub(crate) fn mappings(&self) -> Key {
        MAPPINGS.key(self.account, &self.region)
    }

    /// One event source mapping.
    #[must_use]
    pub(crate) fn mapping(&self, uuid: &str) -> Key {
        self.mappings().str(uuid)
    }

    /// Its ARN.
    #[must_use]
    pub(crate) fn mapping_arn(&self, uuid: &str) -> String {
        Arn::regional("lambda", &self.region, self.account, format!("event-source-mapping:{uuid}")).to_string()
    }

    /// What connects a source with a function.
    #[must_use]
    pub(crate) fn mapping_pair(&self, source: &str, function: &str, qualifier: Option<&str>) -> Key {
        MAPPING_PAIRS.key(self.account, &self.region).str(source).str(function).str(qualifier.unwrap_or_default())
    }

    /// How far a mapping has come in its stream.
    #[must_use]
    pub(crate) fn mapping_lanes(&self, uuid: &str) -> Key {
        MAPPING_LANES.key(self.account, &self.region).str(uuid)
    }

    /// How far one of its lanes has come in a shard.
    #[must_use]
    pub(crate) fn mapping_lane(&self, uuid: &str, shard: &str, number: u64) -> Key {
        self.mapping_lanes(uuid).str(shard).u64(number)
    }

    /// The entry of a mapping in the list of those that something is to be done about.
    #[must_use]
    pub(crate) fn mapping_work(&self, uuid: &str) -> Key {
        mapping_work().str(self.account.as_str()).str(self.region.as_str()).str(uuid)
    }

    /// A counter.
    #[must_use]
    pub(crate) fn usage(&self, usage: Usage) -> Key {
        USAGE.key(self.account, &self.region).str(match usage {
            Usage::Functions => "functions",
            Usage::CodeBytes => "code-bytes",
            Usage::ReservedConcurrency => "reserved-concurrency",
            Usage::UnreservedProvisioned => "unreserved-provisioned",
            Usage::Mappings => "mappings",
        })
    }
}

/// What is counted per account and region.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Usage {
    /// Functions.
    Functions,
    /// Bytes of all packages of versions, of functions and of layers.
    CodeBytes,
    /// Concurrency set aside.
    ReservedConcurrency,
    /// Provisioned concurrency of functions without reserved concurrency: it is taken from the unreserved.
    UnreservedProvisioned,
    /// Event source mappings.
    Mappings,
}

/// What is counted of the queue of event invocations.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum EventTotal {
    /// Events.
    Count,
    /// Bytes of their payloads.
    Bytes,
}

/// A counter of the queue of event invocations.
#[must_use]
pub(crate) fn event_total(total: EventTotal) -> Key {
    EVENT_TOTALS.global_key(None).str(match total {
        EventTotal::Count => "count",
        EventTotal::Bytes => "bytes",
    })
}

/// The record of a URL's host name.
#[must_use]
pub(crate) fn url_host(id: &str) -> Key {
    URL_HOSTS.global_key(None).str(id)
}

/// A package.
#[must_use]
pub(crate) fn package(digest: &str) -> Key {
    PACKAGES.global_key(None).str(digest)
}

/// Says that the version at `version` uses a package.
///
/// # Errors
/// A fault of the store.
pub(crate) fn use_package(tx: &Tx, digest: &str, version: &Key) -> Result<(), Fault> {
    PACKAGE_USES.put(tx, &package_uses(digest).bytes(version.as_bytes()), &())
}

/// Says what packages the function version at `key` uses now, instead of those of `before`. Each of them is there: it was
/// just attached, or another version (of a function or a layer) uses it.
///
/// # Errors
/// A fault of the store.
pub(crate) fn use_packages(tx: &Tx, key: &Key, before: Option<&Version>, now: &Version) -> Result<(), Fault> {
    let used: BTreeSet<&str> = now.packages().collect();
    let was: BTreeSet<&str> = before.into_iter().flat_map(Version::packages).collect();
    for digest in used.difference(&was) {
        use_package(tx, digest, key)?;
    }
    for digest in was.difference(&used) {
        disuse_package(tx, digest, key)?;
    }
    Ok(())
}

/// Says that the function version at `key` is gone.
///
/// # Errors
/// A fault of the store.
pub(crate) fn disuse_packages(tx: &Tx, key: &Key, version: &Version) -> Result<(), Fault> {
    let used: BTreeSet<&str> = version.packages().collect();
    used.into_iter().try_for_each(|digest| disuse_package(tx, digest, key))
}

/// Says that the version at `version` does not use a package any more; without a user the package goes.
///
/// # Errors
/// A fault of the store.
pub(crate) fn disuse_package(tx: &Tx, digest: &str, version: &Key) -> Result<(), Fault> {
    tx.delete(&package_uses(digest).bytes(version.as_bytes()))?;
    if tx.scan(&package_uses(digest).prefix(), 1, Direction::Forward)?.is_empty()
        && let Some(found) = PACKAGES.get(tx, &package(digest))?
    {
        tx.detach_blob(found.blob, &package(digest))?;
        PACKAGES.remove(tx, &package(digest))?;
    }
    Ok(())
}

fn package_uses(digest: &str) -> Key {
    PACKAGE_USES.global_key(None).str(digest)
}

/// All provisioned concurrency; also the topic of the reconciler that brings it about.
#[must_use]
pub(crate) fn all_provisioned() -> Key {
    PROVISIONED.global_key(None)
}

/// All reserved concurrency.
#[must_use]
pub(crate) fn all_reserved() -> Key {
    RESERVED.global_key(None)
}

/// All versions to be settled; also the topic of the reconciler that does it.
#[must_use]
pub(crate) fn unsettled() -> Key {
    UNSETTLED.global_key(None)
}

/// All versions whose snapshot has to be taken; also the topic of the reconciler that does it.
#[must_use]
pub(crate) fn snapshots_due() -> Key {
    SNAPSHOTS_DUE.global_key(None)
}

/// All incarnations to be swept; also the topic of the reconciler that does it.
#[must_use]
pub(crate) fn garbage() -> Key {
    GARBAGE.global_key(None)
}

/// The entry of an incarnation to be swept.
#[must_use]
pub(crate) fn garbage_entry(incarnation: &str) -> Key {
    garbage().str(incarnation)
}

/// All mappings that something is to be done about; also the topic of the reconciler that does it.
#[must_use]
pub(crate) fn mapping_work() -> Key {
    MAPPING_WORK.global_key(None)
}

/// All event invocations.
#[must_use]
pub(crate) fn events() -> Key {
    EVENTS.global_key(None)
}

/// One event invocation.
#[must_use]
pub(crate) fn event(id: &str) -> Key {
    events().str(id)
}

/// The payload of an event invocation.
#[must_use]
pub(crate) fn event_payload(id: &str) -> Key {
    EVENT_PAYLOADS.global_key(None).str(id)
}

/// All event invocations by due time; also the topic of the reconciler that runs them.
#[must_use]
pub(crate) fn events_due() -> Key {
    EVENTS_DUE.global_key(None)
}

/// The entry of an event invocation that is due at `due`.
#[must_use]
pub(crate) fn event_due(due: Timestamp, id: &str) -> Key {
    events_due().time(due).str(id)
}

/// Due time and identifier of an entry of [`EVENTS_DUE`].
///
/// # Errors
/// When the key is damaged.
pub(crate) fn read_event_due(key: &Key) -> Result<(Timestamp, String), Fault> {
    let mut parts = key.parts()?;
    match (parts.pop(), parts.pop()) {
        (Some(Part::Str(id)), Some(Part::U64(due))) => Ok((Timestamp::from_millis(due), id)),
        _ => Err(DamagedKey.into()),
    }
}

/// The part of `all` behind the cursor of an earlier page.
#[must_use]
pub(crate) fn page(all: &Key, cursor: Option<&[u8]>) -> KeyRange {
    match cursor {
        Some(cursor) => all.prefix().after(&Key::from_encoded(cursor)),
        None => all.prefix(),
    }
}
