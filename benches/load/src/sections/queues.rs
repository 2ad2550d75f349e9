//! Queues over bare HTTP: sending, receiving and deleting, singly and in batches of ten, beside what the store alone
//! commits and beside an emulator; and the same over a large backlog.

use std::{fmt::Write as _, time::Duration};

use base_env::Env;
use clap::{Args, ValueEnum};
use serde_json::{Value, json};
use tokio::task::JoinSet;

use super::Bench;
use crate::{
    Failure,
    alone::{self, Alone},
    client::Latencies,
    raw::{Head, Wire, values},
    report::{Bar, Report},
    server::{Emulator, Opponent, Pileus},
};

const BODY_BYTES: usize = 100;
const BATCH: usize = 10;
/// Rounds of which medians are taken.
const ROUNDS: usize = 3;
/// Messages that the emulator is given to hand out: it is slow.
const EMULATOR_MESSAGES: usize = 3_000;
/// Messages a second that a fill reckons with, so that a drain does not end early: by ten, and singly.
const DRAINED_PER_SECOND: usize = 100_000;
const DRAINED_SINGLY_PER_SECOND: usize = 30_000;

/// One queue of a server.
#[derive(Clone)]
pub(super) struct Queue {
    env: Env,
    port: u16,
    url: String,
}

/// What a connection does again and again.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Round {
    Send,
    SendBatch,
    /// Receives up to ten and deletes them in one request.
    Take,
    /// Receives one and deletes it.
    TakeOne,
}

/// What a load gave.
pub(super) struct Loaded {
    pub(super) rounds: Latencies,
    pub(super) messages: usize,
    pub(super) elapsed: Duration,
}

impl Loaded {
    pub(super) fn rate(&self) -> f64 {
        count(self.messages) / self.elapsed.as_secs_f64().max(1e-9)
    }
}

impl Queue {
    pub(super) async fn create(env: &Env, port: u16, name: &str) -> Result<Self, Failure> {
        let mut wire = Wire::connect(port).await?;
        // Services deliver to it, too; which may is not what is measured here.
        let statement = json!({ "Effect": "Allow", "Principal": "*", "Action": "sqs:*", "Resource": "*" });
        let policy = json!({ "Version": "2012-10-17", "Statement": [statement] }).to_string();
        let attributes = match name.strip_prefix("open-") {
            Some(_) => json!({ "VisibilityTimeout": "600", "Policy": policy }),
            None => json!({ "VisibilityTimeout": "600" }),
        };
        let request = json!({ "QueueName": name, "Attributes": attributes });
        let head = Head::new(env, port, "sqs", "AmazonSQS.CreateQueue")?;
        let answer: Value = serde_json::from_slice(wire.call(&head.with(&request.to_string())).await?)?;
        let url = answer["QueueUrl"].as_str().ok_or("a queue without a URL")?.to_owned();
        Ok(Self { env: env.clone(), port, url })
    }

    /// Messages that can be received.
    pub(super) async fn waiting(&self) -> Result<u64, Failure> {
        let names = ["ApproximateNumberOfMessages"];
        let request = json!({ "QueueUrl": self.url, "AttributeNames": names }).to_string();
        let mut wire = Wire::connect(self.port).await?;
        let answer: Value = serde_json::from_slice(wire.call(&self.head("GetQueueAttributes")?.with(&request)).await?)?;
        Ok(answer["Attributes"][names[0]].as_str().ok_or("a queue without a count")?.parse()?)
    }

    /// The request that sends one message.
    pub(super) fn message(&self, body: &str) -> Result<Vec<u8>, Failure> {
        let request = json!({ "QueueUrl": self.url, "MessageBody": body });
        Ok(self.head("SendMessage")?.with(&request.to_string()))
    }

    fn head(&self, operation: &str) -> Result<Head, Failure> {
        Head::new(&self.env, self.port, "sqs", &format!("AmazonSQS.{operation}"))
    }

    /// Every connection does its round until the time is over or the queue is empty.
    pub(super) async fn load(&self, round: Round, connections: usize, span: Duration) -> Result<Loaded, Failure> {
        self.work(round, connections, span, usize::MAX).await
    }

