//! Amazon Resource Names: `arn:partition:service:region:account:resource`.
//!
//! Source: AWS General Reference, "Amazon Resource Names (ARNs)". Region and account are texts here, because global
//! services leave them empty; the resource part is opaque and may hold colons and slashes.

use std::{fmt, str::FromStr};

use crate::{AccountId, Region};

/// A parsed ARN. Guarantee: it has six parts, begins with `arn`, and its partition, service and resource are not empty.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Arn {
    /// `aws`, `aws-cn`, …
    pub partition: String,
    /// `lambda`, `logs`, …
    pub service: String,
    /// A region's name, or empty for a global service.
    pub region: String,
    /// Twelve digits, or empty.
    pub account: String,
    /// Everything after the fifth colon, for example `function:hello:1`.
    pub resource: String,
}

impl Arn {
    /// An ARN of a regional service.
    #[must_use]
    pub fn regional(service: &str, region: &Region, account: AccountId, resource: impl Into<String>) -> Self {
        Self {
            partition: region.partition().to_owned(),
            service: service.to_owned(),
            region: region.to_string(),
            account: account.to_string(),
            resource: resource.into(),
        }
    }

    /// An ARN of a service that has no regions (IAM, STS principals).
    #[must_use]
    pub fn global(service: &str, account: AccountId, resource: impl Into<String>) -> Self {
        Self {
            partition: "aws".to_owned(),
            service: service.to_owned(),
            region: String::new(),
            account: account.to_string(),
            resource: resource.into(),
        }
    }
}

/// The text is not an ARN.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not an ARN")]
pub struct InvalidArn(pub String);

impl FromStr for Arn {
    type Err = InvalidArn;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut parts = text.splitn(6, ':');
        let mut next = || parts.next().unwrap_or_default().to_owned();
        let (scheme, arn) =
            (next(), Self { partition: next(), service: next(), region: next(), account: next(), resource: next() });
        let complete =
            scheme == "arn" && !arn.partition.is_empty() && !arn.service.is_empty() && !arn.resource.is_empty();
        if complete { Ok(arn) } else { Err(InvalidArn(text.to_owned())) }
    }
}

impl fmt::Display for Arn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { partition, service, region, account, resource } = self;
        write!(f, "arn:{partition}:{service}:{region}:{account}:{resource}")
    }
}

impl<C> minicbor::Encode<C> for Arn {
    fn encode<W: minicbor::encode::Write>(
        &self,
        e: &mut minicbor::Encoder<W>,
        _: &mut C,
    ) -> Result<(), minicbor::encode::Error<W::Error>> {
        e.str(&self.to_string())?.ok()
    }
}

impl<'b, C> minicbor::Decode<'b, C> for Arn {
    fn decode(d: &mut minicbor::Decoder<'b>, _: &mut C) -> Result<Self, minicbor::decode::Error> {
        d.str()?.parse().map_err(minicbor::decode::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_and_parts_agree() {
        for text in [
            "arn:aws:lambda:us-east-1:000000000000:function:hello:prod",
            "arn:aws:iam::123456789012:role/path/any",
            "arn:aws:s3:::bucket/key:with:colons",
        ] {
            assert_eq!(text.parse::<Arn>().unwrap().to_string(), text);
        }
        for text in ["", "arn", "arn:aws:lambda:us-east-1:0", "urn:aws:a:b:c:d", "arn::s:r:a:x", "arn:aws:s:r:a:"] {
            assert!(text.parse::<Arn>().is_err(), "{text}");
        }
    }
}
