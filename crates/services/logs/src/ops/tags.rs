//! Tags of log groups, by ARN and, in the older operations, by name.

use std::collections::BTreeMap;

use model_logs::{
    Error, ListTagsForResourceRequest, ListTagsForResourceResponse, ListTagsLogGroupRequest, ListTagsLogGroupResponse,
    TagLogGroupRequest, TagResourceRequest, TooManyTagsException, UntagLogGroupRequest, UntagResourceRequest,
};
use services_kernel::{Cx, Tags};
use store_api::Tx;

use crate::{CloudWatchLogs, error::invalid, names, ops::find_group};

/// Adds tags to a group that exists.
pub(crate) fn put<'t>(
    tx: &Tx,
    cx: &Cx,
    group: &str,
    tags: impl Iterator<Item = (&'t String, &'t String)>,
) -> Result<(), Error> {
    let tags: BTreeMap<String, String> = tags.map(|(key, value)| (key.clone(), value.clone())).collect();
    if tags.is_empty() {
        return Ok(());
    }
    if tags.keys().any(|key| key.starts_with("aws:")) {
        return Err(invalid("Tag keys beginning with aws: are reserved."));
    }
    let arn = names::group_arn(cx, group).to_string();
    Tags::put(tx, cx, &arn, tags)?.map_err(|limit| {
        Error::TooManyTagsException(TooManyTagsException { message: Some(limit.to_string()), resource_name: Some(arn) })
    })
}

fn list(tx: &Tx, cx: &Cx, action: &str, group: &str) -> Result<BTreeMap<String, String>, Error> {
    find_group(tx, cx, action, group)?;
    Ok(Tags::get(tx, cx, &names::group_arn(cx, group).to_string())?)
}

fn remove(tx: &Tx, cx: &Cx, action: &str, group: &str, keys: &[String]) -> Result<(), Error> {
    find_group(tx, cx, action, group)?;
    let arn = names::group_arn(cx, group).to_string();
    Ok(Tags::remove(tx, cx, &arn, keys.iter().map(String::as_str))?)
}

impl CloudWatchLogs {
    pub(crate) fn tag(&self, cx: &Cx, tx: &Tx, input: &TagResourceRequest) -> Result<(), Error> {
        let group = names::of_arn(cx, &input.resource_arn)?;
        find_group(tx, cx, "logs:TagResource", &group)?;
        put(tx, cx, &group, input.tags.iter())
    }

    pub(crate) fn untag(&self, cx: &Cx, tx: &Tx, input: &UntagResourceRequest) -> Result<(), Error> {
        remove(tx, cx, "logs:UntagResource", &names::of_arn(cx, &input.resource_arn)?, &input.tag_keys)
    }

    pub(crate) fn list_tags(
        &self,
        cx: &Cx,
        tx: &Tx,
        input: &ListTagsForResourceRequest,
    ) -> Result<ListTagsForResourceResponse, Error> {
        let tags = list(tx, cx, "logs:ListTagsForResource", &names::of_arn(cx, &input.resource_arn)?)?;
        Ok(ListTagsForResourceResponse { tags: Some(tags) })
    }

    pub(crate) fn tag_group(&self, cx: &Cx, tx: &Tx, input: &TagLogGroupRequest) -> Result<(), Error> {
        find_group(tx, cx, "logs:TagLogGroup", &input.log_group_name)?;
        put(tx, cx, &input.log_group_name, input.tags.iter())
    }

    pub(crate) fn untag_group(&self, cx: &Cx, tx: &Tx, input: &UntagLogGroupRequest) -> Result<(), Error> {
        remove(tx, cx, "logs:UntagLogGroup", &input.log_group_name, &input.tags)
    }

    pub(crate) fn list_group_tags(
        &self,
        cx: &Cx,
        tx: &Tx,
        input: &ListTagsLogGroupRequest,
    ) -> Result<ListTagsLogGroupResponse, Error> {
        let tags = list(tx, cx, "logs:ListTagsLogGroup", &input.log_group_name)?;
        Ok(ListTagsLogGroupResponse { tags: Some(tags) })
    }
}
