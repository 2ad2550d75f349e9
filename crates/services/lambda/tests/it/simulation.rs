//! Nothing lost, nothing invented, by the seed: publish → fan-out → queue → function → deletion on one thread, on the
//! simulated clock, over a store that refuses transactions, loses their answers, and takes the whole process with it at any
//! commit. What the store holds is what the next process begins with.
//!
//! `PILEUS_SEED` plays one seed again and shows its history; `PILEUS_SEEDS` says how many are played. A seed decides what is
//! asked, when time passes and what the store does; which of two things that are ready at once the runtime takes first, it
//! decides by itself.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use base_env::Env;
use base_types::{AccountId, Fault, FaultKind, Region, Timestamp};
use model_sns::{CreateTopicInput, PublishInput, SubscribeInput};
use model_sqs::{CreateQueueRequest, GetQueueAttributesRequest};
use serde_json::{Value, json};
use services_kernel::{Cx, Dispatcher, PageTokens, keep_reconciling};
use services_lambda::{Lambda, Parts, Settings, archive::CodeFolder};
use services_ports::Destinations;
use services_sns::Sns;
use services_sqs::Sqs;
use store_api::{Backend, BlobFiles, Health, Memory, Store, Tx, Waiters, Work};
use tokio::{runtime::Runtime, sync::watch, task::JoinHandle};

use crate::{
    host::Scripted,
    world::{Credentials, Lines, Metered, function},
};

const ACCOUNT: &str = "111111111111";
/// Of the queues, in seconds; the function's limit is three.
const VISIBILITY: u64 = 8;
const GROUPS: usize = 2;
const PLAIN: usize = 2;
const STEPS: usize = 160;

/// What happens to a transaction.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Fate {
    Fine,
    /// It is not run.
    Refused,
    /// It is committed, and its answer says that it failed.
    Unheard,
    /// It is not run, and the process is gone.
    GoneBefore,
    /// It is committed, and the process is gone.
    GoneBehind,
}

/// A process's way to the store.
struct Faulty {
    below: Arc<Memory>,
    chance: Env,
    /// No faults any more.
    calm: AtomicBool,
    dead: Arc<AtomicBool>,
    /// Transactions until the process dies.
    left: AtomicU64,
}

impl Faulty {
    fn fate(&self) -> Fate {
        if self.calm.load(Ordering::SeqCst) {
            return Fate::Fine;
        }
        let left = self.left.load(Ordering::SeqCst);
        self.left.store(left.saturating_sub(1), Ordering::SeqCst);
        match (left, self.chance.below(100)) {
            (0, chance) if chance < 40 => Fate::GoneBefore,
            (0, _) => Fate::GoneBehind,
            (_, 0..3) => Fate::Refused,
            (_, 3..6) => Fate::Unheard,
            _ => Fate::Fine,
        }
    }
}

fn fault() -> Fault {
    Fault::new(FaultKind::Unavailable, "run a transaction: the disk did not answer")
}

impl Backend for Faulty {
    fn transact(&self, work: Box<dyn Work>) {
        if self.dead.load(Ordering::SeqCst) {
            // Who waits for it is gone, too.
            return std::mem::forget(work);
        }
        match self.fate() {
            Fate::Fine => self.below.transact(work),
            Fate::Refused => work.finish(Err(fault())),
            Fate::GoneBefore => {
                self.dead.store(true, Ordering::SeqCst);
                std::mem::forget(work);
            }
            fate => self.below.transact(Box::new(Told { work, fate, dead: Arc::clone(&self.dead) })),
        }
    }

    fn view(&self, work: Box<dyn Work>) {
        if self.dead.load(Ordering::SeqCst) {
            return std::mem::forget(work);
        }
        self.below.view(work);
    }

    fn waiters(&self) -> &Arc<Waiters> {
        self.below.waiters()
    }

    fn blob_files(&self) -> &Arc<dyn BlobFiles> {
        self.below.blob_files()
    }

    fn health(&self) -> Health {
        self.below.health()
    }

    fn shutdown(&self, done: Box<dyn FnOnce() + Send>) {
        done();
    }
}

/// Work whose end is told otherwise than it is.
struct Told {
    work: Box<dyn Work>,
    fate: Fate,
    dead: Arc<AtomicBool>,
}

impl Work for Told {
    fn run(&mut self, tx: &Tx) -> bool {
        self.work.run(tx)
    }

    fn finish(self: Box<Self>, _: Result<(), Fault>) {
        let Self { work, fate, dead } = *self;
        if fate == Fate::GoneBehind {
            dead.store(true, Ordering::SeqCst);
            return std::mem::forget(work);
        }
        work.finish(Err(fault()));
    }
}

