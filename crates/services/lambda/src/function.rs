//! Functions, their versions and aliases: what is stored, and how it changes.
//!
//! Pure: every change is a method that takes what it needs and answers what is to be stored, or AWS's objection. A
//! [`Function`] holds what belongs to all versions; each [`Version`] (`$LATEST` is number 0) holds code, configuration and
//! state. Guarantees: a published version never changes except in its state; numbers are handed out once; at most one
//! update of `$LATEST` is in progress.

use base_types::Timestamp;
use minicbor::{Decode, Encode};

use crate::{configuration::Configuration, switches::Switches};

/// The number under which `$LATEST` is kept.
pub const LATEST: u64 = 0;

/// What belongs to a function as a whole.
#[derive(Debug, Clone, PartialEq, Encode, Decode)]
#[cbor(map)]
pub struct Function {
    /// Sets this function apart from an earlier one of the same name; what hangs on a function is kept under it.
    #[n(0)]
    pub incarnation: String,
    /// When it was created.
    #[n(1)]
    pub created: Timestamp,
    /// The next number that is handed out.
    #[n(2)]
    pub version_next: u64,
    /// What was published last.
    #[n(3)]
    pub published: Option<Published>,
    /// Concurrency set aside for it; zero throttles every call.
    #[n(4)]
    pub reserved_concurrency: Option<u32>,
    /// Whether it may call itself through other services for ever (`RecursiveLoop` = `Allow`).
    #[n(5)]
    #[cbor(default)]
    pub recursion_allowed: bool,
    /// What its tags steer.
    #[n(6)]
    #[cbor(default)]
    pub switches: Switches,
}

/// What the last publication took from `$LATEST`: publishing the same again answers the same version.
#[derive(Debug, Clone, PartialEq, Encode, Decode)]
#[cbor(map)]
pub struct Published {
    /// The version it became.
    #[n(0)]
    pub number: u64,
    /// The code it took.
    #[n(1)]
    pub code: Code,
    /// The configuration it took.
    #[n(2)]
    pub configuration: Configuration,
}

/// A deployment package by its content.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Code {
    /// SHA-256 of the zip, in lower-case hexadecimal.
    #[n(0)]
    pub digest: String,
    /// Size of the zip in bytes.
    #[n(1)]
    pub bytes: u64,
    /// Size of its files together; zero when it was stored before this was kept.
    #[n(2)]
    #[cbor(default)]
    pub unzipped_bytes: u64,
}

/// One version, `$LATEST` included.
#[derive(Debug, Clone, PartialEq, Encode, Decode)]
#[cbor(map)]
pub struct Version {
    /// [`LATEST`] or the published number.
    #[n(0)]
    pub number: u64,
    /// Changes with every change.
    #[n(1)]
    pub revision: String,
    /// When code or configuration changed last.
    #[n(2)]
    pub modified: Timestamp,
    /// What runs.
    #[n(3)]
    pub code: Code,
    /// How it runs.
    #[n(4)]
    pub configuration: Configuration,
    /// Whether it can run.
    #[n(5)]
    pub state: State,
    /// How the last update goes; `None` until it first became active.
    #[n(6)]
    pub update: Option<Update>,
    /// Names this state of code and configuration; unlike the revision it does not change when the state does.
    #[n(7)]
    pub content: String,
    /// When its runtime is updated; `None` for AWS's default (`Auto`).
    #[n(8)]
    pub runtime_update: Option<RuntimeUpdate>,
    /// SnapStart: whether environments of this version are made from its initialised process.
    #[n(9)]
    pub snapshot: Option<Snapshot>,
}

/// `RuntimeManagementConfig`.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct RuntimeUpdate {
    /// `Auto`, `FunctionUpdate` or `Manual`.
    #[n(0)]
    pub mode: String,
    /// With `Manual`: the version of the runtime.
    #[n(1)]
    pub version_arn: Option<String>,
}

