//! The decision: which statements match a request, and how a caller's and a resource's policies combine.

use base_types::{AccountId, Arn};

use crate::{
    condition::Context,
    document::{Effect, Matcher, Policy, PrincipalKind, Principals, Statement, Version},
    pattern::pattern_matches,
};

/// Who asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Caller {
    /// The account itself.
    Root {
        /// Which.
        account: AccountId,
    },
    /// A user.
    User {
        /// Its account.
        account: AccountId,
        /// `arn:aws:iam::…:user/…`.
        arn: String,
    },
    /// A session of a role.
    AssumedRole {
        /// The role's account.
        account: AccountId,
        /// The role's name, without its path.
        role: String,
        /// The session's name.
        session: String,
    },
    /// A service, for example `events.amazonaws.com`.
    Service {
        /// Its host name.
        host: String,
    },
    /// Nobody in particular.
    Anonymous,
}

impl Caller {
    /// The caller's account; services and the anonymous have none.
    #[must_use]
    pub fn account(&self) -> Option<AccountId> {
        match self {
            Self::Root { account } | Self::User { account, .. } | Self::AssumedRole { account, .. } => Some(*account),
            Self::Service { .. } | Self::Anonymous => None,
        }
    }

    /// The caller's ARN, or a service's host name, or `anonymous`.
    #[must_use]
    pub fn arn(&self) -> String {
        match self {
            Self::Root { account } => Arn::global("iam", *account, "root").to_string(),
            Self::User { arn, .. } => arn.clone(),
            Self::AssumedRole { account, role, session } => {
                Arn::global("sts", *account, format!("assumed-role/{role}/{session}")).to_string()
            }
            Self::Service { host } => host.clone(),
            Self::Anonymous => "anonymous".to_owned(),
        }
    }
}

/// What is asked.
#[derive(Debug, Clone, Copy)]
pub struct Request<'a> {
    /// Who.
    pub caller: &'a Caller,
    /// `lambda:InvokeFunction`.
    pub action: &'a str,
    /// The resource's ARN; `*` for actions that have none.
    pub resource: &'a str,
    /// What else is known.
    pub context: &'a Context,
}

/// The answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decision {
    /// Permitted.
    Allow,
    /// No statement permits it.
    ImplicitDeny,
    /// A statement denies it.
    ExplicitDeny {
        /// The statement's `Sid`, when it has one.
        sid: Option<String>,
    },
}

impl Decision {
    /// Whether it is permitted.
    #[must_use]
    pub fn is_allowed(&self) -> bool {
        *self == Self::Allow
    }
}

/// All policies that have a say in one request.
#[derive(Debug, Clone, Copy)]
pub struct Access<'a> {
    /// The caller's own policies.
    pub identity: &'a [&'a Policy],
    /// Policies that only limit (permissions boundary, session policies): each must allow what the caller asks.
    pub limits: &'a [&'a Policy],
    /// The resource's policy.
    pub resource: Option<&'a Policy>,
    /// The account that owns the resource.
    pub owner: AccountId,
}

impl Access<'_> {
    /// Decides a request.
    ///
    /// Within one account either side may permit; across accounts both must. A resource policy that names the whole
    /// account (`…:root` or its id) only lets that account decide, it does not permit its users by itself. The account's
    /// root may do everything in its account that no policy denies. Services and the anonymous live by the resource's
    /// policy alone.
    #[must_use]
    pub fn decide(&self, request: &Request<'_>) -> Decision {
        let mut own = Findings::default();
        for policy in self.identity {
            own.read(policy, request, Role::Identity);
        }
        let mut granted = Findings::default();
        if let Some(policy) = self.resource {
            granted.read(policy, request, Role::Resource);
        }
        let mut limited = true;
        let mut limits = Findings::default();
        for policy in self.limits {
            let mut finding = Findings::default();
            finding.read(policy, request, Role::Identity);
            limited &= finding.allow_direct;
            limits.deny = limits.deny.or(finding.deny);
        }
        if let Some(sid) = own.deny.or(granted.deny).or(limits.deny) {
            return Decision::ExplicitDeny { sid };
        }
        let account = request.caller.account();
        let own_allow = own.allow_direct || matches!(request.caller, Caller::Root { .. });
        let allowed = match account {
            None => granted.allow_direct,
            Some(account) if account == self.owner => limited && (own_allow || granted.allow_direct),
            Some(_) => limited && own_allow && (granted.allow_direct || granted.allow_account),
        };
        if allowed { Decision::Allow } else { Decision::ImplicitDeny }
    }
}