/// One process, on a thread that is the test's own.
struct Process {
    runtime: Runtime,
    faulty: Arc<Faulty>,
    dispatcher: Dispatcher,
    sqs: Arc<Sqs>,
    sns: Arc<Sns>,
    lambda: Arc<Lambda<Scripted, Lines>>,
    host: Scripted,
    /// Batches of the host that were told already.
    told: usize,
    _stop: watch::Sender<bool>,
}

/// What outlives a process.
struct Ground {
    env: Env,
    memory: Arc<Memory>,
    home: tempfile::TempDir,
}

fn cx() -> Cx {
    Cx::internal(ACCOUNT.parse::<AccountId>().unwrap(), Region::default(), "11111111-2222-4333-8444-555555555555")
}

fn arn(service: &str, name: &str) -> String {
    format!("arn:aws:{service}:us-east-1:{ACCOUNT}:{name}")
}

impl Process {
    fn start(ground: &Ground, chance: &Env, lives: u64) -> Self {
        // One thread for what blocks, so that one such piece of work is behind the other.
        let runtime =
            tokio::runtime::Builder::new_current_thread().enable_all().max_blocking_threads(1).build().unwrap();
        let faulty = Arc::new(Faulty {
            below: Arc::clone(&ground.memory),
            chance: chance.clone(),
            calm: AtomicBool::new(true),
            dead: Arc::default(),
            left: AtomicU64::new(lives),
        });
        let env = &ground.env;
        let store = Store::new(Arc::clone(&faulty) as Arc<dyn Backend>, env);
        let tokens = || PageTokens::new(&[7; 32], env.clone());
        let sqs = Sqs::new(store.clone(), tokens());
        let destinations = Destinations::new();
        destinations.register(Arc::new(sqs.clone()));
        let sns = Sns::new(services_sns::Parts {
            store: store.clone(),
            page_tokens: tokens(),
            destinations: destinations.clone(),
            check: Arc::new(|_| Ok(())),
        });
        let host = Scripted::new(env);
        let (stop, stopped) = watch::channel(false);
        let inside = runtime.enter();
        let lambda = Lambda::new(Parts {
            store: store.clone(),
            env: env.clone(),
            host: host.clone(),
            scheduler: compute_scheduler::Limits::default(),
            code: CodeFolder::open(ground.home.path().join("code")).unwrap(),
            tokens: tokens(),
            credentials: Arc::new(Credentials),
            logs: Lines::default(),
            meter: Arc::<Metered>::default(),
            destinations,
            queues: Arc::new(sqs.clone()),
            streams: services_ports::StreamSources::new(),
            settings: Settings::default(),
        });
        // The only process there is: nobody can hold a lease.
        runtime.block_on(store.end_all_leases()).unwrap();
        lambda.start_tasks(&stopped);
        tokio::spawn(keep_reconciling(sqs.reconciler(), store.clone(), env.clone(), stopped.clone()));
        tokio::spawn(keep_reconciling(sns.reconciler(), store.clone(), env.clone(), stopped));
        drop(inside);
        Self {
            runtime,
            faulty,
            dispatcher: Dispatcher::new(store),
            sqs: Arc::new(sqs),
            sns: Arc::new(sns),
            lambda: Arc::new(lambda),
            host,
            told: 0,
            _stop: stop,
        }
    }

    fn is_dead(&self) -> bool {
        self.faulty.dead.load(Ordering::SeqCst)
    }

    /// Lets everything happen that happens without time.
    fn settle(&self) {
        self.runtime.block_on(async {
            for _ in 0..4 {
                for _ in 0..100 {
                    tokio::task::yield_now().await;
                }
                // What blocks is done when what is behind it is.
                tokio::task::spawn_blocking(|| ()).await.unwrap();
            }
        });
    }

    fn sqs(&self, request: model_sqs::Request) -> model_sqs::Response {
        let asked = self.dispatcher.dispatch::<model_sqs::Api, _>(&self.sqs, cx(), request);
        self.runtime.block_on(asked).unwrap()
    }

    fn sns(&self, request: model_sns::Request) -> model_sns::Response {
        let asked = self.dispatcher.dispatch::<model_sns::Api, _>(&self.sns, cx(), request);
        self.runtime.block_on(asked).unwrap()
    }

    fn lambda(&self, operation: &str, input: &Value) {
        let request = crate::world::request(operation, input);
        let asked = self.dispatcher.dispatch::<model_lambda::Api, _>(&self.lambda, cx(), request);
        drop(self.runtime.block_on(asked).unwrap());
    }

