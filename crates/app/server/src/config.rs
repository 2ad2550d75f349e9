//! The server's configuration: what may be set, what it means, and where it may come from.
//!
//! Four layers, each over the one before: the defaults below, a TOML file, environment variables (`PILEUS_…`, named at
//! each field), the command line (which sets fields of [`ServerConfig`] directly). Guarantee: a field that does not exist,
//! a value out of range or of the wrong type is an error that names it; nothing is silently ignored.

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
    time::Duration,
};

use serde::Deserialize;

use crate::ServerError;

/// Everything an operator can set.
#[derive(Clone, Debug, Deserialize, PartialEq)]
#[serde(default, deny_unknown_fields)]
pub struct ServerConfig {
    /// Addresses to listen on. Any address beyond loopback makes signed requests mandatory. `PILEUS_LISTEN`, separated by
    /// commas.
    pub listen: Vec<SocketAddr>,
    /// The directory that holds all data; made if absent. `PILEUS_DATA`.
    pub data: PathBuf,
    /// Whether requests must be signed with a known key. `PILEUS_AUTH`.
    pub auth: Auth,
    /// Host names to be served beside loopback addresses, `localhost`, `*.localhost` and `*.localhost.localstack.cloud`;
    /// each includes its subdomains. `PILEUS_DOMAINS`, separated by commas.
    pub domains: Vec<String>,
    /// How functions run.
    pub functions: Functions,
    /// Limits of the network side.
    pub connections: Connections,
    /// What may be called by HTTP: subscribers of topics, API destinations.
    pub outbound: Outbound,
    /// Queues.
    pub sqs: SqsSettings,
    /// Tables and their streams.
    pub tables: Tables,
    /// The server's own log.
    pub log: Log,
    /// How long running invocations may take to finish when the server is asked to stop, seconds.
    /// `PILEUS_SHUTDOWN_SECONDS`.
    pub shutdown_seconds: u64,
}

/// Who may call.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub enum Auth {
    /// Open while only loopback addresses are listened on, required otherwise.
    #[default]
    Auto,
    /// Any credentials are accepted: for loopback only.
    Open,
    /// Every request is signed with a known key.
    Required,
}

/// How functions run.
#[derive(Clone, Debug, Deserialize, PartialEq)]
#[serde(default, deny_unknown_fields)]
pub struct Functions {
    /// Invocations at once per account and region (AWS: the account's concurrency limit).
    /// `PILEUS_FUNCTIONS_CONCURRENCY`.
    pub concurrency: u32,
    /// Memory that all execution environments together may be promised, MiB; 0 takes four fifths of the host's.
    /// `PILEUS_FUNCTIONS_MEMORY_BUDGET_MIB`.
    pub memory_budget_mib: u64,
    /// Environments that may be starting at once; 0 takes twice the number of processors.
    /// `PILEUS_FUNCTIONS_STARTS_CONCURRENT`.
    pub starts_concurrent: usize,
    /// An environment without invocations is stopped after this time, seconds, until enough idle times of its version are
    /// known to decide by them. `PILEUS_FUNCTIONS_IDLE_SECONDS_MAX`.
    pub idle_seconds_max: u64,
    /// Invocations that may wait for an environment at once, per function. `PILEUS_FUNCTIONS_WAITERS_MAX`.
    pub waiters_max: usize,
    /// The least isolation under which functions run (`full`, `no-limits`, `single-uid`); `auto` takes what the host
    /// gives in the open mode and asks for `full` when requests must be signed. `PILEUS_FUNCTIONS_ISOLATION_MIN`.
    pub isolation_min: String,
    /// Whether a function gets no more processor time than its memory gives it (as on AWS: 1769 MiB are one processor), even
    /// where nobody else wants it. Its initialisation is not slowed down. `PILEUS_FUNCTIONS_CPU_QUOTA`.
    pub cpu_quota: bool,
}

/// Limits of the network side.
#[derive(Clone, Debug, Deserialize, PartialEq)]
#[serde(default, deny_unknown_fields)]
pub struct Connections {
    /// Connections at once, all listeners together. `PILEUS_CONNECTIONS_MAX`.
    pub max: usize,
    /// Bytes of request bodies that may be held in memory at once, MiB. `PILEUS_CONNECTIONS_BODIES_MIB_MAX`.
    pub bodies_mib_max: usize,
}

