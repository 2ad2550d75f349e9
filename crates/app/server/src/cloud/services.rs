//! The services that are served, each named once: its room here, its shapes in `model`, and the name by which a request,
//! a universal target or a schedule finds it.
//!
//! A new service is a field of [`Services`], a line of [`with_service!`], a line of [`schemas`], and its construction in
//! `compose`.

use std::sync::Arc;

use edge_outbound::HttpOutbound;
use services_dynamodb::{DynamoDb, DynamoDbStreams};
use services_events::{ApiDestinations, EventBridge};
use services_lambda::Lambda;
use services_logs::CloudWatchLogs;
use services_pipes::{Peers, Pipes};
use services_s3::S3;
use services_scheduler::Scheduler;
use services_sns::Sns;
use services_sqs::Sqs;
use services_sts::Sts;
use wire_schema::{Model as _, ServiceSchema};

use crate::{late_host::LateHost, operations::AllOperations};

/// Lambda on this host, with its output in our logs.
pub(crate) type Functions = Lambda<LateHost, CloudWatchLogs>;

/// Whom pipes wait for.
pub(crate) struct Asked {
    pub(crate) functions: Arc<Functions>,
    pub(crate) endpoints: ApiDestinations<HttpOutbound>,
    pub(crate) logs: Arc<CloudWatchLogs>,
}

impl Peers for Asked {
    type Functions = Functions;
    type Endpoints = ApiDestinations<HttpOutbound>;
    type Logs = CloudWatchLogs;

    fn functions(&self) -> &Functions {
        &self.functions
    }

    fn endpoints(&self) -> &Self::Endpoints {
        &self.endpoints
    }

    fn logs(&self) -> &CloudWatchLogs {
        &self.logs
    }
}

/// Every service, by which its operations run.
#[derive(Clone)]
pub(crate) struct Services {
    pub(crate) dynamodb: Arc<DynamoDb>,
    pub(crate) dynamodbstreams: Arc<DynamoDbStreams>,
    pub(crate) events: Arc<EventBridge>,
    pub(crate) lambda: Arc<Functions>,
    pub(crate) logs: Arc<CloudWatchLogs>,
    pub(crate) pipes: Arc<Pipes<Asked>>,
    pub(crate) s3: Arc<S3>,
    pub(crate) scheduler: Arc<Scheduler<AllOperations>>,
    pub(crate) sns: Arc<Sns>,
    pub(crate) sqs: Arc<Sqs>,
    pub(crate) sts: Arc<Sts>,
}

/// Runs this for the service of that name: `$run::<Model>(…, &service, …)`; with another name, `$otherwise`.
macro_rules! with_service {
    ($services:expr, $name:expr, $($run:ident).+ ( $($argument:expr),* ) $(.$wait:ident)?, $other:ident => $otherwise:expr) => {
        match $name {
            "dynamodb" => $($run).+::<model_dynamodb::Api, _>(&$services.dynamodb, $($argument),*)$(.$wait)?,
            "dynamodbstreams" => {
                $($run).+::<model_dynamodbstreams::Api, _>(&$services.dynamodbstreams, $($argument),*)$(.$wait)?
            }
            "events" => $($run).+::<model_events::Api, _>(&$services.events, $($argument),*)$(.$wait)?,
            "lambda" => $($run).+::<model_lambda::Api, _>(&$services.lambda, $($argument),*)$(.$wait)?,
            "logs" => $($run).+::<model_logs::Api, _>(&$services.logs, $($argument),*)$(.$wait)?,
            "pipes" => $($run).+::<model_pipes::Api, _>(&$services.pipes, $($argument),*)$(.$wait)?,
            "s3" => $($run).+::<model_s3::Api, _>(&$services.s3, $($argument),*)$(.$wait)?,
            "scheduler" => $($run).+::<model_scheduler::Api, _>(&$services.scheduler, $($argument),*)$(.$wait)?,
            "sns" => $($run).+::<model_sns::Api, _>(&$services.sns, $($argument),*)$(.$wait)?,
            "sqs" => $($run).+::<model_sqs::Api, _>(&$services.sqs, $($argument),*)$(.$wait)?,
            "sts" => $($run).+::<model_sts::Api, _>(&$services.sts, $($argument),*)$(.$wait)?,
            $other => $otherwise,
        }
    };
}
pub(crate) use with_service;

/// The wire side of every service.
pub(crate) fn schemas() -> Vec<&'static ServiceSchema> {
    vec![
        model_dynamodb::Api::service(),
        model_dynamodbstreams::Api::service(),
        model_events::Api::service(),
        model_lambda::Api::service(),
        model_logs::Api::service(),
        model_pipes::Api::service(),
        model_s3::Api::service(),
        model_scheduler::Api::service(),
        model_sns::Api::service(),
        model_sqs::Api::service(),
        model_sts::Api::service(),
    ]
}
