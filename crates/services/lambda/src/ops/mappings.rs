//! `CreateEventSourceMapping`, `GetEventSourceMapping`, `ListEventSourceMappings`, `UpdateEventSourceMapping`,
//! `DeleteEventSourceMapping`. What they bring about is the reconciler's.

use std::{sync::Arc, time::Duration};

use base_types::{Arn, Fault};
use model_lambda::{
    CreateEventSourceMappingRequest, DeleteEventSourceMappingRequest, DestinationConfig, Error,
    EventSourceMappingConfiguration, EventSourceMappingLoggingConfig, EventSourceMappingMetricsConfig, Filter,
    FilterCriteria, FunctionResponseType, GetEventSourceMappingRequest, ListEventSourceMappingsRequest,
    ListEventSourceMappingsResponse, OnFailure, ProvisionedPollerConfig, ScalingConfig,
    UpdateEventSourceMappingRequest,
};
use services_kernel::{Cx, Quota, Quotas, Source as Asking};
use services_ports::DeliveryError;
use store_api::{Direction, Tx};
use wire_schema::ServiceError as _;

use super::{functions::Page, tags};
use crate::{
    control::{Control, Found, Resolved},
    error::resource_not_found,
    function::Version,
    invoke::destinations::session,
    mappings::{
        Mapping, State,
        settings::{Given, GivenPollers, GivenStream, Settings, SettingsError},
        source::{Source, SourceError},
        stream,
    },
    names::{FunctionRef, function_arn, resolve},
    tables::{self, MAPPING_PAIRS, MAPPING_WORK, MAPPINGS, MappingRef, Place, Usage},
};

/// Mappings of an account in a region.
const MAPPINGS_OF_A_PLACE: Quota = Quota { name: "lambda.event-source-mappings", default: 5000 };
/// Mappings of one page, whatever is asked for (AWS: 100).
const PAGE_MAX: i32 = 100;
/// Mappings looked at for one page; a listing with a filter may end early and go on with its marker.
const SCANNED_MAX: usize = 1000;

impl Control {
    pub(crate) fn create_event_source_mapping(
        &self,
        cx: &Cx,
        tx: &Tx,
        input: &CreateEventSourceMappingRequest,
    ) -> Result<EventSourceMappingConfiguration, Error> {
        const ACTION: &str = "lambda:CreateEventSourceMapping";
        let named = self.name(cx, ACTION, &input.function_name, None)?;
        self.authorize(cx, ACTION, &named.name)?;
        let unrecognized = || SettingsError::from(SourceError::Unrecognized);
        let arn: Arn = input.event_source_arn.as_deref().and_then(|text| text.parse().ok()).ok_or_else(unrecognized)?;
        let (source, text) = (Source::of(&arn).map_err(SettingsError::from)?, arn.to_string());
        let settings = Settings::new(source, &text, &created(input))?;
        let (found, version) = self.mapped(tx, cx, &named)?;
        let qualifier = named.qualifier.as_ref().map(ToString::to_string);
        let place = Place::from(cx);
        self.connect(tx, cx, &place, &text, &named.name, qualifier.as_deref(), None)?;
        self.check_source(tx, cx, &arn, &settings, &found.name, &version)?;
        if tx.counter(&place.usage(Usage::Mappings))? >= limit(tx, cx)? {
            return Err(Error::invalid_parameter_value_exception(
                "The number of event source mappings of this account in this region has reached its limit.",
            ));
        }
        let enabled = input.enabled.unwrap_or(true);
        let mapping = Mapping {
            uuid: self.env.uuid(),
            source: text,
            function: named.name,
            qualifier,
            state: if enabled { State::Creating } else { State::Disabled },
            enabled,
            modified: tx.now(),
            revision: 1,
            problem: None,
            settings,
            result: None,
        };
        if let Some(settings) = &mapping.settings.stream {
            let asking = asking(cx, &found.name, &version);
            stream::begin(&self.streams, &asking, tx, &place, (&mapping.uuid, &arn), settings)
                .map_err(|error| unreadable(&arn, error))?;
        }
        tx.add(&place.usage(Usage::Mappings), 1)?;
        if let Some(given) = &input.tags {
            tags::put(tx, cx, &place.mapping_arn(&mapping.uuid), given)?;
        }
        store(tx, &place, &mapping)?;
        Ok(described(&place, &mapping))
    }

    pub(crate) fn get_event_source_mapping(
        &self,
        cx: &Cx,
        tx: &Tx,
        input: &GetEventSourceMappingRequest,
    ) -> Result<EventSourceMappingConfiguration, Error> {
        let (place, mapping) = self.mapping(tx, cx, "lambda:GetEventSourceMapping", &input.uuid)?;
        Ok(described(&place, &mapping))
    }

