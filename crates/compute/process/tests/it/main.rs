//! The sandbox from outside: real functions on the real host. Run as root for all walls; an ordinary user gets the tests
//! that its isolation allows, and each says why it left something out.

mod harness;
mod python;
