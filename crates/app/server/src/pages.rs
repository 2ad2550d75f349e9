//! What the server says of itself below `/_pileus/`, as JSON. Pure: the state in, a document out.

use std::{collections::BTreeMap, time::Duration};

use base_types::Arn;
use compute_api::{ColdReason, FindingState, HostReport, IsolationLevel, Language, Origin, RuntimeListing, Start};
use compute_scheduler::{EnvironmentView, Snapshot};
use serde_json::{Map, Value, json};
use services_ports::{Ending, MeteredFunction};
use services_sns::Kept;
use services_usage::{Live, Recent};

/// Functions that the page of environments lists.
const FUNCTIONS_MAX: usize = 1_000;

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

/// What runs just now.
pub(crate) struct Now {
    /// The scheduler's view.
    pub(crate) snapshot: Snapshot,
    /// What functions do, as far as they ran lately.
    pub(crate) rates: BTreeMap<MeteredFunction, Live>,
    /// Invocations at once per account and region.
    pub(crate) concurrency: u32,
    /// One function alone, and what is known of it.
    pub(crate) only: Option<(MeteredFunction, Live)>,
}

/// `/_pileus/environments`: every execution environment, every function that ran lately, and what happened since the start.
pub(crate) fn environments(now: &Now) -> Value {
    let Now { snapshot, concurrency, only, .. } = now;
    let chosen = only.as_ref().map(|(function, _)| arn(function));
    let shown: Vec<&EnvironmentView> = snapshot
        .environments
        .iter()
        .filter(|environment| chosen.as_ref().is_none_or(|chosen| environment.function == *chosen))
        .collect();
    let counters = &snapshot.counters;
    let throttles: Map<String, Value> =
        counters.throttles.iter().map(|(throttle, count)| (format!("{throttle:?}"), json!(count))).collect();
    let mut page = json!({
        "states": states(shown.iter().copied()),
        "starts_queued": snapshot.starts_queued,
        "waiting": snapshot.waiters,
        "in_flight": snapshot.in_flight,
        "memory_promised_mib": snapshot.memory_promised_mib,
        "memory_budget_mib": snapshot.memory_budget_mib,
        "memory_ceiling_mib": snapshot.memory_ceiling_mib,
        "limits": { "account_concurrency": concurrency },
        "counters": {
            "cold": counters.cold,
            "cold_by_reason": cold_reasons(&counters.cold_reasons),
            "warm": counters.warm,
            "started": counters.started,
            "start_failures": counters.start_failures,
            "evicted": counters.evicted,
            "expired": counters.expired,
            "throttled": throttles,
        },
        "functions": functions(now, chosen.as_deref()),
        "versions": versions(snapshot, chosen.as_deref()),
        "environments": shown.into_iter().map(environment).collect::<Vec<_>>(),
    });
    if let (Some((_, live)), Some(members)) = (only, page.as_object_mut()) {
        members.insert("recent".to_owned(), live.recent.iter().map(recent).collect());
    }
    page
}

fn environment(environment: &EnvironmentView) -> Value {
    json!({
        "id": environment.id,
        "function": environment.function,
        "version": environment.version,
        "state": environment.state.as_str(),
        "in_state_ms": millis(environment.in_state),
        "age_ms": millis(environment.age),
        "start_ms": millis(environment.start_cost),
        "memory_mib": environment.memory_mib,
        "memory_bytes": environment.memory_bytes,
        "memory_bytes_max": environment.memory_bytes_max,
        "charge_bytes": environment.charge_bytes,
        "invocations": environment.uses,
        "ran_ms": millis(environment.ran),
        "cpu_ms": millis(environment.cpu),
        "cpu_share": environment.cpu_share(),
        "provisioned": environment.provisioned,
        "origin": environment.origin.map(Origin::as_str),
        "isolation": environment.isolation.map(IsolationLevel::as_str),
        "frozen": environment.frozen,
    })
}

fn cold_reasons(counts: &BTreeMap<ColdReason, u64>) -> BTreeMap<&'static str, u64> {
    counts.iter().map(|(reason, count)| (Start::Cold(*reason).as_str().trim_start_matches("cold: "), *count)).collect()
}

/// Versions that have environments, or are to have some.
fn versions(snapshot: &Snapshot, chosen: Option<&str>) -> Vec<Value> {
    snapshot
        .versions
        .iter()
        .filter(|version| chosen.is_none_or(|chosen| chosen == version.function))
        .take(FUNCTIONS_MAX)
        .map(|version| {
            json!({
                "function": version.function,
                "version": version.version,
                "environments": version.environments,
                "idle": version.idle,
                "in_flight": version.in_flight,
                "waiting": version.waiting,
                "cold": version.cold,
                "warm": version.warm,
                "throttled": version.throttled,
                "kept_ms": millis(version.kept),
                "expected_bytes": version.expected_bytes,
                "provisioned": version.provisioned.as_ref().map(|provisioned| json!({
                    "requested": provisioned.requested,
                    "allocated": provisioned.allocated,
                    "available": provisioned.available,
                    "failure": provisioned.failure,
                })),
            })
        })
        .collect()
}

