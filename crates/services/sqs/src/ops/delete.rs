//! Deleting messages and changing their visibility, singly and in batches.

use model_sqs::{
    ChangeMessageVisibilityBatchRequest, ChangeMessageVisibilityBatchResult, ChangeMessageVisibilityBatchResultEntry,
    ChangeMessageVisibilityRequest, DeleteMessageBatchRequest, DeleteMessageBatchResult, DeleteMessageBatchResultEntry,
    DeleteMessageRequest, Error,
};
use services_kernel::Cx;
use store_api::Tx;

use super::{batch, find};
use crate::{
    Sqs,
    error::{invalid, missing},
    flow::{Done, Found},
    handle::Handle,
    tables::Change,
};

impl Sqs {
    pub(crate) fn delete_one(&self, cx: &Cx, tx: &Tx, input: &DeleteMessageRequest) -> Result<(), Error> {
        let found = find(cx, tx, "sqs:DeleteMessage", &input.queue_url)?;
        let mut change = Change::default();
        delete(tx, &found, &input.receipt_handle, &mut change)?;
        Ok(found.change(tx, change)?)
    }

    pub(crate) fn delete_batch(
        &self,
        cx: &Cx,
        tx: &Tx,
        input: &DeleteMessageBatchRequest,
    ) -> Result<DeleteMessageBatchResult, Error> {
        let found = find(cx, tx, "sqs:DeleteMessage", &input.queue_url)?;
        batch::check(input.entries.iter().map(|entry| entry.id.as_str()), "DeleteMessageBatchRequestEntry")?;
        let mut change = Change::default();
        let outcomes = input.entries.iter().map(|entry| {
            let done = delete(tx, &found, &entry.receipt_handle, &mut change);
            (entry.id.clone(), done.map(|()| DeleteMessageBatchResultEntry { id: entry.id.clone() }))
        });
        let (successful, failed) = batch::sort(outcomes)?;
        found.change(tx, change)?;
        Ok(DeleteMessageBatchResult { successful, failed })
    }

    pub(crate) fn change_visibility(
        &self,
        cx: &Cx,
        tx: &Tx,
        input: &ChangeMessageVisibilityRequest,
    ) -> Result<(), Error> {
        let found = find(cx, tx, "sqs:ChangeMessageVisibility", &input.queue_url)?;
        set_visible(tx, &found, &input.receipt_handle, Some(input.visibility_timeout))
    }

    pub(crate) fn change_visibility_batch(
        &self,
        cx: &Cx,
        tx: &Tx,
        input: &ChangeMessageVisibilityBatchRequest,
    ) -> Result<ChangeMessageVisibilityBatchResult, Error> {
        let found = find(cx, tx, "sqs:ChangeMessageVisibility", &input.queue_url)?;
        let ids = input.entries.iter().map(|entry| entry.id.as_str());
        batch::check(ids, "ChangeMessageVisibilityBatchRequestEntry")?;
        let outcomes = input.entries.iter().map(|entry| {
            let done = set_visible(tx, &found, &entry.receipt_handle, entry.visibility_timeout);
            (entry.id.clone(), done.map(|()| ChangeMessageVisibilityBatchResultEntry { id: entry.id.clone() }))
        });
        let (successful, failed) = batch::sort(outcomes)?;
        Ok(ChangeMessageVisibilityBatchResult { successful, failed })
    }
}

/// The receive that a handle names; none when its message went with a purge.
fn open(found: &Found, text: &str) -> Result<Option<Handle>, Error> {
    let handle = Handle::open(text, &found.arn).ok_or_else(|| {
        Error::receipt_handle_is_invalid(format!("The input receipt handle \"{text}\" is not a valid receipt handle."))
    })?;
    Ok((handle.queue == found.queue.id).then_some(handle))
}

fn delete(tx: &Tx, found: &Found, text: &str, change: &mut Change) -> Result<(), Error> {
    let Some(handle) = open(found, text)? else { return Ok(()) };
    match found.delete(tx, handle.number, handle.receive, change)? {
        Done::Yes | Done::Gone | Done::TooLong => Ok(()),
        Done::Expired => Err(invalid(text, "ReceiptHandle", "The receipt handle has expired.")),
    }
}

fn set_visible(tx: &Tx, found: &Found, text: &str, seconds: Option<i32>) -> Result<(), Error> {
    let seconds = match seconds {
        None => return Err(missing("VisibilityTimeout")),
        Some(seconds @ 0..=43_200) => seconds.unsigned_abs(),
        Some(other) => return Err(invalid(other, "VisibilityTimeout", "Must be between 0 and 43200, if provided.")),
    };
    let gone = || {
        let reason = "Message does not exist or is not available for visibility timeout change.";
        invalid(text, "ReceiptHandle", reason)
    };
    let Some(handle) = open(found, text)? else { return Err(gone()) };
    match found.set_visible(tx, handle.number, handle.receive, seconds)? {
        Done::Yes => Ok(()),
        Done::Gone | Done::Expired => Err(gone()),
        Done::TooLong => Err(invalid(
            seconds,
            "VisibilityTimeout",
            "Total VisibilityTimeout for the message is beyond the limit [43200 seconds]",
        )),
    }
}
