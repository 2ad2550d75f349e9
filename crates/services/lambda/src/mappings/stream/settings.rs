//! What a mapping of a stream can be set to beside what all mappings have: AWS's names, ranges, defaults and errors.

use std::time::Duration;

use minicbor::{Decode, Encode};

use crate::mappings::{
    settings::{GivenStream, SettingsError},
    source::Stream,
};

/// The least age of a record that may be set (AWS: -1 for any age, or 60 seconds to a week).
const AGE_SECONDS_MIN: u32 = 60;

/// The settings.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub(crate) struct StreamSettings {
    #[n(0)]
    pub(crate) start: Start,
    /// Batches of a shard at once.
    #[n(1)]
    pub(crate) parallelization: u32,
    /// Older records are given up.
    #[n(2)]
    pub(crate) age_seconds_max: Option<u32>,
    /// A batch that failed is halved.
    #[n(3)]
    pub(crate) bisects: bool,
    /// How often a batch is tried again before it is given up.
    #[n(4)]
    pub(crate) retries_max: Option<u32>,
    /// Length of a window with a state; zero: none.
    #[n(5)]
    pub(crate) tumbling_seconds: u32,
    /// ARN of who is told what was given up.
    #[n(6)]
    pub(crate) on_failure: Option<String>,
}

/// Where a mapping begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
#[cbor(index_only)]
pub(crate) enum Start {
    #[n(0)]
    TrimHorizon,
    #[n(1)]
    Latest,
}

impl Start {
    /// AWS's word.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::TrimHorizon => "TRIM_HORIZON",
            Self::Latest => "LATEST",
        }
    }
}

impl StreamSettings {
    /// Of a new mapping.
    pub(crate) fn new(stream: Stream, arn: &str, given: &GivenStream) -> Result<Self, SettingsError> {
        let start = match given.starting_position.as_deref() {
            None => return Err(SettingsError::NoPosition),
            Some("AT_TIMESTAMP") if stream == Stream::Table => return Err(SettingsError::Position(arn.to_owned())),
            Some("LATEST") => Start::Latest,
            Some(_) => Start::TrimHorizon,
        };
        if given.has_timestamp {
            return Err(SettingsError::Unsupported("StartingPositionTimestamp"));
        }
        Ok(Self {
            start,
            parallelization: 1,
            age_seconds_max: None,
            bisects: false,
            retries_max: None,
            tumbling_seconds: 0,
            on_failure: None,
        })
    }

    /// Takes over what is given.
    pub(crate) fn change(&mut self, given: &GivenStream) -> Result<(), SettingsError> {
        let number = |given: i32| u32::try_from(given).ok();
        self.parallelization = given.parallelization.and_then(number).unwrap_or(self.parallelization).max(1);
        if let Some(age) = given.age_seconds_max {
            self.age_seconds_max = number(age);
        }
        if self.age_seconds_max.is_some_and(|age| age < AGE_SECONDS_MIN) {
            return Err(SettingsError::Age);
        }
        self.bisects = given.bisects.unwrap_or(self.bisects);
        if let Some(retries) = given.retries_max {
            self.retries_max = number(retries);
        }
        self.tumbling_seconds = given.tumbling_seconds.and_then(number).unwrap_or(self.tumbling_seconds);
        if let Some(on_failure) = &given.on_failure {
            self.on_failure = Some(on_failure.clone()).filter(|arn| !arn.is_empty());
        }
        Ok(())
    }

    /// How many lanes a shard has. A window's state is of a whole shard, so then there is one.
    pub(crate) fn lanes(&self) -> u64 {
        if self.tumbling_seconds > 0 { 1 } else { self.parallelization.into() }
    }

    pub(crate) fn age_max(&self) -> Option<Duration> {
        self.age_seconds_max.map(|seconds| Duration::from_secs(seconds.into()))
    }
}
