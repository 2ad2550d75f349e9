//! The context of one request: [`Cx`].
//!
//! Every operation and every port receives it, from a public request as from inside (a schedule that fires, a queue that
//! starts a function). It is plain data, cheap to clone, and says nothing about the transaction: that is passed beside it.

use std::{fmt, sync::Arc};

use base_env::Moment;
use base_types::{AccountId, Arn, Region};

use crate::AnswerHeaders;

/// How often a consequence may cause a further one before the chain is cut (AWS Lambda's recursion guard stops at 16).
pub const HOPS_MAX: u8 = 16;

/// Who asks, where, on whose behalf, and how deep in a chain of consequences.
#[derive(Clone, Debug)]
pub struct Cx {
    /// The account whose resources are meant.
    pub account: AccountId,
    /// The region whose resources are meant.
    pub region: Region,
    /// Who asks.
    pub principal: Arc<Principal>,
    /// Which service asks on behalf of which resource; `None` for a client's own request.
    pub source: Option<Arc<Source>>,
    /// The request's identifier: answered in `x-amzn-RequestId`, written into logs and the audit trail.
    pub request_id: Arc<str>,
    /// The X-Ray trace header (`Root=…;Parent=…;Sampled=…`) that came with the request.
    pub trace: Option<Arc<str>>,
    /// How many consequences lie between the first request and this one, at most [`HOPS_MAX`].
    pub hops: u8,
    /// When nobody waits for the answer any more.
    pub deadline: Option<Moment>,
    /// `scheme://host[:port]` as the client addressed us, for answers that hold URLs.
    pub endpoint: Arc<str>,
    /// The client's network address, as text; empty when it has none (a call from inside).
    pub source_ip: Arc<str>,
    /// The client's `User-Agent`; empty when it sent none.
    pub user_agent: Arc<str>,
    /// What the operation adds to the response beyond its model.
    pub headers: AnswerHeaders,
}

impl Cx {
    /// The context of a request that comes from Pileus itself: a reconciler or a test acting for an account.
    #[must_use]
    pub fn internal(account: AccountId, region: Region, request_id: &str) -> Self {
        Self {
            account,
            region,
            principal: Arc::new(Principal::Root { account }),
            source: None,
            request_id: Arc::from(request_id),
            trace: None,
            hops: 0,
            deadline: None,
            endpoint: Arc::from("http://127.0.0.1:4566"),
            source_ip: Arc::from(""),
            user_agent: Arc::from(""),
            headers: AnswerHeaders::default(),
        }
    }

    /// The context of a consequence: the same request, one hop deeper, caused by `source` and acting as that service.
    #[must_use]
    pub fn consequence(&self, source: Source) -> Self {
        let mut deeper = self.clone();
        deeper.hops = self.hops.saturating_add(1);
        deeper.principal = Arc::new(Principal::Service { host: source.service.clone(), account: self.account });
        deeper.source = Some(Arc::new(source));
        // What it says is no part of the answer to the first request.
        deeper.headers = AnswerHeaders::default();
        deeper
    }

    /// An ARN of `service` in this account and region.
    #[must_use]
    pub fn arn(&self, service: &str, resource: impl Into<String>) -> Arn {
        Arn::regional(service, &self.region, self.account, resource)
    }
}

/// Who asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Principal {
    /// The account itself: the root key, or any credentials in the open loopback mode.
    Root {
        /// Whose root.
        account: AccountId,
    },
    /// A session of a role (`AssumeRole`, or a function's own credentials).
    AssumedRole {
        /// The role's account.
        account: AccountId,
        /// The role's name, without its path.
        role: String,
        /// The session's name.
        session: String,
    },
    /// A service acting on somebody's behalf.
    Service {
        /// For example `events.amazonaws.com`.
        host: String,
        /// The account on whose behalf it acts.
        account: AccountId,
    },
    /// Nobody in particular: an unsigned request to something public, such as a function URL.
    Anonymous,
}

impl Principal {
    /// The account the principal belongs to.
    #[must_use]
    pub fn account(&self) -> Option<AccountId> {
        match self {
            Self::Root { account } | Self::AssumedRole { account, .. } | Self::Service { account, .. } => {
                Some(*account)
            }
            Self::Anonymous => None,
        }
    }

    /// The principal's ARN as AWS writes it in answers and messages; a service's host name; `anonymous`.
    #[must_use]
    pub fn arn(&self) -> String {
        match self {
            Self::Root { account } => Arn::global("iam", *account, "root").to_string(),
            Self::AssumedRole { account, role, session } => {
                Arn::global("sts", *account, format!("assumed-role/{role}/{session}")).to_string()
            }
            Self::Service { host, .. } => host.clone(),
            Self::Anonymous => "anonymous".to_owned(),
        }
    }
}

impl fmt::Display for Principal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.arn())
    }
}

/// On whose behalf a service asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Source {
    /// The asking service's principal, for example `sqs.amazonaws.com`.
    pub service: String,
    /// The resource that caused it (`aws:SourceArn`).
    pub arn: Arn,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_consequence_is_one_hop_deeper_and_acts_as_its_service() {
        let cx = Cx::internal(AccountId::DEFAULT, Region::default(), "r-1");
        let queue = cx.arn("sqs", "jobs");
        let deeper = cx.consequence(Source { service: "sqs.amazonaws.com".to_owned(), arn: queue.clone() });
        assert_eq!((deeper.hops, &*deeper.request_id), (1, "r-1"));
        assert_eq!(deeper.principal.arn(), "sqs.amazonaws.com");
        assert_eq!(deeper.source.as_ref().map(|s| s.arn.clone()), Some(queue));
    }

    #[test]
    fn principals_have_the_arns_of_aws() {
        let account = AccountId::DEFAULT;
        let session = Principal::AssumedRole { account, role: "any".to_owned(), session: "s".to_owned() };
        assert_eq!(session.arn(), "arn:aws:sts::000000000000:assumed-role/any/s");
        assert_eq!(Principal::Root { account }.arn(), "arn:aws:iam::000000000000:root");
    }
}
