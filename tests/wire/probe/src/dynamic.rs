//! Shapes without generated code: a model read at run time, so that the protocol test data of AWS, whose every case has
//! shapes of its own, runs through the same codecs as the generated crates.
//!
//! Tables are leaked: the probe is a short-lived process. Shapes that contain themselves are unrolled [`DEPTH_MAX`]
//! levels deep. A union is a structure of which a client sets one member, which is the same document.

use std::{
    collections::BTreeMap,
    sync::{Mutex, PoisonError},
};

use base_types::{Fault, Timestamp};
use bytes::Bytes;
use serde_json::Value as Json;
use wire_schema::{
    Class, ErrorSchema, HttpBinding, Kind, List, Location, Map, Member, Model, Operation, Place, Protocol, Role,
    Schema, Segment, ServiceError, ServiceSchema, Shape, TimestampFormat, Value,
};

/// How often a shape may stand within itself.
const DEPTH_MAX: usize = 6;

static SERVICE: Mutex<Option<&'static ServiceSchema>> = Mutex::new(None);

static EMPTY: Schema = Schema::structure("Empty", &[]);
static MESSAGE: Schema = Schema::string("Message");
static ERROR_SHAPE: Schema = Schema::structure("Error", &[Member::new("message", &MESSAGE)]);
static ERRORS: [ErrorSchema; 1] =
    [ErrorSchema { name: "Error", code: "Error", status: 400, sender: true, shape: &ERROR_SHAPE }];

/// Makes the model that `description` holds the current one. It has one operation.
pub(crate) fn install(description: &Json) -> Result<(), String> {
    let service = leak(service(description)?);
    *SERVICE.lock().unwrap_or_else(PoisonError::into_inner) = Some(service);
    Ok(())
}

fn leak<T>(value: T) -> &'static T {
    Box::leak(Box::new(value))
}

fn text(json: &Json, key: &str) -> Option<&'static str> {
    json[key].as_str().map(|text| &**leak(text.to_owned()))
}

fn service(description: &Json) -> Result<ServiceSchema, String> {
    let meta = &description["metadata"];
    let protocol = match (meta["protocol"].as_str(), meta["jsonVersion"].as_str()) {
        (Some("json"), Some("1.0")) => Protocol::Json10,
        (Some("json"), _) => Protocol::Json11,
        (Some("rest-json"), _) => Protocol::RestJson,
        (Some("rest-xml"), _) => Protocol::RestXml,
        (Some("query"), _) => Protocol::Query,
        other => return Err(format!("no codec for {other:?}")),
    };
    let given = &description["operation"];
    let shapes = &description["shapes"];
    let schema = |side: &Json| match side["shape"].as_str() {
        Some(name) => build(shapes, name, &mut Vec::new()),
        None => Ok(&EMPTY),
    };
    let (input, output) = (schema(&given["input"])?, schema(&given["output"])?);
    let uri = given["http"]["requestUri"].as_str().unwrap_or("/");
    let (path, query) = uri.split_once('?').unwrap_or((uri, ""));
    let path: Vec<Segment> = path.split('/').filter(|part| !part.is_empty()).map(segment).collect();
    let query: Vec<(&'static str, &'static str)> = query
        .split('&')
        .filter(|pair| !pair.is_empty())
        .map(|pair| leak(pair.to_owned()).split_once('=').unwrap_or((leak(pair.to_owned()), "")))
        .collect();
    let operation = Operation {
        name: text(given, "name").unwrap_or("OperationName"),
        index: 0,
        http: HttpBinding {
            method: text(&given["http"], "method").unwrap_or("POST"),
            path: leak(path),
            query: leak(query),
            status: given["http"]["responseCode"].as_u64().and_then(|code| u16::try_from(code).ok()).unwrap_or(200),
            payload_type: "application/octet-stream",
        },
        input,
        output: given["output"].is_object().then_some(output),
        result_wrapper: text(&given["output"], "resultWrapper"),
        class: Class::Transactional,
        read_only: false,
        action: "any",
        body_bytes_max: 1 << 20,
    };
    Ok(ServiceSchema {
        name: "dynamic",
        signing_name: "dynamic",
        endpoint_prefix: "dynamic",
        version: text(meta, "apiVersion").unwrap_or(""),
        protocols: leak([protocol]),
        target_prefix: text(meta, "targetPrefix"),
        xml_namespace: text(meta, "xmlNamespace"),
        error_namespace: None,
        query_compatible: false,
        body_bytes_max: 1 << 20,
        missing_parameter: None,
        operations: leak([operation]),
        unsupported: &[],
        errors: &ERRORS,
    })
}

