//! `watch`: the engine, its socket and its signals, in the foreground until told to leave.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use publish::{Format, Settings};
use record::{Hashing, Reading};
use tokio::net::{TcpListener, UnixListener};
use tokio::runtime::Builder;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tokio::task::{JoinError, JoinHandle};
use tracing::{error, info, warn};

use crate::alerting;
use crate::api::{Api, listen, serve, serve_port};
use crate::cli::{self, AmqpFormatArg};
use crate::commands::Context;
use crate::commands::progress::Shown;
use crate::config::File;
use crate::consumers::Consumers;
use crate::engine::status::{Problem, Status};
use crate::engine::{self, Engine, EngineError, RootConfig};
use crate::failure::{Failure, Outcome};
use crate::render::{Out, count};
use crate::service::{Service, text_of};
use crate::{relaying, rolling};

/// Between two looks at the engine: whether it failed, and gets on.
const PULSE: Duration = Duration::from_secs(2);
/// Between two looks at whether all is as the configuration asks: a whole status.
const HEALTH: Duration = Duration::from_secs(10);
/// The same until it is live, when there is progress to tell.
const STARTING: Duration = Duration::from_millis(200);
/// What is said to whoever has contents read by nobody.
const NO_BROKER: &str = "--hash remote: workers are asked over a broker; name one by [amqp] in the configuration, or INDEXER_AMQP_URL";
/// Threads that answer questions; most of them sleep.
const THREADS: usize = 64;

/// Runs until SIGTERM or SIGINT, or until the engine fails.
pub(crate) fn run(context: &Context, flags: &cli::Watch) -> Result<Outcome, Failure> {
    let shown = Shown::new(context.global.quiet);
    alerting::check(&context.file.rules)?;
    relaying::check(context.file.relay.as_ref())?;
    let relay = relay(context.file.relay.clone(), flags.amqp_format)?;
    let (state, lock, mut config) = context.prepare(flags, "watch", shown.hook())?;
    let reading = reading(config.hashing);
    config.hashing = Some(reading);
    if reading.reading == Reading::Remote && context.file.relay.is_none() {
        return Err(Failure::Usage(NO_BROKER.to_owned()));
    }
    let hashing = (config.hash_rate, config.threads);
    crate::privileges::drop_unneeded(&state.path);
    let runtime = Builder::new_current_thread()
        .enable_all()
        .max_blocking_threads(THREADS)
        .build()
        .map_err(|error| Failure::doing("start the runtime", error))?;
    let socket = state.socket_path();
    // The lock is ours, so whatever socket is there is nobody's.
    let listener = runtime
        .block_on(async { listen(&socket) })
        .map_err(|error| Failure::doing(format!("listen on {}", crate::paths::shown(&socket)), error))?;
    let port = match context.settings_with(flags)?.metrics {
        Some(address) => Some(runtime.block_on(open_port(address))?),
        None => None,
    };
    let ended = match engine::start(&state, lock, config) {
        Ok(engine) => {
            let rules = (context.file.rules.clone(), relay, rolling(context, &state.path)?);
            Consumers::start(&engine, rules, hashing, reading.reading).and_then(|consumers| {
                runtime.block_on(follow(context, flags, (&engine, &consumers), (listener, port), &shown))
            })
        }
        Err(error) => Err(error.into()),
    };
    shown.clear();
    // It must be gone before the lock is.
    if let Err(error) = std::fs::remove_file(&socket) {
        warn!(%error, "the socket could not be removed");
    }
    // A listener that stalls must not hold up the end.
    runtime.shutdown_background();
    ended
}

/// The snapshots that the configuration wants by the clock.
fn rolling(context: &Context, state: &Path) -> Result<Option<rolling::Plan>, Failure> {
    let snapshots = &context.file.snapshots;
    let Some(every) = snapshots.every else { return Ok(None) };
    let folder = snapshots.folder.clone().unwrap_or_else(|| state.join("snapshots"));
    let mut arguments = vec!["--state".into(), state.into()];
    if let Some(config) = &context.global.config {
        arguments.extend(["--config".into(), crate::paths::absolute(config)?.into()]);
    }
    Ok(Some(rolling::Plan { folder, every, changes: snapshots.changes, arguments }))
}

/// The relay's settings, with the form that was asked for.
fn relay(settings: Option<Settings>, format: Option<AmqpFormatArg>) -> Result<Option<Settings>, Failure> {
    let format = match format {
        None => return Ok(settings),
        Some(AmqpFormatArg::Json) => Format::Json,
        Some(AmqpFormatArg::Arrow) => Format::Arrow,
    };
    match settings {
        Some(settings) => Ok(Some(Settings { format, ..settings })),
        None => Err(Failure::Usage(
            "--amqp-format: there is no broker; name one by [amqp] in the configuration, or INDEXER_AMQP_URL"
                .to_owned(),
        )),
    }
}

