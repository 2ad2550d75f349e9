//! A region name such as `us-east-1`. Guarantee: lower-case letters, digits and hyphens, 1 to 32 of them; so it is safe
//! in keys, host names, paths and ARNs. Any such name is a region of its own: Pileus has no fixed list.

use std::{fmt, str::FromStr, sync::Arc};

/// A validated region name; cheap to clone.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Region(Arc<str>);

impl Region {
    /// The region of requests that name none.
    pub const DEFAULT_NAME: &str = "us-east-1";

    /// The region's name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The ARN partition the region lies in (`aws`, `aws-cn`, `aws-us-gov`, `aws-iso…`, `aws-eusc`).
    #[must_use]
    pub fn partition(&self) -> &'static str {
        match &*self.0 {
            name if name.starts_with("cn-") => "aws-cn",
            name if name.starts_with("us-gov-") => "aws-us-gov",
            name if name.starts_with("us-isob-") => "aws-iso-b",
            name if name.starts_with("us-iso-") => "aws-iso",
            name if name.starts_with("eusc-") => "aws-eusc",
            _ => "aws",
        }
    }
}

impl Default for Region {
    fn default() -> Self {
        Self(Arc::from(Self::DEFAULT_NAME))
    }
}

/// The text cannot be a region's name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a region is 1 to 32 lower-case letters, digits and hyphens, not `{0}`")]
pub struct InvalidRegion(pub String);

impl FromStr for Region {
    type Err = InvalidRegion;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let valid = (1..=32).contains(&text.len())
            && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
            && text.as_bytes()[0].is_ascii_lowercase();
        if valid { Ok(Self(Arc::from(text))) } else { Err(InvalidRegion(text.to_owned())) }
    }
}

impl fmt::Display for Region {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Region {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl<C> minicbor::Encode<C> for Region {
    fn encode<W: minicbor::encode::Write>(
        &self,
        e: &mut minicbor::Encoder<W>,
        _: &mut C,
    ) -> Result<(), minicbor::encode::Error<W::Error>> {
        e.str(&self.0)?.ok()
    }
}

impl<'b, C> minicbor::Decode<'b, C> for Region {
    fn decode(d: &mut minicbor::Decoder<'b>, _: &mut C) -> Result<Self, minicbor::decode::Error> {
        d.str()?.parse().map_err(minicbor::decode::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_checked_and_know_their_partition() {
        for (text, partition) in [
            ("us-east-1", Some("aws")),
            ("cn-north-1", Some("aws-cn")),
            ("us-gov-west-1", Some("aws-us-gov")),
            ("mars-1", Some("aws")),
            ("", None),
            ("US-EAST-1", None),
            ("-a", None),
            ("a/b", None),
            ("a_b", None),
        ] {
            assert_eq!(text.parse::<Region>().ok().map(|r| r.partition()), partition, "{text}");
        }
    }
}
