//! Everything that a test stands on.

use std::{future::Future, sync::Arc, time::Duration};

use base_env::Env;
use base_types::{AccountId, Arn, Fault, Region, Timestamp};
use base64::{Engine, engine::general_purpose::STANDARD};
use model_lambda::Api;
use parking_lot::Mutex;
use serde_json::{Value, json};
use services_dynamodb::{DynamoDb, DynamoDbStreams};
use services_kernel::{Cx, Dispatcher, PageTokens, keep_reconciling};
use services_lambda::{Lambda, Parts, Settings, archive::CodeFolder};
use services_ports::{
    Deliver, Delivery, DeliveryError, Destinations, InvocationRecord, LogAppendError, LogLine, LogSink, LogTarget,
    Meter, MeteredFunction, RoleCredentials, SessionCredentials, StreamSources,
};
use services_sqs::Sqs;
use store_api::{Store, Tx};
use tokio::sync::watch;
use wire_json::{Members, decode, encode, encode_error};
use wire_schema::{Model, Operation, Schema, Seen, ServiceError, Survey, refused_member, validate};

use crate::host::Scripted;

/// What background work gets of the real time when simulated time has passed; three times.
const CATCH_UP: Duration = Duration::from_millis(2);

pub(crate) const ROLE: &str = "arn:aws:iam::111111111111:role/any";
const ACCOUNT: &str = "111111111111";

/// Keeps the lines of functions in memory.
#[derive(Clone, Default)]
pub(crate) struct Lines(Arc<Mutex<Vec<(String, String, String)>>>);

impl LogSink for Lines {
    fn ensure_stream(&self, _: &Cx, _: &Tx, group: &str, stream: &str) -> Result<LogTarget, Fault> {
        let mut all = self.0.lock();
        let known = all.iter().position(|(g, s, _)| g == group && s == stream);
        let index = known.unwrap_or_else(|| {
            all.push((group.to_owned(), stream.to_owned(), String::new()));
            all.len() - 1
        });
        Ok(LogTarget { group: 0, stream: index as u128 })
    }

    async fn append(&self, target: &LogTarget, lines: Vec<LogLine>) -> Result<(), LogAppendError> {
        let mut all = self.0.lock();
        let text = &mut all[usize::try_from(target.stream).unwrap()].2;
        lines.iter().for_each(|line| text.push_str(&String::from_utf8_lossy(&line.text)));
        Ok(())
    }
}

impl Lines {
    /// Group, stream and text of every stream that holds something.
    pub(crate) fn all(&self) -> Vec<(String, String, String)> {
        self.0.lock().iter().filter(|(_, _, text)| !text.is_empty()).cloned().collect()
    }
}

/// Keeps what invocations took, and the reasons of refusals, in memory.
#[derive(Default)]
pub(crate) struct Metered {
    pub(crate) records: Mutex<Vec<InvocationRecord>>,
    pub(crate) throttles: Mutex<Vec<&'static str>>,
}

impl Meter for Metered {
    fn invocation(&self, record: &InvocationRecord) {
        self.records.lock().push(record.clone());
    }

    fn throttle(&self, _: &MeteredFunction, _: Timestamp, reason: &'static str) {
        self.throttles.lock().push(reason);
    }
}

/// A service whose resources take what functions come to; those called `absent` are not there.
pub(crate) struct Target {
    service: &'static str,
    pub(crate) taken: Arc<Mutex<Vec<(String, Delivery)>>>,
}

impl Deliver for Target {
    fn service(&self) -> &'static str {
        self.service
    }

    fn check(&self, _: &Cx, _: &Tx, target: &Arn) -> Result<(), DeliveryError> {
        if target.resource == "absent" { Err(DeliveryError::NotFound(target.to_string())) } else { Ok(()) }
    }

    fn deliver(&self, cx: &Cx, tx: &Tx, target: &Arn, delivery: &Delivery) -> Result<(), DeliveryError> {
        self.check(cx, tx, target)?;
        assert_eq!(cx.principal.arn(), format!("arn:aws:sts::111111111111:assumed-role/any/{}", name_of(cx)));
        let (taken, told) = (Arc::clone(&self.taken), (target.to_string(), delivery.clone()));
        Ok(tx.on_commit(move || taken.lock().push(told))?)
    }
}

