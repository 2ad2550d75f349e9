//! What stands between a function and the host, as data. Nothing here is assumed: every wall is reported as it was found.

use std::fmt;

/// How much isolation an environment has. Ordered: more is greater.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum IsolationLevel {
    /// Not enough walls for foreign code: the host does not run functions at all.
    Refused,
    /// All namespaces, read-only root, seccomp and Landlock, but every environment runs under the one host user that runs
    /// Pileus, and the limits on memory, processor and processes may be missing. What an ordinary user gets.
    SingleUid,
    /// Own host uid per environment, but some cgroup limits, or Landlock, are missing.
    NoLimits,
    /// All walls.
    Full,
}

impl IsolationLevel {
    /// The word in reports and settings.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Refused => "refused",
            Self::SingleUid => "single-uid",
            Self::NoLimits => "no-limits",
            Self::Full => "full",
        }
    }
}

impl fmt::Display for IsolationLevel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl std::str::FromStr for IsolationLevel {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        [Self::Refused, Self::SingleUid, Self::NoLimits, Self::Full]
            .into_iter()
            .find(|level| level.as_str() == text)
            .ok_or_else(|| format!("`{text}` is no isolation level: use `full`, `no-limits` or `single-uid`"))
    }
}

/// The walls around one environment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IsolationReport {
    /// The sum of what follows.
    pub level: IsolationLevel,
    /// The host user that the environment's processes run as.
    pub host_uid: u32,
    /// Each wall and its state, in the order in which they are put up.
    pub walls: Vec<Wall>,
}

/// One wall.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wall {
    /// A stable name: `user namespace`, `seccomp`, `memory limit`, …
    pub name: String,
    /// Whether it stands.
    pub state: WallState,
}

/// Whether a wall stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WallState {
    /// It stands and was seen from outside.
    Verified,
    /// It was put up without an error; there is nothing to see from outside.
    Enforced,
    /// It is missing, with the reason.
    Missing(String),
}

/// What the host offers: the content of `pileus doctor`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostReport {
    /// The level that environments get on this host.
    pub level: IsolationLevel,
    /// What was looked at, in a fixed order.
    pub findings: Vec<Finding>,
}

/// One thing that was looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// A stable name: `user namespaces`, `landlock`, `memory controller`, …
    pub name: String,
    /// How it was found.
    pub state: FindingState,
    /// What was found, for a reader: `cgroup v1 at /sys/fs/cgroup/memory`, `ABI 7`.
    pub detail: String,
    /// What would improve it; empty when nothing is to be done.
    pub remedy: String,
}

/// How a thing was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FindingState {
    /// It is there.
    Present,
    /// It is there in part, or a substitute is used.
    Degraded,
    /// It is not there.
    Missing,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_are_ordered_and_read_back() {
        assert!(IsolationLevel::Refused < IsolationLevel::SingleUid);
        assert!(IsolationLevel::SingleUid < IsolationLevel::NoLimits);
        assert!(IsolationLevel::NoLimits < IsolationLevel::Full);
        for level in ["refused", "single-uid", "no-limits", "full"] {
            assert_eq!(level.parse::<IsolationLevel>().map(IsolationLevel::as_str), Ok(level));
        }
        assert!("some".parse::<IsolationLevel>().is_err());
    }
}
