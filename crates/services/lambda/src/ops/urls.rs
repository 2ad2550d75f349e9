//! `CreateFunctionUrlConfig`, `GetFunctionUrlConfig`, `UpdateFunctionUrlConfig`, `DeleteFunctionUrlConfig`,
//! `ListFunctionUrlConfigs`.

use model_lambda::{
    CreateFunctionUrlConfigRequest, CreateFunctionUrlConfigResponse, DeleteFunctionUrlConfigRequest, Error,
    FunctionUrlAuthType, FunctionUrlConfig, GetFunctionUrlConfigRequest, GetFunctionUrlConfigResponse, InvokeMode,
    ListFunctionUrlConfigsRequest, ListFunctionUrlConfigsResponse, UpdateFunctionUrlConfigRequest,
    UpdateFunctionUrlConfigResponse,
};
use services_kernel::Cx;
use store_api::{Direction, Tx};

use super::functions::{Page, page_size};
use crate::{
    control::{Change, Control, Found, missing_resource},
    describe,
    names::Qualifier,
    tables::{self, URL_HOSTS, URLS, UrlHost},
    url::{FunctionUrl, ID_ALPHABET, ID_LENGTH},
};

impl Control {
    pub(crate) fn create_function_url_config(
        &self,
        cx: &Cx,
        tx: &Tx,
        input: &CreateFunctionUrlConfigRequest,
    ) -> Result<CreateFunctionUrlConfigResponse, Error> {
        const ACTION: &str = "lambda:CreateFunctionUrlConfig";
        let (found, alias) = self.url_target(tx, cx, ACTION, &input.function_name, input.qualifier.as_deref())?;
        let key = found.place.url(&found.function.incarnation, alias.as_deref());
        if URLS.get(tx, &key)?.is_some() {
            let arn = alias.as_ref().map_or_else(|| found.arn(), |alias| found.qualified(alias));
            return Err(Error::resource_conflict_exception(format!(
                "Failed to create function url config for [functionArn = {arn}]. Error message:  FunctionUrlConfig exists \
                 for this Lambda function"
            )));
        }
        let url = FunctionUrl {
            id: self.env.id(ID_LENGTH, ID_ALPHABET),
            alias: alias.clone(),
            signed: input.auth_type == FunctionUrlAuthType::AwsIam,
            cors: input.cors.as_ref().map(describe::rules),
            streamed: is_streamed(input.invoke_mode),
            created: tx.now(),
            modified: tx.now(),
        };
        let host = UrlHost {
            account: found.place.account,
            region: found.place.region.clone(),
            name: found.name.clone(),
            incarnation: found.function.incarnation.clone(),
            alias,
        };
        URL_HOSTS.put(tx, &tables::url_host(&url.id), &host)?;
        let FunctionUrlConfig { function_url, function_arn, creation_time, cors, auth_type, invoke_mode, .. } =
            self.put_url(tx, &found, &url)?;
        Ok(CreateFunctionUrlConfigResponse { function_url, function_arn, creation_time, cors, auth_type, invoke_mode })
    }

    fn put_url(&self, tx: &Tx, found: &Found, url: &FunctionUrl) -> Result<FunctionUrlConfig, Error> {
        URLS.put(tx, &found.place.url(&found.function.incarnation, url.alias.as_deref()), url)?;
        self.announce(tx, found, Change::Routing)?;
        Ok(describe::url(&found.place, &found.name, url, &self.urls))
    }

    pub(crate) fn get_function_url_config(
        &self,
        cx: &Cx,
        tx: &Tx,
        input: &GetFunctionUrlConfigRequest,
    ) -> Result<GetFunctionUrlConfigResponse, Error> {
        const ACTION: &str = "lambda:GetFunctionUrlConfig";
        let (found, alias) = self.url_owner(tx, cx, ACTION, &input.function_name, input.qualifier.as_deref())?;
        let key = found.place.url(&found.function.incarnation, alias.as_deref());
        let url = missing_resource(URLS.get(tx, &key)?)?;
        let described = describe::url(&found.place, &found.name, &url, &self.urls);
        Ok(GetFunctionUrlConfigResponse {
            function_url: described.function_url,
            function_arn: described.function_arn,
            auth_type: described.auth_type,
            cors: described.cors,
            creation_time: described.creation_time,
            last_modified_time: described.last_modified_time,
            invoke_mode: described.invoke_mode,
        })
    }

