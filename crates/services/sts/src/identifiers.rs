//! Identifiers in AWS's form.
//!
//! An access key id is a prefix (`AKIA` for long-lived keys, `ASIA` for sessions) and sixteen base-32 characters: one set
//! bit, the account in forty bits, and thirty-nine random ones. So the account can be read from the key id, by us
//! (`GetAccessKeyInfo`) and by the tools that do the same with AWS's.

use base_env::Env;
use base_types::AccountId;

const ALPHABET: &[u8; 32] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
const CHARS: u32 = 16;
const RANDOM_BITS: u32 = 39;
const ACCOUNT_MASK: u128 = (1 << 40) - 1;

/// A fresh access key id of an account; `prefix` is `AKIA` or `ASIA`.
#[must_use]
pub fn access_key_id(prefix: &str, account: AccountId, env: &Env) -> String {
    let number: u128 = account.as_str().parse().unwrap_or_default();
    let bits = 1 << 79 | number << RANDOM_BITS | u128::from(env.below(1 << RANDOM_BITS));
    let digits = (0..CHARS).rev().map(|position| digit(bits >> (5 * position)));
    prefix.chars().chain(digits).collect()
}

/// The account that an access key id of AWS's form names.
#[must_use]
pub fn access_key_account(key_id: &str) -> Option<AccountId> {
    let digits = key_id.strip_prefix("AKIA").or_else(|| key_id.strip_prefix("ASIA"))?;
    if digits.len() != CHARS as usize {
        return None;
    }
    let mut bits: u128 = 0;
    for byte in digits.bytes() {
        let value = ALPHABET.iter().position(|known| *known == byte)?;
        bits = bits << 5 | value as u128;
    }
    let number = bits >> RANDOM_BITS & ACCOUNT_MASK;
    // More than twelve digits is no account, and neither is a key without the set bit (the form before 2019).
    if bits >> 79 == 1 { format!("{number:012}").parse().ok() } else { None }
}

/// Seventeen base-32 characters out of a digest: what follows `AROA` in a role's id.
pub(crate) fn unique_id(prefix: &str, digest: &[u8; 32]) -> String {
    prefix.chars().chain(digest.iter().take(17).map(|byte| digit(u128::from(*byte)))).collect()
}

fn digit(bits: u128) -> char {
    char::from(ALPHABET[(bits & 31) as usize])
}

#[cfg(test)]
mod tests {
    use base_types::Timestamp;

    use super::*;

    #[test]
    fn the_account_is_read_from_the_key_id() {
        let env = Env::simulated(Timestamp::EPOCH, 1);
        for text in ["000000000000", "123456789012", "999999999999"] {
            let account: AccountId = text.parse().unwrap();
            let key_id = access_key_id("ASIA", account, &env);
            assert_eq!(key_id.len(), 20);
            assert_eq!(access_key_account(&key_id), Some(account), "{key_id}");
        }
        for key_id in
            ["", "AKIA", "AKIAIOSFODNN7EXAMPLE", "AKIA0000000000000000", "XXIAQYLPMN5HXXXXXXXX", "111111111111"]
        {
            assert_eq!(access_key_account(key_id), None, "{key_id}");
        }
    }

    /// A pair that is known from AWS's own key ids.
    #[test]
    fn key_ids_are_read_as_awss_are() {
        assert_eq!(
            access_key_account("ASIAQNZGKIQY56JQ7WML").map(|account| account.to_string()).as_deref(),
            Some("029608264753")
        );
    }
}
