//! What all operations on functions share: looking up what a request names, and telling the data plane what changed.
//!
//! [`Control`] is not generic: operations are compiled once, whatever host runs the functions. What a commit changes for
//! running functions (a cached route, idle environments, reserved concurrency) it tells through [`Effects`], from a hook
//! that runs when the commit is durable and *before* it is acknowledged: so an acknowledged change holds for the very
//! next call.

use std::sync::Arc;

use base_env::Env;
use base_types::{AccountId, Arn, Fault};
use compute_api::{Deployed, RuntimeListing};
use model_lambda::{AccessDeniedException, Error};
use services_kernel::{Cx, PageTokens};
use services_ports::{Destinations, Queues, StreamSources};
use store_api::{Direction, Store, Tx};
use wire_schema::ServiceError as _;

use crate::{
    archive::Limits,
    error::{function_not_found, resource_not_found},
    function::{Alias, Function, LATEST, Version},
    names::{self, FunctionRef, NameError, Qualifier, function_arn, qualified_arn},
    packages::Packages,
    provisioned::ProvisionedConfig,
    tables::{ALIASES, FUNCTIONS, PROVISIONED, Place, VERSIONS},
    url::UrlBase,
};

/// The control plane.
pub(crate) struct Control {
    pub(crate) store: Store,
    pub(crate) env: Env,
    pub(crate) tokens: PageTokens,
    pub(crate) packages: Packages,
    pub(crate) limits: Limits,
    pub(crate) urls: UrlBase,
    /// Invocations at once in an account and region.
    pub(crate) concurrency: u32,
    pub(crate) destinations: Destinations,
    pub(crate) queues: Arc<dyn Queues>,
    pub(crate) streams: StreamSources,
    pub(crate) effects: Arc<dyn Effects>,
}

/// What the data plane has to know of changes.
pub(crate) trait Effects: Send + Sync + 'static {
    /// Called when the change is durable and before it is acknowledged.
    fn changed(&self, place: &Place, function: &str, change: &Change);

    /// The runtimes of this host.
    fn runtimes(&self) -> Arc<RuntimeListing>;

    /// What of a version's provisioned concurrency is there: `revision` is [`Version::run_revision`]. `None` when none was
    /// asked for yet.
    fn provisioned(&self, function_arn: &str, version: &str, revision: &str) -> Option<Provisioned>;

    /// A function's code is ready to be started: the host may prepare for its first call.
    fn expect(&self, deployed: Deployed);

    /// Ends the initialised process of a SnapStart version that is gone.
    fn forget_snapshot(&self, snapshot: &str);
}

/// What is there of provisioned concurrency.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Provisioned {
    /// Environments that are to be there.
    pub(crate) requested: u32,
    /// Environments that are ready, busy ones included.
    pub(crate) allocated: u32,
    /// Those of them that are idle.
    pub(crate) available: u32,
    /// Why there are not more, if something is wrong.
    pub(crate) failure: Option<String>,
}

/// What changed of a function.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Change {
    /// Aliases, policies, URLs, states: what leads to a version, not what runs.
    Routing,
    /// `$LATEST` has this content now.
    Latest {
        /// See [`Version::content`].
        content: String,
    },
    /// Reserved concurrency.
    Reserved(Option<u32>),
    /// What its tags steer: no environment of any version is used any more.
    Steered,
    /// It is gone.
    Deleted,
}

/// A function that was found.
pub(crate) struct Found {
    pub(crate) place: Place,
    pub(crate) name: String,
    pub(crate) function: Function,
}

/// What a qualifier led to.
pub(crate) struct Resolved {
    pub(crate) version: Version,
    pub(crate) alias: Option<Alias>,
}

impl Control {
    /// The function that a request names, without looking whether it is there.
    pub(crate) fn name(
        &self,
        cx: &Cx,
        action: &str,
        text: &str,
        qualifier: Option<&str>,
    ) -> Result<FunctionRef, Error> {
        names::resolve(text, qualifier, &cx.region, cx.account).map_err(|error| match error {
            NameError::OtherAccount(account) => foreign(cx, account, action, text),
            other => other.into(),
        })
    }

    /// Permits an action on a function.
    pub(crate) fn authorize(&self, cx: &Cx, action: &str, name: &str) -> Result<(), Error> {
        let arn = cx.arn("lambda", format!("function:{name}"));
        cx.authorize_by(action, &arn, None, &cx.conditions())
    }

    /// The function of this name.
    pub(crate) fn find(&self, tx: &Tx, cx: &Cx, name: &str) -> Result<Option<Found>, Fault> {
        let place = Place::from(cx);
        let function = FUNCTIONS.get(tx, &place.function(name))?;
        Ok(function.map(|function| Found { place, name: name.to_owned(), function }))
    }

    /// The function that a request names, permitted and there.
    pub(crate) fn require(
        &self,
        tx: &Tx,
        cx: &Cx,
        action: &str,
        text: &str,
        qualifier: Option<&str>,
    ) -> Result<(Found, Option<Qualifier>), Error> {
        let named = self.name(cx, action, text, qualifier)?;
        self.authorize(cx, action, &named.name)?;
        match self.find(tx, cx, &named.name)? {
            Some(found) => Ok((found, named.qualifier)),
            None => Err(function_not_found(&arn_of(cx, &named))),
        }
    }

    /// The function that a request for a whole function names: versions and aliases are refused.
    pub(crate) fn require_whole(&self, tx: &Tx, cx: &Cx, action: &str, text: &str) -> Result<Found, Error> {
        let named = self.name(cx, action, text, None)?;
        refuse_qualifier(&named)?;
        Ok(self.require(tx, cx, action, text, None)?.0)
    }