/// What became of the snapshot of a published SnapStart version.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub enum Snapshot {
    /// Environments are made from it.
    #[n(0)]
    Taken,
    /// The function cannot be forked honestly: environments are initialised each by itself.
    #[n(1)]
    Refused {
        /// Why.
        #[n(0)]
        reason: String,
    },
}

/// Whether a version can run.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub enum State {
    /// Its code is being made ready.
    #[n(0)]
    Pending,
    /// It can run.
    #[n(1)]
    Active,
    /// Its code cannot be made ready, or its initialisation for SnapStart failed.
    #[n(2)]
    Failed {
        /// Why.
        #[n(0)]
        reason: String,
        /// AWS's `StateReasonCode`; `InternalError` when absent.
        #[n(1)]
        code: Option<String>,
    },
}

/// Why a version cannot be made ready.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unready {
    /// For people.
    pub reason: String,
    /// AWS's `StateReasonCode`.
    pub code: &'static str,
}

/// How an update goes.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub enum Update {
    /// The new code is being made ready. It runs already: whoever calls meanwhile waits for it.
    #[n(0)]
    InProgress,
    /// Done.
    #[n(1)]
    Successful,
    /// The new code cannot be made ready.
    #[n(2)]
    Failed {
        /// Why.
        #[n(0)]
        reason: String,
    },
}

/// An alias: a name for one version, or for two by weight.
#[derive(Debug, Clone, PartialEq, Encode, Decode)]
#[cbor(map)]
pub struct Alias {
    /// Its name within the function.
    #[n(0)]
    pub name: String,
    /// The version that it names ([`LATEST`] too).
    #[n(1)]
    pub version: u64,
    /// Free text.
    #[n(2)]
    pub description: String,
    /// A second version and the share of calls that it gets (0 to 1).
    #[n(3)]
    pub weight: Option<(u64, f64)>,
    /// Changes with every change.
    #[n(4)]
    pub revision: String,
}

/// Why a change is refused. The texts are AWS's; the codes stand beside them.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ChangeError {
    /// `ResourceConflictException`.
    #[error("The operation cannot be performed at this time. An update is in progress for resource: {0}")]
    UpdateInProgress(String),
    /// `ResourceConflictException`.
    #[error("The operation cannot be performed at this time. The function is currently in the following state: {0}")]
    NotActive(&'static str),
    /// `PreconditionFailedException`.
    #[error(
        "The Revision Id provided does not match the latest Revision Id. Call the GetFunction/GetAlias API to retrieve the \
         latest Revision Id"
    )]
    Revision,
    /// `InvalidParameterValueException`.
    #[error(
        "CodeSHA256 ({given}) is different from current CodeSHA256 in $LATEST ({current}). Please try again with the \
         CodeSHA256 in $LATEST."
    )]
    CodeDigest {
        /// What the caller expects, as given.
        given: String,
        /// What `$LATEST` has, in base64.
        current: String,
    },
    /// `InvalidParameterValueException`.
    #[error("Number of items in AdditionalVersionWeights cannot be greater than 1")]
    TooManyWeights,
    /// `InvalidParameterValueException`.
    #[error("Invalid function version {0}. Function version {0} is already included in routing configuration.")]
    WeightOnSameVersion(u64),
    /// `InvalidParameterValueException`.
    #[error("$LATEST is not supported for an alias pointing to more than 1 version")]
    WeightWithLatest,
}

impl State {
    /// AWS's word.
    #[must_use]
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Pending => "Pending",
            Self::Active => "Active",
            Self::Failed { .. } => "Failed",
        }
    }
}

impl Code {
    /// AWS's `CodeSha256`: the digest in base64.
    #[must_use]
    pub fn sha256_base64(&self) -> String {
        use base64::Engine as _;
        let bytes: Vec<u8> = (0..self.digest.len() / 2)
            .filter_map(|i| u8::from_str_radix(self.digest.get(2 * i..2 * i + 2)?, 16).ok())
            .collect();
        base64::engine::general_purpose::STANDARD.encode(bytes)
    }
}

