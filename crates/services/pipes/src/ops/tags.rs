//! Tags of pipes.

use std::collections::BTreeMap;

use base_types::Arn;
use model_pipes::{
    Error, ListTagsForResourceRequest, ListTagsForResourceResponse, TagResourceRequest, TagResourceResponse,
    UntagResourceRequest, UntagResourceResponse,
};
use services_kernel::{Cx, Tags};
use store_api::Tx;

use crate::{
    Peers, Pipes,
    error::{invalid, no_pipe},
    names::Named,
    tables,
};

impl<P: Peers> Pipes<P> {
    pub(crate) fn tag(&self, cx: &Cx, tx: &Tx, input: &TagResourceRequest) -> Result<TagResourceResponse, Error> {
        let arn = taggable(cx, tx, "pipes:TagResource", &input.resource_arn)?;
        put(tx, cx, &arn, &input.tags)?;
        Ok(TagResourceResponse {})
    }

    pub(crate) fn untag(&self, cx: &Cx, tx: &Tx, input: &UntagResourceRequest) -> Result<UntagResourceResponse, Error> {
        let arn = taggable(cx, tx, "pipes:UntagResource", &input.resource_arn)?;
        Tags::remove(tx, cx, &arn, input.tag_keys.iter().map(String::as_str))?;
        Ok(UntagResourceResponse {})
    }

    pub(crate) fn tags(
        &self,
        cx: &Cx,
        tx: &Tx,
        input: &ListTagsForResourceRequest,
    ) -> Result<ListTagsForResourceResponse, Error> {
        let arn = taggable(cx, tx, "pipes:ListTagsForResource", &input.resource_arn)?;
        Ok(ListTagsForResourceResponse { tags: Some(Tags::get(tx, cx, &arn)?) })
    }
}

/// Adds tags, checked.
pub(crate) fn put(tx: &Tx, cx: &Cx, arn: &str, tags: &BTreeMap<String, String>) -> Result<(), Error> {
    if tags.keys().any(|key| key.to_ascii_lowercase().starts_with("aws:")) {
        return Err(invalid("aws: prefixed tag key names are not allowed for external use."));
    }
    Tags::put(tx, cx, arn, tags.iter().map(|(key, value)| (key.clone(), value.clone())))?
        .map_err(|error| invalid(error.to_string()))
}

/// The ARN of a pipe that is there, if the caller may do this to it.
fn taggable(cx: &Cx, tx: &Tx, action: &str, text: &str) -> Result<String, Error> {
    let arn: Arn = text.parse().map_err(|_| invalid("The resource ARN is not valid."))?;
    let name = arn.resource.strip_prefix("pipe/").unwrap_or_default();
    if arn.account != cx.account.as_str() || arn.region != cx.region.as_str() {
        return Err(no_pipe(name));
    }
    cx.authorize::<Error>(tx, action, &arn)?;
    tables::get(tx, &Named::of(cx, name))?.ok_or_else(|| no_pipe(name))?;
    Ok(arn.to_string())
}
