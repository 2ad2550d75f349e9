//! A change of one item, checked as far as can be without the store; and how it is carried out.

use lang_dynamodb::{Condition, ITEM_BYTES_MAX, Item, NESTING_MAX, Update, Value, item_size};
use model_dynamodb::{ConditionalCheckFailedException, Error};
use store_api::Tx;

use crate::{
    convert,
    error::{self, invalid},
    target::Target,
    write::{self, Effect},
};

/// What is to be done.
#[derive(Clone, Debug)]
pub(crate) enum Deed {
    /// This becomes the item.
    Put(Item),
    /// The item of this key changes so.
    Update(Item, Update),
    /// The item of this key goes.
    Delete(Item),
    /// Nothing: only the condition counts.
    Check(Item),
}

/// A deed, if its condition is met.
#[derive(Clone, Debug)]
pub(crate) struct Change {
    pub(crate) deed: Deed,
    pub(crate) condition: Option<Condition>,
}

/// What was done.
#[derive(Debug)]
pub(crate) struct Done {
    pub(crate) old: Option<Item>,
    pub(crate) new: Option<Item>,
    pub(crate) effect: Effect,
}

/// Why nothing was done.
#[derive(Debug)]
pub(crate) enum Undone {
    /// The condition is not met, by this item.
    Condition(Option<Item>),
    /// Something else.
    Error(Error),
}

impl From<Error> for Undone {
    fn from(error: Error) -> Self {
        Self::Error(error)
    }
}

impl From<base_types::Fault> for Undone {
    fn from(fault: base_types::Fault) -> Self {
        Self::Error(fault.into())
    }
}

impl Undone {
    /// As the operations on one item answer it; with the item when that is wanted.
    pub(crate) fn error(self, with_item: bool) -> Error {
        match self {
            Self::Error(error) => error,
            Self::Condition(item) => ConditionalCheckFailedException {
                message: Some("The conditional request failed".to_owned()),
                item: item.filter(|_| with_item).map(convert::wire_item),
            }
            .into(),
        }
    }
}

impl Change {
    /// Checks it against the table's keys, before anything is read.
    ///
    /// # Errors
    /// In AWS's words.
    pub(crate) fn check(&self, target: &Target) -> Result<(), Error> {
        match &self.deed {
            Deed::Put(item) => {
                target.record.check_item(item)?;
                if item_size(item) > ITEM_BYTES_MAX {
                    return Err(Error::validation_exception("Item size has exceeded the maximum allowed size"));
                }
                Ok(())
            }
            Deed::Delete(key) | Deed::Check(key) => target.record.check_key(key),
            Deed::Update(key, update) => {
                target.record.check_key(key)?;
                let changed = update.paths().find(|path| target.record.keys.has(path.head()));
                match changed {
                    Some(path) => Err(invalid(format!(
                        "Cannot update attribute {}. This attribute is part of the key",
                        path.head()
                    ))),
                    None => Ok(()),
                }
            }
        }
    }

    /// The item's key; the item itself of one that is put.
    pub(crate) fn key(&self) -> &Item {
        match &self.deed {
            Deed::Put(item) => item,
            Deed::Update(key, _) | Deed::Delete(key) | Deed::Check(key) => key,
        }
    }

    /// Carries it out.
    ///
    /// # Errors
    /// When the condition is not met, or the item would become what none may be.
    pub(crate) fn apply(&self, tx: &Tx, target: &Target) -> Result<Done, Undone> {
        let old = write::read(tx, target, self.key())?;
        if let Some(condition) = &self.condition {
            let empty = Item::new();
            if !condition.is_met(old.as_ref().unwrap_or(&empty)) {
                return Err(Undone::Condition(old));
            }
        }
        let new = match &self.deed {
            Deed::Put(item) => Some(item.clone()),
            Deed::Delete(_) => None,
            Deed::Check(_) => {
                let effect =
                    Effect { table: write::write_units(old.as_ref().map_or(0, item_size)), ..Effect::default() };
                return Ok(Done { new: old.clone(), old, effect });
            }
            Deed::Update(key, update) => Some(updated(target, old.as_ref().unwrap_or(key), update)?),
        };
        let effect = write::replace(tx, target, old.as_ref(), new.as_ref(), false)?;
        Ok(Done { old, new, effect })
    }
}

fn updated(target: &Target, item: &Item, update: &Update) -> Result<Item, Error> {
    let mut item = item.clone();
    update.apply(&mut item).map_err(|error| error::update(&error))?;
    target.record.check_index_keys(&item, true)?;
    if item_size(&item) > ITEM_BYTES_MAX {
        return Err(Error::validation_exception("Item size to update has exceeded the maximum allowed size"));
    }
    if item.values().map(Value::depth).any(|depth| depth > NESTING_MAX) {
        return Err(Error::validation_exception(
            "Nesting Levels have exceeded supported limits: Attributes in the item have nested levels beyond supported \
             limit",
        ));
    }
    Ok(item)
}
