//! A service's model with its patch applied, checked and ready to be written. Guarantee: every input member carries a
//! mark, every role an error, every pattern compiles; otherwise there is no plan.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
};

use serde::de::DeserializeOwned;

use super::{
    model::{Model, Operation, Ordered, Reference, Shape},
    patch::{Allowed, Marks, Patch},
};

/// All roles, as `wire_schema::Role` has them.
pub(crate) const ROLES: [&str; 15] = [
    "Validation",
    "MissingParameter",
    "Serialization",
    "UnknownOperation",
    "NotImplemented",
    "TooLarge",
    "AccessDenied",
    "Throttled",
    "Internal",
    "Unavailable",
    "UnrecognizedClient",
    "InvalidSignature",
    "IncompleteSignature",
    "MissingAuthentication",
    "ExpiredToken",
];

/// What Pileus does with an input member.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Mark {
    Enforced,
    Stored,
    Rejected,
    RejectedUnlessEmpty,
    RejectedUnless(String),
}

/// An error: modelled or common.
#[derive(Debug)]
pub(crate) struct ErrorPlan {
    pub name: String,
    pub code: String,
    pub status: u16,
    pub sender: bool,
    /// The model's name of its message member.
    pub message: String,
    pub has_type: bool,
}

/// Everything that the emitters need.
#[derive(Debug)]
pub(crate) struct Plan {
    pub service: String,
    pub model: Model,
    pub allowed: Allowed,
    pub patch: Patch,
    pub errors: Vec<ErrorPlan>,
    /// Input structure → member → mark.
    pub marks: BTreeMap<String, BTreeMap<String, Mark>>,
}

impl Plan {
    pub(crate) fn read(root: &Path, service: &str) -> Result<Self, String> {
        let folder = root.join("models").join(service);
        let mut plan = Self {
            service: service.to_owned(),
            model: read_json(&folder.join("model.json"))?,
            allowed: read_toml(&folder.join("operations.toml"))?,
            patch: read_toml(&folder.join("patch.toml"))?,
            errors: Vec::new(),
            marks: BTreeMap::new(),
        };
        plan.prepare().map_err(|message| format!("models/{service}: {message}"))?;
        Ok(plan)
    }

    fn prepare(&mut self) -> Result<(), String> {
        let wanted: Vec<&str> = self.allowed.operations.keys().map(String::as_str).collect();
        let mut there: Vec<&str> = self.model.operations.iter().map(|(name, _)| name).collect();
        there.sort_unstable();
        if wanted != there {
            return Err("`model.json` and `operations.toml` have different operations: run with `--import`".to_owned());
        }
        self.patch_shapes()?;
        self.plan_errors()?;
        self.refuse_the_unsupported()?;
        self.read_marks()
    }

    fn patch_shapes(&mut self) -> Result<(), String> {
        for (name, patch) in &self.patch.shapes {
            let shape = find_mut(&mut self.model.shapes, name)?;
            if patch.unbounded {
                (shape.min, shape.max) = (None, None);
            }
            if patch.unpatterned {
                shape.pattern = None;
            }
            shape.min = patch.min.map(|min| min as f64).or(shape.min);
            shape.max = patch.max.map(|max| max as f64).or(shape.max);
            shape.pattern = patch.pattern.clone().or(shape.pattern.take());
            if let (Some([key_name, value_name]), Some(key), Some(value)) =
                (&patch.entry_names, &mut shape.key, &mut shape.value)
            {
                key.location_name = Some(key_name.clone());
                value.location_name = Some(value_name.clone());
            }
            if let (Some(name), Some(member)) = (&patch.item_name, &mut shape.member) {
                member.location_name = Some(name.clone());
            }
            if !patch.values.is_empty() {
                shape.values = patch.values.clone();
            }
            for member in &patch.optional {
                let before = shape.required.len();
                shape.required.retain(|required| required != member);
                (shape.required.len() < before)
                    .then_some(())
                    .ok_or_else(|| format!("`{name}.{member}` is optional"))?;
            }
        }
        for name in &self.patch.open_enums {
            find_mut(&mut self.model.shapes, name)?.values.clear();
        }
        for name in self.patch.xml_roots.keys() {
            find_mut(&mut self.model.shapes, name)?;
        }
        for key in self.patch.form_names.keys() {
            let (shape, member) = key.split_once('.').ok_or_else(|| format!("`{key}` is not `Shape.Member`"))?;
            let found = find_mut(&mut self.model.shapes, shape)?.members.get(member).is_some();
            found.then_some(()).ok_or_else(|| format!("`form_names`: there is no `{key}`"))?;
        }
        Ok(())
    }

