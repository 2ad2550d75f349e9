//! `PublishVersion`, `ListVersionsByFunction`.

use model_lambda::{
    Error, FunctionConfiguration, ListVersionsByFunctionRequest, ListVersionsByFunctionResponse, PublishVersionRequest,
};
use services_kernel::Cx;
use store_api::{Direction, Tx};

use super::functions::{Page, page_size};
use crate::{
    control::{Change, Control, Found},
    describe::{self, Detail},
    function::{ChangeError, Version},
    tables::{self, FUNCTIONS, VERSIONS},
};

impl Control {
    pub(crate) fn publish_version(
        &self,
        cx: &Cx,
        tx: &Tx,
        input: &PublishVersionRequest,
    ) -> Result<FunctionConfiguration, Error> {
        let mut found = self.require_whole(tx, cx, "lambda:PublishVersion", &input.function_name)?;
        let latest = found.latest(tx)?;
        latest.check_change(input.revision_id.as_deref(), &found.arn())?;
        if let Some(given) = input.code_sha256.as_ref().filter(|given| !given.is_empty()) {
            let current = latest.code.sha256_base64();
            if *given != current {
                return Err(ChangeError::CodeDigest { given: given.clone(), current }.into());
            }
        }
        if let Some(number) = found.function.already_published(&latest)
            && let Some(version) = found.version(tx, number)?
        {
            return Ok(published(&found, &version));
        }
        let description = input.description.as_deref().filter(|description| !description.is_empty());
        let version = found.function.publish(&latest, description, self.env.uuid(), tx.now());
        self.put_version(tx, cx, &found, &version, None)?;
        FUNCTIONS.put(tx, &found.place.function(&found.name), &found.function)?;
        self.announce(tx, &found, Change::Routing)?;
        Ok(published(&found, &version))
    }

    pub(crate) fn list_versions_by_function(
        &self,
        cx: &Cx,
        tx: &Tx,
        input: &ListVersionsByFunctionRequest,
    ) -> Result<ListVersionsByFunctionResponse, Error> {
        const ACTION: &str = "lambda:ListVersionsByFunction";
        let (found, _) = self.require(tx, cx, ACTION, &input.function_name, None)?;
        let scope = Self::scope(cx, "ListVersionsByFunction", &found.function.incarnation);
        let cursor = self.cursor(&scope, input.marker.as_deref())?;
        let mut page = Page::new(page_size(input.max_items));
        let range = tables::page(&found.place.versions(&found.function.incarnation), cursor.as_deref());
        for (key, version) in VERSIONS.scan(tx, &range, page.room(), Direction::Forward)? {
            let arn = found.qualified(&version.label());
            let item = describe::configuration(&found.place, &found.name, &version, arn, Detail::Listed);
            page.push(item, key.as_bytes().to_vec());
        }
        let (versions, next) = page.finish();
        let next_marker = next.map(|cursor| self.tokens.seal(&scope, &cursor));
        Ok(ListVersionsByFunctionResponse { versions: Some(versions), next_marker })
    }
}

fn published(found: &Found, version: &Version) -> FunctionConfiguration {
    let arn = found.qualified(&version.number);
    describe::configuration(&found.place, &found.name, version, arn, Detail::Full)
}