    pub(crate) fn update_event_source_mapping(
        &self,
        cx: &Cx,
        tx: &Tx,
        input: &UpdateEventSourceMappingRequest,
    ) -> Result<EventSourceMappingConfiguration, Error> {
        const ACTION: &str = "lambda:UpdateEventSourceMapping";
        let (place, mut mapping) = self.mapping(tx, cx, ACTION, &input.uuid)?;
        let arn: Arn = mapping.source.parse().map_err(|error| Fault::internal("read a mapping's source", error))?;
        let source = Source::of(&arn).map_err(SettingsError::from)?;
        mapping.settings.change(source, &updated(input))?;
        if mapping.state.passes() {
            return Err(in_use("update"));
        }
        if let Some(function) = &input.function_name {
            let named = self.name(cx, ACTION, function, None)?;
            let qualifier = named.qualifier.as_ref().map(ToString::to_string);
            if (&named.name, &qualifier) != (&mapping.function, &mapping.qualifier) {
                let (found, version) = self.mapped(tx, cx, &named)?;
                let own = Some(mapping.uuid.as_str());
                self.connect(tx, cx, &place, &mapping.source, &named.name, qualifier.as_deref(), own)?;
                self.check_source(tx, cx, &arn, &mapping.settings, &found.name, &version)?;
                MAPPING_PAIRS.remove(tx, &pair(&place, &mapping))?;
                (mapping.function, mapping.qualifier) = (named.name, qualifier);
            }
        }
        mapping.changed(input.enabled, tx.now());
        store(tx, &place, &mapping)?;
        Ok(described(&place, &mapping))
    }

    pub(crate) fn delete_event_source_mapping(
        &self,
        cx: &Cx,
        tx: &Tx,
        input: &DeleteEventSourceMappingRequest,
    ) -> Result<EventSourceMappingConfiguration, Error> {
        let (place, mut mapping) = self.mapping(tx, cx, "lambda:DeleteEventSourceMapping", &input.uuid)?;
        if mapping.state.passes() {
            return Err(in_use("delete"));
        }
        mapping.deleted(tx.now());
        store(tx, &place, &mapping)?;
        // The same may be connected anew from now on.
        MAPPING_PAIRS.remove(tx, &pair(&place, &mapping))?;
        Ok(described(&place, &mapping))
    }

    pub(crate) fn list_event_source_mappings(
        &self,
        cx: &Cx,
        tx: &Tx,
        input: &ListEventSourceMappingsRequest,
    ) -> Result<ListEventSourceMappingsResponse, Error> {
        const ACTION: &str = "lambda:ListEventSourceMappings";
        let named = match &input.function_name {
            Some(text) => Some(resolve(text, None, &cx.region, cx.account)?),
            None => None,
        };
        cx.authorize::<Error>(tx, ACTION, &cx.arn("lambda", "event-source-mapping:*"))?;
        let place = Place::from(cx);
        let filter = format!(
            "{}\n{}",
            input.event_source_arn.as_deref().unwrap_or_default(),
            input.function_name.as_deref().unwrap_or_default()
        );
        let scope = Self::scope(cx, "ListEventSourceMappings", &filter);
        let cursor = self.cursor(&scope, input.marker.as_deref())?;
        let wanted = input.max_items.unwrap_or(PAGE_MAX).clamp(1, PAGE_MAX).unsigned_abs();
        let mut page = Page::new(usize::try_from(wanted).unwrap_or(1));
        let range = tables::page(&place.mappings(), cursor.as_deref());
        let scanned = MAPPINGS.scan(tx, &range, SCANNED_MAX, Direction::Forward)?;
        let end = scanned.last().filter(|_| scanned.len() == SCANNED_MAX).map(|(key, _)| key.as_bytes().to_vec());
        for (key, mapping) in scanned {
            let meant = input.event_source_arn.as_ref().is_none_or(|arn| *arn == mapping.source)
                && named.as_ref().is_none_or(|named| mapping.is_of(named));
            if meant {
                page.push(described(&place, &mapping), key.as_bytes().to_vec());
            }
        }
        let (mappings, next) = page.finish();
        let next_marker = next.or(end).map(|cursor| self.tokens.seal(&scope, &cursor));
        Ok(ListEventSourceMappingsResponse { next_marker, event_source_mappings: Some(mappings) })
    }