impl Function {
    /// A function that was just created.
    #[must_use]
    pub fn new(incarnation: String, now: Timestamp) -> Self {
        Self {
            incarnation,
            created: now,
            version_next: 1,
            published: None,
            reserved_concurrency: None,
            recursion_allowed: false,
            switches: Switches::default(),
        }
    }

    /// The version that publishing `latest` again would merely repeat, if it is so.
    #[must_use]
    pub fn already_published(&self, latest: &Version) -> Option<u64> {
        self.published
            .as_ref()
            .filter(|last| last.code == latest.code && last.configuration == latest.configuration)
            .map(|last| last.number)
    }

    /// Makes a version of `latest`. It is as ready as `latest` is.
    pub fn publish(
        &mut self,
        latest: &Version,
        description: Option<&str>,
        revision: String,
        now: Timestamp,
    ) -> Version {
        let number = self.version_next;
        self.version_next += 1;
        self.published =
            Some(Published { number, code: latest.code.clone(), configuration: latest.configuration.clone() });
        let mut configuration = latest.configuration.clone();
        if let Some(description) = description {
            description.clone_into(&mut configuration.description);
        }
        // A snapshot has to be taken first.
        let ready = latest.state == State::Active
            && latest.update != Some(Update::InProgress)
            && !latest.configuration.snap_start;
        let (state, update) = if ready { (State::Active, Some(Update::Successful)) } else { (State::Pending, None) };
        let content = revision.clone();
        Version {
            number,
            revision,
            modified: now,
            code: latest.code.clone(),
            configuration,
            state,
            update,
            content,
            runtime_update: latest.runtime_update.clone(),
            snapshot: None,
        }
    }
}

impl Version {
    /// The first `$LATEST` of a function.
    #[must_use]
    pub fn latest(code: Code, configuration: Configuration, revision: String, now: Timestamp) -> Self {
        let content = revision.clone();
        Self {
            number: LATEST,
            revision,
            modified: now,
            code,
            configuration,
            state: State::Pending,
            update: None,
            content,
            runtime_update: None,
            snapshot: None,
        }
    }

    /// Whether it is published and environments of it are to be made from its snapshot.
    #[must_use]
    pub fn wants_snapshot(&self) -> bool {
        self.number != LATEST
            && self.configuration.snap_start
            && !matches!(self.snapshot, Some(Snapshot::Refused { .. }))
    }

    /// Names what environments of it are made from: code, configuration and what the function's tags steer.
    #[must_use]
    pub fn run_revision(&self, switches: &Switches) -> String {
        format!("{}{}", self.content, switches.mark())
    }

    /// Every package that it uses, its code first.
    pub fn packages(&self) -> impl Iterator<Item = &str> {
        let layers = self.configuration.layers.iter().map(|layer| layer.digest.as_str());
        std::iter::once(self.code.digest.as_str()).chain(layers)
    }

    /// `$LATEST` or the number.
    #[must_use]
    pub fn label(&self) -> String {
        label(self.number)
    }

    /// Whether an update may begin: `revision` is the caller's precondition.
    ///
    /// # Errors
    /// [`ChangeError::NotActive`], [`ChangeError::UpdateInProgress`], [`ChangeError::Revision`], in this order.
    pub fn check_change(&self, revision: Option<&str>, arn: &str) -> Result<(), ChangeError> {
        match self.state {
            State::Pending => return Err(ChangeError::NotActive("Pending")),
            // What failed is mended by an update.
            State::Active | State::Failed { .. } => {}
        }
        if self.update == Some(Update::InProgress) {
            return Err(ChangeError::UpdateInProgress(arn.to_owned()));
        }
        self.check_revision(revision)
    }

    /// Whether the caller saw the present revision.
    ///
    /// # Errors
    /// [`ChangeError::Revision`].
    pub fn check_revision(&self, revision: Option<&str>) -> Result<(), ChangeError> {
        if revision.is_none_or(|revision| revision == self.revision) { Ok(()) } else { Err(ChangeError::Revision) }
    }

