//! PartiQL: ExecuteStatement and BatchExecuteStatement. A statement is read before any transaction begins; what it reads
//! goes through a snapshot, what it changes through the same changes as the native operations.

use lang_dynamodb::{
    Condition, Invalid, Item, Path, Projection, Value,
    partiql::{self, Returning, Statement, key_of},
};
use model_dynamodb::{
    BatchExecuteStatementInput, BatchExecuteStatementOutput, BatchStatementError, BatchStatementErrorCodeEnum,
    BatchStatementRequest, BatchStatementResponse, ConsumedCapacity, Error, ExecuteStatementInput,
    ExecuteStatementOutput, ReturnConsumedCapacity,
};
use services_kernel::Cx;
use std::{collections::BTreeMap, sync::Arc};
use store_api::Tx;
use wire_schema::ServiceError as _;

use super::{items::wants_item, rows::Reading};
use crate::{
    DynamoDb,
    capacity::Used,
    change::{Change, Deed, Done, Undone},
    convert::{self, WireItem, wire_item},
    error::expression,
    table::Keys,
    target::Target,
};

/// What a batch does instead of what it was asked for, in AWS's words.
const BATCH_NEEDS_KEY: &str =
    "Select statements within BatchExecuteStatement must specify the primary key in the where clause.";

/// A statement that was read.
pub(crate) struct Prepared {
    pub(crate) statement: Statement,
    pub(crate) with_item: bool,
}

impl Prepared {
    /// Reads a statement.
    ///
    /// # Errors
    /// In AWS's words.
    pub(crate) fn read(
        text: &str,
        parameters: Option<&[model_dynamodb::AttributeValue]>,
        with_item: bool,
    ) -> Result<Self, Error> {
        let parameters: Vec<Value> =
            parameters.unwrap_or_default().iter().map(convert::value).collect::<Result<_, _>>()?;
        Ok(Self { statement: partiql::parse(text, &parameters).map_err(expression)?, with_item })
    }

    /// The table that it is about.
    pub(crate) fn table(&self) -> &str {
        match &self.statement {
            Statement::Select(select) | Statement::Exists(select) => &select.source.table,
            Statement::Insert(insert) => &insert.table,
            Statement::Update(update) => &update.table,
            Statement::Delete(delete) => &delete.table,
        }
    }

    /// The permission that it needs.
    pub(crate) fn action(&self) -> &'static str {
        match &self.statement {
            Statement::Select(_) | Statement::Exists(_) => "dynamodb:PartiQLSelect",
            Statement::Insert(_) => "dynamodb:PartiQLInsert",
            Statement::Update(_) => "dynamodb:PartiQLUpdate",
            Statement::Delete(_) => "dynamodb:PartiQLDelete",
        }
    }

    pub(crate) fn is_select(&self) -> bool {
        matches!(self.statement, Statement::Select(_))
    }

    /// The change that it makes; of a read, the key alone.
    ///
    /// # Errors
    /// In AWS's words.
    pub(crate) fn change(&self, keys: &Keys) -> Result<Change, Error> {
        let hash = || Path::attribute(&keys.hash.name);
        match &self.statement {
            Statement::Insert(insert) => {
                Ok(Change { deed: Deed::Put(insert.item.clone()), condition: Some(Condition::NotExists(hash())) })
            }
            Statement::Update(update) => {
                let (key, rest) = whole_key(update.condition.as_ref(), keys).map_err(expression)?;
                let condition = joined(Condition::And, Condition::Exists(hash()), rest);
                Ok(Change { deed: Deed::Update(key, update.update.clone()), condition: Some(condition) })
            }
            Statement::Delete(delete) => {
                let (key, rest) = whole_key(delete.condition.as_ref(), keys).map_err(expression)?;
                // What is not there is as good as deleted.
                let condition = rest.map(|rest| joined(Condition::Or, Condition::NotExists(hash()), Some(rest)));
                Ok(Change { deed: Deed::Delete(key), condition })
            }
            Statement::Exists(select) | Statement::Select(select) => {
                let (key, rest) = whole_key(select.condition.as_ref(), keys).map_err(expression)?;
                Ok(Change { deed: Deed::Check(key), condition: rest })
            }
        }
    }

    /// What a write gives back.
    fn returned(&self, done: Done) -> Option<Item> {
        let modified = |item: Option<Item>| {
            let Statement::Update(update) = &self.statement else { return None };
            Some(Projection::of(update.update.paths().cloned().collect()).apply(&item?)).filter(|kept| !kept.is_empty())
        };
        match &self.statement {
            Statement::Update(update) => match update.returning? {
                Returning::AllOld => done.old,
                Returning::AllNew => done.new,
                Returning::ModifiedOld => modified(done.old),
                Returning::ModifiedNew => modified(done.new),
            },
            Statement::Delete(delete) if delete.returning => done.old,
            _ => None,
        }
    }

    /// Carries out a write.
    fn write(&self, cx: &Cx, tx: &Tx) -> Result<Written, Undone> {
        let target = Target::of_items(cx, tx, self.action(), self.table())?;
        let change = self.change(&target.record.keys)?;
        change.check(&target)?;
        let done = change.apply(tx, &target)?;
        let mut used = Used::default();
        used.add(&done.effect, 1.0);
        Ok(Written { table: target.name, used, item: self.returned(done) })
    }

    /// Why nothing was done, as the operations on one statement answer it.
    fn refusal(&self, undone: Undone) -> Error {
        match (&self.statement, undone) {
            (Statement::Insert(_), Undone::Condition(_)) => {
                Error::duplicate_item_exception("Duplicate primary key exists in table")
            }
            (_, undone) => undone.error(self.with_item),
        }
    }
}

