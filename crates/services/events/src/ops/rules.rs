//! Rules: put, describe, list, enable, disable, delete; `TestEventPattern`.

use std::sync::Arc;

use lang_eventpattern::{Dialect, Event as Document, EventPattern};
use lang_schedule::{Dialect as ScheduleDialect, Schedule};
use model_events::{
    DeleteRuleRequest, DescribeRuleRequest, DescribeRuleResponse, DisableRuleRequest, EnableRuleRequest, Error,
    ListRulesRequest, ListRulesResponse, PutRuleRequest, PutRuleResponse, Rule as Shown, RuleState,
    TestEventPatternRequest, TestEventPatternResponse,
};
use serde_json::Value;
use services_kernel::{Cx, Quotas, Tags};
use store_api::{Direction, Tx};

use super::{RULES as RULES_MAX, buses::permitted_on, pages::Asked, tags};
use crate::{
    EventBridge,
    error::{bad_parameter, bad_pattern, invalid, no_rule, too_many},
    index::{Change, Matched},
    names::{BusName, DEFAULT_BUS},
    schedules,
    tables::{DUE, RULES, Rule, TARGETS},
};

/// Bytes that the rules of a bus may have together: what is read when they are compiled.
const RULES_BYTES_MAX: i64 = 24 << 20;
/// What a rule counts for beside its pattern.
const RULE_OVERHEAD_BYTES: usize = 600;

/// The rule, if it is there and the caller may do this to it.
pub(crate) fn find(cx: &Cx, tx: &Tx, bus: &BusName, name: &str, action: &str) -> Result<Rule, Error> {
    permitted_on(cx, tx, bus, action, &bus.rule_arn(name))?;
    RULES.require(tx, &bus.rule(name), || no_rule(name, &bus.name))
}

/// Objects to a change of a rule that another service manages.
pub(crate) fn check_manager(rule: &Rule, name: &str, force: bool) -> Result<(), Error> {
    match &rule.managed_by {
        Some(manager) if !force => Err(Error::managed_rule_exception(format!(
            "Rule {name} is managed by {manager} and can be changed only by it."
        ))),
        _ => Ok(()),
    }
}

impl EventBridge {
    pub(crate) fn set_rule(&self, cx: &Cx, tx: &Tx, input: &PutRuleRequest) -> Result<PutRuleResponse, Error> {
        let bus = BusName::given(cx, input.event_bus_name.as_deref())?;
        let arn = bus.rule_arn(&input.name);
        permitted_on(cx, tx, &bus, "events:PutRule", &arn)?;
        let before = RULES.get(tx, &bus.rule(&input.name))?;
        if let Some(before) = &before {
            check_manager(before, &input.name, false)?;
        }
        if input.event_pattern.is_none() && input.schedule_expression.is_none() {
            return Err(invalid("Parameter(s) EventPattern or ScheduleExpression must be specified."));
        }
        let pattern = input.event_pattern.as_deref().map(parse).transpose()?;
        if let Some(schedule) = &input.schedule_expression {
            if bus.name != DEFAULT_BUS {
                return Err(invalid("ScheduleExpression is supported only on the default event bus."));
            }
            Schedule::parse(schedule, ScheduleDialect::Rules).map_err(|_| bad_parameter("ScheduleExpression", None))?;
        }
        let state = input.state.unwrap_or(RuleState::Enabled).as_str().to_owned();
        let since = match &before {
            Some(before) if before.schedule == input.schedule_expression && before.is_enabled() => before.since,
            _ => tx.now(),
        };
        let rule = Rule {
            pattern: input.event_pattern.clone(),
            schedule: input.schedule_expression.clone(),
            state,
            description: input.description.clone(),
            role: input.role_arn.clone(),
            managed_by: None,
            created_by: before.as_ref().map_or_else(|| cx.account.to_string(), |before| before.created_by.clone()),
            since,
            next: None,
            archive: None,
            bytes: 0,
        };
        self.store_rule(cx, tx, (&bus, &input.name), before.as_ref(), rule, pattern)?;
        if before.is_none() {
            tags::put(tx, cx, &arn.to_string(), input.tags.iter().flatten())?;
        }
        Ok(PutRuleResponse { rule_arn: Some(arn.to_string()) })
    }

