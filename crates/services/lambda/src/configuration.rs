//! What a function is configured to be: the values, their defaults, and AWS's objections to wrong ones.
//!
//! Pure. The wire constraints (lengths, patterns, ranges of the model) were checked before; here are the rules that AWS's
//! model does not hold. Guarantee: a [`Configuration`] that [`Configuration::check`] let through can be run, or be refused
//! by the host for its runtime only.

use std::collections::BTreeMap;

use base_types::{AccountId, Arn};
use minicbor::{Decode, Encode};

/// Everything that is copied into a version when it is published.
#[derive(Debug, Clone, PartialEq, Encode, Decode)]
#[cbor(map)]
pub struct Configuration {
    /// AWS's identifier of the runtime, for example `python3.11`.
    #[n(0)]
    pub runtime: String,
    /// ARN of the execution role.
    #[n(1)]
    pub role: String,
    /// What the runtime calls, for example `app.handler`.
    #[n(2)]
    pub handler: String,
    /// Free text.
    #[n(3)]
    pub description: String,
    /// How long one invocation may take.
    #[n(4)]
    pub timeout_seconds: u32,
    /// Memory limit.
    #[n(5)]
    pub memory_mib: u32,
    /// The function's own environment variables; `None` when it was never given any (AWS then omits the member).
    #[n(6)]
    pub variables: Option<BTreeMap<String, String>>,
    /// `x86_64` or `arm64`: kept and answered; functions run on the host's own architecture.
    #[n(7)]
    pub architecture: String,
    /// Size of `/tmp`.
    #[n(8)]
    pub tmp_mib: u32,
    /// `PassThrough` or `Active`: kept and answered.
    #[n(9)]
    pub tracing_mode: String,
    /// Where and how it logs.
    #[n(10)]
    pub logging: Logging,
    /// Kept and answered.
    #[n(11)]
    pub kms_key_arn: Option<String>,
    /// Merged into `/opt`, later over earlier.
    #[n(12)]
    #[cbor(default)]
    pub layers: Vec<LayerUse>,
    /// Whether published versions are initialised once (`SnapStart`: `PublishedVersions`).
    #[n(13)]
    #[cbor(default)]
    pub snap_start: bool,
    /// Where events go that were given up: the ARN of a queue or a topic.
    #[n(14)]
    pub dead_letter_arn: Option<String>,
}

/// A layer version as a function uses it: it keeps working when the layer version is deleted.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct LayerUse {
    /// ARN of the layer version.
    #[n(0)]
    pub arn: String,
    /// SHA-256 of its zip, in lower-case hexadecimal.
    #[n(1)]
    pub digest: String,
    /// Size of the zip in bytes.
    #[n(2)]
    pub bytes: u64,
    /// Size of its files together.
    #[n(3)]
    pub unzipped_bytes: u64,
}

/// `LoggingConfig`.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Logging {
    /// Whether the format is `JSON` (else `Text`).
    #[n(0)]
    pub json: bool,
    /// Only with JSON: `TRACE` … `FATAL`.
    #[n(1)]
    pub application_level: Option<String>,
    /// Only with JSON: `DEBUG`, `INFO` or `WARN`.
    #[n(2)]
    pub system_level: Option<String>,
    /// The log group.
    #[n(3)]
    pub group: String,
}

/// Why a configuration is refused (`InvalidParameterValueException`, unless it says otherwise). The texts are AWS's.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConfigurationError {
    /// A runtime that AWS does not know.
    #[error(
        "Value {0} at 'runtime' failed to satisfy constraint: Member must satisfy enum value set: [{list}] or be a valid ARN",
        list = RUNTIMES.join(", ")
    )]
    UnknownRuntime(String),
    /// A runtime that AWS has retired.
    #[error(
        "The runtime parameter of {0} is no longer supported for creating or updating AWS Lambda functions. \
         We recommend you use a supported runtime while creating or updating functions."
    )]
    RetiredRuntime(String),
    /// Runtime or handler are missing.
    #[error("Runtime and Handler are mandatory parameters for functions created with deployment packages.")]
    RuntimeAndHandlerMissing,
    /// More than 15 minutes (`ValidationException`).
    #[error(
        "1 validation error detected: Value '{0}' at 'timeout' failed to satisfy constraint: Member must have value less \
         than or equal to 900"
    )]
    TimeoutTooLong(u32),
    /// More than 10,240 MB.
    #[error("'MemorySize' value failed to satisfy constraint: Member must have value less than or equal to 10240")]
    MemoryTooLarge(u32),
    /// More than 10,240 MB (`ValidationException`).
    #[error(
        "1 validation error detected: Value '{0}' at 'ephemeralStorage.size' failed to satisfy constraint: Member must \
         have value less than or equal to 10240"
    )]
    TmpTooLarge(u32),
    /// Variables that only Lambda may set.
    #[error(
        "Lambda was unable to configure your environment variables because the environment variables you have provided \
         contains reserved keys that are currently not supported for modification. Reserved keys used in this request: {0}"
    )]
    ReservedVariables(String),
    /// More than 4 KiB of variables, measured as JSON.
    #[error(
        "Lambda was unable to configure your environment variables because the environment variables you have provided \
         exceeded the 4KB limit. String measured: {0}"
    )]
    VariablesTooLarge(String),
    /// SnapStart for a runtime that cannot be snapshotted at AWS.
    #[error("{0} is not supported for SnapStart enabled functions.")]
    SnapStartRuntime(String),
    /// SnapStart with a large `/tmp`.
    #[error("Ephemeral storage greater than 512 MB is not supported for SnapStart enabled functions.")]
    SnapStartTmp,
    /// A dead-letter queue that is none.
    #[error("The provided target ARN {0} is invalid: a dead-letter target is an SQS queue or an SNS topic.")]
    DeadLetter(String),
    /// A level was given with the text format.
    #[error("The {0} parameter is only supported when LogFormat is JSON.")]
    LevelWithoutJson(&'static str),
}

