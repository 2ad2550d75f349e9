//! Reading policy documents. What IAM would refuse is refused, with the place and the reason.

use crate::{
    condition::{Condition, Operator},
    document::{Effect, Matcher, Policy, PrincipalKind, Principals, Statement, Version},
    json::Json,
};

/// The greatest document that is read, in bytes. AWS's own bounds (6144 characters for managed policies, 20 KiB for
/// Lambda and S3 resource policies) are the services' to enforce.
pub const BYTES_MAX: usize = 32 * 1024;

/// Where the document stands: that decides which members it must and must not have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Attached to a user or role: no `Principal`.
    Identity,
    /// Attached to a resource: `Principal` and `Resource`.
    Resource,
    /// A role's trust policy: `Principal`, no `Resource`.
    Trust,
}

/// Why a document is none.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PolicyError {
    /// Larger than [`BYTES_MAX`].
    #[error("the policy has {0} bytes, at most {BYTES_MAX} are read")]
    TooLarge(usize),
    /// Not JSON, or a member stands twice.
    #[error("the policy is not valid JSON: {0}")]
    Json(String),
    /// A member is wrong; both texts are for the user.
    #[error("`{place}` {problem}")]
    Member {
        /// Where, for example `Statement[2].Effect`.
        place: String,
        /// What, completing a sentence about the place.
        problem: String,
    },
}

fn wrong(place: &str, problem: impl Into<String>) -> PolicyError {
    PolicyError::Member { place: place.to_owned(), problem: problem.into() }
}

impl Policy {
    /// Reads a document.
    ///
    /// # Errors
    /// When it is too large, not JSON, or not a policy of this kind.
    pub fn parse(text: &str, kind: Kind) -> Result<Self, PolicyError> {
        if text.len() > BYTES_MAX {
            return Err(PolicyError::TooLarge(text.len()));
        }
        let tree: Json = serde_json::from_str(text).map_err(|error| PolicyError::Json(error.to_string()))?;
        let Json::Object(members) = tree else {
            return Err(PolicyError::Json(format!("an object is due, not {}", tree.kind())));
        };
        let mut policy = Self { version: Version::V2008, id: None, statements: Vec::new() };
        for (name, value) in members {
            match name.as_str() {
                "Version" => policy.version = version(&one_text(&name, value)?)?,
                "Id" => policy.id = Some(one_text(&name, value)?),
                "Statement" => policy.statements = statements(value, kind)?,
                other => return Err(wrong(other, "is not a member of a policy")),
            }
        }
        if policy.statements.is_empty() {
            return Err(wrong("Statement", "must hold at least one statement"));
        }
        let sids: Vec<&String> = policy.statements.iter().filter_map(|statement| statement.sid.as_ref()).collect();
        for (index, sid) in sids.iter().enumerate() {
            if sids[..index].contains(sid) {
                return Err(wrong("Statement", format!("has the Sid `{sid}` twice")));
            }
        }
        Ok(policy)
    }
}

fn version(text: &str) -> Result<Version, PolicyError> {
    match text {
        "2012-10-17" => Ok(Version::V2012),
        "2008-10-17" => Ok(Version::V2008),
        other => Err(wrong("Version", format!("must be `2012-10-17` or `2008-10-17`, not `{other}`"))),
    }
}

fn statements(value: Json, kind: Kind) -> Result<Vec<Statement>, PolicyError> {
    match value {
        Json::Object(members) => Ok(vec![statement("Statement", members, kind)?]),
        Json::Array(items) => items
            .into_iter()
            .enumerate()
            .map(|(index, item)| match item {
                Json::Object(members) => statement(&format!("Statement[{index}]"), members, kind),
                other => Err(wrong(&format!("Statement[{index}]"), format!("must be an object, not {}", other.kind()))),
            })
            .collect(),
        other => Err(wrong("Statement", format!("must be an object or an array, not {}", other.kind()))),
    }
}