    fn plan_errors(&mut self) -> Result<(), String> {
        let missing: Vec<&String> =
            self.patch.errors.keys().filter(|name| self.model.shapes.get(name).is_none()).collect();
        for name in missing {
            let patch = &self.patch.errors[name];
            let message = patch.message.as_deref().ok_or_else(|| format!("error `{name}` lacks `message`"))?;
            let mut members = vec![(message.to_owned(), string())];
            if patch.r#type {
                members.insert(0, ("Type".to_owned(), string()));
            }
            members.extend(patch.members.iter().map(|member| (member.clone(), string())));
            let shape =
                Shape { r#type: "structure".into(), exception: true, members: Ordered(members), ..Shape::default() };
            self.model.shapes.0.push((name.clone(), shape));
        }
        if self.model.shapes.get("String").is_none() {
            self.model.shapes.0.push(("String".into(), Shape { r#type: "string".into(), ..Shape::default() }));
        }
        for (name, shape) in self.model.shapes.0.iter_mut().filter(|(_, shape)| shape.exception) {
            let patch = self.patch.errors.get(name);
            // What AWS says beside the message, which the model may lack.
            for member in patch.map_or(&[][..], |patch| &patch.members) {
                if shape.members.get(member).is_none() {
                    shape.members.0.push((member.clone(), string()));
                }
            }
            let found = shape.members.0.iter().find(|(member, _)| member.eq_ignore_ascii_case("message"));
            let message = match found {
                Some((member, _)) => member.clone(),
                None => {
                    shape.members.0.push(("message".into(), string()));
                    "message".to_owned()
                }
            };
            if !shape.required.is_empty() {
                return Err(format!("error `{name}` has required members"));
            }
            let traits = shape.error.clone().unwrap_or_default();
            let server = shape.fault;
            self.errors.push(ErrorPlan {
                name: name.clone(),
                code: patch.and_then(|patch| patch.code.clone()).or(traits.code).unwrap_or_else(|| name.clone()),
                status: patch.and_then(|patch| patch.status).or(traits.http_status_code).unwrap_or(if server {
                    500
                } else {
                    400
                }),
                sender: patch.and_then(|patch| patch.sender).unwrap_or(!server),
                message,
                has_type: shape.members.get("Type").is_some(),
            });
        }
        for role in ROLES {
            let name = self.patch.roles.get(role).ok_or_else(|| format!("role `{role}` has no error"))?;
            if self.error(name).is_none() {
                return Err(format!("the error `{name}` of role `{role}` is neither in the model nor in the patch"));
            }
        }
        Ok(())
    }

    /// Whether a blob is handed on piece by piece: the body of rest-xml's objects.
    pub(crate) fn is_handed_on(&self, name: &str) -> bool {
        let mut members = self.model.shapes.iter().flat_map(|(_, shape)| shape.members.iter());
        self.patch.protocols.iter().any(|protocol| protocol == "rest-xml")
            && members.any(|(_, member)| member.shape == name && member.streaming)
    }

    /// Whether an event stream is what code generation knows: the body of a rest-json answer, its events structures.
    fn is_plain_stream(&self, name: &str, shape: &Shape) -> bool {
        let is_event = |event: &Reference| self.shape(&event.shape).is_ok_and(|shape| shape.event && !shape.exception);
        let is_body = |user: &str, structure: &Shape| {
            let here = structure.members.iter().filter(|(_, member)| member.shape == name);
            let output =
                self.model.operations.iter().any(|(_, op)| op.output.as_ref().is_some_and(|o| o.shape == user));
            here.map(|(member, _)| member).all(|member| output && structure.payload.as_deref() == Some(member))
        };
        self.patch.protocols == ["rest-json"]
            && !shape.members.is_empty()
            && shape.members.iter().all(|(_, event)| is_event(event))
            && self.model.shapes.iter().all(|(user, structure)| is_body(user, structure))
    }

    fn refuse_the_unsupported(&self) -> Result<(), String> {
        const UNKNOWN_STREAM: &str =
            "an event stream that is no rest-json answer's body, or has other events than structures";
        let inputs = self.input_structures();
        for (name, shape) in self.model.shapes.iter() {
            let unsupported = [
                (shape.eventstream && !self.is_plain_stream(name, shape), UNKNOWN_STREAM),
                (shape.event && inputs.contains(name), "an event that a client sends"),
                (shape.members.0.len() > 128, "a structure of more than 128 members"),
                (self.demands_itself(name, shape), "a structure that cannot be without itself"),
            ];
            if let Some((_, what)) = unsupported.iter().find(|(found, _)| *found) {
                return Err(format!("`{name}` is {what}: code generation does not know these yet"));
            }
            for bound in [shape.min, shape.max].into_iter().flatten() {
                if bound.fract() != 0.0 {
                    return Err(format!("`{name}` is bounded by {bound}, which is not whole"));
                }
            }
        }
        Ok(())
    }

    /// Whether a structure holds another one in itself: through members that are structures, not through lists or maps,
    /// which are somewhere else anyway.
    pub(crate) fn holds(&self, from: &str, target: &str) -> bool {
        let mut seen = BTreeSet::new();
        let mut pending = vec![from.to_owned()];
        while let Some(name) = pending.pop() {
            if name == target {
                return true;
            }
            if let Some(shape) = self.model.shapes.get(&name)
                && seen.insert(name)
            {
                pending.extend(shape.members.iter().map(|(_, member)| member.shape.clone()));
            }
        }
        false
    }

    /// Whether a structure has a required member that leads back to it: there could be no empty one.
    fn demands_itself(&self, name: &str, shape: &Shape) -> bool {
        let required = shape.members.iter().filter(|(member, _)| shape.required.iter().any(|known| known == member));
        required.into_iter().any(|(_, member)| self.holds(&member.shape, name))
    }

    fn below(&self, name: &str) -> Vec<String> {
        let Some(shape) = self.model.shapes.get(name) else { return Vec::new() };
        let members = shape.members.iter().map(|(_, member)| member);
        members.chain(&shape.member).chain(&shape.key).chain(&shape.value).map(|below| below.shape.clone()).collect()
    }

    /// The structures that requests consist of.
    fn input_structures(&self) -> BTreeSet<String> {
        let mut pending: Vec<String> = self
            .model
            .operations
            .iter()
            .filter_map(|(_, op)| op.input.as_ref())
            .map(|input| input.shape.clone())
            .collect();
        let mut seen = BTreeSet::new();
        while let Some(name) = pending.pop() {
            if seen.insert(name.clone()) {
                pending.extend(self.below(&name));
            }
        }
        seen.retain(|name| self.shape(name).is_ok_and(|shape| shape.r#type == "structure"));
        seen
    }

    fn read_marks(&mut self) -> Result<(), String> {
        let inputs = self.input_structures();
        let mut problems = Vec::new();
        for name in self.patch.marks.keys().filter(|name| !inputs.contains(*name)) {
            problems.push(format!("`marks.{name}` is no input structure"));
        }
        for name in inputs {
            let shape = self.shape(&name)?;
            let marked = match self.patch.marks.get(&name) {
                Some(marks) => flatten(marks),
                None => Vec::new(),
            };
            let mut members = BTreeMap::new();
            for (member, mark) in marked {
                if shape.members.get(&member).is_none() {
                    problems.push(format!("`marks.{name}` names `{member}`, which it lacks"));
                } else if members.insert(member.clone(), mark).is_some() {
                    problems.push(format!("`marks.{name}` names `{member}` twice"));
                }
            }
            for (member, _) in shape.members.iter().filter(|(member, _)| !members.contains_key(*member)) {
                problems.push(format!("`{name}.{member}` has no mark: enforced, stored or rejected?"));
            }
            self.marks.insert(name, members);
        }
        if problems.is_empty() { Ok(()) } else { Err(problems.join("\n  ")) }
    }

    pub(crate) fn shape(&self, name: &str) -> Result<&Shape, String> {
        self.model.shapes.get(name).ok_or_else(|| format!("there is no shape `{name}`"))
    }

    pub(crate) fn error(&self, name: &str) -> Option<(usize, &ErrorPlan)> {
        self.errors.iter().enumerate().find(|(_, error)| error.name == name)
    }

    /// The operation's class and whether it only reads.
    pub(crate) fn class(&self, operation: &Operation) -> Result<(&'static str, bool), String> {
        let name = &operation.name;
        match self.allowed.operations.get(name).map(String::as_str) {
            Some("transactional") => Ok(("Transactional", false)),
            Some("transactional read") => Ok(("Transactional", true)),
            Some("data") => Ok(("Data", false)),
            Some("flow") => Ok(("Flow", false)),
            Some("flow read") => Ok(("Flow", true)),
            other => Err(format!("operation `{name}` has the class `{}`", other.unwrap_or_default())),
        }
    }
}

fn string() -> Reference {
    Reference { shape: "String".into(), ..Reference::default() }
}

fn find_mut<'a>(shapes: &'a mut Ordered<Shape>, name: &str) -> Result<&'a mut Shape, String> {
    let found = shapes.0.iter_mut().find(|(key, _)| key == name);
    found.map(|(_, shape)| shape).ok_or_else(|| format!("the patch names `{name}`, which the model lacks"))
}

fn flatten(marks: &Marks) -> Vec<(String, Mark)> {
    let Marks { enforced, stored, rejected, rejected_unless_empty, rejected_unless } = marks;
    let all =
        |names: &[String], mark: Mark| names.iter().map(move |name| (name.clone(), mark.clone())).collect::<Vec<_>>();
    let mut list = all(enforced, Mark::Enforced);
    list.extend(all(stored, Mark::Stored));
    list.extend(all(rejected, Mark::Rejected));
    list.extend(all(rejected_unless_empty, Mark::RejectedUnlessEmpty));
    list.extend(rejected_unless.iter().map(|(name, text)| (name.clone(), Mark::RejectedUnless(text.clone()))));
    list
}

/// Reads a JSON file.
pub(crate) fn read_json<T: DeserializeOwned>(path: &Path) -> Result<T, String> {
    let text = fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))?;
    serde_json::from_str(&text).map_err(|error| format!("{}: {error}", path.display()))
}

/// Reads a TOML file.
pub(crate) fn read_toml<T: DeserializeOwned>(path: &Path) -> Result<T, String> {
    let text = fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))?;
    toml::from_str(&text).map_err(|error| format!("{}: {error}", path.display()))
}
