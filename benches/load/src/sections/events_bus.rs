//! PutEvents over bare HTTP, on a bus with ten rules and on one with ten thousand, of which one matches and has a queue as
//! its target.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::task::JoinSet;

use super::Bench;
use crate::{
    Failure,
    client::Latencies,
    raw::{Head, Wire},
    report::{Bar, Report},
};

const FEW: usize = 10;
const MANY: usize = 10_000;
const CONNECTIONS: usize = 64;
/// Connections that make the rules.
const MAKERS: usize = 16;
/// Rounds of which medians are taken: few and many rules take turns.
const ROUNDS: usize = 3;

pub(super) async fn run(bench: &Bench<'_>, report: &mut Report) -> Result<(), Failure> {
    report.section("events_bus", "PutEvents over bare HTTP, by the number of rules on the bus");
    let (mut pileus, cloud) = bench.pileus("events-bus").await?;
    let port = cloud.port;
    let (few, many) = (Bus::create(bench, port, "few", FEW).await?, Bus::create(bench, port, "many", MANY).await?);
    for bus in [&few, &many] {
        bus.load(bench, 8, bench.span() / 4).await?;
    }
    let (mut rates, mut ratios, mut singles) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        let with_few = few.load(bench, CONNECTIONS, bench.span()).await?;
        let with_many = many.load(bench, CONNECTIONS, bench.span()).await?;
        report.load("one event, 10 rules", CONNECTIONS, &with_few);
        report.load("one event, 10,000 rules", CONNECTIONS, &with_many);
        rates.push(with_many.rate());
        ratios.push(with_many.rate() / with_few.rate().max(1e-9));
        singles.push(many.load(bench, 1, bench.span() / 2).await?.percentile(50).as_secs_f64() * 1e6);
    }
    report.barred("PutEvents against 10,000 rules", middle(rates), "/s", Bar::AtLeast(5_000.0));
    report.figure("rate with 10,000 rules, to that with 10", middle(ratios), "x");
    report.figure("one event c1, 10,000 rules, median", middle(singles), "us");
    pileus.stop().await
}

fn middle(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or_default()
}

/// A bus of a server.
struct Bus {
    port: u16,
    name: String,
}

impl Bus {
    /// With so many rules; the last one has a target.
    async fn create(bench: &Bench<'_>, port: u16, name: &str, rules: usize) -> Result<Self, Failure> {
        let head = |service: &str, target: &str| Head::new(&bench.env, port, service, target);
        let mut wire = Wire::connect(port).await?;
        let queue = json!({ "QueueName": name, "Attributes": { "Policy": open_to_events(name) } });
        wire.call(&head("sqs", "AmazonSQS.CreateQueue")?.with(&queue.to_string())).await?;
        let bus = json!({ "Name": name });
        wire.call(&head("events", "AWSEvents.CreateEventBus")?.with(&bus.to_string())).await?;
        let mut tasks = JoinSet::new();
        for maker in 0..MAKERS {
            let (head, bus) = (head("events", "AWSEvents.PutRule")?, name.to_owned());
            tasks.spawn(async move {
                let mut wire = Wire::connect(port).await?;
                for number in (maker..rules).step_by(MAKERS) {
                    let pattern = json!({ "source": ["orders"], "detail": { "customer": [format!("c{number}")] } });
                    let name = format!("rule-{number}");
                    let rule = json!({ "Name": name, "EventBusName": bus, "EventPattern": pattern.to_string() });
                    wire.call(&head.with(&rule.to_string())).await?;
                }
                Ok::<_, Failure>(())
            });
        }
        while let Some(done) = tasks.join_next().await {
            done??;
        }
        let target = json!({ "Id": "queue", "Arn": queue_arn(name) });
        let targets = json!({ "Rule": "rule-0", "EventBusName": name, "Targets": [target] });
        wire.call(&head("events", "AWSEvents.PutTargets")?.with(&targets.to_string())).await?;
        Ok(Self { port, name: name.to_owned() })
    }

    /// Every connection puts one event after the other until the time is over.
    async fn load(&self, bench: &Bench<'_>, connections: usize, span: Duration) -> Result<Latencies, Failure> {
        let begun = bench.env.monotonic();
        let detail = json!({ "customer": "c0", "total": 12.5, "items": [{ "sku": "a", "n": 1 }] }).to_string();
        let entry = json!({ "Source": "orders", "DetailType": "placed", "Detail": detail, "EventBusName": self.name });
        let request = Head::new(&bench.env, self.port, "events", "AWSEvents.PutEvents")?
            .with(&json!({ "Entries": [entry] }).to_string());
        let mut tasks = JoinSet::new();
        for _ in 0..connections {
            let (env, request, port) = (bench.env.clone(), request.clone(), self.port);
            tasks.spawn(async move {
                let (mut wire, mut taken) = (Wire::connect(port).await?, Vec::new());
                while env.monotonic().since(begun) < span {
                    let started = env.monotonic();
                    let answer: Value = serde_json::from_slice(wire.call(&request).await?)?;
                    if answer["FailedEntryCount"] != 0 {
                        return Err(format!("an event was refused: {answer}").into());
                    }
                    taken.push(env.monotonic().since(started));
                }
                Ok::<_, Failure>(taken)
            });
        }
        let mut all = Vec::new();
        while let Some(done) = tasks.join_next().await {
            all.extend(done??);
        }
        Ok(Latencies::new(all, bench.env.monotonic().since(begun)))
    }
}

fn queue_arn(name: &str) -> String {
    format!("arn:aws:sqs:us-east-1:000000000000:{name}")
}

fn open_to_events(queue: &str) -> String {
    let statement = json!({
        "Effect": "Allow", "Principal": { "Service": "events.amazonaws.com" }, "Action": "sqs:SendMessage",
        "Resource": queue_arn(queue),
    });
    json!({ "Version": "2012-10-17", "Statement": [statement] }).to_string()
}
