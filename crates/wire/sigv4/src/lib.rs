//! Verification and making of Signature Version 4.
