//! `PublishLayerVersion`, `GetLayerVersion`, `GetLayerVersionByArn`, `ListLayers`, `ListLayerVersions`,
//! `DeleteLayerVersion`; and the layers that a function names.

use std::sync::Arc;

use base_types::{Arn, Fault};
use model_lambda::{
    Architecture, DeleteLayerVersionRequest, Error, GetLayerVersionByArnRequest, GetLayerVersionRequest,
    GetLayerVersionResponse, LayerVersionContentOutput, LayerVersionsListItem, LayersListItem,
    ListLayerVersionsRequest, ListLayerVersionsResponse, ListLayersRequest, ListLayersResponse,
    PublishLayerVersionRequest, PublishLayerVersionResponse,
};
use services_kernel::{Audit, Cx, Quotas};
use store_api::{Direction, Key, KeyRange, Tx};
use wire_schema::ServiceError as _;

use super::{
    functions::{CODE_STORAGE, Page, counter, page_size, signed},
    packages::Stored,
};
use crate::{
    configuration::{LayerUse, is_runtime},
    control::Control,
    error::resource_not_found,
    layers::{LayerError, LayerHead, LayerName, LayerVersion, check_count, check_distinct},
    tables::{self, LAYER_POLICIES, LAYER_VERSIONS, LAYERS, Place, Usage},
};

/// Records read at once while looking for a version that matches.
const BATCH: usize = 100;

/// A layer version that was found, and where.
pub(crate) struct FoundLayer {
    pub(crate) layer: LayerName,
    pub(crate) place: Place,
    pub(crate) version: LayerVersion,
}

impl FoundLayer {
    pub(crate) fn arn(&self) -> String {
        version_arn(&self.layer, self.place.region.partition(), self.version.number)
    }
}

impl Control {
    pub(crate) async fn publish_layer_version(
        self: &Arc<Self>,
        cx: &Cx,
        input: PublishLayerVersionRequest,
    ) -> Result<PublishLayerVersionResponse, Error> {
        const ACTION: &str = "lambda:PublishLayerVersion";
        let (layer, place) = self.layer(cx, ACTION, &input.layer_name)?;
        check_runtimes(input.compatible_runtimes.as_deref())?;
        let Some(zip) = input.content.zip_file.clone() else {
            return Err(Error::invalid_parameter_value_exception("Please provide a source for layer content."));
        };
        let (control, cx) = (Arc::clone(self), cx.clone());
        self.transact_with_package(zip, move |tx, stored| {
            let version = control.publish_layer(tx, &cx, &layer, &place, &input, stored)?;
            Audit::record(tx, &cx, ACTION)?;
            let found = FoundLayer { layer: layer.clone(), place: place.clone(), version };
            let GetLayerVersionResponse {
                content,
                layer_arn,
                layer_version_arn,
                description,
                created_date,
                version,
                compatible_runtimes,
                license_info,
                compatible_architectures,
            } = control.described(&cx, &found);
            Ok(PublishLayerVersionResponse {
                content,
                layer_arn,
                layer_version_arn,
                description,
                created_date,
                version,
                compatible_runtimes,
                license_info,
                compatible_architectures,
            })
        })
        .await
    }

    fn publish_layer(
        &self,
        tx: &Tx,
        cx: &Cx,
        layer: &LayerName,
        place: &Place,
        input: &PublishLayerVersionRequest,
        stored: &Stored,
    ) -> Result<LayerVersion, Error> {
        let head = LAYERS.get(tx, &place.layer(&layer.name))?;
        let number = head.map_or(1, |head| head.version_next);
        LAYERS.put(tx, &place.layer(&layer.name), &LayerHead { version_next: number + 1 })?;
        let architectures = input.compatible_architectures.as_ref();
        let version = LayerVersion {
            number,
            created: tx.now(),
            description: input.description.clone().unwrap_or_default(),
            code: stored.code.clone(),
            runtimes: input.compatible_runtimes.clone(),
            architectures: architectures.map(|list| list.iter().map(|one| one.as_str().to_owned()).collect()),
            license: input.license_info.clone(),
        };
        let usage = place.usage(Usage::CodeBytes);
        tx.add(&usage, signed(stored.code.bytes))?;
        let quota = Quotas::get(tx, cx, CODE_STORAGE)?;
        if tx.snapshot_get(&usage)?.is_some_and(|bytes| counter(&bytes) > signed(quota)) {
            return Err(Error::code_storage_exceeded_exception("Code storage limit exceeded."));
        }
        let key = place.layer_version(&layer.name, number);
        stored.attach(tx, &key)?;
        LAYER_VERSIONS.put(tx, &key, &version)?;
        Ok(version)
    }

