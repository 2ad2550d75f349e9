//! The operations, a file per resource. Each looks up, decides with the domain, writes, and answers.

pub(crate) mod account;
pub(crate) mod aliases;
pub(crate) mod concurrency;
pub(crate) mod event_invoke;
pub(crate) mod functions;
pub(crate) mod layer_permissions;
pub(crate) mod layers;
pub(crate) mod mappings;
pub(crate) mod packages;
pub(crate) mod permissions;
pub(crate) mod provisioned;
pub(crate) mod settings;
pub(crate) mod tags;
pub(crate) mod updates;
pub(crate) mod urls;
pub(crate) mod versions;