fn name_of(cx: &Cx) -> String {
    let source = cx.source.as_ref().expect("a delivery has a source");
    source.arn.resource.trim_start_matches("function:").to_owned()
}

pub(crate) struct Credentials;

impl RoleCredentials for Credentials {
    fn issue(&self, _: AccountId, role: &Arn, session: &str, _: Duration) -> SessionCredentials {
        SessionCredentials {
            access_key_id: "ASIA".into(),
            secret_access_key: format!("secret of {role}"),
            session_token: session.into(),
            expires: Timestamp::MAX,
        }
    }
}

/// An answer that is an error.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Failure {
    pub(crate) status: u16,
    pub(crate) code: String,
    pub(crate) message: String,
    pub(crate) body: Value,
}

pub(crate) struct World {
    pub(crate) env: Env,
    pub(crate) store: Store,
    pub(crate) lambda: Lambda<Scripted, Lines>,
    pub(crate) host: Scripted,
    pub(crate) lines: Lines,
    pub(crate) meter: Arc<Metered>,
    /// What queues, topics and event buses were given.
    pub(crate) taken: Arc<Mutex<Vec<(String, Delivery)>>>,
    pub(crate) cx: Cx,
    pub(crate) sqs: Arc<Sqs>,
    pub(crate) tables: Arc<DynamoDb>,
    /// Who takes deliveries, functions among them.
    pub(crate) destinations: Destinations,
    service: Arc<Lambda<Scripted, Lines>>,
    stop: watch::Sender<bool>,
    home: Arc<tempfile::TempDir>,
}

impl World {
    /// A fresh installation with its background work running.
    pub(crate) fn new() -> Self {
        let env = Env::simulated(Timestamp::from_millis(1_795_435_200_000), 7);
        let store = Store::memory(&env);
        Self::over(env, store, Arc::new(tempfile::tempdir().unwrap()))
    }

    /// A restart that waits until the old service has ended, so that nobody but the new one takes what comes now.
    pub(crate) async fn ended_and_restarted(self) -> Self {
        self.stop.send_replace(true);
        for _ in 0..100 {
            if self.stop.is_closed() {
                break;
            }
            self.pass(Duration::from_millis(10)).await;
        }
        self.restarted()
    }

    /// The service anew over what another left: a restart.
    pub(crate) fn restarted(self) -> Self {
        self.stop.send_replace(true);
        Self::over(self.env.clone(), self.store.clone(), self.home.clone())
    }

    /// The service anew while the other still believes that it works: a process that hangs, and one that takes over.
    pub(crate) fn crashed(self) -> Self {
        let next = Self::over(self.env.clone(), self.store.clone(), self.home.clone());
        // It renews no lease any more; what it was running hangs.
        self.stop.send_replace(true);
        std::mem::forget(self);
        next
    }

    fn over(env: Env, store: Store, home: Arc<tempfile::TempDir>) -> Self {
        let (host, lines, meter) = (Scripted::new(&env), Lines::default(), Arc::new(Metered::default()));
        let (destinations, taken) = (Destinations::new(), Arc::<Mutex<Vec<_>>>::default());
        for service in ["sqs", "sns", "events"] {
            destinations.register(Arc::new(Target { service, taken: Arc::clone(&taken) }));
        }
        let tokens = PageTokens::new(&[7; 32], env.clone());
        let sqs = Sqs::new(store.clone(), tokens.clone());
        // Shards are closed after a minute.
        let tables_streams =
            DynamoDbStreams::new(store.clone(), tokens.clone()).with_shards_open_for(Duration::from_secs(60));
        let streams = StreamSources::new();
        streams.register(Arc::new(tables_streams.clone()));
        let lambda = Lambda::new(Parts {
            store: store.clone(),
            env: env.clone(),
            host: host.clone(),
            scheduler: compute_scheduler::Limits::default(),
            code: CodeFolder::open(home.path().join("code")).unwrap(),
            tokens,
            credentials: Arc::new(Credentials),
            logs: lines.clone(),
            meter: Arc::<Metered>::clone(&meter),
            destinations: destinations.clone(),
            queues: Arc::new(sqs.clone()),
            streams,
            settings: Settings::default(),
        });
        let (stop, stopped) = watch::channel(false);
        lambda.start_tasks(&stopped);
        drop(tokio::spawn(keep_reconciling(tables_streams.reconciler(), store.clone(), env.clone(), stopped)));
        let tables = Arc::new(DynamoDb::new(store.clone()));
        let cx = Cx::internal(ACCOUNT.parse().unwrap(), Region::default(), "11111111-2222-4333-8444-555555555555");
        Self {
            env,
            store,
            sqs: Arc::new(sqs),
            tables,
            destinations,
            service: Arc::new(lambda.clone()),
            lambda,
            host,
            lines,
            meter,
            taken,
            cx,
            stop,
            home,
        }
    }

