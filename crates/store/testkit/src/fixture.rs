//! Keys and errors for the cases.

use base_types::{AccountId, Fault, FaultKind, Region};
use store_api::{Family, Key};

/// A key of the metadata family: `t`, then `name`.
#[must_use]
pub fn key(name: &str) -> Key {
    Key::new(Family::Meta, AccountId::DEFAULT, &Region::default()).str("t").str(name)
}

/// The root of the keys of [`key`].
pub(crate) fn root() -> Key {
    Key::new(Family::Meta, AccountId::DEFAULT, &Region::default()).str("t")
}

/// The root of a queue called `name`.
#[must_use]
pub fn queue_key(name: &str) -> Key {
    Key::new(Family::Queue, AccountId::DEFAULT, &Region::default()).str("q").str(name)
}

/// What a body of a case may fail with.
#[derive(Debug)]
pub(crate) enum Failed {
    /// On purpose.
    Refused,
    /// By the store: the kind of its fault.
    Fault(FaultKind),
}

impl Failed {
    /// Whether the body failed on purpose.
    pub(crate) fn is_refusal(&self) -> bool {
        match self {
            Self::Refused => true,
            Self::Fault(kind) => unreachable!("the store failed: {kind:?}"),
        }
    }
}

impl From<Fault> for Failed {
    fn from(fault: Fault) -> Self {
        Self::Fault(fault.kind())
    }
}
