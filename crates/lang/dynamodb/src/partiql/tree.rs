//! Expressions as trees, as they are written; what they mean is [`super::meaning`]'s matter. Guarantee: depth is bounded.

use super::{
    malformed,
    token::{At, Kind, Token},
};
use crate::{Element, Invalid, Path, parser::OPERATORS_MAX};

/// How deep parts of a statement may stand in each other.
const DEPTH_MAX: usize = 64;
const MISSING_RIGHT: &str = "Missing right-hand side expression of infix operator";
/// Words that stand between operands.
const OPERATORS: [&str; 6] = ["and", "or", "in", "between", "like", "is"];
/// The names of types that `IS` knows, of one word or two.
const TYPES: [&str; 31] = [
    "missing",
    "null",
    "bool",
    "boolean",
    "smallint",
    "int",
    "int2",
    "int4",
    "int8",
    "integer",
    "bigint",
    "float",
    "real",
    "double",
    "decimal",
    "numeric",
    "timestamp",
    "date",
    "time",
    "char",
    "character",
    "varchar",
    "string",
    "symbol",
    "clob",
    "blob",
    "struct",
    "tuple",
    "list",
    "sexp",
    "bag",
];

/// A part of a statement.
#[derive(Clone, Debug)]
pub(super) struct Tree {
    pub(super) node: Node,
    pub(super) at: At,
}

#[derive(Clone, Debug)]
pub(super) enum Node {
    Path(Path),
    Text(String),
    /// As it is written; the sign is part of it.
    Number(String),
    Bool(bool),
    Null,
    Missing,
    /// The position among the parameters, from 0.
    Parameter(usize),
    List(Vec<Tree>),
    Bag(Vec<Tree>),
    Struct(Vec<(Tree, Tree)>),
    /// Its name is in lower case.
    Call(String, Vec<Tree>),
    Binary(&'static str, Box<Tree>, Box<Tree>),
    Not(Box<Tree>),
    Between(Box<Tree>, Box<Tree>, Box<Tree>),
    /// Whether it has this type.
    Is(Box<Tree>, String),
}

impl Node {
    /// What AWS calls an operation that is no statement.
    pub(super) fn operation(&self) -> &'static str {
        match self {
            Self::Path(_) => "Path",
            Self::Text(_) | Self::Number(_) | Self::Bool(_) | Self::Null => "Literal",
            Self::Missing => "LiteralMissing",
            Self::Parameter(_) => "Parameter",
            Self::List(_) | Self::Bag(_) => "Seq",
            Self::Struct(_) => "Struct",
            Self::Call(..) => "Call",
            Self::Binary(..) | Self::Not(_) | Self::Between(..) => "NAry",
            Self::Is(..) => "IsType",
        }
    }
}

/// Tokens and how far they were read.
pub(super) struct Parser {
    pub(super) tokens: Vec<Token>,
    pub(super) next: usize,
    pub(super) parameters: usize,
    /// Operators that stand between operands: a chain of them is as deep as it is long.
    pub(super) operators: usize,
}

impl Parser {
    pub(super) fn peek(&self) -> &Token {
        self.ahead(0)
    }

    pub(super) fn ahead(&self, by: usize) -> &Token {
        &self.tokens[(self.next + by).min(self.tokens.len() - 1)]
    }

    pub(super) fn take(&mut self) -> Token {
        let token = self.peek().clone();
        self.next = (self.next + 1).min(self.tokens.len() - 1);
        token
    }

    pub(super) fn at_symbol(&self, symbol: &str) -> bool {
        self.peek().kind == Kind::Symbol && self.peek().text == symbol
    }

    pub(super) fn take_symbol(&mut self, symbol: &str) -> bool {
        let found = self.at_symbol(symbol);
        if found {
            self.take();
        }
        found
    }

    pub(super) fn at_word(&self, word: &str) -> bool {
        matches!(self.peek().kind, Kind::Word | Kind::Keyword) && self.peek().text.eq_ignore_ascii_case(word)
    }