    /// Sends so many messages, whatever time it takes.
    pub(super) async fn fill(&self, messages: usize) -> Result<Loaded, Failure> {
        self.work(Round::SendBatch, 16, Duration::from_secs(3600), messages / 16 + 1).await
    }

    async fn work(&self, round: Round, connections: usize, span: Duration, each: usize) -> Result<Loaded, Failure> {
        let begun = self.env.monotonic();
        let mut tasks = JoinSet::new();
        for _ in 0..connections {
            let queue = self.clone();
            tasks.spawn(async move {
                let mut client = Client::new(&queue, round).await?;
                let (mut taken, mut messages) = (Vec::new(), 0);
                while queue.env.monotonic().since(begun) < span && messages < each {
                    let started = queue.env.monotonic();
                    let handled = client.round().await?;
                    if handled == 0 {
                        break;
                    }
                    taken.push(queue.env.monotonic().since(started));
                    messages += handled;
                }
                Ok::<_, Failure>((taken, messages))
            });
        }
        let (mut all, mut messages) = (Vec::new(), 0);
        while let Some(done) = tasks.join_next().await {
            let (taken, handled) = done??;
            all.extend(taken);
            messages += handled;
        }
        let elapsed = self.env.monotonic().since(begun);
        Ok(Loaded { rounds: Latencies::new(all, elapsed), messages, elapsed })
    }
}

struct Client {
    wire: Wire,
    round: Round,
    /// The only or the first request of a round.
    first: Vec<u8>,
    delete: Head,
    url: String,
}

impl Client {
    async fn new(queue: &Queue, round: Round) -> Result<Self, Failure> {
        let (operation, body) = match round {
            Round::Send => ("SendMessage", json!({ "QueueUrl": queue.url, "MessageBody": "x".repeat(BODY_BYTES) })),
            Round::SendBatch => {
                let entry = |id: usize| json!({ "Id": id.to_string(), "MessageBody": "x".repeat(BODY_BYTES) });
                let entries: Vec<Value> = (0..BATCH).map(entry).collect();
                ("SendMessageBatch", json!({ "QueueUrl": queue.url, "Entries": entries }))
            }
            Round::Take => ("ReceiveMessage", json!({ "QueueUrl": queue.url, "MaxNumberOfMessages": BATCH })),
            Round::TakeOne => ("ReceiveMessage", json!({ "QueueUrl": queue.url })),
        };
        Ok(Self {
            wire: Wire::connect(queue.port).await?,
            round,
            first: queue.head(operation)?.with(&body.to_string()),
            delete: queue.head(if round == Round::Take { "DeleteMessageBatch" } else { "DeleteMessage" })?,
            url: queue.url.clone(),
        })
    }

    /// One round; how many messages it handled.
    async fn round(&mut self) -> Result<usize, Failure> {
        let answer = std::str::from_utf8(self.wire.call(&self.first).await?)?;
        let handles = match self.round {
            Round::Send => return Ok(1),
            Round::SendBatch if answer.contains("\"SenderFault\"") => return Err(answer.to_owned().into()),
            Round::SendBatch => return Ok(BATCH),
            Round::Take | Round::TakeOne => values(answer, "ReceiptHandle"),
        };
        let count = handles.len();
        let mut request = format!("{{\"QueueUrl\":\"{}\",", self.url);
        match (self.round, handles.as_slice()) {
            (_, []) => return Ok(0),
            (Round::TakeOne, [handle, ..]) => write!(request, "\"ReceiptHandle\":\"{handle}\"}}")?,
            (_, handles) => {
                request.push_str("\"Entries\":[");
                for (id, handle) in handles.iter().enumerate() {
                    let comma = if id > 0 { "," } else { "" };
                    write!(request, "{comma}{{\"Id\":\"{id}\",\"ReceiptHandle\":\"{handle}\"}}")?;
                }
                request.push_str("]}");
            }
        }
        let request = self.delete.with(&request);
        let answer = std::str::from_utf8(self.wire.call(&request).await?)?;
        if answer.contains("\"SenderFault\"") {
            return Err(answer.to_owned().into());
        }
        Ok(count)
    }
}

