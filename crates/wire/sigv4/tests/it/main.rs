//! The verifier and the signer against others: AWS's published examples, botocore's signer (recorded answers always,
//! the live signer where Python has it), and hostile bytes.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod botocore;
mod hostile;
mod published;
mod refusals;
