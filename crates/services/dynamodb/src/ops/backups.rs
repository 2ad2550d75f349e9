//! What there is to say of backups: there is no point-in-time recovery yet, and nobody is told that there is.

use model_dynamodb::{
    ContinuousBackupsDescription, ContinuousBackupsStatus, DescribeContinuousBackupsInput,
    DescribeContinuousBackupsOutput, Error, PointInTimeRecoveryDescription, PointInTimeRecoveryStatus,
    UpdateContinuousBackupsInput, UpdateContinuousBackupsOutput,
};
use services_kernel::Cx;
use store_api::Tx;

use crate::{DynamoDb, target::Target};

impl DynamoDb {
    pub(crate) fn continuous_backups(
        &self,
        cx: &Cx,
        tx: &Tx,
        input: &DescribeContinuousBackupsInput,
    ) -> Result<DescribeContinuousBackupsOutput, Error> {
        look(cx, tx, "dynamodb:DescribeContinuousBackups", &input.table_name)?;
        Ok(DescribeContinuousBackupsOutput { continuous_backups_description: Some(description()) })
    }

    /// Enabling is refused by the model's marks: only "off" comes here.
    pub(crate) fn set_continuous_backups(
        &self,
        cx: &Cx,
        tx: &Tx,
        input: &UpdateContinuousBackupsInput,
    ) -> Result<UpdateContinuousBackupsOutput, Error> {
        look(cx, tx, "dynamodb:UpdateContinuousBackups", &input.table_name)?;
        Ok(UpdateContinuousBackupsOutput { continuous_backups_description: Some(description()) })
    }
}

fn look(cx: &Cx, tx: &Tx, action: &str, table: &str) -> Result<Target, Error> {
    Target::of_table(cx, tx, action, table).map_err(|error| match error {
        Error::ResourceNotFoundException(_) => Error::table_not_found_exception(format!("Table not found: {table}")),
        other => other,
    })
}

fn description() -> ContinuousBackupsDescription {
    ContinuousBackupsDescription {
        continuous_backups_status: ContinuousBackupsStatus::Enabled,
        point_in_time_recovery_description: Some(PointInTimeRecoveryDescription {
            point_in_time_recovery_status: Some(PointInTimeRecoveryStatus::Disabled),
            ..PointInTimeRecoveryDescription::default()
        }),
    }
}
