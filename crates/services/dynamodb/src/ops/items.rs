//! One item: put, get, update, delete.

use lang_dynamodb::{Item, Projection, Update, item_size, legacy};
use model_dynamodb::{
    AttributeAction, DeleteItemInput, DeleteItemOutput, Error, GetItemInput, GetItemOutput, PutItemInput,
    PutItemOutput, ReturnValue, ReturnValuesOnConditionCheckFailure, UpdateItemInput, UpdateItemOutput,
};
use services_kernel::Cx;
use store_api::Tx;

use crate::{
    DynamoDb,
    capacity::{self, Used, read_units},
    change::{Change, Deed},
    convert::{self, WireItem, wire_item},
    error::expression,
    parameters::{self, check_forms},
    target::Target,
    write,
};

impl DynamoDb {
    pub(crate) fn get(&self, cx: &Cx, tx: &Tx, input: &GetItemInput) -> Result<GetItemOutput, Error> {
        let newer = [("ProjectionExpression", input.projection_expression.is_some())];
        let older = [("AttributesToGet", input.attributes_to_get.is_some())];
        check_forms(&older, &newer, input.expression_attribute_names.is_some(), None)?;
        let key = convert::item(&input.key)?;
        let mut names = parameters::placeholders(input.expression_attribute_names.as_ref(), None)?;
        let projection = parameters::projection(
            input.projection_expression.as_deref(),
            input.attributes_to_get.as_deref(),
            &mut names,
        )?;
        parameters::finish(&names)?;
        let target = Target::of_items(cx, tx, "dynamodb:GetItem", &input.table_name)?;
        target.record.check_key(&key)?;
        let item = write::read(tx, &target, &key)?;
        let units = read_units(item.as_ref().map_or(0, item_size), input.consistent_read == Some(true));
        let item = item.map(|item| match &projection {
            Some(projection) => projection.apply(&item),
            None => item,
        });
        Ok(GetItemOutput {
            item: item.map(wire_item),
            consumed_capacity: Used::table(units).wire(input.return_consumed_capacity, &target.name),
        })
    }

    pub(crate) fn put(&self, cx: &Cx, tx: &Tx, input: &PutItemInput) -> Result<PutItemOutput, Error> {
        check_forms(
            &[("Expected", input.expected.is_some()), ("ConditionalOperator", input.conditional_operator.is_some())],
            &[("ConditionExpression", input.condition_expression.is_some())],
            input.expression_attribute_names.is_some(),
            Some(input.expression_attribute_values.is_some()),
        )?;
        let returns = all_old_or_none(input.return_values)?;
        let item = convert::item(&input.item)?;
        let values = convert::placeholders(input.expression_attribute_values.as_ref())?;
        let mut names = parameters::placeholders(input.expression_attribute_names.as_ref(), values.as_ref())?;
        let condition =
            parameters::condition("ConditionExpression", input.condition_expression.as_deref(), &mut names)?;
        parameters::finish(&names)?;
        let older = parameters::expected(input.expected.as_ref(), input.conditional_operator)?;
        let change = Change { deed: Deed::Put(item), condition: condition.or(older) };
        let target = Target::of_items(cx, tx, "dynamodb:PutItem", &input.table_name)?;
        change.check(&target)?;
        let done = change
            .apply(tx, &target)
            .map_err(|undone| undone.error(wants_item(input.return_values_on_condition_check_failure)))?;
        let mut used = Used::default();
        used.add(&done.effect, 1.0);
        Ok(PutItemOutput {
            attributes: done.old.filter(|_| returns).map(wire_item),
            consumed_capacity: used.wire(input.return_consumed_capacity, &target.name),
            item_collection_metrics: capacity::collection(
                input.return_item_collection_metrics,
                &target,
                change.key(),
                &done.effect,
            ),
        })
    }

    pub(crate) fn delete(&self, cx: &Cx, tx: &Tx, input: &DeleteItemInput) -> Result<DeleteItemOutput, Error> {
        check_forms(
            &[("Expected", input.expected.is_some()), ("ConditionalOperator", input.conditional_operator.is_some())],
            &[("ConditionExpression", input.condition_expression.is_some())],
            input.expression_attribute_names.is_some(),
            Some(input.expression_attribute_values.is_some()),
        )?;
        let returns = all_old_or_none(input.return_values)?;
        let key = convert::item(&input.key)?;
        let values = convert::placeholders(input.expression_attribute_values.as_ref())?;
        let mut names = parameters::placeholders(input.expression_attribute_names.as_ref(), values.as_ref())?;
        let condition =
            parameters::condition("ConditionExpression", input.condition_expression.as_deref(), &mut names)?;
        parameters::finish(&names)?;
        let older = parameters::expected(input.expected.as_ref(), input.conditional_operator)?;
        let change = Change { deed: Deed::Delete(key), condition: condition.or(older) };
        let target = Target::of_items(cx, tx, "dynamodb:DeleteItem", &input.table_name)?;
        change.check(&target)?;
        let done = change
            .apply(tx, &target)
            .map_err(|undone| undone.error(wants_item(input.return_values_on_condition_check_failure)))?;
        let mut used = Used::default();
        used.add(&done.effect, 1.0);
        Ok(DeleteItemOutput {
            attributes: done.old.filter(|_| returns).map(wire_item),
            consumed_capacity: used.wire(input.return_consumed_capacity, &target.name),
            item_collection_metrics: capacity::collection(
                input.return_item_collection_metrics,
                &target,
                change.key(),
                &done.effect,
            ),
        })
    }