/// One load on a queue of a running server.
#[derive(Args)]
pub(crate) struct QueueLoad {
    #[arg(long)]
    port: u16,
    #[arg(long, default_value = "load")]
    queue: String,
    #[arg(long)]
    round: Round,
    #[arg(long, default_value_t = 64)]
    connections: usize,
    #[arg(long, default_value_t = 4)]
    seconds: u64,
    /// Messages to send before.
    #[arg(long, default_value_t = 0)]
    fill: usize,
}

impl QueueLoad {
    pub(crate) async fn run(&self) -> Result<(), Failure> {
        let queue = Queue::create(&Env::real(), self.port, &self.queue).await?;
        if self.fill > 0 {
            queue.fill(self.fill).await?;
        }
        let loaded = queue.load(self.round, self.connections, Duration::from_secs(self.seconds)).await?;
        let p50 = micros(loaded.rounds.percentile(50));
        anstream::println!("{:.0} messages/s, p50 {p50:.0} us, {} rounds", loaded.rate(), loaded.rounds.count());
        Ok(())
    }
}

pub(super) async fn run(bench: &Bench<'_>, report: &mut Report) -> Result<(), Failure> {
    report.section("queues", "SQS over bare HTTP, beside the store alone and an emulator");
    let (mut pileus, cloud) = bench.pileus("queues").await?;
    let queue = Queue::create(&bench.env, cloud.port, "bench").await?;
    queue.load(Round::Send, 8, bench.span() / 4).await?;
    commits(bench, &queue, report).await?;
    let figures = ours(bench, &queue, report).await?;
    if let Some(program) = &bench.options.emulator {
        let emulator = Emulator::start(&bench.env, program, bench.folder).await?;
        beside(bench, &emulator, &figures, report).await?;
    }
    pileus.stop().await?;
    backlog(bench, report).await
}

/// Sends beside commits of the store, in turns: at one connection the median, at sixty-four the rate.
async fn commits(bench: &Bench<'_>, queue: &Queue, report: &mut Report) -> Result<(), Failure> {
    // What a constant answer over HTTP costs on this machine, beside the same client: nothing can be faster.
    let bare = Opponent::start("hello-threads").await?;
    let constant = Queue { port: bare.port, ..queue.clone() };
    let measured = constant.load(Round::Send, 64, bench.span() / 2).await?;
    report.load("bare hyper, a constant answer", 64, &measured.rounds);
    drop(bare);
    for connections in [1, 64] {
        let mut ratios = Vec::new();
        for _ in 0..ROUNDS {
            let span = bench.span() / 2;
            let Alone { rate, median } = alone::measure(bench.folder, connections, span).await?;
            let sent = queue.load(Round::Send, connections, span).await?;
            report.note(&format!("the store alone c{connections}: p50 {:.0} us, {rate:.0} per s", micros(median)));
            report.load("send, durable", connections, &sent.rounds);
            ratios.push(match connections {
                1 => sent.rounds.percentile(50).as_secs_f64() / median.as_secs_f64().max(1e-9),
                _ => sent.rate() / rate.max(1e-9),
            });
        }
        match connections {
            1 => report.barred("send c1, median, to one commit's", middle(ratios), "x", Bar::AtMost(3.0)),
            _ => report.barred("send c64, rate, to the store's alone", middle(ratios), "x", Bar::AtLeast(0.5)),
        }
    }
    Ok(())
}

/// Rates of our own, a second.
struct Figures {
    send: f64,
    take: f64,
}

