//! A service's table of operations, and the traits through which a dispatcher that knows no service runs them.

use crate::{ErrorSchema, Schema, ServiceError, Shape};

/// Everything that is known of a service without running it.
#[derive(Debug)]
pub struct ServiceSchema {
    /// The model's folder name: `lambda`, `logs`, `sts`, `sqs`.
    pub name: &'static str,
    /// The name in a signature's credential scope.
    pub signing_name: &'static str,
    /// The first label of AWS's host names.
    pub endpoint_prefix: &'static str,
    /// The API's version, a date.
    pub version: &'static str,
    /// The protocols it speaks, preferred first.
    pub protocols: &'static [Protocol],
    /// What stands before the dot in `X-Amz-Target`.
    pub target_prefix: Option<&'static str>,
    /// The namespace of its XML answers.
    pub xml_namespace: Option<&'static str>,
    /// What stands before an error's name in `__type`.
    pub error_namespace: Option<&'static str>,
    /// JSON errors carry `x-amzn-query-error` for clients that grew up with the query protocol.
    pub query_compatible: bool,
    /// The greatest body, in bytes, of operations that do not say otherwise.
    pub body_bytes_max: usize,
    /// The message, with `{}` for the member, of services that have an error of its own for an absent parameter.
    pub missing_parameter: Option<&'static str>,
    /// The operations that are there.
    pub operations: &'static [Operation],
    /// The operations that AWS has and we do not.
    pub unsupported: &'static [UnsupportedOperation],
    /// All errors: modelled ones, then common ones.
    pub errors: &'static [ErrorSchema],
}

/// How requests and answers are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// `application/x-amz-json-1.0`, operation in `X-Amz-Target`.
    Json10,
    /// `application/x-amz-json-1.1`, operation in `X-Amz-Target`.
    Json11,
    /// Operation in method and path, JSON documents.
    RestJson,
    /// Operation in method and path, XML documents.
    RestXml,
    /// Operation in the form parameter `Action`, XML answers.
    Query,
}

/// How an operation runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// A synchronous, re-runnable function inside the dispatcher's transaction.
    Transactional,
    /// The same for what a resource holds (a message, an event, an item) rather than for the resource itself: it leaves
    /// no record in the audit trail, as CloudTrail keeps no data events unless asked to.
    Data,
    /// Asynchronous; opens short transactions itself.
    Flow,
}

/// An operation.
#[derive(Debug)]
pub struct Operation {
    /// `CreateFunction`.
    pub name: &'static str,
    /// Its position in [`ServiceSchema::operations`].
    pub index: usize,
    /// Method, path and status.
    pub http: HttpBinding,
    /// What it takes.
    pub input: &'static Schema,
    /// What it gives, if anything.
    pub output: Option<&'static Schema>,
    /// The element around the answer (query protocol).
    pub result_wrapper: Option<&'static str>,
    /// How it runs.
    pub class: Class,
    /// Whether it only reads.
    pub read_only: bool,
    /// The IAM action that permits it.
    pub action: &'static str,
    /// The greatest body, in bytes.
    pub body_bytes_max: usize,
}

/// Method, path and status of a rest operation; `POST /` and 200 elsewhere.
#[derive(Debug)]
pub struct HttpBinding {
    /// The method.
    pub method: &'static str,
    /// The path, segment by segment.
    pub path: &'static [Segment],
    /// Query parameters that tell operations apart.
    pub query: &'static [(&'static str, &'static str)],
    /// The status of a successful answer.
    pub status: u16,
    /// The type of an answer whose body is a blob.
    pub payload_type: &'static str,
}

/// A segment of a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Segment {
    /// This text.
    Literal(&'static str),
    /// A label, by its name on the wire.
    Label(&'static str),
    /// A label that takes all that is left.
    Greedy(&'static str),
}

/// An operation that AWS has and we do not: known, so that the answer can name it.
#[derive(Debug)]
pub struct UnsupportedOperation {
    /// Its name.
    pub name: &'static str,
    /// Its method.
    pub method: &'static str,
    /// Its path.
    pub path: &'static [Segment],
    /// Query parameters that tell operations apart.
    pub query: &'static [(&'static str, &'static str)],
}

impl ServiceSchema {
    /// The operation of this name.
    #[must_use]
    pub fn operation(&self, name: &str) -> Option<&'static Operation> {
        self.operations.iter().find(|operation| operation.name == name)
    }

    /// The operation of this name that AWS has and we do not.
    #[must_use]
    pub fn unsupported(&self, name: &str) -> Option<&'static UnsupportedOperation> {
        self.unsupported.iter().find(|operation| operation.name == name)
    }
}

/// A generated model, as the type `Api` of its crate: so that codecs, dispatcher and gateway are written once.
pub trait Model: Send + Sync + 'static {
    /// An enum over the operations' inputs.
    type Request: Clone + std::fmt::Debug + PartialEq + Send + Sync + 'static;
    /// An enum over the operations' outputs.
    type Response: Clone + std::fmt::Debug + PartialEq + Send + Sync + 'static;
    /// The service's errors.
    type Error: ServiceError;

    /// The service's table.
    fn service() -> &'static ServiceSchema;

    /// An empty input of `operation`, to be filled by a codec.
    fn request(operation: &Operation) -> Option<Self::Request>;
    /// Which operation a request is for.
    fn operation(request: &Self::Request) -> &'static Operation;
    /// A request's members.
    fn input(request: &Self::Request) -> &dyn Shape;
    /// A request's members, to be filled.
    fn input_mut(request: &mut Self::Request) -> &mut dyn Shape;
    /// An empty output of `operation`, to be filled by a codec (clients and tests).
    fn response(operation: &Operation) -> Option<Self::Response>;
    /// An answer's members; `None` for operations that give nothing.
    fn output(response: &Self::Response) -> Option<&dyn Shape>;
    /// An answer's members, to be filled.
    fn output_mut(response: &mut Self::Response) -> Option<&mut dyn Shape>;
}

/// Runs requests of a model on a service `S`, which implements the model's trait for context `C` and transaction `T`.
/// Implemented by each `Api`, for every such `S`.
pub trait Serve<S, C, T>: Model {
    /// Runs a transactional operation. A flow operation is answered as a defect of the dispatcher, which has to look at
    /// [`Operation::class`] first.
    ///
    /// # Errors
    /// Those of the operation.
    fn transact(service: &S, cx: &C, tx: &T, request: &Self::Request) -> Result<Self::Response, Self::Error>;

    /// Runs a flow operation; a transactional one is answered as a defect of the dispatcher.
    fn flow(
        service: &S,
        cx: &C,
        request: Self::Request,
    ) -> impl Future<Output = Result<Self::Response, Self::Error>> + Send;
}
