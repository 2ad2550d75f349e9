//! What a pipe is defined by: checked when it is made or changed, and as its poller needs it.

use std::time::Duration;

use base_types::Arn;
use lang_eventpattern::{Dialect, EventPattern};
use model_pipes::Error;
use serde_json::Value;
use services_kernel::Cx;

use crate::{
    error::{invalid, unsupported},
    journal::{Level, LogSettings},
    names::{self, Named},
    stream::StreamSettings,
    tables::Pipe,
    template::{self, Variables},
};

/// AWS's default of a queue's batches.
const BATCH: u64 = 10;
/// And of a stream's.
const BATCH_OF_STREAM: u64 = 100;
/// What one commit hands over at most.
const BATCH_DIRECT_MAX: usize = 256;

/// Who answers, where an answer is waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Peer {
    /// A function: it gets the batch as an array.
    Function,
    /// An API destination: it gets the events one by one.
    Endpoint,
}

impl Peer {
    /// What an ARN names.
    pub(crate) fn of(arn: &Arn) -> Option<Self> {
        match arn.service.as_str() {
            "lambda" if arn.resource.starts_with("function:") => Some(Self::Function),
            "events" if arn.resource.starts_with("api-destination/") => Some(Self::Endpoint),
            _ => None,
        }
    }
}

/// A pipe, ready to work.
#[derive(Clone, Debug)]
pub(crate) struct Definition {
    pub(crate) named: Named,
    pub(crate) source: Arn,
    pub(crate) enrichment: Option<Arn>,
    pub(crate) target: Arn,
    pub(crate) role: String,
    /// How a stream is worked off, if the source is one.
    pub(crate) stream: Option<StreamSettings>,
    pub(crate) batch: usize,
    pub(crate) window: Duration,
    pub(crate) patterns: Vec<EventPattern>,
    pub(crate) enrichment_template: Option<String>,
    /// `EnrichmentParameters`.
    pub(crate) enrichment_parameters: Value,
    pub(crate) template: Option<String>,
    /// Who is the target, when its answer is waited for.
    pub(crate) waits: Option<Peer>,
    /// `TargetParameters`.
    pub(crate) parameters: Value,
    pub(crate) log: Option<LogSettings>,
}

/// Reads a stored document; absent is `null`.
fn document(text: Option<&String>) -> Value {
    text.and_then(|text| serde_json::from_str(text).ok()).unwrap_or(Value::Null)
}

fn text(document: &Value, pointer: &str) -> Option<String> {
    document.pointer(pointer).and_then(Value::as_str).map(str::to_owned)
}

impl Definition {
    /// Of what is stored; the reason when that is nothing which can work.
    pub(crate) fn of(named: &Named, pipe: &Pipe) -> Result<Self, String> {
        let arn = |text: &str| text.parse::<Arn>().map_err(|_| format!("{text} is not an ARN"));
        let (source, target) = (arn(&pipe.source)?, arn(&pipe.target)?);
        let enrichment = pipe.enrichment.as_deref().filter(|arn| !arn.is_empty()).map(arn).transpose()?;
        let from = document(pipe.source_parameters.as_ref());
        let to = document(pipe.target_parameters.as_ref());
        let number = |pointer: &str| from.pointer(pointer).and_then(Value::as_u64);
        let patterns = match from.pointer("/FilterCriteria/Filters").and_then(Value::as_array) {
            None => Vec::new(),
            Some(filters) => filters
                .iter()
                .filter_map(|filter| filter.get("Pattern").and_then(Value::as_str))
                .map(|pattern| EventPattern::parse(pattern, Dialect::Events).map_err(|error| error.to_string()))
                .collect::<Result<_, _>>()?,
        };
        let invocation = text(&to, "/LambdaFunctionParameters/InvocationType");
        let waits = Peer::of(&target).filter(|_| invocation.as_deref() != Some("FIRE_AND_FORGET"));
        let asked = document(pipe.enrichment_parameters.as_ref());
        // Who takes events one by one gets them so from the source, too.
        let singly = waits == Some(Peer::Endpoint) || enrichment.as_ref().and_then(Peer::of) == Some(Peer::Endpoint);
        let group = if source.service == "dynamodb" { "DynamoDBStreamParameters" } else { "SqsQueueParameters" };
        let stream = (source.service == "dynamodb").then(|| StreamSettings::of(&from[group]));
        let usual = if stream.is_some() && !takes_few(&target) { BATCH_OF_STREAM } else { BATCH };
        let batch = number(&format!("/{group}/BatchSize")).unwrap_or(if singly { 1 } else { usual });
        Ok(Self {
            named: named.clone(),
            stream,
            batch: usize::try_from(batch).unwrap_or(1).max(1),
            window: Duration::from_secs(number(&format!("/{group}/MaximumBatchingWindowInSeconds")).unwrap_or(0)),
            patterns,
            enrichment_template: text(&asked, "/InputTemplate"),
            enrichment_parameters: asked,
            template: text(&to, "/InputTemplate"),
            waits,
            parameters: to,
            log: log(&document(pipe.log.as_ref())),
            role: pipe.role.clone(),
            source,
            enrichment,
            target,
        })
    }

