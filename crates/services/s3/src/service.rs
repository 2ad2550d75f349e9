//! The generated trait, one line per operation.

use model_s3::*;
use services_kernel::Cx;
use store_api::Tx;

use crate::S3 as Service;

impl S3<Cx, Tx> for Service {
    fn abort_multipart_upload(
        &self,
        cx: &Cx,
        tx: &Tx,
        input: &AbortMultipartUploadRequest,
    ) -> Result<AbortMultipartUploadOutput, Error> {
        self.abort(cx, tx, input)
    }

    fn complete_multipart_upload(
        &self,
        cx: &Cx,
        tx: &Tx,
        input: &CompleteMultipartUploadRequest,
    ) -> Result<CompleteMultipartUploadOutput, Error> {
        self.complete(cx, tx, input)
    }

    async fn copy_object(&self, cx: &Cx, input: CopyObjectRequest) -> Result<CopyObjectOutput, Error> {
        self.copy(cx, input).await
    }

    fn create_bucket(&self, cx: &Cx, tx: &Tx, input: &CreateBucketRequest) -> Result<CreateBucketOutput, Error> {
        self.create(cx, tx, input)
    }

    fn create_multipart_upload(
        &self,
        cx: &Cx,
        tx: &Tx,
        input: &CreateMultipartUploadRequest,
    ) -> Result<CreateMultipartUploadOutput, Error> {
        self.create_upload(cx, tx, input)
    }

    fn delete_bucket(&self, cx: &Cx, tx: &Tx, input: &DeleteBucketRequest) -> Result<(), Error> {
        self.delete_bucket_(cx, tx, input)
    }

    fn delete_bucket_analytics_configuration(
        &self,
        cx: &Cx,
        tx: &Tx,
        input: &DeleteBucketAnalyticsConfigurationRequest,
    ) -> Result<(), Error> {
        self.delete_analytics(cx, tx, input)
    }

    fn delete_bucket_cors(&self, cx: &Cx, tx: &Tx, input: &DeleteBucketCorsRequest) -> Result<(), Error> {
        self.delete_cors(cx, tx, input)
    }

    fn delete_bucket_encryption(&self, cx: &Cx, tx: &Tx, input: &DeleteBucketEncryptionRequest) -> Result<(), Error> {
        self.delete_encryption(cx, tx, input)
    }

    fn delete_bucket_intelligent_tiering_configuration(
        &self,
        cx: &Cx,
        tx: &Tx,
        input: &DeleteBucketIntelligentTieringConfigurationRequest,
    ) -> Result<(), Error> {
        self.delete_tiering(cx, tx, input)
    }

    fn delete_bucket_inventory_configuration(
        &self,
        cx: &Cx,
        tx: &Tx,
        input: &DeleteBucketInventoryConfigurationRequest,
    ) -> Result<(), Error> {
        self.delete_inventory(cx, tx, input)
    }

    fn delete_bucket_lifecycle(&self, _: &Cx, _: &Tx, _: &DeleteBucketLifecycleRequest) -> Result<(), Error> {
        Err(Error::not_implemented("Pileus does not support the operation DeleteBucketLifecycle yet."))
    }

    fn delete_bucket_metrics_configuration(
        &self,
        cx: &Cx,
        tx: &Tx,
        input: &DeleteBucketMetricsConfigurationRequest,
    ) -> Result<(), Error> {
        self.delete_metrics(cx, tx, input)
    }

    fn delete_bucket_ownership_controls(
        &self,
        cx: &Cx,
        tx: &Tx,
        input: &DeleteBucketOwnershipControlsRequest,
    ) -> Result<(), Error> {
        self.delete_ownership(cx, tx, input)
    }

    fn delete_bucket_policy(&self, cx: &Cx, tx: &Tx, input: &DeleteBucketPolicyRequest) -> Result<(), Error> {
        self.delete_policy(cx, tx, input)
    }

    fn delete_bucket_replication(&self, cx: &Cx, tx: &Tx, input: &DeleteBucketReplicationRequest) -> Result<(), Error> {
        self.delete_replication(cx, tx, input)
    }

    fn delete_bucket_tagging(&self, cx: &Cx, tx: &Tx, input: &DeleteBucketTaggingRequest) -> Result<(), Error> {
        self.untag_bucket(cx, tx, input)
    }

    fn delete_bucket_website(&self, _: &Cx, _: &Tx, _: &DeleteBucketWebsiteRequest) -> Result<(), Error> {
        Err(Error::not_implemented("Pileus does not support the operation DeleteBucketWebsite yet."))
    }

