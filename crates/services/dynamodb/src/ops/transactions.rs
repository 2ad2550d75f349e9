//! Transactions: TransactGetItems and TransactWriteItems. Guarantee: all of it or nothing, and what is read belongs to one
//! state.

use std::{collections::BTreeMap, time::Duration};

use lang_dynamodb::{Item, Update, item_size};
use model_dynamodb::{
    CancellationReason, ConsumedCapacity, Error, ItemCollectionMetrics, ItemResponse, ReturnConsumedCapacity,
    ReturnItemCollectionMetrics, ReturnValuesOnConditionCheckFailure, TransactGetItemsInput, TransactGetItemsOutput,
    TransactWriteItem, TransactWriteItemsInput, TransactWriteItemsOutput, TransactionCanceledException,
};
use services_kernel::{Cx, Idempotency, Replay};
use sha2::{Digest as _, Sha256};
use store_api::Tx;
use wire_schema::ServiceError as _;

use super::items::wants_item;
use crate::{
    DynamoDb,
    capacity::{self, Side, Used, read_units},
    change::{Change, Deed, Undone},
    convert::{self, wire_item},
    error::{expression, invalid},
    parameters::{self, check_forms},
    target::Target,
    write,
};

/// The greatest transaction, in bytes of items (AWS: 4 MB).
const BYTES_MAX: usize = 4 << 20;
/// How long a client token is remembered (AWS: ten minutes).
const TOKEN_KEPT: Duration = Duration::from_secs(600);
const OPERATION: &str = "dynamodb:TransactWriteItems";

/// One part of a transaction.
pub(crate) struct Part {
    pub(crate) table: String,
    pub(crate) change: Change,
    pub(crate) with_item: bool,
    pub(crate) action: &'static str,
    /// That the item is there already is said in other words.
    pub(crate) insert: bool,
}

/// What else there is to know of a transaction that writes.
pub(crate) struct Request<'a> {
    pub(crate) operation: &'a str,
    pub(crate) token: Option<&'a str>,
    /// What the token stands for.
    pub(crate) fingerprint: &'a [u8],
    pub(crate) capacity: Option<ReturnConsumedCapacity>,
    pub(crate) metrics: Option<ReturnItemCollectionMetrics>,
}

/// What a transaction says that it used.
#[derive(Default)]
pub(crate) struct Report {
    pub(crate) consumed: Option<Vec<ConsumedCapacity>>,
    pub(crate) collections: Option<BTreeMap<String, Vec<ItemCollectionMetrics>>>,
}

impl DynamoDb {
    pub(crate) fn transact_get(
        &self,
        cx: &Cx,
        tx: &Tx,
        input: &TransactGetItemsInput,
    ) -> Result<TransactGetItemsOutput, Error> {
        let mut reads = Vec::new();
        for part in &input.transact_items {
            let get = &part.get;
            let newer = [("ProjectionExpression", get.projection_expression.is_some())];
            check_forms(&[], &newer, get.expression_attribute_names.is_some(), None)?;
            let key = convert::item(&get.key)?;
            let mut names = parameters::placeholders(get.expression_attribute_names.as_ref(), None)?;
            let projection = parameters::projection(get.projection_expression.as_deref(), None, &mut names)?;
            parameters::finish(&names)?;
            let target = Target::of_items(cx, tx, "dynamodb:GetItem", &get.table_name)?;
            target.record.check_not_empty(&key)?;
            reads.push((target, key, projection));
        }
        let checked: Vec<Result<(), Error>> =
            reads.iter().map(|(target, key, _)| target.record.check_key(key)).collect();
        refuse(checked)?;
        let mut items = Items::default();
        let responses = reads.into_iter().map(|(target, key, projection)| {
            let item = items.read(tx, &target, &key)?.map(|item| match &projection {
                Some(projection) => projection.apply(&item),
                None => item,
            });
            Ok(ItemResponse { item: item.map(wire_item) })
        });
        let responses = responses.collect::<Result<_, Error>>()?;
        Ok(TransactGetItemsOutput {
            consumed_capacity: items.consumed(input.return_consumed_capacity),
            responses: Some(responses),
        })
    }

