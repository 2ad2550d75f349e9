//! Event source mappings: what connects a queue to a function.
//!
//! - this file: what a mapping is and the states that it goes through; pure;
//! - [`settings`]: what a mapping can be set to, in AWS's words; pure;
//! - [`source`]: what a mapping may take its records from; pure;
//! - [`filter`]: which messages a function gets to see; pure;
//! - [`batch`]: the event that a function gets, and what its answer says of each message; pure;
//! - [`scale`]: how many batches are worked off at once; pure;
//! - [`look`]: one look into the queue, within a transaction;
//! - [`worker`]: works one mapping off; [`poll`]: the reconciler that keeps a worker for each;
//! - [`stream`]: the same for streams, which are read and not emptied.
//!
//! Guarantees: a message leaves its queue in the commit that writes that it was worked off, or that it was filtered out;
//! until then it comes back when its visibility ends, whatever becomes of this process. Whether a mapping may take
//! messages is read in the transaction that takes them: none is taken after a change that forbids it was acknowledged.

pub(crate) mod batch;
pub(crate) mod filter;
mod look;
pub(crate) mod poll;
pub(crate) mod scale;
pub(crate) mod settings;
pub(crate) mod source;
pub(crate) mod stream;
mod worker;

use base_types::Timestamp;
use minicbor::{Decode, Encode};

/// A mapping as it is stored.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub(crate) struct Mapping {
    /// Its identifier.
    #[n(0)]
    pub(crate) uuid: String,
    /// ARN of the source.
    #[n(1)]
    pub(crate) source: String,
    /// The function's name.
    #[n(2)]
    pub(crate) function: String,
    /// The version or alias, as it was given.
    #[n(3)]
    pub(crate) qualifier: Option<String>,
    /// Where it stands.
    #[n(4)]
    pub(crate) state: State,
    /// Whether it is to work.
    #[n(5)]
    pub(crate) enabled: bool,
    /// When it was changed last.
    #[n(6)]
    pub(crate) modified: Timestamp,
    /// Rises with each change: who settles a state settles the one that was looked at.
    #[n(7)]
    pub(crate) revision: u64,
    /// Why it cannot work just now.
    #[n(8)]
    pub(crate) problem: Option<String>,
    /// What it is set to.
    #[n(9)]
    pub(crate) settings: settings::Settings,
    /// What came of the last records of a stream, as AWS says it.
    #[n(10)]
    pub(crate) result: Option<String>,
}

/// The states of a mapping, as AWS names them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
#[cbor(index_only)]
pub(crate) enum State {
    /// It was made and will be enabled.
    #[n(0)]
    Creating,
    /// It was disabled and will be enabled.
    #[n(1)]
    Enabling,
    /// It works.
    #[n(2)]
    Enabled,
    /// What was begun is brought to its end.
    #[n(3)]
    Disabling,
    /// It does nothing.
    #[n(4)]
    Disabled,
    /// It was changed.
    #[n(5)]
    Updating,
    /// What was begun is brought to its end; then it is gone.
    #[n(6)]
    Deleting,
}

impl State {
    /// AWS's word.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Creating => "Creating",
            Self::Enabling => "Enabling",
            Self::Enabled => "Enabled",
            Self::Disabling => "Disabling",
            Self::Disabled => "Disabled",
            Self::Updating => "Updating",
            Self::Deleting => "Deleting",
        }
    }

    /// Whether it is on its way to another one: meanwhile nobody may change or delete the mapping.
    pub(crate) fn passes(self) -> bool {
        !matches!(self, Self::Enabled | Self::Disabled)
    }
}

/// What the reconciler is to do about a mapping.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Task {
    /// A worker is to be there; the state is to become `Enabled`.
    Work,
    /// No worker is to be there; the state is to become `Disabled`.
    Rest,
    /// No worker is to be there; then it goes.
    Go,
}

impl Mapping {
    /// What is to be done about it.
    pub(crate) fn task(&self) -> Task {
        match self.state {
            State::Deleting => Task::Go,
            _ if self.enabled => Task::Work,
            _ => Task::Rest,
        }
    }

    /// The state in which a change leaves it. `enabled` is what the change says of it.
    pub(crate) fn changed(&mut self, enabled: Option<bool>, now: Timestamp) {
        let before = self.enabled;
        self.enabled = enabled.unwrap_or(before);
        self.state = match (before, self.enabled) {
            (false, true) => State::Enabling,
            (true, false) => State::Disabling,
            (true, true) | (false, false) => State::Updating,
        };
        self.modified = now;
        self.revision += 1;
        self.problem = None;
    }

    /// It is to go.
    pub(crate) fn deleted(&mut self, now: Timestamp) {
        self.state = State::Deleting;
        self.enabled = false;
        self.modified = now;
        self.revision += 1;
    }

    /// The state that its task ends in; none for one that goes.
    pub(crate) fn settled(&self) -> Option<State> {
        match self.task() {
            Task::Work => Some(State::Enabled),
            Task::Rest => Some(State::Disabled),
            Task::Go => None,
        }
    }

    /// `StateTransitionReason`.
    pub(crate) fn reason(&self) -> &str {
        let user = if self.settings.stream.is_some() { "User action" } else { "USER_INITIATED" };
        self.problem.as_deref().unwrap_or(user)
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) fn mapping() -> Mapping {
        Mapping {
            uuid: "14e0db71-5d35-4eb5-b481-8945cf9d10c2".into(),
            source: "arn:aws:sqs:us-east-1:111111111111:q".into(),
            function: "f".into(),
            qualifier: None,
            state: State::Creating,
            enabled: true,
            modified: Timestamp::EPOCH,
            revision: 1,
            problem: None,
            settings: settings::Settings::default(),
            result: None,
        }
    }

    #[test]
    fn changes_lead_through_the_states_of_aws() {
        let mut mapping = mapping();
        assert_eq!((mapping.task(), mapping.settled()), (Task::Work, Some(State::Enabled)));
        for (enabled, state, task, settled) in [
            (None, State::Updating, Task::Work, State::Enabled),
            (Some(true), State::Updating, Task::Work, State::Enabled),
            (Some(false), State::Disabling, Task::Rest, State::Disabled),
            (None, State::Updating, Task::Rest, State::Disabled),
            (Some(true), State::Enabling, Task::Work, State::Enabled),
        ] {
            let before = mapping.revision;
            mapping.changed(enabled, Timestamp::EPOCH);
            assert_eq!((mapping.state, mapping.task(), mapping.settled()), (state, task, Some(settled)));
            assert_eq!(mapping.revision, before + 1);
        }
        mapping.deleted(Timestamp::EPOCH);
        assert_eq!((mapping.state.as_str(), mapping.task(), mapping.settled()), ("Deleting", Task::Go, None));
    }
}
