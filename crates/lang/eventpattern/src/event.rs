//! An event, prepared for matching: names with dots are paths, and every value can be found by its path.

use std::collections::{BTreeMap, HashMap};

use serde_json::Value;

use crate::DEPTH_MAX;

/// A value that is neither an object nor an array.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Scalar {
    Text(String),
    Number(f64),
    Bool(bool),
    Null,
}

impl Scalar {
    /// A key under which equal values, and those only, are found.
    pub(crate) fn key(&self) -> String {
        match self {
            Self::Text(text) => format!("\"{text}"),
            // Negative zero equals zero.
            Self::Number(number) => format!("#{:x}", (number + 0.0).to_bits()),
            Self::Bool(true) => "t".to_owned(),
            Self::Bool(false) => "f".to_owned(),
            Self::Null => "n".to_owned(),
        }
    }
}

/// A part of an event.
#[derive(Clone, Debug)]
pub(crate) enum Node {
    Scalar(Scalar),
    Array(Vec<Node>),
    Object(BTreeMap<String, Node>),
}

/// An event that patterns are matched against.
#[derive(Clone, Debug)]
pub struct Event {
    pub(crate) root: Node,
    pub(crate) leaves: HashMap<String, Vec<Scalar>>,
}

impl Event {
    /// Prepares a document. What lies deeper than [`DEPTH_MAX`] is not there for patterns, which cannot name it either.
    #[must_use]
    pub fn new(document: &Value) -> Self {
        let root = node(document, 0);
        let mut leaves = HashMap::new();
        collect(&root, &mut String::new(), &mut leaves);
        Self { root, leaves }
    }
}

fn node(value: &Value, depth: usize) -> Node {
    match value {
        Value::String(text) => Node::Scalar(Scalar::Text(text.clone())),
        Value::Number(number) => Node::Scalar(Scalar::Number(number.as_f64().unwrap_or(f64::NAN))),
        Value::Bool(is) => Node::Scalar(Scalar::Bool(*is)),
        Value::Null => Node::Scalar(Scalar::Null),
        Value::Array(_) | Value::Object(_) if depth >= DEPTH_MAX => Node::Array(Vec::new()),
        Value::Array(items) => Node::Array(items.iter().map(|item| node(item, depth + 1)).collect()),
        Value::Object(members) => {
            let mut object = BTreeMap::new();
            for (name, member) in members {
                let path: Vec<&str> = name.split('.').take(DEPTH_MAX).collect();
                put(&mut object, &path, node(member, depth + path.len()));
            }
            Node::Object(object)
        }
    }
}

/// Puts a value below a path; two values of one path are both there.
fn put(object: &mut BTreeMap<String, Node>, path: &[&str], value: Node) {
    let Some((first, rest)) = path.split_first() else { return };
    let value = if rest.is_empty() {
        value
    } else {
        let mut inner = BTreeMap::new();
        put(&mut inner, rest, value);
        Node::Object(inner)
    };
    match object.remove(*first) {
        None => {
            object.insert((*first).to_owned(), value);
        }
        Some(there) => {
            object.insert((*first).to_owned(), merge(there, value));
        }
    }
}

fn merge(there: Node, more: Node) -> Node {
    match (there, more) {
        (Node::Object(mut there), Node::Object(more)) => {
            for (name, value) in more {
                put(&mut there, &[&name], value);
            }
            Node::Object(there)
        }
        (there, more) => Node::Array(vec![there, more]),
    }
}

fn collect(node: &Node, path: &mut String, leaves: &mut HashMap<String, Vec<Scalar>>) {
    match node {
        Node::Scalar(scalar) => leaves.entry(path.clone()).or_default().push(scalar.clone()),
        Node::Array(items) => items.iter().for_each(|item| collect(item, path, leaves)),
        Node::Object(members) => {
            for (name, member) in members {
                let length = path.len();
                if length > 0 {
                    path.push('.');
                }
                path.push_str(name);
                collect(member, path, leaves);
                path.truncate(length);
            }
        }
    }
}
