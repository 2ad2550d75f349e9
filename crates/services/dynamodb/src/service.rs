//! The generated trait, one line per operation.

use model_dynamodb::*;
use services_kernel::Cx;
use store_api::Tx;

use crate::DynamoDb as Service;

impl DynamoDb<Cx, Tx> for Service {
    async fn batch_execute_statement(
        &self,
        cx: &Cx,
        input: BatchExecuteStatementInput,
    ) -> Result<BatchExecuteStatementOutput, Error> {
        self.statements(cx, input).await
    }

    fn batch_get_item(&self, cx: &Cx, tx: &Tx, input: &BatchGetItemInput) -> Result<BatchGetItemOutput, Error> {
        self.batch_get(cx, tx, input)
    }

    fn batch_write_item(&self, cx: &Cx, tx: &Tx, input: &BatchWriteItemInput) -> Result<BatchWriteItemOutput, Error> {
        self.batch_write(cx, tx, input)
    }

    fn create_backup(&self, cx: &Cx, tx: &Tx, input: &CreateBackupInput) -> Result<CreateBackupOutput, Error> {
        self.create_backup_of(cx, tx, input)
    }

    fn create_table(&self, cx: &Cx, tx: &Tx, input: &CreateTableInput) -> Result<CreateTableOutput, Error> {
        self.create(cx, tx, input)
    }

    fn delete_backup(&self, cx: &Cx, tx: &Tx, input: &DeleteBackupInput) -> Result<DeleteBackupOutput, Error> {
        self.drop_backup(cx, tx, input)
    }

    fn delete_item(&self, cx: &Cx, tx: &Tx, input: &DeleteItemInput) -> Result<DeleteItemOutput, Error> {
        self.delete(cx, tx, input)
    }

    fn delete_resource_policy(
        &self,
        cx: &Cx,
        tx: &Tx,
        input: &DeleteResourcePolicyInput,
    ) -> Result<DeleteResourcePolicyOutput, Error> {
        self.drop_policy(cx, tx, input)
    }

    fn delete_table(&self, cx: &Cx, tx: &Tx, input: &DeleteTableInput) -> Result<DeleteTableOutput, Error> {
        self.drop_table(cx, tx, input)
    }

    fn describe_backup(&self, cx: &Cx, tx: &Tx, input: &DescribeBackupInput) -> Result<DescribeBackupOutput, Error> {
        self.backup(cx, tx, input)
    }

    fn describe_continuous_backups(
        &self,
        cx: &Cx,
        tx: &Tx,
        input: &DescribeContinuousBackupsInput,
    ) -> Result<DescribeContinuousBackupsOutput, Error> {
        self.continuous_backups(cx, tx, input)
    }

    fn describe_contributor_insights(
        &self,
        cx: &Cx,
        tx: &Tx,
        input: &DescribeContributorInsightsInput,
    ) -> Result<DescribeContributorInsightsOutput, Error> {
        self.insights(cx, tx, input)
    }

    fn describe_endpoints(
        &self,
        cx: &Cx,
        tx: &Tx,
        input: &DescribeEndpointsRequest,
    ) -> Result<DescribeEndpointsResponse, Error> {
        self.endpoints(cx, tx, input)
    }

    fn describe_export(&self, cx: &Cx, tx: &Tx, input: &DescribeExportInput) -> Result<DescribeExportOutput, Error> {
        self.export(cx, tx, input)
    }

    fn describe_global_table(
        &self,
        cx: &Cx,
        tx: &Tx,
        input: &DescribeGlobalTableInput,
    ) -> Result<DescribeGlobalTableOutput, Error> {
        self.global_table(cx, tx, input)
    }

    fn describe_import(&self, cx: &Cx, tx: &Tx, input: &DescribeImportInput) -> Result<DescribeImportOutput, Error> {
        self.import(cx, tx, input)
    }

    fn describe_kinesis_streaming_destination(
        &self,
        cx: &Cx,
        tx: &Tx,
        input: &DescribeKinesisStreamingDestinationInput,
    ) -> Result<DescribeKinesisStreamingDestinationOutput, Error> {
        self.destinations(cx, tx, input)
    }

    fn describe_limits(&self, cx: &Cx, tx: &Tx, input: &DescribeLimitsInput) -> Result<DescribeLimitsOutput, Error> {
        self.limits(cx, tx, input)
    }

    fn describe_table(&self, cx: &Cx, tx: &Tx, input: &DescribeTableInput) -> Result<DescribeTableOutput, Error> {
        self.describe(cx, tx, input)
    }

    fn describe_time_to_live(
        &self,
        cx: &Cx,
        tx: &Tx,
        input: &DescribeTimeToLiveInput,
    ) -> Result<DescribeTimeToLiveOutput, Error> {
        self.ttl(cx, tx, input)
    }

    fn disable_kinesis_streaming_destination(
        &self,
        cx: &Cx,
        tx: &Tx,
        input: &KinesisStreamingDestinationInput,
    ) -> Result<KinesisStreamingDestinationOutput, Error> {
        self.drop_destination(cx, tx, input)
    }

    fn enable_kinesis_streaming_destination(
        &self,
        cx: &Cx,
        tx: &Tx,
        input: &KinesisStreamingDestinationInput,
    ) -> Result<KinesisStreamingDestinationOutput, Error> {
        self.add_destination(cx, tx, input)
    }

    async fn execute_statement(&self, cx: &Cx, input: ExecuteStatementInput) -> Result<ExecuteStatementOutput, Error> {
        self.statement(cx, input).await
    }

    async fn execute_transaction(
        &self,
        cx: &Cx,
        input: ExecuteTransactionInput,
    ) -> Result<ExecuteTransactionOutput, Error> {
        self.statement_transaction(cx, input).await
    }

