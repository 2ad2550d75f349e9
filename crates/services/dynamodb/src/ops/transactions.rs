//! Transactions: TransactGetItems and TransactWriteItems. Guarantee: all of it or nothing, and what is read belongs to one
//! state.

use std::{collections::BTreeMap, time::Duration};

use lang_dynamodb::{Item, Update, item_size};
use model_dynamodb::{
    CancellationReason, Error, ItemResponse, ReturnValuesOnConditionCheckFailure, TransactGetItemsInput,
    TransactGetItemsOutput, TransactWriteItem, TransactWriteItemsInput, TransactWriteItemsOutput,
    TransactionCanceledException,
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
struct Part {
    table: String,
    change: Change,
    with_item: bool,
    action: &'static str,
}

impl DynamoDb {
    pub(crate) fn transact_get(
        &self,
        cx: &Cx,
        tx: &Tx,
        input: &TransactGetItemsInput,
    ) -> Result<TransactGetItemsOutput, Error> {
        let mut responses = Vec::new();
        let mut used: BTreeMap<String, Used> = BTreeMap::new();
        let mut bytes = 0;
        for part in &input.transact_items {
            let get = &part.get;
            let newer = [("ProjectionExpression", get.projection_expression.is_some())];
            check_forms(&[], &newer, get.expression_attribute_names.is_some(), None)?;
            let key = convert::item(&get.key)?;
            let mut names = parameters::placeholders(get.expression_attribute_names.as_ref(), None)?;
            let projection = parameters::projection(get.projection_expression.as_deref(), None, &mut names)?;
            parameters::finish(&names)?;
            let target = Target::of_items(cx, tx, "dynamodb:GetItem", &get.table_name)?;
            target.record.check_key(&key)?;
            let item = write::read(tx, &target, &key)?;
            let size = item.as_ref().map_or(0, item_size);
            bytes += size;
            if bytes > BYTES_MAX {
                return Err(invalid("Aggregated size of the items in the transaction exceeded the limit of 4 MB"));
            }
            let table = used.entry(target.name.clone()).or_default();
            table.transaction = Some(Side::Read);
            table.table += read_units(size, true) * 2.0;
            let item = item.map(|item| match &projection {
                Some(projection) => projection.apply(&item),
                None => item,
            });
            responses.push(ItemResponse { item: item.map(wire_item) });
        }
        let consumed: Vec<_> =
            used.iter().filter_map(|(table, used)| used.wire(input.return_consumed_capacity, table)).collect();
        Ok(TransactGetItemsOutput {
            consumed_capacity: (!consumed.is_empty()).then_some(consumed),
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
        let token = input.client_request_token.as_deref();
        let request = token.map(|_| fingerprint(input));
        if let (Some(token), Some(request)) = (token, &request) {
            match Idempotency::look(tx, cx, OPERATION, token, request)? {
                Replay::New => {}
                Replay::Same(_) => return Ok(TransactWriteItemsOutput::default()),
                Replay::Other => {
                    return Err(Error::idempotent_parameter_mismatch_exception(
                        "The request uses the same client token as a previous, but non-identical request.",
                    ));
                }
            }
        }
        let mut targets: BTreeMap<&str, Target> = BTreeMap::new();
        for part in &parts {
            let target = Target::of_items(cx, tx, part.action, &part.table)?;
            targets.insert(&part.table, target);
        }
        check_parts(&parts, &targets)?;
        let (mut used, mut collections) = (BTreeMap::<String, Used>::new(), BTreeMap::<String, Vec<_>>::new());
        let mut reasons = Vec::new();
        for part in &parts {
            let Some(target) = targets.get(part.table.as_str()) else { continue };
            reasons.push(match part.change.apply(tx, target) {
                Ok(done) => {
                    let table = used.entry(target.name.clone()).or_default();
                    table.transaction = Some(Side::Write);
                    table.add(&done.effect, 2.0);
                    let metrics = capacity::collection(
                        input.return_item_collection_metrics,
                        target,
                        part.change.key(),
                        &done.effect,
                    );
                    if let Some(metrics) = metrics {
                        collections.entry(target.name.clone()).or_default().push(metrics);
                    }
                    CancellationReason { code: Some("None".to_owned()), ..CancellationReason::default() }
                }
                Err(undone) => reason(undone, part.with_item)?,
            });
        }
        if reasons.iter().any(|reason| reason.message.is_some()) {
            return Err(cancelled(reasons));
        }
        if let (Some(token), Some(request)) = (token, &request) {
            Idempotency::remember(tx, cx, OPERATION, token, request, &[], TOKEN_KEPT)?;
        }
        let consumed: Vec<_> =
            used.iter().filter_map(|(table, used)| used.wire(input.return_consumed_capacity, table)).collect();
        Ok(TransactWriteItemsOutput {
            consumed_capacity: (!consumed.is_empty()).then_some(consumed),
            item_collection_metrics: (!collections.is_empty()).then_some(collections),
        })
    }
}

/// Why one part cancels the transaction; a failure that is ours is no reason.
fn reason(undone: Undone, with_item: bool) -> Result<CancellationReason, Error> {
    match undone {
        Undone::Condition(item) => Ok(CancellationReason {
            code: Some("ConditionalCheckFailed".to_owned()),
            message: Some("The conditional request failed".to_owned()),
            item: item.filter(|_| with_item).map(wire_item),
        }),
        Undone::Error(Error::Fault(fault)) => Err(fault.into()),
        Undone::Error(error) => {
            let code = match &error {
                Error::ItemCollectionSizeLimitExceededException(_) => "ItemCollectionSizeLimitExceeded",
                _ => "ValidationError",
            };
            Ok(CancellationReason {
                code: Some(code.to_owned()),
                message: Some(error.message().to_owned()),
                item: None,
            })
        }
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
fn check_parts(parts: &[Part], targets: &BTreeMap<&str, Target>) -> Result<(), Error> {
    let mut seen = std::collections::BTreeSet::new();
    let mut bytes = 0;
    let mut reasons = Vec::new();
    let mut failed = false;
    for part in parts {
        let Some(target) = targets.get(part.table.as_str()) else { continue };
        let reason = match part.change.check(target) {
            Ok(()) => CancellationReason { code: Some("None".to_owned()), ..CancellationReason::default() },
            Err(error) => {
                failed = true;
                self::reason(Undone::Error(error), false)?
            }
        };
        reasons.push(reason);
        bytes += item_size(part.change.key());
        if !failed && !seen.insert((target.rows.id, lang_dynamodb::encode(&target.record.key_of(part.change.key())))) {
            return Err(Error::validation_exception(
                "Transaction request cannot include multiple operations on one item",
            ));
        }
    }
    if bytes > BYTES_MAX {
        return Err(invalid("Aggregated size of the items in the transaction exceeded the limit of 4 MB"));
    }
    if failed { Err(cancelled(reasons)) } else { Ok(()) }
}

/// What a client token stands for.
fn fingerprint(input: &TransactWriteItemsInput) -> Vec<u8> {
    struct Hashing(Sha256);
    impl std::fmt::Write for Hashing {
        fn write_str(&mut self, text: &str) -> std::fmt::Result {
            self.0.update(text.as_bytes());
            Ok(())
        }
    }
    let mut digest = Hashing(Sha256::new());
    // Writing into a digest cannot fail.
    let _ = std::fmt::Write::write_fmt(&mut digest, format_args!("{:?}", input.transact_items));
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
    })
}
