//! `PutFunctionEventInvokeConfig`, `UpdateFunctionEventInvokeConfig`, `GetFunctionEventInvokeConfig`,
//! `DeleteFunctionEventInvokeConfig`, `ListFunctionEventInvokeConfigs`. What they bring about is the data plane's.

use base_types::Fault;
use model_lambda::{
    DeleteFunctionEventInvokeConfigRequest, DestinationConfig, Error, FunctionEventInvokeConfig,
    GetFunctionEventInvokeConfigRequest, ListFunctionEventInvokeConfigsRequest, ListFunctionEventInvokeConfigsResponse,
    OnFailure, OnSuccess, PutFunctionEventInvokeConfigRequest, UpdateFunctionEventInvokeConfigRequest,
};
use services_kernel::Cx;
use store_api::{Direction, Tx};

use super::functions::{Page, page_size};
use crate::{
    control::{Change, Control, Found},
    event_invoke::{Destinations, EventInvoke, EventInvokeError},
    names::{FunctionName, FunctionRef, Qualifier, function_arn, qualified_arn},
    tables::{self, EVENT_INVOKES, FUNCTIONS},
};

/// What `Put` and `Update` have in common.
struct Given<'a> {
    function_name: &'a str,
    qualifier: Option<&'a str>,
    retries_max: Option<i32>,
    age_seconds_max: Option<i32>,
    destinations: Option<&'a DestinationConfig>,
}

impl Control {
    pub(crate) fn put_function_event_invoke_config(
        &self,
        cx: &Cx,
        tx: &Tx,
        input: &PutFunctionEventInvokeConfigRequest,
    ) -> Result<FunctionEventInvokeConfig, Error> {
        let given = Given {
            function_name: &input.function_name,
            qualifier: input.qualifier.as_deref(),
            retries_max: input.maximum_retry_attempts,
            age_seconds_max: input.maximum_event_age_in_seconds,
            destinations: input.destination_config.as_ref(),
        };
        let (found, qualifier) = self.configurable(tx, cx, "lambda:PutFunctionEventInvokeConfig", &given)?;
        self.change_event_invoke(tx, cx, &found, &qualifier, EventInvoke::default(), &given)
    }

    pub(crate) fn update_function_event_invoke_config(
        &self,
        cx: &Cx,
        tx: &Tx,
        input: &UpdateFunctionEventInvokeConfigRequest,
    ) -> Result<FunctionEventInvokeConfig, Error> {
        let given = Given {
            function_name: &input.function_name,
            qualifier: input.qualifier.as_deref(),
            retries_max: input.maximum_retry_attempts,
            age_seconds_max: input.maximum_event_age_in_seconds,
            destinations: input.destination_config.as_ref(),
        };
        let (found, qualifier) = self.configurable(tx, cx, "lambda:UpdateFunctionEventInvokeConfig", &given)?;
        let key = found.place.event_invoke(&found.function.incarnation, &qualifier);
        let before = EVENT_INVOKES.get(tx, &key)?.ok_or_else(|| without(&found.qualified(&qualifier)))?;
        self.change_event_invoke(tx, cx, &found, &qualifier, before, &given)
    }

    fn change_event_invoke(
        &self,
        tx: &Tx,
        cx: &Cx,
        found: &Found,
        qualifier: &str,
        mut config: EventInvoke,
        given: &Given<'_>,
    ) -> Result<FunctionEventInvokeConfig, Error> {
        let number = |number: Option<i32>| number.and_then(|number| u32::try_from(number).ok());
        let destinations = given.destinations.map(|config| Destinations {
            success: config.on_success.as_ref().and_then(|one| one.destination.as_deref()),
            failure: config.on_failure.as_ref().and_then(|one| one.destination.as_deref()),
        });
        config.change(number(given.retries_max), number(given.age_seconds_max), destinations, tx.now())?;
        let role = found.latest(tx)?.configuration.role;
        for destination in config.destinations() {
            check_function(tx, cx, found, destination)?;
            self.check_target(tx, cx, &found.name, &role, destination)?;
        }
        EVENT_INVOKES.put(tx, &found.place.event_invoke(&found.function.incarnation, qualifier), &config)?;
        self.announce(tx, found, Change::Routing)?;
        Ok(described(found, qualifier, &config))
    }

    pub(crate) fn get_function_event_invoke_config(
        &self,
        cx: &Cx,
        tx: &Tx,
        input: &GetFunctionEventInvokeConfigRequest,
    ) -> Result<FunctionEventInvokeConfig, Error> {
        const ACTION: &str = "lambda:GetFunctionEventInvokeConfig";
        let named = self.name(cx, ACTION, &input.function_name, input.qualifier.as_deref())?;
        let (found, qualifier, config) = self.configured(tx, cx, ACTION, &named)?;
        Ok(described(&found, &qualifier, &config))
    }

