//! Tags of tables.

use model_dynamodb::{
    Error, ListTagsOfResourceInput, ListTagsOfResourceOutput, Tag, TagResourceInput, UntagResourceInput,
};
use services_kernel::{Cx, Tags};
use store_api::Tx;

use crate::{DynamoDb, error::invalid, target::Target};

impl DynamoDb {
    pub(crate) fn tag(&self, cx: &Cx, tx: &Tx, input: &TagResourceInput) -> Result<(), Error> {
        let target = tagged(cx, tx, "dynamodb:TagResource", &input.resource_arn)?;
        put(tx, cx, &target.arn(), &input.tags)
    }

    pub(crate) fn untag(&self, cx: &Cx, tx: &Tx, input: &UntagResourceInput) -> Result<(), Error> {
        let target = tagged(cx, tx, "dynamodb:UntagResource", &input.resource_arn)?;
        Ok(Tags::remove(tx, cx, &target.arn(), input.tag_keys.iter().map(String::as_str))?)
    }

    pub(crate) fn tags(
        &self,
        cx: &Cx,
        tx: &Tx,
        input: &ListTagsOfResourceInput,
    ) -> Result<ListTagsOfResourceOutput, Error> {
        if input.next_token.is_some() {
            // At most fifty tags: they are never given in pieces, so no token was ever given.
            return Err(Error::validation_exception("Invalid NextToken"));
        }
        let target = tagged(cx, tx, "dynamodb:ListTagsOfResource", &input.resource_arn)?;
        let tags = Tags::get(tx, cx, &target.arn())?.into_iter().map(|(key, value)| Tag { key, value }).collect();
        Ok(ListTagsOfResourceOutput { tags: Some(tags), next_token: None })
    }
}

fn tagged(cx: &Cx, tx: &Tx, action: &str, arn: &str) -> Result<Target, Error> {
    if !arn.starts_with("arn:") {
        return Err(invalid(format!("Invalid TableArn: Invalid ResourceArn provided as input {arn}")));
    }
    let gone =
        || Error::resource_not_found_exception(format!("Requested resource not found: ResourcArn: {arn} not found"));
    Target::of_table(cx, tx, action, arn).map_err(|error| match error {
        Error::ResourceNotFoundException(_) => gone(),
        other => other,
    })
}

/// Adds tags to a table's.
pub(crate) fn put<'t>(tx: &Tx, cx: &Cx, arn: &str, tags: impl IntoIterator<Item = &'t Tag>) -> Result<(), Error> {
    let tags: Vec<(String, String)> = tags.into_iter().map(|tag| (tag.key.clone(), tag.value.clone())).collect();
    if tags.is_empty() {
        return Ok(());
    }
    if tags.iter().any(|(key, _)| key.to_ascii_lowercase().starts_with("aws:")) {
        return Err(invalid("One or more tag keys start with the reserved prefix aws:"));
    }
    Tags::put(tx, cx, arn, tags)?
        .map_err(|_| Error::validation_exception("Subscriber limit exceeded: A resource can have at most 50 tags"))
}
