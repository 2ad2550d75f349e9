//! Tags of queues.

use model_sqs::{Error, ListQueueTagsRequest, ListQueueTagsResult, TagQueueRequest, UntagQueueRequest};
use services_kernel::{Cx, Tags};
use store_api::Tx;

use super::find;
use crate::{Sqs, error::missing};

impl Sqs {
    pub(crate) fn tag(&self, cx: &Cx, tx: &Tx, input: &TagQueueRequest) -> Result<(), Error> {
        let found = find(cx, tx, "sqs:TagQueue", &input.queue_url)?;
        if input.tags.is_empty() {
            return Err(missing("Tags"));
        }
        put(tx, cx, &found.arn, &found.name.name, &input.tags)
    }

    pub(crate) fn untag(&self, cx: &Cx, tx: &Tx, input: &UntagQueueRequest) -> Result<(), Error> {
        let found = find(cx, tx, "sqs:UntagQueue", &input.queue_url)?;
        if input.tag_keys.is_empty() {
            return Err(Error::invalid_parameter_value_exception(
                "Tag keys must be between 1 and 128 characters in length.",
            ));
        }
        Ok(Tags::remove(tx, cx, &found.arn, input.tag_keys.iter().map(String::as_str))?)
    }

    pub(crate) fn tags(&self, cx: &Cx, tx: &Tx, input: &ListQueueTagsRequest) -> Result<ListQueueTagsResult, Error> {
        let found = find(cx, tx, "sqs:ListQueueTags", &input.queue_url)?;
        let tags = Tags::get(tx, cx, &found.arn)?;
        Ok(ListQueueTagsResult { tags: (!tags.is_empty()).then_some(tags) })
    }
}

/// Adds tags, checked.
pub(crate) fn put<'a>(
    tx: &Tx,
    cx: &Cx,
    arn: &str,
    queue: &str,
    tags: impl IntoIterator<Item = (&'a String, &'a String)>,
) -> Result<(), Error> {
    let tags: Vec<(String, String)> = tags.into_iter().map(|(key, value)| (key.clone(), value.clone())).collect();
    if tags.is_empty() {
        return Ok(());
    }
    for (key, value) in &tags {
        if key.is_empty() || key.chars().count() > 128 {
            return Err(Error::invalid_parameter_value_exception(
                "Tag keys must be between 1 and 128 characters in length.",
            ));
        }
        if value.chars().count() > 256 {
            return Err(Error::invalid_parameter_value_exception(
                "Tag values must be between 0 and 256 characters in length.",
            ));
        }
        if key.to_ascii_lowercase().starts_with("aws:") {
            return Err(Error::invalid_parameter_value_exception(
                "aws: prefixed tag key names are not allowed for external use.",
            ));
        }
    }
    Tags::put(tx, cx, arn, tags)?
        .map_err(|_| Error::invalid_parameter_value_exception(format!("Too many tags added for queue {queue}.")))
}