    /// Taking, delivering and deleting fit into one transaction.
    pub(crate) fn is_direct(&self) -> bool {
        self.enrichment.is_none() && self.waits.is_none() && self.window.is_zero() && self.batch <= BATCH_DIRECT_MAX
    }

    /// What reserved variables stand for, now.
    pub(crate) fn variables(&self, ingested: String) -> Variables {
        Variables {
            pipe_arn: self.named.arn().to_string(),
            pipe_name: self.named.name.clone(),
            source_arn: self.source.to_string(),
            enrichment_arn: self.enrichment.as_ref().map(Arn::to_string).unwrap_or_default(),
            target_arn: self.target.to_string(),
            ingestion_time: ingested,
        }
    }
}

/// Whether a target takes ten events at once at most.
fn takes_few(target: &Arn) -> bool {
    matches!(target.service.as_str(), "sqs" | "sns" | "events")
}

/// Where and what is logged, if anything is.
fn log(document: &Value) -> Option<LogSettings> {
    let level = Level::of(document.get("Level")?.as_str()?)?;
    let group = text(document, "/CloudwatchLogsLogDestination/LogGroupArn")?.parse().ok()?;
    let data = document.get("IncludeExecutionData").and_then(Value::as_array);
    Some(LogSettings { group, level, data: data.is_some_and(|parts| parts.iter().any(|part| part == "ALL")) })
}

/// Checks a pipe that is about to be kept.
pub(crate) fn check(cx: &Cx, named: &Named, pipe: &Pipe) -> Result<(), Error> {
    let (account, _) = names::role(&pipe.role).ok_or_else(|| invalid("The role ARN is not valid."))?;
    if account != cx.account {
        return Err(invalid("Cross-account pass role is not allowed."));
    }
    check_source(cx, pipe)?;
    check_target(&pipe.target)?;
    if let Some(enrichment) = pipe.enrichment.as_deref().filter(|arn| !arn.is_empty()) {
        check_enrichment(enrichment)?;
    }
    let definition =
        Definition::of(named, pipe).map_err(|reason| invalid(format!("Invalid filter pattern: {reason}")))?;
    for template in [&definition.template, &definition.enrichment_template].into_iter().flatten() {
        template::check(template).map_err(|part| invalid(format!("Invalid InputTemplate: <{part}> names nothing.")))?;
    }
    check_batch(&definition)?;
    check_parameters(&definition)?;
    match &definition.log {
        Some(log) if log.group.account != cx.account.as_str() || log.group.region != cx.region.as_str() => {
            Err(invalid("The log group must be in the account and Region of the pipe."))
        }
        _ => Ok(()),
    }
}

