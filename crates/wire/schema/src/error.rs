//! Wire errors: what a client sees. Guarantee: an error that is neither in the model nor in its patch file cannot be
//! built, so every code, status and fault that leaves Pileus was written down.

use base_types::{Fault, FaultKind};

use crate::{Offender, Schema, Shape, Violation, summary};

/// An error of a service, as it appears on the wire.
#[derive(Debug)]
pub struct ErrorSchema {
    /// The shape's name, which JSON protocols send.
    pub name: &'static str,
    /// The code that query protocols send, and query-compatible JSON ones beside the name.
    pub code: &'static str,
    /// The HTTP status.
    pub status: u16,
    /// Whether the caller is to blame (`Sender`) or the service (`Receiver`).
    pub sender: bool,
    /// Its members.
    pub shape: &'static Schema,
}

/// What every service can answer, whatever its own name for it. The patch file of a service names an error for each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// A constraint is not satisfied.
    Validation,
    /// A required parameter is absent (services that have a code of its own for this).
    MissingParameter,
    /// The body does not parse, or a value has the wrong type.
    Serialization,
    /// No such operation in this service.
    UnknownOperation,
    /// AWS has it, Pileus does not (yet).
    NotImplemented,
    /// The body is too large.
    TooLarge,
    /// A policy forbids it.
    AccessDenied,
    /// Too much at once.
    Throttled,
    /// A failure that is ours.
    Internal,
    /// A failure that is ours and passes.
    Unavailable,
    /// The access key is unknown.
    UnrecognizedClient,
    /// The signature is wrong or too old.
    InvalidSignature,
    /// The signature lacks a part.
    IncompleteSignature,
    /// There is no signature.
    MissingAuthentication,
    /// The session's token has expired.
    ExpiredToken,
}

impl Role {
    /// All roles, in the order of their discriminants.
    pub const ALL: [Self; 15] = [
        Self::Validation,
        Self::MissingParameter,
        Self::Serialization,
        Self::UnknownOperation,
        Self::NotImplemented,
        Self::TooLarge,
        Self::AccessDenied,
        Self::Throttled,
        Self::Internal,
        Self::Unavailable,
        Self::UnrecognizedClient,
        Self::InvalidSignature,
        Self::IncompleteSignature,
        Self::MissingAuthentication,
        Self::ExpiredToken,
    ];

    /// The role under which a fault is answered.
    #[must_use]
    pub fn of_fault(fault: &Fault) -> Self {
        match fault.kind() {
            FaultKind::Overloaded => Self::Throttled,
            FaultKind::Unavailable => Self::Unavailable,
            FaultKind::Conflict | FaultKind::Internal => Self::Internal,
        }
    }
}

/// What a client reads when the failure is ours; the cause is in the server's log, under the request id.
const FAULT_MESSAGE: &str = "The service encountered an internal error. Please try again.";
/// What a client reads when it should slow down.
const OVERLOAD_MESSAGE: &str = "Rate exceeded";
/// What a client reads when the service cannot serve just now.
const UNAVAILABLE_MESSAGE: &str = "The service is unavailable. Please try again shortly.";

/// The error enum of a generated model.
pub trait ServiceError: From<Fault> + std::error::Error + Send + Sync + 'static {
    /// The error that this service has for `role`.
    fn by_role(role: Role, message: String) -> Self;

    /// The error of this name, with this message; `None` when the service has none such.
    fn by_name(name: &str, message: String) -> Option<Self>;

    /// How it appears on the wire. A fault appears as the error of its [`Role::of_fault`].
    fn schema(&self) -> &'static ErrorSchema;

    /// Its members; `None` for a fault.
    fn shape(&self) -> Option<&dyn Shape>;

    /// Its message member; `None` for a fault, or when there is none.
    fn modelled_message(&self) -> Option<&str>;

    /// The fault, if it is one.
    fn fault(&self) -> Option<&Fault>;

    /// The code a client sees.
    #[expect(
        clippy::misnamed_getters,
        reason = "what AWS calls a code is the error's name; `ErrorSchema::code` is query's"
    )]
    fn code(&self) -> &'static str {
        self.schema().name
    }

    /// The HTTP status.
    fn status(&self) -> u16 {
        self.schema().status
    }

    /// The text a client sees.
    fn message(&self) -> &str {
        let Some(fault) = self.fault() else { return self.modelled_message().unwrap_or_default() };
        fault.told().unwrap_or(match Role::of_fault(fault) {
            Role::Throttled => OVERLOAD_MESSAGE,
            Role::Unavailable => UNAVAILABLE_MESSAGE,
            _ => FAULT_MESSAGE,
        })
    }

    /// A policy forbids it.
    #[must_use]
    fn access_denied(message: impl Into<String>) -> Self {
        Self::by_role(Role::AccessDenied, message.into())
    }

    /// A constraint is not satisfied; `message` is whole.
    #[must_use]
    fn validation(message: impl Into<String>) -> Self {
        Self::by_role(Role::Validation, message.into())
    }

    /// Too much at once.
    #[must_use]
    fn throttled(message: impl Into<String>) -> Self {
        Self::by_role(Role::Throttled, message.into())
    }

    /// AWS has it, Pileus does not; `what` names it.
    #[must_use]
    fn not_implemented(what: &str) -> Self {
        Self::by_role(Role::NotImplemented, format!("Pileus does not support {what} yet."))
    }

    /// The error for `violations`, of which there is at least one. `missing` is the message, with `{}` for the member,
    /// of services that have an error of its own for an absent parameter.
    #[must_use]
    fn violated(violations: &[Violation], missing: Option<&str>) -> Self {
        if let Some(template) = missing
            && let Some(first) = violations.iter().find(|violation| violation.value == Offender::Null)
        {
            return Self::by_role(Role::MissingParameter, template.replace("{}", first.member));
        }
        Self::by_role(Role::Validation, summary(violations))
    }
}
