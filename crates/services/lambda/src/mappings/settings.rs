//! What a mapping can be set to: AWS's names, ranges, defaults and errors.
//!
//! Ranges of single members are the wire constraints'; here is what depends on the source and on each other.

use minicbor::{Decode, Encode};

use super::{
    filter::{FILTERS_MAX, Filters, InvalidFilter},
    source::{Source, SourceError, Stream},
    stream::settings::StreamSettings,
};

/// The largest batch of a FIFO queue, and of a queue without a window.
const BATCH_AT_ONCE_MAX: u32 = 10;

/// The settings of a mapping.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub(crate) struct Settings {
    /// Records of a batch at most.
    #[n(0)]
    pub(crate) batch_size: u32,
    /// How long records are gathered, in seconds.
    #[n(1)]
    pub(crate) window_seconds: u32,
    /// Patterns of which a record has to match one.
    #[n(2)]
    pub(crate) filters: Vec<String>,
    /// Whether the function says which records failed.
    #[n(3)]
    pub(crate) reports_items: bool,
    /// Batches at once.
    #[n(4)]
    pub(crate) concurrency_max: Option<u32>,
    /// Provisioned pollers.
    #[n(5)]
    pub(crate) pollers: Option<Pollers>,
    /// ARN of a key; without effect.
    #[n(6)]
    pub(crate) kms_key: Option<String>,
    /// Metrics; without effect.
    #[n(7)]
    pub(crate) metrics: Vec<String>,
    /// Level of the pollers' log; without effect.
    #[n(8)]
    pub(crate) log_level: Option<String>,
    /// What streams alone have.
    #[n(9)]
    pub(crate) stream: Option<StreamSettings>,
}

/// Provisioned pollers.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub(crate) struct Pollers {
    /// How many there are always.
    #[n(0)]
    pub(crate) least: u32,
    /// How many there may be.
    #[n(1)]
    pub(crate) most: u32,
    /// Their group; without effect.
    #[n(2)]
    pub(crate) group: Option<String>,
}

impl Pollers {
    /// AWS's defaults for queues.
    const LEAST: u32 = 2;
    const MOST: u32 = 200;
    /// AWS's bound for queues.
    const QUEUE_MOST: u32 = 2000;
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            batch_size: BATCH_AT_ONCE_MAX,
            window_seconds: 0,
            filters: Vec::new(),
            reports_items: false,
            concurrency_max: None,
            pollers: None,
            kms_key: None,
            metrics: Vec::new(),
            log_level: None,
            stream: None,
        }
    }
}

/// What a request says. Absent is what it says nothing of; an empty inner value takes away what is there.
#[derive(Debug, Clone, Default)]
pub(crate) struct Given {
    pub(crate) batch_size: Option<u32>,
    pub(crate) window_seconds: Option<u32>,
    pub(crate) filters: Option<Vec<String>>,
    pub(crate) reports_items: Option<bool>,
    pub(crate) concurrency_max: Option<Option<u32>>,
    pub(crate) pollers: Option<Option<GivenPollers>>,
    pub(crate) kms_key: Option<String>,
    pub(crate) metrics: Option<Vec<String>>,
    pub(crate) log_level: Option<Option<String>>,
    /// What streams alone have.
    pub(crate) stream: GivenStream,
}

/// Provisioned pollers as given.
#[derive(Debug, Clone, Default)]
pub(crate) struct GivenPollers {
    pub(crate) least: Option<u32>,
    pub(crate) most: Option<u32>,
    pub(crate) group: Option<String>,
}

/// What streams alone have, as given.
#[derive(Debug, Clone, Default)]
pub(crate) struct GivenStream {
    pub(crate) starting_position: Option<String>,
    pub(crate) has_timestamp: bool,
    pub(crate) parallelization: Option<i32>,
    /// Whom `DestinationConfig` names for failures; empty: nobody.
    pub(crate) on_failure: Option<String>,
    /// It names somebody for successes, whom streams do not have.
    pub(crate) has_on_success: bool,
    pub(crate) age_seconds_max: Option<i32>,
    pub(crate) bisects: Option<bool>,
    pub(crate) retries_max: Option<i32>,
    pub(crate) tumbling_seconds: Option<i32>,
}

