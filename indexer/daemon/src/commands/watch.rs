//! `watch`: the engine, its socket and its signals, in the foreground until told to leave.

use std::sync::Arc;
use std::time::Duration;

use tokio::net::UnixListener;
use tokio::runtime::Builder;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tracing::{error, info, warn};

use crate::api::{Api, listen, serve};
use crate::cli;
use crate::commands::Context;
use crate::commands::progress::Shown;
use crate::config::File;
use crate::engine::status::Status;
use crate::engine::{self, Engine, RootConfig};
use crate::failure::{Failure, Outcome};
use crate::render::{Out, count};

/// Between two looks at whether the engine has failed: it says so nowhere else once it is live.
const HEALTH: Duration = Duration::from_secs(2);
/// Threads that answer questions; most of them sleep.
const THREADS: usize = 64;

/// Runs until SIGTERM or SIGINT, or until the engine fails.
pub(crate) fn run(context: &Context, flags: &cli::Watch) -> Result<Outcome, Failure> {
    let shown = Shown::new(context.global.quiet);
    let (state, lock, config) = context.prepare(flags, "watch", shown.hook())?;
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
    let ended = match engine::start(&state, lock, config) {
        Ok(engine) => runtime.block_on(follow(context, flags, &engine, listener, &shown)),
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

async fn follow(
    context: &Context,
    flags: &cli::Watch,
    engine: &Arc<Engine>,
    listener: UnixListener,
    shown: &Shown,
) -> Result<Outcome, Failure> {
    let signal = |kind| signal(kind).map_err(|error| Failure::doing("wait for signals", error));
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut hang_up = signal(SignalKind::hangup())?;
    let (stop, stopping) = watch::channel(false);
    let mut server = tokio::spawn(serve(listener, Api::new(Arc::clone(engine), stopping)));
    let mut live = {
        let engine = Arc::clone(engine);
        tokio::task::spawn_blocking(move || engine.wait_live().map(|()| engine.status()))
    };
    let mut waiting = true;
    let mut health = tokio::time::interval(HEALTH);
    let ended = loop {
        tokio::select! {
            told = &mut live, if waiting => {
                waiting = false;
                match told {
                    Ok(Ok(status)) => {
                        shown.clear();
                        say_live(&status);
                    }
                    Ok(Err(error)) => break Err(error.into()),
                    Err(panic) => break Err(Failure::doing("wait for the engine", panic)),
                }
            }
            served = &mut server => break Err(match served {
                Ok(Ok(())) => Failure::Failed("the control socket closed".into()),
                Ok(Err(error)) => Failure::doing("answer on the control socket", error),
                Err(panic) => Failure::doing("answer on the control socket", panic),
            }),
            _ = terminate.recv() => break Ok(Outcome::Done),
            _ = interrupt.recv() => break Ok(Outcome::Done),
            _ = hang_up.recv() => reload(context, flags, engine, shown),
            _ = health.tick() => if let Some(why) = engine.failed() { break Err(Failure::Failed(why)) },
        }
    };
    info!("stopping");
    // Streams end with this; without it they would outlive the engine.
    let _ = stop.send(true);
    let stopped = {
        let engine = Arc::clone(engine);
        tokio::task::spawn_blocking(move || engine.stop())
    };
    tokio::select! {
        done = stopped => if let Err(panic) = done { error!(%panic, "the engine stopped badly") },
        // Who asks twice does not want to wait; what is not committed is found again at the next start.
        _ = interrupt.recv() => std::process::exit(130),
    }
    server.abort();
    ended
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

/// Reads the configuration file anew; one with errors changes nothing.
fn reload(context: &Context, flags: &cli::Watch, engine: &Engine, shown: &Shown) {
    let read = || {
        let file = File::load(context.global.config.as_deref(), &|name| std::env::var_os(name))?;
        let fresh = Context { global: context.global.clone(), file };
        let roots = engine.index().read()?.roots()?;
        let stored: Vec<RootConfig> =
            roots.iter().map(|root| RootConfig::stored(&root.path, &root.rules)).collect();
        fresh.engine(&fresh.state_path()?, flags, &stored, "watch", shown.hook())
    };
    match read() {
        Ok(config) => {
            info!(roots = config.roots.len(), "configuration read anew");
            engine.reload(config);
        }
        Err(failure) => error!(%failure, "the configuration is left as it was"),
    }
}
