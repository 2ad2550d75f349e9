//! Update expressions. Guarantees: every value is computed from the item as it was; either all actions apply or none;
//! indexes of lists mean the list as it was.

use std::collections::BTreeMap;

use crate::{
    Element, Invalid, Item, Number, NumberError, Path, Placeholders, Type, Value,
    parser::{Checks, Parsed, at_any, deeper, note, path, value},
    token::{Kind, Tokens},
};

const SECTIONS: [&str; 4] = ["SET", "REMOVE", "ADD", "DELETE"];

/// What an update does to an item.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Update {
    actions: Vec<Action>,
}

/// One action.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    Set(Path, Source),
    Remove(Path),
    Add(Path, Value),
    Delete(Path, Value),
}

/// Where a new value comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Source {
    Path(Path),
    Value(Value),
    IfNotExists(Path, Box<Source>),
    ListAppend(Box<Source>, Box<Source>),
    Plus(Box<Source>, Box<Source>),
    Minus(Box<Source>, Box<Source>),
}

/// Why an update does not apply to an item.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UpdateError {
    /// An operand is not there.
    #[error("The provided expression refers to an attribute that does not exist in the item")]
    NoAttribute,
    /// An operand has the wrong type.
    #[error("An operand in the update expression has an incorrect data type")]
    WrongType,
    /// There is no map or list to put it into.
    #[error("The document path provided in the update expression is invalid for update")]
    NoPath,
    /// The result is no number.
    #[error(transparent)]
    Number(#[from] NumberError),
}

impl Update {
    /// Reads an `UpdateExpression`.
    ///
    /// # Errors
    /// In AWS's words.
    pub fn parse(text: &str, placeholders: &mut Placeholders<'_>) -> Result<Self, Invalid> {
        let mut read = || {
            let mut parser = Parser {
                tokens: Tokens::of(text)?,
                placeholders,
                checks: Checks::default(),
                paths: Vec::new(),
                actions: Vec::new(),
            };
            parser.sections()?;
            parser.checks.finish(&[
                |c| &c.reserved,
                |c| &c.unknown_function,
                |c| &c.section,
                |c| &c.name,
                |c| &c.value,
                |c| &c.overlap,
                |c| &c.conflict,
                |c| &c.operand,
                |c| &c.function,
            ])?;
            Ok(Self { actions: parser.actions })
        };
        read().map_err(|error: Invalid| error.of("UpdateExpression"))
    }

    pub(crate) fn of(actions: Vec<Action>) -> Self {
        Self { actions }
    }

    /// The paths that it changes, in the order in which they were written.
    pub fn paths(&self) -> impl Iterator<Item = &Path> {
        self.actions.iter().map(|action| match action {
            Action::Set(path, _) | Action::Remove(path) | Action::Add(path, _) | Action::Delete(path, _) => path,
        })
    }

    /// Changes an item.
    ///
    /// # Errors
    /// When it does not apply; the item is then of no use.
    pub fn apply(&self, item: &mut Item) -> Result<(), UpdateError> {
        let mut sets = Vec::new();
        for action in &self.actions {
            if let Action::Set(path, source) = action {
                sets.push((path, source.value(item)?));
            }
        }
        // Ascending, so that what lies beyond a list's end is appended in the order of the indexes.
        sets.sort_by_key(|(path, _)| *path);
        for (path, value) in sets {
            put(item, path, value)?;
        }
        let mut gone: Vec<&Path> = Vec::new();
        for action in &self.actions {
            match action {
                Action::Set(..) => {}
                Action::Remove(path) => {
                    parent(item, path)?;
                    gone.push(path);
                }
                Action::Add(path, value) => add(item, path, value)?,
                Action::Delete(path, value) => {
                    if delete(item, path, value)? {
                        gone.push(path);
                    }
                }
            }
        }
        // Descending, so that the indexes before one that goes stay as they were.
        gone.sort_by(|left, right| right.cmp(left));
        gone.into_iter().for_each(|path| remove(item, path));
        Ok(())
    }
}

impl Source {
    fn value(&self, item: &Item) -> Result<Value, UpdateError> {
        Ok(match self {
            Self::Path(path) => path.of(item).ok_or(UpdateError::NoAttribute)?.clone(),
            Self::Value(value) => value.clone(),
            Self::IfNotExists(path, other) => match path.of(item) {
                Some(value) => value.clone(),
                None => other.value(item)?,
            },
            Self::ListAppend(left, right) => match (left.value(item)?, right.value(item)?) {
                (Value::L(mut left), Value::L(right)) => {
                    left.extend(right);
                    Value::L(left)
                }
                _ => return Err(UpdateError::WrongType),
            },
            Self::Plus(left, right) => Value::N(Self::numbers(left, right, item, Number::plus)?),
            Self::Minus(left, right) => Value::N(Self::numbers(left, right, item, Number::minus)?),
        })
    }

