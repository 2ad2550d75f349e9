//! Schedules.

use model_scheduler::{
    ActionAfterCompletion, CreateScheduleInput, CreateScheduleOutput, DeleteScheduleInput, DeleteScheduleOutput, Error,
    GetScheduleInput, GetScheduleOutput, ListSchedulesInput, ListSchedulesOutput, ScheduleState, ScheduleSummary,
    TargetSummary, UpdateScheduleInput, UpdateScheduleOutput,
};
use services_kernel::{Cx, Quota, Quotas};
use services_ports::Operations;
use store_api::{Direction, Key, Tx};

use super::{
    definition::{Definition, shown_target, shown_window},
    groups::{find_group, open_group},
    remember, replayed,
};
use crate::{
    Scheduler,
    error::{invalid, no_group, no_schedule},
    names::{Named, Place},
    tables::{self, SCHEDULES, Schedule},
};

/// AWS's default.
const SCHEDULES_MAX: Quota = Quota { name: "scheduler.schedules", default: 1_000_000 };
/// How many a listing gives unless asked for fewer.
const PAGE: i32 = 100;
/// Rows that one listing looks at; it goes on with its token.
const LOOKED_AT_MAX: usize = 2_000;

impl<O: Operations> Scheduler<O> {
    pub(crate) fn create(&self, cx: &Cx, tx: &Tx, input: &CreateScheduleInput) -> Result<CreateScheduleOutput, Error> {
        let named = Named::of(cx, input.group_name.as_deref(), &input.name);
        let arn = named.arn();
        cx.authorize::<Error>(tx, "scheduler:CreateSchedule", &arn)?;
        let (operation, token) = ("scheduler.CreateSchedule", input.client_token.as_deref());
        let request = format!("{input:?}");
        if let Some(schedule_arn) = replayed(tx, cx, operation, token, &request)? {
            return Ok(CreateScheduleOutput { schedule_arn });
        }
        let (schedule, plan) = self.define(cx, tx.now(), &Definition::from(input), None)?;
        open_group(tx, &named.place, &named.group)?;
        let key = tables::schedule_key(&named);
        if tx.get(&key)?.is_some() {
            return Err(Error::conflict_exception(format!("Schedule {} already exists.", input.name)));
        }
        let most = Quotas::get(tx, cx, SCHEDULES_MAX)?;
        if u64::try_from(tables::count(tx, &named.place)?).unwrap_or(0) >= most {
            return Err(Error::service_quota_exceeded_exception(format!(
                "The account has reached the limit of {most} schedules."
            )));
        }
        tables::counted(tx, &named.place, 1)?;
        tables::put_input(tx, &named, input.target.input.as_deref())?;
        SCHEDULES.put(tx, &key, &schedule)?;
        tables::file(tx, &named, plan.first(tx.now()).filter(|_| schedule.enabled))?;
        let schedule_arn = arn.to_string();
        remember(tx, cx, operation, token, &request, &schedule_arn)?;
        Ok(CreateScheduleOutput { schedule_arn })
    }

    pub(crate) fn update(&self, cx: &Cx, tx: &Tx, input: &UpdateScheduleInput) -> Result<UpdateScheduleOutput, Error> {
        let named = Named::of(cx, input.group_name.as_deref(), &input.name);
        let arn = named.arn();
        cx.authorize::<Error>(tx, "scheduler:UpdateSchedule", &arn)?;
        let (operation, token) = ("scheduler.UpdateSchedule", input.client_token.as_deref());
        let request = format!("{input:?}");
        if let Some(schedule_arn) = replayed(tx, cx, operation, token, &request)? {
            return Ok(UpdateScheduleOutput { schedule_arn });
        }
        let (key, before) = find(tx, &named)?;
        // AWS: what is not given takes its default; nothing of the old definition is kept.
        let (schedule, plan) = self.define(cx, tx.now(), &Definition::from(input), Some(&before))?;
        open_group(tx, &named.place, &named.group)?;
        tables::put_input(tx, &named, input.target.input.as_deref())?;
        SCHEDULES.put(tx, &key, &schedule)?;
        tables::file(tx, &named, plan.first(tx.now()).filter(|_| schedule.enabled))?;
        let schedule_arn = arn.to_string();
        remember(tx, cx, operation, token, &request, &schedule_arn)?;
        Ok(UpdateScheduleOutput { schedule_arn })
    }

    pub(crate) fn delete(&self, cx: &Cx, tx: &Tx, input: &DeleteScheduleInput) -> Result<DeleteScheduleOutput, Error> {
        let named = Named::of(cx, input.group_name.as_deref(), &input.name);
        cx.authorize::<Error>(tx, "scheduler:DeleteSchedule", &named.arn())?;
        find(tx, &named)?;
        tables::remove_schedule(tx, &named)?;
        Ok(DeleteScheduleOutput {})
    }