    pub(super) fn take_word(&mut self, word: &str) -> bool {
        let found = self.at_word(word);
        if found {
            self.take();
        }
        found
    }

    /// Whether nothing follows.
    pub(super) fn at_end(&self) -> bool {
        self.peek().kind == Kind::End || self.at_symbol(";")
    }

    fn expect(&mut self, symbol: &str, name: &str) -> Result<(), Invalid> {
        if self.take_symbol(symbol) { Ok(()) } else { Err(malformed(&format!("Expected {name}"))) }
    }

    /// An expression.
    pub(super) fn expression(&mut self, depth: usize) -> Result<Tree, Invalid> {
        let mut left = self.conjunction(deeper(depth)?)?;
        while self.at_word("or") {
            let at = self.take().at;
            let right = self.right(depth, Self::conjunction)?;
            left = binary("or", at, left, right);
        }
        Ok(left)
    }

    fn conjunction(&mut self, depth: usize) -> Result<Tree, Invalid> {
        let mut left = self.negation(depth)?;
        while self.at_word("and") {
            let at = self.take().at;
            let right = self.right(depth, Self::negation)?;
            left = binary("and", at, left, right);
        }
        Ok(left)
    }

    fn right(
        &mut self,
        depth: usize,
        read: impl Fn(&mut Self, usize) -> Result<Tree, Invalid>,
    ) -> Result<Tree, Invalid> {
        if self.at_end() {
            return Err(malformed(MISSING_RIGHT));
        }
        self.operators += 1;
        if self.operators > OPERATORS_MAX {
            return Err(Invalid(format!(
                "The expression contains too many operators; operator count: {}",
                self.operators
            )));
        }
        read(self, depth)
    }

    fn negation(&mut self, depth: usize) -> Result<Tree, Invalid> {
        if self.at_word("not") {
            let at = self.take().at;
            let inner = self.negation(deeper(depth)?)?;
            return Ok(Tree { node: Node::Not(Box::new(inner)), at });
        }
        self.comparison(depth)
    }

    fn comparison(&mut self, depth: usize) -> Result<Tree, Invalid> {
        let left = self.sum(depth)?;
        let token = self.peek().clone();
        if token.kind == Kind::Symbol {
            let operator = match token.text.as_str() {
                "=" => "=",
                "<>" | "!=" => "<>",
                "<" => "<",
                "<=" => "<=",
                ">" => ">",
                ">=" => ">=",
                _ => return Ok(left),
            };
            self.take();
            let right = self.right(depth, Self::sum)?;
            return Ok(binary(operator, token.at, left, right));
        }
        let negated = self.at_word("not")
            && ["in", "between", "like"].into_iter().any(|word| self.ahead(1).text.eq_ignore_ascii_case(word));
        if negated {
            self.take();
        }
        let found = if self.take_word("in") {
            let right = self.right(depth, Self::sum)?;
            binary("in", token.at, left, right)
        } else if self.take_word("between") {
            let low = self.right(depth, Self::sum)?;
            if !self.take_word("and") {
                return Err(malformed("Expected AND after BETWEEN"));
            }
            let high = self.right(depth, Self::sum)?;
            Tree { node: Node::Between(Box::new(left), Box::new(low), Box::new(high)), at: token.at }
        } else if self.take_word("like") {
            let right = self.right(depth, Self::sum)?;
            binary("like", token.at, left, right)
        } else if self.take_word("is") {
            return self.r#type(left, token.at);
        } else {
            return Ok(left);
        };
        Ok(if negated { Tree { at: token.at, node: Node::Not(Box::new(found)) } } else { found })
    }

