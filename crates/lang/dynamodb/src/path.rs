//! Document paths, and projections of items onto some of them.

use std::{collections::BTreeMap, fmt};

use crate::{
    Invalid, Item, Placeholders, Value,
    parser::{Checks, path},
    token::Tokens,
};

/// A step of a path.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Element {
    /// An attribute, or a map's entry.
    Name(String),
    /// A list's item.
    Index(usize),
}

/// A document path: a name, then names and indexes.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Path(pub(crate) Vec<Element>);

impl Path {
    /// The attribute of this name.
    #[must_use]
    pub fn attribute(name: &str) -> Self {
        Self(vec![Element::Name(name.to_owned())])
    }

    /// The attribute that it begins with.
    #[must_use]
    pub fn head(&self) -> &str {
        match self.0.first() {
            Some(Element::Name(name)) => name,
            // The grammar gives every path a name first.
            _ => "",
        }
    }

    /// Whether it leads into an attribute.
    #[must_use]
    pub fn is_nested(&self) -> bool {
        self.0.len() > 1
    }

    /// What stands there.
    #[must_use]
    pub fn of<'i>(&self, item: &'i Item) -> Option<&'i Value> {
        let mut value = item.get(self.head())?;
        for element in &self.0[1..] {
            value = match (element, value) {
                (Element::Name(name), Value::M(map)) => map.get(name)?,
                (Element::Index(index), Value::L(list)) => list.get(*index)?,
                _ => return None,
            };
        }
        Some(value)
    }

    /// How two paths stand to each other, where they cannot be used together.
    pub(crate) fn clash(&self, other: &Self) -> Option<Clash> {
        for (left, right) in self.0.iter().zip(&other.0) {
            match (left, right) {
                (Element::Name(_), Element::Index(_)) | (Element::Index(_), Element::Name(_)) => {
                    return Some(Clash::Conflict);
                }
                _ if left != right => return None,
                _ => {}
            }
        }
        Some(Clash::Overlap)
    }
}

/// Why two paths cannot be used together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Clash {
    /// One contains the other.
    Overlap,
    /// What is a map to one is a list to the other.
    Conflict,
}

/// `[a, [1], b]`.
impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[")?;
        for (index, element) in self.0.iter().enumerate() {
            if index > 0 {
                f.write_str(", ")?;
            }
            match element {
                Element::Name(name) => f.write_str(name)?,
                Element::Index(index) => write!(f, "[{index}]")?,
            }
        }
        f.write_str("]")
    }
}

/// A choice of paths.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Projection {
    root: Node,
    paths: Vec<Path>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Node(BTreeMap<Element, Node>);

impl Projection {
    /// Reads a `ProjectionExpression`.
    ///
    /// # Errors
    /// In AWS's words.
    pub fn parse(text: &str, placeholders: &mut Placeholders<'_>) -> Result<Self, Invalid> {
        Self::read(text, placeholders).map_err(|error| error.of("ProjectionExpression"))
    }

    fn read(text: &str, placeholders: &mut Placeholders<'_>) -> Result<Self, Invalid> {
        let mut tokens = Tokens::of(text)?;
        let mut checks = Checks::default();
        let mut paths: Vec<Path> = Vec::new();
        loop {
            let found = path(&mut tokens, placeholders, &mut checks)?;
            checks.clash(&mut paths, found);
            if !tokens.take_symbol(",") {
                break;
            }
        }
        tokens.end()?;
        checks.finish(&[|c| &c.reserved, |c| &c.name, |c| &c.overlap, |c| &c.conflict])?;
        Ok(Self::of(paths))
    }

    /// Of attributes by name.
    #[must_use]
    pub fn attributes<'n>(names: impl IntoIterator<Item = &'n str>) -> Self {
        Self::of(names.into_iter().map(Path::attribute).collect())
    }

    /// Of these paths, of which none contains another.
    #[must_use]
    pub fn of(paths: Vec<Path>) -> Self {
        let mut root = Node::default();
        for path in &paths {
            let mut node = &mut root;
            for element in &path.0 {
                node = node.0.entry(element.clone()).or_default();
            }
        }
        Self { root, paths }
    }

    /// The paths, as they were written.
    #[must_use]
    pub fn paths(&self) -> &[Path] {
        &self.paths
    }

    /// Keeps what the paths lead to, with the maps and lists around it.
    #[must_use]
    pub fn apply(&self, item: &Item) -> Item {
        self.root.map(item)
    }
}

impl Node {
    fn map(&self, map: &Item) -> Item {
        let kept = self.0.iter().filter_map(|(element, node)| match element {
            Element::Name(name) => Some((name.clone(), node.value(map.get(name)?)?)),
            Element::Index(_) => None,
        });
        kept.collect()
    }

    fn value(&self, value: &Value) -> Option<Value> {
        if self.0.is_empty() {
            return Some(value.clone());
        }
        match value {
            Value::M(map) => Some(self.map(map)).filter(|kept| !kept.is_empty()).map(Value::M),
            Value::L(list) => {
                let kept = self.0.iter().filter_map(|(element, node)| match element {
                    Element::Index(index) => node.value(list.get(*index)?),
                    Element::Name(_) => None,
                });
                let kept: Vec<Value> = kept.collect();
                (!kept.is_empty()).then_some(Value::L(kept))
            }
            _ => None,
        }
    }
}