/// What may be called by HTTP on somebody's behalf. Link-local addresses, with the metadata services among them, never.
#[derive(Clone, Debug, Default, Deserialize, PartialEq)]
#[serde(default, deny_unknown_fields)]
pub struct Outbound {
    /// Whether loopback and private networks may be called. `PILEUS_OUTBOUND_PRIVATE`.
    pub private: Private,
    /// Networks (`10.1.0.0/16`) and addresses that may be called though they are private. `PILEUS_OUTBOUND_ALLOW`,
    /// separated by commas.
    pub allow: Vec<String>,
}

/// Whether private networks may be called.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub enum Private {
    /// In the open mode, whose users run their subscribers on this machine; not when requests must be signed.
    #[default]
    Auto,
    /// They may.
    Permitted,
    /// They may not, unless they are named.
    Refused,
}

/// Tables and their streams.
#[derive(Clone, Debug, Deserialize, PartialEq)]
#[serde(default, deny_unknown_fields)]
pub struct Tables {
    /// How long records of a stream are added to one shard before its child takes over, seconds. AWS: about four hours;
    /// less for those who want to see their readers go from shard to shard. `PILEUS_TABLES_SHARD_SECONDS`.
    pub shard_seconds: u64,
}

impl Default for Tables {
    fn default() -> Self {
        Self { shard_seconds: 4 * 3600 }
    }
}

/// Queues.
#[derive(Clone, Debug, Default, Deserialize, PartialEq)]
#[serde(default, deny_unknown_fields)]
pub struct SqsSettings {
    /// In which form the addresses of queues are given; all are understood. `PILEUS_SQS_ENDPOINT_STRATEGY`, or
    /// `SQS_ENDPOINT_STRATEGY` as with other emulators.
    pub endpoint_strategy: EndpointStrategy,
}

/// The form of a queue's address.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub enum EndpointStrategy {
    /// `http://HOST/ACCOUNT/NAME`, on the host that the client used.
    #[default]
    Dynamic,
    /// The same.
    Off,
    /// `http://HOST/queue/REGION/ACCOUNT/NAME`.
    Path,
    /// `http://REGION.queue.HOST/ACCOUNT/NAME`.
    Domain,
    /// `http://sqs.REGION.HOST/ACCOUNT/NAME`.
    Standard,
}

impl EndpointStrategy {
    pub(crate) fn form(self) -> services_sqs::UrlForm {
        match self {
            Self::Dynamic | Self::Off => services_sqs::UrlForm::Dynamic,
            Self::Path => services_sqs::UrlForm::Path,
            Self::Domain => services_sqs::UrlForm::Domain,
            Self::Standard => services_sqs::UrlForm::Standard,
        }
    }
}

/// The server's own log, on standard error.
#[derive(Clone, Debug, Deserialize, PartialEq)]
#[serde(default, deny_unknown_fields)]
pub struct Log {
    /// What is logged: `error`, `warn`, `info`, `debug`, `trace`, or per part as in `info,edge_gateway=debug`. Requests
    /// are logged when `pileus::access=info` is among them.
    /// `PILEUS_LOG_LEVEL`.
    pub level: String,
    /// In which form. `PILEUS_LOG_FORMAT`.
    pub format: LogFormat,
}

/// The form of the server's own log.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// Text on a terminal, JSON otherwise.
    #[default]
    Auto,
    /// Lines for a reader.
    Text,
    /// One JSON object a line.
    Json,
}

impl Default for ServerConfig {
    fn default() -> Self {
        Self {
            listen: vec![SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 4566)],
            data: PathBuf::from("./pileus-data"),
            auth: Auth::Auto,
            domains: Vec::new(),
            functions: Functions::default(),
            connections: Connections::default(),
            outbound: Outbound::default(),
            sqs: SqsSettings::default(),
            tables: Tables::default(),
            log: Log::default(),
            shutdown_seconds: 20,
        }
    }
}

impl Default for Functions {
    fn default() -> Self {
        Self {
            concurrency: 1000,
            memory_budget_mib: 0,
            starts_concurrent: 0,
            idle_seconds_max: 600,
            waiters_max: 1000,
            isolation_min: "auto".to_owned(),
            cpu_quota: false,
        }
    }
}

impl Default for Connections {
    fn default() -> Self {
        Self { max: 4096, bodies_mib_max: 256 }
    }
}

impl Default for Log {
    fn default() -> Self {
        Self { level: "info".to_owned(), format: LogFormat::Auto }
    }
}

type Setter = fn(&mut ServerConfig, &str) -> Result<(), String>;