    /// Begins an update. It is applied at once; [`Version::settle`] ends it.
    pub fn begin_update(
        &mut self,
        code: Option<Code>,
        configuration: Option<Configuration>,
        revision: String,
        now: Timestamp,
    ) {
        if let Some(code) = code {
            self.code = code;
        }
        if let Some(configuration) = configuration {
            self.configuration = configuration;
        }
        self.content.clone_from(&revision);
        self.revision = revision;
        self.modified = now;
        // A function that never became active is created anew; one that is stays active while it is updated.
        if self.state == State::Active {
            self.update = Some(Update::InProgress);
        } else {
            self.state = State::Pending;
            self.update = None;
        }
    }

    /// Whether [`Version::settle`] is due.
    #[must_use]
    pub fn is_unsettled(&self) -> bool {
        self.state == State::Pending || self.update == Some(Update::InProgress)
    }

    /// Ends a creation or an update: the code (and the snapshot) is ready, or cannot be made ready for a reason.
    pub fn settle(&mut self, outcome: Result<Option<Snapshot>, Unready>, revision: String) {
        match (outcome, &self.state) {
            (Ok(snapshot), _) => {
                self.state = State::Active;
                self.update = Some(Update::Successful);
                self.snapshot = snapshot;
            }
            (Err(Unready { reason, .. }), State::Active) => self.update = Some(Update::Failed { reason }),
            (Err(Unready { reason, code }), _) => {
                self.state = State::Failed { reason, code: Some(code.to_owned()) };
                self.update = None;
            }
        }
        self.revision = revision;
    }
}

impl Alias {
    /// Checks a routing configuration (version → weight) for an alias of `version`.
    ///
    /// # Errors
    /// [`ChangeError::TooManyWeights`], [`ChangeError::WeightWithLatest`], [`ChangeError::WeightOnSameVersion`].
    pub fn routing(version: u64, weights: &[(u64, f64)]) -> Result<Option<(u64, f64)>, ChangeError> {
        match *weights {
            [] => Ok(None),
            [_] if version == LATEST => Err(ChangeError::WeightWithLatest),
            [(other, _)] if other == version => Err(ChangeError::WeightOnSameVersion(other)),
            [weight] => Ok(Some(weight)),
            _ => Err(ChangeError::TooManyWeights),
        }
    }

    /// The version for one call; `draw` is a random number below [`Alias::DRAWS`].
    #[must_use]
    pub fn route(&self, draw: u64) -> u64 {
        match self.weight {
            Some((other, share)) if (draw as f64) < share * Self::DRAWS as f64 => other,
            _ => self.version,
        }
    }

    /// The range of the random number that [`Alias::route`] takes.
    pub const DRAWS: u64 = 1 << 20;

    /// Whether the alias names this version, by weight or wholly.
    #[must_use]
    pub fn names(&self, version: u64) -> bool {
        self.version == version || self.weight.is_some_and(|(other, _)| other == version)
    }
}

