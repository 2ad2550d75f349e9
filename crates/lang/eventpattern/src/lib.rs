//! The event-pattern language: EventBridge rules, Pipes, filter criteria of event source mappings, SNS filter policies.
//!
//! - [`EventPattern::parse`] reads a pattern in a [`Dialect`]; what AWS refuses is refused with AWS's reason and the place
//!   in the text that AWS names ([`PatternError`]).
//! - [`Event`] is an event prepared once for any number of patterns.
//! - [`RuleSet`] finds the rules that an event matches without trying them all: its cost follows the rules that share a
//!   value with the event, not the rules there are.
//!
//! Pure: no IO, no clock. Guarantees: no input makes it panic or recurse deeper than [`DEPTH_MAX`]; matching one pattern
//! takes time in proportion to the event's size times the pattern's.
//!
//! Source: Amazon EventBridge User Guide, "Creating Amazon EventBridge event patterns" and "Comparison operators".

mod event;
mod parse;
mod pattern;
mod rules;
mod token;

pub use event::Event;
pub use parse::{Dialect, PatternError};
pub use pattern::EventPattern;
pub use rules::RuleSet;

/// How deep a pattern or an event may be nested.
pub const DEPTH_MAX: usize = 100;
/// Alternatives that the `$or`s of one pattern may multiply to.
pub const ALTERNATIVES_MAX: usize = 1000;
/// Wildcard characters that one text may have.
pub const WILDCARDS_MAX: usize = 16;