    pub(crate) fn get_layer_version(
        &self,
        cx: &Cx,
        tx: &Tx,
        input: &GetLayerVersionRequest,
    ) -> Result<GetLayerVersionResponse, Error> {
        let layer = layer_name(cx, &input.layer_name)?;
        let number = number(input.version_number)?;
        let found = self.readable(tx, cx, layer, number)?.ok_or_else(resource_not_found)?;
        Ok(self.described(cx, &found))
    }

    pub(crate) fn get_layer_version_by_arn(
        &self,
        cx: &Cx,
        tx: &Tx,
        input: &GetLayerVersionByArnRequest,
    ) -> Result<GetLayerVersionResponse, Error> {
        let (layer, number) = LayerName::parse_version(&input.arn).ok_or_else(resource_not_found)?;
        let found = self.readable(tx, cx, layer, number)?.ok_or_else(resource_not_found)?;
        Ok(self.described(cx, &found))
    }

    pub(crate) fn list_layers(&self, cx: &Cx, tx: &Tx, input: &ListLayersRequest) -> Result<ListLayersResponse, Error> {
        const ACTION: &str = "lambda:ListLayers";
        self.authorize(cx, ACTION, "*")?;
        check_runtime(input.compatible_runtime.as_deref())?;
        let (runtime, architecture) = (input.compatible_runtime.as_deref(), input.compatible_architecture);
        let architecture = architecture.map(|one| one.as_str());
        let filter = format!("{}/{}", runtime.unwrap_or_default(), architecture.unwrap_or_default());
        let scope = Self::scope(cx, "ListLayers", &filter);
        let mut after = self.cursor(&scope, input.marker.as_deref())?;
        let (place, mut page) = (Place::from(cx), Page::new(page_size(input.max_items)));
        loop {
            let heads = LAYERS.scan(tx, &tables::page(&place.layers(), after.as_deref()), BATCH, Direction::Forward)?;
            for (key, _) in &heads {
                let name = key.last_str().map_err(Fault::from)?;
                if let Some(version) = latest_suiting(tx, &place, &name, runtime, architecture)? {
                    let layer = LayerName { region: place.region.as_str().to_owned(), account: place.account, name };
                    page.push(item(&place, layer, version), key.as_bytes().to_vec());
                }
            }
            match heads.last() {
                Some((key, _)) if heads.len() == BATCH && !page.is_full() => after = Some(key.as_bytes().to_vec()),
                _ => break,
            }
        }
        let (layers, next) = page.finish();
        let next_marker = next.map(|cursor| self.tokens.seal(&scope, &cursor));
        Ok(ListLayersResponse { layers: Some(layers), next_marker })
    }

    pub(crate) fn list_layer_versions(
        &self,
        cx: &Cx,
        tx: &Tx,
        input: &ListLayerVersionsRequest,
    ) -> Result<ListLayerVersionsResponse, Error> {
        let (layer, place) = self.layer(cx, "lambda:ListLayerVersions", &input.layer_name)?;
        check_runtime(input.compatible_runtime.as_deref())?;
        let (runtime, architecture) = (input.compatible_runtime.as_deref(), input.compatible_architecture);
        let architecture = architecture.map(|one| one.as_str());
        let filter = format!("{}/{}/{}", layer.name, runtime.unwrap_or_default(), architecture.unwrap_or_default());
        let scope = Self::scope(cx, "ListLayerVersions", &filter);
        let cursor = self.cursor(&scope, input.marker.as_deref())?;
        let all = place.layer_versions(&layer.name).prefix();
        let mut range = cursor.map_or_else(|| all.clone(), |cursor| all.clone().before(&Key::from_encoded(&cursor)));
        let mut page = Page::new(page_size(input.max_items));
        loop {
            let versions = LAYER_VERSIONS.scan(tx, &range, BATCH, Direction::Reverse)?;
            for (key, version) in &versions {
                if version.suits(runtime, architecture) {
                    page.push(listed(&place, &layer, version.clone()), key.as_bytes().to_vec());
                }
            }
            match versions.last() {
                Some((key, _)) if versions.len() == BATCH && !page.is_full() => range = all.clone().before(key),
                _ => break,
            }
        }
        let (versions, next) = page.finish();
        let next_marker = next.map(|cursor| self.tokens.seal(&scope, &cursor));
        Ok(ListLayerVersionsResponse { layer_versions: Some(versions), next_marker })
    }

