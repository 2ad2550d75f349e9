//! The two hand-written files beside a slim model: `operations.toml` (what is there, and how it runs) and `patch.toml`
//! (what the model lacks or has wrong). Guarantee: an unknown key is an error.

use std::collections::BTreeMap;

use serde::Deserialize;

/// `operations.toml`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Allowed {
    /// botocore's folder name and, when it has several, the API version.
    pub service: String,
    pub version: String,
    /// Operation → `transactional`, `transactional read`, `flow` or `flow read`.
    pub operations: BTreeMap<String, String>,
}

/// `patch.toml`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Patch {
    /// The trait's name.
    pub r#trait: String,
    /// `json-1.0`, `json-1.1`, `rest-json`, `rest-xml`, `query`; preferred first.
    pub protocols: Vec<String>,
    /// What stands before the colon of an IAM action.
    pub iam_prefix: String,
    pub body_bytes_max: u64,
    #[serde(default)]
    pub body_bytes_max_of: BTreeMap<String, u64>,
    /// For services that have an error of its own for an absent parameter.
    pub missing_parameter: Option<String>,
    /// For services that speak query beside the model's protocol.
    pub xml_namespace: Option<String>,
    /// What stands before an error's name in the `__type` of JSON protocols.
    pub error_namespace: Option<String>,
    /// Operation → type of an answer whose body is a blob.
    #[serde(default)]
    pub payload_types: BTreeMap<String, String>,
    /// Enums whose set AWS checks elsewhere, or not at all: texts here.
    #[serde(default)]
    pub open_enums: Vec<String>,
    /// Operation → IAM action, where it is not the operation's name.
    #[serde(default)]
    pub actions: BTreeMap<String, String>,
    /// Operation → status of the answer, where it is not the model's.
    #[serde(default)]
    pub status: BTreeMap<String, u16>,
    /// Shape → corrected constraints.
    #[serde(default)]
    pub shapes: BTreeMap<String, ShapePatch>,
    /// `Shape.Member` → name in form documents.
    #[serde(default)]
    pub form_names: BTreeMap<String, String>,
    /// Output structure → the outermost element of its XML document; `""` when its one member stands there itself.
    #[serde(default)]
    pub xml_roots: BTreeMap<String, String>,
    /// Role → error.
    pub roles: BTreeMap<String, String>,
    /// Errors that the model lacks, and corrections of those it has.
    #[serde(default)]
    pub errors: BTreeMap<String, ErrorPatch>,
    /// Input structure → marks of its members.
    pub marks: BTreeMap<String, Marks>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ShapePatch {
    pub min: Option<i64>,
    pub max: Option<i64>,
    /// Removes the model's least or greatest size.
    #[serde(default)]
    pub unbounded: bool,
    /// The expression as AWS prints it.
    pub pattern: Option<String>,
    /// How it is tested, where it cannot be derived.
    pub expression: Option<String>,
    pub refused: Option<String>,
    /// No pattern at all.
    #[serde(default)]
    pub unpatterned: bool,
    /// The values in AWS's order.
    #[serde(default)]
    pub values: Vec<String>,
    /// AWS's list constraint does not speak of null items.
    #[serde(default)]
    pub items_nullable: bool,
    /// Names of a map's key and value in form and XML documents.
    pub entry_names: Option<[String; 2]>,
    /// The name of a list's items in form and XML documents.
    pub item_name: Option<String>,
    /// Members that the model requires and AWS leaves out.
    #[serde(default)]
    pub optional: Vec<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ErrorPatch {
    pub status: Option<u16>,
    /// The code of query protocols; the name when absent.
    pub code: Option<String>,
    pub sender: Option<bool>,
    /// The message member of an error that the model lacks: `message` or `Message`.
    pub message: Option<String>,
    /// Its members beside the message, where the model lacks them: texts.
    #[serde(default)]
    pub members: Vec<String>,
    /// Whether it has a `Type` member.
    #[serde(default)]
    pub r#type: bool,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Marks {
    #[serde(default)]
    pub enforced: Vec<String>,
    #[serde(default)]
    pub stored: Vec<String>,
    #[serde(default)]
    pub rejected: Vec<String>,
    /// Rejected, unless empty.
    #[serde(default)]
    pub rejected_unless_empty: Vec<String>,
    /// Rejected, unless it is this text.
    #[serde(default)]
    pub rejected_unless: BTreeMap<String, String>,
}
