//! Configurations of buckets, kept as the documents that they are, in one table.
//!
//! Those that have no effect here (see `docs/s3.md`) are kept and given back; the others are read where they count.

use model_s3::*;
use services_kernel::Cx;
use store_api::{Direction, Tx};
use wire_schema::{Seen, Shape, Survey};
use wire_xml::Root;

use crate::{
    S3,
    access::{self, Ask, Found},
    cors,
    error::{argument_named, malformed_xml, text},
    notify,
    tables::{self, BUCKETS, CONFIG, Document, Versioning},
};

/// Documents of one kind that a bucket may have.
const DOCUMENTS_MAX: usize = 1000;
/// Entries of a page.
const PAGE: usize = 100;

/// The kinds, by their names in keys: never changed.
pub(crate) mod kinds {
    pub(crate) const CORS: &str = "cors";
    pub(crate) const ENCRYPTION: &str = "encryption";
    pub(crate) const REPLICATION: &str = "replication";
    pub(crate) const LOGGING: &str = "logging";
    pub(crate) const ACCELERATE: &str = "accelerate";
    pub(crate) const PAYMENT: &str = "request-payment";
    pub(crate) const ANALYTICS: &str = "analytics";
    pub(crate) const INVENTORY: &str = "inventory";
    pub(crate) const METRICS: &str = "metrics";
    pub(crate) const TIERING: &str = "intelligent-tiering";
    pub(crate) const NOTIFICATION: &str = "notification";
}

/// Keeps a document.
pub(crate) fn keep(tx: &Tx, found: &Found, kind: &str, id: &str, shape: &dyn Shape) -> Result<(), Error> {
    let root = Root { name: shape.schema().name, namespace: None };
    let document = Document { text: wire_xml::encode(root, shape) };
    Ok(CONFIG.put(tx, &tables::config(found.bucket.id, kind, id), &document)?)
}

/// The document of this kind, if there is one.
pub(crate) fn read<S: Shape + Default>(tx: &Tx, bucket: tables::Id, kind: &str, id: &str) -> Result<Option<S>, Error> {
    CONFIG.get(tx, &tables::config(bucket, kind, id))?.map(|document| parse(&document)).transpose()
}

fn parse<S: Shape + Default>(document: &Document) -> Result<S, Error> {
    let mut shape = S::default();
    let (mut seen, mut survey) = (Seen::default(), Survey::default());
    wire_xml::decode(document.text.as_bytes(), &[], &mut shape, &mut seen, &mut survey)
        .map_err(|error| base_types::Fault::internal("read a bucket's configuration", error.0))?;
    Ok(shape)
}

fn forget(tx: &Tx, found: &Found, kind: &str, id: &str) -> Result<bool, Error> {
    let key = tables::config(found.bucket.id, kind, id);
    let there = CONFIG.get(tx, &key)?.is_some();
    CONFIG.remove(tx, &key)?;
    Ok(there)
}

/// A page of the documents of one kind, and what the next begins with.
fn page<S: Shape + Default>(
    service: &S3,
    tx: &Tx,
    found: &Found,
    kind: &str,
    token: Option<&str>,
) -> Result<(Vec<S>, Option<String>), Error> {
    let base = tables::configs(found.bucket.id).str(kind);
    let (mut range, scope) = (base.prefix(), ["s3", kind, &found.name]);
    if let Some(token) = token.filter(|token| !token.is_empty()) {
        let after = service.page_tokens.open(&scope, token).ok().and_then(|bytes| String::from_utf8(bytes).ok());
        let wrong = || argument_named("The continuation token provided is incorrect", "continuation-token");
        range = range.after(&base.clone().str(&after.ok_or_else(wrong)?));
    }
    let mut records = CONFIG.scan(tx, &range, PAGE + 1, Direction::Forward)?;
    let more = records.len() > PAGE;
    records.truncate(PAGE);
    let last =
        records.last().filter(|_| more).map(|(key, _)| key.last_str()).transpose().map_err(base_types::Fault::from)?;
    let shapes = records.iter().map(|(_, document)| parse(document)).collect::<Result<_, _>>()?;
    Ok((shapes, last.map(|last| service.page_tokens.seal(&scope, last.as_bytes()))))
}

