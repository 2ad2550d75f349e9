//! From what the domain objects to, to what AWS answers. One match a kind; the texts are the domain's own.

use model_lambda::{AccessDeniedException, Error, ThrottleReason, TooManyRequestsException};
use wire_schema::ServiceError as _;

use crate::{
    archive::ArchiveError, configuration::ConfigurationError, event_invoke::EventInvokeError, function::ChangeError,
    layers::LayerError, names::NameError, permission::InvalidPrincipal, provisioned::ProvisionedError,
    switches::SwitchError,
};

impl From<NameError> for Error {
    fn from(error: NameError) -> Self {
        match error {
            NameError::QualifierMismatch | NameError::Malformed(_) => {
                Self::invalid_parameter_value_exception(error.to_string())
            }
            NameError::OtherRegion { .. } => Self::resource_not_found_exception(error.to_string()),
            // AWS says nothing more.
            NameError::OtherAccount(_) => AccessDeniedException::default().into(),
        }
    }
}

impl From<ArchiveError> for Error {
    fn from(error: ArchiveError) -> Self {
        match error {
            ArchiveError::ZippedTooLarge(_) => Self::request_entity_too_large_exception(error.to_string()),
            ArchiveError::Empty
            | ArchiveError::Broken
            | ArchiveError::Hostile { .. }
            | ArchiveError::TooManyEntries(_)
            | ArchiveError::UnzippedTooLarge(_) => Self::invalid_parameter_value_exception(error.to_string()),
        }
    }
}

impl From<ConfigurationError> for Error {
    fn from(error: ConfigurationError) -> Self {
        if error.is_validation() {
            Self::validation(error.to_string())
        } else {
            Self::invalid_parameter_value_exception(error.to_string())
        }
    }
}

impl From<ChangeError> for Error {
    fn from(error: ChangeError) -> Self {
        match error {
            ChangeError::UpdateInProgress(_) | ChangeError::NotActive(_) => {
                Self::resource_conflict_exception(error.to_string())
            }
            ChangeError::Revision => Self::precondition_failed_exception(error.to_string()),
            ChangeError::CodeDigest { .. }
            | ChangeError::TooManyWeights
            | ChangeError::WeightOnSameVersion(_)
            | ChangeError::WeightWithLatest => Self::invalid_parameter_value_exception(error.to_string()),
        }
    }
}

impl From<InvalidPrincipal> for Error {
    fn from(error: InvalidPrincipal) -> Self {
        Self::invalid_parameter_value_exception(error.to_string())
    }
}

impl From<LayerError> for Error {
    fn from(error: LayerError) -> Self {
        Self::invalid_parameter_value_exception(error.to_string())
    }
}

impl From<EventInvokeError> for Error {
    fn from(error: EventInvokeError) -> Self {
        Self::invalid_parameter_value_exception(error.to_string())
    }
}

impl From<SwitchError> for Error {
    fn from(error: SwitchError) -> Self {
        Self::invalid_parameter_value_exception(error.to_string())
    }
}

impl From<ProvisionedError> for Error {
    fn from(error: ProvisionedError) -> Self {
        let text = error.to_string();
        match error {
            ProvisionedError::AliasOfProvisioned | ProvisionedError::VersionOfAlias => {
                Self::resource_conflict_exception(text)
            }
            ProvisionedError::None => Self::provisioned_concurrency_config_not_found_exception(text),
            ProvisionedError::Unpublished
            | ProvisionedError::NotPublished
            | ProvisionedError::SnapStart
            | ProvisionedError::AboveReserved
            | ProvisionedError::ReservedBelow { .. }
            | ProvisionedError::AboveUnreserved(_)
            | ProvisionedError::BelowMinimum(_) => Self::invalid_parameter_value_exception(text),
        }
    }
}

/// `TooManyRequestsException` with its reason, a word of Lambda's `ThrottleReason`.
pub(crate) fn throttled(reason: &str) -> Error {
    TooManyRequestsException {
        r#type: Some("User".to_owned()),
        message: Some("Rate Exceeded.".to_owned()),
        reason: reason.parse::<ThrottleReason>().ok(),
        ..TooManyRequestsException::default()
    }
    .into()
}

/// `Function not found: …`.
pub(crate) fn function_not_found(arn: &str) -> Error {
    Error::resource_not_found_exception(format!("Function not found: {arn}"))
}

/// The general not-found answer of policies and URLs.
pub(crate) fn resource_not_found() -> Error {
    Error::resource_not_found_exception("The resource you requested does not exist.")
}