    fn delete_object(&self, cx: &Cx, tx: &Tx, input: &DeleteObjectRequest) -> Result<DeleteObjectOutput, Error> {
        self.delete_object_(cx, tx, input)
    }

    fn delete_object_tagging(
        &self,
        cx: &Cx,
        tx: &Tx,
        input: &DeleteObjectTaggingRequest,
    ) -> Result<DeleteObjectTaggingOutput, Error> {
        self.untag_object(cx, tx, input)
    }

    fn delete_objects(&self, cx: &Cx, tx: &Tx, input: &DeleteObjectsRequest) -> Result<DeleteObjectsOutput, Error> {
        self.delete_many(cx, tx, input)
    }

    fn delete_public_access_block(
        &self,
        cx: &Cx,
        tx: &Tx,
        input: &DeletePublicAccessBlockRequest,
    ) -> Result<(), Error> {
        self.delete_block(cx, tx, input)
    }

    fn get_bucket_accelerate_configuration(
        &self,
        cx: &Cx,
        tx: &Tx,
        input: &GetBucketAccelerateConfigurationRequest,
    ) -> Result<GetBucketAccelerateConfigurationOutput, Error> {
        self.get_accelerate(cx, tx, input)
    }

    fn get_bucket_acl(&self, cx: &Cx, tx: &Tx, input: &GetBucketAclRequest) -> Result<GetBucketAclOutput, Error> {
        self.bucket_acl(cx, tx, input)
    }

    fn get_bucket_analytics_configuration(
        &self,
        cx: &Cx,
        tx: &Tx,
        input: &GetBucketAnalyticsConfigurationRequest,
    ) -> Result<GetBucketAnalyticsConfigurationOutput, Error> {
        self.get_analytics(cx, tx, input)
    }

    fn get_bucket_cors(&self, cx: &Cx, tx: &Tx, input: &GetBucketCorsRequest) -> Result<GetBucketCorsOutput, Error> {
        self.get_cors(cx, tx, input)
    }

    fn get_bucket_encryption(
        &self,
        cx: &Cx,
        tx: &Tx,
        input: &GetBucketEncryptionRequest,
    ) -> Result<GetBucketEncryptionOutput, Error> {
        self.get_encryption(cx, tx, input)
    }

    fn get_bucket_intelligent_tiering_configuration(
        &self,
        cx: &Cx,
        tx: &Tx,
        input: &GetBucketIntelligentTieringConfigurationRequest,
    ) -> Result<GetBucketIntelligentTieringConfigurationOutput, Error> {
        self.get_tiering(cx, tx, input)
    }

    fn get_bucket_inventory_configuration(
        &self,
        cx: &Cx,
        tx: &Tx,
        input: &GetBucketInventoryConfigurationRequest,
    ) -> Result<GetBucketInventoryConfigurationOutput, Error> {
        self.get_inventory(cx, tx, input)
    }

    fn get_bucket_lifecycle_configuration(
        &self,
        _: &Cx,
        _: &Tx,
        _: &GetBucketLifecycleConfigurationRequest,
    ) -> Result<GetBucketLifecycleConfigurationOutput, Error> {
        Err(Error::not_implemented("Pileus does not support the operation GetBucketLifecycleConfiguration yet."))
    }

    fn get_bucket_location(
        &self,
        cx: &Cx,
        tx: &Tx,
        input: &GetBucketLocationRequest,
    ) -> Result<GetBucketLocationOutput, Error> {
        self.location(cx, tx, input)
    }

    fn get_bucket_logging(
        &self,
        cx: &Cx,
        tx: &Tx,
        input: &GetBucketLoggingRequest,
    ) -> Result<GetBucketLoggingOutput, Error> {
        self.get_logging(cx, tx, input)
    }

    fn get_bucket_metrics_configuration(
        &self,
        cx: &Cx,
        tx: &Tx,
        input: &GetBucketMetricsConfigurationRequest,
    ) -> Result<GetBucketMetricsConfigurationOutput, Error> {
        self.get_metrics(cx, tx, input)
    }

    fn get_bucket_notification_configuration(
        &self,
        cx: &Cx,
        tx: &Tx,
        input: &GetBucketNotificationConfigurationRequest,
    ) -> Result<NotificationConfiguration, Error> {
        self.get_notification(cx, tx, input)
    }

