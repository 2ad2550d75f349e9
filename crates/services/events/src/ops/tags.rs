//! Tags of buses and rules.

use model_events::{
    Error, ListTagsForResourceRequest, ListTagsForResourceResponse, Tag, TagResourceRequest, TagResourceResponse,
    UntagResourceRequest, UntagResourceResponse,
};
use services_kernel::{Cx, Tags};
use store_api::Tx;

use super::{buses, rules};
use crate::{
    EventBridge,
    error::{invalid, too_many},
    names::{Tagged, tagged},
};

impl EventBridge {
    pub(crate) fn tag(&self, cx: &Cx, tx: &Tx, input: &TagResourceRequest) -> Result<TagResourceResponse, Error> {
        find(cx, tx, &input.resource_arn, "events:TagResource")?;
        put(tx, cx, &input.resource_arn, &input.tags)?;
        Ok(TagResourceResponse {})
    }

    pub(crate) fn untag(&self, cx: &Cx, tx: &Tx, input: &UntagResourceRequest) -> Result<UntagResourceResponse, Error> {
        find(cx, tx, &input.resource_arn, "events:UntagResource")?;
        Tags::remove(tx, cx, &input.resource_arn, input.tag_keys.iter().map(String::as_str))?;
        Ok(UntagResourceResponse {})
    }

    pub(crate) fn tags(
        &self,
        cx: &Cx,
        tx: &Tx,
        input: &ListTagsForResourceRequest,
    ) -> Result<ListTagsForResourceResponse, Error> {
        find(cx, tx, &input.resource_arn, "events:ListTagsForResource")?;
        let tags = Tags::get(tx, cx, &input.resource_arn)?;
        let tags = tags.into_iter().map(|(key, value)| Tag { key, value }).collect();
        Ok(ListTagsForResourceResponse { tags: Some(tags) })
    }
}

/// Objects to what is not there, or may not be done.
fn find(cx: &Cx, tx: &Tx, arn: &str, action: &str) -> Result<(), Error> {
    match tagged(arn)? {
        Tagged::Bus(bus) => buses::permitted(cx, tx, &bus, action).map(drop),
        Tagged::Rule(bus, rule) => rules::find(cx, tx, &bus, &rule, action).map(drop),
    }
}

/// Adds tags, checked.
pub(crate) fn put<'a>(tx: &Tx, cx: &Cx, arn: &str, tags: impl IntoIterator<Item = &'a Tag>) -> Result<(), Error> {
    let tags: Vec<(String, String)> = tags.into_iter().map(|tag| (tag.key.clone(), tag.value.clone())).collect();
    if tags.is_empty() {
        return Ok(());
    }
    if tags.iter().any(|(key, _)| key.to_ascii_lowercase().starts_with("aws:")) {
        return Err(invalid("aws: prefixed tag key names are not allowed for external use."));
    }
    Tags::put(tx, cx, arn, tags)?.map_err(|_| too_many())
}