    /// Topics, queues, subscriptions, the function and its mappings.
    fn furnish(&self, ground: &Ground) {
        let allow = json!({
            "Effect": "Allow", "Principal": { "Service": "sns.amazonaws.com" }, "Action": "sqs:*", "Resource": "*",
        });
        let policy = json!({ "Version": "2012-10-17", "Statement": [allow] }).to_string();
        for (suffix, queues) in [("", &["work", "copy"][..]), (".fifo", &["work"])] {
            let fifo = |name: &str| (!suffix.is_empty()).then(|| (name.to_owned(), "true".to_owned()));
            let topic = CreateTopicInput {
                name: format!("topic{suffix}"),
                attributes: Some(fifo("FifoTopic").into_iter().collect()),
                ..Default::default()
            };
            self.sns(model_sns::Request::CreateTopic(topic.into()));
            for queue in queues {
                let name = format!("{queue}{suffix}");
                let mut attributes: BTreeMap<String, String> = fifo("FifoQueue").into_iter().collect();
                attributes.insert("Policy".to_owned(), policy.clone());
                attributes.insert("VisibilityTimeout".to_owned(), VISIBILITY.to_string());
                let queue =
                    CreateQueueRequest { queue_name: name.clone(), attributes: Some(attributes), ..Default::default() };
                self.sqs(model_sqs::Request::CreateQueue(queue.into()));
                let raw = ("RawMessageDelivery".to_owned(), "true".to_owned());
                let subscribe = SubscribeInput {
                    topic_arn: arn("sns", &format!("topic{suffix}")),
                    protocol: "sqs".to_owned(),
                    endpoint: Some(arn("sqs", &name)),
                    attributes: Some([raw].into()),
                    ..Default::default()
                };
                self.sns(model_sns::Request::Subscribe(subscribe.into()));
            }
        }
        self.lambda("CreateFunction", &function("f", "app.chain"));
        for _ in 0..20 {
            self.settle();
            ground.env.advance(Duration::from_millis(50));
        }
        for queue in ["work", "work.fifo"] {
            let input = json!({ "FunctionName": "f", "EventSourceArn": arn("sqs", queue), "BatchSize": 3 });
            self.lambda("CreateEventSourceMapping", &input);
        }
        self.settle();
    }

    /// All messages of a queue, whatever their state.
    fn left(&self, queue: &str) -> u64 {
        let url = format!("http://127.0.0.1:4566/{ACCOUNT}/{queue}");
        let request = GetQueueAttributesRequest { queue_url: url, attribute_names: Some(vec!["All".to_owned()]) };
        let model_sqs::Response::GetQueueAttributes(found) =
            self.sqs(model_sqs::Request::GetQueueAttributes(request.into()))
        else {
            panic!("it answers something else")
        };
        let attributes = found.attributes.unwrap();
        let of = |kind: &str| attributes[&format!("ApproximateNumberOfMessages{kind}")].parse::<u64>().unwrap();
        of("") + of("NotVisible") + of("Delayed")
    }

    fn publish(&self, body: &str, group: Option<&str>) -> JoinHandle<bool> {
        let topic = if group.is_some() { "topic.fifo" } else { "topic" };
        let request = PublishInput {
            topic_arn: Some(arn("sns", topic)),
            message: body.to_owned(),
            message_group_id: group.map(str::to_owned),
            message_deduplication_id: group.map(|_| body.to_owned()),
            ..Default::default()
        };
        let (dispatcher, sns) = (self.dispatcher.clone(), Arc::clone(&self.sns));
        self.runtime.spawn(async move {
            let request = model_sns::Request::Publish(request.into());
            dispatcher.dispatch::<model_sns::Api, _>(&sns, cx(), request).await.is_ok()
        })
    }
}

/// Who publishes one message after the other; asked again the same is said until there is an answer.
struct Publisher {
    name: String,
    grouped: bool,
    number: u64,
    asked: Option<JoinHandle<bool>>,
}

impl Publisher {
    fn body(&self) -> String {
        format!("{}-{}", self.name, self.number)
    }
}

/// What is held against the chain.
#[derive(Default)]
struct Book {
    tried: BTreeSet<String>,
    acknowledged: BTreeSet<String>,
    /// By text: the identifiers of the messages that said it.
    seen: BTreeMap<String, BTreeSet<String>>,
    /// By group: numbers in the order in which they were seen first.
    order: BTreeMap<String, Vec<u64>>,
    history: Vec<String>,
    deaths: usize,
}

impl Book {
    fn saw(&mut self, at: Timestamp, process: &mut Process) {
        let seen = process.host.seen.lock();
        for invocation in seen.iter().skip(process.told) {
            let event: Value = serde_json::from_slice(&invocation.payload).unwrap();
            let mut line = format!("{} ran", at.as_millis());
            for record in event["Records"].as_array().unwrap() {
                let (body, id) = (record["body"].as_str().unwrap(), record["messageId"].as_str().unwrap());
                assert!(self.tried.contains(body), "{body} was never published");
                line.push_str(&format!(" {body}"));
                if self.seen.entry(body.to_owned()).or_default().insert(id.to_owned())
                    && self.seen[body].len() == 1
                    && let Some((group, number)) = body.rsplit_once('-')
                {
                    self.order.entry(group.to_owned()).or_default().push(number.parse().unwrap());
                }
            }
            self.history.push(line);
        }
        process.told = seen.len();
    }
}

