//! The table that a request names, by name or ARN, if the caller may do that to it.

use base_types::{AccountId, Fault, Region};
use lang_policy::{Kind, Policy as Document};
use model_dynamodb::Error;
use services_kernel::Cx;
use store_api::Tx;

use crate::{
    error::{invalid, no_resource, no_table},
    table::TableRecord,
    tables::{Rows, TABLES, table_key},
};

/// A table and where its rows are.
#[derive(Clone, Debug)]
pub(crate) struct Target {
    pub(crate) name: String,
    pub(crate) record: TableRecord,
    pub(crate) rows: Rows,
}

/// A table's name and account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Named {
    pub(crate) name: String,
    pub(crate) account: AccountId,
}

impl Named {
    /// Of a name or an ARN.
    ///
    /// # Errors
    /// When it is neither.
    pub(crate) fn of(cx: &Cx, text: &str) -> Result<Self, Error> {
        let Some(rest) = text.strip_prefix("arn:") else {
            check_name("TableName", text)?;
            return Ok(Self { name: text.to_owned(), account: cx.account });
        };
        let mut parts = rest.splitn(5, ':');
        let (_, service, region) = (parts.next(), parts.next(), parts.next());
        let account = parts.next().and_then(|account| account.parse().ok());
        let name = parts.next().and_then(|resource| resource.strip_prefix("table/"));
        let name = name.map(|name| name.split('/').next().unwrap_or_default());
        match (account, name) {
            (Some(account), Some(name)) if service == Some("dynamodb") && region == Some(cx.region.as_str()) => {
                check_name("TableName", name)?;
                Ok(Self { name: name.to_owned(), account })
            }
            _ => Err(invalid(format!("Invalid TableArn: {text}"))),
        }
    }

    pub(crate) fn arn(&self, cx: &Cx) -> base_types::Arn {
        base_types::Arn::regional("dynamodb", &cx.region, self.account, format!("table/{}", self.name))
    }
}

/// AWS's rule for names of tables and indexes.
pub(crate) fn check_name(what: &str, name: &str) -> Result<(), Error> {
    let member = || {
        let mut chars = what.chars();
        chars.next().map(|first| first.to_ascii_lowercase()).into_iter().chain(chars).collect::<String>()
    };
    if !name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b'-')) {
        return Err(Error::validation_exception(format!(
            "1 validation error detected: Value '{name}' at '{}' failed to satisfy constraint: Member must satisfy regular \
             expression pattern: [a-zA-Z0-9_.-]+",
            member()
        )));
    }
    if !(3..=255).contains(&name.len()) {
        return Err(Error::validation_exception(format!(
            "{what} must be at least 3 characters long and at most 255 characters long"
        )));
    }
    Ok(())
}

impl Target {
    /// For an operation on items.
    pub(crate) fn of_items(cx: &Cx, tx: &Tx, action: &str, table: &str) -> Result<Self, Error> {
        let named = Named::of(cx, table)?;
        let target = Self::find(cx, tx, action, named)?.filter(|target| !target.record.is_restoring());
        target.ok_or_else(no_resource)
    }

    /// For an operation on the table.
    pub(crate) fn of_table(cx: &Cx, tx: &Tx, action: &str, table: &str) -> Result<Self, Error> {
        let named = Named::of(cx, table)?;
        let name = named.name.clone();
        Self::find(cx, tx, action, named)?.ok_or_else(|| no_table(&name))
    }

    /// For an operation that changes the table: it must be whole.
    pub(crate) fn of_whole_table(cx: &Cx, tx: &Tx, action: &str, table: &str) -> Result<Self, Error> {
        let target = Self::of_table(cx, tx, action, table)?;
        if target.record.is_restoring() {
            return Err(Error::resource_in_use_exception(format!(
                "Attempt to change a resource which is still in use: Table is being created: {}",
                target.name
            )));
        }
        Ok(target)
    }

    fn find(cx: &Cx, tx: &Tx, action: &str, named: Named) -> Result<Option<Self>, Error> {
        let target = Self::load(tx, named.account, &cx.region, &named.name)?;
        let policy = target.as_ref().and_then(|target| target.record.policy.as_ref());
        // Who owns a table without a policy may do everything with it: nothing has to be evaluated.
        if policy.is_some() || !cx.owns(named.account) {
            // It was read when it was set.
            let document = policy.and_then(|policy| Document::parse(&policy.text, Kind::Resource).ok());
            cx.authorize_by::<Error>(action, &named.arn(cx), document.as_ref(), &cx.conditions())?;
        }
        Ok(target)
    }

    /// The table of this name.
    pub(crate) fn load(tx: &Tx, account: AccountId, region: &Region, name: &str) -> Result<Option<Self>, Fault> {
        let record = TABLES.get(tx, &table_key(account, region, name))?;
        Ok(record.map(|record| {
            let rows = Rows { account, region: region.clone(), id: record.id };
            Self { name: name.to_owned(), record, rows }
        }))
    }

    /// Writes the table's own record.
    pub(crate) fn save(&self, tx: &Tx) -> Result<(), Fault> {
        TABLES.put(tx, &table_key(self.rows.account, &self.rows.region, &self.name), &self.record)
    }

    /// The table's ARN.
    pub(crate) fn arn(&self) -> String {
        base_types::Arn::regional("dynamodb", &self.rows.region, self.rows.account, format!("table/{}", self.name))
            .to_string()
    }
}