    pub(crate) fn update_function_url_config(
        &self,
        cx: &Cx,
        tx: &Tx,
        input: &UpdateFunctionUrlConfigRequest,
    ) -> Result<UpdateFunctionUrlConfigResponse, Error> {
        const ACTION: &str = "lambda:UpdateFunctionUrlConfig";
        let (found, alias) = self.url_target(tx, cx, ACTION, &input.function_name, input.qualifier.as_deref())?;
        let key = found.place.url(&found.function.incarnation, alias.as_deref());
        let mut url = missing_resource(URLS.get(tx, &key)?)?;
        if let Some(auth_type) = input.auth_type {
            url.signed = auth_type == FunctionUrlAuthType::AwsIam;
        }
        if let Some(cors) = &input.cors {
            url.cors = Some(describe::rules(cors));
        }
        if input.invoke_mode.is_some() {
            url.streamed = is_streamed(input.invoke_mode);
        }
        url.modified = tx.now();
        let described = self.put_url(tx, &found, &url)?;
        Ok(UpdateFunctionUrlConfigResponse {
            function_url: described.function_url,
            function_arn: described.function_arn,
            auth_type: described.auth_type,
            cors: described.cors,
            creation_time: described.creation_time,
            last_modified_time: described.last_modified_time,
            invoke_mode: described.invoke_mode,
        })
    }

    pub(crate) fn delete_function_url_config(
        &self,
        cx: &Cx,
        tx: &Tx,
        input: &DeleteFunctionUrlConfigRequest,
    ) -> Result<(), Error> {
        const ACTION: &str = "lambda:DeleteFunctionUrlConfig";
        let (found, alias) = self.url_owner(tx, cx, ACTION, &input.function_name, input.qualifier.as_deref())?;
        let key = found.place.url(&found.function.incarnation, alias.as_deref());
        let url = missing_resource(URLS.get(tx, &key)?)?;
        URLS.remove(tx, &key)?;
        URL_HOSTS.remove(tx, &tables::url_host(&url.id))?;
        self.announce(tx, &found, Change::Routing)?;
        Ok(())
    }

    pub(crate) fn list_function_url_configs(
        &self,
        cx: &Cx,
        tx: &Tx,
        input: &ListFunctionUrlConfigsRequest,
    ) -> Result<ListFunctionUrlConfigsResponse, Error> {
        const ACTION: &str = "lambda:ListFunctionUrlConfigs";
        let (found, _) = self.url_target(tx, cx, ACTION, &input.function_name, None)?;
        let scope = Self::scope(cx, "ListFunctionUrlConfigs", &found.function.incarnation);
        let cursor = self.cursor(&scope, input.marker.as_deref())?;
        let mut page = Page::new(page_size(input.max_items));
        let range = tables::page(&found.place.urls(&found.function.incarnation), cursor.as_deref());
        for (key, url) in URLS.scan(tx, &range, page.room(), Direction::Forward)? {
            let item = describe::url(&found.place, &found.name, &url, &self.urls);
            page.push(item, key.as_bytes().to_vec());
        }
        let (function_url_configs, next) = page.finish();
        let next_marker = next.map(|cursor| self.tokens.seal(&scope, &cursor));
        Ok(ListFunctionUrlConfigsResponse { function_url_configs, next_marker })
    }

    /// The function whose URL is looked up: what is missing is not told.
    fn url_owner(
        &self,
        tx: &Tx,
        cx: &Cx,
        action: &str,
        text: &str,
        qualifier: Option<&str>,
    ) -> Result<(Found, Option<String>), Error> {
        let named = self.name(cx, action, text, qualifier)?;
        self.authorize(cx, action, &named.name)?;
        let found = missing_resource(self.find(tx, cx, &named.name)?)?;
        Ok((found, named.qualifier.filter(|qualifier| *qualifier != Qualifier::Latest).map(|q| q.to_string())))
    }

    /// The function, and the alias if one is named, that a URL is to lead to; both must be there.
    fn url_target(
        &self,
        tx: &Tx,
        cx: &Cx,
        action: &str,
        text: &str,
        qualifier: Option<&str>,
    ) -> Result<(Found, Option<String>), Error> {
        let missing = || Error::resource_not_found_exception("Function does not exist");
        let named = self.name(cx, action, text, qualifier)?;
        self.authorize(cx, action, &named.name)?;
        let found = self.find(tx, cx, &named.name)?.ok_or_else(missing)?;
        match named.qualifier {
            None | Some(Qualifier::Latest) => Ok((found, None)),
            Some(Qualifier::Alias(name)) if found.alias(tx, &name)?.is_some() => Ok((found, Some(name))),
            Some(_) => Err(missing()),
        }
    }
}

/// Whether the function streams.
fn is_streamed(mode: Option<InvokeMode>) -> bool {
    mode == Some(InvokeMode::ResponseStream)
}