fn play(seed: u64) -> Book {
    let chance = Env::simulated(Timestamp::EPOCH, seed);
    let env = Env::simulated(Timestamp::from_millis(1_795_435_200_000), seed);
    let memory = Arc::new(Memory::new(&env));
    let ground = Ground { env, memory, home: tempfile::tempdir().unwrap() };
    let mut process = Process::start(&ground, &chance, 40 + chance.below(200));
    process.furnish(&ground);
    process.faulty.calm.store(false, Ordering::SeqCst);
    let grouped = (0..GROUPS).map(|n| (format!("g{n}"), true));
    let mut publishers: Vec<Publisher> = grouped
        .chain((0..PLAIN).map(|n| (format!("s{n}"), false)))
        .map(|(name, grouped)| Publisher { name, grouped, number: 0, asked: None })
        .collect();
    let mut book = Book::default();
    for _ in 0..STEPS {
        // The function takes its time, and fails now and then.
        process.host.gate.send_replace(chance.below(3) > 0);
        process.host.failures_left.store(u64::from(chance.below(6) == 0), Ordering::SeqCst);
        for publisher in &mut publishers {
            if publisher.asked.is_none() && chance.below(2) == 0 {
                let body = publisher.body();
                book.tried.insert(body.clone());
                let group = publisher.grouped.then_some(publisher.name.as_str());
                publisher.asked = Some(process.publish(&body, group));
            }
        }
        process.settle();
        for publisher in &mut publishers {
            let Some(asked) = publisher.asked.take_if(|asked| asked.is_finished()) else { continue };
            if process.runtime.block_on(asked).unwrap() {
                book.history.push(format!("{} acknowledged {}", ground.env.now().as_millis(), publisher.body()));
                book.acknowledged.insert(publisher.body());
                publisher.number += 1;
            }
        }
        book.saw(ground.env.now(), &mut process);
        if process.is_dead() {
            book.deaths += 1;
            book.history.push(format!("{} died", ground.env.now().as_millis()));
            publishers.iter_mut().for_each(|publisher| publisher.asked = None);
            // Everything that the process held goes with it.
            drop(process);
            process = Process::start(&ground, &chance, 20 + chance.below(150));
            process.faulty.calm.store(false, Ordering::SeqCst);
        }
        ground.env.advance(Duration::from_millis(20 + chance.below(1500)));
    }
    process.faulty.calm.store(true, Ordering::SeqCst);
    process.host.gate.send_replace(true);
    process.host.failures_left.store(0, Ordering::SeqCst);
    let mut waited = 0;
    while process.left("work") + process.left("work.fifo") > 0 {
        assert!(waited < 600, "seed {seed}: messages are left after {waited} calm seconds");
        ground.env.advance(Duration::from_secs(1));
        process.settle();
        book.saw(ground.env.now(), &mut process);
        waited += 1;
    }
    book.history.push(format!("drained after {waited} s"));
    // The copy of the fan-out holds every publication, and nothing else.
    assert!(process.left("copy") >= book.acknowledged.iter().filter(|body| body.starts_with('s')).count() as u64);
    book
}

fn check(seed: u64, book: &Book) {
    let seen: BTreeSet<&String> = book.seen.keys().collect();
    let lost: Vec<_> = book.acknowledged.iter().filter(|body| !seen.contains(body)).collect();
    assert!(lost.is_empty(), "seed {seed}: lost {lost:?}");
    for (body, ids) in &book.seen {
        assert!(
            !body.starts_with('g') || ids.len() == 1,
            "seed {seed}: {body} was in the FIFO queue {} times",
            ids.len()
        );
    }
    for (group, numbers) in book.order.iter().filter(|(group, _)| group.starts_with('g')) {
        let expected: Vec<u64> = (0..numbers.len() as u64).collect();
        assert_eq!(numbers, &expected, "seed {seed}: the order of group {group}");
    }
}

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().and_then(|text| text.parse().ok())
}

#[test]
fn what_is_published_is_worked_off_whenever_the_process_dies() {
    if let Some(seed) = number("PILEUS_SEED") {
        let book = play(seed);
        book.history.iter().for_each(|line| eprintln!("{line}"));
        return check(seed, &book);
    }
    let (mut acknowledged, mut deaths) = (0, 0);
    for seed in 0..number("PILEUS_SEEDS").unwrap_or(25) {
        let book = play(seed);
        check(seed, &book);
        acknowledged += book.acknowledged.len();
        deaths += book.deaths;
    }
    assert!(acknowledged > 500 && deaths > 50, "{acknowledged} publications and {deaths} deaths say too little");
}