async fn ours(bench: &Bench<'_>, queue: &Queue, report: &mut Report) -> Result<Figures, Failure> {
    let (mut send, mut take, mut batches, mut singles, mut ratios) = (vec![], vec![], vec![], vec![], vec![]);
    let span = bench.span() / 2;
    let seconds = usize::try_from(span.as_secs()).unwrap_or(1).max(1);
    for round in 0..ROUNDS {
        send.push(queue.load(Round::Send, 64, span).await?.rate());
        let batch = queue.load(Round::SendBatch, 64, span).await?;
        report.load("send in batches of ten", 64, &batch.rounds);
        batches.push(batch.rate());
        let full = Queue::create(&bench.env, queue.port, &format!("full-{round}")).await?;
        full.fill(DRAINED_PER_SECOND * seconds).await?;
        let Alone { rate, .. } = alone::measure(bench.folder, 64, span).await?;
        let taken = full.load(Round::Take, 64, span).await?;
        report.load("receive ten and delete them", 64, &taken.rounds);
        ratios.push(taken.rate() / rate.max(1e-9));
        take.push(taken.rate());
        let single = Queue::create(&bench.env, queue.port, &format!("single-{round}")).await?;
        single.fill(DRAINED_SINGLY_PER_SECOND * seconds).await?;
        let one = single.load(Round::TakeOne, 64, span).await?;
        report.load("receive one and delete it", 64, &one.rounds);
        singles.push(one.rate());
    }
    let (send, take) = (middle(send), middle(take));
    report.barred("send in batches of ten, messages", middle(batches), "/s", Bar::AtLeast(100_000.0));
    report.barred("receive and delete by ten, to the store's alone", middle(ratios), "x", Bar::AtLeast(0.5));
    report.figure("receive and delete by ten, messages", take, "/s");
    report.figure("receive and delete singly, messages", middle(singles), "/s");
    Ok(Figures { send, take })
}

async fn beside(bench: &Bench<'_>, emulator: &Emulator, ours: &Figures, report: &mut Report) -> Result<(), Failure> {
    let queue = Queue::create(&bench.env, emulator.port, "bench").await?;
    queue.load(Round::Send, 64, bench.span() / 4).await?;
    let sent = queue.load(Round::Send, 64, bench.span()).await?;
    report.load("ministack, send", 64, &sent.rounds);
    let full = Queue::create(&bench.env, emulator.port, "full").await?;
    full.fill(EMULATOR_MESSAGES).await?;
    let taken = full.load(Round::Take, 64, bench.span()).await?;
    report.load("ministack, receive ten and delete them", 64, &taken.rounds);
    report.barred("send c64, times ministack's", ours.send / sent.rate().max(1e-9), "x", Bar::AtLeast(15.0));
    report.barred("receive and delete, times ministack's", ours.take / taken.rate().max(1e-9), "x", Bar::AtLeast(15.0));
    Ok(())
}

/// A large queue beside an empty one of the same server: what it costs in time and memory.
async fn backlog(bench: &Bench<'_>, report: &mut Report) -> Result<(), Failure> {
    let (mut pileus, cloud) = bench.pileus("backlog").await?;
    let small = Queue::create(&bench.env, cloud.port, "small").await?;
    let large = Queue::create(&bench.env, cloud.port, "large").await?;
    small.load(Round::Send, 1, bench.span() / 2).await?;
    small.load(Round::TakeOne, 1, bench.span()).await?;
    let before = settled(bench, &pileus).await?;
    let filled = large.fill(bench.options.backlog).await?;
    report.note(&format!("{} messages sent in {:.1} s", filled.messages, filled.elapsed.as_secs_f64()));
    let after = settled(bench, &pileus).await?;
    let (mut sends, mut takes) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        let span = bench.span() / 2;
        let (few, many) = (small.load(Round::Send, 1, span).await?, large.load(Round::Send, 1, span).await?);
        sends.push(ratio(&many, &few));
        let (few, many) = (small.load(Round::TakeOne, 1, span).await?, large.load(Round::TakeOne, 1, span).await?);
        takes.push(ratio(&many, &few));
    }
    report.barred("send with a backlog, median, to without", middle(sends), "x", Bar::AtMost(1.3));
    report.barred("receive and delete with a backlog, median, to without", middle(takes), "x", Bar::AtMost(1.3));
    report.figure("resident, backlog none", before, "MiB");
    report.barred("memory that the backlog takes", after - before, "MiB", Bar::AtMost(100.0));
    pileus.stop().await
}

/// Resident MiB once the store has nothing left to write.
async fn settled(bench: &Bench<'_>, pileus: &Pileus) -> Result<f64, Failure> {
    bench.env.sleep(Duration::from_secs(5)).await;
    Ok(pileus.resident_mib()?.0)
}

fn ratio(many: &Loaded, few: &Loaded) -> f64 {
    many.rounds.percentile(50).as_secs_f64() / few.rounds.percentile(50).as_secs_f64().max(1e-9)
}

pub(super) fn middle(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or_default()
}

fn micros(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e6
}

fn count(number: usize) -> f64 {
    u32::try_from(number).map_or(f64::MAX, f64::from)
}
