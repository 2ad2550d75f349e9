//! What DynamoDB has together with services that are not here: global tables, export to and import from buckets, streams
//! of Kinesis, contributor insights. Reading says truthfully that there is none of it, so that tools that look first go
//! on; asking for it is refused by name.

use model_dynamodb::{
    ContributorInsightsAction, ContributorInsightsStatus, DescribeContributorInsightsInput,
    DescribeContributorInsightsOutput, DescribeExportInput, DescribeExportOutput, DescribeGlobalTableInput,
    DescribeGlobalTableOutput, DescribeImportInput, DescribeImportOutput, DescribeKinesisStreamingDestinationInput,
    DescribeKinesisStreamingDestinationOutput, Error, KinesisStreamingDestinationInput,
    KinesisStreamingDestinationOutput, ListContributorInsightsInput, ListContributorInsightsOutput, ListExportsInput,
    ListExportsOutput, ListGlobalTablesInput, ListGlobalTablesOutput, ListImportsInput, ListImportsOutput,
    UpdateContributorInsightsInput, UpdateContributorInsightsOutput, UpdateKinesisStreamingDestinationInput,
    UpdateKinesisStreamingDestinationOutput,
};
use services_kernel::Cx;
use store_api::Tx;
use wire_schema::ServiceError as _;

use crate::{DynamoDb, target::Target};

fn bad_token() -> Error {
    // Nothing is ever continued, so no token was ever given.
    Error::validation_exception("Invalid NextToken")
}

impl DynamoDb {
    pub(crate) fn global_tables(
        &self,
        cx: &Cx,
        tx: &Tx,
        _: &ListGlobalTablesInput,
    ) -> Result<ListGlobalTablesOutput, Error> {
        cx.authorize::<Error>(tx, "dynamodb:ListGlobalTables", &cx.arn("dynamodb", "global-table/*"))?;
        Ok(ListGlobalTablesOutput { global_tables: Some(Vec::new()), ..ListGlobalTablesOutput::default() })
    }

    pub(crate) fn global_table(
        &self,
        cx: &Cx,
        tx: &Tx,
        input: &DescribeGlobalTableInput,
    ) -> Result<DescribeGlobalTableOutput, Error> {
        let name = &input.global_table_name;
        cx.authorize::<Error>(tx, "dynamodb:DescribeGlobalTable", &cx.arn("dynamodb", format!("global-table/{name}")))?;
        Err(Error::global_table_not_found_exception(format!(
            "Global table not found: Global table with name '{name}' does not exist."
        )))
    }

    pub(crate) fn exports(&self, cx: &Cx, tx: &Tx, input: &ListExportsInput) -> Result<ListExportsOutput, Error> {
        cx.authorize::<Error>(tx, "dynamodb:ListExports", &cx.arn("dynamodb", "table/*"))?;
        if input.next_token.is_some() {
            return Err(bad_token());
        }
        if let Some(arn) = &input.table_arn {
            Target::of_table(cx, tx, "dynamodb:ListExports", arn)?;
        }
        Ok(ListExportsOutput { export_summaries: Some(Vec::new()), next_token: None })
    }

    pub(crate) fn imports(&self, cx: &Cx, tx: &Tx, input: &ListImportsInput) -> Result<ListImportsOutput, Error> {
        cx.authorize::<Error>(tx, "dynamodb:ListImports", &cx.arn("dynamodb", "table/*"))?;
        if input.next_token.is_some() {
            return Err(bad_token());
        }
        Ok(ListImportsOutput { import_summary_list: Some(Vec::new()), next_token: None })
    }

    pub(crate) fn export(&self, cx: &Cx, tx: &Tx, input: &DescribeExportInput) -> Result<DescribeExportOutput, Error> {
        cx.authorize::<Error>(tx, "dynamodb:DescribeExport", &cx.arn("dynamodb", "table/*"))?;
        Err(Error::export_not_found_exception(format!("Export not found: {}", input.export_arn)))
    }

    pub(crate) fn import(&self, cx: &Cx, tx: &Tx, input: &DescribeImportInput) -> Result<DescribeImportOutput, Error> {
        cx.authorize::<Error>(tx, "dynamodb:DescribeImport", &cx.arn("dynamodb", "table/*"))?;
        Err(Error::import_not_found_exception(format!("Import not found: {}", input.import_arn)))
    }

    pub(crate) fn insights(
        &self,
        cx: &Cx,
        tx: &Tx,
        input: &DescribeContributorInsightsInput,
    ) -> Result<DescribeContributorInsightsOutput, Error> {
        let target = Target::of_table(cx, tx, "dynamodb:DescribeContributorInsights", &input.table_name)?;
        check_index(&target, input.index_name.as_deref())?;
        Ok(DescribeContributorInsightsOutput {
            table_name: Some(target.name),
            index_name: input.index_name.clone(),
            contributor_insights_status: Some(ContributorInsightsStatus::Disabled),
            ..DescribeContributorInsightsOutput::default()
        })
    }