fn find(cx: &Cx, tx: &Tx, bucket: &str, owner: &Option<String>, action: &str) -> Result<Found, Error> {
    access::find(cx, tx, bucket, owner.as_deref(), &Ask::of_bucket(action))
}

fn no_configuration() -> Error {
    Error::no_such_configuration("The specified configuration does not exist.")
}

/// Put, get, delete and list of a family whose documents have identifiers.
macro_rules! family {
    ($kind:expr, $name:literal, $put:ident $put_request:ident, $get:ident $get_request:ident $get_output:ident,
     $delete:ident $delete_request:ident, $list:ident $list_request:ident $list_output:ident,
     $member:ident, $members:ident) => {
        impl S3 {
            pub(crate) fn $put(&self, cx: &Cx, tx: &Tx, input: &$put_request) -> Result<(), Error> {
                let action = concat!("s3:Put", $name, "Configuration");
                let found = find(cx, tx, &input.bucket, &input.expected_bucket_owner, action)?;
                if input.$member.id != input.id {
                    return Err(malformed_xml());
                }
                let there = tables::configs(found.bucket.id).str($kind).prefix();
                if CONFIG.scan(tx, &there, DOCUMENTS_MAX, Direction::Forward)?.len() >= DOCUMENTS_MAX
                    && CONFIG.get(tx, &tables::config(found.bucket.id, $kind, &input.id))?.is_none()
                {
                    return Err(Error::invalid_request("You are attempting to create a new configuration but have already reached the 1,000-configuration limit."));
                }
                keep(tx, &found, $kind, &input.id, &input.$member)
            }

            pub(crate) fn $get(&self, cx: &Cx, tx: &Tx, input: &$get_request) -> Result<$get_output, Error> {
                let action = concat!("s3:Get", $name, "Configuration");
                let found = find(cx, tx, &input.bucket, &input.expected_bucket_owner, action)?;
                let $member = Some(read(tx, found.bucket.id, $kind, &input.id)?.ok_or_else(no_configuration)?);
                Ok($get_output { $member })
            }

            pub(crate) fn $delete(&self, cx: &Cx, tx: &Tx, input: &$delete_request) -> Result<(), Error> {
                let action = concat!("s3:Put", $name, "Configuration");
                let found = find(cx, tx, &input.bucket, &input.expected_bucket_owner, action)?;
                if forget(tx, &found, $kind, &input.id)? { Ok(()) } else { Err(no_configuration()) }
            }

            pub(crate) fn $list(&self, cx: &Cx, tx: &Tx, input: &$list_request) -> Result<$list_output, Error> {
                let action = concat!("s3:Get", $name, "Configuration");
                let found = find(cx, tx, &input.bucket, &input.expected_bucket_owner, action)?;
                let token = input.continuation_token.as_deref();
                let (list, next) = page(self, tx, &found, $kind, token)?;
                Ok($list_output {
                    is_truncated: Some(next.is_some()),
                    continuation_token: input.continuation_token.clone(),
                    next_continuation_token: next,
                    $members: (!list.is_empty()).then_some(list),
                })
            }
        }
    };
}

family!(kinds::ANALYTICS, "Analytics", put_analytics PutBucketAnalyticsConfigurationRequest,
    get_analytics GetBucketAnalyticsConfigurationRequest GetBucketAnalyticsConfigurationOutput,
    delete_analytics DeleteBucketAnalyticsConfigurationRequest,
    list_analytics ListBucketAnalyticsConfigurationsRequest ListBucketAnalyticsConfigurationsOutput,
    analytics_configuration, analytics_configuration_list);
family!(kinds::INVENTORY, "Inventory", put_inventory PutBucketInventoryConfigurationRequest,
    get_inventory GetBucketInventoryConfigurationRequest GetBucketInventoryConfigurationOutput,
    delete_inventory DeleteBucketInventoryConfigurationRequest,
    list_inventories ListBucketInventoryConfigurationsRequest ListBucketInventoryConfigurationsOutput,
    inventory_configuration, inventory_configuration_list);
