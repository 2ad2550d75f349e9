//! Names of functions: every form that AWS accepts, taken apart once.
//!
//! `hello`, `hello:prod`, `function:hello`, `000000000000:function:hello`, and the full ARN all name the same function; a
//! qualifier may come inside the name, beside it, or both, and then they must agree. Guarantee: a [`FunctionName`] is
//! what AWS's grammar reads from the text, so two texts for one function give equal values. Source: the Lambda API
//! reference ("FunctionName") and answers recorded from AWS. The pattern itself was checked before (wire constraints).

use std::fmt;

use base_types::{AccountId, Region};

/// The longest bare function name; the wire constraint (140) is about the whole ARN.
pub const NAME_LENGTH_MAX: usize = 64;

/// A function's name taken apart: what is missing in the text is `None`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FunctionName {
    /// The region that the text names.
    pub region: Option<String>,
    /// The account that the text names.
    pub account: Option<AccountId>,
    /// The bare name, for example `hello`.
    pub name: String,
    /// What followed the name.
    pub qualifier: Option<String>,
}

/// What of a function is meant.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Qualifier {
    /// `$LATEST`.
    Latest,
    /// A published version's number.
    Version(u64),
    /// An alias's name (digits alone are a version, never an alias).
    Alias(String),
    /// Text that AWS's pattern lets through but that can name nothing, such as `$latest`.
    Nothing(String),
}

impl Qualifier {
    /// Reads a qualifier's text.
    #[must_use]
    pub fn parse(text: &str) -> Self {
        if text == "$LATEST" {
            return Self::Latest;
        }
        if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
            return text.parse().map_or_else(|_| Self::Nothing(text.to_owned()), Self::Version);
        }
        if is_name(text) { Self::Alias(text.to_owned()) } else { Self::Nothing(text.to_owned()) }
    }
}

impl fmt::Display for Qualifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Latest => f.write_str("$LATEST"),
            Self::Version(number) => write!(f, "{number}"),
            Self::Alias(text) | Self::Nothing(text) => f.write_str(text),
        }
    }
}

/// A function of this account and region, as an operation sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FunctionRef {
    /// The bare name.
    pub name: String,
    /// The qualifier from the name or from beside it.
    pub qualifier: Option<Qualifier>,
}

/// The text does not name a function that this request can reach. The texts are AWS's.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// The qualifier in the name and the one beside it differ (`InvalidParameterValueException`).
    #[error("The derived qualifier from the function name does not match the specified qualifier.")]
    QualifierMismatch,
    /// The ARN is of another region (`ResourceNotFoundException`).
    #[error("Functions from '{named}' are not reachable in this region ('{here}')")]
    OtherRegion {
        /// The region in the text.
        named: String,
        /// The region of the request.
        here: Region,
    },
    /// The ARN is of another account (`AccessDeniedException`).
    #[error("the function belongs to account {0}")]
    OtherAccount(AccountId),
    /// The text does not follow the grammar; the wire constraints catch this first (`InvalidParameterValueException`).
    #[error("The function name `{0}` is not valid.")]
    Malformed(String),
}

impl FunctionName {
    /// Takes a text apart by AWS's grammar, greedily: `(arn:…:lambda:)?(region:)?(account:)?(function:)?name(:qualifier)?`.
    ///
    /// # Errors
    /// [`NameError::Malformed`] when the text does not follow it.
    pub fn parse(text: &str) -> Result<Self, NameError> {
        let malformed = || NameError::Malformed(text.to_owned());
        let parts: Vec<&str> = text.split(':').collect();
        let mut next = 0;
        // An optional part is taken only if something is left for the name.
        let more = |next: usize| next + 1 < parts.len();
        if parts.len() > 3 && parts[0] == "arn" && is_partition(parts[1]) && parts[2] == "lambda" {
            next = 3;
        }
        let mut region = None;
        if more(next) && is_region(parts[next]) {
            region = Some(parts[next].to_owned());
            next += 1;
        }
        let mut account = None;
        if more(next)
            && let Ok(id) = parts[next].parse::<AccountId>()
        {
            account = Some(id);
            next += 1;
        }
        // `function:$LATEST` is the function called `function`.
        if more(next) && parts[next] == "function" && is_dotted_name(parts[next + 1]) {
            next += 1;
        }
        match parts.get(next..) {
            Some([name]) if is_dotted_name(name) => {
                Ok(Self { region, account, name: (*name).to_owned(), qualifier: None })
            }
            Some([name, qualifier]) if is_dotted_name(name) && is_qualifier(qualifier) => {
                Ok(Self { region, account, name: (*name).to_owned(), qualifier: Some((*qualifier).to_owned()) })
            }
            _ => Err(malformed()),
        }
    }
}