fn segment(part: &str) -> Segment {
    let part: &'static str = leak(part.to_owned());
    match part.strip_prefix('{').and_then(|part| part.strip_suffix('}')) {
        Some(label) => match label.strip_suffix('+') {
            Some(label) => Segment::Greedy(label),
            None => Segment::Label(label),
        },
        None => Segment::Literal(part),
    }
}

fn build(shapes: &Json, name: &str, above: &mut Vec<String>) -> Result<&'static Schema, String> {
    let shape = &shapes[name];
    let label: &'static str = leak(name.to_owned());
    if above.iter().filter(|other| *other == name).count() > DEPTH_MAX {
        return Ok(&EMPTY);
    }
    above.push(name.to_owned());
    let mut below = |reference: &Json| build(shapes, reference["shape"].as_str().unwrap_or_default(), above);
    let mut schema = match shape["type"].as_str() {
        Some("boolean") => Schema::boolean(label),
        Some("integer" | "short" | "byte") => Schema::integer(label),
        Some("long") => Schema::long(label),
        Some("float") => Schema::float(label),
        Some("double") => Schema::double(label),
        Some("string" | "character") => Schema::string(label),
        Some("blob") => Schema::blob(label),
        Some("timestamp") => Schema::timestamp(label),
        Some("list") => {
            let schema = Schema::list(label, below(&shape["member"])?);
            match text(&shape["member"], "locationName") {
                Some(name) => schema.item_name(name),
                None => schema,
            }
        }
        Some("map") => Schema::map(label, below(&shape["key"])?, below(&shape["value"])?).entry_names(
            text(&shape["key"], "locationName").unwrap_or("key"),
            text(&shape["value"], "locationName").unwrap_or("value"),
        ),
        Some("structure") => structure(shapes, label, &mut below)?,
        other => return Err(format!("no codec for the type {other:?}")),
    };
    above.pop();
    if shape["flattened"].as_bool() == Some(true) {
        schema = schema.flattened();
    }
    if let Some(format) = format(shape) {
        schema = schema.format(format);
    }
    Ok(leak(schema))
}

fn format(place: &Json) -> Option<TimestampFormat> {
    match place["timestampFormat"].as_str() {
        Some("iso8601") => Some(TimestampFormat::Iso8601),
        Some("rfc822") => Some(TimestampFormat::HttpDate),
        Some("unixTimestamp") => Some(TimestampFormat::Seconds),
        _ => None,
    }
}

fn structure(
    shapes: &Json,
    name: &'static str,
    below: &mut dyn FnMut(&Json) -> Result<&'static Schema, String>,
) -> Result<Schema, String> {
    let shape = &shapes[name];
    let (mut members, mut payload) = (Vec::new(), None);
    for (index, (member_name, reference)) in shape["members"].as_object().into_iter().flatten().enumerate() {
        if reference["eventpayload"].as_bool() == Some(true) {
            return Err("no codec for an event's payload".to_owned());
        }
        let target = &shapes[reference["shape"].as_str().unwrap_or_default()];
        if target["document"].as_bool() == Some(true) || target["eventstream"].as_bool() == Some(true) {
            return Err("no codec for documents and event streams".to_owned());
        }
        let mut member = Member::new(leak(member_name.clone()), below(reference)?);
        if let Some(wire) = text(reference, "locationName") {
            member = member.wire(wire);
        }
        let flattened = [reference, target].iter().any(|place| place["flattened"].as_bool() == Some(true));
        if flattened {
            member = member.flattened();
            if let (Some(item), None) = (text(&target["member"], "locationName"), text(reference, "locationName")) {
                member = member.form(item);
            }
        }
        member = match reference["location"].as_str() {
            Some("uri") => member.at(Location::Label),
            Some("querystring") => member.at(Location::Query),
            Some("header") => member.at(Location::Header),
            Some("headers") => member.at(Location::PrefixHeaders),
            Some("statusCode") => member.at(Location::StatusCode),
            _ => member,
        };
        if reference["xmlAttribute"].as_bool() == Some(true) {
            member = member.xml_attribute();
        }
        if let Some(format) = format(reference) {
            member = member.timestamp(format);
        }
        if shape["payload"].as_str() == Some(member_name) {
            payload = Some(index);
        }
        members.push(member);
    }
    let mut schema = Schema::structure(name, leak(members));
    if let Some(root) = text(shape, "locationName") {
        schema = schema.xml_root(root);
    }
    let namespace = &shape["xmlNamespace"];
    if let (Some(prefix), Some(uri)) = (text(namespace, "prefix"), text(namespace, "uri")) {
        schema = schema.xml_prefix(prefix, uri);
    }
    Ok(match payload {
        Some(index) => schema.payload(index),
        None => schema,
    })
}

