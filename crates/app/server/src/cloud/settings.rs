//! What the configuration means for Lambda: limits of its scheduler, where URLs say they are, the isolation asked for.

use std::time::Duration;

use compute_api::{Egress, IsolationLevel};
use services_lambda::url::UrlBase;

use crate::{ServerConfig, host_memory};

/// How long lines of a function are gathered before the logs are told of them.
const OUTPUT_GATHERING: Duration = Duration::from_millis(5);

/// The scheduler's limits on this machine.
pub(super) fn scheduler_limits(config: &ServerConfig) -> compute_scheduler::Limits {
    let processors = std::thread::available_parallelism().map_or(1, usize::from);
    let functions = &config.functions;
    let defaults = compute_scheduler::Limits::default();
    let total = host_memory::total_mib();
    compute_scheduler::Limits {
        account_concurrency: functions.concurrency,
        memory_budget_mib: match functions.memory_budget_mib {
            0 => total.map_or(defaults.memory_budget_mib, |total| total / 5 * 4),
            told => told,
        },
        // A twentieth of the machine stays free, as far as stopping and refusing functions can keep it.
        memory_floor_mib: total.map_or(defaults.memory_floor_mib, |total| (total / 20).clamp(64, 1024)),
        memory_probe: Some(compute_scheduler::MemoryProbe::new(host_memory::available_bytes)),
        starts_concurrent: match functions.starts_concurrent {
            0 => processors * 2,
            told => told,
        },
        waiters_per_function: functions.waiters_max,
        waiters_total: functions.waiters_max.saturating_mul(4),
        idle_max: Duration::from_secs(functions.idle_seconds_max),
        ..defaults
    }
}

/// Lambda's settings; `port` is where function URLs are answered.
pub(super) fn lambda_settings(config: &ServerConfig, port: Option<u16>) -> services_lambda::Settings {
    let domain = config.domains.first().cloned().unwrap_or_else(|| "localhost".to_owned());
    let isolation_min = match config.functions.isolation_min.parse() {
        Ok(level) => level,
        // `auto`: the configuration was checked.
        Err(_) if config.auth_required() => IsolationLevel::Full,
        Err(_) => IsolationLevel::SingleUid,
    };
    services_lambda::Settings {
        urls: UrlBase { scheme: "http".to_owned(), domain, port },
        isolation_min,
        output_gathering: OUTPUT_GATHERING,
        // Whoever may call without a signature may reach the internet without a function, too.
        egress: if config.auth_required() { Egress::None } else { Egress::Offered },
        ..services_lambda::Settings::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn required_signatures_ask_for_full_isolation_unless_told() {
        let mut config = ServerConfig::default();
        assert_eq!(lambda_settings(&config, Some(1)).egress, Egress::Offered);
        assert_eq!(lambda_settings(&config, Some(1)).isolation_min, IsolationLevel::SingleUid);
        config.auth = crate::Auth::Required;
        assert_eq!(lambda_settings(&config, Some(1)).isolation_min, IsolationLevel::Full);
        assert_eq!(lambda_settings(&config, Some(1)).egress, Egress::None);
        config.functions.isolation_min = "no-limits".to_owned();
        assert_eq!(lambda_settings(&config, Some(1)).isolation_min, IsolationLevel::NoLimits);
    }
}