    /// The mapping with this identifier.
    fn mapping(&self, tx: &Tx, cx: &Cx, action: &str, uuid: &str) -> Result<(Place, Mapping), Error> {
        cx.authorize::<Error>(tx, action, &cx.arn("lambda", format!("event-source-mapping:{uuid}")))?;
        let place = Place::from(cx);
        let mapping = MAPPINGS.get(tx, &place.mapping(uuid))?.ok_or_else(resource_not_found)?;
        Ok((place, mapping))
    }

    /// The function that a mapping is to call.
    fn mapped(&self, tx: &Tx, cx: &Cx, named: &FunctionRef) -> Result<(Found, Version), Error> {
        let missing = || Error::invalid_parameter_value_exception("Function does not exist");
        let found = self.find(tx, cx, &named.name)?.ok_or_else(missing)?;
        match found.resolve(tx, named.qualifier.as_ref()) {
            Ok(Resolved { version, .. }) => Ok((found, version)),
            Err(Error::Fault(fault)) => Err(fault.into()),
            Err(_) => Err(missing()),
        }
    }

    /// Objects to a second mapping between a source and a function. `own` is the mapping that is changed.
    #[expect(clippy::too_many_arguments, reason = "both ends of a connection, and where")]
    fn connect(
        &self,
        tx: &Tx,
        cx: &Cx,
        place: &Place,
        source: &str,
        function: &str,
        qualifier: Option<&str>,
        own: Option<&str>,
    ) -> Result<(), Error> {
        let there = MAPPING_PAIRS.get(tx, &place.mapping_pair(source, function, qualifier))?;
        let Some(there) = there.filter(|there| Some(there.uuid.as_str()) != own) else { return Ok(()) };
        tracing::debug!(request_id = %cx.request_id, source, function, "the two are connected already");
        if !source.starts_with("arn:aws:sqs:") {
            return Err(Error::resource_conflict_exception(format!(
                "The event source arn (\" {source} \") and function (\" {function} \") provided mapping already exists. \
                 Please update or delete the existing mapping with UUID {}",
                there.uuid
            )));
        }
        Err(Error::resource_conflict_exception(format!(
            "An event source mapping with SQS arn (\" {source} \") and function (\" {function} \") already exists. Please \
             update or delete the existing mapping with UUID {}",
            there.uuid
        )))
    }

    /// Objects to a source that the function's role cannot use.
    fn check_source(
        &self,
        tx: &Tx,
        cx: &Cx,
        arn: &Arn,
        settings: &Settings,
        function: &str,
        version: &Version,
    ) -> Result<(), Error> {
        let Some(stream) = &settings.stream else { return self.check_queue(tx, cx, arn, function, version) };
        let asking = asking(cx, function, version);
        let found = self.streams.of(arn).and_then(|source| source.shards(&asking, tx, arn));
        found.map_err(|error| unreadable(arn, error))?;
        match &stream.on_failure {
            Some(target) => self.check_target(tx, cx, function, &version.configuration.role, target),
            None => Ok(()),
        }
    }

    /// Objects to a queue that the function's role may not receive from, or that hides messages for less time than the
    /// function may run.
    fn check_queue(&self, tx: &Tx, cx: &Cx, queue: &Arn, function: &str, version: &Version) -> Result<(), Error> {
        let invalid = |text: String| Error::invalid_parameter_value_exception(text);
        let asking = asking(cx, function, version);
        let traits = match self.queues.describe(&asking, tx, queue) {
            Ok(traits) => traits,
            Err(DeliveryError::Fault(fault)) => return Err(fault.into()),
            Err(DeliveryError::Denied(_)) => {
                return Err(invalid(
                    "The function execution role does not have permissions to call ReceiveMessage on SQS".to_owned(),
                ));
            }
            Err(DeliveryError::NotFound(_)) => {
                return Err(invalid(
                    "Error occurred while ReceiveMessage. SQS Error Code: AWS.SimpleQueueService.NonExistentQueue. SQS \
                     Error Message: The specified queue does not exist."
                        .to_owned(),
                ));
            }
            Err(other) => return Err(invalid(other.to_string())),
        };
        let timeout = version.configuration.timeout_seconds;
        if traits.visibility < Duration::from_secs(timeout.into()) {
            return Err(invalid(format!(
                "Queue visibility timeout: {} seconds is less than Function timeout: {timeout} seconds",
                traits.visibility.as_secs()
            )));
        }
        Ok(())
    }
}

impl Mapping {
    /// Whether it calls the function that is named; any version or alias of it when none is named.
    fn is_of(&self, named: &FunctionRef) -> bool {
        let qualifier = named.qualifier.as_ref().map(ToString::to_string);
        self.function == named.name && (qualifier.is_none() || qualifier == self.qualifier)
    }
}