family!(kinds::METRICS, "Metrics", put_metrics PutBucketMetricsConfigurationRequest,
    get_metrics GetBucketMetricsConfigurationRequest GetBucketMetricsConfigurationOutput,
    delete_metrics DeleteBucketMetricsConfigurationRequest,
    list_metrics ListBucketMetricsConfigurationsRequest ListBucketMetricsConfigurationsOutput,
    metrics_configuration, metrics_configuration_list);
family!(kinds::TIERING, "IntelligentTiering", put_tiering PutBucketIntelligentTieringConfigurationRequest,
    get_tiering GetBucketIntelligentTieringConfigurationRequest GetBucketIntelligentTieringConfigurationOutput,
    delete_tiering DeleteBucketIntelligentTieringConfigurationRequest,
    list_tierings ListBucketIntelligentTieringConfigurationsRequest ListBucketIntelligentTieringConfigurationsOutput,
    intelligent_tiering_configuration, intelligent_tiering_configuration_list);

impl S3 {
    pub(crate) fn put_cors(&self, cx: &Cx, tx: &Tx, input: &PutBucketCorsRequest) -> Result<(), Error> {
        let mut found = find(cx, tx, &input.bucket, &input.expected_bucket_owner, "s3:PutBucketCORS")?;
        cors::check(&input.cors_configuration)?;
        keep(tx, &found, kinds::CORS, "", &input.cors_configuration)?;
        found.bucket.cors = true;
        Ok(BUCKETS.put(tx, &tables::bucket(&found.name), &found.bucket)?)
    }

    pub(crate) fn get_cors(
        &self,
        cx: &Cx,
        tx: &Tx,
        input: &GetBucketCorsRequest,
    ) -> Result<GetBucketCorsOutput, Error> {
        let found = find(cx, tx, &input.bucket, &input.expected_bucket_owner, "s3:GetBucketCORS")?;
        let document: Option<CORSConfiguration> = read(tx, found.bucket.id, kinds::CORS, "")?;
        let document = document.ok_or_else(|| NoSuchCORSConfiguration {
            message: text("The CORS configuration does not exist"),
            bucket_name: text(&found.name),
        })?;
        Ok(GetBucketCorsOutput { cors_rules: Some(document.cors_rules) })
    }

    pub(crate) fn delete_cors(&self, cx: &Cx, tx: &Tx, input: &DeleteBucketCorsRequest) -> Result<(), Error> {
        let mut found = find(cx, tx, &input.bucket, &input.expected_bucket_owner, "s3:PutBucketCORS")?;
        forget(tx, &found, kinds::CORS, "")?;
        found.bucket.cors = false;
        Ok(BUCKETS.put(tx, &tables::bucket(&found.name), &found.bucket)?)
    }

    pub(crate) fn put_encryption(&self, cx: &Cx, tx: &Tx, input: &PutBucketEncryptionRequest) -> Result<(), Error> {
        let found = find(cx, tx, &input.bucket, &input.expected_bucket_owner, "s3:PutEncryptionConfiguration")?;
        let [rule] = &*input.server_side_encryption_configuration.rules else { return Err(malformed_xml()) };
        let default = rule.apply_server_side_encryption_by_default.as_ref().ok_or_else(malformed_xml)?;
        match (&*default.sse_algorithm, &default.kms_master_key_id) {
            ("AES256", None) => keep(tx, &found, kinds::ENCRYPTION, "", &input.server_side_encryption_configuration),
            ("AES256", Some(_)) => Err(argument_named(
                "a KMSMasterKeyID is not applicable if the default sse algorithm is not aws:kms or aws:kms:dsse",
                "ApplyServerSideEncryptionByDefault",
            )),
            ("aws:kms" | "aws:kms:dsse", _) => Err(Error::kms_not_implemented(
                "Pileus does not support server-side encryption with keys of KMS (`aws:kms`) yet; `AES256` is what it does.",
            )),
            _ => Err(malformed_xml()),
        }
    }