    /// Writes a rule in place of what was there, with all that follows.
    pub(crate) fn store_rule(
        &self,
        cx: &Cx,
        tx: &Tx,
        (bus, name): (&BusName, &str),
        before: Option<&Rule>,
        mut rule: Rule,
        pattern: Option<EventPattern>,
    ) -> Result<(), Error> {
        let length = |text: &Option<String>| text.as_ref().map_or(0, String::len);
        let bytes = RULE_OVERHEAD_BYTES + length(&rule.pattern) + length(&rule.description);
        rule.bytes = bytes as u64;
        let (old, new) = (signed(before.map_or(0, |before| before.bytes)), signed(rule.bytes));
        let [counts, sizes] = bus.rule_counters();
        if before.is_none() {
            let most = signed(Quotas::get(tx, cx, RULES_MAX)?);
            if tx.counter(&counts)? >= most {
                return Err(too_many());
            }
            tx.add(&counts, 1)?;
        }
        if new > old && tx.counter(&sizes)? + new - old > RULES_BYTES_MAX {
            return Err(Error::limit_exceeded_exception(format!(
                "The rules of event bus {} are larger than {RULES_BYTES_MAX} bytes.",
                bus.name
            )));
        }
        tx.add(&sizes, new - old)?;
        rule.next = before.and_then(|before| before.next);
        schedules::file(tx, bus, name, &mut rule, tx.now())?;
        RULES.put(tx, &bus.rule(name), &rule)?;
        let same = before.is_some_and(|before| {
            before.pattern == rule.pattern && before.is_enabled() == rule.is_enabled() && before.archive == rule.archive
        });
        if same {
            return Ok(());
        }
        let matched = Matched::new(name, rule.archive.as_deref());
        let change = match pattern {
            Some(pattern) if rule.is_enabled() => Change::Put(matched, Arc::new(pattern)),
            _ => Change::Removed(matched),
        };
        Ok(self.index.change(tx, bus, self.env.below(u64::MAX - 1) + 1, change)?)
    }

    /// Removes a rule that has no targets any more.
    pub(crate) fn remove_rule(&self, tx: &Tx, bus: &BusName, name: &str, rule: &Rule) -> Result<(), Error> {
        if let Some(due) = rule.next {
            DUE.remove(tx, &bus.due(name, due))?;
        }
        let [counts, sizes] = bus.rule_counters();
        tx.add(&counts, -1)?;
        tx.add(&sizes, -signed(rule.bytes))?;
        RULES.remove(tx, &bus.rule(name))?;
        let removed = Change::Removed(Matched::new(name, rule.archive.as_deref()));
        Ok(self.index.change(tx, bus, self.env.below(u64::MAX - 1) + 1, removed)?)
    }

    pub(crate) fn drop_rule(&self, cx: &Cx, tx: &Tx, input: &DeleteRuleRequest) -> Result<(), Error> {
        let bus = BusName::given(cx, input.event_bus_name.as_deref())?;
        let rule = match find(cx, tx, &bus, &input.name, "events:DeleteRule") {
            Ok(rule) => rule,
            // AWS does not object to a rule that is not there.
            Err(Error::ResourceNotFoundException(_)) if super::buses::find(tx, &bus)?.is_some() => return Ok(()),
            Err(error) => return Err(error),
        };
        check_manager(&rule, &input.name, input.force == Some(true))?;
        if !tx.scan(&bus.targets(&input.name).prefix(), 1, Direction::Forward)?.is_empty() {
            return Err(invalid("Rule can't be deleted since it has targets."));
        }
        self.remove_rule(tx, &bus, &input.name, &rule)?;
        Ok(Tags::clear(tx, cx, &bus.rule_arn(&input.name).to_string())?)
    }

    pub(crate) fn enable(&self, cx: &Cx, tx: &Tx, input: &EnableRuleRequest) -> Result<(), Error> {
        let bus = BusName::given(cx, input.event_bus_name.as_deref())?;
        let before = find(cx, tx, &bus, &input.name, "events:EnableRule")?;
        self.switch(cx, tx, &bus, &input.name, &before, "ENABLED")
    }