struct Written {
    table: String,
    used: Used,
    item: Option<Item>,
}

fn whole_key(condition: Option<&Condition>, keys: &Keys) -> Result<(Item, Option<Condition>), Invalid> {
    let names: Vec<&str> = keys.attributes().map(|attribute| attribute.name.as_str()).collect();
    key_of(condition, &names)
}

fn joined(how: fn(Vec<Condition>) -> Condition, first: Condition, rest: Option<Condition>) -> Condition {
    match rest {
        Some(rest) => how(vec![first, rest]),
        None => first,
    }
}

impl DynamoDb {
    pub(crate) async fn statement(
        &self,
        cx: &Cx,
        input: ExecuteStatementInput,
    ) -> Result<ExecuteStatementOutput, Error> {
        let with_item = wants_item(input.return_values_on_condition_check_failure);
        let prepared = Prepared::read(&input.statement, input.parameters.as_deref(), with_item)?;
        let cx = cx.clone();
        match &prepared.statement {
            Statement::Exists(_) => {
                Err(Error::validation_exception("EXISTS() is only supported in ExecuteTransaction"))
            }
            Statement::Select(_) => {
                let reading = Reading::of(&input)?;
                self.store.view(move |tx| reading.read(&cx, tx, &prepared)).await
            }
            _ => {
                let wanted = input.return_consumed_capacity;
                self.store
                    .transact(move |tx| {
                        let written = prepared.write(&cx, tx).map_err(|undone| prepared.refusal(undone))?;
                        Ok(ExecuteStatementOutput {
                            items: Some(written.item.map(wire_item).into_iter().collect()),
                            consumed_capacity: written.used.wire(wanted, &written.table),
                            ..ExecuteStatementOutput::default()
                        })
                    })
                    .await
            }
        }
    }

    pub(crate) async fn statements(
        &self,
        cx: &Cx,
        input: BatchExecuteStatementInput,
    ) -> Result<BatchExecuteStatementOutput, Error> {
        let parts: Vec<(Result<Prepared, Error>, bool)> = input.statements.iter().map(prepare).collect();
        let selects = parts.iter().filter_map(|(part, _)| part.as_ref().ok()).filter(|part| part.is_select()).count();
        let all = parts.iter().filter(|(part, _)| part.is_ok()).count();
        if selects > 0 && selects < all {
            return Err(Error::validation_exception(
                "BatchExecuteStatement must consist of either read statements or write statements, not both",
            ));
        }
        let (cx, parts, wanted) = (cx.clone(), Arc::new(parts), input.return_consumed_capacity);
        if selects > 0 {
            self.store.view(move |tx| Batch::new(wanted).run(&cx, tx, &parts)).await
        } else {
            self.store.transact(move |tx| Batch::new(wanted).run(&cx, tx, &parts)).await
        }
    }
}

fn prepare(request: &BatchStatementRequest) -> (Result<Prepared, Error>, bool) {
    let with_item = wants_item(request.return_values_on_condition_check_failure);
    let prepared = Prepared::read(&request.statement, request.parameters.as_deref(), with_item);
    (prepared, request.consistent_read == Some(true))
}

/// Statements that each stand for themselves.
struct Batch {
    wanted: Option<ReturnConsumedCapacity>,
    used: BTreeMap<String, Used>,
}