impl From<SettingsError> for Error {
    fn from(error: SettingsError) -> Self {
        match error {
            SettingsError::NoPosition => Self::validation(error.to_string()),
            SettingsError::Source(SourceError::Missing(_)) => Self::not_implemented(&error.to_string()),
            _ => Self::invalid_parameter_value_exception(error.to_string()),
        }
    }
}

/// The context in which a function's role looks at a source.
fn asking(cx: &Cx, function: &str, version: &Version) -> Cx {
    let role = session(&version.configuration.role, cx.account, function);
    let arn = cx.arn("lambda", format!("function:{function}"));
    Cx {
        principal: Arc::new(role),
        source: Some(Arc::new(Asking { service: "lambda.amazonaws.com".to_owned(), arn })),
        ..cx.clone()
    }
}

/// A stream that cannot be read, in AWS's words.
fn unreadable(stream: &Arn, error: DeliveryError) -> Error {
    match error {
        DeliveryError::Fault(fault) => fault.into(),
        DeliveryError::NotFound(_) => Error::invalid_parameter_value_exception(format!("Stream not found: {stream}")),
        DeliveryError::Denied(_) => Error::invalid_parameter_value_exception(format!(
            "Cannot access stream {stream}. Please ensure the role can perform the GetRecords, GetShardIterator, \
             DescribeStream, and ListStreams Actions on your stream in IAM."
        )),
        other => Error::invalid_parameter_value_exception(other.to_string()),
    }
}

fn limit(tx: &Tx, cx: &Cx) -> Result<i64, Fault> {
    Ok(i64::try_from(Quotas::get(tx, cx, MAPPINGS_OF_A_PLACE)?).unwrap_or(i64::MAX))
}

/// Writes a mapping, and that something is to be done about it.
fn store(tx: &Tx, place: &Place, mapping: &Mapping) -> Result<(), Fault> {
    let named = MappingRef { account: place.account, region: place.region.clone(), uuid: mapping.uuid.clone() };
    MAPPINGS.put(tx, &place.mapping(&mapping.uuid), mapping)?;
    MAPPING_PAIRS.put(tx, &pair(place, mapping), &named)?;
    if mapping.state == State::Disabled {
        return Ok(());
    }
    MAPPING_WORK.put(tx, &place.mapping_work(&mapping.uuid), &named)?;
    tx.wake(&tables::mapping_work(), 1)
}

fn pair(place: &Place, mapping: &Mapping) -> store_api::Key {
    place.mapping_pair(&mapping.source, &mapping.function, mapping.qualifier.as_deref())
}

fn in_use(verb: &str) -> Error {
    Error::resource_in_use_exception(format!("Cannot {verb} the event source mapping because it is in use."))
}

/// What both requests have in common.
macro_rules! given {
    ($input:expr, $stream:expr) => {
        Given {
            batch_size: number($input.batch_size),
            window_seconds: number($input.maximum_batching_window_in_seconds),
            filters: $input.filter_criteria.as_ref().map(patterns),
            reports_items: $input.function_response_types.as_ref().map(|types| !types.is_empty()),
            concurrency_max: $input.scaling_config.as_ref().map(|config| number(config.maximum_concurrency)),
            pollers: $input.provisioned_poller_config.as_ref().map(pollers),
            kms_key: $input.kms_key_arn.clone(),
            metrics: $input.metrics_config.as_ref().map(metrics),
            log_level: $input
                .logging_config
                .as_ref()
                .map(|config| config.system_log_level.as_ref().map(|level| level.as_str().to_owned())),
            stream: GivenStream {
                parallelization: $input.parallelization_factor,
                on_failure: $input.destination_config.as_ref().map(on_failure),
                has_on_success: $input.destination_config.as_ref().is_some_and(names_success),
                age_seconds_max: $input.maximum_record_age_in_seconds,
                bisects: $input.bisect_batch_on_function_error,
                retries_max: $input.maximum_retry_attempts,
                tumbling_seconds: $input.tumbling_window_in_seconds,
                ..$stream
            },
        }
    };
}

fn created(input: &CreateEventSourceMappingRequest) -> Given {
    let stream = GivenStream {
        starting_position: input.starting_position.as_ref().map(|position| position.as_str().to_owned()),
        has_timestamp: input.starting_position_timestamp.is_some(),
        ..GivenStream::default()
    };
    given!(input, stream)
}

fn updated(input: &UpdateEventSourceMappingRequest) -> Given {
    given!(input, GivenStream::default())
}

