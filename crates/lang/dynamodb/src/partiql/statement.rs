//! The statements.

use super::{
    malformed,
    meaning::Meaning,
    token::{Kind, tokens},
    tree::{Node, Parser, Tree},
};
use crate::{Condition, Element, Invalid, Item, Path, Update, Value, update::Action};

/// A statement.
#[derive(Clone, Debug, PartialEq)]
pub enum Statement {
    /// `SELECT`.
    Select(Select),
    /// `INSERT INTO`.
    Insert(Insert),
    /// `UPDATE`.
    Update(UpdateOf),
    /// `DELETE FROM`.
    Delete(Delete),
    /// `EXISTS(SELECT …)`: a condition of a transaction.
    Exists(Select),
}

/// What is read: a table, or an index of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Source {
    /// The table.
    pub table: String,
    /// Its index.
    pub index: Option<String>,
}

/// A column of the result.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Column {
    /// Its name.
    pub name: String,
    /// What stands in it.
    pub path: Path,
}

/// `SELECT`.
#[derive(Clone, Debug, PartialEq)]
pub struct Select {
    /// From where.
    pub source: Source,
    /// What; `None`: everything.
    pub columns: Option<Vec<Column>>,
    /// Which items.
    pub condition: Option<Condition>,
    /// In which order: attributes, and whether it descends.
    pub order: Vec<(String, bool)>,
}

impl Select {
    /// The row of an item; `None` when it has none of the columns and so is an empty one.
    #[must_use]
    pub fn row(&self, item: Item) -> Item {
        let Some(columns) = &self.columns else { return item };
        let row = columns.iter().filter_map(|column| Some((column.name.clone(), column.path.of(&item)?.clone())));
        row.collect()
    }
}

/// `INSERT INTO`.
#[derive(Clone, Debug, PartialEq)]
pub struct Insert {
    /// Where to.
    pub table: String,
    /// What.
    pub item: Item,
}

/// `UPDATE`.
#[derive(Clone, Debug, PartialEq)]
pub struct UpdateOf {
    /// Of which table.
    pub table: String,
    /// What changes.
    pub update: Update,
    /// Of which item, and on what condition.
    pub condition: Option<Condition>,
    /// What is given back.
    pub returning: Option<Returning>,
}

/// `DELETE FROM`.
#[derive(Clone, Debug, PartialEq)]
pub struct Delete {
    /// From which table.
    pub table: String,
    /// Which item, and on what condition.
    pub condition: Option<Condition>,
    /// Whether the item is given back.
    pub returning: bool,
}

/// `RETURNING … *`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Returning {
    /// `ALL OLD`.
    AllOld,
    /// `ALL NEW`.
    AllNew,
    /// `MODIFIED OLD`.
    ModifiedOld,
    /// `MODIFIED NEW`.
    ModifiedNew,
}

impl Returning {
    const fn as_str(self) -> &'static str {
        match self {
            Self::AllOld => "ALL OLD",
            Self::AllNew => "ALL NEW",
            Self::ModifiedOld => "MODIFIED OLD",
            Self::ModifiedNew => "MODIFIED NEW",
        }
    }
}

const LEFTOVER: &str = "Unexpected token after expression";
const NO_MANIPULATION: &str = "Expected data manipulation";
const NO_NAME: &str = "Expected identifier for simple path";

/// Reads a statement.
pub(super) fn read(text: &str, parameters: &[Value]) -> Result<Statement, Invalid> {
    let mut reader =
        Reader { parser: Parser { tokens: tokens(text)?, next: 0, parameters: 0, operators: 0 }, parameters };
    let statement = reader.statement()?;
    let statement = match statement {
        Some(statement) => statement,
        None => reader.bare()?,
    };
    if reader.parser.parameters != parameters.len() {
        return Err(Invalid("Number of parameters in request and statement don't match.".to_owned()));
    }
    Ok(statement)
}

struct Reader<'a> {
    parser: Parser,
    parameters: &'a [Value],
}

