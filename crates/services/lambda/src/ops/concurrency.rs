//! `PutFunctionConcurrency`, `GetFunctionConcurrency`, `DeleteFunctionConcurrency`; and how the account's concurrency is
//! divided.

use base_types::Fault;
use model_lambda::{
    Concurrency, DeleteFunctionConcurrencyRequest, Error, GetFunctionConcurrencyRequest,
    GetFunctionConcurrencyResponse, PutFunctionConcurrencyRequest,
};
use services_kernel::Cx;
use store_api::Tx;

use crate::{
    control::{Change, Control, Found, refuse_qualifier},
    error::function_not_found,
    function::Function,
    names::qualified_arn,
    provisioned::ProvisionedError,
    tables::{FUNCTIONS, Place, RESERVED, Reserved, Usage},
};

/// What reserved and provisioned concurrency must leave to the functions without any, where the account has AWS's default
/// of 1000 or more. A smaller installation keeps a tenth: AWS's 100 would leave it nothing to set aside.
const UNRESERVED_MIN: i64 = 100;

/// How the concurrency of an account and region is divided.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Room {
    /// All of it.
    pub(crate) limit: i64,
    /// What no function has reserved.
    pub(crate) unreserved: i64,
    /// What of that is provisioned.
    pub(crate) provisioned: i64,
    /// What must stay unreserved.
    pub(crate) minimum: i64,
}

impl Control {
    pub(crate) fn room(&self, tx: &Tx, place: &Place) -> Result<Room, Fault> {
        let limit = i64::from(self.concurrency);
        Ok(Room {
            limit,
            unreserved: limit - tx.counter(&place.usage(Usage::ReservedConcurrency))?,
            provisioned: tx.counter(&place.usage(Usage::UnreservedProvisioned))?,
            minimum: unreserved_min(limit),
        })
    }

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
        let provisioned: u32 = found.provisioned(tx)?.iter().map(|config| config.requested).sum();
        if reserved < provisioned {
            return Err(ProvisionedError::ReservedBelow { reserved, provisioned }.into());
        }
        let room = self.room(tx, &found.place)?;
        // What the function has so far comes back first.
        let (unreserved, others) = match found.function.reserved_concurrency {
            Some(before) => (room.unreserved + i64::from(before), room.provisioned),
            None => (room.unreserved, room.provisioned - i64::from(provisioned)),
        };
        if reserved > 0 && unreserved - others - i64::from(reserved) < room.minimum {
            return Err(Error::invalid_parameter_value_exception(format!(
                "Specified ReservedConcurrentExecutions for function decreases account's UnreservedConcurrentExecution \
                 below its minimum value of [{}].",
                room.minimum
            )));
        }
        self.reserve(tx, &found, Some(reserved), provisioned)?;
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
        let provisioned = found.provisioned(tx)?.iter().map(|config| config.requested).sum();
        self.reserve(tx, &found, None, provisioned)
    }

    /// `provisioned` is all that the function has: it is taken from its own reserved concurrency, or from the unreserved.
    fn reserve(&self, tx: &Tx, found: &Found, reserved: Option<u32>, provisioned: u32) -> Result<(), Error> {
        let before = found.function.reserved_concurrency;
        let counted = |reserved: Option<u32>| i64::from(reserved.unwrap_or(0));
        tx.add(&found.place.usage(Usage::ReservedConcurrency), counted(reserved) - counted(before))?;
        let moved = match (before, reserved) {
            (None, Some(_)) => -i64::from(provisioned),
            (Some(_), None) => i64::from(provisioned),
            (None, None) | (Some(_), Some(_)) => 0,
        };
        if moved != 0 {
            tx.add(&found.place.usage(Usage::UnreservedProvisioned), moved)?;
        }
        let function = Function { reserved_concurrency: reserved, ..found.function.clone() };
        FUNCTIONS.put(tx, &found.place.function(&found.name), &function)?;
        let entry = found.place.reserved(&found.name);
        match reserved {
            Some(concurrency) => {
                let Place { account, region } = found.place.clone();
                RESERVED.put(tx, &entry, &Reserved { account, region, name: found.name.clone(), concurrency })?;
            }
            None => RESERVED.remove(tx, &entry)?,
        }
        self.announce(tx, found, Change::Reserved(reserved))?;
        Ok(())
    }
}

/// What must stay unreserved of an account's concurrency.
fn unreserved_min(limit: i64) -> i64 {
    UNRESERVED_MIN.min(limit / 10)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tenth_stays_unreserved_and_never_more_than_a_hundred() {
        for (limit, minimum) in [(10, 1), (64, 6), (1000, 100), (5000, 100)] {
            assert_eq!(unreserved_min(limit), minimum);
        }
    }
}