    /// Calls an operation as a client does: decoded, validated, dispatched, encoded. Answers status and document.
    pub(crate) async fn try_call(&self, cx: &Cx, operation: &str, input: Value) -> Result<(u16, Value), Failure> {
        let (operation, request, survey) = read(operation, input);
        let violations = validate(Api::input(&request), &survey);
        if !violations.is_empty() {
            return Err(failure(&model_lambda::Error::violated(&violations, None)));
        }
        if let Some(member) = refused_member(Api::input(&request)) {
            return Err(failure(&model_lambda::Error::not_implemented(&member)));
        }
        let dispatcher = Dispatcher::new(self.store.clone());
        let cx = Cx { request_id: Arc::from(self.env.uuid()), ..cx.clone() };
        let answer =
            dispatcher.dispatch::<Api, _>(&self.service, cx, request).await.map_err(|error| failure(&error))?;
        let document = Api::output(&answer).map_or(json!({}), |shape| {
            let encoded: Value = serde_json::from_slice(&encode(shape, Members::All)).unwrap();
            let members = encoded.as_object().unwrap().clone().into_iter();
            members.map(|(name, value)| (model_name(shape.schema(), &name), value)).collect()
        });
        Ok((operation.http.status, document))
    }

    pub(crate) async fn call(&self, operation: &str, input: Value) -> Value {
        match self.try_call(&self.cx, operation, input).await {
            Ok((_, answer)) => answer,
            Err(failure) => panic!("{operation}: {failure:?}"),
        }
    }

    pub(crate) async fn fails(&self, operation: &str, input: Value) -> Failure {
        match self.try_call(&self.cx, operation, input).await {
            Ok((_, answer)) => panic!("{operation} succeeded: {answer}"),
            Err(failure) => failure,
        }
    }

    /// Creates a function and waits until it is active.
    pub(crate) async fn function(&self, name: &str, handler: &str) -> Value {
        let answer = self.call("CreateFunction", function(name, handler)).await;
        self.settled(name).await;
        answer
    }

    /// Waits until a creation or an update has come to its end.
    pub(crate) async fn settled(&self, name: &str) {
        self.eventually(&format!("{name} is settled"), || async {
            let found = self.call("GetFunction", json!({ "FunctionName": name })).await;
            let configuration = &found["Configuration"];
            configuration["State"] != "Pending" && configuration["LastUpdateStatus"] != "InProgress"
        })
        .await;
    }

    /// Waits for something that background work brings about, without moving time.
    pub(crate) async fn eventually<F: Future<Output = bool>>(&self, what: &str, mut check: impl FnMut() -> F) {
        for _ in 0..200_000 {
            if check().await {
                return;
            }
            tokio::task::yield_now().await;
        }
        panic!("never: {what}");
    }

    /// A `DeleteFunction` that borrows nothing.
    pub(crate) fn deletion(&self, name: &str) -> impl Future<Output = ()> + Send + use<> {
        let (store, service, cx) = (self.store.clone(), Arc::clone(&self.service), self.cx.clone());
        let input = model_lambda::DeleteFunctionRequest { function_name: name.to_owned(), qualifier: None };
        async move {
            let request = model_lambda::Request::DeleteFunction(input.into());
            Dispatcher::new(store).dispatch::<Api, _>(&service, cx, request).await.unwrap();
        }
    }

    /// Runs a request as it is.
    pub(crate) async fn dispatch(&self, request: model_lambda::Request) -> model_lambda::Response {
        let cx = Cx { request_id: Arc::from(self.env.uuid()), ..self.cx.clone() };
        Dispatcher::new(self.store.clone()).dispatch::<Api, _>(&self.service, cx, request).await.unwrap()
    }

