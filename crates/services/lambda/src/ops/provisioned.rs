//! `PutProvisionedConcurrencyConfig`, `GetProvisionedConcurrencyConfig`, `DeleteProvisionedConcurrencyConfig`,
//! `ListProvisionedConcurrencyConfigs`. What they ask for is brought about by a reconciler ([`crate::provisioned`]).

use base_types::Fault;
use model_lambda::{
    DeleteProvisionedConcurrencyConfigRequest, Error, GetProvisionedConcurrencyConfigRequest,
    GetProvisionedConcurrencyConfigResponse, ListProvisionedConcurrencyConfigsRequest,
    ListProvisionedConcurrencyConfigsResponse, ProvisionedConcurrencyConfigListItem,
    ProvisionedConcurrencyStatusEnum as Status, PutProvisionedConcurrencyConfigRequest,
    PutProvisionedConcurrencyConfigResponse,
};
use services_kernel::Cx;
use store_api::{Direction, Tx};

use super::{
    aliases::alias_not_found,
    functions::{Page, page_size},
};
use crate::{
    control::{Control, Found, Provisioned, Resolved},
    function::{Alias, LATEST, State},
    names::Qualifier,
    provisioned::{ProvisionedConfig, ProvisionedError, shares},
    tables::{self, ALIASES, PROVISIONED, Usage},
};

impl Control {
    pub(crate) fn put_provisioned_concurrency_config(
        &self,
        cx: &Cx,
        tx: &Tx,
        input: &PutProvisionedConcurrencyConfigRequest,
    ) -> Result<PutProvisionedConcurrencyConfigResponse, Error> {
        const ACTION: &str = "lambda:PutProvisionedConcurrencyConfig";
        let (found, qualifier) = self.require(tx, cx, ACTION, &input.function_name, Some(&input.qualifier))?;
        let Some(qualifier) = qualifier.filter(|qualifier| *qualifier != Qualifier::Latest) else {
            return Err(ProvisionedError::Unpublished.into());
        };
        let resolved = existing(tx, &found, &qualifier)?;
        let configs = found.provisioned(tx)?;
        check_target(tx, &found, &resolved, &configs)?;
        let label = qualifier.to_string();
        let requested = u32::try_from(input.provisioned_concurrent_executions).unwrap_or(0);
        let before = configs.iter().find(|config| config.qualifier == label).map_or(0, |config| config.requested);
        let total = configs.iter().map(|config| config.requested).sum::<u32>() - before;
        self.check_room(tx, &found, total, before, requested)?;
        let config = ProvisionedConfig {
            account: found.place.account,
            region: found.place.region.clone(),
            name: found.name.clone(),
            incarnation: found.function.incarnation.clone(),
            qualifier: label.clone(),
            requested,
            modified: tx.now(),
        };
        PROVISIONED.put(tx, &found.place.provisioned_of(&found.function.incarnation, &label), &config)?;
        if found.function.reserved_concurrency.is_none() {
            let usage = found.place.usage(Usage::UnreservedProvisioned);
            tx.add(&usage, i64::from(requested) - i64::from(before))?;
        }
        tx.wake(&tables::all_provisioned(), usize::MAX)?;
        let told = self.told(tx, &found, &resolved, &config)?;
        Ok(PutProvisionedConcurrencyConfigResponse {
            requested_provisioned_concurrent_executions: told.requested_provisioned_concurrent_executions,
            available_provisioned_concurrent_executions: told.available_provisioned_concurrent_executions,
            allocated_provisioned_concurrent_executions: told.allocated_provisioned_concurrent_executions,
            // What is asked for is never there at once.
            status: Some(Status::InProgress),
            status_reason: None,
            last_modified: told.last_modified,
        })
    }

    /// Whether a function may have so much: `others` is what its other versions and aliases have.
    fn check_room(&self, tx: &Tx, found: &Found, others: u32, before: u32, requested: u32) -> Result<(), Error> {
        if let Some(reserved) = found.function.reserved_concurrency {
            let fits = others.saturating_add(requested) <= reserved;
            return if fits { Ok(()) } else { Err(ProvisionedError::AboveReserved.into()) };
        }
        let room = self.room(tx, &found.place)?;
        if i64::from(requested) > room.unreserved {
            return Err(ProvisionedError::AboveUnreserved(room.unreserved).into());
        }
        if room.unreserved - (room.provisioned - i64::from(before)) - i64::from(requested) < room.minimum {
            return Err(ProvisionedError::BelowMinimum(room.minimum).into());
        }
        Ok(())
    }

