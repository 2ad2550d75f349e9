//! A whole service on simulated time, and requests as the edge makes them: validated, then dispatched.

use std::{sync::Arc, time::Duration};

use base_env::Env;
use base_types::{AccountId, Region, Timestamp};
use model_logs::*;
use services_kernel::{Cx, Dispatcher, PageTokens, Reconciler};
use services_logs::{CloudWatchLogs, LogsReconciler};
use store_api::Store;
use store_segments::{Segments, Settings};
use wire_schema::{Model, ServiceError, Survey, validate};

/// 2026-11-23T12:00:00Z.
pub(crate) const NOW: i64 = 1_795_435_200_000;
pub(crate) const HOUR: i64 = 3_600_000;

pub(crate) struct World {
    pub(crate) env: Env,
    pub(crate) store: Store,
    pub(crate) logs: Arc<CloudWatchLogs>,
    pub(crate) segments: Segments,
    reconciler: LogsReconciler,
    dispatcher: Dispatcher,
    pub(crate) cx: Cx,
    _folder: tempfile::TempDir,
}

/// The code and message of an error.
pub(crate) type Refusal = (String, String);

impl World {
    pub(crate) fn new() -> Self {
        Self::with(Settings::default())
    }

    pub(crate) fn with(settings: Settings) -> Self {
        let env = Env::simulated(Timestamp::from_millis(NOW.cast_unsigned()), 7);
        let store = Store::memory(&env);
        let folder = tempfile::tempdir().unwrap();
        let (segments, _) = Segments::open(folder.path(), settings, env.clone()).unwrap();
        let logs = CloudWatchLogs::new(store.clone(), segments.clone(), PageTokens::new(&[7; 32], env.clone()));
        let cx = Cx::internal(AccountId::DEFAULT, Region::default(), "test");
        let dispatcher = Dispatcher::new(store.clone());
        let reconciler = logs.reconciler();
        Self { env, store, logs: Arc::new(logs), segments, reconciler, dispatcher, cx, _folder: folder }
    }

    pub(crate) async fn call(&self, request: Request) -> Result<Response, Refusal> {
        let violations = validate(Api::input(&request), &Survey::default());
        let refusal = |error: Error| (error.code().to_owned(), error.message().to_owned());
        if !violations.is_empty() {
            return Err(refusal(Error::violated(&violations, None)));
        }
        self.dispatcher.dispatch::<Api, _>(&self.logs, self.cx.clone(), request).await.map_err(refusal)
    }

    pub(crate) async fn reconcile(&self) {
        self.reconciler.round().await.unwrap();
    }

    pub(crate) fn advance(&self, seconds: u64) {
        self.env.advance(Duration::from_secs(seconds));
    }

    pub(crate) async fn create_group(&self, name: &str) {
        let request = CreateLogGroupRequest { log_group_name: name.to_owned(), ..Default::default() };
        self.call(Request::CreateLogGroup(Box::new(request))).await.unwrap();
    }

    pub(crate) async fn try_create_stream(&self, group: &str, stream: &str) -> Result<Response, Refusal> {
        let (log_group_name, log_stream_name) = (group.to_owned(), stream.to_owned());
        self.call(Request::CreateLogStream(Box::new(CreateLogStreamRequest { log_group_name, log_stream_name }))).await
    }

    pub(crate) async fn create(&self, group: &str, streams: &[&str]) {
        self.create_group(group).await;
        for stream in streams {
            self.try_create_stream(group, stream).await.unwrap();
        }
    }

    pub(crate) async fn try_put(
        &self,
        group: &str,
        stream: &str,
        events: &[(i64, &str)],
    ) -> Result<PutLogEventsResponse, Refusal> {
        let event = |&(timestamp, text): &(i64, &str)| InputLogEvent { timestamp, message: text.to_owned() };
        let request = PutLogEventsRequest {
            log_group_name: group.to_owned(),
            log_stream_name: stream.to_owned(),
            log_events: events.iter().map(event).collect(),
            ..Default::default()
        };
        match self.call(Request::PutLogEvents(Box::new(request))).await? {
            Response::PutLogEvents(response) => Ok(*response),
            other => panic!("{other:?}"),
        }
    }

    pub(crate) async fn put(&self, group: &str, stream: &str, events: &[(i64, &str)]) {
        self.try_put(group, stream, events).await.unwrap();
    }

    pub(crate) async fn get(&self, request: GetLogEventsRequest) -> Result<GetLogEventsResponse, Refusal> {
        match self.call(Request::GetLogEvents(Box::new(request))).await? {
            Response::GetLogEvents(response) => Ok(*response),
            other => panic!("{other:?}"),
        }
    }

    pub(crate) async fn filter(&self, request: FilterLogEventsRequest) -> Result<FilterLogEventsResponse, Refusal> {
        match self.call(Request::FilterLogEvents(Box::new(request))).await? {
            Response::FilterLogEvents(response) => Ok(*response),
            other => panic!("{other:?}"),
        }
    }

    pub(crate) async fn groups(&self, request: DescribeLogGroupsRequest) -> Result<DescribeLogGroupsResponse, Refusal> {
        match self.call(Request::DescribeLogGroups(Box::new(request))).await? {
            Response::DescribeLogGroups(response) => Ok(*response),
            other => panic!("{other:?}"),
        }
    }

    pub(crate) async fn streams(
        &self,
        request: DescribeLogStreamsRequest,
    ) -> Result<DescribeLogStreamsResponse, Refusal> {
        match self.call(Request::DescribeLogStreams(Box::new(request))).await? {
            Response::DescribeLogStreams(response) => Ok(*response),
            other => panic!("{other:?}"),
        }
    }
}

pub(crate) fn of_stream(group: &str, stream: &str) -> GetLogEventsRequest {
    GetLogEventsRequest {
        log_group_name: Some(group.to_owned()),
        log_stream_name: stream.to_owned(),
        ..Default::default()
    }
}

pub(crate) fn of_group(group: &str, pattern: &str) -> FilterLogEventsRequest {
    FilterLogEventsRequest {
        log_group_name: Some(group.to_owned()),
        filter_pattern: Some(pattern.to_owned()),
        ..Default::default()
    }
}

pub(crate) fn got(response: &GetLogEventsResponse) -> Vec<String> {
    response.events.iter().flatten().map(|event| event.message.clone().unwrap()).collect()
}

pub(crate) fn filtered(response: &FilterLogEventsResponse) -> Vec<String> {
    response.events.iter().flatten().map(|event| event.message.clone().unwrap()).collect()
}