/// The function that a request names by `text` and an optional `qualifier` beside it.
///
/// The order is AWS's: first the two qualifiers must agree, then the region must be here, then the account must be ours.
///
/// # Errors
/// See [`NameError`].
pub fn resolve(
    text: &str,
    qualifier: Option<&str>,
    region: &Region,
    account: AccountId,
) -> Result<FunctionRef, NameError> {
    let parsed = FunctionName::parse(text)?;
    if let (Some(derived), Some(given)) = (&parsed.qualifier, qualifier)
        && derived != given
    {
        return Err(NameError::QualifierMismatch);
    }
    if let Some(named) = parsed.region
        && named != region.as_str()
    {
        return Err(NameError::OtherRegion { named, here: region.clone() });
    }
    if let Some(named) = parsed.account
        && named != account
    {
        return Err(NameError::OtherAccount(named));
    }
    let qualifier = qualifier.map(str::to_owned).or(parsed.qualifier);
    Ok(FunctionRef { name: parsed.name, qualifier: qualifier.as_deref().map(Qualifier::parse) })
}

/// `arn:aws:lambda:us-east-1:000000000000:function:hello`.
#[must_use]
pub fn function_arn(region: &Region, account: AccountId, name: &str) -> String {
    format!("arn:{}:lambda:{region}:{account}:function:{name}", region.partition())
}

/// `arn:aws:lambda:us-east-1:000000000000:function:hello:prod`.
#[must_use]
pub fn qualified_arn(region: &Region, account: AccountId, name: &str, qualifier: &dyn fmt::Display) -> String {
    format!("arn:{}:lambda:{region}:{account}:function:{name}:{qualifier}", region.partition())
}

fn is_name(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
}

fn is_dotted_name(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.'))
}

fn is_qualifier(text: &str) -> bool {
    is_name(text) || text == "$LATEST" || text == "$LATEST.PUBLISHED"
}

fn is_partition(text: &str) -> bool {
    text.is_empty()
        || text.strip_prefix("aws").is_some_and(|rest| rest.bytes().all(|b| b.is_ascii_alphabetic() || b == b'-'))
}

/// `us-east-1`, `us-gov-west-1`, `eusc-de-east-1`: two letters, perhaps `gov` or `iso…`, a word, one digit.
fn is_region(text: &str) -> bool {
    let text = text.strip_prefix("eusc-").unwrap_or(text);
    let mut parts: Vec<&str> = text.split('-').collect();
    if parts.len() == 4 {
        let partition = parts.remove(1);
        let known = partition == "gov"
            || partition.strip_prefix("iso").is_some_and(|rest| rest.len() <= 1 && rest.bytes().all(is_lower));
        if !known {
            return false;
        }
    }
    matches!(parts[..], [country, word, number]
        if country.len() == 2 && country.bytes().all(is_lower)
            && !word.is_empty() && word.bytes().all(is_lower)
            && number.len() == 1 && number.bytes().all(|byte| byte.is_ascii_digit()))
}