impl Reader<'_> {
    /// `None` when it begins with nothing that a statement begins with.
    fn statement(&mut self) -> Result<Option<Statement>, Invalid> {
        let parser = &mut self.parser;
        let statement = if parser.take_word("select") {
            let tree = self.select()?;
            self.end()?;
            Statement::Select(self.selected(tree)?)
        } else if parser.take_word("insert") {
            self.insert()?
        } else if parser.take_word("update") {
            self.update()?
        } else if parser.take_word("delete") {
            self.delete()?
        } else if parser.at_word("from") {
            self.parser.take();
            self.update_from()?
        } else if parser.at_word("exists")
            && parser.ahead(1).text == "("
            && parser.ahead(2).text.eq_ignore_ascii_case("select")
        {
            parser.next += 3;
            let tree = self.select()?;
            if !self.parser.take_symbol(")") {
                return Err(malformed("Expected RIGHT_PAREN"));
            }
            self.end()?;
            Statement::Exists(self.selected(tree)?)
        } else {
            return Ok(None);
        };
        Ok(Some(statement))
    }

    /// Something that is no statement: why it is none.
    fn bare(&mut self) -> Result<Statement, Invalid> {
        // A reader that looks for an operand after `*` finds the beginning of the form that starts with FROM.
        let from = self.parser.tokens.iter().skip(1).any(|token| {
            token.kind == Kind::Keyword
                && (token.text.eq_ignore_ascii_case("from") || token.text.eq_ignore_ascii_case("set"))
        });
        match self.parser.expression(0) {
            Err(_) if from => Err(malformed(NO_MANIPULATION)),
            Err(error) => Err(error),
            Ok(_) if !self.parser.at_end() => Err(malformed(LEFTOVER)),
            Ok(tree) => Err(Invalid(format!("Unsupported operation: {}", tree.node.operation()))),
        }
    }

    fn end(&mut self) -> Result<(), Invalid> {
        self.parser.take_symbol(";");
        if self.parser.peek().kind == Kind::End { Ok(()) } else { Err(malformed(LEFTOVER)) }
    }

    fn meaning(&self) -> Meaning<'_> {
        Meaning { parameters: self.parameters }
    }

    fn select(&mut self) -> Result<SelectTree, Invalid> {
        if self.parser.at_word("distinct") || self.parser.at_word("all") {
            return Err(self.unsupported());
        }
        let columns = self.columns()?;
        if !self.parser.take_word("from") {
            return Err(malformed("Expected FROM after SELECT"));
        }
        let source = self.source("Unexpected term")?;
        let condition = if self.parser.take_word("where") { Some(self.parser.expression(0)?) } else { None };
        for word in ["group", "having", "limit", "offset"] {
            if self.parser.at_word(word) {
                return Err(self.unsupported());
            }
        }
        let mut order = Vec::new();
        if self.parser.take_word("order") {
            if !self.parser.take_word("by") {
                return Err(malformed("Expected BY after ORDER"));
            }
            loop {
                let term = self.parser.sum(0)?;
                let Node::Path(path) = &term.node else {
                    return Err(Invalid(format!("Unexpected path component at {}", term.at)));
                };
                let descending = self.parser.at_word("desc");
                if descending || self.parser.at_word("asc") {
                    self.parser.take();
                }
                order.push((path.clone(), descending));
                if !self.parser.take_symbol(",") {
                    break;
                }
            }
            if self.parser.at_word("limit") {
                return Err(self.unsupported());
            }
        }
        Ok(SelectTree { columns, source, condition, order })
    }

    fn unsupported(&self) -> Invalid {
        let token = self.parser.peek();
        Invalid(format!("Unsupported clause: {} at {}", token.text.to_ascii_uppercase(), token.at))
    }

    /// `*` or columns.
    fn columns(&mut self) -> Result<Option<Vec<Column>>, Invalid> {
        if self.parser.take_symbol("*") {
            if self.parser.at_symbol(",") {
                return Err(Invalid(STAR_AND_OTHERS.to_owned()));
            }
            return Ok(None);
        }
        let mut columns = Vec::new();
        loop {
            if self.parser.at_symbol("*") {
                return Err(Invalid(STAR_AND_OTHERS.to_owned()));
            }
            let term = self.parser.sum(0)?;
            let Node::Path(path) = term.node else {
                return Err(Invalid(format!("Unexpected path component at {}", term.at)));
            };
            if self.parser.at_word("as") || matches!(self.parser.peek().kind, Kind::Word | Kind::Quoted) {
                return Err(Invalid("Aliasing is not supported".to_owned()));
            }
            columns.push(Column { name: column_name(&path), path });
            if !self.parser.take_symbol(",") {
                return Ok(Some(columns));
            }
        }
    }

    /// `table`, `"table"."index"`; `missing` is said when there is none.
    fn source(&mut self, missing: &str) -> Result<Source, Invalid> {
        let mut names = Vec::new();
        loop {
            let token = self.parser.peek().clone();
            match token.kind {
                Kind::Word | Kind::Quoted => {
                    self.parser.take();
                    names.push(token.text);
                }
                Kind::Keyword if missing != NO_NAME => return Err(malformed("Unexpected keyword")),
                _ if names.is_empty() => return Err(malformed(missing)),
                _ => return Err(malformed("Invalid path dot component")),
            }
            if !self.parser.take_symbol(".") {
                break;
            }
        }
        if names.iter().any(String::is_empty) {
            return Err(Invalid("Path component cannot be an empty string".to_owned()));
        }
        let mut names = names.into_iter();
        match (names.next(), names.next(), names.next()) {
            (Some(table), index, None) => Ok(Source { table, index }),
            _ => Err(Invalid("A path may contain at most 2 components in the FROM clause".to_owned())),
        }
        .and_then(|source| {
            let alias = self.parser.at_word("as") || matches!(self.parser.peek().kind, Kind::Word | Kind::Quoted);
            // In an INSERT it is a token too many.
            match alias && missing != INTO {
                true => Err(Invalid("Aliasing is not supported".to_owned())),
                false => Ok(source),
            }
        })
    }

    /// The table of a statement that changes something.
    fn table(&mut self, missing: &str) -> Result<String, Invalid> {
        let source = self.source(missing)?;
        match source.index {
            None => Ok(source.table),
            Some(_) => {
                Err(Invalid("Unsupported operation on an index: only SELECT statements read from one".to_owned()))
            }
        }
    }

    fn selected(&self, tree: SelectTree) -> Result<Select, Invalid> {
        let order = tree.order.into_iter().map(|(path, descending)| match path.is_nested() {
            false => Ok((path.head().to_owned(), descending)),
            true => Err(Invalid(format!(
                "Variable reference {} in ORDER BY clause must be part of the primary key",
                column_name(&path)
            ))),
        });
        Ok(Select {
            source: tree.source,
            columns: tree.columns,
            condition: self.condition(tree.condition.as_ref())?,
            order: order.collect::<Result<_, _>>()?,
        })
    }

    fn condition(&self, tree: Option<&Tree>) -> Result<Option<Condition>, Invalid> {
        tree.map(|tree| self.meaning().condition(tree)).transpose()
    }

    fn insert(&mut self) -> Result<Statement, Invalid> {
        if !self.parser.take_word("into") {
            return Err(malformed("Expected INTO after INSERT"));
        }
        let table = self.table(INTO)?;
        if self.parser.at_word("values") || self.parser.at_symbol("(") {
            return Err(malformed("Unexpected keyword"));
        }
        if !self.parser.take_word("value") {
            return Err(malformed(if self.parser.at_end() { "Unexpected term" } else { LEFTOVER }));
        }
        let tree = self.parser.sum(0)?;
        self.end()?;
        if let Node::Bag(_) | Node::List(_) = tree.node {
            return Err(Invalid(
                "Unsupported operation: Inserting multiple items in a single statement is not supported, use \"INSERT INTO \
                 tableName VALUE item\" instead"
                    .to_owned(),
            ));
        }
        match self.meaning().value(&tree)? {
            Value::M(item) => Ok(Statement::Insert(Insert { table, item })),
            other => Err(Invalid(format!("Unsupported data type: {} under key root at {}", other.r#type(), tree.at))),
        }
    }

    fn update(&mut self) -> Result<Statement, Invalid> {
        let table = self.table(NO_NAME)?;
        let actions = self.actions()?;
        if actions.is_empty() {
            return Err(malformed(NO_MANIPULATION));
        }
        let condition = if self.parser.take_word("where") { Some(self.parser.expression(0)?) } else { None };
        self.updated(table, actions, condition)
    }

    /// `FROM table WHERE … SET …`, which means the same.
    fn update_from(&mut self) -> Result<Statement, Invalid> {
        let table = self.table(NO_NAME)?;
        let condition = if self.parser.take_word("where") { Some(self.parser.expression(0)?) } else { None };
        let actions = self.actions()?;
        if actions.is_empty() {
            return Err(malformed(NO_MANIPULATION));
        }
        self.updated(table, actions, condition)
    }

    fn updated(
        &mut self,
        table: String,
        actions: Vec<(Path, Option<Tree>)>,
        condition: Option<Tree>,
    ) -> Result<Statement, Invalid> {
        let returning = self.returning()?;
        self.end()?;
        let meaning = self.meaning();
        let actions = actions.into_iter().map(|(path, tree)| match tree {
            None => Ok(Action::Remove(path)),
            Some(tree) => meaning.action(path, &tree),
        });
        let actions: Vec<Action> = actions.collect::<Result<_, _>>()?;
        check_overlap(&actions)?;
        let update = Update::of(actions);
        Ok(Statement::Update(UpdateOf { table, update, condition: self.condition(condition.as_ref())?, returning }))
    }

    /// `SET path = value`, `REMOVE path`, again and again.
    fn actions(&mut self) -> Result<Vec<(Path, Option<Tree>)>, Invalid> {
        let mut actions = Vec::new();
        loop {
            let set = self.parser.at_word("set");
            if !set && !self.parser.at_word("remove") {
                return Ok(actions);
            }
            self.parser.take();
            loop {
                if !matches!(self.parser.peek().kind, Kind::Word | Kind::Quoted) {
                    let keyword = self.parser.peek().kind == Kind::Keyword;
                    return Err(malformed(if keyword { "Unexpected keyword" } else { NO_NAME }));
                }
                let path = self.parser.path()?;
                let value = if set {
                    if !self.parser.take_symbol("=") {
                        return Err(malformed("Expected `=` in SET assignment"));
                    }
                    Some(self.parser.sum(0)?)
                } else {
                    None
                };
                actions.push((path, value));
                if !self.parser.take_symbol(",") {
                    break;
                }
            }
        }
    }

    fn delete(&mut self) -> Result<Statement, Invalid> {
        if !self.parser.take_word("from") {
            return Err(malformed("Expected FROM after DELETE"));
        }
        let table = self.table(NO_NAME)?;
        let condition = if self.parser.take_word("where") { Some(self.parser.expression(0)?) } else { None };
        let returning = self.returning()?;
        self.end()?;
        if let Some(other) = returning.filter(|returning| *returning != Returning::AllOld) {
            return Err(Invalid(format!(
                "Invalid returning clause: RETURNING {} *. Only RETURNING ALL OLD * is allowed in DELETE statements.",
                other.as_str()
            )));
        }
        let condition = self.condition(condition.as_ref())?;
        Ok(Statement::Delete(Delete { table, condition, returning: returning.is_some() }))
    }

    fn returning(&mut self) -> Result<Option<Returning>, Invalid> {
        if !self.parser.take_word("returning") {
            return Ok(None);
        }
        let which = self.parser.take().text.to_ascii_lowercase();
        let side = self.parser.take().text.to_ascii_lowercase();
        let found = match (which.as_str(), side.as_str()) {
            ("all", "old") => Returning::AllOld,
            ("all", "new") => Returning::AllNew,
            ("modified", "old") => Returning::ModifiedOld,
            ("modified", "new") => Returning::ModifiedNew,
            ("all" | "modified", _) => return Err(malformed("Expected OLD or NEW")),
            _ => return Err(malformed("Expected ALL or MODIFIED")),
        };
        if self.parser.take_symbol("*") { Ok(Some(found)) } else { Err(malformed("Expected ASTERISK")) }
    }
}

const INTO: &str = "Expected identifier for simple path ";
const STAR_AND_OTHERS: &str = "Other attributes should not be present in the projection when '*' is used.";

struct SelectTree {
    columns: Option<Vec<Column>>,
    source: Source,
    condition: Option<Tree>,
    order: Vec<(Path, bool)>,
}

/// The name of a column: the last of its path, with the indexes behind it.
fn column_name(path: &Path) -> String {
    let mut name = String::new();
    for element in &path.0 {
        match element {
            Element::Name(last) => name.clone_from(last),
            Element::Index(index) => name.push_str(&format!("[{index}]")),
        }
    }
    name
}

/// No path is changed twice.
fn check_overlap(actions: &[Action]) -> Result<(), Invalid> {
    let path = |action: &Action| match action {
        Action::Set(path, _) | Action::Remove(path) | Action::Add(path, _) | Action::Delete(path, _) => path.clone(),
    };
    let mut checks = crate::parser::Checks::default();
    let mut before = Vec::new();
    for action in actions {
        checks.clash(&mut before, path(action));
    }
    checks.finish(&[|c| &c.overlap, |c| &c.conflict])
}
