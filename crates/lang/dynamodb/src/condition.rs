//! Condition and filter expressions. Guarantee: evaluation is total; what an item lacks makes a comparison false.

use std::{borrow::Cow, cmp::Ordering};

use crate::{
    Invalid, Item, Number, Path, Placeholders, Type, Value,
    parser::{Checks, Parsed, at_any, deeper, note, path, value},
    token::{Kind, Tokens},
};

/// How many operands `IN` takes (AWS: 100).
const IN_MAX: usize = 100;
const KEYWORDS: [&str; 5] = ["BETWEEN", "IN", "AND", "OR", "NOT"];

/// How two values are compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Comparator {
    /// `=`
    Equal,
    /// `<>`
    NotEqual,
    /// `<`
    Less,
    /// `<=`
    LessOrEqual,
    /// `>`
    Greater,
    /// `>=`
    GreaterOrEqual,
}

impl Comparator {
    pub(crate) fn of(symbol: &str) -> Option<Self> {
        Some(match symbol {
            "=" => Self::Equal,
            "<>" => Self::NotEqual,
            "<" => Self::Less,
            "<=" => Self::LessOrEqual,
            ">" => Self::Greater,
            ">=" => Self::GreaterOrEqual,
            _ => return None,
        })
    }

    /// As it is written.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Equal => "=",
            Self::NotEqual => "<>",
            Self::Less => "<",
            Self::LessOrEqual => "<=",
            Self::Greater => ">",
            Self::GreaterOrEqual => ">=",
        }
    }

    fn accepts(self, order: Ordering) -> bool {
        match self {
            Self::Equal => order.is_eq(),
            Self::NotEqual => order.is_ne(),
            Self::Less => order.is_lt(),
            Self::LessOrEqual => order.is_le(),
            Self::Greater => order.is_gt(),
            Self::GreaterOrEqual => order.is_ge(),
        }
    }
}

/// A condition on an item.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Condition {
    /// All of them.
    And(Vec<Condition>),
    /// One of them.
    Or(Vec<Condition>),
    /// Not it.
    Not(Box<Condition>),
    /// A comparison.
    Compare(Comparator, Operand, Operand),
    /// First is between second and third.
    Between(Operand, Operand, Operand),
    /// First equals one of the others.
    In(Operand, Vec<Operand>),
    /// There is something.
    Exists(Path),
    /// There is nothing.
    NotExists(Path),
    /// It has this type.
    HasType(Operand, Type),
    /// First begins with second.
    BeginsWith(Operand, Operand),
    /// First contains second.
    Contains(Operand, Operand),
}

/// What is compared.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Operand {
    /// What stands there.
    Path(Path),
    /// This.
    Value(Value),
    /// Its size.
    Size(Box<Operand>),
}

impl Operand {
    fn of<'a>(&'a self, item: &'a Item) -> Option<Cow<'a, Value>> {
        match self {
            Self::Path(path) => path.of(item).map(Cow::Borrowed),
            Self::Value(value) => Some(Cow::Borrowed(value)),
            Self::Size(operand) => {
                let size = match &*operand.of(item)? {
                    Value::S(text) => text.len(),
                    Value::B(bytes) => bytes.len(),
                    Value::Ss(set) => set.len(),
                    Value::Ns(set) => set.len(),
                    Value::Bs(set) => set.len(),
                    Value::L(list) => list.len(),
                    Value::M(map) => map.len(),
                    Value::N(_) | Value::Bool(_) | Value::Null => return None,
                };
                Some(Cow::Owned(Value::N(Number::from(size))))
            }
        }
    }
}

impl Condition {
    /// Reads an expression; `kind` is the parameter's name.
    ///
    /// # Errors
    /// In AWS's words.
    pub fn parse(kind: &str, text: &str, placeholders: &mut Placeholders<'_>) -> Result<Self, Invalid> {
        let mut read = || {
            let mut parser = Parser { tokens: Tokens::of(text)?, placeholders, checks: Checks::default() };
            let (term, _) = parser.or(0)?;
            let condition = parser.condition(term)?;
            parser.tokens.end()?;
            parser.checks.finish(&[
                |c| &c.parentheses,
                |c| &c.unknown_function,
                |c| &c.misused_function,
                |c| &c.reserved,
                |c| &c.condition,
            ])?;
            Ok(condition)
        };
        read().map_err(|error: Invalid| error.of(kind))
    }

