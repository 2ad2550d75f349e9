//! Targets of rules: put, remove, list, and the rules of a target.

use std::collections::BTreeMap;

use base_types::Arn;
use model_events::{
    DeadLetterConfig, Error, HttpParameters, InputTransformer, ListRuleNamesByTargetRequest,
    ListRuleNamesByTargetResponse, ListTargetsByRuleRequest, ListTargetsByRuleResponse, PutTargetsRequest,
    PutTargetsResponse, RemoveTargetsRequest, RemoveTargetsResponse, RemoveTargetsResultEntry, RetryPolicy,
    SqsParameters, Target as Given,
};
use services_kernel::{Cx, Quotas};
use store_api::{Direction, Tx};

use super::{
    TARGETS as TARGETS_MAX,
    buses::permitted_on,
    pages::Asked,
    rules::{check_manager, find},
};
use crate::{
    EventBridge,
    error::{bad_arn, bad_parameter, invalid},
    names::{BusName, named},
    path::Path,
    publish::TARGETS_PER_RULE,
    tables::{BY_TARGET, HttpParts, Mark, TARGETS, Target},
    transform,
};

/// Members of a target that were given, however empty.
const SAID_RETRY: u8 = 1;
const SAID_DEAD_LETTER: u8 = 2;
const SAID_QUEUE: u8 = 4;
/// Variables of an input transformer (AWS).
const VARIABLES_MAX: usize = 100;

impl EventBridge {
    pub(crate) fn set_targets(&self, cx: &Cx, tx: &Tx, input: &PutTargetsRequest) -> Result<PutTargetsResponse, Error> {
        let bus = BusName::given(cx, input.event_bus_name.as_deref())?;
        for target in &input.targets {
            check(target)?;
        }
        let rule = find(cx, tx, &bus, &input.rule, "events:PutTargets")?;
        check_manager(&rule, &input.rule, false)?;
        let rows = bus.targets(&input.rule);
        for target in &input.targets {
            let key = rows.clone().str(&target.id);
            if let Some(before) = TARGETS.get(tx, &key)? {
                self.unfile(tx, &bus, &input.rule, &target.id, &before.arn)?;
            }
            TARGETS.put(tx, &key, &stored(target))?;
            BY_TARGET.put(tx, &bus.by_target(&target.arn).str(&input.rule), &Mark {})?;
        }
        let most = usize::try_from(Quotas::get(tx, cx, TARGETS_MAX)?).unwrap_or(usize::MAX).min(TARGETS_PER_RULE);
        if tx.scan(&rows.prefix(), most + 1, Direction::Forward)?.len() > most {
            return Err(crate::error::too_many());
        }
        Ok(PutTargetsResponse { failed_entry_count: Some(0), failed_entries: Some(Vec::new()) })
    }

    pub(crate) fn drop_targets(
        &self,
        cx: &Cx,
        tx: &Tx,
        input: &RemoveTargetsRequest,
    ) -> Result<RemoveTargetsResponse, Error> {
        let bus = BusName::given(cx, input.event_bus_name.as_deref())?;
        let rule = find(cx, tx, &bus, &input.rule, "events:RemoveTargets")?;
        check_manager(&rule, &input.rule, input.force == Some(true))?;
        let mut failed = Vec::new();
        for id in &input.ids {
            let key = bus.targets(&input.rule).str(id);
            match TARGETS.get(tx, &key)? {
                Some(target) => {
                    TARGETS.remove(tx, &key)?;
                    self.unfile(tx, &bus, &input.rule, id, &target.arn)?;
                }
                None => failed.push(RemoveTargetsResultEntry {
                    target_id: Some(id.clone()),
                    error_code: Some("ResourceNotFoundException".to_owned()),
                    error_message: Some(format!("Rule {} does not have a target with the Id {id}.", input.rule)),
                }),
            }
        }
        Ok(RemoveTargetsResponse {
            failed_entry_count: Some(i32::try_from(failed.len()).unwrap_or(i32::MAX)),
            failed_entries: Some(failed),
        })
    }

    /// Takes a rule out of the rules of a target's ARN, unless another target of it has that ARN.
    fn unfile(&self, tx: &Tx, bus: &BusName, rule: &str, id: &str, arn: &str) -> Result<(), Error> {
        let rows = bus.targets(rule);
        for (key, other) in TARGETS.scan(tx, &rows.prefix(), TARGETS_PER_RULE, Direction::Forward)? {
            if other.arn == arn && key.last_str().map_err(base_types::Fault::from)? != id {
                return Ok(());
            }
        }
        Ok(tx.delete(&bus.by_target(arn).str(rule))?)
    }

