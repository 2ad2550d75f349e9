//! `CreateAlias`, `GetAlias`, `UpdateAlias`, `DeleteAlias`, `ListAliases`.

use model_lambda::{
    AliasConfiguration, AliasRoutingConfiguration, CreateAliasRequest, DeleteAliasRequest, Error, GetAliasRequest,
    ListAliasesRequest, ListAliasesResponse, UpdateAliasRequest,
};
use services_kernel::Cx;
use store_api::{Direction, Tx};

use super::functions::{Page, page_size};
use crate::{
    control::{Change, Control, Found},
    describe,
    error::function_not_found,
    function::{Alias, ChangeError, LATEST},
    names::Qualifier,
    tables::{self, ALIASES},
};

impl Control {
    pub(crate) fn create_alias(
        &self,
        cx: &Cx,
        tx: &Tx,
        input: &CreateAliasRequest,
    ) -> Result<AliasConfiguration, Error> {
        let found = self.require_whole(tx, cx, "lambda:CreateAlias", &input.function_name)?;
        let version = existing_version(tx, &found, &input.function_version)?;
        let weight = routing(tx, &found, version, input.routing_config.as_ref())?;
        if found.alias(tx, &input.name)?.is_some() {
            let arn = found.qualified(&input.name);
            return Err(Error::resource_conflict_exception(format!("Alias already exists: {arn}")));
        }
        let alias = Alias {
            name: input.name.clone(),
            version,
            description: input.description.clone().unwrap_or_default(),
            weight,
            revision: self.env.uuid(),
        };
        self.put_alias(tx, &found, &alias)
    }

    pub(crate) fn get_alias(&self, cx: &Cx, tx: &Tx, input: &GetAliasRequest) -> Result<AliasConfiguration, Error> {
        let (found, _) = self.require(tx, cx, "lambda:GetAlias", &input.function_name, None)?;
        let alias = found.alias(tx, &input.name)?.ok_or_else(|| alias_not_found(&found, &input.name))?;
        Ok(describe::alias(&found.place, &found.name, &alias))
    }

    pub(crate) fn update_alias(
        &self,
        cx: &Cx,
        tx: &Tx,
        input: &UpdateAliasRequest,
    ) -> Result<AliasConfiguration, Error> {
        let found = self.require_whole(tx, cx, "lambda:UpdateAlias", &input.function_name)?;
        let mut alias = found.alias(tx, &input.name)?.ok_or_else(|| {
            Error::resource_not_found_exception(format!("Alias not found: {}", found.qualified(&input.name)))
        })?;
        if input.revision_id.as_ref().is_some_and(|given| *given != alias.revision) {
            return Err(ChangeError::Revision.into());
        }
        if let Some(text) = &input.function_version {
            alias.version = existing_version(tx, &found, text)?;
        }
        if let Some(description) = &input.description {
            alias.description.clone_from(description);
        }
        match &input.routing_config {
            Some(config) => alias.weight = routing(tx, &found, alias.version, Some(config))?,
            // A version that was a second one becomes the only one.
            None if alias.weight.is_some_and(|(other, _)| other == alias.version) => alias.weight = None,
            None => {}
        }
        alias.revision = self.env.uuid();
        self.check_provisioned_alias(tx, &found, &alias)?;
        self.put_alias(tx, &found, &alias)
    }

    fn put_alias(&self, tx: &Tx, found: &Found, alias: &Alias) -> Result<AliasConfiguration, Error> {
        ALIASES.put(tx, &found.place.alias(&found.function.incarnation, &alias.name), alias)?;
        self.announce(tx, found, Change::Routing)?;
        Ok(describe::alias(&found.place, &found.name, alias))
    }

    pub(crate) fn delete_alias(&self, cx: &Cx, tx: &Tx, input: &DeleteAliasRequest) -> Result<(), Error> {
        let found = self.require_whole(tx, cx, "lambda:DeleteAlias", &input.function_name)?;
        // What is not there is as good as deleted. Its URL stays and refuses everybody, as AWS has it.
        ALIASES.remove(tx, &found.place.alias(&found.function.incarnation, &input.name))?;
        tx.delete(&found.place.policy(&found.function.incarnation, Some(&input.name)))?;
        tx.delete(&found.place.event_invoke(&found.function.incarnation, &input.name))?;
        self.unprovision(tx, &found, &input.name)?;
        self.announce(tx, &found, Change::Routing)?;
        Ok(())
    }

    pub(crate) fn list_aliases(
        &self,
        cx: &Cx,
        tx: &Tx,
        input: &ListAliasesRequest,
    ) -> Result<ListAliasesResponse, Error> {
        let (found, _) = self.require(tx, cx, "lambda:ListAliases", &input.function_name, None)?;
        let only = input.function_version.as_deref().map(parse_version).transpose()?;
        let version = input.function_version.as_deref().unwrap_or_default();
        let of = format!("{}:{version}", found.function.incarnation);
        let scope = Self::scope(cx, "ListAliases", &of);
        let cursor = self.cursor(&scope, input.marker.as_deref())?;
        let mut page = Page::new(page_size(input.max_items));
        let range = tables::page(&found.place.aliases(&found.function.incarnation), cursor.as_deref());
        for (key, alias) in ALIASES.scan(tx, &range, usize::MAX, Direction::Forward)? {
            if only.is_none_or(|version| alias.names(version)) {
                page.push(describe::alias(&found.place, &found.name, &alias), key.as_bytes().to_vec());
            }
        }
        let (aliases, next) = page.finish();
        let next_marker = next.map(|cursor| self.tokens.seal(&scope, &cursor));
        Ok(ListAliasesResponse { aliases: Some(aliases), next_marker })
    }
}

fn parse_version(text: &str) -> Result<u64, Error> {
    match Qualifier::parse(text) {
        Qualifier::Latest => Ok(LATEST),
        Qualifier::Version(number) if number != LATEST => Ok(number),
        _ => Err(Error::invalid_parameter_value_exception(format!("Invalid function version {text}"))),
    }
}

fn existing_version(tx: &Tx, found: &Found, text: &str) -> Result<u64, Error> {
    let number = parse_version(text)?;
    match found.version(tx, number)? {
        Some(_) => Ok(number),
        None => Err(function_not_found(&found.qualified(&text))),
    }
}

fn routing(
    tx: &Tx,
    found: &Found,
    version: u64,
    config: Option<&AliasRoutingConfiguration>,
) -> Result<Option<(u64, f64)>, Error> {
    let mut weights = Vec::new();
    for (text, &weight) in config.and_then(|config| config.additional_version_weights.as_ref()).into_iter().flatten() {
        weights.push((existing_version(tx, found, text)?, weight));
    }
    Ok(Alias::routing(version, &weights)?)
}

pub(crate) fn alias_not_found(found: &Found, name: &str) -> Error {
    Error::resource_not_found_exception(format!("Cannot find alias arn: {}", found.qualified(&name)))
}