    pub(crate) fn delete_layer_version(
        &self,
        cx: &Cx,
        tx: &Tx,
        input: &DeleteLayerVersionRequest,
    ) -> Result<(), Error> {
        let (layer, place) = self.layer(cx, "lambda:DeleteLayerVersion", &input.layer_name)?;
        let number = number(input.version_number)?;
        let key = place.layer_version(&layer.name, number);
        // A version that is not there is as good as deleted.
        let Some(version) = LAYER_VERSIONS.get(tx, &key)? else { return Ok(()) };
        LAYER_VERSIONS.remove(tx, &key)?;
        LAYER_POLICIES.remove(tx, &place.layer_policy(&layer.name, number))?;
        tables::disuse_package(tx, &version.code.digest, &key)?;
        tx.add(&place.usage(Usage::CodeBytes), -signed(version.code.bytes))?;
        Ok(())
    }

    /// A layer of the caller's own account, which the action is permitted on.
    pub(crate) fn layer(&self, cx: &Cx, action: &str, text: &str) -> Result<(LayerName, Place), Error> {
        let layer = layer_name(cx, text)?;
        let place = Place { account: layer.account, region: cx.region.clone() };
        let arn = Arn::regional("lambda", &place.region, place.account, format!("layer:{}", layer.name));
        cx.authorize_by::<Error>(action, &arn, None, &cx.conditions())?;
        Ok((layer, place))
    }

    /// A layer version that the caller may use: one of the own account, or one whose policy says so. Whether one of another
    /// account is there is nobody's business without a permission.
    pub(crate) fn readable(
        &self,
        tx: &Tx,
        cx: &Cx,
        layer: LayerName,
        number: u64,
    ) -> Result<Option<FoundLayer>, Error> {
        let place = Place { account: layer.account, region: cx.region.clone() };
        if layer.region != place.region.as_str() {
            return Err(resource_not_found());
        }
        let policy = LAYER_POLICIES.get(tx, &place.layer_policy(&layer.name, number))?;
        let policy = policy
            .map(|policy| lang_policy::Policy::parse(&policy.to_json(), lang_policy::Kind::Resource))
            .transpose()
            .map_err(|error| Fault::internal("read the policy of a layer version", error))?;
        let resource = format!("layer:{}:{number}", layer.name);
        let arn = Arn::regional("lambda", &place.region, place.account, resource);
        cx.authorize_by::<Error>("lambda:GetLayerVersion", &arn, policy.as_ref(), &cx.conditions())?;
        let version = LAYER_VERSIONS.get(tx, &place.layer_version(&layer.name, number))?;
        Ok(version.map(|version| FoundLayer { layer, place, version }))
    }

    /// The layers that a function is to use, as it keeps them.
    pub(crate) fn layers_used(&self, tx: &Tx, cx: &Cx, arns: &[String]) -> Result<Vec<LayerUse>, Error> {
        check_count(arns)?;
        let mut layers = Vec::new();
        for arn in arns {
            let missing = || LayerError::Missing(arn.clone());
            let (layer, number) = LayerName::parse_version(arn).ok_or_else(missing)?;
            if layer.region != cx.region.as_str() {
                if layer.account == cx.account {
                    return Err(LayerError::OtherRegion(cx.region.clone()).into());
                }
                // Nothing is told of what others have elsewhere.
                return Err(Error::access_denied(format!(
                    "User: {} is not authorized to perform: lambda:GetLayerVersion on resource: {arn} because no \
                     resource-based policy allows the lambda:GetLayerVersion action",
                    cx.principal
                )));
            }
            let found = self.readable(tx, cx, layer, number)?.ok_or_else(missing)?;
            let code = found.version.code;
            layers.push(LayerUse {
                arn: arn.clone(),
                digest: code.digest,
                bytes: code.bytes,
                unzipped_bytes: code.unzipped_bytes,
            });
        }
        check_distinct(&layers)?;
        Ok(layers)
    }

