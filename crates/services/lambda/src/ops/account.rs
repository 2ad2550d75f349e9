//! `GetAccountSettings`.

use model_lambda::{AccountLimit, AccountUsage, Error, GetAccountSettingsResponse};
use services_kernel::{Cx, Quotas};
use store_api::Tx;

use super::functions::{CODE_STORAGE, signed};
use crate::{
    control::Control,
    tables::{Place, Usage},
};

impl Control {
    pub(crate) fn get_account_settings(&self, cx: &Cx, tx: &Tx) -> Result<GetAccountSettingsResponse, Error> {
        self.authorize(cx, "lambda:GetAccountSettings", "*")?;
        let place = Place::from(cx);
        let used = |usage| tx.counter(&place.usage(usage));
        let room = self.room(tx, &place)?;
        Ok(GetAccountSettingsResponse {
            account_limit: Some(AccountLimit {
                total_code_size: Some(signed(Quotas::get(tx, cx, CODE_STORAGE)?)),
                code_size_unzipped: Some(signed(self.limits.unzipped_bytes_max)),
                code_size_zipped: Some(signed(self.limits.zipped_bytes_max)),
                concurrent_executions: i32::try_from(room.limit).ok(),
                unreserved_concurrent_executions: i32::try_from(room.unreserved.max(0)).ok(),
            }),
            account_usage: Some(AccountUsage {
                total_code_size: Some(used(Usage::CodeBytes)?),
                function_count: Some(used(Usage::Functions)?),
            }),
        })
    }
}
