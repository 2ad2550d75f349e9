//! One suite that every back-end must pass.
