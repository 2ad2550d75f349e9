//! The operations.

mod batch;
mod delete;
mod moves;
mod permissions;
mod queues;
mod receive;
mod send;
mod tags;

use model_sqs::Error;
pub(crate) use moves::Task;
pub(crate) use send::sequence;
use services_kernel::{Cx, resource_policy};
use store_api::Tx;

use crate::{
    error::no_queue,
    flow::Found,
    names::{self, QueueName},
};

/// The queue that a URL names, if the caller may do this to it.
pub(crate) fn find(cx: &Cx, tx: &Tx, action: &str, url: &str) -> Result<Found, Error> {
    let name = names::of_url(cx, url)?;
    find_named(cx, tx, action, name)
}

/// The same by its name.
pub(crate) fn find_named(cx: &Cx, tx: &Tx, action: &str, name: QueueName) -> Result<Found, Error> {
    name.check()?;
    let owner = name.account;
    let found = Found::load(cx, tx, name.clone())?;
    let text = found.as_ref().and_then(|found| found.queue.attributes.policy.as_deref());
    // Who owns a queue without a policy may do everything with it: nothing has to be evaluated.
    if text.is_none() && cx.owns(owner) {
        return found.ok_or_else(no_queue);
    }
    // It was read when it was set.
    let policy = text.and_then(resource_policy);
    match (cx.authorize_by::<Error>(action, &name.arn(cx), policy.as_deref(), &cx.conditions()), found) {
        (Ok(()), Some(found)) => Ok(found),
        // Whether another account has a queue is told to those only who may use it; AWS says that there is none.
        (Ok(()) | Err(_), None) => Err(no_queue()),
        (Err(error), Some(_)) => Err(error),
    }
}