    pub(crate) fn get_provisioned_concurrency_config(
        &self,
        cx: &Cx,
        tx: &Tx,
        input: &GetProvisionedConcurrencyConfigRequest,
    ) -> Result<GetProvisionedConcurrencyConfigResponse, Error> {
        const ACTION: &str = "lambda:GetProvisionedConcurrencyConfig";
        let (found, resolved, label) = self.provisionable(tx, cx, ACTION, &input.function_name, &input.qualifier)?;
        let config = PROVISIONED
            .get(tx, &found.place.provisioned_of(&found.function.incarnation, &label))?
            .ok_or(ProvisionedError::None)?;
        let told = self.told(tx, &found, &resolved, &config)?;
        Ok(GetProvisionedConcurrencyConfigResponse {
            requested_provisioned_concurrent_executions: told.requested_provisioned_concurrent_executions,
            available_provisioned_concurrent_executions: told.available_provisioned_concurrent_executions,
            allocated_provisioned_concurrent_executions: told.allocated_provisioned_concurrent_executions,
            status: told.status,
            status_reason: told.status_reason,
            last_modified: told.last_modified,
        })
    }

    pub(crate) fn delete_provisioned_concurrency_config(
        &self,
        cx: &Cx,
        tx: &Tx,
        input: &DeleteProvisionedConcurrencyConfigRequest,
    ) -> Result<(), Error> {
        const ACTION: &str = "lambda:DeleteProvisionedConcurrencyConfig";
        let (found, _, label) = self.provisionable(tx, cx, ACTION, &input.function_name, &input.qualifier)?;
        // What is not there is as good as deleted.
        Ok(self.unprovision(tx, &found, &label)?)
    }

    pub(crate) fn list_provisioned_concurrency_configs(
        &self,
        cx: &Cx,
        tx: &Tx,
        input: &ListProvisionedConcurrencyConfigsRequest,
    ) -> Result<ListProvisionedConcurrencyConfigsResponse, Error> {
        const ACTION: &str = "lambda:ListProvisionedConcurrencyConfigs";
        let found = self.require_whole(tx, cx, ACTION, &input.function_name)?;
        let scope = Self::scope(cx, "ListProvisionedConcurrencyConfigs", &found.function.incarnation);
        let cursor = self.cursor(&scope, input.marker.as_deref())?;
        let mut page = Page::new(page_size(input.max_items));
        let range = tables::page(&found.place.provisioned(&found.function.incarnation), cursor.as_deref());
        for (key, config) in PROVISIONED.scan(tx, &range, page.room(), Direction::Forward)? {
            let resolved = found.resolve(tx, Some(&Qualifier::parse(&config.qualifier)))?;
            page.push(self.told(tx, &found, &resolved, &config)?, key.as_bytes().to_vec());
        }
        let (configs, next) = page.finish();
        let next_marker = next.map(|cursor| self.tokens.seal(&scope, &cursor));
        Ok(ListProvisionedConcurrencyConfigsResponse { provisioned_concurrency_configs: Some(configs), next_marker })
    }

    /// Takes the provisioned concurrency of a version or alias away, if it has any.
    pub(crate) fn unprovision(&self, tx: &Tx, found: &Found, qualifier: &str) -> Result<(), Fault> {
        let key = found.place.provisioned_of(&found.function.incarnation, qualifier);
        let Some(config) = PROVISIONED.get(tx, &key)? else { return Ok(()) };
        PROVISIONED.remove(tx, &key)?;
        if found.function.reserved_concurrency.is_none() {
            tx.add(&found.place.usage(Usage::UnreservedProvisioned), -i64::from(config.requested))?;
        }
        tx.wake(&tables::all_provisioned(), usize::MAX)
    }