    /// Whether an item satisfies it; one that is not there is empty.
    #[must_use]
    pub fn is_met(&self, item: &Item) -> bool {
        match self {
            Self::And(all) => all.iter().all(|condition| condition.is_met(item)),
            Self::Or(some) => some.iter().any(|condition| condition.is_met(item)),
            Self::Not(condition) => !condition.is_met(item),
            Self::Compare(comparator, left, right) => compare(*comparator, left.of(item), right.of(item)),
            Self::Between(operand, low, high) => {
                let (operand, low, high) = (operand.of(item), low.of(item), high.of(item));
                compare(Comparator::GreaterOrEqual, operand.clone(), low)
                    && compare(Comparator::LessOrEqual, operand, high)
            }
            Self::In(operand, others) => {
                let operand = operand.of(item);
                others.iter().any(|other| compare(Comparator::Equal, operand.clone(), other.of(item)))
            }
            Self::Exists(path) => path.of(item).is_some(),
            Self::NotExists(path) => path.of(item).is_none(),
            Self::HasType(operand, r#type) => operand.of(item).is_some_and(|value| value.r#type() == *r#type),
            Self::BeginsWith(operand, prefix) => match (operand.of(item).as_deref(), prefix.of(item).as_deref()) {
                (Some(Value::S(text)), Some(Value::S(prefix))) => text.starts_with(prefix.as_str()),
                (Some(Value::B(bytes)), Some(Value::B(prefix))) => bytes.starts_with(prefix),
                _ => false,
            },
            Self::Contains(operand, part) => match (operand.of(item).as_deref(), part.of(item).as_deref()) {
                (Some(whole), Some(part)) => contains(whole, part),
                _ => false,
            },
        }
    }

    /// Calls `visit` with every path in it.
    pub fn paths(&self, visit: &mut dyn FnMut(&Path)) {
        let mut operand = |operand: &Operand| {
            let mut operand = operand;
            while let Operand::Size(inner) = operand {
                operand = inner;
            }
            if let Operand::Path(path) = operand {
                visit(path);
            }
        };
        match self {
            Self::And(all) | Self::Or(all) => all.iter().for_each(|condition| condition.paths(visit)),
            Self::Not(condition) => condition.paths(visit),
            Self::Compare(_, left, right) | Self::BeginsWith(left, right) | Self::Contains(left, right) => {
                [left, right].into_iter().for_each(operand);
            }
            Self::Between(first, second, third) => [first, second, third].into_iter().for_each(operand),
            Self::In(first, others) => std::iter::once(first).chain(others).for_each(operand),
            Self::Exists(path) | Self::NotExists(path) => visit(path),
            Self::HasType(first, _) => operand(first),
        }
    }
}

fn compare(comparator: Comparator, left: Option<Cow<'_, Value>>, right: Option<Cow<'_, Value>>) -> bool {
    let both = left.as_deref().zip(right.as_deref());
    match comparator {
        Comparator::Equal => both.is_some_and(|(left, right)| left == right),
        Comparator::NotEqual => both.is_none_or(|(left, right)| left != right),
        _ => both.and_then(|(left, right)| left.compare(right)).is_some_and(|order| comparator.accepts(order)),
    }
}

fn contains(whole: &Value, part: &Value) -> bool {
    match (whole, part) {
        (Value::S(text), Value::S(part)) => text.contains(part.as_str()),
        (Value::B(bytes), Value::B(part)) => {
            part.is_empty() || bytes.windows(part.len()).any(|window| window == &part[..])
        }
        (Value::Ss(set), Value::S(part)) => set.contains(part),
        (Value::Ns(set), Value::N(part)) => set.contains(part),
        (Value::Bs(set), Value::B(part)) => set.contains(part),
        (Value::L(list), part) => list.contains(part),
        _ => false,
    }
}

/// A condition, or an operand that may become part of one.
enum Term {
    Condition(Condition),
    Operand(Parsed),
}

struct Parser<'t, 'p, 'a> {
    tokens: Tokens<'t>,
    placeholders: &'p mut Placeholders<'a>,
    checks: Checks,
}