    fn get_bucket_ownership_controls(
        &self,
        cx: &Cx,
        tx: &Tx,
        input: &GetBucketOwnershipControlsRequest,
    ) -> Result<GetBucketOwnershipControlsOutput, Error> {
        self.ownership(cx, tx, input)
    }

    fn get_bucket_policy(
        &self,
        cx: &Cx,
        tx: &Tx,
        input: &GetBucketPolicyRequest,
    ) -> Result<GetBucketPolicyOutput, Error> {
        self.get_policy(cx, tx, input)
    }

    fn get_bucket_policy_status(
        &self,
        cx: &Cx,
        tx: &Tx,
        input: &GetBucketPolicyStatusRequest,
    ) -> Result<GetBucketPolicyStatusOutput, Error> {
        self.policy_status(cx, tx, input)
    }

    fn get_bucket_replication(
        &self,
        cx: &Cx,
        tx: &Tx,
        input: &GetBucketReplicationRequest,
    ) -> Result<GetBucketReplicationOutput, Error> {
        self.get_replication(cx, tx, input)
    }

    fn get_bucket_request_payment(
        &self,
        cx: &Cx,
        tx: &Tx,
        input: &GetBucketRequestPaymentRequest,
    ) -> Result<GetBucketRequestPaymentOutput, Error> {
        self.get_payment(cx, tx, input)
    }

    fn get_bucket_tagging(
        &self,
        cx: &Cx,
        tx: &Tx,
        input: &GetBucketTaggingRequest,
    ) -> Result<GetBucketTaggingOutput, Error> {
        self.bucket_tags(cx, tx, input)
    }

    fn get_bucket_versioning(
        &self,
        cx: &Cx,
        tx: &Tx,
        input: &GetBucketVersioningRequest,
    ) -> Result<GetBucketVersioningOutput, Error> {
        self.versioning(cx, tx, input)
    }

    fn get_bucket_website(&self, _: &Cx, _: &Tx, _: &GetBucketWebsiteRequest) -> Result<GetBucketWebsiteOutput, Error> {
        Err(Error::not_implemented("Pileus does not support the operation GetBucketWebsite yet."))
    }

    async fn get_object(&self, cx: &Cx, input: GetObjectRequest) -> Result<GetObjectOutput, Error> {
        self.get(cx, input).await
    }

    fn get_object_acl(&self, cx: &Cx, tx: &Tx, input: &GetObjectAclRequest) -> Result<GetObjectAclOutput, Error> {
        self.object_acl_(cx, tx, input)
    }

    fn get_object_attributes(
        &self,
        cx: &Cx,
        tx: &Tx,
        input: &GetObjectAttributesRequest,
    ) -> Result<GetObjectAttributesOutput, Error> {
        self.attributes(cx, tx, input)
    }

    fn get_object_legal_hold(
        &self,
        cx: &Cx,
        tx: &Tx,
        input: &GetObjectLegalHoldRequest,
    ) -> Result<GetObjectLegalHoldOutput, Error> {
        self.held(cx, tx, input)
    }

    fn get_object_lock_configuration(
        &self,
        cx: &Cx,
        tx: &Tx,
        input: &GetObjectLockConfigurationRequest,
    ) -> Result<GetObjectLockConfigurationOutput, Error> {
        self.get_lock(cx, tx, input)
    }

    fn get_object_retention(
        &self,
        cx: &Cx,
        tx: &Tx,
        input: &GetObjectRetentionRequest,
    ) -> Result<GetObjectRetentionOutput, Error> {
        self.retention(cx, tx, input)
    }

    fn get_object_tagging(
        &self,
        cx: &Cx,
        tx: &Tx,
        input: &GetObjectTaggingRequest,
    ) -> Result<GetObjectTaggingOutput, Error> {
        self.object_tags(cx, tx, input)
    }

    fn get_public_access_block(
        &self,
        cx: &Cx,
        tx: &Tx,
        input: &GetPublicAccessBlockRequest,
    ) -> Result<GetPublicAccessBlockOutput, Error> {
        self.get_block(cx, tx, input)
    }

    fn head_bucket(&self, cx: &Cx, tx: &Tx, input: &HeadBucketRequest) -> Result<HeadBucketOutput, Error> {
        self.head_bucket_(cx, tx, input)
    }

    fn head_object(&self, cx: &Cx, tx: &Tx, input: &HeadObjectRequest) -> Result<HeadObjectOutput, Error> {
        self.head(cx, tx, input)
    }