impl ConfigurationError {
    /// Whether AWS answers `ValidationException` (its model's constraints) instead of `InvalidParameterValueException`.
    #[must_use]
    pub fn is_validation(&self) -> bool {
        matches!(self, Self::TimeoutTooLong(_) | Self::TmpTooLarge(_))
    }
}

/// The runtimes that AWS accepts, in the order of its error message.
pub const RUNTIMES: &[&str] = &[
    "nodejs20.x",
    "python3.14",
    "provided.al2023",
    "python3.12",
    "python3.13",
    "nodejs24.x",
    "nodejs22.x",
    "java25",
    "python3.10",
    "python3.11",
    "java21",
    "ruby3.3",
    "ruby3.4",
    "ruby3.2",
    "python3.8",
    "python3.9",
    "java17",
    "nodejs16.x",
    "dotnet10",
    "dotnet8",
    "java11",
    "dotnet6",
    "nodejs18.x",
    "provided.al2",
    "java8.al2",
];

/// The runtimes for which AWS has SnapStart (Lambda developer guide, "Supported runtimes" of SnapStart).
pub const SNAP_START_RUNTIMES: &[&str] =
    &["python3.12", "python3.13", "python3.14", "java11", "java17", "java21", "java25", "dotnet8", "dotnet10"];

/// The runtimes that AWS once had.
const RETIRED_RUNTIMES: &[&str] = &[
    "nodejs",
    "nodejs4.3",
    "nodejs4.3-edge",
    "nodejs6.10",
    "nodejs8.10",
    "nodejs10.x",
    "nodejs12.x",
    "nodejs14.x",
    "python2.7",
    "python3.6",
    "python3.7",
    "ruby2.5",
    "ruby2.7",
    "java8",
    "go1.x",
    "dotnetcore1.0",
    "dotnetcore2.0",
    "dotnetcore2.1",
    "dotnetcore3.1",
    "provided",
];

/// Variables that a function cannot set (Lambda developer guide, "Defined runtime environment variables").
const RESERVED_VARIABLES: &[&str] = &[
    "_HANDLER",
    "_X_AMZN_TRACE_ID",
    "AWS_ACCESS_KEY",
    "AWS_ACCESS_KEY_ID",
    "AWS_DEFAULT_REGION",
    "AWS_EXECUTION_ENV",
    "AWS_LAMBDA_FUNCTION_MEMORY_SIZE",
    "AWS_LAMBDA_FUNCTION_NAME",
    "AWS_LAMBDA_FUNCTION_VERSION",
    "AWS_LAMBDA_INITIALIZATION_TYPE",
    "AWS_LAMBDA_LOG_GROUP_NAME",
    "AWS_LAMBDA_LOG_STREAM_NAME",
    "AWS_LAMBDA_RUNTIME_API",
    "AWS_REGION",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN",
    "LAMBDA_RUNTIME_DIR",
    "LAMBDA_TASK_ROOT",
];

const VARIABLES_BYTES_MAX: usize = 4096;
const TIMEOUT_SECONDS_MAX: u32 = 900;
const MEMORY_MIB_MAX: u32 = 10_240;
const TMP_MIB_MAX: u32 = 10_240;
/// The same guide: no ephemeral storage larger than this with SnapStart.
const SNAP_START_TMP_MIB_MAX: u32 = 512;

impl Configuration {
    /// AWS's defaults for a new function.
    #[must_use]
    pub fn new(function_name: &str, role: &str) -> Self {
        Self {
            runtime: String::new(),
            role: role.to_owned(),
            handler: String::new(),
            description: String::new(),
            timeout_seconds: 3,
            memory_mib: 128,
            variables: None,
            architecture: "x86_64".to_owned(),
            tmp_mib: 512,
            tracing_mode: "PassThrough".to_owned(),
            logging: Logging::new(function_name),
            kms_key_arn: None,
            layers: Vec::new(),
            snap_start: false,
            dead_letter_arn: None,
        }
    }