    pub(crate) fn transact_write(
        &self,
        cx: &Cx,
        tx: &Tx,
        input: &TransactWriteItemsInput,
    ) -> Result<TransactWriteItemsOutput, Error> {
        let parts: Vec<Part> = input.transact_items.iter().map(part).collect::<Result<_, _>>()?;
        let mut targets = BTreeMap::new();
        for part in &parts {
            let target = Target::of_items(cx, tx, part.action, &part.table)?;
            targets.insert(part.table.clone(), target);
        }
        let request = Request {
            operation: OPERATION,
            token: input.client_request_token.as_deref(),
            fingerprint: &fingerprint(input.client_request_token.as_ref(), &input.transact_items),
            capacity: input.return_consumed_capacity,
            metrics: input.return_item_collection_metrics,
        };
        let report = commit(cx, tx, &parts, &targets, &request)?;
        Ok(TransactWriteItemsOutput { consumed_capacity: report.consumed, item_collection_metrics: report.collections })
    }
}

/// Items that one transaction reads, and what that takes.
#[derive(Default)]
pub(crate) struct Items {
    used: BTreeMap<String, Used>,
    bytes: usize,
}

impl Items {
    pub(crate) fn read(&mut self, tx: &Tx, target: &Target, key: &Item) -> Result<Option<Item>, Error> {
        let item = write::read(tx, target, key)?;
        self.count(target, item.as_ref())?;
        Ok(item)
    }

    pub(crate) fn count(&mut self, target: &Target, item: Option<&Item>) -> Result<(), Error> {
        let size = item.map_or(0, item_size);
        self.bytes += size;
        if self.bytes > BYTES_MAX {
            return Err(invalid("Aggregated size of the items in the transaction exceeded the limit of 4 MB"));
        }
        let table = self.used.entry(target.name.clone()).or_default();
        table.transaction = Some(Side::Read);
        table.table += read_units(size, true) * 2.0;
        Ok(())
    }

    pub(crate) fn consumed(&self, wanted: Option<ReturnConsumedCapacity>) -> Option<Vec<ConsumedCapacity>> {
        let consumed: Vec<_> = self.used.iter().filter_map(|(table, used)| used.wire(wanted, table)).collect();
        (!consumed.is_empty()).then_some(consumed)
    }
}

/// Carries all parts out, or none.
///
/// # Errors
/// With the reason of each part, when one of them cancels it.
pub(crate) fn commit(
    cx: &Cx,
    tx: &Tx,
    parts: &[Part],
    targets: &BTreeMap<String, Target>,
    request: &Request<'_>,
) -> Result<Report, Error> {
    if let Some(token) = request.token {
        match Idempotency::look(tx, cx, request.operation, token, request.fingerprint)? {
            Replay::New => {}
            Replay::Same(_) => return replayed(tx, parts, targets, request),
            Replay::Other => {
                return Err(Error::idempotent_parameter_mismatch_exception(
                    "The request uses the same client token as a previous, but non-identical request.",
                ));
            }
        }
    }
    check_parts(parts, targets)?;
    let (mut used, mut collections) = (BTreeMap::<String, Used>::new(), BTreeMap::<String, Vec<_>>::new());
    let mut reasons = Vec::new();
    for part in parts {
        let Some(target) = targets.get(&part.table) else { continue };
        reasons.push(match part.change.apply(tx, target) {
            Ok(done) => {
                let table = used.entry(target.name.clone()).or_default();
                table.transaction = Some(Side::Write);
                table.add(&done.effect, 2.0);
                let metrics = capacity::collection(request.metrics, target, part.change.key(), &done.effect);
                if let Some(metrics) = metrics {
                    collections.entry(target.name.clone()).or_default().push(metrics);
                }
                none()
            }
            // An empty key of an index is a mistake of the request as a whole.
            Err(Undone::Error(error)) if is_empty_key(&error) => return Err(error),
            Err(undone) => reason(undone, part)?,
        });
    }
    if reasons.iter().any(|reason| reason.message.is_some()) {
        return Err(cancelled(reasons));
    }
    if let Some(token) = request.token {
        Idempotency::remember(tx, cx, request.operation, token, request.fingerprint, &[], TOKEN_KEPT)?;
    }
    let consumed: Vec<_> = used.iter().filter_map(|(table, used)| used.wire(request.capacity, table)).collect();
    Ok(Report {
        consumed: (!consumed.is_empty()).then_some(consumed),
        collections: (!collections.is_empty()).then_some(collections),
    })
}

