//! The operations.

mod confirm;
mod permissions;
mod publish;
mod sms;
mod subscriptions;
mod tags;
mod topics;

use model_sns::Error;
pub(crate) use publish::Draft;
use services_kernel::{Cx, resource_policy};
use store_api::Tx;

use crate::{
    Sns,
    error::{invalid, no_topic},
    names::TopicName,
    tables::Found,
};

/// Entries of a page of a listing.
const PAGE: usize = 100;

/// The topic that a name means, if the caller may do this to it.
pub(crate) fn find(cx: &Cx, tx: &Tx, action: &str, name: TopicName) -> Result<Found, Error> {
    let arn = name.arn();
    let own = cx.owns(name.account);
    let found = Found::load(tx, name)?;
    let text = found.as_ref().and_then(|found| found.topic.attributes.policy.as_deref());
    if own && text.is_none() {
        return found.ok_or_else(no_topic);
    }
    // It was read when it was set.
    let policy = text.and_then(resource_policy);
    match (cx.authorize_by::<Error>(action, &arn, policy.as_deref(), &cx.conditions()), found) {
        (Ok(()), Some(found)) => Ok(found),
        // Whether another account has a topic is told to those only who may use it; AWS says that there is none.
        (Ok(()) | Err(_), None) => Err(no_topic()),
        (Err(error), Some(_)) => Err(error),
    }
}

impl Sns {
    /// Where a listing goes on.
    fn cursor(&self, scope: &[&str], token: Option<&str>) -> Result<Option<String>, Error> {
        let Some(token) = token.filter(|token| !token.is_empty()) else { return Ok(None) };
        let opened = self.page_tokens.open(scope, token).ok().and_then(|cursor| String::from_utf8(cursor).ok());
        opened.map(Some).ok_or_else(|| invalid("NextToken"))
    }
}