    /// Bytes of all layers' files together.
    #[must_use]
    pub fn layers_unzipped_bytes(&self) -> u64 {
        self.layers.iter().map(|layer| layer.unzipped_bytes).sum()
    }

    /// Checks everything that AWS checks beyond its model.
    ///
    /// # Errors
    /// See [`ConfigurationError`].
    pub fn check(&self) -> Result<(), ConfigurationError> {
        if self.runtime.is_empty() || self.handler.is_empty() {
            return Err(ConfigurationError::RuntimeAndHandlerMissing);
        }
        check_runtime(&self.runtime)?;
        if self.timeout_seconds > TIMEOUT_SECONDS_MAX {
            return Err(ConfigurationError::TimeoutTooLong(self.timeout_seconds));
        }
        if self.memory_mib > MEMORY_MIB_MAX {
            return Err(ConfigurationError::MemoryTooLarge(self.memory_mib));
        }
        if self.tmp_mib > TMP_MIB_MAX {
            return Err(ConfigurationError::TmpTooLarge(self.tmp_mib));
        }
        if self.snap_start && !SNAP_START_RUNTIMES.contains(&self.runtime.as_str()) {
            return Err(ConfigurationError::SnapStartRuntime(self.runtime.clone()));
        }
        if self.snap_start && self.tmp_mib > SNAP_START_TMP_MIB_MAX {
            return Err(ConfigurationError::SnapStartTmp);
        }
        if let Some(arn) = self.dead_letter_arn.as_ref().filter(|arn| !is_dead_letter_target(arn)) {
            return Err(ConfigurationError::DeadLetter(arn.clone()));
        }
        self.variables.as_ref().map_or(Ok(()), check_variables)
    }
}

fn is_dead_letter_target(text: &str) -> bool {
    text.parse::<Arn>().is_ok_and(|arn| {
        matches!(arn.service.as_str(), "sqs" | "sns")
            && arn.account.parse::<AccountId>().is_ok()
            && !arn.resource.is_empty()
            && !arn.resource.contains([':', '/'])
    })
}

/// Whether AWS has, or had, a runtime of this name.
#[must_use]
pub fn is_runtime(name: &str) -> bool {
    RUNTIMES.contains(&name) || RETIRED_RUNTIMES.contains(&name)
}

fn check_runtime(runtime: &str) -> Result<(), ConfigurationError> {
    if RUNTIMES.contains(&runtime) {
        Ok(())
    } else if RETIRED_RUNTIMES.contains(&runtime) {
        Err(ConfigurationError::RetiredRuntime(runtime.to_owned()))
    } else {
        Err(ConfigurationError::UnknownRuntime(runtime.to_owned()))
    }
}

fn check_variables(variables: &BTreeMap<String, String>) -> Result<(), ConfigurationError> {
    let reserved: Vec<&str> =
        variables.keys().map(String::as_str).filter(|name| RESERVED_VARIABLES.contains(name)).collect();
    if !reserved.is_empty() {
        return Err(ConfigurationError::ReservedVariables(reserved.join(", ")));
    }
    let measured = serde_json::to_string(variables).unwrap_or_default();
    if measured.len() > VARIABLES_BYTES_MAX {
        return Err(ConfigurationError::VariablesTooLarge(measured));
    }
    Ok(())
}

impl Logging {
    /// AWS's defaults: text, to `/aws/lambda/<name>`.
    #[must_use]
    pub fn new(function_name: &str) -> Self {
        Self { json: false, application_level: None, system_level: None, group: format!("/aws/lambda/{function_name}") }
    }

