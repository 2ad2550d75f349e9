//! What messages cause: a function that a queue starts, a topic's fan-out, many schedules that are due at once.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};
use tokio::task::JoinSet;

use super::{Bench, queues::Queue};
use crate::{
    Failure,
    client::Latencies,
    cloud::{Cloud, Function, archive},
    raw::{Head, Wire, values},
    report::{Bar, Report, millis},
};

/// Says when it was called beside when the message was sent.
const NOTING: &str =
    "import time\ndef handler(event, context):\n    print('took', time.time_ns() - int(event['Records'][0]['body']))\n";
const MESSAGES: usize = 300;
const WARM: usize = 40;
const QUEUES: usize = 100;
const PUBLISHERS: usize = 4;
const MAKERS: usize = 16;
const PATIENCE: Duration = Duration::from_secs(300);

pub(super) async fn run(bench: &Bench<'_>, report: &mut Report) -> Result<(), Failure> {
    report.section("events", "what messages cause: a function, a topic's queues, schedules that are due at once");
    let (mut pileus, cloud) = bench.pileus("events").await?;
    function(bench, &cloud, report).await?;
    topic(bench, &cloud, report).await?;
    schedules(bench, &cloud, report).await?;
    pileus.stop().await
}

/// From just before a message is sent to the function's first line.
async fn function(bench: &Bench<'_>, cloud: &Cloud, report: &mut Report) -> Result<(), Failure> {
    let noting = Function {
        archive: archive(bench.folder, "app.py", NOTING.as_bytes())?,
        ..bench.language("Python")?.function.clone()
    };
    cloud.create("noting", &noting).await?;
    let queue = Queue::create(&bench.env, cloud.port, "start").await?;
    let mapping = json!({
        "EventSourceArn": "arn:aws:sqs:us-east-1:000000000000:start", "FunctionName": "noting", "BatchSize": 1,
    });
    let path = "/2015-03-31/event-source-mappings/";
    let made = cloud.call(http::Method::POST, path, Some(mapping)).await?;
    let place =
        format!("/2015-03-31/event-source-mappings/{}", made["UUID"].as_str().ok_or("a mapping without an id")?);
    let begun = bench.env.monotonic();
    while cloud.call(http::Method::GET, &place, None).await?["State"] != "Enabled" {
        if bench.env.monotonic().since(begun) > PATIENCE {
            return Err("the mapping is not enabled".into());
        }
        bench.env.sleep(Duration::from_millis(20)).await;
    }
    let mut wire = Wire::connect(cloud.port).await?;
    for _ in 0..MESSAGES + WARM {
        wire.call(&queue.message(&nanoseconds()?.to_string())?).await?;
        bench.env.sleep(Duration::from_millis(10)).await;
    }
    bench.env.sleep(Duration::from_secs(2)).await;
    let mut taken = noted(bench, cloud, &mut wire).await?;
    if taken.len() < MESSAGES {
        report.note(&format!("only {} of {} starts were found in the log", taken.len(), MESSAGES + WARM));
    }
    let measured = Latencies::new(taken.split_off(WARM.min(taken.len())), Duration::ZERO);
    report.latencies("a message in, its function begun (Python, warm)", &measured);
    report.barred("a message in, its function begun, median", millis(measured.percentile(50)), "ms", Bar::AtMost(1.5));
    cloud.call(http::Method::DELETE, &place, None).await.map(drop)
}

/// What the function said, in the order of its calls.
async fn noted(bench: &Bench<'_>, cloud: &Cloud, wire: &mut Wire) -> Result<Vec<Duration>, Failure> {
    let head = Head::new(&bench.env, cloud.port, "logs", "Logs_20140328.FilterLogEvents")?;
    let (mut taken, mut token) = (Vec::new(), None);
    loop {
        let mut request = json!({ "logGroupName": "/aws/lambda/noting", "filterPattern": "took" });
        if let Some(token) = token {
            request["nextToken"] = token;
        }
        let page: Value = serde_json::from_slice(wire.call(&head.with(&request.to_string())).await?)?;
        let events = page["events"].as_array().into_iter().flatten();
        let nanos = events.filter_map(|event| event["message"].as_str()?.trim().strip_prefix("took ")?.parse().ok());
        taken.extend(nanos.map(Duration::from_nanos));
        match page["nextToken"].clone() {
            Value::Null => return Ok(taken),
            next => token = Some(next),
        }
    }
}