    fn r#type(&mut self, left: Tree, at: At) -> Result<Tree, Invalid> {
        let negated = self.take_word("not");
        let name = self.peek().text.to_ascii_lowercase();
        let is_word = matches!(self.peek().kind, Kind::Word | Kind::Keyword);
        if !is_word || !TYPES.contains(&name.as_str()) {
            return Err(malformed("Expected type name"));
        }
        self.take();
        if (name == "double" && self.at_word("precision")) || (name == "character" && self.at_word("varying")) {
            self.take();
        }
        let tree = Tree { node: Node::Is(Box::new(left), name), at };
        Ok(if negated { Tree { node: Node::Not(Box::new(tree)), at } } else { tree })
    }

    /// What can stand on one side of a comparison.
    pub(super) fn sum(&mut self, depth: usize) -> Result<Tree, Invalid> {
        let mut left = self.product(deeper(depth)?)?;
        loop {
            let operator = match self.peek() {
                Token { kind: Kind::Symbol, text, .. } if text == "+" => "+",
                Token { kind: Kind::Symbol, text, .. } if text == "-" => "-",
                Token { kind: Kind::Symbol, text, .. } if text == "||" => "||",
                _ => return Ok(left),
            };
            let at = self.take().at;
            let right = self.right(depth, Self::product)?;
            left = binary(operator, at, left, right);
        }
    }

    fn product(&mut self, depth: usize) -> Result<Tree, Invalid> {
        let mut left = self.term(depth)?;
        loop {
            let operator = match self.peek() {
                Token { kind: Kind::Symbol, text, .. } if text == "*" => "*",
                Token { kind: Kind::Symbol, text, .. } if text == "/" => "/",
                Token { kind: Kind::Symbol, text, .. } if text == "%" => "%",
                _ => return Ok(left),
            };
            let at = self.take().at;
            let right = self.right(depth, Self::term)?;
            left = binary(operator, at, left, right);
        }
    }

    fn term(&mut self, depth: usize) -> Result<Tree, Invalid> {
        let token = self.peek().clone();
        let at = token.at;
        let leaf = |node| Ok(Tree { node, at });
        match token.kind {
            Kind::Text => {
                self.take();
                leaf(Node::Text(token.text))
            }
            Kind::Number => {
                self.take();
                check_number(&token.text)?;
                leaf(Node::Number(token.text))
            }
            Kind::Parameter => {
                self.take();
                self.parameters += 1;
                leaf(Node::Parameter(self.parameters - 1))
            }
            Kind::Word | Kind::Keyword if self.ahead(1).text == "(" && self.ahead(1).kind == Kind::Symbol => {
                self.call(&token, depth)
            }
            Kind::Word | Kind::Quoted => Ok(Tree { node: Node::Path(self.path()?), at }),
            Kind::Keyword => {
                let word = token.text.to_ascii_lowercase();
                let node = match word.as_str() {
                    "true" => Node::Bool(true),
                    "false" => Node::Bool(false),
                    "null" => Node::Null,
                    "missing" => Node::Missing,
                    word if OPERATORS.contains(&word) => return Err(malformed("Unexpected operator")),
                    _ => return Err(malformed("Unexpected keyword")),
                };
                self.take();
                leaf(node)
            }
            Kind::Symbol => self.composed(&token, depth),
            Kind::End => Err(malformed("Unexpected term")),
        }
    }

    fn composed(&mut self, token: &Token, depth: usize) -> Result<Tree, Invalid> {
        let (at, depth) = (token.at, deeper(depth)?);
        match token.text.as_str() {
            "(" => {
                self.take();
                let inner = self.expression(depth)?;
                if !self.at_symbol(",") {
                    self.expect(")", "RIGHT_PAREN")?;
                    return Ok(inner);
                }
                let mut all = vec![inner];
                while self.take_symbol(",") {
                    all.push(self.expression(depth)?);
                }
                self.expect(")", "RIGHT_PAREN")?;
                Ok(Tree { node: Node::List(all), at })
            }
            "[" => {
                self.take();
                Ok(Tree { node: Node::List(self.items("]", "RIGHT_BRACKET", depth)?), at })
            }
            "<<" => {
                self.take();
                Ok(Tree { node: Node::Bag(self.items(">>", "RIGHT_DOUBLE_ANGLE_BRACKET", depth)?), at })
            }
            "{" => {
                self.take();
                let mut entries = Vec::new();
                while !self.at_symbol("}") {
                    if !entries.is_empty() {
                        self.expect(",", "COMMA")?;
                    }
                    let name = self.sum(depth)?;
                    self.expect(":", "COLON")?;
                    entries.push((name, self.expression(depth)?));
                }
                self.take();
                Ok(Tree { node: Node::Struct(entries), at })
            }
            sign @ ("-" | "+") if self.ahead(1).kind == Kind::Number => {
                self.take();
                let number = self.take().text;
                check_number(&number)?;
                let number = if sign == "-" { format!("-{number}") } else { number };
                Ok(Tree { node: Node::Number(number), at })
            }
            "=" | "<>" | "!=" | "<" | "<=" | ">" | ">=" | "+" | "-" | "*" | "/" | "%" | "||" => {
                Err(malformed("Unexpected operator"))
            }
            _ => Err(malformed("Unexpected term")),
        }
    }

    fn items(&mut self, end: &str, name: &str, depth: usize) -> Result<Vec<Tree>, Invalid> {
        let mut all = Vec::new();
        while !self.at_symbol(end) {
            if !all.is_empty() {
                self.expect(",", name)?;
            }
            all.push(self.expression(depth)?);
        }
        self.take();
        Ok(all)
    }

    fn call(&mut self, name: &Token, depth: usize) -> Result<Tree, Invalid> {
        let depth = deeper(depth)?;
        let lower = name.text.to_ascii_lowercase();
        // Words that begin something are no functions, except for the one that looks like it.
        let reserved = name.kind == Kind::Keyword && lower != "exists";
        if reserved && (OPERATORS.contains(&lower.as_str()) || lower == "not") {
            return Err(malformed("Unexpected operator"));
        }
        if reserved {
            return Err(malformed("Unexpected keyword"));
        }
        self.take();
        self.take();
        let arguments = self.items(")", "RIGHT_PAREN", depth)?;
        Ok(Tree { node: Node::Call(lower, arguments), at: name.at })
    }

    /// `a.b[1]."c"['d']`.
    pub(super) fn path(&mut self) -> Result<Path, Invalid> {
        let mut elements = vec![Element::Name(self.take().text)];
        loop {
            if self.take_symbol(".") {
                let token = self.take();
                match token.kind {
                    Kind::Word | Kind::Quoted => elements.push(Element::Name(token.text)),
                    _ => return Err(malformed("Invalid path dot component")),
                }
            } else if self.take_symbol("[") {
                let token = self.take();
                elements.push(match token.kind {
                    Kind::Number => match token.text.parse::<u32>() {
                        Ok(index) if index <= i32::MAX as u32 => Element::Index(index as usize),
                        _ => {
                            return Err(Invalid(format!(
                                "List index is not within the allowable range; index: [{}]",
                                token.text
                            )));
                        }
                    },
                    Kind::Text => Element::Name(token.text),
                    _ => return Err(Invalid(format!("Unexpected path component at {}", token.at))),
                });
                self.expect("]", "RIGHT_BRACKET")?;
            } else {
                return Ok(Path(elements));
            }
        }
    }
}

fn binary(operator: &'static str, at: At, left: Tree, right: Tree) -> Tree {
    Tree { node: Node::Binary(operator, Box::new(left), Box::new(right)), at }
}

fn deeper(depth: usize) -> Result<usize, Invalid> {
    if depth >= DEPTH_MAX { Err(malformed("The statement is nested too deeply")) } else { Ok(depth + 1) }
}

/// AWS reads numbers with a scale of 32 bits; what has no such scale is no number.
fn check_number(text: &str) -> Result<(), Invalid> {
    let (digits, exponent) = text.split_once(['e', 'E']).unwrap_or((text, "0"));
    let fraction = digits.split_once('.').map_or(0, |(_, fraction)| fraction.len());
    let scale = exponent.parse::<i32>().ok().map(|exponent| fraction as i64 - i64::from(exponent));
    match scale.map(i32::try_from) {
        Some(Ok(_)) => Ok(()),
        _ => Err(malformed("")),
    }
}
