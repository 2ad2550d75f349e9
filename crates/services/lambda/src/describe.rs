//! From what is stored to what AWS answers: configurations, aliases, URLs. Pure.

use model_lambda::{
    AliasConfiguration, AliasRoutingConfiguration, Architecture, Cors, DeadLetterConfig, EnvironmentResponse,
    EphemeralStorage, FunctionConfiguration, FunctionUrlAuthType, FunctionUrlConfig, InvokeMode, LastUpdateStatus,
    Layer, LogFormat, LoggingConfig, PackageType, RuntimeVersionConfig, SnapStartApplyOn, SnapStartOptimizationStatus,
    SnapStartResponse, StateReasonCode, TracingConfigResponse,
};
use sha2::{Digest, Sha256};

use crate::{
    configuration::Configuration,
    function::{Alias, Snapshot, State, Update, Version, label},
    names::{function_arn, qualified_arn},
    tables::Place,
    url::{FunctionUrl, UrlBase, cors::Rules},
};

/// The text of a creation or an update under way.
const CREATING: &str = "The function is being created.";

/// How much of a version is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Detail {
    /// Everything, as the operations about one function answer it.
    Full,
    /// Without states and runtime version, as lists have it.
    Listed,
}

/// A version's configuration, under the ARN by which it was asked for.
pub(crate) fn configuration(
    place: &Place,
    name: &str,
    version: &Version,
    arn: String,
    detail: Detail,
) -> FunctionConfiguration {
    let configuration = &version.configuration;
    let mut out = FunctionConfiguration {
        function_name: Some(name.to_owned()),
        function_arn: Some(arn),
        runtime: Some(configuration.runtime.clone()),
        role: Some(configuration.role.clone()),
        handler: Some(configuration.handler.clone()),
        code_size: i64::try_from(version.code.bytes).ok(),
        description: Some(configuration.description.clone()),
        timeout: i32::try_from(configuration.timeout_seconds).ok(),
        memory_size: i32::try_from(configuration.memory_mib).ok(),
        last_modified: Some(version.modified.to_iso8601_offset()),
        code_sha256: Some(version.code.sha256_base64()),
        version: Some(version.label()),
        environment: configuration
            .variables
            .clone()
            .map(|variables| EnvironmentResponse { variables: Some(variables), error: None }),
        kms_key_arn: configuration.kms_key_arn.clone(),
        tracing_config: Some(TracingConfigResponse { mode: configuration.tracing_mode.parse().ok() }),
        revision_id: Some(version.revision.clone()),
        package_type: Some(PackageType::Zip),
        architectures: Some(vec![configuration.architecture.parse().unwrap_or(Architecture::X8664)]),
        ephemeral_storage: Some(EphemeralStorage { size: i32::try_from(configuration.tmp_mib).unwrap_or(i32::MAX) }),
        layers: layers(configuration),
        dead_letter_config: configuration
            .dead_letter_arn
            .clone()
            .map(|target_arn| DeadLetterConfig { target_arn: Some(target_arn) }),
        snap_start: Some(snap_start(version)),
        logging_config: Some(LoggingConfig {
            log_format: Some(if configuration.logging.json { LogFormat::Json } else { LogFormat::Text }),
            application_log_level: configuration.logging.application_level.as_deref().and_then(|l| l.parse().ok()),
            system_log_level: configuration.logging.system_level.as_deref().and_then(|l| l.parse().ok()),
            log_group: Some(configuration.logging.group.clone()),
        }),
        ..FunctionConfiguration::default()
    };
    if detail == Detail::Full {
        out.runtime_version_config = Some(RuntimeVersionConfig {
            runtime_version_arn: Some(runtime_version_arn(place, &configuration.runtime)),
            error: None,
        });
        put_states(&mut out, version);
    }
    out
}

/// `None` when it uses none: AWS omits the member then.
fn layers(configuration: &Configuration) -> Option<Vec<Layer>> {
    let layers = configuration.layers.iter().map(|layer| Layer {
        arn: Some(layer.arn.clone()),
        code_size: i64::try_from(layer.bytes).ok(),
        ..Layer::default()
    });
    (!configuration.layers.is_empty()).then(|| layers.collect())
}