impl Policy {
    /// Whether this policy alone, as a resource's or a trust policy, permits the request: what a role's trust policy
    /// decides about `sts:AssumeRole`, and a function's policy about a service that wants to call it.
    #[must_use]
    pub fn grants(&self, request: &Request<'_>) -> Decision {
        let mut findings = Findings::default();
        findings.read(self, request, Role::Resource);
        match findings {
            Findings { deny: Some(sid), .. } => Decision::ExplicitDeny { sid },
            Findings { allow_direct: true, .. } | Findings { allow_account: true, .. } => Decision::Allow,
            Findings { .. } => Decision::ImplicitDeny,
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Role {
    Identity,
    Resource,
}

#[derive(Default)]
struct Findings {
    deny: Option<Option<String>>,
    allow_direct: bool,
    allow_account: bool,
}

impl Findings {
    fn read(&mut self, policy: &Policy, request: &Request<'_>, role: Role) {
        for statement in &policy.statements {
            let Some(reach) = reach(statement, request, role) else { continue };
            if !statement_matches(statement, request, policy.version) {
                continue;
            }
            match statement.effect {
                Effect::Deny => {
                    if self.deny.is_none() {
                        self.deny = Some(statement.sid.clone());
                    }
                }
                Effect::Allow if reach == Reach::Direct => self.allow_direct = true,
                Effect::Allow => self.allow_account = true,
            }
        }
    }
}

/// How a statement names the caller.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Reach {
    /// Itself, its role, or everybody.
    Direct,
    /// Only its account.
    Account,
}

fn reach(statement: &Statement, request: &Request<'_>, role: Role) -> Option<Reach> {
    match (&statement.principals, role) {
        (None, Role::Identity) => Some(Reach::Direct),
        // A statement in the wrong place has no say; parsing refuses it, data built by hand could still hold it.
        (None, Role::Resource) | (Some(_), Role::Identity) => None,
        (Some(principals), Role::Resource) => {
            let named = named_reach(principals, request.caller);
            match (principals.not, named) {
                (false, reach) => reach,
                (true, Some(_)) => None,
                (true, None) => Some(Reach::Direct),
            }
        }
    }
}

fn named_reach(principals: &Principals, caller: &Caller) -> Option<Reach> {
    if principals.everyone {
        return Some(Reach::Direct);
    }
    let mut best = None;
    for (kind, names) in &principals.named {
        for name in names {
            match principal_reach(*kind, name, caller) {
                Some(Reach::Direct) => return Some(Reach::Direct),
                Some(Reach::Account) => best = Some(Reach::Account),
                None => {}
            }
        }
    }
    best
}

fn principal_reach(kind: PrincipalKind, name: &str, caller: &Caller) -> Option<Reach> {
    match kind {
        PrincipalKind::Aws => aws_reach(name, caller),
        PrincipalKind::Service => match caller {
            Caller::Service { host } if host == name => Some(Reach::Direct),
            _ => None,
        },
        PrincipalKind::Federated | PrincipalKind::CanonicalUser => None,
    }
}

fn aws_reach(name: &str, caller: &Caller) -> Option<Reach> {
    if name == "*" {
        return Some(Reach::Direct);
    }
    let account = caller.account()?;
    let whole_account = |named: AccountId| {
        let reach = if matches!(caller, Caller::Root { .. }) { Reach::Direct } else { Reach::Account };
        (named == account).then_some(reach)
    };
    if let Ok(named) = name.parse::<AccountId>() {
        return whole_account(named);
    }
    let arn: Arn = name.parse().ok()?;
    if arn.service == "iam" && arn.resource == "root" {
        return whole_account(arn.account.parse().ok()?);
    }
    let direct = match caller {
        Caller::AssumedRole { role, .. } if arn.service == "iam" => {
            // Names of roles are unique in an account whatever their path, so the last part decides.
            let named = arn.resource.strip_prefix("role/").and_then(|path| path.rsplit('/').next());
            arn.account == account.as_str() && named == Some(role)
        }
        Caller::AssumedRole { .. } | Caller::User { .. } | Caller::Root { .. } => caller.arn() == name,
        Caller::Service { .. } | Caller::Anonymous => false,
    };
    direct.then_some(Reach::Direct)
}

fn statement_matches(statement: &Statement, request: &Request<'_>, version: Version) -> bool {
    let variables = version == Version::V2012;
    let context = variables.then_some(request.context);
    matcher_matches(&statement.actions, request.action, None, true)
        && statement
            .resources
            .as_ref()
            .is_none_or(|resources| matcher_matches(resources, request.resource, context, false))
        && statement.conditions.iter().all(|condition| condition.holds(request.context, variables))
}

fn matcher_matches(matcher: &Matcher, text: &str, variables: Option<&Context>, fold_case: bool) -> bool {
    matcher.patterns.iter().any(|pattern| pattern_matches(pattern, text, variables, fold_case)) != matcher.not
}
