//! The tables: what a shape is called, what it holds, and where its members travel. Guarantee: all of it is `static`
//! data written by code generation; nothing is built at run time.

use crate::Pattern;

/// A named shape of a model.
#[derive(Debug)]
pub struct Schema {
    /// The model's name of the shape.
    pub name: &'static str,
    /// What it holds.
    pub kind: Kind,
    /// Least length (texts, blobs, lists, maps) or least value (numbers).
    pub min: Option<i64>,
    /// Greatest length or value.
    pub max: Option<i64>,
    /// What a text must match.
    pub pattern: Option<&'static Pattern>,
    /// Never printed in a message or a log.
    pub sensitive: bool,
    /// The text of an instant, where it is not the protocol's own.
    pub timestamp: Option<TimestampFormat>,
    /// The outermost element's name in XML documents that are this structure; empty when its one member stands there
    /// itself.
    pub xml_root: Option<&'static str>,
    /// The prefix and namespace that the attributes of this structure need in XML documents.
    pub xml_prefix: Option<(&'static str, &'static str)>,
}

/// What a shape holds.
#[derive(Debug)]
pub enum Kind {
    /// `true` or `false`.
    Boolean,
    /// 32 bits, signed.
    Integer,
    /// 64 bits, signed.
    Long,
    /// Single precision.
    Float,
    /// Double precision.
    Double,
    /// A text.
    String,
    /// Bytes; base64 inside a JSON, form or XML document.
    Blob,
    /// A body that is handed on piece by piece.
    Stream,
    /// An instant.
    Timestamp,
    /// A text out of a closed set.
    Enum(&'static [&'static str]),
    /// An ordered list.
    List {
        /// The items' schema.
        member: &'static Schema,
        /// The items' name in form and XML documents; `member` unless the model says otherwise.
        name: &'static str,
        /// Items stand directly in the parent in form and XML documents.
        flattened: bool,
        /// Whether AWS's list constraint also says that an item must not be null.
        items_required: bool,
    },
    /// A map with text keys.
    Map {
        /// The keys' schema.
        key: &'static Schema,
        /// The values' schema.
        value: &'static Schema,
        /// The key's name in form and XML documents.
        key_name: &'static str,
        /// The value's name in form and XML documents.
        value_name: &'static str,
        /// Entries stand directly in the parent in form and XML documents.
        flattened: bool,
    },
    /// A structure.
    Structure {
        /// Its members, in the model's order; [`crate::Shape`] is asked by this index.
        members: &'static [Member],
        /// Which member is the body itself (rest protocols).
        payload: Option<usize>,
    },
}

/// A member of a structure.
#[derive(Debug)]
pub struct Member {
    /// The model's name.
    pub name: &'static str,
    /// The name in documents, headers, query strings and labels.
    pub wire_name: &'static str,
    /// The name in form documents, where it differs (services that speak query beside another protocol).
    pub form_name: &'static str,
    /// Its shape.
    pub schema: &'static Schema,
    /// Where it travels (rest protocols).
    pub location: Location,
    /// Must be there.
    pub required: bool,
    /// Overrides the list's or map's own flag (form and XML documents).
    pub flattened: bool,
    /// The text of an instant, where it is not the protocol's own.
    pub timestamp: Option<TimestampFormat>,
    /// An attribute of the structure's element in XML documents.
    pub xml_attribute: bool,
    /// What Pileus does with it when a client sends it.
    pub mark: Mark,
    /// Filled with a fresh token when the client leaves it out.
    pub idempotency_token: bool,
}

/// Where a member of a top-level structure travels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Location {
    /// In the document, or the document itself.
    Body,
    /// A label of the path.
    Label,
    /// A parameter of the query string.
    Query,
    /// A header.
    Header,
    /// All headers with a prefix.
    PrefixHeaders,
    /// The status code of the answer.
    StatusCode,
    /// A header of the event's frame.
    EventHeader,
    /// The payload of the event's frame, as it is.
    EventPayload,
}

/// How an instant is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TimestampFormat {
    /// `2026-11-23T12:00:00Z`
    Iso8601,
    /// `Mon, 23 Nov 2026 12:00:00 GMT`
    HttpDate,
    /// Seconds since 1970, with a fraction where there is one.
    Seconds,
}

