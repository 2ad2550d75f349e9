//! The one seam through which an operation asks "may they?".
//!
//! Every operation names its IAM action and the resource's ARN and passes here. Until identity policies exist, a principal
//! may do everything within its own account; another account, a service or nobody in particular may do only what the
//! resource's own policy allows. An explicit denial in that policy always wins.

use std::sync::OnceLock;

use base_types::{AccountId, Arn};
use lang_policy::{Access, Caller, Context, Decision, Kind, Policy, Request};
use store_api::Tx;
use wire_schema::ServiceError;

use crate::{Cx, Principal};

impl Cx {
    /// Permits `action` on `resource`, which has no policy of its own.
    ///
    /// # Errors
    /// The service's access-denied error, in AWS's words.
    pub fn authorize<E: ServiceError>(&self, _tx: &Tx, action: &str, resource: &Arn) -> Result<(), E> {
        self.authorize_by(action, resource, None, &self.conditions())
    }

    /// Permits `action` on `resource`, which has (or lacks) a policy. `conditions` are [`Cx::conditions`] and what the
    /// service itself knows (`lambda:FunctionUrlAuthType`, …).
    ///
    /// # Errors
    /// The service's access-denied error, in AWS's words.
    pub fn authorize_by<E: ServiceError>(
        &self,
        action: &str,
        resource: &Arn,
        policy: Option<&Policy>,
        conditions: &Context,
    ) -> Result<(), E> {
        let caller = self.caller();
        let text = resource.to_string();
        let request = Request { caller: &caller, action, resource: &text, context: conditions };
        let access = Access {
            identity: &[everything()],
            limits: &[],
            resource: policy,
            owner: resource.account.parse().unwrap_or(self.account),
        };
        let reason = match access.decide(&request) {
            Decision::Allow => return Ok(()),
            Decision::ExplicitDeny { .. } => "with an explicit deny in a resource-based policy".to_owned(),
            Decision::ImplicitDeny => format!("because no resource-based policy allows the {action} action"),
        };
        let principal = &self.principal;
        Err(E::access_denied(format!(
            "User: {principal} is not authorized to perform: {action} on resource: {text} {reason}"
        )))
    }

    /// Whether the caller may do everything with what `owner` owns, unless a resource's own policy says otherwise: then
    /// nothing has to be evaluated for a resource that has none. What is asked on every invocation asks this first.
    #[must_use]
    pub fn owns(&self, owner: AccountId) -> bool {
        match &*self.principal {
            Principal::Root { account } | Principal::AssumedRole { account, .. } => *account == owner,
            Principal::Service { .. } | Principal::Anonymous => false,
        }
    }

    /// What a policy's conditions may ask of any request (the global condition keys that we know).
    #[must_use]
    pub fn conditions(&self) -> Context {
        // Of a session, AWS gives the role's ARN here, not the session's.
        let principal = match &*self.principal {
            Principal::AssumedRole { account, role, .. } => {
                Arn::global("iam", *account, format!("role/{role}")).to_string()
            }
            other => other.arn(),
        };
        let mut context = Context::new().with("aws:PrincipalArn", principal);
        if let Some(account) = self.principal.account() {
            context.add("aws:PrincipalAccount", account.as_str());
        }
        if let Some(source) = &self.source {
            context.add("aws:SourceArn", source.arn.to_string());
            context.add("aws:SourceAccount", source.arn.account.clone());
        }
        for (key, value) in [("aws:SourceIp", &self.source_ip), ("aws:UserAgent", &self.user_agent)] {
            if !value.is_empty() {
                context.add(key, &**value);
            }
        }
        context
    }

    fn caller(&self) -> Caller {
        match &*self.principal {
            Principal::Root { account } => Caller::Root { account: *account },
            Principal::AssumedRole { account, role, session } => {
                Caller::AssumedRole { account: *account, role: role.clone(), session: session.clone() }
            }
            Principal::Service { host, .. } => Caller::Service { host: host.clone() },
            Principal::Anonymous => Caller::Anonymous,
        }
    }
}

/// The identity policy of every principal until there are others.
fn everything() -> &'static Policy {
    static EVERYTHING: OnceLock<Policy> = OnceLock::new();
    EVERYTHING.get_or_init(|| {
        let text = r#"{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"*","Resource":"*"}]}"#;
        // A document that did not parse would permit nothing: the safe side, and every test would tell.
        Policy::parse(text, Kind::Identity).unwrap_or_else(|_| Policy::of_resource())
    })
}