impl GivenStream {
    /// A member that is said to be something other than nothing.
    fn first(&self) -> Option<&'static str> {
        [
            ("StartingPosition", self.starting_position.is_some()),
            ("StartingPositionTimestamp", self.has_timestamp),
            ("ParallelizationFactor", self.parallelization.is_some_and(|factor| factor != 1)),
            ("DestinationConfig", self.has_on_success || self.on_failure.as_ref().is_some_and(|arn| !arn.is_empty())),
            ("MaximumRecordAgeInSeconds", self.age_seconds_max.is_some_and(|seconds| seconds != -1)),
            ("BisectBatchOnFunctionError", self.bisects == Some(true)),
            ("MaximumRetryAttempts", self.retries_max.is_some_and(|retries| retries != -1)),
            ("TumblingWindowInSeconds", self.tumbling_seconds.is_some_and(|seconds| seconds != 0)),
        ]
        .into_iter()
        .find_map(|(name, said)| said.then_some(name))
    }
}

/// Why settings are refused. The texts are AWS's where AWS's are known.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum SettingsError {
    /// What this kind of source does not have (recorded for `DestinationConfig`).
    #[error("Unsupported {0} parameter for given event source mapping type.")]
    Unsupported(&'static str),
    /// A large batch has to be gathered.
    #[error("Maximum batch window in seconds must be greater than 0 if maximum batch size is greater than 10")]
    LargeBatch,
    /// FIFO queues have small batches.
    #[error("Batch size must be less than or equal to {BATCH_AT_ONCE_MAX} for FIFO queues")]
    LargeFifoBatch,
    /// FIFO queues are not waited for.
    #[error("Batching window is not supported for FIFO queues")]
    FifoWindow,
    /// A pattern cannot be read.
    #[error(transparent)]
    Filter(#[from] InvalidFilter),
    /// Too many patterns.
    #[error("An event source mapping has at most {FILTERS_MAX} filters; {0} were given.")]
    Filters(usize),
    /// More pollers always than at most, or too many.
    #[error(
        "Minimum pollers ({least}) must not exceed maximum pollers ({most}), of which there are at most {}.",
        Pollers::QUEUE_MOST
    )]
    Pollers {
        /// How many always.
        least: u32,
        /// How many at most.
        most: u32,
    },
    /// AWS has either.
    #[error("ScalingConfig and ProvisionedPollerConfig cannot be used together.")]
    TwoScales,
    /// Streams begin somewhere (`ValidationException`).
    #[error(
        "1 validation error detected: Value null at 'startingPosition' failed to satisfy constraint: Member must not be null."
    )]
    NoPosition,
    /// Records that are younger are always tried.
    #[error("MaximumRecordAgeInSeconds must be -1 or between 60 and 604800.")]
    Age,
    /// Streams of tables have no times.
    #[error("Unsupported starting position for arn type: {0}")]
    Position(String),
    /// It is no source.
    #[error(transparent)]
    Source(#[from] SourceError),
}

impl Settings {
    /// Of a new mapping.
    pub(crate) fn new(source: Source, arn: &str, given: &Given) -> Result<Self, SettingsError> {
        let mut settings = Self { batch_size: source.batch_size(), ..Self::default() };
        if let Source::Stream(stream) = source {
            settings.stream = Some(StreamSettings::new(stream, arn, &given.stream)?);
        }
        settings.change(source, given)?;
        Ok(settings)
    }

    /// Takes over what is given; on an error the settings are not to be used.
    pub(crate) fn change(&mut self, source: Source, given: &Given) -> Result<(), SettingsError> {
        match (&mut self.stream, source) {
            (Some(stream), _) => {
                stream.change(&given.stream)?;
                check_stream(given)?;
            }
            (None, _) => {
                if let Some(member) = given.stream.first() {
                    return Err(SettingsError::Unsupported(member));
                }
            }
        }
        if source == Source::Stream(Stream::Kinesis) {
            // What its mapping consists of is checked; nobody serves it yet.
            return Err(SourceError::Missing(Stream::Kinesis.service()).into());
        }
        self.batch_size = given.batch_size.unwrap_or(self.batch_size);
        self.window_seconds = given.window_seconds.unwrap_or(self.window_seconds);
        self.reports_items = given.reports_items.unwrap_or(self.reports_items);
        self.concurrency_max = given.concurrency_max.unwrap_or(self.concurrency_max);
        if let Some(filters) = &given.filters {
            self.filters.clone_from(filters);
        }
        if let Some(pollers) = &given.pollers {
            self.pollers = pollers.as_ref().map(pollers_of).transpose()?;
        }
        if let Some(key) = &given.kms_key {
            self.kms_key = (!key.is_empty()).then(|| key.clone());
        }
        if let Some(metrics) = &given.metrics {
            self.metrics.clone_from(metrics);
        }
        if let Some(level) = &given.log_level {
            self.log_level.clone_from(level);
        }
        self.check(source)
    }