    fn described(&self, cx: &Cx, found: &FoundLayer) -> GetLayerVersionResponse {
        let item = listed(&found.place, &found.layer, found.version.clone());
        GetLayerVersionResponse {
            content: Some(LayerVersionContentOutput {
                location: Some(self.package_location(cx, &found.version.code.digest)),
                code_sha256: Some(found.version.code.sha256_base64()),
                code_size: i64::try_from(found.version.code.bytes).ok(),
                ..LayerVersionContentOutput::default()
            }),
            layer_arn: Some(found.layer.arn(found.place.region.partition())),
            layer_version_arn: item.layer_version_arn,
            description: item.description,
            created_date: item.created_date,
            version: item.version,
            compatible_runtimes: item.compatible_runtimes,
            license_info: item.license_info,
            compatible_architectures: item.compatible_architectures,
        }
    }
}

fn layer_name(cx: &Cx, text: &str) -> Result<LayerName, Error> {
    let layer = LayerName::parse(text, &cx.region, cx.account).ok_or_else(resource_not_found)?;
    if layer.region == cx.region.as_str() { Ok(layer) } else { Err(resource_not_found()) }
}

pub(crate) fn number(number: i64) -> Result<u64, Error> {
    match u64::try_from(number) {
        Ok(number) if number > 0 => Ok(number),
        _ => Err(Error::invalid_parameter_value_exception("Layer Version Cannot be less than 1.")),
    }
}

fn check_runtime(runtime: Option<&str>) -> Result<(), Error> {
    match runtime.filter(|runtime| !is_runtime(runtime)) {
        None => Ok(()),
        Some(unknown) => Err(Error::validation(format!(
            "1 validation error detected: Value '{unknown}' at 'compatibleRuntime' failed to satisfy constraint: Member \
             must satisfy enum value set: [{}]",
            crate::configuration::RUNTIMES.join(", ")
        ))),
    }
}

fn check_runtimes(runtimes: Option<&[String]>) -> Result<(), Error> {
    let runtimes = runtimes.unwrap_or_default();
    if runtimes.iter().all(|runtime| is_runtime(runtime)) {
        return Ok(());
    }
    Err(Error::validation(format!(
        "1 validation error detected: Value '[{}]' at 'compatibleRuntimes' failed to satisfy constraint: Member must satisfy \
         constraint: [Member must satisfy enum value set: [{}]]",
        runtimes.join(", "),
        crate::configuration::RUNTIMES.join(", ")
    )))
}

/// The newest version of a layer that suits.
fn latest_suiting(
    tx: &Tx,
    place: &Place,
    name: &str,
    runtime: Option<&str>,
    architecture: Option<&str>,
) -> Result<Option<LayerVersion>, Fault> {
    let all = place.layer_versions(name).prefix();
    // Without a filter the newest is the one.
    let limit = if runtime.is_none() && architecture.is_none() { 1 } else { BATCH };
    let mut range: KeyRange = all.clone();
    loop {
        let versions = LAYER_VERSIONS.scan(tx, &range, limit, Direction::Reverse)?;
        let (count, last) = (versions.len(), versions.last().map(|(key, _)| key.clone()));
        if let Some((_, found)) = versions.into_iter().find(|(_, version)| version.suits(runtime, architecture)) {
            return Ok(Some(found));
        }
        match last {
            Some(key) if count == limit => range = all.clone().before(&key),
            _ => return Ok(None),
        }
    }
}

fn version_arn(layer: &LayerName, partition: &str, number: u64) -> String {
    format!("{}:{number}", layer.arn(partition))
}

fn item(place: &Place, layer: LayerName, version: LayerVersion) -> LayersListItem {
    LayersListItem {
        layer_arn: Some(layer.arn(place.region.partition())),
        latest_matching_version: Some(listed(place, &layer, version)),
        layer_name: Some(layer.name),
    }
}

fn listed(place: &Place, layer: &LayerName, version: LayerVersion) -> LayerVersionsListItem {
    let architectures = version.architectures;
    LayerVersionsListItem {
        layer_version_arn: Some(version_arn(layer, place.region.partition(), version.number)),
        version: i64::try_from(version.number).ok(),
        description: Some(version.description),
        created_date: Some(version.created.to_iso8601_offset()),
        compatible_runtimes: version.runtimes,
        license_info: version.license,
        compatible_architectures: architectures
            .map(|list| list.iter().filter_map(|one| one.parse::<Architecture>().ok()).collect()),
    }
}
