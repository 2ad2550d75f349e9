//! `PutFunctionConcurrency`, `GetFunctionConcurrency`, `DeleteFunctionConcurrency`.

use model_lambda::{
    Concurrency, DeleteFunctionConcurrencyRequest, Error, GetFunctionConcurrencyRequest,
    GetFunctionConcurrencyResponse, PutFunctionConcurrencyRequest,
};
use services_kernel::{Cx, Quota, Quotas};
use store_api::Tx;

use crate::{
    control::{Change, Control, Found, refuse_qualifier},
    error::function_not_found,
    function::Function,
    names::qualified_arn,
    tables::{FUNCTIONS, Usage},
};

/// Invocations at once in an account and region.
pub(crate) const CONCURRENT_EXECUTIONS: Quota = Quota { name: "lambda.concurrent-executions", default: 1000 };
/// What reserved concurrency must leave to the functions without any.
const UNRESERVED_MIN: i64 = 100;

impl Control {
    pub(crate) fn put_function_concurrency(
        &self,
        cx: &Cx,
        tx: &Tx,
        input: &PutFunctionConcurrencyRequest,
    ) -> Result<Concurrency, Error> {
        const ACTION: &str = "lambda:PutFunctionConcurrency";
        let named = self.name(cx, ACTION, &input.function_name, None)?;
        refuse_qualifier(&named)?;
        self.authorize(cx, ACTION, &named.name)?;
        // Of all operations on whole functions AWS names `$LATEST` in this one's answer.
        let missing = || function_not_found(&qualified_arn(&cx.region, cx.account, &named.name, &"$LATEST"));
        let found = self.find(tx, cx, &named.name)?.ok_or_else(missing)?;
        let reserved = u32::try_from(input.reserved_concurrent_executions).unwrap_or(0);
        let before = i64::from(found.function.reserved_concurrency.unwrap_or(0));
        let all = tx.counter(&found.place.usage(Usage::ReservedConcurrency))? - before + i64::from(reserved);
        let limit = super::functions::signed(Quotas::get(tx, cx, CONCURRENT_EXECUTIONS)?);
        if reserved > 0 && limit - all < UNRESERVED_MIN {
            return Err(Error::invalid_parameter_value_exception(format!(
                "Specified ReservedConcurrentExecutions for function decreases account's UnreservedConcurrentExecution \
                 below its minimum value of [{UNRESERVED_MIN}]."
            )));
        }
        self.reserve(tx, &found, Some(reserved))?;
        Ok(Concurrency { reserved_concurrent_executions: Some(input.reserved_concurrent_executions) })
    }

    pub(crate) fn get_function_concurrency(
        &self,
        cx: &Cx,
        tx: &Tx,
        input: &GetFunctionConcurrencyRequest,
    ) -> Result<GetFunctionConcurrencyResponse, Error> {
        let found = self.require_whole(tx, cx, "lambda:GetFunctionConcurrency", &input.function_name)?;
        let reserved = found.function.reserved_concurrency.and_then(|reserved| i32::try_from(reserved).ok());
        Ok(GetFunctionConcurrencyResponse { reserved_concurrent_executions: reserved })
    }

    pub(crate) fn delete_function_concurrency(
        &self,
        cx: &Cx,
        tx: &Tx,
        input: &DeleteFunctionConcurrencyRequest,
    ) -> Result<(), Error> {
        let found = self.require_whole(tx, cx, "lambda:DeleteFunctionConcurrency", &input.function_name)?;
        self.reserve(tx, &found, None)
    }

    fn reserve(&self, tx: &Tx, found: &Found, reserved: Option<u32>) -> Result<(), Error> {
        let before = i64::from(found.function.reserved_concurrency.unwrap_or(0));
        tx.add(&found.place.usage(Usage::ReservedConcurrency), i64::from(reserved.unwrap_or(0)) - before)?;
        let function = Function { reserved_concurrency: reserved, ..found.function.clone() };
        FUNCTIONS.put(tx, &found.place.function(&found.name), &function)?;
        self.announce(tx, found, Change::Reserved(reserved))?;
        Ok(())
    }
}
