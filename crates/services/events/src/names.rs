//! Names and ARNs of buses, rules and what else there is.

use base_types::{AccountId, Arn, Region};
use model_events::Error;
use services_kernel::Cx;

use crate::error::{bad_arn, no_bus};

/// The bus that is always there.
pub(crate) const DEFAULT_BUS: &str = "default";
/// Names of the rules that archives have on their bus begin so.
pub(crate) const ARCHIVE_RULE_PREFIX: &str = "Events-Archive-";
/// Who manages them.
pub(crate) const ARCHIVE_MANAGER: &str = "prod.vhs.events.aws.internal";

/// A bus as it is named.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct BusName {
    pub(crate) account: AccountId,
    pub(crate) region: Region,
    pub(crate) name: String,
}

impl BusName {
    /// One's own.
    pub(crate) fn own(cx: &Cx, name: &str) -> Self {
        Self { account: cx.account, region: cx.region.clone(), name: name.to_owned() }
    }

    /// The bus that a name or an ARN names; the default one when nothing is said.
    pub(crate) fn given(cx: &Cx, text: Option<&str>) -> Result<Self, Error> {
        let text = text.unwrap_or(DEFAULT_BUS);
        if !text.starts_with("arn:") {
            return Ok(Self::own(cx, text));
        }
        text.parse().ok().and_then(|arn| Self::of_arn(&arn)).ok_or_else(|| no_bus(text))
    }

    /// The bus that an ARN names, if it names one.
    pub(crate) fn of_arn(arn: &Arn) -> Option<Self> {
        let name =
            arn.resource.strip_prefix("event-bus/").filter(|name| arn.service == "events" && !name.is_empty())?;
        let (account, region) = (arn.account.parse().ok()?, arn.region.parse().ok()?);
        Some(Self { account, region, name: name.to_owned() })
    }

    /// Its ARN.
    pub(crate) fn arn(&self) -> Arn {
        Arn::regional("events", &self.region, self.account, format!("event-bus/{}", self.name))
    }

    /// The ARN of a rule on it; AWS leaves the default bus out.
    pub(crate) fn rule_arn(&self, rule: &str) -> Arn {
        let resource =
            if self.name == DEFAULT_BUS { format!("rule/{rule}") } else { format!("rule/{}/{rule}", self.name) };
        Arn::regional("events", &self.region, self.account, resource)
    }
}

/// What can have tags.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Tagged {
    /// A bus.
    Bus(BusName),
    /// A rule on a bus.
    Rule(BusName, String),
}

/// The resource that an ARN names.
pub(crate) fn tagged(text: &str) -> Result<Tagged, Error> {
    let wrong = || bad_arn(text);
    let arn: Arn = text.parse().map_err(|_| wrong())?;
    if let Some(bus) = BusName::of_arn(&arn) {
        return Ok(Tagged::Bus(bus));
    }
    let rule = arn.resource.strip_prefix("rule/").filter(|_| arn.service == "events").ok_or_else(wrong)?;
    let (bus, rule) = rule.rsplit_once('/').unwrap_or((DEFAULT_BUS, rule));
    let (Ok(account), Ok(region)) = (arn.account.parse(), arn.region.parse()) else { return Err(wrong()) };
    Ok(Tagged::Rule(BusName { account, region, name: bus.to_owned() }, rule.to_owned()))
}

/// The name in an ARN of the form `…:kind/name/uuid`.
pub(crate) fn named<'a>(arn: &'a Arn, kind: &str) -> Option<&'a str> {
    let rest = arn.resource.strip_prefix(kind)?.strip_prefix('/')?;
    let name = rest.split('/').next()?;
    (arn.service == "events" && !name.is_empty()).then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cx() -> Cx {
        Cx::internal(AccountId::DEFAULT, Region::default(), "r")
    }

    #[test]
    fn a_bus_is_named_by_its_name_or_its_arn() {
        let own = |name: &str| BusName::own(&cx(), name);
        assert_eq!(BusName::given(&cx(), None).unwrap(), own("default"));
        assert_eq!(BusName::given(&cx(), Some("orders")).unwrap(), own("orders"));
        let other = "arn:aws:events:eu-west-1:111122223333:event-bus/orders";
        assert_eq!(BusName::given(&cx(), Some(other)).unwrap().arn().to_string(), other);
        assert!(BusName::given(&cx(), Some("arn:aws:events:eu-west-1:111122223333:rule/orders")).is_err());
    }

    #[test]
    fn a_rule_has_its_bus_in_its_arn_unless_it_is_the_default_one() {
        let region = Region::default();
        for (bus, rule) in [("default", "r"), ("orders", "r"), ("aws.partner/a/b", "r")] {
            let bus = BusName::own(&cx(), bus);
            let arn = bus.rule_arn(rule).to_string();
            assert_eq!(tagged(&arn).unwrap(), Tagged::Rule(bus, rule.to_owned()), "{arn}");
        }
        let text = format!("arn:aws:events:{region}:000000000000:connection/c/u");
        assert!(tagged(&text).is_err());
        assert_eq!(named(&text.parse().unwrap(), "connection"), Some("c"));
        assert_eq!(named(&text.parse().unwrap(), "api-destination"), None);
    }
}
