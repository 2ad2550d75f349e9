//! What the grammars of all expressions share: paths, placeholders, functions' operands, and the order in which AWS
//! reports what is wrong.
//!
//! An expression that has the wrong form is reported first; what is wrong with its meaning is noted while it is read, the
//! first of each sort, and one of them reported at the end: each grammar has its own order of the sorts.

use crate::{
    Element, Invalid, Path, Placeholders, Type, Value, is_reserved,
    path::Clash,
    token::{Kind, Tokens, is_word},
};

/// How many operators and functions an expression may have (AWS: 300).
pub(crate) const OPERATORS_MAX: usize = 300;
/// How deep its parts may stand in each other.
pub(crate) const DEPTH_MAX: usize = 100;
/// The greatest index of a list.
const INDEX_MAX: usize = i32::MAX as usize;

/// What was found wrong, the first of each sort.
#[derive(Debug, Default)]
pub(crate) struct Checks {
    pub(crate) parentheses: Option<String>,
    pub(crate) unknown_function: Option<String>,
    pub(crate) misused_function: Option<String>,
    pub(crate) reserved: Option<String>,
    pub(crate) section: Option<String>,
    pub(crate) name: Option<String>,
    pub(crate) value: Option<String>,
    pub(crate) overlap: Option<String>,
    pub(crate) conflict: Option<String>,
    pub(crate) operand: Option<String>,
    pub(crate) distinct: Option<String>,
    pub(crate) function: Option<String>,
    /// The first of some sorts, of the first condition that has one.
    pub(crate) condition: Option<String>,
    pub(crate) operators: usize,
}

impl Checks {
    /// Reports the first of these sorts.
    pub(crate) fn finish(&self, order: &[fn(&Self) -> &Option<String>]) -> Result<(), Invalid> {
        if self.operators > OPERATORS_MAX {
            let count = self.operators;
            return Err(Invalid(format!("The expression contains too many operators; operator count: {count}")));
        }
        match order.iter().find_map(|sort| sort(self).clone()) {
            Some(message) => Err(Invalid(message)),
            None => Ok(()),
        }
    }

    /// A condition is complete: its first failure counts.
    pub(crate) fn end_condition(&mut self) {
        if self.condition.is_none() {
            let sorts = [&self.name, &self.operand, &self.distinct, &self.function];
            self.condition = sorts.into_iter().find_map(Clone::clone);
        }
    }

    /// Adds a path to those before it, with which it may clash.
    pub(crate) fn clash(&mut self, paths: &mut Vec<Path>, path: Path) {
        for before in paths.iter() {
            let Some(clash) = before.clash(&path) else { continue };
            let (place, verb) = match clash {
                Clash::Overlap => (&mut self.overlap, "overlap"),
                Clash::Conflict => (&mut self.conflict, "conflict"),
            };
            note(place, || {
                format!(
                    "Two document paths {verb} with each other; must remove or rewrite one of these paths; \
                     path one: {before}, path two: {path}"
                )
            });
        }
        paths.push(path);
    }

    /// Notes a type that an operator does not take.
    pub(crate) fn wrong_type(&mut self, operator: &str, r#type: impl std::fmt::Display) {
        note(&mut self.function, || {
            format!(
                "Incorrect operand type for operator or function; operator or function: {operator}, operand type: {type}"
            )
        });
    }

    /// Notes a wrong number of operands.
    pub(crate) fn wrong_count(&mut self, function: &str, count: usize) {
        note(&mut self.operand, || {
            format!(
                "Incorrect number of operands for operator or function; operator or function: {function}, number of \
                 operands: {count}"
            )
        });
    }
}

/// Keeps the first.
pub(crate) fn note(place: &mut Option<String>, message: impl FnOnce() -> String) {
    if place.is_none() {
        *place = Some(message());
    }
}

/// An operand as it is written.
#[derive(Clone, Debug)]
pub(crate) enum Parsed {
    Path(Path),
    Value(Value),
    /// A value that is not defined: noted.
    Undefined,
    Function(String, Vec<Parsed>),
}

impl Parsed {
    /// The type, of a value.
    pub(crate) fn immediate_type(&self) -> Option<Type> {
        match self {
            Self::Value(value) => Some(value.r#type()),
            _ => None,
        }
    }
}

/// `a.b[1].#c`.
pub(crate) fn path(
    tokens: &mut Tokens<'_>,
    placeholders: &mut Placeholders<'_>,
    checks: &mut Checks,
) -> Result<Path, Invalid> {
    let mut elements = vec![identifier(tokens, placeholders, checks)?];
    loop {
        if tokens.take_symbol(".") {
            elements.push(identifier(tokens, placeholders, checks)?);
        } else if tokens.take_symbol("[") {
            let digits = tokens.peek();
            if digits.kind != Kind::Digits {
                return Err(tokens.unexpected());
            }
            tokens.take();
            tokens.expect("]")?;
            match digits.text.parse() {
                Ok(index) if index <= INDEX_MAX => elements.push(Element::Index(index)),
                _ => {
                    let message = || format!("List index is not within the allowable range; index: [{}]", digits.text);
                    note(&mut checks.name, message);
                }
            }
        } else {
            return Ok(Path(elements));
        }
    }
}

fn identifier(
    tokens: &mut Tokens<'_>,
    placeholders: &mut Placeholders<'_>,
    checks: &mut Checks,
) -> Result<Element, Invalid> {
    let token = tokens.peek();
    let name = match token.kind {
        Kind::Word => {
            if is_reserved(token.text) {
                note(&mut checks.reserved, || {
                    format!("Attribute name is a reserved keyword; reserved keyword: {}", token.text)
                });
            }
            token.text
        }
        Kind::Name => placeholders.name(token.text).unwrap_or_else(|| {
            note(&mut checks.name, || {
                format!(
                    "An expression attribute name used in the document path is not defined; attribute name: {}",
                    token.text
                )
            });
            token.text
        }),
        _ => return Err(tokens.unexpected()),
    };
    tokens.take();
    Ok(Element::Name(name.to_owned()))
}

/// `:value`.
pub(crate) fn value(tokens: &mut Tokens<'_>, placeholders: &mut Placeholders<'_>) -> Result<Parsed, String> {
    let token = tokens.take();
    placeholders.value(token.text).map(|value| Parsed::Value(value.clone())).ok_or_else(|| {
        format!("An expression attribute value used in expression is not defined; attribute value: {}", token.text)
    })
}

/// Whether the next token is one of these words.
pub(crate) fn at_any(tokens: &Tokens<'_>, words: &[&str]) -> bool {
    words.iter().any(|word| is_word(tokens.peek(), word))
}

/// The depth of what is being read.
pub(crate) fn deeper(depth: usize) -> Result<usize, Invalid> {
    if depth >= DEPTH_MAX {
        return Err(Invalid(format!("The expression is nested too deeply; maximum depth: {DEPTH_MAX}")));
    }
    Ok(depth + 1)
}