    pub(crate) fn all_insights(
        &self,
        cx: &Cx,
        tx: &Tx,
        input: &ListContributorInsightsInput,
    ) -> Result<ListContributorInsightsOutput, Error> {
        cx.authorize::<Error>(tx, "dynamodb:ListContributorInsights", &cx.arn("dynamodb", "table/*"))?;
        if input.next_token.is_some() {
            return Err(bad_token());
        }
        if let Some(table) = &input.table_name {
            Target::of_table(cx, tx, "dynamodb:ListContributorInsights", table)?;
        }
        Ok(ListContributorInsightsOutput { contributor_insights_summaries: Some(Vec::new()), next_token: None })
    }

    pub(crate) fn set_insights(
        &self,
        cx: &Cx,
        tx: &Tx,
        input: &UpdateContributorInsightsInput,
    ) -> Result<UpdateContributorInsightsOutput, Error> {
        let target = Target::of_table(cx, tx, "dynamodb:UpdateContributorInsights", &input.table_name)?;
        check_index(&target, input.index_name.as_deref())?;
        if input.contributor_insights_action == ContributorInsightsAction::Enable {
            return Err(Error::not_implemented("contributor insights, which need CloudWatch metrics"));
        }
        Ok(UpdateContributorInsightsOutput {
            table_name: Some(target.name),
            index_name: input.index_name.clone(),
            contributor_insights_status: Some(ContributorInsightsStatus::Disabled),
            ..UpdateContributorInsightsOutput::default()
        })
    }

    pub(crate) fn destinations(
        &self,
        cx: &Cx,
        tx: &Tx,
        input: &DescribeKinesisStreamingDestinationInput,
    ) -> Result<DescribeKinesisStreamingDestinationOutput, Error> {
        let target = Target::of_table(cx, tx, "dynamodb:DescribeKinesisStreamingDestination", &input.table_name)?;
        Ok(DescribeKinesisStreamingDestinationOutput {
            table_name: Some(target.name),
            kinesis_data_stream_destinations: Some(Vec::new()),
        })
    }

    pub(crate) fn add_destination(
        &self,
        cx: &Cx,
        tx: &Tx,
        input: &KinesisStreamingDestinationInput,
    ) -> Result<KinesisStreamingDestinationOutput, Error> {
        Target::of_table(cx, tx, "dynamodb:EnableKinesisStreamingDestination", &input.table_name)?;
        Err(Error::not_implemented("streaming to Kinesis, which is not here: use a stream of the table"))
    }

    pub(crate) fn drop_destination(
        &self,
        cx: &Cx,
        tx: &Tx,
        input: &KinesisStreamingDestinationInput,
    ) -> Result<KinesisStreamingDestinationOutput, Error> {
        let target = Target::of_table(cx, tx, "dynamodb:DisableKinesisStreamingDestination", &input.table_name)?;
        Err(no_destination("disable", &input.stream_arn, &target))
    }

    pub(crate) fn change_destination(
        &self,
        cx: &Cx,
        tx: &Tx,
        input: &UpdateKinesisStreamingDestinationInput,
    ) -> Result<UpdateKinesisStreamingDestinationOutput, Error> {
        let target = Target::of_table(cx, tx, "dynamodb:UpdateKinesisStreamingDestination", &input.table_name)?;
        let wanted = input.update_kinesis_streaming_configuration.as_ref();
        if wanted.is_none_or(|wanted| wanted.approximate_creation_date_time_precision.is_none()) {
            return Err(Error::validation_exception(
                "Streaming destination cannot be updated with given parameters: UpdateKinesisStreamingConfiguration cannot \
                 be null or contain only null values",
            ));
        }
        Err(no_destination("enable", &input.stream_arn, &target))
    }
}

fn check_index(target: &Target, name: Option<&str>) -> Result<(), Error> {
    match name {
        Some(name) if target.record.index(name).is_none() => {
            Err(Error::resource_not_found_exception(format!("Requested resource not found: Index: {name} not found")))
        }
        _ => Ok(()),
    }
}

/// As AWS says it also where it means another verb.
fn no_destination(verb: &str, stream: &str, target: &Target) -> Error {
    Error::validation_exception(format!(
        "Table is not in a valid state to {verb} Kinesis Streaming Destination: No streaming destination with streamArn: \
         {stream} found for table with tableName: {}",
        target.name
    ))
}