/// A value of a shape that is known at run time only.
#[derive(Clone, Debug)]
pub(crate) struct Node {
    schema: &'static Schema,
    held: Held,
}

#[derive(Clone, Debug, PartialEq)]
enum Held {
    Boolean(bool),
    Integer(i32),
    Long(i64),
    Float(f32),
    Double(f64),
    String(String),
    Blob(Bytes),
    Timestamp(Timestamp),
    List(Vec<Node>),
    Map(BTreeMap<String, Node>),
    Structure(Vec<Option<Node>>),
}

impl PartialEq for Node {
    fn eq(&self, other: &Self) -> bool {
        self.held == other.held
    }
}

impl Node {
    fn new(schema: &'static Schema) -> Self {
        let held = match &schema.kind {
            Kind::Boolean => Held::Boolean(false),
            Kind::Integer => Held::Integer(0),
            Kind::Long => Held::Long(0),
            Kind::Float => Held::Float(0.0),
            Kind::Double => Held::Double(0.0),
            Kind::String | Kind::Enum(_) => Held::String(String::new()),
            // The probe reads bodies whole.
            Kind::Blob | Kind::Stream => Held::Blob(Bytes::new()),
            Kind::Timestamp => Held::Timestamp(Timestamp::EPOCH),
            Kind::List { .. } => Held::List(Vec::new()),
            Kind::Map { .. } => Held::Map(BTreeMap::new()),
            Kind::Structure { members, .. } => Held::Structure(vec![None; members.len()]),
        };
        Self { schema, held }
    }

    fn read(&self) -> Value<'_> {
        match &self.held {
            Held::Boolean(value) => Value::Boolean(*value),
            Held::Integer(value) => Value::Integer(i64::from(*value)),
            Held::Long(value) => Value::Integer(*value),
            Held::Float(value) => Value::Float(*value),
            Held::Double(value) => Value::Double(*value),
            Held::String(value) => Value::String(value),
            Held::Blob(value) => Value::Blob(value),
            Held::Timestamp(value) => Value::Timestamp(*value),
            Held::List(_) => Value::List(self),
            Held::Map(_) => Value::Map(self),
            Held::Structure(_) => Value::Structure(self),
        }
    }

    fn fill(&mut self) -> Place<'_> {
        match &mut self.held {
            Held::List(_) => return Place::List(self),
            Held::Map(_) => return Place::Map(self),
            Held::Structure(_) => return Place::Structure(self),
            _ => {}
        }
        match &mut self.held {
            Held::Boolean(value) => Place::Boolean(value),
            Held::Integer(value) => Place::Integer(value),
            Held::Long(value) => Place::Long(value),
            Held::Float(value) => Place::Float(value),
            Held::Double(value) => Place::Double(value),
            Held::Blob(value) => Place::Blob(value),
            Held::Timestamp(value) => Place::Timestamp(value),
            Held::String(value) => Place::String(value),
            Held::List(_) | Held::Map(_) | Held::Structure(_) => unreachable!("handled above"),
        }
    }

    fn below(&self) -> &'static Schema {
        match &self.schema.kind {
            Kind::List { member, .. } => member,
            Kind::Map { value, .. } => value,
            _ => &EMPTY,
        }
    }
}

impl Shape for Node {
    fn schema(&self) -> &'static Schema {
        self.schema
    }
    fn value(&self, index: usize) -> Option<Value<'_>> {
        match &self.held {
            Held::Structure(members) => members.get(index)?.as_ref().map(Self::read),
            _ => None,
        }
    }
    fn place(&mut self, index: usize) -> Option<Place<'_>> {
        let schema = self.schema.members().get(index)?.schema;
        match &mut self.held {
            Held::Structure(members) => Some(members.get_mut(index)?.get_or_insert_with(|| Self::new(schema)).fill()),
            _ => None,
        }
    }
}

