//! The operations, a file per family.

pub(crate) mod acls;
pub(crate) mod attributes;
pub(crate) mod buckets;
pub(crate) mod configurations;
pub(crate) mod copy;
pub(crate) mod delete;
pub(crate) mod list;
pub(crate) mod locks;
pub(crate) mod multipart;
pub(crate) mod objects;
pub(crate) mod policies;
pub(crate) mod tagging;
pub(crate) mod versions;
