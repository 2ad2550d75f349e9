//! The pages of our own that ask the services: what runs, what was sent, what it took.

use std::sync::Arc;

use edge_gateway::{Body, OwnCall};
use http::Response;
use services_ports::MeteredFunction;
use services_usage::Prices;

use super::Cloud;
use crate::{
    own, pages,
    usage_page::{self, Question},
};

/// Letters that the page shows.
const OUTBOX_SHOWN: usize = 100;

impl Cloud {
    /// What runs just now; with `?function=NAME` of one function, its last invocations too.
    pub(super) fn environments(&self, call: &OwnCall) -> Response<Body> {
        let only = match call.head.uri.query().filter(|query| !query.is_empty()).map(|query| query.split_once('=')) {
            None => None,
            Some(Some(("function", name))) => Some(name),
            Some(_) => return own::invalid("The one parameter of this page is `function`."),
        };
        let only = match (&call.identity, only) {
            (Ok(identity), Some(name)) => Some(MeteredFunction {
                account: identity.account,
                region: identity.region.clone(),
                name: Arc::from(name),
            }),
            _ => None,
        };
        let last = only.as_ref().and_then(|function| self.usage.live(function));
        let now = pages::Now {
            snapshot: self.services.lambda.environments(),
            rates: self.usage.live_all(),
            concurrency: self.concurrency,
            only: only.map(|function| (function, last.unwrap_or_default())),
        };
        own::document(&pages::environments(&now))
    }

    /// What e-mail and SMS subscribers would have got; with `?region=REGION` in another region than the caller's.
    pub(super) async fn outbox(&self, call: &OwnCall) -> Response<Body> {
        let Ok(identity) = &call.identity else { return own::invalid("The caller is not known.") };
        let query = call.head.uri.query().unwrap_or_default();
        let region = match query.strip_prefix("region=").map(str::parse) {
            None if query.is_empty() => identity.region.clone(),
            Some(Ok(region)) => region,
            _ => return own::invalid("The one parameter of this page is `region`."),
        };
        match self.services.sns.outbox(identity.account, region, OUTBOX_SHOWN).await {
            Ok(letters) => own::document(&pages::outbox(&letters)),
            Err(fault) => own::failed("outbox", &fault),
        }
    }

    /// What invocations took.
    pub(super) async fn usage(&self, call: &OwnCall) -> Response<Body> {
        let Ok(identity) = &call.identity else { return own::invalid("The caller is not known.") };
        let query = call.head.uri.query().unwrap_or_default();
        let question = match Question::read(query, identity.account, identity.region.clone(), self.env.now()) {
            Ok(question) => question,
            Err(wrong) => return own::invalid(&wrong),
        };
        let prices = match Prices::built_in() {
            Ok(prices) => prices,
            Err(error) => return own::failed("usage", &error),
        };
        match self.usage.summary(&question.selection).await {
            Ok(summary) => own::document(&usage_page::document(&question, &summary, &prices)),
            Err(fault) => own::failed("usage", &fault),
        }
    }
}
