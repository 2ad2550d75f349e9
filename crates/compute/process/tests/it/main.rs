//! The sandbox from outside: real functions on the real host. Run as root for all walls; as an ordinary user, what needs
//! host uids or limits says so and is left out.

mod custom;
mod endings;
mod failures;
mod harness;
mod node;
mod python;
mod walls;