    pub(crate) fn get(&self, cx: &Cx, tx: &Tx, input: &GetScheduleInput) -> Result<GetScheduleOutput, Error> {
        let named = Named::of(cx, input.group_name.as_deref(), &input.name);
        cx.authorize::<Error>(tx, "scheduler:GetSchedule", &named.arn())?;
        let (_, schedule) = find(tx, &named)?;
        let given = tables::input(tx, &named)?;
        Ok(GetScheduleOutput {
            arn: Some(named.arn().to_string()),
            group_name: Some(named.group),
            name: Some(named.name),
            state: Some(state(&schedule)),
            target: Some(shown_target(&schedule.target, given)),
            flexible_time_window: Some(shown_window(schedule.window)),
            action_after_completion: Some(if schedule.delete_after {
                ActionAfterCompletion::Delete
            } else {
                ActionAfterCompletion::None
            }),
            schedule_expression: Some(schedule.expression),
            start_date: schedule.start,
            end_date: schedule.end,
            description: schedule.description,
            schedule_expression_timezone: Some(schedule.zone),
            creation_date: Some(schedule.created),
            last_modification_date: Some(schedule.modified),
            kms_key_arn: schedule.kms_key,
        })
    }

    pub(crate) fn list(&self, cx: &Cx, tx: &Tx, input: &ListSchedulesInput) -> Result<ListSchedulesOutput, Error> {
        let place = Place::of(cx);
        let group = input.group_name.as_deref();
        cx.authorize::<Error>(tx, "scheduler:ListSchedules", &place.schedule_arn(group.unwrap_or("*"), "*"))?;
        if let Some(group) = group {
            find_group(tx, &place, group)?.ok_or_else(|| no_group(group))?;
        }
        let prefix = input.name_prefix.as_deref().unwrap_or_default();
        let wanted_state = input.state.map_or("", ScheduleState::as_str);
        let scope =
            [cx.account.as_str(), cx.region.as_str(), "ListSchedules", group.unwrap_or_default(), prefix, wanted_state];
        let all = match group {
            Some(group) => tables::schedules_of(&place).str(group),
            None => tables::schedules_of(&place),
        };
        let mut range = all.prefix();
        if let Some(token) = &input.next_token {
            let cursor = self.tokens.open(&scope, token).map_err(|_| invalid("Invalid NextToken."))?;
            range = range.after(&Key::from_encoded(&cursor));
        }
        let wanted = usize::try_from(input.max_results.unwrap_or(PAGE)).unwrap_or(1);
        let mut schedules = Vec::new();
        let mut looked_at = 0;
        let mut last = None;
        for (key, schedule) in SCHEDULES.scan(tx, &range, LOOKED_AT_MAX, Direction::Forward)? {
            if schedules.len() == wanted {
                break;
            }
            looked_at += 1;
            let (group, name) = tables::group_and_name(&key)?;
            last = Some(key);
            if name.starts_with(prefix) && input.state.is_none_or(|wanted| wanted == state(&schedule)) {
                schedules.push(summary(&Named { place: place.clone(), group, name }, &schedule));
            }
        }
        let more = match &last {
            Some(last) if schedules.len() == wanted || looked_at == LOOKED_AT_MAX => {
                !tx.scan(&range.after(last), 1, Direction::Forward)?.is_empty()
            }
            _ => false,
        };
        let next_token = last.filter(|_| more).map(|key| self.tokens.seal(&scope, key.as_bytes()));
        Ok(ListSchedulesOutput { next_token, schedules })
    }
}

fn find(tx: &Tx, named: &Named) -> Result<(Key, Schedule), Error> {
    find_group(tx, &named.place, &named.group)?.ok_or_else(|| no_group(&named.group))?;
    let key = tables::schedule_key(named);
    let schedule = SCHEDULES.get(tx, &key)?.ok_or_else(|| no_schedule(&named.name))?;
    Ok((key, schedule))
}

fn state(schedule: &Schedule) -> ScheduleState {
    if schedule.enabled { ScheduleState::Enabled } else { ScheduleState::Disabled }
}

fn summary(named: &Named, schedule: &Schedule) -> ScheduleSummary {
    ScheduleSummary {
        arn: Some(named.arn().to_string()),
        name: Some(named.name.clone()),
        group_name: Some(named.group.clone()),
        state: Some(state(schedule)),
        creation_date: Some(schedule.created),
        last_modification_date: Some(schedule.modified),
        target: Some(TargetSummary { arn: schedule.target.arn.clone() }),
    }
}