fn number(number: Option<i32>) -> Option<u32> {
    number.and_then(|number| u32::try_from(number).ok())
}

fn patterns(criteria: &FilterCriteria) -> Vec<String> {
    let filters = criteria.filters.iter().flatten();
    filters.map(|filter| filter.pattern.clone().unwrap_or_default()).collect()
}

/// An empty configuration takes the pollers away.
fn pollers(config: &ProvisionedPollerConfig) -> Option<GivenPollers> {
    if *config == ProvisionedPollerConfig::default() {
        return None;
    }
    Some(GivenPollers {
        least: number(config.minimum_pollers),
        most: number(config.maximum_pollers),
        group: config.poller_group_name.clone(),
    })
}

fn metrics(config: &EventSourceMappingMetricsConfig) -> Vec<String> {
    config.metrics.iter().flatten().map(|metric| metric.as_str().to_owned()).collect()
}

fn on_failure(config: &DestinationConfig) -> String {
    config.on_failure.as_ref().and_then(|one| one.destination.clone()).unwrap_or_default()
}

fn names_success(config: &DestinationConfig) -> bool {
    let success = config.on_success.as_ref().and_then(|one| one.destination.as_ref());
    success.is_some_and(|destination| !destination.is_empty())
}

fn described(place: &Place, mapping: &Mapping) -> EventSourceMappingConfiguration {
    let common = described_common(place, mapping);
    let Some(stream) = &mapping.settings.stream else { return common };
    let number = |number: u32| i32::try_from(number).ok();
    EventSourceMappingConfiguration {
        starting_position: stream.start.as_str().parse().ok(),
        parallelization_factor: number(stream.parallelization),
        maximum_record_age_in_seconds: stream.age_seconds_max.map_or(Some(-1), number),
        bisect_batch_on_function_error: Some(stream.bisects),
        maximum_retry_attempts: stream.retries_max.map_or(Some(-1), number),
        tumbling_window_in_seconds: number(stream.tumbling_seconds),
        destination_config: Some(DestinationConfig {
            on_failure: Some(OnFailure { destination: stream.on_failure.clone() }),
            ..DestinationConfig::default()
        }),
        last_processing_result: Some(mapping.result.clone().unwrap_or_else(|| "No records processed".to_owned())),
        ..common
    }
}

/// What mappings of all sources have.
fn described_common(place: &Place, mapping: &Mapping) -> EventSourceMappingConfiguration {
    let settings = &mapping.settings;
    let number = |number: u32| i32::try_from(number).ok();
    let function = function_arn(&place.region, place.account, &mapping.function);
    EventSourceMappingConfiguration {
        uuid: Some(mapping.uuid.clone()),
        batch_size: number(settings.batch_size),
        maximum_batching_window_in_seconds: number(settings.window_seconds),
        event_source_arn: Some(mapping.source.clone()),
        filter_criteria: (!settings.filters.is_empty()).then(|| FilterCriteria {
            filters: Some(settings.filters.iter().map(|text| Filter { pattern: Some(text.clone()) }).collect()),
        }),
        kms_key_arn: settings.kms_key.clone(),
        metrics_config: (!settings.metrics.is_empty()).then(|| EventSourceMappingMetricsConfig {
            metrics: Some(settings.metrics.iter().filter_map(|metric| metric.parse().ok()).collect()),
        }),
        logging_config: settings
            .log_level
            .as_ref()
            .map(|level| EventSourceMappingLoggingConfig { system_log_level: level.parse().ok() }),
        scaling_config: settings
            .concurrency_max
            .map(|most| ScalingConfig { maximum_concurrency: i32::try_from(most).ok() }),
        function_arn: Some(match &mapping.qualifier {
            Some(qualifier) => format!("{function}:{qualifier}"),
            None => function,
        }),
        last_modified: Some(mapping.modified),
        state: Some(mapping.state.as_str().to_owned()),
        state_transition_reason: Some(mapping.reason().to_owned()),
        function_response_types: Some(if settings.reports_items {
            vec![FunctionResponseType::ReportBatchItemFailures]
        } else {
            Vec::new()
        }),
        event_source_mapping_arn: Some(place.mapping_arn(&mapping.uuid)),
        provisioned_poller_config: settings.pollers.as_ref().map(|pollers| ProvisionedPollerConfig {
            minimum_pollers: number(pollers.least),
            maximum_pollers: number(pollers.most),
            poller_group_name: pollers.group.clone(),
        }),
        ..EventSourceMappingConfiguration::default()
    }
}