    /// An invocation that nobody waits for.
    pub(crate) fn background(&self, name: &str) -> tokio::task::JoinHandle<()> {
        let (store, service, cx) = (self.store.clone(), Arc::clone(&self.service), self.cx.clone());
        let input = model_lambda::InvocationRequest { function_name: name.to_owned(), ..Default::default() };
        tokio::spawn(async move {
            let request = model_lambda::Request::Invoke(input.into());
            // A world that ends takes it along.
            drop(Dispatcher::new(store).dispatch::<Api, _>(&service, cx, request).await);
        })
    }

    /// Moves time by `step`, and lets background work catch up with it: leases must not run out under it. What other
    /// threads do takes a moment of the real time, too.
    pub(crate) async fn pass(&self, step: Duration) {
        self.env.advance(step);
        for _ in 0..3 {
            for _ in 0..100 {
                tokio::task::yield_now().await;
            }
            Env::real().sleep(CATCH_UP).await;
        }
    }

    /// Invokes and gives the payload beside the rest of the answer.
    pub(crate) async fn invoke(&self, name: &str, payload: Value) -> (Value, Value) {
        self.invoke_with(name, json!({ "Payload": STANDARD.encode(payload.to_string()) })).await
    }

    pub(crate) async fn invoke_with(&self, name: &str, mut input: Value) -> (Value, Value) {
        input["FunctionName"] = json!(name);
        let answer = self.call("Invoke", input).await;
        let bytes = STANDARD.decode(answer["Payload"].as_str().unwrap_or_default()).unwrap();
        (serde_json::from_slice(&bytes).unwrap_or(Value::Null), answer)
    }
}

impl Drop for World {
    fn drop(&mut self) {
        // Nobody listens any more when the runtime is already gone.
        self.stop.send_replace(true);
    }
}

/// A request that is sound, from a document with the model's names.
pub(crate) fn request(operation: &str, input: &Value) -> model_lambda::Request {
    let (_, request, survey) = read(operation, input.clone());
    assert!(validate(Api::input(&request), &survey).is_empty(), "the test's own input is sound");
    request
}

fn read(operation: &str, input: Value) -> (&'static Operation, model_lambda::Request, Survey) {
    let operation = Api::service().operation(operation).expect("the operation is there");
    let mut request = Api::request(operation).unwrap();
    let (mut seen, mut survey) = (Seen::default(), Survey::default());
    // Members that travel in headers or the query have other names there: tests use the model's.
    let named: Value = match input {
        Value::Object(members) => {
            members.into_iter().map(|(name, value)| (wire_name(operation.input, &name), value)).collect()
        }
        other => other,
    };
    let document = named.to_string();
    let shape = Api::input_mut(&mut request);
    decode(document.as_bytes(), Members::All, shape, &mut seen, &mut survey).expect("the test's own input is sound");
    survey.absent(operation.input, seen);
    (operation, request, survey)
}

fn wire_name(schema: &Schema, name: &str) -> String {
    schema.members().iter().find(|member| member.name == name).map_or(name, |member| member.wire_name).to_owned()
}

fn model_name(schema: &Schema, name: &str) -> String {
    schema.members().iter().find(|member| member.wire_name == name).map_or(name, |member| member.name).to_owned()
}

fn failure(error: &model_lambda::Error) -> Failure {
    let body = error
        .shape()
        .map_or(Value::Null, |shape| serde_json::from_slice(&encode_error(shape, Members::Body, None)).unwrap());
    Failure { status: error.status(), code: error.code().to_owned(), message: error.message().to_owned(), body }
}

/// A zip with one file, in base64.
pub(crate) fn zip(file: &str, content: &str) -> String {
    let mut writer = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
    writer.start_file(file, zip::write::SimpleFileOptions::default()).unwrap();
    std::io::Write::write_all(&mut writer, content.as_bytes()).unwrap();
    STANDARD.encode(writer.finish().unwrap().into_inner())
}

/// The input of a `PublishLayerVersion` whose layer holds one file.
pub(crate) fn layer(name: &str, file: &str, content: &str) -> Value {
    json!({ "LayerName": name, "Content": { "ZipFile": zip(file, content) } })
}

/// The input of a `CreateFunction` that succeeds.
pub(crate) fn function(name: &str, handler: &str) -> Value {
    json!({
        "FunctionName": name,
        "Runtime": "python3.12",
        "Role": ROLE,
        "Handler": handler,
        "Code": { "ZipFile": zip("app.py", "first") },
    })
}
