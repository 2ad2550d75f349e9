//! Tags of topics.

use std::collections::BTreeMap;

use model_sns::{
    Error, ListTagsForResourceRequest, ListTagsForResourceResponse, Tag, TagResourceRequest, TagResourceResponse,
    UntagResourceRequest, UntagResourceResponse,
};
use services_kernel::{Cx, Tags};
use store_api::Tx;

use super::find;
use crate::{
    Sns,
    error::{invalid, invalid_because},
    names,
    tables::Found,
};

/// The topic whose tags are meant.
fn tagged(cx: &Cx, tx: &Tx, action: &str, arn: &str) -> Result<Found, Error> {
    let name = names::topic(cx, arn, "ResourceArn")?;
    find(cx, tx, action, name).map_err(|error| match error {
        Error::NotFoundException(_) => Error::resource_not_found_exception("Resource does not exist"),
        other => other,
    })
}

impl Sns {
    pub(crate) fn tag(&self, cx: &Cx, tx: &Tx, input: &TagResourceRequest) -> Result<TagResourceResponse, Error> {
        let found = tagged(cx, tx, "SNS:TagResource", &input.resource_arn)?;
        put(tx, cx, &found.arn, checked(&input.tags)?)?;
        Ok(TagResourceResponse {})
    }

    pub(crate) fn untag(&self, cx: &Cx, tx: &Tx, input: &UntagResourceRequest) -> Result<UntagResourceResponse, Error> {
        let found = tagged(cx, tx, "SNS:UntagResource", &input.resource_arn)?;
        Tags::remove(tx, cx, &found.arn, input.tag_keys.iter().map(String::as_str))?;
        Ok(UntagResourceResponse {})
    }

    pub(crate) fn tags(
        &self,
        cx: &Cx,
        tx: &Tx,
        input: &ListTagsForResourceRequest,
    ) -> Result<ListTagsForResourceResponse, Error> {
        let found = tagged(cx, tx, "SNS:ListTagsForResource", &input.resource_arn)?;
        let tags = Tags::get(tx, cx, &found.arn)?;
        Ok(ListTagsForResourceResponse {
            tags: Some(tags.into_iter().map(|(key, value)| Tag { key, value }).collect()),
        })
    }
}

/// The tags that were given, each key once.
pub(crate) fn checked(given: &[Tag]) -> Result<BTreeMap<String, String>, Error> {
    let mut tags = BTreeMap::new();
    for Tag { key, value } in given {
        if key.to_ascii_lowercase().starts_with("aws:") {
            return Err(invalid_because("Tags", "aws: prefixed tag key names are not allowed for external use."));
        }
        if tags.insert(key.clone(), value.clone()).is_some() {
            return Err(invalid("Duplicated keys are not allowed."));
        }
    }
    Ok(tags)
}

pub(crate) fn put(tx: &Tx, cx: &Cx, arn: &str, tags: BTreeMap<String, String>) -> Result<(), Error> {
    if tags.is_empty() {
        return Ok(());
    }
    Tags::put(tx, cx, arn, tags)?.map_err(|_| {
        Error::tag_limit_exceeded_exception("Could not complete request: tag quota of per resource exceeded")
    })
}