    fn numbers(
        left: &Self,
        right: &Self,
        item: &Item,
        operator: fn(&Number, &Number) -> Result<Number, NumberError>,
    ) -> Result<Number, UpdateError> {
        match (left.value(item)?, right.value(item)?) {
            (Value::N(left), Value::N(right)) => Ok(operator(&left, &right)?),
            _ => Err(UpdateError::WrongType),
        }
    }
}

/// What a path's last step leads out of.
enum Parent<'i> {
    Map(&'i mut Item, &'i str),
    List(&'i mut Vec<Value>, usize),
}

fn parent<'i>(item: &'i mut Item, path: &'i Path) -> Result<Parent<'i>, UpdateError> {
    let (last, before) = path.0.split_last().ok_or(UpdateError::NoPath)?;
    let Some((Element::Name(head), between)) = before.split_first() else {
        return match last {
            Element::Name(name) => Ok(Parent::Map(item, name)),
            Element::Index(_) => Err(UpdateError::NoPath),
        };
    };
    let mut value = item.get_mut(head).ok_or(UpdateError::NoPath)?;
    for element in between {
        let below = match (element, value) {
            (Element::Name(name), Value::M(map)) => map.get_mut(name),
            (Element::Index(index), Value::L(list)) => list.get_mut(*index),
            _ => None,
        };
        value = below.ok_or(UpdateError::NoPath)?;
    }
    match (last, value) {
        (Element::Name(name), Value::M(map)) => Ok(Parent::Map(map, name)),
        (Element::Index(index), Value::L(list)) => Ok(Parent::List(list, *index)),
        _ => Err(UpdateError::NoPath),
    }
}

fn put(item: &mut Item, path: &Path, value: Value) -> Result<(), UpdateError> {
    match parent(item, path)? {
        Parent::Map(map, name) => {
            map.insert(name.to_owned(), value);
        }
        Parent::List(list, index) => match list.get_mut(index) {
            Some(place) => *place = value,
            None => list.push(value),
        },
    }
    Ok(())
}

fn remove(item: &mut Item, path: &Path) {
    match parent(item, path) {
        Ok(Parent::Map(map, name)) => drop(map.remove(name)),
        Ok(Parent::List(list, index)) if index < list.len() => drop(list.remove(index)),
        // What is not there need not go.
        Ok(Parent::List(..)) | Err(_) => {}
    }
}

fn existing<'i>(item: &'i mut Item, path: &'i Path) -> Result<Option<&'i mut Value>, UpdateError> {
    Ok(match parent(item, path)? {
        Parent::Map(map, name) => map.get_mut(name),
        Parent::List(list, index) => list.get_mut(index),
    })
}

fn add(item: &mut Item, path: &Path, value: &Value) -> Result<(), UpdateError> {
    let Some(there) = existing(item, path)? else { return put(item, path, value.clone()) };
    match (there, value) {
        (Value::N(there), Value::N(value)) => *there = there.plus(value)?,
        (Value::Ss(there), Value::Ss(value)) => there.extend(value.iter().cloned()),
        (Value::Ns(there), Value::Ns(value)) => there.extend(value.iter().copied()),
        (Value::Bs(there), Value::Bs(value)) => there.extend(value.iter().cloned()),
        // Only the older parameter comes here: the grammar takes no lists.
        (Value::L(there), Value::L(value)) => there.extend(value.iter().cloned()),
        _ => return Err(UpdateError::WrongType),
    }
    Ok(())
}

/// Takes elements out of a set; true when none is left.
fn delete(item: &mut Item, path: &Path, value: &Value) -> Result<bool, UpdateError> {
    let Some(there) = existing(item, path)? else { return Ok(false) };
    Ok(match (there, value) {
        (Value::Ss(there), Value::Ss(value)) => {
            there.retain(|element| !value.contains(element));
            there.is_empty()
        }
        (Value::Ns(there), Value::Ns(value)) => {
            there.retain(|element| !value.contains(element));
            there.is_empty()
        }
        (Value::Bs(there), Value::Bs(value)) => {
            there.retain(|element| !value.contains(element));
            there.is_empty()
        }
        _ => return Err(UpdateError::WrongType),
    })
}

struct Parser<'t, 'p, 'a> {
    tokens: Tokens<'t>,
    placeholders: &'p mut Placeholders<'a>,
    checks: Checks,
    paths: Vec<Path>,
    actions: Vec<Action>,
}