    fn get_item(&self, cx: &Cx, tx: &Tx, input: &GetItemInput) -> Result<GetItemOutput, Error> {
        self.get(cx, tx, input)
    }

    fn get_resource_policy(
        &self,
        cx: &Cx,
        tx: &Tx,
        input: &GetResourcePolicyInput,
    ) -> Result<GetResourcePolicyOutput, Error> {
        self.policy(cx, tx, input)
    }

    fn list_backups(&self, cx: &Cx, tx: &Tx, input: &ListBackupsInput) -> Result<ListBackupsOutput, Error> {
        self.backups(cx, tx, input)
    }

    fn list_contributor_insights(
        &self,
        cx: &Cx,
        tx: &Tx,
        input: &ListContributorInsightsInput,
    ) -> Result<ListContributorInsightsOutput, Error> {
        self.all_insights(cx, tx, input)
    }

    fn list_exports(&self, cx: &Cx, tx: &Tx, input: &ListExportsInput) -> Result<ListExportsOutput, Error> {
        self.exports(cx, tx, input)
    }

    fn list_global_tables(
        &self,
        cx: &Cx,
        tx: &Tx,
        input: &ListGlobalTablesInput,
    ) -> Result<ListGlobalTablesOutput, Error> {
        self.global_tables(cx, tx, input)
    }

    fn list_imports(&self, cx: &Cx, tx: &Tx, input: &ListImportsInput) -> Result<ListImportsOutput, Error> {
        self.imports(cx, tx, input)
    }

    fn list_tables(&self, cx: &Cx, tx: &Tx, input: &ListTablesInput) -> Result<ListTablesOutput, Error> {
        self.list(cx, tx, input)
    }

    fn list_tags_of_resource(
        &self,
        cx: &Cx,
        tx: &Tx,
        input: &ListTagsOfResourceInput,
    ) -> Result<ListTagsOfResourceOutput, Error> {
        self.tags(cx, tx, input)
    }

    fn put_item(&self, cx: &Cx, tx: &Tx, input: &PutItemInput) -> Result<PutItemOutput, Error> {
        self.put(cx, tx, input)
    }

    fn put_resource_policy(
        &self,
        cx: &Cx,
        tx: &Tx,
        input: &PutResourcePolicyInput,
    ) -> Result<PutResourcePolicyOutput, Error> {
        self.set_policy(cx, tx, input)
    }

    fn query(&self, cx: &Cx, tx: &Tx, input: &QueryInput) -> Result<QueryOutput, Error> {
        self.select(cx, tx, input)
    }

    fn restore_table_from_backup(
        &self,
        cx: &Cx,
        tx: &Tx,
        input: &RestoreTableFromBackupInput,
    ) -> Result<RestoreTableFromBackupOutput, Error> {
        self.restore_backup(cx, tx, input)
    }

    fn restore_table_to_point_in_time(
        &self,
        cx: &Cx,
        tx: &Tx,
        input: &RestoreTableToPointInTimeInput,
    ) -> Result<RestoreTableToPointInTimeOutput, Error> {
        self.restore_time(cx, tx, input)
    }

    fn scan(&self, cx: &Cx, tx: &Tx, input: &ScanInput) -> Result<ScanOutput, Error> {
        self.scan_table(cx, tx, input)
    }

    fn tag_resource(&self, cx: &Cx, tx: &Tx, input: &TagResourceInput) -> Result<(), Error> {
        self.tag(cx, tx, input)
    }

    fn transact_get_items(
        &self,
        cx: &Cx,
        tx: &Tx,
        input: &TransactGetItemsInput,
    ) -> Result<TransactGetItemsOutput, Error> {
        self.transact_get(cx, tx, input)
    }

    fn transact_write_items(
        &self,
        cx: &Cx,
        tx: &Tx,
        input: &TransactWriteItemsInput,
    ) -> Result<TransactWriteItemsOutput, Error> {
        self.transact_write(cx, tx, input)
    }

    fn untag_resource(&self, cx: &Cx, tx: &Tx, input: &UntagResourceInput) -> Result<(), Error> {
        self.untag(cx, tx, input)
    }

    fn update_continuous_backups(
        &self,
        cx: &Cx,
        tx: &Tx,
        input: &UpdateContinuousBackupsInput,
    ) -> Result<UpdateContinuousBackupsOutput, Error> {
        self.set_continuous_backups(cx, tx, input)
    }

    fn update_contributor_insights(
        &self,
        cx: &Cx,
        tx: &Tx,
        input: &UpdateContributorInsightsInput,
    ) -> Result<UpdateContributorInsightsOutput, Error> {
        self.set_insights(cx, tx, input)
    }

    fn update_item(&self, cx: &Cx, tx: &Tx, input: &UpdateItemInput) -> Result<UpdateItemOutput, Error> {
        self.update(cx, tx, input)
    }

    fn update_kinesis_streaming_destination(
        &self,
        cx: &Cx,
        tx: &Tx,
        input: &UpdateKinesisStreamingDestinationInput,
    ) -> Result<UpdateKinesisStreamingDestinationOutput, Error> {
        self.change_destination(cx, tx, input)
    }

    fn update_table(&self, cx: &Cx, tx: &Tx, input: &UpdateTableInput) -> Result<UpdateTableOutput, Error> {
        self.alter(cx, tx, input)
    }

    fn update_time_to_live(
        &self,
        cx: &Cx,
        tx: &Tx,
        input: &UpdateTimeToLiveInput,
    ) -> Result<UpdateTimeToLiveOutput, Error> {
        self.set_ttl(cx, tx, input)
    }
}
