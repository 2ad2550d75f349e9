//! A service model in botocore's form. Guarantee: a trait that code generation does not know is an error, so nothing of
//! a model is silently ignored; prose is dropped; the order of members and operations is the model's.

use std::fmt;

use serde::{
    Deserialize, Deserializer, Serialize, Serializer,
    de::{IgnoredAny, MapAccess, Visitor},
    ser::SerializeMap,
};

/// A JSON object that keeps its order.
#[derive(Clone, Debug)]
pub(crate) struct Ordered<T>(pub(crate) Vec<(String, T)>);

impl<T> Default for Ordered<T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<T> Ordered<T> {
    pub(crate) fn get(&self, name: &str) -> Option<&T> {
        self.0.iter().find(|(key, _)| key == name).map(|(_, value)| value)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&str, &T)> {
        self.0.iter().map(|(key, value)| (key.as_str(), value))
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Ordered<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Entries<T>(std::marker::PhantomData<T>);
        impl<'de, T: Deserialize<'de>> Visitor<'de> for Entries<T> {
            type Value = Ordered<T>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut entries = Vec::new();
                while let Some(entry) = map.next_entry()? {
                    entries.push(entry);
                }
                Ok(Ordered(entries))
            }
        }
        deserializer.deserialize_map(Entries(std::marker::PhantomData))
    }
}

impl<T: Serialize> Serialize for Ordered<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.0.len()))?;
        for (key, value) in &self.0 {
            map.serialize_entry(key, value)?;
        }
        map.end()
    }
}

fn no(value: &bool) -> bool {
    !value
}

#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Metadata {
    pub api_version: String,
    pub endpoint_prefix: String,
    pub protocol: String,
    pub service_id: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub json_version: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signing_name: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target_prefix: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub xml_namespace: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub aws_query_compatible: Option<Ordered<String>>,
}

#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct Model {
    pub metadata: Metadata,
    pub operations: Ordered<Operation>,
    /// Operations outside the allow-list (slim models only).
    #[serde(default, skip_serializing_if = "Ordered::is_empty")]
    pub unsupported: Ordered<Http>,
    pub shapes: Ordered<Shape>,
    #[serde(default, skip_serializing)]
    #[expect(dead_code, reason = "prose, dropped")]
    pub documentation: Option<IgnoredAny>,
    #[serde(default, skip_serializing)]
    #[expect(dead_code, reason = "how a client finds AWS's endpoint")]
    pub client_context_params: Option<IgnoredAny>,
    #[serde(default, skip_serializing)]
    #[expect(dead_code, reason = "the format's version, always 2.0")]
    pub version: Option<IgnoredAny>,
    #[serde(default, skip_serializing)]
    #[expect(dead_code, reason = "examples are in files of their own; the key is empty")]
    pub examples: Option<IgnoredAny>,
}

#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct Http {
    pub method: String,
    pub request_uri: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub response_code: Option<u16>,
}

#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct Operation {
    pub name: String,
    pub http: Http,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub input: Option<InOut>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub output: Option<InOut>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub errors: Vec<InOut>,
    #[serde(default, skip_serializing_if = "no")]
    pub readonly: bool,
    #[serde(default, skip_serializing)]
    #[expect(dead_code, reason = "a hint to clients that retry")]
    pub idempotent: Option<IgnoredAny>,
    #[serde(default, skip_serializing)]
    #[expect(dead_code, reason = "prose")]
    pub documentation: Option<IgnoredAny>,
    #[serde(default, skip_serializing)]
    #[expect(dead_code, reason = "prose")]
    pub deprecated: Option<IgnoredAny>,
    #[serde(default, skip_serializing)]
    #[expect(dead_code, reason = "prose")]
    pub deprecated_message: Option<IgnoredAny>,
    #[serde(default, skip_serializing)]
    #[expect(dead_code, reason = "how a client signs; every operation here accepts Signature Version 4")]
    pub auth: Option<IgnoredAny>,
    #[serde(default, skip_serializing)]
    #[expect(dead_code, reason = "how a client signs")]
    pub authtype: Option<IgnoredAny>,
    #[serde(default, skip_serializing)]
    #[expect(dead_code, reason = "a host prefix that only AWS's own endpoints have")]
    pub endpoint: Option<IgnoredAny>,
    #[serde(default, skip_serializing, rename = "endpointdiscovery")]
    #[expect(dead_code, reason = "how a client finds an endpoint of its own; ours serves all")]
    pub endpoint_discovery: Option<IgnoredAny>,
    #[serde(default, skip_serializing, rename = "endpointoperation")]
    #[expect(dead_code, reason = "which operation tells a client its endpoint")]
    pub endpoint_operation: Option<IgnoredAny>,
    #[serde(default, skip_serializing)]
    #[expect(dead_code, reason = "from which members a client derives AWS's host name")]
    pub operation_context_params: Option<IgnoredAny>,
    #[serde(default, skip_serializing)]
    #[expect(dead_code, reason = "from which members a client derives AWS's host name")]
    pub static_context_params: Option<IgnoredAny>,
    #[serde(default, skip_serializing)]
    #[expect(dead_code, reason = "which checksums a client makes: the service looks at what came")]
    pub http_checksum: Option<IgnoredAny>,
    #[serde(default, skip_serializing)]
    #[expect(dead_code, reason = "how a client signs")]
    pub unsigned_payload: Option<IgnoredAny>,
}

