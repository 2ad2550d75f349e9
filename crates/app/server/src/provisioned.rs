//! Counts provisioned capacity: what is ready, used or not, every few seconds.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use base_env::Env;
use base_types::Arn;
use compute_scheduler::{EnvironmentState, Snapshot};
use services_ports::MeteredFunction;
use services_usage::Usage;
use tokio::sync::watch;

/// How often it is looked at. What begins or ends in between is off by this much.
const EVERY: Duration = Duration::from_secs(5);

/// Counts until told to stop.
pub(crate) async fn count(
    snapshot: impl Fn() -> Snapshot + Send,
    usage: Usage,
    env: Env,
    mut stop: watch::Receiver<bool>,
) {
    let mut last = env.monotonic();
    loop {
        tokio::select! {
            biased;
            () = stopped(&mut stop) => return,
            () = env.sleep(EVERY) => {}
        }
        let span = env.monotonic().since(last);
        last = last + span;
        for ((function, version), mib) in ready(&snapshot()) {
            usage.reserved(&function, &version, mib, span);
        }
    }
}

/// Resolves when `stop` turns true. The guard that it waits for must not live in the loop's state: it may run on any thread.
async fn stopped(stop: &mut watch::Receiver<bool>) {
    drop(stop.wait_for(|stop| *stop).await);
}

/// The configured memory of each version's ready environments together.
fn ready(snapshot: &Snapshot) -> BTreeMap<(MeteredFunction, String), u64> {
    let mut ready = BTreeMap::new();
    if snapshot.versions.iter().all(|version| version.provisioned.is_none()) {
        return ready;
    }
    for view in snapshot.environments.iter().filter(|view| view.provisioned) {
        let there = !matches!(view.state, EnvironmentState::Starting | EnvironmentState::Stopping);
        if let Some(function) = metered(&view.function).filter(|_| there) {
            *ready.entry((function, view.version.clone())).or_default() += u64::from(view.memory_mib);
        }
    }
    ready
}

/// Whose figures those of a function's ARN are.
fn metered(arn: &str) -> Option<MeteredFunction> {
    let arn: Arn = arn.parse().ok()?;
    let name = arn.resource.strip_prefix("function:")?;
    Some(MeteredFunction {
        account: arn.account.parse().ok()?,
        region: arn.region.parse().ok()?,
        name: Arc::from(name),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_functions_arn_says_whose_it_is() {
        let function = metered("arn:aws:lambda:eu-west-1:123456789012:function:hello").unwrap();
        assert_eq!(
            (function.account.as_str(), function.region.as_str(), &*function.name),
            ("123456789012", "eu-west-1", "hello")
        );
        for other in
            ["", "arn:aws:lambda:eu-west-1:123456789012:layer:hello", "arn:aws:lambda:eu-west-1:1:function:hello"]
        {
            assert!(metered(other).is_none(), "{other}");
        }
    }
}