/// What Pileus does with an input member.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mark {
    /// It has the effect that AWS gives it. (Members of answers carry this mark too.)
    Enforced,
    /// It is kept and given back, without effect; listed in the documentation.
    Stored,
    /// A request that has it is answered with an error that names it, unless it says what happens anyway.
    Refused(Tolerated),
}

/// The values of a refused member that change nothing, and are therefore let through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tolerated {
    /// None.
    Nothing,
    /// `""`, `[]`, `{}`, `false`, and structures of only such.
    Empty,
    /// This text.
    Text(&'static str),
}

impl Schema {
    const fn new(name: &'static str, kind: Kind) -> Self {
        Self {
            name,
            kind,
            min: None,
            max: None,
            pattern: None,
            sensitive: false,
            timestamp: None,
            xml_root: None,
            xml_prefix: None,
        }
    }

    /// `boolean`.
    #[must_use]
    pub const fn boolean(name: &'static str) -> Self {
        Self::new(name, Kind::Boolean)
    }

    /// `integer`.
    #[must_use]
    pub const fn integer(name: &'static str) -> Self {
        Self::new(name, Kind::Integer)
    }

    /// `long`.
    #[must_use]
    pub const fn long(name: &'static str) -> Self {
        Self::new(name, Kind::Long)
    }

    /// `float`.
    #[must_use]
    pub const fn float(name: &'static str) -> Self {
        Self::new(name, Kind::Float)
    }

    /// `double`.
    #[must_use]
    pub const fn double(name: &'static str) -> Self {
        Self::new(name, Kind::Double)
    }

    /// `string`.
    #[must_use]
    pub const fn string(name: &'static str) -> Self {
        Self::new(name, Kind::String)
    }

    /// `blob`.
    #[must_use]
    pub const fn blob(name: &'static str) -> Self {
        Self::new(name, Kind::Blob)
    }

    /// A `blob` that is handed on piece by piece.
    #[must_use]
    pub const fn stream(name: &'static str) -> Self {
        Self::new(name, Kind::Stream)
    }

    /// `timestamp`.
    #[must_use]
    pub const fn timestamp(name: &'static str) -> Self {
        Self::new(name, Kind::Timestamp)
    }

    /// A `string` with a closed set of values.
    #[must_use]
    pub const fn enumeration(name: &'static str, values: &'static [&'static str]) -> Self {
        Self::new(name, Kind::Enum(values))
    }

    /// `list`.
    #[must_use]
    pub const fn list(name: &'static str, member: &'static Schema) -> Self {
        Self::new(name, Kind::List { member, name: "member", flattened: false, items_required: true })
    }

    /// `map`.
    #[must_use]
    pub const fn map(name: &'static str, key: &'static Schema, value: &'static Schema) -> Self {
        Self::new(name, Kind::Map { key, value, key_name: "key", value_name: "value", flattened: false })
    }

    /// `structure`.
    #[must_use]
    pub const fn structure(name: &'static str, members: &'static [Member]) -> Self {
        Self::new(name, Kind::Structure { members, payload: None })
    }

    /// The same structure, whose member `index` is the body itself.
    #[must_use]
    pub const fn payload(mut self, index: usize) -> Self {
        if let Kind::Structure { payload, .. } = &mut self.kind {
            *payload = Some(index);
        }
        self
    }

    /// The same list or map, flattened.
    #[must_use]
    pub const fn flattened(mut self) -> Self {
        match &mut self.kind {
            Kind::List { flattened, .. } | Kind::Map { flattened, .. } => *flattened = true,
            _ => {}
        }
        self
    }

    /// The same list, whose items are called `item`.
    #[must_use]
    pub const fn item_name(mut self, item: &'static str) -> Self {
        if let Kind::List { name, .. } = &mut self.kind {
            *name = item;
        }
        self
    }

    /// The same list, whose constraint does not speak of null items.
    #[must_use]
    pub const fn items_nullable(mut self) -> Self {
        if let Kind::List { items_required, .. } = &mut self.kind {
            *items_required = false;
        }
        self
    }

    /// The same map with other names for keys and values.
    #[must_use]
    pub const fn entry_names(mut self, key: &'static str, value: &'static str) -> Self {
        if let Kind::Map { key_name, value_name, .. } = &mut self.kind {
            *key_name = key;
            *value_name = value;
        }
        self
    }

    /// With a least length or value.
    #[must_use]
    pub const fn min(mut self, min: i64) -> Self {
        self.min = Some(min);
        self
    }

    /// With a greatest length or value.
    #[must_use]
    pub const fn max(mut self, max: i64) -> Self {
        self.max = Some(max);
        self
    }

    /// With a pattern.
    #[must_use]
    pub const fn pattern(mut self, pattern: &'static Pattern) -> Self {
        self.pattern = Some(pattern);
        self
    }

    /// Never to be printed.
    #[must_use]
    pub const fn sensitive(mut self) -> Self {
        self.sensitive = true;
        self
    }

    /// With a text of its own for instants.
    #[must_use]
    pub const fn format(mut self, format: TimestampFormat) -> Self {
        self.timestamp = Some(format);
        self
    }

    /// The same structure, with its element's name as a document of its own.
    #[must_use]
    pub const fn xml_root(mut self, name: &'static str) -> Self {
        self.xml_root = Some(name);
        self
    }

    /// The same structure, with what its attributes need.
    #[must_use]
    pub const fn xml_prefix(mut self, prefix: &'static str, namespace: &'static str) -> Self {
        self.xml_prefix = Some((prefix, namespace));
        self
    }

    /// The members of a structure; empty for everything else.
    #[must_use]
    pub const fn members(&self) -> &'static [Member] {
        match self.kind {
            Kind::Structure { members, .. } => members,
            _ => &[],
        }
    }
}

