//! Conditions: the operators, the request's context, and whether a condition holds.

use std::{collections::BTreeMap, fmt, net::IpAddr, str::FromStr};

use base_types::Timestamp;
use base64::{Engine, prelude::BASE64_STANDARD};

use crate::pattern::{expand, expand_literal, matches};

/// What is known of a request: condition keys (case does not matter) and their values.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Context(BTreeMap<String, Vec<String>>);

impl Context {
    /// Nothing is known.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The same with one more value of a key.
    #[must_use]
    pub fn with(mut self, key: &str, value: impl Into<String>) -> Self {
        self.add(key, value);
        self
    }

    /// Adds a value of a key.
    pub fn add(&mut self, key: &str, value: impl Into<String>) {
        self.0.entry(key.to_ascii_lowercase()).or_default().push(value.into());
    }

    /// A key's values.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&[String]> {
        self.0.get(&key.to_ascii_lowercase()).map(Vec::as_slice)
    }
}

/// One condition: an operator over a key and the values it is compared with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Condition {
    /// For example `StringEquals`.
    pub operator: Operator,
    /// For example `aws:SourceArn`, in the case in which it was written.
    pub key: String,
    /// One is enough, unless the operator says otherwise.
    pub values: Vec<String>,
}

/// An operator with its modifiers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Operator {
    quantifier: Option<Quantifier>,
    comparison: Comparison,
    negated: bool,
    if_exists: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Quantifier {
    All,
    Any,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Comparison {
    Text {
        fold_case: bool,
    },
    Like,
    Numeric(Order),
    Date(Order),
    Bool,
    Binary,
    Ip,
    /// `ArnEquals` and `ArnLike` behave alike; the name is kept for writing.
    Arn {
        like: bool,
    },
    Null,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Order {
    Equal,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

const OPERATORS: [(&str, Comparison, bool); 29] = [
    ("StringEquals", Comparison::Text { fold_case: false }, false),
    ("StringNotEquals", Comparison::Text { fold_case: false }, true),
    ("StringEqualsIgnoreCase", Comparison::Text { fold_case: true }, false),
    ("StringNotEqualsIgnoreCase", Comparison::Text { fold_case: true }, true),
    ("StringLike", Comparison::Like, false),
    ("StringNotLike", Comparison::Like, true),
    ("NumericEquals", Comparison::Numeric(Order::Equal), false),
    ("NumericNotEquals", Comparison::Numeric(Order::Equal), true),
    ("NumericLessThan", Comparison::Numeric(Order::Less), false),
    ("NumericLessThanEquals", Comparison::Numeric(Order::LessOrEqual), false),
    ("NumericGreaterThan", Comparison::Numeric(Order::Greater), false),
    ("NumericGreaterThanEquals", Comparison::Numeric(Order::GreaterOrEqual), false),
    ("DateEquals", Comparison::Date(Order::Equal), false),
    ("DateNotEquals", Comparison::Date(Order::Equal), true),
    ("DateLessThan", Comparison::Date(Order::Less), false),
    ("DateLessThanEquals", Comparison::Date(Order::LessOrEqual), false),
    ("DateGreaterThan", Comparison::Date(Order::Greater), false),
    ("DateGreaterThanEquals", Comparison::Date(Order::GreaterOrEqual), false),
    ("Bool", Comparison::Bool, false),
    ("BoolNotEquals", Comparison::Bool, true),
    ("BinaryEquals", Comparison::Binary, false),
    ("BinaryNotEquals", Comparison::Binary, true),
    ("IpAddress", Comparison::Ip, false),
    ("NotIpAddress", Comparison::Ip, true),
    ("ArnEquals", Comparison::Arn { like: false }, false),
    ("ArnNotEquals", Comparison::Arn { like: false }, true),
    ("ArnLike", Comparison::Arn { like: true }, false),
    ("ArnNotLike", Comparison::Arn { like: true }, true),
    ("Null", Comparison::Null, false),
];

/// There is no such operator.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a condition operator")]
pub struct UnknownOperator(pub String);

impl FromStr for Operator {
    type Err = UnknownOperator;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (quantifier, rest) = match text.split_once(':') {
            Some(("ForAllValues", rest)) => (Some(Quantifier::All), rest),
            Some(("ForAnyValue", rest)) => (Some(Quantifier::Any), rest),
            Some(_) => return Err(UnknownOperator(text.to_owned())),
            None => (None, text),
        };
        let (name, if_exists) = rest.strip_suffix("IfExists").map_or((rest, false), |name| (name, true));
        let known = OPERATORS.iter().find(|(known, ..)| *known == name);
        let Some(&(_, comparison, negated)) = known else {
            return Err(UnknownOperator(text.to_owned()));
        };
        if comparison == Comparison::Null && (if_exists || quantifier.is_some()) {
            return Err(UnknownOperator(text.to_owned()));
        }
        Ok(Self { quantifier, comparison, negated, if_exists })
    }
}

impl fmt::Display for Operator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.quantifier {
            Some(Quantifier::All) => "ForAllValues:",
            Some(Quantifier::Any) => "ForAnyValue:",
            None => "",
        })?;
        let name = OPERATORS
            .iter()
            .find(|(_, comparison, negated)| *comparison == self.comparison && *negated == self.negated)
            .map_or("", |(name, ..)| name);
        f.write_str(name)?;
        f.write_str(if self.if_exists { "IfExists" } else { "" })
    }
}