    /// An alias that has provisioned concurrency is to name these versions: may it?
    pub(crate) fn check_provisioned_alias(&self, tx: &Tx, found: &Found, alias: &Alias) -> Result<(), Error> {
        let configs = found.provisioned(tx)?;
        if !configs.iter().any(|config| config.qualifier == alias.name) {
            return Ok(());
        }
        for number in std::iter::once(alias.version).chain(alias.weight.map(|(second, _)| second)) {
            let Some(version) = found.version(tx, number)? else { continue };
            check_target(tx, found, &Resolved { version, alias: Some(alias.clone()) }, &configs)?;
        }
        tx.wake(&tables::all_provisioned(), usize::MAX)?;
        Ok(())
    }

    /// A version or alias that is there, where a configuration is looked for.
    fn provisionable(
        &self,
        tx: &Tx,
        cx: &Cx,
        action: &str,
        function_name: &str,
        qualifier: &str,
    ) -> Result<(Found, Resolved, String), Error> {
        let (found, qualifier) = self.require(tx, cx, action, function_name, Some(qualifier))?;
        let Some(qualifier) = qualifier.filter(|qualifier| *qualifier != Qualifier::Latest) else {
            return Err(ProvisionedError::NotPublished.into());
        };
        let resolved = existing(tx, &found, &qualifier)?;
        Ok((found, resolved, qualifier.to_string()))
    }

    /// What AWS tells of it.
    fn told(
        &self,
        tx: &Tx,
        found: &Found,
        resolved: &Resolved,
        config: &ProvisionedConfig,
    ) -> Result<ProvisionedConcurrencyConfigListItem, Fault> {
        let mut now = Provisioned::default();
        for (number, _) in shares(resolved.version.number, resolved.alias.as_ref(), config.requested) {
            let Some(version) = found.version(tx, number)? else { continue };
            if let State::Failed { reason, .. } = &version.state {
                now.failure = Some(reason.clone());
            }
            let revision = version.run_revision(&found.function.switches);
            if let Some(part) = self.effects.provisioned(&found.arn(), &version.label(), &revision) {
                now.requested += part.requested;
                now.allocated += part.allocated;
                now.available += part.available;
                now.failure = now.failure.or(part.failure);
            }
        }
        let number = |number: u32| i32::try_from(number).ok();
        let (status, reason) = match now.failure {
            _ if now.requested > 0 && now.allocated >= config.requested => (Status::Ready, None),
            Some(reason) => (Status::Failed, Some(reason)),
            None => (Status::InProgress, None),
        };
        Ok(ProvisionedConcurrencyConfigListItem {
            function_arn: Some(found.qualified(&config.qualifier)),
            requested_provisioned_concurrent_executions: number(config.requested),
            available_provisioned_concurrent_executions: number(now.available.min(config.requested)),
            allocated_provisioned_concurrent_executions: number(now.allocated.min(config.requested)),
            status: Some(status),
            status_reason: reason,
            last_modified: Some(config.modified.to_iso8601_offset()),
        })
    }
}

fn existing(tx: &Tx, found: &Found, qualifier: &Qualifier) -> Result<Resolved, Error> {
    if let Qualifier::Alias(name) = qualifier
        && found.alias(tx, name)?.is_none()
    {
        return Err(alias_not_found(found, name));
    }
    found.resolve(tx, Some(qualifier))
}

/// Whether a version, or an alias of it, may have provisioned concurrency beside what the function has.
fn check_target(tx: &Tx, found: &Found, resolved: &Resolved, configs: &[ProvisionedConfig]) -> Result<(), Error> {
    if resolved.version.number == LATEST {
        return Err(ProvisionedError::Unpublished.into());
    }
    if resolved.version.configuration.snap_start {
        return Err(ProvisionedError::SnapStart.into());
    }
    let label = resolved.version.label();
    if resolved.alias.is_some() {
        let own = configs.iter().any(|config| config.qualifier == label);
        return if own { Err(ProvisionedError::AliasOfProvisioned.into()) } else { Ok(()) };
    }
    for config in configs {
        let alias = ALIASES.get(tx, &found.place.alias(&found.function.incarnation, &config.qualifier))?;
        if alias.is_some_and(|alias| alias.names(resolved.version.number)) {
            return Err(ProvisionedError::VersionOfAlias.into());
        }
    }
    Ok(())
}