    fn list_bucket_analytics_configurations(
        &self,
        cx: &Cx,
        tx: &Tx,
        input: &ListBucketAnalyticsConfigurationsRequest,
    ) -> Result<ListBucketAnalyticsConfigurationsOutput, Error> {
        self.list_analytics(cx, tx, input)
    }

    fn list_bucket_intelligent_tiering_configurations(
        &self,
        cx: &Cx,
        tx: &Tx,
        input: &ListBucketIntelligentTieringConfigurationsRequest,
    ) -> Result<ListBucketIntelligentTieringConfigurationsOutput, Error> {
        self.list_tierings(cx, tx, input)
    }

    fn list_bucket_inventory_configurations(
        &self,
        cx: &Cx,
        tx: &Tx,
        input: &ListBucketInventoryConfigurationsRequest,
    ) -> Result<ListBucketInventoryConfigurationsOutput, Error> {
        self.list_inventories(cx, tx, input)
    }

    fn list_bucket_metrics_configurations(
        &self,
        cx: &Cx,
        tx: &Tx,
        input: &ListBucketMetricsConfigurationsRequest,
    ) -> Result<ListBucketMetricsConfigurationsOutput, Error> {
        self.list_metrics(cx, tx, input)
    }

    fn list_buckets(&self, cx: &Cx, tx: &Tx, input: &ListBucketsRequest) -> Result<ListBucketsOutput, Error> {
        self.list_buckets_(cx, tx, input)
    }

    fn list_multipart_uploads(
        &self,
        cx: &Cx,
        tx: &Tx,
        input: &ListMultipartUploadsRequest,
    ) -> Result<ListMultipartUploadsOutput, Error> {
        self.list_uploads(cx, tx, input)
    }

    fn list_object_versions(
        &self,
        cx: &Cx,
        tx: &Tx,
        input: &ListObjectVersionsRequest,
    ) -> Result<ListObjectVersionsOutput, Error> {
        self.list_versions(cx, tx, input)
    }

    fn list_objects(&self, cx: &Cx, tx: &Tx, input: &ListObjectsRequest) -> Result<ListObjectsOutput, Error> {
        self.list_v1(cx, tx, input)
    }

    fn list_objects_v2(&self, cx: &Cx, tx: &Tx, input: &ListObjectsV2Request) -> Result<ListObjectsV2Output, Error> {
        self.list_v2(cx, tx, input)
    }

    fn list_parts(&self, cx: &Cx, tx: &Tx, input: &ListPartsRequest) -> Result<ListPartsOutput, Error> {
        self.list_parts_(cx, tx, input)
    }

    fn put_bucket_accelerate_configuration(
        &self,
        cx: &Cx,
        tx: &Tx,
        input: &PutBucketAccelerateConfigurationRequest,
    ) -> Result<(), Error> {
        self.put_accelerate(cx, tx, input)
    }

    fn put_bucket_acl(&self, cx: &Cx, tx: &Tx, input: &PutBucketAclRequest) -> Result<(), Error> {
        self.put_bucket_acl_(cx, tx, input)
    }

    fn put_bucket_analytics_configuration(
        &self,
        cx: &Cx,
        tx: &Tx,
        input: &PutBucketAnalyticsConfigurationRequest,
    ) -> Result<(), Error> {
        self.put_analytics(cx, tx, input)
    }

    fn put_bucket_cors(&self, cx: &Cx, tx: &Tx, input: &PutBucketCorsRequest) -> Result<(), Error> {
        self.put_cors(cx, tx, input)
    }

    fn put_bucket_encryption(&self, cx: &Cx, tx: &Tx, input: &PutBucketEncryptionRequest) -> Result<(), Error> {
        self.put_encryption(cx, tx, input)
    }

    fn put_bucket_intelligent_tiering_configuration(
        &self,
        cx: &Cx,
        tx: &Tx,
        input: &PutBucketIntelligentTieringConfigurationRequest,
    ) -> Result<(), Error> {
        self.put_tiering(cx, tx, input)
    }

    fn put_bucket_inventory_configuration(
        &self,
        cx: &Cx,
        tx: &Tx,
        input: &PutBucketInventoryConfigurationRequest,
    ) -> Result<(), Error> {
        self.put_inventory(cx, tx, input)
    }