impl Condition {
    /// `{"<operator>": {"<key>": "<value>"}}`.
    ///
    /// # Errors
    /// When there is no such operator.
    pub fn new(operator: &str, key: &str, value: impl Into<String>) -> Result<Self, UnknownOperator> {
        Ok(Self { operator: operator.parse()?, key: key.to_owned(), values: vec![value.into()] })
    }

    /// Why the values cannot be what the operator compares, if so. Values with variables are judged when they are known.
    pub(crate) fn problem(&self) -> Option<String> {
        let due = match self.operator.comparison {
            Comparison::Text { .. } | Comparison::Like | Comparison::Arn { .. } => return None,
            Comparison::Numeric(_) => "a number",
            Comparison::Date(_) => "a date",
            Comparison::Bool | Comparison::Null => "`true` or `false`",
            Comparison::Binary => "base64",
            Comparison::Ip => "an address or a CIDR block",
        };
        let fits = |value: &str| match self.operator.comparison {
            Comparison::Text { .. } | Comparison::Like | Comparison::Arn { .. } => true,
            Comparison::Numeric(_) => number(value).is_some(),
            Comparison::Date(_) => date(value).is_some(),
            Comparison::Bool | Comparison::Null => boolean(value).is_some(),
            Comparison::Binary => BASE64_STANDARD.decode(value).is_ok(),
            Comparison::Ip => block(value).is_some(),
        };
        self.values
            .iter()
            .find(|value| !value.contains("${") && !fits(value))
            .map(|value| format!("compares `{}` with {due}, which `{value}` is not", self.key))
    }

    /// Whether the condition holds. `variables` says whether the language's version has policy variables.
    pub(crate) fn holds(&self, context: &Context, variables: bool) -> bool {
        let known = context.get(&self.key).filter(|values| !values.is_empty());
        if self.operator.comparison == Comparison::Null {
            return self.values.iter().any(|value| boolean(value) == Some(known.is_none()));
        }
        let Some(values) = known else {
            return match self.operator.quantifier {
                _ if self.operator.if_exists => true,
                Some(Quantifier::All) => true,
                Some(Quantifier::Any) => false,
                None => self.operator.negated,
            };
        };
        let variables = variables.then_some(context);
        let one_matches = |value: &String| {
            self.values.iter().any(|wanted| self.compare(value, wanted, variables)) != self.operator.negated
        };
        match self.operator.quantifier {
            Some(Quantifier::All) => values.iter().all(one_matches),
            Some(Quantifier::Any) => values.iter().any(one_matches),
            // Without a quantifier several values are one set: negation means that none of them matches.
            None if self.operator.negated => values.iter().all(one_matches),
            None => values.iter().any(one_matches),
        }
    }

