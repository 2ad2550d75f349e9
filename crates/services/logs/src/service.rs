//! The generated trait, one line per operation.

use model_logs::*;
use services_kernel::Cx;
use store_api::Tx;

use crate::CloudWatchLogs;

impl Logs<Cx, Tx> for CloudWatchLogs {
    fn create_log_group(&self, cx: &Cx, tx: &Tx, input: &CreateLogGroupRequest) -> Result<(), Error> {
        self.create_group(cx, tx, input)
    }

    async fn delete_log_group(&self, cx: &Cx, input: DeleteLogGroupRequest) -> Result<(), Error> {
        self.delete_group(cx, input).await
    }

    fn describe_log_groups(
        &self,
        cx: &Cx,
        tx: &Tx,
        input: &DescribeLogGroupsRequest,
    ) -> Result<DescribeLogGroupsResponse, Error> {
        self.describe_groups(cx, tx, input)
    }

    fn create_log_stream(&self, cx: &Cx, tx: &Tx, input: &CreateLogStreamRequest) -> Result<(), Error> {
        self.create_stream(cx, tx, input)
    }

    async fn delete_log_stream(&self, cx: &Cx, input: DeleteLogStreamRequest) -> Result<(), Error> {
        self.delete_stream(cx, input).await
    }

    fn describe_log_streams(
        &self,
        cx: &Cx,
        tx: &Tx,
        input: &DescribeLogStreamsRequest,
    ) -> Result<DescribeLogStreamsResponse, Error> {
        self.describe_streams(cx, tx, input)
    }

    async fn put_log_events(&self, cx: &Cx, input: PutLogEventsRequest) -> Result<PutLogEventsResponse, Error> {
        self.put_events(cx, input).await
    }

    async fn get_log_events(&self, cx: &Cx, input: GetLogEventsRequest) -> Result<GetLogEventsResponse, Error> {
        self.get_events(cx, input).await
    }

    async fn filter_log_events(
        &self,
        cx: &Cx,
        input: FilterLogEventsRequest,
    ) -> Result<FilterLogEventsResponse, Error> {
        self.filter_events(cx, input).await
    }

    fn put_log_group_deletion_protection(
        &self,
        cx: &Cx,
        tx: &Tx,
        input: &PutLogGroupDeletionProtectionRequest,
    ) -> Result<(), Error> {
        self.protect_group(cx, tx, input)
    }

    fn put_retention_policy(&self, cx: &Cx, tx: &Tx, input: &PutRetentionPolicyRequest) -> Result<(), Error> {
        self.put_retention(cx, tx, input)
    }

    fn delete_retention_policy(&self, cx: &Cx, tx: &Tx, input: &DeleteRetentionPolicyRequest) -> Result<(), Error> {
        self.delete_retention(cx, tx, input)
    }

    fn tag_resource(&self, cx: &Cx, tx: &Tx, input: &TagResourceRequest) -> Result<(), Error> {
        self.tag(cx, tx, input)
    }

    fn untag_resource(&self, cx: &Cx, tx: &Tx, input: &UntagResourceRequest) -> Result<(), Error> {
        self.untag(cx, tx, input)
    }

    fn list_tags_for_resource(
        &self,
        cx: &Cx,
        tx: &Tx,
        input: &ListTagsForResourceRequest,
    ) -> Result<ListTagsForResourceResponse, Error> {
        self.list_tags(cx, tx, input)
    }

    fn tag_log_group(&self, cx: &Cx, tx: &Tx, input: &TagLogGroupRequest) -> Result<(), Error> {
        self.tag_group(cx, tx, input)
    }

    fn untag_log_group(&self, cx: &Cx, tx: &Tx, input: &UntagLogGroupRequest) -> Result<(), Error> {
        self.untag_group(cx, tx, input)
    }

    fn list_tags_log_group(
        &self,
        cx: &Cx,
        tx: &Tx,
        input: &ListTagsLogGroupRequest,
    ) -> Result<ListTagsLogGroupResponse, Error> {
        self.list_group_tags(cx, tx, input)
    }
}