impl Parser<'_, '_, '_> {
    /// What stands between parentheses, or all; and whether it is nothing but something in parentheses.
    fn or(&mut self, depth: usize) -> Result<(Term, bool), Invalid> {
        let (first, wrapped) = self.and(depth)?;
        if !self.tokens.at_word("OR") {
            return Ok((first, wrapped));
        }
        let mut all = vec![self.condition(first)?];
        while self.tokens.take_word("OR") {
            self.checks.operators += 1;
            let (next, _) = self.and(depth)?;
            all.push(self.condition(next)?);
        }
        Ok((Term::Condition(Condition::Or(all)), false))
    }

    fn and(&mut self, depth: usize) -> Result<(Term, bool), Invalid> {
        let (first, wrapped) = self.not(depth)?;
        if !self.tokens.at_word("AND") {
            return Ok((first, wrapped));
        }
        let mut all = vec![self.condition(first)?];
        while self.tokens.take_word("AND") {
            self.checks.operators += 1;
            let (next, _) = self.not(depth)?;
            all.push(self.condition(next)?);
        }
        Ok((Term::Condition(Condition::And(all)), false))
    }

    fn not(&mut self, depth: usize) -> Result<(Term, bool), Invalid> {
        if self.tokens.take_word("NOT") {
            self.checks.operators += 1;
            let (term, _) = self.not(deeper(depth)?)?;
            let condition = self.condition(term)?;
            return Ok((Term::Condition(Condition::Not(Box::new(condition))), false));
        }
        self.comparison(depth)
    }

    /// The term must be a condition: a function is one, any other operand is followed by something unexpected.
    fn condition(&mut self, term: Term) -> Result<Condition, Invalid> {
        match term {
            Term::Condition(condition) => Ok(condition),
            Term::Operand(Parsed::Function(name, arguments)) => {
                if name == "size" {
                    self.misused(&name);
                }
                self.checks.end_condition();
                Ok(function(name, arguments))
            }
            Term::Operand(_) => Err(self.tokens.unexpected()),
        }
    }

    fn misused(&mut self, name: &str) {
        note(&mut self.checks.misused_function, || {
            format!("The function is not allowed to be used this way in an expression; function: {name}")
        });
    }

    fn comparison(&mut self, depth: usize) -> Result<(Term, bool), Invalid> {
        let (left, wrapped) = match self.primary(depth)? {
            (Term::Operand(operand), wrapped) => (operand, wrapped),
            condition => return Ok(condition),
        };
        let token = self.tokens.peek();
        let condition = if token.kind == Kind::Symbol
            && let Some(comparator) = Comparator::of(token.text)
        {
            self.tokens.take();
            let right = self.operand(depth)?;
            self.compared(comparator, left, right)
        } else if self.tokens.take_word("BETWEEN") {
            self.checks.operators += 1;
            let low = self.operand(depth)?;
            if !self.tokens.take_word("AND") {
                return Err(self.tokens.unexpected());
            }
            let high = self.operand(depth)?;
            self.between(left, low, high)
        } else if self.tokens.take_word("IN") {
            self.checks.operators += 1;
            self.tokens.expect("(")?;
            let others = self.operands(depth)?;
            self.within(left, others)
        } else {
            return Ok((Term::Operand(left), wrapped));
        };
        Ok((Term::Condition(condition), false))
    }

    fn compared(&mut self, comparator: Comparator, left: Parsed, right: Parsed) -> Condition {
        self.checks.operators += 1;
        self.check_functions([&left, &right]);
        self.check_distinct(comparator.as_str(), &left, &right);
        if !matches!(comparator, Comparator::Equal | Comparator::NotEqual) {
            self.check_ordered(comparator.as_str(), [&left, &right]);
        }
        self.checks.end_condition();
        Condition::Compare(comparator, operand(left), operand(right))
    }

    fn between(&mut self, left: Parsed, low: Parsed, high: Parsed) -> Condition {
        self.check_functions([&left, &low, &high]);
        self.check_ordered("BETWEEN", [&left, &low, &high]);
        if let (Parsed::Value(from), Parsed::Value(to)) = (&low, &high) {
            let wrong = match from.compare(to) {
                Some(Ordering::Greater) => Some("upper bound to be greater than or equal to lower bound"),
                None if from.r#type() != to.r#type() => Some("same data type for lower and upper bounds"),
                _ => None,
            };
            if let Some(wrong) = wrong {
                note(&mut self.checks.function, || {
                    format!(
                        "The BETWEEN operator requires {wrong}; lower bound operand: AttributeValue: {from}, upper bound \
                         operand: AttributeValue: {to}"
                    )
                });
            }
        }
        self.checks.end_condition();
        Condition::Between(operand(left), operand(low), operand(high))
    }

    fn within(&mut self, left: Parsed, others: Vec<Parsed>) -> Condition {
        self.check_functions(std::iter::once(&left).chain(&others));
        if others.len() > IN_MAX {
            let count = others.len();
            note(&mut self.checks.operand, || {
                format!("The IN operator is provided with too many operands; number of operands: {count}")
            });
        }
        self.checks.end_condition();
        Condition::In(operand(left), others.into_iter().map(operand).collect())
    }

    /// Something in parentheses, or an operand; and whether it was in parentheses.
    fn primary(&mut self, depth: usize) -> Result<(Term, bool), Invalid> {
        if !self.tokens.take_symbol("(") {
            return Ok((Term::Operand(self.bare_operand(depth)?), false));
        }
        let (inner, wrapped) = self.or(deeper(depth)?)?;
        self.tokens.expect(")")?;
        if wrapped {
            note(&mut self.checks.parentheses, || "The expression has redundant parentheses;".to_owned());
        }
        Ok((inner, true))
    }

    /// An operand, perhaps in parentheses.
    fn operand(&mut self, depth: usize) -> Result<Parsed, Invalid> {
        if !self.tokens.take_symbol("(") {
            return self.bare_operand(depth);
        }
        let doubled = self.tokens.peek().text == "(";
        let inner = self.operand(deeper(depth)?)?;
        self.tokens.expect(")")?;
        if doubled {
            note(&mut self.checks.parentheses, || "The expression has redundant parentheses;".to_owned());
        }
        Ok(inner)
    }

    fn bare_operand(&mut self, depth: usize) -> Result<Parsed, Invalid> {
        let token = self.tokens.peek();
        match token.kind {
            Kind::Value => Ok(value(&mut self.tokens, self.placeholders).unwrap_or_else(|message| {
                note(&mut self.checks.name, || message);
                Parsed::Undefined
            })),
            Kind::Word if at_any(&self.tokens, &KEYWORDS) => Err(self.tokens.unexpected()),
            Kind::Word if self.tokens.ahead(1).text == "(" => {
                self.tokens.take();
                self.tokens.take();
                let arguments = self.operands(deeper(depth)?)?;
                self.checks.operators += 1;
                self.check_functions(&arguments);
                self.check_function(token.text, &arguments);
                Ok(Parsed::Function(token.text.to_owned(), arguments))
            }
            _ => Ok(Parsed::Path(path(&mut self.tokens, self.placeholders, &mut self.checks)?)),
        }
    }

    /// Operands up to the closing parenthesis.
    fn operands(&mut self, depth: usize) -> Result<Vec<Parsed>, Invalid> {
        let mut all = vec![self.operand(depth)?];
        while self.tokens.take_symbol(",") {
            all.push(self.operand(depth)?);
        }
        self.tokens.expect(")")?;
        Ok(all)
    }

    /// Only `size` gives something that an operator or function can take.
    fn check_functions<'o>(&mut self, operands: impl IntoIterator<Item = &'o Parsed>) {
        for operand in operands {
            if let Parsed::Function(name, _) = operand
                && name != "size"
            {
                self.misused(name);
            }
        }
    }

    fn check_ordered<'o>(&mut self, operator: &str, operands: impl IntoIterator<Item = &'o Parsed>) {
        for operand in operands {
            if let Some(r#type) = operand.immediate_type().filter(|r#type| !r#type.is_ordered()) {
                self.checks.wrong_type(operator, r#type);
            }
        }
    }

    fn check_distinct(&mut self, operator: &str, left: &Parsed, right: &Parsed) {
        if let (Parsed::Path(left), Parsed::Path(right)) = (left, right)
            && left == right
        {
            note(&mut self.checks.distinct, || {
                format!(
                    "The first operand must be distinct from the remaining operands for this operator or function; \
                     operator: {operator}, first operand: {left}"
                )
            });
        }
    }

    fn check_function(&mut self, name: &str, arguments: &[Parsed]) {
        let wanted = match name {
            "attribute_exists" | "attribute_not_exists" | "size" => 1,
            "attribute_type" | "begins_with" | "contains" => 2,
            _ => {
                return note(&mut self.checks.unknown_function, || format!("Invalid function name; function: {name}"));
            }
        };
        if arguments.len() != wanted {
            return self.checks.wrong_count(name, arguments.len());
        }
        if let [left, right] = arguments {
            self.check_distinct(name, left, right);
        }
        let types = arguments.iter().map(|argument| match argument {
            Parsed::Function(name, _) if name == "size" => Some(Type::N),
            other => other.immediate_type(),
        });
        match (name, arguments) {
            ("attribute_exists" | "attribute_not_exists", [argument]) if !matches!(argument, Parsed::Path(_)) => {
                note(&mut self.checks.function, || {
                    format!("Operator or function requires a document path; operator or function: {name}")
                });
            }
            ("begins_with", _) => {
                for r#type in types.flatten().filter(|r#type| !matches!(r#type, Type::S | Type::B)) {
                    self.checks.wrong_type(name, r#type);
                }
            }
            ("size", [argument]) => {
                let r#type = argument.immediate_type();
                if let Some(r#type) = r#type.filter(|r#type| matches!(r#type, Type::N | Type::Bool | Type::Null)) {
                    self.checks.wrong_type(name, r#type);
                }
            }
            ("attribute_type", [_, Parsed::Value(Value::S(r#type))]) if Type::named(r#type).is_none() => {
                note(&mut self.checks.function, || {
                    format!(
                        "Invalid attribute type name found; type: {type}, valid types: \
                         {{B,NULL,SS,BOOL,L,BS,N,NS,S,M}}"
                    )
                });
            }
            ("attribute_type", [_, Parsed::Value(Value::S(_)) | Parsed::Undefined]) => {}
            ("attribute_type", [_, other]) => match other.immediate_type() {
                Some(r#type) => self.checks.wrong_type(name, r#type),
                None => self.checks.wrong_type(name, "{NS,SS,L,BS,N,M,B,BOOL,NULL,S}"),
            },
            _ => {}
        }
    }
}

/// What was read as an operand. What is wrong was noted, and then the result is not used.
fn operand(parsed: Parsed) -> Operand {
    match parsed {
        Parsed::Path(path) => Operand::Path(path),
        Parsed::Value(value) => Operand::Value(value),
        Parsed::Undefined => Operand::Value(Value::Null),
        Parsed::Function(_, mut arguments) => match arguments.pop() {
            Some(argument) => Operand::Size(Box::new(operand(argument))),
            None => Operand::Value(Value::Null),
        },
    }
}

/// What was read as a function. As for [`operand`].
fn function(name: String, arguments: Vec<Parsed>) -> Condition {
    let mut arguments = arguments.into_iter();
    match (name.as_str(), arguments.next(), arguments.next()) {
        ("attribute_exists", Some(Parsed::Path(path)), None) => Condition::Exists(path),
        ("attribute_not_exists", Some(Parsed::Path(path)), None) => Condition::NotExists(path),
        ("begins_with", Some(left), Some(right)) => Condition::BeginsWith(operand(left), operand(right)),
        ("contains", Some(left), Some(right)) => Condition::Contains(operand(left), operand(right)),
        ("attribute_type", Some(left), Some(Parsed::Value(Value::S(name)))) => {
            Condition::HasType(operand(left), Type::named(&name).unwrap_or(Type::Null))
        }
        _ => Condition::Or(Vec::new()),
    }
}
