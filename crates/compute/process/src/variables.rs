//! The environment variables of a function: AWS's reserved ones around its own, in AWS's values wherever they mean
//! something here. Guarantee: a function's own variable never replaces a reserved one.

use std::collections::BTreeMap;

use compute_api::{EnvironmentSpec, InitializationType, Language, LogFormat, endpoint::ENDPOINT_PORT};

use crate::host::credentials;

const LIBRARIES: &str = "/lib64:/usr/lib64:/var/runtime:/var/runtime/lib:/var/task:/var/task/lib:/opt/lib";
const PATH: &str = "/usr/local/bin:/usr/bin/:/bin:/opt/bin";

/// What a runtime finds that is booted before its function is known: those that it reads only then, in the values that
/// functions have which do not set them.
pub(crate) fn before_assignment(runtime: &str, language: Language) -> Vec<String> {
    let variables = common(runtime, language);
    variables.into_iter().map(|(name, value)| format!("{name}={value}")).collect()
}

/// What a function may change.
fn common(runtime: &str, language: Language) -> BTreeMap<String, String> {
    let mut variables: BTreeMap<String, String> = BTreeMap::new();
    let mut set = |name: &str, value: &str| {
        variables.insert(name.to_owned(), value.to_owned());
    };
    set("LANG", "en_US.UTF-8");
    set("TZ", ":UTC");
    set("AWS_XRAY_CONTEXT_MISSING", "LOG_ERROR");
    if language != Language::Custom || runtime != "provided.al2" {
        set("PATH", &format!("/var/lang/bin:{PATH}"));
        set("LD_LIBRARY_PATH", &format!("/var/lang/lib:{LIBRARIES}"));
    } else {
        set("PATH", PATH);
        set("LD_LIBRARY_PATH", LIBRARIES);
    }
    match language {
        Language::Python => set("PYTHONPATH", "/var/runtime"),
        Language::Node => {
            let major = runtime.trim_start_matches("nodejs").trim_end_matches(".x");
            set(
                "NODE_PATH",
                &format!(
                    "/opt/nodejs/node{major}/node_modules:/opt/nodejs/node_modules:/var/runtime/node_modules:\
                     /var/runtime:/var/task"
                ),
            );
        }
        Language::Custom => {}
    }
    variables
}

/// `NAME=value` for every variable, sorted by name.
pub(crate) fn of(spec: &EnvironmentSpec, language: Language) -> Vec<String> {
    let mut variables = common(&spec.runtime, language);
    let mut set = |name: &str, value: &str| {
        variables.insert(name.to_owned(), value.to_owned());
    };
    let endpoint = format!("http://127.0.0.1:{ENDPOINT_PORT}");
    set("AWS_ENDPOINT_URL", &endpoint);
    for (name, value) in &spec.variables {
        variables.insert(name.clone(), value.clone());
    }
    let mut set = |name: &str, value: &str| {
        variables.insert(name.to_owned(), value.to_owned());
    };
    set("_HANDLER", &spec.handler);
    set("AWS_REGION", spec.region.as_str());
    set("AWS_DEFAULT_REGION", spec.region.as_str());
    if spec.initialization == InitializationType::SnapStart {
        // Of variables a session would keep what it found at the copy.
        let (port, path) = (crate::RUNTIME_API_PORT, credentials::PATH);
        set("AWS_CONTAINER_CREDENTIALS_FULL_URI", &format!("http://127.0.0.1:{port}{path}"));
    } else {
        set("AWS_ACCESS_KEY_ID", &spec.credentials.access_key_id);
        set("AWS_SECRET_ACCESS_KEY", &spec.credentials.secret_access_key);
        set("AWS_SESSION_TOKEN", &spec.credentials.session_token);
    }
    set("AWS_LAMBDA_FUNCTION_NAME", &spec.function_name);
    set("AWS_LAMBDA_FUNCTION_VERSION", &spec.version);
    set("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", &spec.memory_mib.to_string());
    set("AWS_LAMBDA_LOG_GROUP_NAME", &spec.logging.group);
    set("AWS_LAMBDA_LOG_STREAM_NAME", &spec.logging.stream);
    set("AWS_LAMBDA_INITIALIZATION_TYPE", spec.initialization.as_str());
    set("AWS_LAMBDA_RUNTIME_API", &format!("127.0.0.1:{}", crate::RUNTIME_API_PORT));
    set("LAMBDA_TASK_ROOT", "/var/task");
    set("LAMBDA_RUNTIME_DIR", "/var/runtime");
    if spec.logging.format == LogFormat::Json {
        set("AWS_LAMBDA_LOG_FORMAT", "JSON");
    }
    if let Some(level) = &spec.logging.application_level {
        set("AWS_LAMBDA_LOG_LEVEL", level);
    }
    if language != Language::Custom {
        set("AWS_EXECUTION_ENV", &format!("AWS_Lambda_{}", spec.runtime));
        set("PWD", "/var/task");
        set("SHLVL", "0");
    }
    variables.into_iter().map(|(name, value)| format!("{name}={value}")).collect()
}