impl List for Node {
    fn len(&self) -> usize {
        if let Held::List(items) = &self.held { items.len() } else { 0 }
    }
    fn item(&self, index: usize) -> Option<Value<'_>> {
        if let Held::List(items) = &self.held { items.get(index).map(Self::read) } else { None }
    }
    fn clear(&mut self) {
        self.held = Held::List(Vec::new());
    }
    fn push(&mut self) -> Place<'_> {
        let node = Self::new(self.below());
        if !matches!(self.held, Held::List(_)) {
            List::clear(self);
        }
        match &mut self.held {
            Held::List(items) => {
                items.push(node);
                let last = items.len() - 1;
                items[last].fill()
            }
            _ => unreachable!("it was made a list"),
        }
    }
}

impl Map for Node {
    fn len(&self) -> usize {
        if let Held::Map(entries) = &self.held { entries.len() } else { 0 }
    }
    fn entries(&self) -> Box<dyn Iterator<Item = (&str, Option<Value<'_>>)> + '_> {
        match &self.held {
            Held::Map(entries) => Box::new(entries.iter().map(|(key, node)| (key.as_str(), Some(node.read())))),
            _ => Box::new(std::iter::empty()),
        }
    }
    fn clear(&mut self) {
        self.held = Held::Map(BTreeMap::new());
    }
    fn insert(&mut self, key: String) -> Place<'_> {
        let node = Self::new(self.below());
        if !matches!(self.held, Held::Map(_)) {
            Map::clear(self);
        }
        match &mut self.held {
            Held::Map(entries) => {
                let place = entries.entry(key).or_insert_with(|| node.clone());
                *place = node;
                place.fill()
            }
            _ => unreachable!("it was made a map"),
        }
    }
}

/// The current model.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Api;

/// The only error of a dynamic model.
#[derive(Debug)]
pub(crate) struct Error(String, Option<Fault>);

impl From<Fault> for Error {
    fn from(fault: Fault) -> Self {
        Self(String::new(), Some(fault))
    }
}

impl std::fmt::Display for Error {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Error {}

impl ServiceError for Error {
    fn by_role(_: Role, message: String) -> Self {
        Self(message, None)
    }
    fn by_name(_: &str, message: String) -> Option<Self> {
        Some(Self(message, None))
    }
    fn schema(&self) -> &'static ErrorSchema {
        &ERRORS[0]
    }
    fn shape(&self) -> Option<&dyn Shape> {
        None
    }
    fn modelled_message(&self) -> Option<&str> {
        Some(&self.0)
    }
    fn fault(&self) -> Option<&Fault> {
        self.1.as_ref()
    }
}

impl Model for Api {
    type Request = Node;
    type Response = Node;
    type Error = Error;

    fn service() -> &'static ServiceSchema {
        static NONE: ServiceSchema = ServiceSchema {
            name: "none",
            signing_name: "none",
            endpoint_prefix: "none",
            version: "",
            protocols: &[],
            target_prefix: None,
            xml_namespace: None,
            error_namespace: None,
            query_compatible: false,
            body_bytes_max: 0,
            missing_parameter: None,
            operations: &[],
            unsupported: &[],
            errors: &[],
        };
        SERVICE.lock().unwrap_or_else(PoisonError::into_inner).unwrap_or(&NONE)
    }
    fn request(operation: &Operation) -> Option<Node> {
        Some(Node::new(operation.input))
    }
    fn operation(_: &Node) -> &'static Operation {
        &Self::service().operations[0]
    }
    fn input(request: &Node) -> &dyn Shape {
        request
    }
    fn input_mut(request: &mut Node) -> &mut dyn Shape {
        request
    }
    fn response(operation: &Operation) -> Option<Node> {
        Some(Node::new(operation.output.unwrap_or(&EMPTY)))
    }
    fn output(response: &Node) -> Option<&dyn Shape> {
        Self::service().operations[0].output.map(|_| response as &dyn Shape)
    }
    fn output_mut(response: &mut Node) -> Option<&mut dyn Shape> {
        Some(response)
    }
}