    pub(crate) fn targets_page(
        &self,
        cx: &Cx,
        tx: &Tx,
        input: &ListTargetsByRuleRequest,
    ) -> Result<ListTargetsByRuleResponse, Error> {
        let bus = BusName::given(cx, input.event_bus_name.as_deref())?;
        find(cx, tx, &bus, &input.rule, "events:ListTargetsByRule")?;
        let asked = Asked { prefix: None, token: input.next_token.as_deref(), limit: input.limit };
        let arn = bus.rule_arn(&input.rule).to_string();
        let rows = bus.targets(&input.rule);
        let (targets, next_token) =
            self.page(tx, &TARGETS, &rows, &["ListTargetsByRule", &arn], asked, |id, target| {
                Ok(Some(shown(id, target)))
            })?;
        Ok(ListTargetsByRuleResponse { targets: Some(targets), next_token })
    }

    pub(crate) fn rules_of_target(
        &self,
        cx: &Cx,
        tx: &Tx,
        input: &ListRuleNamesByTargetRequest,
    ) -> Result<ListRuleNamesByTargetResponse, Error> {
        let bus = BusName::given(cx, input.event_bus_name.as_deref())?;
        permitted_on(cx, tx, &bus, "events:ListRuleNamesByTarget", &bus.rule_arn("*"))?;
        let asked = Asked { prefix: None, token: input.next_token.as_deref(), limit: input.limit };
        let (arn, rows) = (bus.arn().to_string(), bus.by_target(&input.target_arn));
        let scope = ["ListRuleNamesByTarget", &arn, &input.target_arn];
        let (names, next_token) =
            self.page(tx, &BY_TARGET, &rows, &scope, asked, |name, _: Mark| Ok(Some(name.to_owned())))?;
        Ok(ListRuleNamesByTargetResponse { rule_names: Some(names), next_token })
    }
}

/// Objects to a target that could never be handed an event.
fn check(target: &Given) -> Result<(), Error> {
    let id = &target.id;
    let arn: Arn = target.arn.parse().map_err(|_| bad_arn(&target.arn))?;
    check_kind(&arn, target)?;
    let inputs = [target.input.is_some(), target.input_path.is_some(), target.input_transformer.is_some()];
    if inputs.iter().filter(|given| **given).count() > 1 {
        return Err(invalid(format!(
            "Only one of Input, InputPath, or InputTransformer must be provided for target {id}."
        )));
    }
    if let Some(text) = &target.input
        && serde_json::from_str::<serde_json::Value>(text).is_err()
    {
        return Err(invalid(format!("JSON syntax error in input for target {id}: the input is not valid JSON.")));
    }
    let path = |text: &str| match Path::parse(text) {
        Some(_) => Ok(()),
        None => Err(invalid(format!("Invalid InputPath for target {id} : {text} is not a JSON path."))),
    };
    if let Some(text) = target.input_path.as_deref().filter(|text| !text.is_empty()) {
        path(text)?;
    }
    if let Some(transformer) = &target.input_transformer {
        let variables = pairs(transformer.input_paths_map.as_ref());
        if variables.len() > VARIABLES_MAX {
            return Err(invalid(format!("InputPathsMap for target {id} has more than {VARIABLES_MAX} variables.")));
        }
        for (name, text) in &variables {
            if transform::is_reserved(name) || name.to_ascii_lowercase().starts_with("aws") {
                return Err(invalid(format!("InputPathsMap for target {id} has the reserved name {name}.")));
            }
            path(text)?;
        }
        if let Some(unknown) = transform::unknown(&transformer.input_template, &variables) {
            return Err(invalid(format!("InputTemplate for target {id} contains invalid placeholder {unknown}.")));
        }
    }
    if let Some(queue) = target.dead_letter_config.as_ref().and_then(|config| config.arn.as_deref()) {
        let is_queue = queue.parse::<Arn>().is_ok_and(|arn| arn.service == "sqs" && !arn.resource.ends_with(".fifo"));
        if !is_queue {
            return Err(bad_parameter(
                "DeadLetterConfig.Arn",
                Some("The dead-letter queue has to be a standard SQS queue."),
            ));
        }
    }
    Ok(())
}