fn statement(place: &str, members: Vec<(String, Json)>, kind: Kind) -> Result<Statement, PolicyError> {
    let (mut sid, mut effect, mut principals, mut actions, mut resources) = (None, None, None, None, None);
    let mut conditions = Vec::new();
    for (name, value) in members {
        let place = format!("{place}.{name}");
        match name.as_str() {
            "Sid" => sid = Some(one_text(&place, value)?).filter(|text| !text.is_empty()),
            "Effect" => effect = Some(parse_effect(&place, &one_text(&place, value)?)?),
            "Principal" | "NotPrincipal" => {
                let parsed = parse_principals(&place, value, name.starts_with("Not"))?;
                unique(&mut principals, parsed, &place, "Principal and NotPrincipal")?;
            }
            "Action" | "NotAction" => {
                let parsed = Matcher { not: name.starts_with("Not"), patterns: texts(&place, value)? };
                if let Some(action) = parsed.patterns.iter().find(|action| *action != "*" && !action.contains(':')) {
                    return Err(wrong(&place, format!("must name a service and an action, `{action}` does not")));
                }
                unique(&mut actions, parsed, &place, "Action and NotAction")?;
            }
            "Resource" | "NotResource" => {
                let parsed = Matcher { not: name.starts_with("Not"), patterns: texts(&place, value)? };
                let not_arn = |text: &&String| *text != "*" && !text.starts_with("arn:") && !text.starts_with("${");
                if let Some(resource) = parsed.patterns.iter().find(not_arn) {
                    return Err(wrong(&place, format!("must hold ARNs or `*`, `{resource}` is none")));
                }
                unique(&mut resources, parsed, &place, "Resource and NotResource")?;
            }
            "Condition" => conditions = parse_conditions(&place, value)?,
            other => return Err(wrong(&place, format!("is not a member of a statement (`{other}`)"))),
        }
    }
    match kind {
        Kind::Identity if principals.is_some() => return Err(wrong(place, "must not name a principal")),
        Kind::Resource | Kind::Trust if principals.is_none() => return Err(wrong(place, "must name a principal")),
        Kind::Trust if resources.is_some() => return Err(wrong(place, "must not name a resource")),
        Kind::Identity | Kind::Resource if resources.is_none() => return Err(wrong(place, "must name a resource")),
        Kind::Identity | Kind::Resource | Kind::Trust => {}
    }
    let effect = effect.ok_or_else(|| wrong(place, "must have an Effect"))?;
    let actions = actions.ok_or_else(|| wrong(place, "must have an Action"))?;
    Ok(Statement { sid, effect, principals, actions, resources, conditions })
}

fn unique<T>(slot: &mut Option<T>, value: T, place: &str, pair: &str) -> Result<(), PolicyError> {
    if slot.replace(value).is_some() {
        return Err(wrong(place, format!("stands beside its opposite: {pair} exclude each other")));
    }
    Ok(())
}

fn parse_effect(place: &str, text: &str) -> Result<Effect, PolicyError> {
    match text {
        "Allow" => Ok(Effect::Allow),
        "Deny" => Ok(Effect::Deny),
        other => Err(wrong(place, format!("must be `Allow` or `Deny`, not `{other}`"))),
    }
}

fn parse_principals(place: &str, value: Json, not: bool) -> Result<Principals, PolicyError> {
    match value {
        Json::Text(text) if text == "*" => Ok(Principals { not, everyone: true, named: Vec::new() }),
        Json::Object(members) => {
            let mut named = Vec::new();
            for (name, value) in members {
                let kind = match name.as_str() {
                    "AWS" => PrincipalKind::Aws,
                    "Service" => PrincipalKind::Service,
                    "Federated" => PrincipalKind::Federated,
                    "CanonicalUser" => PrincipalKind::CanonicalUser,
                    other => return Err(wrong(place, format!("knows AWS, Service, Federated, not `{other}`"))),
                };
                named.push((kind, texts(&format!("{place}.{name}"), value)?));
            }
            if named.is_empty() {
                return Err(wrong(place, "must name somebody"));
            }
            Ok(Principals { not, everyone: false, named })
        }
        other => Err(wrong(place, format!("must be `*` or an object, not {}", other.kind()))),
    }
}

fn parse_conditions(place: &str, value: Json) -> Result<Vec<Condition>, PolicyError> {
    let Json::Object(operators) = value else {
        return Err(wrong(place, format!("must be an object, not {}", value.kind())));
    };
    let mut conditions = Vec::new();
    for (name, value) in operators {
        let place = format!("{place}.{name}");
        let operator: Operator = name.parse().map_err(|_| wrong(&place, "is not a condition operator"))?;
        let Json::Object(keys) = value else {
            return Err(wrong(&place, format!("must be an object, not {}", value.kind())));
        };
        for (key, value) in keys {
            if key.is_empty() {
                return Err(wrong(&place, "must not have an empty condition key"));
            }
            let values = scalars(&format!("{place}.{key}"), value)?;
            let condition = Condition { operator, key, values };
            if let Some(problem) = condition.problem() {
                return Err(wrong(&place, problem));
            }
            conditions.push(condition);
        }
    }
    Ok(conditions)
}

fn one_text(place: &str, value: Json) -> Result<String, PolicyError> {
    match value {
        Json::Text(text) => Ok(text),
        other => Err(wrong(place, format!("must be a string, not {}", other.kind()))),
    }
}

/// A string or a non-empty array of strings.
fn texts(place: &str, value: Json) -> Result<Vec<String>, PolicyError> {
    match value {
        Json::Text(text) => Ok(vec![text]),
        Json::Array(items) if !items.is_empty() => items.into_iter().map(|item| one_text(place, item)).collect(),
        Json::Array(_) => Err(wrong(place, "must not be empty")),
        other => Err(wrong(place, format!("must be a string or an array of strings, not {}", other.kind()))),
    }
}

/// Condition values may also be booleans and numbers.
fn scalars(place: &str, value: Json) -> Result<Vec<String>, PolicyError> {
    let scalar = |value: Json| match value {
        Json::Text(text) | Json::Number(text) => Ok(text),
        Json::Bool(value) => Ok(value.to_string()),
        other => Err(wrong(place, format!("must be a string, a number or a boolean, not {}", other.kind()))),
    };
    match value {
        Json::Array(items) => items.into_iter().map(scalar).collect(),
        other => Ok(vec![scalar(other)?]),
    }
}