fn states<'a>(environments: impl Iterator<Item = &'a EnvironmentView>) -> BTreeMap<&'static str, u64> {
    environments.fold(BTreeMap::new(), |mut states, environment| {
        *states.entry(environment.state.as_str()).or_default() += 1;
        states
    })
}

/// Functions that have environments or ran lately, the busiest first.
fn functions(now: &Now, chosen: Option<&str>) -> Vec<Value> {
    let mut environments: BTreeMap<&str, Vec<&EnvironmentView>> = BTreeMap::new();
    for view in &now.snapshot.environments {
        environments.entry(&view.function).or_default().push(view);
    }
    let idle = Live::default();
    let mut rows: BTreeMap<String, (&[&EnvironmentView], &Live)> =
        environments.iter().map(|(arn, views)| ((*arn).to_owned(), (views.as_slice(), &idle))).collect();
    let mut waiting: BTreeMap<&str, (u64, u64, u64)> = BTreeMap::new();
    for version in &now.snapshot.versions {
        let (in_flight, waits, provisioned) = waiting.entry(&version.function).or_default();
        *in_flight += u64::from(version.in_flight);
        *waits += version.waiting as u64;
        *provisioned += version.provisioned.as_ref().map_or(0, |provisioned| u64::from(provisioned.requested));
    }
    for (function, live) in &now.rates {
        rows.entry(arn(function)).or_insert((&[], live)).1 = live;
    }
    let mut rows: Vec<_> = rows.into_iter().filter(|(arn, _)| chosen.is_none_or(|chosen| chosen == arn)).collect();
    rows.sort_by(|(_, (_, left)), (_, (_, right))| {
        right.invocations_per_second.total_cmp(&left.invocations_per_second)
    });
    rows.into_iter()
        .take(FUNCTIONS_MAX)
        .map(|(arn, (views, live))| {
            let (in_flight, waiting, provisioned) = waiting.get(arn.as_str()).copied().unwrap_or_default();
            json!({
                "function": arn,
                "name": arn.rsplit(':').next(),
                "states": states(views.iter().copied()),
                "in_flight": in_flight,
                "waiting": waiting,
                "provisioned": provisioned,
                "memory_bytes": views.iter().map(|view| view.memory_bytes).sum::<u64>(),
                "invocations_per_second": live.invocations_per_second,
                "throttles_per_second": live.throttles_per_second,
                "processors": live.processors,
                "invocations": live.invocations,
                "errors": live.failed,
                "cold": live.cold,
                "throttles": live.throttles,
                "last": live.recent.first().map(recent),
            })
        })
        .collect()
}

/// One finished invocation.
fn recent(recent: &Recent) -> Value {
    let fine = |duration: Duration| duration.as_micros() as f64 / 1e3;
    json!({
        "request_id": &*recent.request_id,
        "version": &*recent.version,
        "at": recent.at.to_iso8601(),
        "ending": match recent.ending {
            Ending::Success => "success",
            Ending::Error => "error",
            Ending::Timeout => "timeout",
            Ending::OutOfMemory => "out of memory",
        },
        "start": recent.start.as_str(),
        "origin": recent.origin.as_str(),
        "isolation": recent.isolation.as_str(),
        "queue_ms": fine(recent.queued),
        "init_ms": recent.init.map(fine),
        "duration_ms": fine(recent.duration),
        "billed_ms": recent.billed_millis,
        "cpu_ms": fine(recent.cpu),
        "memory_mib": recent.memory_mib,
        "memory_bytes_max": recent.memory_bytes_max,
        "bytes_in": recent.bytes_in,
        "bytes_out": recent.bytes_out,
        "asynchronous": recent.asynchronous,
        "provisioned": recent.provisioned,
    })
}

fn arn(function: &MeteredFunction) -> String {
    Arn::regional("lambda", &function.region, function.account, format!("function:{}", function.name)).to_string()
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// `/_pileus/outbox`: what e-mail and SMS subscribers would have got, newest first.
pub(crate) fn outbox(letters: &[Kept]) -> Value {
    let shown = |letter: &Kept| {
        json!({
            "at": letter.at.to_iso8601(),
            "protocol": letter.protocol,
            "to": letter.to,
            "subject": letter.subject,
            "text": letter.text,
            "topic": letter.topic_arn,
        })
    };
    json!({ "not_sent": letters.iter().map(shown).collect::<Vec<_>>() })
}

#[cfg(test)]
mod tests {
    use compute_api::{Finding, InstalledRuntime};

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
