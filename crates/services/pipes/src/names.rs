//! ARNs of pipes and of roles.

use base_types::{AccountId, Arn, Region};
use services_kernel::Cx;

/// A pipe as it is named.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Named {
    pub(crate) account: AccountId,
    pub(crate) region: Region,
    pub(crate) name: String,
}

impl Named {
    pub(crate) fn of(cx: &Cx, name: &str) -> Self {
        Self { account: cx.account, region: cx.region.clone(), name: name.to_owned() }
    }

    pub(crate) fn arn(&self) -> Arn {
        Arn::regional("pipes", &self.region, self.account, format!("pipe/{}", self.name))
    }
}

/// The account and the name of a role.
pub(crate) fn role(text: &str) -> Option<(AccountId, String)> {
    let arn: Arn = text.parse().ok()?;
    let path = arn.resource.strip_prefix("role/")?;
    let name = path.rsplit('/').next().filter(|name| !name.is_empty())?;
    Some((arn.account.parse().ok()?, name.to_owned()))
}
