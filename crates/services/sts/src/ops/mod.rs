//! The operations: credentials out of credentials, and what credentials say.

mod identity;
mod issuing;