    pub(crate) fn disable(&self, cx: &Cx, tx: &Tx, input: &DisableRuleRequest) -> Result<(), Error> {
        let bus = BusName::given(cx, input.event_bus_name.as_deref())?;
        let before = find(cx, tx, &bus, &input.name, "events:DisableRule")?;
        self.switch(cx, tx, &bus, &input.name, &before, "DISABLED")
    }

    fn switch(&self, cx: &Cx, tx: &Tx, bus: &BusName, name: &str, before: &Rule, state: &str) -> Result<(), Error> {
        check_manager(before, name, false)?;
        let was_enabled = before.is_enabled();
        let mut rule = Rule { state: state.to_owned(), ..before.clone() };
        if !was_enabled && rule.is_enabled() {
            rule.since = tx.now();
        }
        let pattern = rule.pattern.as_deref().map(parse).transpose()?;
        self.store_rule(cx, tx, (bus, name), Some(before), rule, pattern)
    }

    pub(crate) fn rule(&self, cx: &Cx, tx: &Tx, input: &DescribeRuleRequest) -> Result<DescribeRuleResponse, Error> {
        let bus = BusName::given(cx, input.event_bus_name.as_deref())?;
        let rule = find(cx, tx, &bus, &input.name, "events:DescribeRule")?;
        Ok(DescribeRuleResponse {
            name: Some(input.name.clone()),
            arn: Some(bus.rule_arn(&input.name).to_string()),
            state: rule.state.parse().ok(),
            event_pattern: rule.pattern,
            schedule_expression: rule.schedule,
            description: rule.description,
            role_arn: rule.role,
            managed_by: rule.managed_by,
            event_bus_name: Some(bus.name),
            created_by: Some(rule.created_by),
        })
    }

    pub(crate) fn rules_page(&self, cx: &Cx, tx: &Tx, input: &ListRulesRequest) -> Result<ListRulesResponse, Error> {
        let bus = BusName::given(cx, input.event_bus_name.as_deref())?;
        permitted_on(cx, tx, &bus, "events:ListRules", &bus.rule_arn("*"))?;
        let prefix = input.name_prefix.as_deref().unwrap_or_default();
        let asked = Asked { prefix: Some(prefix), token: input.next_token.as_deref(), limit: input.limit };
        let arn = bus.arn().to_string();
        let (rules, next_token) =
            self.page(tx, &RULES, &bus.key(&RULES), &["ListRules", &arn, prefix], asked, |name, rule: Rule| {
                Ok(Some(Shown {
                    name: Some(name.to_owned()),
                    arn: Some(bus.rule_arn(name).to_string()),
                    state: rule.state.parse().ok(),
                    event_pattern: rule.pattern,
                    schedule_expression: rule.schedule,
                    description: rule.description,
                    role_arn: rule.role,
                    managed_by: rule.managed_by,
                    event_bus_name: Some(bus.name.clone()),
                }))
            })?;
        Ok(ListRulesResponse { rules: Some(rules), next_token })
    }

    pub(crate) fn try_pattern(
        &self,
        cx: &Cx,
        tx: &Tx,
        input: &TestEventPatternRequest,
    ) -> Result<TestEventPatternResponse, Error> {
        cx.authorize::<Error>(tx, "events:TestEventPattern", &cx.arn("events", "*"))?;
        let pattern = parse(&input.event_pattern)?;
        let event: Value = serde_json::from_str(&input.event).map_err(|_| bad_parameter("Event", None))?;
        if !event.is_object() {
            return Err(bad_parameter("Event", None));
        }
        Ok(TestEventPatternResponse { result: Some(pattern.matches(&Document::new(&event))) })
    }

    /// Removes every target of a rule.
    pub(crate) fn remove_targets_of(&self, tx: &Tx, bus: &BusName, rule: &str) -> Result<(), Error> {
        let rows = bus.targets(rule);
        for (key, target) in TARGETS.scan(tx, &rows.prefix(), crate::publish::TARGETS_PER_RULE, Direction::Forward)? {
            tx.delete(&bus.by_target(&target.arn).str(rule))?;
            tx.delete(&key)?;
        }
        Ok(())
    }
}

/// A pattern, or AWS's reason against it.
pub(crate) fn parse(text: &str) -> Result<EventPattern, Error> {
    EventPattern::parse(text, Dialect::Events).map_err(|error| bad_pattern(&error))
}

fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}