    pub(crate) fn update(&self, cx: &Cx, tx: &Tx, input: &UpdateItemInput) -> Result<UpdateItemOutput, Error> {
        let change = update_of(input)?;
        let target = Target::of_items(cx, tx, "dynamodb:UpdateItem", &input.table_name)?;
        change.check(&target)?;
        let done = change
            .apply(tx, &target)
            .map_err(|undone| undone.error(wants_item(input.return_values_on_condition_check_failure)))?;
        let mut used = Used::default();
        used.add(&done.effect, 1.0);
        let consumed_capacity = used.wire(input.return_consumed_capacity, &target.name);
        let item_collection_metrics =
            capacity::collection(input.return_item_collection_metrics, &target, change.key(), &done.effect);
        let changed = |item: Option<Item>| {
            let Deed::Update(_, update) = &change.deed else { return None };
            let kept = Projection::of(update.paths().cloned().collect()).apply(&item?);
            (!kept.is_empty()).then_some(kept)
        };
        let attributes: Option<Item> = match input.return_values {
            None | Some(ReturnValue::None) => None,
            Some(ReturnValue::AllOld) => done.old,
            Some(ReturnValue::AllNew) => done.new,
            Some(ReturnValue::UpdatedOld) => changed(done.old),
            Some(ReturnValue::UpdatedNew) => changed(done.new),
        };
        let attributes: Option<WireItem> = attributes.map(wire_item);
        Ok(UpdateItemOutput { attributes, consumed_capacity, item_collection_metrics })
    }
}

fn update_of(input: &UpdateItemInput) -> Result<Change, Error> {
    check_forms(
        &[
            ("AttributeUpdates", input.attribute_updates.is_some()),
            ("Expected", input.expected.is_some()),
            ("ConditionalOperator", input.conditional_operator.is_some()),
        ],
        &[
            ("UpdateExpression", input.update_expression.is_some()),
            ("ConditionExpression", input.condition_expression.is_some()),
        ],
        input.expression_attribute_names.is_some(),
        Some(input.expression_attribute_values.is_some()),
    )?;
    let key = convert::item(&input.key)?;
    let values = convert::placeholders(input.expression_attribute_values.as_ref())?;
    let mut names = parameters::placeholders(input.expression_attribute_names.as_ref(), values.as_ref())?;
    let update = input.update_expression.as_deref().map(|text| Update::parse(text, &mut names)).transpose();
    let update = update.map_err(expression)?;
    let condition = parameters::condition("ConditionExpression", input.condition_expression.as_deref(), &mut names)?;
    parameters::finish(&names)?;
    let older = parameters::expected(input.expected.as_ref(), input.conditional_operator)?;
    let update = match update {
        Some(update) => update,
        None => attribute_updates(input)?,
    };
    Ok(Change { deed: Deed::Update(key, update), condition: condition.or(older) })
}

fn attribute_updates(input: &UpdateItemInput) -> Result<Update, Error> {
    let updates = input.attribute_updates.iter().flatten().map(|(name, update)| {
        let action = match update.action {
            None | Some(AttributeAction::Put) => legacy::UpdateAction::Put,
            Some(AttributeAction::Add) => legacy::UpdateAction::Add,
            Some(AttributeAction::Delete) => legacy::UpdateAction::Delete,
        };
        Ok((name.clone(), action, update.value.as_ref().map(convert::value).transpose()?))
    });
    let updates: Vec<_> = updates.collect::<Result<_, Error>>()?;
    legacy::update(updates).map_err(expression)
}

/// Whether the old item is to be given back, by operations that give back nothing else.
fn all_old_or_none(returns: Option<ReturnValue>) -> Result<bool, Error> {
    match returns {
        None | Some(ReturnValue::None) => Ok(false),
        Some(ReturnValue::AllOld) => Ok(true),
        Some(_) => Err(Error::validation_exception("ReturnValues can only be ALL_OLD or NONE")),
    }
}

/// Whether a failed condition is answered with the item.
pub(crate) fn wants_item(returns: Option<ReturnValuesOnConditionCheckFailure>) -> bool {
    returns == Some(ReturnValuesOnConditionCheckFailure::AllOld)
}