    fn compare(&self, value: &str, wanted: &str, variables: Option<&Context>) -> bool {
        if self.operator.comparison == Comparison::Like {
            let text: Vec<char> = value.chars().collect();
            return expand(wanted, variables).is_some_and(|tokens| matches(&tokens, &text, false));
        }
        if let Comparison::Arn { .. } = self.operator.comparison {
            return arn_matches(value, wanted, variables);
        }
        let Some(wanted) = expand_literal(wanted, variables) else {
            return false;
        };
        match self.operator.comparison {
            Comparison::Text { fold_case: false } => value == wanted,
            Comparison::Text { fold_case: true } => value.to_lowercase() == wanted.to_lowercase(),
            Comparison::Numeric(order) => {
                number(value).zip(number(&wanted)).is_some_and(|(value, wanted)| order.holds(&value, &wanted))
            }
            Comparison::Date(order) => {
                date(value).zip(date(&wanted)).is_some_and(|(value, wanted)| order.holds(&value, &wanted))
            }
            Comparison::Bool => boolean(value).is_some() && boolean(value) == boolean(&wanted),
            Comparison::Binary => {
                let decoded = |text: &str| BASE64_STANDARD.decode(text).ok();
                decoded(value).is_some() && decoded(value) == decoded(&wanted)
            }
            Comparison::Ip => {
                value.parse::<IpAddr>().ok().zip(block(&wanted)).is_some_and(|(address, block)| within(address, block))
            }
            Comparison::Like | Comparison::Arn { .. } | Comparison::Null => false,
        }
    }
}

impl Order {
    fn holds<T: PartialOrd>(self, value: &T, wanted: &T) -> bool {
        match self {
            Self::Equal => value == wanted,
            Self::Less => value < wanted,
            Self::LessOrEqual => value <= wanted,
            Self::Greater => value > wanted,
            Self::GreaterOrEqual => value >= wanted,
        }
    }
}

/// Each of the six parts is compared on its own, so that a wildcard does not reach over a colon (but in the last part).
fn arn_matches(value: &str, wanted: &str, variables: Option<&Context>) -> bool {
    let mut parts = value.splitn(6, ':');
    let mut wanted_parts = wanted.splitn(6, ':');
    loop {
        match (parts.next(), wanted_parts.next()) {
            (None, None) => return true,
            (Some(part), Some(wanted)) => {
                let text: Vec<char> = part.chars().collect();
                if !expand(wanted, variables).is_some_and(|tokens| matches(&tokens, &text, false)) {
                    return false;
                }
            }
            _ => return wanted == "*",
        }
    }
}

fn number(text: &str) -> Option<f64> {
    text.trim().parse().ok().filter(|number: &f64| number.is_finite())
}

/// A date, a date with a time, or seconds since 1970.
fn date(text: &str) -> Option<Timestamp> {
    if let Some(seconds) = number(text) {
        return Timestamp::from_seconds(seconds).ok();
    }
    let day_only = text.len() == 10;
    let text = if day_only { format!("{text}T00:00:00Z") } else { text.to_owned() };
    Timestamp::parse_iso8601(&text).ok()
}

fn boolean(text: &str) -> Option<bool> {
    if text.eq_ignore_ascii_case("true") {
        Some(true)
    } else if text.eq_ignore_ascii_case("false") {
        Some(false)
    } else {
        None
    }
}

/// A CIDR block; a bare address is a block of one.
fn block(text: &str) -> Option<(IpAddr, u32)> {
    let (address, length) = text.split_once('/').map_or((text, None), |(address, length)| (address, Some(length)));
    let address: IpAddr = address.parse().ok()?;
    let most = if address.is_ipv4() { 32 } else { 128 };
    let length = length.map_or(Some(most), |text| text.parse().ok())?;
    (length <= most).then_some((address, length))
}

fn within(address: IpAddr, (network, length): (IpAddr, u32)) -> bool {
    match (address.to_canonical(), network) {
        (IpAddr::V4(address), IpAddr::V4(network)) => {
            let mask = u32::MAX.checked_shl(32 - length).unwrap_or(0);
            address.to_bits() & mask == network.to_bits() & mask
        }
        (IpAddr::V6(address), IpAddr::V6(network)) => {
            let mask = u128::MAX.checked_shl(128 - length).unwrap_or(0);
            address.to_bits() & mask == network.to_bits() & mask
        }
        _ => false,
    }
}
