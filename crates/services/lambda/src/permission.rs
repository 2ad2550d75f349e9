//! Resource policies of functions: the statements that `AddPermission` makes, in AWS's form.
//!
//! Pure. A [`Statement`] keeps what the caller gave; [`Statement::to_json`] writes it as AWS does (member order included),
//! which is also the text that the policy language evaluates.

use base_types::AccountId;
use minicbor::{Decode, Encode};
use serde_json::{Map, Value, json};

/// AWS's limit for a function's policy, in bytes.
pub const POLICY_BYTES_MAX: usize = 20_480;

/// The policy of a function, of one of its versions, or of an alias.
#[derive(Debug, Clone, Default, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Policy {
    /// Changes with every change.
    #[n(0)]
    pub revision: String,
    /// In the order in which they were added.
    #[n(1)]
    pub statements: Vec<Statement>,
}

/// One permission.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Statement {
    /// Its identifier, unique within the policy.
    #[n(0)]
    pub id: String,
    /// For example `lambda:InvokeFunction`.
    #[n(1)]
    pub action: String,
    /// Whom it permits.
    #[n(2)]
    pub principal: Principal,
    /// The function's ARN, with the qualifier if there is one.
    #[n(3)]
    pub resource: String,
    /// `AWS:SourceArn`.
    #[n(4)]
    pub source_arn: Option<String>,
    /// `AWS:SourceAccount`.
    #[n(5)]
    pub source_account: Option<String>,
    /// `aws:PrincipalOrgID`.
    #[n(6)]
    pub organization: Option<String>,
    /// `lambda:EventSourceToken`.
    #[n(7)]
    pub event_source_token: Option<String>,
    /// `lambda:FunctionUrlAuthType`.
    #[n(8)]
    pub url_auth_type: Option<String>,
    /// `lambda:InvokedViaFunctionUrl`.
    #[n(9)]
    pub via_url: Option<bool>,
}