/// Every variable and the field it sets.
const VARIABLES: &[(&str, Setter)] = &[
    ("PILEUS_LISTEN", |config, text| list(&mut config.listen, text)),
    ("PILEUS_DATA", |config, text| value(&mut config.data, text)),
    ("PILEUS_AUTH", |config, text| word(&mut config.auth, text)),
    ("PILEUS_DOMAINS", |config, text| list(&mut config.domains, text)),
    ("PILEUS_FUNCTIONS_CONCURRENCY", |config, text| value(&mut config.functions.concurrency, text)),
    ("PILEUS_FUNCTIONS_MEMORY_BUDGET_MIB", |config, text| value(&mut config.functions.memory_budget_mib, text)),
    ("PILEUS_FUNCTIONS_STARTS_CONCURRENT", |config, text| value(&mut config.functions.starts_concurrent, text)),
    ("PILEUS_FUNCTIONS_IDLE_SECONDS_MAX", |config, text| value(&mut config.functions.idle_seconds_max, text)),
    ("PILEUS_FUNCTIONS_WAITERS_MAX", |config, text| value(&mut config.functions.waiters_max, text)),
    ("PILEUS_FUNCTIONS_ISOLATION_MIN", |config, text| value(&mut config.functions.isolation_min, text)),
    ("PILEUS_FUNCTIONS_CPU_QUOTA", |config, text| value(&mut config.functions.cpu_quota, text)),
    ("PILEUS_CONNECTIONS_MAX", |config, text| value(&mut config.connections.max, text)),
    ("PILEUS_CONNECTIONS_BODIES_MIB_MAX", |config, text| value(&mut config.connections.bodies_mib_max, text)),
    ("PILEUS_OUTBOUND_PRIVATE", |config, text| word(&mut config.outbound.private, text)),
    ("PILEUS_OUTBOUND_ALLOW", |config, text| list(&mut config.outbound.allow, text)),
    ("PILEUS_TABLES_SHARD_SECONDS", |config, text| value(&mut config.tables.shard_seconds, text)),
    ("SQS_ENDPOINT_STRATEGY", |config, text| word(&mut config.sqs.endpoint_strategy, text)),
    ("PILEUS_SQS_ENDPOINT_STRATEGY", |config, text| word(&mut config.sqs.endpoint_strategy, text)),
    ("PILEUS_LOG_LEVEL", |config, text| value(&mut config.log.level, text)),
    ("PILEUS_LOG_FORMAT", |config, text| word(&mut config.log.format, text)),
    ("PILEUS_SHUTDOWN_SECONDS", |config, text| value(&mut config.shutdown_seconds, text)),
];

fn value<T: std::str::FromStr>(field: &mut T, text: &str) -> Result<(), String>
where
    T::Err: std::fmt::Display,
{
    *field = text.parse().map_err(|error: T::Err| error.to_string())?;
    Ok(())
}

fn list<T: std::str::FromStr>(field: &mut Vec<T>, text: &str) -> Result<(), String>
where
    T::Err: std::fmt::Display,
{
    let parts = text.split(',').map(str::trim).filter(|part| !part.is_empty());
    *field = parts.map(|part| part.parse().map_err(|error: T::Err| error.to_string())).collect::<Result<_, _>>()?;
    Ok(())
}

fn word<T: for<'de> Deserialize<'de>>(field: &mut T, text: &str) -> Result<(), String> {
    let word: serde::de::value::StrDeserializer<'_, serde::de::value::Error> =
        serde::de::IntoDeserializer::into_deserializer(text);
    *field = T::deserialize(word).map_err(|error| error.to_string())?;
    Ok(())
}

impl ServerConfig {
    /// The defaults, the file over them, the environment over that. The caller lays the command line on top and then
    /// calls [`ServerConfig::check`] (as [`crate::run`] does).
    ///
    /// # Errors
    /// When the file cannot be read or something in it or in the environment is not as it must be.
    pub fn load(
        file: Option<&Path>,
        environment: impl IntoIterator<Item = (String, String)>,
    ) -> Result<Self, ServerError> {
        let mut config = match file {
            None => Self::default(),
            Some(path) => {
                let text = std::fs::read_to_string(path).map_err(|error| {
                    ServerError::new(format!("cannot read the configuration file `{}`", path.display())).because(error)
                })?;
                toml::from_str(&text).map_err(|error| {
                    ServerError::new(format!("the configuration file `{}` is not valid", path.display()))
                        .because(error.to_string().trim_end().to_owned())
                })?
            }
        };
        let environment: Vec<(String, String)> = environment.into_iter().collect();
        // In the order of the table, so that of two names for one field ours wins.
        for (variable, set) in VARIABLES {
            for (name, text) in environment.iter().filter(|(name, _)| name == variable) {
                set(&mut config, text).map_err(|error| {
                    ServerError::new(format!("the environment variable `{name}` is not valid: `{text}`")).because(error)
                })?;
            }
        }
        Ok(config)
    }

