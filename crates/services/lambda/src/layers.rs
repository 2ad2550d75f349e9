//! Layers: packages that functions share, merged into their `/opt`.
//!
//! Pure: names, versions and the rules for using them. Guarantees: numbers of a layer's versions are handed out once; a
//! version never changes; a function that uses a version keeps working when it is deleted, for what it needs is copied into
//! its own configuration ([`crate::configuration::LayerUse`]).

use base_types::{AccountId, Arn, Region, Timestamp};
use minicbor::{Decode, Encode};

use crate::{configuration::LayerUse, function::Code};

/// Layers that one function may use (AWS: 5).
pub const LAYERS_MAX: usize = 5;

/// What belongs to a layer as a whole. It stays when all its versions are deleted, so that no number comes twice.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct LayerHead {
    /// The next number that is handed out.
    #[n(0)]
    pub version_next: u64,
}

/// One version of a layer.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct LayerVersion {
    /// Its number, from 1.
    #[n(0)]
    pub number: u64,
    /// When it was published.
    #[n(1)]
    pub created: Timestamp,
    /// Free text.
    #[n(2)]
    pub description: String,
    /// What it holds.
    #[n(3)]
    pub code: Code,
    /// The runtimes that it is meant for: told, not enforced (as at AWS). `None` when nothing was given.
    #[n(4)]
    pub runtimes: Option<Vec<String>>,
    /// The architectures that it is meant for, likewise.
    #[n(5)]
    pub architectures: Option<Vec<String>>,
    /// Its licence: free text.
    #[n(6)]
    pub license: Option<String>,
}

impl LayerVersion {
    /// Whether it is meant for a runtime and an architecture. One that names none is meant for nothing in particular.
    #[must_use]
    pub fn suits(&self, runtime: Option<&str>, architecture: Option<&str>) -> bool {
        let named = |list: &Option<Vec<String>>, wanted: Option<&str>| {
            wanted.is_none_or(|wanted| list.as_ref().is_some_and(|list| list.iter().any(|one| one == wanted)))
        };
        named(&self.runtimes, runtime) && named(&self.architectures, architecture)
    }
}

/// A layer, named completely.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LayerName {
    /// Where.
    pub region: String,
    /// Whose.
    pub account: AccountId,
    /// Its name.
    pub name: String,
}

impl LayerName {
    /// Reads a bare name, which is one here, or a layer's ARN. The pattern was checked before (wire constraints).
    #[must_use]
    pub fn parse(text: &str, region: &Region, account: AccountId) -> Option<Self> {
        if !text.contains(':') {
            return Some(Self { region: region.as_str().to_owned(), account, name: text.to_owned() });
        }
        let arn: Arn = text.parse().ok()?;
        let name = arn.resource.strip_prefix("layer:").filter(|name| !name.contains(':'))?.to_owned();
        Some(Self { region: arn.region.clone(), account: arn.account.parse().ok()?, name })
    }

    /// Reads a layer version's ARN.
    #[must_use]
    pub fn parse_version(text: &str) -> Option<(Self, u64)> {
        let arn: Arn = text.parse().ok()?;
        let (name, number) = arn.resource.strip_prefix("layer:")?.split_once(':')?;
        let layer = Self { region: arn.region.clone(), account: arn.account.parse().ok()?, name: name.to_owned() };
        Some((layer, number.parse().ok()?))
    }

    /// `arn:aws:lambda:us-east-1:000000000000:layer:name`.
    #[must_use]
    pub fn arn(&self, partition: &str) -> String {
        format!("arn:{partition}:lambda:{}:{}:layer:{}", self.region, self.account, self.name)
    }
}

/// Why a function cannot use the layers that it names (`InvalidParameterValueException`). The texts are AWS's.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LayerError {
    /// More than [`LAYERS_MAX`].
    #[error("Cannot reference more than {LAYERS_MAX} layers.")]
    TooMany,
    /// From elsewhere.
    #[error("Layers are not in the same region as the function. Layers are expected to be in region {0}.")]
    OtherRegion(Region),
    /// There is none.
    #[error("Layer version {0} does not exist.")]
    Missing(String),
    /// The same layer more than once.
    #[error(
        "Two different versions of the same layer are not allowed to be referenced in the same function. {0} and {1} are \
         versions of the same layer."
    )]
    SameLayer(String, String),
    /// Code and layers together are too large.
    #[error(
        "Function code combined with layers exceeds the maximum allowed size of {limit} bytes. The actual size is {actual} \
         bytes."
    )]
    TooLarge {
        /// What they may take unzipped.
        limit: u64,
        /// What they take.
        actual: u64,
    },
}