    fn put_bucket_lifecycle_configuration(
        &self,
        _: &Cx,
        _: &Tx,
        _: &PutBucketLifecycleConfigurationRequest,
    ) -> Result<PutBucketLifecycleConfigurationOutput, Error> {
        Err(Error::not_implemented("Pileus does not support the operation PutBucketLifecycleConfiguration yet."))
    }

    fn put_bucket_logging(&self, cx: &Cx, tx: &Tx, input: &PutBucketLoggingRequest) -> Result<(), Error> {
        self.put_logging(cx, tx, input)
    }

    fn put_bucket_metrics_configuration(
        &self,
        cx: &Cx,
        tx: &Tx,
        input: &PutBucketMetricsConfigurationRequest,
    ) -> Result<(), Error> {
        self.put_metrics(cx, tx, input)
    }

    fn put_bucket_notification_configuration(
        &self,
        cx: &Cx,
        tx: &Tx,
        input: &PutBucketNotificationConfigurationRequest,
    ) -> Result<(), Error> {
        self.put_notification(cx, tx, input)
    }

    fn put_bucket_ownership_controls(
        &self,
        cx: &Cx,
        tx: &Tx,
        input: &PutBucketOwnershipControlsRequest,
    ) -> Result<(), Error> {
        self.put_ownership(cx, tx, input)
    }

    fn put_bucket_policy(&self, cx: &Cx, tx: &Tx, input: &PutBucketPolicyRequest) -> Result<(), Error> {
        self.put_policy(cx, tx, input)
    }

    fn put_bucket_replication(&self, cx: &Cx, tx: &Tx, input: &PutBucketReplicationRequest) -> Result<(), Error> {
        self.put_replication(cx, tx, input)
    }

    fn put_bucket_request_payment(
        &self,
        cx: &Cx,
        tx: &Tx,
        input: &PutBucketRequestPaymentRequest,
    ) -> Result<(), Error> {
        self.put_payment(cx, tx, input)
    }

    fn put_bucket_tagging(&self, cx: &Cx, tx: &Tx, input: &PutBucketTaggingRequest) -> Result<(), Error> {
        self.tag_bucket(cx, tx, input)
    }

    fn put_bucket_versioning(&self, cx: &Cx, tx: &Tx, input: &PutBucketVersioningRequest) -> Result<(), Error> {
        self.set_versioning(cx, tx, input)
    }

    fn put_bucket_website(&self, _: &Cx, _: &Tx, _: &PutBucketWebsiteRequest) -> Result<(), Error> {
        Err(Error::not_implemented("Pileus does not support the operation PutBucketWebsite yet."))
    }

    async fn put_object(&self, cx: &Cx, input: PutObjectRequest) -> Result<PutObjectOutput, Error> {
        self.put(cx, input).await
    }

    fn put_object_acl(&self, cx: &Cx, tx: &Tx, input: &PutObjectAclRequest) -> Result<PutObjectAclOutput, Error> {
        self.put_object_acl_(cx, tx, input)
    }

    fn put_object_legal_hold(
        &self,
        cx: &Cx,
        tx: &Tx,
        input: &PutObjectLegalHoldRequest,
    ) -> Result<PutObjectLegalHoldOutput, Error> {
        self.hold(cx, tx, input)
    }

    fn put_object_lock_configuration(
        &self,
        cx: &Cx,
        tx: &Tx,
        input: &PutObjectLockConfigurationRequest,
    ) -> Result<PutObjectLockConfigurationOutput, Error> {
        self.put_lock(cx, tx, input)
    }

    fn put_object_retention(
        &self,
        cx: &Cx,
        tx: &Tx,
        input: &PutObjectRetentionRequest,
    ) -> Result<PutObjectRetentionOutput, Error> {
        self.retain(cx, tx, input)
    }

    fn put_object_tagging(
        &self,
        cx: &Cx,
        tx: &Tx,
        input: &PutObjectTaggingRequest,
    ) -> Result<PutObjectTaggingOutput, Error> {
        self.tag_object(cx, tx, input)
    }

    fn put_public_access_block(&self, cx: &Cx, tx: &Tx, input: &PutPublicAccessBlockRequest) -> Result<(), Error> {
        self.put_block(cx, tx, input)
    }

    async fn upload_part(&self, cx: &Cx, input: UploadPartRequest) -> Result<UploadPartOutput, Error> {
        self.upload(cx, input).await
    }

    async fn upload_part_copy(&self, cx: &Cx, input: UploadPartCopyRequest) -> Result<UploadPartCopyOutput, Error> {
        self.copy_part(cx, input).await
    }
}