impl Batch {
    fn new(wanted: Option<ReturnConsumedCapacity>) -> Self {
        Self { wanted, used: BTreeMap::new() }
    }

    fn run(
        mut self,
        cx: &Cx,
        tx: &Tx,
        parts: &[(Result<Prepared, Error>, bool)],
    ) -> Result<BatchExecuteStatementOutput, Error> {
        let mut responses = Vec::new();
        for (part, consistent) in parts {
            let outcome = match part {
                Ok(prepared) if prepared.is_select() => self.select(cx, tx, prepared, *consistent),
                Ok(prepared) => self.change(cx, tx, prepared)?,
                Err(error) => Err(failure(error, None)),
            };
            responses.push(match outcome {
                Ok((table, item)) => {
                    BatchStatementResponse { table_name: Some(table), item: item.map(wire_item), error: None }
                }
                Err(error) => BatchStatementResponse { error: Some(error), ..BatchStatementResponse::default() },
            });
        }
        let consumed: Vec<ConsumedCapacity> =
            self.used.iter().filter_map(|(table, used)| used.wire(self.wanted, table)).collect();
        Ok(BatchExecuteStatementOutput {
            responses: Some(responses),
            consumed_capacity: (!consumed.is_empty()).then_some(consumed),
        })
    }

    fn select(
        &mut self,
        cx: &Cx,
        tx: &Tx,
        prepared: &Prepared,
        consistent: bool,
    ) -> Result<(String, Option<Item>), BatchStatementError> {
        let read = || {
            let target = Target::of_items(cx, tx, prepared.action(), prepared.table())?;
            let item = one_item(tx, &target, prepared, BATCH_NEEDS_KEY)?;
            Ok((target, item))
        };
        let (target, item) = read().map_err(|error: Error| failure(&error, None))?;
        let size = item.as_ref().map_or(0, lang_dynamodb::item_size);
        self.used.entry(target.name.clone()).or_default().table += crate::capacity::read_units(size, consistent);
        let Statement::Select(select) = &prepared.statement else { return Ok((target.name, None)) };
        Ok((target.name, item.map(|item| select.row(item))))
    }

    /// What goes wrong with one statement is its own matter; a fault is everybody's, and so is what was half done.
    fn change(
        &mut self,
        cx: &Cx,
        tx: &Tx,
        prepared: &Prepared,
    ) -> Result<Result<(String, Option<Item>), BatchStatementError>, Error> {
        match prepared.write(cx, tx) {
            Ok(written) => {
                let used = self.used.entry(written.table.clone()).or_default();
                used.merge(&written.used);
                Ok(Ok((written.table, written.item)))
            }
            Err(Undone::Error(error @ (Error::Fault(_) | Error::ItemCollectionSizeLimitExceededException(_)))) => {
                Err(error)
            }
            Err(Undone::Condition(item)) => {
                let item = item.filter(|_| prepared.with_item).map(wire_item);
                let error = prepared.refusal(Undone::Condition(None));
                Ok(Err(failure(&error, item)))
            }
            Err(Undone::Error(error)) => Ok(Err(failure(&error, None))),
        }
    }
}

/// The item that a SELECT names by its whole key and nothing else.
pub(crate) fn one_item(tx: &Tx, target: &Target, prepared: &Prepared, no_key: &str) -> Result<Option<Item>, Error> {
    let Statement::Select(select) = &prepared.statement else { return Ok(None) };
    let no_key = || Error::validation_exception(no_key);
    if select.source.index.is_some() {
        return Err(no_key());
    }
    match prepared.change(&target.record.keys) {
        Ok(Change { deed: Deed::Check(key), condition: None }) => {
            target.record.check_key(&key)?;
            Ok(crate::write::read(tx, target, &key)?)
        }
        _ => Err(no_key()),
    }
}

fn failure(error: &Error, item: Option<WireItem>) -> BatchStatementError {
    use BatchStatementErrorCodeEnum as Code;
    let code = match error {
        Error::ConditionalCheckFailedException(_) => Code::ConditionalCheckFailed,
        Error::ResourceNotFoundException(_) => Code::ResourceNotFound,
        Error::DuplicateItemException(_) => Code::DuplicateItem,
        Error::ProvisionedThroughputExceededException(_) => Code::ProvisionedThroughputExceeded,
        other if other.code() == "AccessDeniedException" => Code::AccessDenied,
        other if other.fault().is_some() => Code::InternalServerError,
        _ => Code::ValidationError,
    };
    BatchStatementError { code: Some(code), message: Some(error.message().to_owned()), item }
}
