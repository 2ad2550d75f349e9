//! Names and ARNs of groups and schedules.

use base_types::{AccountId, Arn, Region};
use services_kernel::Cx;

/// The group of schedules that name none.
pub(crate) const DEFAULT_GROUP: &str = "default";

/// An account in a region.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) account: AccountId,
    pub(crate) region: Region,
}

impl Place {
    pub(crate) fn of(cx: &Cx) -> Self {
        Self { account: cx.account, region: cx.region.clone() }
    }

    pub(crate) fn group_arn(&self, group: &str) -> Arn {
        Arn::regional("scheduler", &self.region, self.account, format!("schedule-group/{group}"))
    }

    pub(crate) fn schedule_arn(&self, group: &str, name: &str) -> Arn {
        Arn::regional("scheduler", &self.region, self.account, format!("schedule/{group}/{name}"))
    }
}

/// A schedule as it is named.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Named {
    pub(crate) place: Place,
    pub(crate) group: String,
    pub(crate) name: String,
}

impl Named {
    pub(crate) fn of(cx: &Cx, group: Option<&str>, name: &str) -> Self {
        let group = group.unwrap_or(DEFAULT_GROUP).to_owned();
        Self { place: Place::of(cx), group, name: name.to_owned() }
    }

    pub(crate) fn arn(&self) -> Arn {
        self.place.schedule_arn(&self.group, &self.name)
    }
}
