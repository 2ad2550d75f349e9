//! IAM policy documents: read, evaluated, written. Pure: no IO, no clock.
//!
//! - [`Policy::parse`] reads a document and refuses what IAM refuses (unknown members, repeated members, operators that do
//!   not exist), so that nothing in a policy is silently ignored;
//! - [`Access::decide`] combines a caller's own policies with a resource's policy inside an account and across accounts:
//!   an explicit deny wins, then an allow, then the implicit deny;
//! - [`Policy::to_json`] and [`Statement::to_json`] write the form in which AWS's services give policies back.
//!
//! Guarantees: evaluation takes time linear in the policy times the request's texts squared at worst and never panics;
//! a text that a policy variable brings in is taken literally (it cannot smuggle wildcards).
//!
//! Source: IAM User Guide, "IAM JSON policy elements reference" and "Policy evaluation logic".

mod condition;
mod document;
mod evaluate;
mod json;
mod parse;
mod pattern;

pub use condition::{Condition, Context, Operator, UnknownOperator};
pub use document::{Effect, Matcher, Policy, PrincipalKind, Principals, Statement, Version};
pub use evaluate::{Access, Caller, Decision, Request};
pub use parse::{BYTES_MAX, Kind, PolicyError};