    fn check(&self, source: Source) -> Result<(), SettingsError> {
        if matches!(source, Source::Stream(_)) {
            // Any size goes with any window.
        } else if source == (Source::Queue { fifo: true }) {
            if self.window_seconds > 0 {
                return Err(SettingsError::FifoWindow);
            }
            if self.batch_size > BATCH_AT_ONCE_MAX {
                return Err(SettingsError::LargeFifoBatch);
            }
        } else if self.batch_size > BATCH_AT_ONCE_MAX && self.window_seconds == 0 {
            return Err(SettingsError::LargeBatch);
        }
        if self.filters.len() > FILTERS_MAX {
            return Err(SettingsError::Filters(self.filters.len()));
        }
        Filters::read(&self.filters)?;
        if self.pollers.is_some() && self.concurrency_max.is_some() {
            return Err(SettingsError::TwoScales);
        }
        Ok(())
    }
}

fn pollers_of(given: &GivenPollers) -> Result<Pollers, SettingsError> {
    let most = given.most.unwrap_or(Pollers::MOST.max(given.least.unwrap_or(0)));
    let least = given.least.unwrap_or(Pollers::LEAST.min(most));
    if least > most || most > Pollers::QUEUE_MOST {
        return Err(SettingsError::Pollers { least, most });
    }
    Ok(Pollers { least, most, group: given.group.clone() })
}