/// `$LATEST` or the number.
#[must_use]
pub fn label(number: u64) -> String {
    if number == LATEST { "$LATEST".to_owned() } else { number.to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn latest() -> Version {
        let code = Code { digest: "00ff".repeat(16), bytes: 7, unzipped_bytes: 9 };
        Version::latest(code, Configuration::new("hello", "role"), "r0".into(), Timestamp::EPOCH)
    }

    fn unready(reason: &str) -> Unready {
        Unready { reason: reason.to_owned(), code: "InternalError" }
    }

    fn active() -> Version {
        let mut version = latest();
        version.settle(Ok(None), "r1".into());
        version
    }

    #[test]
    fn a_creation_and_an_update_run_through_their_states() {
        let mut version = latest();
        assert_eq!((version.state.clone(), version.update.clone()), (State::Pending, None));
        assert_eq!(version.check_change(None, "arn"), Err(ChangeError::NotActive("Pending")));
        version.settle(Ok(None), "r1".into());
        assert_eq!((version.state.clone(), version.update.clone()), (State::Active, Some(Update::Successful)));
        assert_eq!(version.check_change(Some("r0"), "arn"), Err(ChangeError::Revision));
        assert_eq!(version.check_change(Some("r1"), "arn"), Ok(()));
        version.begin_update(None, None, "r2".into(), Timestamp::EPOCH);
        assert_eq!((version.state.clone(), version.update.clone()), (State::Active, Some(Update::InProgress)));
        assert_eq!(version.check_change(Some("r0"), "arn"), Err(ChangeError::UpdateInProgress("arn".into())));
        assert!(version.is_unsettled());
        version.settle(Err(unready("no room")), "r3".into());
        assert_eq!(version.update, Some(Update::Failed { reason: "no room".into() }));
        assert_eq!(version.state, State::Active);
        assert!(!version.is_unsettled());
    }

    #[test]
    fn a_failed_creation_is_mended_by_an_update() {
        let mut version = latest();
        version.settle(Err(unready("broken")), "r1".into());
        assert_eq!(version.state, State::Failed { reason: "broken".into(), code: Some("InternalError".into()) });
        assert_eq!(version.check_change(None, "arn"), Ok(()));
        version.begin_update(None, None, "r2".into(), Timestamp::EPOCH);
        assert_eq!(version.state, State::Pending);
        version.settle(Ok(None), "r3".into());
        assert_eq!(version.state, State::Active);
    }

    #[test]
    fn publishing_the_same_again_gives_the_same_version_and_numbers_are_never_reused() {
        let mut function = Function::new("i".into(), Timestamp::EPOCH);
        let mut latest = active();
        assert_eq!(function.already_published(&latest), None);
        let first = function.publish(&latest, Some("first"), "r".into(), Timestamp::EPOCH);
        assert_eq!((first.number, first.configuration.description.as_str()), (1, "first"));
        assert_eq!((first.state, first.update), (State::Active, Some(Update::Successful)));
        assert_eq!(function.already_published(&latest), Some(1));
        let changed = Configuration { timeout_seconds: 9, ..latest.configuration.clone() };
        latest.begin_update(None, Some(changed), "r".into(), Timestamp::EPOCH);
        assert_eq!(function.already_published(&latest), None);
        let second = function.publish(&latest, None, "r".into(), Timestamp::EPOCH);
        assert_eq!((second.number, second.state, second.update), (2, State::Pending, None));
        assert_eq!(function.version_next, 3);
    }

    #[test]
    fn an_alias_routes_by_weight() {
        for (version, weights, expected) in [
            (1, vec![], Ok(None)),
            (1, vec![(2, 0.5)], Ok(Some((2, 0.5)))),
            (1, vec![(1, 0.5)], Err(ChangeError::WeightOnSameVersion(1))),
            (LATEST, vec![(1, 0.5)], Err(ChangeError::WeightWithLatest)),
            (1, vec![(2, 0.1), (3, 0.1)], Err(ChangeError::TooManyWeights)),
        ] {
            assert_eq!(Alias::routing(version, &weights), expected);
        }
        let alias = |weight| Alias {
            name: "live".into(),
            version: 1,
            description: String::new(),
            weight,
            revision: String::new(),
        };
        let share = |alias: &Alias| (0..Alias::DRAWS).step_by(64).filter(|&draw| alias.route(draw) == 2).count();
        let all = (Alias::DRAWS / 64) as usize;
        assert_eq!(share(&alias(None)), 0);
        assert_eq!(share(&alias(Some((2, 0.0)))), 0);
        assert_eq!(share(&alias(Some((2, 0.25)))), all / 4);
        assert_eq!(share(&alias(Some((2, 1.0)))), all);
    }

    #[test]
    fn the_digest_is_answered_in_base64() {
        assert_eq!(
            Code {
                digest: "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855".into(),
                bytes: 0,
                unzipped_bytes: 0
            }
            .sha256_base64(),
            "47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU="
        );
    }
}