/// Whom a statement permits.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub enum Principal {
    /// Everybody who meets the conditions.
    #[n(0)]
    Everybody,
    /// A service, for example `s3.amazonaws.com`.
    #[n(1)]
    Service(#[n(0)] String),
    /// An account (as its root's ARN), a role or a user.
    #[n(2)]
    Aws(#[n(0)] String),
}

/// The text names nobody (`InvalidParameterValueException`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("The provided principal was invalid. Please check the principal and try again.")]
pub struct InvalidPrincipal;

impl Principal {
    /// Reads what `AddPermission` was given.
    ///
    /// # Errors
    /// [`InvalidPrincipal`] for what is neither `*`, an account, an ARN of IAM or STS, nor a service of AWS.
    pub fn parse(text: &str, partition: &str) -> Result<Self, InvalidPrincipal> {
        if text == "*" {
            return Ok(Self::Everybody);
        }
        if let Ok(account) = text.parse::<AccountId>() {
            return Ok(Self::Aws(format!("arn:{partition}:iam::{account}:root")));
        }
        if let Ok(arn) = text.parse::<base_types::Arn>() {
            let named = matches!(arn.service.as_str(), "iam" | "sts") && arn.account.parse::<AccountId>().is_ok();
            return if named { Ok(Self::Aws(text.to_owned())) } else { Err(InvalidPrincipal) };
        }
        let service = text.strip_suffix(".amazonaws.com").or_else(|| text.strip_suffix(".amazon.com"));
        let is_label = |label: &str| {
            !label.is_empty()
                && label.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
        };
        match service {
            Some(labels) if labels.split('.').all(is_label) => Ok(Self::Service(text.to_owned())),
            _ => Err(InvalidPrincipal),
        }
    }

    fn to_json(&self) -> Value {
        match self {
            Self::Everybody => json!("*"),
            Self::Service(host) => json!({ "Service": host }),
            Self::Aws(arn) => json!({ "AWS": arn }),
        }
    }
}

impl Statement {
    /// The statement as AWS answers it.
    #[must_use]
    pub fn to_json(&self) -> String {
        let mut equals = Map::new();
        let mut put = |key: &str, value: &Option<String>| {
            if let Some(value) = value {
                equals.insert(key.to_owned(), json!(value));
            }
        };
        put("AWS:SourceAccount", &self.source_account);
        put("aws:PrincipalOrgID", &self.organization);
        put("lambda:EventSourceToken", &self.event_source_token);
        put("lambda:FunctionUrlAuthType", &self.url_auth_type);
        let mut conditions = Map::new();
        if !equals.is_empty() {
            conditions.insert("StringEquals".to_owned(), Value::Object(equals));
        }
        if let Some(via_url) = self.via_url {
            conditions.insert("Bool".to_owned(), json!({ "lambda:InvokedViaFunctionUrl": via_url.to_string() }));
        }
        if let Some(source) = &self.source_arn {
            conditions.insert("ArnLike".to_owned(), json!({ "AWS:SourceArn": source }));
        }
        // The order of the members is AWS's, which a map would not keep.
        let mut text = format!(
            r#"{{"Sid":{},"Effect":"Allow","Principal":{},"Action":{},"Resource":{}"#,
            json!(self.id),
            self.principal.to_json(),
            json!(self.action),
            json!(self.resource),
        );
        if !conditions.is_empty() {
            text.push_str(r#","Condition":"#);
            text.push_str(&Value::Object(conditions).to_string());
        }
        text.push('}');
        text
    }
}

impl Policy {
    /// The policy document.
    #[must_use]
    pub fn to_json(&self) -> String {
        let statements: Vec<String> = self.statements.iter().map(Statement::to_json).collect();
        format!(r#"{{"Version":"2012-10-17","Id":"default","Statement":[{}]}}"#, statements.join(","))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn principals_are_read_as_aws_reads_them() {
        for (text, expected) in [
            ("*", Ok(Principal::Everybody)),
            ("s3.amazonaws.com", Ok(Principal::Service("s3.amazonaws.com".into()))),
            ("logs.eu-west-1.amazonaws.com", Ok(Principal::Service("logs.eu-west-1.amazonaws.com".into()))),
            ("alexa-appkit.amazon.com", Ok(Principal::Service("alexa-appkit.amazon.com".into()))),
            ("111111111111", Ok(Principal::Aws("arn:aws:iam::111111111111:root".into()))),
            ("arn:aws:iam::111111111111:user/ada", Ok(Principal::Aws("arn:aws:iam::111111111111:user/ada".into()))),
            ("arn:aws:s3:::bucket", Err(InvalidPrincipal)),
            ("invalid.nonaws.com", Err(InvalidPrincipal)),
            (".amazonaws.com", Err(InvalidPrincipal)),
            ("", Err(InvalidPrincipal)),
        ] {
            assert_eq!(Principal::parse(text, "aws"), expected, "{text}");
        }
    }

    #[test]
    fn a_statement_is_written_as_aws_writes_it() {
        let statement = Statement {
            id: "urlPermission".into(),
            action: "lambda:InvokeFunctionUrl".into(),
            principal: Principal::Everybody,
            resource: "arn:aws:lambda:us-east-1:111111111111:function:f".into(),
            source_arn: Some("arn:aws:s3:::bucket".into()),
            source_account: Some("111111111111".into()),
            organization: Some("o-1234567890".into()),
            event_source_token: None,
            url_auth_type: Some("NONE".into()),
            via_url: None,
        };
        let text = statement.to_json();
        assert!(text.starts_with(
            r#"{"Sid":"urlPermission","Effect":"Allow","Principal":"*","Action":"lambda:InvokeFunctionUrl","Resource":"#
        ));
        let value: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(
            value["Condition"],
            json!({
                "ArnLike": { "AWS:SourceArn": "arn:aws:s3:::bucket" },
                "StringEquals": {
                    "AWS:SourceAccount": "111111111111",
                    "aws:PrincipalOrgID": "o-1234567890",
                    "lambda:FunctionUrlAuthType": "NONE"
                }
            })
        );
        let policy = Policy { revision: String::new(), statements: vec![statement] };
        let value: Value = serde_json::from_str(&policy.to_json()).unwrap();
        assert_eq!((&value["Version"], &value["Id"]), (&json!("2012-10-17"), &json!("default")));
    }
}