async fn topic(bench: &Bench<'_>, cloud: &Cloud, report: &mut Report) -> Result<(), Failure> {
    let head = Head::form(&bench.env, cloud.port, "sns")?;
    let mut wire = Wire::connect(cloud.port).await?;
    wire.call(&head.with("Action=CreateTopic&Name=fan&Version=2010-03-31")).await?;
    let arn = "arn:aws:sns:us-east-1:000000000000:fan";
    let mut last = None;
    for number in 0..QUEUES {
        let name = format!("open-fan-{number}");
        last = Some(Queue::create(&bench.env, cloud.port, &name).await?);
        let to = format!("arn:aws:sqs:us-east-1:000000000000:{name}");
        let form = format!("Action=Subscribe&Version=2010-03-31&TopicArn={arn}&Protocol=sqs&Endpoint={to}");
        wire.call(&head.with(&form)).await?;
    }
    let publish = head.with(&format!("Action=Publish&Version=2010-03-31&TopicArn={arn}&Message={}", "x".repeat(100)));
    let (begun, span) = (bench.env.monotonic(), bench.span());
    let mut publishers = JoinSet::new();
    for _ in 0..PUBLISHERS {
        let (env, publish, port) = (bench.env.clone(), publish.clone(), cloud.port);
        publishers.spawn(async move {
            let (mut wire, mut count) = (Wire::connect(port).await?, 0u64);
            while env.monotonic().since(begun) < span {
                wire.call(&publish).await?;
                count += 1;
            }
            Ok::<_, Failure>(count)
        });
    }
    let mut published = 0;
    while let Some(count) = publishers.join_next().await {
        published += count??;
    }
    // A publication is answered when all its messages are there; what is expanded later would be missing now.
    let arrived = last.ok_or("no queue")?.waiting().await?;
    let elapsed = bench.env.monotonic().since(begun);
    if arrived != published {
        report.note(&format!("{arrived} of {published} publications had arrived in the last queue"));
    }
    let rate = (arrived * QUEUES as u64) as f64 / elapsed.as_secs_f64();
    report.barred("fan-out to 100 queues, deliveries", rate, "/s", Bar::AtLeast(20_000.0));
    Ok(())
}

/// All due in the same minute, each sending a message.
async fn schedules(bench: &Bench<'_>, cloud: &Cloud, report: &mut Report) -> Result<(), Failure> {
    let count = bench.options.schedules;
    let queue = Queue::create(&bench.env, cloud.port, "open-due").await?;
    // The making takes its time: a thousand a second are reckoned with, and two minutes more.
    let due = (bench.env.now().as_seconds() / 60 + 2 + count as u64 / 60_000) * 60;
    let at = base_types::Timestamp::from_millis(due * 1000).to_iso8601();
    let at = at.get(..19).ok_or("a time that is too short")?.to_owned();
    let body = json!({
        "ScheduleExpression": format!("at({at})"), "FlexibleTimeWindow": { "Mode": "OFF" },
        "Target": {
            "Arn": "arn:aws:sqs:us-east-1:000000000000:open-due", "RoleArn": "arn:aws:iam::000000000000:role/bench",
            "Input": "due",
        },
    })
    .to_string();
    let mut makers = JoinSet::new();
    for maker in 0..MAKERS {
        let (env, port, body) = (bench.env.clone(), cloud.port, body.clone());
        makers.spawn(async move {
            let mut wire = Wire::connect(port).await?;
            for number in (maker..count).step_by(MAKERS) {
                let head = Head::rest(&env, port, "scheduler", &format!("/schedules/s{number}"))?;
                let answer = wire.call(&head.with(&body)).await?;
                if values(std::str::from_utf8(answer)?, "ScheduleArn").is_empty() {
                    return Err("a schedule without an ARN".into());
                }
            }
            Ok::<_, Failure>(())
        });
    }
    let begun = bench.env.monotonic();
    while let Some(made) = makers.join_next().await {
        made??;
    }
    report.note(&format!("{count} schedules made in {:.1} s", bench.env.monotonic().since(begun).as_secs_f64()));
    if bench.env.now().as_seconds() >= due {
        return Err("the schedules were due before all were made".into());
    }
    loop {
        let now = bench.env.now().as_millis();
        let fired = queue.waiting().await?;
        if fired >= count as u64 {
            let seconds = (now as f64 - due as f64 * 1000.0) / 1000.0;
            report.barred("schedules of one minute, until the last had fired", seconds, "s", Bar::AtMost(60.0));
            return Ok(());
        }
        if now > due * 1000 + 300_000 {
            return Err(format!("only {fired} of {count} schedules fired within five minutes").into());
        }
        bench.env.sleep(Duration::from_millis(200)).await;
    }
}

#[expect(clippy::disallowed_methods, reason = "the function under test has no other clock in common with the client")]
fn nanoseconds() -> Result<u128, Failure> {
    Ok(SystemTime::now().duration_since(UNIX_EPOCH)?.as_nanos())
}
