//! Groups.

use base_types::Fault;
use model_scheduler::{
    CreateScheduleGroupInput, CreateScheduleGroupOutput, DeleteScheduleGroupInput, DeleteScheduleGroupOutput, Error,
    GetScheduleGroupInput, GetScheduleGroupOutput, ListScheduleGroupsInput, ListScheduleGroupsOutput,
    ScheduleGroupState, ScheduleGroupSummary,
};
use services_kernel::{Cx, Quota, Quotas};
use services_ports::Operations;
use store_api::{Direction, Tx};

use super::{remember, replayed, tags};
use crate::{
    Scheduler,
    error::{deleting, invalid, no_group},
    names::{DEFAULT_GROUP, Place},
    tables::{self, GROUPS, Group},
};

/// AWS's default.
const GROUPS_MAX: Quota = Quota { name: "scheduler.schedule-groups", default: 500 };
/// How many a listing gives unless asked for fewer.
const PAGE: i32 = 100;

/// A group and when it was made; the default one is there before it is made.
pub(crate) fn find_group(tx: &Tx, place: &Place, name: &str) -> Result<Option<Option<Group>>, Fault> {
    let found = GROUPS.get(tx, &tables::group_key(place, name))?;
    Ok(match found {
        Some(group) => Some(Some(group)),
        None if name == DEFAULT_GROUP => Some(None),
        None => None,
    })
}

/// A group that schedules may be put into; the default one is made with its first schedule.
pub(crate) fn open_group(tx: &Tx, place: &Place, name: &str) -> Result<(), Error> {
    match find_group(tx, place, name)? {
        Some(Some(group)) if group.deleting => Err(deleting(name)),
        Some(Some(_)) => Ok(()),
        Some(None) => {
            let group = Group { created: tx.now(), modified: tx.now(), deleting: false };
            Ok(GROUPS.put(tx, &tables::group_key(place, name), &group)?)
        }
        None => Err(no_group(name)),
    }
}

fn state(group: Option<&Group>) -> ScheduleGroupState {
    match group {
        Some(group) if group.deleting => ScheduleGroupState::Deleting,
        _ => ScheduleGroupState::Active,
    }
}

impl<O: Operations> Scheduler<O> {
    pub(crate) fn create_group(
        &self,
        cx: &Cx,
        tx: &Tx,
        input: &CreateScheduleGroupInput,
    ) -> Result<CreateScheduleGroupOutput, Error> {
        let place = Place::of(cx);
        let arn = place.group_arn(&input.name);
        cx.authorize::<Error>(tx, "scheduler:CreateScheduleGroup", &arn)?;
        let (operation, token) = ("scheduler.CreateScheduleGroup", input.client_token.as_deref());
        let request = format!("{input:?}");
        if let Some(schedule_group_arn) = replayed(tx, cx, operation, token, &request)? {
            return Ok(CreateScheduleGroupOutput { schedule_group_arn });
        }
        if find_group(tx, &place, &input.name)?.is_some() {
            return Err(Error::conflict_exception(format!("Schedule group {} already exists.", input.name)));
        }
        let most = Quotas::get(tx, cx, GROUPS_MAX)?;
        let all = tables::groups_of(&place).prefix();
        let known = tx.scan(&all, usize::try_from(most).unwrap_or(usize::MAX), Direction::Forward)?.len();
        if u64::try_from(known).is_ok_and(|known| known >= most) {
            return Err(Error::service_quota_exceeded_exception(format!(
                "The account has reached the limit of {most} schedule groups."
            )));
        }
        let group = Group { created: tx.now(), modified: tx.now(), deleting: false };
        GROUPS.put(tx, &tables::group_key(&place, &input.name), &group)?;
        let schedule_group_arn = arn.to_string();
        tags::put(tx, cx, &schedule_group_arn, input.tags.as_deref().unwrap_or_default())?;
        remember(tx, cx, operation, token, &request, &schedule_group_arn)?;
        Ok(CreateScheduleGroupOutput { schedule_group_arn })
    }