/// A daemon reads what may have a duplicate, unless something else was said.
fn reading(said: Option<Hashing>) -> Hashing {
    said.unwrap_or(Hashing { reading: Reading::Candidates, ..Hashing::default() })
}

async fn open_port(address: SocketAddr) -> Result<TcpListener, Failure> {
    let opened = TcpListener::bind(address).await;
    let port = opened.map_err(|error| Failure::doing(format!("listen on {address}"), error))?;
    let address = port.local_addr().unwrap_or(address);
    info!(%address, "metrics and health are served");
    Ok(port)
}

async fn follow(
    context: &Context,
    flags: &cli::Watch,
    (engine, consumers): (&Arc<Engine>, &Consumers),
    (listener, port): (UnixListener, Option<TcpListener>),
    shown: &Shown,
) -> Result<Outcome, Failure> {
    let signal = |kind| signal(kind).map_err(|error| Failure::doing("wait for signals", error));
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut hang_up = signal(SignalKind::hangup())?;
    let (stop, stopping) = watch::channel(false);
    let api = Api::new(Arc::clone(engine), consumers.clone(), stopping);
    let ringing = tokio::spawn(ring(Arc::clone(engine), consumers.clone()));
    let port = port.map(|port| tokio::spawn(serve_port(port, api.clone())));
    let mut server = tokio::spawn(serve(listener, api));
    let mut service = Service::of_environment();
    let mut health = Health::default();
    let mut live = {
        let engine = Arc::clone(engine);
        tokio::task::spawn_blocking(move || engine.wait_live().map(|()| engine.status()))
    };
    let mut waiting = true;
    let mut reloading: Option<JoinHandle<Result<(), EngineError>>> = None;
    let ended = loop {
        let pause = service.every(if waiting { STARTING } else { PULSE });
        let (state, progress) = engine.brief();
        let text = if waiting { text_of(state, progress.as_ref()) } else { health.text() };
        service.tick(&text, engine.stalled_for(), Instant::now());
        tokio::select! {
            told = &mut live, if waiting => {
                waiting = false;
                match told {
                    Ok(Ok(status)) => {
                        shown.clear();
                        say_live(&status);
                        health.take_in(status);
                        service.ready(&health.text());
                    }
                    Ok(Err(error)) => break Err(error.into()),
                    Err(panic) => break Err(Failure::doing("wait for the engine", panic)),
                }
            }
            served = &mut server => break Err(match served {
                Ok(()) => Failure::Failed("the control socket closed".into()),
                Err(panic) => Failure::doing("answer on the control socket", panic),
            }),
            _ = terminate.recv() => break Ok(Outcome::Done),
            _ = interrupt.recv() => break Ok(Outcome::Done),
            _ = hang_up.recv() => {
                service.reloading();
                reloading = reload(context, flags, (engine, consumers), shown);
                if reloading.is_none() && !waiting {
                    service.ready(&health.text());
                }
            }
            done = wait_reloaded(&mut reloading), if reloading.is_some() => {
                reloading = None;
                match done {
                    Ok(Ok(())) => info!("the new configuration is followed"),
                    Ok(Err(error)) => error!(%error, "the new configuration is not followed in full"),
                    Err(panic) => error!(%panic, "the new configuration is not followed"),
                }
                if !waiting {
                    service.ready(&health.text());
                }
            }
            () = tokio::time::sleep(pause) => {
                if let Some(why) = engine.failed() {
                    break Err(Failure::Failed(why));
                }
                if !waiting && health.is_old() {
                    let engine = Arc::clone(engine);
                    if let Ok(status) = tokio::task::spawn_blocking(move || engine.status()).await {
                        health.take_in(status);
                    }
                }
            }
        }
    };
    info!("stopping");
    service.stopping();
    // Streams end with this; without it they would outlive the engine.
    let _ = stop.send(true);
    let stopped = {
        let (engine, consumers) = (Arc::clone(engine), consumers.clone());
        tokio::task::spawn_blocking(move || {
            // First, so that cursors of what arrived can still be moved.
            consumers.stop();
            engine.stop();
            consumers.join();
        })
    };
    tokio::select! {
        done = stopped => if let Err(panic) = done { error!(%panic, "the engine stopped badly") },
        // Who asks twice does not want to wait; what is not committed is found again at the next start.
        _ = interrupt.recv() => std::process::exit(130),
    }
    server.abort();
    ringing.abort();
    if let Some(port) = port {
        port.abort();
    }
    ended
}