    /// Tells the data plane when this transaction is durable.
    pub(crate) fn announce(&self, tx: &Tx, found: &Found, change: Change) -> Result<(), Fault> {
        let (effects, place, name) = (Arc::clone(&self.effects), found.place.clone(), found.name.clone());
        tx.on_commit(move || effects.changed(&place, &name, &change))
    }

    /// The seal of a page token: the listing that it continues.
    pub(crate) fn scope<'a>(cx: &'a Cx, operation: &'a str, of: &'a str) -> [&'a str; 4] {
        [cx.account.as_str(), cx.region.as_str(), operation, of]
    }

    /// The cursor in a marker.
    pub(crate) fn cursor(&self, scope: &[&str], marker: Option<&str>) -> Result<Option<Vec<u8>>, Error> {
        match marker.filter(|marker| !marker.is_empty()) {
            None => Ok(None),
            Some(marker) => self.tokens.open(scope, marker).map(Some).map_err(|_| {
                Error::invalid_parameter_value_exception("The Marker is invalid. It must come from an earlier answer.")
            }),
        }
    }
}

impl Found {
    /// `arn:…:function:name`.
    pub(crate) fn arn(&self) -> String {
        function_arn(&self.place.region, self.place.account, &self.name)
    }

    /// `arn:…:function:name:qualifier`.
    pub(crate) fn qualified(&self, qualifier: &dyn std::fmt::Display) -> String {
        qualified_arn(&self.place.region, self.place.account, &self.name, qualifier)
    }

    pub(crate) fn version(&self, tx: &Tx, number: u64) -> Result<Option<Version>, Fault> {
        VERSIONS.get(tx, &self.place.version(&self.function.incarnation, number))
    }

    /// `$LATEST`, which every function has.
    pub(crate) fn latest(&self, tx: &Tx) -> Result<Version, Error> {
        self.version(tx, LATEST)?.ok_or_else(|| function_not_found(&self.arn()))
    }

    pub(crate) fn alias(&self, tx: &Tx, name: &str) -> Result<Option<Alias>, Fault> {
        ALIASES.get(tx, &self.place.alias(&self.function.incarnation, name))
    }

    /// The provisioned concurrency of its versions and aliases.
    pub(crate) fn provisioned(&self, tx: &Tx) -> Result<Vec<ProvisionedConfig>, Fault> {
        let all = self.place.provisioned(&self.function.incarnation).prefix();
        Ok(PROVISIONED.scan(tx, &all, usize::MAX, Direction::Forward)?.into_iter().map(|(_, config)| config).collect())
    }

    /// What the qualifier leads to, or AWS's error for one that leads nowhere.
    pub(crate) fn resolve(&self, tx: &Tx, qualifier: Option<&Qualifier>) -> Result<Resolved, Error> {
        let missing = |qualifier: &Qualifier| function_not_found(&self.qualified(qualifier));
        match qualifier {
            None | Some(Qualifier::Latest) => Ok(Resolved { version: self.latest(tx)?, alias: None }),
            Some(given @ Qualifier::Version(number)) => {
                let version = self.version(tx, *number)?.filter(|version| version.number != LATEST);
                Ok(Resolved { version: version.ok_or_else(|| missing(given))?, alias: None })
            }
            Some(given @ Qualifier::Alias(name)) => {
                let alias = self.alias(tx, name)?.ok_or_else(|| missing(given))?;
                let version = self.version(tx, alias.version)?.ok_or_else(|| missing(given))?;
                Ok(Resolved { version, alias: Some(alias) })
            }
            Some(given @ Qualifier::Nothing(_)) => Err(missing(given)),
        }
    }

    /// The ARN by which a version was asked for: with the qualifier if one was given.
    pub(crate) fn arn_as_asked(&self, qualifier: Option<&Qualifier>) -> String {
        qualifier.map_or_else(|| self.arn(), |qualifier| self.qualified(qualifier))
    }
}

/// The ARN of what a request names, with its qualifier.
pub(crate) fn arn_of(cx: &Cx, named: &FunctionRef) -> String {
    match &named.qualifier {
        Some(qualifier) => qualified_arn(&cx.region, cx.account, &named.name, qualifier),
        None => function_arn(&cx.region, cx.account, &named.name),
    }
}

/// For operations on functions as a whole.
pub(crate) fn refuse_qualifier(named: &FunctionRef) -> Result<(), Error> {
    match named.qualifier {
        None | Some(Qualifier::Latest) => Ok(()),
        Some(_) => Err(Error::invalid_parameter_value_exception(
            "This operation is permitted on Lambda functions only. Aliases and versions do not support this operation. \
             Please specify either a function name or an unqualified function ARN.",
        )),
    }
}

/// An operation on a function of another account, of which nothing may be told.
fn foreign(cx: &Cx, account: AccountId, action: &str, text: &str) -> Error {
    if action == "lambda:CreateFunction" {
        return AccessDeniedException::default().into();
    }
    let named = names::FunctionName::parse(text).map(|named| named.name).unwrap_or_default();
    let arn = text.parse::<Arn>().map_or_else(|_| function_arn(&cx.region, account, &named), |arn| arn.to_string());
    Error::access_denied(format!(
        "User: {} is not authorized to perform: {action} on resource: {arn} because no resource-based policy allows the \
         {action} action",
        cx.principal
    ))
}

/// An answer for lookups that do not tell what is missing.
pub(crate) fn missing_resource<T>(found: Option<T>) -> Result<T, Error> {
    found.ok_or_else(resource_not_found)
}
