//! `TagResource`, `UntagResource`, `ListTags`: tags of functions and event source mappings.

use std::collections::BTreeMap;

use base_types::Arn;
use model_lambda::{Error, ListTagsRequest, ListTagsResponse, TagResourceRequest, UntagResourceRequest};
use services_kernel::{Cx, Tags};
use store_api::Tx;

use crate::{
    control::{Change, Control, Found},
    error::resource_not_found,
    function::Function,
    switches::Switches,
    tables::{self, FUNCTIONS, MAPPINGS, Place},
};

impl Control {
    pub(crate) fn tag_resource(&self, cx: &Cx, tx: &Tx, input: &TagResourceRequest) -> Result<(), Error> {
        let tagged = self.tagged(tx, cx, "lambda:TagResource", &input.resource)?;
        if input.tags.is_empty() {
            return Err(Error::invalid_parameter_value_exception(
                "An error occurred and the request cannot be processed.",
            ));
        }
        put(tx, cx, &tagged.arn(), &input.tags)?;
        self.steer(tx, cx, tagged)
    }

    pub(crate) fn untag_resource(&self, cx: &Cx, tx: &Tx, input: &UntagResourceRequest) -> Result<(), Error> {
        let tagged = self.tagged(tx, cx, "lambda:UntagResource", &input.resource)?;
        Tags::remove(tx, cx, &tagged.arn(), input.tag_keys.iter().map(String::as_str))?;
        self.steer(tx, cx, tagged)
    }

    /// Takes over what the function's tags steer; a wrong value undoes the whole change.
    fn steer(&self, tx: &Tx, cx: &Cx, tagged: Tagged) -> Result<(), Error> {
        let Tagged::Function(found) = tagged else { return Ok(()) };
        let switches = Switches::read(&Tags::get(tx, cx, &found.arn())?)?;
        if switches == found.function.switches {
            return Ok(());
        }
        let found = Found { function: Function { switches, ..found.function }, ..*found };
        FUNCTIONS.put(tx, &found.place.function(&found.name), &found.function)?;
        tx.wake(&tables::all_provisioned(), usize::MAX)?;
        Ok(self.announce(tx, &found, Change::Steered)?)
    }

    pub(crate) fn list_tags(&self, cx: &Cx, tx: &Tx, input: &ListTagsRequest) -> Result<ListTagsResponse, Error> {
        let tagged = self.tagged(tx, cx, "lambda:ListTags", &input.resource)?;
        Ok(ListTagsResponse { tags: Some(Tags::get(tx, cx, &tagged.arn())?) })
    }

    /// The resource whose tags are meant. Other kinds that AWS can tag do not exist here, so none is found.
    fn tagged(&self, tx: &Tx, cx: &Cx, action: &str, resource: &str) -> Result<Tagged, Error> {
        let arn: Arn = resource.parse().map_err(|_| resource_not_found())?;
        if let Some(uuid) = arn.resource.strip_prefix("event-source-mapping:") {
            cx.authorize::<Error>(tx, action, &arn)?;
            let place = Place::from(cx);
            let own = place.mapping_arn(uuid);
            if own == resource && MAPPINGS.get(tx, &place.mapping(uuid))?.is_some() {
                return Ok(Tagged::Mapping(own));
            }
        }
        if !arn.resource.starts_with("function:") {
            let kind = match arn.resource.split(':').next() {
                Some("event-source-mapping") => "Event source mapping",
                Some("capacity-provider") => "Capacity provider",
                Some("code-signing-config") => "Code signing config",
                _ => "Resource",
            };
            return Err(Error::resource_not_found_exception(format!("{kind} not found: {resource}")));
        }
        let named = self.name(cx, action, resource, None)?;
        if named.qualifier.is_some() {
            return Err(Error::invalid_parameter_value_exception(
                "Tags on function aliases and versions are not supported. Please specify a function ARN.",
            ));
        }
        Ok(Tagged::Function(Box::new(self.require(tx, cx, action, resource, None)?.0)))
    }
}

/// What has tags.
enum Tagged {
    Function(Box<Found>),
    /// An event source mapping, by its ARN.
    Mapping(String),
}

impl Tagged {
    fn arn(&self) -> String {
        match self {
            Self::Function(found) => found.arn(),
            Self::Mapping(arn) => arn.clone(),
        }
    }
}

/// Adds tags to a resource.
pub(crate) fn put(tx: &Tx, cx: &Cx, arn: &str, tags: &BTreeMap<String, String>) -> Result<(), Error> {
    if tags.is_empty() {
        return Ok(());
    }
    Tags::put(tx, cx, arn, tags.clone())?
        .map_err(|_| Error::invalid_parameter_value_exception("Number of tags exceeds resource tag limit."))
}