    /// Checks what the types cannot.
    ///
    /// # Errors
    /// The first field that is out of range, or the combination that would be unsafe.
    pub fn check(&self) -> Result<(), ServerError> {
        if self.listen.is_empty() {
            return Err(ServerError::new("no address to listen on").remedy("name at least one in `listen`"));
        }
        if let Some(address) = self.listen.iter().find(|address| !address.ip().is_loopback())
            && self.auth == Auth::Open
        {
            return Err(ServerError::new(format!(
                "refusing to listen on {address} without authentication: everybody who can reach it could run code here"
            ))
            .remedy("leave out `auth = \"open\"`, or listen on 127.0.0.1 only"));
        }
        let ranges = [
            ("functions.concurrency", u64::from(self.functions.concurrency), 1, 1_000_000),
            ("functions.memory_budget_mib", self.functions.memory_budget_mib, 0, 1 << 40),
            ("functions.starts_concurrent", self.functions.starts_concurrent as u64, 0, 1024),
            ("functions.idle_seconds_max", self.functions.idle_seconds_max, 1, 6 * 3600),
            ("functions.waiters_max", self.functions.waiters_max as u64, 1, 100_000),
            ("connections.max", self.connections.max as u64, 8, 1_000_000),
            ("connections.bodies_mib_max", self.connections.bodies_mib_max as u64, 64, 1 << 20),
            ("tables.shard_seconds", self.tables.shard_seconds, 1, 24 * 3600),
            ("shutdown_seconds", self.shutdown_seconds, 0, 3600),
        ];
        for (name, value, least, greatest) in ranges {
            if !(least..=greatest).contains(&value) {
                return Err(ServerError::new(format!("`{name}` must be {least} to {greatest}, not {value}")));
            }
        }
        if self.functions.isolation_min != "auto" {
            self.functions
                .isolation_min
                .parse::<compute_api::IsolationLevel>()
                .map_err(|error| ServerError::new("`functions.isolation_min` is not valid").because(error))?;
        }
        self.outbound_rules()?;
        for domain in &self.domains {
            let valid = !domain.is_empty()
                && domain.len() <= 253
                && domain.split('.').all(|label| {
                    (1..=63).contains(&label.len())
                        && label.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
                });
            if !valid {
                return Err(ServerError::new(format!("`{domain}` in `domains` is not a lower-case host name")));
            }
        }
        Ok(())
    }

    /// Whether requests must be signed.
    #[must_use]
    pub fn auth_required(&self) -> bool {
        match self.auth {
            Auth::Required => true,
            Auth::Open => false,
            Auth::Auto => !self.listen.iter().all(|address| address.ip().is_loopback()),
        }
    }

    /// What may be called by HTTP.
    ///
    /// # Errors
    /// When something in `outbound.allow` is no network.
    pub(crate) fn outbound_rules(&self) -> Result<edge_outbound::Rules, ServerError> {
        let allowed = self.outbound.allow.iter().map(|text| text.parse()).collect::<Result<_, _>>();
        let allowed = allowed.map_err(|error: edge_outbound::InvalidNetwork| {
            ServerError::new("`outbound.allow` is not valid").because(error.to_string())
        })?;
        let private = match self.outbound.private {
            Private::Auto => !self.auth_required(),
            Private::Permitted => true,
            Private::Refused => false,
        };
        Ok(edge_outbound::Rules { private, allowed })
    }