fn snap_start(version: &Version) -> SnapStartResponse {
    let apply_on =
        if version.configuration.snap_start { SnapStartApplyOn::PublishedVersions } else { SnapStartApplyOn::None };
    let status =
        if version.wants_snapshot() { SnapStartOptimizationStatus::On } else { SnapStartOptimizationStatus::Off };
    SnapStartResponse { apply_on: Some(apply_on), optimization_status: Some(status) }
}

fn put_states(out: &mut FunctionConfiguration, version: &Version) {
    out.state = version.state.as_str().parse().ok();
    match &version.state {
        State::Pending => {
            out.state_reason = Some(CREATING.to_owned());
            out.state_reason_code = Some(StateReasonCode::Creating);
        }
        State::Failed { reason, code } => {
            out.state_reason = Some(reason.clone());
            let code = code.as_deref().and_then(|code| code.parse().ok());
            out.state_reason_code = Some(code.unwrap_or(StateReasonCode::InternalError));
        }
        State::Active => {
            if let Some(Snapshot::Refused { reason }) = &version.snapshot {
                out.state_reason =
                    Some(format!("The function starts without SnapStart, each environment by itself: {reason}"));
            }
        }
    }
    match &version.update {
        None => {}
        Some(Update::Successful) => out.last_update_status = Some(LastUpdateStatus::Successful),
        Some(Update::InProgress) => {
            out.last_update_status = Some(LastUpdateStatus::InProgress);
            out.last_update_status_reason = Some(CREATING.to_owned());
            out.last_update_status_reason_code = Some("Creating".to_owned());
        }
        Some(Update::Failed { reason }) => {
            out.last_update_status = Some(LastUpdateStatus::Failed);
            out.last_update_status_reason = Some(reason.clone());
            out.last_update_status_reason_code = Some("InternalError".to_owned());
        }
    }
}

/// The ARN of the version of a runtime: AWS's are opaque digests.
pub(crate) fn runtime_version_arn(place: &Place, runtime: &str) -> String {
    let region = &place.region;
    let digest = Sha256::digest(format!("pileus runtime {runtime}"));
    let hex: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("arn:{}:lambda:{region}::runtime:{hex}", region.partition())
}

/// An alias.
pub(crate) fn alias(place: &Place, function: &str, alias: &Alias) -> AliasConfiguration {
    AliasConfiguration {
        alias_arn: Some(qualified_arn(&place.region, place.account, function, &alias.name)),
        name: Some(alias.name.clone()),
        function_version: Some(label(alias.version)),
        description: Some(alias.description.clone()),
        routing_config: alias.weight.map(|(version, weight)| AliasRoutingConfiguration {
            additional_version_weights: Some([(version.to_string(), weight)].into()),
        }),
        revision_id: Some(alias.revision.clone()),
    }
}

/// A URL.
pub(crate) fn url(place: &Place, function: &str, url: &FunctionUrl, base: &UrlBase) -> FunctionUrlConfig {
    let arn = match &url.alias {
        Some(alias) => qualified_arn(&place.region, place.account, function, alias),
        None => function_arn(&place.region, place.account, function),
    };
    FunctionUrlConfig {
        function_url: base.url(&url.id, place.region.as_str()),
        function_arn: arn,
        creation_time: url.created.to_iso8601(),
        last_modified_time: url.modified.to_iso8601(),
        cors: url.cors.as_ref().map(cors),
        auth_type: if url.signed { FunctionUrlAuthType::AwsIam } else { FunctionUrlAuthType::None },
        invoke_mode: Some(if url.streamed { InvokeMode::ResponseStream } else { InvokeMode::Buffered }),
    }
}

fn cors(rules: &Rules) -> Cors {
    Cors {
        allow_credentials: rules.allow_credentials,
        allow_headers: rules.allow_headers.clone(),
        allow_methods: rules.allow_methods.clone(),
        allow_origins: rules.allow_origins.clone(),
        expose_headers: rules.expose_headers.clone(),
        max_age: rules.max_age_seconds.and_then(|seconds| i32::try_from(seconds).ok()),
    }
}

/// The rules in a request.
pub(crate) fn rules(cors: &Cors) -> Rules {
    Rules {
        allow_credentials: cors.allow_credentials,
        allow_headers: cors.allow_headers.clone(),
        allow_methods: cors.allow_methods.clone(),
        allow_origins: cors.allow_origins.clone(),
        expose_headers: cors.expose_headers.clone(),
        max_age_seconds: cors.max_age.and_then(|seconds| u32::try_from(seconds).ok()),
    }
}