#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct InOut {
    pub shape: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub result_wrapper: Option<String>,
    #[serde(default, skip_serializing)]
    #[expect(dead_code, reason = "the outermost element of a request without a payload; any is read")]
    pub location_name: Option<IgnoredAny>,
    #[serde(default, skip_serializing)]
    #[expect(dead_code, reason = "a document's namespace is that of its service")]
    pub xml_namespace: Option<IgnoredAny>,
    #[serde(default, skip_serializing)]
    #[expect(dead_code, reason = "prose")]
    pub documentation: Option<IgnoredAny>,
}

/// A reference to a shape with the traits of the place: a member, an item, a key, a value.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct Reference {
    pub shape: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub location: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub location_name: Option<String>,
    #[serde(default, skip_serializing_if = "no")]
    pub flattened: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timestamp_format: Option<String>,
    #[serde(default, skip_serializing_if = "no")]
    pub idempotency_token: bool,
    #[serde(default, skip_serializing)]
    #[expect(dead_code, reason = "whether a client's member is nullable")]
    pub r#box: Option<IgnoredAny>,
    #[serde(default, skip_serializing)]
    #[expect(dead_code, reason = "prose")]
    pub documentation: Option<IgnoredAny>,
    #[serde(default, skip_serializing)]
    #[expect(dead_code, reason = "prose")]
    pub deprecated: Option<IgnoredAny>,
    #[serde(default, skip_serializing)]
    #[expect(dead_code, reason = "prose")]
    pub deprecated_message: Option<IgnoredAny>,
    #[serde(default, skip_serializing)]
    #[expect(dead_code, reason = "how a client finds an endpoint")]
    pub context_param: Option<IgnoredAny>,
    /// The body goes through piece by piece.
    #[serde(default, skip_serializing_if = "no")]
    pub streaming: bool,
    /// An attribute of the structure's element.
    #[serde(default, skip_serializing_if = "no")]
    pub xml_attribute: bool,
    #[serde(default, skip_serializing)]
    #[expect(dead_code, reason = "a document's namespace is that of its service")]
    pub xml_namespace: Option<IgnoredAny>,
    #[serde(default, skip_serializing)]
    #[expect(dead_code, reason = "a host prefix that only AWS's own endpoints have")]
    pub host_label: Option<IgnoredAny>,
    /// The member is the event's payload as it is.
    #[serde(default, skip_serializing_if = "no")]
    pub eventpayload: bool,
    /// The member is a header of the event's frame.
    #[serde(default, skip_serializing_if = "no")]
    pub eventheader: bool,
}

/// The namespace of an element, with the prefix that its attributes use.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Namespace {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prefix: Option<String>,
    pub uri: String,
}

#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct ErrorTrait {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub http_status_code: Option<u16>,
    #[serde(default, skip_serializing_if = "no")]
    pub sender_fault: bool,
}

#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct Shape {
    pub r#type: String,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub required: Vec<String>,
    #[serde(default, skip_serializing_if = "Ordered::is_empty")]
    pub members: Ordered<Reference>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub payload: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub member: Option<Reference>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<Reference>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<Reference>,
    #[serde(default, skip_serializing_if = "no")]
    pub flattened: bool,
    #[serde(default, rename = "enum", skip_serializing_if = "Vec::is_empty")]
    pub values: Vec<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min: Option<f64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max: Option<f64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pattern: Option<String>,
    #[serde(default, skip_serializing_if = "no")]
    pub sensitive: bool,
    #[serde(default, skip_serializing_if = "no")]
    pub exception: bool,
    #[serde(default, skip_serializing_if = "no")]
    pub fault: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<ErrorTrait>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timestamp_format: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub xml_namespace: Option<Namespace>,
    #[serde(default, skip_serializing)]
    #[expect(dead_code, reason = "the name of a list's items stands at the list")]
    pub location_name: Option<IgnoredAny>,
    #[serde(default, skip_serializing)]
    #[expect(dead_code, reason = "where the model has it from")]
    pub synthetic: Option<IgnoredAny>,
    #[serde(default, skip_serializing_if = "no")]
    pub union: bool,
    #[serde(default, skip_serializing_if = "no")]
    pub eventstream: bool,
    #[serde(default, skip_serializing_if = "no")]
    pub event: bool,
    #[serde(default, skip_serializing)]
    #[expect(dead_code, reason = "how a client sends the body; a codec takes it whole")]
    pub streaming: Option<IgnoredAny>,
    #[serde(default, skip_serializing)]
    #[expect(dead_code, reason = "whether a client tries again")]
    pub retryable: Option<IgnoredAny>,
    #[serde(default, skip_serializing)]
    #[expect(dead_code, reason = "whether a client's member is nullable")]
    pub r#box: Option<IgnoredAny>,
    #[serde(default, skip_serializing)]
    #[expect(dead_code, reason = "prose")]
    pub documentation: Option<IgnoredAny>,
    #[serde(default, skip_serializing)]
    #[expect(dead_code, reason = "prose")]
    pub deprecated: Option<IgnoredAny>,
    #[serde(default, skip_serializing)]
    #[expect(dead_code, reason = "prose")]
    pub deprecated_message: Option<IgnoredAny>,
}
