//! What counting one warm invocation costs, in nanoseconds: alone, and on every processor at once over one hot function.
//! No figure is asserted.

use std::{sync::Arc, time::Duration};

use base_env::Env;
use base_types::{AccountId, Region};
use compute_api::{IsolationLevel, Origin, Start};
use services_ports::{Ending, InvocationRecord, Meter, MeteredFunction};
use services_usage::Usage;
use store_api::Store;

const ROUNDS: u32 = 1_000_000;

fn record(env: &Env, name: &str) -> InvocationRecord {
    InvocationRecord {
        function: MeteredFunction { account: AccountId::DEFAULT, region: Region::default(), name: Arc::from(name) },
        version: Arc::from("$LATEST"),
        request_id: Arc::from("d3b07384-d9a0-4c9b-8f6e-000000000000"),
        at: env.now(),
        ending: Ending::Success,
        queued: Duration::from_micros(12),
        init: None,
        duration: Duration::from_micros(180),
        billed_millis: 1,
        cpu: Duration::from_micros(90),
        memory_mib: 128,
        tmp_mib: 512,
        memory_bytes_max: 9 << 20,
        bytes_in: 14,
        bytes_out: 14,
        start: Start::Warm,
        origin: Origin::Forked,
        isolation: IsolationLevel::Full,
        asynchronous: false,
        provisioned: false,
    }
}

/// Nanoseconds of one call, with as many threads.
fn measure(threads: u32, functions: usize) -> f64 {
    let env = Env::real();
    let (usage, _writer) = Usage::new(Store::memory(&env));
    let begun = env.monotonic();
    std::thread::scope(|scope| {
        for _ in 0..threads {
            let (usage, env) = (usage.clone(), env.clone());
            scope.spawn(move || {
                let records: Vec<_> =
                    (0..functions).map(|number| record(&env, &format!("function-{number}"))).collect();
                for (_, record) in (0..ROUNDS).zip(records.iter().cycle()) {
                    usage.invocation(record);
                }
            });
        }
    });
    env.monotonic().since(begun).as_nanos() as f64 / f64::from(ROUNDS)
}

fn main() {
    let processors = std::thread::available_parallelism().map_or(1, |n| u32::try_from(n.get()).unwrap_or(1));
    for functions in [1, 1_000] {
        let (alone, together) = (measure(1, functions), measure(processors, functions));
        anstream::println!(
            "count an invocation, {functions:5} functions: {alone:6.0} ns alone, {together:6.0} ns on {processors} threads at \
             once (x {:.2})",
            together / alone.max(1e-9)
        );
    }
}