    /// The time for a graceful end.
    #[must_use]
    pub fn shutdown_limit(&self) -> Duration {
        Duration::from_secs(self.shutdown_seconds)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn environment(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
        pairs.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned())).collect()
    }

    #[test]
    fn the_environment_lies_over_the_file_and_the_file_over_the_defaults() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("pileus.toml");
        std::fs::write(&file, "data = \"/a\"\nauth = \"required\"\n[functions]\nconcurrency = 7\nwaiters_max = 8\n")
            .unwrap();
        let config = ServerConfig::load(
            Some(&file),
            environment(&[("PILEUS_DATA", "/b"), ("PILEUS_FUNCTIONS_CONCURRENCY", "9"), ("HOME", "/root")]),
        )
        .unwrap();
        assert_eq!((config.data.as_path(), config.auth), (Path::new("/b"), Auth::Required));
        assert_eq!((config.functions.concurrency, config.functions.waiters_max), (9, 8));
        assert_eq!(config.functions.idle_seconds_max, Functions::default().idle_seconds_max);
    }

    #[test]
    fn every_variable_sets_its_field() {
        for (name, text) in [
            ("PILEUS_LISTEN", "127.0.0.1:1, [::1]:2"),
            ("PILEUS_DATA", "/x"),
            ("PILEUS_AUTH", "open"),
            ("PILEUS_DOMAINS", "a.example,b.example"),
            ("PILEUS_FUNCTIONS_CONCURRENCY", "3"),
            ("PILEUS_FUNCTIONS_MEMORY_BUDGET_MIB", "3"),
            ("PILEUS_FUNCTIONS_STARTS_CONCURRENT", "3"),
            ("PILEUS_FUNCTIONS_IDLE_SECONDS_MAX", "3"),
            ("PILEUS_FUNCTIONS_WAITERS_MAX", "3"),
            ("PILEUS_FUNCTIONS_ISOLATION_MIN", "full"),
            ("PILEUS_FUNCTIONS_CPU_QUOTA", "true"),
            ("PILEUS_CONNECTIONS_MAX", "33"),
            ("PILEUS_TABLES_SHARD_SECONDS", "60"),
            ("PILEUS_CONNECTIONS_BODIES_MIB_MAX", "65"),
            ("PILEUS_OUTBOUND_PRIVATE", "refused"),
            ("PILEUS_OUTBOUND_ALLOW", "10.1.0.0/16,fd00::/8"),
            ("PILEUS_SQS_ENDPOINT_STRATEGY", "path"),
            ("SQS_ENDPOINT_STRATEGY", "domain"),
            ("PILEUS_LOG_LEVEL", "debug"),
            ("PILEUS_LOG_FORMAT", "json"),
            ("PILEUS_SHUTDOWN_SECONDS", "3"),
        ] {
            let config = ServerConfig::load(None, environment(&[(name, text)])).unwrap();
            assert_ne!(config, ServerConfig::default(), "{name}");
            assert!(config.check().is_ok(), "{name}");
        }
        assert_eq!(VARIABLES.len(), 21);
        let manual = include_str!("../../../../docs/configuration.md");
        for (name, _) in VARIABLES {
            assert!(manual.contains(&format!("`{name}`")), "{name} is not in docs/configuration.md");
        }
    }

    #[test]
    fn what_cannot_be_is_refused_and_named() {
        for (name, text) in
            [("PILEUS_AUTH", "maybe"), ("PILEUS_LISTEN", "nowhere"), ("PILEUS_FUNCTIONS_CONCURRENCY", "-1")]
        {
            let error = ServerConfig::load(None, environment(&[(name, text)])).unwrap_err();
            assert!(error.to_string().contains(name), "{error}");
        }
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("pileus.toml");
        std::fs::write(&file, "[functions]\nconcurency = 7\n").unwrap();
        let error = ServerConfig::load(Some(&file), Vec::new()).unwrap_err();
        let cause = std::error::Error::source(&error).unwrap().to_string();
        assert!(cause.contains("concurency"), "{cause}");
        type Change = fn(&mut ServerConfig);
        let changes: [(&str, Change); 6] = [
            ("outbound.allow", |config| config.outbound.allow = vec!["10.0.0.0/40".to_owned()]),
            ("listen", |config| config.listen.clear()),
            ("functions.concurrency", |config| config.functions.concurrency = 0),
            ("shutdown_seconds", |config| config.shutdown_seconds = 4000),
            ("domains", |config| config.domains = vec!["UPPER".to_owned()]),
            ("isolation_min", |config| config.functions.isolation_min = "some".to_owned()),
        ];
        for (name, change) in changes {
            let mut config = ServerConfig::default();
            change(&mut config);
            assert!(config.check().unwrap_err().to_string().contains(name), "{name}");
        }
    }

    #[test]
    fn private_networks_are_called_in_the_open_mode_only() {
        let mut config = ServerConfig::default();
        let private = |config: &ServerConfig| config.outbound_rules().unwrap().private;
        assert!(private(&config));
        config.auth = Auth::Required;
        assert!(!private(&config));
        config.outbound.private = Private::Permitted;
        assert!(private(&config));
    }

    #[test]
    fn beyond_loopback_requests_must_be_signed() {
        let mut config = ServerConfig::default();
        assert!(!config.auth_required());
        config.listen.push("0.0.0.0:4566".parse().unwrap());
        assert!(config.auth_required());
        config.auth = Auth::Open;
        assert!(config.check().unwrap_err().to_string().contains("0.0.0.0:4566"));
    }
}