fn check_source(cx: &Cx, pipe: &Pipe) -> Result<(), Error> {
    let arn: Arn = pipe.source.parse().map_err(|_| invalid("The source ARN is not valid."))?;
    let parameters = document(pipe.source_parameters.as_ref());
    match arn.service.as_str() {
        "sqs" | "dynamodb" if arn.region != cx.region.as_str() => {
            Err(invalid("The source must be in the Region of the pipe."))
        }
        "sqs" => Ok(()),
        "dynamodb" if !arn.resource.starts_with("table/") || !arn.resource.contains("/stream/") => {
            Err(invalid("The source ARN is not valid."))
        }
        "dynamodb" => match parameters.get("DynamoDBStreamParameters") {
            None => Err(invalid("DynamoDBStreamParameters is required for a source of `dynamodb`.")),
            Some(_) => Ok(()),
        },
        service => Err(unsupported(&format!("pipes from the service `{service}`"))),
    }
}

fn check_target(target: &str) -> Result<(), Error> {
    let arn: Arn = target.parse().map_err(|_| invalid("The target ARN is not valid."))?;
    match arn.service.as_str() {
        "sqs" | "sns" => Ok(()),
        "lambda" if arn.resource.starts_with("function:") => Ok(()),
        "logs" if arn.resource.starts_with("log-group:") => Ok(()),
        "events" if arn.resource.starts_with("event-bus/") => Ok(()),
        "events" if arn.resource.starts_with("api-destination/") => Ok(()),
        service => Err(unsupported(&format!("pipes to the service `{service}`"))),
    }
}

fn check_enrichment(enrichment: &str) -> Result<(), Error> {
    let arn: Arn = enrichment.parse().map_err(|_| invalid("The enrichment ARN is not valid."))?;
    match arn.service.as_str() {
        _ if Peer::of(&arn).is_some() => Ok(()),
        service => Err(unsupported(&format!("enrichment by the service `{service}`"))),
    }
}

/// AWS: a batch is no larger than the target takes, and a large one needs a window.
fn check_batch(definition: &Definition) -> Result<(), Error> {
    let Definition { batch, window, source, target, .. } = definition;
    let fifo = source.resource.ends_with(".fifo");
    let asked = [definition.enrichment.as_ref().and_then(Peer::of), definition.waits];
    if *batch > 1 && asked.contains(&Some(Peer::Endpoint)) {
        return Err(invalid("BatchSize must be 1 for an API destination, which takes no batches."));
    }
    if fifo && (*batch > 10 || !window.is_zero()) {
        return Err(invalid("A FIFO queue takes a BatchSize of at most 10 and no MaximumBatchingWindowInSeconds."));
    }
    if takes_few(target) && *batch > 10 {
        return Err(invalid(format!("BatchSize must not be larger than 10 for a target of `{}`.", target.service)));
    }
    if definition.stream.is_none() && *batch > 10 && window.is_zero() {
        return Err(invalid("MaximumBatchingWindowInSeconds must be at least 1 when BatchSize is larger than 10."));
    }
    Ok(())
}

/// Parameters of another kind of target are no parameters of this one.
fn check_parameters(definition: &Definition) -> Result<(), Error> {
    let given = definition.parameters.as_object();
    let mut names = given.into_iter().flat_map(|members| members.keys());
    let Arn { service, resource, .. } = &definition.target;
    let wrong = names.find(|name| match name.as_str() {
        "LambdaFunctionParameters" => service != "lambda",
        "SqsQueueParameters" => service != "sqs",
        "EventBridgeEventBusParameters" => !resource.starts_with("event-bus/"),
        "HttpParameters" => Peer::of(&definition.target) != Some(Peer::Endpoint),
        "CloudWatchLogsParameters" => service != "logs",
        _ => false,
    });
    let enrichment = definition.enrichment.as_ref().and_then(Peer::of);
    if definition.enrichment_parameters.get("HttpParameters").is_some() && enrichment != Some(Peer::Endpoint) {
        return Err(invalid("HttpParameters cannot be specified for an enrichment that is no API destination."));
    }
    match wrong {
        Some(name) => {
            Err(invalid(format!("{name} cannot be specified for a target of `{}`.", definition.target.service)))
        }
        None => Ok(()),
    }
}
