//! The `pileus` command.
fn main() {}