/// The same request again: nothing is written, and what it takes is a read of each item.
fn replayed(
    tx: &Tx,
    parts: &[Part],
    targets: &BTreeMap<String, Target>,
    request: &Request<'_>,
) -> Result<Report, Error> {
    let mut items = Items::default();
    for part in parts {
        let Some(target) = targets.get(&part.table) else { continue };
        items.read(tx, target, &target.record.key_of(part.change.key()))?;
    }
    Ok(Report { consumed: items.consumed(request.capacity), collections: None })
}

fn none() -> CancellationReason {
    CancellationReason { code: Some("None".to_owned()), ..CancellationReason::default() }
}

fn is_empty_key(error: &Error) -> bool {
    error.message().starts_with("One or more parameter values are not valid.")
}

/// Refuses a transaction when one of its parts cannot be; the others have no reason.
fn refuse(checked: Vec<Result<(), Error>>) -> Result<(), Error> {
    if checked.iter().all(Result::is_ok) {
        return Ok(());
    }
    let reasons = checked.into_iter().map(|checked| match checked {
        Ok(()) => Ok(none()),
        Err(Error::Fault(fault)) => Err(fault.into()),
        Err(error) => Ok(refused(&error)),
    });
    Err(cancelled(reasons.collect::<Result<_, Error>>()?))
}

fn refused(error: &Error) -> CancellationReason {
    let code = match error {
        Error::ItemCollectionSizeLimitExceededException(_) => "ItemCollectionSizeLimitExceeded",
        Error::ProvisionedThroughputExceededException(_) => "ProvisionedThroughputExceeded",
        _ => "ValidationError",
    };
    CancellationReason { code: Some(code.to_owned()), message: Some(error.message().to_owned()), item: None }
}

/// Why one part cancels the transaction; a failure that is ours is no reason.
fn reason(undone: Undone, part: &Part) -> Result<CancellationReason, Error> {
    match undone {
        Undone::Condition(_) if part.insert => Ok(CancellationReason {
            code: Some("DuplicateItem".to_owned()),
            message: Some("Duplicate primary key exists in table".to_owned()),
            item: None,
        }),
        Undone::Condition(item) => Ok(CancellationReason {
            code: Some("ConditionalCheckFailed".to_owned()),
            message: Some("The conditional request failed".to_owned()),
            item: item.filter(|_| part.with_item).map(wire_item),
        }),
        Undone::Error(Error::Fault(fault)) => Err(fault.into()),
        Undone::Error(error) => Ok(refused(&error)),
    }
}

fn cancelled(reasons: Vec<CancellationReason>) -> Error {
    let codes: Vec<&str> = reasons.iter().filter_map(|reason| reason.code.as_deref()).collect();
    TransactionCanceledException {
        message: Some(format!(
            "Transaction cancelled, please refer cancellation reasons for specific reasons [{}]",
            codes.join(", ")
        )),
        cancellation_reasons: Some(reasons),
    }
    .into()
}

/// No item twice, not too much, and every part fits its table. A part that does not cancels the transaction.
fn check_parts(parts: &[Part], targets: &BTreeMap<String, Target>) -> Result<(), Error> {
    let mut seen = std::collections::BTreeSet::new();
    let (mut bytes, mut checked) = (0, Vec::new());
    for part in parts {
        let Some(target) = targets.get(&part.table) else { continue };
        target.record.check_not_empty(part.change.key())?;
        let fits = part.change.check(target);
        match fits {
            Err(error) if is_empty_key(&error) => return Err(error),
            fits => checked.push(fits),
        }
        bytes += item_size(part.change.key());
        let key = lang_dynamodb::encode(&target.record.key_of(part.change.key()));
        if checked.iter().all(Result::is_ok) && !seen.insert((target.rows.id, key)) {
            return Err(Error::validation_exception(
                "Transaction request cannot include multiple operations on one item",
            ));
        }
    }
    if bytes > BYTES_MAX {
        return Err(invalid("Aggregated size of the items in the transaction exceeded the limit of 4 MB"));
    }
    refuse(checked)
}

