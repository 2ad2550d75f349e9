//! The two traits of the compute floor. Guarantee of every implementation: code of a function runs only behind the walls
//! that [`Environment::isolation`] names, checked from outside before it is given its first event.

use std::{fmt, future::Future, sync::Arc};

use crate::{
    Completion, Deployed, EnvironmentSpec, Exit, HostReport, Invocation, IsolationReport, Origin, RuntimeListing,
    StartError,
};

/// Starts execution environments.
pub trait FunctionHost: Clone + Send + Sync + 'static {
    /// What [`FunctionHost::start`] makes.
    type Environment: Environment;

    /// Makes an environment and runs its initialisation. It resolves when the runtime has asked for its first event, so
    /// what it returns is idle and anyone's to use. Dropping the future ends what was begun.
    ///
    /// # Errors
    /// [`StartError::Init`] when the function's own initialisation failed (an answer for the caller of the function), the
    /// other variants when this host cannot run it.
    fn start(&self, spec: Arc<EnvironmentSpec>) -> impl Future<Output = Result<Self::Environment, StartError>> + Send;

    /// Makes the initialised process that `spec.snapshot` names, if it is not there yet: what publishing a SnapStart version
    /// waits for. [`FunctionHost::start`] with the same name makes it when it is missing (after a restart, or when it had
    /// to make room), so this is never needed for an environment to start.
    ///
    /// # Errors
    /// [`StartError::Init`] when the initialisation or a before-snapshot hook failed, [`StartError::NoSnapshot`] when this
    /// function cannot be forked honestly or the runtime has no snapshots, the others as for `start`.
    fn snapshot(&self, spec: Arc<EnvironmentSpec>) -> impl Future<Output = Result<(), StartError>> + Send;

    /// Ends the initialised process of this name, if there is one. Environments made from it live on.
    fn forget_snapshot(&self, snapshot: &str);

    /// A function was deployed: what can be prepared ahead of its first start may be prepared now. A hint, which costs the
    /// caller nothing.
    fn expect(&self, deployed: Deployed) {
        drop(deployed);
    }

    /// The runtimes found on this host and those it lacks.
    fn runtimes(&self) -> Arc<RuntimeListing>;

    /// What the host offers for isolation, what is missing, and why.
    fn report(&self) -> Arc<HostReport>;

    /// Ends every environment and whatever the host keeps running. Later starts fail.
    fn shutdown(&self) -> impl Future<Output = ()> + Send;
}

/// One sandbox of one function version, initialised. Dropping it ends it like [`Environment::stop`], without waiting.
pub trait Environment: Send + 'static {
    /// Unique within this process.
    fn id(&self) -> EnvironmentId;

    /// What it was made from.
    fn spec(&self) -> &Arc<EnvironmentSpec>;

    /// The walls around it.
    fn isolation(&self) -> &IsolationReport;

    /// How long its initialisation took (AWS: "Init Duration").
    fn init_duration(&self) -> std::time::Duration;

    /// What its process was made from.
    fn origin(&self) -> Origin;

    /// Whether it may be given another invocation. False after a timeout, an exit, or a dropped invocation.
    fn is_alive(&self) -> bool;

    /// Its memory when last measured, in bytes: what a memory budget counts.
    fn memory_bytes(&self) -> u64;

    /// Whether its processes are frozen now; none when the host does not know.
    fn is_frozen(&self) -> Option<bool> {
        None
    }

    /// Runs one invocation to its end. The future is not to be dropped before: an environment whose invocation was given
    /// up is not alive any more. All output that the function wrote before it answered has reached the sink when this
    /// resolves.
    fn invoke(&mut self, invocation: Invocation) -> impl Future<Output = Completion> + Send;

    /// Whether runtime and extensions have asked for their next event since the last invocation. An environment without
    /// extensions is settled at once.
    fn is_settled(&self) -> bool;

    /// Resolves when the environment is settled, or is not alive any more. Between an answer and this the environment is
    /// busy, although its caller has been answered (AWS Lambda, "Invoke phase": it ends after the runtime and all
    /// extensions signal that they are done). Bounded by the rest of the function's timeout.
    fn settle(&mut self) -> impl Future<Output = ()> + Send;

    /// Resolves when the environment's process has ended, whoever ended it. It does not borrow the environment.
    fn ended(&self) -> impl Future<Output = Exit> + Send + 'static;

    /// Ends the environment: every process of it is killed, its disk is given back.
    fn stop(self) -> impl Future<Output = ()> + Send;
}

/// Names an environment within this process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EnvironmentId(pub u64);

impl fmt::Display for EnvironmentId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "e{}", self.0)
    }
}