    pub(crate) fn get_encryption(
        &self,
        cx: &Cx,
        tx: &Tx,
        input: &GetBucketEncryptionRequest,
    ) -> Result<GetBucketEncryptionOutput, Error> {
        let found = find(cx, tx, &input.bucket, &input.expected_bucket_owner, "s3:GetEncryptionConfiguration")?;
        let kept = read(tx, found.bucket.id, kinds::ENCRYPTION, "")?;
        // What is done without being asked to.
        let usual = || ServerSideEncryptionConfiguration {
            rules: vec![ServerSideEncryptionRule {
                apply_server_side_encryption_by_default: Some(ServerSideEncryptionByDefault {
                    sse_algorithm: "AES256".to_owned(),
                    kms_master_key_id: None,
                }),
                bucket_key_enabled: Some(false),
                ..ServerSideEncryptionRule::default()
            }],
        };
        Ok(GetBucketEncryptionOutput { server_side_encryption_configuration: Some(kept.unwrap_or_else(usual)) })
    }

    pub(crate) fn delete_encryption(
        &self,
        cx: &Cx,
        tx: &Tx,
        input: &DeleteBucketEncryptionRequest,
    ) -> Result<(), Error> {
        let found = find(cx, tx, &input.bucket, &input.expected_bucket_owner, "s3:PutEncryptionConfiguration")?;
        forget(tx, &found, kinds::ENCRYPTION, "").map(drop)
    }

    pub(crate) fn put_replication(&self, cx: &Cx, tx: &Tx, input: &PutBucketReplicationRequest) -> Result<(), Error> {
        let found = find(cx, tx, &input.bucket, &input.expected_bucket_owner, "s3:PutReplicationConfiguration")?;
        if found.bucket.versioning != Some(Versioning::Enabled) {
            return Err(Error::invalid_request(
                "Versioning must be 'Enabled' on the bucket to apply a replication configuration",
            ));
        }
        keep(tx, &found, kinds::REPLICATION, "", &input.replication_configuration)
    }

    pub(crate) fn get_replication(
        &self,
        cx: &Cx,
        tx: &Tx,
        input: &GetBucketReplicationRequest,
    ) -> Result<GetBucketReplicationOutput, Error> {
        let found = find(cx, tx, &input.bucket, &input.expected_bucket_owner, "s3:GetReplicationConfiguration")?;
        let document = read(tx, found.bucket.id, kinds::REPLICATION, "")?;
        let document = document.ok_or_else(|| ReplicationConfigurationNotFoundError {
            message: text("The replication configuration was not found"),
            bucket_name: text(&found.name),
        })?;
        Ok(GetBucketReplicationOutput { replication_configuration: Some(document) })
    }

    pub(crate) fn delete_replication(
        &self,
        cx: &Cx,
        tx: &Tx,
        input: &DeleteBucketReplicationRequest,
    ) -> Result<(), Error> {
        let found = find(cx, tx, &input.bucket, &input.expected_bucket_owner, "s3:PutReplicationConfiguration")?;
        forget(tx, &found, kinds::REPLICATION, "").map(drop)
    }

    pub(crate) fn put_logging(&self, cx: &Cx, tx: &Tx, input: &PutBucketLoggingRequest) -> Result<(), Error> {
        let found = find(cx, tx, &input.bucket, &input.expected_bucket_owner, "s3:PutBucketLogging")?;
        let Some(logging) = &input.bucket_logging_status.logging_enabled else {
            return forget(tx, &found, kinds::LOGGING, "").map(drop);
        };
        let target = BUCKETS.get(tx, &tables::bucket(&logging.target_bucket))?;
        if target.is_none_or(|target| target.owner != found.bucket.owner || target.region != found.bucket.region) {
            return Err(InvalidTargetBucketForLogging {
                message: text("The target bucket for logging does not exist"),
                target_bucket: text(&logging.target_bucket),
            }
            .into());
        }
        keep(tx, &found, kinds::LOGGING, "", &input.bucket_logging_status)
    }

