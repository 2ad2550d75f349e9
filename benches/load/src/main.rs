//! Load client and bare opponents.
fn main() {}