/// Tells those who read the journal of new records.
async fn ring(engine: Arc<Engine>, consumers: Consumers) {
    let mut durable = engine.follow();
    drop(engine);
    while durable.changed().await.is_ok() {
        consumers.tell();
    }
}

/// Waits for a reload under way; cancelled, it goes on.
async fn wait_reloaded(
    reloading: &mut Option<JoinHandle<Result<(), EngineError>>>,
) -> Result<Result<(), EngineError>, JoinError> {
    match reloading {
        Some(reloading) => reloading.await,
        None => std::future::pending().await,
    }
}

/// Whether things are as the configuration asks, as far as was told.
#[derive(Default)]
struct Health {
    problems: Vec<Problem>,
    at: Option<Instant>,
}

impl Health {
    fn is_old(&self) -> bool {
        self.at.is_none_or(|at| at.elapsed() >= HEALTH)
    }

    /// Says in the log what changed since the last time: one line when it turns red or green, or red for other reasons.
    fn take_in(&mut self, status: Status) {
        let codes = |problems: &[Problem]| {
            let mut codes: Vec<(String, Option<String>)> =
                problems.iter().map(|problem| (problem.code.clone(), problem.root.clone())).collect();
            codes.sort();
            codes
        };
        self.at = Some(Instant::now());
        let (old, new) = (codes(&self.problems), codes(&status.problems));
        self.problems = status.problems;
        if new.is_empty() && !old.is_empty() {
            info!("healthy: coverage is what the configuration asks");
        } else if new != old {
            let why: Vec<String> = self.problems.iter().take(10).map(Problem::line).collect();
            warn!(
                problems = new.len(),
                why = why.join("; "),
                "unhealthy: coverage is not what the configuration asks"
            );
        }
    }

    fn text(&self) -> String {
        match self.problems.first() {
            None => "live".to_owned(),
            Some(problem) => format!("degraded: {}", problem.line()),
        }
    }
}

/// The line that scripts wait for.
fn say_live(status: &Status) {
    let mut backends: Vec<&str> = status.roots.iter().map(|root| &*root.backend).collect();
    backends.sort_unstable();
    backends.dedup();
    let line =
        format!("live: {} entries, seq {}, {}\n", count(status.entries), status.seq, backends.join("+"));
    let mut out = Out::stdout();
    // Nobody may be listening, and the daemon has other listeners.
    if let Err(error) = out.text(&line).and_then(|()| out.flush()) {
        warn!(%error, "nobody reads stdout");
    }
    for root in &status.roots {
        info!(root = %root.path, backend = %root.backend, reason = %root.reason, entries = root.entries, "watching");
    }
}

/// Reads the configuration file anew, and answers when it is followed; one with errors changes nothing.
fn reload(
    context: &Context,
    flags: &cli::Watch,
    (engine, consumers): (&Arc<Engine>, &Consumers),
    shown: &Shown,
) -> Option<JoinHandle<Result<(), EngineError>>> {
    let read = || {
        let file = File::load(context.global.config.as_deref(), &|name| std::env::var_os(name))?;
        let fresh = Context { global: context.global.clone(), file };
        let roots = engine.index().read()?.roots()?;
        let stored: Vec<RootConfig> =
            roots.iter().map(|root| RootConfig::stored(&root.path, &root.rules)).collect();
        alerting::check(&fresh.file.rules)?;
        let mut config = fresh.engine(&fresh.state_path()?, flags, &stored, "watch", shown.hook())?;
        let reading = reading(config.hashing);
        if reading.reading == Reading::Remote && !consumers.hasher.asks() {
            return Err(Failure::Usage("hash = \"remote\" is begun by a restart".to_owned()));
        }
        config.hashing = Some(reading);
        Ok::<_, Failure>((config, fresh.file.rules))
    };
    match read() {
        Ok((config, rules)) => {
            info!(roots = config.roots.len(), alerts = rules.len(), "configuration read anew");
            let (engine, consumers) = (Arc::clone(engine), consumers.clone());
            Some(tokio::task::spawn_blocking(move || {
                let replaced = consumers.alerts.replace(rules);
                let replaced = replaced.map_err(|error| EngineError::Failed(error.to_string()));
                let reloaded = engine.reload(config);
                consumers.hasher.tell_all();
                reloaded.and(replaced)
            }))
        }
        Err(failure) => {
            error!(%failure, "the configuration is left as it was");
            None
        }
    }
}