/// Checks what a list of layer versions is, without looking whether they are there.
///
/// # Errors
/// [`LayerError::TooMany`].
pub fn check_count(arns: &[String]) -> Result<(), LayerError> {
    if arns.len() > LAYERS_MAX { Err(LayerError::TooMany) } else { Ok(()) }
}

/// Checks that no layer comes twice; the first two of it are told.
///
/// # Errors
/// [`LayerError::SameLayer`].
pub fn check_distinct(layers: &[LayerUse]) -> Result<(), LayerError> {
    let layer = |arn: &str| arn.rsplit_once(':').map(|(layer, _)| layer.to_owned());
    for (index, second) in layers.iter().enumerate() {
        if let Some(first) = layers[..index].iter().find(|first| layer(&first.arn) == layer(&second.arn)) {
            return Err(LayerError::SameLayer(first.arn.clone(), second.arn.clone()));
        }
    }
    Ok(())
}

/// Checks that code and layers together fit.
///
/// # Errors
/// [`LayerError::TooLarge`].
pub fn check_size(code: &Code, layers: &[LayerUse], limit: u64) -> Result<(), LayerError> {
    let actual = layers.iter().map(|layer| layer.unzipped_bytes).fold(code.unzipped_bytes, u64::saturating_add);
    // Code alone was checked when it was unpacked, with a message of its own.
    if layers.is_empty() || actual <= limit { Ok(()) } else { Err(LayerError::TooLarge { limit, actual }) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn used(arn: &str, unzipped_bytes: u64) -> LayerUse {
        LayerUse { arn: arn.to_owned(), digest: String::new(), bytes: 1, unzipped_bytes }
    }

    const A1: &str = "arn:aws:lambda:us-east-1:111111111111:layer:a:1";
    const A2: &str = "arn:aws:lambda:us-east-1:111111111111:layer:a:2";
    const B1: &str = "arn:aws:lambda:us-east-1:111111111111:layer:b:1";

    #[test]
    fn a_layer_is_used_once() {
        for (arns, expected) in [
            (vec![], Ok(())),
            (vec![A1, B1], Ok(())),
            (vec![A1, B1, A2], Err(LayerError::SameLayer(A1.into(), A2.into()))),
            (vec![B1, B1], Err(LayerError::SameLayer(B1.into(), B1.into()))),
        ] {
            let layers: Vec<_> = arns.iter().map(|arn| used(arn, 1)).collect();
            assert_eq!(check_distinct(&layers), expected);
        }
        assert_eq!(check_count(&vec![String::new(); 5]), Ok(()));
        assert_eq!(check_count(&vec![String::new(); 6]), Err(LayerError::TooMany));
    }

    #[test]
    fn code_and_layers_fit_together() {
        let code = Code { digest: String::new(), bytes: 1, unzipped_bytes: 60 };
        assert_eq!(check_size(&code, &[used(A1, 20), used(B1, 20)], 100), Ok(()));
        let error = check_size(&code, &[used(A1, 20), used(B1, 21)], 100).unwrap_err();
        assert_eq!(
            error.to_string(),
            "Function code combined with layers exceeds the maximum allowed size of 100 bytes. The actual size is 101 bytes."
        );
    }

    #[test]
    fn names_and_arns_lead_to_the_same_layer() {
        let (region, account) = (Region::default(), "111111111111".parse().unwrap());
        let bare = LayerName::parse("a", &region, account).unwrap();
        assert_eq!(bare, LayerName::parse("arn:aws:lambda:us-east-1:111111111111:layer:a", &region, account).unwrap());
        assert_eq!(LayerName::parse_version(A2), Some((bare.clone(), 2)));
        assert_eq!(format!("{}:2", bare.arn("aws")), A2);
        assert_eq!(LayerName::parse(A1, &region, account), None);
        assert_eq!(LayerName::parse_version("arn:aws:lambda:::awslayer:x"), None);
    }

    #[test]
    fn a_version_suits_what_it_names() {
        let version = LayerVersion {
            number: 1,
            created: Timestamp::EPOCH,
            description: String::new(),
            code: Code { digest: String::new(), bytes: 0, unzipped_bytes: 0 },
            runtimes: Some(vec!["python3.12".into()]),
            architectures: None,
            license: None,
        };
        assert!(version.suits(None, None) && version.suits(Some("python3.12"), None));
        assert!(!version.suits(Some("python3.11"), None) && !version.suits(None, Some("arm64")));
    }
}
