//! ExecuteTransaction: statements that are one transaction, all of which read or all of which write.

use std::collections::BTreeMap;

use lang_dynamodb::partiql::Statement;
use model_dynamodb::{Error, ExecuteTransactionInput, ExecuteTransactionOutput, ItemResponse, ParameterizedStatement};
use services_kernel::Cx;
use store_api::Tx;
use wire_schema::ServiceError as _;

use super::{
    items::wants_item,
    statements::{Prepared, one_item},
    transactions::{Items, Part, Request, commit, fingerprint},
};
use crate::{DynamoDb, convert, convert::wire_item, target::Target};

const OPERATION: &str = "dynamodb:ExecuteTransaction";
const NEEDS_KEY: &str = "Select statements within ExecuteTransaction must specify the primary key in the where clause.";

impl DynamoDb {
    pub(crate) async fn statement_transaction(
        &self,
        cx: &Cx,
        input: ExecuteTransactionInput,
    ) -> Result<ExecuteTransactionOutput, Error> {
        let statements: Vec<Prepared> = input
            .transact_statements
            .iter()
            .enumerate()
            .map(|(at, wire)| prepare(at, wire))
            .collect::<Result<_, _>>()?;
        let selects = statements.iter().filter(|prepared| prepared.is_select()).count();
        if selects > 0 && selects < statements.len() {
            return Err(Error::validation_exception(
                "ExecuteTransaction API does not support both read and write operations in the same request.",
            ));
        }
        let cx = cx.clone();
        if selects > 0 {
            self.store.view(move |tx| read(&cx, tx, &input, &statements)).await
        } else {
            self.store.transact(move |tx| write(&cx, tx, &input, &statements)).await
        }
    }
}

fn failed(at: usize, reason: &str) -> Error {
    Error::validation_exception(format!("Validation failed in TransactStatements[{at}]: {reason}"))
}

/// The same, of what a part found wrong.
fn within(at: usize, error: Error) -> Error {
    match error.code() {
        "ValidationException" => failed(at, error.message()),
        _ => error,
    }
}

fn prepare(at: usize, wire: &ParameterizedStatement) -> Result<Prepared, Error> {
    // What is wrong with a parameter is not said to be the statement's fault.
    wire.parameters.iter().flatten().try_for_each(|parameter| convert::value(parameter).map(drop))?;
    let with_item = wants_item(wire.return_values_on_condition_check_failure);
    let prepared = Prepared::read(&wire.statement, wire.parameters.as_deref(), with_item);
    let prepared = prepared.map_err(|error| within(at, error))?;
    let returns = match &prepared.statement {
        Statement::Update(update) => update.returning.is_some(),
        Statement::Delete(delete) => delete.returning,
        _ => false,
    };
    if returns {
        return Err(failed(at, "RETURNING clause is not supported in ExecuteTransaction."));
    }
    if let Statement::Select(select) | Statement::Exists(select) = &prepared.statement
        && select.source.index.is_some()
    {
        return Err(failed(at, "Reads on indices are not supported within transactions."));
    }
    Ok(prepared)
}

fn read(
    cx: &Cx,
    tx: &Tx,
    input: &ExecuteTransactionInput,
    statements: &[Prepared],
) -> Result<ExecuteTransactionOutput, Error> {
    let (mut items, mut responses) = (Items::default(), Vec::new());
    for (at, prepared) in statements.iter().enumerate() {
        let target = Target::of_items(cx, tx, prepared.action(), prepared.table())?;
        let item = one_item(tx, &target, prepared, NEEDS_KEY).map_err(|error| within(at, error))?;
        items.count(&target, item.as_ref())?;
        let Statement::Select(select) = &prepared.statement else { continue };
        responses.push(ItemResponse { item: item.map(|item| wire_item(select.row(item))) });
    }
    Ok(ExecuteTransactionOutput {
        responses: Some(responses),
        consumed_capacity: items.consumed(input.return_consumed_capacity),
    })
}

fn write(
    cx: &Cx,
    tx: &Tx,
    input: &ExecuteTransactionInput,
    statements: &[Prepared],
) -> Result<ExecuteTransactionOutput, Error> {
    let (mut targets, mut parts) = (BTreeMap::new(), Vec::new());
    for (at, prepared) in statements.iter().enumerate() {
        let target = Target::of_items(cx, tx, prepared.action(), prepared.table())?;
        let change = prepared.change(&target.record.keys).map_err(|error| within(at, error))?;
        if matches!(prepared.statement, Statement::Exists(_)) && change.condition.is_none() {
            return Err(failed(at, "EXISTS() must contain a single item read with additional condition"));
        }
        parts.push(Part {
            table: prepared.table().to_owned(),
            change,
            with_item: prepared.with_item,
            action: prepared.action(),
            insert: matches!(prepared.statement, Statement::Insert(_)),
        });
        targets.insert(prepared.table().to_owned(), target);
    }
    let request = Request {
        operation: OPERATION,
        token: input.client_request_token.as_deref(),
        fingerprint: &fingerprint(input.client_request_token.as_ref(), &input.transact_statements),
        capacity: input.return_consumed_capacity,
        metrics: None,
    };
    let report = commit(cx, tx, &parts, &targets, &request)?;
    Ok(ExecuteTransactionOutput { responses: Some(Vec::new()), consumed_capacity: report.consumed })
}