    pub(crate) fn delete_group(
        &self,
        cx: &Cx,
        tx: &Tx,
        input: &DeleteScheduleGroupInput,
    ) -> Result<DeleteScheduleGroupOutput, Error> {
        let place = Place::of(cx);
        cx.authorize::<Error>(tx, "scheduler:DeleteScheduleGroup", &place.group_arn(&input.name))?;
        if input.name == DEFAULT_GROUP {
            return Err(invalid("The default schedule group cannot be deleted."));
        }
        let key = tables::group_key(&place, &input.name);
        let group = GROUPS.get(tx, &key)?.ok_or_else(|| no_group(&input.name))?;
        if !group.deleting {
            GROUPS.put(tx, &key, &Group { deleting: true, modified: tx.now(), ..group })?;
            tables::mark_deleting(tx, &place, &input.name)?;
        }
        Ok(DeleteScheduleGroupOutput {})
    }

    pub(crate) fn get_group(
        &self,
        cx: &Cx,
        tx: &Tx,
        input: &GetScheduleGroupInput,
    ) -> Result<GetScheduleGroupOutput, Error> {
        let place = Place::of(cx);
        let arn = place.group_arn(&input.name);
        cx.authorize::<Error>(tx, "scheduler:GetScheduleGroup", &arn)?;
        let group = find_group(tx, &place, &input.name)?.ok_or_else(|| no_group(&input.name))?;
        Ok(GetScheduleGroupOutput {
            arn: Some(arn.to_string()),
            name: Some(input.name.clone()),
            state: Some(state(group.as_ref())),
            creation_date: group.as_ref().map(|group| group.created),
            last_modification_date: group.as_ref().map(|group| group.modified),
        })
    }

    pub(crate) fn list_groups(
        &self,
        cx: &Cx,
        tx: &Tx,
        input: &ListScheduleGroupsInput,
    ) -> Result<ListScheduleGroupsOutput, Error> {
        let place = Place::of(cx);
        cx.authorize::<Error>(tx, "scheduler:ListScheduleGroups", &place.group_arn("*"))?;
        let prefix = input.name_prefix.as_deref().unwrap_or_default();
        let scope = [cx.account.as_str(), cx.region.as_str(), "ListScheduleGroups", prefix];
        let cursor = match &input.next_token {
            Some(token) => self.tokens.open(&scope, token).map_err(|_| invalid("Invalid NextToken."))?,
            None => Vec::new(),
        };
        let cursor = String::from_utf8(cursor).map_err(|_| invalid("Invalid NextToken."))?;
        // There are few: AWS's limit is 500.
        let most = usize::try_from(Quotas::get(tx, cx, GROUPS_MAX)?).unwrap_or(usize::MAX);
        let mut all: Vec<(String, Option<Group>)> = Vec::new();
        for (key, group) in GROUPS.scan(tx, &tables::groups_of(&place).prefix(), most + 1, Direction::Forward)? {
            all.push((key.last_str().map_err(Fault::from)?, Some(group)));
        }
        if !all.iter().any(|(name, _)| name == DEFAULT_GROUP) {
            all.push((DEFAULT_GROUP.to_owned(), None));
            all.sort_by(|(a, _), (b, _)| a.cmp(b));
        }
        let wanted = usize::try_from(input.max_results.unwrap_or(PAGE)).unwrap_or(1);
        let mut page: Vec<_> = all
            .into_iter()
            .filter(|(name, _)| name.starts_with(prefix) && name.as_str() > cursor.as_str())
            .take(wanted + 1)
            .collect();
        let more = page.len() > wanted;
        page.truncate(wanted);
        let next_token = page.last().filter(|_| more).map(|(name, _)| self.tokens.seal(&scope, name.as_bytes()));
        let schedule_groups = page
            .into_iter()
            .map(|(name, group)| ScheduleGroupSummary {
                arn: Some(place.group_arn(&name).to_string()),
                name: Some(name),
                state: Some(state(group.as_ref())),
                creation_date: group.as_ref().map(|group| group.created),
                last_modification_date: group.as_ref().map(|group| group.modified),
            })
            .collect();
        Ok(ListScheduleGroupsOutput { next_token, schedule_groups })
    }
}
