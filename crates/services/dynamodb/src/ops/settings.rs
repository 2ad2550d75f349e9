//! Time to live; limits and endpoints.

use std::time::Duration;

use model_dynamodb::{
    DescribeEndpointsRequest, DescribeEndpointsResponse, DescribeLimitsInput, DescribeLimitsOutput,
    DescribeTimeToLiveInput, DescribeTimeToLiveOutput, Endpoint, Error, TimeToLiveDescription, TimeToLiveStatus,
    UpdateTimeToLiveInput, UpdateTimeToLiveOutput,
};
use services_kernel::Cx;
use store_api::Tx;

use super::tables::fill;
use crate::{DynamoDb, tables::NO_INDEX, target::Target};

/// AWS's quotas of an account and of a table.
const ACCOUNT_UNITS: i64 = 80_000;
const TABLE_UNITS: i64 = 40_000;
/// AWS changes time to live of a table once an hour at most.
const REST: Duration = Duration::from_secs(3600);

impl DynamoDb {
    pub(crate) fn set_ttl(
        &self,
        cx: &Cx,
        tx: &Tx,
        input: &UpdateTimeToLiveInput,
    ) -> Result<UpdateTimeToLiveOutput, Error> {
        let mut target = Target::of_table(cx, tx, "dynamodb:UpdateTimeToLive", &input.table_name)?;
        let wanted = &input.time_to_live_specification;
        match (&target.record.ttl, wanted.enabled) {
            (Some(_), true) => return Err(Error::validation_exception("TimeToLive is already enabled")),
            (None, false) => return Err(Error::validation_exception("TimeToLive is already disabled")),
            (Some(known), false) if *known != wanted.attribute_name => {
                return Err(Error::validation_exception(format!(
                    "TimeToLive is active on a different AttributeName: current AttributeName is {known}"
                )));
            }
            _ => {}
        }
        if target.record.ttl_changed.is_some_and(|changed| changed + REST > tx.now()) {
            return Err(Error::validation_exception(
                "Time to live has been modified multiple times within a fixed interval",
            ));
        }
        target.record.ttl = wanted.enabled.then(|| wanted.attribute_name.clone());
        target.record.ttl_changed = Some(tx.now());
        target.save(tx)?;
        if wanted.enabled {
            fill(tx, &target, NO_INDEX)?;
        }
        Ok(UpdateTimeToLiveOutput { time_to_live_specification: Some(wanted.clone()) })
    }

    pub(crate) fn ttl(
        &self,
        cx: &Cx,
        tx: &Tx,
        input: &DescribeTimeToLiveInput,
    ) -> Result<DescribeTimeToLiveOutput, Error> {
        let target = Target::of_table(cx, tx, "dynamodb:DescribeTimeToLive", &input.table_name)?;
        let attribute_name = target.record.ttl;
        let status = if attribute_name.is_some() { TimeToLiveStatus::Enabled } else { TimeToLiveStatus::Disabled };
        Ok(DescribeTimeToLiveOutput {
            time_to_live_description: Some(TimeToLiveDescription { time_to_live_status: Some(status), attribute_name }),
        })
    }

    pub(crate) fn limits(&self, cx: &Cx, tx: &Tx, _: &DescribeLimitsInput) -> Result<DescribeLimitsOutput, Error> {
        cx.authorize::<Error>(tx, "dynamodb:DescribeLimits", &cx.arn("dynamodb", "table/*"))?;
        Ok(DescribeLimitsOutput {
            account_max_read_capacity_units: Some(ACCOUNT_UNITS),
            account_max_write_capacity_units: Some(ACCOUNT_UNITS),
            table_max_read_capacity_units: Some(TABLE_UNITS),
            table_max_write_capacity_units: Some(TABLE_UNITS),
        })
    }

    pub(crate) fn endpoints(
        &self,
        cx: &Cx,
        tx: &Tx,
        _: &DescribeEndpointsRequest,
    ) -> Result<DescribeEndpointsResponse, Error> {
        cx.authorize::<Error>(tx, "dynamodb:DescribeEndpoints", &cx.arn("dynamodb", "table/*"))?;
        let address = cx.endpoint.split_once("://").map_or(&*cx.endpoint, |(_, address)| address);
        let endpoint = Endpoint { address: address.to_owned(), cache_period_in_minutes: 1440 };
        Ok(DescribeEndpointsResponse { endpoints: vec![endpoint] })
    }
}
