//! A policy's data, and the JSON that AWS's services write for it.

use crate::{
    condition::Condition,
    json::{write_text, write_texts},
};

/// A policy document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Policy {
    /// The policy language's version.
    pub version: Version,
    /// `Id`, which some services demand or set.
    pub id: Option<String>,
    /// The statements, in their order.
    pub statements: Vec<Statement>,
}

/// The policy language's version.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Version {
    /// The default: no policy variables.
    V2008,
    /// The current one.
    V2012,
}

impl Version {
    /// The date that names it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::V2008 => "2008-10-17",
            Self::V2012 => "2012-10-17",
        }
    }
}

/// A statement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Statement {
    /// `Sid`.
    pub sid: Option<String>,
    /// `Effect`.
    pub effect: Effect,
    /// `Principal` or `NotPrincipal`; `None` in identity policies, where the principal is whoever holds the policy.
    pub principals: Option<Principals>,
    /// `Action` or `NotAction`.
    pub actions: Matcher,
    /// `Resource` or `NotResource`; `None` in trust policies, where the resource is the role itself.
    pub resources: Option<Matcher>,
    /// `Condition`: all must hold.
    pub conditions: Vec<Condition>,
}

/// What a matching statement does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    /// It permits, unless another one denies.
    Allow,
    /// It denies, whatever others permit.
    Deny,
}

impl Effect {
    /// AWS's word.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Allow => "Allow",
            Self::Deny => "Deny",
        }
    }
}

/// A list of patterns, or its complement (`NotAction`, `NotResource`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Matcher {
    /// Whether it matches what none of the patterns matches.
    pub not: bool,
    /// Texts with `*`, `?` and policy variables.
    pub patterns: Vec<String>,
}

impl Matcher {
    /// Matches what this one pattern matches.
    #[must_use]
    pub fn one(pattern: impl Into<String>) -> Self {
        Self { not: false, patterns: vec![pattern.into()] }
    }
}

/// `Principal` or `NotPrincipal`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Principals {
    /// `NotPrincipal`.
    pub not: bool,
    /// Written as the bare `"*"`: everybody, even without credentials.
    pub everyone: bool,
    /// By kind, in their order; empty when `everyone`.
    pub named: Vec<(PrincipalKind, Vec<String>)>,
}

impl Principals {
    /// `"Principal": "*"`.
    #[must_use]
    pub fn everyone() -> Self {
        Self { not: false, everyone: true, named: Vec::new() }
    }

    /// `"Principal": {"<kind>": "<name>"}`.
    #[must_use]
    pub fn one(kind: PrincipalKind, name: impl Into<String>) -> Self {
        Self { not: false, everyone: false, named: vec![(kind, vec![name.into()])] }
    }
}

/// The kinds of principals.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PrincipalKind {
    /// An account, a user, a role or a role's session.
    Aws,
    /// A service, by its host name.
    Service,
    /// A federated user; none can sign in to Pileus yet, so none matches.
    Federated,
    /// An S3 canonical user; never matches, because Pileus gives nobody such an identifier.
    CanonicalUser,
}

impl PrincipalKind {
    /// AWS's word.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Aws => "AWS",
            Self::Service => "Service",
            Self::Federated => "Federated",
            Self::CanonicalUser => "CanonicalUser",
        }
    }
}

impl Policy {
    /// An empty policy of the current version, with the `Id` that Lambda gives its resource policies.
    #[must_use]
    pub fn of_resource() -> Self {
        Self { version: Version::V2012, id: Some("default".to_owned()), statements: Vec::new() }
    }

    /// The document as AWS's services write it: `Version`, `Id`, `Statement`, no white space, single values bare.
    #[must_use]
    pub fn to_json(&self) -> String {
        let mut out = String::from("{\"Version\":");
        write_text(self.version.as_str(), &mut out);
        if let Some(id) = &self.id {
            out.push_str(",\"Id\":");
            write_text(id, &mut out);
        }
        out.push_str(",\"Statement\":[");
        for (index, statement) in self.statements.iter().enumerate() {
            if index > 0 {
                out.push(',');
            }
            statement.write(&mut out);
        }
        out.push_str("]}");
        out
    }
}

impl Statement {
    /// The statement as AWS's services write it: `Sid`, `Effect`, `Principal`, `Action`, `Resource`, `Condition`.
    #[must_use]
    pub fn to_json(&self) -> String {
        let mut out = String::new();
        self.write(&mut out);
        out
    }

    fn write(&self, out: &mut String) {
        out.push('{');
        if let Some(sid) = &self.sid {
            out.push_str("\"Sid\":");
            write_text(sid, out);
            out.push(',');
        }
        out.push_str("\"Effect\":");
        write_text(self.effect.as_str(), out);
        if let Some(principals) = &self.principals {
            out.push_str(if principals.not { ",\"NotPrincipal\":" } else { ",\"Principal\":" });
            write_principals(principals, out);
        }
        out.push_str(if self.actions.not { ",\"NotAction\":" } else { ",\"Action\":" });
        write_texts(&self.actions.patterns, out);
        if let Some(resources) = &self.resources {
            out.push_str(if resources.not { ",\"NotResource\":" } else { ",\"Resource\":" });
            write_texts(&resources.patterns, out);
        }
        if !self.conditions.is_empty() {
            out.push_str(",\"Condition\":");
            write_conditions(&self.conditions, out);
        }
        out.push('}');
    }
}

fn write_principals(principals: &Principals, out: &mut String) {
    if principals.everyone {
        return out.push_str("\"*\"");
    }
    out.push('{');
    for (index, (kind, names)) in principals.named.iter().enumerate() {
        if index > 0 {
            out.push(',');
        }
        write_text(kind.as_str(), out);
        out.push(':');
        write_texts(names, out);
    }
    out.push('}');
}

/// Conditions of one operator stand together, in the order in which the operators first appear.
fn write_conditions(conditions: &[Condition], out: &mut String) {
    let mut operators: Vec<String> = Vec::new();
    for condition in conditions {
        let name = condition.operator.to_string();
        if !operators.contains(&name) {
            operators.push(name);
        }
    }
    out.push('{');
    for (index, operator) in operators.iter().enumerate() {
        if index > 0 {
            out.push(',');
        }
        write_text(operator, out);
        out.push_str(":{");
        let members = conditions.iter().filter(|condition| condition.operator.to_string() == *operator);
        for (position, condition) in members.enumerate() {
            if position > 0 {
                out.push(',');
            }
            write_text(&condition.key, out);
            out.push(':');
            write_texts(&condition.values, out);
        }
        out.push('}');
    }
    out.push('}');
}
