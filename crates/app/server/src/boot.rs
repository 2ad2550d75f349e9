//! From nothing to serving, and back.
//!
//! Start: check the configuration → bind the addresses (nothing is accepted yet) → lock the data directory → open the store,
//! and beside it the logs and the folder of code → the installation's keys → services → reconcilers → gateway → serve. The
//! sandbox is tried out meanwhile and may be later than the rest: an invocation waits for it. The clock's floor is raised by
//! the store when it opens, before anything is written.
//!
//! End (SIGTERM or SIGINT; a second one ends the process at once): no new connections → reconcilers stop → requests in
//! flight finish within the limit → environments end → logs and store are made durable. A store that cannot go on ends
//! the process with an error: a supervisor starts it again, and what was acknowledged is there.

use std::{
    net::{SocketAddr, TcpListener},
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use base_env::{Env, Moment};
use base_types::Fault;
use compute_api::{EndpointConnections, FunctionHost as _, IsolationLevel, endpoint};
use compute_process::{ProcessHost, ProcessSettings};
use edge_gateway::{Environment, Gateway};
use edge_outbound::HttpOutbound;
use services_lambda::archive::CodeFolder;
use store_api::Health;
use store_embedded::{DataDir, EmbeddedStore, Options};
use store_segments::Segments;
use tokio::task::JoinHandle;

use crate::{
    ServerConfig, ServerError,
    cloud::{Cloud, Parts, Rooms},
    installation::{Installation, RootKey},
    late_host::LateHost,
    logging,
    signals::Endings,
};

/// Connections from inside functions that may wait to be served.
const ENDPOINT_BACKLOG: usize = 256;
/// How often the store is asked how it is.
const HEALTH_EVERY: Duration = Duration::from_secs(1);
/// How long log lines are gathered before they are written: an invocation does not wait for them.
const LOG_GATHERING: Duration = Duration::from_millis(5);
/// Threads for blocking work (unpacking code, reading log segments).
const BLOCKING_THREADS_MAX: usize = 64;

/// What the operator is told when the server is ready.
#[derive(Debug)]
pub struct Ready {
    /// Where it listens.
    pub addresses: Vec<SocketAddr>,
    /// Where the data are.
    pub data: PathBuf,
    /// Whether requests must be signed.
    pub auth_required: bool,
    /// The root key, when it is to be shown: once, at the first start that requires signatures.
    pub root_key: Option<RootKey>,
    /// The isolation that functions get on this host.
    pub isolation: IsolationLevel,
    /// How long the start took.
    pub took: Duration,
}

/// Runs the server until it is told to stop. Call [`crate::run_if_launcher`] first thing in `main`. `ready` is called once:
/// when the server serves and its sandbox is open; before it serves when there is a root key to be shown.
///
/// # Errors
/// Why it did not start, or could not go on.
pub fn run(config: ServerConfig, ready: impl FnOnce(&Ready)) -> Result<(), ServerError> {
    let env = Env::real();
    let begun = env.monotonic();
    config.check()?;
    logging::start(&config.log)?;
    let listeners = config.listen.iter().map(bind).collect::<Result<Vec<_>, _>>()?;
    let options = Options::default();
    let directory = DataDir::open(&config.data, &options)
        .map_err(|error| ServerError::new("the data directory cannot be used").because(error))?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .thread_name("pileus")
        .max_blocking_threads(BLOCKING_THREADS_MAX)
        .enable_all()
        .build()
        .map_err(|error| ServerError::new("the asynchronous runtime cannot be started").because(error))?;
    let ground = Ground { config, env, begun, listeners, directory: Arc::new(directory), options };
    let outcome = runtime.block_on(serve(ground, ready));
    // Whatever blocking work is still under way has no one to answer to.
    runtime.shutdown_timeout(Duration::from_secs(1));
    outcome
}

/// What is there before the runtime.
struct Ground {
    config: ServerConfig,
    env: Env,
    begun: Moment,
    listeners: Vec<TcpListener>,
    directory: Arc<DataDir>,
    options: Options,
}

/// How long a port that is in use is waited for.
const PORT_RETRIES: u32 = 10;
const PORT_PAUSE: Duration = Duration::from_millis(50);

#[expect(clippy::disallowed_methods, reason = "there is no runtime yet, and nothing else to do meanwhile")]
fn bind(address: &SocketAddr) -> Result<TcpListener, ServerError> {
    let cannot = |error| {
        ServerError::new(format!("cannot listen on {address}"))
            .because(error)
            .remedy("end what uses the port, or choose another with `--listen`")
    };
    let mut listener = TcpListener::bind(address);
    // Who takes the place of a server that was killed may be quicker than the end of a child that was just being started.
    for _ in 0..PORT_RETRIES {
        if !matches!(&listener, Err(error) if error.kind() == std::io::ErrorKind::AddrInUse) {
            break;
        }
        std::thread::sleep(PORT_PAUSE);
        listener = TcpListener::bind(address);
    }
    let listener = listener.map_err(cannot)?;
    listener.set_nonblocking(true).map_err(cannot)?;
    Ok(listener)
}

async fn serve(ground: Ground, ready: impl FnOnce(&Ready)) -> Result<(), ServerError> {
    let Ground { config, env, begun, listeners, directory, options } = ground;
    let mut endings = Endings::new()?;
    let (sender, connections) = endpoint::endpoint_channel(ENDPOINT_BACKLOG);

    // The sandbox takes longest, and only functions need it.
    let sandbox = subdirectory(&directory, "sandbox")?;
    let (host, opening) = LateHost::begin({
        let mut settings = ProcessSettings::new(sandbox);
        settings.environments_max = usize::try_from(config.functions.concurrency).unwrap_or(usize::MAX).max(64);
        settings.cpu_quota = config.functions.cpu_quota;
        let env = env.clone();
        move || ProcessHost::open(settings, env, sender)
    });
    let files = tokio::task::spawn_blocking({
        let (segments, code) = (subdirectory(&directory, "segments")?, subdirectory(&directory, "code")?);
        let env = env.clone();
        move || open_files(&segments, code, env)
    });
    let embedded = EmbeddedStore::open(&directory, options, &env)
        .await
        .map_err(|error| ServerError::new("the store cannot be opened").because(error))?;
    let store = embedded.store().clone();
    let unreadable = |fault: Fault| ServerError::new("the installation's keys cannot be read").because(fault);
    let installation = Installation::open(&store, &env).await.map_err(unreadable)?;
    let (segments, code) = joined(files).await??;
    let addresses: Vec<_> = listeners.iter().filter_map(|listener| listener.local_addr().ok()).collect();
    let (cloud, rooms) = Cloud::assemble(Parts {
        config: &config,
        env: &env,
        embedded: &embedded,
        directory: &directory,
        installation: &installation,
        host: host.clone(),
        segments,
        code,
        port: addresses.first().map(SocketAddr::port).filter(|port| *port != 80),
        outbound: HttpOutbound::new(config.outbound_rules()?, env.clone()),
    });

    rooms
        .recall()
        .await
        .map_err(|fault| ServerError::new("the functions' reserved concurrency cannot be read").because(fault))?;
    let gateway = Gateway::new(cloud, gateway_settings(&config), env.clone());
    let root_key =
        if config.auth_required() { installation.show_root_key(&store).await.map_err(unreadable)? } else { None };
    let mut shown = Ready {
        addresses,
        data: config.data.clone(),
        auth_required: config.auth_required(),
        root_key,
        isolation: IsolationLevel::Refused,
        took: Duration::ZERO,
    };
    tokio::spawn(serve_functions(gateway.clone(), connections));
    let say = |shown: &mut Ready| {
        shown.took = env.monotonic().since(begun);
        let took_us = u64::try_from(shown.took.as_micros()).unwrap_or(u64::MAX);
        tracing::info!(addresses = ?shown.addresses, auth_required = shown.auth_required, took_us, "ready");
    };
    if shown.root_key.is_some() {
        // It must have been shown before anybody can be asked for it.
        shown.isolation = look(&host, opening).await?;
        say(&mut shown);
        ready(&shown);
        accept(listeners, &gateway)?;
    } else {
        say(&mut shown);
        accept(listeners, &gateway)?;
        shown.isolation = look(&host, opening).await?;
        ready(&shown);
    }
    tracing::info!(isolation = %shown.isolation, "the sandbox is open");

    let failed = tokio::select! {
        signal = endings.next() => {
            tracing::info!(signal, "shutting down");
            None
        }
        cause = failure(&store, &env) => Some(cause),
    };
    tokio::spawn(async move {
        let signal = endings.next().await;
        tracing::warn!(signal, "ending at once");
        std::process::exit(1);
    });
    if let Some(cause) = failed {
        tracing::error!(cause, "the store cannot go on; ending");
        return Err(ServerError::new("the store cannot go on")
            .because(cause)
            .remedy("remove the cause and start again: everything acknowledged is kept"));
    }
    end(&config, &env, &gateway, rooms, &embedded).await;
    Ok(())
}

/// Serves from now on.
fn accept(listeners: Vec<TcpListener>, gateway: &Gateway<Cloud>) -> Result<(), ServerError> {
    for listener in listeners {
        let listener = tokio::net::TcpListener::from_std(listener)
            .map_err(|error| ServerError::new("cannot listen").because(error))?;
        let gateway = gateway.clone();
        tokio::spawn(async move { gateway.serve(listener).await });
    }
    Ok(())
}

/// The isolation that functions get, once the sandbox is open.
async fn look(host: &LateHost, opening: JoinHandle<Result<(), ServerError>>) -> Result<IsolationLevel, ServerError> {
    joined(opening).await??;
    let host = host.clone();
    joined(tokio::task::spawn_blocking(move || host.report().level)).await
}

async fn end(config: &ServerConfig, env: &Env, gateway: &Gateway<Cloud>, rooms: Rooms, embedded: &EmbeddedStore) {
    let begun = env.monotonic();
    rooms.stop_reconcilers();
    let answered = gateway.drain().await;
    let left = config.shutdown_limit().saturating_sub(env.monotonic().since(begun));
    let finished = rooms.end(left).await;
    embedded.store().shutdown().await;
    let took_ms = u64::try_from(env.monotonic().since(begun).as_millis()).unwrap_or(u64::MAX);
    if answered && finished {
        tracing::info!(took_ms, "ended");
    } else {
        tracing::warn!(took_ms, "ended; some invocations did not finish within the limit");
    }
}

/// Resolves with the cause when the store cannot go on.
async fn failure(store: &store_api::Store, env: &Env) -> String {
    let mut was = Health::Serving;
    loop {
        let health = store.health();
        match &health {
            Health::Failed(cause) => return cause.clone(),
            Health::ReadOnly(cause) if was != health => tracing::error!(cause, "the store refuses writes"),
            Health::Serving if was != health => tracing::info!("the store accepts writes again"),
            Health::ReadOnly(_) | Health::Serving => {}
        }
        was = health;
        env.sleep(HEALTH_EVERY).await;
    }
}

/// Serves the connections that functions open to the AWS endpoint on their own loopback.
async fn serve_functions(gateway: Gateway<Cloud>, mut connections: EndpointConnections) {
    while let Some(connection) = connections.next().await {
        let gateway = gateway.clone();
        tokio::spawn(async move {
            let environment = Environment {
                id: connection.environment.to_string(),
                account: connection.spec.account,
                region: connection.spec.region.clone(),
                function_arn: connection.spec.function_arn.clone(),
            };
            gateway.serve_environment(connection.stream, environment).await;
            drop(connection.permit);
        });
    }
}

/// The log segments and the folder of unpacked code.
fn open_files(segments: &Path, code: PathBuf, env: Env) -> Result<(Segments, CodeFolder), ServerError> {
    let settings = store_segments::Settings { gather: LOG_GATHERING, ..store_segments::Settings::default() };
    let (segments, recovery) = Segments::open(segments, settings, env)
        .map_err(|error| ServerError::new("the logs cannot be opened").because(error))?;
    for error in &recovery.damaged {
        tracing::error!(%error, "a file of the logs is damaged and was set aside");
    }
    if recovery.replayed_events > 0 || recovery.cut_bytes > 0 {
        let (events, cut_bytes) = (recovery.replayed_events, recovery.cut_bytes);
        tracing::info!(events, cut_bytes, "log lines were recovered");
    }
    let code = CodeFolder::open(code)
        .map_err(|error| ServerError::new("the folder of unpacked code cannot be used").because(error))?;
    Ok((segments, code))
}

async fn joined<T>(task: JoinHandle<T>) -> Result<T, ServerError> {
    task.await.map_err(|error| ServerError::new("a part of the start did not finish").because(error))
}

fn gateway_settings(config: &ServerConfig) -> edge_gateway::Settings {
    let version = env!("CARGO_PKG_VERSION");
    let mut settings = if config.auth_required() {
        edge_gateway::Settings::required(version)
    } else {
        edge_gateway::Settings::open(version)
    };
    settings.domains.clone_from(&config.domains);
    settings.limits.connections = config.connections.max;
    settings.limits.bodies_bytes = config.connections.bodies_mib_max << 20;
    settings.limits.drain = config.shutdown_limit();
    settings
}

fn subdirectory(directory: &DataDir, name: &str) -> Result<PathBuf, ServerError> {
    directory.subdirectory(name).map_err(|error| ServerError::new("the data directory cannot be used").because(error))
}