/// Objects to a kind of target that is not served, naming what is missing.
fn check_kind(arn: &Arn, target: &Given) -> Result<(), Error> {
    let id = &target.id;
    match arn.service.as_str() {
        "sqs" if arn.resource.ends_with(".fifo") && target.sqs_parameters.is_none() => {
            Err(invalid(format!("Parameter(s) SqsParameters must be specified for target: {id}.")))
        }
        "sqs" | "sns" | "lambda" => Ok(()),
        "logs" if arn.resource.starts_with("log-group:") => Ok(()),
        "events" if BusName::of_arn(arn).is_some() => Ok(()),
        "events" if named(arn, "api-destination").is_some() => match &target.role_arn {
            Some(_) => Ok(()),
            None => Err(invalid(format!("RoleArn is required for target {}.", target.arn))),
        },
        "states"
        | "kinesis"
        | "firehose"
        | "ecs"
        | "batch"
        | "codebuild"
        | "codepipeline"
        | "ssm"
        | "inspector"
        | "ec2"
        | "redshift"
        | "redshift-serverless"
        | "redshift-data"
        | "sagemaker"
        | "glue"
        | "appsync"
        | "execute-api"
        | "ssm-incidents"
        | "timestream"
        | "opsworks" => Err(Error::not_implemented_exception(format!(
            "Target {id}: this version of Pileus has no service `{}`, so its resources cannot be targets of rules. \
                 Targets can be functions, queues, topics, log groups, event buses and API destinations.",
            arn.service
        ))),
        _ => Err(bad_arn(&target.arn)),
    }
}

fn pairs(map: Option<&BTreeMap<String, String>>) -> Vec<(String, String)> {
    map.into_iter().flatten().map(|(name, value)| (name.clone(), value.clone())).collect()
}

fn stored(target: &Given) -> Target {
    let retry = target.retry_policy.as_ref();
    let number = |number: Option<i32>| number.and_then(|number| u32::try_from(number).ok());
    let mut said = 0;
    for (flag, given) in [
        (SAID_RETRY, retry.is_some()),
        (SAID_DEAD_LETTER, target.dead_letter_config.is_some()),
        (SAID_QUEUE, target.sqs_parameters.is_some()),
    ] {
        said |= if given { flag } else { 0 };
    }
    Target {
        arn: target.arn.clone(),
        role: target.role_arn.clone(),
        input: target.input.clone(),
        input_path: target.input_path.clone().filter(|path| !path.is_empty()),
        template: target.input_transformer.as_ref().map(|transformer| transformer.input_template.clone()),
        variables: target
            .input_transformer
            .as_ref()
            .and_then(|transformer| transformer.input_paths_map.as_ref())
            .map(|map| pairs(Some(map))),
        group: target.sqs_parameters.as_ref().and_then(|parameters| parameters.message_group_id.clone()),
        http: target.http_parameters.as_ref().map(|parameters| HttpParts {
            path: parameters.path_parameter_values.clone(),
            headers: parameters.header_parameters.as_ref().map(|map| pairs(Some(map))),
            query: parameters.query_string_parameters.as_ref().map(|map| pairs(Some(map))),
        }),
        dead_letter: target.dead_letter_config.as_ref().and_then(|config| config.arn.clone()),
        retries_max: number(retry.and_then(|retry| retry.maximum_retry_attempts)),
        age_max_seconds: number(retry.and_then(|retry| retry.maximum_event_age_in_seconds)),
        said,
    }
}

fn shown(id: &str, target: Target) -> Given {
    let said = |flag| target.said & flag != 0;
    let number = |number: Option<u32>| number.and_then(|number| i32::try_from(number).ok());
    Given {
        id: id.to_owned(),
        arn: target.arn.clone(),
        role_arn: target.role.clone(),
        input: target.input.clone(),
        input_path: target.input_path.clone(),
        input_transformer: target.template.clone().map(|input_template| InputTransformer {
            input_paths_map: target.variables.clone().map(|variables| variables.into_iter().collect()),
            input_template,
        }),
        sqs_parameters: said(SAID_QUEUE).then(|| SqsParameters { message_group_id: target.group.clone() }),
        http_parameters: target.http.clone().map(|parts| HttpParameters {
            path_parameter_values: parts.path,
            header_parameters: parts.headers.map(|pairs| pairs.into_iter().collect()),
            query_string_parameters: parts.query.map(|pairs| pairs.into_iter().collect()),
        }),
        dead_letter_config: said(SAID_DEAD_LETTER).then(|| DeadLetterConfig { arn: target.dead_letter.clone() }),
        retry_policy: said(SAID_RETRY).then(|| RetryPolicy {
            maximum_retry_attempts: number(target.retries_max),
            maximum_event_age_in_seconds: number(target.age_max_seconds),
        }),
        ..Given::default()
    }
}
