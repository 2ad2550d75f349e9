//! The one seam through which an operation asks "may they?".
//!
//! Every operation names its IAM action and the resource's ARN and passes here. Until identity policies exist, a principal
//! may do everything within its own account; another account, a service or nobody in particular may do nothing that a
//! resource's own policy does not allow.

use base_types::Arn;
use store_api::Tx;
use wire_schema::ServiceError;

use crate::Cx;

impl Cx {
    /// Permits `action` on `resource` to this context's principal.
    ///
    /// # Errors
    /// The service's access-denied error, in AWS's words.
    pub fn authorize<E: ServiceError>(&self, _tx: &Tx, action: &str, resource: &Arn) -> Result<(), E> {
        let same_account =
            self.principal.account().is_some_and(|own| resource.account.is_empty() || own.as_str() == resource.account);
        if same_account { Ok(()) } else { Err(denied(self, action, resource)) }
    }
}

fn denied<E: ServiceError>(cx: &Cx, action: &str, resource: &Arn) -> E {
    E::access_denied(format!(
        "User: {} is not authorized to perform: {action} on resource: {resource} because no resource-based policy allows the {action} action",
        cx.principal
    ))
}