impl Member {
    /// An optional member of the document, marked as enforced.
    #[must_use]
    pub const fn new(name: &'static str, schema: &'static Schema) -> Self {
        Self {
            name,
            wire_name: name,
            form_name: name,
            schema,
            location: Location::Body,
            required: false,
            flattened: false,
            timestamp: None,
            xml_attribute: false,
            mark: Mark::Enforced,
            idempotency_token: false,
        }
    }

    /// With another name on the wire.
    #[must_use]
    pub const fn wire(mut self, name: &'static str) -> Self {
        self.wire_name = name;
        self.form_name = name;
        self
    }

    /// With another name in form documents.
    #[must_use]
    pub const fn form(mut self, name: &'static str) -> Self {
        self.form_name = name;
        self
    }

    /// Must be there.
    #[must_use]
    pub const fn required(mut self) -> Self {
        self.required = true;
        self
    }

    /// Travels elsewhere than in the document.
    #[must_use]
    pub const fn at(mut self, location: Location) -> Self {
        self.location = location;
        self
    }

    /// Flattened in form and XML documents.
    #[must_use]
    pub const fn flattened(mut self) -> Self {
        self.flattened = true;
        self
    }

    /// An attribute in XML documents.
    #[must_use]
    pub const fn xml_attribute(mut self) -> Self {
        self.xml_attribute = true;
        self
    }

    /// With a text of its own for instants.
    #[must_use]
    pub const fn timestamp(mut self, format: TimestampFormat) -> Self {
        self.timestamp = Some(format);
        self
    }

    /// Kept without effect.
    #[must_use]
    pub const fn stored(mut self) -> Self {
        self.mark = Mark::Stored;
        self
    }

    /// Answered with an error that names it.
    #[must_use]
    pub const fn refused(mut self, unless: Tolerated) -> Self {
        self.mark = Mark::Refused(unless);
        self
    }

    /// Filled with a fresh token when it is left out.
    #[must_use]
    pub const fn idempotency_token(mut self) -> Self {
        self.idempotency_token = true;
        self
    }

    /// The text of an instant, where it is not the protocol's own.
    #[must_use]
    pub const fn timestamp_format(&self) -> Option<TimestampFormat> {
        match self.timestamp {
            None => self.schema.timestamp,
            own => own,
        }
    }

    /// Whether list items or map entries stand directly in the parent (form and XML documents).
    #[must_use]
    pub const fn is_flattened(&self) -> bool {
        self.flattened
            || matches!(self.schema.kind, Kind::List { flattened: true, .. } | Kind::Map { flattened: true, .. })
    }
}
