//! Identifiers as clients see them: of versions, of uploads. Guarantee: what is read back is what was written, or nothing.

use base_types::Timestamp;
use base64::{
    Engine as _,
    alphabet::Alphabet,
    engine::{GeneralPurpose, general_purpose::NO_PAD},
};

use crate::tables::Id;

/// What AWS calls the version that was made while versioning was off.
pub(crate) const NULL: &str = "null";

fn engine() -> &'static GeneralPurpose {
    static ENGINE: std::sync::OnceLock<GeneralPurpose> = std::sync::OnceLock::new();
    ENGINE.get_or_init(|| {
        let alphabet = Alphabet::new("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._");
        // Sixty-four different characters: it is an alphabet.
        GeneralPurpose::new(&alphabet.unwrap_or(base64::alphabet::URL_SAFE), NO_PAD)
    })
}

fn write(number: u64, id: Id) -> String {
    let mut bytes = [0; 24];
    bytes[..8].copy_from_slice(&number.to_be_bytes());
    bytes[8..].copy_from_slice(&id);
    engine().encode(bytes)
}

fn read(text: &str) -> Option<(u64, Id)> {
    if text.len() != 32 {
        return None;
    }
    let bytes: [u8; 24] = engine().decode(text).ok()?.try_into().ok()?;
    let (number, id) = bytes.split_first_chunk::<8>()?;
    Some((u64::from_be_bytes(*number), id.try_into().ok()?))
}

/// A version's identifier: 32 characters, as AWS's.
pub(crate) fn version(number: u64, id: Id) -> String {
    write(number, id)
}

/// The number and identity that a version's identifier names.
pub(crate) fn read_version(text: &str) -> Option<(u64, Id)> {
    read(text)
}

/// An upload's identifier.
pub(crate) fn upload(initiated: Timestamp, id: Id) -> String {
    write(initiated.as_millis(), id)
}

/// When the upload began that an identifier names, and its identity.
pub(crate) fn read_upload(text: &str) -> Option<(Timestamp, Id)> {
    read(text).map(|(millis, id)| (Timestamp::from_millis(millis), id))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn identifiers_read_back_and_others_do_not() {
        let id = [7; 16];
        let text = version(u64::MAX - 3, id);
        assert_eq!((text.len(), read_version(&text)), (32, Some((u64::MAX - 3, id))));
        let made = Timestamp::from_millis(1_700_000_000_000);
        assert_eq!(read_upload(&upload(made, id)), Some((made, id)));
        for text in ["", "null", "HPniJFCxqTsMuIH9KX8K8wEjNUgmABC", "-------------------------------é", "a b"] {
            assert_eq!(read_version(text), None, "{text}");
        }
    }
}