fn is_lower(byte: u8) -> bool {
    byte.is_ascii_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn here(text: &str, qualifier: Option<&str>) -> Result<FunctionRef, NameError> {
        resolve(text, qualifier, &Region::default(), AccountId::DEFAULT)
    }

    #[test]
    fn every_form_of_a_name_gives_the_same_function() {
        for text in [
            "hello",
            "function:hello",
            "000000000000:hello",
            "000000000000:function:hello",
            "us-east-1:000000000000:function:hello",
            "us-east-1:hello",
            "arn:aws:lambda:us-east-1:000000000000:function:hello",
            "arn:aws:lambda:hello",
        ] {
            assert_eq!(here(text, None), Ok(FunctionRef { name: "hello".into(), qualifier: None }), "{text}");
            for (qualifier, meant) in [
                ("$LATEST", Qualifier::Latest),
                ("7", Qualifier::Version(7)),
                ("prod", Qualifier::Alias("prod".into())),
                ("2024-01-02", Qualifier::Alias("2024-01-02".into())),
            ] {
                let expected = Ok(FunctionRef { name: "hello".into(), qualifier: Some(meant) });
                assert_eq!(here(&format!("{text}:{qualifier}"), None), expected, "{text}:{qualifier}");
                assert_eq!(here(text, Some(qualifier)), expected, "{text} + {qualifier}");
                assert_eq!(here(&format!("{text}:{qualifier}"), Some(qualifier)), expected);
            }
        }
    }

    #[test]
    fn odd_names_are_read_as_the_grammar_reads_them() {
        for (text, name, qualifier) in [
            ("function", "function", None),
            ("arn:aws:lambda:us-east-1:000000000000:function", "function", None),
            ("function:function", "function", None),
            ("function:$LATEST", "function", Some("$LATEST")),
            ("us-east-1", "us-east-1", None),
            ("000000000000", "000000000000", None),
            ("us-east-1:000000000000", "000000000000", None),
            ("arn", "arn", None),
            ("arn:aws", "arn", Some("aws")),
            ("function:function:1", "function", Some("1")),
        ] {
            let parsed = FunctionName::parse(text).unwrap();
            assert_eq!((parsed.name.as_str(), parsed.qualifier.as_deref()), (name, qualifier), "{text}");
        }
        for text in [
            "",
            ":",
            "*",
            "hello!",
            "hello:1:2",
            "hello:",
            "hello:$latest",
            "invalid:function:name",
            "invalid-account:function:my-function",
            "function:my-function:$LATEST:extra",
            "arn:aws:ec2:us-east-1:111111111111:instance:i-1234567890abcdef0",
            "arn:aws:lambda:invalid-region:111111111111:function:my-function",
            "arn:aws:lambda::111111111111:function:my-function",
            "arn:aws:lambda:us-east-1::function:my-function",
            "arn:aws:lambda:us-east-1:111111111111:function:my-function:$LATES",
            "arn:aws:lambda:us-east-1:111111111111:function:my-function:$LATEST:1",
        ] {
            assert_eq!(FunctionName::parse(text), Err(NameError::Malformed(text.to_owned())), "{text}");
        }
    }

    #[test]
    fn what_is_elsewhere_or_contradictory_is_refused_in_awss_order() {
        let arn =
            |region: &str, account: &str, rest: &str| format!("arn:aws:lambda:{region}:{account}:function:{rest}");
        for (text, qualifier, message) in [
            (
                arn("us-east-1", "000000000000", "f:$LATEST"),
                Some("1"),
                "The derived qualifier from the function name does not match the specified qualifier.",
            ),
            (
                arn("ap-southeast-1", "111111111111", "f"),
                None,
                "Functions from 'ap-southeast-1' are not reachable in this region ('us-east-1')",
            ),
            (arn("us-east-1", "111111111111", "f"), None, "the function belongs to account 111111111111"),
            (
                arn("eu-west-1", "111111111111", "f:1"),
                Some("2"),
                "The derived qualifier from the function name does not match the specified qualifier.",
            ),
        ] {
            assert_eq!(here(&text, qualifier).unwrap_err().to_string(), message, "{text}");
        }
    }

    #[test]
    fn regions_of_every_partition_are_known() {
        for (text, valid) in [
            ("us-east-1", true),
            ("us-gov-west-1", true),
            ("us-iso-east-1", true),
            ("us-isob-east-1", true),
            ("eusc-de-east-1", true),
            ("invalid-region", false),
            ("us-east-10", false),
            ("us-foo-east-1", false),
            ("us-isobb-east-1", false),
            ("", false),
        ] {
            assert_eq!(is_region(text), valid, "{text}");
        }
    }

    proptest::proptest! {
        #[test]
        fn any_text_is_read_or_refused(text in ".{0,80}") {
            if let Ok(parsed) = FunctionName::parse(&text) {
                proptest::prop_assert!(is_dotted_name(&parsed.name));
            }
        }
    }
}