    /// This configuration with the given members replaced, as a create or update does it.
    ///
    /// # Errors
    /// [`ConfigurationError::LevelWithoutJson`].
    pub fn changed(
        &self,
        format: Option<&str>,
        application_level: Option<&str>,
        system_level: Option<&str>,
        group: Option<&str>,
    ) -> Result<Self, ConfigurationError> {
        let json = format.map_or(self.json, |format| format == "JSON");
        if !json && application_level.is_some() {
            return Err(ConfigurationError::LevelWithoutJson("ApplicationLogLevel"));
        }
        if !json && system_level.is_some() {
            return Err(ConfigurationError::LevelWithoutJson("SystemLogLevel"));
        }
        // With JSON both levels are always there; with text they are gone.
        let level = |given: Option<&str>, before: &Option<String>| {
            json.then(|| given.or(before.as_deref()).unwrap_or("INFO").to_owned())
        };
        Ok(Self {
            json,
            application_level: level(application_level, &self.application_level),
            system_level: level(system_level, &self.system_level),
            group: group.unwrap_or(&self.group).to_owned(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sound() -> Configuration {
        Configuration {
            runtime: "python3.12".into(),
            handler: "app.handler".into(),
            ..Configuration::new("hello", "arn:aws:iam::000000000000:role/any")
        }
    }

    #[test]
    fn what_aws_refuses_is_refused_in_its_words() {
        let variables = |name: &str, value: &str| Some(BTreeMap::from([(name.to_owned(), value.to_owned())]));
        let too_large = "x".repeat(4096);
        for (configuration, message) in [
            (
                Configuration { runtime: "PYTHON3.9".into(), ..sound() },
                "Value PYTHON3.9 at 'runtime' failed to satisfy constraint: Member must satisfy enum value set: [nodejs20.x, \
                 python3.14, provided.al2023, python3.12, python3.13, nodejs24.x, nodejs22.x, java25, python3.10, python3.11, \
                 java21, ruby3.3, ruby3.4, ruby3.2, python3.8, python3.9, java17, nodejs16.x, dotnet10, dotnet8, java11, \
                 dotnet6, nodejs18.x, provided.al2, java8.al2] or be a valid ARN"
                    .to_owned(),
            ),
            (
                Configuration { runtime: "python3.7".into(), ..sound() },
                "The runtime parameter of python3.7 is no longer supported for creating or updating AWS Lambda functions. \
                 We recommend you use a supported runtime while creating or updating functions."
                    .to_owned(),
            ),
            (
                Configuration { handler: String::new(), ..sound() },
                "Runtime and Handler are mandatory parameters for functions created with deployment packages.".to_owned(),
            ),
            (
                Configuration { timeout_seconds: 901, ..sound() },
                "1 validation error detected: Value '901' at 'timeout' failed to satisfy constraint: Member must have value \
                 less than or equal to 900"
                    .to_owned(),
            ),
            (
                Configuration { memory_mib: 10_241, ..sound() },
                "'MemorySize' value failed to satisfy constraint: Member must have value less than or equal to 10240"
                    .to_owned(),
            ),
            (
                Configuration { runtime: "python3.11".into(), snap_start: true, ..sound() },
                "python3.11 is not supported for SnapStart enabled functions.".to_owned(),
            ),
            (
                Configuration { tmp_mib: 513, snap_start: true, ..sound() },
                "Ephemeral storage greater than 512 MB is not supported for SnapStart enabled functions.".to_owned(),
            ),
            (
                Configuration { dead_letter_arn: Some("arn:aws:s3:::bucket".into()), ..sound() },
                "The provided target ARN arn:aws:s3:::bucket is invalid: a dead-letter target is an SQS queue or an SNS \
                 topic."
                    .to_owned(),
            ),
            (
                Configuration { variables: variables("AWS_REGION", "x"), ..sound() },
                "Lambda was unable to configure your environment variables because the environment variables you have \
                 provided contains reserved keys that are currently not supported for modification. Reserved keys used in \
                 this request: AWS_REGION"
                    .to_owned(),
            ),
            (
                Configuration { variables: variables("A", &too_large), ..sound() },
                format!(
                    "Lambda was unable to configure your environment variables because the environment variables you have \
                     provided exceeded the 4KB limit. String measured: {{\"A\":\"{too_large}\"}}"
                ),
            ),
        ] {
            assert_eq!(configuration.check().unwrap_err().to_string(), message);
        }
        for configuration in [
            sound(),
            Configuration { timeout_seconds: 900, memory_mib: 10_240, tmp_mib: 10_240, ..sound() },
            Configuration { snap_start: true, ..sound() },
            Configuration { dead_letter_arn: Some("arn:aws:sqs:us-east-1:111111111111:q".into()), ..sound() },
            // {"A":"…"} is eight bytes more than the value.
            Configuration { variables: variables("A", &"x".repeat(4088)), ..sound() },
        ] {
            assert_eq!(configuration.check(), Ok(()));
        }
    }

    #[test]
    fn logging_is_changed_member_by_member() {
        let text = Logging::new("hello");
        let json = text.changed(Some("JSON"), None, None, None).unwrap();
        assert_eq!(
            json,
            Logging {
                json: true,
                application_level: Some("INFO".into()),
                system_level: Some("INFO".into()),
                group: "/aws/lambda/hello".into()
            }
        );
        let quiet = json.changed(None, Some("ERROR"), None, Some("cool_lambda")).unwrap();
        assert_eq!((quiet.application_level.as_deref(), quiet.group.as_str()), (Some("ERROR"), "cool_lambda"));
        assert_eq!(quiet.changed(Some("Text"), None, None, Some("/aws/lambda/hello")).unwrap(), text);
        assert!(text.changed(None, Some("ERROR"), None, None).is_err());
    }
}
