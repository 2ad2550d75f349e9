//! The operations.

pub(crate) mod archives;
pub(crate) mod buses;
pub(crate) mod connections;
pub(crate) mod destinations;
pub(crate) mod events;
pub(crate) mod pages;
pub(crate) mod permissions;
pub(crate) mod replays;
pub(crate) mod rules;
pub(crate) mod tags;
pub(crate) mod targets;

use services_kernel::Quota;

/// Custom buses of an account in a region.
pub(crate) const BUSES: Quota = Quota { name: "events.event-buses", default: 100 };
/// Rules of a bus. AWS's default is 300; the matching costs as good as nothing more for twenty thousand.
pub(crate) const RULES: Quota = Quota { name: "events.rules", default: 20_000 };
/// Targets of a rule.
pub(crate) const TARGETS: Quota = Quota { name: "events.targets", default: 5 };
/// Archives.
pub(crate) const ARCHIVES: Quota = Quota { name: "events.archives", default: 100 };
/// Replays that run at a time.
pub(crate) const REPLAYS: Quota = Quota { name: "events.replays", default: 10 };
/// Connections.
pub(crate) const CONNECTIONS: Quota = Quota { name: "events.connections", default: 3000 };
/// API destinations.
pub(crate) const DESTINATIONS: Quota = Quota { name: "events.api-destinations", default: 3000 };