    pub(crate) fn get_logging(
        &self,
        cx: &Cx,
        tx: &Tx,
        input: &GetBucketLoggingRequest,
    ) -> Result<GetBucketLoggingOutput, Error> {
        let found = find(cx, tx, &input.bucket, &input.expected_bucket_owner, "s3:GetBucketLogging")?;
        let status: BucketLoggingStatus = read(tx, found.bucket.id, kinds::LOGGING, "")?.unwrap_or_default();
        Ok(GetBucketLoggingOutput { logging_enabled: status.logging_enabled })
    }

    pub(crate) fn put_accelerate(
        &self,
        cx: &Cx,
        tx: &Tx,
        input: &PutBucketAccelerateConfigurationRequest,
    ) -> Result<(), Error> {
        let found = find(cx, tx, &input.bucket, &input.expected_bucket_owner, "s3:PutAccelerateConfiguration")?;
        if input.accelerate_configuration.status.is_none() {
            return Err(malformed_xml());
        }
        if found.name.contains('.') {
            return Err(Error::invalid_request(
                "S3 Transfer Acceleration is not supported for buckets with periods (.) in their names",
            ));
        }
        keep(tx, &found, kinds::ACCELERATE, "", &input.accelerate_configuration)
    }

    pub(crate) fn get_accelerate(
        &self,
        cx: &Cx,
        tx: &Tx,
        input: &GetBucketAccelerateConfigurationRequest,
    ) -> Result<GetBucketAccelerateConfigurationOutput, Error> {
        let found = find(cx, tx, &input.bucket, &input.expected_bucket_owner, "s3:GetAccelerateConfiguration")?;
        let kept: AccelerateConfiguration = read(tx, found.bucket.id, kinds::ACCELERATE, "")?.unwrap_or_default();
        Ok(GetBucketAccelerateConfigurationOutput { status: kept.status, request_charged: None })
    }

    pub(crate) fn put_payment(&self, cx: &Cx, tx: &Tx, input: &PutBucketRequestPaymentRequest) -> Result<(), Error> {
        let found = find(cx, tx, &input.bucket, &input.expected_bucket_owner, "s3:PutBucketRequestPayment")?;
        keep(tx, &found, kinds::PAYMENT, "", &input.request_payment_configuration)
    }

    pub(crate) fn get_payment(
        &self,
        cx: &Cx,
        tx: &Tx,
        input: &GetBucketRequestPaymentRequest,
    ) -> Result<GetBucketRequestPaymentOutput, Error> {
        let found = find(cx, tx, &input.bucket, &input.expected_bucket_owner, "s3:GetBucketRequestPayment")?;
        let kept: Option<RequestPaymentConfiguration> = read(tx, found.bucket.id, kinds::PAYMENT, "")?;
        Ok(GetBucketRequestPaymentOutput { payer: Some(kept.map_or(Payer::BucketOwner, |kept| kept.payer)) })
    }

    pub(crate) fn put_notification(
        &self,
        cx: &Cx,
        tx: &Tx,
        input: &PutBucketNotificationConfigurationRequest,
    ) -> Result<(), Error> {
        let mut found = find(cx, tx, &input.bucket, &input.expected_bucket_owner, "s3:PutBucketNotification")?;
        let validate = input.skip_destination_validation != Some(true);
        let document = notify::accept(self, cx, tx, &found, &input.notification_configuration, validate)?;
        found.bucket.notifies = document != NotificationConfiguration::default();
        if found.bucket.notifies {
            keep(tx, &found, kinds::NOTIFICATION, "", &document)?;
        } else {
            forget(tx, &found, kinds::NOTIFICATION, "")?;
        }
        Ok(BUCKETS.put(tx, &tables::bucket(&found.name), &found.bucket)?)
    }

    pub(crate) fn get_notification(
        &self,
        cx: &Cx,
        tx: &Tx,
        input: &GetBucketNotificationConfigurationRequest,
    ) -> Result<NotificationConfiguration, Error> {
        let found = find(cx, tx, &input.bucket, &input.expected_bucket_owner, "s3:GetBucketNotification")?;
        Ok(read(tx, found.bucket.id, kinds::NOTIFICATION, "")?.unwrap_or_default())
    }
}