    pub(crate) fn delete_function_event_invoke_config(
        &self,
        cx: &Cx,
        tx: &Tx,
        input: &DeleteFunctionEventInvokeConfigRequest,
    ) -> Result<(), Error> {
        const ACTION: &str = "lambda:DeleteFunctionEventInvokeConfig";
        let named = self.name(cx, ACTION, &input.function_name, input.qualifier.as_deref())?;
        let (found, qualifier, _) = self.configured(tx, cx, ACTION, &named)?;
        EVENT_INVOKES.remove(tx, &found.place.event_invoke(&found.function.incarnation, &qualifier))?;
        self.announce(tx, &found, Change::Routing)?;
        Ok(())
    }

    pub(crate) fn list_function_event_invoke_configs(
        &self,
        cx: &Cx,
        tx: &Tx,
        input: &ListFunctionEventInvokeConfigsRequest,
    ) -> Result<ListFunctionEventInvokeConfigsResponse, Error> {
        const ACTION: &str = "lambda:ListFunctionEventInvokeConfigs";
        let named = self.name(cx, ACTION, &input.function_name, None)?;
        self.authorize(cx, ACTION, &named.name)?;
        let found = self.find(tx, cx, &named.name)?.ok_or_else(missing_function)?;
        let scope = Self::scope(cx, "ListFunctionEventInvokeConfigs", &found.function.incarnation);
        let cursor = self.cursor(&scope, input.marker.as_deref())?;
        let mut page = Page::new(page_size(input.max_items));
        let range = tables::page(&found.place.event_invokes(&found.function.incarnation), cursor.as_deref());
        for (key, config) in EVENT_INVOKES.scan(tx, &range, page.room(), Direction::Forward)? {
            let qualifier = key.last_str().map_err(Fault::from)?;
            page.push(described(&found, &qualifier, &config), key.as_bytes().to_vec());
        }
        let (configs, next) = page.finish();
        let next_marker = next.map(|cursor| self.tokens.seal(&scope, &cursor));
        Ok(ListFunctionEventInvokeConfigsResponse { function_event_invoke_configs: Some(configs), next_marker })
    }

    /// What a configuration may be put on: `$LATEST`, a version or an alias that is there.
    fn configurable(&self, tx: &Tx, cx: &Cx, action: &str, given: &Given<'_>) -> Result<(Found, String), Error> {
        let named = self.name(cx, action, given.function_name, given.qualifier)?;
        self.authorize(cx, action, &named.name)?;
        if given.retries_max.is_none() && given.age_seconds_max.is_none() && given.destinations.is_none() {
            return Err(EventInvokeError::Empty.into());
        }
        let found = self.find(tx, cx, &named.name)?.ok_or_else(missing_function)?;
        found.resolve(tx, named.qualifier.as_ref()).map_err(|_| missing_function())?;
        Ok((found, label(named.qualifier.as_ref())))
    }

    fn configured(
        &self,
        tx: &Tx,
        cx: &Cx,
        action: &str,
        named: &FunctionRef,
    ) -> Result<(Found, String, EventInvoke), Error> {
        self.authorize(cx, action, &named.name)?;
        let qualifier = label(named.qualifier.as_ref());
        let none = || without(&qualified_arn(&cx.region, cx.account, &named.name, &qualifier));
        let found = self.find(tx, cx, &named.name)?.ok_or_else(none)?;
        let key = found.place.event_invoke(&found.function.incarnation, &qualifier);
        let config = EVENT_INVOKES.get(tx, &key)?.ok_or_else(none)?;
        Ok((found, qualifier, config))
    }
}

/// A destination that is a function is another function, and there.
fn check_function(tx: &Tx, cx: &Cx, found: &Found, destination: &str) -> Result<(), Error> {
    let Ok(named) = FunctionName::parse(destination) else { return Ok(()) };
    let here = named.account == Some(cx.account) && named.region.as_deref() == Some(cx.region.as_str());
    if !destination.contains(":function:") || !here {
        return Ok(());
    }
    if named.name == found.name {
        return Err(EventInvokeError::Itself.into());
    }
    match FUNCTIONS.get(tx, &found.place.function(&named.name))? {
        Some(_) => Ok(()),
        None => Err(EventInvokeError::MissingFunction(destination.to_owned()).into()),
    }
}

/// The qualifier under which a configuration is kept.
fn label(qualifier: Option<&Qualifier>) -> String {
    qualifier.unwrap_or(&Qualifier::Latest).to_string()
}

fn missing_function() -> Error {
    Error::resource_not_found_exception("The function doesn't exist.")
}

fn without(arn: &str) -> Error {
    Error::resource_not_found_exception(format!("The function {arn} doesn't have an EventInvokeConfig"))
}

fn described(found: &Found, qualifier: &str, config: &EventInvoke) -> FunctionEventInvokeConfig {
    let number = |number: Option<u32>| number.and_then(|number| i32::try_from(number).ok());
    let function = function_arn(&found.place.region, found.place.account, &found.name);
    FunctionEventInvokeConfig {
        last_modified: Some(config.modified),
        function_arn: Some(format!("{function}:{qualifier}")),
        maximum_retry_attempts: number(config.retries_max),
        maximum_event_age_in_seconds: number(config.age_seconds_max),
        destination_config: Some(DestinationConfig {
            on_success: Some(OnSuccess { destination: config.on_success.clone() }),
            on_failure: Some(OnFailure { destination: config.on_failure.clone() }),
        }),
    }
}