fn check_stream(given: &Given) -> Result<(), SettingsError> {
    for (member, given) in [
        ("ScalingConfig", given.concurrency_max.flatten().is_some()),
        ("ProvisionedPollerConfig", given.pollers.as_ref().is_some_and(Option::is_some)),
        ("DestinationConfig.OnSuccess", given.stream.has_on_success),
    ] {
        if given {
            return Err(SettingsError::Unsupported(member));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const QUEUE: Source = Source::Queue { fifo: false };
    const FIFO: Source = Source::Queue { fifo: true };
    const TABLE: Source = Source::Stream(Stream::Table);
    const ARN: &str = "arn:aws:dynamodb:us-east-1:111111111111:table/t/stream/s";

    fn refused(source: Source, given: &Given) -> String {
        Settings::new(source, ARN, given).unwrap_err().to_string()
    }

    #[test]
    fn batches_windows_and_sources_belong_together() {
        let batch = |size, window| Given { batch_size: Some(size), window_seconds: window, ..Given::default() };
        let large = "Maximum batch window in seconds must be greater than 0 if maximum batch size is greater than 10";
        assert_eq!(Settings::new(QUEUE, "", &Given::default()), Ok(Settings::default()));
        assert_eq!(refused(QUEUE, &batch(11, None)), large);
        assert_eq!(refused(QUEUE, &batch(11, Some(0))), large);
        assert!(Settings::new(QUEUE, "", &batch(10_000, Some(1))).is_ok());
        assert_eq!(refused(FIFO, &batch(10, Some(1))), "Batching window is not supported for FIFO queues");
        assert_eq!(refused(FIFO, &batch(11, None)), "Batch size must be less than or equal to 10 for FIFO queues");
        let mut settings = Settings::new(QUEUE, "", &batch(100, Some(5))).unwrap();
        let without = Given { window_seconds: Some(0), ..Given::default() };
        assert_eq!(settings.change(QUEUE, &without).unwrap_err().to_string(), large);
    }

    #[test]
    fn what_streams_alone_have_is_refused_for_queues_unless_it_says_nothing() {
        let stream = |stream| Given { stream, ..Given::default() };
        let text = |member| format!("Unsupported {member} parameter for given event source mapping type.");
        for (given, member) in [
            (GivenStream { on_failure: Some("arn".into()), ..GivenStream::default() }, "DestinationConfig"),
            (GivenStream { starting_position: Some("LATEST".into()), ..GivenStream::default() }, "StartingPosition"),
            (GivenStream { parallelization: Some(2), ..GivenStream::default() }, "ParallelizationFactor"),
            (GivenStream { bisects: Some(true), ..GivenStream::default() }, "BisectBatchOnFunctionError"),
            (GivenStream { retries_max: Some(0), ..GivenStream::default() }, "MaximumRetryAttempts"),
            (GivenStream { age_seconds_max: Some(60), ..GivenStream::default() }, "MaximumRecordAgeInSeconds"),
            (GivenStream { tumbling_seconds: Some(1), ..GivenStream::default() }, "TumblingWindowInSeconds"),
        ] {
            assert_eq!(refused(QUEUE, &stream(given)), text(member));
        }
        let nothing = GivenStream {
            parallelization: Some(1),
            bisects: Some(false),
            retries_max: Some(-1),
            age_seconds_max: Some(-1),
            tumbling_seconds: Some(0),
            ..GivenStream::default()
        };
        assert!(Settings::new(QUEUE, "", &stream(nothing)).is_ok());
    }

    #[test]
    fn streams_have_settings_of_their_own() {
        let from = |position: &str| Given {
            stream: GivenStream { starting_position: Some(position.to_owned()), ..GivenStream::default() },
            ..Given::default()
        };
        assert!(refused(TABLE, &Given::default()).contains("Value null at 'startingPosition'"));
        assert_eq!(refused(TABLE, &from("AT_TIMESTAMP")), format!("Unsupported starting position for arn type: {ARN}"));
        assert_eq!(refused(Source::Stream(Stream::Kinesis), &from("AT_TIMESTAMP")), "Kinesis as event source");
        let bad = Given { filters: Some(vec!["{".into()]), ..from("LATEST") };
        assert_eq!(refused(TABLE, &bad), "Invalid filter pattern definition.");
        let scaled = Given { concurrency_max: Some(Some(2)), ..from("LATEST") };
        assert!(refused(TABLE, &scaled).starts_with("Unsupported ScalingConfig"));
        let young =
            Given { stream: GivenStream { age_seconds_max: Some(59), ..from("LATEST").stream }, ..Given::default() };
        assert!(refused(TABLE, &young).starts_with("MaximumRecordAgeInSeconds must be"));
        let mut settings = Settings::new(TABLE, ARN, &from("LATEST")).unwrap();
        assert_eq!((settings.batch_size, settings.window_seconds), (100, 0));
        let stream = settings.stream.clone().unwrap();
        assert_eq!(
            (stream.parallelization, stream.age_seconds_max, stream.retries_max, stream.lanes()),
            (1, None, None, 1)
        );
        let all = GivenStream {
            parallelization: Some(10),
            on_failure: Some("arn".to_owned()),
            age_seconds_max: Some(60),
            bisects: Some(true),
            retries_max: Some(0),
            ..GivenStream::default()
        };
        settings.change(TABLE, &Given { batch_size: Some(10_000), stream: all, ..Given::default() }).unwrap();
        let stream = settings.stream.clone().unwrap();
        assert_eq!((stream.lanes(), stream.retries_max, stream.age_seconds_max), (10, Some(0), Some(60)));
        let none = GivenStream {
            on_failure: Some(String::new()),
            age_seconds_max: Some(-1),
            retries_max: Some(-1),
            tumbling_seconds: Some(900),
            ..GivenStream::default()
        };
        settings.change(TABLE, &Given { stream: none, ..Given::default() }).unwrap();
        let stream = settings.stream.unwrap();
        assert_eq!(
            (stream.lanes(), stream.retries_max, stream.age_seconds_max, stream.on_failure),
            (1, None, None, None)
        );
        assert!(stream.bisects);
    }

    #[test]
    fn what_is_given_replaces_and_empty_takes_away() {
        let filter = r#"{"body":["a"]}"#.to_owned();
        let first = Given {
            filters: Some(vec![filter.clone()]),
            reports_items: Some(true),
            concurrency_max: Some(Some(2)),
            kms_key: Some("arn:aws:kms:us-east-1:111111111111:key/k".into()),
            metrics: Some(vec!["EventCount".into()]),
            ..Given::default()
        };
        let mut settings = Settings::new(QUEUE, "", &first).unwrap();
        settings.change(QUEUE, &Given { batch_size: Some(3), ..Given::default() }).unwrap();
        assert_eq!((settings.batch_size, settings.concurrency_max, &settings.filters), (3, Some(2), &vec![filter]));
        let pollers = Given { pollers: Some(Some(GivenPollers::default())), ..Given::default() };
        assert_eq!(settings.clone().change(QUEUE, &pollers), Err(SettingsError::TwoScales));
        let empty = Given {
            filters: Some(Vec::new()),
            reports_items: Some(false),
            concurrency_max: Some(None),
            kms_key: Some(String::new()),
            metrics: Some(Vec::new()),
            ..pollers
        };
        settings.change(QUEUE, &empty).unwrap();
        let pollers = Some(Pollers { least: 2, most: 200, group: None });
        assert_eq!(settings, Settings { batch_size: 3, pollers, ..Settings::default() });
        let wrong = GivenPollers { least: Some(5), most: Some(4), group: None };
        assert!(
            refused(QUEUE, &Given { pollers: Some(Some(wrong)), ..Given::default() })
                .starts_with("Minimum pollers (5)")
        );
        assert!(
            refused(QUEUE, &Given { filters: Some(vec!["{}".into(); 11]), ..Given::default() }).contains("11 were")
        );
    }
}