/// What a client token stands for: nothing when there is none.
pub(crate) fn fingerprint(token: Option<&String>, request: &impl std::fmt::Debug) -> Vec<u8> {
    struct Hashing(Sha256);
    impl std::fmt::Write for Hashing {
        fn write_str(&mut self, text: &str) -> std::fmt::Result {
            self.0.update(text.as_bytes());
            Ok(())
        }
    }
    if token.is_none() {
        return Vec::new();
    }
    let mut digest = Hashing(Sha256::new());
    // Writing into a digest cannot fail.
    let _ = std::fmt::Write::write_fmt(&mut digest, format_args!("{request:?}"));
    digest.0.finalize().to_vec()
}

fn part(wire: &TransactWriteItem) -> Result<Part, Error> {
    let TransactWriteItem { condition_check, put, delete, update } = wire;
    match (condition_check, put, delete, update) {
        (Some(check), None, None, None) => build(
            Fields {
                table: &check.table_name,
                condition: Some(&check.condition_expression),
                names: check.expression_attribute_names.as_ref(),
                values: check.expression_attribute_values.as_ref(),
                returns: check.return_values_on_condition_check_failure,
                update: None,
            },
            "dynamodb:ConditionCheckItem",
            |_| Ok(Deed::Check(convert::item(&check.key)?)),
        ),
        (None, Some(put), None, None) => build(
            Fields {
                table: &put.table_name,
                condition: put.condition_expression.as_ref(),
                names: put.expression_attribute_names.as_ref(),
                values: put.expression_attribute_values.as_ref(),
                returns: put.return_values_on_condition_check_failure,
                update: None,
            },
            "dynamodb:PutItem",
            |_| Ok(Deed::Put(convert::item(&put.item)?)),
        ),
        (None, None, Some(delete), None) => build(
            Fields {
                table: &delete.table_name,
                condition: delete.condition_expression.as_ref(),
                names: delete.expression_attribute_names.as_ref(),
                values: delete.expression_attribute_values.as_ref(),
                returns: delete.return_values_on_condition_check_failure,
                update: None,
            },
            "dynamodb:DeleteItem",
            |_| Ok(Deed::Delete(convert::item(&delete.key)?)),
        ),
        (None, None, None, Some(update)) => build(
            Fields {
                table: &update.table_name,
                condition: update.condition_expression.as_ref(),
                names: update.expression_attribute_names.as_ref(),
                values: update.expression_attribute_values.as_ref(),
                returns: update.return_values_on_condition_check_failure,
                update: Some(&update.update_expression),
            },
            "dynamodb:UpdateItem",
            |parsed| Ok(Deed::Update(convert::item(&update.key)?, parsed.unwrap_or_default())),
        ),
        _ => Err(Error::validation_exception("TransactItems can only contain one of Check, Put, Update or Delete")),
    }
}

/// What the four sorts of parts have in common.
struct Fields<'a> {
    table: &'a str,
    condition: Option<&'a String>,
    names: Option<&'a BTreeMap<String, String>>,
    values: Option<&'a convert::WireItem>,
    returns: Option<ReturnValuesOnConditionCheckFailure>,
    update: Option<&'a String>,
}

fn build(
    fields: Fields<'_>,
    action: &'static str,
    deed: impl FnOnce(Option<Update>) -> Result<Deed, Error>,
) -> Result<Part, Error> {
    let mut newer = vec![("ConditionExpression", fields.condition.is_some())];
    if fields.update.is_some() {
        newer.insert(0, ("UpdateExpression", true));
    }
    check_forms(&[], &newer, fields.names.is_some(), Some(fields.values.is_some()))?;
    let values: Option<Item> = convert::placeholders(fields.values)?;
    let mut names = parameters::placeholders(fields.names, values.as_ref())?;
    let update = fields.update.map(|text| Update::parse(text, &mut names)).transpose().map_err(expression)?;
    let condition = parameters::condition("ConditionExpression", fields.condition.map(String::as_str), &mut names)?;
    parameters::finish(&names)?;
    Ok(Part {
        table: fields.table.to_owned(),
        change: Change { deed: deed(update)?, condition },
        with_item: wants_item(fields.returns),
        action,
        insert: false,
    })
}
