//! What the server says of itself below `/_pileus/`, as JSON. Pure: the state in, a document out.

use std::time::Duration;

use compute_api::{FindingState, HostReport, Language, RuntimeListing};
use compute_scheduler::Snapshot;
use serde_json::{Value, json};

/// `/_pileus/runtimes`: what was found on this host and what was not.
pub(crate) fn runtimes(listing: &RuntimeListing) -> Value {
    let installed: Vec<Value> = listing
        .installed
        .iter()
        .map(|runtime| {
            json!({
                "name": runtime.name,
                "language": match runtime.language {
                    Language::Python => "python",
                    Language::Node => "node",
                    Language::Custom => "custom",
                },
                "version": runtime.version,
                "path": runtime.path.as_ref().map(|path| path.display().to_string()),
                "chosen": runtime.chosen,
            })
        })
        .collect();
    json!({ "installed": installed, "missing": listing.missing })
}

/// `/_pileus/doctor`: what the host offers for isolation.
pub(crate) fn doctor(report: &HostReport) -> Value {
    let findings: Vec<Value> = report
        .findings
        .iter()
        .map(|finding| {
            json!({
                "name": finding.name,
                "state": match finding.state {
                    FindingState::Present => "present",
                    FindingState::Degraded => "degraded",
                    FindingState::Missing => "missing",
                },
                "detail": finding.detail,
                "remedy": finding.remedy,
            })
        })
        .collect();
    json!({ "level": report.level.as_str(), "findings": findings })
}

/// `/_pileus/environments`: every execution environment and what happened since the start.
pub(crate) fn environments(snapshot: &Snapshot) -> Value {
    let mut states = serde_json::Map::new();
    for environment in &snapshot.environments {
        let count = states.entry(environment.state.as_str()).or_insert(json!(0));
        *count = json!(count.as_u64().unwrap_or(0) + 1);
    }
    let environments: Vec<Value> = snapshot
        .environments
        .iter()
        .map(|environment| {
            json!({
                "id": environment.id,
                "function": environment.function,
                "version": environment.version,
                "state": environment.state.as_str(),
                "in_state_ms": millis(environment.in_state),
                "age_ms": millis(environment.age),
                "start_ms": millis(environment.start_cost),
                "memory_mib": environment.memory_mib,
                "invocations": environment.uses,
            })
        })
        .collect();
    let counters = &snapshot.counters;
    let throttles: serde_json::Map<String, Value> =
        counters.throttles.iter().map(|(throttle, count)| (format!("{throttle:?}"), json!(count))).collect();
    json!({
        "states": states,
        "starts_queued": snapshot.starts_queued,
        "waiting": snapshot.waiters,
        "in_flight": snapshot.in_flight,
        "memory_promised_mib": snapshot.memory_promised_mib,
        "memory_budget_mib": snapshot.memory_budget_mib,
        "counters": {
            "cold": counters.cold,
            "warm": counters.warm,
            "started": counters.started,
            "start_failures": counters.start_failures,
            "evicted": counters.evicted,
            "expired": counters.expired,
            "throttled": throttles,
        },
        "environments": environments,
    })
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use compute_api::{Finding, InstalledRuntime, IsolationLevel};

    use super::*;

    #[test]
    fn pages_say_what_is_there() {
        let listing = RuntimeListing {
            installed: vec![InstalledRuntime {
                name: "python3.11".to_owned(),
                language: Language::Python,
                version: "3.11.7".to_owned(),
                path: Some("/usr/bin/python3.11".into()),
                chosen: true,
            }],
            missing: vec!["nodejs24.x".to_owned()],
        };
        let page = runtimes(&listing);
        assert_eq!(page["installed"][0]["path"], "/usr/bin/python3.11");
        assert_eq!(page["missing"][0], "nodejs24.x");
        let finding = Finding {
            name: "landlock".to_owned(),
            state: FindingState::Present,
            detail: "ABI 7".to_owned(),
            remedy: String::new(),
        };
        let page = doctor(&HostReport { level: IsolationLevel::Full, findings: vec![finding] });
        assert_eq!((&page["level"], &page["findings"][0]["state"]), (&json!("full"), &json!("present")));
    }
}
