//! Log groups: create, delete, describe.

use model_logs::{
    CreateLogGroupRequest, DeleteLogGroupRequest, DescribeLogGroupsRequest, DescribeLogGroupsResponse, Error, LogGroup,
    LogGroupClass, PutLogGroupDeletionProtectionRequest,
};
use services_kernel::{Audit, Cx, Tags};
use store_api::Tx;
use store_segments::GroupId;

use crate::{
    CloudWatchLogs,
    error::{group_exists, invalid},
    names,
    ops::{find_group, tags},
    tables::{Group, NamedGroup, Place},
};

const PAGE_MAX: usize = 50;
/// How many groups one call looks at to find those that a pattern names.
const EXAMINED_MAX: usize = 10_000;

impl CloudWatchLogs {
    pub(crate) fn create_group(&self, cx: &Cx, tx: &Tx, input: &CreateLogGroupRequest) -> Result<(), Error> {
        let name = &input.log_group_name;
        names::check_group(name)?;
        cx.authorize::<Error>(tx, "logs:CreateLogGroup", &names::group_resource(cx, name))?;
        if Place::of(cx).group(tx, name)?.is_some() {
            return Err(group_exists());
        }
        let group = Group {
            id: self.new_id(),
            created: tx.now(),
            retention_days: None,
            kms_key_id: input.kms_key_id.clone(),
            deletion_protected: input.deletion_protection_enabled.unwrap_or(false),
        };
        Place::of(cx).put_group(tx, name, &group)?;
        tags::put(tx, cx, name, input.tags.iter().flatten())
    }

    pub(crate) async fn delete_group(&self, cx: &Cx, input: DeleteLogGroupRequest) -> Result<(), Error> {
        let (logs, cx, name) = (self.clone(), cx.clone(), input.log_group_name);
        self.store
            .transact(move |tx| {
                logs.delete_group_in(&cx, tx, &name)?;
                Ok(Audit::record(tx, &cx, "logs:DeleteLogGroup")?)
            })
            .await
    }

    pub(crate) fn protect_group(
        &self,
        cx: &Cx,
        tx: &Tx,
        input: &PutLogGroupDeletionProtectionRequest,
    ) -> Result<(), Error> {
        let name = names::of_identifier(cx, &input.log_group_identifier)?;
        let mut group = find_group(tx, cx, "logs:PutLogGroupDeletionProtection", &name)?;
        group.deletion_protected = input.deletion_protection_enabled;
        Ok(Place::of(cx).put_group(tx, &name, &group)?)
    }

    fn delete_group_in(&self, cx: &Cx, tx: &Tx, name: &str) -> Result<(), Error> {
        let group = find_group(tx, cx, "logs:DeleteLogGroup", name)?;
        if group.deletion_protected {
            return Err(Error::validation_exception(format!(
                "The log group {name} cannot be deleted because deletion protection is enabled for it."
            )));
        }
        Place::of(cx).remove_group(tx, name, &group)?;
        Tags::clear(tx, cx, &names::group_arn(cx, name).to_string())?;
        let deleted = self.deleted.clone();
        Ok(tx.on_commit(move || deleted.insert(u128::from_be_bytes(group.id)))?)
    }

    pub(crate) fn describe_groups(
        &self,
        cx: &Cx,
        tx: &Tx,
        input: &DescribeLogGroupsRequest,
    ) -> Result<DescribeLogGroupsResponse, Error> {
        cx.authorize::<Error>(tx, "logs:DescribeLogGroups", &names::group_resource(cx, ""))?;
        let (prefix, pattern) = (input.log_group_name_prefix.as_deref(), input.log_group_name_pattern.as_deref());
        if prefix.is_some() && pattern.is_some() {
            return Err(invalid("LogGroup name prefix and LogGroup name pattern are mutually exclusive parameters."));
        }
        prefix.map_or(Ok(()), names::check_prefix)?;
        // Every group here is of the standard class.
        if input.log_group_class.is_some_and(|class| class != LogGroupClass::Standard) {
            return Ok(DescribeLogGroupsResponse { log_groups: Some(Vec::new()), next_token: None });
        }
        if let Some(identifiers) = input.log_group_identifiers.as_deref().filter(|names| !names.is_empty()) {
            return self.describe_named_groups(cx, tx, identifiers);
        }
        let limit = input.limit.and_then(|limit| usize::try_from(limit).ok()).unwrap_or(PAGE_MAX).clamp(1, PAGE_MAX);
        let scope = ["DescribeLogGroups", prefix.unwrap_or(""), pattern.unwrap_or("")];
        let mut after = self.unseal_name(cx, &scope, input.next_token.as_deref())?;
        let (mut groups, mut examined, mut more) = (Vec::new(), 0, true);
        while more && groups.len() < limit && examined < EXAMINED_MAX {
            let found = Place::of(cx).groups(tx, prefix.unwrap_or(""), after.as_deref(), limit + 1)?;
            more = found.len() > limit;
            examined += found.len();
            for group in found.into_iter().take(limit) {
                if groups.len() == limit {
                    more = true;
                    break;
                }
                after = Some(group.0.clone());
                if pattern.is_none_or(|pattern| group.0.contains(pattern)) {
                    groups.push(self.described(cx, group));
                }
            }
        }
        let next_token = after.filter(|_| more).map(|after| self.seal(cx, &scope, after.as_bytes()));
        Ok(DescribeLogGroupsResponse { log_groups: Some(groups), next_token })
    }

    fn describe_named_groups(
        &self,
        cx: &Cx,
        tx: &Tx,
        identifiers: &[String],
    ) -> Result<DescribeLogGroupsResponse, Error> {
        let mut groups = Vec::new();
        for identifier in identifiers.iter().take(PAGE_MAX) {
            let name = names::of_identifier(cx, identifier)?;
            if let Some(group) = Place::of(cx).group(tx, &name)? {
                groups.push(self.described(cx, (name, group)));
            }
        }
        Ok(DescribeLogGroupsResponse { log_groups: Some(groups), next_token: None })
    }

    fn described(&self, cx: &Cx, (name, group): NamedGroup) -> LogGroup {
        let arn = names::group_arn(cx, &name).to_string();
        let id = GroupId(u128::from_be_bytes(group.id));
        let stored_bytes = self.stored_bytes.read().get(&id).copied().unwrap_or(0);
        LogGroup {
            log_group_name: Some(name),
            creation_time: Some(group.created.as_millis().cast_signed()),
            retention_in_days: group.retention_days.map(u32::cast_signed),
            metric_filter_count: Some(0),
            arn: Some(format!("{arn}:*")),
            stored_bytes: Some(stored_bytes.cast_signed()),
            kms_key_id: group.kms_key_id,
            log_group_class: Some(LogGroupClass::Standard),
            log_group_arn: Some(arn),
            deletion_protection_enabled: Some(group.deletion_protected),
            ..LogGroup::default()
        }
    }
}
