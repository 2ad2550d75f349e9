//! Tags of groups; schedules have none, as on AWS.

use base_types::Arn;
use model_scheduler::{
    Error, ListTagsForResourceInput, ListTagsForResourceOutput, Tag, TagResourceInput, TagResourceOutput,
    UntagResourceInput, UntagResourceOutput,
};
use services_kernel::{Cx, Tags};
use services_ports::Operations;
use store_api::Tx;

use super::groups::find_group;
use crate::{
    Scheduler,
    error::{invalid, no_group},
    names::Place,
};

impl<O: Operations> Scheduler<O> {
    pub(crate) fn tag(&self, cx: &Cx, tx: &Tx, input: &TagResourceInput) -> Result<TagResourceOutput, Error> {
        let arn = taggable(cx, tx, "scheduler:TagResource", &input.resource_arn)?;
        put(tx, cx, &arn, &input.tags)?;
        Ok(TagResourceOutput {})
    }

    pub(crate) fn untag(&self, cx: &Cx, tx: &Tx, input: &UntagResourceInput) -> Result<UntagResourceOutput, Error> {
        let arn = taggable(cx, tx, "scheduler:UntagResource", &input.resource_arn)?;
        Tags::remove(tx, cx, &arn, input.tag_keys.iter().map(String::as_str))?;
        Ok(UntagResourceOutput {})
    }

    pub(crate) fn tags(
        &self,
        cx: &Cx,
        tx: &Tx,
        input: &ListTagsForResourceInput,
    ) -> Result<ListTagsForResourceOutput, Error> {
        let arn = taggable(cx, tx, "scheduler:ListTagsForResource", &input.resource_arn)?;
        let tags = Tags::get(tx, cx, &arn)?;
        Ok(ListTagsForResourceOutput { tags: Some(tags.into_iter().map(|(key, value)| Tag { key, value }).collect()) })
    }
}

/// Adds tags, checked.
pub(crate) fn put(tx: &Tx, cx: &Cx, arn: &str, tags: &[Tag]) -> Result<(), Error> {
    if tags.iter().any(|tag| tag.key.to_ascii_lowercase().starts_with("aws:")) {
        return Err(invalid("aws: prefixed tag key names are not allowed for external use."));
    }
    Tags::put(tx, cx, arn, tags.iter().map(|tag| (tag.key.clone(), tag.value.clone())))?
        .map_err(|error| invalid(error.to_string()))
}

/// The ARN of a group that is there, if the caller may do this to it.
fn taggable(cx: &Cx, tx: &Tx, action: &str, text: &str) -> Result<String, Error> {
    let arn: Arn = text.parse().map_err(|_| invalid("Provided Arn is not in correct format."))?;
    let name = arn.resource.strip_prefix("schedule-group/").unwrap_or_default();
    if arn.account != cx.account.as_str() || arn.region != cx.region.as_str() {
        return Err(no_group(name));
    }
    cx.authorize::<Error>(tx, action, &arn)?;
    find_group(tx, &Place::of(cx), name)?.ok_or_else(|| no_group(name))?;
    Ok(arn.to_string())
}
