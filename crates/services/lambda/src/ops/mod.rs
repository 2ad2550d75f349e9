//! The operations, a file per resource. Each looks up, decides with the domain, writes, and answers.

pub(crate) mod account;
pub(crate) mod aliases;
pub(crate) mod concurrency;
pub(crate) mod functions;
pub(crate) mod packages;
pub(crate) mod permissions;
pub(crate) mod tags;
pub(crate) mod updates;
pub(crate) mod urls;
pub(crate) mod versions;