impl Parser<'_, '_, '_> {
    fn sections(&mut self) -> Result<(), Invalid> {
        let mut seen: BTreeMap<&str, ()> = BTreeMap::new();
        loop {
            let Some(section) = SECTIONS.into_iter().find(|section| self.tokens.take_word(section)) else {
                return Err(self.tokens.unexpected());
            };
            if seen.insert(section, ()).is_some() {
                note(&mut self.checks.section, || {
                    format!("The \"{section}\" section can only be used once in an update expression;")
                });
            }
            loop {
                self.action(section)?;
                if !self.tokens.take_symbol(",") {
                    break;
                }
            }
            if self.tokens.peek().kind == Kind::End {
                return Ok(());
            }
        }
    }

    fn action(&mut self, section: &str) -> Result<(), Invalid> {
        if at_any(&self.tokens, &SECTIONS) {
            return Err(self.tokens.unexpected());
        }
        let path = path(&mut self.tokens, self.placeholders, &mut self.checks)?;
        self.checks.operators += 1;
        self.checks.clash(&mut self.paths, path.clone());
        let action = match section {
            "SET" => {
                self.tokens.expect("=")?;
                Action::Set(path, self.source(0)?)
            }
            "REMOVE" => Action::Remove(path),
            _ => {
                if self.tokens.peek().kind != Kind::Value {
                    return Err(self.tokens.unexpected());
                }
                let operand = self.placeholder();
                let value = match operand {
                    Parsed::Value(value) => value,
                    _ => Value::Null,
                };
                self.check_operand(section, &value);
                if section == "ADD" { Action::Add(path, value) } else { Action::Delete(path, value) }
            }
        };
        self.actions.push(action);
        Ok(())
    }

    fn check_operand(&mut self, section: &str, value: &Value) {
        let r#type = value.r#type();
        let fits = r#type.is_set() || (section == "ADD" && r#type == Type::N);
        if !fits {
            note(&mut self.checks.operand, || {
                format!(
                    "Incorrect operand type for operator or function; operator: {section}, operand type: {}",
                    r#type.long_name()
                )
            });
        }
    }

    fn placeholder(&mut self) -> Parsed {
        value(&mut self.tokens, self.placeholders).unwrap_or_else(|message| {
            note(&mut self.checks.value, || message);
            Parsed::Undefined
        })
    }

    /// `operand`, `operand + operand`, `operand - operand`, perhaps in parentheses.
    fn source(&mut self, depth: usize) -> Result<Source, Invalid> {
        let left = self.operand(depth)?;
        let operator = match self.tokens.peek().text {
            "+" => "+",
            "-" => "-",
            _ => return Ok(left),
        };
        self.tokens.take();
        self.checks.operators += 1;
        let right = self.operand(depth)?;
        for side in [&left, &right] {
            self.check_side(operator, side, Type::N);
        }
        let (left, right) = (Box::new(left), Box::new(right));
        Ok(if operator == "+" { Source::Plus(left, right) } else { Source::Minus(left, right) })
    }

    fn check_side(&mut self, operator: &str, side: &Source, wanted: Type) {
        if let Source::Value(value) = side
            && value.r#type() != wanted
        {
            self.checks.wrong_type(operator, value.r#type());
        }
    }

    fn operand(&mut self, depth: usize) -> Result<Source, Invalid> {
        if self.tokens.take_symbol("(") {
            let inner = self.source(deeper(depth)?)?;
            self.tokens.expect(")")?;
            return Ok(inner);
        }
        let token = self.tokens.peek();
        match token.kind {
            Kind::Value => Ok(match self.placeholder() {
                Parsed::Value(value) => Source::Value(value),
                // Noted.
                _ => Source::Value(Value::Null),
            }),
            Kind::Word if at_any(&self.tokens, &SECTIONS) => Err(self.tokens.unexpected()),
            Kind::Word if self.tokens.ahead(1).text == "(" => self.function(depth),
            _ => Ok(Source::Path(path(&mut self.tokens, self.placeholders, &mut self.checks)?)),
        }
    }

    fn function(&mut self, depth: usize) -> Result<Source, Invalid> {
        let name = self.tokens.take().text;
        self.tokens.take();
        self.checks.operators += 1;
        let depth = deeper(depth)?;
        let mut arguments = vec![self.operand(depth)?];
        while self.tokens.take_symbol(",") {
            arguments.push(self.operand(depth)?);
        }
        self.tokens.expect(")")?;
        if !matches!(name, "if_not_exists" | "list_append") {
            note(&mut self.checks.unknown_function, || format!("Invalid function name; function: {name}"));
            return Ok(Source::Value(Value::Null));
        }
        let count = arguments.len();
        let mut arguments = arguments.into_iter();
        let (Some(left), Some(right), 2) = (arguments.next(), arguments.next(), count) else {
            note(&mut self.checks.function, || {
                format!(
                    "Incorrect number of operands for operator or function; operator or function: {name}, number of \
                     operands: {count}"
                )
            });
            return Ok(Source::Value(Value::Null));
        };
        if name == "list_append" {
            for side in [&left, &right] {
                self.check_side(name, side, Type::L);
            }
            return Ok(Source::ListAppend(Box::new(left), Box::new(right)));
        }
        match left {
            Source::Path(path) => Ok(Source::IfNotExists(path, Box::new(right))),
            _ => {
                note(&mut self.checks.function, || {
                    format!("Operator or function requires a document path; operator or function: {name}")
                });
                Ok(Source::Value(Value::Null))
            }
        }
    }
}
