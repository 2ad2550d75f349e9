//! The laws of the house. All of them are in `tests/laws.rs`; there is nothing to link here.
